#include "internal/base/rate.h"

#include <criterion/criterion.h>

TestSuite(rate, .timeout = 10);

Test(rate, starts_at_nothing)
{
    struct pv_rate r;
    pv_rate_start(&r, 5000);
    cr_assert_eq(pv_rate_per_s(&r, 5000), 0);
    cr_assert_eq(pv_rate_per_s(&r, 1000000), 0);
    cr_assert_eq(r.total, 0);
}

Test(rate, of_the_first_moments)
{
    struct pv_rate r;
    pv_rate_start(&r, 5000);
    pv_rate_add(&r, 300, 5000);
    cr_assert_eq(pv_rate_per_s(&r, 5001), 300, "not 300 000: a second is the least span");
    cr_assert_eq(pv_rate_per_s(&r, 7000), 150);
}

Test(rate, of_a_steady_stream)
{
    struct pv_rate r;
    pv_rate_start(&r, 0);
    for (uint64_t ms = 0; ms < 60000; ms += 10)
        pv_rate_add(&r, 1000, ms);
    cr_assert_eq(r.total, 6000000);
    cr_assert_eq(pv_rate_per_s(&r, 59999), 100000 * 8000 / 7999);
}

Test(rate, forgets_what_is_past)
{
    struct pv_rate r;
    pv_rate_start(&r, 0);
    pv_rate_add(&r, 8000, 10000);
    cr_assert_gt(pv_rate_per_s(&r, 15999), 0);
    cr_assert_eq(pv_rate_per_s(&r, 16000), 0, "the slot after the next has begun");
    pv_rate_add(&r, 4000, 100000);
    cr_assert_eq(pv_rate_per_s(&r, 100000), 1000, "over the empty slot before, too");
    cr_assert_eq(r.total, 12000);
}
