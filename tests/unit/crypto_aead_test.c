#include "crypto/aead.h"
#include "internal/base/mem.h"
#include "tests/support/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(aead, .timeout = 30);

static const uint8_t key_a[PV_KEY_LEN] = {1, 2, 3}, key_b[PV_KEY_LEN] = {4, 5, 6};
static const uint8_t nonce_0[PV_NONCE_LEN];

static struct pv_aead *new_aead(const uint8_t *key)
{
    struct pv_aead *a = NULL;
    cr_assert_eq(pv_aead_new(&a, key), PV_OK);
    return a;
}

static bool all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != 0)
            return false;
    return true;
}

struct wycheproof {
    struct pv_aead *shared; /* serves every case: a context is to be reused */
    size_t valid, invalid, other;
};

static void check_case(struct pv_aead *a, const json_t *test, bool valid)
{
    struct pvt_bytes iv = pvt_json_hex(test, "iv"), aad = pvt_json_hex(test, "aad");
    struct pvt_bytes msg = pvt_json_hex(test, "msg"), ct = pvt_json_hex(test, "ct");
    struct pvt_bytes tag = pvt_json_hex(test, "tag");
    struct pvt_bytes sealed = pvt_bytes_of_len(ct.len + tag.len);
    struct pvt_bytes out = pvt_bytes_of_len(msg.len + PV_TAG_LEN);
    const long long id = pvt_json_number(test, "tcId");
    cr_assert(iv.len == PV_NONCE_LEN && tag.len == PV_TAG_LEN && ct.len == msg.len);
    if (ct.len > 0)
        memcpy(sealed.p, ct.p, ct.len);
    memcpy(sealed.p + ct.len, tag.p, tag.len);

    pv_aead_seal(a, iv.p, aad.p, aad.len, msg.p, msg.len, out.p);
    cr_assert_eq(pvt_bytes_equal(&sealed, out.p, out.len), valid, "tcId %lld", id);

    memset(out.p, 0xaa, out.len);
    enum pv_err err = pv_aead_open(a, iv.p, aad.p, aad.len, sealed.p, sealed.len, out.p);
    cr_assert_eq(err, valid ? PV_OK : PV_E_AUTH, "tcId %lld", id);
    if (valid)
        cr_assert(pvt_bytes_equal(&msg, out.p, msg.len), "tcId %lld", id);
    else
        cr_assert(all_zero(out.p, msg.len), "tcId %lld: unverified bytes left", id);

    err = pv_aead_open(a, iv.p, aad.p, aad.len, sealed.p, sealed.len, sealed.p);
    cr_assert_eq(err, valid ? PV_OK : PV_E_AUTH, "tcId %lld in place", id);
    if (valid)
        cr_assert(pvt_bytes_equal(&msg, sealed.p, msg.len));
    else
        cr_assert(all_zero(sealed.p, msg.len));
    pvt_bytes_release(&iv);
    pvt_bytes_release(&aad);
    pvt_bytes_release(&msg);
    pvt_bytes_release(&ct);
    pvt_bytes_release(&tag);
    pvt_bytes_release(&sealed);
    pvt_bytes_release(&out);
}

static void gcm_case(const json_t *group, const json_t *test, void *arg)
{
    struct wycheproof *w = arg;
    if (pvt_json_number(group, "keySize") != 256 || pvt_json_number(group, "ivSize") != 96 ||
        pvt_json_number(group, "tagSize") != 128) {
        w->other++;
        return;
    }
    const bool valid = strcmp(pvt_json_text(test, "result"), "valid") == 0;
    struct pvt_bytes key = pvt_json_hex(test, "key");
    struct pv_aead *fresh = new_aead(key.p);
    check_case(fresh, test, valid);
    pv_aead_free(fresh);
    pv_aead_rekey(w->shared, key.p);
    check_case(w->shared, test, valid);
    *(valid ? &w->valid : &w->invalid) += 1;
    pvt_bytes_release(&key);
}

Test(aead, wycheproof)
{
    struct wycheproof w = {.shared = new_aead(key_a)};
    pvt_wycheproof_each("tests/vectors/wycheproof/aes_gcm_test.json", gcm_case, &w);
    pv_aead_free(w.shared);
    cr_assert_eq(w.valid, 39);
    cr_assert_eq(w.invalid, 27);
    cr_assert_eq(w.other, 316 - 66);
}

Test(aead, every_length_round_trips_in_place_and_apart)
{
    struct pv_aead *a = new_aead(key_a);
    uint8_t plain[100], apart[100 + PV_TAG_LEN], in_place[100 + PV_TAG_LEN];
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)i;
    for (size_t len = 0; len <= sizeof plain; len++) {
        memcpy(in_place, plain, sizeof plain);
        pv_aead_seal(a, nonce_0, "ad", 2, plain, len, apart);
        pv_aead_seal(a, nonce_0, "ad", 2, in_place, len, in_place);
        cr_assert_eq(memcmp(apart, in_place, len + PV_TAG_LEN), 0);
        enum pv_err err = pv_aead_open(a, nonce_0, "ad", 2, in_place, len + PV_TAG_LEN, in_place);
        cr_assert_eq(err, PV_OK);
        cr_assert_eq(memcmp(in_place, plain, len), 0);
    }
    pv_aead_free(a);
}

Test(aead, a_mebibyte_round_trips)
{
    struct pv_aead *a = new_aead(key_a);
    struct pvt_bytes b = pvt_bytes_of_len((1 << 20) + PV_TAG_LEN);
    pv_aead_seal(a, nonce_0, NULL, 0, b.p, 1 << 20, b.p);
    cr_assert_not(all_zero(b.p, 1 << 20));
    cr_assert_eq(pv_aead_open(a, nonce_0, NULL, 0, b.p, b.len, b.p), PV_OK);
    cr_assert(all_zero(b.p, 1 << 20));
    pvt_bytes_release(&b);
    pv_aead_free(a);
}

/* One bit of each byte of tag, ciphertext, nonce and associated data; the context survives. */
Test(aead, every_corrupted_byte_is_refused_and_nothing_released)
{
    enum { LEN = 40, AD_LEN = 5 };
    struct pv_aead *a = new_aead(key_a);
    uint8_t sealed[LEN + PV_TAG_LEN], plain[LEN], out[LEN], ad[AD_LEN] = {0}, nonce[PV_NONCE_LEN];
    memset(plain, 7, sizeof plain);
    memcpy(nonce, nonce_0, sizeof nonce);
    pv_aead_seal(a, nonce, ad, sizeof ad, plain, LEN, sealed);
    struct {
        uint8_t *p;
        size_t len;
    } fields[] = {{sealed, sizeof sealed}, {nonce, sizeof nonce}, {ad, sizeof ad}};
    for (size_t f = 0; f < PV_COUNT(fields); f++)
        for (size_t i = 0; i < fields[f].len; i++) {
            const uint8_t bit = (uint8_t)(1U << i % 8);
            fields[f].p[i] ^= bit;
            memset(out, 0xaa, sizeof out);
            enum pv_err err = pv_aead_open(a, nonce, ad, sizeof ad, sealed, sizeof sealed, out);
            cr_assert_eq(err, PV_E_AUTH);
            cr_assert(all_zero(out, sizeof out));
            fields[f].p[i] ^= bit;
            err = pv_aead_open(a, nonce, ad, sizeof ad, sealed, sizeof sealed, out);
            cr_assert_eq(err, PV_OK);
            cr_assert_eq(memcmp(out, plain, LEN), 0);
        }
    cr_assert_eq(pv_aead_open(a, nonce, ad, AD_LEN - 1, sealed, sizeof sealed, out), PV_E_AUTH);
    pv_aead_free(a);
}

Test(aead, every_truncation_is_refused)
{
    struct pv_aead *a = new_aead(key_a);
    uint8_t sealed[20 + PV_TAG_LEN], out[20];
    memset(sealed, 9, 20);
    pv_aead_seal(a, nonce_0, NULL, 0, sealed, 20, sealed);
    for (size_t len = 0; len < sizeof sealed; len++)
        cr_assert_eq(pv_aead_open(a, nonce_0, NULL, 0, sealed, len, out), PV_E_AUTH);
    cr_assert_eq(pv_aead_open(a, nonce_0, NULL, 0, sealed, sizeof sealed, out), PV_OK);
    pv_aead_free(a);
}

Test(aead, rekey_replaces_the_key)
{
    struct pv_aead *a = new_aead(key_a), *b = new_aead(key_b);
    uint8_t from_a[8 + PV_TAG_LEN], from_b[8 + PV_TAG_LEN], out[8];
    pv_aead_seal(a, nonce_0, NULL, 0, "12345678", 8, from_a);
    pv_aead_seal(b, nonce_0, NULL, 0, "12345678", 8, from_b);
    cr_assert_neq(memcmp(from_a, from_b, sizeof from_a), 0);
    cr_assert_eq(pv_aead_open(a, nonce_0, NULL, 0, from_b, sizeof from_b, out), PV_E_AUTH);
    pv_aead_rekey(a, key_b);
    cr_assert_eq(pv_aead_open(a, nonce_0, NULL, 0, from_b, sizeof from_b, out), PV_OK);
    cr_assert_eq(memcmp(out, "12345678", 8), 0);
    cr_assert_eq(pv_aead_open(a, nonce_0, NULL, 0, from_a, sizeof from_a, out), PV_E_AUTH);
    pv_aead_free(a);
    pv_aead_free(b);
}

Test(aead, lack_of_memory_is_reported)
{
    struct pv_aead *a = NULL;
    pv_mem_fail_after(0);
    cr_assert_eq(pv_aead_new(&a, key_a), PV_E_NOMEM);
    pv_mem_fail_after(UINT64_MAX);
    cr_assert_null(a);
    pv_aead_free(NULL);
}
