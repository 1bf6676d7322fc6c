/*
 * The purge: small files are in their records, and their tombstones keep the bytes so that they can
 * be restored. When the grace is over, each is replaced by one without them, of the same HLC: the
 * other members take it for the shorter one, and it beats nothing that the first one did not beat.
 *
 * Records are read in the order they were written, in jobs of bounded size; what a job found is one
 * commit.
 */
#ifndef PV_UPKEEP_PURGE_H
#define PV_UPKEEP_PURGE_H

#include "internal/upkeep/pace.h"
#include "storage/commit.h"

enum { PV_PURGE_BATCH = 64 };

struct pv_purge {
    struct pv_files *files;
    uint64_t grace_ms;
    unsigned rests; /* as in pace.h */
    bool dry_run;   /* only count */
    /* Once, from the loop, perhaps from inside start: NOMEM, IO, NOSPACE, CORRUPT (vault.db). */
    void (*done)(struct pv_purge *p, enum pv_err err);
    void (*released)(struct pv_purge *p); /* the last step of a cancelled purge */

    uint64_t count, bytes; /* out: tombstones, and how much shorter they are now */

    uint64_t record_seq; /* private from here */
    bool end, running, cancelled;
    struct pv_pace pace;
    struct pv_job job;
    struct pv_commit_op ops[PV_PURGE_BATCH];
    uint8_t *envelopes[PV_PURGE_BATCH];
    size_t op_count;
};

void pv_purge_start(struct pv_purge *p); /* p: zeroed but for the top */
/* True: nothing runs, memory may go at once; false: released will be called. */
bool pv_purge_cancel(struct pv_purge *p);

/* Whether a tombstone whose grace is over may be worth looking at: one as short as they get is not.
 */
static inline bool pv_purge_may(const struct pv_record *rec)
{
    return rec->body_len > PV_RECORD_BODY_MIN;
}

#endif
