/*
 * Invites: one-time codes by which a machine joins a cluster.
 *
 *   "pvj1-" base32( version 1 u8 || role u8 || first 16 bytes of the inviter's node id || id 4 ||
 *                   secret 16 || expires u32, unix seconds || first 4 bytes of SHA-256(all before)
 * )
 *
 * 79 characters, in either case, for copy and paste. The secret has 128 random bits, so it opens a
 * handshake of its own, as a token does, and needs no protection against guessing; the inviter's id
 * is pinned, so nobody else who learns the code can play the inviter.
 *
 *   PRK_i = HMAC-SHA256("PV1/invite", id || secret)
 *   K_gate = X(PRK_i, "gate", "")   psk = X(PRK_i, "noise-psk", "")
 *   number = the first 8 bytes of X(PRK_i, "sas", h), mod 1 000 000
 */
#ifndef PV_CRYPTO_INVITE_H
#define PV_CRYPTO_INVITE_H

#include "crypto/token.h"

enum {
    PV_INVITE_ID_LEN = 4,
    PV_INVITE_SECRET_LEN = 16,
    PV_INVITE_INVITER_LEN = 16,
    PV_INVITE_TEXT_LEN = 79,
    PV_INVITE_NUMBERS = 1000000,
};

struct pv_invite {
    uint8_t role; /* enum pv_role: what the joiner is to be */
    uint8_t inviter[PV_INVITE_INVITER_LEN];
    uint8_t id[PV_INVITE_ID_LEN];
    uint8_t secret[PV_INVITE_SECRET_LEN];
    uint64_t expires_s; /* < 2^32 */
};

/* A fresh one. */
void pv_invite_make(struct pv_invite *out, uint8_t role, const struct pv_id *inviter,
                    uint64_t expires_s, const struct pv_env *env);
void pv_invite_format(char out[static PV_INVITE_TEXT_LEN + 1], const struct pv_invite *invite);
/* Whether it has expired is not looked at. PV_E_INVALID: mistyped, or no invite.
 * PV_E_UNSUPPORTED: of a later version. */
PV_MUST enum pv_err pv_invite_parse(struct pv_invite *out, const char *text, size_t len);
void pv_invite_keys(struct pv_token_keys *out, const uint8_t id[static PV_INVITE_ID_LEN],
                    const uint8_t secret[static PV_INVITE_SECRET_LEN]);
/* What the two ends of a session under an invite both know, and a thief of the code cannot make
 * equal to another session's: six digits for people to compare. h: the handshake hash. */
uint32_t pv_invite_number(const uint8_t id[static PV_INVITE_ID_LEN],
                          const uint8_t secret[static PV_INVITE_SECRET_LEN],
                          const uint8_t h[static PV_HASH_LEN]);
bool pv_invite_is_from(const struct pv_invite *invite, const struct pv_id *node_id);

#endif
