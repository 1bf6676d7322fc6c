/*
 * A pv_fs that passes everything on to another and fails on demand: the n-th call of one kind from
 * now on, once, or all of them. It counts calls and keeps a trace of them, one letter a call. A
 * write that fails has written its first half. Thread-safe.
 */
#ifndef PV_TESTS_FAULTFS_H
#define PV_TESTS_FAULTFS_H

#include "internal/base/fs.h"

#include <pthread.h>

#define PVT_FS_CALLS(X) \
    X(OPEN, 'o')        \
    X(CLOSE, 'c')       \
    X(READ, 'R')        \
    X(WRITE, 'w')       \
    X(TRUNCATE, 't')    \
    X(STAT, 'S')        \
    X(WRITEBACK, 'b')   \
    X(SYNC, 's')        \
    X(RENAME, 'r')      \
    X(UNLINK, 'u')      \
    X(MKDIR, 'm')       \
    X(LIST, 'l')        \
    X(SPACE, 'p')       \
    X(LOCK, 'k')

enum pvt_fs_call {
#define X(name, letter) PVT_FS_##name,
    PVT_FS_CALLS(X)
#undef X
        PVT_FS_CALL_COUNT
};

struct pvt_faultfs {
    struct pv_fs fs; /* hand this out */
    const struct pv_fs *inner;
    pthread_mutex_t mutex;
    uint64_t counts[PVT_FS_CALL_COUNT];
    enum pvt_fs_call fail_call;
    uint64_t fail_in; /* this many calls from now; 0: never */
    enum pv_err fail_err;
    bool fail_on, fired;
    uint64_t bytes_written;
    size_t trace_len;
    char trace[8192]; /* the first calls since pvt_faultfs_trace, NUL-terminated */
};

void pvt_faultfs_init(struct pvt_faultfs *f, const struct pv_fs *inner);
void pvt_faultfs_release(struct pvt_faultfs *f);
/* The n-th call (1: the next) of this kind fails; fired says that it has come. */
void pvt_faultfs_fail(struct pvt_faultfs *f, enum pvt_fs_call call, uint64_t n, enum pv_err err);
/* All calls of this kind fail until it is healed. */
void pvt_faultfs_fail_on(struct pvt_faultfs *f, enum pvt_fs_call call, enum pv_err err);
void pvt_faultfs_heal(struct pvt_faultfs *f);
uint64_t pvt_faultfs_count(struct pvt_faultfs *f, enum pvt_fs_call call);
void pvt_faultfs_trace(struct pvt_faultfs *f); /* begins anew */

#endif
