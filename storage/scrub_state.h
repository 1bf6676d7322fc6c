/*
 * Where the rolling scrub is, as it stands in the vault (format.md): so that a restart goes on.
 */
#ifndef PV_STORAGE_SCRUB_STATE_H
#define PV_STORAGE_SCRUB_STATE_H

#include "storage/check.h"

#define PV_SCRUB_STATE_META "scrub"
enum { PV_SCRUB_STATE_LEN = 2 + 7 * 8 };

struct pv_scrub_state { /* dates are wall clock */
    uint8_t depth;      /* of the pass; enum pv_check_depth */
    uint64_t start_ms;  /* of the pass; 0: none runs */
    uint64_t cursor, done_bytes;
    uint64_t unreadable;      /* blobs that the disk refused to read, in this pass so far */
    uint64_t since_ms;        /* when the last whole pass began; 0: there was none */
    uint64_t hashed_since_ms; /* and the last one over every SHA-256 */
    uint64_t last_unreadable; /* in the last whole pass */
};

void pv_scrub_state_encode(uint8_t out[static PV_SCRUB_STATE_LEN], const struct pv_scrub_state *s);
/* What is not there, not ours or of another version means that nothing was checked. */
PV_MUST enum pv_err pv_scrub_state_load(struct pv_store *store, struct pv_scrub_state *out);

#endif
