/*
 * Trees: how a file is put together from chunks.
 *
 * An entry (80 bytes) names a child: id 32, DK 32, plaintext length u64, kind u8, 7 zero. A node's
 * payload is 1..12 287 entries. A file of one chunk has that chunk's entry as its root; more chunks
 * are collected in order, level by level, into nodes until one entry is left. Depth <= 4, the
 * lengths of a node's children sum to the node's. An empty or tiny file has no tree (record.h).
 */
#ifndef PV_CRYPTO_TREE_H
#define PV_CRYPTO_TREE_H

#include "crypto/blob.h"

enum {
    PV_ENTRY_LEN = 80,
    PV_NODE_ENTRIES_MAX = PV_BLOB_PAYLOAD_MAX / PV_ENTRY_LEN, /* 12 287 */
    PV_TREE_DEPTH_MAX = 4,
};

struct pv_entry {
    struct pv_id id;
    uint8_t dk[PV_KEY_LEN];
    uint64_t length; /* plaintext bytes below this entry */
    enum pv_blob_kind kind;
};

void pv_entry_encode(uint8_t out[static PV_ENTRY_LEN], const struct pv_entry *e);
/* The rules of one entry: a known kind, length not 0, a chunk's length at most its maximum. */
bool pv_entry_valid(const struct pv_entry *e);
/* PV_E_CORRUPT: unknown kind, non-zero reserved bytes, length 0, a chunk over the maximum. */
PV_MUST enum pv_err pv_entry_decode(struct pv_entry *out, const uint8_t in[static PV_ENTRY_LEN]);

/*
 * Checks a node's payload against its own entry: whole entries, 1..12 287 of them, all well formed,
 * lengths sum to parent->length without overflow. *count gets their number. PV_E_CORRUPT.
 */
PV_MUST enum pv_err pv_node_check(const uint8_t *payload, size_t len, const struct pv_entry *parent,
                                  size_t *count);

#endif
