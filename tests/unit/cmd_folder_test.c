/* A walk gives everything once, in order, whatever the shape of the tree, and leads nowhere else.
 */
#include "cmd/peervault/folder.h"
#include "crypto/body.h"
#include "internal/base/mem.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(folder, .timeout = 60);

static struct pvt_tmpdir dir;
static struct pv_folder *walk;
static struct pv_folder_entry entry;

static void setup(void)
{
    pvt_tmpdir_init(&dir);
    cr_assert_eq(chdir(dir.path), 0);
    cr_assert_eq(mkdir("top", 0700), 0);
}

static void put(int at, const char *name)
{
    int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    cr_assert_geq(fd, 0, "%s: %s", name, strerror(errno));
    close(fd);
}

static void start(const struct pv_folder_avoid *avoid)
{
    cr_assert_eq(pv_folder_start(&walk, "top", "name", avoid), PV_OK);
}

static void next(enum pv_folder_kind kind, const char *below)
{
    char path[512];
    pv_folder_next(walk, &entry);
    cr_assert_eq(entry.kind, kind, "%s: %d, %s", below, (int)entry.kind,
                 entry.why != NULL ? entry.why : "");
    snprintf(path, sizeof path, "top%s%s", below[0] != '\0' ? "/" : "", below);
    cr_assert_str_eq(entry.path, path);
    if (kind != PV_FOLDER_FILE)
        return;
    snprintf(path, sizeof path, "name/%s", below);
    cr_assert_str_eq(entry.name, path);
    cr_assert_eq(faccessat(entry.dir, entry.base, F_OK, AT_SYMLINK_NOFOLLOW), 0);
}

static size_t open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static void finish(void)
{
    pv_folder_next(walk, &entry);
    cr_assert_eq(entry.kind, PV_FOLDER_END);
    pv_folder_next(walk, &entry);
    cr_assert_eq(entry.kind, PV_FOLDER_END);
    pv_folder_release(walk);
    pvt_tmpdir_release(&dir);
}

Test(folder, goes_through_a_tree_in_order, .init = setup)
{
    cr_assert_eq(mkdir("top/b", 0700) | mkdir("top/b/c", 0700) | mkdir("top/empty", 0700), 0);
    put(AT_FDCWD, "top/b.txt");
    put(AT_FDCWD, "top/a b\n");
    put(AT_FDCWD, "top/\xff");
    put(AT_FDCWD, "top/b/z");
    put(AT_FDCWD, "top/b/c/deep");
    cr_assert_eq(mkfifo("top/fifo", 0600), 0);
    cr_assert_eq(symlink("/etc", "top/link"), 0);
    cr_assert_eq(symlink(".", "top/b/loop"), 0);
    start(NULL);
    next(PV_FOLDER_FILE, "a b\n");
    next(PV_FOLDER_FILE, "b/c/deep");
    next(PV_FOLDER_SKIPPED, "b/loop");
    next(PV_FOLDER_FILE, "b/z");
    next(PV_FOLDER_FILE, "b.txt");
    next(PV_FOLDER_SKIPPED, "fifo");
    cr_assert_str_eq(entry.why, "a pipe");
    next(PV_FOLDER_SKIPPED, "link");
    cr_assert_str_eq(entry.why, "a symbolic link");
    next(PV_FOLDER_FILE, "\xff");
    finish();
}

/* More than two portions of names, with a folder at every border. */
Test(folder, reads_large_folders_in_portions, .init = setup)
{
    enum { FILES = 40000 };
    char name[32];
    int top = open("top", O_PATH);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "f%05d", (i * 7919) % FILES); /* in no order */
        if (((i * 7919) % FILES) % 16384 < 2) {
            cr_assert_eq(mkdirat(top, name, 0700), 0);
            strcat(name, "/x");
        }
        put(top, name);
    }
    close(top);
    start(NULL);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "f%05d%s", i, i % 16384 < 2 ? "/x" : "");
        next(PV_FOLDER_FILE, name);
    }
    finish();
}

Test(folder, keeps_few_descriptors_in_deep_trees, .init = setup)
{
    char below[512] = "";
    int at = open("top", O_PATH), depth = 60;
    for (int i = 0; i < depth; i++) { /* a file before and one behind each folder */
        put(at, "a");
        put(at, "z");
        cr_assert_eq(mkdirat(at, "m", 0700), 0);
        int deeper = openat(at, "m", O_PATH);
        close(at);
        at = deeper;
    }
    close(at);
    size_t before = open_descriptors();
    start(NULL);
    for (int i = 0; i < depth; i++) {
        strcat(below, "a");
        next(PV_FOLDER_FILE, below);
        strcpy(below + 2 * i, "m/");
    }
    cr_assert_leq(open_descriptors(), before + 10);
    for (int i = depth - 1; i >= 0; i--) {
        strcpy(below + 2 * i, "z");
        next(PV_FOLDER_FILE, below);
    }
    finish();
}

Test(folder, is_not_led_astray_by_a_rename, .init = setup)
{
    char below[512] = "";
    cr_assert_eq(mkdir("elsewhere", 0700), 0);
    put(AT_FDCWD, "elsewhere/z");
    put(AT_FDCWD, "top/z");
    cr_assert_eq(chdir("top"), 0);
    for (int i = 0; i < 40; i++) {
        cr_assert_eq(mkdir("m", 0700), 0);
        put(AT_FDCWD, "m/z");
        cr_assert_eq(chdir("m"), 0);
        strcat(below, "m/");
    }
    cr_assert_eq(chdir(dir.path), 0);
    start(NULL);
    strcat(below, "z");
    next(PV_FOLDER_FILE, below);
    /* The first folder below gives way to a link; those that still have their descriptor go on,
     * those that rested are told and left. */
    cr_assert_eq(rename("top/m", "moved") | symlink("../elsewhere", "top/m"), 0);
    int files = 0, failed = 0;
    for (pv_folder_next(walk, &entry); entry.kind != PV_FOLDER_END; pv_folder_next(walk, &entry)) {
        struct stat st, foreign;
        cr_assert_neq(entry.kind, PV_FOLDER_SKIPPED);
        failed += entry.kind == PV_FOLDER_FAILED;
        if (entry.kind != PV_FOLDER_FILE)
            continue;
        files++;
        cr_assert_eq(fstatat(entry.dir, entry.base, &st, AT_SYMLINK_NOFOLLOW), 0);
        cr_assert_eq(stat("elsewhere/z", &foreign), 0);
        cr_assert_neq(st.st_ino, foreign.st_ino);
    }
    cr_assert_eq(files + failed, 40);
    cr_assert_eq(failed, 32);
    finish();
}

Test(folder, tells_what_cannot_be_read, .init = setup)
{
    cr_assert_eq(mkdir("top/locked", 0) | mkdir("top/vault", 0700), 0);
    put(AT_FDCWD, "top/vault/secret");
    put(AT_FDCWD, "top/z");
    struct stat st;
    cr_assert_eq(stat("top/vault", &st), 0);
    struct pv_folder_avoid avoid = {st.st_dev, st.st_ino, true};
    start(&avoid);
    if (geteuid() != 0)
        next(PV_FOLDER_FAILED, "locked");
    next(PV_FOLDER_SKIPPED, "vault");
    next(PV_FOLDER_FILE, "z");
    finish();
}

Test(folder, turns_back_where_names_get_too_long, .init = setup)
{
    char part[251], below[1300] = "";
    int at = open("top", O_PATH);
    memset(part, 'd', 250);
    part[250] = '\0';
    for (int i = 0; i < 4; i++) { /* "name/" and 4 * 251 bytes are 1009 */
        cr_assert_eq(mkdirat(at, part, 0700), 0);
        int deeper = openat(at, part, O_PATH);
        close(at);
        at = deeper;
        strcat(strcat(below, part), "/");
    }
    part[15] = '\0';
    put(at, part); /* 1024 */
    part[15] = 'd';
    part[16] = '\0';
    put(at, part); /* 1025 */
    part[0] = 'e';
    part[13] = '\0';
    cr_assert_eq(mkdirat(at, part, 0700), 0); /* room for one byte behind the slash: 1024 */
    strcat(part, "/x");
    put(at, part);
    strcpy(part, "f");
    memset(part + 1, 'd', 13);
    part[14] = '\0';
    cr_assert_eq(mkdirat(at, part, 0700), 0); /* and none */
    close(at);
    start(NULL);
    static const enum pv_folder_kind kinds[] = {PV_FOLDER_FILE, PV_FOLDER_FAILED, PV_FOLDER_FILE,
                                                PV_FOLDER_FAILED};
    for (size_t i = 0; i < PV_COUNT(kinds); i++) {
        pv_folder_next(walk, &entry);
        cr_assert_eq(entry.kind, kinds[i], "%zu", i);
        if (entry.kind == PV_FOLDER_FILE)
            cr_assert_eq(strlen(entry.name), PV_NAME_MAX);
    }
    finish();
}

Test(folder, ends_when_memory_does, .init = setup)
{
    cr_assert_eq(mkdir("top/b", 0700), 0);
    put(AT_FDCWD, "top/a");
    put(AT_FDCWD, "top/b/c");
    for (uint64_t n = 0; n < 12; n++) {
        enum pv_err err;
        int steps = 0;
        pv_mem_fail_after(n);
        err = pv_folder_start(&walk, "top", "name", NULL);
        cr_assert_eq(err, n == 0 ? PV_E_NOMEM : PV_OK);
        for (entry.kind = PV_FOLDER_FILE; err == PV_OK && entry.kind != PV_FOLDER_END; steps++)
            pv_folder_next(walk, &entry);
        pv_mem_fail_after(UINT64_MAX);
        cr_assert_leq(steps, 5);
        if (err == PV_OK)
            pv_folder_release(walk);
    }
    walk = NULL;
    pvt_tmpdir_release(&dir);
}

Test(folder, starts_only_at_a_folder, .init = setup)
{
    char *name = NULL;
    put(AT_FDCWD, "file");
    cr_assert_eq(symlink("top", "link"), 0);
    cr_assert_eq(pv_folder_start(&walk, "gone", "n", NULL), PV_E_IO);
    cr_assert_eq(errno, ENOENT);
    cr_assert_eq(pv_folder_start(&walk, "file", "n", NULL), PV_E_IO);
    cr_assert_eq(pv_folder_name(&name, "gone"), PV_E_NOT_FOUND);
    cr_assert_eq(pv_folder_name(&name, "link/../top/."), PV_OK);
    cr_assert_str_eq(name, "top");
    pv_free(name);
    cr_assert_eq(pv_folder_name(&name, "/"), PV_OK);
    cr_assert_str_eq(name, "");
    pv_free(name);
    pvt_tmpdir_release(&dir);
}

static int below(const char *path, bool make)
{
    int root = open(dir.path, O_PATH | O_DIRECTORY);
    int fd = pv_open_below(root, path, strlen(path), O_RDONLY, make);
    int error = errno;
    close(root);
    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : error;
}

Test(folder, opens_below_and_nowhere_else, .init = setup)
{
    cr_assert_eq(symlink("/etc", "out") | symlink("top", "in"), 0);
    put(AT_FDCWD, "file");
    cr_assert_eq(below("", false), 0);
    cr_assert_eq(below("top", false), 0);
    cr_assert_eq(below("top/a/b", false), ENOENT);
    cr_assert_eq(below("top/a/b", true), 0);
    cr_assert_eq(below("top/a/b/", false), 0);
    cr_assert_neq(below("out/ssl", true), 0);
    cr_assert_neq(below("out", false), 0);
    cr_assert_neq(below("in/a", true), 0);
    cr_assert_eq(below("file/x", true), ENOTDIR);
    char name[300];
    memset(name, 'x', 256);
    name[256] = '\0';
    cr_assert_eq(below(name, true), ENAMETOOLONG);
    pvt_tmpdir_release(&dir);
}
