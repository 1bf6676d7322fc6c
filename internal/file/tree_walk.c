/* A stack of open nodes; the buffer of each is the one it was loaded into. */
#include "internal/file/tree_walk.h"

#include "internal/base/mem.h"

void pv_tree_walk_init(struct pv_tree_walk *w, const struct pv_entry *root)
{
    *w = (struct pv_tree_walk){.root = *root, .has_root = true};
}

static void close_node(struct pv_tree_walk *w)
{
    struct pv_tree_open *node = &w->nodes[--w->depth];
    pv_wipe(node->blob, node->blob_len);
    pv_free(node->blob);
    *node = (struct pv_tree_open){0};
}

void pv_tree_walk_release(struct pv_tree_walk *w)
{
    while (w->depth > 0)
        close_node(w);
    pv_wipe(w, sizeof *w);
}

bool pv_tree_walk_next(struct pv_tree_walk *w, struct pv_entry *e)
{
    if (w->has_root) {
        w->has_root = false;
        *e = w->root;
        return true;
    }
    while (w->depth > 0) {
        struct pv_tree_open *node = &w->nodes[w->depth - 1];
        if (node->next < node->count) {
            enum pv_err err = pv_entry_decode(e, node->entries + node->next++ * PV_ENTRY_LEN);
            PV_ASSERT(err == PV_OK); /* blob_load has checked them all */
            return true;
        }
        close_node(w);
    }
    return false;
}

enum pv_err pv_tree_walk_open(struct pv_tree_walk *w, struct pv_blob_load *l)
{
    PV_ASSERT(l->payload != NULL && l->entry.kind == PV_BLOB_NODE);
    if (w->depth == PV_TREE_NODES_OPEN_MAX)
        return PV_E_CORRUPT;
    struct pv_tree_open *node = &w->nodes[w->depth++];
    node->entries = l->payload;
    node->count = l->count;
    node->next = 0;
    node->blob = pv_blob_load_take(l, &node->blob_len);
    return PV_OK;
}
