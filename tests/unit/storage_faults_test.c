/*
 * Every file call of everything that happens to a store fails in turn, on a simulated disk; disks
 * that are full; syncs that fail. `make fault` tries all errors at all calls.
 */
#include "tests/support/storage/faults.h"

#include <criterion/criterion.h>

TestSuite(faults, .timeout = 300);

#ifdef __SANITIZE_ADDRESS__
enum { FEWER = 4 }; /* everything takes so many times as long */
#else
enum { FEWER = 1 };
#endif

enum { ALL_MODES = (1 << PVT_FAULT_MODE_COUNT) - 1 };

static void must_find_nothing(const struct pvt_fault_report *r, uint64_t cases)
{
    cr_assert_eq(r->findings, 0, "%llu findings: %s", (unsigned long long)r->findings, r->first);
    cr_assert_geq(r->cases, cases, "%llu", (unsigned long long)r->cases);
}

Test(faults, any_call_may_fail)
{
    struct pvt_fault_report r;
    pvt_fault_run(&(struct pvt_fault_plan){.seed = 1,
                                           .one_of = 40 * FEWER,
                                           .call = PVT_FS_ANY_CALL,
                                           .errors = pvt_fault_errors,
                                           .modes = ALL_MODES},
                  &r);
    must_find_nothing(&r, 200 / FEWER);
}

Test(faults, nothing_is_acknowledged_after_a_sync_that_failed)
{
    struct pvt_fault_report r;
    pvt_fault_run(&(struct pvt_fault_plan){.seed = 2,
                                           .one_of = FEWER,
                                           .call = PVT_FS_SYNC,
                                           .errors = 1U << PV_E_IO,
                                           .modes = 1U << PVT_FAULT_ONCE},
                  &r);
    must_find_nothing(&r, 50 / FEWER);
    cr_assert_gt(r.fatals, 30 / FEWER);
}

/* Also where no room is needed for bytes: for a name, or when a log is cut. */
Test(faults, one_kind_of_call_may_find_the_disk_full)
{
    static const enum pvt_fs_call kinds[] = {PVT_FS_RENAME, PVT_FS_TRUNCATE, PVT_FS_WRITE};
    for (size_t i = 0; i < PV_COUNT(kinds); i++) {
        struct pvt_fault_report r;
        pvt_fault_run(&(struct pvt_fault_plan){.seed = 3,
                                               .one_of = (kinds[i] == PVT_FS_WRITE ? 4 : 1) * FEWER,
                                               .call = kinds[i],
                                               .errors = 1U << PV_E_NOSPACE,
                                               .modes = 1U << PVT_FAULT_STICKY_KIND},
                      &r);
        must_find_nothing(&r, 3 / FEWER);
        cr_assert_eq(r.fatals, 0);
    }
}

Test(faults, a_full_disk_refuses_and_recovers)
{
    struct pvt_fault_report r;
    pvt_full_run(&(struct pvt_fault_plan){.seed = 3, .one_of = 3 * FEWER}, &r);
    must_find_nothing(&r, 100 / FEWER);
}
