/* records.bak and small.bak, and finding what is in them and in what is left of vault.db. */
#include "storage/backup.h"
#include "storage/backup_scan.h"
#include "tests/unit/storage_fixture.h"

TestSuite(backup, .timeout = 60);

static void put(struct pvt_vault *v, uint32_t no, uint64_t hlc)
{
    struct pvt_record r = pvt_record_make(PV_RECORD_FILE, no, hlc, 0, 0);
    bool applied;
    cr_assert_eq(pvt_put_record(v, &r, no % 2 == 0, &applied), PV_OK);
    cr_assert(applied);
}

static enum pv_err try_backup_of(struct pvt_vault *v, enum pv_backup_what what,
                                 enum pv_backup_mode mode)
{
    struct pv_backup b;
    uint8_t meta[PV_BACKUP_META_LEN];
    bool end = false;
    enum pv_err err = pv_backup_begin(v->store, what, mode, &b);
    if (err != PV_OK)
        return err;
    while (err == PV_OK && !end)
        err = pv_backup_step(v->store, &b, &end);
    if (err == PV_OK && b.changed)
        err = pv_backup_finish(v->store, &b, meta);
    if (err != PV_OK) {
        pv_backup_abort(v->store, &b);
        return err;
    }
    pvt_faultfs_heal(&v->faults);
    struct pv_commit_op op = {
        .type = PV_COMMIT_META,
        .u.meta = {.key = pv_backup_file(what), .value = meta, .len = sizeof meta}};
    if (b.changed)
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    return PV_OK;
}

static enum pv_err try_backup(struct pvt_vault *v)
{
    return try_backup_of(v, PV_BACKUP_RECORDS, PV_BACKUP_APPEND);
}

static void backup(struct pvt_vault *v)
{
    cr_assert_eq(try_backup(v), PV_OK);
    cr_assert_eq(pvt_files_in(v, "tmp"), 0);
}

struct found {
    struct pv_scan scan;
    uint64_t highest[64]; /* clock of each subject; 0: not found */
    uint64_t calls, stop_at;
};

static bool note(void *arg, const uint8_t *env, size_t len)
{
    struct found *f = arg;
    struct pv_record rec;
    cr_assert_eq(pv_record_parse(&rec, env, len), PV_OK);
    for (uint32_t no = 0; no < 64; no++) {
        struct pv_id rid;
        pv_rid_clear(&rid, PV_RECORD_FILE, &no, sizeof no);
        if (pv_id_equal(&rid, &rec.rid) && rec.hlc > f->highest[no])
            f->highest[no] = rec.hlc;
    }
    return ++f->calls != f->stop_at;
}

static struct found scan(struct pvt_vault *v, const char *name, uint64_t stop_at)
{
    struct found f = {.stop_at = stop_at};
    pv_fd fd;
    cr_assert_eq(pv_fs_real()->open(NULL, v->vault.dir, name, PV_FS_READ, &fd), PV_OK);
    cr_assert_eq(pv_scan_records(pv_fs_real(), fd, &f.scan, note, &f), PV_OK);
    cr_assert_eq(pv_fs_real()->close(NULL, fd), PV_OK);
    return f;
}

static bool exists(struct pvt_vault *v, const char *name)
{
    struct pv_fs_stat st;
    return pv_fs_real()->stat_at(NULL, v->vault.dir, name, &st) == PV_OK;
}

static uint64_t length(struct pvt_vault *v, const char *name)
{
    struct pv_fs_stat st;
    cr_assert_eq(pv_fs_real()->stat_at(NULL, v->vault.dir, name, &st), PV_OK);
    return st.size_bytes;
}

static void overwrite(struct pvt_vault *v, const char *name, uint64_t at, uint8_t mask)
{
    pv_fd fd;
    uint8_t byte;
    size_t got;
    cr_assert_eq(pv_fs_real()->open(NULL, v->vault.dir, name, PV_FS_WRITE, &fd), PV_OK);
    cr_assert_eq(pv_fs_real()->read(NULL, fd, &byte, 1, at, &got), PV_OK);
    byte ^= mask;
    cr_assert_eq(pv_fs_real()->write(NULL, fd, &byte, 1, at), PV_OK);
    cr_assert_eq(pv_fs_real()->close(NULL, fd), PV_OK);
}

/* ---- the file ---- */

Test(backup, has_all_records)
{
    struct pvt_vault *v = pvt_vault_new_open();
    backup(v);
    cr_assert_not(exists(v, "records.bak"), "there is nothing to be kept");
    for (uint32_t i = 0; i < 40; i++)
        put(v, i, 10 + i);
    backup(v);
    struct found f = scan(v, "records.bak", 0);
    cr_assert_eq(f.scan.found, 40);
    cr_assert_eq(f.scan.skipped_bytes, 0);
    for (uint32_t i = 0; i < 40; i++)
        cr_assert_eq(f.highest[i], 10 + i);
    pvt_vault_free(v);
}

Test(backup, appends_what_is_new)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (uint32_t i = 0; i < 10; i++)
        put(v, i, 10);
    backup(v);
    uint64_t before = length(v, "records.bak");
    backup(v);
    cr_assert_eq(length(v, "records.bak"), before, "nothing is new");
    put(v, 3, 20);
    put(v, 11, 20);
    pvt_reopen(v);
    backup(v);
    cr_assert_eq(length(v, "records.bak"), before * 12 / 10);
    struct found f = scan(v, "records.bak", 0);
    cr_assert(f.highest[3] == 20 && f.highest[11] == 20 && f.highest[4] == 10);
    pvt_vault_free(v);
}

static struct pv_fs_space fake_space;

static enum pv_err tell_space(void *ctx, pv_fd dir, struct pv_fs_space *out)
{
    (void)ctx;
    (void)dir;
    *out = fake_space;
    return PV_OK;
}

Test(backup, leaves_room_for_deletions)
{
    struct pvt_vault *v = pvt_vault_new();
    v->faults.fs.space = tell_space;
    v->config.reserve_bytes = UINT64_MAX;
    fake_space = (struct pv_fs_space){.total_bytes = 200 << 20, .free_bytes = 200 << 20};
    pvt_vault_open(v);
    for (uint32_t no = 1; no < 9; no++)
        put(v, no, no + 1);
    fake_space.free_bytes = 5 << 20; /* half of the reserve */
    cr_assert_eq(try_backup(v), PV_E_NOSPACE);
    cr_assert_eq(pvt_files_in(v, "tmp"), 0);
    fake_space.free_bytes += 1 << 20;
    backup(v);
    pvt_vault_free(v);
}

Test(backup, is_written_anew_when_most_of_it_is_dead)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (uint64_t hlc = 1; hlc <= 1100; hlc += 50) {
        for (uint64_t i = 0; i < 50; i++)
            put(v, 1, hlc + i);
        backup(v); /* of 50 versions one is left each time */
    }
    cr_assert_eq(scan(v, "records.bak", 0).scan.found, 22);
    struct pv_commit_op op = {
        .type = PV_COMMIT_META,
        .u.meta = {.key = pv_backup_file(PV_BACKUP_RECORDS), .value = "x", .len = 1}};
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(try_backup(v), PV_E_CORRUPT, "a meta that cannot be");
    uint8_t meta[PV_BACKUP_META_LEN] = {0};
    meta[7] = 1;          /* seq */
    meta[15] = 200;       /* length */
    meta[22] = 1003 >> 8; /* envelopes */
    meta[23] = 1003 & 0xff;
    op.u.meta.value = meta;
    op.u.meta.len = sizeof meta;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    backup(v);
    cr_assert_eq(scan(v, "records.bak", 0).scan.found, 1);
    pvt_vault_free(v);
}

Test(backup, of_a_file_that_is_gone_or_short)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (uint32_t i = 0; i < 10; i++)
        put(v, i, 10);
    backup(v);
    cr_assert_eq(pv_fs_real()->unlink(NULL, v->vault.dir, "records.bak"), PV_OK);
    backup(v);
    cr_assert_eq(scan(v, "records.bak", 0).scan.found, 10);
    pv_fd fd;
    cr_assert_eq(pv_fs_real()->open(NULL, v->vault.dir, "records.bak", PV_FS_WRITE, &fd), PV_OK);
    cr_assert_eq(pv_fs_real()->truncate(NULL, fd, 500), PV_OK);
    cr_assert_eq(pv_fs_real()->close(NULL, fd), PV_OK);
    backup(v);
    cr_assert_eq(scan(v, "records.bak", 0).scan.found, 10);
    pvt_vault_free(v);
}

Test(backup, what_was_cut_short_is_written_again)
{
    static const enum pvt_fs_call calls[] = {PVT_FS_OPEN,     PVT_FS_WRITE,  PVT_FS_SYNC,
                                             PVT_FS_TRUNCATE, PVT_FS_RENAME, PVT_FS_STAT};
    struct pvt_vault *v = pvt_vault_new_open();
    unsigned failed = 0;
    for (uint32_t i = 0; i < 60; i++) {
        put(v, i, 10);
        if (i % 10 == 0) /* both ways: a new file, and appending */
            (void)pv_fs_real()->unlink(NULL, v->vault.dir, "records.bak");
        pvt_faultfs_fail(&v->faults, calls[i % 6], 1 + i / 6 % 2, PV_E_IO);
        failed += try_backup(v) != PV_OK;
        pvt_faultfs_heal(&v->faults);
        cr_assert_eq(pvt_files_in(v, "tmp"), 0);
        backup(v);
        cr_assert_geq(scan(v, "records.bak", 0).scan.found, i + 1);
    }
    cr_assert_gt(failed, 20);
    cr_assert_eq(atomic_load(&pvt_fatal_count), 0, "nothing depends on it");
    pvt_vault_free(v);
}

/* ---- small blobs ---- */

static enum pv_err backup_small(struct pvt_vault *v, enum pv_backup_mode mode)
{
    enum pv_err err = try_backup_of(v, PV_BACKUP_SMALL, mode);
    cr_assert_eq(pvt_files_in(v, "tmp"), 0);
    return err;
}

/* Bytes that could be a blob: with its header, of a length that the padding can give. */
static struct pvt_blob sealed(uint32_t no, size_t padded_len)
{
    struct pvt_blob b = pvt_blob_make(no, PV_BLOB_HEADER_LEN + pv_padme(padded_len) + PV_TAG_LEN);
    const size_t n = b.len - PV_BLOB_HEADER_LEN - PV_TAG_LEN;
    memset(b.bytes, 0, PV_BLOB_HEADER_LEN);
    memcpy(b.bytes, "PVB1\x01", 5);
    for (unsigned i = 0; i < 4; i++)
        b.bytes[27 - i] = (uint8_t)(n >> 8 * i);
    pv_sha256(b.id.b, b.bytes, b.len);
    return b;
}

static void put_sealed(struct pvt_vault *v, uint32_t no, size_t padded_len)
{
    struct pvt_blob b = sealed(no, padded_len);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    pvt_blob_free(&b);
}

static void hold(struct pvt_vault *v, uint32_t no, size_t padded_len)
{
    struct pvt_blob b = sealed(no, padded_len);
    struct pv_commit_op op = {.type = PV_COMMIT_HELD,
                              .u.held = {.node_id = {{1}}, .ids = &b.id, .count = 1, .held = true}};
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    pvt_blob_free(&b);
}

struct found_blobs {
    struct pv_scan scan;
    uint64_t bytes;
};

static bool note_blob(void *arg, const uint8_t *bytes, size_t len)
{
    struct found_blobs *f = arg;
    cr_assert_eq(pv_blob_len_of(bytes, len), len);
    f->bytes += len;
    return true;
}

static struct found_blobs scan_blobs(struct pvt_vault *v)
{
    struct found_blobs f = {.bytes = 0};
    pv_fd fd;
    cr_assert_eq(pv_fs_real()->open(NULL, v->vault.dir, "small.bak", PV_FS_READ, &fd), PV_OK);
    cr_assert_eq(pv_scan_blobs(pv_fs_real(), fd, &f.scan, note_blob, &f), PV_OK);
    cr_assert_eq(pv_fs_real()->close(NULL, fd), PV_OK);
    return f;
}

Test(backup, has_small_blobs_that_nobody_else_holds)
{
    struct pvt_vault *v = pvt_vault_new_open();
    cr_assert_eq(backup_small(v, PV_BACKUP_TIDY), PV_OK);
    cr_assert_not(exists(v, "small.bak"));
    put_sealed(v, 1, 256);
    put_sealed(v, 2, 60000);
    put_sealed(v, 3, 70000); /* a file */
    put_sealed(v, 4, 300);
    hold(v, 4, 300);
    cr_assert_eq(backup_small(v, PV_BACKUP_APPEND), PV_OK);
    struct found_blobs f = scan_blobs(v);
    cr_assert_eq(f.scan.found, 2);
    cr_assert_eq(f.scan.skipped_bytes, 0);
    put_sealed(v, 5, 1000);
    cr_assert_eq(backup_small(v, PV_BACKUP_APPEND), PV_OK);
    cr_assert_eq(scan_blobs(v).scan.found, 3);
    uint64_t len = length(v, "small.bak");
    cr_assert_eq(backup_small(v, PV_BACKUP_TIDY), PV_OK);
    cr_assert_eq(length(v, "small.bak"), len, "nothing is new");
    pvt_vault_free(v);
}

Test(backup, small_blobs_of_many_steps)
{
    enum { COUNT = 60 };
    struct pvt_vault *v = pvt_vault_new_open();
    for (uint32_t i = 0; i < COUNT; i++)
        put_sealed(v, i, 60000);
    cr_assert_eq(backup_small(v, PV_BACKUP_APPEND), PV_OK);
    cr_assert_gt(length(v, "small.bak"), 3 << 20);
    struct found_blobs f = scan_blobs(v);
    cr_assert_eq(f.scan.found, COUNT);
    cr_assert_eq(f.scan.skipped_bytes, 0);
    pvt_vault_free(v);
}

/* What was acknowledged by others, or swept, goes with the next tidy backup; not in one that only
 * appends. */
Test(backup, small_blobs_go_when_most_are_dead)
{
    enum { COUNT = 1100 };
    struct pvt_vault *v = pvt_vault_new_open();
    for (uint32_t i = 0; i < COUNT; i++)
        put_sealed(v, i, 256);
    cr_assert_eq(backup_small(v, PV_BACKUP_APPEND), PV_OK);
    cr_assert_eq(backup_small(v, PV_BACKUP_TIDY), PV_OK);
    cr_assert_eq(scan_blobs(v).scan.found, COUNT);
    for (uint32_t i = 3; i < COUNT; i++)
        hold(v, i, 256);
    cr_assert_eq(backup_small(v, PV_BACKUP_APPEND), PV_OK);
    cr_assert_eq(scan_blobs(v).scan.found, COUNT);
    cr_assert_eq(backup_small(v, PV_BACKUP_TIDY), PV_OK);
    cr_assert_eq(scan_blobs(v).scan.found, 3);
    pvt_vault_free(v);
}

Test(backup, rows_that_need_no_backup_are_looked_at_once)
{
    enum { COUNT = 10500, BATCH = 60 };
    struct pvt_vault *v = pvt_vault_new_open();
    static struct pv_id ids[BATCH];
    static struct pv_commit_op ops[BATCH + 1];
    static struct pvt_blob blobs[BATCH];
    for (uint32_t i = 0; i < COUNT; i += BATCH) {
        for (uint32_t n = 0; n < BATCH; n++) {
            blobs[n] = sealed(i + n, 256);
            ids[n] = blobs[n].id;
            ops[n] = pvt_blob_op(&blobs[n]);
        }
        ops[BATCH] = (struct pv_commit_op){
            .type = PV_COMMIT_HELD,
            .u.held = {.node_id = {{1}}, .ids = ids, .count = BATCH, .held = true}};
        cr_assert_eq(pvt_commit(v, ops, BATCH), PV_OK);
        cr_assert_eq(pvt_commit(v, ops + BATCH, 1), PV_OK);
        for (uint32_t n = 0; n < BATCH; n++)
            pvt_blob_free(&blobs[n]);
    }
    cr_assert_eq(backup_small(v, PV_BACKUP_APPEND), PV_OK);
    cr_assert_eq(length(v, "small.bak"), 0);
    struct pv_backup b;
    bool end = false;
    cr_assert_eq(pv_backup_begin(v->store, PV_BACKUP_SMALL, PV_BACKUP_APPEND, &b), PV_OK);
    cr_assert_eq(pv_backup_step(v->store, &b, &end), PV_OK);
    cr_assert(end && !b.changed);
    pv_backup_abort(v->store, &b);
    pvt_vault_free(v);
}

Test(backup, leaves_the_reserve_alone)
{
    struct pvt_vault *v = pvt_vault_new_open();
    put_sealed(v, 1, 256);
    put(v, 1, 10);
    pvt_faultfs_fail(&v->faults, PVT_FS_SPACE, 1, PV_E_IO);
    cr_assert_eq(backup_small(v, PV_BACKUP_APPEND), PV_E_IO);
    pvt_faultfs_heal(&v->faults);
    v->config.reserve_bytes = UINT64_MAX / 2;
    pvt_reopen(v);
    cr_assert_eq(backup_small(v, PV_BACKUP_APPEND), PV_E_NOSPACE);
    cr_assert_eq(try_backup(v), PV_E_NOSPACE);
    cr_assert_not(exists(v, "small.bak") || exists(v, "records.bak"));
    pvt_vault_free(v);
}

Test(backup, a_bad_byte_costs_one_small_blob)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (uint32_t i = 0; i < 3; i++)
        put_sealed(v, i, 256);
    cr_assert_eq(backup_small(v, PV_BACKUP_APPEND), PV_OK);
    uint64_t len = length(v, "small.bak");
    for (uint64_t at = 0; at < len; at++) {
        overwrite(v, "small.bak", at, 0x21);
        struct found_blobs f = scan_blobs(v);
        cr_assert_eq(f.scan.found, 2);
        cr_assert_eq(f.scan.skipped_bytes, len / 3);
        overwrite(v, "small.bak", at, 0x21);
    }
    pvt_vault_free(v);
}

/* ---- the scan ---- */

Test(backup, a_bad_byte_costs_one_record)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (uint32_t i = 0; i < 3; i++)
        put(v, i, 10);
    backup(v);
    uint64_t len = length(v, "records.bak");
    for (uint64_t at = 0; at < len; at++) {
        overwrite(v, "records.bak", at, 0x21);
        struct found f = scan(v, "records.bak", 0);
        cr_assert_eq(f.scan.found, 2);
        cr_assert_eq(f.scan.skipped_bytes, len / 3);
        overwrite(v, "records.bak", at, 0x21);
    }
    cr_assert_eq(scan(v, "records.bak", 2).scan.found, 2, "stopped by the caller");
    pvt_vault_free(v);
}

static bool is_good_of(struct pvt_vault *v, enum pv_backup_what what)
{
    struct pv_backup_check c = {.at = 0};
    cr_assert_eq(pv_backup_check_begin(v->store, what, &c), PV_OK);
    while (!c.end)
        cr_assert_eq(pv_backup_check_step(v->store, &c), PV_OK);
    pv_backup_check_close(&c);
    return !c.bad;
}

static bool is_good(struct pvt_vault *v)
{
    return is_good_of(v, PV_BACKUP_RECORDS);
}

Test(backup, any_bad_byte_is_seen)
{
    struct pvt_vault *v = pvt_vault_new_open();
    cr_assert(is_good(v), "there is none yet");
    for (uint32_t i = 0; i < 3; i++)
        put(v, i, 10);
    backup(v);
    put(v, 1, 11); /* one of them is no row any more */
    uint64_t len = length(v, "records.bak");
    cr_assert(is_good(v));
    for (uint64_t at = 0; at < len; at++) {
        overwrite(v, "records.bak", at, 0x40);
        cr_assert_not(is_good(v), "byte %ju", at);
        overwrite(v, "records.bak", at, 0x40);
    }
    backup(v);
    cr_assert(is_good(v));
    overwrite(v, "records.bak", len, 0x40); /* where the second backup began */
    cr_assert_not(is_good(v));
    cr_assert_eq(pv_fs_real()->unlink(NULL, v->vault.dir, "records.bak"), PV_OK);
    cr_assert_not(is_good(v));
    cr_assert_eq(pv_fs_real()->mkdir(NULL, v->vault.dir, "records.bak"), PV_OK);
    cr_assert_not(is_good(v));
    pvt_vault_free(v);
}

Test(backup, any_bad_byte_of_small_blobs_is_seen)
{
    struct pvt_vault *v = pvt_vault_new_open();
    cr_assert(is_good_of(v, PV_BACKUP_SMALL));
    for (uint32_t i = 0; i < 3; i++)
        put_sealed(v, i, 256);
    cr_assert_eq(backup_small(v, PV_BACKUP_APPEND), PV_OK);
    uint64_t len = length(v, "small.bak");
    cr_assert(is_good_of(v, PV_BACKUP_SMALL));
    for (uint64_t at = 0; at < len; at++) {
        overwrite(v, "small.bak", at, 0x40);
        cr_assert_not(is_good_of(v, PV_BACKUP_SMALL), "byte %ju", at);
        overwrite(v, "small.bak", at, 0x40);
    }
    overwrite(v, "small.bak", 100, 0x40);
    cr_assert_eq(backup_small(v, PV_BACKUP_ANEW), PV_OK);
    cr_assert(is_good_of(v, PV_BACKUP_SMALL));
    for (uint32_t i = 0; i < 60; i++)
        put_sealed(v, 10 + i, 60000); /* over several slices */
    cr_assert_eq(backup_small(v, PV_BACKUP_APPEND), PV_OK);
    cr_assert(is_good_of(v, PV_BACKUP_SMALL));
    overwrite(v, "small.bak", (1 << 20) + 5000, 1);
    cr_assert_not(is_good_of(v, PV_BACKUP_SMALL));
    pvt_vault_free(v);
}

Test(backup, is_looked_at_in_slices_while_others_write_it)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_backup_check c = {.at = 0};
    const uint32_t count = 6000; /* of 240 bytes or more: over a slice */
    for (uint32_t i = 0; i < count; i++)
        put(v, i, 10);
    backup(v);
    cr_assert_gt(length(v, "records.bak"), 1 << 20);
    cr_assert_eq(pv_backup_check_begin(v->store, PV_BACKUP_RECORDS, &c), PV_OK);
    cr_assert_eq(pv_backup_check_step(v->store, &c), PV_OK);
    cr_assert_not(c.end);
    cr_assert_eq(pv_fs_real()->unlink(NULL, v->vault.dir, "records.bak"), PV_OK);
    put(v, count, 10);
    backup(v);
    while (!c.end)
        cr_assert_eq(pv_backup_check_step(v->store, &c), PV_OK);
    cr_assert_not(c.bad);
    cr_assert_eq(c.at, c.len);
    pv_backup_check_close(&c);
    cr_assert(is_good(v));
    overwrite(v, "records.bak", (1 << 20) + 5000, 1);
    cr_assert_not(is_good(v));
    pvt_vault_free(v);
}

Test(backup, cut_at_any_byte)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (uint32_t i = 0; i < 2; i++)
        put(v, i, 10);
    backup(v);
    uint64_t len = length(v, "records.bak");
    for (uint64_t at = len; at-- > 0;) {
        pv_fd fd;
        cr_assert_eq(pv_fs_real()->open(NULL, v->vault.dir, "records.bak", PV_FS_WRITE, &fd),
                     PV_OK);
        cr_assert_eq(pv_fs_real()->truncate(NULL, fd, at), PV_OK);
        cr_assert_eq(pv_fs_real()->close(NULL, fd), PV_OK);
        struct found f = scan(v, "records.bak", 0);
        cr_assert_eq(f.scan.found, at >= len / 2);
        cr_assert_eq(f.scan.skipped_bytes, at % (len / 2));
    }
    pvt_vault_free(v);
}

Test(backup, over_the_ends_of_the_window)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_record r = pvt_record_make(PV_RECORD_FILE, 5, 77, 0, 0);
    pv_fd fd;
    cr_assert_eq(pv_fs_real()->open(NULL, v->vault.dir, "junk", PV_FS_WRITE | PV_FS_CREATE, &fd),
                 PV_OK);
    uint64_t ends[] = {(1 << 20) - 100, (1 << 20) - PV_RECORD_LEN_MAX - 2, (2 << 20) - 3,
                       (3 << 20) - (uint64_t)r.len};
    for (size_t i = 0; i < PV_COUNT(ends); i++) {
        cr_assert_eq(pv_fs_real()->write(NULL, fd, "PVR1PVR1PVR", 11, ends[i] - 11), PV_OK);
        cr_assert_eq(pv_fs_real()->write(NULL, fd, r.env, r.len, ends[i]), PV_OK);
    }
    cr_assert_eq(pv_fs_real()->close(NULL, fd), PV_OK);
    struct found f = scan(v, "junk", 0);
    cr_assert_eq(f.scan.found, 4);
    cr_assert_eq(f.scan.skipped_bytes, (3 << 20) - 4 * r.len);
    pvt_vault_free(v);
}

Test(backup, what_is_left_of_vault_db)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (uint32_t i = 0; i < 60; i++)
        put(v, i, 10 + i);
    struct found f = scan(v, "vault.db-wal", 0);
    for (uint32_t i = 0; i < 60; i++)
        cr_assert_eq(f.highest[i], 10 + i);
    cr_assert_eq(pv_commit_checkpoint(v->store), PV_OK);
    pvt_vault_close(v);
    cr_assert_eq(pv_vault_open(&v->vault, v->path, &v->faults.fs), PV_OK);
    for (uint64_t at = 0; at < 4096; at++) /* not even the first page */
        overwrite(v, "vault.db", at, 0xff);
    f = scan(v, "vault.db", 0);
    for (uint32_t i = 0; i < 60; i++)
        cr_assert_eq(f.highest[i], 10 + i);
    pv_vault_close(&v->vault);
    pvt_vault_free(v);
}
