/*
 * Bad blobs leave: the bytes to quarantine/, durably, and then the row.
 *
 *   look again (nobody else writes now)  ->  rename, sync both folders  ->  delete the row
 *
 * The other way round than deleting, because nothing is deleted: a crash in between leaves a row
 * without its file, which is damage, as it was before. This comes before the plan of the batch and
 * in transactions of its own, so that a blob that comes in the same batch finds its place free.
 */
#include "storage/check_private.h"
#include "storage/commit_private.h"
#include "crypto/blob.h"
#include "internal/base/mem.h"

#include <stdio.h>

enum { SAME_NAME_MAX = 100 }; /* of one blob in quarantine/; then the last is written over */

enum { QUARANTINE_PATH_LEN = sizeof "quarantine/" + PV_ID_HEX_LEN + sizeof ".99" };

static enum pv_err sync_folder(struct pv_store *s, const char *path)
{
    const struct pv_fs *fs = s->config.vault->fs;
    pv_fd fd;
    enum pv_err err =
        fs->open(fs->ctx, s->config.vault->dir, path, PV_FS_READ | PV_FS_DIRECTORY, &fd);
    if (err != PV_OK)
        return err;
    err = fs->sync(fs->ctx, fd);
    if (err != PV_OK)
        pv_store_fatal(s, "sync folder", err);
    (void)fs->close(fs->ctx, fd); /* only synced */
    return err;
}

static void quarantine_path(struct pv_store *s, char out[static QUARANTINE_PATH_LEN],
                            const struct pv_id *id)
{
    const struct pv_fs *fs = s->config.vault->fs;
    struct pv_fs_stat st;
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, id);
    (void)snprintf(out, QUARANTINE_PATH_LEN, "quarantine/%s", hex);
    for (unsigned i = 1; i < SAME_NAME_MAX; i++) {
        if (fs->stat_at(fs->ctx, s->config.vault->dir, out, &st) != PV_OK)
            return; /* free, or the rename will tell what is wrong */
        (void)snprintf(out, QUARANTINE_PATH_LEN, "quarantine/%s.%u", hex, i);
    }
}

enum pv_err pv_quarantine(struct pv_store *s, const struct pv_id *id)
{
    const struct pv_fs *fs = s->config.vault->fs;
    pv_fd dir = s->config.vault->dir;
    char from[PV_BLOB_PATH_LEN + 1], to[QUARANTINE_PATH_LEN], folder[sizeof "blobs/00"];
    pv_blob_path(from, id);
    quarantine_path(s, to, id);
    enum pv_err err = fs->rename(fs->ctx, dir, from, dir, to);
    if (err == PV_E_NOT_FOUND)
        return PV_OK;
    if (err == PV_OK)
        err = sync_folder(s, "quarantine");
    (void)snprintf(folder, sizeof folder, "blobs/%02x", id->b[0]);
    return err == PV_OK ? sync_folder(s, folder) : err;
}

/* A small blob's bytes as a file, for whoever wants to know what became of them. */
static enum pv_err keep_bytes(struct pv_store *s, const struct pv_id *id,
                              const struct pv_check_bytes *bytes)
{
    const struct pv_fs *fs = s->config.vault->fs;
    pv_fd fd, dir = s->config.vault->dir;
    char from[PV_TEMP_PATH_LEN + 1], to[QUARANTINE_PATH_LEN];
    quarantine_path(s, to, id);
    (void)snprintf(from, sizeof from, "tmp/%016llx", (unsigned long long)s->temp_count++);
    enum pv_err err =
        fs->open(fs->ctx, dir, from, PV_FS_WRITE | PV_FS_CREATE | PV_FS_EXCLUSIVE, &fd);
    if (err != PV_OK)
        return err;
    err = fs->write(fs->ctx, fd, bytes->at, bytes->len, 0);
    if (err == PV_OK) {
        err = fs->sync(fs->ctx, fd);
        if (err != PV_OK)
            pv_store_fatal(s, "sync quarantined bytes", err);
    }
    (void)fs->close(fs->ctx, fd); /* synced, or of no use */
    if (err == PV_OK)
        err = fs->rename(fs->ctx, dir, from, dir, to);
    if (err == PV_OK)
        err = sync_folder(s, "quarantine");
    else
        (void)fs->unlink(fs->ctx, dir, from); /* tmp/ is emptied at the next opening anyway */
    return err;
}

/* ---- the row ---- */

static enum pv_err change_rows(struct pv_store *s, const struct pv_check_row *row,
                               const struct pv_check_bytes *bytes, bool only_sum)
{
    struct pv_query q = pv_query(s->writer, only_sum ? PV_SQL_BLOB_SUM : PV_SQL_BLOB_DELETE);
    uint8_t sum[PV_SUM_LEN];
    pv_bind_u64(&q, row->info.seq);
    if (only_sum) {
        pv_check_sum(sum, bytes->at, bytes->len);
        pv_bind_blob(&q, sum, sizeof sum);
    }
    enum pv_err err = pv_query_finish(&q);
    /* Bytes on a page that fails its sum cannot be deleted; without a row they are nobody's. */
    if (err == PV_OK && !only_sum && bytes->known) {
        q = pv_query(s->writer, PV_SQL_SMALL_DELETE);
        pv_bind_u64(&q, row->info.seq);
        err = pv_query_finish(&q);
    }
    return err == PV_OK ? pv_store_put_own(s, s->hlc) : err;
}

static enum pv_err change(struct pv_store *s, const struct pv_check_row *row,
                          const struct pv_check_bytes *bytes, bool only_sum)
{
    struct pv_db *db = s->writer;
    pthread_mutex_lock(&s->placing_mutex);
    enum pv_err err = pv_db_run(db, PV_SQL_BEGIN_WRITE);
    if (err == PV_OK)
        err = change_rows(s, row, bytes, only_sum);
    if (err == PV_OK)
        err = pv_db_run(db, PV_SQL_COMMIT);
    if (err != PV_OK && !sqlite3_get_autocommit(db->handle) &&
        pv_db_run(db, PV_SQL_ROLLBACK) != PV_OK)
        pv_store_fatal(s, "roll back", err);
    if (err == PV_OK) {
        s->counted = true;
        pthread_mutex_lock(&s->state_mutex);
        s->totals.blobs -= !only_sum;
        s->totals.blob_bytes -= only_sum ? 0 : row->info.size;
        pthread_mutex_unlock(&s->state_mutex);
    }
    pthread_mutex_unlock(&s->placing_mutex);
    return err;
}

/* ---- the operation ---- */

static enum pv_err settle(struct pv_store *s, struct pv_commit_op *op, struct pv_check_bytes *bytes)
{
    struct pv_check_row row;
    enum pv_check_result result;
    enum pv_err err = pv_check_find(s->writer, &op->u.bad.id, &row);
    if (err == PV_OK)
        err = pv_check_one(s, s->writer, &row, PV_CHECK_EVERY_BYTE, bytes, &result);
    if (err != PV_OK) {
        op->u.bad.gone = err == PV_E_NOT_FOUND;
        return op->u.bad.gone ? PV_OK : err;
    }
    op->u.bad.result = (uint8_t)result;
    if (result == PV_CHECK_GOOD || result == PV_CHECK_UNREADABLE)
        return PV_OK;
    if (result == PV_CHECK_BAD_SUM)
        return change(s, &row, bytes, true);
    if (row.home != PV_HOME_ROW)
        err = pv_quarantine(s, &row.info.id);
    else if (bytes->known)
        err = keep_bytes(s, &row.info.id, bytes);
    if (err == PV_OK)
        err = change(s, &row, bytes, false);
    op->u.bad.gone = err == PV_OK;
    PV_LOG(s->config.env->log, PV_LOG_ERROR, PV_SUB_STORE,
           err == PV_OK ? "a bad blob went to quarantine" : "a bad blob stays", "blob",
           pv_log_id(row.info.id.b), "cause",
           err == PV_OK ? pv_check_text(result) : pv_err_text(err));
    return err;
}

void pv_commit_bad(struct pv_store *s, struct pv_commit *first)
{
    struct pv_check_bytes bytes = {.at = NULL};
    for (struct pv_commit *c = first; c != NULL; c = c->next) {
        for (size_t i = 0; i < c->count; i++) {
            struct pv_commit_op *op = &c->ops[i];
            if (op->type != PV_COMMIT_BAD)
                continue;
            if (bytes.at == NULL)
                bytes.at = pv_malloc(PV_BLOB_LEN_MAX);
            op->u.bad.gone = false;
            op->u.bad.result = PV_CHECK_GOOD;
            op->u.bad.err = bytes.at == NULL          ? PV_E_NOMEM
                            : atomic_load(&s->broken) ? PV_E_IO
                                                      : settle(s, op, &bytes);
        }
    }
    pv_free(bytes.at);
}
