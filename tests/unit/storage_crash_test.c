/*
 * Power cuts at the file calls of everything that happens to a store, on a simulated disk; and the
 * same with one sync left out after the other, each of which must be noticed: the proof that these
 * tests can see. `make fault` does more of it.
 */
#include "tests/support/storage/crash.h"

#include <criterion/criterion.h>

TestSuite(crash, .timeout = 300);

#ifdef __SANITIZE_ADDRESS__
enum { FEWER = 4 }; /* everything takes so many times as long */
#else
enum { FEWER = 1 };
#endif

static void must_find_nothing(const struct pvt_crash_plan *plan)
{
    struct pvt_crash_report r;
    pvt_crash_run(plan, &r);
    cr_assert_eq(r.findings, 0, "%llu findings: %s", (unsigned long long)r.findings, r.first);
    cr_assert_gt(r.states, 100 / FEWER);
    cr_assert(plan->double_states == 0 || r.double_crashes > 100 / FEWER);
}

Test(crash, nothing_is_lost_at_any_call)
{
    must_find_nothing(
        &(struct pvt_crash_plan){.seed = 1, .states = 3, .one_of = 4 * FEWER, .used_one_of = 4});
}

Test(crash, nothing_is_lost_when_recovery_is_cut_too)
{
    must_find_nothing(&(struct pvt_crash_plan){.seed = 2,
                                               .states = 3,
                                               .one_of = 30 * FEWER,
                                               .used_one_of = 100,
                                               .double_states = 2,
                                               .double_one_of = 2});
}

/* Good bytes, too: whoever asked may have met a disk that failed to read them once. */
Test(crash, nothing_is_lost_while_bytes_are_replaced)
{
    must_find_nothing(&(struct pvt_crash_plan){.seed = 3,
                                               .states = 3,
                                               .one_of = 1,
                                               .used_one_of = 1000,
                                               .from = pvt_script_find("replace a file"),
                                               .until = pvt_script_find("stray file")});
}

/* ---- syncs left out ---- */

struct mutant {
    const char *syncs;
    const char *from, *until; /* steps of the script; NULL: the first, the end */
    bool in_recovery;
};

static const struct mutant mutants[] = {
    {"vault/tmp/*", "row", NULL, false},                  /* bytes of a blob file */
    {"vault/blobs/??", "row", NULL, false},               /* its name */
    {"vault/vault.db-wal", "first opening", NULL, false}, /* the transaction */
    {"vault/vault.db", "first opening", NULL, false},     /* a checkpoint */
    {"vault/vault.db-journal", "first opening", NULL, false},
    {"vault", "first opening", NULL, false}, /* the names of vault.db and its log */
    {"vault", NULL, "first opening", false}, /* those of the folders in a new vault */
    {"vault/blobs", NULL, NULL, false},      /* those of the 256 */
    {"", NULL, NULL, false},                 /* that of the vault */
    {"vault/vault.db-wal", "row", NULL, true},
};

static size_t step_of(const char *name)
{
    return name != NULL ? pvt_script_find(name) : 0;
}

Test(crash, a_sync_that_is_left_out_is_noticed)
{
    for (size_t i = 0; i < PV_COUNT(mutants); i++) {
        struct pvt_crash_report r;
        struct pvt_crash_plan plan = {
            .seed = 3,
            .states = 3,
            .one_of = 1,
            .used_one_of = mutants[i].in_recovery ? 1 : 1000,
            .from = step_of(mutants[i].from),
            .ignore_syncs = mutants[i].syncs,
            .ignore_until = step_of(mutants[i].until),
            .ignore_in_recovery = mutants[i].in_recovery,
            .stop_at_first = true,
        };
        pvt_crash_run(&plan, &r);
        cr_expect_gt(r.findings, 0, "nobody misses the syncs of %s", mutants[i].syncs);
    }
}
