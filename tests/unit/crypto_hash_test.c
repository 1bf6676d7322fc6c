#include "crypto/hash.h"
#include "internal/base/mem.h"
#include "tests/support/vectors.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(hash, .timeout = 30);

/* In pieces of growing length, so that block borders are crossed everywhere. */
static void stream(uint8_t out[PV_HASH_LEN], const uint8_t *p, size_t len)
{
    struct pv_sha256 *s = pv_sha256_new();
    cr_assert_not_null(s);
    for (size_t piece = 0; len > 0; piece++) {
        size_t n = piece < len ? piece : len;
        pv_sha256_update(s, p, n);
        p += n;
        len -= n;
    }
    pv_sha256_final(s, out);
    pv_sha256_free(s);
}

static void check_sha256(const struct pvt_bytes *msg, size_t len, const struct pvt_bytes *md)
{
    uint8_t out[PV_HASH_LEN];
    pv_sha256(out, msg->p, len);
    cr_assert(pvt_bytes_equal(md, out, sizeof out), "one call, %zu bytes", len);
    stream(out, msg->p, len);
    cr_assert(pvt_bytes_equal(md, out, sizeof out), "streamed, %zu bytes", len);
    const struct pv_part parts[] = {
        {msg->p, len / 3}, {NULL, 0}, {msg->p + len / 3, len - len / 3}};
    pv_sha256_parts(out, parts, PV_COUNT(parts));
    cr_assert(pvt_bytes_equal(md, out, sizeof out), "in parts, %zu bytes", len);
}

/* Lines "Len = bits", "Msg = hex" (one byte when Len is 0), "MD = hex". Returns the number. */
static size_t run_nist(const char *path)
{
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    char *line = NULL;
    size_t cap = 0, count = 0, bits = 0;
    struct pvt_bytes msg = {0};
    while (getline(&line, &cap, f) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (strncmp(line, "Len = ", 6) == 0) {
            bits = (size_t)strtoull(line + 6, NULL, 10);
        } else if (strncmp(line, "Msg = ", 6) == 0) {
            pvt_bytes_release(&msg);
            msg = pvt_bytes_of_hex(line + 6);
        } else if (strncmp(line, "MD = ", 5) == 0) {
            struct pvt_bytes md = pvt_bytes_of_hex(line + 5);
            cr_assert(bits == 0 || bits / 8 == msg.len);
            check_sha256(&msg, bits / 8, &md);
            pvt_bytes_release(&md);
            count++;
        }
    }
    pvt_bytes_release(&msg);
    free(line);
    fclose(f);
    return count;
}

Test(hash, sha256_nist_short)
{
    cr_assert_eq(run_nist("tests/vectors/nist/SHA256ShortMsg.rsp"), 65);
}

Test(hash, sha256_nist_long)
{
    cr_assert_eq(run_nist("tests/vectors/nist/SHA256LongMsg.rsp"), 64);
}

Test(hash, streaming_reports_lack_of_memory)
{
    pv_mem_fail_after(0);
    cr_assert_null(pv_sha256_new());
    pv_mem_fail_after(UINT64_MAX);
    pv_sha256_free(NULL);
}

struct counts {
    size_t valid, invalid, truncated, too_long;
};

static void hmac_case(const json_t *group, const json_t *test, void *arg)
{
    struct counts *n = arg;
    struct pvt_bytes key = pvt_json_hex(test, "key"), msg = pvt_json_hex(test, "msg");
    struct pvt_bytes tag = pvt_json_hex(test, "tag");
    const bool valid = strcmp(pvt_json_text(test, "result"), "valid") == 0;
    cr_assert(tag.len * 8 == (size_t)pvt_json_number(group, "tagSize"));
    uint8_t out[PV_HASH_LEN];
    pv_hmac(out, key.p, key.len, msg.p, msg.len);
    cr_assert_eq(pv_secret_equal(out, tag.p, tag.len), valid, "tcId %lld",
                 pvt_json_number(test, "tcId"));
    const size_t cut = msg.len / 2;
    const struct pv_part parts[] = {{msg.p, cut}, {NULL, 0}, {msg.p + cut, msg.len - cut}};
    pv_hmac_parts(out, key.p, key.len, parts, PV_COUNT(parts));
    cr_assert_eq(pv_secret_equal(out, tag.p, tag.len), valid);
    *(valid ? &n->valid : &n->invalid) += 1;
    n->truncated += tag.len < PV_HASH_LEN;
    pvt_bytes_release(&key);
    pvt_bytes_release(&msg);
    pvt_bytes_release(&tag);
}

Test(hash, hmac_wycheproof)
{
    struct counts n = {0};
    pvt_wycheproof_each("tests/vectors/wycheproof/hmac_sha256_test.json", hmac_case, &n);
    cr_assert_eq(n.valid, 66);
    cr_assert_eq(n.invalid, 108);
    cr_assert_eq(n.truncated, 87);
}

Test(hash, hmac_takes_an_empty_key_and_an_empty_message)
{
    /* From an independent implementation; an empty key must not mean the key before. */
    struct pvt_bytes expected =
        pvt_bytes_of_hex("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    uint8_t out[PV_HASH_LEN];
    pv_hmac(out, "other", 5, "other", 5);
    pv_hmac(out, NULL, 0, NULL, 0);
    cr_assert(pvt_bytes_equal(&expected, out, sizeof out));
    pvt_bytes_release(&expected);
}

static void hkdf_case(const json_t *group, const json_t *test, void *arg)
{
    (void)group;
    struct counts *n = arg;
    const size_t size = (size_t)pvt_json_number(test, "size");
    if (size > 255 * PV_HASH_LEN) { /* an assertion of ours: see expand_refuses_... */
        cr_assert_str_eq(pvt_json_text(test, "result"), "invalid");
        n->too_long++;
        return;
    }
    cr_assert_str_eq(pvt_json_text(test, "result"), "valid");
    struct pvt_bytes ikm = pvt_json_hex(test, "ikm"), salt = pvt_json_hex(test, "salt");
    struct pvt_bytes info = pvt_json_hex(test, "info"), okm = pvt_json_hex(test, "okm");
    struct pvt_bytes out = pvt_bytes_of_len(size);
    uint8_t prk[PV_KEY_LEN];
    pv_hkdf_extract(prk, salt.p, salt.len, ikm.p, ikm.len);
    pv_hkdf_expand(out.p, out.len, prk, info.p, info.len);
    cr_assert(pvt_bytes_equal(&okm, out.p, out.len), "tcId %lld", pvt_json_number(test, "tcId"));
    n->valid++;
    pvt_bytes_release(&ikm);
    pvt_bytes_release(&salt);
    pvt_bytes_release(&info);
    pvt_bytes_release(&okm);
    pvt_bytes_release(&out);
}

Test(hash, hkdf_wycheproof)
{
    struct counts n = {0};
    pvt_wycheproof_each("tests/vectors/wycheproof/hkdf_sha256_test.json", hkdf_case, &n);
    cr_assert_eq(n.valid, 83);
    cr_assert_eq(n.too_long, 3);
}

Test(hash, expand_gives_up_to_255_blocks)
{
    static const uint8_t prk[PV_KEY_LEN];
    uint8_t out[255 * PV_HASH_LEN];
    memset(out, 0, sizeof out);
    pv_hkdf_expand(out, sizeof out, prk, NULL, 0);
    static const uint8_t zero[PV_HASH_LEN];
    cr_assert_neq(memcmp(out + sizeof out - sizeof zero, zero, sizeof zero), 0);
}

Test(hash, expand_refuses_more_than_255_blocks, .signal = SIGABRT)
{
    static const uint8_t prk[PV_KEY_LEN];
    uint8_t out[255 * PV_HASH_LEN + 1];
    pv_hkdf_expand(out, sizeof out, prk, NULL, 0);
}

/* Constants made with Python's hmac module. */
Test(hash, x_is_one_block_of_hkdf_expand)
{
    uint8_t key[PV_KEY_LEN], out[PV_KEY_LEN], expanded[PV_KEY_LEN];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    struct pvt_bytes gate =
        pvt_bytes_of_hex("1f2118812ebcf3194c38ffeab7d5f82b0c4aa957d695174ed482907393ec49cf");
    struct pvt_bytes epoch =
        pvt_bytes_of_hex("4e44b90efe4067ac54eeb1798efc5b796405f331b02e694b72a3042ec825f6c9");
    pv_x(out, key, "gate", NULL, 0);
    cr_assert(pvt_bytes_equal(&gate, out, sizeof out));
    static const uint8_t seven[8] = {0, 0, 0, 0, 0, 0, 0, 7};
    pv_x(out, key, "epoch", seven, sizeof seven);
    cr_assert(pvt_bytes_equal(&epoch, out, sizeof out));
    static const char info[] = "PV1/epoch\0\0\0\0\0\0\0\0\7";
    pv_hkdf_expand(expanded, sizeof expanded, key, info, sizeof info - 1);
    cr_assert_eq(memcmp(out, expanded, sizeof out), 0);
    pvt_bytes_release(&gate);
    pvt_bytes_release(&epoch);
}

/* RFC 7914, section 12: the first 32 of its 64 bytes, which a shorter output shares. */
Test(hash, scrypt_known_answers)
{
    static const struct {
        const char *pass, *salt;
        unsigned log_n, r, p;
        const char *hex;
    } cases[] = {
        {"", "", 4, 1, 1, "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"},
        {"password", "NaCl", 10, 8, 16,
         "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"},
        {"pleaseletmein", "SodiumChloride", 14, 8, 1,
         "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"},
        /* The parameters PeerVault uses; made with Python's hashlib. */
        {"correct horse battery staple", "PV1/auth-token", 15, 8, 3,
         "e74df164aa75cc316fed36d7009e9e28dec85fd290ddbdaf858c691e8f7bc9e5"},
    };
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        struct pvt_bytes expected = pvt_bytes_of_hex(cases[i].hex);
        uint8_t out[PV_KEY_LEN];
        cr_assert_eq(pv_scrypt(out, cases[i].pass, strlen(cases[i].pass), cases[i].salt,
                               cases[i].log_n, cases[i].r, cases[i].p),
                     PV_OK);
        cr_assert(pvt_bytes_equal(&expected, out, sizeof out), "case %zu", i);
        pvt_bytes_release(&expected);
    }
}

Test(hash, scrypt_stops_at_64_mib)
{
    uint8_t out[PV_KEY_LEN];
    cr_assert_eq(pv_scrypt(out, "x", 1, "s", 16, 8, 1), PV_E_NOMEM); /* 64 MiB and a little */
}

Test(hash, secrets_compare)
{
    uint8_t a[32] = {0}, b[32] = {0};
    cr_assert(pv_secret_equal(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] = 1;
        cr_assert_not(pv_secret_equal(a, b, sizeof a));
        b[i] = 0;
    }
    b[31] = 1;
    cr_assert(pv_secret_equal(a, b, 31));
    cr_assert(pv_secret_equal(a, b, 0));
}

static void *hash_in_a_thread(void *arg)
{
    uint8_t *ok = arg, digest[PV_HASH_LEN], mac[PV_HASH_LEN], again[PV_HASH_LEN];
    *ok = 1;
    for (unsigned i = 0; i < 200; i++) {
        pv_sha256(digest, arg, 0);
        pv_hmac(mac, digest, sizeof digest, &i, sizeof i);
        pv_hmac(again, digest, sizeof digest, &i, sizeof i);
        if (digest[0] != 0xe3 || memcmp(mac, again, sizeof mac) != 0)
            *ok = 0;
    }
    return NULL;
}

/* Each has contexts of its own, which the address sanitizer wants back when it ends. */
Test(hash, threads_do_not_share_contexts)
{
    pthread_t threads[4];
    uint8_t ok[4] = {0};
    for (size_t i = 0; i < PV_COUNT(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, hash_in_a_thread, &ok[i]), 0);
    for (size_t i = 0; i < PV_COUNT(threads); i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(ok[i], 1);
    }
}
