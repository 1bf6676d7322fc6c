#include "storage/store_private.h"
#include "tests/unit/storage_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

TestSuite(store, .timeout = 60);

atomic_int pvt_fatal_count;

static void overwrite_byte(struct pvt_vault *v, const char *name, off_t offset, uint8_t flip)
{
    char path[400];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/%s", v->path, name);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= flip;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static off_t file_len(struct pvt_vault *v, const char *name)
{
    char path[400];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", v->path, name);
    cr_assert_eq(stat(path, &st), 0);
    return st.st_size;
}

Test(store, a_new_store_is_empty)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_store_counts counts;
    struct pv_blob_info info;
    struct pvt_blob b = pvt_blob_make(1, 1000);
    uint8_t byte;
    size_t len = 1;
    unsigned bit;
    cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
    cr_assert(counts.blobs == 0 && counts.blob_bytes == 0 && counts.files == 0);
    cr_assert(counts.names == 0 && counts.records == 0 && counts.pending == 0);
    cr_assert(counts.unknown_files == 0 && counts.disk_free_bytes > 0);
    cr_assert_eq(pv_store_origin(v->store).open_count, 1);
    cr_assert_eq(pv_store_hlc(v->store), 0);
    cr_assert_eq(pv_store_blob(v->store, &b.id, &info), PV_E_NOT_FOUND);
    cr_assert_eq(pv_store_holder(v->store, &b.id, &bit), PV_E_NOT_FOUND);
    cr_assert_eq(pv_store_meta(v->store, "none", &byte, &len), PV_E_NOT_FOUND);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(store, counts_its_openings_under_one_uuid)
{
    size_t fds = pvt_open_fds();
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_store_origin first = pv_store_origin(v->store);
    for (uint64_t i = 2; i < 5; i++) {
        pvt_reopen(v);
        struct pv_store_origin now = pv_store_origin(v->store);
        cr_assert_eq(now.open_count, i);
        cr_assert_eq(memcmp(now.uuid, first.uuid, sizeof now.uuid), 0);
    }
    pvt_vault_free(v);
    cr_assert_eq(pvt_open_fds(), fds);
}

Test(store, time_goes_on_between_runs_but_not_by_more_than_a_day)
{
    struct pvt_vault *v = pvt_vault_new_open();
    const uint64_t hour = 3600 * 1000, start = v->env.wall_ms;
    cr_assert_eq(pv_store_time_ms(v->store), start);
    pvt_env_advance(&v->env, hour);
    cr_assert_eq(pv_store_time_ms(v->store), start + hour);
    pvt_vault_close(v);
    pvt_env_advance(&v->env, 2 * hour);
    pvt_vault_open(v);
    cr_assert_eq(pv_store_time_ms(v->store), start + 3 * hour);
    pvt_vault_close(v);
    pvt_env_advance(&v->env, 100 * 24 * hour);
    pvt_vault_open(v);
    cr_assert_eq(pv_store_time_ms(v->store), start + 27 * hour);
    pvt_vault_close(v);
    v->env.wall_ms -= 50 * 24 * hour; /* a clock set back counts for nothing */
    v->env.mono_ms = 5;
    pvt_vault_open(v);
    cr_assert_eq(pv_store_time_ms(v->store), start + 27 * hour);
    v->env.wall_ms -= hour;
    v->env.mono_ms += hour;
    cr_assert_eq(pv_store_time_ms(v->store), start + 28 * hour);
    pvt_vault_free(v);
}

Test(store, tmp_is_emptied_at_the_start)
{
    struct pvt_vault *v = pvt_vault_new();
    char path[400];
    for (int i = 0; i < 150; i++) {
        snprintf(path, sizeof path, "%s/tmp/left-%d", v->path, i);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        cr_assert_geq(fd, 0);
        close(fd);
    }
    snprintf(path, sizeof path, "%s/tmp/folder", v->path);
    cr_assert_eq(mkdir(path, 0700), 0); /* not ours, and no reason to fail */
    pvt_vault_open(v);
    cr_assert_eq(pvt_files_in(v, "tmp"), 1);
    pvt_vault_free(v);
}

Test(store, reads_ranges_from_files_and_rows)
{
    struct pvt_vault *v = pvt_vault_new_open();
    const size_t lens[] = {PV_BLOB_LEN_MIN, 65535, 65536, 300000, PV_BLOB_LEN_MAX};
    for (unsigned i = 0; i < PV_COUNT(lens); i++) {
        struct pvt_blob b = pvt_blob_make(i, lens[i]);
        uint8_t dst[100];
        size_t got;
        uint32_t size;
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        cr_assert(pvt_has_blob(v, &b));
        cr_assert_eq(pvt_file_exists(v, &b.id), lens[i] >= PV_BLOB_FILE_MIN);
        const uint32_t offsets[] = {0,
                                    1,
                                    200,
                                    (uint32_t)b.len - 100,
                                    (uint32_t)b.len - 1,
                                    (uint32_t)b.len,
                                    (uint32_t)b.len + 1,
                                    UINT32_MAX};
        for (unsigned j = 0; j < PV_COUNT(offsets); j++) {
            size_t left = offsets[j] < b.len ? b.len - offsets[j] : 0;
            size_t expect = left < sizeof dst ? left : sizeof dst;
            cr_assert_eq(pv_store_read(v->store, &b.id, offsets[j], dst, sizeof dst, &got, &size),
                         PV_OK);
            cr_assert_eq(got, expect);
            cr_assert_eq(size, b.len);
            cr_assert(expect == 0 || memcmp(dst, b.bytes + offsets[j], expect) == 0);
        }
        pvt_blob_free(&b);
    }
    cr_assert_eq(pvt_blob_files(v), 3);
    pvt_vault_free(v);
}

Test(store, a_damaged_blob_file_is_corrupt_not_absent)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, 70000);
    char path[400], blob[PV_BLOB_PATH_LEN + 1];
    uint8_t dst[16];
    size_t got;
    uint32_t size;
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    pv_blob_path(blob, &b.id);
    snprintf(path, sizeof path, "%s/%s", v->path, blob);
    cr_assert_eq(truncate(path, 69999), 0);
    cr_assert_eq(pv_store_read(v->store, &b.id, 0, dst, 16, &got, &size), PV_E_CORRUPT);
    cr_assert_eq(truncate(path, 70001), 0);
    cr_assert_eq(pv_store_read(v->store, &b.id, 0, dst, 16, &got, &size), PV_E_CORRUPT);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(pv_store_read(v->store, &b.id, 0, dst, 16, &got, &size), PV_E_CORRUPT);
    cr_assert_eq(symlink("/dev/zero", path), 0);
    cr_assert_eq(pv_store_read(v->store, &b.id, 0, dst, 16, &got, &size), PV_E_CORRUPT);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(pv_store_read(v->store, &b.id, 0, dst, 16, &got, &size), PV_E_CORRUPT);
    cr_assert(pvt_log_has(&v->log, "blob is damaged"));
    cr_assert_eq(rmdir(path), 0);
    pvt_faultfs_fail(&v->faults, PVT_FS_OPEN, 1, PV_E_LIMIT); /* no descriptor left: not damage */
    cr_assert_eq(pv_store_read(v->store, &b.id, 0, dst, 16, &got, &size), PV_E_LIMIT);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(store, have_tells_which_of_many_are_here)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_id ids[20];
    bool have[20];
    for (unsigned i = 0; i < 20; i++) {
        struct pvt_blob b = pvt_blob_make(i, 400);
        ids[i] = b.id;
        if (i % 3 == 0)
            cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        pvt_blob_free(&b);
    }
    cr_assert_eq(pv_store_have(v->store, ids, 20, have), PV_OK);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(have[i], i % 3 == 0);
    cr_assert_eq(pv_store_have(v->store, ids, 0, have), PV_OK);
    pvt_vault_free(v);
}

Test(store, a_later_version_is_refused_and_left_alone)
{
    struct pvt_vault *v = pvt_vault_new_open();
    char path[400];
    sqlite3 *db;
    pvt_vault_close(v);
    /* SQLite's own vfs does not know about page sums: with it the sum of page 1 would be wrong. */
    snprintf(path, sizeof path, "%s/tmp/kept", v->path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    struct pv_vfs_config config = {pv_fs_real(), -1, &v->env.env, NULL, NULL};
    struct pv_vfs *vfs;
    cr_assert_eq(pv_vault_open(&v->vault, v->path, pv_fs_real()), PV_OK);
    config.dir = v->vault.dir;
    cr_assert_eq(pv_vfs_new(&vfs, &config), PV_OK);
    cr_assert_eq(sqlite3_open_v2("vault.db", &db, SQLITE_OPEN_READWRITE, pv_vfs_name(vfs)), 0);
    cr_assert_eq(sqlite3_exec(db, "PRAGMA user_version=2", NULL, NULL, NULL), 0);
    /* closed without a checkpoint: the version is only in the log */
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(db);
    pv_vfs_free(vfs);
    pv_vault_close(&v->vault);

    off_t db_len = file_len(v, "vault.db"), wal_len = file_len(v, "vault.db-wal");
    uint64_t writes = pvt_faultfs_count(&v->faults, PVT_FS_WRITE);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pvt_vault_try_open(v), PV_E_UNSUPPORTED);
    cr_assert_eq(pvt_faultfs_count(&v->faults, PVT_FS_WRITE), writes + 2); /* pid into lock */
    cr_assert_eq(file_len(v, "vault.db"), db_len);
    cr_assert_eq(file_len(v, "vault.db-wal"), wal_len);
    cr_assert_eq(access(path, F_OK), 0);
    pvt_vault_free(v);
}

Test(store, another_programs_database_is_corrupt)
{
    struct pvt_vault *v = pvt_vault_new();
    char path[400];
    snprintf(path, sizeof path, "%s/vault.db", v->path);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    char junk[8192];
    memset(junk, 'j', sizeof junk);
    cr_assert_eq(write(fd, junk, sizeof junk), sizeof junk);
    close(fd);
    cr_assert_eq(pvt_vault_try_open(v), PV_E_CORRUPT);
    cr_assert_eq(file_len(v, "vault.db"), sizeof junk);
    pvt_vault_free(v);
}

/* One bit in the middle of each page, one page at a time: whoever meets it says CORRUPT. */
Test(store, a_flipped_bit_in_any_page_is_found)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (unsigned i = 0; i < 40; i++) {
        struct pvt_blob b = pvt_blob_make(i, 3000);
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        pvt_blob_free(&b);
    }
    pvt_vault_close(v);
    off_t pages = file_len(v, "vault.db") / PV_VFS_PAGE_LEN;
    cr_assert_gt(pages, 30);
    unsigned found = 0;
    for (off_t p = 0; p < pages; p++) {
        off_t at = p * PV_VFS_PAGE_LEN + (p * 977) % PV_VFS_PAGE_LEN;
        overwrite_byte(v, "vault.db", at, 0x10);
        enum pv_err err = pvt_vault_try_open(v);
        for (unsigned i = 0; i < 40 && err == PV_OK; i++) {
            struct pvt_blob b = pvt_blob_make(i, 3000);
            uint8_t dst[3000];
            size_t got;
            uint32_t size;
            err = pv_store_read(v->store, &b.id, 0, dst, sizeof dst, &got, &size);
            cr_assert(err != PV_OK || memcmp(dst, b.bytes, 3000) == 0);
            pvt_blob_free(&b);
        }
        cr_assert(err == PV_OK || err == PV_E_CORRUPT);
        found += err == PV_E_CORRUPT;
        if (v->store != NULL) {
            atomic_store(&pvt_fatal_count, 0);
            pvt_vault_close(v);
        }
        /* What was written meanwhile has left the page alone, or has met it and failed. */
        overwrite_byte(v, "vault.db", at, 0x10);
    }
    cr_assert_geq(found, pages - 12); /* indexes of empty tables are not read */
    cr_assert(pvt_log_has(&v->log, "database page is corrupt"));
    pvt_vault_open(v);
    pvt_vault_free(v);
}

Test(store, unheld_walks_in_order_of_arrival)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_id ids[30], node = {{1}};
    struct pv_blob_info out[30];
    size_t count;
    unsigned bit;
    bool end;
    for (unsigned i = 0; i < 30; i++) {
        struct pvt_blob b = pvt_blob_make(i, 400);
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        ids[i] = b.id;
        pvt_blob_free(&b);
    }
    struct pv_commit_op op = {.type = PV_COMMIT_HELD,
                              .u.held = {.node_id = node, .ids = ids, .count = 10, .held = true}};
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(pv_store_holder(v->store, &node, &bit), PV_OK);
    cr_assert_eq(bit, 0);
    uint64_t from = 0;
    size_t seen = 0;
    do {
        uint64_t before = from;
        cr_assert_eq(pv_store_unheld(v->store, bit, &from, out, 7, &count, &end), PV_OK);
        for (size_t i = 0; i < count; i++)
            cr_assert(pv_id_equal(&out[i].id, &ids[10 + seen++]));
        cr_assert(end || from > before);
    } while (!end);
    cr_assert_eq(seen, 20);
    from = 0;
    cr_assert_eq(pv_store_unheld(v->store, 63, &from, out, 30, &count, &end), PV_OK);
    cr_assert(count == 30 && end);
    cr_assert_eq(pv_store_unheld(v->store, 63, &from, out, 30, &count, &end), PV_OK);
    cr_assert(count == 0 && end);
    pvt_vault_free(v);
}

Test(store, says_whether_it_can_be_written)
{
    static const struct {
        enum pvt_fs_call call;
        enum pv_err err;
    } faults[] = {{PVT_FS_OPEN, PV_E_AUTH},
                  {PVT_FS_OPEN, PV_E_NOSPACE},
                  {PVT_FS_WRITE, PV_E_NOSPACE},
                  {PVT_FS_CLOSE, PV_E_IO},
                  {PVT_FS_UNLINK, PV_E_IO}};
    struct pvt_vault *v = pvt_vault_new_open();
    cr_assert_eq(pv_store_probe(v->store), PV_OK);
    for (size_t i = 0; i < PV_COUNT(faults); i++) {
        pvt_faultfs_fail(&v->faults, faults[i].call, 1, faults[i].err);
        cr_assert_eq(pv_store_probe(v->store), faults[i].err);
        cr_assert_eq(pv_store_probe(v->store), PV_OK);
    }
    pvt_vault_free(v);
}

Test(store, unheld_looks_at_a_thousand_rows_and_no_more)
{
    struct pvt_vault *v = pvt_vault_new_open();
    const size_t n = PV_SCAN_ROWS_MAX + 5;
    struct pvt_blob *blobs = calloc(n, sizeof *blobs);
    struct pv_commit_op *ops = calloc(n, sizeof *ops);
    struct pv_blob_info out[10];
    struct pv_id node = {{3}};
    size_t count;
    uint64_t cursor = 0;
    bool end;
    for (size_t i = 0; i < n; i++) {
        blobs[i] = pvt_blob_make((uint32_t)i, 304);
        ops[i] = pvt_blob_op(&blobs[i]);
        ops[i].u.blob.has_holder = i < PV_SCAN_ROWS_MAX;
        ops[i].u.blob.holder = node;
    }
    cr_assert_eq(pvt_commit(v, ops, n), PV_OK);
    cr_assert_eq(pv_store_unheld(v->store, 0, &cursor, out, 10, &count, &end), PV_OK);
    cr_assert(count == 0 && !end);
    cr_assert_eq(pv_store_unheld(v->store, 0, &cursor, out, 10, &count, &end), PV_OK);
    cr_assert(count == 5 && end);
    for (size_t i = 0; i < n; i++)
        pvt_blob_free(&blobs[i]);
    free(blobs);
    free(ops);
    pvt_vault_free(v);
}

/* ---- the writer waits ---- */

static sqlite3 *rival;

static int let_go(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    cr_assert_eq(sqlite3_exec(rival, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    return us;
}

/* A reader takes the write lock for a moment when it finds the log's index half written. */
Test(store, a_commit_waits_for_a_reader_that_has_the_write_lock)
{
    struct pvt_vault *v = pvt_vault_new_open();
    const char *name = pv_vfs_name(v->store->vfs);
    sqlite3_vfs *vfs = sqlite3_vfs_find(name);
    struct pvt_blob b = pvt_blob_make(1, 1000);
    cr_assert_eq(sqlite3_open_v2("vault.db", &rival, SQLITE_OPEN_READWRITE, name), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(rival, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    vfs->xSleep = let_go;
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    cr_assert(pvt_has_blob(v, &b));
    sqlite3_close(rival);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

/* ---- unknown files ---- */

static void make_unknown(struct pvt_vault *v, unsigned no, struct pv_id *id)
{
    char path[400], blob[PV_BLOB_PATH_LEN + 1];
    struct pvt_blob b = pvt_blob_make(90000 + no, 300);
    *id = b.id;
    pv_blob_path(blob, &b.id);
    snprintf(path, sizeof path, "%s/%s", v->path, blob);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, b.bytes, b.len), (ssize_t)b.len);
    close(fd);
    pvt_blob_free(&b);
}

Test(store, up_to_64_unknown_files_are_found_and_removed)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob known = pvt_blob_make(1, 80000);
    struct pv_id ids[PV_UNKNOWN_MAX], id;
    struct pv_store_counts counts;
    char path[400];
    cr_assert_eq(pvt_put_blob(v, &known), PV_OK);
    for (unsigned i = 0; i < PV_UNKNOWN_MAX; i++)
        make_unknown(v, i, &id);
    snprintf(path, sizeof path, "%s/blobs/00/README", v->path);
    close(open(path, O_CREAT | O_WRONLY, 0600)); /* not a blob's name */
    cr_assert_eq(pvt_find_unknown(v, ids), PV_UNKNOWN_MAX);
    cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
    cr_assert_eq(counts.unknown_files, PV_UNKNOWN_MAX);

    struct pv_commit_op op = {.type = PV_COMMIT_UNKNOWN,
                              .u.unknown = {.ids = ids, .count = PV_UNKNOWN_MAX}};
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(pvt_blob_files(v), 2);
    cr_assert(pvt_has_blob(v, &known));
    cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
    cr_assert_eq(counts.unknown_files, 0);
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK); /* gone already */
    op.u.unknown.count = PV_UNKNOWN_MAX + 1;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_E_INVALID);
    pvt_blob_free(&known);
    pvt_vault_free(v);
}

Test(store, more_than_64_unknown_files_are_kept_and_counted)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_id ids[PV_UNKNOWN_MAX], id;
    struct pv_store_counts counts;
    for (unsigned i = 0; i < PV_UNKNOWN_MAX + 1; i++)
        make_unknown(v, i, &id);
    cr_assert_eq(pvt_find_unknown(v, ids), 0);
    cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
    cr_assert_eq(counts.unknown_files, PV_UNKNOWN_MAX + 1);
    cr_assert_eq(pvt_blob_files(v), PV_UNKNOWN_MAX + 1);
    cr_assert(pvt_log_has(&v->log, "vault.db does not know"));
    pvt_vault_free(v);
}

Test(store, unknown_ids_that_a_batch_makes_known_stay)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(5, 80000);
    struct pv_commit_op remove = {.type = PV_COMMIT_UNKNOWN,
                                  .u.unknown = {.ids = &b.id, .count = 1}};
    struct pv_commit_op put = pvt_blob_op(&b);
    struct pv_commit first = pvt_commit_of(&remove, 1), second = pvt_commit_of(&put, 1);
    first.next = &second;
    pv_commit_batch(v->store, &first);
    cr_assert(first.err == PV_OK && second.err == PV_OK);
    cr_assert(pvt_has_blob(v, &b));
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(store, opening_fails_cleanly_without_memory)
{
    struct pvt_vault *v = pvt_vault_new_open();
    pvt_vault_close(v);
    size_t fds = pvt_open_fds();
    enum pv_err err = PV_E_NOMEM;
    for (uint64_t n = 0; err != PV_OK && n < 1000; n++) {
        long pid;
        cr_assert_eq(pv_vault_open(&v->vault, v->path, &v->faults.fs), PV_OK);
        cr_assert_eq(pv_vault_lock(&v->vault, &pid), PV_OK);
        pv_mem_fail_after(n);
        err = pv_store_open(&v->store, &v->config);
        pv_mem_fail_after(UINT64_MAX);
        cr_assert(err == PV_OK || err == PV_E_NOMEM);
        if (err != PV_OK) {
            pv_vault_close(&v->vault);
            cr_assert_eq(pvt_open_fds(), fds);
        }
    }
    cr_assert_eq(err, PV_OK);
    pvt_vault_free(v);
}
