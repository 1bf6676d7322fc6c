/*
 * Deadlines of operations on the loop thread. There are as many as operations that wait, so a list
 * is walked where others would keep a heap. Owns nothing; times are of the monotonic clock.
 */
#ifndef PV_BASE_TIMERS_H
#define PV_BASE_TIMERS_H

#include "internal/base/list.h"
#include <stdint.h>

struct pv_timer { /* idle when zeroed, disarmed, or after it fired */
    struct pv_list link;
    uint64_t at_ms;
    void (*fire)(struct pv_timer *t);
};

struct pv_timers {
    struct pv_list waiting;
};

void pv_timers_init(struct pv_timers *timers);
void pv_timer_arm(struct pv_timers *timers, struct pv_timer *t, uint64_t at_ms); /* anew */
void pv_timer_disarm(struct pv_timer *t);
uint64_t pv_timers_deadline_ms(const struct pv_timers *timers); /* UINT64_MAX: none */
/* Fires what is due, the earliest first; firing may arm and disarm any of them. */
void pv_timers_tick(struct pv_timers *timers, uint64_t now_ms);

#endif
