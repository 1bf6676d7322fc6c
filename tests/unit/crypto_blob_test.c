#include "crypto/blob.h"

#include "internal/base/mem.h"
#include "tests/unit/crypto_fixture.h"

TestSuite(blob, .timeout = 120);

static uint8_t *sealed(struct pv_blob_sealed *out, uint64_t epoch, enum pv_blob_kind kind,
                       size_t payload_len, const uint8_t *random_dk)
{
    const struct pv_cluster_keys keys = pvt_cluster_keys(0);
    uint8_t *buf = pv_malloc(pv_blob_len(payload_len));
    cr_assert_not_null(buf);
    pvt_pattern(buf + PV_BLOB_PAYLOAD_OFFSET, payload_len);
    cr_assert_eq(pv_blob_seal(out, &keys, epoch, kind, buf, payload_len, random_dk), PV_OK);
    cr_assert_eq(out->blob_len, pv_blob_len(payload_len));
    return buf;
}

static enum pv_err open_copy(const uint8_t *blob, size_t blob_len, const uint8_t *dk,
                             enum pv_blob_kind kind)
{
    const uint8_t *payload = NULL;
    size_t payload_len = 0;
    uint8_t *copy = pv_memdup(blob, blob_len);
    cr_assert_not_null(copy);
    enum pv_err err = pv_blob_open(copy, blob_len, dk, kind, &payload, &payload_len);
    if (err != PV_OK) {
        cr_assert_null(payload);
        for (size_t i = 0; i < blob_len; i++)
            cr_assert_eq(copy[i], 0, "not wiped at %zu", i);
    }
    pv_free(copy);
    return err;
}

Test(blob, padme)
{
    static const size_t known[][2] = {{2, 2},     {9, 10},        {256, 256},      {257, 272},
                                      {271, 272}, {272, 272},     {4096, 4096},    {4097, 4352},
                                      {511, 512}, {65535, 65536}, {983040, 983040}};
    for (size_t i = 0; i < PV_COUNT(known); i++)
        cr_assert_eq(pv_padme(known[i][0]), known[i][1], "padme(%zu)", known[i][0]);
    for (size_t len = 2; len < 70000; len++) {
        const size_t padded = pv_padme(len);
        cr_assert(padded >= len);
        cr_assert_eq(pv_padme(padded), padded);
        if (len >= 256)
            cr_assert(16 * (padded - len) <= len);
    }
    cr_assert_eq(pv_blob_padded_len(1), PV_BLOB_PADDED_MIN);
    cr_assert_eq(pv_blob_padded_len(248), 256);
    cr_assert_eq(pv_blob_padded_len(249), 272);
    cr_assert_eq(pv_blob_padded_len(PV_BLOB_PAYLOAD_MAX), PV_BLOB_PADDED_MAX);
}

Test(blob, round_trip_at_every_edge)
{
    static const size_t lengths[] = {1,    247,    248,    249,    4095,   4096,
                                     4097, 978943, 978944, 978945, 983031, 983032};
    for (size_t i = 0; i < PV_COUNT(lengths); i++) {
        struct pv_blob_sealed s;
        const uint8_t *payload;
        size_t payload_len;
        uint8_t *blob = sealed(&s, 0, PV_BLOB_CHUNK, lengths[i], NULL);
        uint8_t *expected = pv_malloc(lengths[i]);
        cr_assert_not_null(expected);
        pvt_pattern(expected, lengths[i]);
        cr_assert_eq(pv_blob_check(blob, s.blob_len, &s.id), PV_OK);
        cr_assert_eq(pv_blob_open(blob, s.blob_len, s.dk, PV_BLOB_CHUNK, &payload, &payload_len),
                     PV_OK);
        cr_assert_eq(payload_len, lengths[i]);
        cr_assert_eq(memcmp(payload, expected, payload_len), 0);
        pv_free(expected);
        pv_free(blob);
    }
}

Test(blob, seal_refuses_what_is_out_of_range)
{
    const struct pv_cluster_keys keys = pvt_cluster_keys(0);
    static uint8_t buf[PV_BLOB_LEN_MAX + 1];
    struct pv_blob_sealed s;
    const uint8_t dk[PV_KEY_LEN] = {1};
    cr_assert_eq(pv_blob_seal(&s, &keys, 0, PV_BLOB_CHUNK, buf, 0, NULL), PV_E_INVALID);
    cr_assert_eq(pv_blob_seal(&s, &keys, 0, PV_BLOB_CHUNK, buf, PV_BLOB_PAYLOAD_MAX + 1, NULL),
                 PV_E_INVALID);
    cr_assert_eq(pv_blob_seal(&s, &keys, 0, (enum pv_blob_kind)0, buf, 1, NULL), PV_E_INVALID);
    cr_assert_eq(pv_blob_seal(&s, &keys, 0, (enum pv_blob_kind)3, buf, 1, NULL), PV_E_INVALID);
    cr_assert_eq(pv_blob_seal(&s, &keys, PVT_EPOCH, PV_BLOB_CHUNK, buf, 1, dk), PV_E_INVALID);
}

Test(blob, every_flipped_byte_is_found_with_and_without_key)
{
    struct pv_blob_sealed s;
    uint8_t *blob = sealed(&s, 0, PV_BLOB_CHUNK, 300, NULL);
    for (size_t i = 0; i < s.blob_len; i++) {
        for (unsigned bit = 1; bit < 256; bit <<= 4) {
            blob[i] ^= (uint8_t)bit;
            cr_assert_eq(pv_blob_check(blob, s.blob_len, &s.id), PV_E_CORRUPT, "byte %zu", i);
            cr_assert_eq(open_copy(blob, s.blob_len, s.dk, PV_BLOB_CHUNK), PV_E_CORRUPT, "byte %zu",
                         i);
            blob[i] ^= (uint8_t)bit;
        }
    }
    cr_assert_eq(open_copy(blob, s.blob_len, s.dk, PV_BLOB_CHUNK), PV_OK);
    pv_free(blob);
}

Test(blob, every_truncation_is_found)
{
    struct pv_blob_sealed s;
    uint8_t *blob = sealed(&s, 0, PV_BLOB_CHUNK, 300, NULL);
    for (size_t len = 0; len < s.blob_len; len++) {
        uint8_t *cut = pv_memdup(blob, len); /* of exactly that length, for the sanitizer */
        struct pv_id id;
        pv_sha256(id.b, cut, len); /* even under its own name */
        cr_assert_eq(pv_blob_check(cut, len, &id), PV_E_CORRUPT);
        pv_free(cut);
        cr_assert_eq(open_copy(blob, len, s.dk, PV_BLOB_CHUNK), PV_E_CORRUPT);
    }
    pv_free(blob);
}

Test(blob, wrong_key_and_wrong_kind)
{
    struct pv_blob_sealed s;
    uint8_t *blob = sealed(&s, 0, PV_BLOB_NODE, 300, NULL);
    uint8_t dk[PV_KEY_LEN];
    memcpy(dk, s.dk, sizeof dk);
    dk[31] ^= 1;
    cr_assert_eq(open_copy(blob, s.blob_len, dk, PV_BLOB_NODE), PV_E_CORRUPT);
    cr_assert_eq(open_copy(blob, s.blob_len, s.dk, PV_BLOB_CHUNK), PV_E_CORRUPT);
    cr_assert_eq(open_copy(blob, s.blob_len, s.dk, PV_BLOB_NODE), PV_OK);
    pv_free(blob);
}

Test(blob, same_input_same_blob_and_any_difference_another)
{
    struct pv_blob_sealed a, b;
    const uint8_t random_dk[PV_KEY_LEN] = {7, 7, 7};
    uint8_t *blob = sealed(&a, 0, PV_BLOB_CHUNK, 300, NULL);
    pv_free(sealed(&b, 0, PV_BLOB_CHUNK, 300, NULL));
    cr_assert(pv_id_equal(&a.id, &b.id));
    cr_assert_eq(memcmp(a.dk, b.dk, sizeof a.dk), 0);

    struct pv_blob_sealed others[4];
    uint8_t *epoch_blob = sealed(&others[0], PVT_EPOCH, PV_BLOB_CHUNK, 300, NULL);
    pv_free(sealed(&others[1], 0, PV_BLOB_NODE, 300, NULL));
    pv_free(sealed(&others[2], 0, PV_BLOB_CHUNK, 301, NULL)); /* same n, other pre */
    pv_free(sealed(&others[3], 0, PV_BLOB_CHUNK, 300, random_dk));
    cr_assert_eq(others[2].blob_len, a.blob_len);
    cr_assert_eq(memcmp(others[3].dk, random_dk, sizeof random_dk), 0);
    for (size_t i = 0; i < PV_COUNT(others); i++) {
        cr_assert_not(pv_id_equal(&a.id, &others[i].id), "%zu", i);
        cr_assert_neq(memcmp(a.dk, others[i].dk, sizeof a.dk), 0, "%zu", i);
    }
    cr_assert_eq(open_copy(epoch_blob, others[0].blob_len, others[0].dk, PV_BLOB_CHUNK), PV_OK);
    cr_assert_eq(open_copy(blob, a.blob_len, a.dk, PV_BLOB_CHUNK), PV_OK);
    pv_free(epoch_blob);
    pv_free(blob);
}

Test(blob, another_cluster_gives_another_blob)
{
    const struct pv_cluster_keys other = pvt_cluster_keys(1);
    struct pv_blob_sealed a, b;
    uint8_t buf[PV_BLOB_LEN_MIN];
    pv_free(sealed(&a, 0, PV_BLOB_CHUNK, 100, NULL));
    pvt_pattern(buf + PV_BLOB_PAYLOAD_OFFSET, 100);
    cr_assert_eq(pv_blob_seal(&b, &other, 0, PV_BLOB_CHUNK, buf, 100, NULL), PV_OK);
    cr_assert_not(pv_id_equal(&a.id, &b.id));
    cr_assert_neq(memcmp(a.dk, b.dk, sizeof a.dk), 0);
}

/* Seals what a faulty writer with a valid key might: header and P' as given, under dk. */
static enum pv_err open_forged(const uint8_t *header, const uint8_t *plain, size_t n)
{
    static const uint8_t nonce[PV_NONCE_LEN];
    const uint8_t dk[PV_KEY_LEN] = {42};
    uint8_t *blob = pv_malloc(PV_BLOB_HEADER_LEN + n + PV_TAG_LEN);
    struct pv_aead *aead = NULL;
    cr_assert_not_null(blob);
    memcpy(blob, header, PV_BLOB_HEADER_LEN);
    cr_assert_eq(pv_aead_new(&aead, dk), PV_OK);
    pv_aead_seal(aead, nonce, blob, PV_BLOB_HEADER_LEN, plain, n, blob + PV_BLOB_HEADER_LEN);
    pv_aead_free(aead);
    enum pv_err err = open_copy(blob, PV_BLOB_HEADER_LEN + n + PV_TAG_LEN, dk, PV_BLOB_CHUNK);
    pv_free(blob);
    return err;
}

Test(blob, one_wrong_field_at_a_time)
{
    uint8_t header[PV_BLOB_HEADER_LEN] = {'P', 'V', 'B', '1', 1}, plain[512];
    memset(plain, 0, sizeof plain);
    header[26] = 1; /* n = 256 */
    plain[3] = 100; /* payload length */
    plain[5] = PV_BLOB_CHUNK;
    plain[6] = 2; /* random key */
    pvt_pattern(plain + 8, 100);
    cr_assert_eq(open_forged(header, plain, 256), PV_OK);

    static const struct {
        size_t offset;
        uint8_t value;
        enum pv_err err;
    } fields[] = {
        {0, 1, PV_E_CORRUPT},  /* length over the maximum */
        {2, 1, PV_E_CORRUPT},  /* length that has another n */
        {3, 0, PV_E_CORRUPT},  /* length 0 */
        {3, 99, PV_E_CORRUPT}, /* the last payload byte becomes padding */
        {4, 1, PV_E_UNSUPPORTED},
        {4, 2, PV_E_CORRUPT},
        {5, 0, PV_E_CORRUPT},
        {5, PV_BLOB_NODE, PV_E_CORRUPT},
        {6, 0, PV_E_CORRUPT},
        {6, 3, PV_E_CORRUPT},
        {7, 1, PV_E_CORRUPT},
        {8 + 100, 1, PV_E_CORRUPT}, /* first and last byte of the padding */
        {255, 1, PV_E_CORRUPT},
    };
    for (size_t i = 0; i < PV_COUNT(fields); i++) {
        const uint8_t kept = plain[fields[i].offset];
        plain[fields[i].offset] = fields[i].value;
        cr_assert_eq(open_forged(header, plain, 256), fields[i].err, "field %zu", i);
        plain[fields[i].offset] = kept;
    }
    header[23] = 1; /* an epoch, with a random key */
    cr_assert_eq(open_forged(header, plain, 256), PV_E_CORRUPT);
    plain[6] = 1;
    cr_assert_eq(open_forged(header, plain, 256), PV_OK);
    header[27] = 16; /* more padding than needed, though padme could give it */
    cr_assert_eq(open_forged(header, plain, 272), PV_E_CORRUPT);
    header[27] = 1; /* a length padme cannot give */
    cr_assert_eq(open_forged(header, plain, 257), PV_E_CORRUPT);
}

Test(blob, headers_that_anyone_refuses)
{
    struct pv_blob_sealed s;
    uint8_t *blob = sealed(&s, 0, PV_BLOB_CHUNK, 1, NULL);
    static const size_t checked[] = {0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31};
    for (size_t i = 0; i < PV_COUNT(checked); i++) {
        struct pv_id id;
        blob[checked[i]] ^= 0x80;
        pv_sha256(id.b, blob, s.blob_len); /* the id fits, the header does not */
        cr_assert_eq(pv_blob_check(blob, s.blob_len, &id), PV_E_CORRUPT, "byte %zu", checked[i]);
        blob[checked[i]] ^= 0x80;
    }
    blob[8] ^= 1; /* the kid is informational */
    struct pv_id id;
    pv_sha256(id.b, blob, s.blob_len);
    cr_assert_eq(pv_blob_check(blob, s.blob_len, &id), PV_OK);
    pv_free(blob);
}

Test(blob, out_of_memory_is_an_error)
{
    const struct pv_cluster_keys keys = pvt_cluster_keys(0);
    struct pv_blob_sealed s;
    const uint8_t *payload;
    size_t payload_len;
    uint8_t buf[PV_BLOB_LEN_MIN] = {0};
    enum pv_err err = PV_E_NOMEM;
    for (uint64_t n = 0; err == PV_E_NOMEM && n < 10; n++) {
        pv_mem_fail_after(n);
        err = pv_blob_seal(&s, &keys, 0, PV_BLOB_CHUNK, buf, 10, NULL);
    }
    pv_mem_fail_after(UINT64_MAX);
    cr_assert_eq(err, PV_OK);
    pv_mem_fail_after(0);
    err = pv_blob_open(buf, s.blob_len, s.dk, PV_BLOB_CHUNK, &payload, &payload_len);
    pv_mem_fail_after(UINT64_MAX);
    cr_assert_eq(err, PV_E_NOMEM);
}
