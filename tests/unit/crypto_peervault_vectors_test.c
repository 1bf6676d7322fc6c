/*
 * The C code against tests/vectors/peervault, which another program made from storage/format.md.
 */
#include "crypto/body.h"
#include "crypto/identity.h"
#include "crypto/keyring.h"
#include "internal/base/mem.h"
#include "tests/support/support.h"
#include "tests/support/vectors.h"
#include "tests/unit/crypto_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

TestSuite(peervault_vectors, .timeout = 120);

#define FOLDER "tests/vectors/peervault/"

/* object[name] is the hex of these bytes, and so it is in all vaults. */
static void check(const json_t *object, const char *name, const void *p, size_t len)
{
    struct pvt_bytes expected = pvt_json_hex(object, name);
    PVT_FROZEN(pvt_bytes_equal(&expected, p, len), "the value of", name);
    pvt_bytes_release(&expected);
}

static void take(void *dst, size_t len, const json_t *object, const char *name)
{
    struct pvt_bytes b = pvt_json_hex(object, name);
    cr_assert_eq(b.len, len);
    memcpy(dst, b.p, len);
    pvt_bytes_release(&b);
}

static struct pv_cluster_keys keys_of(const json_t *object)
{
    struct pv_cluster_keys keys;
    uint8_t key[PV_KEY_LEN];
    take(key, sizeof key, object, "cluster_key");
    cr_assert_eq(pv_cluster_keys_derive(&keys, key), PV_OK);
    return keys;
}

static uint64_t u64_of(const json_t *object, const char *name)
{
    uint8_t bytes[8];
    uint64_t v = 0;
    take(bytes, sizeof bytes, object, name);
    for (size_t i = 0; i < sizeof bytes; i++)
        v = v << 8 | bytes[i];
    return v;
}

static void check_rids(const json_t *item, const struct pv_cluster_keys *k)
{
    struct pv_id content, rid;
    uint8_t salt[32];
    size_t i;
    const json_t *rid_case;
    take(content.b, PV_ID_LEN, item, "file_sha256");
    take(salt, sizeof salt, item, "private_salt");
    pv_rid_file(&rid, k, &content);
    check(item, "rid_file", rid.b, PV_ID_LEN);
    pv_rid_private(&rid, k, salt);
    check(item, "rid_private", rid.b, PV_ID_LEN);
    json_array_foreach(json_object_get(item, "rid_names"), i, rid_case)
    {
        struct pvt_bytes name = pvt_json_hex(rid_case, "name");
        pv_rid_name(&rid, k, name.p, name.len);
        check(rid_case, "rid", rid.b, PV_ID_LEN);
        pvt_bytes_release(&name);
    }
    json_array_foreach(json_object_get(item, "rid_clear"), i, rid_case)
    {
        struct pvt_bytes subject = pvt_json_hex(rid_case, "subject");
        pv_rid_clear(&rid, (uint8_t)pvt_json_number(rid_case, "type"), subject.p, subject.len);
        check(rid_case, "rid", rid.b, PV_ID_LEN);
        pvt_bytes_release(&subject);
    }
    PVT_FROZEN(pv_key_prefix_tag(k, content.b) == u64_of(item, "prefix_tag"), "the tag of a",
               "key");
}

Test(peervault_vectors, keys)
{
    json_t *root = pvt_json_load(FOLDER "keys.json");
    size_t i, j;
    const json_t *item, *epoch;
    cr_assert_eq(json_array_size(root), 2);
    json_array_foreach(root, i, item)
    {
        const struct pv_cluster_keys k = keys_of(item);
        uint8_t chunker[PV_CHUNKER_KEY_LEN], key[PV_KEY_LEN];
        check(item, "kid", k.kid.b, PV_KID_LEN);
        check(item, "loc", k.loc, PV_KEY_LEN);
        check(item, "name", k.name, PV_KEY_LEN);
        check(item, "hint", k.hint, PV_KEY_LEN);
        check(item, "member", k.member, PV_KEY_LEN);
        pv_keys_chunker(chunker, &k);
        check(item, "chunker", chunker, sizeof chunker);
        json_array_foreach(json_object_get(item, "epochs"), j, epoch)
        {
            const uint64_t e = (uint64_t)pvt_json_number(epoch, "epoch");
            pv_keys_conv(key, &k, e);
            check(epoch, "conv", key, sizeof key);
            pv_keys_rec(key, &k, e);
            check(epoch, "rec", key, sizeof key);
        }
        cr_assert_eq(j, 3);
        check_rids(item, &k);
    }
    json_decref(root);
}

Test(peervault_vectors, tokens)
{
    json_t *root = pvt_json_load(FOLDER "tokens.json");
    size_t i;
    const json_t *item;
    cr_assert_eq(json_array_size(root), 4);
    json_array_foreach(root, i, item)
    {
        struct pv_token_keys keys;
        bool weak;
        cr_assert_eq(pv_token_derive(&keys, pvt_json_text(item, "token"), &weak), PV_OK);
        cr_assert_eq(weak, json_is_true(json_object_get(item, "weak")));
        check(item, "gate", keys.gate, PV_KEY_LEN);
        check(item, "psk", keys.psk, PV_KEY_LEN);
    }
    json_decref(root);
}

Test(peervault_vectors, blobs)
{
    json_t *root = pvt_json_load(FOLDER "blobs.json");
    const struct pv_cluster_keys keys = keys_of(root);
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(root, "blobs"), i, item)
    {
        struct pv_blob_sealed s;
        uint8_t dk[PV_KEY_LEN];
        const size_t payload_len = (size_t)pvt_json_number(item, "payload_len");
        const enum pv_blob_kind kind = (enum pv_blob_kind)pvt_json_number(item, "kind");
        const bool random = json_is_true(json_object_get(item, "random"));
        struct pvt_bytes buf = pvt_bytes_of_len(pv_blob_len(payload_len));
        take(dk, sizeof dk, item, "dk");
        pvt_pattern(buf.p + PV_BLOB_PAYLOAD_OFFSET, payload_len);
        cr_assert_eq(pv_blob_seal(&s, &keys, (uint64_t)pvt_json_number(item, "epoch"), kind, buf.p,
                                  payload_len, random ? dk : NULL),
                     PV_OK);
        cr_assert_eq(s.blob_len, (size_t)pvt_json_number(item, "blob_len"));
        check(item, "dk", s.dk, PV_KEY_LEN);
        check(item, "id", s.id.b, PV_ID_LEN);
        if (json_object_get(item, "blob") != NULL)
            check(item, "blob", buf.p, s.blob_len);
        pvt_bytes_release(&buf);
    }
    cr_assert_eq(i, 18);
    json_decref(root);
}

static void reencode_file(const json_t *root, const char *name)
{
    static uint8_t bytes[PV_RECORD_BODY_MAX];
    size_t len;
    struct pv_file_body body;
    uint8_t seed[PV_SEED_LEN];
    struct pvt_bytes expected = pvt_json_hex(root, name);
    take(seed, sizeof seed, root, "seed");
    cr_assert_eq(pv_file_body_decode(&body, expected.p, expected.len, true), PV_OK, "%s", name);
    check(root, "public", body.author.pub, PV_PUB_LEN);
    cr_assert_eq(body.author.hlc, u64_of(root, "hlc"));
    cr_assert_eq(pv_file_body_encode(bytes, &len, &body, seed), PV_OK);
    PVT_FROZEN(pvt_bytes_equal(&expected, bytes, len), "the body", name);
    pvt_bytes_release(&expected);
}

Test(peervault_vectors, bodies)
{
    static uint8_t bytes[PV_RECORD_BODY_MAX];
    size_t len;
    uint8_t seed[PV_SEED_LEN];
    json_t *root = pvt_json_load(FOLDER "bodies.json");
    take(seed, sizeof seed, root, "seed");
    reencode_file(root, "file_inline");
    reencode_file(root, "file_empty");
    reencode_file(root, "file_tree");
    reencode_file(root, "file_private_tombstone");

    static const char *const names[] = {"name", "value", "value_empty", "value_tombstone"};
    struct pvt_bytes expected;
    for (size_t i = 0; i < PV_COUNT(names); i++) {
        struct pv_name_body name;
        expected = pvt_json_hex(root, names[i]);
        cr_assert_eq(pv_name_body_decode(&name, expected.p, expected.len, true), PV_OK);
        cr_assert_eq(name.is_value, i > 0);
        cr_assert_eq(name.value_len, i == 1 ? 6 : 0);
        cr_assert_eq(pv_name_body_encode(bytes, &len, &name, seed), PV_OK);
        PVT_FROZEN(pvt_bytes_equal(&expected, bytes, len), "the body of a", names[i]);
        pvt_bytes_release(&expected);
    }

    static const char *const members[] = {"member", "member_expelled"};
    for (size_t i = 0; i < PV_COUNT(members); i++) {
        struct pv_member_body member;
        expected = pvt_json_hex(root, members[i]);
        cr_assert_eq(pv_member_body_decode(&member, expected.p, expected.len), PV_OK);
        cr_assert_eq(member.expelled, i == 1);
        cr_assert_eq(pv_member_body_encode(bytes, &len, &member), PV_OK);
        PVT_FROZEN(pvt_bytes_equal(&expected, bytes, len), "the body", members[i]);
        pvt_bytes_release(&expected);
    }
    static const char *const addresses[] = {"address", "address_none"};
    for (size_t i = 0; i < PV_COUNT(addresses); i++) {
        struct pv_address_body address;
        expected = pvt_json_hex(root, addresses[i]);
        cr_assert_eq(pv_address_body_decode(&address, expected.p, expected.len), PV_OK);
        cr_assert_eq(address.count, i == 0 ? 2 : 0);
        cr_assert_eq(pv_address_body_encode(bytes, &len, &address), PV_OK);
        PVT_FROZEN(pvt_bytes_equal(&expected, bytes, len), "the body", addresses[i]);
        pvt_bytes_release(&expected);
    }
    json_decref(root);
}

Test(peervault_vectors, records)
{
    static uint8_t env[PV_RECORD_LEN_MAX], opened[PV_RECORD_BODY_MAX];
    json_t *root = pvt_json_load(FOLDER "records.json");
    const struct pv_cluster_keys keys = keys_of(root);
    uint8_t seed[PV_SEED_LEN], salt[32];
    size_t i, env_len;
    const json_t *item;
    take(seed, sizeof seed, root, "seed");
    json_array_foreach(json_object_get(root, "records"), i, item)
    {
        struct pv_record rec;
        struct pvt_bytes body = pvt_json_hex(item, "body");
        struct pv_record_draft draft = {
            .type = (uint8_t)pvt_json_number(item, "type"),
            .flags = (uint16_t)pvt_json_number(item, "flags"),
            .hlc = u64_of(root, "hlc"),
            .epoch = (uint64_t)pvt_json_number(item, "epoch"),
            .body = body.p,
            .body_len = body.len,
        };
        take(draft.rid.b, PV_ID_LEN, item, "rid");
        take(salt, sizeof salt, item, "salt");
        cr_assert_eq(pv_record_seal(env, &env_len, &draft, &keys, seed, salt), PV_OK);
        check(item, "envelope", env, env_len);
        cr_assert_eq(pv_record_verify(&rec, env, env_len), PV_OK);
        check(item, "hash", rec.hash.b, PV_ID_LEN);
        if ((draft.flags & PV_RECORD_CLEAR) == 0) {
            cr_assert_eq(pv_record_open(opened, env, env_len, &rec, &keys), PV_OK);
            cr_assert_eq(memcmp(opened, body.p, body.len), 0);
        }
        pvt_bytes_release(&body);
    }
    cr_assert_eq(i, 8);
    json_decref(root);
}

static void put_file(const struct pvt_tmpdir *dir, const char *name, const void *data, size_t len)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir->path, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    cr_assert_eq(close(fd), 0);
}

static void give_seed(void *ctx, void *dst, size_t len)
{
    memcpy(dst, ctx, len);
}

/* Written from the same seed it is the same file. */
static void write_again(const struct pvt_tmpdir *dir, const struct pvt_bytes *file)
{
    const struct pv_fs *fs = pv_fs_real();
    uint8_t seed[PV_SEED_LEN], saved[200];
    struct pv_identity id;
    pv_fd fd;
    size_t got;
    memcpy(seed, file->p + 8, sizeof seed);
    const struct pv_env env = {.ctx = seed, .random = give_seed};
    cr_assert_eq(fs->unlink(fs->ctx, dir->fd, "identity"), PV_OK);
    cr_assert_eq(pv_identity_create(&id, fs, dir->fd, &env), PV_OK);
    cr_assert_eq(fs->open(fs->ctx, dir->fd, "identity", PV_FS_READ, &fd), PV_OK);
    cr_assert_eq(fs->read(fs->ctx, fd, saved, sizeof saved, 0, &got), PV_OK);
    cr_assert_eq(fs->close(fs->ctx, fd), PV_OK);
    PVT_FROZEN(pvt_bytes_equal(file, saved, got), "the file", "identity");
}

Test(peervault_vectors, identities)
{
    json_t *root = pvt_json_load(FOLDER "identities.json");
    struct pvt_tmpdir dir;
    size_t i;
    const json_t *item;
    pvt_tmpdir_init(&dir);
    json_array_foreach(root, i, item)
    {
        struct pv_identity id;
        char text[PV_NODE_TEXT_LEN];
        struct pvt_bytes file = pvt_json_hex(item, "file");
        put_file(&dir, "identity", file.p, file.len);
        PVT_FROZEN(pv_identity_load(&id, pv_fs_real(), dir.fd) == PV_OK, "the file", "identity");
        check(item, "public", id.pub, PV_PUB_LEN);
        check(item, "node_id", id.node_id.b, PV_ID_LEN);
        pv_node_id_format(text, &id.node_id);
        cr_assert_str_eq(text, pvt_json_text(item, "text"));
        write_again(&dir, &file);
        pvt_bytes_release(&file);
    }
    cr_assert_eq(i, 3);
    pvt_tmpdir_release(&dir);
    json_decref(root);
}

Test(peervault_vectors, keyring)
{
    json_t *root = pvt_json_load(FOLDER "keyring.json");
    const char *text = pvt_json_text(root, "text");
    const json_t *tokens = json_object_get(root, "tokens");
    struct pv_keyring k;
    struct pvt_tmpdir dir;
    char saved[4096];
    size_t got = 0;
    pv_fd fd;
    const struct pv_fs *fs = pv_fs_real();
    pvt_tmpdir_init(&dir);
    put_file(&dir, "keyring", text, strlen(text));
    PVT_FROZEN(pv_keyring_load(&k, fs, dir.fd, NULL) == PV_OK, "the file", "keyring");
    check(root, "active", pv_keyring_active(&k)->kid.b, PV_KID_LEN);
    check(root, "dedup", pv_keyring_dedup(&k)->kid.b, PV_KID_LEN);
    cr_assert_eq(k.token_count, json_array_size(tokens));
    for (size_t i = 0; i < k.token_count; i++)
        cr_assert_str_eq(k.tokens[i].text, json_string_value(json_array_get(tokens, i)));
    cr_assert_eq(pv_keyring_save(&k, fs, dir.fd), PV_OK);
    cr_assert_eq(fs->open(fs->ctx, dir.fd, "keyring", PV_FS_READ, &fd), PV_OK);
    cr_assert_eq(fs->read(fs->ctx, fd, saved, sizeof saved, 0, &got), PV_OK);
    cr_assert_eq(fs->close(fs->ctx, fd), PV_OK);
    PVT_FROZEN(got == strlen(text) && memcmp(saved, text, got) == 0, "the file", "keyring");
    pvt_tmpdir_release(&dir);
    json_decref(root);
}
