/*
 * Preloaded, it turns syncs into lies: what a program does that forgot to ask, or a disk that
 * acknowledges too early. NOSYNC is a pattern of the paths concerned, as fnmatch(3) with
 * FNM_PATHNAME; without it all are. tests/fault/crash --prove must find the loss.
 * With NOSYNC_FAILS, the syncs concerned fail with EIO as soon as a file of that name exists.
 *
 *     cc -shared -fPIC -o nosync.so nosync.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool ignored(int fd)
{
    const char *pattern = getenv("NOSYNC");
    char link[64], path[4096];
    if (pattern == NULL)
        return true;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0)
        return false;
    path[len] = '\0';
    return fnmatch(pattern, path, FNM_PATHNAME) == 0;
}

static int sync_with(long call, int fd)
{
    const char *fails = getenv("NOSYNC_FAILS");
    if (!ignored(fd) || (fails != NULL && access(fails, F_OK) != 0))
        return (int)syscall(call, fd);
    errno = EIO;
    return fails != NULL ? -1 : 0;
}

int fsync(int fd)
{
    return sync_with(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_with(SYS_fdatasync, fd);
}

/* Only a hint, but with it some of the bytes would arrive all the same. */
int sync_file_range(int fd, off64_t offset, off64_t nbytes, unsigned int flags)
{
    return ignored(fd) && getenv("NOSYNC_FAILS") == NULL
               ? 0
               : (int)syscall(SYS_sync_file_range, fd, offset, nbytes, flags);
}
