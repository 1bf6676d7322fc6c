/* The inside of struct pv_upkeep, shared by the files of this folder only. */
#ifndef PV_UPKEEP_UPKEEP_PRIVATE_H
#define PV_UPKEEP_UPKEEP_PRIVATE_H

#include "internal/file/context.h"
#include "internal/upkeep/expire.h"
#include "internal/upkeep/upkeep.h"

struct pv_collect;
struct pv_scrub;
struct backup;
struct pv_upkeep {
    struct pv_upkeep_config config;
    struct pv_collect *collect; /* the one under way, or NULL */
    struct pv_timer collect_timer;
    struct pv_expire expire;
    struct pv_scrub *scrub;
    struct backup *backup; /* the one under way, or NULL */
    struct pv_timer backup_timer;
    unsigned backups; /* begun since the start or the last collection: the first one is tidy */
};

/* Each takes over the request and answers it. */
void pv_query_gc(struct pv_upkeep *u, struct pv_request *rq);
void pv_query_verify(struct pv_upkeep *u, struct pv_request *rq);

#endif
