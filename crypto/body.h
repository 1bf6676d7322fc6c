/*
 * Bodies of records.
 *
 * File and name bodies (types 1 and 2) begin with the statement of their original author, which
 * survives re-sealing under another cluster key:
 *
 *   author public key 32 || HLC u64 || flags u16 || 6 zero || signature 64
 *   signature over "PV1/body" 00 || type || subject || HLC || flags || SHA-256(rest of body)
 *   subject: the name, or the 32 bytes of the file's SHA-256
 *
 * Encoders sign; decoders verify the inner signature when asked to (merge and re-seal do; listing
 * does not, because the envelope was verified on arrival). Sealed bodies may have zeros after the
 * last field (the padding), clear ones end there. Tables: storage/format.md. Strings are borrowed
 * from the input. author.flags is the envelope's flags word: PV_RECORD_TOMBSTONE or 0.
 */
#ifndef PV_CRYPTO_BODY_H
#define PV_CRYPTO_BODY_H

#include "crypto/record.h"
#include "internal/base/limits.h"

enum {
    PV_NAME_MAX = 1024,
    PV_INLINE_MAX = 4096,
    PV_ADDRESS_MAX = 255,
    PV_ADDRESSES_MAX = 8,
};

struct pv_body_author {
    uint8_t pub[PV_PUB_LEN];
    pv_hlc hlc;
    uint16_t flags;
};

enum pv_chunker_id { PV_CHUNKER_NONE = 0, PV_CHUNKER_FIXED = 1, PV_CHUNKER_GEAR1 = 2 };

/* A tombstone carries the same body (the old root), so that undelete is possible. When it is not
 * any more, the bytes of an inline file are let go: is_purged. */
struct pv_file_body {
    struct pv_body_author author;
    struct pv_id sha256;
    uint64_t size;
    uint64_t mtime_ms;
    uint8_t chunker; /* enum pv_chunker_id */
    bool is_inline;  /* size <= PV_INLINE_MAX and the bytes are in the record */
    bool is_purged;  /* but for these: a tombstone without its data, which is NULL */
    bool is_private;
    uint8_t private_salt[32]; /* of the rid; zeros unless private */
    struct pv_entry root;     /* unless inline */
    const uint8_t *data;      /* inline bytes: size of them, unless purged */
    const char *name; /* the name it was first stored under, not NUL-terminated; may be empty */
    size_t name_len;
};

/* A name means a file, or a value: PV_VALUE_MAX bytes at most, of any kind. The tombstone of a
 * file's name says which one that was; that of a value has no bytes. */
struct pv_name_body {
    struct pv_body_author author;
    const char *name;
    size_t name_len;
    bool is_value;
    struct pv_id file_sha256; /* of a file's name; else zeros, as is the next */
    struct pv_id file_rid;
    const uint8_t *value; /* value_len of them; of a file's name there are none */
    size_t value_len;
};

enum pv_role { PV_ROLE_KEYED = 1, PV_ROLE_BLIND = 2 };
const char *pv_role_name(uint8_t role); /* "keyed", "blind"; "?" for no role */
uint8_t pv_role_find(const char *text); /* 0: it names no role, or is NULL */

/* Type 3, clear: who belongs. rid = pv_rid_clear(3, node id). */
struct pv_member_body {
    uint32_t generation;
    bool expelled;
    bool stale;                  /* no longer placed: unheard for 90 days, or drained */
    uint8_t role;                /* enum pv_role */
    uint8_t weight;              /* 1..16 */
    uint8_t subject[PV_PUB_LEN]; /* node id = SHA-256 of it */
    char zone[33];               /* up to 32 bytes, "" = none */
};

/* Type 5, clear, self-signed: where to reach a node, and its capacity. */
struct pv_address_body {
    uint8_t subject[PV_PUB_LEN];
    uint64_t capacity_bytes;
    uint8_t count;
    char addresses[PV_ADDRESSES_MAX][PV_ADDRESS_MAX + 1]; /* "host:port" */
};

/* Type 6, clear: which cluster key is in use, and what is to become of the others. One register
 * for all: pv_rid_cluster. */
enum { PV_CLUSTER_KIDS_MAX = 16 };
struct pv_cluster_body {
    size_t count; /* 1..16 different ones */
    struct pv_cluster_kid {
        struct pv_kid kid;
        uint64_t retire_s; /* from then on it opens nothing; 0: not said. The first is active: 0 */
    } keys[PV_CLUSTER_KIDS_MAX];
};
void pv_rid_cluster(struct pv_id *rid);

/* dst has room for PV_RECORD_BODY_MAX. file and name: the author part is filled in and signed from
 * seed, hlc and flags. PV_E_INVALID: a field out of range. */
PV_MUST enum pv_err pv_file_body_encode(uint8_t *dst, size_t *len, const struct pv_file_body *body,
                                        const uint8_t seed[static PV_SEED_LEN]);
/* The length that encode gives. */
size_t pv_file_body_len(const struct pv_file_body *body);
PV_MUST enum pv_err pv_name_body_encode(uint8_t *dst, size_t *len, const struct pv_name_body *body,
                                        const uint8_t seed[static PV_SEED_LEN]);
PV_MUST enum pv_err pv_member_body_encode(uint8_t *dst, size_t *len,
                                          const struct pv_member_body *body);
PV_MUST enum pv_err pv_address_body_encode(uint8_t *dst, size_t *len,
                                           const struct pv_address_body *body);
PV_MUST enum pv_err pv_cluster_body_encode(uint8_t *dst, size_t *len,
                                           const struct pv_cluster_body *body);

/* PV_E_CORRUPT: anything malformed. PV_E_UNSUPPORTED: a body version, or a kind of name, that this
 * version does not know. verify: also the inner signature, PV_E_AUTH. */
PV_MUST enum pv_err pv_file_body_decode(struct pv_file_body *out, const uint8_t *src, size_t len,
                                        bool verify);
PV_MUST enum pv_err pv_name_body_decode(struct pv_name_body *out, const uint8_t *src, size_t len,
                                        bool verify);
PV_MUST enum pv_err pv_member_body_decode(struct pv_member_body *out, const uint8_t *src,
                                          size_t len);
PV_MUST enum pv_err pv_address_body_decode(struct pv_address_body *out, const uint8_t *src,
                                           size_t len);
PV_MUST enum pv_err pv_cluster_body_decode(struct pv_cluster_body *out, const uint8_t *src,
                                           size_t len);

#endif
