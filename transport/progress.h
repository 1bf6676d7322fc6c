/*
 * Whether something that is owed comes at all: in each stretch of PV_RATE_WINDOW_MS at least
 * PV_RATE_MIN bytes a second. Nothing is owed while a side waits of its own will, and a stretch
 * begins anew with each debt. No input or output.
 */
#ifndef PV_TRANSPORT_PROGRESS_H
#define PV_TRANSPORT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct pv_progress { /* zeroed: nothing is owed */
    bool owed;
    uint64_t since_ms, from;
};

/* done: bytes moved so far, of whatever beginning. False: too slow. */
bool pv_progress_goes_on(struct pv_progress *p, bool owed, uint64_t done, uint64_t now_ms);
uint64_t pv_progress_deadline_ms(const struct pv_progress *p); /* look again; UINT64_MAX: never */

#endif
