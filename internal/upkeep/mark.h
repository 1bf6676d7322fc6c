/*
 * The mark: which blobs can be reached from file records.
 *
 * Roots are live file records and tombstones in their grace (their files can be restored). Records
 * are read in the order they were written, and their trees walked down to the chunks; nodes that
 * are missing or bad here are fetched from peers. What is reached is a bit at the blob's seq in one
 * of two sets, for a window of seqs. Everything happens in jobs of bounded size.
 *
 * A mark that is done can be started again: it goes on with the records written since.
 *
 * Complete only if `unreadable` and `broken` are 0: else something may be reachable that has no
 * bit. The owner releases the sets.
 */
#ifndef PV_UPKEEP_MARK_H
#define PV_UPKEEP_MARK_H

#include "internal/upkeep/pace.h"
#include "internal/file/tree_walk.h"

enum { PV_MARK_ROOTS = 64 };

struct pv_mark {
    struct pv_files *files;
    uint64_t grace_ms;
    unsigned rests;        /* as in pace.h */
    uint64_t first, count; /* the window: seqs first .. first + count */
    uint64_t *live, *kept; /* count bits each; kept: only reached from tombstones */
    /* Once a start, from the loop, never from inside it: NOMEM, IO, CORRUPT (vault.db). */
    void (*done)(struct pv_mark *m, enum pv_err err);
    void (*progress)(struct pv_mark *m); /* now and then; may be NULL */
    void (*released)(struct pv_mark *m); /* the last step of a cancelled mark */

    uint64_t record_seq; /* out: of the last record looked at; 0 at first */
    uint64_t records, kept_files;
    bool may_purge;      /* out: there are tombstones that purge.h should look at */
    uint64_t unreadable; /* out: records that we cannot open */
    uint64_t broken;     /* out: live files without some node of their tree */

    struct pv_mark_root { /* private from here */
        struct pv_entry entry;
        bool is_live;
    } roots[PV_MARK_ROOTS];
    size_t root_count, next_root;
    bool end, running, cancelled;
    struct pv_pace pace;
    struct pv_job job;
    struct pv_tree_walk walk;
    struct pv_blob_load node;
    struct pv_entry next_node;
    bool descend, walk_ended, is_broken;
    size_t reserved;
    struct pv_budget_wait wait;
};

void pv_mark_start(struct pv_mark *m);
/* True: nothing runs, memory may go at once; false: released will be called. */
bool pv_mark_cancel(struct pv_mark *m);

static inline bool pv_mark_has(const struct pv_mark *m, const uint64_t *set, uint64_t seq)
{
    uint64_t at = seq - m->first;
    return seq >= m->first && at < m->count && (set[at / 64] >> at % 64 & 1) != 0;
}

#endif
