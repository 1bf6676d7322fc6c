/*
 * The plan of a batch: which blobs become files, and which commits there is room for.
 *
 * Room: every byte that a row adds is written twice, to the log now and to vault.db when the log is
 * moved there, and what waits in the log will still need its second place. So the log's length
 * counts as taken, and what is left must be more than the reserve. That is kept in two halves:
 * blobs are refused first, then whatever else a user adds; the last half is for deletions and for
 * what the vault says of itself. When room is short the log is moved and cut once, which may make
 * some. Of inodes, each new blob file needs one and leaves the reserve; rows need none.
 */
#include "storage/check_private.h"
#include "storage/commit_private.h"
#include "crypto/blob.h"
#include "internal/base/mem.h"
#include "internal/base/rd.h"

enum {
    EMPTY_DB_LEN = 1 << 20,
    DISK_BLOCK_LEN = 4096,
    ROW_OVERHEAD_LEN = 1024,
    RECORD_FLAGS_OFFSET = 6
};

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

/* ---- room ---- */

static uint64_t file_cost(size_t len)
{
    return ((uint64_t)len + DISK_BLOCK_LEN - 1) / DISK_BLOCK_LEN * DISK_BLOCK_LEN;
}

static uint64_t row_cost(size_t len)
{
    return 2 * file_cost(len + ROW_OVERHEAD_LEN);
}

static uint64_t a_20th(uint64_t total, uint64_t max)
{
    return total / 20 < max ? total / 20 : max;
}

/* What is to stay free. */
static struct pv_fs_space reserve_of(const struct pv_store_config *config,
                                     const struct pv_fs_space *space)
{
    uint64_t bytes = a_20th(space->total_bytes, (uint64_t)PV_RESERVE_MIB << 20);
    return (struct pv_fs_space){
        .free_bytes = config->reserve_bytes == UINT64_MAX ? bytes : config->reserve_bytes,
        .free_files = a_20th(space->total_files, PV_RESERVE_FILES),
    };
}

static enum pv_err look_at_disk(const struct pv_store *s, struct pv_fs_space *space,
                                struct pv_fs_space *reserve)
{
    const struct pv_vault *vault = s->config.vault;
    enum pv_err err = vault->fs->space(vault->fs->ctx, vault->dir, space);
    if (err == PV_OK)
        *reserve = reserve_of(&s->config, space);
    return err;
}

static enum pv_err number_of(struct pv_store *s, enum pv_sql sql, uint64_t *out)
{
    struct pv_query q = pv_query(s->writer, sql);
    if (pv_query_row(&q))
        *out = pv_col_u64(&q, 0);
    return pv_query_end(&q);
}

enum pv_err pv_store_learn_record_bytes(struct pv_store *s)
{
    uint64_t pages = 0, empty = 0, beside = s->totals.row_bytes + EMPTY_DB_LEN;
    enum pv_err err = number_of(s, PV_SQL_PAGES, &pages);
    if (err == PV_OK)
        err = number_of(s, PV_SQL_FREE_PAGES, &empty);
    uint64_t bytes = (pages - empty) * PV_VFS_PAGE_LEN;
    if (err == PV_OK)
        atomic_store(&s->record_bytes, bytes > beside ? bytes - beside : 0);
    return err;
}

static enum pv_err learn_space(struct pv_batch *b)
{
    if (b->space_known)
        return PV_OK;
    enum pv_err err = look_at_disk(b->s, &b->space, &b->reserve);
    if (err == PV_OK)
        err = pv_store_learn_record_bytes(b->s);
    b->space_known = err == PV_OK;
    return err;
}

/* Whether the batch fits and leaves so much of the reserve. */
static bool has_room(const struct pv_batch *b, uint64_t keep)
{
    bool has_files = b->job_count == 0 || b->space.total_files == 0 ||
                     b->space.free_files >= b->reserve.free_files + b->job_count;
    return has_files && b->space.free_bytes >= keep &&
           b->space.free_bytes - keep >= b->cost_bytes + pv_commit_log_bytes(b->s);
}

enum pv_err pv_store_room_beside(struct pv_store *s, uint64_t len)
{
    struct pv_fs_space space, reserve;
    enum pv_err err = look_at_disk(s, &space, &reserve);
    if (err != PV_OK)
        return err;
    return space.free_bytes >= reserve.free_bytes / 2 + file_cost(len) ? PV_OK : PV_E_NOSPACE;
}

enum pv_err pv_store_room(struct pv_store *s)
{
    struct pv_fs_space space, reserve;
    enum pv_err err = look_at_disk(s, &space, &reserve);
    if (err != PV_OK)
        return err;
    pthread_mutex_lock(&s->state_mutex);
    uint64_t used = s->totals.blob_bytes + atomic_load(&s->record_bytes);
    pthread_mutex_unlock(&s->state_mutex);
    uint64_t limit = atomic_load(&s->disk_limit);
    bool has_files = space.total_files == 0 || space.free_files > reserve.free_files;
    bool has_bytes = space.free_bytes >= reserve.free_bytes + file_cost(PV_BLOB_LEN_MAX) &&
                     (limit == PV_DISK_LIMIT_NONE || used + PV_BLOB_LEN_MAX <= limit);
    return has_files && has_bytes ? PV_OK : PV_E_NOSPACE;
}

/* New blobs must fit. Records are refused when it is them that took too much: else a limit that was
 * lowered would cut a node off from what its cluster knows. */
static bool is_over_limit(const struct pv_batch *b)
{
    uint64_t limit = atomic_load(&b->s->disk_limit), records = atomic_load(&b->s->record_bytes);
    uint64_t used = b->s->totals.blob_bytes + records;
    return limit != PV_DISK_LIMIT_NONE &&
           (b->new_bytes > (limit > used ? limit - used : 0) || (records > 0 && used > limit));
}

static enum pv_err check_room(struct pv_batch *b, bool brings_blobs)
{
    enum pv_err err = learn_space(b);
    if (err == PV_OK && is_over_limit(b))
        return PV_E_NOSPACE;
    uint64_t keep = brings_blobs ? b->reserve.free_bytes : b->reserve.free_bytes / 2;
    if (err == PV_OK && !has_room(b, keep) && !b->squeezed) {
        b->squeezed = true;
        (void)!pv_db_checkpoint(b->s->writer, PV_CHECKPOINT_CUT); /* logged if it fails */
        b->space_known = false;
        err = learn_space(b);
    }
    return err == PV_OK && !has_room(b, keep) ? PV_E_NOSPACE : err;
}

/* ---- the plan ---- */

/*
 * Whether what lies here is good after all: then it must not be replaced, because for a moment
 * there would be no file. Whoever found it bad may have met a disk that failed to read it once, or
 * it was replaced and that could not be completed. So its name may not be durable yet.
 */
static enum pv_err is_good(struct pv_batch *b, const struct pv_id *id, bool *good)
{
    struct pv_check_row row;
    struct pv_check_bytes bytes = {.at = pv_malloc(PV_BLOB_LEN_MAX)};
    enum pv_check_result result = PV_CHECK_GOOD;
    enum pv_err err = bytes.at == NULL ? PV_E_NOMEM : pv_check_find(b->s->writer, id, &row);
    if (err == PV_OK)
        err = pv_check_one(b->s, b->s->writer, &row, PV_CHECK_EVERY_BYTE, &bytes, &result);
    pv_free(bytes.at);
    *good = result == PV_CHECK_GOOD || result == PV_CHECK_BAD_SUM;
    return err;
}

static enum pv_err plan_blob(struct pv_batch *b, const struct pv_commit_op *op)
{
    struct pv_blob_row row;
    bool good = false;
    size_t len = op->u.blob.len;
    if (len < PV_BLOB_LEN_MIN || len > PV_BLOB_LEN_MAX)
        return PV_E_INVALID;
    enum pv_err err = pv_blob_row(b->s->writer, &op->u.blob.id, &row);
    if (err != PV_OK || (row.home != 0 && !op->u.blob.replace))
        return err;
    bool is_file = row.home != 0 ? row.home == PV_HOME_FILE : len >= PV_BLOB_FILE_MIN;
    if (is_file && (op->u.blob.in_place || pv_batch_job(b, &op->u.blob.id) != NULL))
        return PV_OK;
    if (is_file && row.home != 0)
        err = is_good(b, &op->u.blob.id, &good);
    if (err == PV_OK && is_file)
        err = add_job(b, op, row.home != 0);
    if (err == PV_OK && good)
        b->jobs[b->job_count - 1].is_good = true;
    if (err != PV_OK || good)
        return err;
    if (row.home == 0)
        b->new_bytes += len;
    b->cost_bytes += is_file ? file_cost(len) : row_cost(len);
    return err;
}

/* A record that adds to what users keep: no deletion, and nothing about members. What does not
 * parse is refused later. */
static bool is_addition(const struct pv_commit_op *op)
{
    if (op->type != PV_COMMIT_RECORD)
        return false;
    struct pv_rd r = pv_rd_of(op->u.record.env, op->u.record.len);
    (void)pv_rd_view(&r, RECORD_FLAGS_OFFSET);
    uint16_t flags = pv_rd_u16(&r);
    return !r.bad && (flags & (PV_RECORD_TOMBSTONE | PV_RECORD_CLEAR)) == 0;
}

static enum pv_err plan_op(struct pv_batch *b, const struct pv_commit_op *op)
{
    if (op->type == PV_COMMIT_BLOB)
        return plan_blob(b, op);
    if (op->type == PV_COMMIT_META)
        return op->u.meta.len > PV_META_MAX || op->u.meta.key[0] == '/' ? PV_E_INVALID : PV_OK;
    if (op->type == PV_COMMIT_SWEEP)
        return op->u.sweep.count > PV_SWEEP_MAX ? PV_E_INVALID : PV_OK;
    if (op->type == PV_COMMIT_BAD)
        return op->u.bad.err;
    if (op->type == PV_COMMIT_UNKNOWN)
        return op->u.unknown.count > PV_UNKNOWN_MAX ? PV_E_INVALID : PV_OK;
    if (is_addition(op))
        b->cost_bytes += row_cost(op->u.record.len);
    return PV_OK;
}

/* A commit that is refused leaves no job behind that only it would need. */
enum pv_err pv_plan_commit(struct pv_batch *b, struct pv_commit *c)
{
    size_t jobs = b->job_count;
    uint64_t new_bytes = b->new_bytes, cost_bytes = b->cost_bytes;
    bool brings_blobs = false;
    enum pv_err err = PV_OK;
    for (size_t i = 0; i < c->count && err == PV_OK; i++) {
        uint64_t before = b->cost_bytes;
        c->ops[i].applied = false;
        err = plan_op(b, &c->ops[i]);
        brings_blobs |= c->ops[i].type == PV_COMMIT_BLOB && b->cost_bytes > before;
    }
    if (err == PV_OK && b->cost_bytes > cost_bytes)
        err = check_room(b, brings_blobs);
    if (err != PV_OK) {
        b->job_count = jobs;
        b->new_bytes = new_bytes;
        b->cost_bytes = cost_bytes;
    }
    return err;
}
