/* Full disks: what can still be read, what is refused first, and what never is. */
#include "storage/store_private.h"
#include "tests/unit/storage_fixture.h"

#include <sys/mount.h>
#include <sys/stat.h>

TestSuite(full, .timeout = 120);

/* ---- opening ---- */

Test(full, a_vault_on_a_full_disk_can_be_read)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob file = pvt_blob_make(1, 70000), row = pvt_blob_make(2, 1000),
                    more = pvt_blob_make(3, 1000);
    struct pvt_record r = pvt_record_make(PV_RECORD_MEMBER, 1, 5, 0, 1);
    bool applied;
    cr_assert_eq(pvt_put_blob(v, &file), PV_OK);
    cr_assert_eq(pvt_put_blob(v, &row), PV_OK);
    cr_assert_eq(pvt_put_record(v, &r, false, &applied), PV_OK);
    pvt_vault_close(v);

    atomic_store(&pvt_fatal_count, 0);
    pvt_faultfs_fail_on(&v->faults, PVT_FS_WRITE, PV_E_NOSPACE);
    pvt_vault_open(v);
    cr_assert(pvt_has_blob(v, &file) && pvt_has_blob(v, &row) && pvt_has_record(v, &r));
    cr_assert_eq(pvt_put_blob(v, &more), PV_E_NOSPACE);
    cr_assert(pvt_log_has(&v->log, "the vault can only be read"));
    pvt_vault_close(v);
    cr_assert(v->faults.fired);

    pvt_faultfs_heal(&v->faults);
    pvt_vault_open(v);
    cr_assert(pvt_has_blob(v, &file) && pvt_has_blob(v, &row) && pvt_has_record(v, &r));
    cr_assert_eq(pvt_put_blob(v, &more), PV_OK);
    cr_assert_eq(atomic_load(&pvt_fatal_count), 0);
    pvt_blob_free(&file);
    pvt_blob_free(&row);
    pvt_blob_free(&more);
    pvt_vault_free(v);
}

/*
 * A peer takes a store for a restored one when its count has not grown. So an opening has a number
 * of its own as soon as anything of it is durable, and may share it only if nothing was.
 */
Test(full, an_opening_is_counted_with_the_first_commit)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob a = pvt_blob_make(1, 70000), b = pvt_blob_make(2, 1000);
    cr_assert_eq(pvt_put_blob(v, &a), PV_OK);
    pvt_vault_close(v);
    for (unsigned i = 0; i < 2; i++) { /* nothing of these is durable */
        pvt_faultfs_fail_on(&v->faults, PVT_FS_WRITE, PV_E_NOSPACE);
        pvt_vault_open(v);
        cr_assert_eq(pv_store_origin(v->store).open_count, 2);
        cr_assert_eq(pvt_put_blob(v, &b), PV_E_NOSPACE);
        pvt_vault_close(v);
        pvt_faultfs_heal(&v->faults);
    }
    pvt_faultfs_fail_on(&v->faults, PVT_FS_WRITE, PV_E_NOSPACE);
    pvt_vault_open(v);
    cr_assert_eq(pv_store_origin(v->store).open_count, 2);
    pvt_faultfs_heal(&v->faults); /* somebody made room */
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    pvt_faultfs_fail_on(&v->faults, PVT_FS_WRITE, PV_E_NOSPACE);
    pvt_vault_close(v); /* not even the clock */
    pvt_faultfs_heal(&v->faults);
    pvt_vault_open(v);
    cr_assert_eq(pv_store_origin(v->store).open_count, 3);
    cr_assert(pvt_has_blob(v, &b));
    pvt_blob_free(&a);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(full, a_new_vault_needs_room)
{
    struct pvt_vault *v = pvt_vault_new();
    bool fired = true;
    for (uint64_t n = 1; fired; n++) {
        pvt_faultfs_fail(&v->faults, PVT_FS_WRITE, n, PV_E_NOSPACE);
        enum pv_err err = pvt_vault_try_open(v);
        fired = v->faults.fired;
        pvt_faultfs_heal(&v->faults);
        cr_assert(err == PV_OK || err == PV_E_NOSPACE, "%s", pv_err_name(err));
        if (err != PV_OK)
            pvt_vault_open(v); /* whatever was left half-done */
        cr_assert_eq(pv_store_origin(v->store).open_count, 1);
        pvt_vault_close(v);
        pvt_vault_forget(v);
        cr_assert_lt(n, 1000);
    }
    pvt_vault_free(v);
}

/* ---- the reserve ---- */

static struct pv_fs_space fake_space;

static enum pv_err tell_space(void *ctx, pv_fd dir, struct pv_fs_space *out)
{
    (void)ctx;
    (void)dir;
    *out = fake_space;
    return PV_OK;
}

static enum pv_err put_with_free(struct pvt_vault *v, struct pv_commit_op *op, uint64_t free_bytes)
{
    fake_space.free_bytes = free_bytes;
    return pvt_commit(v, op, 1);
}

/* Refused with one byte less, taken with none. */
static void check_need(struct pvt_vault *v, struct pv_commit_op *op, uint64_t free_bytes)
{
    cr_assert_eq(put_with_free(v, op, free_bytes - 1), PV_E_NOSPACE);
    cr_assert_eq(put_with_free(v, op, free_bytes), PV_OK);
    cr_assert(op->applied);
}

Test(full, blobs_leave_the_reserve_records_half_of_it_deletions_nothing)
{
    struct pvt_vault *v = pvt_vault_new();
    const uint64_t mib = 1 << 20;
    v->faults.fs.space = tell_space;
    v->config.reserve_bytes = UINT64_MAX;
    fake_space = (struct pv_fs_space){.total_bytes = 24 * mib, .free_bytes = 24 * mib};
    const uint64_t reserve = fake_space.total_bytes / 20;
    pvt_vault_open(v);
    struct pvt_blob file = pvt_blob_make(1, 70000), row = pvt_blob_make(2, 5000);
    struct pvt_record name = pvt_record_make(PV_RECORD_NAME, 1, 5, 0, 1),
                      gone = pvt_record_make(PV_RECORD_NAME, 1, 6, PV_RECORD_TOMBSTONE, 1),
                      member = pvt_record_make(PV_RECORD_MEMBER, 2, 7, 0, 1);
    struct pv_commit_op op_file = pvt_blob_op(&file), op_row = pvt_blob_op(&row),
                        op_name = pvt_record_op(&name, false),
                        op_gone = pvt_record_op(&gone, false),
                        op_member = pvt_record_op(&member, false);
    check_need(v, &op_file, reserve + 18 * 4096);   /* whole blocks */
    check_need(v, &op_row, reserve + 2 * 2 * 4096); /* in the log, and in vault.db */
    check_need(v, &op_name, reserve / 2 + 2 * 4096);
    cr_assert_eq(put_with_free(v, &op_gone, 0), PV_OK);
    cr_assert_eq(put_with_free(v, &op_member, 0), PV_OK);
    cr_assert(op_gone.applied && op_member.applied);
    cr_assert_eq(put_with_free(v, &op_file, 0), PV_OK); /* here already */

    fake_space.total_bytes = 1000 * 1024 * mib; /* 5 % of it would be 50 GiB */
    struct pvt_blob other = pvt_blob_make(3, 70000);
    struct pv_commit_op op_other = pvt_blob_op(&other);
    check_need(v, &op_other, PV_RESERVE_MIB * mib + 18 * 4096);
    pvt_blob_free(&file);
    pvt_blob_free(&row);
    pvt_blob_free(&other);
    pvt_vault_free(v);
}

/* Each new file needs an inode; a row needs none. */
Test(full, blob_files_leave_a_reserve_of_inodes)
{
    struct pvt_vault *v = pvt_vault_new();
    v->faults.fs.space = tell_space;
    fake_space = (struct pv_fs_space){.total_bytes = 1 << 30, .free_bytes = 1 << 30};
    pvt_vault_open(v);
    struct pvt_blob one = pvt_blob_make(1, 70000), two = pvt_blob_make(2, 70000),
                    row = pvt_blob_make(3, 5000), other = pvt_blob_make(4, 70000);
    struct pv_commit_op both[] = {pvt_blob_op(&one), pvt_blob_op(&two)}, op_row = pvt_blob_op(&row),
                        op_other = pvt_blob_op(&other);
    fake_space.total_files = 200;
    fake_space.free_files = 200 / 20 + 1;
    cr_assert_eq(pvt_commit(v, both, 2), PV_E_NOSPACE);
    cr_assert_eq(pv_store_room(v->store), PV_OK);
    fake_space.free_files = 200 / 20 + 2;
    cr_assert_eq(pvt_commit(v, both, 2), PV_OK);
    fake_space.free_files = 200 / 20;
    cr_assert_eq(pv_store_room(v->store), PV_E_NOSPACE);
    cr_assert_eq(pvt_commit(v, &op_other, 1), PV_E_NOSPACE);
    cr_assert_eq(pvt_commit(v, &op_row, 1), PV_OK);
    fake_space.total_files = 1000000; /* 5 % of them would be 50 000 */
    fake_space.free_files = PV_RESERVE_FILES;
    cr_assert_eq(pvt_commit(v, &op_other, 1), PV_E_NOSPACE);
    fake_space.free_files = PV_RESERVE_FILES + 1;
    cr_assert_eq(pvt_commit(v, &op_other, 1), PV_OK);
    pvt_blob_free(&one);
    pvt_blob_free(&two);
    pvt_blob_free(&row);
    pvt_blob_free(&other);
    pvt_vault_free(v);
}

Test(full, room_is_told)
{
    struct pvt_vault *v = pvt_vault_new();
    v->faults.fs.space = tell_space;
    v->config.reserve_bytes = UINT64_MAX;
    v->config.disk_limit = PV_BLOB_LEN_MAX;
    const uint64_t need = (24 << 20) / 20 + 241 * 4096; /* the largest blob, in whole blocks */
    fake_space = (struct pv_fs_space){.total_bytes = 24 << 20, .free_bytes = need};
    pvt_vault_open(v);
    cr_assert_eq(pv_store_room(v->store), PV_OK);
    fake_space.free_bytes = need - 1;
    cr_assert_eq(pv_store_room(v->store), PV_E_NOSPACE);
    fake_space.free_bytes = need;
    pv_store_limit(v->store, PV_BLOB_LEN_MAX - 1);
    cr_assert_eq(pv_store_room(v->store), PV_E_NOSPACE);
    pv_store_limit(v->store, 0);
    cr_assert_eq(pv_store_room(v->store), PV_OK);
    pvt_vault_free(v);
}

/* A limit that is changed applies to the next commit. */
Test(full, the_limit_can_be_raised_and_lowered)
{
    struct pvt_vault *v = pvt_vault_new();
    v->config.disk_limit = 100000;
    pvt_vault_open(v);
    struct pvt_blob a = pvt_blob_make(1, 90000), b = pvt_blob_make(2, 90000),
                    c = pvt_blob_make(3, 1000);
    cr_assert_eq(pvt_put_blob(v, &a), PV_OK);
    cr_assert_eq(pvt_put_blob(v, &b), PV_E_NOSPACE);
    pv_store_limit(v->store, 180000);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    pv_store_limit(v->store, 1);
    cr_assert_eq(pvt_put_blob(v, &c), PV_E_NOSPACE);
    cr_assert(pvt_has_blob(v, &a) && pvt_has_blob(v, &b));
    pv_store_limit(v->store, PV_DISK_LIMIT_NONE);
    cr_assert_eq(pvt_put_blob(v, &c), PV_OK);
    pvt_blob_free(&a);
    pvt_blob_free(&b);
    pvt_blob_free(&c);
    pvt_vault_free(v);
}

/* Tiny files are records and no blobs: they count, too. What is not theirs may still come. */
Test(full, the_limit_counts_records)
{
    struct pvt_vault *v = pvt_vault_new();
    v->config.disk_limit = 3 << 20;
    pvt_vault_open(v);
    struct pvt_blob blob = pvt_blob_make(1, 70000);
    enum pv_err err = PV_OK;
    uint32_t no = 0;
    bool applied;
    for (; err == PV_OK && no < 20000; no++) {
        struct pvt_record r = pvt_record_make(PV_RECORD_FILE, no, no + 1, 0, 0);
        err = pvt_put_record(v, &r, false, &applied);
    }
    cr_assert_eq(err, PV_E_NOSPACE);
    cr_assert_gt(no, 1000);
    cr_assert_eq(pvt_put_blob(v, &blob), PV_E_NOSPACE);
    struct pvt_record gone = pvt_record_make(PV_RECORD_FILE, 1, 100000, PV_RECORD_TOMBSTONE, 1);
    cr_assert_eq(pvt_put_record(v, &gone, false, &applied), PV_OK);
    pv_store_limit(v->store, 6 << 20);
    cr_assert_eq(pvt_put_blob(v, &blob), PV_OK);
    pvt_blob_free(&blob);
    pvt_vault_free(v);
}

/* What waits in the log needs its place in vault.db, so it is not free; moving the log settles it.
 */
/* A 64th of a small disk, and no more than its limit on a large one. */
Test(full, the_log_has_its_share_of_the_disk)
{
    const uint64_t most = PV_WAL_CHECKPOINT_BYTES, disks[][2] = {{64 * (most - 1), most - 1},
                                                                 {64 * most, most},
                                                                 {64 * (most + 1), most},
                                                                 {64 << 20, 1 << 20}};
    for (size_t i = 0; i < PV_COUNT(disks); i++) {
        struct pvt_vault *v = pvt_vault_new();
        v->faults.fs.space = tell_space;
        fake_space = (struct pv_fs_space){.total_bytes = disks[i][0], .free_bytes = disks[i][0]};
        pvt_vault_open(v);
        cr_assert_eq(v->store->log_bytes_max, disks[i][1]);
        pvt_vault_free(v);
    }
}

Test(full, the_log_counts_as_taken_until_it_is_moved)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob large[4], file = pvt_blob_make(9, 70000);
    v->faults.fs.space = tell_space;
    fake_space = (struct pv_fs_space){.total_bytes = 1 << 30, .free_bytes = 1 << 30};
    for (unsigned i = 0; i < 4; i++) {
        large[i] = pvt_blob_make(i, 60000);
        cr_assert_eq(pvt_put_blob(v, &large[i]), PV_OK);
    }
    uint64_t log_bytes = pv_commit_log_bytes(v->store);
    cr_assert_gt(log_bytes, 4 * 60000);
    struct pv_commit_op op = pvt_blob_op(&file);
    pvt_faultfs_fail_on(&v->faults, PVT_FS_WRITE, PV_E_NOSPACE); /* it cannot be moved */
    cr_assert_eq(put_with_free(v, &op, log_bytes + 18 * 4096 - 1), PV_E_NOSPACE);
    pvt_faultfs_heal(&v->faults);
    cr_assert_eq(pv_commit_log_bytes(v->store), log_bytes);
    cr_assert_eq(put_with_free(v, &op, log_bytes + 18 * 4096 - 1), PV_OK); /* now it is */
    cr_assert_lt(pv_commit_log_bytes(v->store), log_bytes);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(pvt_has_blob(v, &large[i]));
        pvt_blob_free(&large[i]);
    }
    pvt_blob_free(&file);
    pvt_vault_free(v);
}

Test(full, what_fits_alone_is_not_refused_with_its_batch)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob a = pvt_blob_make(1, 30000), b = pvt_blob_make(2, 70000);
    struct pvt_record r = pvt_record_make(PV_RECORD_NAME, 1, 6, PV_RECORD_TOMBSTONE, 1);
    struct pv_commit_op op_a = pvt_blob_op(&a), op_b = pvt_blob_op(&b),
                        op_r = pvt_record_op(&r, false);
    struct pv_commit ca = pvt_commit_of(&op_a, 1), cb = pvt_commit_of(&op_b, 1),
                     cr = pvt_commit_of(&op_r, 1);
    ca.next = &cb;
    cb.next = &cr;
    pvt_faultfs_fail(&v->faults, PVT_FS_WRITE, 4, PV_E_NOSPACE); /* b's file, then the log */
    pv_commit_batch(v->store, &ca);
    cr_assert(v->faults.fired);
    cr_assert(ca.err == PV_OK && cb.err == PV_OK && cr.err == PV_OK);
    cr_assert(op_a.applied && op_b.applied && op_r.applied);
    cr_assert(pvt_has_blob(v, &a) && pvt_has_blob(v, &b) && pvt_has_record(v, &r));
    cr_assert_eq(ca.ctx, &ca);
    cr_assert_eq(cb.ctx, &cb);
    cr_assert_eq(cr.ctx, &cr);
    pvt_reopen(v);
    cr_assert(pvt_has_blob(v, &a) && pvt_has_blob(v, &b) && pvt_has_record(v, &r));
    pvt_blob_free(&a);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

/* ---- a real one ---- */

static bool mount_small(struct pvt_vault *v, char path[static 300])
{
    snprintf(path, 300, "%s/small", v->dir.path);
    cr_assert_eq(mkdir(path, 0700), 0);
    if (mount("tmpfs", path, "tmpfs", 0, "size=24m") != 0)
        return false;
    snprintf(v->path, sizeof v->path, "%s/small/vault", v->dir.path);
    v->config.reserve_bytes = UINT64_MAX;
    cr_assert_eq(pv_vault_create(v->path, &v->faults.fs), PV_OK);
    pvt_vault_open(v);
    return true;
}

enum { NAMES = 100, TINY_MAX = 40000 };

static enum pv_err put_name(struct pvt_vault *v, unsigned no, uint16_t flags)
{
    struct pvt_record r = pvt_record_make(PV_RECORD_NAME, no, 5 + flags, flags, 1);
    bool applied;
    return pvt_put_record(v, &r, false, &applied);
}

/* Blobs until they are refused, names until they are. */
static unsigned fill_up(struct pvt_vault *v)
{
    enum pv_err err = PV_OK;
    unsigned names = 0;
    for (unsigned i = 0; err == PV_OK; i++) {
        struct pvt_blob b = pvt_blob_make(i, i % 2 == 0 ? 300000 : 20000);
        err = pvt_put_blob(v, &b);
        pvt_blob_free(&b);
    }
    cr_assert_eq(err, PV_E_NOSPACE);
    while (names < TINY_MAX && (err = put_name(v, names, 0)) == PV_OK)
        names++;
    cr_assert_eq(err, PV_E_NOSPACE);
    return names;
}

Test(full, on_24_mib_deletions_go_on_when_all_else_is_refused)
{
    struct pvt_vault *v = pvt_vault_new();
    char path[300];
    struct pv_store_counts counts;
    if (!mount_small(v, path)) {
        pvt_vault_free(v);
        cr_skip_test("on_24_mib_deletions_go_on_when_all_else_is_refused: cannot mount a tmpfs");
    }
    atomic_store(&pvt_fatal_count, 0);
    unsigned names = fill_up(v);
    cr_assert_gt(names, NAMES, "%u", names);
    cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
    cr_assert_gt(counts.blob_bytes, 18 << 20); /* of 24 MiB; the rest is the reserve and folders */
    cr_assert_gt(counts.disk_free_bytes, 24 * 1048576 / 40); /* half of the reserve */
    for (unsigned i = 0; i < NAMES; i++)
        cr_assert_eq(put_name(v, i, PV_RECORD_TOMBSTONE), PV_OK, "%u", i);
    pvt_reopen(v);
    cr_assert_eq(put_name(v, NAMES, PV_RECORD_TOMBSTONE), PV_OK);
    cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
    cr_assert_eq(counts.names, names - NAMES - 1);
    cr_assert_eq(atomic_load(&pvt_fatal_count), 0);
    pvt_vault_close(v);
    cr_assert_eq(umount(path), 0);
    pvt_vault_free(v);
}

/* Another program takes the last byte. */
Test(full, a_vault_on_a_full_tmpfs_opens_and_reads)
{
    struct pvt_vault *v = pvt_vault_new();
    struct pvt_blob file = pvt_blob_make(1, 70000), row = pvt_blob_make(2, 1000),
                    more = pvt_blob_make(3, 1000);
    char path[300], filler[400], block[4096] = {1};
    if (!mount_small(v, path)) {
        pvt_vault_free(v);
        cr_skip_test("a_vault_on_a_full_tmpfs_opens_and_reads: cannot mount a tmpfs");
    }
    cr_assert_eq(pvt_put_blob(v, &file), PV_OK);
    cr_assert_eq(pvt_put_blob(v, &row), PV_OK);
    pvt_vault_close(v);
    atomic_store(&pvt_fatal_count, 0);
    snprintf(filler, sizeof filler, "%s/filler", path);
    FILE *f = fopen(filler, "w");
    cr_assert_not_null(f);
    setbuf(f, NULL);
    while (fwrite(block, sizeof block, 1, f) == 1)
        ;
    fclose(f);
    for (unsigned i = 0; i < 2; i++) {
        pvt_vault_open(v);
        cr_assert_eq(pv_store_origin(v->store).open_count, 2);
        cr_assert(pvt_has_blob(v, &file) && pvt_has_blob(v, &row));
        cr_assert_eq(pvt_put_blob(v, &more), PV_E_NOSPACE);
        pvt_vault_close(v);
    }
    cr_assert_eq(unlink(filler), 0);
    pvt_vault_open(v);
    cr_assert_eq(pvt_put_blob(v, &more), PV_OK);
    cr_assert_eq(atomic_load(&pvt_fatal_count), 0);
    pvt_vault_close(v);
    cr_assert_eq(umount(path), 0);
    pvt_blob_free(&file);
    pvt_blob_free(&row);
    pvt_blob_free(&more);
    pvt_vault_free(v);
}
