/*
 * Looking at what lies at rest: whether the disk still holds what vault.db says.
 *
 * Each call is one slice of bounded work, for a job; cursors carry on from one to the next. A blob
 * that is found bad was looked at twice, the second time while no commit was under way, so nothing
 * that is being written, replaced or swept is taken for damage. Errors: those of every read.
 */
#ifndef PV_STORAGE_CHECK_H
#define PV_STORAGE_CHECK_H

#include "storage/store.h"

enum pv_check_depth {
    PV_CHECK_STRUCTURE,  /* the file or row is there, regular, readable, of the right length */
    PV_CHECK_SUM,        /* and XXH3-128 of the bytes is that of its row: quick, finds rot */
    PV_CHECK_EVERY_BYTE, /* and SHA-256 of the bytes is its id */
};

enum pv_check_result {
    PV_CHECK_GOOD,
    PV_CHECK_MISSING,    /* no file, or no bytes in vault.db */
    PV_CHECK_NOT_A_FILE, /* a folder, link or pipe lies in its place */
    PV_CHECK_LENGTH,
    PV_CHECK_BYTES,
    PV_CHECK_BAD_SUM,    /* the bytes are those of the id, only their XXH3 is not */
    PV_CHECK_UNREADABLE, /* the disk or its permissions refuse: nothing is known of the bytes */
};
const char *pv_check_text(enum pv_check_result result); /* "the file is missing" */

enum { PV_CHECK_FINDINGS_MAX = 64 };

struct pv_finding {
    struct pv_id id;
    uint32_t size; /* as the row says */
    uint8_t kind;
    uint8_t result; /* enum pv_check_result, not GOOD */
};

struct pv_blob_check {
    enum pv_check_depth depth;
    uint64_t cursor;    /* seq to go on from; moved */
    uint64_t max_bytes; /* to be read in this slice, but for the last blob; rows are limited too */
    /* out, of this slice */
    uint64_t blobs, bytes; /* bytes: read, or only counted when the depth is STRUCTURE */
    struct pv_finding findings[PV_CHECK_FINDINGS_MAX];
    size_t count;
    bool end; /* no blob comes after */
};
/* Needs PV_BLOB_LEN_MAX bytes of memory while it runs. On errors what came before them is told. */
PV_MUST enum pv_err pv_store_check_blobs(struct pv_store *s, struct pv_blob_check *c);

struct pv_record_check {
    struct pv_id after; /* rid to go on behind; moved; starts zeroed */
    /* out, of this slice */
    uint64_t records;
    struct pv_id bad[PV_CHECK_FINDINGS_MAX]; /* rids whose envelope is not what its row says */
    size_t count;
    bool end;
};
PV_MUST enum pv_err pv_store_check_records(struct pv_store *s, struct pv_record_check *c);

/*
 * Whether digest and counts, which commits carry along, are what counting all rows anew gives. One
 * read over all of them: some seconds where there are millions.
 */
PV_MUST enum pv_err pv_store_recount(struct pv_store *s, bool *same);

/*
 * Pages of vault.db, those too that no other check needs. A slice compares the sums of some. One
 * that does not fit may be a free page, or one of which the log has a newer version: then SQLite
 * looks at all that are in use. That decides, and is the end.
 */
struct pv_page_check {
    uint64_t next; /* page to go on from; moved; starts with 0 */
    bool bad, end; /* out */
};
PV_MUST enum pv_err pv_store_check_pages(struct pv_store *s, struct pv_page_check *c);

/*
 * Blobs that should be here and are not: they were found bad (PV_COMMIT_BAD), or missing, and have
 * not come back. The last PV_LOST_MAX of them.
 */
enum { PV_LOST_MAX = 1024 };
PV_MUST enum pv_err pv_store_lost(struct pv_store *s, struct pv_id ids[static PV_LOST_MAX],
                                  size_t *count);

/* How many entries quarantine/ has. */
PV_MUST enum pv_err pv_store_quarantined(struct pv_store *s, uint64_t *count);

#endif
