/* Reading blobs, and looking for blob files that vault.db does not know. */
#include "storage/store_private.h"
#include "internal/base/mem.h"
#include "internal/base/sometimes.h"

static void read_info(struct pv_query *q, struct pv_blob_info *out)
{
    out->seq = pv_col_u64(q, 0);
    out->size = (uint32_t)pv_col_u64(q, 1);
    out->kind = (uint8_t)pv_col_u64(q, 2);
    out->held = pv_col_u64(q, 3);
}

/* *home: enum pv_blob_home. */
static enum pv_err find(struct pv_db *db, const struct pv_id *id, struct pv_blob_info *info,
                        unsigned *home)
{
    bool found = false;
    struct pv_query q = pv_query(db, PV_SQL_BLOB_GET);
    pv_bind_id(&q, id);
    if (pv_query_row(&q)) {
        found = true;
        read_info(&q, info);
        info->id = *id;
        *home = (unsigned)pv_col_u64(&q, 4);
    }
    enum pv_err err = pv_query_end(&q);
    return err == PV_OK && !found ? PV_E_NOT_FOUND : err;
}

enum pv_err pv_store_blob(struct pv_store *s, const struct pv_id *id, struct pv_blob_info *out)
{
    unsigned home;
    struct pv_blob_info info = {0};
    struct pv_db *db = pv_store_take_reader(s);
    enum pv_err err = find(db, id, &info, &home);
    pv_store_give_reader(s, db);
    if (err == PV_OK)
        *out = info;
    return err;
}

enum pv_err pv_store_have(struct pv_store *s, const struct pv_id *ids, size_t count, bool *have)
{
    struct pv_db *db = pv_store_take_reader(s);
    enum pv_err err = pv_db_run(db, PV_SQL_BEGIN_READ);
    if (err == PV_OK) {
        for (size_t i = 0; i < count && err == PV_OK; i++) {
            struct pv_blob_info info;
            unsigned home;
            err = find(db, &ids[i], &info, &home);
            have[i] = err == PV_OK;
            err = err == PV_E_NOT_FOUND ? PV_OK : err;
        }
        enum pv_err ended = pv_db_run(db, PV_SQL_COMMIT);
        err = err == PV_OK ? ended : err;
    }
    pv_store_give_reader(s, db);
    return err;
}

/* ---- bytes ---- */

struct range {
    uint32_t offset;
    uint8_t *dst;
    size_t len;
};

static enum pv_err lost(struct pv_store *s, const struct pv_id *id, const char *cause)
{
    PV_SOMETIMES("store: a blob file is missing or cut");
    PV_LOG(s->config.env->log, PV_LOG_ERROR, PV_SUB_STORE, "blob is damaged", "blob",
           pv_log_id(id->b), "cause", cause);
    return PV_E_CORRUPT;
}

static enum pv_err read_file(struct pv_store *s, const struct pv_blob_info *info,
                             const struct range *want)
{
    const struct pv_fs *fs = s->config.vault->fs;
    char path[PV_BLOB_PATH_LEN + 1];
    struct pv_fs_stat st;
    size_t got = 0;
    pv_fd fd;
    pv_blob_path(path, &info->id);
    enum pv_err err = fs->open(fs->ctx, s->config.vault->dir, path, PV_FS_READ, &fd);
    if (err == PV_E_NOT_FOUND || err == PV_E_AUTH) /* AUTH: a symbolic link, for one */
        return lost(s, &info->id, "file is missing");
    if (err != PV_OK)
        return err;
    err = fs->stat(fs->ctx, fd, &st);
    if (err == PV_OK && (!st.is_regular || st.size_bytes != info->size))
        err = lost(s, &info->id, "file has another length");
    if (err == PV_OK)
        err = fs->read(fs->ctx, fd, want->dst, want->len, want->offset, &got);
    if (err == PV_OK && got != want->len)
        err = lost(s, &info->id, "file became shorter");
    (void)fs->close(fs->ctx, fd); /* only read from */
    return err;
}

static enum pv_err read_row(struct pv_store *s, struct pv_db *db, const struct pv_blob_info *info,
                            const struct range *want)
{
    bool good = false;
    struct pv_query q = pv_query(db, PV_SQL_SMALL_GET);
    pv_bind_u64(&q, info->seq);
    if (pv_query_row(&q)) {
        size_t len;
        const uint8_t *bytes = pv_col_blob(&q, 0, &len);
        good = len == info->size;
        if (good && want->len > 0)
            memcpy(want->dst, bytes + want->offset, want->len);
    }
    enum pv_err err = pv_query_end(&q);
    return err == PV_OK && !good ? lost(s, &info->id, "row is missing or has another length") : err;
}

enum pv_err pv_store_read(struct pv_store *s, const struct pv_id *id, uint32_t offset, uint8_t *dst,
                          size_t len, size_t *got, uint32_t *size)
{
    struct pv_blob_info info = {0};
    unsigned home = 0;
    struct pv_db *db = pv_store_take_reader(s);
    enum pv_err err = find(db, id, &info, &home);
    uint32_t left = offset < info.size ? info.size - offset : 0;
    struct range want = {offset < info.size ? offset : info.size, dst, len < left ? len : left};
    if (err == PV_OK && home == PV_HOME_ROW)
        err = read_row(s, db, &info, &want);
    pv_store_give_reader(s, db); /* a file is read without holding up the others */
    if (err == PV_OK && home == PV_HOME_FILE)
        err = read_file(s, &info, &want);
    else if (err == PV_OK && home != PV_HOME_ROW)
        err = lost(s, id, "unknown home");
    if (err == PV_OK) {
        *got = want.len;
        *size = info.size;
    }
    return err;
}

/* ---- who holds what ---- */

enum pv_err pv_store_unheld(struct pv_store *s, unsigned bit, uint64_t *cursor,
                            struct pv_blob_info *out, size_t out_len, size_t *count, bool *end)
{
    PV_ASSERT(bit < PV_HOLDERS_MAX && out_len > 0);
    uint64_t at = *cursor, rows = 0;
    size_t n = 0;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_BLOB_SCAN);
    pv_bind_u64(&q, at);
    pv_bind_u64(&q, PV_SCAN_ROWS_MAX + 1); /* one more tells whether that was the end */
    bool more = pv_query_row(&q);
    while (more && n < out_len && rows < PV_SCAN_ROWS_MAX) {
        struct pv_blob_info info = {0};
        read_info(&q, &info);
        pv_col_id(&q, 4, &info.id);
        at = info.seq + 1;
        rows++;
        if ((info.held >> bit & 1) == 0)
            out[n++] = info;
        more = pv_query_row(&q);
    }
    enum pv_err err = pv_query_end(&q);
    pv_store_give_reader(s, db);
    if (err == PV_OK) {
        *count = n;
        *cursor = at;
        *end = !more;
    }
    return err;
}

enum pv_err pv_store_blobs(struct pv_store *s, uint64_t *cursor, struct pv_blob_row_info *out,
                           size_t max, size_t *count, bool *end)
{
    PV_ASSERT(max > 0 && max <= PV_SCAN_ROWS_MAX);
    uint64_t over_ms = pv_store_time_ms(s), floor_ms = atomic_load(&s->lease_floor_ms);
    size_t n = 0;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_BLOB_ROWS);
    if (over_ms < floor_ms)
        over_ms = floor_ms;
    pv_bind_u64(&q, *cursor);
    pv_bind_u64(&q, max);
    while (n < max && pv_query_row(&q)) {
        struct pv_blob_row_info *row = &out[n++];
        *row = (struct pv_blob_row_info){.is_file = pv_col_u64(&q, 5) == PV_HOME_FILE,
                                         .is_leased = pv_col_u64(&q, 6) > over_ms};
        read_info(&q, &row->blob);
        pv_col_id(&q, 4, &row->blob.id);
    }
    enum pv_err err = pv_query_end(&q);
    pv_store_give_reader(s, db);
    if (err == PV_OK) {
        *count = n;
        *cursor = n > 0 ? out[n - 1].blob.seq + 1 : *cursor;
        *end = n < max;
    }
    return err;
}

enum pv_err pv_store_last_blob(struct pv_store *s, uint64_t *seq)
{
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_BLOB_LAST);
    if (pv_query_row(&q))
        *seq = pv_col_u64(&q, 0);
    enum pv_err err = pv_query_end(&q);
    pv_store_give_reader(s, db);
    return err;
}

enum pv_err pv_store_holder(struct pv_store *s, const struct pv_id *node_id, unsigned *bit)
{
    bool found = false;
    uint64_t value = 0;
    struct pv_db *db = pv_store_take_reader(s);
    struct pv_query q = pv_query(db, PV_SQL_HOLDER_GET);
    pv_bind_id(&q, node_id);
    if (pv_query_row(&q)) {
        found = true;
        value = pv_col_u64(&q, 0);
    }
    enum pv_err err = pv_query_end(&q);
    pv_store_give_reader(s, db);
    if (err == PV_OK && !found)
        return PV_E_NOT_FOUND;
    if (err == PV_OK && value >= PV_HOLDERS_MAX)
        return PV_E_CORRUPT;
    if (err == PV_OK)
        *bit = (unsigned)value;
    return err;
}

/* ---- unknown files ---- */

struct listing { /* of a folder; those that turn out to be known are taken out */
    struct pv_id *ids;
    size_t count;
};

static enum pv_err lacks_row(struct pv_db *db, const struct pv_id *id, bool *out)
{
    struct pv_blob_info info;
    unsigned home = 0;
    enum pv_err err = find(db, id, &info, &home);
    *out = home != PV_HOME_FILE;
    return err == PV_E_NOT_FOUND ? PV_OK : err;
}

static enum pv_err drop_known(struct pv_db *db, struct listing *l)
{
    size_t kept = 0;
    enum pv_err err = PV_OK;
    for (size_t i = 0; i < l->count && err == PV_OK; i++) {
        bool unknown;
        err = lacks_row(db, &l->ids[i], &unknown);
        if (err == PV_OK && unknown)
            l->ids[kept++] = l->ids[i];
    }
    l->count = kept;
    return err;
}

/* While commits stand still: files without a row now are unknown, if they are still there. */
static enum pv_err drop_commits(struct pv_store *s, struct pv_db *db, struct listing *l)
{
    const struct pv_fs *fs = s->config.vault->fs;
    enum pv_err err = drop_known(db, l);
    size_t kept = 0;
    for (size_t i = 0; i < l->count && err == PV_OK; i++) {
        char path[PV_BLOB_PATH_LEN + 1];
        struct pv_fs_stat st;
        pv_blob_path(path, &l->ids[i]);
        err = fs->stat_at(fs->ctx, s->config.vault->dir, path, &st);
        if (err == PV_OK)
            l->ids[kept++] = l->ids[i];
        else if (err == PV_E_NOT_FOUND) /* of a commit that failed */
            err = PV_OK;
    }
    l->count = kept;
    return err;
}

static enum pv_err find_in_listing(struct pv_store *s, struct listing *l)
{
    struct pv_db *db = pv_store_take_reader(s);
    enum pv_err err = drop_known(db, l);
    if (err == PV_OK && l->count > 0) {
        pthread_mutex_lock(&s->placing_mutex);
        err = drop_commits(s, db, l);
        pthread_mutex_unlock(&s->placing_mutex);
    }
    pv_store_give_reader(s, db);
    if (err != PV_OK)
        return err;
    pthread_mutex_lock(&s->state_mutex);
    for (size_t i = 0; i < l->count; i++, s->scan.count++)
        if (s->scan.count < PV_UNKNOWN_MAX)
            s->scan.ids[s->scan.count] = l->ids[i];
    pthread_mutex_unlock(&s->state_mutex);
    return PV_OK;
}

enum pv_err pv_store_find_unknown(struct pv_store *s, unsigned *folder, struct pv_id *ids,
                                  size_t max, size_t *count)
{
    PV_ASSERT(*folder < 256);
    struct listing l = {.ids = NULL};
    enum pv_err err = pv_vault_list_blobs(s->config.vault, *folder, &l.ids, &l.count);
    if (err == PV_OK && *folder == 0) {
        pthread_mutex_lock(&s->state_mutex);
        s->scan.count = 0;
        pthread_mutex_unlock(&s->state_mutex);
    }
    if (err == PV_OK)
        err = find_in_listing(s, &l);
    pv_free(l.ids);
    if (err != PV_OK)
        return err;
    *count = 0;
    if (++*folder < 256)
        return PV_OK;
    pthread_mutex_lock(&s->state_mutex);
    uint64_t found = s->unknown_files = s->scan.count;
    s->unknown_known = true;
    bool keep = found > PV_UNKNOWN_MAX || (found > 0 && s->keeps_unknown);
    if (!keep)
        for (; *count < found && *count < max; ++*count)
            ids[*count] = s->scan.ids[*count];
    pthread_mutex_unlock(&s->state_mutex);
    if (keep)
        PV_LOG(s->config.env->log, PV_LOG_ERROR, PV_SUB_STORE,
               "blob files that vault.db does not know: it is old, new or lost commits", "count",
               pv_log_u64(found));
    return PV_OK;
}
