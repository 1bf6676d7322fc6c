/*
 * A position in the tree of a file, and the way down to it.
 *
 * The walk gives the entries of the tree in file order, a node before what is below it. Whoever
 * walks loads a node that it wants to look into (blob_load.h) and opens it here; a node that is
 * not opened is passed over as a whole. At most PV_TREE_NODES_OPEN_MAX buffers of a whole blob are
 * held, one for each open node (`depth`); the owner has reserved them.
 */
#ifndef PV_FILE_TREE_WALK_H
#define PV_FILE_TREE_WALK_H

#include "internal/file/blob_load.h"

enum {
    PV_TREE_NODES_OPEN_MAX = PV_TREE_DEPTH_MAX - 1, /* the chunks are a level too */
    /* For whoever loads nodes only: the open ones, and the last one while it is loaded. */
    PV_TREE_WALK_MEMORY = PV_TREE_NODES_OPEN_MAX * PV_BLOB_LEN_MAX,
};

struct pv_tree_walk {
    struct pv_entry root;
    bool has_root; /* not given out yet */
    size_t depth;  /* open nodes */
    struct pv_tree_open {
        uint8_t *blob;
        const uint8_t *entries; /* in blob */
        size_t blob_len, count, next;
    } nodes[PV_TREE_NODES_OPEN_MAX];
};

void pv_tree_walk_init(struct pv_tree_walk *w, const struct pv_entry *root);
void pv_tree_walk_release(struct pv_tree_walk *w); /* wipes: entries hold data keys */

/* The next entry; false at the end. Closes nodes that have no more. */
bool pv_tree_walk_next(struct pv_tree_walk *w, struct pv_entry *e);
/*
 * Takes the node that was loaded, which is the entry given last, out of l: the next entries are its
 * children. PV_E_CORRUPT: the tree is deeper than PV_TREE_DEPTH_MAX; l is left as it is.
 */
PV_MUST enum pv_err pv_tree_walk_open(struct pv_tree_walk *w, struct pv_blob_load *l);

#endif
