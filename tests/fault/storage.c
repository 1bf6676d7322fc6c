/*
 * storage [SEED [WHAT]]: the long doses of what tests/unit/storage_crash_test.c and
 * storage_faults_test.c try a little of. Without a seed it draws one; every run prints its own, and
 * a finding says what else is needed to see it again. WHAT: one of cuts, recoveries, calls, full,
 * walks.
 */
#include "tests/support/storage/crash.h"
#include "tests/support/storage/faults.h"
#include "tests/support/storage/walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WALKS = 100, WALK_STEPS = 300 };

static uint64_t failed;

static void sum_up(const char *what, uint64_t seed, uint64_t findings, const char *first)
{
    printf("%s: seed %" PRIu64 ": %" PRIu64 " findings\n", what, seed, findings);
    if (findings > 0)
        printf("    %s\n", first);
    fflush(stdout);
    failed += findings > 0;
}

static void crash(const char *what, const struct pvt_crash_plan *plan)
{
    struct pvt_crash_report r;
    pvt_crash_run(plan, &r);
    printf("%" PRIu64 " power cuts, %" PRIu64 " more during recovery, %" PRIu64 " disks opened\n",
           r.crashes, r.double_crashes, r.states);
    sum_up(what, plan->seed, r.findings, r.first);
}

static void fault(const char *what, const struct pvt_fault_plan *plan,
                  void (*run)(const struct pvt_fault_plan *plan, struct pvt_fault_report *report))
{
    struct pvt_fault_report r;
    run(plan, &r);
    printf("%" PRIu64 " cases, %" PRIu64 " without an error, %" PRIu64 " ends of the process\n",
           r.cases, r.swallowed, r.fatals);
    sum_up(what, plan->seed, r.findings, r.first);
}

static void walk(uint64_t seed)
{
    struct pvt_walk_report r;
    pvt_walk_run(seed, WALK_STEPS, &r);
    printf("%" PRIu64 " steps, %" PRIu64 " power cuts, %" PRIu64 " faults, %" PRIu64
           " ends of the process\n",
           r.steps, r.cuts, r.faults, r.ends);
    sum_up("walks", seed, r.findings, r.first);
}

static void run(const char *what, uint64_t seed)
{
    bool all = strcmp(what, "all") == 0;
    if (all || strcmp(what, "cuts") == 0)
        crash("cuts", &(struct pvt_crash_plan){.seed = seed, .states = 8, .used_one_of = 4});
    if (all || strcmp(what, "recoveries") == 0)
        crash("recoveries",
              &(struct pvt_crash_plan){
                  .seed = seed, .states = 3, .double_states = 3, .one_of = 4, .used_one_of = 1000});
    if (all || strcmp(what, "calls") == 0)
        fault("calls",
              &(struct pvt_fault_plan){.seed = seed,
                                       .one_of = 2,
                                       .call = PVT_FS_ANY_CALL,
                                       .errors = pvt_fault_errors,
                                       .modes = (1U << PVT_FAULT_MODE_COUNT) - 1},
              pvt_fault_run);
    if (all || strcmp(what, "full") == 0)
        fault("full", &(struct pvt_fault_plan){.seed = seed, .one_of = 1}, pvt_full_run);
    for (uint64_t i = 0; i < WALKS && (all || strcmp(what, "walks") == 0); i++)
        walk(seed + i);
}

int main(int argc, char **argv)
{
    struct pv_env env = pv_env_real(NULL);
    uint32_t seed = 0;
    pv_env_random(&env, &seed, sizeof seed);
    run(argc > 2 ? argv[2] : "all", argc > 1 ? strtoull(argv[1], NULL, 10) : seed);
    return failed > 0;
}
