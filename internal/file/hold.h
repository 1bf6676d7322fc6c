/*
 * Taking hold of all blobs of a file, so that garbage collection leaves them: a lease for each that
 * is here (PV_COMMIT_LEASE), and those that are not are fetched from other members.
 *
 * The blobs are safe from the moment `done` is called for as long as a lease lasts, or until
 * `gc --now`: the owner counts in pv_files.uploads meanwhile, which keeps that from ending leases.
 */
#ifndef PV_FILE_HOLD_H
#define PV_FILE_HOLD_H

#include "internal/file/tree_walk.h"
#include "internal/file/context.h"

enum { PV_HOLD_BATCH = 256 };

struct pv_hold {
    struct pv_files *files;
    /*
     * Once a start, from the loop, never from inside it. OK: all is held. NOT_FOUND: no other
     * member has them; UNAVAILABLE: some could not be asked; then `missing` of `blobs` (is_partial:
     * at least) are not here. NOMEM, IO, NOSPACE, CORRUPT.
     */
    void (*done)(struct pv_hold *h, enum pv_err err);
    void (*released)(struct pv_hold *h); /* the last step of a cancelled hold */
    uint64_t blobs, missing;
    bool is_partial; /* a node is missing: what is below it is not counted */

    bool running, cancelled, fetching; /* private from here */
    bool was_fetched;                  /* in this round: look again what is here */
    bool was_denied; /* a blob could not be had: nothing more is fetched, only counted */
    bool was_unreachable;
    struct pv_tree_walk walk;
    struct pv_entry batch[PV_HOLD_BATCH];
    struct pv_id ids[PV_HOLD_BATCH];
    bool have[PV_HOLD_BATCH], tried[PV_HOLD_BATCH];
    size_t count, next, leased;
    bool descend, end; /* the last of the batch is a node: load it; there is no other batch */
    struct pv_id leases[PV_HOLD_BATCH];
    struct pv_commit_op op;
    struct pv_job job;
    struct pv_fetch fetch;
    struct pv_blob_load node;
    size_t reserved;
    struct pv_budget_wait wait;
};

void pv_hold_start(struct pv_hold *h, const struct pv_entry *root); /* h: zeroed but for the top */
/* True: nothing runs, memory may go at once; false: released will be called. */
bool pv_hold_cancel(struct pv_hold *h);

#endif
