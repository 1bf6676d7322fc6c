/* One batch, as commit.c (files, the transaction) and commit_ops.c (rows) share it. */
#ifndef PV_STORAGE_COMMIT_PRIVATE_H
#define PV_STORAGE_COMMIT_PRIVATE_H

#include "storage/commit.h"
#include "storage/store_private.h"

enum { PV_TEMP_PATH_LEN = 4 + 16 }; /* "tmp/" and a counter in hex */

/* A blob file to be written. Several operations of a batch may bring the same blob. */
struct pv_blob_job {
    struct pv_id id;
    const uint8_t *bytes; /* of the first operation that brought it */
    size_t len;
    bool had_row; /* before the batch */
    bool replace; /* move what is there to quarantine/ */
    bool in_temp, in_place;
    pv_fd fd; /* of the temporary file, until it is synced */
    uint64_t temp_no;
    enum pv_err err;
};

struct pv_digest_op {
    struct pv_id hash;
    int by;
};

/* What a batch will change in memory once it is committed. */
struct pv_effects {
    struct pv_totals totals;
    pv_hlc hlc;
    size_t digest_count;
};

struct pv_batch {
    struct pv_store *s;
    uint64_t now_ms, lease_until_ms;
    struct pv_blob_job *jobs;
    size_t job_count, job_cap;
    uint64_t new_bytes;   /* that rows and files of this batch add to the store */
    uint64_t write_bytes; /* that it takes from the disk */
    bool space_known;
    uint64_t room_bytes; /* of the disk, above the reserve */
    struct pv_effects effects;
    struct pv_digest_op *digest_ops;
    size_t digest_cap;
};

struct pv_blob_row {
    uint64_t seq;
    uint8_t home; /* enum pv_blob_home; 0: no row */
};

PV_MUST enum pv_err pv_blob_row(struct pv_db *db, const struct pv_id *id, struct pv_blob_row *out);
struct pv_blob_job *pv_batch_job(struct pv_batch *b, const struct pv_id *id); /* NULL: none */
/* The operations of one commit, inside the transaction. On an error the caller rolls back. */
PV_MUST enum pv_err pv_commit_ops(struct pv_batch *b, struct pv_commit *c);

#endif
