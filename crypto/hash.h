/*
 * SHA-256, HMAC-SHA256 and the key derivation built on them. With aead.h, ecc.h and prf.h the only
 * files of the project that touch OpenSSL (libcrypto only); everything above uses these.
 *
 * None of these can fail on valid input: a failure inside libcrypto (out of memory, broken
 * library) aborts the process, because no caller could go on without a hash. Thread-safe; a
 * context belongs to one thread at a time.
 */
#ifndef PV_CRYPTO_HASH_H
#define PV_CRYPTO_HASH_H

#include "internal/base/err.h"
#include "internal/base/id.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PV_HASH_LEN = 32, PV_KEY_LEN = 32 };

/* Must run once, first, in each process: libcrypto without its configuration file. */
void pv_crypto_init(void);

void pv_sha256(uint8_t out[static PV_HASH_LEN], const void *data, size_t len);

/* Streaming; heap-allocated inside. new -> update... -> final (may be asked once) -> free. */
struct pv_sha256;
struct pv_sha256 *pv_sha256_new(void); /* NULL: out of memory */
void pv_sha256_update(struct pv_sha256 *s, const void *data, size_t len);
void pv_sha256_final(struct pv_sha256 *s, uint8_t out[static PV_HASH_LEN]);
void pv_sha256_free(struct pv_sha256 *s);

struct pv_part { /* HMAC and SHA-256 over a list of pieces, so that callers need not join them */
    const void *data;
    size_t len;
};
void pv_sha256_parts(uint8_t out[static PV_HASH_LEN], const struct pv_part *parts, size_t count);
void pv_hmac(uint8_t out[static PV_HASH_LEN], const void *key, size_t key_len, const void *data,
             size_t len);
void pv_hmac_parts(uint8_t out[static PV_HASH_LEN], const void *key, size_t key_len,
                   const struct pv_part *parts, size_t count);

/* X(k, label, ctx) = HMAC-SHA256(k, "PV1/" || label || 00 || ctx || 01): HKDF-Expand, 32 bytes. */
void pv_x(uint8_t out[static PV_KEY_LEN], const uint8_t key[static PV_KEY_LEN], const char *label,
          const void *ctx, size_t ctx_len);

/* RFC 5869. extract: HMAC(salt, ikm). expand: len <= 255 * 32. */
void pv_hkdf_extract(uint8_t prk[static PV_KEY_LEN], const void *salt, size_t salt_len,
                     const void *ikm, size_t ikm_len);
void pv_hkdf_expand(void *out, size_t len, const uint8_t prk[static PV_KEY_LEN], const void *info,
                    size_t info_len);

/* N = 2^log_n, r, p; 32 bytes out. 2^15, 8, 3 needs 32 MiB: PV_E_NOMEM when that is not there. */
PV_MUST enum pv_err pv_scrypt(uint8_t out[static PV_KEY_LEN], const char *pass, size_t pass_len,
                              const char *salt, unsigned log_n, unsigned r, unsigned p);

bool pv_secret_equal(const void *a, const void *b, size_t len); /* constant time */

#endif
