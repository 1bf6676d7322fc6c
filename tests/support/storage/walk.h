/*
 * A long life of one vault: steps of the script in any order, and in between power cuts at any
 * call, calls that fail, ends of the process, full disks. What one accident leaves is where the
 * next one begins. After each the store has to be as the model says.
 */
#ifndef PV_TESTS_STORAGE_WALK_H
#define PV_TESTS_STORAGE_WALK_H

#include "tests/support/storage/world.h"

struct pvt_walk_report {
    uint64_t steps, cuts, faults, ends; /* ends: of the process */
    uint64_t findings;
    char first[PVT_FINDING_LEN + 200];
};

/* So many steps, or until the first finding. */
void pvt_walk_run(uint64_t seed, unsigned steps, struct pvt_walk_report *report);

#endif
