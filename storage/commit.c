/*
 * One batch: bad blobs -> plan -> files -> transaction -> memory -> acks.
 *
 * bad blobs    leave first, in transactions of their own (commit_bad.c)
 * plan         what is new, whether there is room; each distinct blob file becomes a job
 *              (commit_plan.c)
 * files        in waves of blob_files_max: write temps, start write-back, sync all; then
 *              rename all into place and sync each touched folder once
 * transaction  one savepoint a commit, so that one that fails takes no other along; sweeps last,
 *              so that they see what the others use
 * memory       digest, totals, clock: only after COMMIT came back
 *
 * A job that fails fails the commits that need it. Files whose rows did not come about are removed
 * again; a crash before that leaves unknown files, which are looked for later. After a failed sync
 * nothing is removed: whether the transaction is on the disk is not known any more, and the process
 * ends anyway.
 */
#include "storage/check_private.h"
#include "storage/commit_private.h"
#include "internal/base/mem.h"
#include "internal/base/sometimes.h"

#include <stdio.h>

static bool broken(const struct pv_batch *b)
{
    return atomic_load(&b->s->broken);
}

/* ---- files ---- */

static void temp_path(char out[static PV_TEMP_PATH_LEN + 1], uint64_t no)
{
    snprintf(out, PV_TEMP_PATH_LEN + 1, "tmp/%016llx", (unsigned long long)no);
}

void pv_unlink_logged(struct pv_store *s, const char *path)
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

/* False: there is no descriptor left for it. The first of a wave takes that for its error. */
static bool write_temp(struct pv_batch *b, struct pv_blob_job *job, bool first)
{
    const struct pv_fs *fs = b->s->config.vault->fs;
    char path[PV_TEMP_PATH_LEN + 1];
    if (job->is_good)
        return true;
    job->temp_no = b->s->temp_count++;
    temp_path(path, job->temp_no);
    enum pv_err err = fs->open(fs->ctx, b->s->config.vault->dir, path,
                               PV_FS_WRITE | PV_FS_CREATE | PV_FS_EXCLUSIVE, &job->fd);
    if (err != PV_OK) {
        job->fd = PV_FD_NONE;
        if (err == PV_E_LIMIT && !first)
            return false;
        fail_job(b, job, err, "create");
        return true;
    }
    job->in_temp = true;
    err = fs->write(fs->ctx, job->fd, job->bytes, job->len, 0);
    if (err == PV_OK)
        err = fs->start_writeback(fs->ctx, job->fd);
    if (err != PV_OK)
        fail_job(b, job, err, "write");
    return true;
}

struct wave {
    pv_fd fds[PV_COMMIT_BLOBS_MAX];
    size_t count;
};

/* Syncs them side by side and closes them; a failed sync is fatal. */
static enum pv_err sync_wave(struct pv_batch *b, struct wave *w, const char *what)
{
    const struct pv_fs *fs = b->s->config.vault->fs;
    enum pv_err err = broken(b) ? PV_E_IO : pv_fs_sync_all(fs, w->fds, w->count);
    if (err != PV_OK)
        pv_store_fatal(b->s, what, err);
    for (size_t i = 0; i < w->count; i++)
        (void)fs->close(fs->ctx, w->fds[i]); /* nothing is left that it could report */
    w->count = 0;
    return err;
}

static void sync_temps(struct pv_batch *b, struct pv_blob_job *jobs, size_t count)
{
    const struct pv_fs *fs = b->s->config.vault->fs;
    struct wave w = {.count = 0};
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].fd == PV_FD_NONE)
            continue;
        if (jobs[i].err == PV_OK)
            w.fds[w.count++] = jobs[i].fd;
        else
            (void)fs->close(fs->ctx, jobs[i].fd); /* it goes anyway */
        jobs[i].fd = PV_FD_NONE;
    }
    enum pv_err err = sync_wave(b, &w, "sync blob");
    for (size_t i = 0; i < count && err != PV_OK; i++)
        jobs[i].err = err;
}

/* How many files are open at once. */
static size_t wave_max(const struct pv_batch *b)
{
    unsigned max = b->s->config.blob_files_max;
    return max != 0 && max < PV_COMMIT_BLOBS_MAX ? max : PV_COMMIT_BLOBS_MAX;
}

static void write_temps(struct pv_batch *b)
{
    size_t from = 0, end = 0;
    for (; from < b->job_count; from = end) {
        while (end < b->job_count && end - from < wave_max(b) &&
               write_temp(b, &b->jobs[end], end == from))
            end++;
        sync_temps(b, &b->jobs[from], end - from);
    }
}

static void place_file(struct pv_batch *b, struct pv_blob_job *job)
{
    const struct pv_fs *fs = b->s->config.vault->fs;
    pv_fd dir = b->s->config.vault->dir;
    char from[PV_TEMP_PATH_LEN + 1], to[PV_BLOB_PATH_LEN + 1];
    enum pv_err err = PV_OK;
    if (job->err != PV_OK)
        return;
    job->in_place = job->is_good;
    if (job->is_good)
        return;
    temp_path(from, job->temp_no);
    pv_blob_path(to, &job->id);
    if (job->replace)
        err = pv_quarantine(b->s, &job->id);
    if (err == PV_OK)
        err = fs->rename(fs->ctx, dir, from, dir, to);
    if (err != PV_OK) {
        fail_job(b, job, err, "rename");
        return;
    }
    job->in_temp = false;
    job->in_place = true;
}

static enum pv_err open_folder(struct pv_store *s, const char *path, pv_fd *out)
{
    const struct pv_fs *fs = s->config.vault->fs;
    return fs->open(fs->ctx, s->config.vault->dir, path, PV_FS_READ | PV_FS_DIRECTORY, out);
}

enum pv_err pv_sync_folder(struct pv_store *s, const char *path)
{
    const struct pv_fs *fs = s->config.vault->fs;
    pv_fd fd;
    enum pv_err err = open_folder(s, path, &fd);
    if (err != PV_OK)
        return err;
    err = fs->sync(fs->ctx, fd);
    if (err != PV_OK)
        pv_store_fatal(s, "sync folder", err);
    (void)fs->close(fs->ctx, fd); /* only synced */
    return err;
}

static enum pv_err open_blob_folder(struct pv_batch *b, unsigned folder, pv_fd *out)
{
    char path[sizeof "blobs/00"];
    snprintf(path, sizeof path, "blobs/%02x", folder & 0xff);
    return open_folder(b->s, path, out);
}

static void fail_folder(struct pv_batch *b, unsigned folder, enum pv_err err)
{
    for (size_t i = 0; i < b->job_count; i++)
        if (b->jobs[i].id.b[0] == folder && b->jobs[i].err == PV_OK)
            fail_job(b, &b->jobs[i], err, "sync folder");
}

/* In waves, too; one ends early when there is no descriptor left. */
static void sync_blob_folders(struct pv_batch *b, const bool touched[static 256])
{
    struct wave w = {.count = 0};
    for (unsigned i = 0; i < 256 && !broken(b); i++) {
        if (!touched[i])
            continue;
        if (w.count == wave_max(b))
            (void)sync_wave(b, &w, "sync folder");
        enum pv_err err = open_blob_folder(b, i, &w.fds[w.count]);
        if (err == PV_E_LIMIT && w.count > 0) {
            (void)sync_wave(b, &w, "sync folder");
            err = open_blob_folder(b, i, &w.fds[0]);
        }
        w.count += err == PV_OK;
        if (err != PV_OK)
            fail_folder(b, i, err);
    }
    if (w.count > 0)
        (void)sync_wave(b, &w, "sync folder");
}

static void place_files(struct pv_batch *b)
{
    bool touched[256] = {false};
    for (size_t i = 0; i < b->job_count; i++) {
        place_file(b, &b->jobs[i]);
        touched[b->jobs[i].id.b[0]] |= b->jobs[i].in_place;
    }
    sync_blob_folders(b, touched);
}

/* Temporary files of failed jobs, and files in place for which there is no row, for certain. */
static void clean_up(struct pv_batch *b)
{
    char path[PV_BLOB_PATH_LEN + 1];
    for (size_t i = 0; i < b->job_count; i++) {
        const struct pv_blob_job *job = &b->jobs[i];
        if (job->in_temp) {
            temp_path(path, job->temp_no);
            pv_unlink_logged(b->s, path);
        }
        struct pv_blob_row row;
        if (!job->in_place || job->had_row || b->in_doubt ||
            pv_blob_row(b->s->writer, &job->id, &row) != PV_OK || row.home == PV_HOME_FILE)
            continue;
        pv_blob_path(path, &job->id);
        pv_unlink_logged(b->s, path);
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

static bool sweeps(const struct pv_commit *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->ops[i].type == PV_COMMIT_SWEEP)
            return true;
    return false;
}

static enum pv_err transaction(struct pv_batch *b, struct pv_commit *first)
{
    struct pv_db *db = b->s->writer;
    enum pv_err err = pv_db_run(db, PV_SQL_BEGIN_WRITE);
    if (err != PV_OK)
        return err;
    for (unsigned sweeping = 0; sweeping < 2; sweeping++)
        for (struct pv_commit *c = first; c != NULL && err == PV_OK; c = c->next)
            if (c->err == PV_OK && sweeps(c) == (sweeping == 1))
                err = run_commit(b, c);
    if (err == PV_OK)
        err = pv_store_put_own(b->s, b->effects.hlc);
    if (err == PV_OK) {
        err = pv_db_run(db, PV_SQL_COMMIT);
        b->in_doubt = err != PV_OK && err != PV_E_NOSPACE; /* that stopped it half-way */
    }
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
    s->counted = true;
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
        pv_blob_path(path, &op->u.unknown.ids[i]);
        if (err == PV_OK && row.home != PV_HOME_FILE)
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

/* From the first rename to the last unlink, while there are files without a row. */
static enum pv_err place_and_commit(struct pv_batch *b, struct pv_commit *first)
{
    place_files(b);
    if (broken(b))
        return PV_E_IO;
    enum pv_err err = transaction(b, first);
    if (broken(b))
        return PV_E_IO;
    if (err == PV_OK) {
        apply_effects(b);
        pv_sweep_files(b);
        remove_all_unknown(b, first);
    }
    clean_up(b);
    return err;
}

static enum pv_err run_batch(struct pv_batch *b, struct pv_commit *first)
{
    for (struct pv_commit *c = first; c != NULL; c = c->next)
        c->err = pv_plan_commit(b, c);
    if (!broken(b))
        write_temps(b);
    if (broken(b))
        return PV_E_IO;
    pthread_mutex_lock(&b->s->placing_mutex);
    enum pv_err err = place_and_commit(b, first);
    pthread_mutex_unlock(&b->s->placing_mutex);
    return err;
}

static uint64_t lease_from(const struct pv_store *s, uint64_t now_ms)
{
    uint64_t until_ms = now_ms + (uint64_t)PV_LEASE_HOURS * 3600 * 1000;
    return until_ms > s->lease_floor_ms ? until_ms : s->lease_floor_ms + 1;
}

/* Sets the err of each; what is returned failed the batch as a whole. */
static enum pv_err commit_together(struct pv_store *s, struct pv_commit *first)
{
    uint64_t now_ms = pv_store_time_ms(s);
    struct pv_batch b = {
        .s = s,
        .now_ms = now_ms,
        .lease_until_ms = lease_from(s, now_ms),
        .effects = {.totals = s->totals, .hlc = s->hlc},
    };
    enum pv_err err = broken(&b) ? PV_E_IO : run_batch(&b, first);
    pv_free(b.jobs);
    pv_free(b.digest_ops);
    pv_free(b.swept);
    for (struct pv_commit *c = first; c != NULL; c = c->next) {
        if (err != PV_OK && (c->err == PV_OK || broken(&b)))
            c->err = err;
        for (size_t i = 0; i < c->count && c->err != PV_OK; i++)
            c->ops[i].applied = false;
    }
    return err;
}

/* What is too much for the disk together may hold commits that it has room for, a deletion among
 * uploads; and when the log has been moved, there is more. */
static void commit_singly(struct pv_store *s, struct pv_commit *first)
{
    for (struct pv_commit *c = first, *next; c != NULL; c = next) {
        next = c->next;
        c->next = NULL;
        if (c->err == PV_E_NOSPACE)
            (void)commit_together(s, c);
        c->next = next;
    }
}

void pv_commit_batch(struct pv_store *s, struct pv_commit *first)
{
    pv_commit_bad(s, first);
    if (commit_together(s, first) == PV_E_NOSPACE && first != NULL && !atomic_load(&s->broken)) {
        PV_SOMETIMES("commit: the disk is full");
        (void)!pv_db_checkpoint(s->writer, PV_CHECKPOINT_CUT); /* logged if it fails */
        commit_singly(s, first);
    }
    while (first != NULL) {
        struct pv_commit *c = first;
        first = c->next; /* done may free or reuse it */
        c->next = NULL;
        c->done(c);
    }
    if (pv_commit_log_bytes(s) > s->log_bytes_max)
        (void)!pv_commit_checkpoint(s); /* a failure is logged there, and loses nothing */
}

uint64_t pv_commit_log_bytes(const struct pv_store *s)
{
    return (uint64_t)s->writer->wal_frames * (PV_VFS_FRAME_HEADER_LEN + PV_VFS_PAGE_LEN);
}

enum pv_err pv_commit_checkpoint(struct pv_store *s)
{
    if (atomic_load(&s->broken))
        return PV_E_IO;
    bool too_long = pv_commit_log_bytes(s) > s->log_bytes_max;
    return pv_db_checkpoint(s->writer, too_long ? PV_CHECKPOINT_ALL : PV_CHECKPOINT_SOME);
}
