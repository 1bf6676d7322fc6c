/* Reading records, and the digest over those that every member should have. */
#include "storage/store_private.h"

/* ---- one record ---- */

static bool copy_envelope(struct pv_query *q, int column, uint8_t *env, size_t *len)
{
    const uint8_t *bytes = pv_col_blob(q, column, len);
    if (bytes == NULL || *len > PV_RECORD_LEN_MAX)
        return false;
    memcpy(env, bytes, *len);
    return true;
}

enum pv_err pv_store_record(struct pv_store *s, const struct pv_id *rid, uint8_t *env, size_t *len,
                            bool *pending)
{
    bool found = false, good = false, is_pending = false;
    size_t n = 0;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_RECORD_GET);
    pv_bind_id(&q, rid);
    if (pv_query_row(&q)) {
        found = true;
        is_pending = pv_col_u64(&q, 2) != 0;
        good = copy_envelope(&q, 3, env, &n);
    }
    enum pv_err err = pv_query_end(&q);
    pv_store_give_reader(s, db);
    if (err == PV_OK)
        err = !found ? PV_E_NOT_FOUND : good ? PV_OK : PV_E_CORRUPT;
    if (err == PV_OK) {
        *len = n;
        *pending = is_pending;
    }
    return err;
}

enum pv_err pv_store_record_by_hash(struct pv_store *s, const struct pv_id *hash, uint8_t *env,
                                    size_t *len)
{
    bool found = false, good = false;
    size_t n = 0;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_RECORD_BY_HASH);
    pv_bind_id(&q, hash);
    if (pv_query_row(&q)) {
        found = true;
        good = copy_envelope(&q, 0, env, &n);
    }
    enum pv_err err = pv_query_end(&q);
    pv_store_give_reader(s, db);
    if (err == PV_OK)
        err = !found ? PV_E_NOT_FOUND : good ? PV_OK : PV_E_CORRUPT;
    if (err == PV_OK)
        *len = n;
    return err;
}

/* ---- many ---- */

/*
 * Types 1 and 2 are nearly all records, so they are found by walking all; the others have an index
 * of their own (record_rare).
 */
static struct pv_query scan(struct pv_db *db, uint8_t type, const struct pv_id *after)
{
    bool rare = type > PV_RECORD_NAME;
    struct pv_query q = pv_query(db, rare ? PV_SQL_RECORD_SCAN_RARE : PV_SQL_RECORD_SCAN);
    pv_bind_id(&q, after);
    pv_bind_u64(&q, PV_SCAN_ROWS_MAX + 1);
    if (rare)
        pv_bind_u64(&q, type);
    return q;
}

/* The record of a row of such a scan: type, pending and envelope are its columns 1 to 3. */
static bool give_record(struct pv_query *q, pv_store_record_fn each, void *arg)
{
    size_t len;
    const uint8_t *env = pv_col_blob(q, 3, &len);
    bool pending = pv_col_u64(q, 2) != 0;
    return q->err != PV_OK || each(arg, env, len, pending);
}

enum pv_err pv_store_records(struct pv_store *s, uint8_t type, struct pv_id *after, size_t max,
                             pv_store_record_fn each, void *arg, bool *end)
{
    PV_ASSERT(max > 0);
    struct pv_id at = *after;
    size_t given = 0, rows = 0;
    bool go_on = true;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = scan(db, type, after);
    bool more = pv_query_row(&q);
    while (more && go_on && given < max && rows < PV_SCAN_ROWS_MAX) {
        pv_col_id(&q, 0, &at);
        if (type == 0 || pv_col_u64(&q, 1) == type) {
            go_on = give_record(&q, each, arg);
            given++;
        }
        rows++;
        more = pv_query_row(&q);
    }
    enum pv_err err = pv_query_end(&q);
    pv_store_give_reader(s, db);
    if (err == PV_OK) {
        *after = at;
        *end = !more;
    }
    return err;
}

enum pv_err pv_store_records_since(struct pv_store *s, uint8_t type, uint64_t *seq, size_t max,
                                   pv_store_record_fn each, void *arg, bool *end)
{
    PV_ASSERT(max > 0);
    uint64_t at = *seq;
    size_t given = 0, rows = 0;
    bool go_on = true;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_RECORD_SINCE);
    pv_bind_u64(&q, at);
    pv_bind_u64(&q, PV_SCAN_ROWS_MAX);
    bool more = pv_query_row(&q);
    while (more && go_on && given < max) {
        at = pv_col_u64(&q, 0);
        if (type == 0 || pv_col_u64(&q, 1) == type) {
            go_on = give_record(&q, each, arg);
            given++;
        }
        rows++;
        more = pv_query_row(&q);
    }
    enum pv_err err = pv_query_end(&q);
    pv_store_give_reader(s, db);
    if (err == PV_OK) {
        *seq = at;
        *end = !more && rows < PV_SCAN_ROWS_MAX;
    }
    return err;
}

enum pv_err pv_store_history(struct pv_store *s, const struct pv_id *rid, pv_store_record_fn each,
                             void *arg)
{
    bool go_on = true;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_HISTORY_SCAN);
    pv_bind_id(&q, rid);
    while (go_on && pv_query_row(&q)) {
        size_t len;
        const uint8_t *env = pv_col_blob(&q, 0, &len);
        if (q.err == PV_OK)
            go_on = each(arg, env, len, false);
    }
    enum pv_err err = pv_query_end(&q);
    pv_store_give_reader(s, db);
    return err;
}

/* Runs a query whose rows are one id each, at most max of them; *more: there is another. */
static enum pv_err read_ids(struct pv_query *q, struct pv_id *ids, size_t max, size_t *count,
                            bool *more)
{
    size_t n = 0;
    bool row = pv_query_row(q);
    for (; row && n < max; row = pv_query_row(q))
        pv_col_id(q, 0, &ids[n++]);
    enum pv_err err = pv_query_end(q);
    if (err == PV_OK) {
        *count = n;
        *more = row;
    }
    return err;
}

enum pv_err pv_store_pending(struct pv_store *s, struct pv_id *rids, size_t max, size_t *count)
{
    bool more;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_RECORD_PENDING);
    pv_bind_u64(&q, max);
    enum pv_err err = read_ids(&q, rids, max, count, &more);
    pv_store_give_reader(s, db);
    return err;
}

static enum pv_err read_clock(struct pv_db *db, const struct pv_id *hash, struct pv_id *rid,
                              pv_hlc *hlc)
{
    struct pv_query q = pv_query(db, PV_SQL_RECORD_CLOCK);
    pv_bind_id(&q, hash);
    if (pv_query_row(&q)) {
        pv_col_id(&q, 0, rid);
        *hlc = pv_col_u64(&q, 1);
    }
    return pv_query_end(&q);
}

/* Flags are in an index, clocks are not: they are looked up, of tombstones alone. */
enum pv_err pv_store_tombstones(struct pv_store *s, pv_hlc below, struct pv_id *after,
                                struct pv_record_ref *found, size_t found_len, size_t *count,
                                bool *end)
{
    struct pv_id at = *after;
    size_t n = 0, rows = 0;
    enum pv_err err = PV_OK;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_RECORD_FLAGS);
    pv_bind_id(&q, after);
    pv_bind_u64(&q, PV_SCAN_ROWS_MAX + 1);
    bool more = pv_query_row(&q);
    while (more && err == PV_OK && n < found_len && rows < PV_SCAN_ROWS_MAX) {
        pv_hlc hlc = UINT64_MAX;
        pv_col_id(&q, 0, &at);
        if (pv_col_u64(&q, 1) == 0 && (pv_col_u64(&q, 2) & PV_RECORD_TOMBSTONE) != 0)
            err = read_clock(db, &at, &found[n].rid, &hlc);
        if (err == PV_OK && hlc < below)
            found[n++].hash = at;
        rows++;
        more = pv_query_row(&q);
    }
    enum pv_err ended = pv_query_end(&q);
    pv_store_give_reader(s, db);
    err = err != PV_OK ? err : ended;
    if (err == PV_OK) {
        *after = at;
        *count = n;
        *end = !more;
    }
    return err;
}

enum pv_err pv_store_names_of(struct pv_store *s, const struct pv_id *file_rid, struct pv_id *rids,
                              size_t max, size_t *count)
{
    bool more;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_RECORD_NAMES);
    pv_bind_id(&q, file_rid);
    pv_bind_u64(&q, max);
    enum pv_err err = read_ids(&q, rids, max, count, &more);
    pv_store_give_reader(s, db);
    return err;
}

enum pv_err pv_store_by_prefix(struct pv_store *s, uint64_t tag, struct pv_id *rids, size_t max,
                               size_t *count)
{
    bool more;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_RECORD_PREFIX);
    pv_bind_u64(&q, tag);
    pv_bind_u64(&q, max);
    enum pv_err err = read_ids(&q, rids, max, count, &more);
    pv_store_give_reader(s, db);
    return err;
}

/* ---- digest ---- */

static unsigned bucket_of(const struct pv_id *hash)
{
    return (unsigned)hash->b[0] << 4 | hash->b[1] >> 4;
}

void pv_digest_change(struct pv_store_bucket *digest, const struct pv_id *hash, int by)
{
    struct pv_store_bucket *b = &digest[bucket_of(hash)];
    unsigned carry = by < 0; /* subtracting is adding the complement and one */
    for (size_t i = sizeof b->sum; i-- > 0;) {
        unsigned add = by < 0 ? (uint8_t)~hash->b[i] : hash->b[i];
        carry += b->sum[i] + add;
        b->sum[i] = (uint8_t)carry;
        carry >>= 8;
    }
    b->count = by < 0 ? b->count - 1 : b->count + 1;
}

void pv_totals_count_record(struct pv_totals *t, uint8_t type, uint16_t flags, bool pending, int by)
{
    uint64_t one = by < 0 ? UINT64_MAX : 1;
    bool live = (flags & PV_RECORD_TOMBSTONE) == 0;
    t->records += one;
    if (pending)
        t->pending += one;
    if (live && type == PV_RECORD_FILE)
        t->files += one;
    if (live && type == PV_RECORD_NAME)
        t->names += one;
}

enum pv_err pv_store_load_records(struct pv_store *s)
{
    struct pv_query q = pv_query(s->writer, PV_SQL_RECORD_SUMMARY);
    while (pv_query_row(&q)) {
        struct pv_id hash;
        pv_col_id(&q, 0, &hash);
        bool pending = pv_col_u64(&q, 1) != 0;
        uint8_t type = (uint8_t)pv_col_u64(&q, 2);
        pv_totals_count_record(&s->totals, type, (uint16_t)pv_col_u64(&q, 3), pending, 1);
        if (!pending)
            pv_digest_change(s->digest, &hash, 1);
    }
    return pv_query_end(&q);
}

void pv_store_digest(struct pv_store *s, struct pv_store_bucket out[static PV_STORE_BUCKETS])
{
    pthread_mutex_lock(&s->state_mutex);
    memcpy(out, s->digest, sizeof s->digest);
    pthread_mutex_unlock(&s->state_mutex);
}

enum pv_err pv_store_bucket_hashes(struct pv_store *s, unsigned bucket, const struct pv_id *after,
                                   struct pv_id *hashes, size_t hashes_len, size_t *count,
                                   bool *end)
{
    /* Shorter byte strings sort before longer ones they begin: these two enclose the bucket. */
    uint8_t low[2] = {(uint8_t)(bucket >> 4), (uint8_t)(bucket << 4)};
    uint8_t high[PV_ID_LEN + 1] = {(uint8_t)((bucket + 1) >> 4), (uint8_t)((bucket + 1) << 4)};
    size_t high_len = 2;
    bool more;
    PV_ASSERT(bucket < PV_STORE_BUCKETS);
    if (bucket == PV_STORE_BUCKETS - 1) {
        memset(high, 0xff, sizeof high);
        high_len = sizeof high;
    }
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_RECORD_BUCKET);
    if (after != NULL && bucket_of(after) == bucket)
        pv_bind_id(&q, after);
    else
        pv_bind_blob(&q, low, sizeof low);
    pv_bind_blob(&q, high, high_len);
    pv_bind_u64(&q, (uint64_t)hashes_len + 1);
    enum pv_err err = read_ids(&q, hashes, hashes_len, count, &more);
    pv_store_give_reader(s, db);
    if (err == PV_OK)
        *end = !more;
    return err;
}
