/*
 * commit DIR [ROUNDS]: ways to make a batch of new files durable under their names, on the file
 * system of DIR, in batches of 1 to 512. Prints one line each, "size<TAB>batch<TAB>way<TAB>ms a
 * batch<TAB>MB/s", of the median round. The ways take turns within a round, so that what disturbs
 * one disturbs all; the way "sync" is a write and sync of 4 KiB in place: what the disk itself
 * needs.
 *
 * each      write, sync, rename, sync the folder; one file after the other
 * late      write all; sync each; rename all; sync each folder once
 * early     the same, and write-back of each file is started as soon as it is written
 * parallel  the same, with syncs side by side (ours)
 * syncfs    write all; sync the file system once; rename all; sync each folder once
 * unnamed   early, but with O_TMPFILE and linkat instead of rename
 */
#include "internal/base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum way { SYNC, EACH, LATE, EARLY, PARALLEL, SYNCFS, UNNAMED, WAYS };
enum { FOLDERS = 256, BATCH_MAX = 512, ROUNDS_MAX = 101 };

static const char *const way_names[WAYS] = {"sync",     "each",   "late",   "early",
                                            "parallel", "syncfs", "unnamed"};
static const size_t sizes[] = {66000, 983088};
static const unsigned batches[] = {1, 8, 64, BATCH_MAX};
static const unsigned dose[] = {8, 4, 2, 1}; /* rounds of a small batch end sooner */

static int root;
static char *bytes;
static unsigned long serial;

struct file {
    char temp[32], name[32];
    unsigned folder;
    int fd;
};
static struct file files[BATCH_MAX];

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "commit: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void begin(struct file *f, enum way way, size_t len)
{
    unsigned long no = serial++;
    f->folder = (unsigned)(no * 2654435761U >> 8) % FOLDERS;
    snprintf(f->temp, sizeof f->temp, "tmp/%016lx", no);
    snprintf(f->name, sizeof f->name, "%02x/%016lx", f->folder, no);
    f->fd = way == UNNAMED ? openat(root, "tmp", O_TMPFILE | O_RDWR, 0600)
                           : openat(root, f->temp, O_CREAT | O_EXCL | O_RDWR, 0600);
    must(f->fd >= 0, "create");
    must(pwrite(f->fd, bytes, len, 0) == (ssize_t)len, "write");
    if (way == EARLY || way == PARALLEL || way == UNNAMED)
        must(sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WRITE) == 0, "start write-back");
}

static void place(struct file *f, enum way way)
{
    char self[32];
    snprintf(self, sizeof self, "/proc/self/fd/%d", f->fd);
    must((way == UNNAMED ? linkat(AT_FDCWD, self, root, f->name, AT_SYMLINK_FOLLOW)
                         : renameat(root, f->temp, root, f->name)) == 0,
         "name");
    must(close(f->fd) == 0, "close");
}

static int open_folder(unsigned folder)
{
    char path[8];
    snprintf(path, sizeof path, "%02x", folder);
    int fd = openat(root, path, O_RDONLY | O_DIRECTORY);
    must(fd >= 0, "open folder");
    return fd;
}

static void sync_all(enum way way, const int *fds, unsigned count)
{
    if (way == PARALLEL)
        must(pv_fs_sync_all(pv_fs_real(), fds, count) == PV_OK, "sync");
    for (unsigned i = 0; i < count && way != PARALLEL; i++)
        must(fsync(fds[i]) == 0, "sync");
}

static void commit_each(unsigned count, size_t len)
{
    for (unsigned i = 0; i < count; i++) {
        begin(&files[i], EACH, len);
        must(fdatasync(files[i].fd) == 0, "sync");
        place(&files[i], EACH);
        int fd = open_folder(files[i].folder);
        must(fsync(fd) == 0 && close(fd) == 0, "sync folder");
    }
}

static void commit(enum way way, unsigned count, size_t len)
{
    int fds[BATCH_MAX] = {0}, folders[FOLDERS];
    bool touched[FOLDERS] = {false};
    unsigned folder_count = 0;
    for (unsigned i = 0; i < count; i++) {
        begin(&files[i], way, len);
        fds[i] = files[i].fd;
    }
    if (way == SYNCFS)
        must(syncfs(root) == 0, "syncfs");
    else
        sync_all(way, fds, count);
    for (unsigned i = 0; i < count; i++) {
        place(&files[i], way);
        touched[files[i].folder] = true;
    }
    for (unsigned i = 0; i < FOLDERS; i++)
        if (touched[i])
            folders[folder_count++] = open_folder(i);
    sync_all(way, folders, folder_count);
    for (unsigned i = 0; i < folder_count; i++)
        must(close(folders[i]) == 0, "close folder");
}

static void sync_in_place(void)
{
    int fd = openat(root, "in place", O_CREAT | O_RDWR, 0600);
    must(fd >= 0 && pwrite(fd, bytes, 4096, 0) == 4096 && fdatasync(fd) == 0 && close(fd) == 0,
         "write in place");
}

static double measure(enum way way, unsigned count, size_t len)
{
    memcpy(bytes, &serial, sizeof serial);
    double start = now_ms();
    if (way == SYNC)
        sync_in_place();
    else if (way == EACH)
        commit_each(count, len);
    else
        commit(way, count, len);
    double took = now_ms() - start;
    for (unsigned i = 0; i < count && way != SYNC; i++)
        must(unlinkat(root, files[i].name, 0) == 0, "unlink");
    must(syncfs(root) == 0, "syncfs"); /* nobody pays for the one before */
    return took;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void compare_ways(unsigned count, size_t len, unsigned rounds)
{
    static double took[WAYS][ROUNDS_MAX];
    for (unsigned r = 0; r < rounds; r++)
        for (unsigned i = 0; i < WAYS; i++) {
            enum way way = (enum way)((i + r) % WAYS);
            took[way][r] = measure(way, count, len);
        }
    for (unsigned w = 0; w < WAYS; w++) {
        qsort(took[w], rounds, sizeof took[w][0], compare);
        double ms = took[w][rounds / 2];
        printf("%zu\t%u\t%s\t%.2f\t%.1f\n", len, count, way_names[w], ms,
               w == SYNC ? 0 : (double)count * (double)len / ms / 1e3);
    }
    fflush(stdout);
}

static void make_folders(void)
{
    char path[8];
    (void)mkdirat(root, "tmp", 0700);
    for (unsigned i = 0; i < FOLDERS; i++) {
        snprintf(path, sizeof path, "%02x", i);
        (void)mkdirat(root, path, 0700);
    }
    sync_in_place();
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 5;
    root = argc > 1 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;
    must(root >= 0, "DIR");
    bytes = malloc(sizes[1]);
    must(bytes != NULL && getrandom(bytes, 4096, 0) == 4096, "memory");
    for (size_t i = 4096; i < sizes[1]; i++)
        bytes[i] = (char)(bytes[i - 4096] * 5 + 1);
    make_folders();
    for (size_t s = 0; s < 2; s++)
        for (size_t b = 0; b < 4; b++) {
            unsigned n = rounds * dose[b];
            compare_ways(batches[b], sizes[s], n < ROUNDS_MAX ? n : ROUNDS_MAX);
        }
    return 0;
}
