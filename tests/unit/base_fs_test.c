#include "internal/base/fs.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(fs, .timeout = 20);

enum { CREATE = PV_FS_WRITE | PV_FS_CREATE };

/* The call under test, with the table's context. */
#define FS(call, ...) fs->call(fs->ctx, __VA_ARGS__)

static const struct pv_fs *fs;
static struct pvt_tmpdir dir;
static size_t fds;

static void setup(void)
{
    fs = pv_fs_real();
    fds = pvt_open_fds();
    umask(022);
    pvt_tmpdir_init(&dir);
}

static void check_and_remove(void)
{
    pvt_tmpdir_release(&dir);
    cr_assert_eq(pvt_open_fds(), fds, "a descriptor leaked");
}

static pv_fd open_ok(const char *path, int flags)
{
    pv_fd fd = PV_FD_NONE;
    cr_assert_eq(FS(open, dir.fd, path, flags, &fd), PV_OK, "%s", path);
    return fd;
}

static enum pv_err open_err(pv_fd at, const char *path, int flags)
{
    pv_fd fd = -77;
    enum pv_err err = FS(open, at, path, flags, &fd);
    cr_assert_neq(err, PV_OK);
    cr_assert_eq(fd, -77, "written on error");
    return err;
}

static void put(const char *path, const char *text)
{
    pv_fd fd = open_ok(path, CREATE);
    cr_assert_eq(FS(write, fd, text, strlen(text), 0), PV_OK);
    cr_assert_eq(FS(close, fd), PV_OK);
}

Test(fs, writes_and_reads_back)
{
    setup();
    pv_fd fd = open_ok("file", CREATE);
    char text[16] = {0};
    size_t got = 99;
    cr_assert_eq(FS(write, fd, "world", 5, 6), PV_OK);
    cr_assert_eq(FS(write, fd, "hello ", 6, 0), PV_OK);
    cr_assert_eq(FS(write, fd, NULL, 0, 1000), PV_OK);
    cr_assert_eq(FS(read, fd, text, 11, 0, &got), PV_OK);
    cr_assert_eq(got, 11);
    cr_assert_str_eq(text, "hello world");
    cr_assert_eq(FS(read, fd, text, sizeof text, 6, &got), PV_OK); /* short only at the end */
    cr_assert_eq(got, 5);
    cr_assert_eq(FS(read, fd, text, sizeof text, 11, &got), PV_OK);
    cr_assert_eq(got, 0);
    cr_assert_eq(FS(read, fd, text, sizeof text, 1 << 30, &got), PV_OK);
    cr_assert_eq(got, 0);
    cr_assert_eq(FS(close, fd), PV_OK);
    check_and_remove();
}

Test(fs, offsets_beyond_what_a_file_can_have_are_refused)
{
    setup();
    pv_fd fd = open_ok("file", CREATE);
    char c = 0;
    size_t got = 99;
    cr_assert_eq(FS(write, fd, &c, 1, INT64_MAX), PV_E_INVALID);
    cr_assert_eq(FS(write, fd, &c, 1, UINT64_MAX), PV_E_INVALID);
    cr_assert_eq(FS(read, fd, &c, 1, UINT64_MAX, &got), PV_E_INVALID);
    cr_assert_eq(FS(truncate, fd, (uint64_t)INT64_MAX + 1), PV_E_INVALID);
    cr_assert_eq(got, 99);
    cr_assert_eq(FS(close, fd), PV_OK);
    check_and_remove();
}

Test(fs, open_flags_mean_what_they_say)
{
    setup();
    cr_assert_eq(open_err(dir.fd, "file", PV_FS_READ), PV_E_NOT_FOUND);
    cr_assert_eq(open_err(dir.fd, "file", PV_FS_WRITE), PV_E_NOT_FOUND);
    put("file", "text");
    cr_assert_eq(open_err(dir.fd, "file", CREATE | PV_FS_EXCLUSIVE), PV_E_EXISTS);
    cr_assert_eq(open_err(dir.fd, "file", PV_FS_READ | PV_FS_DIRECTORY), PV_E_NOT_FOUND);
    cr_assert_eq(open_err(dir.fd, "file/under", PV_FS_READ), PV_E_NOT_FOUND);
    cr_assert_eq(open_err(dir.fd, ".", PV_FS_WRITE), PV_E_INVALID);

    pv_fd fd = open_ok("file", PV_FS_READ);
    cr_assert_eq(FS(write, fd, "x", 1, 0), PV_E_IO); /* EBADF: opened to read only */
    cr_assert_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    cr_assert_eq(FS(close, fd), PV_OK);

    struct pv_fs_stat st;
    fd = open_ok("file", CREATE); /* not exclusive: opens what is there */
    cr_assert_eq(FS(stat, fd, &st), PV_OK);
    cr_assert_eq(st.size_bytes, 4);
    cr_assert_eq(FS(close, fd), PV_OK);
    fd = open_ok("file", PV_FS_WRITE | PV_FS_TRUNCATE);
    cr_assert_eq(FS(stat, fd, &st), PV_OK);
    cr_assert_eq(st.size_bytes, 0);
    cr_assert_eq(FS(close, fd), PV_OK);
    fd = open_ok("new", CREATE | PV_FS_EXCLUSIVE);
    cr_assert_eq(FS(close, fd), PV_OK);
    check_and_remove();
}

Test(fs, symbolic_links_are_not_followed)
{
    setup();
    put("target", "text");
    cr_assert_eq(symlinkat("target", dir.fd, "link"), 0);
    cr_assert_eq(symlinkat("nowhere", dir.fd, "dangling"), 0);
    cr_assert_eq(symlinkat(".", dir.fd, "dirlink"), 0);
    cr_assert_eq(open_err(dir.fd, "link", PV_FS_READ), PV_E_AUTH);
    cr_assert_eq(open_err(dir.fd, "link", PV_FS_WRITE | PV_FS_TRUNCATE), PV_E_AUTH);
    cr_assert_eq(open_err(dir.fd, "dangling", CREATE), PV_E_AUTH);
    cr_assert_neq(FS(list, dir.fd, "dirlink", NULL, NULL), PV_OK);

    struct pv_fs_stat st;
    cr_assert_eq(FS(stat_at, dir.fd, "link", &st), PV_OK);
    cr_assert(!st.is_regular && !st.is_directory);
    check_and_remove();
}

/* In the place of a file it would hold up whoever reads there, for ever. */
Test(fs, a_pipe_does_not_block)
{
    setup();
    struct pv_fs_stat st;
    pv_fd fd;
    cr_assert_eq(mkfifoat(dir.fd, "pipe", 0600), 0);
    for (int flags = PV_FS_READ; flags <= (PV_FS_READ | PV_FS_FOLLOW); flags += PV_FS_FOLLOW) {
        cr_assert_eq(FS(open, dir.fd, "pipe", flags, &fd), PV_OK);
        cr_assert_eq(FS(stat, fd, &st), PV_OK);
        cr_assert(!st.is_regular && !st.is_directory);
        cr_assert_eq(FS(close, fd), PV_OK);
    }
    cr_assert_eq(FS(unlink, dir.fd, "pipe"), PV_OK);
    check_and_remove();
}

Test(fs, stat_tells_kind_size_mode_and_owner)
{
    setup();
    struct pv_fs_stat st, by_name;
    pv_fd fd = open_ok("file", CREATE);
    cr_assert_eq(FS(truncate, fd, 12345), PV_OK);
    cr_assert_eq(FS(stat, fd, &st), PV_OK);
    cr_assert_eq(st.size_bytes, 12345);
    cr_assert(st.is_regular && !st.is_directory);
    cr_assert_eq(st.mode & 0777, 0600);
    cr_assert_eq(st.uid, geteuid());
    cr_assert_gt(st.mtime_ms, 1600000000000);
    cr_assert_eq(FS(stat_at, dir.fd, "file", &by_name), PV_OK);
    cr_assert_eq(by_name.size_bytes, st.size_bytes);
    cr_assert_eq(by_name.mtime_ms, st.mtime_ms);
    cr_assert_eq(FS(stat_at, dir.fd, ".", &st), PV_OK);
    cr_assert(!st.is_regular && st.is_directory);
    cr_assert_eq(FS(stat_at, dir.fd, "absent", &st), PV_E_NOT_FOUND);
    cr_assert_eq(FS(close, fd), PV_OK);
    cr_assert_eq(FS(stat, fd, &st), PV_E_IO);
    check_and_remove();
}

Test(fs, truncate_shrinks_and_grows_with_zeros)
{
    setup();
    pv_fd fd = open_ok("file", CREATE);
    char text[8];
    size_t got;
    cr_assert_eq(FS(write, fd, "abcdef", 6, 0), PV_OK);
    cr_assert_eq(FS(truncate, fd, 3), PV_OK);
    cr_assert_eq(FS(truncate, fd, 5), PV_OK);
    cr_assert_eq(FS(read, fd, text, sizeof text, 0, &got), PV_OK);
    cr_assert_eq(got, 5);
    cr_assert_eq(memcmp(text, "abc\0\0", 5), 0);
    cr_assert_eq(FS(close, fd), PV_OK);
    check_and_remove();
}

Test(fs, sync_works_on_files_and_directories)
{
    setup();
    pv_fd fd = open_ok("file", CREATE);
    cr_assert_eq(FS(write, fd, "x", 1, 0), PV_OK);
    cr_assert_eq(FS(start_writeback, fd), PV_OK);
    cr_assert_eq(FS(sync, fd), PV_OK);
    cr_assert_eq(FS(sync, dir.fd), PV_OK);
    cr_assert_eq(FS(close, fd), PV_OK);
    cr_assert_eq(FS(sync, fd), PV_E_IO);
    cr_assert_eq(FS(start_writeback, fd), PV_E_IO);
    check_and_remove();
}

/* One that cannot be synced at every place among many, few, and alone. */
Test(fs, syncs_side_by_side_miss_no_error)
{
    setup();
    struct pv_fs in_turn = *fs;
    in_turn.sync_all = NULL;
    pv_fd many[40];
    for (size_t i = 0; i < PV_COUNT(many); i++) {
        char name[] = {'a', (char)('0' + i), 0};
        many[i] = open_ok(name, CREATE);
    }
    for (size_t count = 0; count <= PV_COUNT(many); count += 5) {
        cr_assert_eq(pv_fs_sync_all(fs, many, count), PV_OK);
        cr_assert_eq(pv_fs_sync_all(&in_turn, many, count), PV_OK);
        for (size_t bad = 0; bad < count; bad++) {
            pv_fd good = many[bad];
            many[bad] = PV_FD_NONE;
            cr_assert_eq(pv_fs_sync_all(fs, many, count), PV_E_IO);
            cr_assert_eq(pv_fs_sync_all(&in_turn, many, count), PV_E_IO);
            many[bad] = good;
        }
    }
    for (size_t i = 0; i < PV_COUNT(many); i++) {
        char name[] = {'a', (char)('0' + i), 0};
        cr_assert_eq(FS(close, many[i]), PV_OK);
        cr_assert_eq(FS(unlink, dir.fd, name), PV_OK);
    }
    check_and_remove();
}

Test(fs, rename_replaces_and_unlink_removes)
{
    setup();
    struct pv_fs_stat st;
    cr_assert_eq(FS(mkdir, dir.fd, "sub"), PV_OK);
    cr_assert_eq(FS(mkdir, dir.fd, "sub"), PV_E_EXISTS);
    cr_assert_eq(FS(stat_at, dir.fd, "sub", &st), PV_OK);
    cr_assert(st.is_directory);
    cr_assert_eq(st.mode & 0777, 0700);
    put("a", "new");
    put("sub/b", "older");
    pv_fd sub = open_ok("sub", PV_FS_READ | PV_FS_DIRECTORY);
    cr_assert_eq(FS(rename, dir.fd, "a", sub, "b"), PV_OK);
    cr_assert_eq(FS(stat_at, sub, "b", &st), PV_OK);
    cr_assert_eq(st.size_bytes, 3);
    cr_assert_eq(FS(rename, dir.fd, "a", sub, "b"), PV_E_NOT_FOUND);
    cr_assert_eq(FS(unlink, sub, "b"), PV_OK);
    cr_assert_eq(FS(unlink, sub, "b"), PV_E_NOT_FOUND);
    cr_assert_eq(FS(unlink, dir.fd, "sub"), PV_E_INVALID); /* files only */
    cr_assert_eq(FS(mkdir, dir.fd, "x/y"), PV_E_NOT_FOUND);
    cr_assert_eq(FS(close, sub), PV_OK);
    check_and_remove();
}

struct listing {
    unsigned seen; /* bit n: file "n" */
    int calls, stop_after;
};

static bool list_one(void *arg, const char *name)
{
    struct listing *l = arg;
    l->seen |= 1U << (name[0] - '0');
    return ++l->calls != l->stop_after;
}

Test(fs, list_names_each_entry_once)
{
    setup();
    struct listing l = {0};
    cr_assert_eq(FS(list, dir.fd, ".", list_one, &l), PV_OK);
    cr_assert_eq(l.calls, 0);
    for (int i = 0; i < 10; i++)
        put((char[]){(char)('0' + i), '\0'}, "");
    cr_assert_eq(FS(list, dir.fd, ".", list_one, &l), PV_OK);
    cr_assert_eq(l.calls, 10);
    cr_assert_eq(l.seen, 1023);
    l = (struct listing){.stop_after = 3};
    cr_assert_eq(FS(list, dir.fd, ".", list_one, &l), PV_OK);
    cr_assert_eq(l.calls, 3);
    l = (struct listing){0};
    cr_assert_eq(FS(list, PV_FD_NONE, dir.path, list_one, &l), PV_OK);
    cr_assert_eq(l.calls, 10);
    cr_assert_eq(FS(list, dir.fd, "absent", list_one, &l), PV_E_NOT_FOUND);
    cr_assert_eq(FS(list, dir.fd, "0", list_one, &l), PV_E_NOT_FOUND); /* a file */
    check_and_remove();
}

Test(fs, space_is_what_an_unprivileged_user_has)
{
    setup();
    struct pv_fs_space space;
    cr_assert_eq(FS(space, dir.fd, &space), PV_OK);
    cr_assert_gt(space.total_bytes, 0);
    cr_assert_leq(space.free_bytes, space.total_bytes);
    cr_assert_eq(FS(space, 1000000, &space), PV_E_IO);
    check_and_remove();
}

Test(fs, a_lock_excludes_other_processes_and_ends_with_close)
{
    setup();
    pv_fd mine = open_ok("lock", CREATE), other = open_ok("lock", CREATE);
    cr_assert_eq(FS(lock, mine), PV_OK);
    cr_assert_eq(FS(lock, mine), PV_OK);
    cr_assert_eq(FS(lock, other), PV_E_BUSY);
    pid_t child = fork();
    if (child == 0) {
        pv_fd fd;
        bool busy = FS(open, dir.fd, "lock", CREATE, &fd) == PV_OK && FS(lock, fd) == PV_E_BUSY;
        _exit(busy ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(FS(close, mine), PV_OK);
    cr_assert_eq(FS(lock, other), PV_OK);
    cr_assert_eq(FS(close, other), PV_OK);
    check_and_remove();
}

Test(fs, running_out_of_descriptors_is_a_limit)
{
    setup();
    struct rlimit old, low;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = (struct rlimit){(rlim_t)dir.fd + 1, old.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    enum pv_err open = open_err(dir.fd, "file", CREATE);
    enum pv_err list = FS(list, dir.fd, ".", list_one, NULL);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    cr_assert_eq(open, PV_E_LIMIT);
    cr_assert_eq(list, PV_E_LIMIT);
    check_and_remove();
}

Test(fs, a_file_larger_than_allowed_is_a_limit)
{
    setup();
    struct rlimit old, low;
    pv_fd fd = open_ok("file", CREATE);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = (struct rlimit){10, old.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    enum pv_err fits = FS(write, fd, "0123456789", 10, 0);
    enum pv_err over = FS(write, fd, "0123456789", 10, 1); /* a short write, then the error */
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    cr_assert_eq(fits, PV_OK);
    cr_assert_eq(over, PV_E_LIMIT);
    cr_assert_eq(FS(close, fd), PV_OK);
    check_and_remove();
}

Test(fs, a_full_disk_is_no_space)
{
    setup();
    pv_fd fd = PV_FD_NONE;
    cr_assert_eq(FS(open, PV_FD_NONE, "/dev/full", PV_FS_WRITE, &fd), PV_OK);
    cr_assert_eq(FS(write, fd, "x", 1, 0), PV_E_NOSPACE);
    cr_assert_eq(FS(close, fd), PV_OK);
    check_and_remove();
}

Test(fs, the_root_may_be_a_link_but_must_be_a_directory)
{
    setup();
    char path[300];
    pv_fd fd = -77;
    put("file", "");
    cr_assert_eq(symlinkat(".", dir.fd, "link"), 0);
    snprintf(path, sizeof path, "%s/file", dir.path);
    cr_assert_eq(pv_fs_real_open_root(path, &fd), PV_E_NOT_FOUND);
    snprintf(path, sizeof path, "%s/absent", dir.path);
    cr_assert_eq(pv_fs_real_open_root(path, &fd), PV_E_NOT_FOUND);
    cr_assert_eq(fd, -77);
    snprintf(path, sizeof path, "%s/link", dir.path);
    cr_assert_eq(pv_fs_real_open_root(path, &fd), PV_OK);
    cr_assert_eq(FS(close, fd), PV_OK);
    cr_assert_eq(FS(close, fd), PV_E_IO);
    check_and_remove();
}
