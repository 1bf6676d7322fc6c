/*
 * The rows of a commit. Runs inside the batch's transaction and one savepoint a commit; what is to
 * change in memory goes to b->effects, which the caller restores when it rolls back.
 */
#include "storage/commit_private.h"
#include "internal/base/mem.h"

#include <xxhash.h>

enum pv_err pv_blob_row(struct pv_db *db, const struct pv_id *id, struct pv_blob_row *out)
{
    *out = (struct pv_blob_row){0};
    struct pv_query q = pv_query(db, PV_SQL_BLOB_GET);
    pv_bind_id(&q, id);
    if (pv_query_row(&q)) {
        out->seq = pv_col_u64(&q, 0);
        out->kind = (uint8_t)pv_col_u64(&q, 2);
        out->held = pv_col_u64(&q, 3);
        out->home = (uint8_t)pv_col_u64(&q, 4);
        out->lease_until_ms = pv_col_u64(&q, 5);
    }
    return pv_query_end(&q);
}

/* ---- holders ---- */

static uint64_t bit_mask(uint64_t bit)
{
    return bit < PV_HOLDERS_MAX ? (uint64_t)1 << bit : 0;
}

/* 0: the node has no bit. */
static enum pv_err find_holder(struct pv_db *db, const struct pv_id *node_id, uint64_t *mask)
{
    *mask = 0;
    struct pv_query q = pv_query(db, PV_SQL_HOLDER_GET);
    pv_bind_id(&q, node_id);
    if (pv_query_row(&q))
        *mask = bit_mask(pv_col_u64(&q, 0));
    return pv_query_end(&q);
}

static enum pv_err add_holder(struct pv_db *db, const struct pv_id *node_id, uint64_t *mask)
{
    uint64_t bit = 0;
    struct pv_query q = pv_query(db, PV_SQL_HOLDER_NEXT);
    if (pv_query_row(&q))
        bit = pv_col_u64(&q, 0);
    enum pv_err err = pv_query_end(&q);
    if (err != PV_OK || bit >= PV_HOLDERS_MAX)
        return err == PV_OK ? PV_E_LIMIT : err;
    q = pv_query(db, PV_SQL_HOLDER_PUT);
    pv_bind_u64(&q, bit);
    pv_bind_id(&q, node_id);
    err = pv_query_finish(&q);
    *mask = bit_mask(bit);
    return err;
}

static enum pv_err holder(struct pv_db *db, const struct pv_id *node_id, uint64_t *mask)
{
    enum pv_err err = find_holder(db, node_id, mask);
    return err == PV_OK && *mask == 0 ? add_holder(db, node_id, mask) : err;
}

static enum pv_err set_held(struct pv_batch *b, struct pv_commit_op *op)
{
    struct pv_db *db = b->s->writer;
    uint64_t mask;
    enum pv_err err = op->u.held.held ? holder(db, &op->u.held.node_id, &mask)
                                      : find_holder(db, &op->u.held.node_id, &mask);
    if (err != PV_OK || mask == 0)
        return err;
    if (op->u.held.all) {
        struct pv_query q =
            pv_query(db, op->u.held.held ? PV_SQL_BLOB_HELD_ALL : PV_SQL_BLOB_UNHELD_ALL);
        pv_bind_u64(&q, mask);
        return pv_query_finish(&q);
    }
    for (size_t i = 0; i < op->u.held.count && err == PV_OK; i++) {
        struct pv_query q = pv_query(db, op->u.held.held ? PV_SQL_BLOB_HELD : PV_SQL_BLOB_UNHELD);
        pv_bind_id(&q, &op->u.held.ids[i]);
        pv_bind_u64(&q, mask);
        err = pv_query_finish(&q);
    }
    return err;
}

/* ---- blobs ---- */

/* What a use of a blob that is here tells of it. */
struct news {
    uint64_t held;
    uint8_t kind; /* 0: nothing */
};

static enum pv_err learn(struct pv_db *db, const struct pv_id *id, const struct pv_blob_row *row,
                         struct news news)
{
    if ((row->held & news.held) == news.held && (row->kind != 0 || news.kind == 0))
        return PV_OK;
    struct pv_query q = pv_query(db, PV_SQL_BLOB_LEARN);
    pv_bind_id(&q, id);
    pv_bind_u64(&q, news.held);
    pv_bind_u64(&q, news.kind);
    return pv_query_finish(&q);
}

/*
 * A blob that is used again may have been garbage, here and on the other holders, who sweep by
 * their own clocks: what they said of it then is worth nothing now. So it arrives anew, with a
 * fresh lease, a new seq, and no holders: the next walk offers it to them. While the lease is
 * fresh, theirs, which began later, is good for as long: nothing is to be done.
 */
static enum pv_err use_again(struct pv_batch *b, const struct pv_id *id, struct pv_blob_row *row,
                             struct news news)
{
    struct pv_db *db = b->s->writer;
    if (row->lease_until_ms > b->s->lease_floor_ms &&
        row->lease_until_ms >= b->now_ms + (uint64_t)PV_LEASE_FRESH_HOURS * 3600 * 1000)
        return learn(db, id, row, news);
    struct pv_query q = pv_query(db, PV_SQL_BLOB_AGAIN);
    pv_bind_id(&q, id);
    pv_bind_u64(&q, b->lease_until_ms);
    pv_bind_u64(&q, news.held);
    pv_bind_u64(&q, news.kind);
    enum pv_err err = pv_query_finish(&q);
    uint64_t seq = (uint64_t)sqlite3_last_insert_rowid(db->handle);
    if (err == PV_OK && row->home == PV_HOME_ROW) {
        q = pv_query(db, PV_SQL_SMALL_MOVE);
        pv_bind_u64(&q, row->seq);
        pv_bind_u64(&q, seq);
        err = pv_query_finish(&q);
    }
    row->seq = seq;
    return err;
}

static enum pv_err insert_blob(struct pv_batch *b, const struct pv_commit_op *op, uint8_t home,
                               uint64_t held)
{
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(op->u.blob.bytes, op->u.blob.len));
    struct pv_query q = pv_query(b->s->writer, PV_SQL_BLOB_PUT);
    pv_bind_id(&q, &op->u.blob.id);
    pv_bind_u64(&q, op->u.blob.len);
    pv_bind_u64(&q, home);
    pv_bind_u64(&q, op->u.blob.kind);
    pv_bind_u64(&q, b->lease_until_ms);
    pv_bind_u64(&q, held);
    pv_bind_blob(&q, sum.digest, sizeof sum.digest);
    enum pv_err err = pv_query_finish(&q);
    if (err == PV_OK) {
        b->effects.totals.blobs++;
        b->effects.totals.blob_bytes += op->u.blob.len;
        b->effects.totals.row_bytes += home == PV_HOME_ROW ? op->u.blob.len : 0;
    }
    return err;
}

static enum pv_err put_small(struct pv_db *db, uint64_t seq, const struct pv_commit_op *op)
{
    struct pv_query q = pv_query(db, PV_SQL_SMALL_PUT);
    pv_bind_u64(&q, seq);
    pv_bind_blob(&q, op->u.blob.bytes, op->u.blob.len);
    return pv_query_finish(&q);
}

static enum pv_err put_blob(struct pv_batch *b, struct pv_commit_op *op)
{
    struct pv_db *db = b->s->writer;
    struct pv_blob_row row;
    uint64_t held = 0;
    enum pv_err err = pv_blob_row(db, &op->u.blob.id, &row);
    if (err == PV_OK && op->u.blob.has_holder) {
        err = holder(db, &op->u.blob.holder, &held);
        if (err == PV_E_LIMIT)
            err = PV_OK; /* the blob counts, and its holder can be learnt again */
    }
    if (err != PV_OK)
        return err;
    bool present = row.home != 0;
    uint8_t home = present                             ? row.home
                   : op->u.blob.len < PV_BLOB_FILE_MIN ? PV_HOME_ROW
                                                       : PV_HOME_FILE;
    op->applied = !present || op->u.blob.replace;
    if (op->applied && home == PV_HOME_FILE && !op->u.blob.in_place) {
        const struct pv_blob_job *job = pv_batch_job(b, &op->u.blob.id);
        PV_ASSERT(job != NULL);
        if (job->err != PV_OK)
            return job->err;
        op->applied = !job->is_good;
    }
    err = present ? use_again(b, &op->u.blob.id, &row, (struct news){held, op->u.blob.kind})
                  : insert_blob(b, op, home, held);
    if (err == PV_OK && op->applied && home == PV_HOME_ROW) {
        if (!present)
            row.seq = (uint64_t)sqlite3_last_insert_rowid(db->handle);
        err = put_small(db, row.seq, op);
    }
    return err;
}

static enum pv_err renew_leases(struct pv_batch *b, struct pv_commit_op *op)
{
    enum pv_err err = PV_OK;
    for (size_t i = 0; i < op->u.lease.count && err == PV_OK; i++) {
        struct pv_blob_row row;
        err = pv_blob_row(b->s->writer, &op->u.lease.ids[i], &row);
        if (err == PV_OK && row.home == 0)
            err = PV_E_NOT_FOUND;
        uint64_t seq = row.seq;
        if (err == PV_OK)
            err = use_again(b, &op->u.lease.ids[i], &row, (struct news){0, 0});
        op->applied |= err == PV_OK && row.seq != seq;
    }
    return err;
}

/* ---- records ---- */

static enum pv_err change_digest(struct pv_batch *b, const struct pv_id *hash, int by)
{
    if (b->effects.digest_count == b->digest_cap) {
        size_t cap = b->digest_cap == 0 ? 64 : b->digest_cap * 2;
        struct pv_digest_op *grown = pv_realloc(b->digest_ops, cap * sizeof *grown);
        if (grown == NULL)
            return PV_E_NOMEM;
        b->digest_ops = grown;
        b->digest_cap = cap;
    }
    b->digest_ops[b->effects.digest_count++] = (struct pv_digest_op){*hash, by};
    return PV_OK;
}

static enum pv_err keep_history(struct pv_db *db, const struct pv_record *rec, const uint8_t *env,
                                size_t len)
{
    struct pv_query q = pv_query(db, PV_SQL_HISTORY_HAS);
    pv_bind_id(&q, &rec->rid);
    pv_bind_id(&q, &rec->hash);
    bool known = pv_query_row(&q);
    enum pv_err err = pv_query_end(&q);
    if (err != PV_OK || known)
        return err;
    q = pv_query(db, PV_SQL_HISTORY_PUT);
    pv_bind_id(&q, &rec->rid);
    pv_bind_id(&q, &rec->hash);
    pv_bind_u64(&q, rec->hlc);
    pv_bind_blob(&q, env, len);
    err = pv_query_finish(&q);
    if (err != PV_OK)
        return err;
    q = pv_query(db, PV_SQL_HISTORY_TRIM);
    pv_bind_id(&q, &rec->rid);
    pv_bind_u64(&q, PV_HISTORY_MAX);
    return pv_query_finish(&q);
}

/* The current record of a register; buf holds its envelope, NULL: there is none. */
struct current {
    uint64_t seq;
    bool pending;
    uint8_t *buf;
    size_t len;
    struct pv_record rec;
};

static enum pv_err load_current(struct pv_db *db, const struct pv_id *rid, struct current *out)
{
    struct pv_query q = pv_query(db, PV_SQL_RECORD_GET);
    pv_bind_id(&q, rid);
    if (pv_query_row(&q)) {
        const uint8_t *bytes = pv_col_blob(&q, 3, &out->len);
        out->seq = pv_col_u64(&q, 0);
        out->pending = pv_col_u64(&q, 2) != 0;
        if (bytes != NULL && (out->buf = pv_memdup(bytes, out->len)) == NULL)
            q.err = PV_E_NOMEM;
        if (bytes == NULL && q.err == PV_OK)
            q.err = PV_E_CORRUPT;
    }
    enum pv_err err = pv_query_end(&q);
    if (err == PV_OK && out->buf != NULL && pv_record_parse(&out->rec, out->buf, out->len) != PV_OK)
        err = PV_E_CORRUPT;
    return err;
}

static enum pv_err drop_history(struct pv_db *db, const struct pv_id *rid)
{
    struct pv_query q = pv_query(db, PV_SQL_HISTORY_DELETE);
    pv_bind_id(&q, rid);
    return pv_query_finish(&q);
}

static enum pv_err remove_current(struct pv_batch *b, const struct current *old)
{
    struct pv_query q = pv_query(b->s->writer, PV_SQL_RECORD_DELETE);
    pv_bind_u64(&q, old->seq);
    enum pv_err err = pv_query_finish(&q);
    if (err == PV_OK && !old->pending)
        err = change_digest(b, &old->rec.hash, -1);
    pv_totals_count_record(&b->effects.totals, old->rec.type, old->rec.flags, old->pending, -1);
    if (err == PV_OK && old->rec.type == PV_RECORD_NAME)
        err = keep_history(b->s->writer, &old->rec, old->buf, old->len);
    return err;
}

static enum pv_err insert_record(struct pv_batch *b, const struct pv_commit_op *op,
                                 const struct pv_record *rec)
{
    bool live = (rec->flags & PV_RECORD_TOMBSTONE) == 0;
    struct pv_query q = pv_query(b->s->writer, PV_SQL_RECORD_PUT);
    pv_bind_id(&q, &rec->rid);
    pv_bind_id(&q, &rec->hash);
    pv_bind_u64(&q, rec->type);
    pv_bind_u64(&q, rec->hlc);
    pv_bind_u64(&q, rec->flags);
    pv_bind_u64(&q, op->u.record.pending);
    if (live && op->u.record.has_link)
        pv_bind_id(&q, &op->u.record.link_file_rid);
    else
        pv_bind_null(&q);
    if (live && op->u.record.has_prefix)
        pv_bind_u64(&q, op->u.record.prefix_tag);
    else
        pv_bind_null(&q);
    pv_bind_blob(&q, op->u.record.env, op->u.record.len);
    enum pv_err err = pv_query_finish(&q);
    if (err == PV_OK && !op->u.record.pending)
        err = change_digest(b, &rec->hash, 1);
    pv_totals_count_record(&b->effects.totals, rec->type, rec->flags, op->u.record.pending, 1);
    return err;
}

static bool is_expected(const struct pv_commit_op *op, const struct current *old)
{
    static const struct pv_id none;
    const struct pv_id *expected = op->u.record.expected;
    return expected == NULL || pv_id_equal(expected, old->buf != NULL ? &old->rec.hash : &none);
}

/* A tombstone without its file's bytes takes the place of the one with them, at the same clock. */
static bool is_twin(const struct pv_record *a, const struct pv_record *b)
{
    bool buried = (a->flags & b->flags & PV_RECORD_TOMBSTONE) != 0;
    return a->hlc == b->hlc && memcmp(a->author, b->author, PV_PUB_LEN) == 0 && !buried;
}

static enum pv_err put_record(struct pv_batch *b, struct pv_commit_op *op)
{
    struct pv_record rec;
    struct current old = {.buf = NULL};
    enum pv_err err = pv_record_parse(&rec, op->u.record.env, op->u.record.len);
    if (err != PV_OK)
        return err;
    err = load_current(b->s->writer, &rec.rid, &old);
    if (err != PV_OK)
        goto out;
    if (rec.hlc > b->effects.hlc)
        b->effects.hlc = rec.hlc;
    if (old.buf != NULL && pv_id_equal(&rec.hash, &old.rec.hash))
        goto out;
    op->u.record.is_twin = old.buf != NULL && is_twin(&rec, &old.rec);
    if (!is_expected(op, &old))
        goto out; /* nobody's version: it was not to be written then */
    if (old.buf != NULL && pv_record_cmp(&rec, &old.rec) <= 0) {
        if (rec.type == PV_RECORD_NAME)
            err = keep_history(b->s->writer, &rec, op->u.record.env, op->u.record.len);
        goto out;
    }
    if (old.buf != NULL)
        err = remove_current(b, &old);
    if (err == PV_OK)
        err = op->u.record.expired ? drop_history(b->s->writer, &rec.rid)
                                   : insert_record(b, op, &rec);
    op->applied = err == PV_OK && (old.buf != NULL || !op->u.record.expired);
out:
    pv_free(old.buf);
    return err;
}

static enum pv_err forget(struct pv_batch *b, struct pv_commit_op *op)
{
    enum pv_err err = PV_OK;
    op->u.forget.forgotten = 0;
    for (size_t i = 0; i < op->u.forget.count && err == PV_OK; i++) {
        struct current old = {.buf = NULL};
        err = load_current(b->s->writer, &op->u.forget.records[i].rid, &old);
        if (err == PV_OK && old.buf != NULL && !old.pending &&
            pv_id_equal(&old.rec.hash, &op->u.forget.records[i].hash)) {
            err = remove_current(b, &old);
            if (err == PV_OK && !op->u.forget.keep_history)
                err = drop_history(b->s->writer, &old.rec.rid);
            op->u.forget.forgotten++;
        }
        pv_free(old.buf);
    }
    op->applied = err == PV_OK && op->u.forget.forgotten > 0;
    return err;
}

static enum pv_err publish(struct pv_batch *b, struct pv_commit_op *op)
{
    struct pv_query q = pv_query(b->s->writer, PV_SQL_RECORD_PUBLISH);
    pv_bind_id(&q, &op->u.publish.rid);
    pv_bind_id(&q, &op->u.publish.hash);
    pv_query_row(&q);
    op->applied = pv_query_changes(&q) > 0;
    enum pv_err err = pv_query_end(&q);
    if (err != PV_OK || !op->applied)
        return err;
    b->effects.totals.pending--;
    return change_digest(b, &op->u.publish.hash, 1);
}

/* ---- */

static enum pv_err put_meta(struct pv_batch *b, const struct pv_commit_op *op)
{
    struct pv_query q = pv_query(b->s->writer, PV_SQL_META_PUT);
    pv_bind_text(&q, op->u.meta.key);
    pv_bind_blob(&q, op->u.meta.value, op->u.meta.len);
    return pv_query_finish(&q);
}

enum pv_err pv_commit_ops(struct pv_batch *b, struct pv_commit *c)
{
    enum pv_err err = PV_OK;
    for (size_t i = 0; i < c->count && err == PV_OK; i++) {
        struct pv_commit_op *op = &c->ops[i];
        switch (op->type) {
        case PV_COMMIT_BLOB:
            err = put_blob(b, op);
            break;
        case PV_COMMIT_RECORD:
            err = put_record(b, op);
            break;
        case PV_COMMIT_PUBLISH:
            err = publish(b, op);
            break;
        case PV_COMMIT_FORGET:
            err = forget(b, op);
            break;
        case PV_COMMIT_HELD:
            err = set_held(b, op);
            break;
        case PV_COMMIT_LEASE:
            err = renew_leases(b, op);
            break;
        case PV_COMMIT_SWEEP:
            err = pv_sweep_rows(b, op);
            break;
        case PV_COMMIT_EXPIRE:
            atomic_store(&b->s->lease_floor_ms, b->lease_until_ms++);
            break;
        case PV_COMMIT_SHRINK:
            err = pv_shrink(b, op);
            break;
        case PV_COMMIT_META:
            err = put_meta(b, op);
            break;
        case PV_COMMIT_BAD: /* done before the plan */
            break;
        case PV_COMMIT_UNKNOWN: /* after the transaction, when rows of this batch can be seen */
            break;
        }
    }
    return err;
}
