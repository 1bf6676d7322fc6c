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
#include "crypto/token.h"
#include "internal/base/env.h"

enum {
    PV_HS_M1_LEN = 96,
    PV_HS_M2_LEN = 336,
    PV_HS_M3_LEN = 304,
    PV_HS_CLOCK_LEN = 48,
    PV_HS_LEN_MAX = PV_HS_M2_LEN,
    PV_HS_TOKENS_MAX = 2,
};

/* The X25519 static key of this process, certified by the identity; never stored. */
struct pv_noise_static {
    uint8_t priv[PV_DH_LEN], pub[PV_DH_LEN];
    uint64_t not_before_s, not_after_s; /* now - 1 h .. now + 6 d */
    uint8_t sig[PV_SIG_LEN]; /* over "PV1/noise-static" 00 || pub || not_before || not_after */
};
void pv_noise_static_make(struct pv_noise_static *out, const struct pv_identity *identity,
                          const struct pv_env *env);

/* First 16 bytes of each accepted T1, kept 2 * max_skew; bounded, the oldest goes first. */
struct pv_replay_cache;
PV_MUST enum pv_err pv_replay_cache_new(struct pv_replay_cache **out, const struct pv_env *env);
void pv_replay_cache_free(struct pv_replay_cache *c);

/* Shared by all handshakes of a node; borrowed, outlives them. */
struct pv_handshake_context {
    const struct pv_env *env;
    const struct pv_identity *identity;
    const struct pv_noise_static *noise_static;
    struct pv_token_keys tokens[PV_HS_TOKENS_MAX]; /* newest first */
    size_t token_count;
    struct pv_replay_cache *replay;
    uint64_t max_skew_ms;
    uint8_t role; /* claimed: enum pv_role */
    uint32_t features;
};

enum pv_refusal { /* why a handshake ended; texts by pv_refusal_text */
                  PV_REFUSED_NOT,
                  PV_REFUSED_LENGTH,   /* not a PeerVault handshake message */
                  PV_REFUSED_MAGIC,    /* "not PeerVault": HTTP, TLS, random bytes */
                  PV_REFUSED_VERSION,  /* unknown suite or flags */
                  PV_REFUSED_TOKEN,    /* gate tag wrong: "wrong token" */
                  PV_REFUSED_CLOCK,    /* "clock differs by N s" */
                  PV_REFUSED_REPLAY,   /* "replayed first message" */
                  PV_REFUSED_CRYPTO,   /* a Noise tag or a key was bad */
                  PV_REFUSED_IDENTITY, /* certificate, node id or payload invalid */
                  PV_REFUSED_EXPECTED, /* another node id than the one dialled */
                  PV_REFUSED_SELF,     /* this is ourselves */
                  PV_REFUSED_SILENT,   /* closed without an answer: the dialler's view of a wrong
                                          token */
                  PV_REFUSED_DEADLINE,
};
const char *pv_refusal_text(enum pv_refusal r);

struct pv_handshake_peer { /* what the other side proved or claimed */
    struct pv_id node_id;
    uint8_t pub[PV_PUB_LEN];
    uint8_t role;
    uint32_t features;
    int64_t skew_ms; /* their clock minus ours, from the envelope */
};

struct pv_handshake;
/* token: index of the token to dial with (a listener tries all). expected: NULL = any node. */
PV_MUST enum pv_err pv_handshake_new(struct pv_handshake **out,
                                     const struct pv_handshake_context *ctx, bool dialler,
                                     size_t token, const struct pv_id *expected);
void pv_handshake_free(struct pv_handshake *h);

/* The next message to send, 0 bytes when it is the other side's turn. dst: PV_HS_LEN_MAX. */
PV_MUST enum pv_err pv_handshake_write(struct pv_handshake *h, uint8_t *dst, size_t *len);
/*
 * A message from the other side (payload of one frame). PV_E_AUTH / PV_E_PROTOCOL: refused, see
 * pv_handshake_refusal; after PV_REFUSED_CLOCK one pv_handshake_write gives the clock message.
 */
PV_MUST enum pv_err pv_handshake_read(struct pv_handshake *h, const uint8_t *src, size_t len);
size_t pv_handshake_expects(const struct pv_handshake *h, size_t *alternative); /* exact lengths */
enum pv_refusal pv_handshake_refusal(const struct pv_handshake *h);
int64_t pv_handshake_skew_ms(const struct pv_handshake *h);
bool pv_handshake_done(const struct pv_handshake *h);

/* After done. */
const struct pv_handshake_peer *pv_handshake_peer(const struct pv_handshake *h);
void pv_handshake_keys(const struct pv_handshake *h, uint8_t send_key[static PV_KEY_LEN],
                       uint8_t recv_key[static PV_KEY_LEN], uint8_t hash[static PV_HASH_LEN]);

#endif
