/*
 * What was: files that are removed, and what a name has meant. Blocking, for use inside a job.
 */
#ifndef PV_FILE_VERSIONS_H
#define PV_FILE_VERSIONS_H

#include "internal/base/buf.h"
#include "internal/file/lookup.h"

/*
 * The file under this rid (NULL: none is known) or, under any cluster key that we can read, this
 * SHA-256: a live one, else the one that was removed last. Results are in l as after a lookup.
 * NOT_FOUND: there never was one here. A private file is found by its rid only.
 */
PV_MUST enum pv_err pv_lookup_ever(struct pv_lookup *l, const struct pv_id *rid,
                                   const struct pv_id *sha256, bool *is_live,
                                   const struct pv_job_context *ctx);
/* Opens a file record, live or a tombstone, into l. CORRUPT: it is none. */
PV_MUST enum pv_err pv_lookup_ever_rid(struct pv_lookup *l, const struct pv_id *rid, bool *is_live,
                                       const struct pv_job_context *ctx);

/* All that this node has seen a name mean, under all cluster keys that we can read. */
enum { PV_VERSIONS_MAX = PV_KEYRING_KEYS_MAX * (PV_HISTORY_MAX + 1) };
struct pv_version {
    pv_hlc hlc;
    struct pv_id author;           /* node id */
    struct pv_id hash;             /* of its record */
    struct pv_id sha256, file_rid; /* of the file; of a value its own, and zeros */
    bool is_value;
    size_t value_len; /* of a value */
    bool has_bytes;   /* they are in `bytes`, from */
    size_t bytes_at;
    bool is_removal; /* the name was removed: it meant this file before, or some value */
    bool is_current; /* this is what counts, on every node that has the same records */
};
struct pv_versions {
    struct pv_version list[PV_VERSIONS_MAX]; /* newest first */
    size_t count;
    uint64_t unreadable; /* passed over: malformed, of a later version, an unknown cluster key */
    struct pv_buf bytes; /* of the short values, as many as it takes, and of the wanted one */
    struct pv_id wanted; /* in: a version's hash, or zeros */
};
enum { PV_VERSIONS_SHORT_MAX = 4096, PV_VERSIONS_BYTES_MAX = 64 * 1024 };
/* Starts zeroed but for `wanted`, and is released also after a failure. NOT_FOUND: this name has no
 * version, and none is unreadable. */
PV_MUST enum pv_err pv_versions_read(struct pv_versions *v, const char *name, size_t len,
                                     const struct pv_job_context *ctx);
void pv_versions_release(struct pv_versions *v); /* wipes the values */

#endif
