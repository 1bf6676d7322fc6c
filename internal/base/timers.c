#include "internal/base/timers.h"

void pv_timers_init(struct pv_timers *timers)
{
    pv_list_init(&timers->waiting);
}

void pv_timer_arm(struct pv_timers *timers, struct pv_timer *t, uint64_t at_ms)
{
    pv_list_remove(&t->link);
    t->at_ms = at_ms;
    pv_list_push_back(&timers->waiting, &t->link);
}

void pv_timer_disarm(struct pv_timer *t)
{
    pv_list_remove(&t->link);
}

static struct pv_timer *earliest(const struct pv_timers *timers)
{
    struct pv_timer *first = NULL;
    PV_LIST_EACH(&timers->waiting, e)
    {
        struct pv_timer *t = PV_LIST_ENTRY(e, struct pv_timer, link);
        if (first == NULL || t->at_ms < first->at_ms)
            first = t;
    }
    return first;
}

uint64_t pv_timers_deadline_ms(const struct pv_timers *timers)
{
    const struct pv_timer *t = earliest(timers);
    return t == NULL ? UINT64_MAX : t->at_ms;
}

void pv_timers_tick(struct pv_timers *timers, uint64_t now_ms)
{
    struct pv_timer *t;
    while ((t = earliest(timers)) != NULL && t->at_ms <= now_ms) {
        pv_timer_disarm(t);
        t->fire(t);
    }
}
