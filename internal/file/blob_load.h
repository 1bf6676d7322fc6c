/*
 * Loading one blob of a tree: from the store, or from a peer when our copy is missing or bad.
 *
 * The two readers of trees (get and stat) share it. A load is embedded, used again for the next
 * blob, and holds one buffer of at most PV_BLOB_LEN_MAX bytes, which its owner has reserved.
 */
#ifndef PV_FILE_BLOB_LOAD_H
#define PV_FILE_BLOB_LOAD_H

#include "crypto/tree.h"
#include "internal/node/fetch.h"

struct pv_blob_load {
    struct pv_entry entry;  /* what is loaded, from its parent */
    const uint8_t *payload; /* out: verified plaintext, valid until reset */
    size_t payload_len;
    size_t count; /* out, of a tree node: its entries */
    /*
     * Once a start, from the loop, never from inside it. OK; CORRUPT: ours is bad, and no good copy
     * was found; NOT_FOUND and UNAVAILABLE: as pv_fetch says; NOMEM, IO. Not after cancel.
     */
    void (*done)(struct pv_blob_load *l, enum pv_err err);
    /* The last step of a cancelled load: its memory may go now. */
    void (*released)(struct pv_blob_load *l);
    void *ctx;

    struct pv_node *node; /* private from here */
    struct pv_job job;
    struct pv_fetch fetch;
    uint8_t *blob;
    size_t blob_len;
    bool running, fetching, fetched, own_is_bad, cancelled;
};

void pv_blob_load_start(struct pv_blob_load *l, struct pv_node *node, const struct pv_entry *entry);
void pv_blob_load_reset(struct pv_blob_load *l); /* frees the payload; not while running */
/* Gives the buffer around the payload (to be wiped and freed) to the caller; l is as after reset.
 */
uint8_t *pv_blob_load_take(struct pv_blob_load *l, size_t *len);
/*
 * The same inside a job, from our own copy alone: NOT_FOUND, CORRUPT, IO, NOMEM. Then l is as after
 * reset, and takes no further part: only its payload is of use, to reset, take or a tree walk.
 */
PV_MUST enum pv_err pv_blob_load_here(struct pv_blob_load *l, const struct pv_entry *entry,
                                      struct pv_store *store);
/* True: nothing was running, memory may go at once; false: released will be called. */
bool pv_blob_load_cancel(struct pv_blob_load *l);

#endif
