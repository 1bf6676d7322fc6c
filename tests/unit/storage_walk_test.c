/* Steps and accidents in random order on one vault; `make fault` walks further. */
#include "tests/support/storage/walk.h"

#include <criterion/criterion.h>

TestSuite(walk, .timeout = 300);

#ifdef __SANITIZE_ADDRESS__
enum { STEPS = 60 };
#else
enum { STEPS = 150 };
#endif

Test(walk, every_accident_begins_where_the_last_one_ended)
{
    uint64_t cuts = 0, faults = 0, ends = 0;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct pvt_walk_report r;
        pvt_walk_run(seed, STEPS, &r);
        cr_assert_eq(r.findings, 0, "%s", r.first);
        cr_assert_eq(r.steps, STEPS);
        cuts += r.cuts;
        faults += r.faults;
        ends += r.ends;
    }
    cr_assert(cuts >= 5 && faults >= 10 && ends >= 5);
}
