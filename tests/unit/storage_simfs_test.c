/* The simulated disk itself: what a crash may show, and what it must not. */
#include "tests/support/simfs.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(simfs, .timeout = 60);

enum { SEEDS = 300 };

static struct pvt_simfs *disk;
static const struct pv_fs *fs;

static void set_up(void)
{
    disk = pvt_simfs_new();
    fs = pvt_simfs_fs(disk);
}

static pv_fd open_in(struct pvt_simfs *s, const char *path, int flags)
{
    pv_fd fd = PV_FD_NONE;
    const struct pv_fs *f = pvt_simfs_fs(s);
    cr_assert_eq(f->open(f->ctx, PV_FD_NONE, path, flags, &fd), PV_OK, "%s", path);
    return fd;
}

static void close_in(struct pvt_simfs *s, pv_fd fd)
{
    cr_assert_eq(pvt_simfs_fs(s)->close(pvt_simfs_fs(s)->ctx, fd), PV_OK);
}

/* Opens, writes all of text at offset, syncs on demand, closes. */
static void put(struct pvt_simfs *s, const char *path, const char *text, uint64_t offset, bool sync)
{
    const struct pv_fs *f = pvt_simfs_fs(s);
    pv_fd fd = open_in(s, path, PV_FS_WRITE | PV_FS_CREATE);
    cr_assert_eq(f->write(f->ctx, fd, text, strlen(text), offset), PV_OK);
    if (sync)
        cr_assert_eq(f->sync(f->ctx, fd), PV_OK);
    close_in(s, fd);
}

static void sync_folder(const char *path)
{
    pv_fd fd = open_in(disk, path, PV_FS_READ | PV_FS_DIRECTORY);
    cr_assert_eq(fs->sync(fs->ctx, fd), PV_OK);
    close_in(disk, fd);
}

static bool exists(struct pvt_simfs *s, const char *path)
{
    struct pv_fs_stat st;
    enum pv_err err = pvt_simfs_fs(s)->stat_at(pvt_simfs_fs(s)->ctx, PV_FD_NONE, path, &st);
    cr_assert(err == PV_OK || err == PV_E_NOT_FOUND);
    return err == PV_OK;
}

/* The length; -1: there is no such file. */
static int get(struct pvt_simfs *s, const char *path, char *dst, size_t len)
{
    const struct pv_fs *f = pvt_simfs_fs(s);
    size_t got = 0;
    memset(dst, 0, len);
    if (!exists(s, path))
        return -1;
    pv_fd fd = open_in(s, path, PV_FS_READ);
    cr_assert_eq(f->read(f->ctx, fd, dst, len, 0, &got), PV_OK);
    close_in(s, fd);
    return (int)got;
}

static bool holds(struct pvt_simfs *s, const char *path, const char *text)
{
    char bytes[64];
    return get(s, path, bytes, sizeof bytes) == (int)strlen(text) && strcmp(bytes, text) == 0;
}

static void fill(char *text, char byte, size_t len)
{
    memset(text, byte, len);
    text[len] = '\0';
}

/* ---- as any file system ---- */

Test(simfs, does_what_files_do, .init = set_up)
{
    char bytes[32];
    size_t got;
    struct pv_fs_stat st;
    pv_fd a = open_in(disk, "a", PV_FS_WRITE | PV_FS_CREATE | PV_FS_EXCLUSIVE), b;
    cr_assert_eq(fs->write(fs->ctx, a, "hello", 5, 510), PV_OK);
    cr_assert_eq(fs->read(fs->ctx, a, bytes, 7, 508, &got), PV_OK);
    cr_assert_eq(got, 7);
    cr_assert_eq(memcmp(bytes, "\0\0hello", 7), 0);
    cr_assert_eq(fs->read(fs->ctx, a, bytes, 9, 513, &got), PV_OK);
    cr_assert_eq(got, 2);
    cr_assert_eq(fs->read(fs->ctx, a, bytes, 9, 600, &got), PV_OK);
    cr_assert_eq(got, 0);
    cr_assert_eq(fs->truncate(fs->ctx, a, 511), PV_OK);
    cr_assert_eq(fs->truncate(fs->ctx, a, 514), PV_OK);
    cr_assert_eq(fs->read(fs->ctx, a, bytes, 9, 509, &got), PV_OK);
    cr_assert_eq(got, 5);
    cr_assert_eq(memcmp(bytes, "\0h\0\0\0", 5), 0);
    cr_assert_eq(fs->stat(fs->ctx, a, &st), PV_OK);
    cr_assert(st.size_bytes == 514 && st.is_regular && !st.is_directory &&
              (st.mode & 0777) == 0600);
    cr_assert_eq(fs->open(fs->ctx, PV_FD_NONE, "a", PV_FS_CREATE | PV_FS_EXCLUSIVE, &b),
                 PV_E_EXISTS);
    cr_assert_eq(fs->open(fs->ctx, PV_FD_NONE, "/a", PV_FS_READ | PV_FS_DIRECTORY, &b),
                 PV_E_NOT_FOUND);
    cr_assert_eq(fs->open(fs->ctx, PV_FD_NONE, "b", PV_FS_READ, &b), PV_E_NOT_FOUND);
    cr_assert_eq(fs->open(fs->ctx, PV_FD_NONE, "a/b", PV_FS_CREATE, &b), PV_E_NOT_FOUND);
    cr_assert_eq(pvt_simfs_open_handles(disk), 1);
    close_in(disk, a);
    b = open_in(disk, "a", PV_FS_WRITE | PV_FS_TRUNCATE);
    cr_assert_eq(fs->stat(fs->ctx, b, &st), PV_OK);
    cr_assert_eq(st.size_bytes, 0);
    close_in(disk, b);
    cr_assert_eq(pvt_simfs_open_handles(disk), 0);
    pvt_simfs_free(disk);
}

static bool add_name(void *arg, const char *name)
{
    strcat(arg, name);
    strcat(arg, " ");
    return strlen(arg) < 6;
}

Test(simfs, does_what_folders_do, .init = set_up)
{
    char names[64] = "";
    pv_fd d;
    cr_assert_eq(fs->mkdir(fs->ctx, PV_FD_NONE, "d"), PV_OK);
    cr_assert_eq(fs->mkdir(fs->ctx, PV_FD_NONE, "d/"), PV_E_EXISTS);
    cr_assert_eq(fs->mkdir(fs->ctx, PV_FD_NONE, "x/y"), PV_E_NOT_FOUND);
    d = open_in(disk, "d", PV_FS_READ | PV_FS_DIRECTORY);
    put(disk, "d/b", "b", 0, false);
    put(disk, "/d/a", "a", 0, false);
    put(disk, "d/./c", "c", 0, false);
    cr_assert_eq(fs->list(fs->ctx, d, ".", add_name, names), PV_OK);
    cr_assert_str_eq(names, "a b c ");
    names[0] = '\0';
    cr_assert_eq(fs->rename(fs->ctx, d, "a", PV_FD_NONE, "d/b"), PV_OK);
    cr_assert_eq(fs->list(fs->ctx, PV_FD_NONE, "d", add_name, names), PV_OK);
    cr_assert_str_eq(names, "b c ");
    cr_assert(holds(disk, "d/b", "a"));
    cr_assert_eq(fs->unlink(fs->ctx, d, "b"), PV_OK);
    cr_assert_eq(fs->unlink(fs->ctx, d, "b"), PV_E_NOT_FOUND);
    cr_assert_eq(fs->unlink(fs->ctx, PV_FD_NONE, "d"), PV_E_INVALID);
    cr_assert_eq(fs->rename(fs->ctx, d, "b", d, "z"), PV_E_NOT_FOUND);
    cr_assert_eq(fs->list(fs->ctx, d, "none", add_name, names), PV_E_NOT_FOUND);
    close_in(disk, d);
    pvt_simfs_free(disk);
}

Test(simfs, a_lock_ends_with_its_handle, .init = set_up)
{
    pv_fd a = open_in(disk, "l", PV_FS_WRITE | PV_FS_CREATE), b = open_in(disk, "l", PV_FS_WRITE);
    cr_assert_eq(fs->lock(fs->ctx, a), PV_OK);
    cr_assert_eq(fs->lock(fs->ctx, b), PV_E_BUSY);
    close_in(disk, a);
    cr_assert_eq(fs->lock(fs->ctx, b), PV_OK);
    pvt_simfs_kill(disk);
    cr_assert_eq(pvt_simfs_open_handles(disk), 0);
    a = open_in(disk, "l", PV_FS_WRITE);
    cr_assert_eq(fs->lock(fs->ctx, a), PV_OK);
    pvt_simfs_free(disk);
}

/* ---- crashes: files ---- */

Test(simfs, what_was_synced_survives_every_crash, .init = set_up)
{
    put(disk, "a", "first", 0, true);
    sync_folder(".");
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct pvt_simfs *after = pvt_simfs_crash(disk, seed);
        cr_assert(holds(after, "a", "first"));
        pvt_simfs_free(after);
    }
    cr_assert(holds(disk, "a", "first"));
    pvt_simfs_free(disk);
}

Test(simfs, the_seed_decides, .init = set_up)
{
    char text[5000], x[5001], y[5001];
    fill(text, 'n', sizeof text - 1);
    put(disk, "a", "old", 0, true);
    sync_folder("");
    put(disk, "a", text, 0, false);
    put(disk, "b", "b", 0, true);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct pvt_simfs *one = pvt_simfs_crash(disk, seed), *two = pvt_simfs_crash(disk, seed);
        cr_assert_eq(get(one, "a", x, sizeof x), get(two, "a", y, sizeof y));
        cr_assert_eq(memcmp(x, y, sizeof x), 0);
        cr_assert_eq(exists(one, "b"), exists(two, "b"));
        cr_assert(seed != PVT_CRASH_NOTHING || (holds(one, "a", "old") && !exists(one, "b")));
        cr_assert(seed != PVT_CRASH_ALL || (strcmp(x, text) == 0 && holds(one, "b", "b")));
        pvt_simfs_free(one);
        pvt_simfs_free(two);
    }
    pvt_simfs_free(disk);
}

/* Overwritten in place twice: each sector is of one of three generations, all mixtures occur, no
 * sector is torn, and what comes after the crash is durable. */
Test(simfs, sectors_survive_one_by_one, .init = set_up)
{
    enum { SECTORS = 4, LEN = SECTORS * PVT_SECTOR_LEN };
    char text[LEN + 1], bytes[LEN];
    bool seen[81] = {false};
    unsigned mixtures = 0;
    fill(text, '0', LEN);
    put(disk, "a", text, 0, true);
    sync_folder(".");
    fill(text, '1', LEN);
    put(disk, "a", text, 0, false);
    fill(text, '2', LEN);
    put(disk, "a", text, 0, false);
    for (uint64_t seed = 0; seed < 20 * SEEDS; seed++) {
        struct pvt_simfs *after = pvt_simfs_crash(disk, seed);
        unsigned mixture = 0;
        cr_assert_eq(get(after, "a", bytes, sizeof bytes), LEN);
        for (unsigned i = 0; i < SECTORS; i++) {
            const char *sector = bytes + i * PVT_SECTOR_LEN;
            cr_assert(sector[0] >= '0' && sector[0] <= '2');
            for (unsigned k = 1; k < PVT_SECTOR_LEN; k++)
                cr_assert_eq(sector[k], sector[0]);
            mixture = mixture * 3 + (unsigned)(sector[0] - '0');
        }
        mixtures += !seen[mixture];
        seen[mixture] = true;
        struct pvt_simfs *again = pvt_simfs_crash(after, seed + 2);
        char copy[LEN];
        cr_assert_eq(get(again, "a", copy, sizeof copy), LEN);
        cr_assert_eq(memcmp(copy, bytes, LEN), 0);
        pvt_simfs_free(again);
        pvt_simfs_free(after);
    }
    cr_assert_eq(mixtures, 81);
    pvt_simfs_free(disk);
}

/* A file that got longer: bytes without length, length without bytes, zeros and foreign bytes. */
Test(simfs, lengths_follow_in_order, .init = set_up)
{
    enum { LEN = 2 * PVT_SECTOR_LEN };
    char text[LEN + 1], bytes[2 * LEN];
    unsigned zeros = 0, foreign = 0, lengths[3] = {0};
    put(disk, "a", "", 0, true);
    sync_folder(".");
    fill(text, 'x', LEN);
    put(disk, "a", text, 0, false);
    put(disk, "a", text, LEN, false);
    for (uint64_t seed = 2; seed < 10 * SEEDS; seed++) {
        struct pvt_simfs *after = pvt_simfs_crash(disk, seed);
        int len = get(after, "a", bytes, sizeof bytes);
        cr_assert(len == 0 || len == LEN || len == 2 * LEN);
        lengths[len / LEN]++;
        for (int at = 0; at < len; at += PVT_SECTOR_LEN) {
            zeros += bytes[at] == 0 && bytes[at + 1] == 0;
            foreign += bytes[at] != 0 && memcmp(bytes + at, text, PVT_SECTOR_LEN) != 0;
        }
        pvt_simfs_free(after);
    }
    cr_assert(lengths[0] > 0 && lengths[1] > 0 && lengths[2] > 0 && zeros > 0 && foreign > 0);
    pvt_simfs_free(disk);
}

Test(simfs, a_cut_holds_back_what_came_after_it, .init = set_up)
{
    enum { LEN = 4 * PVT_SECTOR_LEN };
    char text[LEN + 1], bytes[LEN];
    unsigned olds = 0, news = 0;
    fill(text, 'o', LEN);
    put(disk, "a", text, 0, true);
    sync_folder(".");
    pv_fd fd = open_in(disk, "a", PV_FS_WRITE | PV_FS_TRUNCATE);
    cr_assert_eq(fs->write(fs->ctx, fd, "new", 3, 0), PV_OK);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct pvt_simfs *after = pvt_simfs_crash(disk, seed);
        int len = get(after, "a", bytes, sizeof bytes);
        cr_assert(len == LEN || len == 0 || len == 3);
        if (len == LEN)
            cr_assert_eq(memcmp(bytes, text, LEN), 0);
        olds += len == LEN;
        news += len == 3 && memcmp(bytes, "new", 3) == 0;
        pvt_simfs_free(after);
    }
    cr_assert(olds > 0 && news > 0);
    cr_assert_eq(fs->sync(fs->ctx, fd), PV_OK);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct pvt_simfs *after = pvt_simfs_crash(disk, seed);
        cr_assert(holds(after, "a", "new"));
        pvt_simfs_free(after);
    }
    pvt_simfs_free(disk);
}

/* ---- crashes: names ---- */

Test(simfs, a_name_needs_a_sync_of_its_folder, .init = set_up)
{
    unsigned there = 0;
    cr_assert_eq(fs->mkdir(fs->ctx, PV_FD_NONE, "d"), PV_OK);
    put(disk, "d/a", "a", 0, true);
    sync_folder("d"); /* but not the root, where d is */
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct pvt_simfs *after = pvt_simfs_crash(disk, seed);
        cr_assert_eq(exists(after, "d"), exists(after, "d/a"));
        cr_assert(!exists(after, "d/a") || holds(after, "d/a", "a"));
        there += exists(after, "d/a");
        pvt_simfs_free(after);
    }
    cr_assert(there > 0 && there < SEEDS);
    sync_folder(".");
    cr_assert_eq(fs->unlink(fs->ctx, PV_FD_NONE, "d/a"), PV_OK);
    there = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct pvt_simfs *after = pvt_simfs_crash(disk, seed);
        cr_assert(exists(after, "d"));
        cr_assert(!exists(after, "d/a") || holds(after, "d/a", "a"));
        there += exists(after, "d/a");
        pvt_simfs_free(after);
    }
    cr_assert(there > 0 && there < SEEDS);
    sync_folder("d");
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct pvt_simfs *after = pvt_simfs_crash(disk, seed);
        cr_assert(exists(after, "d") && !exists(after, "d/a"));
        pvt_simfs_free(after);
    }
    pvt_simfs_free(disk);
}

static void make_rename(void)
{
    cr_assert_eq(fs->mkdir(fs->ctx, PV_FD_NONE, "from"), PV_OK);
    cr_assert_eq(fs->mkdir(fs->ctx, PV_FD_NONE, "to"), PV_OK);
    put(disk, "from/a", "new", 0, true);
    put(disk, "to/b", "old", 0, true);
    sync_folder("from");
    sync_folder("to");
    sync_folder(".");
    cr_assert_eq(fs->rename(fs->ctx, PV_FD_NONE, "from/a", PV_FD_NONE, "to/b"), PV_OK);
}

/* Which of the states of a rename crashes show: bit 0 old, 1 new and gone, 2 both names. */
static unsigned renames_seen(void)
{
    unsigned seen = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct pvt_simfs *after = pvt_simfs_crash(disk, seed);
        bool source = exists(after, "from/a"), moved = holds(after, "to/b", "new");
        cr_assert(moved || (source && holds(after, "to/b", "old")));
        seen |= !moved ? 1 : source ? 4 : 2;
        pvt_simfs_free(after);
    }
    return seen;
}

Test(simfs, a_rename_loses_nothing, .init = set_up)
{
    make_rename();
    cr_assert_eq(renames_seen(), 7);
    sync_folder("to");
    cr_assert_eq(renames_seen(), 6); /* the old name may still be there */
    sync_folder("from");
    cr_assert_eq(renames_seen(), 2);
    pvt_simfs_free(disk);
}

Test(simfs, a_synced_source_makes_the_new_name_durable, .init = set_up)
{
    make_rename();
    sync_folder("from");
    cr_assert_eq(renames_seen(), 2);
    pvt_simfs_free(disk);
}

/* Without order between names, and in order: both kinds of file systems. */
Test(simfs, names_survive_in_any_order_but_their_own, .init = set_up)
{
    unsigned seen = 0;
    put(disk, "a", "1", 0, true);
    put(disk, "b", "1", 0, true);
    cr_assert_eq(fs->unlink(fs->ctx, PV_FD_NONE, "a"), PV_OK);
    for (uint64_t seed = 0; seed < 10 * SEEDS; seed++) {
        struct pvt_simfs *after = pvt_simfs_crash(disk, seed);
        seen |= 1U << (exists(after, "a") + 2 * exists(after, "b"));
        pvt_simfs_free(after);
    }
    cr_assert_eq(seen, 15);
    put(disk, "a", "2", 0, true);
    sync_folder(".");
    struct pvt_simfs *after = pvt_simfs_crash(disk, 5);
    cr_assert(holds(after, "a", "2") && holds(after, "b", "1"));
    pvt_simfs_free(after);
    pvt_simfs_free(disk);
}

/* ---- faults ---- */

Test(simfs, a_failed_sync_has_lost_its_bytes, .init = set_up)
{
    char text[2 * PVT_SECTOR_LEN + 1];
    unsigned lost = 0, there = 0;
    put(disk, "a", "old", 0, true);
    sync_folder(".");
    pv_fd fd = open_in(disk, "a", PV_FS_WRITE);
    fill(text, 'n', sizeof text - 1);
    cr_assert_eq(fs->write(fs->ctx, fd, text, sizeof text - 1, 0), PV_OK);
    pvt_simfs_fail(disk, &(struct pvt_simfs_fault){PVT_FS_SYNC, NULL, 1, PV_E_IO, false});
    cr_assert_eq(fs->sync(fs->ctx, fd), PV_E_IO);
    cr_assert_eq(fs->sync(fs->ctx, fd), PV_OK); /* a lie: the pages count as clean */
    cr_assert_eq(fs->write(fs->ctx, fd, "zz", 2, 600), PV_OK);
    cr_assert_eq(fs->sync(fs->ctx, fd), PV_OK); /* and this covers the second sector only */
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        char bytes[sizeof text];
        struct pvt_simfs *after = pvt_simfs_crash(disk, seed);
        cr_assert_eq(get(after, "a", bytes, sizeof bytes), sizeof text - 1);
        cr_assert_eq(memcmp(bytes + 595, "nnnnnzznnn", 10), 0);
        lost += memcmp(bytes, "old\0\0", 5) == 0;
        there += memcmp(bytes, "nnnnn", 5) == 0;
        pvt_simfs_free(after);
    }
    cr_assert(lost > 0 && there > 0 && lost + there == SEEDS);
    cr_assert_eq(fs->write(fs->ctx, fd, text, sizeof text - 1, 0), PV_OK); /* written again */
    cr_assert_eq(fs->sync(fs->ctx, fd), PV_OK);
    struct pvt_simfs *after = pvt_simfs_crash(disk, PVT_CRASH_NOTHING);
    char bytes[sizeof text];
    cr_assert_eq(get(after, "a", bytes, sizeof bytes), sizeof text - 1);
    cr_assert_eq(memcmp(bytes, text, sizeof text - 1), 0);
    pvt_simfs_free(after);
    pvt_simfs_free(disk);
}

Test(simfs, faults_come_when_asked_for, .init = set_up)
{
    pv_fd fd;
    put(disk, "a", "x", 0, true);
    for (unsigned err = PV_OK + 1; err < PV_ERR_COUNT; err++) {
        uint64_t before = pvt_simfs_calls(disk);
        pvt_simfs_fail(disk, &(struct pvt_simfs_fault){PVT_FS_OPEN, NULL, 2, (enum pv_err)err, 0});
        cr_assert_eq(fs->open(fs->ctx, PV_FD_NONE, "a", PV_FS_WRITE, &fd), PV_OK);
        cr_assert(!pvt_simfs_fired(disk));
        pv_fd none;
        cr_assert_eq(fs->open(fs->ctx, PV_FD_NONE, "a", PV_FS_WRITE, &none), err);
        cr_assert(pvt_simfs_fired(disk));
        cr_assert_eq(pvt_simfs_victim(disk)->number, before + 2);
        cr_assert_str_eq(pvt_simfs_victim(disk)->path, "a");
        close_in(disk, fd);
        cr_assert_eq(fs->open(fs->ctx, PV_FD_NONE, "a", PV_FS_WRITE, &fd), PV_OK);
        close_in(disk, fd);
    }
    pvt_simfs_fail(disk, &(struct pvt_simfs_fault){PVT_FS_ANY_CALL, NULL, 2, PV_E_IO, true});
    fd = open_in(disk, "a", PV_FS_WRITE);
    cr_assert_eq(fs->write(fs->ctx, fd, "12345678", 8, 0), PV_E_IO);
    cr_assert_eq(fs->sync(fs->ctx, fd), PV_E_IO);
    cr_assert_eq(fs->close(fs->ctx, fd), PV_E_IO);
    cr_assert_eq(pvt_simfs_open_handles(disk), 0); /* closed all the same */
    pvt_simfs_heal(disk);
    cr_assert(holds(disk, "a", "1234")); /* the first half */
    cr_assert_eq(fs->mkdir(fs->ctx, PV_FD_NONE, "d"), PV_OK);
    pvt_simfs_fail(disk, &(struct pvt_simfs_fault){PVT_FS_ANY_CALL, "d/*", 1, PV_E_AUTH, true});
    put(disk, "a", "y", 0, true);
    cr_assert_eq(fs->open(fs->ctx, PV_FD_NONE, "d/x", PV_FS_WRITE | PV_FS_CREATE, &fd), PV_E_AUTH);
    pvt_simfs_heal(disk);
    cr_assert(!exists(disk, "d/x"));
    pvt_simfs_free(disk);
}

Test(simfs, a_sync_that_is_ignored_does_nothing, .init = set_up)
{
    pvt_simfs_ignore_syncs(disk, "a*");
    put(disk, "ab", "1", 0, true);
    put(disk, "b", "2", 0, true);
    sync_folder(".");
    cr_assert_eq(pvt_simfs_ignored(disk), 1);
    struct pvt_simfs *after = pvt_simfs_crash(disk, PVT_CRASH_NOTHING);
    cr_assert(holds(after, "ab", "") && holds(after, "b", "2"));
    pvt_simfs_free(after);
    pvt_simfs_ignore_syncs(disk, NULL);
    put(disk, "ab", "1", 0, true);
    after = pvt_simfs_crash(disk, PVT_CRASH_NOTHING);
    cr_assert(holds(after, "ab", "1"));
    pvt_simfs_free(after);
    pvt_simfs_free(disk);
}

Test(simfs, disks_and_handles_run_out, .init = set_up)
{
    char text[3 * 4096 + 1];
    struct pv_fs_space space;
    pv_fd fd, other;
    fill(text, 'x', sizeof text - 1);
    pvt_simfs_limit(disk, 4 * 4096, 2);
    put(disk, "a", "1", 0, true);
    fd = open_in(disk, "b", PV_FS_WRITE | PV_FS_CREATE);
    cr_assert_eq(fs->write(fs->ctx, fd, text, sizeof text - 1, 0), PV_OK);
    cr_assert_eq(fs->write(fs->ctx, fd, "y", 1, sizeof text - 1), PV_E_NOSPACE);
    cr_assert_eq(fs->write(fs->ctx, fd, text, 2, sizeof text - 2), PV_E_NOSPACE);
    cr_assert_eq(fs->write(fs->ctx, fd, "y", 1, 0), PV_OK); /* in place */
    cr_assert_eq(pvt_simfs_used_bytes(disk), 4 * 4096);
    cr_assert_eq(fs->unlink(fs->ctx, PV_FD_NONE, "a"), PV_OK);
    cr_assert_eq(fs->write(fs->ctx, fd, "y", 1, sizeof text - 1), PV_OK);
    other = open_in(disk, ".", PV_FS_READ | PV_FS_DIRECTORY);
    cr_assert_eq(fs->space(fs->ctx, other, &space), PV_OK);
    cr_assert(space.total_bytes == 4 * 4096 && space.free_bytes == 0);
    pv_fd third;
    cr_assert_eq(fs->open(fs->ctx, PV_FD_NONE, "b", PV_FS_READ, &third), PV_E_LIMIT);
    close_in(disk, other);
    close_in(disk, fd);
    pvt_simfs_free(disk);
}

static void crash_in_hook(void *ctx, struct pvt_simfs *s, const struct pvt_simfs_call *call)
{
    struct pvt_simfs *after = pvt_simfs_crash(s, call->number);
    ++*(unsigned *)ctx;
    cr_assert_eq(holds(after, "a", "1"), exists(after, "a") && call->kind == PVT_FS_CLOSE);
    pvt_simfs_free(after);
}

Test(simfs, a_hook_sees_every_call, .init = set_up)
{
    unsigned count = 0;
    uint64_t changes = pvt_simfs_changes(disk);
    pvt_simfs_set_hook(disk, crash_in_hook, &count);
    put(disk, "a", "1", 0, true);
    cr_assert_eq(count, 4);
    cr_assert_eq(count, pvt_simfs_calls(disk));
    cr_assert_eq(pvt_simfs_changes(disk), changes + 3); /* all but close */
    pvt_simfs_set_hook(disk, NULL, NULL);
    sync_folder(".");
    changes = pvt_simfs_changes(disk);
    cr_assert(holds(disk, "a", "1"));
    sync_folder(".");
    cr_assert_eq(pvt_simfs_changes(disk), changes); /* there was nothing to do */
    pvt_simfs_free(disk);
}
