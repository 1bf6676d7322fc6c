/* Appends in steps; see backup.h. A failed sync only fails the backup: nothing depends on it, and
 * the next one begins anew, because this one is not in meta. */
#include "storage/backup.h"

#include "internal/base/buf.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"
#include "storage/store_private.h"

static const char path_new[] = "tmp/records.bak";

enum {
    STEP_BYTES = 1 << 20,
    DEAD_MIN = 1000, /* so many replaced envelopes are no reason to write all anew */
};

static enum pv_err read_meta(struct pv_store *s, struct pv_backup *b, uint64_t *at_ms)
{
    uint8_t value[PV_BACKUP_META_LEN];
    size_t len = sizeof value;
    *at_ms = 0;
    enum pv_err err = pv_store_meta(s, PV_BACKUP_META, value, &len);
    if (err == PV_E_NOT_FOUND)
        return PV_OK;
    if (err != PV_OK)
        return err == PV_E_LIMIT ? PV_E_CORRUPT : err;
    struct pv_rd r = pv_rd_of(value, len);
    b->seq = pv_rd_u64(&r);
    b->len = pv_rd_u64(&r);
    b->envelopes = pv_rd_u64(&r);
    *at_ms = pv_rd_u64(&r);
    return pv_rd_end(&r) == PV_OK ? PV_OK : PV_E_CORRUPT;
}

enum pv_err pv_backup_age(struct pv_store *s, uint64_t *at_ms)
{
    struct pv_backup b = {.seq = 0};
    return read_meta(s, &b, at_ms);
}

enum pv_err pv_backup_len(struct pv_store *s, uint64_t *len)
{
    struct pv_backup b = {.len = 0};
    uint64_t at_ms;
    enum pv_err err = read_meta(s, &b, &at_ms);
    *len = b.len;
    return err;
}

/* Whether the file is what meta says, and mostly alive. */
static enum pv_err may_append(struct pv_store *s, const struct pv_backup *b, bool *may)
{
    const struct pv_fs *fs = s->config.vault->fs;
    struct pv_fs_stat st;
    struct pv_store_counts counts;
    *may = false;
    enum pv_err err = fs->stat_at(fs->ctx, s->config.vault->dir, PV_BACKUP_PATH, &st);
    if (err == PV_E_NOT_FOUND)
        return PV_OK;
    if (err == PV_OK)
        err = pv_store_counts(s, &counts);
    if (err == PV_OK)
        *may = st.is_regular && b->len > 0 && st.size_bytes >= b->len &&
               b->envelopes <= 2 * counts.records + DEAD_MIN;
    return err;
}

enum pv_err pv_backup_begin(struct pv_store *s, struct pv_backup *b, bool anew)
{
    const struct pv_fs *fs = s->config.vault->fs;
    uint64_t at_ms;
    bool may = false;
    *b = (struct pv_backup){.fd = PV_FD_NONE};
    enum pv_err err = read_meta(s, b, &at_ms);
    if (err == PV_OK && !anew)
        err = may_append(s, b, &may);
    if (err != PV_OK)
        return err;
    if (!may)
        *b = (struct pv_backup){.fd = PV_FD_NONE, .is_new = true};
    return fs->open(fs->ctx, s->config.vault->dir, may ? PV_BACKUP_PATH : path_new,
                    PV_FS_WRITE | PV_FS_CREATE | (may ? 0 : PV_FS_TRUNCATE), &b->fd);
}

struct gathering {
    struct pv_buf bytes;
    uint64_t envelopes;
    enum pv_err err;
};

static bool gather(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct gathering *g = arg;
    (void)pending;
    g->err = pv_buf_append(&g->bytes, env, len);
    g->envelopes++;
    return g->err == PV_OK && g->bytes.len < STEP_BYTES;
}

enum pv_err pv_backup_step(struct pv_store *s, struct pv_backup *b, bool *end)
{
    const struct pv_fs *fs = s->config.vault->fs;
    struct gathering g = {.err = PV_OK};
    pv_buf_init(&g.bytes, STEP_BYTES + PV_RECORD_LEN_MAX);
    enum pv_err err = pv_store_records_since(s, 0, &b->seq, PV_SCAN_ROWS_MAX, gather, &g, end);
    if (err == PV_OK)
        err = g.err;
    if (err == PV_OK && g.bytes.len > 0)
        err = pv_store_room_beside(s, g.bytes.len);
    if (err == PV_OK && g.bytes.len > 0)
        err = fs->write(fs->ctx, b->fd, g.bytes.data, g.bytes.len, b->len);
    if (err == PV_OK) {
        b->len += g.bytes.len;
        b->envelopes += g.envelopes;
    }
    pv_buf_release(&g.bytes);
    return err;
}

static enum pv_err sync_folder(struct pv_store *s)
{
    const struct pv_fs *fs = s->config.vault->fs;
    return fs->sync(fs->ctx, s->config.vault->dir);
}

enum pv_err pv_backup_finish(struct pv_store *s, struct pv_backup *b,
                             uint8_t meta[static PV_BACKUP_META_LEN])
{
    const struct pv_fs *fs = s->config.vault->fs;
    pv_fd dir = s->config.vault->dir;
    /* What lies behind is of a backup that was cut short. */
    enum pv_err err = fs->truncate(fs->ctx, b->fd, b->len);
    if (err == PV_OK)
        err = fs->sync(fs->ctx, b->fd);
    if (err != PV_OK)
        return err;
    (void)fs->close(fs->ctx, b->fd); /* synced */
    b->fd = PV_FD_NONE;
    if (b->is_new)
        err = fs->rename(fs->ctx, dir, path_new, dir, PV_BACKUP_PATH);
    if (err == PV_OK)
        err = sync_folder(s);
    struct pv_wr w = pv_wr_of(meta, PV_BACKUP_META_LEN);
    pv_wr_u64(&w, b->seq);
    pv_wr_u64(&w, b->len);
    pv_wr_u64(&w, b->envelopes);
    pv_wr_u64(&w, pv_env_wall_ms(s->config.env));
    return err;
}

void pv_backup_abort(struct pv_store *s, struct pv_backup *b)
{
    const struct pv_fs *fs = s->config.vault->fs;
    if (b->fd != PV_FD_NONE)
        (void)fs->close(fs->ctx, b->fd);
    b->fd = PV_FD_NONE;
    if (b->is_new)
        (void)fs->unlink(fs->ctx, s->config.vault->dir, path_new);
}
