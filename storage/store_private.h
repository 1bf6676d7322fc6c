/*
 * The store from inside: what store*.c and commit*.c share. Private to storage/.
 *
 * Locks: readers_mutex for the pool of reading connections; state_mutex for what is in memory as
 * of the last commit. Neither is held across a file call. placing_mutex is, by the thread that
 * commits, while there are blob files whose rows are still to come; the look for unknown files
 * takes it to be sure of one. The writer, temp_count, counted belong to the
 * thread that commits; everything before them never changes after opening.
 */
#ifndef PV_STORAGE_STORE_PRIVATE_H
#define PV_STORAGE_STORE_PRIVATE_H

#include "storage/db.h"
#include "storage/store.h"

#include <pthread.h>
#include <stdatomic.h>

enum pv_blob_home { PV_HOME_FILE = 1, PV_HOME_ROW = 2 };

struct pv_totals {
    uint64_t blobs, blob_bytes, files, names, records, pending;
    uint64_t row_bytes; /* of blob_bytes: those in vault.db */
};

/* Unknown files, while folders are looked through; the first PV_UNKNOWN_MAX are remembered. */
struct pv_unknown {
    struct pv_id ids[PV_UNKNOWN_MAX];
    uint64_t count;
};

struct pv_store {
    struct pv_store_config config;
    struct pv_vfs *vfs;
    struct pv_store_origin origin;
    uint64_t time_base_ms, mono_base_ms;
    uint64_t log_bytes_max;
    _Atomic uint64_t disk_limit;
    _Atomic uint64_t record_bytes; /* see pv_store_learn_record_bytes */
    bool keeps_unknown; /* vault.db was lost: blob files without a row may be all that is left */

    struct pv_db *writer;
    uint64_t temp_count;
    bool counted; /* this opening, durably */

    pthread_mutex_t placing_mutex;
    pthread_mutex_t readers_mutex;
    pthread_cond_t readers_cond;
    struct pv_db *readers[PV_STORE_READERS];
    unsigned readers_free; /* readers[0..readers_free) */

    pthread_mutex_t state_mutex;
    pv_hlc hlc;
    struct pv_totals totals;
    struct pv_unknown scan;
    uint64_t unknown_files;
    bool unknown_known; /* they have been looked for since the opening */
    struct pv_store_bucket digest[PV_STORE_BUCKETS];

    /* Leases up to here are over whatever the time (PV_COMMIT_EXPIRE). The committing thread writes
     * it. */
    _Atomic uint64_t lease_floor_ms;
    atomic_bool broken; /* fatal was called and came back (tests): nothing is written any more */
};

/* Keys of meta that are the store's own; no others begin with '/'. */
#define PV_META_UUID "/uuid"
#define PV_META_OPENS "/opens"
#define PV_META_CLOCK "/clock"
#define PV_META_LOST "/lost" /* ids of blobs that went bad, and have not come back */
#define PV_META_KEEP "/keep" /* present: see keeps_unknown */

enum { PV_CLOCK_LEN = 24 }; /* u64 store time, wall time (ms), highest record clock */

/* store_look.c: what lies there; errors of pv_store_open. */
PV_MUST enum pv_err pv_store_look(const struct pv_store *s);
PV_MUST enum pv_err pv_store_look_for_blobs(const struct pv_store *s, bool *found);

void pv_store_fatal(struct pv_store *s, const char *what, enum pv_err err);

/* Sets record_bytes: what vault.db holds but blobs, beyond what it needs when it is as good as
 * empty. The committing thread. */
PV_MUST enum pv_err pv_store_learn_record_bytes(struct pv_store *s);

/* Whether so many bytes leave free what deletions and vault.db itself may need. NOSPACE. */
PV_MUST enum pv_err pv_store_room_beside(struct pv_store *s, uint64_t len);

/* A connection for the duration of one read; waits until one is free. */
struct pv_db *pv_store_take_reader(struct pv_store *s);
void pv_store_give_reader(struct pv_store *s, struct pv_db *db);

/* Writes META_CLOCK, and META_OPENS until it is counted, as part of the caller's transaction. */
PV_MUST enum pv_err pv_store_put_own(struct pv_store *s, pv_hlc hlc);

/* by: +1 or -1. The caller has state_mutex, or is alone. */
void pv_digest_change(struct pv_store_bucket *digest, const struct pv_id *hash, int by);
void pv_totals_count_record(struct pv_totals *t, uint8_t type, uint16_t flags, bool pending,
                            int by);
/* Fills digest and totals from the database. */
PV_MUST enum pv_err pv_store_load_records(struct pv_store *s);

#endif
