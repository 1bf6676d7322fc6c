/*
 * Preloaded, it turns every sync into a lie: what a disk that acknowledges too early does, or a
 * program that forgot to ask. powercut.sh --prove must find the loss.
 *
 *     cc -shared -fPIC -o nosync.so nosync.c
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

int fsync(int fd)
{
    (void)fd;
    return 0;
}

int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

int sync_file_range(int fd, off64_t offset, off64_t nbytes, unsigned int flags)
{
    (void)fd;
    (void)offset;
    (void)nbytes;
    (void)flags;
    return 0;
}
