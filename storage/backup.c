/*
 *   [count what is alive] -> append new items, a step of about STEP_BYTES each
 *
 * A failed sync only fails the backup: nothing depends on it, and the next one begins anew, because
 * this one is not in meta. The file is opened when there is something to be written.
 */
#include "storage/backup.h"

#include "internal/base/buf.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"
#include "storage/store_private.h"

#include <string.h>

static const struct {
    const char *path, *path_new;
} files[] = {
    [PV_BACKUP_RECORDS] = {"records.bak", "tmp/records.bak"},
    [PV_BACKUP_SMALL] = {"small.bak", "tmp/small.bak"},
};

enum {
    STEP_BYTES = 1 << 20,
    DEAD_MIN = 1000, /* so many dead items are no reason to write all anew */
    BATCH = 250,
    FAR = 10000, /* rows of which none had to be written: remembered, so as not to look again */
};

const char *pv_backup_file(enum pv_backup_what what)
{
    return files[what].path;
}

static enum pv_err read_meta(struct pv_store *s, struct pv_backup *b)
{
    uint8_t value[PV_BACKUP_META_LEN];
    size_t len = sizeof value;
    enum pv_err err = pv_store_meta(s, pv_backup_file(b->what), value, &len);
    if (err == PV_E_NOT_FOUND)
        return PV_OK;
    if (err != PV_OK)
        return err == PV_E_LIMIT ? PV_E_CORRUPT : err;
    struct pv_rd r = pv_rd_of(value, len);
    b->seq = pv_rd_u64(&r);
    b->len = pv_rd_u64(&r);
    b->items = pv_rd_u64(&r);
    (void)pv_rd_u64(&r);
    return pv_rd_end(&r) == PV_OK ? PV_OK : PV_E_CORRUPT;
}

enum pv_err pv_backup_len(struct pv_store *s, enum pv_backup_what what, uint64_t *len)
{
    struct pv_backup b = {.what = what};
    enum pv_err err = read_meta(s, &b);
    *len = b.len;
    return err;
}

static void write_anew(struct pv_backup *b)
{
    b->is_new = true;
    b->seq = b->from = b->len = b->items = 0;
}

static bool is_mostly_dead(const struct pv_backup *b, uint64_t alive)
{
    return b->items > 2 * alive + DEAD_MIN;
}

enum pv_err pv_backup_begin(struct pv_store *s, enum pv_backup_what what, enum pv_backup_mode mode,
                            struct pv_backup *b)
{
    const struct pv_fs *fs = s->config.vault->fs;
    struct pv_fs_stat st = {0};
    struct pv_store_counts counts;
    *b = (struct pv_backup){.what = what, .fd = PV_FD_NONE};
    enum pv_err err = read_meta(s, b);
    if (err != PV_OK)
        return err;
    err = fs->stat_at(fs->ctx, s->config.vault->dir, files[what].path, &st);
    b->exists = err == PV_OK;
    if (err == PV_OK || err == PV_E_NOT_FOUND)
        err = pv_store_counts(s, &counts);
    if (err != PV_OK)
        return err;
    b->from = b->seq;
    if (mode == PV_BACKUP_ANEW || !st.is_regular || b->seq == 0 || st.size_bytes < b->len ||
        (what == PV_BACKUP_RECORDS && is_mostly_dead(b, counts.records)))
        write_anew(b);
    b->counting = what == PV_BACKUP_SMALL && mode == PV_BACKUP_TIDY && b->items > DEAD_MIN;
    return PV_OK;
}

/* ---- what is new ---- */

struct gathering {
    struct pv_buf bytes;
    uint64_t items;
    enum pv_err err;
};

static bool gather_record(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct gathering *g = arg;
    (void)pending;
    g->err = pv_buf_append(&g->bytes, env, len);
    g->items++;
    return g->err == PV_OK && g->bytes.len < STEP_BYTES;
}

static bool is_ours_alone(const struct pv_blob_row_info *row)
{
    return !row->is_file && row->blob.held == 0;
}

static enum pv_err gather_blob(struct pv_store *s, struct gathering *g,
                               const struct pv_blob_info *blob)
{
    uint32_t size;
    size_t got;
    enum pv_err err = pv_buf_reserve(&g->bytes, PV_ID_LEN + blob->size);
    if (err != PV_OK)
        return err;
    uint8_t *to = g->bytes.data + g->bytes.len;
    err = pv_store_read(s, &blob->id, 0, to + PV_ID_LEN, blob->size, &got, &size);
    if (err == PV_E_NOT_FOUND || err == PV_E_CORRUPT) /* swept; or damaged, which verify tells */
        return PV_OK;
    if (err != PV_OK || got != blob->size)
        return err;
    memcpy(to, blob->id.b, PV_ID_LEN);
    g->bytes.len += PV_ID_LEN + got;
    g->items++;
    return PV_OK;
}

static enum pv_err gather_blobs(struct pv_store *s, struct gathering *g, uint64_t *seq, bool *end)
{
    struct pv_blob_row_info rows[BATCH];
    uint64_t cursor = *seq + 1;
    size_t count;
    enum pv_err err = pv_store_blobs(s, &cursor, rows, BATCH, &count, end);
    for (size_t i = 0; err == PV_OK && i < count; i++) {
        if (g->bytes.len >= STEP_BYTES) {
            *end = false;
            break;
        }
        if (is_ours_alone(&rows[i]))
            err = gather_blob(s, g, &rows[i].blob);
        *seq = rows[i].blob.seq;
    }
    return err;
}

static enum pv_err count_alive(struct pv_store *s, struct pv_backup *b)
{
    struct pv_blob_row_info rows[BATCH];
    size_t count;
    bool end;
    enum pv_err err = pv_store_blobs(s, &b->cursor, rows, BATCH, &count, &end);
    if (err != PV_OK)
        return err;
    for (size_t i = 0; i < count; i++)
        b->alive += is_ours_alone(&rows[i]);
    b->counting = !end;
    if (end && is_mostly_dead(b, b->alive))
        write_anew(b);
    return PV_OK;
}

/* ---- writing ---- */

static enum pv_err open_file(struct pv_store *s, struct pv_backup *b)
{
    const struct pv_fs *fs = s->config.vault->fs;
    b->changed = true;
    return fs->open(fs->ctx, s->config.vault->dir,
                    b->is_new ? files[b->what].path_new : files[b->what].path,
                    PV_FS_WRITE | PV_FS_CREATE | (b->is_new ? PV_FS_TRUNCATE : 0), &b->fd);
}

static enum pv_err append(struct pv_store *s, struct pv_backup *b, const struct pv_buf *bytes)
{
    const struct pv_fs *fs = s->config.vault->fs;
    enum pv_err err = pv_store_room_beside(s, bytes->len);
    if (err == PV_OK && b->fd == PV_FD_NONE)
        err = open_file(s, b);
    if (err == PV_OK)
        err = fs->write(fs->ctx, b->fd, bytes->data, bytes->len, b->len);
    return err;
}

enum pv_err pv_backup_step(struct pv_store *s, struct pv_backup *b, bool *end)
{
    struct gathering g = {.err = PV_OK};
    enum pv_err err;
    *end = false;
    if (b->counting)
        return count_alive(s, b);
    pv_buf_init(&g.bytes, STEP_BYTES + PV_ID_LEN + PV_BLOB_FILE_MIN);
    if (b->what == PV_BACKUP_SMALL)
        err = gather_blobs(s, &g, &b->seq, end);
    else
        err = pv_store_records_since(s, 0, &b->seq, PV_SCAN_ROWS_MAX, gather_record, &g, end);
    if (err == PV_OK)
        err = g.err;
    if (err == PV_OK && g.bytes.len > 0)
        err = append(s, b, &g.bytes);
    if (err == PV_OK) {
        b->len += g.bytes.len;
        b->items += g.items;
    }
    pv_buf_release(&g.bytes);
    bool replaces = b->is_new && b->exists; /* be it by nothing */
    if (err == PV_OK && *end && b->fd == PV_FD_NONE && (replaces || b->seq >= b->from + FAR))
        err = open_file(s, b);
    return err;
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
        err = fs->rename(fs->ctx, dir, files[b->what].path_new, dir, files[b->what].path);
    if (err == PV_OK)
        err = fs->sync(fs->ctx, dir);
    struct pv_wr w = pv_wr_of(meta, PV_BACKUP_META_LEN);
    pv_wr_u64(&w, b->seq);
    pv_wr_u64(&w, b->len);
    pv_wr_u64(&w, b->items);
    pv_wr_u64(&w, pv_env_wall_ms(s->config.env));
    return err;
}

void pv_backup_abort(struct pv_store *s, struct pv_backup *b)
{
    const struct pv_fs *fs = s->config.vault->fs;
    if (b->fd != PV_FD_NONE)
        (void)fs->close(fs->ctx, b->fd);
    b->fd = PV_FD_NONE;
    if (b->is_new && b->changed)
        (void)fs->unlink(fs->ctx, s->config.vault->dir, files[b->what].path_new);
}
