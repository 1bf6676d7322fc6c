/*
 * From a target (key, name or key prefix) to the opened file record. Blocking: for use inside a
 * job's run.
 */
#ifndef PV_FILE_LOOKUP_H
#define PV_FILE_LOOKUP_H

#include "internal/file/context.h"

enum { PV_LOOKUP_CANDIDATES = 16, PV_LOOKUP_RIDS_MAX = PV_KEYRING_KEYS_MAX + 1 };
/* Starts zeroed but for its target, may be run again, and is released at the end. */
struct pv_lookup {
    const char *target; /* in */
    size_t target_len;
    struct pv_id rid, hash; /* out: of the file record */
    bool pending;
    pv_hlc hlc;
    bool by_name;  /* the target was a name */
    bool is_value; /* the target is a name, and that of a value: NOT_FOUND */
    struct pv_id name_rid, name_file_rid, name_sha256;
    struct pv_file_body body;
    uint8_t *plain; /* PV_RECORD_BODY_MAX bytes, made by the first run */
    struct pv_id candidates[PV_LOOKUP_CANDIDATES];
    size_t candidate_count;
};
/*
 * On OK `body` is decoded, its borrowed parts pointing into `plain`.
 * NOT_FOUND, with by_name: the name is there, and no such file; INVALID: an ambiguous prefix
 * (candidates); UNSUPPORTED: record under an unknown kid.
 */
PV_MUST enum pv_err pv_lookup_run(struct pv_lookup *l, const struct pv_job_context *ctx);
/* The live file record behind a file rid, or, if there is a newer one under another cluster key,
 * that one; NOT_FOUND: that is a tombstone. */
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
/* Of several registers of one thing (a file, a name) the one whose record is the newest, be it a
 * tombstone. NOT_FOUND: all are empty. */
PV_MUST enum pv_err pv_lookup_decides(struct pv_id *out, bool *is_live, const struct pv_id *rids,
                                      size_t count, const struct pv_job_context *ctx);
/* Where records of the file that was found may be, under the cluster keys that we can read, in
 * their order; of a name likewise. */
size_t pv_lookup_registers(const struct pv_lookup *l, struct pv_id rids[static PV_LOOKUP_RIDS_MAX],
                           const struct pv_job_context *ctx);
size_t pv_lookup_name_registers(struct pv_id rids[static PV_LOOKUP_RIDS_MAX], const char *name,
                                size_t len, const struct pv_job_context *ctx);
/* The name records that point to the file that was found and decide what their name means. */
PV_MUST enum pv_err pv_lookup_names(const struct pv_lookup *l, struct pv_id *names, size_t max,
                                    size_t *count, const struct pv_job_context *ctx);
/* The rids under which names point to the file that was found: its own first, then those
 * under all other cluster keys, be they retired. */
size_t pv_lookup_rids(const struct pv_lookup *l, struct pv_id rids[static PV_LOOKUP_RIDS_MAX],
                      const struct pv_job_context *ctx);
void pv_lookup_release(struct pv_lookup *l); /* wipes; the target is the caller's */
/* Answers a failed lookup: exit 3 only if every active member agrees with us, else 5. */
void pv_lookup_refuse(struct pv_files *f, struct pv_request *rq, const struct pv_lookup *l,
                      enum pv_err err);

#endif
