/*
 * SHA-256 and HMAC run on contexts that each thread keeps (a new one for every call costs several
 * times a short hash); a thread's end frees them. The HMAC context keeps its digest, so that a call
 * only sets the key. Algorithms are fetched once and kept for the life of the process.
 */
#include "crypto/hash.h"
#include "internal/base/mem.h"
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <string.h>

/* What 2^15, 8, 3 needs is 32 MiB and a little; libcrypto's own default bound is exactly that. */
enum { SCRYPT_MEMORY_MAX = 64 * 1024 * 1024 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;
static EVP_MAC *hmac;
static pthread_key_t thread_key;

struct thread_state {
    EVP_MD_CTX *md;
    EVP_MAC_CTX *mac;
};

static _Thread_local struct thread_state *thread_state;

static void thread_state_free(void *arg)
{
    struct thread_state *t = arg;
    EVP_MD_CTX_free(t->md);
    EVP_MAC_CTX_free(t->mac);
    pv_free(t);
    thread_state = NULL;
}

static void init_once(void)
{
    int ok = OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    PV_ASSERT(ok == 1);
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    PV_ASSERT(sha256 != NULL && hmac != NULL);
    int err = pthread_key_create(&thread_key, thread_state_free);
    PV_ASSERT(err == 0);
}

void pv_crypto_init(void)
{
    pthread_once(&once, init_once);
}

static struct thread_state *thread_state_get(void)
{
    if (thread_state != NULL)
        return thread_state;
    pv_crypto_init();
    struct thread_state *t = pv_calloc(1, sizeof *t);
    PV_ASSERT(t != NULL);
    char digest[] = "SHA256"; /* OSSL_PARAM wants it writable */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    t->md = EVP_MD_CTX_new();
    t->mac = EVP_MAC_CTX_new(hmac);
    PV_ASSERT(t->md != NULL && t->mac != NULL);
    int ok = EVP_MAC_CTX_set_params(t->mac, params);
    PV_ASSERT(ok == 1);
    int err = pthread_setspecific(thread_key, t);
    PV_ASSERT(err == 0);
    thread_state = t;
    return t;
}

void pv_sha256_parts(uint8_t out[static PV_HASH_LEN], const struct pv_part *parts, size_t count)
{
    EVP_MD_CTX *ctx = thread_state_get()->md;
    int ok = EVP_DigestInit_ex2(ctx, sha256, NULL);
    for (size_t i = 0; ok == 1 && i < count; i++)
        ok = EVP_DigestUpdate(ctx, parts[i].data, parts[i].len);
    if (ok == 1)
        ok = EVP_DigestFinal_ex(ctx, out, NULL);
    PV_ASSERT(ok == 1);
}

void pv_sha256(uint8_t out[static PV_HASH_LEN], const void *data, size_t len)
{
    pv_sha256_parts(out, &(struct pv_part){data, len}, 1);
}

struct pv_sha256 {
    EVP_MD_CTX *ctx;
};

struct pv_sha256 *pv_sha256_new(void)
{
    pv_crypto_init();
    struct pv_sha256 *s = pv_malloc(sizeof *s);
    if (s == NULL)
        return NULL;
    s->ctx = EVP_MD_CTX_new();
    if (s->ctx == NULL || EVP_DigestInit_ex2(s->ctx, sha256, NULL) != 1) {
        pv_sha256_free(s);
        return NULL;
    }
    return s;
}

void pv_sha256_update(struct pv_sha256 *s, const void *data, size_t len)
{
    int ok = EVP_DigestUpdate(s->ctx, data, len);
    PV_ASSERT(ok == 1);
}

void pv_sha256_final(struct pv_sha256 *s, uint8_t out[static PV_HASH_LEN])
{
    int ok = EVP_DigestFinal_ex(s->ctx, out, NULL);
    PV_ASSERT(ok == 1);
}

void pv_sha256_free(struct pv_sha256 *s)
{
    if (s == NULL)
        return;
    EVP_MD_CTX_free(s->ctx);
    pv_free(s);
}

void pv_hmac_parts(uint8_t out[static PV_HASH_LEN], const void *key, size_t key_len,
                   const struct pv_part *parts, size_t count)
{
    EVP_MAC_CTX *ctx = thread_state_get()->mac;
    /* A NULL key would mean "the one before". */
    const void *k = key_len == 0 ? "" : key;
    int ok = EVP_MAC_init(ctx, k, key_len, NULL);
    for (size_t i = 0; ok == 1 && i < count; i++)
        if (parts[i].len > 0)
            ok = EVP_MAC_update(ctx, parts[i].data, parts[i].len);
    if (ok == 1)
        ok = EVP_MAC_final(ctx, out, NULL, PV_HASH_LEN);
    PV_ASSERT(ok == 1);
}

void pv_hmac(uint8_t out[static PV_HASH_LEN], const void *key, size_t key_len, const void *data,
             size_t len)
{
    pv_hmac_parts(out, key, key_len, &(struct pv_part){data, len}, 1);
}

void pv_x(uint8_t out[static PV_KEY_LEN], const uint8_t key[static PV_KEY_LEN], const char *label,
          const void *ctx, size_t ctx_len)
{
    const struct pv_part parts[] = {
        {"PV1/", 4},
        {label, strlen(label) + 1}, /* its NUL ends it */
        {ctx, ctx_len},
        {"\x01", 1},
    };
    pv_hmac_parts(out, key, PV_KEY_LEN, parts, PV_COUNT(parts));
}

void pv_hkdf_extract(uint8_t prk[static PV_KEY_LEN], const void *salt, size_t salt_len,
                     const void *ikm, size_t ikm_len)
{
    pv_hmac(prk, salt, salt_len, ikm, ikm_len);
}

/* T(i) = HMAC(prk, T(i-1) || info || i): the loop of RFC 5869, section 2.3. */
void pv_hkdf_expand(void *out, size_t len, const uint8_t prk[static PV_KEY_LEN], const void *info,
                    size_t info_len)
{
    PV_ASSERT(len <= (size_t)255 * PV_HASH_LEN);
    uint8_t *p = out;
    uint8_t block[PV_HASH_LEN];
    for (unsigned i = 1; len > 0; i++) {
        const uint8_t counter = (uint8_t)i;
        const struct pv_part parts[] = {
            {block, i == 1 ? 0 : sizeof block},
            {info, info_len},
            {&counter, 1},
        };
        pv_hmac_parts(block, prk, PV_KEY_LEN, parts, PV_COUNT(parts));
        const size_t n = len < sizeof block ? len : sizeof block;
        memcpy(p, block, n);
        p += n;
        len -= n;
    }
    pv_wipe(block, sizeof block);
}

enum pv_err pv_scrypt(uint8_t out[static PV_KEY_LEN], const char *pass, size_t pass_len,
                      const char *salt, unsigned log_n, unsigned r, unsigned p)
{
    PV_ASSERT(log_n > 0 && log_n < 64 && r > 0 && p > 0);
    pv_crypto_init();
    const int ok = EVP_PBE_scrypt(pass, pass_len, (const unsigned char *)salt, strlen(salt),
                                  UINT64_C(1) << log_n, r, p, SCRYPT_MEMORY_MAX, out, PV_KEY_LEN);
    if (ok == 1)
        return PV_OK;
    ERR_clear_error();
    return PV_E_NOMEM;
}

bool pv_secret_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}
