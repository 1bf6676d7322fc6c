/*
 * The end of tombstones: a removal is remembered for PV_TOMBSTONE_DAYS, and then by nobody. All
 * nodes forget it at the same midnight (UTC), or when they are started after it, so that their sets
 * of records stay equal. A daemon looks at midnight, and every hour, for clocks are set.
 *
 * One that no other member has been told of stays until it has.
 */
#ifndef PV_UPKEEP_EXPIRE_H
#define PV_UPKEEP_EXPIRE_H

#include "internal/base/timers.h"
#include "internal/node/job.h"

enum { PV_EXPIRE_BATCH = 64, PV_EXPIRE_EVERY_MS = 3600000 };

struct pv_upkeep;
struct pv_expire { /* private */
    struct pv_timer timer;
    struct pv_job job;
    struct pv_commit_op op;
    struct pv_id after; /* of the round: how far it is, and what it has found */
    struct pv_record_ref found[PV_EXPIRE_BATCH];
    size_t count;
    bool end, stopped;
    pv_hlc below;
    uint64_t forgotten;
};

void pv_expire_schedule(struct pv_upkeep *u);
void pv_expire_stop(struct pv_upkeep *u); /* a job under way ends by itself, before the node does */

#endif
