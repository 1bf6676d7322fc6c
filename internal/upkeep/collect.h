/*
 * Garbage collection: finds blobs that no file needs, and deletes them. See collect.c for when.
 *
 * One at a time. `gc` of a client runs at full speed and displaces the one in the background,
 * which takes at most a tenth of its time.
 */
#ifndef PV_UPKEEP_COLLECT_H
#define PV_UPKEEP_COLLECT_H

#include "internal/upkeep/upkeep_private.h"

enum {
    PV_COLLECT_FIRST_MS = 30 * 60 * 1000, /* after the start */
    PV_COLLECT_EVERY_MS = 6 * 3600 * 1000,
};

/* Begins the ones in the background, and ends whatever runs: its request must be gone. */
void pv_collect_schedule(struct pv_upkeep *u);
void pv_collect_stop(struct pv_upkeep *u);
void pv_collect_cancel(struct pv_collect *c);

#endif
