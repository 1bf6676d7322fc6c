/*
 * File calls of the vfs, and the page sums.
 *
 * A page leaves for the disk as a copy with its sum in the last 8 bytes (big-endian), and comes
 * back checked, with zeros in their place. In vault.db the sum is seeded with the page number, so
 * that a page at another page's place fails; in the log with the frame's offset. SQLite computes
 * its cumulative log checksum over the page with the zeros, before we see it, and again at
 * recovery, after we have put the zeros back: both hold.
 *
 * At recovery SQLite reads frames with their headers and treats one that does not fit as the end
 * of the log, which is what an unsynced tail looks like. A frame whose page sum fails must end the
 * log there, not fail the opening: its reserved bytes become 0xff, and SQLite's checksum fails.
 */
#include "storage/vfs_private.h"
#include "internal/base/mem.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum {
    SUMMED_LEN = PV_VFS_PAGE_LEN - PV_VFS_SUM_LEN,
    FRAME_LEN = PV_VFS_FRAME_HEADER_LEN + PV_VFS_PAGE_LEN,
    PATHNAME_MAX = 64,
};

static const sqlite3_int64 julian_epoch_ms = 210866760000000; /* 1970 in SQLite's milliseconds */

/* ---- sums ---- */

static void put_sum(uint8_t *page, uint64_t seed)
{
    uint64_t sum = XXH3_64bits_withSeed(page, SUMMED_LEN, seed);
    struct pv_wr w = pv_wr_of(page + SUMMED_LEN, PV_VFS_SUM_LEN);
    pv_wr_u64(&w, sum);
}

static bool sum_fits(const uint8_t *page, uint64_t seed)
{
    struct pv_rd r = pv_rd_of(page + SUMMED_LEN, PV_VFS_SUM_LEN);
    return pv_rd_u64(&r) == XXH3_64bits_withSeed(page, SUMMED_LEN, seed);
}

/* Says whether the sum fits, and blanks it: zeros if so, 0xff if not. */
static bool take_sum(uint8_t *page, uint64_t seed)
{
    bool fits = sum_fits(page, seed);
    memset(page + SUMMED_LEN, fits ? 0 : 0xff, PV_VFS_SUM_LEN);
    return fits;
}

bool pv_vfs_page_is_good(const uint8_t page[static PV_VFS_PAGE_LEN], uint64_t number)
{
    return sum_fits(page, number);
}

/* Where a frame begins, if offset is so far into one; UINT64_MAX otherwise. */
static uint64_t frame_at(sqlite3_int64 offset, unsigned into)
{
    sqlite3_int64 start = offset - into - PV_VFS_WAL_HEADER_LEN;
    return start >= 0 && start % FRAME_LEN == 0 ? (uint64_t)start : UINT64_MAX;
}

/* The seed of the whole page at offset, if that is what it is. */
static bool page_seed(const struct pv_vfs_file *f, int len, sqlite3_int64 offset, uint64_t *seed)
{
    if (f->kind == PV_VFS_OTHER || len != PV_VFS_PAGE_LEN)
        return false;
    if (f->kind == PV_VFS_MAIN) {
        *seed = (uint64_t)offset / PV_VFS_PAGE_LEN + 1;
        return offset % PV_VFS_PAGE_LEN == 0;
    }
    *seed = frame_at(offset, PV_VFS_FRAME_HEADER_LEN);
    return *seed != UINT64_MAX;
}

static int corrupt(const struct pv_vfs_file *f, uint64_t offset)
{
    PV_LOG(f->vfs->config.env->log, PV_LOG_ERROR, PV_SUB_STORE, "database page is corrupt", "file",
           f->kind == PV_VFS_WAL ? "vault.db-wal" : "vault.db", "offset", pv_log_u64(offset));
    return SQLITE_IOERR_DATA;
}

static int check_read(const struct pv_vfs_file *f, uint8_t *p, int len, sqlite3_int64 offset)
{
    uint64_t seed;
    if (page_seed(f, len, offset, &seed))
        return take_sum(p, seed) ? SQLITE_OK : corrupt(f, (uint64_t)offset);
    if (f->kind == PV_VFS_WAL && len == FRAME_LEN) {
        seed = frame_at(offset, 0);
        (void)take_sum(p + PV_VFS_FRAME_HEADER_LEN, seed);
        return seed != UINT64_MAX ? SQLITE_OK : corrupt(f, (uint64_t)offset);
    }
    /* A part of page 1's header is read before the page; anything longer follows a header that lies
     * about the page length. */
    return f->kind != PV_VFS_MAIN || len <= 100 ? SQLITE_OK : corrupt(f, (uint64_t)offset);
}

/* ---- one file ---- */

static int x_read(sqlite3_file *file, void *dst, int len, sqlite3_int64 offset)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    const struct pv_fs *fs = f->vfs->config.fs;
    size_t got;
    enum pv_err err = fs->read(fs->ctx, f->fd, dst, (size_t)len, (uint64_t)offset, &got);
    if (err != PV_OK)
        return err == PV_E_NOMEM ? SQLITE_IOERR_NOMEM : SQLITE_IOERR_READ;
    if (got < (size_t)len) {
        memset((uint8_t *)dst + got, 0, (size_t)len - got);
        return SQLITE_IOERR_SHORT_READ;
    }
    return check_read(f, dst, len, offset);
}

static int failed_write(const struct pv_vfs_file *f, enum pv_err err, const char *what, int rc)
{
    if (err == PV_E_NOSPACE)
        return SQLITE_FULL;
    if (!f->is_temp)
        f->vfs->config.fatal(f->vfs->config.fatal_ctx, what, err);
    return rc;
}

static int x_write(sqlite3_file *file, const void *src, int len, sqlite3_int64 offset)
{
    static const uint8_t zeros[PV_VFS_SUM_LEN];
    struct pv_vfs_file *f = pv_vfs_file(file);
    const struct pv_fs *fs = f->vfs->config.fs;
    uint8_t page[PV_VFS_PAGE_LEN];
    uint64_t seed;
    if (page_seed(f, len, offset, &seed)) {
        memcpy(page, src, sizeof page);
        /* SQLite's log checksum covers these; were they not zero, recovery would lose the frame. */
        PV_ASSERT(f->kind != PV_VFS_WAL || memcmp(page + SUMMED_LEN, zeros, sizeof zeros) == 0);
        put_sum(page, seed);
        src = page;
    } else if (f->kind == PV_VFS_MAIN) {
        return corrupt(f, (uint64_t)offset); /* a journal left behind gives another page length */
    }
    enum pv_err err = fs->write(fs->ctx, f->fd, src, (size_t)len, (uint64_t)offset);
    return err == PV_OK ? SQLITE_OK : failed_write(f, err, "write vault.db", SQLITE_IOERR_WRITE);
}

static int x_truncate(sqlite3_file *file, sqlite3_int64 len)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    const struct pv_fs *fs = f->vfs->config.fs;
    enum pv_err err = fs->truncate(fs->ctx, f->fd, (uint64_t)len);
    if (err == PV_OK)
        return SQLITE_OK;
    return failed_write(f, err, "truncate vault.db", SQLITE_IOERR_TRUNCATE);
}

static int sync_fd(const struct pv_vfs *v, pv_fd fd, const char *what)
{
    enum pv_err err = v->config.fs->sync(v->config.fs->ctx, fd);
    if (err == PV_OK)
        return SQLITE_OK;
    v->config.fatal(v->config.fatal_ctx, what, err); /* whatever the error: never again */
    return SQLITE_IOERR_FSYNC;
}

static int x_sync(sqlite3_file *file, int flags)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    (void)flags;
    if (f->is_temp)
        return SQLITE_OK;
    int rc = sync_fd(f->vfs, f->fd, "sync vault.db");
    if (rc == SQLITE_OK && f->sync_dir) {
        rc = sync_fd(f->vfs, f->vfs->config.dir, "sync vault folder");
        f->sync_dir = rc != SQLITE_OK;
    }
    return rc;
}

static int x_file_size(sqlite3_file *file, sqlite3_int64 *out)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    const struct pv_fs *fs = f->vfs->config.fs;
    struct pv_fs_stat st;
    if (fs->stat(fs->ctx, f->fd, &st) != PV_OK)
        return SQLITE_IOERR_FSTAT;
    *out = (sqlite3_int64)st.size_bytes;
    return SQLITE_OK;
}

static void temp_path(char out[static PATHNAME_MAX], uint64_t no)
{
    snprintf(out, PATHNAME_MAX, "tmp/sql-%llu", (unsigned long long)no);
}

static int x_close(sqlite3_file *file)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    const struct pv_fs *fs = f->vfs->config.fs;
    pv_vfs_shm_unmap(file, 0);
    pv_vfs_unlock(file, SQLITE_LOCK_NONE);
    enum pv_err err = fs->close(fs->ctx, f->fd);
    if (f->is_temp) {
        char path[PATHNAME_MAX];
        temp_path(path, f->temp_no);
        (void)fs->unlink(fs->ctx, f->vfs->config.dir, path); /* or the next opening does it */
    }
    return err == PV_OK ? SQLITE_OK : SQLITE_IOERR_CLOSE;
}

/* The log stays when the last connection closes it, emptied: a disk without room for a new file can
 * still be read from. */
static int x_file_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    if (op != SQLITE_FCNTL_PERSIST_WAL)
        return SQLITE_NOTFOUND;
    *(int *)arg = 1;
    return SQLITE_OK;
}

static int x_sector_size(sqlite3_file *file)
{
    (void)file;
    return PV_VFS_PAGE_LEN;
}

/* Without this promise SQLite pads and splits log writes, and a page might come in two pieces. */
static int x_characteristics(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = x_close,
    .xRead = x_read,
    .xWrite = x_write,
    .xTruncate = x_truncate,
    .xSync = x_sync,
    .xFileSize = x_file_size,
    .xLock = pv_vfs_lock,
    .xUnlock = pv_vfs_unlock,
    .xCheckReservedLock = pv_vfs_check_reserved,
    .xFileControl = x_file_control,
    .xSectorSize = x_sector_size,
    .xDeviceCharacteristics = x_characteristics,
    .xShmMap = pv_vfs_shm_map,
    .xShmLock = pv_vfs_shm_lock,
    .xShmBarrier = pv_vfs_shm_barrier,
    .xShmUnmap = pv_vfs_shm_unmap,
};

/* ---- the folder ---- */

static int open_error(enum pv_err err)
{
    return err == PV_E_NOMEM ? SQLITE_NOMEM : err == PV_E_NOSPACE ? SQLITE_FULL : SQLITE_CANTOPEN;
}

static enum pv_err open_file(struct pv_vfs *v, struct pv_vfs_file *f, const char *name, int flags)
{
    const struct pv_fs *fs = v->config.fs;
    int access = flags & SQLITE_OPEN_READWRITE ? PV_FS_WRITE : PV_FS_READ;
    if (name == NULL) {
        char path[PATHNAME_MAX];
        f->temp_no = atomic_fetch_add(&v->temp_count, 1);
        f->is_temp = true;
        temp_path(path, f->temp_no);
        return fs->open(fs->ctx, v->config.dir, path, PV_FS_WRITE | PV_FS_CREATE | PV_FS_EXCLUSIVE,
                        &f->fd);
    }
    f->sync_dir = true;
    int create = flags & SQLITE_OPEN_CREATE ? PV_FS_CREATE : 0;
    return fs->open(fs->ctx, v->config.dir, name, access | create, &f->fd);
}

static int x_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags,
                  int *out_flags)
{
    struct pv_vfs *v = vfs->pAppData;
    struct pv_vfs_file *f = pv_vfs_file(file);
    memset(f, 0, sizeof *f);
    f->vfs = v;
    f->kind = flags & SQLITE_OPEN_MAIN_DB ? PV_VFS_MAIN
              : flags & SQLITE_OPEN_WAL   ? PV_VFS_WAL
                                          : PV_VFS_OTHER;
    enum pv_err err = open_file(v, f, name, flags);
    if (err != PV_OK)
        return open_error(err);
    f->base.pMethods = &methods; /* from here on SQLite closes it */
    if (out_flags != NULL)
        *out_flags = flags;
    return SQLITE_OK;
}

static int x_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    struct pv_vfs *v = vfs->pAppData;
    enum pv_err err = v->config.fs->unlink(v->config.fs->ctx, v->config.dir, name);
    if (err == PV_E_NOT_FOUND)
        return SQLITE_IOERR_DELETE_NOENT;
    if (err != PV_OK)
        return SQLITE_IOERR_DELETE;
    return sync_dir ? sync_fd(v, v->config.dir, "sync vault folder") : SQLITE_OK;
}

/* An empty journal counts as none: it was created, and the crash came before its first byte. */
static int x_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    struct pv_vfs *v = vfs->pAppData;
    struct pv_fs_stat st;
    enum pv_err err = v->config.fs->stat_at(v->config.fs->ctx, v->config.dir, name, &st);
    if (err != PV_OK && err != PV_E_NOT_FOUND)
        return SQLITE_IOERR_ACCESS;
    *out = err == PV_OK && (flags != SQLITE_ACCESS_EXISTS || st.size_bytes > 0);
    return SQLITE_OK;
}

static int x_full_pathname(sqlite3_vfs *vfs, const char *name, int cap, char *out)
{
    (void)vfs;
    int len = snprintf(out, (size_t)cap, "%s", name);
    return len >= 0 && len < cap ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int x_randomness(sqlite3_vfs *vfs, int len, char *out)
{
    struct pv_vfs *v = vfs->pAppData;
    pv_env_random(v->config.env, out, (size_t)len);
    return len;
}

/* SQLite backs off so when it meets a connection in the middle of a change of the log index. */
static int x_sleep(sqlite3_vfs *vfs, int us)
{
    struct pv_vfs *v = vfs->pAppData;
    pv_vfs_wait(v->locks, (unsigned)us);
    return us;
}

static int x_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    struct pv_vfs *v = vfs->pAppData;
    *out = julian_epoch_ms + (sqlite3_int64)pv_env_wall_ms(v->config.env);
    return SQLITE_OK;
}

static int x_time(sqlite3_vfs *vfs, double *out)
{
    sqlite3_int64 ms;
    int rc = x_time_ms(vfs, &ms);
    *out = (double)ms / 86400000.0;
    return rc;
}

static int x_last_error(sqlite3_vfs *vfs, int cap, char *out)
{
    (void)vfs;
    (void)cap;
    (void)out;
    return 0;
}

enum pv_err pv_vfs_new(struct pv_vfs **out, const struct pv_vfs_config *config)
{
    struct pv_vfs *v = pv_calloc(1, sizeof *v);
    if (v == NULL)
        return PV_E_NOMEM;
    v->config = *config;
    snprintf(v->name, sizeof v->name, "pv-%p", (void *)v);
    v->base = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct pv_vfs_file),
        .mxPathname = PATHNAME_MAX,
        .zName = v->name,
        .pAppData = v,
        .xOpen = x_open,
        .xDelete = x_delete,
        .xAccess = x_access,
        .xFullPathname = x_full_pathname,
        .xRandomness = x_randomness,
        .xSleep = x_sleep,
        .xCurrentTime = x_time,
        .xGetLastError = x_last_error,
        .xCurrentTimeInt64 = x_time_ms,
    };
    enum pv_err err = pv_vfs_locks_new(&v->locks);
    if (err == PV_OK && sqlite3_vfs_register(&v->base, 0) != SQLITE_OK)
        err = PV_E_NOMEM;
    if (err != PV_OK) {
        pv_vfs_locks_free(v->locks);
        pv_free(v);
        return err;
    }
    *out = v;
    return PV_OK;
}

void pv_vfs_free(struct pv_vfs *v)
{
    if (v == NULL)
        return;
    sqlite3_vfs_unregister(&v->base);
    pv_vfs_locks_free(v->locks);
    pv_free(v);
}

const char *pv_vfs_name(const struct pv_vfs *v)
{
    return v->name;
}
