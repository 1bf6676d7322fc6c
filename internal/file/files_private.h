/* The inside of struct pv_files, and the operations, shared by the files of this folder only. */
#ifndef PV_FILE_FILES_PRIVATE_H
#define PV_FILE_FILES_PRIVATE_H

#include "internal/base/mem.h"
#include "internal/file/files.h"

struct pv_files {
    struct pv_files_config config;
    struct pv_budget memory;
    struct pv_list waiting; /* operations with a deadline (struct pv_timer) */
    struct pv_list pings;   /* status.c */
    unsigned upgrades;      /* ingest.c: small uploads that turned out longer and await memory */
};

/* A deadline of an operation. Unlinked when zeroed or after it fired. */
struct pv_timer {
    struct pv_list link;
    uint64_t at_ms;
    void (*fire)(struct pv_timer *t);
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

/*
 * Lookup: from a target (key, name or prefix) to the opened file record. Blocking: for use inside
 * a job's run. On OK `body` is decoded, its borrowed parts pointing into `plain`.
 * NOT_FOUND; INVALID: an ambiguous prefix (candidates); UNSUPPORTED: record under an unknown kid.
 */
enum { PV_LOOKUP_CANDIDATES = 16 };
struct pv_lookup {
    const char *target; /* in */
    size_t target_len;
    struct pv_id rid, hash; /* out: of the file record */
    bool pending;
    pv_hlc hlc;
    bool by_name; /* the target was a name */
    struct pv_id name_rid;
    struct pv_file_body body;
    uint8_t plain[PV_RECORD_BODY_MAX];
    struct pv_id candidates[PV_LOOKUP_CANDIDATES];
    size_t candidate_count;
};
PV_MUST enum pv_err pv_lookup_run(struct pv_lookup *l, const struct pv_job_context *ctx);
/* The live file record behind a file rid. */
PV_MUST enum pv_err pv_lookup_rid(struct pv_lookup *l, const struct pv_id *rid,
                                  const struct pv_job_context *ctx);
/* Answers a failed lookup: exit 3 only if every active member agrees with us, else 5. */
void pv_lookup_refuse(struct pv_files *f, struct pv_request *rq, const struct pv_lookup *l,
                      enum pv_err err);

#endif
