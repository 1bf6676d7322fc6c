#include "crypto/ecc.h"
#include "tests/support/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(ecc, .timeout = 60);

static void from_hex(uint8_t *dst, size_t len, const char *hex)
{
    cr_assert_eq(pv_hex_decode(dst, len, hex, strlen(hex)), PV_OK);
}

struct counts {
    size_t valid, invalid, wrong_length, refused;
};

static void ed25519_case(const json_t *group, const json_t *test, void *arg)
{
    struct counts *n = arg;
    struct pvt_bytes pub = pvt_json_hex(json_object_get(group, "publicKey"), "pk");
    struct pvt_bytes msg = pvt_json_hex(test, "msg"), sig = pvt_json_hex(test, "sig");
    const bool valid = strcmp(pvt_json_text(test, "result"), "valid") == 0;
    cr_assert_eq(pub.len, PV_PUB_LEN);
    if (sig.len != PV_SIG_LEN) { /* cannot be expressed: our lengths are fixed */
        cr_assert_not(valid);
        n->wrong_length++;
    } else {
        cr_assert_eq(pv_ed25519_verify(sig.p, pub.p, msg.p, msg.len), valid ? PV_OK : PV_E_AUTH,
                     "tcId %lld", pvt_json_number(test, "tcId"));
        *(valid ? &n->valid : &n->invalid) += 1;
    }
    pvt_bytes_release(&pub);
    pvt_bytes_release(&msg);
    pvt_bytes_release(&sig);
}

Test(ecc, ed25519_wycheproof)
{
    struct counts n = {0};
    pvt_wycheproof_each("tests/vectors/wycheproof/ed25519_test.json", ed25519_case, &n);
    cr_assert_eq(n.valid, 88);
    cr_assert_eq(n.invalid, 63 - 12);
    cr_assert_eq(n.wrong_length, 12);
}

/*
 * The file says what is odd about each case. Our key check refuses every odd A that can be listed;
 * of the rest, libcrypto refuses a non-canonical R and a low-order residue, and accepts what has
 * only a low-order part.
 */
static void cctv_case(const json_t *test, struct counts *n)
{
    struct pvt_bytes pub = pvt_json_hex(test, "key"), sig = pvt_json_hex(test, "sig");
    const char *msg = pvt_json_text(test, "msg");
    const long long number = pvt_json_number(test, "number");
    const bool odd_key = pvt_json_has(test, "flags", "low_order_A") ||
                         pvt_json_has(test, "flags", "non_canonical_A");
    const bool odd_signature = pvt_json_has(test, "flags", "non_canonical_R") ||
                               pvt_json_has(test, "flags", "low_order_residue");
    const bool valid = !odd_key && !odd_signature;
    cr_assert(pub.len == PV_PUB_LEN && sig.len == PV_SIG_LEN);
    cr_assert_eq(pv_ed25519_check_public(pub.p), odd_key ? PV_E_AUTH : PV_OK, "%lld", number);
    cr_assert_eq(pv_ed25519_verify(sig.p, pub.p, msg, strlen(msg)), valid ? PV_OK : PV_E_AUTH,
                 "%lld", number);
    n->refused += odd_key;
    *(valid ? &n->valid : &n->invalid) += 1;
    pvt_bytes_release(&pub);
    pvt_bytes_release(&sig);
}

Test(ecc, ed25519_edge_points)
{
    json_t *cases = pvt_json_load("tests/vectors/cctv/ed25519vectors.json");
    struct counts n = {0};
    for (size_t i = 0; i < json_array_size(cases); i++)
        cctv_case(json_array_get(cases, i), &n);
    json_decref(cases);
    cr_assert_eq(n.refused, 526);
    cr_assert_eq(n.valid, 86);
    cr_assert_eq(n.invalid, 914 - 86);
}

/* Both borders of the rule, with either sign of x: p - 1 is low order, p and more not canonical. */
Test(ecc, key_check_borders)
{
    uint8_t pub[PV_PUB_LEN];
    for (unsigned sign = 0; sign < 2; sign++) {
        memset(pub, 0xff, sizeof pub);
        pub[31] = (uint8_t)(0x7f | sign << 7);
        for (unsigned low = 0; low < 256; low++) {
            pub[0] = (uint8_t)low;
            cr_assert_eq(pv_ed25519_check_public(pub), low >= 0xec ? PV_E_AUTH : PV_OK);
        }
        for (size_t i = 1; i < PV_PUB_LEN; i++) { /* 0xed below something smaller is under p */
            memset(pub, 0xff, sizeof pub);
            pub[31] = (uint8_t)(0x7f | sign << 7);
            pub[i] ^= 1;
            cr_assert_eq(pv_ed25519_check_public(pub), PV_OK);
        }
        memset(pub, 0, sizeof pub);
        pub[31] = (uint8_t)(sign << 7);
        for (unsigned low = 0; low < 256; low++) {
            pub[0] = (uint8_t)low;
            cr_assert_eq(pv_ed25519_check_public(pub), low <= 1 ? PV_E_AUTH : PV_OK);
        }
    }
}

/* For the identity as the key, R = identity and S = 0 fit any message: why the check exists. */
Test(ecc, the_universal_signature_is_refused)
{
    const uint8_t identity[PV_PUB_LEN] = {1};
    const uint8_t sig[PV_SIG_LEN] = {1};
    cr_assert_eq(pv_ed25519_verify(sig, identity, "any", 3), PV_E_AUTH);
}

/* RFC 8032, section 7.1, tests 1 to 3. */
Test(ecc, ed25519_signs_as_the_rfc_does)
{
    static const struct {
        const char *seed, *pub, *msg, *sig;
    } cases[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701"
         "cf9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d"
         "0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f7609"
         "84dc6594a7c15e9716ed28dc027beceea1ec40a"},
    };
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        uint8_t seed[PV_SEED_LEN], pub[PV_PUB_LEN], sig[PV_SIG_LEN], out[PV_SIG_LEN];
        struct pvt_bytes msg = pvt_bytes_of_hex(cases[i].msg);
        from_hex(seed, sizeof seed, cases[i].seed);
        from_hex(pub, sizeof pub, cases[i].pub);
        from_hex(sig, sizeof sig, cases[i].sig);
        pv_ed25519_public(out, seed);
        cr_assert_eq(memcmp(out, pub, sizeof pub), 0);
        pv_ed25519_sign(out, seed, msg.len == 0 ? NULL : msg.p, msg.len);
        cr_assert_eq(memcmp(out, sig, sizeof sig), 0);
        cr_assert_eq(pv_ed25519_verify(sig, pub, msg.p, msg.len), PV_OK);
        pvt_bytes_release(&msg);
    }
}

/* A thread remembers one public key: never another seed's. */
Test(ecc, ed25519_seeds_take_turns)
{
    uint8_t seeds[2][PV_SEED_LEN] = {{1}, {2}}, pubs[2][PV_PUB_LEN], pub[PV_PUB_LEN];
    uint8_t sig[PV_SIG_LEN];
    for (int i = 0; i < 2; i++)
        pv_ed25519_public(pubs[i], seeds[i]);
    for (int i = 0; i < 6; i++) {
        pv_ed25519_sign(sig, seeds[i % 2], "text", 4);
        cr_assert_eq(pv_ed25519_verify(sig, pubs[i % 2], "text", 4), PV_OK);
        cr_assert_eq(pv_ed25519_verify(sig, pubs[1 - i % 2], "text", 4), PV_E_AUTH);
        pv_ed25519_public(pub, seeds[i / 2 % 2]);
        cr_assert_eq(memcmp(pub, pubs[i / 2 % 2], sizeof pub), 0);
    }
}

Test(ecc, ed25519_binds_every_byte)
{
    uint8_t seed[PV_SEED_LEN] = {42}, pub[PV_PUB_LEN], sig[PV_SIG_LEN], msg[8] = "message";
    pv_ed25519_public(pub, seed);
    pv_ed25519_sign(sig, seed, msg, sizeof msg);
    struct {
        uint8_t *p;
        size_t len;
    } fields[] = {{sig, sizeof sig}, {pub, sizeof pub}, {msg, sizeof msg}};
    for (size_t f = 0; f < PV_COUNT(fields); f++)
        for (size_t i = 0; i < fields[f].len; i++) {
            fields[f].p[i] ^= 1;
            cr_assert_eq(pv_ed25519_verify(sig, pub, msg, sizeof msg), PV_E_AUTH);
            fields[f].p[i] ^= 1;
        }
    cr_assert_eq(pv_ed25519_verify(sig, pub, msg, sizeof msg - 1), PV_E_AUTH);
    cr_assert_eq(pv_ed25519_verify(sig, pub, msg, sizeof msg), PV_OK);
}

static void x25519_case(const json_t *group, const json_t *test, void *arg)
{
    (void)group;
    struct counts *n = arg;
    struct pvt_bytes pub = pvt_json_hex(test, "public"), priv = pvt_json_hex(test, "private");
    struct pvt_bytes shared = pvt_json_hex(test, "shared");
    const bool zero = pvt_json_has(test, "flags", "ZeroSharedSecret");
    const long long id = pvt_json_number(test, "tcId");
    cr_assert(pub.len == PV_DH_LEN && priv.len == PV_DH_LEN);
    uint8_t out[PV_DH_LEN];
    memset(out, 0xaa, sizeof out);
    cr_assert_eq(pv_x25519(out, priv.p, pub.p), zero ? PV_E_AUTH : PV_OK, "tcId %lld", id);
    if (zero)
        cr_assert_eq(out[0], 0xaa, "written on failure");
    else
        cr_assert(pvt_bytes_equal(&shared, out, sizeof out), "tcId %lld", id);
    *(zero ? &n->refused : &n->valid) += 1;
    pvt_bytes_release(&pub);
    pvt_bytes_release(&priv);
    pvt_bytes_release(&shared);
}

Test(ecc, x25519_wycheproof)
{
    struct counts n = {0};
    pvt_wycheproof_each("tests/vectors/wycheproof/x25519_test.json", x25519_case, &n);
    cr_assert_eq(n.refused, 31);
    cr_assert_eq(n.valid, 518 - 31);
}

/* RFC 7748, section 5.2: k = u = 9; then each result is the next k, and the k before the next u. */
Test(ecc, x25519_iterated_as_in_the_rfc)
{
    uint8_t k[PV_DH_LEN] = {9}, u[PV_DH_LEN] = {9}, out[PV_DH_LEN], once[PV_DH_LEN];
    uint8_t after_1000[PV_DH_LEN];
    from_hex(once, sizeof once, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    from_hex(after_1000, sizeof after_1000,
             "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
    pv_x25519_public(out, k); /* the base point is 9 too */
    cr_assert_eq(memcmp(out, once, sizeof out), 0);
    for (size_t i = 0; i < 1000; i++) {
        cr_assert_eq(pv_x25519(out, k, u), PV_OK);
        memcpy(u, k, sizeof u);
        memcpy(k, out, sizeof k);
        if (i == 0)
            cr_assert_eq(memcmp(out, once, sizeof out), 0);
    }
    cr_assert_eq(memcmp(out, after_1000, sizeof out), 0);
}

Test(ecc, x25519_sides_agree)
{
    uint8_t a[PV_DH_LEN], b[PV_DH_LEN], a_pub[PV_DH_LEN], b_pub[PV_DH_LEN];
    uint8_t from_a[PV_DH_LEN], from_b[PV_DH_LEN];
    memset(a, 5, sizeof a);
    memset(b, 6, sizeof b);
    pv_x25519_public(a_pub, a);
    pv_x25519_public(b_pub, b);
    cr_assert_eq(pv_x25519(from_a, a, b_pub), PV_OK);
    cr_assert_eq(pv_x25519(from_b, b, a_pub), PV_OK);
    cr_assert_eq(memcmp(from_a, from_b, sizeof from_a), 0);
}
