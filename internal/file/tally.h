/*
 * What this node's blobs say of copies: a scan over all of them, a slice a job.
 *
 * Each node can tell of its own blobs only, and of what others said to it.
 */
#ifndef PV_FILE_TALLY_H
#define PV_FILE_TALLY_H

#include "internal/node/places.h"

struct pv_tally {
    struct pv_places places; /* by the owner, before each slice */
    uint64_t cursor;         /* 0 at first */
    bool end;
    /* Blobs here: with fewer copies than they should have, on members that are not long away; that
     * some member should have and has not acknowledged; whose place is not here. */
    uint64_t under_replicated, undelivered, extra;
    uint64_t extra_bytes;
};

/* One slice, in a job: IO, NOMEM, CORRUPT. */
PV_MUST enum pv_err pv_tally_slice(struct pv_tally *t, struct pv_store *s);

#endif
