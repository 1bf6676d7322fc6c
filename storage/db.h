/*
 * Connections to vault.db, its schema, and queries. Private to storage/.
 *
 * A connection belongs to one thread at a time. A query is one prepared statement in use: its
 * error is sticky, binding and reading are no-ops once it is set, and pv_query_end tells it. No
 * query outlives the call that began it.
 *
 *     struct pv_query q = pv_query(db, PV_SQL_BLOB_GET);
 *     pv_bind_id(&q, id);
 *     if (pv_query_row(&q))
 *         seq = pv_col_u64(&q, 0);
 *     return pv_query_end(&q);
 *
 * Errors: NOMEM, IO, NOSPACE, CORRUPT, INTERNAL. They are logged here, once.
 */
#ifndef PV_STORAGE_DB_H
#define PV_STORAGE_DB_H

#include "internal/base/id.h"
#include "storage/vfs.h"

#include <sqlite3.h>

enum { PV_DB_APPLICATION_ID = 0x50565631 }; /* "PVV1" */

#define PV_SQL_LIST(X)                                                                          \
    X(BEGIN_READ, "BEGIN")                                                                      \
    X(BEGIN_WRITE, "BEGIN IMMEDIATE")                                                           \
    X(COMMIT, "COMMIT")                                                                         \
    X(ROLLBACK, "ROLLBACK")                                                                     \
    X(SAVE, "SAVEPOINT one")                                                                    \
    X(RELEASE, "RELEASE one")                                                                   \
    X(ROLLBACK_TO, "ROLLBACK TO one")                                                           \
    X(META_GET, "SELECT value FROM meta WHERE key=?1")                                          \
    X(META_PUT, "INSERT INTO meta(key,value) VALUES(?1,?2) "                                    \
                "ON CONFLICT(key) DO UPDATE SET value=excluded.value")                          \
    X(BLOB_GET, "SELECT seq,size,kind,held,home,lease_until FROM blob WHERE id=?1")             \
    X(BLOB_SCAN, "SELECT seq,size,kind,held,id FROM blob WHERE seq>=?1 ORDER BY seq LIMIT ?2")  \
    X(BLOB_ROWS, "SELECT seq,size,kind,held,id,home,lease_until FROM blob "                     \
                 "WHERE seq>=?1 ORDER BY seq LIMIT ?2")                                         \
    X(BLOB_LAST, "SELECT coalesce(max(seq),0) FROM blob")                                       \
    X(BLOB_SWEEP, "DELETE FROM blob WHERE id=?1 AND lease_until<=?2 RETURNING seq,size,home")   \
    X(BLOB_TOTALS,                                                                              \
      "SELECT count(*),coalesce(sum(size),0),coalesce(sum(size*(home=2)),0) FROM blob")         \
    X(PAGES, "PRAGMA page_count")                                                               \
    X(BLOB_PUT, "INSERT INTO blob(id,size,home,kind,lease_until,held,xxh3) "                    \
                "VALUES(?1,?2,?3,?4,?5,?6,?7)")                                                 \
    X(BLOB_LEARN, "UPDATE blob SET held=held|?2, kind=CASE WHEN kind=0 THEN ?3 ELSE kind END "  \
                  "WHERE id=?1")                                                                \
    X(BLOB_AGAIN, "INSERT OR REPLACE INTO blob(id,size,home,kind,lease_until,held,xxh3) "       \
                  "SELECT id,size,home,CASE WHEN kind=0 THEN ?4 ELSE kind END,?2,?3,xxh3 "      \
                  "FROM blob WHERE id=?1")                                                      \
    X(BLOB_HELD, "UPDATE blob SET held=held|?2 WHERE id=?1 AND held&?2=0")                      \
    X(BLOB_UNHELD, "UPDATE blob SET held=held&~?2 WHERE id=?1 AND held&?2<>0")                  \
    X(BLOB_HELD_ALL, "UPDATE blob SET held=held|?1 WHERE held&?1=0")                            \
    X(BLOB_UNHELD_ALL, "UPDATE blob SET held=held&~?1 WHERE held&?1<>0")                        \
    X(BLOB_CHECK, "SELECT seq,size,kind,held,id,home,xxh3 FROM blob "                           \
                  "WHERE seq>=?1 ORDER BY seq LIMIT ?2")                                        \
    X(BLOB_CHECK_ONE, "SELECT seq,size,kind,held,id,home,xxh3 FROM blob WHERE id=?1")           \
    X(BLOB_DELETE, "DELETE FROM blob WHERE seq=?1")                                             \
    X(BLOB_SUM, "UPDATE blob SET xxh3=?2 WHERE seq=?1")                                         \
    X(SMALL_GET, "SELECT bytes FROM small WHERE seq=?1")                                        \
    X(SMALL_PUT, "INSERT OR REPLACE INTO small(seq,bytes) VALUES(?1,?2)")                       \
    X(SMALL_DELETE, "DELETE FROM small WHERE seq=?1")                                           \
    X(SMALL_MOVE, "UPDATE small SET seq=?2 WHERE seq=?1")                                       \
    X(HOLDER_GET, "SELECT bit FROM holder WHERE node_id=?1")                                    \
    X(HOLDER_NEXT, "SELECT coalesce(max(bit)+1,0) FROM holder")                                 \
    X(HOLDER_PUT, "INSERT INTO holder(bit,node_id) VALUES(?1,?2)")                              \
    X(RECORD_GET, "SELECT seq,hash,pending,envelope FROM record WHERE rid=?1")                  \
    X(RECORD_BY_HASH, "SELECT envelope FROM record WHERE hash=?1")                              \
    X(RECORD_HAS_HASH, "SELECT 1 FROM record WHERE hash=?1")                                    \
    X(RECORD_PUT, "INSERT INTO record(rid,hash,type,hlc,flags,pending,link,prefix,envelope) "   \
                  "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)")                                         \
    X(RECORD_DELETE, "DELETE FROM record WHERE seq=?1")                                         \
    X(RECORD_PUBLISH, "UPDATE record SET pending=0 WHERE rid=?1 AND hash=?2 AND pending=1")     \
    X(RECORD_SCAN,                                                                              \
      "SELECT rid,type,pending,envelope FROM record WHERE rid>?1 ORDER BY rid LIMIT ?2")        \
    X(RECORD_SCAN_RARE, "SELECT rid,type,pending,envelope FROM record "                         \
                        "WHERE type=?3 AND type>2 AND rid>?1 ORDER BY rid LIMIT ?2")            \
    X(RECORD_SINCE, "SELECT seq,type,pending,envelope FROM record "                             \
                    "WHERE seq>?1 ORDER BY seq LIMIT ?2")                                       \
    X(RECORD_FILE_AFTER, "SELECT 1 FROM record WHERE seq>?1 AND type=1 LIMIT 1")                \
    X(RECORD_PENDING, "SELECT rid FROM record WHERE pending=1 ORDER BY seq LIMIT ?1")           \
    X(RECORD_NAMES, "SELECT rid FROM record WHERE link=?1 ORDER BY rid LIMIT ?2")               \
    X(RECORD_PREFIX, "SELECT rid FROM record WHERE prefix=?1 ORDER BY rid LIMIT ?2")            \
    X(RECORD_CHECK, "SELECT rid,hash,type,hlc,flags,envelope FROM record "                      \
                    "WHERE rid>?1 ORDER BY rid LIMIT ?2")                                       \
    X(RECORD_BUCKET, "SELECT hash FROM record WHERE hash>?1 AND hash<?2 AND pending=0 "         \
                     "ORDER BY hash LIMIT ?3")                                                  \
    X(RECORD_SUMMARY, "SELECT hash,pending,type,flags FROM record INDEXED BY record_hash")      \
    X(RECORD_FLAGS, "SELECT hash,pending,flags FROM record INDEXED BY record_hash "             \
                    "WHERE hash>?1 ORDER BY hash LIMIT ?2")                                     \
    X(RECORD_CLOCK, "SELECT rid,hlc FROM record WHERE hash=?1")                                 \
    X(HISTORY_DELETE, "DELETE FROM history WHERE rid=?1")                                       \
    X(HISTORY_HAS, "SELECT 1 FROM history WHERE rid=?1 AND hash=?2")                            \
    X(HISTORY_PUT, "INSERT INTO history(rid,hash,hlc,envelope) VALUES(?1,?2,?3,?4)")            \
    X(HISTORY_TRIM, "DELETE FROM history WHERE rid=?1 AND seq NOT IN (SELECT seq FROM history " \
                    "WHERE rid=?1 ORDER BY hlc DESC, hash DESC LIMIT ?2)")                      \
    X(HISTORY_SCAN, "SELECT envelope FROM history WHERE rid=?1 ORDER BY hlc DESC, hash DESC")   \
    X(FREE_PAGES, "PRAGMA freelist_count")                                                      \
    X(VACUUM_SOME, "PRAGMA incremental_vacuum(256)")

enum pv_sql {
#define X(name, text) PV_SQL_##name,
    PV_SQL_LIST(X)
#undef X
        PV_SQL_COUNT
};

struct pv_db {
    sqlite3 *handle;
    struct pv_log *log;
    sqlite3_stmt *statements[PV_SQL_COUNT];
    unsigned wal_frames; /* in the log after the last commit of this connection */
};

/* Opens vault.db, creating an empty file. An existing one is not written to before set_up. */
PV_MUST enum pv_err pv_db_open(struct pv_db **out, const struct pv_vfs *vfs, struct pv_log *log);
/*
 * Settings, and the schema when the database is empty. PV_E_UNSUPPORTED: it is of a later version;
 * close with keep_log, and nothing was changed.
 */
PV_MUST enum pv_err pv_db_set_up_writer(struct pv_db *db, size_t cache_bytes);
PV_MUST enum pv_err pv_db_set_up_reader(struct pv_db *db, size_t cache_bytes);
/* Looks at every page that is in use. What the connection has read before it does not read again,
 * so it should be a fresh one. NOMEM, IO; a page that fails its sum is no error, but not sound. */
PV_MUST enum pv_err pv_db_check(struct pv_db *db, bool *sound);
/* keep_log: leave the log as it is, for the next opening to recover from. Accepts NULL. */
void pv_db_close(struct pv_db *db, bool keep_log);

PV_MUST enum pv_err pv_db_run(struct pv_db *db, enum pv_sql sql); /* one without parameters */
enum pv_checkpoint {
    PV_CHECKPOINT_SOME, /* what readers do not hold up */
    PV_CHECKPOINT_ALL,  /* waits until readers have left the log, which then begins anew */
    PV_CHECKPOINT_CUT,  /* and its file is emptied */
};
/* Moves the log into vault.db. Readers that do not leave are no error: the log goes on. */
PV_MUST enum pv_err pv_db_checkpoint(struct pv_db *db, enum pv_checkpoint what);

struct pv_query {
    struct pv_db *db;
    sqlite3_stmt *st;
    enum pv_err err;
    int bound;
};

struct pv_query pv_query(struct pv_db *db, enum pv_sql sql);
/* Each binds the next parameter. Bytes are borrowed until the end of the query. */
void pv_bind_u64(struct pv_query *q, uint64_t v); /* as two's complement */
void pv_bind_id(struct pv_query *q, const struct pv_id *id);
void pv_bind_blob(struct pv_query *q, const void *bytes, size_t len);
void pv_bind_text(struct pv_query *q, const char *text);
void pv_bind_null(struct pv_query *q);

bool pv_query_row(struct pv_query *q);         /* the next row; false: no more, or an error */
uint64_t pv_query_changes(struct pv_query *q); /* rows changed, after pv_query_row */
/* Columns of the current row. Views are valid until the next pv_query_row. A value of another
 * type or length than the schema allows makes the query CORRUPT. */
uint64_t pv_col_u64(struct pv_query *q, int column);
void pv_col_id(struct pv_query *q, int column, struct pv_id *out);
const uint8_t *pv_col_blob(struct pv_query *q, int column, size_t *len);
PV_MUST enum pv_err pv_query_end(struct pv_query *q);
/* For statements that return nothing: pv_query_row and pv_query_end. */
PV_MUST enum pv_err pv_query_finish(struct pv_query *q);

#endif
