/*
 * The real file system. Handles are descriptors. Every open is close-on-exec and refuses to follow
 * a symbolic link in the last component; only the root, which the user named, may be one.
 * EINTR is retried except in sync, where a retry could swallow the one report of a failed write.
 */
#include "internal/base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int at(pv_fd dir)
{
    return dir == PV_FD_NONE ? AT_FDCWD : dir;
}

static enum pv_err check(int result)
{
    return result < 0 ? pv_err_from_errno(errno) : PV_OK;
}

static enum pv_err open_at(int dir, const char *path, int flags, pv_fd *out)
{
    int fd;
    do
        fd = openat(dir, path, flags | O_CLOEXEC | O_NOCTTY, 0600);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return pv_err_from_errno(errno);
    *out = fd;
    return PV_OK;
}

static enum pv_err real_open(void *ctx, pv_fd dir, const char *path, int flags, pv_fd *out)
{
    (void)ctx;
    int sys = O_NONBLOCK | (flags & PV_FS_FOLLOW ? 0 : O_NOFOLLOW);
    sys |= flags & PV_FS_WRITE ? O_RDWR : O_RDONLY;
    sys |= flags & PV_FS_CREATE ? O_CREAT : 0;
    sys |= flags & PV_FS_EXCLUSIVE ? O_EXCL : 0;
    sys |= flags & PV_FS_TRUNCATE ? O_TRUNC : 0;
    sys |= flags & PV_FS_DIRECTORY ? O_DIRECTORY : 0;
    return open_at(at(dir), path, sys, out);
}

static enum pv_err real_close(void *ctx, pv_fd fd)
{
    (void)ctx;
    /* Linux has closed the descriptor whatever it says; again would close somebody else's. */
    return close(fd) < 0 && errno != EINTR ? pv_err_from_errno(errno) : PV_OK;
}

static enum pv_err real_read(void *ctx, pv_fd fd, void *dst, size_t len, uint64_t offset,
                             size_t *got)
{
    uint8_t *p = dst;
    size_t done = 0;
    (void)ctx;
    if (offset > (uint64_t)INT64_MAX - len)
        return PV_E_INVALID;
    while (done < len) {
        ssize_t n = pread(fd, p + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pv_err_from_errno(errno);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *got = done;
    return PV_OK;
}

static enum pv_err real_write(void *ctx, pv_fd fd, const void *src, size_t len, uint64_t offset)
{
    const uint8_t *p = src;
    size_t done = 0;
    (void)ctx;
    if (offset > (uint64_t)INT64_MAX - len)
        return PV_E_INVALID;
    while (done < len) {
        ssize_t n = pwrite(fd, p + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pv_err_from_errno(errno);
        if (n == 0) /* cannot happen on a regular file, and would loop for ever */
            return PV_E_IO;
        done += (size_t)n;
    }
    return PV_OK;
}

static enum pv_err real_truncate(void *ctx, pv_fd fd, uint64_t size_bytes)
{
    int result;
    (void)ctx;
    if (size_bytes > INT64_MAX)
        return PV_E_INVALID;
    do
        result = ftruncate(fd, (off_t)size_bytes);
    while (result < 0 && errno == EINTR);
    return check(result);
}

static void convert_stat(struct pv_fs_stat *out, const struct stat *st)
{
    int64_t ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
    *out = (struct pv_fs_stat){
        .size_bytes = (uint64_t)st->st_size,
        .mtime_ms = ms < 0 ? 0 : (uint64_t)ms,
        .mode = st->st_mode,
        .uid = st->st_uid,
        .is_regular = S_ISREG(st->st_mode),
        .is_directory = S_ISDIR(st->st_mode),
    };
}

static enum pv_err real_stat(void *ctx, pv_fd fd, struct pv_fs_stat *out)
{
    struct stat st;
    (void)ctx;
    if (fstat(fd, &st) < 0)
        return pv_err_from_errno(errno);
    convert_stat(out, &st);
    return PV_OK;
}

static enum pv_err real_stat_at(void *ctx, pv_fd dir, const char *path, struct pv_fs_stat *out)
{
    struct stat st;
    (void)ctx;
    if (fstatat(at(dir), path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return pv_err_from_errno(errno);
    convert_stat(out, &st);
    return PV_OK;
}

static enum pv_err real_start_writeback(void *ctx, pv_fd fd)
{
    (void)ctx;
    int result = sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return result < 0 && errno == ENOSYS ? PV_OK : check(result); /* the sync does it all */
}

static enum pv_err real_sync(void *ctx, pv_fd fd)
{
    struct stat st;
    (void)ctx;
    if (fstat(fd, &st) < 0)
        return pv_err_from_errno(errno);
    return check(S_ISDIR(st.st_mode) ? fsync(fd) : fdatasync(fd));
}

/*
 * A sync of a new file waits for a flush of the disk's cache and for the file system's journal, and
 * those who wait side by side share both. Of a few it gains nothing. The figures are in
 * storage/commit.h.
 */
enum { SYNC_THREADS = 8, SYNCS_A_THREAD = 8 };

struct syncs {
    const pv_fd *fds;
    size_t count;
    atomic_size_t next;
    atomic_int err; /* enum pv_err of one that failed */
};

static void *sync_some(void *arg)
{
    struct syncs *s = arg;
    for (size_t i; (i = atomic_fetch_add(&s->next, 1)) < s->count;) {
        enum pv_err err = real_sync(NULL, s->fds[i]);
        if (err != PV_OK)
            atomic_store(&s->err, (int)err);
    }
    return NULL;
}

static enum pv_err real_sync_all(void *ctx, const pv_fd *fds, size_t count)
{
    struct syncs s = {.fds = fds, .count = count};
    pthread_t others[SYNC_THREADS - 1];
    size_t started = 0;
    (void)ctx;
    while (started < PV_COUNT(others) && (started + 2) * SYNCS_A_THREAD <= count &&
           pthread_create(&others[started], NULL, sync_some, &s) == 0)
        started++;
    (void)sync_some(&s); /* with nobody to help it does all */
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(others[i], NULL); /* they are joinable and ours */
    return (enum pv_err)atomic_load(&s.err);
}

enum pv_err pv_fs_sync_all(const struct pv_fs *fs, const pv_fd *fds, size_t count)
{
    enum pv_err err = PV_OK;
    if (fs->sync_all != NULL)
        return fs->sync_all(fs->ctx, fds, count);
    for (size_t i = 0; i < count && err == PV_OK; i++)
        err = fs->sync(fs->ctx, fds[i]);
    return err;
}

static enum pv_err real_rename(void *ctx, pv_fd from_dir, const char *from, pv_fd to_dir,
                               const char *to)
{
    (void)ctx;
    return check(renameat(at(from_dir), from, at(to_dir), to));
}

static enum pv_err real_unlink(void *ctx, pv_fd dir, const char *path)
{
    (void)ctx;
    return check(unlinkat(at(dir), path, 0));
}

static enum pv_err real_mkdir(void *ctx, pv_fd dir, const char *path)
{
    (void)ctx;
    return check(mkdirat(at(dir), path, 0700));
}

static enum pv_err real_list(void *ctx, pv_fd dir, const char *path, pv_fs_list_fn each, void *arg)
{
    enum pv_err err;
    int fd;
    (void)ctx;
    err = open_at(at(dir), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, &fd);
    if (err != PV_OK)
        return err;
    DIR *entries = fdopendir(fd);
    if (entries == NULL) {
        err = pv_err_from_errno(errno);
        close(fd);
        return err;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(entries);
        if (entry == NULL) {
            err = errno == 0 ? PV_OK : pv_err_from_errno(errno);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (!each(arg, entry->d_name))
            break;
    }
    closedir(entries);
    return err;
}

static enum pv_err real_space(void *ctx, pv_fd dir, struct pv_fs_space *out)
{
    struct statvfs st;
    int result;
    (void)ctx;
    do
        result = fstatvfs(dir, &st);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        return pv_err_from_errno(errno);
    out->total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
    out->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    out->total_files = st.f_files;
    out->free_files = st.f_favail;
    return PV_OK;
}

static enum pv_err real_lock(void *ctx, pv_fd fd)
{
    int result;
    (void)ctx;
    do
        result = flock(fd, LOCK_EX | LOCK_NB);
    while (result < 0 && errno == EINTR);
    return check(result); /* EWOULDBLOCK is EAGAIN is BUSY */
}

const struct pv_fs *pv_fs_real(void)
{
    static const struct pv_fs fs = {
        .open = real_open,
        .close = real_close,
        .read = real_read,
        .write = real_write,
        .truncate = real_truncate,
        .stat = real_stat,
        .stat_at = real_stat_at,
        .start_writeback = real_start_writeback,
        .sync = real_sync,
        .sync_all = real_sync_all,
        .rename = real_rename,
        .unlink = real_unlink,
        .mkdir = real_mkdir,
        .list = real_list,
        .space = real_space,
        .lock = real_lock,
    };
    return &fs;
}

enum pv_err pv_fs_real_open_root(const char *path, pv_fd *out)
{
    return open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, out);
}
