/*
 * Opening and closing, the clocks, the pool of reading connections, meta.
 *
 * Opening: look at the version first and touch nothing if it is a later one; create the schema if
 * there is none; write the log over itself; empty tmp/; make this opening durable (uuid, count,
 * clock); read digest and totals; open the readers. An error on the way undoes nothing on disk:
 * each step can be repeated.
 *
 * A full disk does not keep a vault from being read. The opening then has its number all the same,
 * and the first transaction that finds room makes it durable. Until then nothing can be committed,
 * so nothing is told to a peer that the next opening, under the same number, could take back.
 */
#include "storage/store_private.h"
#include "internal/base/mem.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"
#include "storage/commit.h"
#include "internal/base/sometimes.h"

#include <stdio.h>
#include <stdlib.h>

static const uint64_t gap_max_ms = 24U * 3600 * 1000;

/* ---- failing ---- */

void pv_store_fatal(struct pv_store *s, const char *what, enum pv_err err)
{
    if (atomic_exchange(&s->broken, true))
        return;
    PV_SOMETIMES("store: a disk failure ends the process");
    PV_LOG(s->config.env->log, PV_LOG_ERROR, PV_SUB_STORE, "disk failure, stopping", "what", what,
           "error", pv_err_text(err));
    if (s->config.fatal == NULL)
        _Exit(70);
    s->config.fatal(what);
}

static void vfs_fatal(void *ctx, const char *what, enum pv_err err)
{
    pv_store_fatal(ctx, what, err);
}

/* ---- tmp/ ---- */

enum { SWEEP_NAMES = 64 };

struct sweep {
    char *names[SWEEP_NAMES];
    size_t count;
    bool no_memory;
};

static bool collect_name(void *arg, const char *name)
{
    struct sweep *sweep = arg;
    char *copy = pv_strdup(name);
    sweep->no_memory = copy == NULL;
    if (copy != NULL)
        sweep->names[sweep->count++] = copy;
    return copy != NULL && sweep->count < SWEEP_NAMES;
}

/* Removes some of the files; *more while there may be others. What is no file is not ours. */
static enum pv_err sweep_tmp(const struct pv_vault *vault, pv_fd tmp, bool *more)
{
    const struct pv_fs *fs = vault->fs;
    struct sweep sweep = {.count = 0};
    size_t removed = 0;
    enum pv_err err = fs->list(fs->ctx, tmp, ".", collect_name, &sweep);
    if (err == PV_OK && sweep.no_memory)
        err = PV_E_NOMEM;
    for (size_t i = 0; i < sweep.count; i++) {
        if (err == PV_OK) {
            err = fs->unlink(fs->ctx, tmp, sweep.names[i]);
            removed += err == PV_OK;
            if (err == PV_E_INVALID || err == PV_E_NOT_FOUND)
                err = PV_OK; /* a directory, or gone */
        }
        pv_free(sweep.names[i]);
    }
    *more = sweep.count == SWEEP_NAMES && removed > 0;
    return err;
}

static enum pv_err empty_tmp(const struct pv_vault *vault)
{
    const struct pv_fs *fs = vault->fs;
    pv_fd tmp;
    enum pv_err err = fs->open(fs->ctx, vault->dir, "tmp", PV_FS_READ | PV_FS_DIRECTORY, &tmp);
    if (err != PV_OK)
        return err;
    bool more = true;
    while (err == PV_OK && more)
        err = sweep_tmp(vault, tmp, &more);
    (void)fs->close(fs->ctx, tmp);
    return err;
}

/* ---- clocks and origin ---- */

uint64_t pv_store_time_ms(struct pv_store *s)
{
    return s->time_base_ms + (pv_env_mono_ms(s->config.env) - s->mono_base_ms);
}

pv_hlc pv_store_hlc(struct pv_store *s)
{
    pthread_mutex_lock(&s->state_mutex);
    pv_hlc hlc = s->hlc;
    pthread_mutex_unlock(&s->state_mutex);
    return hlc;
}

struct pv_store_origin pv_store_origin(const struct pv_store *s)
{
    return s->origin;
}

static enum pv_err put_meta(struct pv_db *db, const char *key, const void *value, size_t len)
{
    struct pv_query q = pv_query(db, PV_SQL_META_PUT);
    pv_bind_text(&q, key);
    pv_bind_blob(&q, value, len);
    return pv_query_finish(&q);
}

static enum pv_err get_meta(struct pv_db *db, const char *key, void *value, size_t *len)
{
    bool found = false, fits = false;
    size_t stored = 0;
    struct pv_query q = pv_query(db, PV_SQL_META_GET);
    pv_bind_text(&q, key);
    if (pv_query_row(&q)) {
        const uint8_t *bytes = pv_col_blob(&q, 0, &stored);
        found = true;
        fits = stored <= *len;
        if (fits && stored > 0)
            memcpy(value, bytes, stored);
    }
    enum pv_err err = pv_query_end(&q);
    if (err == PV_OK && !found)
        err = PV_E_NOT_FOUND;
    if (err == PV_OK && !fits)
        err = PV_E_LIMIT;
    if (err == PV_OK)
        *len = stored;
    return err;
}

/* A value of the store's own, which has one length only. */
static enum pv_err get_own(struct pv_db *db, const char *key, void *value, size_t len)
{
    size_t got = len;
    enum pv_err err = get_meta(db, key, value, &got);
    return err == PV_E_NOT_FOUND || err == PV_E_LIMIT || (err == PV_OK && got != len) ? PV_E_CORRUPT
                                                                                      : err;
}

enum pv_err pv_store_put_own(struct pv_store *s, pv_hlc hlc)
{
    uint8_t clock[PV_CLOCK_LEN], opens[8];
    struct pv_wr w = pv_wr_of(clock, sizeof clock);
    pv_wr_u64(&w, pv_store_time_ms(s));
    pv_wr_u64(&w, pv_env_wall_ms(s->config.env));
    pv_wr_u64(&w, hlc);
    enum pv_err err = put_meta(s->writer, PV_META_CLOCK, clock, sizeof clock);
    if (err != PV_OK || s->counted)
        return err;
    w = pv_wr_of(opens, sizeof opens);
    pv_wr_u64(&w, s->origin.open_count);
    return put_meta(s->writer, PV_META_OPENS, opens, sizeof opens);
}

static enum pv_err load_own(struct pv_store *s)
{
    uint8_t opens[8], clock[PV_CLOCK_LEN];
    size_t keep_len = 0;
    enum pv_err err = get_own(s->writer, PV_META_UUID, s->origin.uuid, sizeof s->origin.uuid);
    if (err == PV_OK)
        err = get_own(s->writer, PV_META_OPENS, opens, sizeof opens);
    if (err == PV_OK)
        err = get_own(s->writer, PV_META_CLOCK, clock, sizeof clock);
    if (err != PV_OK)
        return err;
    struct pv_rd r = pv_rd_of(opens, sizeof opens);
    s->origin.open_count = pv_rd_u64(&r);
    r = pv_rd_of(clock, sizeof clock);
    uint64_t time_ms = pv_rd_u64(&r), wall_then = pv_rd_u64(&r);
    s->hlc = pv_rd_u64(&r);
    uint64_t wall_now = pv_env_wall_ms(s->config.env);
    uint64_t gap = wall_now > wall_then ? wall_now - wall_then : 0;
    s->time_base_ms = time_ms + (gap < gap_max_ms ? gap : gap_max_ms);
    err = get_meta(s->writer, PV_META_KEEP, opens, &keep_len);
    s->keeps_unknown = err != PV_E_NOT_FOUND;
    return err == PV_E_NOT_FOUND || err == PV_E_LIMIT ? PV_OK : err;
}

/*
 * A new store. Blob files that are here already are those of a vault.db that is gone: no crash
 * leaves them, because nothing is stored before vault.db is.
 */
static enum pv_err invent_own(struct pv_store *s)
{
    enum pv_err err = pv_store_look_for_blobs(s, &s->keeps_unknown);
    pv_env_random(s->config.env, s->origin.uuid, sizeof s->origin.uuid);
    s->time_base_ms = pv_env_wall_ms(s->config.env);
    if (err == PV_OK)
        err = put_meta(s->writer, PV_META_UUID, s->origin.uuid, sizeof s->origin.uuid);
    if (err == PV_OK && s->keeps_unknown)
        err = put_meta(s->writer, PV_META_KEEP, "", 0);
    return err;
}

/* One transaction: who we are and how often we were opened. */
static enum pv_err put_opening(struct pv_store *s, bool created)
{
    enum pv_err err = pv_db_run(s->writer, PV_SQL_BEGIN_WRITE);
    if (err != PV_OK)
        return err;
    if (created)
        err = invent_own(s);
    if (err == PV_OK)
        err = pv_store_put_own(s, s->hlc);
    if (err == PV_OK)
        err = pv_db_run(s->writer, PV_SQL_COMMIT);
    if (err == PV_E_NOSPACE && !sqlite3_get_autocommit(s->writer->handle) &&
        pv_db_run(s->writer, PV_SQL_ROLLBACK) != PV_OK)
        err = PV_E_IO;
    return err;
}

static enum pv_err count_opening(struct pv_store *s)
{
    size_t len = sizeof s->origin.uuid;
    s->mono_base_ms = pv_env_mono_ms(s->config.env);
    /* Also when the first opening was cut short between the schema and this. */
    enum pv_err err = get_meta(s->writer, PV_META_UUID, s->origin.uuid, &len);
    bool created = err == PV_E_NOT_FOUND;
    err = created ? PV_OK : load_own(s);
    s->origin.open_count++;
    if (err == PV_OK)
        err = put_opening(s, created);
    if (err == PV_E_NOSPACE && !created) { /* moving the log may make room */
        (void)!pv_db_checkpoint(s->writer, PV_CHECKPOINT_CUT);
        err = put_opening(s, false);
    }
    s->counted = err == PV_OK;
    if (err == PV_E_NOSPACE && !created) {
        PV_SOMETIMES("store: opened on a full disk");
        PV_LOG(s->config.env->log, PV_LOG_WARN, PV_SUB_STORE,
               "the disk is full: the vault can only be read");
        err = PV_OK;
    }
    return err;
}

/*
 * Writes the log over itself and syncs it. If an earlier process ended because it could not sync
 * it, its last bytes may be in the page cache only, where they count as clean: SQLite has just read
 * them, and what is committed after them would be lost with them.
 */
static enum pv_err refresh_log(struct pv_store *s)
{
    const struct pv_fs *fs = s->config.vault->fs;
    enum { PIECE_LEN = 1 << 18 };
    uint64_t offset = 0;
    size_t got = PIECE_LEN;
    pv_fd fd;
    enum pv_err err = fs->open(fs->ctx, s->config.vault->dir, "vault.db-wal", PV_FS_WRITE, &fd);
    if (err != PV_OK)
        return err == PV_E_NOT_FOUND ? PV_OK : err;
    PV_SOMETIMES("store: a log is left from an earlier run");
    uint8_t *piece = pv_malloc(PIECE_LEN);
    if (piece == NULL)
        err = PV_E_NOMEM;
    for (; err == PV_OK && got == PIECE_LEN; offset += got) {
        err = fs->read(fs->ctx, fd, piece, PIECE_LEN, offset, &got);
        if (err == PV_OK && got > 0)
            err = fs->write(fs->ctx, fd, piece, got, offset);
    }
    if (err == PV_OK && offset > 0) {
        err = fs->sync(fs->ctx, fd);
        if (err != PV_OK)
            pv_store_fatal(s, "sync vault.db-wal", err);
    }
    pv_free(piece);
    (void)fs->close(fs->ctx, fd); /* synced */
    /* A file system that needs room to overwrite and has none takes no commit either. */
    return err == PV_E_NOSPACE ? PV_OK : err;
}

/* How long the log may get depends on the disk: until it is moved it takes room of its own. */
static enum pv_err learn_log_max(struct pv_store *s)
{
    const struct pv_fs *fs = s->config.vault->fs;
    struct pv_fs_space space;
    enum pv_err err = fs->space(fs->ctx, s->config.vault->dir, &space);
    if (err != PV_OK)
        return err;
    uint64_t share = space.total_bytes / 64;
    s->log_bytes_max = share < PV_WAL_CHECKPOINT_BYTES ? share : PV_WAL_CHECKPOINT_BYTES;
    return PV_OK;
}

static enum pv_err load_blobs(struct pv_store *s)
{
    struct pv_query q = pv_query(s->writer, PV_SQL_BLOB_TOTALS);
    if (pv_query_row(&q)) {
        s->totals.blobs = pv_col_u64(&q, 0);
        s->totals.blob_bytes = pv_col_u64(&q, 1);
        s->totals.row_bytes = pv_col_u64(&q, 2);
    }
    enum pv_err err = pv_query_end(&q);
    return err == PV_OK ? pv_store_learn_record_bytes(s) : err;
}

/* ---- opening ---- */

static enum pv_err open_readers(struct pv_store *s)
{
    enum pv_err err = PV_OK;
    while (err == PV_OK && s->readers_free < PV_STORE_READERS) {
        struct pv_db *db = NULL;
        err = pv_db_open(&db, s->vfs, s->config.env->log);
        if (err == PV_OK)
            s->readers[s->readers_free++] = db;
        if (err == PV_OK)
            err = pv_db_set_up_reader(db, s->config.cache_bytes / 2 / PV_STORE_READERS);
    }
    return err;
}

/* *known: the database is one of ours, so that closing may tidy it up. */
static enum pv_err open_all(struct pv_store *s, bool *known)
{
    struct pv_vfs_config vfs = {s->config.vault->fs, s->config.vault->dir, s->config.env, vfs_fatal,
                                s};
    enum pv_err err = pv_vfs_new(&s->vfs, &vfs);
    if (err == PV_OK)
        err = pv_store_look(s);
    if (err == PV_OK)
        err = pv_db_open(&s->writer, s->vfs, s->config.env->log);
    if (err == PV_OK)
        err = pv_db_set_up_writer(s->writer, s->config.cache_bytes / 2);
    if (err != PV_OK)
        return err;
    *known = true;
    err = refresh_log(s);
    if (err == PV_OK)
        err = pv_vault_complete(s->config.vault);
    if (err == PV_OK)
        err = empty_tmp(s->config.vault);
    if (err == PV_OK)
        err = learn_log_max(s);
    if (err == PV_OK)
        err = count_opening(s);
    if (err == PV_OK)
        err = load_blobs(s);
    if (err == PV_OK)
        err = pv_store_load_records(s);
    return err == PV_OK ? open_readers(s) : err;
}

static void close_all(struct pv_store *s, bool keep_log)
{
    while (s->readers_free > 0)
        pv_db_close(s->readers[--s->readers_free], true);
    pv_db_close(s->writer, keep_log || atomic_load(&s->broken));
    pv_vfs_free(s->vfs);
    pthread_cond_destroy(&s->readers_cond);
    pthread_mutex_destroy(&s->placing_mutex);
    pthread_mutex_destroy(&s->readers_mutex);
    pthread_mutex_destroy(&s->state_mutex);
    pv_free(s);
}

enum pv_err pv_store_open(struct pv_store **out, const struct pv_store_config *config)
{
    struct pv_store *s = pv_calloc(1, sizeof *s);
    if (s == NULL)
        return PV_E_NOMEM;
    s->config = *config;
    pv_store_limit(s, config->disk_limit);
    pthread_mutex_init(&s->placing_mutex, NULL);
    pthread_mutex_init(&s->readers_mutex, NULL);
    pthread_cond_init(&s->readers_cond, NULL);
    pthread_mutex_init(&s->state_mutex, NULL);
    bool known = false;
    enum pv_err err = open_all(s, &known);
    if (err == PV_OK && atomic_load(&s->broken))
        err = PV_E_IO;
    if (err != PV_OK) {
        close_all(s, !known);
        return err;
    }
    *out = s;
    return PV_OK;
}

void pv_store_limit(struct pv_store *s, uint64_t disk_limit)
{
    atomic_store(&s->disk_limit, disk_limit);
}

void pv_store_close(struct pv_store *s)
{
    if (s == NULL)
        return;
    PV_ASSERT(s->readers_free == PV_STORE_READERS);
    pv_commit_batch(s, NULL); /* the clock; if it fails, that is logged and the clock lags a bit */
    close_all(s, false);
}

/* ---- reading ---- */

struct pv_db *pv_store_take_reader(struct pv_store *s)
{
    pthread_mutex_lock(&s->readers_mutex);
    while (s->readers_free == 0)
        pthread_cond_wait(&s->readers_cond, &s->readers_mutex);
    struct pv_db *db = s->readers[--s->readers_free];
    pthread_mutex_unlock(&s->readers_mutex);
    return db;
}

void pv_store_give_reader(struct pv_store *s, struct pv_db *db)
{
    pthread_mutex_lock(&s->readers_mutex);
    s->readers[s->readers_free++] = db;
    pthread_cond_signal(&s->readers_cond);
    pthread_mutex_unlock(&s->readers_mutex);
}

enum pv_err pv_store_meta(struct pv_store *s, const char *key, void *value, size_t *value_len)
{
    struct pv_db *db = pv_store_take_reader(s);
    enum pv_err err = get_meta(db, key, value, value_len);
    pv_store_give_reader(s, db);
    return err;
}

enum pv_err pv_store_counts(struct pv_store *s, struct pv_store_counts *out)
{
    const struct pv_fs *fs = s->config.vault->fs;
    struct pv_fs_space space;
    enum pv_err err = fs->space(fs->ctx, s->config.vault->dir, &space);
    if (err != PV_OK)
        return err;
    pthread_mutex_lock(&s->state_mutex);
    *out = (struct pv_store_counts){
        .blobs = s->totals.blobs,
        .blob_bytes = s->totals.blob_bytes,
        .files = s->totals.files,
        .names = s->totals.names,
        .records = s->totals.records,
        .pending = s->totals.pending,
        .disk_free_bytes = space.free_bytes,
        .unknown_files = s->unknown_files,
        .may_collect = s->unknown_known && s->unknown_files <= PV_UNKNOWN_MAX,
        .was_lost = s->keeps_unknown,
    };
    pthread_mutex_unlock(&s->state_mutex);
    return PV_OK;
}

enum pv_err pv_store_probe(struct pv_store *s)
{
    const struct pv_fs *fs = s->config.vault->fs;
    pv_fd fd;
    enum pv_err err =
        fs->open(fs->ctx, s->config.vault->dir, "tmp/probe", PV_FS_WRITE | PV_FS_CREATE, &fd);
    if (err != PV_OK)
        return err;
    err = fs->write(fs->ctx, fd, "", 1, 0);
    enum pv_err closed = fs->close(fs->ctx, fd);
    enum pv_err removed = fs->unlink(fs->ctx, s->config.vault->dir, "tmp/probe");
    if (removed == PV_E_NOT_FOUND) /* another probe did */
        removed = PV_OK;
    if (err == PV_OK)
        err = closed != PV_OK ? closed : removed;
    return err;
}
