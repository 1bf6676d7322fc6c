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
 * Whether token can be one, without the cost of scrypt. PV_E_INVALID: empty, longer than
 * PV_TOKEN_LEN_MAX, or "pvt1-" (in either case) with a wrong checksum. *weak is set for a
 * passphrase under 20 bytes: the caller warns.
 */
PV_MUST enum pv_err pv_token_check(const char *token, bool *weak);

/* The keys of a token. As pv_token_check, and PV_E_NOMEM. Wipe with pv_wipe(out, sizeof *out). */
PV_MUST enum pv_err pv_token_derive(struct pv_token_keys *out, const char *token, bool *weak);

/*
 * Whether token spells key, as 64 hex digits or in the random form. Such a token is refused: it
 * would put the secret that protects content wherever the weaker secret goes.
 */
bool pv_token_is_key(const char *token, const uint8_t key[static PV_KEY_LEN]);

#endif
