#include "internal/base/mem.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

TestSuite(budget, .timeout = 10);

struct waiter {
    struct pv_budget_wait wait; /* first: callbacks cast back through PV_CONTAINER_OF */
    struct pv_budget *budget;
    char name;
    bool give_at_once;
    struct waiter *cancels, *takes;
    size_t takes_bytes;
};

static char order[64];

static void note(char name)
{
    size_t len = strlen(order);
    cr_assert_lt(len, sizeof order - 1);
    order[len] = name;
}

static void granted(struct pv_budget_wait *wait)
{
    struct waiter *w = PV_CONTAINER_OF(wait, struct waiter, wait);
    note(w->name);
    if (w->cancels != NULL)
        pv_budget_cancel(&w->cancels->wait);
    if (w->takes != NULL)
        cr_assert_not(pv_budget_take(w->budget, w->takes_bytes, &w->takes->wait));
    if (w->give_at_once)
        pv_budget_give(w->budget, w->wait.bytes);
}

static struct waiter waiter(struct pv_budget *b, char name)
{
    return (struct waiter){.wait = {.granted = granted}, .budget = b, .name = name};
}

Test(budget, takes_up_to_the_limit_and_not_beyond)
{
    struct pv_budget b;
    pv_budget_init(&b, "test", 100);
    cr_assert_eq(pv_budget_try(&b, 101), PV_E_INVALID);
    cr_assert_eq(pv_budget_try(&b, SIZE_MAX), PV_E_INVALID);
    cr_assert_eq(pv_budget_try(&b, 100), PV_OK);
    cr_assert_eq(pv_budget_try(&b, 1), PV_E_LIMIT);
    cr_assert_eq(pv_budget_try(&b, 0), PV_OK);
    pv_budget_give(&b, 40);
    cr_assert_eq(pv_budget_try(&b, 41), PV_E_LIMIT);
    cr_assert_eq(pv_budget_try(&b, 40), PV_OK);
    cr_assert_eq(b.used_bytes, 100);
    pv_budget_give(&b, 100);
    cr_assert_eq(b.used_bytes, 0);
    cr_assert_eq(b.peak_bytes, 100);
    cr_assert_str_eq(b.name, "test");
    pv_budget_release(&b);
}

Test(budget, waiters_are_served_in_order_and_never_overtaken)
{
    struct pv_budget b;
    pv_budget_init(&b, "test", 100);
    struct waiter w = waiter(&b, 'w'), big = waiter(&b, 'B'), small = waiter(&b, 's');
    cr_assert(pv_budget_take(&b, 60, &w.wait));
    cr_assert_not(pv_budget_take(&b, 90, &big.wait));
    cr_assert_not(pv_budget_take(&b, 1, &small.wait)); /* would fit, but waits its turn */
    cr_assert_eq(pv_budget_try(&b, 1), PV_E_LIMIT);
    pv_budget_give(&b, 30);
    cr_assert_str_eq(order, "");
    pv_budget_give(&b, 30);
    cr_assert_str_eq(order, "Bs");
    cr_assert_eq(b.used_bytes, 91);
    pv_budget_give(&b, 91);
    pv_budget_release(&b);
}

Test(budget, an_immediate_grant_does_not_call_back)
{
    struct pv_budget b;
    pv_budget_init(&b, "test", 10);
    struct waiter w = waiter(&b, 'w');
    cr_assert(pv_budget_take(&b, 10, &w.wait));
    cr_assert_str_eq(order, "");
    pv_budget_cancel(&w.wait); /* not waiting: nothing happens */
    cr_assert_eq(b.used_bytes, 10);
    pv_budget_give(&b, 10);
    cr_assert(pv_budget_take(&b, 10, &w.wait)); /* and the waiter can be used again */
    pv_budget_give(&b, 10);
    pv_budget_release(&b);
}

Test(budget, cancelling_takes_out_head_middle_and_tail)
{
    struct pv_budget b;
    pv_budget_init(&b, "test", 10);
    struct waiter w[5];
    cr_assert_eq(pv_budget_try(&b, 10), PV_OK);
    for (int i = 0; i < 5; i++) {
        w[i] = waiter(&b, (char)('0' + i));
        cr_assert_not(pv_budget_take(&b, 2, &w[i].wait));
    }
    pv_budget_cancel(&w[0].wait);
    pv_budget_cancel(&w[2].wait);
    pv_budget_cancel(&w[4].wait);
    pv_budget_cancel(&w[4].wait);
    pv_budget_give(&b, 10);
    cr_assert_str_eq(order, "13");
    pv_budget_give(&b, 4);
    pv_budget_release(&b);
}

Test(budget, cancelling_a_large_head_serves_those_behind)
{
    struct pv_budget b;
    pv_budget_init(&b, "test", 10);
    struct waiter big = waiter(&b, 'B'), small = waiter(&b, 's');
    cr_assert_eq(pv_budget_try(&b, 5), PV_OK);
    cr_assert_not(pv_budget_take(&b, 10, &big.wait));
    cr_assert_not(pv_budget_take(&b, 5, &small.wait));
    pv_budget_cancel(&big.wait);
    cr_assert_str_eq(order, "s");
    pv_budget_give(&b, 10);
    pv_budget_release(&b);
}

Test(budget, a_callback_may_cancel_and_queue)
{
    struct pv_budget b;
    pv_budget_init(&b, "test", 10);
    struct waiter a = waiter(&b, 'a'), c = waiter(&b, 'c'), d = waiter(&b, 'd');
    a.cancels = &c;
    a.takes = &d;
    a.takes_bytes = 1;
    cr_assert_eq(pv_budget_try(&b, 10), PV_OK);
    cr_assert_not(pv_budget_take(&b, 10, &a.wait));
    cr_assert_not(pv_budget_take(&b, 1, &c.wait));
    pv_budget_give(&b, 10);
    cr_assert_str_eq(order, "a");
    pv_budget_give(&b, 10);
    cr_assert_str_eq(order, "ad");
    pv_budget_give(&b, 1);
    pv_budget_release(&b);
}

enum { CROWD = 200000 };
static struct waiter crowd[CROWD];
static size_t served;

static void give_back(struct pv_budget_wait *wait)
{
    struct waiter *w = PV_CONTAINER_OF(wait, struct waiter, wait);
    served++;
    pv_budget_give(w->budget, wait->bytes);
}

Test(budget, a_long_queue_of_givers_does_not_nest)
{
    struct pv_budget b;
    pv_budget_init(&b, "test", 1);
    cr_assert_eq(pv_budget_try(&b, 1), PV_OK);
    for (size_t i = 0; i < CROWD; i++) {
        crowd[i] = (struct waiter){.wait = {.granted = give_back}, .budget = &b};
        cr_assert_not(pv_budget_take(&b, 1, &crowd[i].wait));
    }
    pv_budget_give(&b, 1); /* one stack frame a waiter would overflow the stack here */
    cr_assert_eq(served, CROWD);
    cr_assert_eq(b.peak_bytes, 1);
    pv_budget_release(&b);
}

Test(budget, giving_more_than_taken_is_a_bug, .signal = SIGABRT)
{
    struct pv_budget b;
    pv_budget_init(&b, "test", 10);
    pv_budget_give(&b, 1);
}

Test(budget, releasing_with_bytes_out_is_a_bug, .signal = SIGABRT)
{
    struct pv_budget b;
    pv_budget_init(&b, "test", 10);
    cr_assert_eq(pv_budget_try(&b, 1), PV_OK);
    pv_budget_release(&b);
}

Test(budget, waiting_for_more_than_the_limit_is_a_bug, .signal = SIGABRT)
{
    struct pv_budget b;
    pv_budget_init(&b, "test", 10);
    struct waiter w = waiter(&b, 'w');
    (void)!pv_budget_take(&b, 11, &w.wait);
}

Test(budget, waiting_twice_is_a_bug, .signal = SIGABRT)
{
    struct pv_budget b;
    pv_budget_init(&b, "test", 10);
    struct waiter w = waiter(&b, 'w');
    cr_assert_eq(pv_budget_try(&b, 10), PV_OK);
    cr_assert_not(pv_budget_take(&b, 1, &w.wait));
    (void)!pv_budget_take(&b, 1, &w.wait);
}
