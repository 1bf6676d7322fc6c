/*
 * CBC-MAC is the last block of a CBC encryption, so libcrypto's CBC does the work: one call for the
 * four blocks, with the zero IV set anew each time.
 */
#include "crypto/prf.h"
#include "internal/base/mem.h"
#include <openssl/evp.h>
#include <pthread.h>

enum { BLOCK_LEN = 16 };

struct pv_prf {
    EVP_CIPHER_CTX *ctx;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *cbc;

static void fetch(void)
{
    pv_crypto_init();
    cbc = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
    PV_ASSERT(cbc != NULL);
}

enum pv_err pv_prf_new(struct pv_prf **out, const uint8_t key[static PV_PRF_KEY_LEN])
{
    pthread_once(&once, fetch);
    struct pv_prf *prf = pv_malloc(sizeof *prf);
    if (prf == NULL)
        return PV_E_NOMEM;
    prf->ctx = EVP_CIPHER_CTX_new();
    if (prf->ctx == NULL || EVP_EncryptInit_ex2(prf->ctx, cbc, key, NULL, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(prf->ctx, 0) != 1) {
        pv_prf_free(prf);
        return PV_E_NOMEM;
    }
    *out = prf;
    return PV_OK;
}

uint64_t pv_prf_window(struct pv_prf *prf, const uint8_t window[static PV_PRF_WINDOW_LEN])
{
    static const uint8_t zero_iv[BLOCK_LEN];
    uint8_t out[PV_PRF_WINDOW_LEN];
    int len = 0;
    int ok = EVP_EncryptInit_ex2(prf->ctx, NULL, NULL, zero_iv, NULL);
    if (ok == 1)
        ok = EVP_EncryptUpdate(prf->ctx, out, &len, window, PV_PRF_WINDOW_LEN);
    PV_ASSERT(ok == 1 && len == PV_PRF_WINDOW_LEN);
    uint64_t v = 0;
    for (size_t i = 8; i-- > 0;)
        v = v << 8 | out[PV_PRF_WINDOW_LEN - BLOCK_LEN + i];
    return v;
}

void pv_prf_free(struct pv_prf *prf)
{
    if (prf == NULL)
        return;
    EVP_CIPHER_CTX_free(prf->ctx); /* wipes the key schedule */
    pv_free(prf);
}
