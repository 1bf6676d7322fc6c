/*
 * The writing side of the store: commits, and the one thread that makes them durable.
 *
 * A commit is a list of operations that becomes durable as a whole or not at all. The committer
 * takes what arrived while it was busy as its next batch (<= 64 blobs or 32 MiB): write temporary
 * files, start write-back, sync, rename into place, sync each folder once, one database
 * transaction for the whole batch, and only then the done callbacks: data -> index -> ack.
 *
 * Ways to make a batch of files durable, in ms, as `make bench-commit` measured them (it says what
 * they are) on a quiet machine with two cores, where a write and sync of 4 KiB in place took 0.4:
 *
 *                                  each     late    early parallel   syncfs  unnamed
 *     ext4    1 of 66 KB          2.2      2.2      2.3      2.3      2.6      2.2
 *     ext4    8 of 66 KB           17       11      5.5      5.6      4.6      5.1
 *     ext4   64 of 66 KB          102       66       25       18       15       28
 *     ext4  512 of 66 KB          848      515      200      111       90      196
 *     ext4    8 of 983 KB          23       17       13       14       13       13
 *     ext4   64 of 983 KB         170      138       84       69       76       74
 *     XFS     1 of 66 KB          1.3      1.3      1.3      1.3      1.3      1.3
 *     XFS     8 of 66 KB           12      7.9      4.1      4.2      2.9      3.8
 *     XFS    64 of 66 KB           97       59       24       18       14       22
 *     XFS   512 of 66 KB          712      502      179      109       77      176
 *     XFS     8 of 983 KB          18       14       10       11       10       11
 *     XFS    64 of 983 KB         136      102       67       55       61       62
 *
 * Each sync of a new file costs a flush of the disk's cache and a commit of the file system's
 * journal; what counts is how many of them wait in line. Write-back that begins early lets one
 * commit of the journal serve many files, and syncs side by side share the flushes too: "parallel"
 * is what the committer does with 16 files and more (8, in two threads, gained nothing). One syncfs
 * is faster still for small files, but waits for what other programs have written and answers for
 * their errors. O_TMPFILE gains nothing.
 *
 * A failed sync, and any write error of vault.db other than a full disk, ends the process with exit
 * code 70 and one line on the log: the kernel has marked the pages clean, so nothing may be
 * retried. A full disk fails the commits concerned with PV_E_NOSPACE and leaves nothing behind.
 */
#ifndef PV_STORAGE_COMMIT_H
#define PV_STORAGE_COMMIT_H

#include "storage/store.h"

enum pv_commit_type {
    PV_COMMIT_BLOB,    /* a verified blob; present already: it is used again, see LEASE */
    PV_COMMIT_RECORD,  /* a verified record; applied only if it wins its register */
    PV_COMMIT_PUBLISH, /* a record is no longer pending (if it still is the current one) */
    PV_COMMIT_FORGET,  /* delete these records, each only if it is current and not pending */
    PV_COMMIT_HELD,    /* a member holds, or no longer holds, these blobs */
    /*
     * Blobs that are used again; NOT_FOUND if one is not here. One whose lease is not fresh
     * (PV_LEASE_FRESH_HOURS) arrives anew: new lease, new seq, no holders, because those may have
     * let it go.
     */
    PV_COMMIT_LEASE,
    PV_COMMIT_SWEEP,  /* delete these blobs, each only if its lease is over */
    PV_COMMIT_EXPIRE, /* every lease given so far is over, until the store is closed */
    PV_COMMIT_SHRINK, /* give some free pages of vault.db back; applied: there may be more */
    PV_COMMIT_BAD, /* this blob was found bad: what lies there goes to quarantine/, its row too */
    PV_COMMIT_META,
    PV_COMMIT_UNKNOWN, /* delete these files if there still is no row for them */
};

struct pv_commit_op {
    enum pv_commit_type type;
    /* out: BLOB: was new or replaced; RECORD: won; PUBLISH: was pending; LEASE: one arrived anew */
    bool applied;
    union {
        struct {
            struct pv_id id;
            uint8_t kind;
            /* The stored bytes are bad: a file moves to quarantine/ first. One that turns out to be
             * good is left alone. */
            bool replace;
            bool in_place;   /* a file with these bytes lies in its place, synced: only the row */
            bool has_holder; /* who gave it to us holds it too */
            struct pv_id holder;
            const uint8_t *bytes; /* borrowed until done */
            size_t len;
        } blob;
        struct {
            const uint8_t *env; /* borrowed until done */
            size_t len;
            bool pending;
            /* Only if the current record of the register is this one, by its hash; zeros: if there
             * is none. NULL: whatever there is. */
            const struct pv_id *expected;
            bool expired; /* a tombstone: only what it removes goes, and its history */
            /* Out: the current record is another one of the same author and clock, which no honest
             * node writes that runs once. */
            bool is_twin;
            bool has_link; /* a live name record: the file it points to */
            struct pv_id link_file_rid;
            bool has_prefix; /* a live file record: pv_key_prefix_tag of its key */
            uint64_t prefix_tag;
        } record;
        struct {
            struct pv_id rid, hash;
        } publish;
        struct {
            const struct pv_record_ref *records; /* borrowed until done */
            size_t count, forgotten;             /* forgotten: out */
            bool keep_history;                   /* names stay in it, else it goes, too */
        } forget;
        struct {
            struct pv_id node_id;
            const struct pv_id *ids; /* borrowed until done; unknown ids are passed over */
            size_t count;
            bool held;
            bool all; /* every blob instead of ids (with held = false: the node lost its store) */
        } held;
        struct {
            const struct pv_id *ids; /* borrowed until done */
            size_t count;
        } lease, unknown;
        struct {
            const struct pv_id *ids; /* borrowed until done; at most PV_SWEEP_MAX */
            size_t count;
            uint64_t record_seq;  /* of the last file record that was looked at for the mark */
            size_t swept;         /* out */
            uint64_t swept_bytes; /* out */
        } sweep;
        struct {
            struct pv_id id;
            enum pv_bad_why {
                PV_BAD_FOUND,    /* its bytes were found bad; when there is no row, nothing */
                PV_BAD_WANTED,   /* and when there is no row it is lost: there should be one */
                PV_BAD_NEEDLESS, /* nobody needs it any more: it is no longer called lost */
            } why;
            uint8_t result; /* out: enum pv_check_result of every byte, looked at once more */
            bool here;      /* out: there was a row before */
            bool gone;      /* out: there is none now; never when UNREADABLE */
            uint8_t kind;   /* out, if here */
            uint32_t size;
            enum pv_err err; /* private */
        } bad;
        struct {
            const char *key; /* borrowed until done */
            const void *value;
            size_t len;
        } meta;
    } u;
};

struct pv_commit {
    struct pv_commit_op *ops; /* borrowed until done */
    size_t count;
    void (*done)(struct pv_commit *c); /* on the committer's thread; must not block */
    void *ctx;
    enum pv_err err;        /* out: one for the whole commit */
    struct pv_commit *next; /* private */
};

/*
 * Runs one batch in the calling thread: the committer's work, and what a simulator calls. Without
 * a commit it only makes the clock of leases durable.
 *
 * Errors of a commit: those of its operations, NOMEM, IO, NOSPACE (disk, disk_limit, reserve: the
 * limit refuses operations that bring new blobs, the reserve these and, when half of it is gone,
 * sealed records that are no tombstones), CORRUPT (vault.db). Of
 * operations: BLOB and META of impossible length or key, UNKNOWN of more than PV_UNKNOWN_MAX:
 * INVALID, as is SWEEP of more than PV_SWEEP_MAX; SWEEP when a file record was written after
 * record_seq: BUSY, look at it first. RECORD that does not parse: PROTOCOL. LEASE: NOT_FOUND. HELD
 * for a 65th node: LIMIT.
 */
void pv_commit_batch(struct pv_store *s, struct pv_commit *first);

/*
 * Log bytes that wait for a checkpoint, and the checkpoint. Same thread as commits. A full disk
 * fails it with NOSPACE and loses nothing: the log stays. It does not wait for readers, unless the
 * log is too long: then a batch ends with one.
 */
uint64_t pv_commit_log_bytes(const struct pv_store *s);
PV_MUST enum pv_err pv_commit_checkpoint(struct pv_store *s);

struct pv_committer;
/* LIMIT: no thread may be started. */
PV_MUST enum pv_err pv_committer_start(struct pv_committer **out, struct pv_store *s);
/* Any thread. done always runs. After stop began: done with PV_E_CANCELLED, from here. */
void pv_committer_submit(struct pv_committer *c, struct pv_commit *commit);
/* Finishes what was submitted, checkpoints, ends the thread, frees. */
void pv_committer_stop(struct pv_committer *c);

#endif
