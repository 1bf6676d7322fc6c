/*
 * Runs the script and lets the power fail at every file call that changes anything, and while the
 * store that was opened after that recovers, again. Each time the disk shows several of the states
 * it may be in; each of them must open as the model before the step or after it, be tidy, still
 * work, and show the same again when it is opened once more.
 */
#ifndef PV_TESTS_STORAGE_CRASH_H
#define PV_TESTS_STORAGE_CRASH_H

#include "tests/support/storage/world.h"

struct pvt_crash_plan {
    uint64_t seed;
    unsigned states;        /* of the disk, a crash; the first two are the extremes */
    unsigned double_states; /* a crash during recovery; 0: no double crashes */
    unsigned one_of;        /* crash at one of so many changes, drawn; 1: at each */
    unsigned double_one_of; /* likewise, during recovery */
    unsigned used_one_of;   /* so many states that opened are used and opened again; 1: each */
    size_t from, until;     /* steps of the script: power cuts from one, before another; 0: all */
    /* Syncs of these paths do nothing (simfs.h; NULL: none), until before a step of the script (0:
     * to the end); or those of the openings after a crash. */
    const char *ignore_syncs;
    size_t ignore_until;
    bool ignore_in_recovery;
    bool stop_at_first; /* finding */
};

struct pvt_crash_report {
    uint64_t crashes, double_crashes, states; /* states: disks that were opened */
    uint64_t findings;
    char first[PVT_FINDING_LEN + 200]; /* "" or what was found first, and how to find it again */
};

void pvt_crash_run(const struct pvt_crash_plan *plan, struct pvt_crash_report *report);

#endif
