/*
 * blocklog DISK LOG: a disk that remembers in which order it was written and flushed.
 *
 * DISK becomes a file of the same length and content that is served by this process (FUSE, without
 * a library: one file needs seven requests), so that a loop device on it has a disk in this memory.
 * Each write and flush is added to LOG before it is answered:
 *
 *     u64 offset, u64 length, bytes      a write; a flush has length 0 (both in this machine's
 * order)
 *
 * Prints a line when it serves; ends when DISK is unmounted. Needs root. tests/integration/disks.py
 * makes of a log the disks that a loss of power could have left.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE_MAX = 1 << 20, REQUEST_MAX = WRITE_MAX + 4096 };

static char *disk;
static uint64_t disk_len;
static int device, log_fd;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "blocklog: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void answer(const struct fuse_in_header *in, int error, const void *data, size_t len)
{
    struct fuse_out_header out = {
        .len = (uint32_t)(sizeof out + len), .error = -error, .unique = in->unique};
    struct iovec parts[] = {{&out, sizeof out}, {(void *)(uintptr_t)data, len}};
    must(writev(device, parts, 2) == (ssize_t)out.len || errno == ENOENT, "answer");
}

static void append(const void *data, size_t len)
{
    must(write(log_fd, data, len) == (ssize_t)len, "write the log");
}

static void answer_init(const struct fuse_in_header *in, const struct fuse_init_in *init)
{
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = FUSE_KERNEL_MINOR_VERSION,
        .max_readahead = init->max_readahead,
        .flags = init->flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_ASYNC_READ),
        .max_background = 16,
        .congestion_threshold = 12,
        .max_write = WRITE_MAX,
        .time_gran = 1,
        .max_pages = WRITE_MAX / 4096,
    };
    answer(in, 0, &out, sizeof out);
}

static void answer_attributes(const struct fuse_in_header *in)
{
    struct fuse_attr_out out = {
        .attr_valid = 3600,
        .attr = {.ino = 1,
                 .size = disk_len,
                 .blocks = disk_len / 512,
                 .mode = S_IFREG | 0600,
                 .nlink = 1,
                 .blksize = 4096},
    };
    answer(in, 0, &out, sizeof out);
}

static void read_disk(const struct fuse_in_header *in, const struct fuse_read_in *r)
{
    uint64_t left = r->offset < disk_len ? disk_len - r->offset : 0;
    answer(in, 0, disk + (left > 0 ? r->offset : 0), r->size < left ? r->size : left);
}

static void write_disk(const struct fuse_in_header *in, const struct fuse_write_in *w)
{
    struct fuse_write_out out = {.size = w->size};
    uint64_t head[] = {w->offset, w->size};
    if (w->offset > disk_len || w->size > disk_len - w->offset) {
        answer(in, ENOSPC, NULL, 0);
        return;
    }
    append(head, sizeof head);
    append(w + 1, w->size);
    memcpy(disk + w->offset, w + 1, w->size);
    answer(in, 0, &out, sizeof out);
}

static void flush_disk(const struct fuse_in_header *in)
{
    append((uint64_t[]){0, 0}, 2 * sizeof(uint64_t));
    answer(in, 0, NULL, 0);
}

static void serve(const struct fuse_in_header *in)
{
    const void *body = in + 1;
    switch (in->opcode) {
    case FUSE_INIT:
        answer_init(in, body);
        break;
    case FUSE_GETATTR:
    case FUSE_SETATTR:
        answer_attributes(in);
        break;
    case FUSE_OPEN:
        answer(in, 0, &(struct fuse_open_out){.open_flags = FOPEN_KEEP_CACHE},
               sizeof(struct fuse_open_out));
        break;
    case FUSE_READ:
        read_disk(in, body);
        break;
    case FUSE_WRITE:
        write_disk(in, body);
        break;
    case FUSE_FSYNC:
        flush_disk(in);
        break;
    case FUSE_FLUSH: /* of a descriptor that is closed: nothing to do with the disk */
    case FUSE_RELEASE:
        answer(in, 0, NULL, 0);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        break;
    default:
        answer(in, ENOSYS, NULL, 0);
    }
}

static void take_content(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    must(fd >= 0 && fstat(fd, &st) == 0, path);
    disk_len = (uint64_t)st.st_size;
    disk = mmap(NULL, disk_len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    must(disk != MAP_FAILED, "map");
    close(fd);
}

int main(int argc, char **argv)
{
    char options[100];
    static char request[REQUEST_MAX] __attribute__((aligned(8)));
    if (argc != 3) {
        fprintf(stderr, "usage: blocklog DISK LOG\n");
        return 2;
    }
    take_content(argv[1]);
    log_fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    must(log_fd >= 0 && device >= 0, "open");
    snprintf(options, sizeof options, "fd=%d,rootmode=100600,user_id=0,group_id=0", device);
    must(mount("blocklog", argv[1], "fuse.blocklog", MS_NOSUID | MS_NODEV, options) == 0, "mount");
    printf("serving\n");
    fflush(stdout);
    for (;;) {
        ssize_t got = read(device, request, sizeof request);
        if (got < 0 && errno == ENODEV)
            return 0; /* unmounted */
        must(got >= (ssize_t)sizeof(struct fuse_in_header) || errno == EINTR || errno == ENOENT,
             "read");
        if (got > 0)
            serve((const struct fuse_in_header *)(void *)request);
    }
}
