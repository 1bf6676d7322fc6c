/* One batch, as commit_plan.c, commit.c (files, transaction) and commit_ops.c (rows) share it. */
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
    bool is_good; /* what is there; only its folder is synced */
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
    size_t digest_count, swept_count;
};

struct pv_batch {
    struct pv_store *s;
    uint64_t now_ms, lease_until_ms;
    struct pv_blob_job *jobs;
    size_t job_count, job_cap;
    uint64_t new_bytes;  /* of blobs that this batch adds to the store */
    uint64_t cost_bytes; /* of the disk, for all that it adds */
    bool space_known, squeezed;
    struct pv_fs_space space, reserve; /* of the disk, when space_known; free_* of the reserve */
    /* COMMIT failed when all may have been written: the rows may turn up at the next opening. */
    bool in_doubt;
    struct pv_effects effects;
    struct pv_digest_op *digest_ops;
    size_t digest_cap;
    struct pv_id *swept; /* files whose rows are gone, to be removed after COMMIT */
    size_t swept_cap;
};

struct pv_blob_row {
    uint64_t seq, held, lease_until_ms;
    uint8_t home; /* enum pv_blob_home; 0: no row */
    uint8_t kind;
};

PV_MUST enum pv_err pv_blob_row(struct pv_db *db, const struct pv_id *id, struct pv_blob_row *out);
struct pv_blob_job *pv_batch_job(struct pv_batch *b, const struct pv_id *id); /* NULL: none */
/* What one commit needs of files and room, and whether it may have it. Outside a transaction. */
PV_MUST enum pv_err pv_plan_commit(struct pv_batch *b, struct pv_commit *c);
/* commit_sweep.c: the rows of a SWEEP, inside the transaction, and after COMMIT the files. */
PV_MUST enum pv_err pv_sweep_rows(struct pv_batch *b, struct pv_commit_op *op);
void pv_sweep_files(struct pv_batch *b);
PV_MUST enum pv_err pv_shrink(struct pv_batch *b, struct pv_commit_op *op);
/* Makes the names in a folder of the vault durable; a failed sync is fatal. */
PV_MUST enum pv_err pv_sync_folder(struct pv_store *s, const char *path);
/* Removes a file that has no row; what stays is an unknown file, and logged. */
void pv_unlink_logged(struct pv_store *s, const char *path);
/* The operations of one commit, inside the transaction. On an error the caller rolls back. */
PV_MUST enum pv_err pv_commit_ops(struct pv_batch *b, struct pv_commit *c);

#endif
