/*
 * One walk over all records: those under a key that is only read with get a counterpart under the
 * active one (storage/format.md), each from the keyed member whose share it is; those under a key
 * that has retired are deleted. Idempotent: what has a counterpart already is passed over, so a
 * walk that was cut short is simply made again.
 */
#ifndef PV_CLUSTER_RESEAL_H
#define PV_CLUSTER_RESEAL_H

#include "internal/base/buf.h"
#include "internal/node/placement.h"
#include "internal/upkeep/pace.h"

enum { PV_RESEAL_BATCH = 64 };

struct pv_reseal {
    struct pv_files *files; /* set by the owner, as are the next three */
    void (*done)(struct pv_reseal *r, enum pv_err err);
    struct pv_placement sharing; /* keyed members that do their share, with ourselves */
    bool all;                    /* the shares of the others, too */

    /* Of the walk, so far. */
    uint64_t moved; /* got a counterpart from us */
    uint64_t left;  /* have none yet: shares of others, not published yet, of a later version */
    uint64_t unreadable; /* damaged, or under a key that we never had: nobody misses them */
    uint64_t deleted;

    /* Private. */
    struct pv_pace pace;
    struct pv_job job;
    bool running, end;
    uint64_t seq;
    struct pv_buf batch; /* envelopes with their lengths */
    size_t op_count, forget_count;
    struct pv_commit_op ops[PV_RESEAL_BATCH + 1];
    uint8_t *envelopes[PV_RESEAL_BATCH];
    struct pv_record_ref forget[PV_RESEAL_BATCH];
};

void pv_reseal_init(struct pv_reseal *r, struct pv_files *files);
/* It does not run. Calls done at the end, later. Not whole: what was written since the last walk.
 */
void pv_reseal_start(struct pv_reseal *r, bool whole);
bool pv_reseal_runs(const struct pv_reseal *r);
void pv_reseal_release(struct pv_reseal *r); /* jobs are done */

#endif
