/*
 * A disk in memory behind struct pv_fs, with the one property that real ones hide until the power
 * fails: what was written is not there yet. Depends on internal/base only; all that is random comes
 * from seeds.
 *
 * The model. Every file and folder has a state that programs see and one that is durable.
 *
 * - Bytes are kept in sectors of 512. What a sync of the file has not covered reaches the disk or
 *   not, sector by sector, in any order, also as it was before it was overwritten again; a sector
 *   is never torn. Lengths follow in the order they were set; where a file got longer without its
 *   bytes there are zeros, or what somebody else left in these sectors. A cut that did not reach
 *   the disk holds back what was written beyond it afterwards.
 * - A sync of a file covers bytes and length, never its name. A name that was created, renamed or
 *   removed is durable when its folder was synced. Until then a crash shows either a moment of the
 *   past (a file system with a journal) or any subset of the changes, those of one name in order
 *   (one without). A rename never loses the file: the new name may appear without the old one
 *   going, the old one never goes without the new one. Syncing either folder makes the new name
 *   durable.
 * - A sync that fails has lost its bytes: they are read as before, later syncs do not write them,
 *   and after a crash each may be there or not. That is what Linux does.
 *
 * Not modelled: links, permissions, times after a crash, folders that are removed, bit rot.
 *
 *     struct pvt_simfs *s = pvt_simfs_new();
 *     ... pv_vault_create("vault", pvt_simfs_fs(s)) ...
 *     struct pvt_simfs *after = pvt_simfs_crash(s, seed);
 *
 * Paths begin at the root, PV_FD_NONE or "/"; names have at most 79 bytes. Calls are thread-safe,
 * the functions of this header are called by one thread while no call is under way, but for those
 * that a hook may use.
 */
#ifndef PV_TESTS_SIMFS_H
#define PV_TESTS_SIMFS_H

#include "internal/base/fs.h"
#include "tests/support/faultfs.h" /* the names of calls */

enum { PVT_SECTOR_LEN = 512, PVT_SIMFS_NAME_MAX = 79, PVT_SIMFS_PATH_MAX = 255 };

struct pvt_simfs;

struct pvt_simfs *pvt_simfs_new(void); /* an empty root folder */
void pvt_simfs_free(struct pvt_simfs *s);
const struct pv_fs *pvt_simfs_fs(struct pvt_simfs *s);

/* ---- crashes ---- */

enum {
    PVT_CRASH_NOTHING = 0, /* as seed: nothing survives that was not synced */
    PVT_CRASH_ALL = 1,     /* everything does */
};
/*
 * What the disk may show after a crash at this moment: a new file system, where all that is there
 * is durable, with the limits of the old one and none of its faults. The old one goes on as it is.
 * A hook may call it.
 */
struct pvt_simfs *pvt_simfs_crash(struct pvt_simfs *s, uint64_t seed);
/* The process died, the machine did not: handles and locks are gone, nothing else. */
void pvt_simfs_kill(struct pvt_simfs *s);

/* ---- what is called ---- */

struct pvt_simfs_call {
    enum pvt_fs_call kind;
    uint64_t number;  /* from 1; all calls count */
    const char *path; /* from the root, as it was opened; of a rename the old one */
};
/*
 * Runs before every call that passed the checks of the fault, on its thread, and may use this file
 * system and others. NULL: none.
 */
typedef void (*pvt_simfs_hook)(void *ctx, struct pvt_simfs *s, const struct pvt_simfs_call *call);
void pvt_simfs_set_hook(struct pvt_simfs *s, pvt_simfs_hook before, void *ctx);
uint64_t pvt_simfs_calls(const struct pvt_simfs *s);
/* Grows when a call changes what programs see or what a crash may show. */
uint64_t pvt_simfs_changes(const struct pvt_simfs *s);
size_t pvt_simfs_open_handles(const struct pvt_simfs *s);

/* ---- faults ---- */

enum { PVT_FS_ANY_CALL = PVT_FS_CALL_COUNT };

struct pvt_simfs_fault {
    unsigned call;       /* enum pvt_fs_call, or PVT_FS_ANY_CALL */
    const char *pattern; /* of paths, as fnmatch(3) with FNM_PATHNAME; NULL: all. Borrowed */
    uint64_t n;          /* of the calls that match: 1 is the next */
    enum pv_err err;
    bool sticky; /* from then on all calls that match */
};
/*
 * One fault at a time. A write that fails has written its first half, a close that fails has
 * closed, a sync that fails has lost what it should write; other calls that fail have done nothing.
 */
void pvt_simfs_fail(struct pvt_simfs *s, const struct pvt_simfs_fault *fault);
void pvt_simfs_heal(struct pvt_simfs *s);
bool pvt_simfs_fired(const struct pvt_simfs *s);                          /* since pvt_simfs_fail */
const struct pvt_simfs_call *pvt_simfs_victim(const struct pvt_simfs *s); /* the first */
/* Syncs of these paths (as above) report success and do nothing. NULL: no longer. Borrowed. */
void pvt_simfs_ignore_syncs(struct pvt_simfs *s, const char *pattern);
uint64_t pvt_simfs_ignored(const struct pvt_simfs *s); /* so many did */

/*
 * 0: no limit. What files take is counted in blocks of 4096 bytes. A write that does not fit has
 * written what did, and is PV_E_NOSPACE; an open beyond handles_max is PV_E_LIMIT.
 */
void pvt_simfs_limit(struct pvt_simfs *s, uint64_t capacity_bytes, size_t handles_max);
uint64_t pvt_simfs_used_bytes(const struct pvt_simfs *s);
void pvt_simfs_set_time(struct pvt_simfs *s, uint64_t wall_ms); /* for mtime; 0 at first */

#endif
