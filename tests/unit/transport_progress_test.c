#include "internal/base/limits.h"
#include "transport/progress.h"

#include <criterion/criterion.h>

TestSuite(progress, .timeout = 10);

enum { LEAST = PV_RATE_MIN * (PV_RATE_WINDOW_MS / 1000) };

Test(progress, just_enough_and_one_byte_less)
{
    for (unsigned less = 0; less < 2; less++) {
        struct pv_progress p = {0};
        cr_assert(pv_progress_goes_on(&p, true, 5, 1000));
        cr_assert_eq(pv_progress_deadline_ms(&p), 1000 + PV_RATE_WINDOW_MS);
        cr_assert(pv_progress_goes_on(&p, true, 5, 1000 + PV_RATE_WINDOW_MS - 1));
        cr_assert_eq(pv_progress_goes_on(&p, true, 5 + LEAST - less, 1000 + PV_RATE_WINDOW_MS),
                     less == 0);
    }
}

Test(progress, each_stretch_counts_for_itself)
{
    struct pv_progress p = {0};
    cr_assert(pv_progress_goes_on(&p, true, 0, 0));
    cr_assert(pv_progress_goes_on(&p, true, 100 * LEAST, PV_RATE_WINDOW_MS));
    cr_assert_not(pv_progress_goes_on(&p, true, 100 * LEAST, 2 * PV_RATE_WINDOW_MS));
}

Test(progress, what_is_not_owed_may_take_its_time)
{
    struct pv_progress p = {0};
    cr_assert_eq(pv_progress_deadline_ms(&p), UINT64_MAX);
    cr_assert(pv_progress_goes_on(&p, false, 0, 1000000));
    cr_assert(pv_progress_goes_on(&p, true, 0, 1000000), "it begins here");
    cr_assert(pv_progress_goes_on(&p, false, 0, 1000000 + PV_RATE_WINDOW_MS));
    cr_assert_eq(pv_progress_deadline_ms(&p), UINT64_MAX);
    cr_assert(pv_progress_goes_on(&p, true, 0, 2000000));
    cr_assert(pv_progress_goes_on(&p, true, 0, 2000000 + PV_RATE_WINDOW_MS - 1));
}
