/*
 * Keys come and go as 32 raw bytes; a libcrypto key object lives for one call. To make one from a
 * private key alone libcrypto computes the public key, which costs as much as a signature. A node
 * signs with one key, four times a stored file, so each thread remembers the last seed's public
 * key, by the seed's SHA-256: nothing that is remembered is secret.
 *
 * What depends on a peer's bytes is an error; a failure on our own key is libcrypto out of memory,
 * and aborts as in hash.h.
 */
#include "crypto/ecc.h"
#include "crypto/hash.h"
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

static EVP_PKEY *private_key(const char *type, const uint8_t *raw)
{
    pv_crypto_init();
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(NULL, type, NULL, raw, 32);
    PV_ASSERT(key != NULL);
    return key;
}

static void public_of(uint8_t *pub, const char *type, const uint8_t *raw)
{
    EVP_PKEY *key = private_key(type, raw);
    size_t len = 32;
    const int ok = EVP_PKEY_get_raw_public_key(key, pub, &len);
    PV_ASSERT(ok == 1 && len == 32);
    EVP_PKEY_free(key);
}

/* The public key of a seed, valid until the next call of this thread. */
static uint8_t *ed25519_public(const uint8_t *seed)
{
    static _Thread_local struct {
        uint8_t seed_hash[32], pub[PV_PUB_LEN];
        bool is_set;
    } last;
    uint8_t hash[32];
    pv_sha256(hash, seed, PV_SEED_LEN);
    if (!last.is_set || memcmp(hash, last.seed_hash, sizeof hash) != 0) {
        public_of(last.pub, "ED25519", seed);
        memcpy(last.seed_hash, hash, sizeof hash);
        last.is_set = true;
    }
    return last.pub;
}

void pv_ed25519_public(uint8_t pub[static PV_PUB_LEN], const uint8_t seed[static PV_SEED_LEN])
{
    memcpy(pub, ed25519_public(seed), PV_PUB_LEN);
}

/* Both halves are given, so that libcrypto computes neither. */
static EVP_PKEY *signing_key(const uint8_t *seed)
{
    uint8_t secret[PV_SEED_LEN]; /* parameters are not const */
    memcpy(secret, seed, sizeof secret);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, secret, sizeof secret),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, ed25519_public(seed),
                                          PV_PUB_LEN),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "ED25519", NULL);
    PV_ASSERT(ctx != NULL);
    const int ok = EVP_PKEY_fromdata_init(ctx) == 1 &&
                   EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) == 1;
    PV_ASSERT(ok && key != NULL);
    EVP_PKEY_CTX_free(ctx);
    OPENSSL_cleanse(secret, sizeof secret);
    return key;
}

void pv_ed25519_sign(uint8_t sig[static PV_SIG_LEN], const uint8_t seed[static PV_SEED_LEN],
                     const void *msg, size_t len)
{
    EVP_PKEY *key = signing_key(seed);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    PV_ASSERT(ctx != NULL);
    size_t sig_len = PV_SIG_LEN;
    int ok = EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL);
    if (ok == 1)
        ok = EVP_DigestSign(ctx, sig, &sig_len, len == 0 ? (const void *)"" : msg, len);
    PV_ASSERT(ok == 1 && sig_len == PV_SIG_LEN);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

enum pv_err pv_ed25519_verify(const uint8_t sig[static PV_SIG_LEN],
                              const uint8_t pub[static PV_PUB_LEN], const void *msg, size_t len)
{
    if (pv_ed25519_check_public(pub) != PV_OK)
        return PV_E_AUTH;
    pv_crypto_init();
    enum pv_err err = PV_E_AUTH;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    PV_ASSERT(ctx != NULL);
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, pub, PV_PUB_LEN);
    if (key == NULL)
        goto out;
    if (EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) != 1)
        goto out;
    if (EVP_DigestVerify(ctx, sig, PV_SIG_LEN, len == 0 ? (const void *)"" : msg, len) == 1)
        err = PV_OK;
out:
    if (err != PV_OK)
        ERR_clear_error();
    EVP_PKEY_free(key);
    EVP_MD_CTX_free(ctx);
    return err;
}

/* The y of every point of order 1, 2, 4 and 8, little-endian as keys are; the sign of x is bit 255
 * and does not matter. */
static const uint8_t low_order_y[][PV_PUB_LEN] = {
    {0},
    {1},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
     0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
     0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
     0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
     0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
};

/* p = 2^255 - 19 = ed ff .. ff 7f: y >= p has all ones above the lowest byte. */
static bool at_least_p(const uint8_t y[static PV_PUB_LEN])
{
    for (size_t i = 1; i < PV_PUB_LEN - 1; i++)
        if (y[i] != 0xff)
            return false;
    return y[PV_PUB_LEN - 1] == 0x7f && y[0] >= 0xed;
}

enum pv_err pv_ed25519_check_public(const uint8_t pub[static PV_PUB_LEN])
{
    uint8_t y[PV_PUB_LEN];
    memcpy(y, pub, sizeof y);
    y[PV_PUB_LEN - 1] &= 0x7f;
    if (at_least_p(y))
        return PV_E_AUTH;
    for (size_t i = 0; i < PV_COUNT(low_order_y); i++)
        if (memcmp(y, low_order_y[i], sizeof y) == 0)
            return PV_E_AUTH;
    return PV_OK;
}

void pv_x25519_public(uint8_t pub[static PV_DH_LEN], const uint8_t priv[static PV_DH_LEN])
{
    public_of(pub, "X25519", priv);
}

enum pv_err pv_x25519(uint8_t shared[static PV_DH_LEN], const uint8_t priv[static PV_DH_LEN],
                      const uint8_t pub[static PV_DH_LEN])
{
    enum pv_err err = PV_E_AUTH;
    uint8_t result[PV_DH_LEN];
    size_t len = sizeof result;
    EVP_PKEY *own = private_key("X25519", priv);
    EVP_PKEY *peer = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, pub, PV_DH_LEN);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
    PV_ASSERT(ctx != NULL);
    if (peer == NULL || EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_derive_set_peer(ctx, peer) != 1)
        goto out;
    if (EVP_PKEY_derive(ctx, result, &len) != 1 || len != sizeof result)
        goto out; /* all zero: a low-order point */
    memcpy(shared, result, sizeof result);
    err = PV_OK;
out:
    if (err != PV_OK)
        ERR_clear_error();
    OPENSSL_cleanse(result, sizeof result);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    return err;
}
