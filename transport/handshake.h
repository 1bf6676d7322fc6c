/*
 * The handshake: Noise_XXpsk3_25519_AESGCM_SHA256, each message behind an HMAC gate under the
 * token. Sans-IO; messages have exact lengths (M1 96, M2 336, M3 304 bytes, each the payload of one
 * frame of type 1). protocol.md has the tables and the order of checks.
 *
 * Life: new -> (dialler: write M1) -> feed/write until done -> take keys -> free.
 * A refusal names its cause, for our own log only: the other side gets silence, except that a
 * correctly gated M1 with a wrong clock is answered once with a 48-byte clock message (msg 4).
 */
#ifndef PV_TRANSPORT_HANDSHAKE_H
#define PV_TRANSPORT_HANDSHAKE_H

#include "crypto/identity.h"
#include "crypto/noise.h"
#include "crypto/invite.h"
#include "internal/base/env.h"
#include "internal/base/limits.h"
#include "transport/replay.h"

enum {
    PV_HS_M1_LEN = 96,
    PV_HS_M2_LEN = 336,
    PV_HS_M3_LEN = 304,
    PV_HS_CLOCK_LEN = 48,
    PV_HS_LEN_MAX = PV_HS_M2_LEN,
    PV_HS_TOKENS_MAX = 2,
};

/*
 * The X25519 static key of this process, certified by the identity; never stored. Made again daily:
 * handshakes take a copy when they begin. Wipe with pv_wipe.
 */
struct pv_noise_static {
    uint8_t priv[PV_DH_LEN], pub[PV_DH_LEN];
    uint8_t past_pub[PV_DH_LEN]; /* the one before it: handshakes that began with it still run */
    uint64_t not_before_s, not_after_s; /* now - 1 h .. now + 6 d */
    uint8_t sig[PV_SIG_LEN]; /* over "PV1/noise-static" 00 || pub || not_before || not_after */
};
void pv_noise_static_make(struct pv_noise_static *out, const struct pv_identity *identity,
                          const struct pv_env *env);
/* Makes it again when it is a day old, or the clock was set to before it or far behind it. To be
 * called every few minutes; true: it is another one now. */
bool pv_noise_static_refresh(struct pv_noise_static *s, const struct pv_identity *identity,
                             const struct pv_env *env);

/* Shared by all handshakes of a node; borrowed, outlives them. */
struct pv_handshake_context {
    const struct pv_env *env;
    const struct pv_identity *identity;
    const struct pv_noise_static *noise_static;
    struct pv_token_keys tokens[PV_HS_TOKENS_MAX]; /* newest first */
    size_t token_count;
    struct pv_gate_invite { /* open to diallers besides the tokens */
        uint8_t id[PV_INVITE_ID_LEN];
        struct pv_token_keys keys;
    } invites[PV_INVITES_MAX];
    size_t invite_count;
    struct pv_replay_cache *replay;
    uint64_t max_skew_ms;
    uint8_t role; /* claimed: enum pv_role */
    uint32_t features;
};

/* Why a handshake ended; X(name, text). */
#define PV_REFUSAL_LIST(X)                                                          \
    X(NOT, "not refused")                                                           \
    X(LENGTH, "wrong handshake message")                                            \
    X(MAGIC, "not a PeerVault handshake")   /* HTTP, TLS, random bytes */           \
    X(VERSION, "unknown handshake version") /* suite or flags */                    \
    X(TOKEN, "wrong token")                 /* gate tag */                          \
    X(CLOCK, "clocks differ")               /* the log names seconds */             \
    X(REPLAY, "replayed first message")                                             \
    X(CRYPTO, "handshake does not decrypt")     /* a Noise tag or a bad key */      \
    X(IDENTITY, "invalid identity certificate") /* or node id, or payload */        \
    X(EXPECTED, "another node than expected")   /* than the one dialled */          \
    X(SELF, "this is ourselves")                                                    \
    X(TWIN, "this identity runs twice") /* ourselves, but another process */        \
    X(SILENT, "closed without an answer: wrong token on one side?") /* before M2 */ \
    X(HELLO, "no valid HELLO after the handshake")                                  \
    X(DEADLINE, "handshake took too long")                                          \
    X(GONE, "closed during the handshake") /* by the other side */

enum pv_refusal {
#define X(name, text) PV_REFUSED_##name,
    PV_REFUSAL_LIST(X)
#undef X
};
const char *pv_refusal_text(enum pv_refusal r);

struct pv_handshake_peer { /* what the other side proved or claimed */
    struct pv_id node_id;
    uint8_t pub[PV_PUB_LEN];
    uint8_t role;
    uint32_t features;
    int64_t skew_ms;                     /* their clock minus ours, from the envelope */
    size_t token;                        /* which of ours it was, 0 the newest; not of a guest */
    bool is_guest;                       /* a dialler that came by an invite: nobody yet */
    uint8_t invite_id[PV_INVITE_ID_LEN]; /* of a guest */
    /* Timestamps of M1 and M2: both sides know the same two numbers (see duplicate.h). */
    uint64_t dialled_ms, answered_ms;
};

struct pv_handshake;
/* token: index of the token to dial with, the newest if it is gone (a listener tries all).
 * expected: NULL = any node. The context's tokens may change at any time; a handshake keeps those
 * it needs. PV_E_NOMEM. */
PV_MUST enum pv_err pv_handshake_new(struct pv_handshake **out,
                                     const struct pv_handshake_context *ctx, bool dialler,
                                     size_t token, const struct pv_id *expected);
void pv_handshake_free(struct pv_handshake *h);

/* The next message to send, 0 bytes when it is the other side's turn. dst: PV_HS_LEN_MAX.
 * PV_E_NOMEM, PV_E_AUTH (unusable key of the other side). */
PV_MUST enum pv_err pv_handshake_write(struct pv_handshake *h, uint8_t *dst, size_t *len);
/*
 * A message from the other side (payload of one frame). PV_E_AUTH / PV_E_PROTOCOL: refused, see
 * pv_handshake_refusal; after PV_REFUSED_CLOCK one pv_handshake_write gives the clock message.
 */
PV_MUST enum pv_err pv_handshake_read(struct pv_handshake *h, const uint8_t *src, size_t len);
/* Exact length of the message that must come next, 0 = none; a second one allowed, or 0. */
size_t pv_handshake_expects(const struct pv_handshake *h, size_t *alternative);
enum pv_refusal pv_handshake_refusal(const struct pv_handshake *h);
/* Their clock minus ours, whatever either says. */
int64_t pv_skew_ms(uint64_t theirs_ms, uint64_t ours_ms);
int64_t pv_handshake_skew_ms(const struct pv_handshake *h);
bool pv_handshake_done(const struct pv_handshake *h);

/* After done. */
const struct pv_handshake_peer *pv_handshake_peer(const struct pv_handshake *h);
void pv_handshake_keys(const struct pv_handshake *h, uint8_t send_key[static PV_KEY_LEN],
                       uint8_t recv_key[static PV_KEY_LEN], uint8_t hash[static PV_HASH_LEN]);

#endif
