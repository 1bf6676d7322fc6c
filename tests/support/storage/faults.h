/*
 * Runs each step of the script with every file call of it failing in turn, and compares what is
 * left with the model: no call may crash, leak a handle, be acknowledged wrongly, or leave behind
 * what the next opening cannot live with. Where the store goes on, the step is repeated and must
 * work. Where it wants to end the process, which only a failed sync and a failed write to vault.db
 * may cause, nothing is acknowledged any more, and the vault is opened both as the next process
 * finds it and as a power cut leaves it.
 */
#ifndef PV_TESTS_STORAGE_FAULTS_H
#define PV_TESTS_STORAGE_FAULTS_H

#include "tests/support/storage/world.h"

enum pvt_fault_mode {
    PVT_FAULT_ONCE,
    PVT_FAULT_STICKY,      /* all calls from then on */
    PVT_FAULT_STICKY_KIND, /* all calls of the kind from then on; reading goes on */
    PVT_FAULT_MODE_COUNT,
};

struct pvt_fault_plan {
    uint64_t seed;
    unsigned one_of; /* of the cases, so many times fewer; 1: all */
    unsigned call;   /* enum pvt_fs_call, or PVT_FS_ANY_CALL */
    unsigned errors; /* bit e: enum pv_err e */
    unsigned modes;  /* bits of enum pvt_fault_mode */
};

struct pvt_fault_report {
    uint64_t cases, swallowed, fatals; /* swallowed: the step worked all the same */
    uint64_t findings;
    char first[PVT_FINDING_LEN + 200];
};

/* Errors that a disk gives: NOMEM IO NOSPACE AUTH LIMIT INTERNAL; and what else fs.h names. */
extern const unsigned pvt_fault_errors, pvt_fault_all_errors;

void pvt_fault_run(const struct pvt_fault_plan *plan, struct pvt_fault_report *report);
/*
 * Each step on a disk that has room for 0, 1, 2, ... more blocks: it fails with NOSPACE or works,
 * what is there can be read, and with room it works without being opened anew.
 */
void pvt_full_run(const struct pvt_fault_plan *plan, struct pvt_fault_report *report);

#endif
