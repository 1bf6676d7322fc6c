#include "internal/base/timers.h"

#include <criterion/criterion.h>

TestSuite(timers, .timeout = 10);

struct fired {
    struct pv_timer timer;
    struct fired *disarms;
    size_t *order;
    size_t at;
};

static void on_fired(struct pv_timer *t)
{
    struct fired *f = PV_CONTAINER_OF(t, struct fired, timer);
    f->at = ++*f->order;
    if (f->disarms != NULL)
        pv_timer_disarm(&f->disarms->timer);
}

Test(timers, fire_in_their_order_and_once)
{
    struct pv_timers timers;
    struct fired f[4] = {0};
    size_t order = 0;
    static const uint64_t at[] = {30, 10, 20, 20};
    pv_timers_init(&timers);
    cr_assert_eq(pv_timers_deadline_ms(&timers), UINT64_MAX);
    for (size_t i = 0; i < 4; i++) {
        f[i].timer.fire = on_fired;
        f[i].order = &order;
        pv_timer_arm(&timers, &f[i].timer, 1000);
        pv_timer_arm(&timers, &f[i].timer, at[i]); /* anew */
    }
    f[2].disarms = &f[3];
    cr_assert_eq(pv_timers_deadline_ms(&timers), 10);
    pv_timers_tick(&timers, 9);
    cr_assert_eq(order, 0);
    pv_timers_tick(&timers, 20);
    pv_timers_tick(&timers, 20);
    cr_assert(f[1].at == 1 && f[2].at == 2 && f[3].at == 0 && f[0].at == 0);
    cr_assert_eq(pv_timers_deadline_ms(&timers), 30);
    pv_timers_tick(&timers, 100);
    cr_assert_eq(f[0].at, 3);
    cr_assert_eq(pv_timers_deadline_ms(&timers), UINT64_MAX);
}

struct again {
    struct pv_timer timer;
    struct pv_timers *timers;
    unsigned times;
};

static void on_again(struct pv_timer *t)
{
    struct again *a = PV_CONTAINER_OF(t, struct again, timer);
    if (++a->times < 3)
        pv_timer_arm(a->timers, t, t->at_ms + 10);
}

Test(timers, what_is_armed_while_it_fires_is_due_too)
{
    struct pv_timers timers;
    pv_timers_init(&timers);
    struct again a = {.timer.fire = on_again, .timers = &timers};
    pv_timer_arm(&timers, &a.timer, 5);
    pv_timers_tick(&timers, 15);
    cr_assert_eq(a.times, 2);
    cr_assert_eq(pv_timers_deadline_ms(&timers), 25);
    pv_timers_tick(&timers, 25);
    cr_assert_eq(a.times, 3);
    cr_assert_eq(pv_timers_deadline_ms(&timers), UINT64_MAX);
}
