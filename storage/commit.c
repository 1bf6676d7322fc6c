/*
 * One batch: plan -> files -> transaction -> memory -> acks.
 *
 * plan         what is new, whether there is room; each distinct blob file becomes a job
 * files        in waves of PV_COMMIT_BLOBS_MAX: write temps, start write-back, sync each; then
 *              rename all into place and sync each touched folder once
 * transaction  one savepoint a commit, so that one that fails takes no other along
 * memory       digest, totals, clock: only after COMMIT came back
 *
 * A job that fails fails the commits that need it. Files whose rows did not come about are removed
 * again; a crash before that leaves unknown files, which are looked for later. After a failed sync
 * nothing is removed: whether the transaction is on the disk is not known any more, and the process
 * ends anyway.
 */
#include "storage/commit_private.h"
#include "internal/base/mem.h"

#include "crypto/blob.h"
#include <stdio.h>

static bool broken(const struct pv_batch *b)
{
    return atomic_load(&b->s->broken);
}

/* ---- plan ---- */

struct pv_blob_job *pv_batch_job(struct pv_batch *b, const struct pv_id *id)
{
    for (size_t i = 0; i < b->job_count; i++)
        if (pv_id_equal(&b->jobs[i].id, id))
            return &b->jobs[i];
    return NULL;
}

static enum pv_err add_job(struct pv_batch *b, const struct pv_commit_op *op, bool had_row)
{
    if (b->job_count == b->job_cap) {
        size_t cap = b->job_cap == 0 ? PV_COMMIT_BLOBS_MAX : b->job_cap * 2;
        struct pv_blob_job *grown = pv_realloc(b->jobs, cap * sizeof *grown);
        if (grown == NULL)
            return PV_E_NOMEM;
        b->jobs = grown;
        b->job_cap = cap;
    }
    b->jobs[b->job_count++] = (struct pv_blob_job){
        .id = op->u.blob.id,
        .bytes = op->u.blob.bytes,
        .len = op->u.blob.len,
        .had_row = had_row,
        .replace = op->u.blob.replace && had_row,
        .fd = PV_FD_NONE,
    };
    return PV_OK;
}

static enum pv_err plan_blob(struct pv_batch *b, const struct pv_commit_op *op)
{
    struct pv_blob_row row;
    size_t len = op->u.blob.len;
    if (len < PV_BLOB_LEN_MIN || len > PV_BLOB_LEN_MAX)
        return PV_E_INVALID;
    enum pv_err err = pv_blob_row(b->s->writer, &op->u.blob.id, &row);
    if (err != PV_OK || (row.home != 0 && !op->u.blob.replace))
        return err;
    bool is_file = row.home != 0 ? row.home == PV_HOME_FILE : len >= PV_BLOB_FILE_MIN;
    if (is_file && pv_batch_job(b, &op->u.blob.id) != NULL)
        return PV_OK;
    if (is_file)
        err = add_job(b, op, row.home != 0);
    if (row.home == 0)
        b->new_bytes += len;
    b->write_bytes += len;
    return err;
}

static enum pv_err learn_space(struct pv_batch *b)
{
    const struct pv_store_config *config = &b->s->config;
    struct pv_fs_space space;
    if (b->space_known)
        return PV_OK;
    enum pv_err err = config->vault->fs->space(config->vault->fs->ctx, config->vault->dir, &space);
    if (err != PV_OK)
        return err;
    uint64_t reserve = config->reserve_bytes;
    if (reserve == UINT64_MAX) {
        reserve = space.total_bytes / 20;
        reserve = reserve < (uint64_t)1 << 30 ? reserve : (uint64_t)1 << 30;
    }
    b->room_bytes = space.free_bytes > reserve ? space.free_bytes - reserve : 0;
    b->space_known = true;
    return PV_OK;
}

static enum pv_err check_room(struct pv_batch *b)
{
    uint64_t limit = b->s->config.disk_limit, used = b->s->totals.blob_bytes;
    uint64_t left = limit == 0 ? UINT64_MAX : limit > used ? limit - used : 0;
    enum pv_err err = learn_space(b);
    if (err == PV_OK && (b->new_bytes > left || b->write_bytes > b->room_bytes))
        err = PV_E_NOSPACE;
    return err;
}

static enum pv_err plan_op(struct pv_batch *b, const struct pv_commit_op *op)
{
    if (op->type == PV_COMMIT_BLOB)
        return plan_blob(b, op);
    if (op->type == PV_COMMIT_META)
        return op->u.meta.len > PV_META_MAX || op->u.meta.key[0] == '/' ? PV_E_INVALID : PV_OK;
    if (op->type == PV_COMMIT_UNKNOWN)
        return op->u.unknown.count > PV_UNKNOWN_MAX ? PV_E_INVALID : PV_OK;
    return PV_OK;
}

/* A commit that is refused leaves no job behind that only it would need. */
static enum pv_err plan_commit(struct pv_batch *b, struct pv_commit *c)
{
    size_t jobs = b->job_count;
    uint64_t new_bytes = b->new_bytes, write_bytes = b->write_bytes;
    enum pv_err err = PV_OK;
    for (size_t i = 0; i < c->count && err == PV_OK; i++) {
        c->ops[i].applied = false;
        err = plan_op(b, &c->ops[i]);
    }
    if (err == PV_OK && b->write_bytes > write_bytes)
        err = check_room(b);
    if (err != PV_OK) {
        b->job_count = jobs;
        b->new_bytes = new_bytes;
        b->write_bytes = write_bytes;
    }
    return err;
}

/* ---- files ---- */

static void temp_path(char out[static PV_TEMP_PATH_LEN + 1], uint64_t no)
{
    snprintf(out, PV_TEMP_PATH_LEN + 1, "tmp/%016llx", (unsigned long long)no);
}

static void unlink_logged(struct pv_store *s, const char *path)
{
    const struct pv_fs *fs = s->config.vault->fs;
    enum pv_err err = fs->unlink(fs->ctx, s->config.vault->dir, path);
    if (err != PV_OK && err != PV_E_NOT_FOUND) /* it stays an unknown file until the next look */
        PV_LOG(s->config.env->log, PV_LOG_WARN, PV_SUB_STORE, "file not removed", "path", path,
               "error", pv_err_text(err));
}

static void fail_job(struct pv_batch *b, struct pv_blob_job *job, enum pv_err err, const char *what)
{
    job->err = err;
    PV_LOG(b->s->config.env->log, PV_LOG_ERROR, PV_SUB_STORE, "blob not stored", "blob",
           pv_log_id(job->id.b), "what", what, "error", pv_err_text(err));
}

static void write_temp(struct pv_batch *b, struct pv_blob_job *job)
{
    const struct pv_fs *fs = b->s->config.vault->fs;
    char path[PV_TEMP_PATH_LEN + 1];
    job->temp_no = b->s->temp_count++;
    temp_path(path, job->temp_no);
    enum pv_err err = fs->open(fs->ctx, b->s->config.vault->dir, path,
                               PV_FS_WRITE | PV_FS_CREATE | PV_FS_EXCLUSIVE, &job->fd);
    if (err != PV_OK) {
        job->fd = PV_FD_NONE;
        fail_job(b, job, err, "create");
        return;
    }
    job->in_temp = true;
    err = fs->write(fs->ctx, job->fd, job->bytes, job->len, 0);
    if (err != PV_OK)
        fail_job(b, job, err, "write");
    else
        (void)fs->start_writeback(fs->ctx, job->fd); /* a hint; the sync decides */
}

static void sync_temp(struct pv_batch *b, struct pv_blob_job *job)
{
    const struct pv_fs *fs = b->s->config.vault->fs;
    if (job->fd == PV_FD_NONE)
        return;
    if (job->err == PV_OK && !broken(b)) {
        job->err = fs->sync(fs->ctx, job->fd);
        if (job->err != PV_OK)
            pv_store_fatal(b->s, "sync blob", job->err);
    }
    (void)fs->close(fs->ctx, job->fd); /* synced already: nothing is left that it could report */
    job->fd = PV_FD_NONE;
}

static void write_temps(struct pv_batch *b)
{
    for (size_t from = 0; from < b->job_count; from += PV_COMMIT_BLOBS_MAX) {
        size_t left = b->job_count - from;
        size_t end = from + (left < PV_COMMIT_BLOBS_MAX ? left : PV_COMMIT_BLOBS_MAX);
        for (size_t i = from; i < end; i++)
            write_temp(b, &b->jobs[i]);
        for (size_t i = from; i < end; i++)
            sync_temp(b, &b->jobs[i]);
    }
}

static enum pv_err quarantine(struct pv_batch *b, const struct pv_blob_job *job, const char *path)
{
    const struct pv_fs *fs = b->s->config.vault->fs;
    pv_fd dir = b->s->config.vault->dir;
    char to[sizeof "quarantine/" + PV_ID_HEX_LEN] = "quarantine/";
    pv_id_hex(to + strlen(to), &job->id);
    enum pv_err err = fs->rename(fs->ctx, dir, path, dir, to);
    return err == PV_E_NOT_FOUND ? PV_OK : err;
}

static void place_file(struct pv_batch *b, struct pv_blob_job *job)
{
    const struct pv_fs *fs = b->s->config.vault->fs;
    pv_fd dir = b->s->config.vault->dir;
    char from[PV_TEMP_PATH_LEN + 1], to[PV_BLOB_PATH_LEN + 1];
    enum pv_err err = PV_OK;
    if (job->err != PV_OK)
        return;
    temp_path(from, job->temp_no);
    pv_blob_path(to, &job->id);
    if (job->replace)
        err = quarantine(b, job, to);
    if (err == PV_OK)
        err = fs->rename(fs->ctx, dir, from, dir, to);
    if (err != PV_OK) {
        fail_job(b, job, err, "rename");
        return;
    }
    job->in_temp = false;
    job->in_place = true;
}

static void sync_folder(struct pv_batch *b, unsigned folder)
{
    const struct pv_fs *fs = b->s->config.vault->fs;
    char path[sizeof "blobs/00"];
    pv_fd fd;
    snprintf(path, sizeof path, "blobs/%02x", folder & 0xff);
    enum pv_err err =
        fs->open(fs->ctx, b->s->config.vault->dir, path, PV_FS_READ | PV_FS_DIRECTORY, &fd);
    if (err == PV_OK) {
        err = fs->sync(fs->ctx, fd);
        if (err != PV_OK)
            pv_store_fatal(b->s, "sync blob folder", err);
        (void)fs->close(fs->ctx, fd);
    }
    for (size_t i = 0; i < b->job_count && err != PV_OK; i++)
        if (b->jobs[i].id.b[0] == folder && b->jobs[i].err == PV_OK)
            fail_job(b, &b->jobs[i], err, "sync folder");
}

static void place_files(struct pv_batch *b)
{
    bool touched[256] = {false};
    for (size_t i = 0; i < b->job_count; i++) {
        place_file(b, &b->jobs[i]);
        touched[b->jobs[i].id.b[0]] |= b->jobs[i].in_place;
    }
    for (unsigned i = 0; i < 256 && !broken(b); i++)
        if (touched[i])
            sync_folder(b, i);
}

/* Temporary files of failed jobs, and files in place for which there is no row. */
static void clean_up(struct pv_batch *b)
{
    char path[PV_BLOB_PATH_LEN + 1];
    for (size_t i = 0; i < b->job_count; i++) {
        const struct pv_blob_job *job = &b->jobs[i];
        if (job->in_temp) {
            temp_path(path, job->temp_no);
            unlink_logged(b->s, path);
        }
        struct pv_blob_row row;
        if (!job->in_place || job->had_row || pv_blob_row(b->s->writer, &job->id, &row) != PV_OK ||
            row.home == PV_HOME_FILE)
            continue;
        pv_blob_path(path, &job->id);
        unlink_logged(b->s, path);
    }
}

/* ---- transaction ---- */

/* An error that took the whole transaction with it is returned; any other is the commit's. */
static enum pv_err run_commit(struct pv_batch *b, struct pv_commit *c)
{
    struct pv_db *db = b->s->writer;
    struct pv_effects before = b->effects;
    enum pv_err err = pv_db_run(db, PV_SQL_SAVE);
    if (err != PV_OK)
        return err;
    c->err = pv_commit_ops(b, c);
    if (c->err == PV_OK)
        return pv_db_run(db, PV_SQL_RELEASE);
    b->effects = before;
    for (size_t i = 0; i < c->count; i++)
        c->ops[i].applied = false;
    if (sqlite3_get_autocommit(db->handle))
        return c->err;
    err = pv_db_run(db, PV_SQL_ROLLBACK_TO);
    return err == PV_OK ? pv_db_run(db, PV_SQL_RELEASE) : err;
}

static enum pv_err transaction(struct pv_batch *b, struct pv_commit *first)
{
    struct pv_db *db = b->s->writer;
    enum pv_err err = pv_db_run(db, PV_SQL_BEGIN_WRITE);
    if (err != PV_OK)
        return err;
    for (struct pv_commit *c = first; c != NULL && err == PV_OK; c = c->next)
        if (c->err == PV_OK)
            err = run_commit(b, c);
    if (err == PV_OK)
        err = pv_store_put_clock(b->s, b->effects.hlc);
    if (err == PV_OK)
        err = pv_db_run(db, PV_SQL_COMMIT);
    if (err != PV_OK && !sqlite3_get_autocommit(db->handle) &&
        pv_db_run(db, PV_SQL_ROLLBACK) != PV_OK)
        pv_store_fatal(b->s, "roll back", err);
    return err;
}

static void apply_effects(struct pv_batch *b)
{
    struct pv_store *s = b->s;
    pthread_mutex_lock(&s->state_mutex);
    s->totals = b->effects.totals;
    s->hlc = b->effects.hlc;
    for (size_t i = 0; i < b->effects.digest_count; i++)
        pv_digest_change(s->digest, &b->digest_ops[i].hash, b->digest_ops[i].by);
    pthread_mutex_unlock(&s->state_mutex);
}

/* ---- unknown files ---- */

static enum pv_err remove_unknown(struct pv_batch *b, const struct pv_commit_op *op)
{
    const struct pv_fs *fs = b->s->config.vault->fs;
    enum pv_err err = PV_OK;
    for (size_t i = 0; i < op->u.unknown.count && err == PV_OK; i++) {
        char path[PV_BLOB_PATH_LEN + 1];
        struct pv_blob_row row;
        err = pv_blob_row(b->s->writer, &op->u.unknown.ids[i], &row);
        if (err != PV_OK || row.home == PV_HOME_FILE)
            continue;
        pv_blob_path(path, &op->u.unknown.ids[i]);
        err = fs->unlink(fs->ctx, b->s->config.vault->dir, path);
        if (err == PV_E_NOT_FOUND)
            err = PV_OK;
        pthread_mutex_lock(&b->s->state_mutex);
        b->s->unknown_files -= err == PV_OK && b->s->unknown_files > 0;
        pthread_mutex_unlock(&b->s->state_mutex);
    }
    return err;
}

static void remove_all_unknown(struct pv_batch *b, struct pv_commit *first)
{
    for (struct pv_commit *c = first; c != NULL; c = c->next)
        for (size_t i = 0; i < c->count && c->err == PV_OK; i++)
            if (c->ops[i].type == PV_COMMIT_UNKNOWN)
                c->err = remove_unknown(b, &c->ops[i]);
}

/* ---- the batch ---- */

static enum pv_err run_batch(struct pv_batch *b, struct pv_commit *first)
{
    for (struct pv_commit *c = first; c != NULL; c = c->next)
        c->err = plan_commit(b, c);
    write_temps(b);
    if (!broken(b))
        place_files(b);
    if (broken(b))
        return PV_E_IO;
    enum pv_err err = transaction(b, first);
    if (broken(b))
        return PV_E_IO;
    if (err == PV_OK) {
        apply_effects(b);
        remove_all_unknown(b, first);
    }
    clean_up(b);
    return err;
}

void pv_commit_batch(struct pv_store *s, struct pv_commit *first)
{
    uint64_t now_ms = pv_store_time_ms(s);
    struct pv_batch b = {
        .s = s,
        .now_ms = now_ms,
        .lease_until_ms = now_ms + (uint64_t)PV_LEASE_HOURS * 3600 * 1000,
        .effects = {.totals = s->totals, .hlc = s->hlc},
    };
    enum pv_err err = broken(&b) ? PV_E_IO : run_batch(&b, first);
    pv_free(b.jobs);
    pv_free(b.digest_ops);
    while (first != NULL) {
        struct pv_commit *c = first;
        first = c->next; /* done may free or reuse it */
        c->next = NULL;
        if (err != PV_OK && (c->err == PV_OK || broken(&b)))
            c->err = err;
        for (size_t i = 0; i < c->count && c->err != PV_OK; i++)
            c->ops[i].applied = false;
        c->done(c);
    }
}

uint64_t pv_commit_log_bytes(const struct pv_store *s)
{
    return (uint64_t)s->writer->wal_frames * (PV_VFS_FRAME_HEADER_LEN + PV_VFS_PAGE_LEN);
}

enum pv_err pv_commit_checkpoint(struct pv_store *s)
{
    if (atomic_load(&s->broken))
        return PV_E_IO;
    return pv_db_checkpoint(s->writer);
}
