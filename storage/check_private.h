/* One blob at rest, as the checks and PV_COMMIT_BAD look at it. Private to storage/. */
#ifndef PV_STORAGE_CHECK_PRIVATE_H
#define PV_STORAGE_CHECK_PRIVATE_H

#include "storage/check.h"
#include "storage/commit.h"
#include "storage/store_private.h"

enum { PV_SUM_LEN = 16 };

struct pv_check_row {
    struct pv_blob_info info;
    uint8_t home;
    uint8_t sum[PV_SUM_LEN]; /* XXH3-128, canonical */
};

/* What was looked at. */
struct pv_check_bytes {
    uint8_t *at; /* room for PV_BLOB_LEN_MAX */
    size_t len;  /* of what was read, of a small blob whatever its length */
    bool known;  /* of a small blob: there is such a row of bytes, and it can be read */
};

/* NOT_FOUND: no row. */
PV_MUST enum pv_err pv_check_find(struct pv_db *db, const struct pv_id *id,
                                  struct pv_check_row *out);
/* Errors are those that are not the blob's fault: NOMEM, LIMIT. */
PV_MUST enum pv_err pv_check_one(struct pv_store *s, struct pv_db *db,
                                 const struct pv_check_row *row, enum pv_check_depth depth,
                                 struct pv_check_bytes *bytes, enum pv_check_result *result);
void pv_check_sum(uint8_t out[static PV_SUM_LEN], const uint8_t *bytes, size_t len);

/* commit_bad.c: the BAD operations of a batch, before anything else of it. */
void pv_commit_bad(struct pv_store *s, struct pv_commit *first);
/*
 * Moves what lies at the place of a blob file, whatever it is, to a name in quarantine/ that is
 * free. OK also when there is nothing.
 */
PV_MUST enum pv_err pv_quarantine(struct pv_store *s, const struct pv_id *id);

#endif
