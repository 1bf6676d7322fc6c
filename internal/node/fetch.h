/*
 * Fetching blobs that somebody wants now: GET to every connected member, FETCH from those that
 * answered FOUND, several at once, the least busy one first.
 *
 * A transfer without bytes for PV_BLOB_SILENCE_MS is cancelled and continued from the next holder
 * at the offset reached; the SHA-256 of the whole decides, and a mismatch starts over at offset 0
 * with another holder. What was fetched is verified, delivered, and kept (committed) as an extra
 * copy; a full disk does not fail the fetch. The requester has reserved the memory.
 */
#ifndef PV_NODE_FETCH_H
#define PV_NODE_FETCH_H

#include "internal/base/list.h"
#include "internal/node/node.h"

struct pv_wanted;
struct pv_fetch { /* embedded in the requester */
    struct pv_id id;
    /* In: at most so many bytes (of a chunk: its length, which its tree entry tells; of a tree
     * node: PV_BLOB_LEN_MAX). Out, on OK: the blob's length. */
    uint32_t size;
    uint8_t kind;
    bool replace; /* our own copy is bad */
    bool kept;    /* out, on OK: it is here, durably */
    /*
     * Once, from the loop. OK: bytes (size of them) now belong to the callee (pv_free).
     * NOT_FOUND: every active member answered that it has not got it, or it is longer than that.
     * UNAVAILABLE: some member could not be asked, or has it and could not deliver. NOMEM. bytes is
     * NULL on errors.
     */
    void (*done)(struct pv_fetch *f, enum pv_err err, uint8_t *bytes);
    void *ctx;
    struct pv_wanted *wanted; /* private, as are the rest */
    struct pv_list link;
    enum pv_err err;
};

/*
 * Several may want one blob: it is transferred once. f starts zeroed but for the public part, and
 * stays where it is until done or cancel. After pv_node_close done may never run: cancel.
 */
void pv_fetch_start(struct pv_node *n, struct pv_fetch *f);
void pv_fetch_cancel(struct pv_node *n, struct pv_fetch *f); /* done will not run; no-op after it */

#endif
