/*
 * The shared secret that admits to a cluster's network: the authentication token.
 *
 * A token is either what pv_token_generate made ("pvt1-" and base32 of 32 random bytes and a
 * checksum) or a passphrase, which scrypt stretches (32 MiB and about 0.25 s, once at start).
 * It never protects content: that is the cluster key's work (keys.h).
 */
#ifndef PV_CRYPTO_TOKEN_H
#define PV_CRYPTO_TOKEN_H

#include "crypto/hash.h"
#include "internal/base/env.h"

enum { PV_TOKEN_TEXT_LEN = 63, PV_TOKEN_LEN_MAX = 1024, PV_TOKEN_WEAK_LEN = 20 };

struct pv_token_keys {
    uint8_t gate[PV_KEY_LEN]; /* K_gate: authenticates the handshake messages */
    uint8_t psk[PV_KEY_LEN];  /* the Noise psk */
};

/* "pvt1-" + 58 base32 digits (36 bytes); writes a NUL too. */
void pv_token_generate(char out[static PV_TOKEN_TEXT_LEN + 1], const struct pv_env *env);

/*
 * PV_E_INVALID: empty, longer than PV_TOKEN_LEN_MAX, or "pvt1-" with a wrong checksum.
 * *weak is set for a passphrase under 20 characters: the caller warns.
 */
PV_MUST enum pv_err pv_token_derive(struct pv_token_keys *out, const char *token, bool *weak);

#endif
