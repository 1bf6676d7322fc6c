/*
 * The file table over system calls that are interrupted, come short or fail: fs.c is compiled here
 * a second time, under other names and with these fakes in place of the system's calls.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/support/support.h"

/* Every call fails with `error` while `failures` lasts; then reads and writes move one byte. */
static struct {
    int error, failures, calls;
    bool one_byte, writes_nothing, no_memory;
} fault;

static bool fails(void)
{
    fault.calls++;
    if (fault.failures == 0)
        return false;
    fault.failures--;
    errno = fault.error;
    return true;
}

static int fake_openat(int dir, const char *path, int flags, int mode)
{
    return fails() ? -1 : openat(dir, path, flags, mode);
}

static int fake_close(int fd)
{
    int result = close(fd); /* Linux closes whatever it answers */
    return fails() ? -1 : result;
}

static ssize_t fake_pread(int fd, void *dst, size_t len, off_t offset)
{
    return fails() ? -1 : pread(fd, dst, fault.one_byte && len > 1 ? 1 : len, offset);
}

static ssize_t fake_pwrite(int fd, const void *src, size_t len, off_t offset)
{
    if (fault.writes_nothing)
        return 0;
    return fails() ? -1 : pwrite(fd, src, fault.one_byte && len > 1 ? 1 : len, offset);
}

static int fake_ftruncate(int fd, off_t len)
{
    return fails() ? -1 : ftruncate(fd, len);
}

static int fake_fdatasync(int fd)
{
    return fails() ? -1 : fdatasync(fd);
}

static int fake_fsync(int fd)
{
    return fails() ? -1 : fsync(fd);
}

static int fake_flock(int fd, int operation)
{
    return fails() ? -1 : flock(fd, operation);
}

static int fake_fstatvfs(int fd, struct statvfs *st)
{
    return fails() ? -1 : fstatvfs(fd, st);
}

static int fake_sync_file_range(int fd, off_t offset, off_t len, unsigned flags)
{
    return fails() ? -1 : sync_file_range(fd, offset, len, flags);
}

static struct dirent *fake_readdir(DIR *entries)
{
    return fails() ? NULL : readdir(entries);
}

static DIR *fake_fdopendir(int fd)
{
    errno = ENOMEM;
    return fault.no_memory ? NULL : fdopendir(fd);
}

#define pv_fs_real faulty_fs_real
#define pv_fs_real_open_root faulty_fs_real_open_root
#define pv_fs_sync_all faulty_fs_sync_all
#define openat fake_openat
#define close(fd) fake_close(fd) /* function-like, or it would rename the member */
#define pread fake_pread
#define pwrite fake_pwrite
#define ftruncate fake_ftruncate
#define fdatasync fake_fdatasync
#define fsync fake_fsync
#define flock fake_flock
#define fstatvfs fake_fstatvfs
#define sync_file_range fake_sync_file_range
#define readdir fake_readdir
#define fdopendir fake_fdopendir
/* Declared by fs.h, which was included before the names above changed. */
const struct pv_fs *faulty_fs_real(void);
enum pv_err faulty_fs_real_open_root(const char *path, pv_fd *out);
enum pv_err faulty_fs_sync_all(const struct pv_fs *fs, const pv_fd *fds, size_t count);
#include "internal/base/fs.c"
#undef close

TestSuite(fs_faults, .timeout = 20);

static struct pvt_tmpdir dir;
static size_t fds;
static pv_fd fd = PV_FD_NONE;

static void setup(void)
{
    fds = pvt_open_fds();
    pvt_tmpdir_init(&dir);
    cr_assert_eq(real_open(NULL, dir.fd, "file", PV_FS_WRITE | PV_FS_CREATE, &fd), PV_OK);
    fault.calls = 0;
}

static void check_and_remove(void)
{
    fault.failures = 0;
    cr_assert_eq(real_close(NULL, fd), PV_OK);
    pvt_tmpdir_release(&dir);
    cr_assert_eq(pvt_open_fds(), fds, "a descriptor leaked");
}

static void inject(int error, int failures)
{
    fault.error = error;
    fault.failures = failures;
    fault.calls = 0;
}

Test(fs_faults, short_and_interrupted_io_is_made_whole)
{
    setup();
    char text[1000], back[1000];
    size_t got = 0;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)i;
    fault.one_byte = true;
    inject(EINTR, 5);
    cr_assert_eq(real_write(NULL, fd, text, sizeof text, 7), PV_OK);
    cr_assert_eq(fault.calls, 5 + (int)sizeof text);
    inject(EINTR, 5);
    cr_assert_eq(real_read(NULL, fd, back, sizeof back, 7, &got), PV_OK);
    cr_assert_eq(got, sizeof back);
    cr_assert_eq(memcmp(text, back, sizeof text), 0);
    inject(EINTR, 1);
    cr_assert_eq(real_read(NULL, fd, back, sizeof back, 1000, &got), PV_OK);
    cr_assert_eq(got, 7); /* 1007 bytes in the file */
    check_and_remove();
}

Test(fs_faults, errors_of_io_come_through)
{
    setup();
    char c = 'x';
    size_t got = 99;
    inject(EIO, 1);
    cr_assert_eq(real_read(NULL, fd, &c, 1, 0, &got), PV_E_IO);
    cr_assert_eq(got, 99);
    inject(ENOSPC, 1);
    cr_assert_eq(real_write(NULL, fd, &c, 1, 0), PV_E_NOSPACE);
    inject(EDQUOT, 1);
    cr_assert_eq(real_write(NULL, fd, &c, 1, 0), PV_E_NOSPACE);
    fault.writes_nothing = true;
    cr_assert_eq(real_write(NULL, fd, &c, 1, 0), PV_E_IO);
    check_and_remove();
}

Test(fs_faults, a_failed_sync_is_never_repeated)
{
    static const int errors[] = {EIO, EINTR, ENOSPC};
    setup();
    for (size_t i = 0; i < PV_COUNT(errors); i++) {
        inject(errors[i], 1);
        cr_assert_neq(real_sync(NULL, fd), PV_OK);
        cr_assert_eq(fault.calls, 1);
        inject(errors[i], 1);
        cr_assert_neq(real_sync(NULL, dir.fd), PV_OK);
        cr_assert_eq(fault.calls, 1);
    }
    check_and_remove();
}

Test(fs_faults, interrupted_calls_are_repeated)
{
    struct pv_fs_space space;
    pv_fd other;
    setup();
    inject(EINTR, 3);
    cr_assert_eq(real_truncate(NULL, fd, 10), PV_OK);
    cr_assert_eq(fault.calls, 4);
    inject(EINTR, 3);
    cr_assert_eq(real_lock(NULL, fd), PV_OK);
    inject(EINTR, 3);
    cr_assert_eq(real_space(NULL, dir.fd, &space), PV_OK);
    inject(EINTR, 3);
    cr_assert_eq(real_open(NULL, dir.fd, "file", PV_FS_READ, &other), PV_OK);
    inject(EINTR, 1);
    cr_assert_eq(real_close(NULL, other), PV_OK); /* once: it is closed */
    cr_assert_eq(fault.calls, 1);
    cr_assert_eq(faulty_fs_real_open_root(dir.path, &other), PV_OK);
    inject(EIO, 1);
    cr_assert_eq(faulty_fs_real()->close(NULL, other), PV_E_IO);
    check_and_remove();
}

Test(fs_faults, other_failures_come_through)
{
    struct pv_fs_space space = {.total_bytes = 1, .free_bytes = 1};
    setup();
    inject(EIO, 1);
    cr_assert_eq(real_truncate(NULL, fd, 10), PV_E_IO);
    inject(EWOULDBLOCK, 1);
    cr_assert_eq(real_lock(NULL, fd), PV_E_BUSY);
    inject(ENOLCK, 1);
    cr_assert_eq(real_lock(NULL, fd), PV_E_IO);
    inject(EIO, 1);
    cr_assert_eq(real_space(NULL, dir.fd, &space), PV_E_IO);
    cr_assert_eq(space.total_bytes, 1);
    inject(EIO, 1);
    cr_assert_eq(real_start_writeback(NULL, fd), PV_E_IO);
    inject(ENOSYS, 1);
    cr_assert_eq(real_start_writeback(NULL, fd), PV_OK); /* only a hint */
    check_and_remove();
}

static bool stop_never(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
    inject(EIO, 1); /* from the second entry on */
    return true;
}

Test(fs_faults, a_listing_without_memory_closes_its_folder)
{
    setup();
    fault.no_memory = true;
    cr_assert_eq(real_list(NULL, dir.fd, ".", NULL, NULL), PV_E_NOMEM);
    check_and_remove();
}

Test(fs_faults, a_listing_that_breaks_off_is_an_error)
{
    int seen = 0;
    setup();
    inject(0, 0);
    cr_assert_eq(real_list(NULL, dir.fd, ".", stop_never, &seen), PV_E_IO);
    cr_assert_eq(seen, 1);
    check_and_remove();
}
