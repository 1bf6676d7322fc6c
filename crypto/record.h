/*
 * Records: small, signed, last-writer-wins, sealed. The envelope, byte for byte:
 *
 *    0  4 "PVR1"   4 1 type   5 1 suite 1   6 2 flags   8 8 kid   16 8 epoch   24 32 rid
 *   56  8 HLC     64 8 zero  72 32 author public key   104 32 salt   136 32 commitment
 *  168  4 body length n (ciphertext without tag)   172 4 zero
 *  176  n + 16 ciphertext and tag (clear types: n, no tag)   then 64 Ed25519 signature
 *
 *   key 32 || nonce 12 || commitment 32 =
 *       HKDF-Expand(K_rec[e], "PV1/record" 00 || bytes[0..136), 76)
 *   AAD = bytes[0..136); signature over "PV1/record" 00 || all bytes before it
 *
 * Ordering fields are clear and signed, and envelopes travel byte for byte. storage/format.md has
 * the reasons and the bodies. Pure functions, thread-safe.
 */
#ifndef PV_CRYPTO_RECORD_H
#define PV_CRYPTO_RECORD_H

#include "crypto/ecc.h"
#include "crypto/keys.h"
#include "crypto/tree.h"

enum {
    PV_RECORD_HEADER_LEN = 176,
    PV_RECORD_BODY_MAX = 61440,
    PV_RECORD_BODY_MIN = 512, /* sealed bodies are padded with padme, at least to this */
    PV_RECORD_LEN_MAX = PV_RECORD_HEADER_LEN + PV_RECORD_BODY_MAX + PV_TAG_LEN + PV_SIG_LEN,
    PV_RECORD_LEN_MIN = PV_RECORD_HEADER_LEN + PV_SIG_LEN,
};

enum pv_record_type {
    PV_RECORD_FILE = 1,
    PV_RECORD_NAME = 2,
    PV_RECORD_MEMBER = 3,
    PV_RECORD_TRUST = 4,
    PV_RECORD_ADDRESS = 5,
    PV_RECORD_CLUSTER = 6, /* further types are verified, stored and forwarded */
};
enum pv_record_flags { PV_RECORD_TOMBSTONE = 1, PV_RECORD_CLEAR = 2 };

/* Hybrid logical clock: 48 bit unix milliseconds, 16 bit counter. */
typedef uint64_t pv_hlc;
static inline uint64_t pv_hlc_ms(pv_hlc h)
{
    return h >> 16;
}
/* The clock of the next write: now, or last + 1 where that is later. last: the highest HLC seen or
 * written. A full counter carries into the milliseconds. */
pv_hlc pv_hlc_next(pv_hlc last, uint64_t wall_ms);

struct pv_record { /* the clear part of an envelope; view is what was parsed */
    uint8_t type;
    uint16_t flags;
    struct pv_kid kid;
    uint64_t epoch;
    struct pv_id rid;
    pv_hlc hlc;
    uint8_t author[PV_PUB_LEN];
    struct pv_id hash;   /* SHA-256 of the whole envelope */
    const uint8_t *body; /* ciphertext, or the clear body; borrowed from the envelope */
    size_t body_len;
};

/* How long an envelope that begins so says it is; 0: no envelope begins so, or too few bytes are
 * there to tell (PV_RECORD_LEN_MIN suffice). For finding envelopes among other bytes. */
size_t pv_record_len(const uint8_t *bytes, size_t len);
/* Structure only, no signature: lengths, magic, suite, flags fit the type, reserved bytes are zero.
 * PV_E_PROTOCOL. */
PV_MUST enum pv_err pv_record_parse(struct pv_record *out, const uint8_t *env, size_t len);
/* parse and the signature (about 0.1 ms). PV_E_PROTOCOL, PV_E_AUTH, PV_E_NOMEM. */
PV_MUST enum pv_err pv_record_verify(struct pv_record *out, const uint8_t *env, size_t len);

/* The order of one register: (HLC, tombstone before live, hash); > 0 when a wins over b.
 * Member records order by (generation, expelled before admitted, HLC, hash). Of two types, which
 * honest writers never put under one rid, the lower wins: a type that many may write cannot
 * displace one that few may. */
int pv_record_cmp(const struct pv_record *a, const struct pv_record *b);

/*
 * A removal is remembered for PV_TOMBSTONE_DAYS. The first clock of which that is so at this time:
 * tombstones below it have expired, for all nodes from the same midnight (UTC) on.
 */
pv_hlc pv_hlc_remembered(uint64_t wall_ms);

struct pv_record_draft {
    uint8_t type;
    uint16_t flags;
    struct pv_id rid;
    pv_hlc hlc;
    uint64_t epoch;      /* 0 for clear records */
    const uint8_t *body; /* plaintext, unpadded; at most PV_RECORD_BODY_MAX */
    size_t body_len;
};
/*
 * Seals (or, with PV_RECORD_CLEAR, copies) the body and signs. env has room for PV_RECORD_LEN_MAX.
 * keys may be NULL for clear records. salt: 32 fresh random bytes. draft->body is not within env.
 * PV_E_INVALID: flags that do not fit the type, a body over the maximum, an epoch before 2020 of a
 * sealed record or any epoch of a clear one. PV_E_NOMEM.
 */
PV_MUST enum pv_err pv_record_seal(uint8_t *env, size_t *env_len,
                                   const struct pv_record_draft *draft,
                                   const struct pv_cluster_keys *keys,
                                   const uint8_t seed[static PV_SEED_LEN],
                                   const uint8_t salt[static 32]);
/*
 * Opens a sealed body into dst (room for rec->body_len), padding included: body decoders read what
 * they need and require zeros after it. rec was parsed from env. PV_E_UNSUPPORTED: kid is not
 * keys->kid. PV_E_CORRUPT: commitment or tag. PV_E_INVALID: a clear record, or an epoch before 2020
 * (the caller has compared it with its clock: pv_epoch_plausible). PV_E_NOMEM.
 */
PV_MUST enum pv_err pv_record_open(uint8_t *dst, const uint8_t *env, size_t env_len,
                                   const struct pv_record *rec, const struct pv_cluster_keys *keys);

#endif
