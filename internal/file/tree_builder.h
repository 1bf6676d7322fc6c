/*
 * Puts the entries of a file's blobs together into tree nodes, level by level (crypto/tree.h).
 *
 * Entries come in file order. A full level is handed out as a node at once; the caller seals it and
 * adds its entry one level up, before any later entry of that level. When all have been added,
 * pv_tree_builder_finish hands out what is left, lowest level first, until one entry remains.
 *
 * A level's entries are encoded where the node's payload belongs in a seal buffer, so that a node
 * is never copied. A level has a small buffer (PV_TREE_SMALL_LEN) until it outgrows it, and then
 * one of a whole blob. All memory is wiped before it is freed: entries hold data keys.
 */
#ifndef PV_FILE_TREE_BUILDER_H
#define PV_FILE_TREE_BUILDER_H

#include "crypto/tree.h"

enum {
    PV_TREE_LEVELS = PV_TREE_DEPTH_MAX - 1, /* of nodes: the chunks are a level too */
    PV_TREE_SMALL_ENTRIES = 800,
    PV_TREE_SMALL_LEN = 68 * 1024, /* header, 800 entries, padding and tag */
};

struct pv_tree_level {
    uint8_t *buf;
    size_t cap, count;
    uint64_t length; /* plaintext bytes below these entries */
};

struct pv_tree_builder {
    struct pv_tree_level levels[PV_TREE_LEVELS];
    size_t fan_out;
};

struct pv_tree_node { /* to be sealed; buf belongs to the caller */
    uint8_t *buf;     /* payload at PV_BLOB_PAYLOAD_OFFSET, with room for the sealed blob */
    size_t cap, payload_len;
    uint64_t length;
    unsigned level; /* where the entry of this node has to be added */
    bool is_root;   /* nothing else is left: the entry of this node is the root */
};

/* fan_out: PV_NODE_ENTRIES_MAX, or fewer (at least 2) in tests. */
void pv_tree_builder_init(struct pv_tree_builder *b, size_t fan_out);
void pv_tree_builder_release(struct pv_tree_builder *b);

/*
 * Adds an entry at level 0 (a chunk's) or higher (a node's). node->buf is NULL unless the level
 * became full: then it is the caller's. NOMEM; LIMIT: more than fan_out ^ PV_TREE_LEVELS chunks
 * (the tree would be deeper than PV_TREE_DEPTH_MAX), or 2^64 bytes.
 */
PV_MUST enum pv_err pv_tree_builder_add(struct pv_tree_builder *b, unsigned level,
                                        const struct pv_entry *entry, struct pv_tree_node *node);

/*
 * Once all entries have been added. True: node is handed out; add its entry (unless it is_root)
 * and call again. False: *root is the file's root. At least one entry was added.
 */
bool pv_tree_builder_finish(struct pv_tree_builder *b, struct pv_tree_node *node,
                            struct pv_entry *root);

/* Bytes allocated. */
size_t pv_tree_builder_bytes(const struct pv_tree_builder *b);
/*
 * How many buffers of a whole blob the levels have or are about to need: a level counts from half
 * of its small buffer on, hundreds of entries before it grows, so that the caller can make room.
 */
unsigned pv_tree_builder_large(const struct pv_tree_builder *b);

#endif
