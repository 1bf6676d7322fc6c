/*
 * One libcrypto context a pv_aead. The key is set once; a call only sets the nonce and the
 * direction, because GCM has one key schedule for both. Nothing ever changes the IV length from
 * its default of 12: setting it through parameters had a fault of its own (CVE-2023-5363).
 */
#include "crypto/aead.h"
#include "internal/base/mem.h"
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

struct pv_aead {
    EVP_CIPHER_CTX *ctx;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *gcm;

static void fetch(void)
{
    pv_crypto_init();
    gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    PV_ASSERT(gcm != NULL);
}

enum pv_err pv_aead_new(struct pv_aead **out, const uint8_t key[static PV_KEY_LEN])
{
    pthread_once(&once, fetch);
    struct pv_aead *a = pv_malloc(sizeof *a);
    if (a == NULL)
        return PV_E_NOMEM;
    a->ctx = EVP_CIPHER_CTX_new();
    if (a->ctx == NULL || EVP_CipherInit_ex2(a->ctx, gcm, key, NULL, 1, NULL) != 1) {
        pv_aead_free(a);
        return PV_E_NOMEM;
    }
    *out = a;
    return PV_OK;
}

void pv_aead_rekey(struct pv_aead *a, const uint8_t key[static PV_KEY_LEN])
{
    const int ok = EVP_CipherInit_ex2(a->ctx, NULL, key, NULL, 1, NULL);
    PV_ASSERT(ok == 1);
}

void pv_aead_free(struct pv_aead *a)
{
    if (a == NULL)
        return;
    EVP_CIPHER_CTX_free(a->ctx); /* wipes the key schedule */
    pv_free(a);
}

/* Everything up to the tag. None of it can fail but for our own mistakes. */
static void crypt(struct pv_aead *a, const uint8_t *nonce, const void *ad, size_t ad_len,
                  const void *src, size_t len, uint8_t *dst, int seal)
{
    PV_ASSERT(len <= INT_MAX && ad_len <= INT_MAX);
    int n = 0;
    int ok = EVP_CipherInit_ex2(a->ctx, NULL, NULL, nonce, seal, NULL);
    if (ok == 1 && ad_len > 0)
        ok = EVP_CipherUpdate(a->ctx, NULL, &n, ad, (int)ad_len);
    if (ok == 1 && len > 0)
        ok = EVP_CipherUpdate(a->ctx, dst, &n, src, (int)len);
    PV_ASSERT(ok == 1);
}

void pv_aead_seal(struct pv_aead *a, const uint8_t nonce[static PV_NONCE_LEN], const void *ad,
                  size_t ad_len, const void *src, size_t len, uint8_t *dst)
{
    crypt(a, nonce, ad, ad_len, src, len, dst, 1);
    int n = 0;
    int ok = EVP_CipherFinal_ex(a->ctx, dst + len, &n);
    if (ok == 1)
        ok = EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_GET_TAG, PV_TAG_LEN, dst + len);
    PV_ASSERT(ok == 1);
}

enum pv_err pv_aead_open(struct pv_aead *a, const uint8_t nonce[static PV_NONCE_LEN],
                         const void *ad, size_t ad_len, const void *src, size_t len, uint8_t *dst)
{
    if (len < PV_TAG_LEN)
        return PV_E_AUTH;
    len -= PV_TAG_LEN;
    uint8_t tag[PV_TAG_LEN];
    memcpy(tag, (const uint8_t *)src + len, sizeof tag);
    crypt(a, nonce, ad, ad_len, src, len, dst, 0);
    const int ok = EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, PV_TAG_LEN, tag);
    PV_ASSERT(ok == 1);
    uint8_t none[PV_TAG_LEN];
    int n = 0;
    if (EVP_CipherFinal_ex(a->ctx, none, &n) == 1)
        return PV_OK;
    if (len > 0)
        OPENSSL_cleanse(dst, len);
    return PV_E_AUTH;
}
