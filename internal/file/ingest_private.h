/*
 * The inside of one running `store`, shared by ingest*.c only.
 *
 *   ingest.c          the request, memory, the stages that the client's bytes go through
 *   ingest_blobs.c    from a cut chunk to a durable blob, and the tree of them
 *   ingest_records.c  the records, the last commit, the wait for copies
 *
 *   data -> stage -> digest job (SHA-256, chunker) -> chunk -> seal job -> commit
 *                                                       entries in order -> tree -> nodes, likewise
 *   all durable but the root -> record job -> commit of root and records -> copies -> reply
 *
 * Every event of an ingest ends in pv_ingest_advance, which does whatever has become possible.
 * An ingest has one reference for its request, one for each job in flight and one for each event
 * being handled; the last one frees it and only then gives its memory back to the budget. Once the
 * request is answered or cancelled (rq == NULL) nothing new is begun.
 */
#ifndef PV_FILE_INGEST_PRIVATE_H
#define PV_FILE_INGEST_PRIVATE_H

#include "internal/base/limits.h"
#include "internal/file/file_records.h"
#include "internal/file/tree_builder.h"

enum {
    PV_INGEST_STAGE_LEN = 256 * 1024,
    /* A file announced with at most so many bytes is small: one stage, at most one chunk. */
    PV_INGEST_SMALL_MAX = 64 * 1024,
    /* It may turn out longer; then what came up to there is kept while more memory is awaited. */
    PV_INGEST_SMALL_STAGE_LEN = PV_INGEST_SMALL_MAX + PV_CONTROL_DATA_MAX + 1,
    PV_INGEST_SMALL_BLOB_LEN = 67632, /* pv_blob_len(PV_INGEST_SMALL_MAX) */

    /* The record job at its peak: a body, an envelope, and the envelope of a file made before
     * (cut to its length), with room for what is allocated around all this. */
    PV_INGEST_RECORDS_BYTES = PV_RECORD_BODY_MAX + PV_RECORD_LEN_MAX + 24 * 1024,

    /* What is reserved before the first byte is read. Small: stage and blob, then blob and
     * records. Stream: stages, the chunk being filled, those in the window (of which the tree uses
     * one for each level that outgrew its small buffer), the small buffers of the tree. Records
     * come when the stages have gone. */
    PV_INGEST_SMALL_BYTES = PV_INGEST_SMALL_BLOB_LEN + PV_INGEST_RECORDS_BYTES,
    PV_INGEST_STREAM_BYTES = 2 * PV_INGEST_STAGE_LEN + (1 + PV_INGEST_WINDOW) * PV_BLOB_LEN_MAX +
                             PV_TREE_LEVELS * PV_TREE_SMALL_LEN,
};
_Static_assert((int)PV_INGEST_SMALL_STAGE_LEN < (int)PV_INGEST_RECORDS_BYTES,
               "a small file's stage is covered by what its records need later");

#define PV_INGEST_CLOCK_TEXT                                                                  \
    "this machine's clock is wrong (before 2020, or far behind the clocks of stored files): " \
    "set it, then store again"

struct pv_ingest;

struct pv_ingest_blob {
    struct pv_job job;   /* first the seal, then the commit */
    struct pv_list link; /* in->blobs, in the order of their entries */
    struct pv_ingest *in;
    enum pv_blob_kind kind;
    unsigned level; /* of its entry in the tree */
    bool random_key;
    uint64_t epoch;
    uint8_t *buf; /* NULL once committed */
    size_t cap, payload_len;
    uint64_t length; /* of plaintext below */
    bool is_root, is_sealed, is_durable, is_collected;
    struct pv_blob_sealed sealed;
    struct pv_commit_op op;
};

struct pv_ingest_stage {
    uint8_t *buf;
    size_t cap, len;
};

struct pv_ingest_digest {
    struct pv_job job;
    struct pv_sha256 *sha;
    struct pv_chunker *chunker; /* made by the first job that can need it */
    bool may_cut, fixed;
    const uint8_t *src;
    size_t src_len, used;
    uint8_t *dst;
    bool cut;
};

struct pv_ingest_records {
    struct pv_job job;
    struct pv_sha256 *sha;
    bool replaces_value;
    struct pv_file_records written;
    struct pv_commit_op ops[3];
};

struct pv_ingest {
    struct pv_files *files;
    struct pv_node *node;
    struct pv_request *rq; /* NULL: answered or cancelled */
    unsigned refs;

    char name[PV_NAME_MAX + 1];
    size_t name_len; /* 0: no name is bound */
    uint64_t mtime_ms, epoch;
    bool is_private, wait_for_copies;
    bool replaces_value; /* the name may be that of a value */
    unsigned copies;     /* asked for; 0: the default */

    struct pv_budget_wait memory_wait;
    size_t charged;
    bool is_small, is_upgrading, is_paused;

    struct pv_ingest_stage stages[2];
    unsigned filling;            /* index of the stage that gets data */
    bool has_work, is_digesting; /* the other stage has data; a job reads it */
    size_t work_at;
    bool ended, is_input_done;
    uint64_t size;
    struct pv_ingest_digest digest;

    uint8_t *chunk; /* seal buffer being filled; of a tiny file: its bytes, to the end */
    size_t chunk_len, chunk_cap;
    bool is_inline;

    struct pv_list blobs;
    unsigned in_flight; /* in the window: not yet both durable and collected */
    size_t blob_bytes;  /* allocated for them, and for the root */
    struct pv_tree_builder tree;
    bool has_root;
    struct pv_entry root;
    struct pv_ingest_blob *root_blob; /* sealed, to be committed with the records */

    bool is_recording;
    struct pv_ingest_records records;
    uint64_t new_bytes;
    struct pv_copies_wait copies_wait;
    struct pv_timer timer;
    unsigned have, want;
};

void pv_ingest_hold(struct pv_ingest *in);
void pv_ingest_drop(struct pv_ingest *in); /* last statement: `in` may be gone */
void pv_ingest_submit(struct pv_ingest *in, struct pv_job *job); /* the job gets a reference */
/* The event that a job is over: advances, and drops the job's reference. */
void pv_ingest_job_done(struct pv_ingest *in);
/* Does what has become possible. The caller has a reference. */
void pv_ingest_advance(struct pv_ingest *in);
/* Answers with what err means for the user. */
void pv_ingest_fail(struct pv_ingest *in, enum pv_err err);
/* Forgets the request (answered or cancelled) and drops its reference. */
void pv_ingest_detach(struct pv_ingest *in);

/* ---- ingest_blobs.c ---- */
bool pv_ingest_has_room(const struct pv_ingest *in); /* for one more chunk */
/* Makes the chunk filled so far a blob and starts sealing it. */
void pv_ingest_cut(struct pv_ingest *in, bool is_root);
/* Collects entries in order; when all input is done, closes the tree. */
void pv_ingest_collect(struct pv_ingest *in);
void pv_ingest_blob_op(struct pv_commit_op *op, const struct pv_ingest_blob *b);
size_t pv_ingest_blob_bytes(const struct pv_ingest *in); /* allocated for blobs and tree */
void pv_ingest_blobs_release(struct pv_ingest *in);

/* ---- ingest_records.c ---- */
/* When everything but the root is durable: writes the records. */
void pv_ingest_record(struct pv_ingest *in);
void pv_ingest_records_release(struct pv_ingest *in);

#endif
