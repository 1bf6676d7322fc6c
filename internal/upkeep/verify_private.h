/*
 * The inside of verify, shared by verify*.c.
 *
 *   verify.c          the request: phases, what is said of them, the end
 *   verify_side.c     the phases of vault.db's pages and of the backups
 *   verify_trees.c    the phase of the files: jobs that walk trees over what is here
 *   verify_findings.c what a slice found: said, and repaired if that was asked for
 */
#ifndef PV_UPKEEP_VERIFY_PRIVATE_H
#define PV_UPKEEP_VERIFY_PRIVATE_H

#include "internal/base/map.h"
#include "internal/file/tree_walk.h"
#include "internal/node/places.h"
#include "internal/node/repair.h"
#include "internal/upkeep/upkeep_private.h"
#include "storage/backup.h"
#include "storage/check.h"

enum {
    PV_VERIFY_REPAIRS = 8,     /* at once */
    PV_VERIFY_BAD_MAX = 65536, /* blobs that are remembered, to tell which files need them */
    PV_VERIFY_ROOTS = 64,
    PV_VERIFY_NAMES = 16, /* of a file that is told of */
};

struct pv_verify;

struct pv_verify_finding {
    struct pv_finding blob;
    bool wanted;    /* a file needs it, whether or not there is a row */
    bool malformed; /* its bytes are those of the id, and still not what its file says */
    bool started, ended, good;
};

struct pv_verify_slot {
    struct pv_verify *v;
    struct pv_repair *repair; /* NULL: free */
    size_t finding;
};

struct pv_verify_root {
    struct pv_entry entry;
    struct pv_id sha256, rid;
};

struct pv_verify_counts {
    uint64_t blobs, bytes, records, files; /* looked at */
    uint64_t bad_records, bad_blobs;       /* bad_blobs: or missing; each once */
    uint64_t repaired, needless;           /* of bad_blobs; needless: bad, and no file needs it */
    uint64_t unreadable_records;           /* of files: under an unknown cluster key, for one */
    uint64_t affected_files;
    bool inconsistent; /* digest or counts are not those of the rows */
    bool bad_pages;    /* of vault.db, in use */
    bool bad_backup;   /* records.bak or small.bak */
};

struct pv_verify {
    struct pv_files *files;
    struct pv_upkeep *upkeep;
    struct pv_request *rq; /* NULL: cancelled */
    bool deep, repair;
    bool running;                      /* a job */
    bool blocked;                      /* the client does not read: goes on when it does */
    void (*next)(struct pv_verify *v); /* then */
    struct pv_job job;
    void (*done)(struct pv_verify *v, enum pv_err err); /* of the job */
    struct pv_commit_op op;
    size_t reserved;
    struct pv_budget_wait wait;
    uint64_t total_bytes, told_ms;
    struct pv_verify_counts counts;
    struct pv_blob_check blobs;
    struct pv_record_check records;
    struct pv_page_check pages;
    struct pv_backup_check backup;
    struct backup *renewing; /* a backup is written anew, and will call us */

    /* Bad or missing, not repaired; the value says whether a file needs it. */
    struct pv_map bad;
    bool bad_is_full;
    bool skipped_nodes; /* what is below them was not looked at */

    struct pv_verify_finding findings[PV_CHECK_FINDINGS_MAX];
    size_t finding_count;
    struct pv_verify_slot slots[PV_VERIFY_REPAIRS];
    void (*findings_done)(struct pv_verify *v);

    struct pv_places places; /* chunks that belong elsewhere are not missed */
    uint64_t record_seq;
    struct pv_verify_root roots[PV_VERIFY_ROOTS];
    size_t root_count, root_next;
    bool records_end;
    struct pv_tree_walk walk;
    struct pv_blob_load node;
    struct pv_entry stuck; /* a node that could not be opened: tried again if it was repaired */
    bool is_stuck, walk_end;
    uint64_t file_bad;
    json_t *names;

    struct pv_id *lost; /* PV_LOST_MAX */
    size_t lost_count, lost_next;
};

/* verify.c */
void pv_verify_submit(struct pv_verify *v,
                      void (*run)(struct pv_job *, const struct pv_job_context *),
                      void (*done)(struct pv_verify *v, enum pv_err err));
/* Calls next, now or when the client has read what it was told. */
void pv_verify_go_on(struct pv_verify *v, void (*next)(struct pv_verify *v));
void pv_verify_fail(struct pv_verify *v, enum pv_err err);
void pv_verify_blobs(struct pv_verify *v);
void pv_verify_files_done(struct pv_verify *v);

/* verify_side.c: goes on with the blobs. */
void pv_verify_side(struct pv_verify *v);
void pv_verify_side_abandon(struct pv_verify *v);

/* verify_findings.c. needed: by a file. */
void pv_verify_note_bad(struct pv_verify *v, const struct pv_id *id, bool needed);
bool pv_verify_is_bad(struct pv_verify *v, const struct pv_id *id); /* a file needs it */
bool pv_verify_is_needed(const struct pv_verify *v, const struct pv_id *id);
/* Tells of findings[0..finding_count), repairs them, then calls done. */
void pv_verify_settle(struct pv_verify *v, void (*done)(struct pv_verify *v));
void pv_verify_abandon(struct pv_verify *v);

/* verify_trees.c */
void pv_verify_trees(struct pv_verify *v);
void pv_verify_trees_release(struct pv_verify *v);

#endif
