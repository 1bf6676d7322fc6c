#include "internal/base/throttle.h"

#include <criterion/criterion.h>

TestSuite(throttle, .timeout = 10);

Test(throttle, gives_the_burst_and_then_the_rate)
{
    struct pv_throttle b;
    pv_throttle_init(&b, 5, 20, 1000);
    for (int i = 0; i < 20; i++) {
        cr_assert_geq(pv_throttle_has(&b, 1000), 1, "%d", i);
        pv_throttle_take(&b, 1, 1000);
    }
    cr_assert_eq(pv_throttle_has(&b, 1000), 0);
    cr_assert_eq(pv_throttle_ready_ms(&b, 1, 1000), 1200);
    cr_assert_eq(pv_throttle_has(&b, 1199), 0);
    cr_assert_eq(pv_throttle_has(&b, 1200), 1);
    cr_assert_eq(pv_throttle_has(&b, 1000 + 4000), 20);
    cr_assert_eq(pv_throttle_has(&b, UINT64_MAX), 20);
}

/* Looked at every millisecond it gives as much as looked at once. */
Test(throttle, loses_nothing_however_often_it_is_looked_at)
{
    struct pv_throttle b;
    uint64_t taken = 0;
    pv_throttle_init(&b, 7, 2, 0);
    for (uint64_t now = 0; now < 1000000; now++) {
        uint64_t has = pv_throttle_has(&b, now);
        pv_throttle_take(&b, has, now);
        taken += has;
    }
    cr_assert_geq(taken, 7000);
    cr_assert_leq(taken, 7002);
}

Test(throttle, debts_are_paid_first)
{
    struct pv_throttle b;
    pv_throttle_init(&b, 1000, 1000, 0);
    pv_throttle_take(&b, 5000, 0);
    cr_assert_eq(pv_throttle_ready_ms(&b, 1, 0), 4001);
    cr_assert_eq(pv_throttle_has(&b, 3999), 0);
    cr_assert_eq(pv_throttle_has(&b, 4001), 1);
    cr_assert_eq(pv_throttle_ready_ms(&b, 5000, 4001), 5000, "more than the burst is never there");
}

Test(throttle, rate_0_is_no_limit)
{
    struct pv_throttle b;
    pv_throttle_init(&b, 0, 0, 0);
    pv_throttle_take(&b, UINT64_MAX, 0);
    cr_assert_eq(pv_throttle_has(&b, 0), UINT64_MAX);
    cr_assert_eq(pv_throttle_ready_ms(&b, 1 << 20, 5), 5);
}

Test(throttle, can_be_changed)
{
    struct pv_throttle b;
    pv_throttle_init(&b, 0, 0, 0);
    pv_throttle_change(&b, 100, 50, 0);
    cr_assert_eq(pv_throttle_has(&b, 0), 50);
    pv_throttle_take(&b, 150, 0);
    pv_throttle_change(&b, 10, 10, 0);
    cr_assert_eq(pv_throttle_ready_ms(&b, 1, 0), 10100, "the debt stays");
    pv_throttle_change(&b, 0, 0, 0);
    cr_assert_eq(pv_throttle_has(&b, 0), UINT64_MAX);
    pv_throttle_change(&b, 10, 10, 0);
    cr_assert_eq(pv_throttle_has(&b, 0), 10);
}

Test(throttle, the_largest_numbers_do_not_overflow)
{
    struct pv_throttle b;
    pv_throttle_init(&b, PV_THROTTLE_RATE_MAX, PV_THROTTLE_RATE_MAX, 0);
    pv_throttle_take(&b, PV_THROTTLE_RATE_MAX, 0);
    cr_assert_eq(pv_throttle_has(&b, UINT64_MAX), PV_THROTTLE_RATE_MAX);
}
