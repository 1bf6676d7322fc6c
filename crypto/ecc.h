/*
 * Ed25519 signatures (RFC 8032) and X25519 key agreement (RFC 7748), fixed-size keys only.
 */
#ifndef PV_CRYPTO_ECC_H
#define PV_CRYPTO_ECC_H

#include "crypto/hash.h"

enum { PV_PUB_LEN = 32, PV_SEED_LEN = 32, PV_SIG_LEN = 64, PV_DH_LEN = 32 };

void pv_ed25519_public(uint8_t pub[static PV_PUB_LEN], const uint8_t seed[static PV_SEED_LEN]);
void pv_ed25519_sign(uint8_t sig[static PV_SIG_LEN], const uint8_t seed[static PV_SEED_LEN],
                     const void *msg, size_t len);
/* PV_E_AUTH when the signature is wrong or pv_ed25519_check_public refuses the key. */
PV_MUST enum pv_err pv_ed25519_verify(const uint8_t sig[static PV_SIG_LEN],
                                      const uint8_t pub[static PV_PUB_LEN], const void *msg,
                                      size_t len);
/*
 * Refuses small-order and non-canonical keys (y >= p, or y one of the low-order values): libcrypto
 * accepts them, and one signature then verifies for almost any message. PV_E_AUTH.
 */
PV_MUST enum pv_err pv_ed25519_check_public(const uint8_t pub[static PV_PUB_LEN]);

void pv_x25519_public(uint8_t pub[static PV_DH_LEN], const uint8_t priv[static PV_DH_LEN]);
/* PV_E_AUTH for a low-order point (all-zero result). */
PV_MUST enum pv_err pv_x25519(uint8_t shared[static PV_DH_LEN],
                              const uint8_t priv[static PV_DH_LEN],
                              const uint8_t pub[static PV_DH_LEN]);

#endif
