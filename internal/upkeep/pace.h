/*
 * Work in slices that leaves the machine to others: after each slice it rests `rests` times as
 * long as the slice took. With rests = 0 it goes on at once.
 *
 *     begin -> (a job) -> wait -> go -> begin -> ...
 */
#ifndef PV_UPKEEP_PACE_H
#define PV_UPKEEP_PACE_H

#include "internal/file/context.h"

struct pv_pace {
    struct pv_files *files;
    unsigned rests;
    uint64_t began_ms; /* private, as is timer */
    struct pv_timer timer;
    void (*go)(struct pv_pace *p); /* set by wait */
};

void pv_pace_begin(struct pv_pace *p);
/* Calls go from the loop when the rest is over; with rests = 0 before this returns. */
void pv_pace_wait(struct pv_pace *p, void (*go)(struct pv_pace *p));
void pv_pace_cancel(struct pv_pace *p); /* no-op when it does not rest */

#endif
