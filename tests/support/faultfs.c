/* A file system that fails on demand; see the header. */
#include "tests/support/faultfs.h"

#include <string.h>

static const char letters[] = {
#define X(name, letter) letter,
    PVT_FS_CALLS(X)
#undef X
};

/* Counts and traces the call; the error it must give, or PV_OK. */
static enum pv_err enter(struct pvt_faultfs *f, enum pvt_fs_call call)
{
    enum pv_err err = PV_OK;
    pthread_mutex_lock(&f->mutex);
    f->counts[call]++;
    if (f->trace_len < sizeof f->trace - 1) {
        f->trace[f->trace_len++] = letters[call];
        f->trace[f->trace_len] = '\0';
    }
    if (f->fail_in > 0 && f->fail_call == call && --f->fail_in == 0) {
        err = f->fail_err;
        f->fired = true;
        f->fail_in = f->fail_on;
    }
    pthread_mutex_unlock(&f->mutex);
    return err;
}

static enum pv_err f_open(void *ctx, pv_fd dir, const char *path, int flags, pv_fd *out)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_OPEN);
    return err == PV_OK ? f->inner->open(f->inner->ctx, dir, path, flags, out) : err;
}

/* A close that fails has closed all the same, as on Linux. */
static enum pv_err f_close(void *ctx, pv_fd fd)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_CLOSE);
    enum pv_err closed = f->inner->close(f->inner->ctx, fd);
    return err == PV_OK ? closed : err;
}

static enum pv_err f_read(void *ctx, pv_fd fd, void *dst, size_t len, uint64_t offset, size_t *got)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_READ);
    return err == PV_OK ? f->inner->read(f->inner->ctx, fd, dst, len, offset, got) : err;
}

static enum pv_err f_write(void *ctx, pv_fd fd, const void *src, size_t len, uint64_t offset)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_WRITE);
    enum pv_err done =
        f->inner->write(f->inner->ctx, fd, src, err == PV_OK ? len : len / 2, offset);
    pthread_mutex_lock(&f->mutex);
    f->bytes_written += err == PV_OK ? len : 0;
    pthread_mutex_unlock(&f->mutex);
    return err == PV_OK ? done : err;
}

static enum pv_err f_truncate(void *ctx, pv_fd fd, uint64_t size_bytes)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_TRUNCATE);
    return err == PV_OK ? f->inner->truncate(f->inner->ctx, fd, size_bytes) : err;
}

static enum pv_err f_stat(void *ctx, pv_fd fd, struct pv_fs_stat *out)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_STAT);
    return err == PV_OK ? f->inner->stat(f->inner->ctx, fd, out) : err;
}

static enum pv_err f_stat_at(void *ctx, pv_fd dir, const char *path, struct pv_fs_stat *out)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_STAT);
    return err == PV_OK ? f->inner->stat_at(f->inner->ctx, dir, path, out) : err;
}

static enum pv_err f_start_writeback(void *ctx, pv_fd fd)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_WRITEBACK);
    return err == PV_OK ? f->inner->start_writeback(f->inner->ctx, fd) : err;
}

static enum pv_err f_sync(void *ctx, pv_fd fd)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_SYNC);
    return err == PV_OK ? f->inner->sync(f->inner->ctx, fd) : err;
}

static enum pv_err f_rename(void *ctx, pv_fd from_dir, const char *from, pv_fd to_dir,
                            const char *to)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_RENAME);
    return err == PV_OK ? f->inner->rename(f->inner->ctx, from_dir, from, to_dir, to) : err;
}

static enum pv_err f_unlink(void *ctx, pv_fd dir, const char *path)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_UNLINK);
    return err == PV_OK ? f->inner->unlink(f->inner->ctx, dir, path) : err;
}

static enum pv_err f_mkdir(void *ctx, pv_fd dir, const char *path)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_MKDIR);
    return err == PV_OK ? f->inner->mkdir(f->inner->ctx, dir, path) : err;
}

static enum pv_err f_list(void *ctx, pv_fd dir, const char *path, pv_fs_list_fn each, void *arg)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_LIST);
    return err == PV_OK ? f->inner->list(f->inner->ctx, dir, path, each, arg) : err;
}

static enum pv_err f_space(void *ctx, pv_fd dir, struct pv_fs_space *out)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_SPACE);
    return err == PV_OK ? f->inner->space(f->inner->ctx, dir, out) : err;
}

static enum pv_err f_lock(void *ctx, pv_fd fd)
{
    struct pvt_faultfs *f = ctx;
    enum pv_err err = enter(f, PVT_FS_LOCK);
    return err == PV_OK ? f->inner->lock(f->inner->ctx, fd) : err;
}

void pvt_faultfs_init(struct pvt_faultfs *f, const struct pv_fs *inner)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->mutex, NULL);
    f->inner = inner;
    f->fs = (struct pv_fs){
        .ctx = f,
        .open = f_open,
        .close = f_close,
        .read = f_read,
        .write = f_write,
        .truncate = f_truncate,
        .stat = f_stat,
        .stat_at = f_stat_at,
        .start_writeback = f_start_writeback,
        .sync = f_sync,
        .rename = f_rename,
        .unlink = f_unlink,
        .mkdir = f_mkdir,
        .list = f_list,
        .space = f_space,
        .lock = f_lock,
    };
}

void pvt_faultfs_release(struct pvt_faultfs *f)
{
    pthread_mutex_destroy(&f->mutex);
}

void pvt_faultfs_fail(struct pvt_faultfs *f, enum pvt_fs_call call, uint64_t n, enum pv_err err)
{
    pthread_mutex_lock(&f->mutex);
    f->fail_call = call;
    f->fail_in = n;
    f->fail_err = err;
    f->fail_on = f->fired = false;
    pthread_mutex_unlock(&f->mutex);
}

void pvt_faultfs_fail_on(struct pvt_faultfs *f, enum pvt_fs_call call, enum pv_err err)
{
    pvt_faultfs_fail(f, call, 1, err);
    pthread_mutex_lock(&f->mutex);
    f->fail_on = true;
    pthread_mutex_unlock(&f->mutex);
}

void pvt_faultfs_heal(struct pvt_faultfs *f)
{
    pvt_faultfs_fail(f, PVT_FS_OPEN, 0, PV_OK);
}

uint64_t pvt_faultfs_count(struct pvt_faultfs *f, enum pvt_fs_call call)
{
    pthread_mutex_lock(&f->mutex);
    uint64_t count = f->counts[call];
    pthread_mutex_unlock(&f->mutex);
    return count;
}

void pvt_faultfs_trace(struct pvt_faultfs *f)
{
    pthread_mutex_lock(&f->mutex);
    f->trace_len = 0;
    f->trace[0] = '\0';
    pthread_mutex_unlock(&f->mutex);
}
