/*
 * The garbage collector's part of a batch: blobs, and the room in vault.db. Rows go first, durably,
 * and then the files: a crash between the two leaves unknown files, no more than PV_SWEEP_MAX of
 * them.
 *
 * Whether a blob is reachable was judged before, by reading. What may have changed since is judged
 * here, where nothing else writes: a file record that came later, a lease that was given later.
 */
#include "storage/commit_private.h"
#include "internal/base/mem.h"

enum { FREE_PAGES_KEPT = 1024 }; /* for what comes next; beyond, vault.db shrinks */

static enum pv_err is_mark_complete(struct pv_db *db, uint64_t record_seq)
{
    struct pv_query q = pv_query(db, PV_SQL_RECORD_FILE_AFTER);
    pv_bind_u64(&q, record_seq);
    bool found = pv_query_row(&q);
    enum pv_err err = pv_query_end(&q);
    return err == PV_OK && found ? PV_E_BUSY : err;
}

static enum pv_err remember_file(struct pv_batch *b, const struct pv_id *id)
{
    if (b->effects.swept_count == b->swept_cap) {
        size_t cap = b->swept_cap == 0 ? PV_SWEEP_MAX : b->swept_cap * 2;
        struct pv_id *grown = pv_realloc(b->swept, cap * sizeof *grown);
        if (grown == NULL)
            return PV_E_NOMEM;
        b->swept = grown;
        b->swept_cap = cap;
    }
    b->swept[b->effects.swept_count++] = *id;
    return PV_OK;
}

static enum pv_err sweep_row(struct pv_batch *b, struct pv_commit_op *op, const struct pv_id *id)
{
    struct pv_db *db = b->s->writer;
    uint64_t floor_ms = atomic_load(&b->s->lease_floor_ms), seq = 0, size = 0, home = 0;
    struct pv_query q = pv_query(db, PV_SQL_BLOB_SWEEP);
    pv_bind_id(&q, id);
    pv_bind_u64(&q, b->now_ms > floor_ms ? b->now_ms : floor_ms);
    bool gone = pv_query_row(&q);
    if (gone) {
        seq = pv_col_u64(&q, 0);
        size = pv_col_u64(&q, 1);
        home = pv_col_u64(&q, 2);
    }
    enum pv_err err = pv_query_finish(&q);
    if (err != PV_OK || !gone)
        return err;
    b->effects.totals.blobs--;
    b->effects.totals.blob_bytes -= size;
    b->effects.totals.row_bytes -= home == PV_HOME_ROW ? size : 0;
    op->u.sweep.swept++;
    op->u.sweep.swept_bytes += size;
    if (home == PV_HOME_FILE)
        return remember_file(b, id);
    q = pv_query(db, PV_SQL_SMALL_DELETE);
    pv_bind_u64(&q, seq);
    return pv_query_finish(&q);
}

enum pv_err pv_shrink(struct pv_batch *b, struct pv_commit_op *op)
{
    struct pv_db *db = b->s->writer;
    uint64_t pages = 0;
    struct pv_query q = pv_query(db, PV_SQL_FREE_PAGES);
    if (pv_query_row(&q))
        pages = pv_col_u64(&q, 0);
    enum pv_err err = pv_query_finish(&q);
    op->applied = err == PV_OK && pages > FREE_PAGES_KEPT;
    return op->applied ? pv_db_run(db, PV_SQL_VACUUM_SOME) : err;
}

enum pv_err pv_sweep_rows(struct pv_batch *b, struct pv_commit_op *op)
{
    op->u.sweep.swept = 0;
    op->u.sweep.swept_bytes = 0;
    enum pv_err err = is_mark_complete(b->s->writer, op->u.sweep.record_seq);
    for (size_t i = 0; i < op->u.sweep.count && err == PV_OK; i++)
        err = sweep_row(b, op, &op->u.sweep.ids[i]);
    op->applied = err == PV_OK && op->u.sweep.swept > 0;
    return err;
}

void pv_sweep_files(struct pv_batch *b)
{
    for (size_t i = 0; i < b->effects.swept_count; i++) {
        char path[PV_BLOB_PATH_LEN + 1];
        pv_blob_path(path, &b->swept[i]);
        pv_unlink_logged(b->s, path);
    }
}
