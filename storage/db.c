/*
 * SQLite, with its errors turned into ours. Statements are prepared when first used and kept: the
 * set is fixed, so the cache is an array.
 *
 * Opening does nothing to the database. The writer looks at application id and schema version
 * before anything else, with checkpoint-on-close turned off, so that a vault of a later version is
 * left exactly as it is.
 */
#include "storage/db.h"
#include "internal/base/mem.h"
#include "storage/store.h"

#include <stdio.h>
#include <stdlib.h>

/* Readers and the writer lock each other out for moments only, while the log's index changes: even
 * the writer, when a reader has met a half-written index and looks whether it needs recovery. */
static const int busy_ms = 10000;

static const char *const sql_text[PV_SQL_COUNT] = {
#define X(name, text) text,
    PV_SQL_LIST(X)
#undef X
};

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE meta(key TEXT NOT NULL UNIQUE, value BLOB NOT NULL) STRICT;"
    "CREATE TABLE record(seq INTEGER PRIMARY KEY AUTOINCREMENT, rid BLOB NOT NULL UNIQUE,"
    " hash BLOB NOT NULL, type INTEGER NOT NULL, hlc INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " pending INTEGER NOT NULL, link BLOB, prefix INTEGER, envelope BLOB NOT NULL) STRICT;"
    /* hash decides the rest: unique because rid is, and enough for the digest by itself */
    "CREATE INDEX record_hash ON record(hash, pending, type, flags);"
    "CREATE INDEX record_rare ON record(type, rid) WHERE type>2;"
    "CREATE INDEX record_pending ON record(pending) WHERE pending=1;"
    "CREATE INDEX record_link ON record(link) WHERE link IS NOT NULL;"
    "CREATE INDEX record_prefix ON record(prefix) WHERE prefix IS NOT NULL;"
    "CREATE TABLE history(seq INTEGER PRIMARY KEY, rid BLOB NOT NULL, hash BLOB NOT NULL,"
    " hlc INTEGER NOT NULL, envelope BLOB NOT NULL) STRICT;"
    "CREATE INDEX history_rid ON history(rid, hlc, hash);"
    "CREATE TABLE blob(seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE,"
    " size INTEGER NOT NULL, home INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " lease_until INTEGER NOT NULL, held INTEGER NOT NULL, xxh3 BLOB NOT NULL) STRICT;"
    "CREATE TABLE small(seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;"
    "CREATE TABLE holder(bit INTEGER PRIMARY KEY, node_id BLOB NOT NULL UNIQUE) STRICT;";

static enum pv_err err_of(int rc)
{
    if (rc == SQLITE_IOERR_DATA || rc == SQLITE_IOERR_CORRUPTFS)
        return PV_E_CORRUPT;
    if (rc == SQLITE_IOERR_NOMEM)
        return PV_E_NOMEM;
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return PV_OK;
    case SQLITE_NOMEM:
        return PV_E_NOMEM;
    case SQLITE_FULL:
        return PV_E_NOSPACE;
    case SQLITE_ERROR: /* the statements are right: it is the schema that is not ours any more */
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return PV_E_CORRUPT;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return PV_E_IO;
    default:
        return PV_E_INTERNAL;
    }
}

static enum pv_err failed(struct pv_db *db, int rc, const char *sql)
{
    enum pv_err err = err_of(rc);
    if (err != PV_OK)
        PV_LOG(db->log, PV_LOG_ERROR, PV_SUB_STORE, "database error", "cause", sqlite3_errstr(rc),
               "code", pv_log_u64((uint64_t)rc), "sql", sql);
    return err;
}

/* ---- queries ---- */

struct pv_query pv_query(struct pv_db *db, enum pv_sql sql)
{
    struct pv_query q = {.db = db};
    if (db->statements[sql] == NULL) {
        int rc = sqlite3_prepare_v3(db->handle, sql_text[sql], -1, SQLITE_PREPARE_PERSISTENT,
                                    &db->statements[sql], NULL);
        if (rc != SQLITE_OK)
            q.err = failed(db, rc, sql_text[sql]);
    }
    q.st = db->statements[sql];
    return q;
}

static void bound(struct pv_query *q, int rc)
{
    if (rc != SQLITE_OK)
        q->err = failed(q->db, rc, sqlite3_sql(q->st));
}

void pv_bind_u64(struct pv_query *q, uint64_t v)
{
    if (q->err == PV_OK)
        bound(q, sqlite3_bind_int64(q->st, ++q->bound, (sqlite3_int64)v));
}

void pv_bind_blob(struct pv_query *q, const void *bytes, size_t len)
{
    if (q->err != PV_OK)
        return;
    if (len == 0) /* a NULL pointer would bind NULL */
        bound(q, sqlite3_bind_zeroblob(q->st, ++q->bound, 0));
    else
        bound(q, sqlite3_bind_blob64(q->st, ++q->bound, bytes, len, SQLITE_STATIC));
}

void pv_bind_id(struct pv_query *q, const struct pv_id *id)
{
    pv_bind_blob(q, id->b, PV_ID_LEN);
}

void pv_bind_text(struct pv_query *q, const char *text)
{
    if (q->err == PV_OK)
        bound(q, sqlite3_bind_text(q->st, ++q->bound, text, -1, SQLITE_STATIC));
}

void pv_bind_null(struct pv_query *q)
{
    if (q->err == PV_OK)
        bound(q, sqlite3_bind_null(q->st, ++q->bound));
}

bool pv_query_row(struct pv_query *q)
{
    if (q->err != PV_OK)
        return false;
    int rc = sqlite3_step(q->st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        q->err = failed(q->db, rc, sqlite3_sql(q->st));
    return rc == SQLITE_ROW;
}

uint64_t pv_query_changes(struct pv_query *q)
{
    return q->err == PV_OK ? (uint64_t)sqlite3_changes64(q->db->handle) : 0;
}

static void bad_column(struct pv_query *q)
{
    if (q->err == PV_OK)
        q->err = failed(q->db, SQLITE_CORRUPT, sqlite3_sql(q->st));
}

uint64_t pv_col_u64(struct pv_query *q, int column)
{
    return q->err == PV_OK ? (uint64_t)sqlite3_column_int64(q->st, column) : 0;
}

const uint8_t *pv_col_blob(struct pv_query *q, int column, size_t *len)
{
    *len = 0;
    if (q->err != PV_OK)
        return NULL;
    /* The pointer first: fetching it may read pages, and only then is an error known. */
    const uint8_t *bytes = sqlite3_column_blob(q->st, column);
    *len = (size_t)sqlite3_column_bytes(q->st, column);
    if (bytes == NULL && *len == 0) {
        int rc = sqlite3_extended_errcode(q->db->handle);
        if (sqlite3_column_type(q->st, column) != SQLITE_BLOB)
            bad_column(q);
        else if (err_of(rc) != PV_OK)
            q->err = failed(q->db, rc, sqlite3_sql(q->st));
    }
    return bytes;
}

void pv_col_id(struct pv_query *q, int column, struct pv_id *out)
{
    size_t len;
    const uint8_t *bytes = pv_col_blob(q, column, &len);
    *out = (struct pv_id){{0}};
    if (len == PV_ID_LEN)
        memcpy(out->b, bytes, PV_ID_LEN);
    else
        bad_column(q);
}

enum pv_err pv_query_end(struct pv_query *q)
{
    if (q->st != NULL) {
        sqlite3_reset(q->st); /* repeats the error of the last step, which q->err has */
        sqlite3_clear_bindings(q->st);
    }
    q->st = NULL;
    return q->err;
}

enum pv_err pv_query_finish(struct pv_query *q)
{
    while (pv_query_row(q))
        ;
    return pv_query_end(q);
}

enum pv_err pv_db_run(struct pv_db *db, enum pv_sql sql)
{
    struct pv_query q = pv_query(db, sql);
    return pv_query_finish(&q);
}

/* ---- connections ---- */

static enum pv_err exec(struct pv_db *db, const char *sql)
{
    return failed(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL), sql);
}

static int keep_number(void *arg, int columns, char **values, char **names)
{
    const char *text = values[0] != NULL ? values[0] : "";
    char *end;
    (void)columns;
    (void)names;
    *(long long *)arg = strtoll(text, &end, 10); /* SQLite writes none that is too large */
    return end != text && *end == '\0' ? 0 : 1;
}

static enum pv_err read_number(struct pv_db *db, const char *sql, long long *out)
{
    return failed(db, sqlite3_exec(db->handle, sql, keep_number, out, NULL), sql);
}

static int count_frames(void *arg, sqlite3 *handle, const char *name, int frames)
{
    struct pv_db *db = arg;
    (void)handle;
    (void)name;
    db->wal_frames = (unsigned)frames;
    return SQLITE_OK;
}

enum pv_err pv_db_open(struct pv_db **out, const struct pv_vfs *vfs, struct pv_log *log)
{
    struct pv_db *db = pv_calloc(1, sizeof *db);
    if (db == NULL)
        return PV_E_NOMEM;
    db->log = log;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2("vault.db", &db->handle, flags, pv_vfs_name(vfs));
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == SQLITE_OK) {
        int reserved = PV_VFS_SUM_LEN;
        rc = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
    }
    if (rc != SQLITE_OK) {
        enum pv_err err = failed(db, rc, "open");
        pv_db_close(db, true);
        return err;
    }
    *out = db;
    return PV_OK;
}

static enum pv_err set_cache(struct pv_db *db, size_t cache_bytes)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA cache_size=-%zu", cache_bytes / 1024 + 1);
    enum pv_err err = exec(db, sql);
    if (err == PV_OK)
        err = exec(db, "PRAGMA temp_store=MEMORY;"
                       "PRAGMA mmap_size=0;"
                       "PRAGMA foreign_keys=OFF;"
                       "PRAGMA trusted_schema=OFF;"
                       "PRAGMA cell_size_check=ON;");
    return err;
}

static enum pv_err create(struct pv_db *db)
{
    char numbers[128];
    snprintf(numbers, sizeof numbers, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
             PV_DB_APPLICATION_ID, PV_STORE_SCHEMA);
    enum pv_err err = exec(db, schema);
    return err == PV_OK ? exec(db, numbers) : err;
}

enum pv_err pv_db_set_up_writer(struct pv_db *db, size_t cache_bytes)
{
    char log[128];
    long long application = 0, version = 0, tables = 0;
    enum pv_err err = read_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (err == PV_OK)
        err = read_number(db, "PRAGMA application_id", &application);
    if (err == PV_OK)
        err = read_number(db, "PRAGMA user_version", &version);
    if (err != PV_OK)
        return err;
    bool fresh = tables == 0 && application == 0 && version == 0;
    if (!fresh && application != PV_DB_APPLICATION_ID)
        return failed(db, SQLITE_NOTADB, "application_id");
    if (!fresh && version > PV_STORE_SCHEMA)
        return PV_E_UNSUPPORTED;
    if (!fresh && version < PV_STORE_SCHEMA)
        return failed(db, SQLITE_CORRUPT, "user_version");

    err = set_cache(db, cache_bytes);
    if (err == PV_OK && fresh)
        err = exec(db, "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL");
    /* A log that had to grow beyond is cut back when it begins anew; closing empties it. */
    snprintf(log, sizeof log,
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=%d",
             PV_WAL_CHECKPOINT_BYTES);
    if (err == PV_OK)
        err = exec(db, log);
    sqlite3_wal_hook(db->handle, count_frames, db); /* replaces automatic checkpoints, too */
    sqlite3_busy_timeout(db->handle, busy_ms);
    return err == PV_OK && fresh ? create(db) : err;
}

enum pv_err pv_db_set_up_reader(struct pv_db *db, size_t cache_bytes)
{
    enum pv_err err = set_cache(db, cache_bytes);
    if (err == PV_OK)
        err = exec(db, "PRAGMA query_only=ON");
    sqlite3_busy_timeout(db->handle, busy_ms);
    return err;
}

static int keep_verdict(void *arg, int columns, char **values, char **names)
{
    (void)columns;
    (void)names;
    *(bool *)arg = values[0] != NULL && strcmp(values[0], "ok") == 0;
    return 0;
}

enum pv_err pv_db_check(struct pv_db *db, bool *sound)
{
    *sound = false;
    int rc = sqlite3_exec(db->handle, "PRAGMA quick_check(1)", keep_verdict, sound, NULL);
    enum pv_err err = failed(db, rc, "quick_check");
    *sound = *sound && err == PV_OK;
    return err == PV_E_CORRUPT ? PV_OK : err;
}

void pv_db_close(struct pv_db *db, bool keep_log)
{
    if (db == NULL)
        return;
    for (unsigned i = 0; i < PV_SQL_COUNT; i++)
        sqlite3_finalize(db->statements[i]);
    if (!keep_log)
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    int rc = sqlite3_close(db->handle);
    PV_ASSERT(rc == SQLITE_OK); /* BUSY only: a statement of ours is still in use */
    pv_free(db);
}

enum pv_err pv_db_checkpoint(struct pv_db *db, enum pv_checkpoint what)
{
    static const int modes[] = {SQLITE_CHECKPOINT_PASSIVE, SQLITE_CHECKPOINT_RESTART,
                                SQLITE_CHECKPOINT_TRUNCATE};
    int frames = 0, done = 0;
    int rc = sqlite3_wal_checkpoint_v2(db->handle, "main", modes[what], &frames, &done);
    if (rc == SQLITE_BUSY)
        return PV_OK;
    if (rc == SQLITE_OK && frames == done)
        db->wal_frames = 0; /* the next commit begins the log anew */
    return failed(db, rc, "checkpoint");
}
