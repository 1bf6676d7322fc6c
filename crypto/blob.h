/*
 * Blobs: immutable, encrypted, named by the SHA-256 of their own stored bytes.
 *
 *   header (32) || ciphertext of P' (n) || GCM tag (16);  id = SHA-256 of all of it
 *   pre = u32 payload_len || u8 codec || u8 kind || u8 flags || 00
 *   P'  = pre || payload || zeros up to n;  n = padme(8 + payload_len), at least 256
 *   DK  = X(K_conv[e], "chunk", header || SHA-256(pre || payload)), or 32 random bytes
 *
 * The data key is bound to exactly the bytes sealed, so one key seals one message ever and the
 * nonce can be zero. storage/format.md has the full table and the reasons. Pure functions,
 * thread-safe. Sizes are bytes.
 */
#ifndef PV_CRYPTO_BLOB_H
#define PV_CRYPTO_BLOB_H

#include "crypto/aead.h"
#include "crypto/keys.h"
#include "internal/base/env.h"

enum {
    PV_BLOB_HEADER_LEN = 32,
    PV_BLOB_PRE_LEN = 8,
    PV_BLOB_PAYLOAD_MAX = 983032,
    PV_BLOB_PADDED_MIN = 256,
    PV_BLOB_PADDED_MAX = 983040,
    PV_BLOB_LEN_MIN = PV_BLOB_HEADER_LEN + PV_BLOB_PADDED_MIN + PV_TAG_LEN,
    PV_BLOB_LEN_MAX = PV_BLOB_HEADER_LEN + PV_BLOB_PADDED_MAX + PV_TAG_LEN,
    /* Where the payload goes in a seal buffer: after header and pre. */
    PV_BLOB_PAYLOAD_OFFSET = PV_BLOB_HEADER_LEN + PV_BLOB_PRE_LEN,
};

enum pv_blob_kind { PV_BLOB_CHUNK = 1, PV_BLOB_NODE = 2 };

/*
 * The padding of blobs and records: E = floor(log2 len), S = floor(log2 E) + 1, len rounded up to a
 * multiple of 2^(E - S). At most 1/16 is added from 256 bytes on. padme(padme(x)) = padme(x).
 */
size_t pv_padme(size_t len);                   /* len >= 2 */
size_t pv_blob_padded_len(size_t payload_len); /* n; payload_len in 1..PV_BLOB_PAYLOAD_MAX */
static inline size_t pv_blob_len(size_t payload_len)
{
    return PV_BLOB_HEADER_LEN + pv_blob_padded_len(payload_len) + PV_TAG_LEN;
}

struct pv_blob_sealed {
    struct pv_id id;
    uint8_t dk[PV_KEY_LEN];
    size_t blob_len;
};

/*
 * Seals in place. buf holds the payload at PV_BLOB_PAYLOAD_OFFSET and has room for
 * pv_blob_len(payload_len); it must be private to the caller (the same bytes are hashed and
 * sealed). Afterwards buf[0..out->blob_len) is the blob.
 * random_dk: 32 fresh random bytes for a private file (epoch must be 0), else NULL for convergent.
 * PV_E_INVALID: payload_len or kind out of range, an epoch with a random key. PV_E_NOMEM. out->dk
 * is a secret: wipe it when the entry is written.
 */
PV_MUST enum pv_err pv_blob_seal(struct pv_blob_sealed *out, const struct pv_cluster_keys *keys,
                                 uint64_t epoch, enum pv_blob_kind kind, uint8_t *buf,
                                 size_t payload_len, const uint8_t *random_dk);

/* How long the blob is whose first bytes these are, by its header; 0: that is none. */
size_t pv_blob_len_of(const uint8_t *bytes, size_t len);

/* What anyone can check of received bytes: length, header, a length that the padding can give,
 * SHA-256 = id. PV_E_CORRUPT. */
PV_MUST enum pv_err pv_blob_check(const uint8_t *blob, size_t blob_len, const struct pv_id *id);

/*
 * Opens in place with the data key from the parent entry; *payload points into blob, which is
 * wiped on failure. Checks tag, canonical padding, kind and payload length. PV_E_CORRUPT;
 * PV_E_UNSUPPORTED for a codec that this version lacks; PV_E_NOMEM.
 * The id is not recomputed: (id, DK) from the parent and the tag fix the plaintext.
 */
PV_MUST enum pv_err pv_blob_open(uint8_t *blob, size_t blob_len,
                                 const uint8_t dk[static PV_KEY_LEN], enum pv_blob_kind kind,
                                 const uint8_t **payload, size_t *payload_len);

#endif
