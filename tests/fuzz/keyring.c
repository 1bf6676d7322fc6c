/*
 * F7: the secret files of a vault, keyring and identity. A keyring that loads is the same when it
 * was saved and loaded again; the identity is the only one of its bytes.
 */
#include "tests/fuzz/fuzz.h"
#include "crypto/identity.h"
#include "crypto/keyring.h"

static void check_identity(struct pvf_folder *folder, const uint8_t *data, size_t size)
{
    struct pv_identity identity;
    uint8_t bytes[72] = "PVI1";
    pvf_folder_put(folder, "identity", data, size);
    enum pv_err err = pv_identity_load(&identity, folder->fs, folder->dir);
    cr_assert(err == PV_OK || err == PV_E_CORRUPT);
    if (err == PV_OK) {
        memcpy(bytes + 8, identity.seed, PV_SEED_LEN);
        pv_sha256(bytes + 40, bytes, 40);
        cr_assert(size == sizeof bytes && memcmp(bytes, data, sizeof bytes) == 0);
    }
}

/* Rotates through all keys; what is left can be saved and loaded at each step. */
static void check_rotation(struct pvf_folder *folder, struct pv_keyring *k)
{
    static enum pv_err (*const steps[])(struct pv_keyring *, const struct pv_kid *) = {
        pv_keyring_activate, pv_keyring_set_dedup, pv_keyring_retire, pv_keyring_drop};
    static struct pv_keyring again;
    pv_keyring_drop_old_tokens(k);
    pv_keyring_drop_invites(k, 1767312010);
    for (size_t i = 0; i < k->key_count + 2; i++) {
        struct pv_kid kid = k->keys[i % k->key_count].keys.kid;
        for (size_t step = i % 2; step < PV_COUNT(steps); step++) {
            enum pv_err err = steps[step](k, &kid);
            cr_assert(err == PV_OK || err == PV_E_INVALID || err == PV_E_NOT_FOUND);
            cr_assert(pv_keyring_active(k) != NULL && pv_keyring_dedup(k) != NULL);
        }
    }
    cr_assert_eq(pv_keyring_save(k, folder->fs, folder->dir), PV_OK);
    cr_assert_eq(pv_keyring_load(&again, folder->fs, folder->dir, NULL), PV_OK);
    cr_assert_eq(again.key_count, k->key_count);
}

/* A text that ends with a whole line gets the right sum behind it. */
static void check_keyring(struct pvf_folder *folder, const uint8_t *data, size_t size)
{
    static struct pv_keyring keyring, again;
    unsigned line = 0;
    char sum[128] = "sum ", *text = pv_malloc(size + sizeof sum);
    size_t len = size;
    uint8_t hash[PV_HASH_LEN];
    if (size > 0)
        memcpy(text, data, size);
    if (size > 0 && data[size - 1] == '\n') {
        pv_sha256(hash, data, size);
        pv_hex_encode(sum + 4, hash, sizeof hash);
        memcpy(text + size, strcat(sum, "\n"), 69);
        len += 69;
    }
    pvf_folder_put(folder, "keyring", text, len);
    pv_free(text);
    memset(&keyring, 0, sizeof keyring);
    memset(&again, 0, sizeof again);
    enum pv_err err = pv_keyring_load(&keyring, folder->fs, folder->dir, &line);
    cr_assert(err == PV_OK || err == PV_E_CORRUPT);
    if (err != PV_OK)
        return;
    cr_assert_eq(pv_keyring_save(&keyring, folder->fs, folder->dir), PV_OK);
    cr_assert_eq(pv_keyring_load(&again, folder->fs, folder->dir, &line), PV_OK, "line %u", line);
    cr_assert_arr_eq(&again, &keyring, sizeof again);
    cr_assert(keyring.key_count == 0 || pv_keyring_active(&keyring) != NULL);
    if (keyring.key_count > 0)
        check_rotation(folder, &keyring);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pvf_folder folder;
    pvf_folder_init(&folder);
    check_identity(&folder, data, size);
    check_keyring(&folder, data, size);
    pvf_folder_release(&folder);
    return 0;
}
