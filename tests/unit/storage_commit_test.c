#include "tests/unit/storage_fixture.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

TestSuite(commit, .timeout = 120);

static struct pv_store_counts counts_of(struct pvt_vault *v)
{
    struct pv_store_counts counts;
    cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
    return counts;
}

/* ---- blobs ---- */

Test(commit, data_is_durable_before_names_and_names_before_rows)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob a = pvt_blob_make(1, 70000), b = pvt_blob_make(2, 80000);
    struct pv_commit_op ops[] = {pvt_blob_op(&a), pvt_blob_op(&b)};
    cr_assert_neq(a.id.b[0], b.id.b[0]);
    pvt_faultfs_trace(&v->faults);
    cr_assert_eq(pvt_commit(v, ops, 2), PV_OK);
    /* free space; temps; their syncs; renames; both folders; then the log and its sync. */
    const char *expect = "powbowbssccrroosscc";
    cr_assert_eq(strncmp(v->faults.trace, expect, strlen(expect)), 0, "%s", v->faults.trace);
    const char *log = v->faults.trace + strlen(expect);
    cr_assert_eq(strspn(log, "wR") + 1, strlen(log), "%s", log);
    cr_assert_eq(log[strlen(log) - 1], 's');
    cr_assert(ops[0].applied && ops[1].applied);
    cr_assert_eq(pvt_files_in(v, "tmp"), 0);
    pvt_reopen(v);
    cr_assert(pvt_has_blob(v, &a) && pvt_has_blob(v, &b));
    pvt_blob_free(&a);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(commit, what_is_here_already_is_only_renewed)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (unsigned i = 0; i < 2; i++) {
        struct pvt_blob b = pvt_blob_make(i, i == 0 ? 1000 : 100000);
        struct pv_commit_op op = pvt_blob_op(&b);
        struct pv_blob_info info;
        op.u.blob.kind = 0;
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
        cr_assert(op.applied);
        op.u.blob.kind = PV_BLOB_NODE; /* it was unknown, and is learnt */
        op.u.blob.has_holder = true;
        op.u.blob.holder = (struct pv_id){{4}};
        uint64_t renames = pvt_faultfs_count(&v->faults, PVT_FS_RENAME);
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
        cr_assert(!op.applied);
        cr_assert_eq(pvt_faultfs_count(&v->faults, PVT_FS_RENAME), renames);
        cr_assert_eq(pv_store_blob(v->store, &b.id, &info), PV_OK);
        cr_assert(info.kind == PV_BLOB_NODE && info.held == 1 && info.size == b.len);
        cr_assert_eq(counts_of(v).blobs, i + 1);
        pvt_blob_free(&b);
    }
    cr_assert_eq(counts_of(v).blob_bytes, 101000);
    pvt_reopen(v);
    cr_assert_eq(counts_of(v).blob_bytes, 101000);
    pvt_vault_free(v);
}

Test(commit, lengths_at_the_limits)
{
    struct pvt_vault *v = pvt_vault_new_open();
    const size_t good[] = {PV_BLOB_LEN_MIN, PV_BLOB_FILE_MIN - 1, PV_BLOB_FILE_MIN,
                           PV_BLOB_LEN_MAX};
    const size_t bad[] = {0, 1, PV_BLOB_LEN_MIN - 1, PV_BLOB_LEN_MAX + 1};
    for (unsigned i = 0; i < 4; i++) {
        struct pvt_blob b = pvt_blob_make(i, good[i]);
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        pvt_blob_free(&b);
        b = pvt_blob_make(i, bad[i]);
        cr_assert_eq(pvt_put_blob(v, &b), PV_E_INVALID);
        pvt_blob_free(&b);
    }
    cr_assert_eq(counts_of(v).blobs, 4);
    cr_assert_eq(pvt_blob_files(v), 2);
    pvt_vault_free(v);
}

Test(commit, one_that_fails_takes_no_other_along)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob a = pvt_blob_make(1, 70000), b = pvt_blob_make(2, 80000),
                    c = pvt_blob_make(3, 1000);
    struct pv_id none = {{9}};
    struct pv_commit_op lease = {.type = PV_COMMIT_LEASE, .u.lease = {.ids = &none, .count = 1}};
    struct pv_commit_op first[] = {pvt_blob_op(&a), pvt_blob_op(&b), lease};
    struct pv_commit_op second[] = {pvt_blob_op(&b), pvt_blob_op(&c), pvt_blob_op(&b)};
    struct pv_commit one = pvt_commit_of(first, 3), two = pvt_commit_of(second, 3);
    one.next = &two;
    pv_commit_batch(v->store, &one);
    cr_assert_eq(one.err, PV_E_NOT_FOUND);
    cr_assert(!first[0].applied && !first[1].applied);
    cr_assert_eq(two.err, PV_OK);
    cr_assert(second[0].applied && second[1].applied && !second[2].applied);
    cr_assert(!pvt_has_blob(v, &a) && pvt_has_blob(v, &b) && pvt_has_blob(v, &c));
    cr_assert_eq(pvt_blob_files(v), 1); /* a's is gone again, b's is not */
    cr_assert_eq(counts_of(v).blob_bytes, 81000);
    pvt_blob_free(&a);
    pvt_blob_free(&b);
    pvt_blob_free(&c);
    pvt_vault_free(v);
}

Test(commit, bad_bytes_are_replaced_and_kept_aside)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (unsigned i = 0; i < 2; i++) {
        struct pvt_blob good = pvt_blob_make(i, i == 0 ? 90000 : 900);
        uint8_t *bad = calloc(1, good.len);
        struct pv_commit_op op = pvt_blob_op(&good);
        op.u.blob.bytes = bad; /* stands for what the disk made of it */
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
        cr_assert(!pvt_has_blob(v, &good));
        op = pvt_blob_op(&good);
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
        cr_assert(!pvt_has_blob(v, &good)); /* present: left alone */
        op.u.blob.replace = true;
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
        cr_assert(op.applied);
        cr_assert(pvt_has_blob(v, &good));
        cr_assert_eq(pvt_files_in(v, "quarantine"), 1);
        cr_assert_eq(counts_of(v).blobs, i + 1);
        free(bad);
        pvt_blob_free(&good);
    }
    struct pvt_blob lost = pvt_blob_make(7, 66000), fresh = pvt_blob_make(8, 66000);
    char path[400], blob[PV_BLOB_PATH_LEN + 1];
    cr_assert_eq(pvt_put_blob(v, &lost), PV_OK);
    pv_blob_path(blob, &lost.id);
    snprintf(path, sizeof path, "%s/%s", v->path, blob);
    cr_assert_eq(unlink(path), 0);
    struct pv_commit_op ops[] = {pvt_blob_op(&lost), pvt_blob_op(&fresh)};
    ops[0].u.blob.replace = ops[1].u.blob.replace = true; /* also when there is nothing to move */
    cr_assert_eq(pvt_commit(v, ops, 2), PV_OK);
    cr_assert(pvt_has_blob(v, &lost) && pvt_has_blob(v, &fresh));
    pvt_blob_free(&lost);
    pvt_blob_free(&fresh);
    pvt_vault_free(v);
}

Test(commit, disk_limit_counts_bytes_of_new_blobs)
{
    struct pvt_vault *v = pvt_vault_new();
    v->config.disk_limit = 200000;
    pvt_vault_open(v);
    struct pvt_blob a = pvt_blob_make(1, 100000), b = pvt_blob_make(2, 99000),
                    c = pvt_blob_make(3, 1001), d = pvt_blob_make(4, 1000);
    struct pv_commit_op op_a = pvt_blob_op(&a), op_b = pvt_blob_op(&b), op_c = pvt_blob_op(&c),
                        op_d = pvt_blob_op(&d);
    struct pv_commit ca = pvt_commit_of(&op_a, 1), cb = pvt_commit_of(&op_b, 1),
                     cc = pvt_commit_of(&op_c, 1), cd = pvt_commit_of(&op_d, 1);
    ca.next = &cb;
    cb.next = &cc;
    cc.next = &cd;
    pv_commit_batch(v->store, &ca);
    cr_assert(ca.err == PV_OK && cb.err == PV_OK && cd.err == PV_OK);
    cr_assert_eq(cc.err, PV_E_NOSPACE); /* one byte too many */
    cr_assert_eq(counts_of(v).blob_bytes, 200000);
    cr_assert_eq(pvt_put_blob(v, &c), PV_E_NOSPACE);
    cr_assert_eq(pvt_put_blob(v, &a), PV_OK); /* a renewal needs nothing */
    struct pv_commit_op again = pvt_blob_op(&a);
    again.u.blob.replace = true;
    cr_assert_eq(pvt_commit(v, &again, 1), PV_OK);
    struct pvt_record r = pvt_record_make(PV_RECORD_MEMBER, 1, 5, 0, 1);
    bool applied;
    cr_assert_eq(pvt_put_record(v, &r, false, &applied), PV_OK); /* nor does a record */
    pvt_blob_free(&a);
    pvt_blob_free(&b);
    pvt_blob_free(&c);
    pvt_blob_free(&d);
    pvt_vault_free(v);
}

Test(commit, the_reserve_of_the_disk_is_kept_free)
{
    struct pvt_vault *v = pvt_vault_new();
    v->config.reserve_bytes = UINT64_MAX - 1;
    pvt_vault_open(v);
    struct pvt_blob small = pvt_blob_make(1, 1000), large = pvt_blob_make(2, 100000);
    cr_assert_eq(pvt_put_blob(v, &small), PV_E_NOSPACE);
    cr_assert_eq(pvt_put_blob(v, &large), PV_E_NOSPACE);
    pvt_faultfs_fail(&v->faults, PVT_FS_SPACE, 1, PV_E_IO);
    cr_assert_eq(pvt_put_blob(v, &large), PV_E_IO);
    pvt_vault_close(v);
    v->config.reserve_bytes = UINT64_MAX; /* 5 %, at most 1 GiB */
    pvt_vault_open(v);
    cr_assert_eq(pvt_put_blob(v, &large), PV_OK);
    pvt_blob_free(&small);
    pvt_blob_free(&large);
    pvt_vault_free(v);
}

Test(commit, a_full_disk_is_survived)
{
    struct pvt_vault *v = pvt_vault_new();
    char path[300];
    snprintf(path, sizeof path, "%s/small", v->dir.path);
    cr_assert_eq(mkdir(path, 0700), 0);
    if (mount("tmpfs", path, "tmpfs", 0, "size=3m") != 0) {
        pvt_vault_free(v);
        cr_skip_test("a_full_disk_is_survived: cannot mount a tmpfs");
    }
    snprintf(v->path, sizeof v->path, "%s/small/vault", v->dir.path);
    cr_assert_eq(pv_vault_create(v->path, &v->faults.fs), PV_OK);
    pvt_vault_open(v);
    atomic_store(&pvt_fatal_count, 0);
    enum { MANY = 200 };
    bool stored[MANY] = {false}, full = false;
    for (unsigned i = 0; i < MANY; i++) { /* files, and rows until even the log is full */
        struct pvt_blob b = pvt_blob_make(i, i % 2 == 0 ? 100000 : 50000);
        enum pv_err err = pvt_put_blob(v, &b);
        cr_assert(err == PV_OK || err == PV_E_NOSPACE, "%s", pv_err_name(err));
        stored[i] = err == PV_OK;
        full |= !stored[i];
        pvt_blob_free(&b);
    }
    cr_assert(full);
    cr_assert_eq(atomic_load(&pvt_fatal_count), 0);
    cr_assert_eq(pvt_files_in(v, "tmp"), 0);
    (void)!pv_commit_checkpoint(v->store);
    for (unsigned i = 0; i < MANY; i++) {
        struct pvt_blob b = pvt_blob_make(i, i % 2 == 0 ? 100000 : 50000);
        cr_assert_eq(pvt_has_blob(v, &b), stored[i]);
        pvt_blob_free(&b);
    }
    pvt_vault_close(v);
    cr_assert_eq(umount(path), 0);
    pvt_vault_free(v);
}

/* ---- leases, holders, meta ---- */

Test(commit, leases_are_renewed_together_or_not_at_all)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob a = pvt_blob_make(1, 1000), b = pvt_blob_make(2, 1000);
    cr_assert_eq(pvt_put_blob(v, &a), PV_OK);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    struct pv_id ids[] = {a.id, b.id, {{1}}};
    struct pv_commit_op op = {.type = PV_COMMIT_LEASE, .u.lease = {.ids = ids, .count = 2}};
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    op.u.lease.count = 3;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_E_NOT_FOUND);
    op.u.lease.count = 0;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    pvt_blob_free(&a);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(commit, held_bits_are_set_and_cleared)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob a = pvt_blob_make(1, 1000), b = pvt_blob_make(2, 1000);
    struct pv_blob_info info;
    struct pv_id ids[] = {a.id, {{0xee}}, b.id};
    unsigned bit;
    cr_assert_eq(pvt_put_blob(v, &a), PV_OK);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    struct pv_commit_op op = {.type = PV_COMMIT_HELD, .u.held = {.ids = ids, .count = 3}};
    op.u.held.node_id.b[0] = 200;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK); /* clearing for a stranger gives it no bit */
    cr_assert_eq(pv_store_holder(v->store, &op.u.held.node_id, &bit), PV_E_NOT_FOUND);
    op.u.held.held = true;
    for (unsigned i = 0; i < PV_HOLDERS_MAX; i++) {
        op.u.held.node_id.b[0] = (uint8_t)i;
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK); /* the unknown id is passed over */
        cr_assert_eq(pv_store_holder(v->store, &op.u.held.node_id, &bit), PV_OK);
        cr_assert_eq(bit, i);
    }
    cr_assert_eq(pv_store_blob(v->store, &b.id, &info), PV_OK);
    cr_assert_eq(info.held, UINT64_MAX);
    op.u.held.node_id.b[0] = PV_HOLDERS_MAX;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_E_LIMIT);
    struct pvt_blob c = pvt_blob_make(3, 1000);
    struct pv_commit_op put = pvt_blob_op(&c);
    put.u.blob.has_holder = true;
    put.u.blob.holder = op.u.held.node_id;
    cr_assert_eq(pvt_commit(v, &put, 1), PV_OK); /* the blob is worth more than its holder */
    op.u.held.held = false;
    op.u.held.node_id.b[0] = 63;
    op.u.held.count = 1;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(pv_store_blob(v->store, &a.id, &info), PV_OK);
    cr_assert_eq(info.held, UINT64_MAX >> 1);
    op.u.held.all = true;
    op.u.held.node_id.b[0] = 0;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(pv_store_blob(v->store, &a.id, &info), PV_OK);
    cr_assert_eq(info.held, (UINT64_MAX >> 1) - 1);
    cr_assert_eq(pv_store_blob(v->store, &b.id, &info), PV_OK);
    cr_assert_eq(info.held, UINT64_MAX - 1);
    op.u.held.held = true;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(pv_store_blob(v->store, &c.id, &info), PV_OK);
    cr_assert_eq(info.held, 1);
    pvt_blob_free(&a);
    pvt_blob_free(&b);
    pvt_blob_free(&c);
    pvt_vault_free(v);
}

Test(commit, meta_keeps_values_and_guards_its_own)
{
    struct pvt_vault *v = pvt_vault_new_open();
    uint8_t *value = calloc(1, PV_META_MAX + 1), *back = calloc(1, PV_META_MAX + 1);
    struct pv_commit_op op = {.type = PV_COMMIT_META,
                              .u.meta = {.key = "cursor", .value = value, .len = 0}};
    const size_t lens[] = {0, 1, 100, PV_META_MAX};
    for (unsigned i = 0; i < PV_COUNT(lens); i++) {
        size_t len = PV_META_MAX + 1;
        memset(value, (int)i + 1, PV_META_MAX);
        op.u.meta.len = lens[i];
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
        cr_assert_eq(pv_store_meta(v->store, "cursor", back, &len), PV_OK);
        cr_assert(len == lens[i] && memcmp(value, back, len) == 0);
        len = lens[i] > 0 ? lens[i] - 1 : 0;
        cr_assert_eq(pv_store_meta(v->store, "cursor", back, &len),
                     lens[i] > 0 ? PV_E_LIMIT : PV_OK);
    }
    op.u.meta.len = PV_META_MAX + 1;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_E_INVALID);
    op.u.meta.len = 1;
    op.u.meta.key = "/uuid";
    cr_assert_eq(pvt_commit(v, &op, 1), PV_E_INVALID);
    free(value);
    free(back);
    pvt_vault_free(v);
}

/* ---- out of memory ---- */

Test(commit, each_allocation_may_fail)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_record old = pvt_record_make(PV_RECORD_NAME, 1, 1, 0, 1);
    bool applied, done = false;
    cr_assert_eq(pvt_put_record(v, &old, false, &applied), PV_OK);
    for (unsigned n = 0; !done; n++) {
        struct pvt_blob b = pvt_blob_make(n, 70000);
        struct pvt_record r = pvt_record_make(PV_RECORD_NAME, 1, 10 + n, 0, 1);
        struct pv_commit_op ops[] = {pvt_blob_op(&b), pvt_record_op(&r, false)};
        pv_mem_fail_after(n);
        enum pv_err err = pvt_commit(v, ops, 2);
        pv_mem_fail_after(UINT64_MAX);
        done = err == PV_OK;
        cr_assert(done || err == PV_E_NOMEM);
        cr_assert_eq(pvt_has_blob(v, &b), done);
        cr_assert_eq(pvt_file_exists(v, &b.id), done);
        cr_assert_eq(pvt_has_record(v, &r), done);
        pvt_blob_free(&b);
        cr_assert_lt(n, 100);
    }
    pvt_vault_free(v);
}

/* ---- failing disks ---- */

/* Everything a round of the sweep tries to store, and what was acknowledged of it. */
struct round {
    struct pvt_blob file, other, row;
    struct pvt_record record;
    enum pv_err first, second; /* {file, row, record} and {other} */
};

static void run_round(struct pvt_vault *v, struct round *r, unsigned no)
{
    r->file = pvt_blob_make(no * 4, 66000);
    r->other = pvt_blob_make(no * 4 + 1, 67000);
    r->row = pvt_blob_make(no * 4 + 2, 5000);
    r->record = pvt_record_make(PV_RECORD_MEMBER, no, 100 + no, 0, 1);
    r->first = r->second = PV_E_INTERNAL;
    if (pvt_vault_try_open(v) != PV_OK)
        return;
    struct pv_commit_op one[] = {pvt_blob_op(&r->file), pvt_blob_op(&r->row),
                                 pvt_record_op(&r->record, false)};
    struct pv_commit_op two[] = {pvt_blob_op(&r->other)};
    struct pv_commit a = pvt_commit_of(one, 3), b = pvt_commit_of(two, 1);
    a.next = &b;
    pv_commit_batch(v->store, &a);
    r->first = a.err;
    r->second = b.err;
    (void)!pv_commit_checkpoint(v->store);
    pvt_vault_close(v);
}

/* all: acknowledged ones are there. none: others are not (a dying process may leave them). */
static void check_round(struct pvt_vault *v, struct round *r, bool fatal)
{
    bool file = pvt_has_blob(v, &r->file), row = pvt_has_blob(v, &r->row);
    bool record = pvt_has_record(v, &r->record), other = pvt_has_blob(v, &r->other);
    cr_assert(file == row && row == record); /* a commit is whole */
    if (r->first == PV_OK || !fatal)
        cr_assert_eq(file, r->first == PV_OK);
    if (r->second == PV_OK || !fatal)
        cr_assert_eq(other, r->second == PV_OK);
    pvt_blob_free(&r->file);
    pvt_blob_free(&r->other);
    pvt_blob_free(&r->row);
}

static unsigned sweep(struct pvt_vault *v, enum pvt_fs_call call, enum pv_err fault, unsigned no)
{
    for (uint64_t n = 1;; n++, no++) {
        struct round r;
        struct pv_id unknown[PV_UNKNOWN_MAX];
        size_t fds = pvt_open_fds();
        atomic_store(&pvt_fatal_count, 0);
        pvt_faultfs_fail(&v->faults, call, n, fault);
        run_round(v, &r, no);
        bool fired = v->faults.fired, fatal = atomic_load(&pvt_fatal_count) > 0;
        pvt_faultfs_heal(&v->faults);
        cr_assert(!fatal || fault != PV_E_NOSPACE || call == PVT_FS_SYNC);
        if (fatal && call == PVT_FS_SYNC && r.first == PV_OK)
            cr_assert_eq(r.second, PV_OK); /* the batch was through; only closing failed */
        cr_assert_eq(pvt_open_fds(), fds);

        pvt_vault_open(v);
        check_round(v, &r, fatal);
        cr_assert_eq(pvt_files_in(v, "tmp"), 0);
        struct pv_commit_op op = {.type = PV_COMMIT_UNKNOWN, .u.unknown.ids = unknown};
        op.u.unknown.count = pvt_find_unknown(v, unknown);
        cr_assert(op.u.unknown.count == 0 || fatal || call == PVT_FS_UNLINK);
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
        pvt_vault_close(v);
        if (!fired)
            return no + 1;
    }
}

Test(commit, any_call_may_fail_once_and_no_ack_is_a_lie)
{
    static const enum pvt_fs_call calls[] = {
        PVT_FS_OPEN,     PVT_FS_WRITE, PVT_FS_RENAME, PVT_FS_SYNC, PVT_FS_UNLINK, PVT_FS_CLOSE,
        PVT_FS_TRUNCATE, PVT_FS_STAT,  PVT_FS_READ,   PVT_FS_LIST, PVT_FS_SPACE,  PVT_FS_WRITEBACK};
    struct pvt_vault *v = pvt_vault_new();
    unsigned no = 0;
    for (unsigned i = 0; i < PV_COUNT(calls); i++)
        no = sweep(v, calls[i], PV_E_IO, no);
    no = sweep(v, PVT_FS_WRITE, PV_E_NOSPACE, no);
    no = sweep(v, PVT_FS_OPEN, PV_E_LIMIT, no);
    cr_assert_gt(no, 60);
    pvt_vault_free(v);
}

Test(commit, after_a_failed_sync_nothing_is_acknowledged)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob a = pvt_blob_make(1, 70000), b = pvt_blob_make(2, 1000);
    atomic_store(&pvt_fatal_count, 0);
    pvt_faultfs_fail(&v->faults, PVT_FS_SYNC, 1, PV_E_IO);
    cr_assert_eq(pvt_put_blob(v, &a), PV_E_IO);
    cr_assert_eq(atomic_load(&pvt_fatal_count), 1);
    cr_assert(pvt_log_has(&v->log, "disk failure, stopping"));
    uint64_t writes = pvt_faultfs_count(&v->faults, PVT_FS_WRITE);
    cr_assert_eq(pvt_put_blob(v, &a), PV_E_IO);
    cr_assert_eq(pvt_put_blob(v, &b), PV_E_IO);
    cr_assert_eq(pv_commit_checkpoint(v->store), PV_E_IO);
    pvt_vault_close(v);
    cr_assert_eq(pvt_faultfs_count(&v->faults, PVT_FS_WRITE), writes);
    cr_assert_eq(atomic_load(&pvt_fatal_count), 1);
    pvt_blob_free(&a);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(commit, by_default_a_failed_sync_ends_the_process_with_70)
{
    struct pvt_vault *v = pvt_vault_new();
    v->config.fatal = NULL;
    for (uint64_t n = 1; n <= 3; n++) { /* the blob, its folder, the log */
        pid_t child = fork();
        if (child == 0) {
            struct pvt_blob b = pvt_blob_make((uint32_t)n, 70000);
            if (pvt_vault_try_open(v) != PV_OK)
                _exit(1);
            pvt_faultfs_fail(&v->faults, PVT_FS_SYNC, n, PV_E_IO);
            struct pv_commit_op op = pvt_blob_op(&b);
            struct pv_commit c = pvt_commit_of(&op, 1);
            pv_commit_batch(v->store, &c);
            _exit(2);
        }
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 70, "%d", status);
    }
    pvt_vault_free(v);
}

/* ---- kill -9 ---- */

/* Commits batch after batch, and writes the number of each acknowledged one to the pipe. */
static _Noreturn void commit_until_killed(struct pvt_vault *v, unsigned from, int out)
{
    if (pvt_vault_try_open(v) != PV_OK)
        _exit(1);
    for (unsigned no = from;; no++) {
        struct pvt_blob file = pvt_blob_make(no * 3, 65536 + no % 50000),
                        row = pvt_blob_make(no * 3 + 1, 2000);
        struct pvt_record record = pvt_record_make(PV_RECORD_MEMBER, no, no + 1, 0, 1);
        struct pv_commit_op ops[] = {pvt_blob_op(&file), pvt_blob_op(&row),
                                     pvt_record_op(&record, false)};
        struct pv_commit c = pvt_commit_of(ops, 3);
        pv_commit_batch(v->store, &c);
        if (c.err != PV_OK || write(out, &no, sizeof no) != sizeof no)
            _exit(2);
        if (no % 7 == 6 && pv_commit_checkpoint(v->store) != PV_OK)
            _exit(3);
        pvt_blob_free(&file);
        pvt_blob_free(&row);
    }
}

static void check_acknowledged(struct pvt_vault *v, unsigned no)
{
    struct pvt_blob file = pvt_blob_make(no * 3, 65536 + no % 50000),
                    row = pvt_blob_make(no * 3 + 1, 2000);
    struct pvt_record record = pvt_record_make(PV_RECORD_MEMBER, no, no + 1, 0, 1);
    cr_assert(pvt_has_blob(v, &file), "file %u", no);
    cr_assert(pvt_has_blob(v, &row), "row %u", no);
    cr_assert(pvt_has_record(v, &record), "record %u", no);
    pvt_blob_free(&file);
    pvt_blob_free(&row);
}

/* Every blob that is listed is whole. */
static void check_all_blobs(struct pvt_vault *v)
{
    struct pv_blob_info info[64];
    size_t count;
    bool end = false;
    uint8_t *dst = malloc(PV_BLOB_LEN_MAX);
    for (uint64_t from = 0; !end;) {
        cr_assert_eq(pv_store_unheld(v->store, 0, &from, info, 64, &count, &end), PV_OK);
        for (size_t i = 0; i < count; i++) {
            size_t got;
            uint32_t size;
            struct pv_id id;
            cr_assert_eq(pv_store_read(v->store, &info[i].id, 0, dst, PV_BLOB_LEN_MAX, &got, &size),
                         PV_OK);
            pv_sha256(id.b, dst, got);
            cr_assert(pv_id_equal(&id, &info[i].id));
        }
    }
    free(dst);
}

Test(commit, kill_9_loses_no_ack_and_tears_no_blob)
{
    struct pvt_vault *v = pvt_vault_new();
    unsigned next = 0, acks = 0;
    size_t unknown = 0; /* left by all kills so far: nothing deletes them here */
    for (unsigned loop = 0; loop < 20; loop++) {
        int pipes[2];
        unsigned last = next, no;
        cr_assert_eq(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) {
            close(pipes[0]);
            commit_until_killed(v, next, pipes[1]);
        }
        close(pipes[1]);
        unsigned want = 1 + loop * 7 % 11;
        for (unsigned i = 0; i < want; i++)
            cr_assert_eq(read(pipes[0], &no, sizeof no), sizeof no);
        kill(child, SIGKILL);
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status));
        while (read(pipes[0], &last, sizeof last) == sizeof last)
            no = last;
        close(pipes[0]);
        pvt_vault_open(v);
        for (unsigned i = next; i <= no; i++, acks++)
            check_acknowledged(v, i);
        check_all_blobs(v);
        cr_assert_eq(pvt_files_in(v, "tmp"), 0);
        struct pv_id ids[PV_UNKNOWN_MAX];
        size_t found = pvt_find_unknown(v, ids);
        cr_assert_leq(found, unknown + 1);
        unknown = found;
        pvt_vault_close(v);
        next = no + 2; /* the one that was under way may be there */
    }
    cr_assert_geq(acks, 20);
    pvt_vault_free(v);
}
