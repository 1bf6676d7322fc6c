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
#include "internal/base/sometimes.h"

#include <stdio.h>

enum { SAME_NAME_MAX = 100 }; /* of one blob in quarantine/; then the last is written over */

enum { QUARANTINE_PATH_LEN = sizeof "quarantine/" + PV_ID_HEX_LEN + sizeof ".99" };

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
        err = pv_sync_folder(s, "quarantine");
    (void)snprintf(folder, sizeof folder, "blobs/%02x", id->b[0]);
    return err == PV_OK ? pv_sync_folder(s, folder) : err;
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
        err = pv_sync_folder(s, "quarantine");
    else
        (void)fs->unlink(fs->ctx, dir, from); /* tmp/ is emptied at the next opening anyway */
    return err;
}

/* ---- the list of lost blobs ---- */

struct lost {
    struct pv_id ids[PV_LOST_MAX + 1];
    size_t count;
};

static enum pv_err load_lost(struct pv_store *s, struct lost *l)
{
    size_t len = 0;
    struct pv_query q = pv_query(s->writer, PV_SQL_META_GET);
    pv_bind_text(&q, PV_META_LOST);
    l->count = 0;
    if (pv_query_row(&q)) {
        const uint8_t *ids = pv_col_blob(&q, 0, &len);
        l->count = len / PV_ID_LEN < PV_LOST_MAX ? len / PV_ID_LEN : PV_LOST_MAX;
        if (ids != NULL && l->count > 0)
            memcpy(l->ids, ids, l->count * PV_ID_LEN);
    }
    return pv_query_end(&q);
}

/* Without those that came back meanwhile, and without id. */
static enum pv_err drop_found(struct pv_store *s, struct lost *l, const struct pv_id *id)
{
    size_t kept = 0;
    enum pv_err err = PV_OK;
    for (size_t i = 0; i < l->count && err == PV_OK; i++) {
        struct pv_check_row row;
        err = pv_check_find(s->writer, &l->ids[i], &row);
        bool found = err == PV_OK;
        err = err == PV_E_NOT_FOUND ? PV_OK : err;
        if (!found && !pv_id_equal(&l->ids[i], id))
            l->ids[kept++] = l->ids[i];
    }
    l->count = kept;
    return err;
}

/* Adds id, or takes it off, as part of the caller's transaction. */
static enum pv_err change_lost(struct pv_store *s, const struct pv_id *id, bool add)
{
    struct lost *l = pv_malloc(sizeof *l);
    if (l == NULL)
        return PV_E_NOMEM;
    enum pv_err err = load_lost(s, l);
    if (err == PV_OK)
        err = drop_found(s, l, id);
    if (err == PV_OK && add)
        l->ids[l->count++] = *id;
    if (err == PV_OK) {
        size_t first = l->count > PV_LOST_MAX; /* the oldest is not told of any more */
        struct pv_query q = pv_query(s->writer, PV_SQL_META_PUT);
        pv_bind_text(&q, PV_META_LOST);
        pv_bind_blob(&q, l->ids + first, (l->count - first) * PV_ID_LEN);
        err = pv_query_finish(&q);
    }
    pv_free(l);
    return err;
}

/* ---- the row ---- */

enum change { DELETE_ROW, CORRECT_SUM, CALL_LOST, CALL_NEEDLESS };

static enum pv_err delete_row(struct pv_store *s, const struct pv_check_row *row,
                              const struct pv_check_bytes *bytes)
{
    struct pv_query q = pv_query(s->writer, PV_SQL_BLOB_DELETE);
    pv_bind_u64(&q, row->info.seq);
    enum pv_err err = pv_query_finish(&q);
    /* Bytes on a page that fails its sum cannot be deleted; without a row they are nobody's. */
    if (err == PV_OK && bytes->known) {
        q = pv_query(s->writer, PV_SQL_SMALL_DELETE);
        pv_bind_u64(&q, row->info.seq);
        err = pv_query_finish(&q);
    }
    return err == PV_OK ? change_lost(s, &row->info.id, true) : err;
}

static enum pv_err correct_sum(struct pv_store *s, const struct pv_check_row *row,
                               const struct pv_check_bytes *bytes)
{
    uint8_t sum[PV_SUM_LEN];
    struct pv_query q = pv_query(s->writer, PV_SQL_BLOB_SUM);
    pv_check_sum(sum, bytes->at, bytes->len);
    pv_bind_u64(&q, row->info.seq);
    pv_bind_blob(&q, sum, sizeof sum);
    return pv_query_finish(&q);
}

static enum pv_err change_rows(struct pv_store *s, enum change what, const struct pv_check_row *row,
                               const struct pv_check_bytes *bytes)
{
    enum pv_err err;
    if (what == DELETE_ROW)
        err = delete_row(s, row, bytes);
    else if (what == CORRECT_SUM)
        err = correct_sum(s, row, bytes);
    else
        err = change_lost(s, &row->info.id, what == CALL_LOST);
    return err == PV_OK ? pv_store_put_own(s, s->hlc) : err;
}

static enum pv_err change(struct pv_store *s, enum change what, const struct pv_check_row *row,
                          const struct pv_check_bytes *bytes)
{
    struct pv_db *db = s->writer;
    pthread_mutex_lock(&s->placing_mutex);
    enum pv_err err = pv_db_run(db, PV_SQL_BEGIN_WRITE);
    if (err == PV_OK)
        err = change_rows(s, what, row, bytes);
    if (err == PV_OK)
        err = pv_db_run(db, PV_SQL_COMMIT);
    if (err != PV_OK && !sqlite3_get_autocommit(db->handle) &&
        pv_db_run(db, PV_SQL_ROLLBACK) != PV_OK)
        pv_store_fatal(s, "roll back", err);
    if (err == PV_OK) {
        s->counted = true;
        pthread_mutex_lock(&s->state_mutex);
        s->totals.blobs -= what == DELETE_ROW;
        s->totals.blob_bytes -= what == DELETE_ROW ? row->info.size : 0;
        if (what == DELETE_ROW && row->home == PV_HOME_ROW)
            s->totals.row_bytes -= row->info.size;
        pthread_mutex_unlock(&s->state_mutex);
    }
    pthread_mutex_unlock(&s->placing_mutex);
    return err;
}

/* ---- the operation ---- */

static enum pv_err remove_bad(struct pv_store *s, const struct pv_check_row *row,
                              enum pv_check_result result, const struct pv_check_bytes *bytes)
{
    enum pv_err err = PV_OK;
    if (row->home != PV_HOME_ROW)
        err = pv_quarantine(s, &row->info.id);
    else if (bytes->known)
        err = keep_bytes(s, &row->info.id, bytes);
    if (err == PV_OK)
        err = change(s, DELETE_ROW, row, bytes);
    PV_SOMETIMES("store: a bad blob goes to quarantine");
    PV_LOG(s->config.env->log, PV_LOG_ERROR, PV_SUB_STORE,
           err == PV_OK ? "a bad blob went to quarantine" : "a bad blob stays", "blob",
           pv_log_id(row->info.id.b), "cause",
           err == PV_OK ? pv_check_text(result) : pv_err_text(err));
    return err;
}

static enum pv_err not_here(struct pv_store *s, struct pv_commit_op *op)
{
    struct pv_check_row row = {.info.id = op->u.bad.id};
    op->u.bad.gone = true;
    if (op->u.bad.why == PV_BAD_FOUND)
        return PV_OK;
    return change(s, op->u.bad.why == PV_BAD_WANTED ? CALL_LOST : CALL_NEEDLESS, &row, NULL);
}

static enum pv_err settle(struct pv_store *s, struct pv_commit_op *op, struct pv_check_bytes *bytes)
{
    struct pv_check_row row;
    enum pv_check_result result;
    enum pv_err err = pv_check_find(s->writer, &op->u.bad.id, &row);
    if (err == PV_E_NOT_FOUND)
        return not_here(s, op);
    if (err != PV_OK || op->u.bad.why == PV_BAD_NEEDLESS)
        return err;
    err = pv_check_one(s, s->writer, &row, PV_CHECK_EVERY_BYTE, bytes, &result);
    if (err != PV_OK)
        return err;
    op->u.bad.here = true;
    op->u.bad.kind = row.info.kind;
    op->u.bad.size = row.info.size;
    op->u.bad.result = (uint8_t)result;
    if (result == PV_CHECK_GOOD || result == PV_CHECK_UNREADABLE)
        return PV_OK;
    if (result == PV_CHECK_BAD_SUM)
        return change(s, CORRECT_SUM, &row, bytes);
    err = remove_bad(s, &row, result, bytes);
    op->u.bad.gone = err == PV_OK;
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
            op->u.bad.here = op->u.bad.gone = false;
            op->u.bad.result = PV_CHECK_GOOD;
            op->u.bad.err = bytes.at == NULL          ? PV_E_NOMEM
                            : atomic_load(&s->broken) ? PV_E_IO
                                                      : settle(s, op, &bytes);
        }
    }
    pv_free(bytes.at);
}
