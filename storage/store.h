/*
 * The store: blobs and records of one vault. This header is the reading side and the life of the
 * store; everything that changes it goes through commit.h.
 *
 * Presence is decided by vault.db, never by a file. A blob of PV_BLOB_FILE_MIN bytes or more is a
 * file, a smaller one a row. Records are rows. Reads see only what is committed, that is: durable.
 *
 * open -> reads from any thread, commits by one thread -> close. All reads block on the vault's
 * disk and on nothing else; each takes one of PV_STORE_READERS database connections for its
 * duration, so no statement outlives a call. Call them from pool jobs, never from the loop. Errors
 * of every read: IO, NOMEM, CORRUPT (vault.db fails its own checksums), and those named.
 */
#ifndef PV_STORAGE_STORE_H
#define PV_STORAGE_STORE_H

#include "crypto/record.h"
#include "internal/base/limits.h"
#include "storage/vault.h"

enum {
    PV_STORE_READERS = 4,
    PV_STORE_SCHEMA = 1,
    PV_STORE_BUCKETS = 4096,
    PV_HOLDERS_MAX = 64,
    PV_HISTORY_MAX = 16,
    PV_UNKNOWN_MAX = 128, /* what a crash leaves: of one batch the new files and the swept */
    PV_SWEEP_MAX = 64,
    PV_META_MAX = 65536,
};

struct pv_store_config {
    struct pv_vault *vault; /* locked; borrowed, outlives the store */
    const struct pv_env *env;
    size_t cache_bytes;  /* for all database connections together */
    uint64_t disk_limit; /* see pv_store_limit */
    uint64_t
        reserve_bytes; /* refuse blobs below so much free space; UINT64_MAX = min(5 %, 1 GiB) */
    unsigned blob_files_max; /* written at once; 0 = PV_COMMIT_BLOBS_MAX */
    /*
     * Instead of a log line and _exit(70), after a failed sync or write of vault.db; may be NULL.
     * If it returns, every later commit fails with PV_E_IO. Any thread.
     */
    void (*fatal)(const char *what);
    bool make_anew; /* vault.db, whatever is left of an old one; else CORRUPT */
};

struct pv_store;
/*
 * Creates vault.db in a vault that has nothing yet, empties tmp/, counts the opening. CORRUPT: it
 * is damaged; or missing or empty, and there are blob files or a log; or a rebuild was cut short;
 * or what lies there is no file. UNSUPPORTED: the vault was written by a later version (nothing is
 * changed).
 */
PV_MUST enum pv_err pv_store_open(struct pv_store **out, const struct pv_store_config *config);
void pv_store_close(struct pv_store *s);

/* Bytes of blobs, and of records beyond the first MiB of vault.db, at most; 0: no limit but the
 * disk's. What is more already stays. Any thread. */
void pv_store_limit(struct pv_store *s, uint64_t disk_limit);

struct pv_store_origin { /* what HELLO says of a store */
    uint8_t uuid[16];
    uint64_t open_count;
};
struct pv_store_origin pv_store_origin(const struct pv_store *s);

/*
 * Time that leases and graces count: monotonic while open, a gap between runs adds <= 24 h. It
 * begins with the wall clock at the creation of the store.
 */
uint64_t pv_store_time_ms(struct pv_store *s);
pv_hlc pv_store_hlc(struct pv_store *s); /* highest clock of any record committed */

/* ---- blobs ---- */

struct pv_blob_info {
    uint64_t seq; /* order of arrival, never reused */
    struct pv_id id;
    uint8_t kind;  /* enum pv_blob_kind, 0 unknown */
    uint32_t size; /* bytes */
    uint64_t held; /* one bit a holder: members that said STORED (pv_store_holder) */
};

struct pv_blob_row_info { /* for garbage collection */
    struct pv_blob_info blob;
    bool is_file, is_leased;
};

PV_MUST enum pv_err pv_store_blob(struct pv_store *s, const struct pv_id *id,
                                  struct pv_blob_info *out); /* NOT_FOUND */
/* have[i] says whether ids[i] is here. One call, one transaction. */
PV_MUST enum pv_err pv_store_have(struct pv_store *s, const struct pv_id *ids, size_t count,
                                  bool *have);
/*
 * Bytes offset .. offset + len of a blob, fewer at its end; *size is the whole blob's length.
 * Not verified: whoever has the data key opens it, whoever has not checks the SHA-256.
 * NOT_FOUND: no row. CORRUPT: the row is there, the file is missing or has another length.
 */
PV_MUST enum pv_err pv_store_read(struct pv_store *s, const struct pv_id *id, uint32_t offset,
                                  uint8_t *dst, size_t len, size_t *got, uint32_t *size);
/*
 * Blobs in order of arrival from seq *cursor on whose held bit `bit` is clear, at most out_len;
 * *cursor moves to where to continue, *end = nothing came after. Looks at <= PV_SCAN_ROWS_MAX rows.
 */
PV_MUST enum pv_err pv_store_unheld(struct pv_store *s, unsigned bit, uint64_t *cursor,
                                    struct pv_blob_info *out, size_t out_len, size_t *count,
                                    bool *end);

/* Blobs in order of arrival from seq *cursor on, at most max (<= PV_SCAN_ROWS_MAX). */
PV_MUST enum pv_err pv_store_blobs(struct pv_store *s, uint64_t *cursor,
                                   struct pv_blob_row_info *out, size_t max, size_t *count,
                                   bool *end);
PV_MUST enum pv_err pv_store_last_blob(struct pv_store *s, uint64_t *seq); /* 0: there is none */

/* The bit of a node in `held`. NOT_FOUND: it never got one (a PV_COMMIT_HELD op gives it). */
PV_MUST enum pv_err pv_store_holder(struct pv_store *s, const struct pv_id *node_id, unsigned *bit);

/* ---- records ---- */

/* env has room for PV_RECORD_LEN_MAX. NOT_FOUND. */
PV_MUST enum pv_err pv_store_record(struct pv_store *s, const struct pv_id *rid, uint8_t *env,
                                    size_t *len, bool *pending);
PV_MUST enum pv_err pv_store_record_by_hash(struct pv_store *s, const struct pv_id *hash,
                                            uint8_t *env, size_t *len);

/* each gets one envelope as its row has it, not verified; return false to stop. Runs inside the
 * read: it must not block. */
typedef bool (*pv_store_record_fn)(void *arg, const uint8_t *env, size_t len, bool pending);
/*
 * Records of one type (0: all) with rid > *after, in order of rid, at most max (<=
 * PV_SCAN_ROWS_MAX); *after is moved to the last one given, *end when nothing came after.
 */
PV_MUST enum pv_err pv_store_records(struct pv_store *s, uint8_t type, struct pv_id *after,
                                     size_t max, pv_store_record_fn each, void *arg, bool *end);
/*
 * Records of one type (0: all) with seq > *seq in the order they were written, live ones and
 * tombstones, at most max; *seq is moved to the last row looked at (<= PV_SCAN_ROWS_MAX of them).
 */
PV_MUST enum pv_err pv_store_records_since(struct pv_store *s, uint8_t type, uint64_t *seq,
                                           size_t max, pv_store_record_fn each, void *arg,
                                           bool *end);
/* rids of pending records in the order they were written, at most max. */
PV_MUST enum pv_err pv_store_pending(struct pv_store *s, struct pv_id *rids, size_t max,
                                     size_t *count);
struct pv_record_ref { /* a record as it was when it was looked at */
    struct pv_id rid, hash;
};
/*
 * Tombstones that are not pending with a clock below this one, with a hash > *after, in order of
 * hash, at most max; *after is moved to the last record looked at (<= PV_SCAN_ROWS_MAX of them).
 */
PV_MUST enum pv_err pv_store_tombstones(struct pv_store *s, pv_hlc below, struct pv_id *after,
                                        struct pv_record_ref *found, size_t found_len,
                                        size_t *count, bool *end);
/*
 * Versions of a name that lost or were replaced, newest first, at most PV_HISTORY_MAX of them.
 * They are local: no part of the digest.
 */
PV_MUST enum pv_err pv_store_history(struct pv_store *s, const struct pv_id *rid,
                                     pv_store_record_fn each, void *arg);
/* Live names of a file: rids of the name records that point to it, at most max. */
PV_MUST enum pv_err pv_store_names_of(struct pv_store *s, const struct pv_id *file_rid,
                                      struct pv_id *rids, size_t max, size_t *count);
/* Files whose key begins with the 4 bytes behind this tag (pv_key_prefix_tag), at most max. */
PV_MUST enum pv_err pv_store_by_prefix(struct pv_store *s, uint64_t tag, struct pv_id *rids,
                                       size_t max, size_t *count);

/* ---- digest: records that are neither pending nor history ---- */

struct pv_store_bucket {
    uint32_t count;
    uint8_t sum[16]; /* sum mod 2^128 of the first 16 bytes of each hash, big-endian */
};
/* A copy of all 4 096 buckets as of the last commit; cheap, from memory. Any thread. */
void pv_store_digest(struct pv_store *s, struct pv_store_bucket out[static PV_STORE_BUCKETS]);
/* Hashes in a bucket greater than *after (NULL: from the start), ascending, at most so many. */
PV_MUST enum pv_err pv_store_bucket_hashes(struct pv_store *s, unsigned bucket,
                                           const struct pv_id *after, struct pv_id *hashes,
                                           size_t hashes_len, size_t *count, bool *end);

/* ---- the rest ---- */

/* NOT_FOUND. value_len is room in, length out. LIMIT: too little room. */
PV_MUST enum pv_err pv_store_meta(struct pv_store *s, const char *key, void *value,
                                  size_t *value_len);

struct pv_store_counts {
    uint64_t blobs, blob_bytes; /* bytes as stored, files and rows */
    uint64_t files, names, records, pending;
    uint64_t disk_free_bytes;
    uint64_t unknown_files; /* blob files without a row, found by pv_store_find_unknown */
    /* They have been looked for since the opening, and are no more than a crash leaves: vault.db
     * may be believed about what is garbage, unless it was lost and made anew (was_lost). */
    bool may_collect, was_lost;
};
PV_MUST enum pv_err pv_store_counts(struct pv_store *s, struct pv_store_counts *out);

/* Whether a new blob of any size would be taken now; NOSPACE. */
PV_MUST enum pv_err pv_store_room(struct pv_store *s);

/* Whether the vault can be written: makes a small file in tmp/ and removes it. NOSPACE, AUTH, IO.
 */
PV_MUST enum pv_err pv_store_probe(struct pv_store *s);

/*
 * Looks for blob files that vault.db does not know, one of the 256 folders a call (*folder 0..255,
 * counted up). Up to PV_UNKNOWN_MAX is what a crash leaves: after the last folder they are in ids,
 * to be deleted by a PV_COMMIT_UNKNOWN op. More means that vault.db is old or lost commits: nothing
 * is deleted, and counts say so.
 */
PV_MUST enum pv_err pv_store_find_unknown(struct pv_store *s, unsigned *folder, struct pv_id *ids,
                                          size_t max, size_t *count);

#endif
