/* The inside of struct pv_files, and the operations, shared by the files of this folder only. */
#ifndef PV_FILE_FILES_PRIVATE_H
#define PV_FILE_FILES_PRIVATE_H

#include "internal/base/mem.h"
#include "internal/file/files.h"

/* A deadline of an operation. Unlinked when zeroed or after it fired. */
struct pv_timer {
    struct pv_list link;
    uint64_t at_ms;
    void (*fire)(struct pv_timer *t);
};

struct pv_collect;
struct pv_scrub;
struct backup;
struct pv_files {
    struct pv_files_config config;
    struct pv_budget memory;
    struct pv_list waiting; /* operations with a deadline (struct pv_timer) */
    struct pv_list pings;   /* ping.c */
    unsigned upgrades;      /* ingest.c: small uploads that turned out longer and await memory */
    unsigned uploads;       /* ingest.c: that may still use blobs without a record */
    struct pv_collect *collect; /* collect.c: the one under way, or NULL */
    struct pv_timer collect_timer;
    struct pv_scrub *scrub; /* scrub.c */
    struct backup *backup;  /* backup.c: the one under way, or NULL */
    struct pv_timer backup_timer;
    struct pv_collected {
        uint64_t at_ms, bytes; /* wall clock of the last end, 0: none; freed by it */
        bool blocked;
    } collected;
};
void pv_files_arm(struct pv_files *f, struct pv_timer *t, uint64_t at_ms);
void pv_files_disarm(struct pv_timer *t);

/* Each takes over the request and answers it. */
void pv_ingest_start(struct pv_files *f, struct pv_request *rq);
void pv_retrieve_start(struct pv_files *f, struct pv_request *rq);
void pv_query_ls(struct pv_files *f, struct pv_request *rq);
void pv_query_stat(struct pv_files *f, struct pv_request *rq);
void pv_query_rm(struct pv_files *f, struct pv_request *rq);
void pv_query_status(struct pv_files *f, struct pv_request *rq);
void pv_query_peers(struct pv_files *f, struct pv_request *rq);
void pv_query_ping(struct pv_files *f, struct pv_request *rq);
void pv_query_verify(struct pv_files *f, struct pv_request *rq);
void pv_query_gc(struct pv_files *f, struct pv_request *rq);
void pv_query_restore(struct pv_files *f, struct pv_request *rq);
void pv_query_history(struct pv_files *f, struct pv_request *rq);

/*
 * Lookup: from a target (key, name or prefix) to the opened file record. Blocking: for use inside
 * a job's run. On OK `body` is decoded, its borrowed parts pointing into `plain`.
 * NOT_FOUND, with by_name: the name is there, and no such file; INVALID: an ambiguous prefix
 * (candidates); UNSUPPORTED: record under an unknown kid.
 * A lookup starts zeroed but for its target, may be run again, and is released at the end.
 */
enum { PV_LOOKUP_CANDIDATES = 16, PV_LOOKUP_RIDS_MAX = PV_KEYRING_KEYS_MAX + 1 };
struct pv_lookup {
    const char *target; /* in */
    size_t target_len;
    struct pv_id rid, hash; /* out: of the file record */
    bool pending;
    pv_hlc hlc;
    bool by_name; /* the target was a name */
    struct pv_id name_rid, name_file_rid, name_sha256;
    struct pv_file_body body;
    uint8_t *plain; /* PV_RECORD_BODY_MAX bytes, made by the first run */
    struct pv_id candidates[PV_LOOKUP_CANDIDATES];
    size_t candidate_count;
};
PV_MUST enum pv_err pv_lookup_run(struct pv_lookup *l, const struct pv_job_context *ctx);
/* The live file record behind a file rid. */
PV_MUST enum pv_err pv_lookup_rid(struct pv_lookup *l, const struct pv_id *rid,
                                  const struct pv_job_context *ctx);
/* A file by its whole key: the one that everybody has under it, else a private copy. */
PV_MUST enum pv_err pv_lookup_key(struct pv_lookup *l, const struct pv_id *sha256,
                                  const struct pv_job_context *ctx);
/* The record that decides what a name means: the newest of those under the cluster keys that we can
 * read, be it a tombstone. NOT_FOUND. */
PV_MUST enum pv_err pv_lookup_name_rid(struct pv_id *out, const char *name, size_t len,
                                       const struct pv_job_context *ctx);
/* The file that a name means. After a change of the cluster key it may be under another rid than
 * the one in the name: then it is found by its SHA-256. */
PV_MUST enum pv_err pv_lookup_named(struct pv_lookup *l, const struct pv_name_body *name,
                                    const struct pv_job_context *ctx);
/* The rids under which names point to the file that was found: its own first, then those it has
 * under the other cluster keys that we can read. */
size_t pv_lookup_rids(const struct pv_lookup *l, struct pv_id rids[static PV_LOOKUP_RIDS_MAX],
                      const struct pv_job_context *ctx);
void pv_lookup_release(struct pv_lookup *l); /* wipes; the target is the caller's */
/* Answers a failed lookup: exit 3 only if every active member agrees with us, else 5. */
void pv_lookup_refuse(struct pv_files *f, struct pv_request *rq, const struct pv_lookup *l,
                      enum pv_err err);

#endif
