/*
 * The rolling scrub: a daemon reads everything it keeps again and again, and repairs what is bad.
 *
 * A pass begins a week after the one before it began, reads every blob in order of arrival, and is
 * over within that week: its slices rest nine times as long as they took, or less when that would
 * be too slow. Usually it compares the quick sums (XXH3); once in at most 30 days it is a pass over
 * every SHA-256. Where it is stands in the vault, so that a restart goes on there.
 */
#ifndef PV_UPKEEP_SCRUB_H
#define PV_UPKEEP_SCRUB_H

#include "internal/upkeep/upkeep_private.h"

enum {
    PV_SCRUB_FIRST_MS = 60 * 1000, /* after the start of the daemon */
    PV_SCRUB_EVERY_MS = 7 * 24 * 3600 * 1000,
    PV_SCRUB_SLICE = 8 * 1024 * 1024,
};

void pv_scrub_schedule(struct pv_upkeep *u); /* lacking memory for it is logged */
void pv_scrub_stop(struct pv_upkeep *u);

#endif
