/*
 * Looking at what was backed up. The envelopes of rows are known by their hashes, so that only
 * those that were replaced since cost a signature check.
 *
 * The file stays open from the beginning to the end: a backup that writes all anew renames another
 * one into its place, and one that appends changes nothing of what meta knew then.
 */
#include "crypto/hash.h"
#include "internal/base/mem.h"
#include "storage/backup.h"
#include "storage/backup_scan.h"
#include "storage/store_private.h"

enum { SLICE_LEN = 1 << 20 };

enum pv_err pv_backup_check_begin(struct pv_store *s, enum pv_backup_what what,
                                  struct pv_backup_check *c)
{
    const struct pv_fs *fs = s->config.vault->fs;
    struct pv_fs_stat st;
    *c = (struct pv_backup_check){.what = what, .fs = fs, .fd = PV_FD_NONE};
    enum pv_err err = pv_backup_len(s, what, &c->len);
    c->end = err != PV_OK || c->len == 0;
    if (c->end)
        return err;
    err = fs->stat_at(fs->ctx, s->config.vault->dir, pv_backup_file(what), &st);
    if (err == PV_OK && st.is_regular && st.size_bytes >= c->len)
        return fs->open(fs->ctx, s->config.vault->dir, pv_backup_file(what), PV_FS_READ, &c->fd);
    c->bad = c->end = err == PV_OK || err == PV_E_NOT_FOUND;
    return c->bad ? PV_OK : err;
}

static enum pv_err check_envelope(struct pv_db *db, const uint8_t *env, size_t len, bool *good)
{
    struct pv_id hash;
    struct pv_record rec;
    pv_sha256(hash.b, env, len);
    struct pv_query q = pv_query(db, PV_SQL_RECORD_HAS_HASH);
    pv_bind_id(&q, &hash);
    *good = pv_query_row(&q);
    enum pv_err err = pv_query_end(&q);
    if (err != PV_OK || *good)
        return err;
    err = pv_record_verify(&rec, env, len);
    *good = err == PV_OK;
    return err == PV_E_NOMEM ? err : PV_OK;
}

/* How long the item is that begins there; 0: none does. */
static size_t item_len(enum pv_backup_what what, const uint8_t *bytes, size_t avail)
{
    return what == PV_BACKUP_RECORDS ? pv_record_len(bytes, avail)
                                     : pv_backup_blob_len(bytes, avail);
}

static enum pv_err check_item(struct pv_db *db, enum pv_backup_what what, const uint8_t *bytes,
                              size_t len, bool *good)
{
    if (what == PV_BACKUP_RECORDS)
        return check_envelope(db, bytes, len, good);
    *good = pv_backup_blob_verify(bytes, len) == PV_OK;
    return PV_OK;
}

static enum pv_err check_slice(struct pv_db *db, struct pv_backup_check *c, const uint8_t *bytes,
                               size_t bytes_len)
{
    enum pv_err err = PV_OK;
    size_t at = 0;
    while (err == PV_OK && !c->bad && at < bytes_len) {
        size_t len = item_len(c->what, bytes + at, bytes_len - at);
        bool good = false;
        if (len > 0 && len <= bytes_len - at)
            err = check_item(db, c->what, bytes + at, len, &good);
        else if (at > 0 && c->at + bytes_len < c->len)
            break; /* the next slice has all of it */
        c->bad = err == PV_OK && !good;
        at += len;
    }
    c->at += at;
    c->end = c->bad || c->at >= c->len;
    return err;
}

enum pv_err pv_backup_check_step(struct pv_store *s, struct pv_backup_check *c)
{
    size_t got = 0, want = c->len - c->at < SLICE_LEN ? (size_t)(c->len - c->at) : SLICE_LEN;
    uint8_t *bytes = pv_malloc(SLICE_LEN);
    if (bytes == NULL)
        return PV_E_NOMEM;
    enum pv_err err = c->fs->read(c->fs->ctx, c->fd, bytes, want, c->at, &got);
    if (err == PV_OK && got < want) {
        c->bad = c->end = true; /* it was cut short meanwhile */
    } else if (err == PV_OK) {
        struct pv_db *db = pv_store_take_reader(s);
        err = check_slice(db, c, bytes, got);
        pv_store_give_reader(s, db);
    }
    pv_free(bytes);
    return err;
}

void pv_backup_check_close(struct pv_backup_check *c)
{
    if (c->fs != NULL && c->fd != PV_FD_NONE)
        (void)c->fs->close(c->fs->ctx, c->fd); /* only read */
    c->fs = NULL;
}
