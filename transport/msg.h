/*
 * The message vocabulary: what a frame of type 1 says after the handshake.
 *
 * payload = type u8 || body. Each body is a table in protocol.md. Decoders check every length and
 * count against the bytes that are there, demand the exact end, and borrow from the payload.
 * Encoders write into a caller's buffer of PV_FRAME_PLAIN_MAX bytes. An unknown type closes the
 * connection; new types come only behind a HELLO feature bit.
 *
 * Nothing is pushed: STORE offers, WANT asks for a body whose bytes the asker has reserved, and
 * names the stream it will arrive on. FETCH does the same for a blob somebody reported FOUND.
 */
#ifndef PV_TRANSPORT_MSG_H
#define PV_TRANSPORT_MSG_H

#include "crypto/body.h"
#include "crypto/keyring.h"
#include "internal/base/id.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"
#include "transport/frame.h"

enum pv_msg_type {
    PV_MSG_HELLO = 1,
    PV_MSG_PING = 2,
    PV_MSG_PONG = 3,
    /* 4 PEERS: reserved */
    PV_MSG_STORE = 5,
    PV_MSG_WANT = 6,
    PV_MSG_STORED = 7,
    PV_MSG_GET = 8,
    PV_MSG_FOUND = 9,
    PV_MSG_NOT_FOUND = 10,
    PV_MSG_FETCH = 11,
    PV_MSG_CANCEL = 12,
    PV_MSG_FULL = 13,
    PV_MSG_LOST = 14,
    PV_MSG_TOKEN = 15,
    PV_MSG_DIGEST = 16,
    PV_MSG_RECORD = 17,
    PV_MSG_JOIN = 18,
    PV_MSG_ERROR = 19,
    PV_MSG_GOODBYE = 20,
    PV_MSG_KEY = 21, /* between two that set PV_FEATURE_KEYS */
};
enum pv_feature { PV_FEATURE_KEYS = 1 };
const char *pv_msg_name(uint8_t type); /* "?" when unknown */

enum {
    PV_MSG_IDS_MAX = 1024,        /* ids in a STORE, STORED, GET, FOUND, NOT_FOUND, FULL, LOST */
    PV_MSG_WANTS_MAX = 64,        /* entries of a WANT or FETCH */
    PV_MSG_BUCKETS_MAX = 2048,    /* buckets of a DIGEST */
    PV_MSG_HASHES_MAX = 1024,     /* hashes of a DIGEST */
    PV_MSG_ENVELOPES_MAX = 61440, /* bytes of envelopes in a RECORD, unless it is a single one */
    PV_MSG_TEXT_MAX = 200,
    PV_HELLO_VERSION = 1,
    PV_HELLO_PROOFS_MAX = 16,
    PV_HELLO_LEN_MAX = 51 + PV_HELLO_PROOFS_MAX * (PV_KID_LEN + PV_HASH_LEN), /* the payload */
    PV_DIGEST_BUCKETS = 4096,
    PV_JOIN_NAME_MAX = 64,
};

struct pv_msg_hello {
    uint16_t version;
    uint32_t features;
    uint8_t role; /* enum pv_role, claimed; keyed only with a valid proof */
    uint8_t store_uuid[16];
    uint64_t open_count;
    uint8_t boot_random[16];
    uint16_t listen_port; /* 0: does not listen */
    uint8_t proof_count;
    struct pv_hello_proof {
        struct pv_kid kid;
        uint8_t proof[32]; /* X(K_member, "proof", h || side || node id of the prover) */
    } proofs[PV_HELLO_PROOFS_MAX];
};

struct pv_msg_ping { /* and PONG, which returns the cookie */
    uint64_t cookie;
    uint64_t wall_ms; /* the sender's clock */
};

struct pv_offer { /* of STORE */
    struct pv_id id;
    uint8_t kind;  /* enum pv_blob_kind; 0 towards blind members */
    uint32_t size; /* bytes of the blob */
};

struct pv_want { /* of WANT and FETCH: the sender of this has reserved the bytes */
    struct pv_id id;
    uint32_t offset; /* bytes already held; the body continues there */
    uint32_t stream; /* chosen by the asker, unique among its open ones */
};

struct pv_bucket { /* of DIGEST: one of 4 096, by the first 12 bits of SHA-256(envelope) */
    uint32_t count;
    uint8_t sum[16]; /* sum mod 2^128 of the first 16 bytes of each SHA-256(envelope) */
};

enum pv_digest_kind { PV_DIGEST_ROOT = 1, PV_DIGEST_BUCKET_LIST = 2, PV_DIGEST_HASH_LIST = 3 };
enum pv_stored_what { PV_STORED_BLOBS = 1, PV_STORED_RECORDS = 2 };
enum pv_goodbye {
    PV_BYE_SHUTDOWN = 1,
    PV_BYE_DUPLICATE = 2, /* a newer session with the same node took over */
    PV_BYE_SELF = 3,
    PV_BYE_CLUSTER_KEY = 4, /* claims to be keyed, but under another cluster key */
    PV_BYE_MEMBERSHIP = 5,
    PV_BYE_TWICE = 6, /* this identity runs twice */
    PV_BYE_LIMIT = 7,
    PV_BYE_PROTOCOL = 8,
    PV_BYE_IDLE = 9,
    PV_BYE_RENEW = 10,  /* the session reached its age or size: dial again, fresh keys */
    PV_BYE_BANNED = 11, /* for a while, because of faults before */
};
const char *pv_goodbye_text(uint8_t reason);

/* Encoders give the whole payload, type byte included, in w; check pv_wr_end. */
void pv_msg_put_hello(struct pv_wr *w, const struct pv_msg_hello *m);
void pv_msg_put_ping(struct pv_wr *w, uint8_t type, const struct pv_msg_ping *m);
void pv_msg_put_store(struct pv_wr *w, const struct pv_offer *offers, size_t count);
void pv_msg_put_wants(struct pv_wr *w, uint8_t type, const struct pv_want *wants, size_t count);
void pv_msg_put_stored(struct pv_wr *w, uint8_t what, const struct pv_id *ids, size_t count);
/* GET, FOUND, NOT_FOUND (request numbers pair them), FULL and LOST (request = 0). */
void pv_msg_put_ids(struct pv_wr *w, uint8_t type, uint32_t request, const struct pv_id *ids,
                    size_t count);
void pv_msg_put_cancel(struct pv_wr *w, uint32_t stream);
void pv_msg_put_digest_root(struct pv_wr *w, const uint8_t root[static 32]);
void pv_msg_put_digest_buckets(struct pv_wr *w, uint16_t first, const struct pv_bucket *buckets,
                               size_t count);
/* A bucket's list may span messages; last marks the end of the list. */
void pv_msg_put_digest_hashes(struct pv_wr *w, uint16_t bucket, bool last,
                              const struct pv_id *hashes, size_t count);
/* RECORD is put together by appending: begin once, then one call an envelope. */
void pv_msg_begin_records(struct pv_wr *w);
void pv_msg_add_record(struct pv_wr *w, const uint8_t *env, size_t len);
void pv_msg_put_error(struct pv_wr *w, uint16_t code, const char *text);
void pv_msg_put_goodbye(struct pv_wr *w, uint8_t reason, uint64_t last_n);

/*
 * Decoders take the reader just behind the type byte. PV_E_PROTOCOL on anything unexpected. Arrays
 * have room for the maximum of their message (PV_MSG_IDS_MAX, PV_MSG_WANTS_MAX); what is in them
 * after an error is unspecified, every other out-parameter is then untouched.
 */
PV_MUST enum pv_err pv_msg_get_hello(struct pv_rd *r, struct pv_msg_hello *m);
PV_MUST enum pv_err pv_msg_get_ping(struct pv_rd *r, struct pv_msg_ping *m);
PV_MUST enum pv_err pv_msg_get_store(struct pv_rd *r, struct pv_offer *offers, size_t *count);
PV_MUST enum pv_err pv_msg_get_wants(struct pv_rd *r, struct pv_want *wants, size_t *count);
PV_MUST enum pv_err pv_msg_get_stored(struct pv_rd *r, uint8_t *what, struct pv_id *ids,
                                      size_t *count);
PV_MUST enum pv_err pv_msg_get_ids(struct pv_rd *r, uint32_t *request, struct pv_id *ids,
                                   size_t *count);
PV_MUST enum pv_err pv_msg_get_cancel(struct pv_rd *r, uint32_t *stream);

struct pv_msg_digest {
    uint8_t kind; /* enum pv_digest_kind */
    uint8_t root[32];
    uint16_t first; /* first bucket of a BUCKET_LIST, the bucket of a HASH_LIST */
    bool last;
    size_t count;
    struct pv_bucket buckets[PV_MSG_BUCKETS_MAX];
    struct pv_id hashes[PV_MSG_HASHES_MAX];
};
/* Large: keep m off small stacks. After an error all of it is unspecified. */
PV_MUST enum pv_err pv_msg_get_digest(struct pv_rd *r, struct pv_msg_digest *m);

/* The next envelope of a RECORD, borrowed; *env = NULL at the end. Only its length is checked. */
PV_MUST enum pv_err pv_msg_next_record(struct pv_rd *r, const uint8_t **env, size_t *len);
PV_MUST enum pv_err pv_msg_get_error(struct pv_rd *r, uint16_t *code,
                                     char text[static PV_MSG_TEXT_MAX + 1]);
PV_MUST enum pv_err pv_msg_get_goodbye(struct pv_rd *r, uint8_t *reason, uint64_t *last_n);

/*
 * JOIN (msg_join.c), on sessions under an invite only: the joiner's REQUEST, then the GRANT,
 * perhaps after a CONFIRM: the inviter's operator is asked first. name: what the joiner calls
 * itself, for people. addresses: where members can be reached.
 */
enum pv_join_kind { PV_JOIN_REQUEST = 1, PV_JOIN_GRANT = 2, PV_JOIN_CONFIRM = 3 };

struct pv_msg_join { /* holds secrets: wipe it */
    uint8_t kind;    /* enum pv_join_kind */
    char name[PV_JOIN_NAME_MAX + 1];
    uint8_t role;              /* of a GRANT: enum pv_role */
    struct pv_keyring keyring; /* the newest token; all cluster keys, unless role is blind */
    uint8_t address_count;
    char addresses[PV_ADDRESSES_MAX][PV_ADDRESS_MAX + 1];
};
void pv_msg_put_join_request(struct pv_wr *w, const char *name);
void pv_msg_put_join_confirm(struct pv_wr *w);
void pv_msg_put_join_grant(struct pv_wr *w, uint8_t role, const struct pv_keyring *k,
                           const char *const *addresses, size_t count);
/* Large. After an error all of it is zero. */
PV_MUST enum pv_err pv_msg_get_join(struct pv_rd *r, struct pv_msg_join *m);

/* TOKEN (msg_join.c): the newest token, to members that came with an older one. */
struct pv_msg_token { /* a secret: wipe it */
    uint64_t created_s;
    uint64_t overlap_until_s; /* the older one opens the door until then */
    char text[PV_TOKEN_LEN_MAX + 1];
};
void pv_msg_put_token(struct pv_wr *w, const struct pv_msg_token *m);
PV_MUST enum pv_err pv_msg_get_token(struct pv_rd *r, struct pv_msg_token *m);

/*
 * KEY (msg_join.c), between members that both proved a cluster key: the GIVE of another one that
 * the receiver has not proved, and its answer HAVE, once the key is on its disk.
 */
enum pv_key_kind { PV_KEY_GIVE = 1, PV_KEY_HAVE = 2 };

struct pv_msg_key { /* may hold a secret: wipe it */
    uint8_t kind;   /* enum pv_key_kind */
    uint64_t created_s;
    uint8_t cluster_key[PV_KEY_LEN]; /* of a GIVE */
    struct pv_kid kid;               /* of a HAVE */
};
void pv_msg_put_key(struct pv_wr *w, const struct pv_msg_key *m);
PV_MUST enum pv_err pv_msg_get_key(struct pv_rd *r, struct pv_msg_key *m);

#endif
