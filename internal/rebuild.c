/*
 * Everything goes through the store's own commits, a few dozen at a time: what wins a register, and
 * what is there already, is decided as always. Blob files are hashed, so this takes as long as
 * reading the vault.
 */
#include "internal/rebuild.h"

#include "crypto/blob.h"
#include "crypto/hash.h"
#include "internal/base/mem.h"
#include "internal/record_index.h"
#include "storage/backup.h"
#include "storage/backup_scan.h"
#include "storage/salvage.h"

#include <stdio.h>
#include <string.h>

enum {
    OPS_MAX = 32,
    BYTES_MAX = 8 * 1024 * 1024,
    CACHE_BYTES = 8 * 1024 * 1024,
    PATH_MAX_LEN = 64,
};

static const char lost_db[] = "vault.db.lost", lost_log[] = "vault.db.lost-wal";

struct rebuild {
    struct pv_setup *setup;
    const struct pv_env *env;
    const struct pv_fs *fs;
    pv_fd dir;
    struct pv_store *store;
    struct pv_rebuild *report;
    enum pv_err err; /* sticky */
    uint8_t *plain;
    struct pv_commit_op ops[OPS_MAX];
    uint8_t *bytes[OPS_MAX]; /* what the operations borrow */
    size_t count, total;
};

/* ---- commits ---- */

static void ignore_done(struct pv_commit *c)
{
    (void)c;
}

static void flush(struct rebuild *r)
{
    struct pv_commit commit = {.ops = r->ops, .count = r->count, .done = ignore_done};
    if (r->err == PV_OK && r->count > 0) {
        pv_commit_batch(r->store, &commit);
        r->err = commit.err;
    }
    while (r->count > 0)
        pv_free(r->bytes[--r->count]);
    r->total = 0;
}

/* op borrows bytes, which are taken over. */
static void add(struct rebuild *r, const struct pv_commit_op *op, uint8_t *bytes, size_t len)
{
    r->ops[r->count] = *op;
    r->bytes[r->count++] = bytes;
    r->total += len;
    if (r->count == OPS_MAX || r->total >= BYTES_MAX)
        flush(r);
}

/* ---- records ---- */

/* One that is known to be signed. */
static bool take_envelope(void *arg, const uint8_t *env, size_t len)
{
    struct rebuild *r = arg;
    struct pv_record rec;
    struct pv_record_index index;
    r->report->envelopes++;
    r->err = pv_record_parse(&rec, env, len);
    if (r->err == PV_OK)
        r->err = pv_record_index(&index, &rec, env, len, &r->setup->keyring, pv_env_wall_ms(r->env),
                                 r->plain);
    if (r->err == PV_E_CORRUPT || r->err == PV_E_PROTOCOL) {
        r->report->refused++;
        r->err = PV_OK;
        return true;
    }
    if (r->err == PV_E_UNSUPPORTED) /* kept for when its key is here again */
        r->err = PV_OK;
    uint8_t *copy = r->err == PV_OK ? pv_memdup(env, len) : NULL;
    if (copy == NULL) {
        r->err = r->err == PV_OK ? PV_E_NOMEM : r->err;
        return false;
    }
    struct pv_commit_op op = pv_record_index_op(&index, copy, len);
    add(r, &op, copy, len);
    return r->err == PV_OK;
}

static bool take_row(void *arg, const uint8_t *bytes, size_t len)
{
    struct rebuild *r = arg;
    struct pv_record rec;
    enum pv_err err = pv_record_verify(&rec, bytes, len);
    if (err == PV_E_NOMEM)
        r->err = err;
    else if (err != PV_OK)
        r->report->refused++;
    else
        (void)take_envelope(r, bytes, len);
    return r->err == PV_OK;
}

/* ---- small blobs ---- */

static bool take_small(void *arg, const uint8_t *bytes, size_t len)
{
    struct rebuild *r = arg;
    struct pv_commit_op op = {.type = PV_COMMIT_BLOB};
    if (len < PV_BLOB_LEN_MIN || len > PV_BLOB_LEN_MAX)
        return true;
    uint8_t *copy = pv_memdup(bytes, len);
    if (copy == NULL) {
        r->err = PV_E_NOMEM;
        return false;
    }
    /* The id is what the bytes say: a damaged row is a blob that nobody asks for. */
    pv_sha256(op.u.blob.id.b, bytes, len);
    op.u.blob.bytes = copy;
    op.u.blob.len = len;
    add(r, &op, copy, len);
    return r->err == PV_OK;
}

/* ---- what is left ---- */

static void scan_file(struct rebuild *r, const char *name, bool is_small)
{
    struct pv_scan scan;
    struct pv_fs_stat st;
    pv_fd fd;
    if (r->err != PV_OK)
        return;
    enum pv_err err = r->fs->stat_at(r->fs->ctx, r->dir, name, &st);
    if (err == PV_OK && !st.is_regular) {
        r->report->gaps++;
        return;
    }
    if (err == PV_OK)
        err = r->fs->open(r->fs->ctx, r->dir, name, PV_FS_READ, &fd);
    if (err == PV_E_NOT_FOUND)
        return;
    if (err == PV_OK) {
        err = is_small ? pv_scan_blobs(r->fs, fd, &scan, take_small, r)
                       : pv_scan_records(r->fs, fd, &scan, take_envelope, r);
        (void)r->fs->close(r->fs->ctx, fd); /* only read */
    }
    if (err == PV_E_IO) { /* what the disk refuses is lost; the rest is not */
        r->report->gaps++;
        err = PV_OK;
    }
    if (r->err == PV_OK)
        r->err = err;
    flush(r);
}

static void salvage(struct rebuild *r)
{
    static const struct {
        enum pv_salvage_table table;
        bool (*take)(void *arg, const uint8_t *bytes, size_t len);
    } tables[] = {{PV_SALVAGE_RECORDS, take_row},
                  {PV_SALVAGE_HISTORY, take_row},
                  {PV_SALVAGE_SMALL, take_small}};
    struct pv_salvage *s = NULL;
    if (r->err != PV_OK)
        return;
    enum pv_err err = pv_salvage_open(&s, &r->setup->vault, r->env, lost_db);
    if (err == PV_E_NOT_FOUND)
        return;
    if (err == PV_E_CORRUPT) {
        r->report->gaps++;
        return;
    }
    r->err = err;
    for (size_t i = 0; r->err == PV_OK && i < PV_COUNT(tables); i++) {
        uint64_t gaps = 0;
        err = pv_salvage_rows(s, tables[i].table, tables[i].take, r, &gaps);
        if (r->err == PV_OK)
            r->err = err;
        r->report->gaps += gaps;
        flush(r);
    }
    pv_salvage_close(s);
}

/* ---- blob files ---- */

static void take_file(struct rebuild *r, const struct pv_id *id, const char *path)
{
    struct pv_fs_stat st = {0};
    struct pv_id sum = {{0}};
    size_t got = 0;
    pv_fd fd;
    uint8_t *bytes = NULL;
    enum pv_err err = r->fs->stat_at(r->fs->ctx, r->dir, path, &st);
    bool good = err == PV_OK && st.is_regular && st.size_bytes >= PV_BLOB_LEN_MIN &&
                st.size_bytes <= PV_BLOB_LEN_MAX;
    if (good && (bytes = pv_malloc((size_t)st.size_bytes)) == NULL) {
        r->err = PV_E_NOMEM;
        return;
    }
    if (good && r->fs->open(r->fs->ctx, r->dir, path, PV_FS_READ, &fd) == PV_OK) {
        err = r->fs->read(r->fs->ctx, fd, bytes, (size_t)st.size_bytes, 0, &got);
        (void)r->fs->close(r->fs->ctx, fd); /* only read */
        if (err == PV_OK && got == st.size_bytes)
            pv_sha256(sum.b, bytes, got);
    }
    if (!good || !pv_id_equal(&sum, id)) {
        r->report->bad_files++;
        pv_free(bytes);
        return;
    }
    struct pv_commit_op op = {.type = PV_COMMIT_BLOB};
    op.u.blob.id = *id;
    op.u.blob.in_place = true;
    op.u.blob.bytes = bytes;
    op.u.blob.len = got;
    add(r, &op, bytes, got);
}

/* A process that was killed may have left names that are not on the disk yet; rows must not come
 * before them. The bytes are: they were synced under their temporary names. */
static enum pv_err sync_folder(struct rebuild *r, unsigned folder)
{
    char path[PATH_MAX_LEN];
    pv_fd fd;
    (void)snprintf(path, sizeof path, "blobs/%02x", folder & 0xff);
    enum pv_err err = r->fs->open(r->fs->ctx, r->dir, path, PV_FS_READ | PV_FS_DIRECTORY, &fd);
    if (err != PV_OK)
        return err;
    err = r->fs->sync(r->fs->ctx, fd);
    (void)r->fs->close(r->fs->ctx, fd); /* only synced */
    return err;
}

static void take_folder(struct rebuild *r, unsigned folder)
{
    struct pv_id *ids = NULL;
    size_t count = 0;
    enum pv_err err = pv_vault_list_blobs(&r->setup->vault, folder, &ids, &count);
    r->err = err == PV_E_NOT_FOUND ? PV_OK : err;
    if (r->err == PV_OK && count > 0)
        r->err = sync_folder(r, folder);
    for (size_t i = 0; r->err == PV_OK && i < count; i++) {
        char blob[PV_BLOB_PATH_LEN + 1];
        struct pv_blob_info info;
        err = pv_store_blob(r->store, &ids[i], &info);
        pv_blob_path(blob, &ids[i]);
        if (err == PV_E_NOT_FOUND)
            take_file(r, &ids[i], blob);
        else
            r->err = err;
    }
    pv_free(ids);
    flush(r);
}

/* ---- putting aside ---- */

static bool exists(const struct pv_vault *v, const char *name)
{
    struct pv_fs_stat st;
    return v->fs->stat_at(v->fs->ctx, v->dir, name, &st) == PV_OK;
}

bool pv_rebuild_was_cut_short(const struct pv_vault *vault)
{
    return exists(vault, lost_db) || exists(vault, lost_log);
}

static enum pv_err move(struct rebuild *r, const char *from, const char *to)
{
    enum pv_err err = r->fs->rename(r->fs->ctx, r->dir, from, r->dir, to);
    return err == PV_E_NOT_FOUND ? PV_OK : err;
}

static enum pv_err to_quarantine(struct rebuild *r, const char *name)
{
    char to[PATH_MAX_LEN];
    (void)snprintf(to, sizeof to, "quarantine/%llu.%s", (unsigned long long)pv_env_wall_ms(r->env),
                   name);
    return move(r, name, to);
}

static enum pv_err sync_dir(struct rebuild *r)
{
    return r->fs->sync(r->fs->ctx, r->dir);
}

/* What a later version wrote is not ours to take apart: this one would lose what it does not know.
 */
static void check_version(struct rebuild *r)
{
    static const char *const names[] = {"vault.db", lost_db};
    for (size_t i = 0; r->err == PV_OK && i < PV_COUNT(names); i++) {
        struct pv_salvage *s = NULL;
        enum pv_err err = pv_salvage_open(&s, &r->setup->vault, r->env, names[i]);
        pv_salvage_close(s);
        if (err == PV_E_UNSUPPORTED || err == PV_E_NOMEM)
            r->err = err;
    }
}

/* A file that only this user may not read is not damaged: it must stay what it is. */
static enum pv_err may_read(struct rebuild *r, const char *name)
{
    struct pv_fs_stat st;
    pv_fd fd;
    enum pv_err err = r->fs->stat_at(r->fs->ctx, r->dir, name, &st);
    if (err != PV_OK || !st.is_regular)
        return err == PV_E_NOT_FOUND ? PV_OK : err;
    err = r->fs->open(r->fs->ctx, r->dir, name, PV_FS_READ, &fd);
    if (err == PV_OK)
        (void)r->fs->close(r->fs->ctx, fd); /* was only looked at */
    return err == PV_E_AUTH ? err : PV_OK;
}

/*
 * Where there is a log that was put aside, the one beside vault.db is one that SQLite made when it
 * looked at the version: nothing is in it, because the vault is not opened before the rebuild has
 * ended. One that is no file goes where it keeps nobody from reading vault.db.
 */
static enum pv_err put_log_aside(struct rebuild *r)
{
    struct pv_fs_stat st;
    enum pv_err err = r->fs->stat_at(r->fs->ctx, r->dir, "vault.db-wal", &st);
    if (err != PV_OK)
        return err == PV_E_NOT_FOUND ? PV_OK : err;
    if (!st.is_regular) {
        r->report->gaps++;
        return to_quarantine(r, "vault.db-wal");
    }
    if (!exists(&r->setup->vault, lost_log))
        return move(r, "vault.db-wal", lost_log);
    return r->fs->unlink(r->fs->ctx, r->dir, "vault.db-wal");
}

/* The log first: cut short between the two, the next time finds the database and takes it along. */
static void put_aside(struct rebuild *r)
{
    if (exists(&r->setup->vault, lost_db)) /* cut short: vault.db is its beginning */
        return;
    r->err = may_read(r, "vault.db");
    if (r->err == PV_OK)
        r->err = may_read(r, "vault.db-wal");
    if (r->err == PV_OK)
        r->err = put_log_aside(r);
    if (r->err == PV_OK)
        r->err = move(r, "vault.db", lost_db);
    if (r->err == PV_OK)
        r->err = sync_dir(r);
}

static void put_away(struct rebuild *r)
{
    static const char *const names[] = {lost_log, lost_db};
    for (size_t i = 0; r->err == PV_OK && i < PV_COUNT(names); i++)
        r->err = to_quarantine(r, names[i]);
    if (r->err == PV_OK)
        r->err = sync_dir(r);
}

/* ---- all of it ---- */

static void rebuild(struct rebuild *r)
{
    struct pv_store_config config = {.vault = &r->setup->vault,
                                     .env = r->env,
                                     .cache_bytes = CACHE_BYTES,
                                     .make_anew = true,
                                     .reserve_bytes = UINT64_MAX};
    check_version(r);
    if (r->err == PV_OK)
        put_aside(r);
    if (r->err == PV_OK)
        r->err = pv_store_open(&r->store, &config);
    salvage(r); /* first: rows of any length */
    scan_file(r, lost_db, false);
    scan_file(r, lost_log, false);
    scan_file(r, pv_backup_file(PV_BACKUP_RECORDS), false);
    scan_file(r, pv_backup_file(PV_BACKUP_SMALL), true);
    for (unsigned folder = 0; folder < 256 && r->err == PV_OK; folder++)
        take_folder(r, folder);
    if (r->err == PV_OK)
        r->err = pv_store_counts(r->store, &r->report->now);
    pv_store_close(r->store);
    put_away(r);
}

enum pv_err pv_rebuild_run(struct pv_setup *setup, const struct pv_env *env, struct pv_rebuild *out)
{
    struct rebuild *r = pv_calloc(1, sizeof *r);
    if (r == NULL)
        return PV_E_NOMEM;
    *out = (struct pv_rebuild){.envelopes = 0};
    r->setup = setup;
    r->env = env;
    r->fs = setup->vault.fs;
    r->dir = setup->vault.dir;
    r->report = out;
    r->plain = pv_malloc(PV_RECORD_BODY_MAX);
    if (r->plain == NULL)
        r->err = PV_E_NOMEM;
    else
        rebuild(r);
    enum pv_err err = r->err;
    if (r->plain != NULL)
        pv_wipe(r->plain, PV_RECORD_BODY_MAX);
    pv_free(r->plain);
    pv_free(r);
    return err;
}
