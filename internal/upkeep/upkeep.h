/*
 * What keeps the store whole and free of garbage.
 *
 *   collect.h, mark.h   garbage collection: asked for with `gc`, and every few hours
 *   verify.c            the request `verify`
 *   scrub.h             a daemon reads everything it keeps again and again
 *   backup.h            records.bak, small.bak
 *   sweep.h             files that a crash left
 *   expire.h            removals that nobody needs to remember any more
 *
 * On the file server's context, whose loop, budget of memory and deadlines it shares.
 */
#ifndef PV_UPKEEP_UPKEEP_H
#define PV_UPKEEP_UPKEEP_H

#include "internal/file/files.h"

struct pv_upkeep_config {
    struct pv_files *files; /* outlives the upkeep */
    uint64_t gc_grace_ms;   /* removed files can be restored for so long */
    bool no_scrub;
};

struct pv_upkeep;
PV_MUST enum pv_err pv_upkeep_new(struct pv_upkeep **out, const struct pv_upkeep_config *config);
/* After rest; every request must have been finished or cancelled, and the node closed. */
void pv_upkeep_free(struct pv_upkeep *u);

/* Begins what a daemon does by itself; rest ends it, before the node closes. */
void pv_upkeep_work(struct pv_upkeep *u);
void pv_upkeep_rest(struct pv_upkeep *u);

/* True: rq is one of its own (`gc`, `verify`), and will be answered. */
bool pv_upkeep_request(struct pv_upkeep *u, struct pv_request *rq);

#endif
