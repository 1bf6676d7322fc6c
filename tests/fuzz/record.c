/*
 * F10: envelopes of records and what is in them. The first byte chooses: bit 0, any bytes, or any
 * bytes under a right signature. What verifies is what was signed; what a body says is written in
 * one way only.
 */
#include "tests/fuzz/fuzz.h"
#include "crypto/body.h"

static const uint8_t seed[PV_SEED_LEN] = {7};
static struct pv_record golden; /* another record, for comparing */

static void sign(uint8_t *env, size_t len)
{
    static const char label[] = "PV1/record";
    uint8_t *signed_bytes = pv_malloc(sizeof label + len);
    pv_ed25519_public(env + 72, seed);
    memcpy(signed_bytes, label, sizeof label);
    memcpy(signed_bytes + sizeof label, env, len - PV_SIG_LEN);
    pv_ed25519_sign(env + len - PV_SIG_LEN, seed, signed_bytes, sizeof label + len - PV_SIG_LEN);
    pv_free(signed_bytes);
}

static void check_bodies(const uint8_t *body, size_t len)
{
    static uint8_t again[PV_RECORD_BODY_MAX];
    struct pv_member_body member;
    struct pv_address_body address;
    struct pv_file_body file;
    struct pv_name_body name;
    size_t again_len;
    if (pv_member_body_decode(&member, body, len) == PV_OK) {
        cr_assert_eq(pv_member_body_encode(again, &again_len, &member), PV_OK);
        cr_assert(again_len == len && memcmp(again, body, len) == 0);
    }
    if (pv_address_body_decode(&address, body, len) == PV_OK) {
        cr_assert_eq(pv_address_body_encode(again, &again_len, &address), PV_OK);
        cr_assert(again_len == len && memcmp(again, body, len) == 0);
    }
    if (pv_file_body_decode(&file, body, len, false) == PV_OK) {
        cr_assert_leq(pv_file_body_len(&file), len);
        cr_assert_eq(pv_file_body_encode(again, &again_len, &file, seed), PV_OK);
        cr_assert_eq(again_len, pv_file_body_len(&file));
        cr_assert_eq(pv_file_body_decode(&file, again, again_len, true) == PV_OK,
                     memcmp(again, file.author.pub, PV_PUB_LEN) == 0);
    }
    if (pv_name_body_decode(&name, body, len, false) == PV_OK) {
        cr_assert_eq(pv_name_body_encode(again, &again_len, &name, seed), PV_OK);
        cr_assert(again_len <= len && name.name_len <= PV_NAME_MAX);
        cr_assert_leq(name.value_len, name.is_value ? PV_VALUE_MAX : 0);
    }
    enum pv_err err = pv_file_body_decode(&file, body, len, true);
    cr_assert(err != PV_E_INVALID && err != PV_E_PROTOCOL);
    err = pv_name_body_decode(&name, body, len, true);
    cr_assert(err != PV_E_INVALID && err != PV_E_PROTOCOL);
}

/* Sealed ones under the cluster key of the test vectors: those of the corpus open. */
static void check_open(const struct pv_record *rec, const uint8_t *env, size_t len)
{
    static struct pv_cluster_keys keys;
    static uint8_t body[PV_RECORD_BODY_MAX];
    uint8_t key[PV_KEY_LEN];
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    if (keys.cluster_key[1] == 0)
        cr_assert_eq(pv_cluster_keys_derive(&keys, key), PV_OK);
    if (pv_record_open(body, env, len, rec, &keys) == PV_OK)
        check_bodies(body, rec->body_len);
}

static void check_order(const struct pv_record *a)
{
    if (golden.body == NULL)
        golden = (struct pv_record){.type = a->type, .hlc = 1, .body = (const uint8_t *)""};
    cr_assert_eq(pv_record_cmp(a, a), 0);
    int one = pv_record_cmp(a, &golden), other = pv_record_cmp(&golden, a);
    cr_assert((one > 0) == (other < 0) && (one == 0) == (other == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_record parsed, verified;
    struct pv_rd r = pv_rd_of(data, size);
    uint8_t mode = pv_rd_u8(&r);
    size_t len = pv_rd_left(&r);
    uint8_t *env = pv_memdup(r.p, len);
    if ((mode & 1) != 0 && len >= PV_RECORD_LEN_MIN)
        sign(env, len);
    enum pv_err err = pv_record_parse(&parsed, env, len);
    cr_assert(err == PV_OK || err == PV_E_PROTOCOL);
    if (err == PV_OK) {
        cr_assert_eq(pv_record_len(env, len), len);
        cr_assert(parsed.body >= env && parsed.body + parsed.body_len <= env + len - PV_SIG_LEN);
        check_order(&parsed);
        check_bodies(parsed.body, parsed.body_len);
        check_open(&parsed, env, len);
    }
    enum pv_err verdict = pv_record_verify(&verified, env, len);
    cr_assert_eq(verdict == PV_E_PROTOCOL, err == PV_E_PROTOCOL);
    cr_assert((mode & 1) == 0 || verdict == err, "a right signature");
    cr_assert(verdict != PV_OK || pv_id_equal(&verified.hash, &parsed.hash));
    check_bodies(env, len);
    pv_free(env);
    return 0;
}
