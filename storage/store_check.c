/*
 * A slice reads some rows, lets the connection go, and then looks at one blob after the other, so
 * that nobody waits for a connection while megabytes are read. What is not good is looked at again
 * under placing_mutex, with its row read anew: what a commit was about to change is no finding.
 */
#include "storage/check_private.h"
#include "crypto/blob.h"
#include "crypto/hash.h"
#include "internal/base/mem.h"

#include <xxhash.h>

enum { ROWS_AT_ONCE = 64 };

const char *pv_check_text(enum pv_check_result result)
{
    switch (result) {
    case PV_CHECK_GOOD:
        return "good";
    case PV_CHECK_MISSING:
        return "the bytes are missing";
    case PV_CHECK_NOT_A_FILE:
        return "something that is no file lies in its place";
    case PV_CHECK_LENGTH:
        return "the length is wrong";
    case PV_CHECK_BYTES:
        return "the bytes are wrong";
    case PV_CHECK_BAD_SUM:
        return "the quick sum in vault.db is wrong";
    case PV_CHECK_UNREADABLE:
        return "the disk refuses to read it";
    }
    return "unknown";
}

void pv_check_sum(uint8_t out[static PV_SUM_LEN], const uint8_t *bytes, size_t len)
{
    XXH128_canonical_t sum;
    _Static_assert(sizeof sum.digest == PV_SUM_LEN, "canonical form");
    XXH128_canonicalFromHash(&sum, XXH3_128bits(bytes, len));
    memcpy(out, sum.digest, PV_SUM_LEN);
}

/* ---- one blob ---- */

static void read_row(struct pv_query *q, struct pv_check_row *out)
{
    size_t len = 0;
    *out = (struct pv_check_row){.home = (uint8_t)pv_col_u64(q, 5)};
    out->info.seq = pv_col_u64(q, 0);
    out->info.size = (uint32_t)pv_col_u64(q, 1);
    out->info.kind = (uint8_t)pv_col_u64(q, 2);
    out->info.held = pv_col_u64(q, 3);
    pv_col_id(q, 4, &out->info.id);
    const uint8_t *sum = pv_col_blob(q, 6, &len);
    if (sum != NULL && len == PV_SUM_LEN) /* another length: a sum that fits nothing */
        memcpy(out->sum, sum, PV_SUM_LEN);
}

enum pv_err pv_check_find(struct pv_db *db, const struct pv_id *id, struct pv_check_row *out)
{
    struct pv_query q = pv_query(db, PV_SQL_BLOB_CHECK_ONE);
    pv_bind_id(&q, id);
    bool found = pv_query_row(&q);
    if (found)
        read_row(&q, out);
    enum pv_err err = pv_query_end(&q);
    return err == PV_OK && !found ? PV_E_NOT_FOUND : err;
}

/* The error is the caller's affair, or says that nothing is known of these bytes. */
static enum pv_err refused(enum pv_err err, enum pv_check_result *result)
{
    *result = PV_CHECK_UNREADABLE;
    return err == PV_E_NOMEM || err == PV_E_LIMIT ? err : PV_OK;
}

static enum pv_err read_file(struct pv_store *s, const struct pv_check_row *row, bool whole,
                             struct pv_check_bytes *bytes, enum pv_check_result *result)
{
    const struct pv_fs *fs = s->config.vault->fs;
    pv_fd fd;
    struct pv_fs_stat st;
    char path[PV_BLOB_PATH_LEN + 1];
    pv_blob_path(path, &row->info.id);
    enum pv_err err = fs->stat_at(fs->ctx, s->config.vault->dir, path, &st);
    if (err == PV_OK && !st.is_regular) {
        *result = PV_CHECK_NOT_A_FILE;
        return PV_OK;
    }
    if (err == PV_OK && st.size_bytes != row->info.size) {
        *result = PV_CHECK_LENGTH;
        return PV_OK;
    }
    if (err == PV_OK)
        err = fs->open(fs->ctx, s->config.vault->dir, path, PV_FS_READ, &fd);
    if (err == PV_E_NOT_FOUND) {
        *result = PV_CHECK_MISSING;
        return PV_OK;
    }
    if (err != PV_OK)
        return refused(err, result);
    if (whole)
        err = fs->read(fs->ctx, fd, bytes->at, row->info.size, 0, &bytes->len);
    (void)fs->close(fs->ctx, fd); /* only read from */
    if (err != PV_OK)
        return refused(err, result);
    *result = whole && bytes->len != row->info.size ? PV_CHECK_LENGTH : PV_CHECK_GOOD;
    return PV_OK;
}

static enum pv_err read_small(struct pv_db *db, const struct pv_check_row *row,
                              struct pv_check_bytes *bytes, enum pv_check_result *result)
{
    size_t len = 0;
    struct pv_query q = pv_query(db, PV_SQL_SMALL_GET);
    pv_bind_u64(&q, row->info.seq);
    *result = PV_CHECK_MISSING;
    if (pv_query_row(&q)) {
        const uint8_t *at = pv_col_blob(&q, 0, &len);
        *result = len == row->info.size ? PV_CHECK_GOOD : PV_CHECK_LENGTH;
        bytes->len = len < PV_BLOB_LEN_MAX ? len : PV_BLOB_LEN_MAX;
        if (at != NULL && bytes->len > 0)
            memcpy(bytes->at, at, bytes->len);
        bytes->known = q.err == PV_OK;
    }
    enum pv_err err = pv_query_end(&q);
    if (err == PV_OK)
        return PV_OK;
    if (err != PV_E_CORRUPT)
        return refused(err, result);
    *result = PV_CHECK_BYTES; /* a page of vault.db failed its sum */
    return PV_OK;
}

enum pv_err pv_check_one(struct pv_store *s, struct pv_db *db, const struct pv_check_row *row,
                         enum pv_check_depth depth, struct pv_check_bytes *bytes,
                         enum pv_check_result *result)
{
    bool whole = depth != PV_CHECK_STRUCTURE;
    uint8_t sum[PV_SUM_LEN];
    struct pv_id id;
    bytes->len = 0;
    bytes->known = false;
    *result = PV_CHECK_LENGTH;
    if (row->info.size < PV_BLOB_LEN_MIN || row->info.size > PV_BLOB_LEN_MAX)
        return PV_OK;
    enum pv_err err = row->home == PV_HOME_ROW ? read_small(db, row, bytes, result)
                                               : read_file(s, row, whole, bytes, result);
    if (err != PV_OK || *result != PV_CHECK_GOOD || !whole)
        return err;
    pv_check_sum(sum, bytes->at, bytes->len);
    bool same_sum = memcmp(sum, row->sum, PV_SUM_LEN) == 0;
    if (same_sum && depth == PV_CHECK_SUM)
        return PV_OK;
    pv_sha256(id.b, bytes->at, bytes->len); /* XXH3 alone condemns nothing */
    if (!pv_id_equal(&id, &row->info.id))
        *result = PV_CHECK_BYTES;
    else if (!same_sum)
        *result = PV_CHECK_BAD_SUM;
    return PV_OK;
}

/* ---- slices of blobs ---- */

static enum pv_err load_rows(struct pv_store *s, uint64_t cursor, struct pv_check_row *rows,
                             size_t *count)
{
    size_t n = 0;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_BLOB_CHECK);
    pv_bind_u64(&q, cursor);
    pv_bind_u64(&q, ROWS_AT_ONCE);
    while (n < ROWS_AT_ONCE && pv_query_row(&q))
        read_row(&q, &rows[n++]);
    enum pv_err err = pv_query_end(&q);
    pv_store_give_reader(s, db);
    *count = err == PV_OK ? n : 0;
    return err;
}

static enum pv_err look(struct pv_store *s, const struct pv_check_row *row,
                        enum pv_check_depth depth, struct pv_check_bytes *bytes,
                        enum pv_check_result *result)
{
    if (row->home != PV_HOME_ROW)
        return pv_check_one(s, NULL, row, depth, bytes, result);
    struct pv_db *db = pv_store_take_reader(s);
    enum pv_err err = pv_check_one(s, db, row, depth, bytes, result);
    pv_store_give_reader(s, db);
    return err;
}

/* While no commit is under way. A row that went or moved meanwhile is no finding. */
static enum pv_err look_again(struct pv_store *s, const struct pv_check_row *row,
                              enum pv_check_depth depth, struct pv_check_bytes *bytes,
                              enum pv_check_result *result)
{
    struct pv_check_row now;
    struct pv_db *db = pv_store_take_reader(s);
    pthread_mutex_lock(&s->placing_mutex);
    enum pv_err err = pv_check_find(db, &row->info.id, &now);
    if (err == PV_OK && now.info.seq == row->info.seq)
        err = pv_check_one(s, db, &now, depth, bytes, result);
    else if (err == PV_OK || err == PV_E_NOT_FOUND)
        *result = PV_CHECK_GOOD;
    pthread_mutex_unlock(&s->placing_mutex);
    pv_store_give_reader(s, db);
    return err == PV_E_NOT_FOUND ? PV_OK : err;
}

static enum pv_err check_row(struct pv_store *s, struct pv_blob_check *c,
                             const struct pv_check_row *row, struct pv_check_bytes *bytes)
{
    enum pv_check_result result;
    enum pv_err err = look(s, row, c->depth, bytes, &result);
    if (err == PV_OK && result != PV_CHECK_GOOD)
        err = look_again(s, row, c->depth, bytes, &result);
    if (err != PV_OK)
        return err;
    c->cursor = row->info.seq + 1;
    c->blobs++;
    c->bytes += row->info.size;
    if (result != PV_CHECK_GOOD)
        c->findings[c->count++] = (struct pv_finding){.id = row->info.id,
                                                      .size = row->info.size,
                                                      .kind = row->info.kind,
                                                      .result = (uint8_t)result};
    return PV_OK;
}

static bool slice_is_full(const struct pv_blob_check *c)
{
    return c->count == PV_CHECK_FINDINGS_MAX || c->blobs >= PV_SCAN_ROWS_MAX ||
           (c->depth != PV_CHECK_STRUCTURE && c->bytes >= c->max_bytes);
}

enum pv_err pv_store_check_blobs(struct pv_store *s, struct pv_blob_check *c)
{
    struct pv_check_bytes bytes = {.at = pv_malloc(PV_BLOB_LEN_MAX)};
    struct pv_check_row *rows = pv_calloc(ROWS_AT_ONCE, sizeof *rows);
    enum pv_err err = bytes.at == NULL || rows == NULL ? PV_E_NOMEM : PV_OK;
    c->blobs = c->bytes = 0;
    c->count = 0;
    c->end = false;
    while (err == PV_OK && !c->end && !slice_is_full(c)) {
        size_t count = 0;
        err = load_rows(s, c->cursor, rows, &count);
        c->end = err == PV_OK && count == 0;
        for (size_t i = 0; err == PV_OK && i < count && !slice_is_full(c); i++)
            err = check_row(s, c, &rows[i], &bytes);
    }
    pv_free(rows);
    pv_free(bytes.at);
    return err;
}

/* ---- records ---- */

static bool is_as_its_row_says(struct pv_query *q)
{
    struct pv_id rid, hash;
    struct pv_record rec;
    size_t len = 0;
    pv_col_id(q, 0, &rid);
    pv_col_id(q, 1, &hash);
    const uint8_t *env = pv_col_blob(q, 5, &len);
    return env != NULL && pv_record_parse(&rec, env, len) == PV_OK && pv_id_equal(&rec.rid, &rid) &&
           pv_id_equal(&rec.hash, &hash) && rec.type == pv_col_u64(q, 2) &&
           rec.hlc == pv_col_u64(q, 3) && rec.flags == pv_col_u64(q, 4);
}

enum pv_err pv_store_check_records(struct pv_store *s, struct pv_record_check *c)
{
    struct pv_id at = c->after;
    c->records = 0;
    c->count = 0;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_RECORD_CHECK);
    pv_bind_id(&q, &c->after);
    pv_bind_u64(&q, PV_SCAN_ROWS_MAX);
    bool full = false;
    while (!full && pv_query_row(&q)) {
        bool good = is_as_its_row_says(&q);
        pv_col_id(&q, 0, &at);
        c->records++;
        if (!good && q.err == PV_OK)
            c->bad[c->count++] = at;
        full = c->count == PV_CHECK_FINDINGS_MAX;
    }
    enum pv_err err = pv_query_end(&q);
    pv_store_give_reader(s, db);
    c->after = at;
    c->end = err == PV_OK && !full && c->records < PV_SCAN_ROWS_MAX;
    return err;
}

/* ---- counting anew ---- */

struct recount {
    struct pv_totals totals, kept_totals;
    struct pv_store_bucket digest[PV_STORE_BUCKETS], kept[PV_STORE_BUCKETS];
};

static enum pv_err count_blobs(struct pv_db *db, struct pv_totals *t)
{
    struct pv_query q = pv_query(db, PV_SQL_BLOB_TOTALS);
    if (pv_query_row(&q)) {
        t->blobs = pv_col_u64(&q, 0);
        t->blob_bytes = pv_col_u64(&q, 1);
    }
    return pv_query_end(&q);
}

static enum pv_err count_records(struct pv_db *db, struct recount *r)
{
    struct pv_query q = pv_query(db, PV_SQL_RECORD_SUMMARY);
    while (pv_query_row(&q)) {
        struct pv_id hash;
        pv_col_id(&q, 0, &hash);
        bool pending = pv_col_u64(&q, 1) != 0;
        uint16_t flags = (uint16_t)pv_col_u64(&q, 3);
        pv_totals_count_record(&r->totals, (uint8_t)pv_col_u64(&q, 2), flags, pending, 1);
        if (!pending)
            pv_digest_change(r->digest, &hash, 1);
    }
    return pv_query_end(&q);
}

/* From one state of the database, and what memory says of the same one. */
static enum pv_err count_all(struct pv_store *s, struct pv_db *db, struct recount *r)
{
    struct pv_totals first = {0}; /* begins the read: from here on the transaction sees one state */
    pthread_mutex_lock(&s->placing_mutex);
    enum pv_err err = pv_db_run(db, PV_SQL_BEGIN_READ);
    if (err == PV_OK)
        err = count_blobs(db, &first);
    pthread_mutex_lock(&s->state_mutex);
    r->kept_totals = s->totals;
    memcpy(r->kept, s->digest, sizeof r->kept);
    pthread_mutex_unlock(&s->state_mutex);
    pthread_mutex_unlock(&s->placing_mutex);
    if (err == PV_OK) {
        r->totals.blobs = first.blobs;
        r->totals.blob_bytes = first.blob_bytes;
        err = count_records(db, r);
    }
    if (sqlite3_get_autocommit(db->handle) == 0) {
        enum pv_err ended = pv_db_run(db, PV_SQL_COMMIT);
        err = err == PV_OK ? ended : err;
    }
    return err;
}

static bool same_totals(const struct pv_totals *a, const struct pv_totals *b)
{
    return a->blobs == b->blobs && a->blob_bytes == b->blob_bytes && a->files == b->files &&
           a->names == b->names && a->records == b->records && a->pending == b->pending;
}

static bool same_digest(const struct recount *r)
{
    for (size_t i = 0; i < PV_STORE_BUCKETS; i++)
        if (r->digest[i].count != r->kept[i].count ||
            memcmp(r->digest[i].sum, r->kept[i].sum, sizeof r->kept[i].sum) != 0)
            return false;
    return true;
}

enum pv_err pv_store_recount(struct pv_store *s, bool *same)
{
    struct recount *r = pv_calloc(1, sizeof *r);
    if (r == NULL)
        return PV_E_NOMEM;
    struct pv_db *db = pv_store_take_reader(s);
    enum pv_err err = count_all(s, db, r);
    pv_store_give_reader(s, db);
    *same = err == PV_OK && same_totals(&r->totals, &r->kept_totals) && same_digest(r);
    pv_free(r);
    return err;
}

/* ---- what is not good ---- */

enum pv_err pv_store_lost(struct pv_store *s, struct pv_id ids[static PV_LOST_MAX], size_t *count)
{
    bool have[PV_LOST_MAX];
    size_t len = PV_LOST_MAX * PV_ID_LEN, kept = 0;
    *count = 0;
    enum pv_err err = pv_store_meta(s, PV_META_LOST, ids, &len);
    if (err == PV_OK && len >= PV_ID_LEN)
        err = pv_store_have(s, ids, len / PV_ID_LEN, have);
    else
        return err == PV_E_NOT_FOUND ? PV_OK : err;
    for (size_t i = 0; err == PV_OK && i < len / PV_ID_LEN; i++)
        if (!have[i])
            ids[kept++] = ids[i];
    *count = kept;
    return err;
}

static bool count_one(void *arg, const char *name)
{
    (void)name;
    ++*(uint64_t *)arg;
    return true;
}

enum pv_err pv_store_quarantined(struct pv_store *s, uint64_t *count)
{
    const struct pv_fs *fs = s->config.vault->fs;
    *count = 0;
    return fs->list(fs->ctx, s->config.vault->dir, "quarantine", count_one, count);
}
