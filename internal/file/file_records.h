/*
 * Writing a file: its record, and the record of a name that is bound to it.
 *
 *   fill in, begin -> seal (in a job) -> ops, committed by the owner -> publish -> release
 *
 * store and restore share it, and rm the sealing of one record.
 */
#ifndef PV_FILE_FILE_RECORDS_H
#define PV_FILE_FILE_RECORDS_H

#include "internal/file/context.h"

struct pv_file_records {
    /* In. Borrowed parts stay until the seal is over. */
    struct pv_file_body file;  /* but for author.hlc */
    const char *bind;          /* the name to be bound */
    size_t bind_len;           /* 0: none */
    bool name_only;            /* the file's record stays as it is; rid is given */
    pv_hlc file_hlc, name_hlc; /* by begin, as are the next two */
    uint64_t epoch;
    bool pending; /* other members exist: it leaves when they hold the blobs, if there are any */

    /* Out. */
    struct pv_id rid, hash; /* of the file's record */
    struct pv_id name_rid, name_hash;
    uint8_t *file_env, *name_env; /* NULL: no such record is written */
    size_t file_len, name_len;
    uint64_t prefix_tag;
};

/* Takes the clocks. UNAVAILABLE: this machine's clock is wrong. */
PV_MUST enum pv_err pv_file_records_begin(struct pv_file_records *r, struct pv_node *n);
PV_MUST enum pv_err pv_file_records_seal(struct pv_file_records *r,
                                         const struct pv_job_context *ctx);
/* 1 or 2 operations, the file's first, which borrow from r. */
size_t pv_file_records_ops(const struct pv_file_records *r, struct pv_commit_op ops[static 2]);
/* After the commit. */
void pv_file_records_publish(const struct pv_file_records *r, struct pv_node *n);
void pv_file_records_release(struct pv_file_records *r); /* wipes */

/* An envelope under this cluster key, in memory of its own length (pv_free), and its hash.
 * NOMEM. */
PV_MUST enum pv_err pv_seal_record(uint8_t **env, size_t *len, struct pv_id *hash,
                                   const struct pv_record_draft *draft,
                                   const struct pv_cluster_keys *keys,
                                   const struct pv_job_context *ctx);

#endif
