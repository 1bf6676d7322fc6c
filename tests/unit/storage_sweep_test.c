/* Leases, and what happens to blobs whose lease is over: used again, or swept. */
#include "tests/unit/storage_fixture.h"

TestSuite(sweep, .timeout = 60);

static const uint64_t hour_ms = 3600 * 1000;

static struct pv_blob_info info_of(struct pvt_vault *v, const struct pvt_blob *b)
{
    struct pv_blob_info info;
    cr_assert_eq(pv_store_blob(v->store, &b->id, &info), PV_OK);
    return info;
}

static void lease(struct pvt_vault *v, const struct pvt_blob *b)
{
    struct pv_commit_op op = {.type = PV_COMMIT_LEASE, .u.lease = {.ids = &b->id, .count = 1}};
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
}

static void hold(struct pvt_vault *v, const struct pvt_blob *b, uint8_t node)
{
    struct pv_commit_op op = {
        .type = PV_COMMIT_HELD,
        .u.held = {.node_id = {{node}}, .ids = &b->id, .count = 1, .held = true}};
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
}

static struct pv_commit_op sweep_op(const struct pv_id *ids, size_t count, uint64_t record_seq)
{
    return (struct pv_commit_op){.type = PV_COMMIT_SWEEP,
                                 .u.sweep = {.ids = ids, .count = count, .record_seq = record_seq}};
}

/* How many of them are gone. */
static size_t sweep(struct pvt_vault *v, const struct pvt_blob *blobs, size_t count)
{
    struct pv_id ids[PV_SWEEP_MAX];
    for (size_t i = 0; i < count; i++)
        ids[i] = blobs[i].id;
    struct pv_commit_op op = sweep_op(ids, count, UINT64_MAX >> 1);
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(op.applied, op.u.sweep.swept > 0);
    return op.u.sweep.swept;
}

static void expire(struct pvt_vault *v)
{
    struct pv_commit_op op = {.type = PV_COMMIT_EXPIRE};
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
}

static struct pv_store_counts counts_of(struct pvt_vault *v)
{
    struct pv_store_counts counts;
    cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
    return counts;
}

/* ---- used again ---- */

Test(sweep, a_fresh_lease_is_left_alone)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, 1000);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    hold(v, &b, 7);
    struct pv_blob_info before = info_of(v, &b);
    v->env.mono_ms += 24 * hour_ms;
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    lease(v, &b);
    struct pv_blob_info after = info_of(v, &b);
    cr_assert_eq(after.seq, before.seq);
    cr_assert_eq(after.held, before.held);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(sweep, what_is_used_again_arrives_anew)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (unsigned i = 0; i < 4; i++) { /* a row and a file, stored again and leased */
        struct pvt_blob b = pvt_blob_make(i, i < 2 ? 1000 : 70000),
                        last = pvt_blob_make(9 + i, 500);
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        hold(v, &b, 7);
        cr_assert_eq(pvt_put_blob(v, &last), PV_OK);
        v->env.mono_ms += 24 * hour_ms + 1;
        if (i % 2 == 0)
            cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        else
            lease(v, &b);
        struct pv_blob_info info = info_of(v, &b);
        cr_assert_gt(info.seq, info_of(v, &last).seq);
        cr_assert_eq(info.held, 0, "what others said of it is worth nothing now");
        cr_assert_eq(info.kind, PV_BLOB_CHUNK);
        cr_assert(pvt_has_blob(v, &b));
        v->env.mono_ms += 72 * hour_ms - 1;
        cr_assert_eq(sweep(v, &b, 1), 0, "its lease began anew");
        pvt_blob_free(&b);
        pvt_blob_free(&last);
    }
    struct pv_store_counts counts = counts_of(v);
    cr_assert_eq(counts.blobs, 8);
    cr_assert_eq(counts.blob_bytes, 2 * 1000 + 2 * 70000 + 4 * 500);
    pvt_vault_free(v);
}

Test(sweep, a_holder_that_brings_it_again_is_noted)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, 1000);
    unsigned bit;
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    hold(v, &b, 7);
    v->env.mono_ms += 30 * hour_ms;
    struct pv_commit_op op = pvt_blob_op(&b);
    op.u.blob.has_holder = true;
    op.u.blob.holder = (struct pv_id){{8}};
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_not(op.applied, "nothing new");
    cr_assert_eq(pv_store_holder(v->store, &op.u.blob.holder, &bit), PV_OK);
    cr_assert_eq(info_of(v, &b).held, UINT64_C(1) << bit);
    op.u.blob.holder = (struct pv_id){{9}};
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(__builtin_popcountll(info_of(v, &b).held), 2, "and a second, while it is fresh");
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

/* ---- swept ---- */

Test(sweep, only_when_the_lease_is_over)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob blobs[] = {pvt_blob_make(1, 1000), pvt_blob_make(2, 70000),
                               pvt_blob_make(3, 80000)};
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(pvt_put_blob(v, &blobs[i]), PV_OK);
    v->env.mono_ms += 72 * hour_ms - 1;
    cr_assert_eq(sweep(v, blobs, 3), 0);
    v->env.mono_ms += 1;
    cr_assert_eq(sweep(v, blobs, 2), 2);
    cr_assert_eq(sweep(v, blobs, 2), 0, "they are gone already");
    cr_assert(!pvt_has_blob(v, &blobs[0]) && !pvt_has_blob(v, &blobs[1]));
    cr_assert(pvt_has_blob(v, &blobs[2]));
    cr_assert_eq(pvt_blob_files(v), 1);
    struct pv_store_counts counts = counts_of(v);
    cr_assert_eq(counts.blobs, 1);
    cr_assert_eq(counts.blob_bytes, 80000);
    pvt_reopen(v);
    counts = counts_of(v);
    cr_assert_eq(counts.blobs, 1);
    cr_assert_eq(counts.blob_bytes, 80000);
    for (size_t i = 0; i < 3; i++)
        pvt_blob_free(&blobs[i]);
    pvt_vault_free(v);
}

static bool count_record(void *arg, const uint8_t *env, size_t len, bool pending)
{
    (void)env;
    (void)pending;
    ++*(size_t *)arg;
    return len > 0;
}

Test(sweep, not_before_later_file_records_were_looked_at)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, 70000);
    struct pvt_record name = pvt_record_make(PV_RECORD_NAME, 1, 5, 0, 0),
                      file = pvt_record_make(PV_RECORD_FILE, 2, 6, 0, 0);
    bool applied, end;
    uint64_t seq = 0;
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    v->env.mono_ms += 100 * hour_ms;
    cr_assert_eq(pvt_put_record(v, &name, false, &applied), PV_OK);
    struct pv_commit_op ops[] = {pvt_record_op(&file, false), sweep_op(&b.id, 1, 0)};
    struct pv_commit write = pvt_commit_of(&ops[0], 1), first = pvt_commit_of(&ops[1], 1);
    first.next = &write; /* in one batch: the sweep still comes last */
    pv_commit_batch(v->store, &first);
    cr_assert_eq(write.err, PV_OK);
    cr_assert_eq(first.err, PV_E_BUSY);
    cr_assert_not(ops[1].applied);
    cr_assert(pvt_has_blob(v, &b));

    size_t records = 0;
    cr_assert_eq(
        pv_store_records_since(v->store, PV_RECORD_FILE, &seq, 10, count_record, &records, &end),
        PV_OK);
    cr_assert(records == 1 && end);
    struct pv_commit_op op = sweep_op(&b.id, 1, seq);
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert(op.applied && op.u.sweep.swept == 1 && op.u.sweep.swept_bytes == 70000);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(sweep, sees_what_its_batch_uses)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (unsigned i = 0; i < 4; i++) {
        struct pvt_blob b = pvt_blob_make(i, i < 2 ? 1000 : 70000);
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        v->env.mono_ms += 100 * hour_ms;
        struct pv_commit_op kill = sweep_op(&b.id, 1, 0);
        struct pv_commit_op use = {.type = PV_COMMIT_LEASE, .u.lease = {.ids = &b.id, .count = 1}};
        if (i % 2 == 0)
            use = pvt_blob_op(&b);
        struct pv_commit first = pvt_commit_of(&kill, 1), second = pvt_commit_of(&use, 1);
        first.next = &second;
        pv_commit_batch(v->store, &first);
        cr_assert(first.err == PV_OK && second.err == PV_OK);
        cr_assert_eq(kill.u.sweep.swept, 0);
        cr_assert(pvt_has_blob(v, &b));
        pvt_blob_free(&b);
    }
    pvt_vault_free(v);
}

Test(sweep, no_seq_is_given_twice)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob a = pvt_blob_make(1, 1000), b = pvt_blob_make(2, 1000);
    cr_assert_eq(pvt_put_blob(v, &a), PV_OK);
    v->env.mono_ms += 25 * hour_ms;
    lease(v, &a);
    uint64_t seq = info_of(v, &a).seq, last;
    v->env.mono_ms += 72 * hour_ms;
    cr_assert_eq(sweep(v, &a, 1), 1);
    cr_assert_eq(pv_store_last_blob(v->store, &last), PV_OK);
    cr_assert_eq(last, 0);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    cr_assert_gt(info_of(v, &b).seq, seq, "walks are behind it already");
    pvt_blob_free(&a);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(sweep, leases_can_be_ended_for_an_operator)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob old = pvt_blob_make(1, 1000), used = pvt_blob_make(2, 70000),
                    late = pvt_blob_make(3, 1000);
    cr_assert_eq(pvt_put_blob(v, &old), PV_OK);
    cr_assert_eq(pvt_put_blob(v, &used), PV_OK);
    expire(v);
    cr_assert_eq(pvt_put_blob(v, &late), PV_OK);
    cr_assert_eq(pvt_put_blob(v, &used), PV_OK);
    cr_assert_eq(sweep(v, &old, 1), 1);
    cr_assert_eq(sweep(v, &used, 1), 0, "used after that");
    cr_assert_eq(sweep(v, &late, 1), 0);
    pvt_blob_free(&old);
    pvt_blob_free(&used);
    pvt_blob_free(&late);
    pvt_vault_free(v);
}

Test(sweep, too_many_at_once)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_id ids[PV_SWEEP_MAX + 1] = {{{0}}};
    struct pv_commit_op op = sweep_op(ids, PV_SWEEP_MAX + 1, 0);
    cr_assert_eq(pvt_commit(v, &op, 1), PV_E_INVALID);
    op.u.sweep.count = PV_SWEEP_MAX;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_not(op.applied);
    pvt_vault_free(v);
}

/* ---- when it is cut short ---- */

Test(sweep, a_file_that_stays_is_an_unknown_one)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, 70000);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    v->env.mono_ms += 72 * hour_ms;
    pvt_faultfs_fail(&v->faults, PVT_FS_UNLINK, 1, PV_E_IO);
    cr_assert_eq(sweep(v, &b, 1), 1);
    cr_assert(pvt_file_exists(v, &b.id));
    cr_assert_not(counts_of(v).may_collect, "nobody has looked");
    struct pv_id ids[PV_UNKNOWN_MAX];
    unsigned folder = 0;
    size_t count = 0;
    while (folder < 256)
        cr_assert_eq(pv_store_find_unknown(v->store, &folder, ids, PV_UNKNOWN_MAX, &count), PV_OK);
    cr_assert_eq(count, 1);
    cr_assert(pv_id_equal(&ids[0], &b.id));
    cr_assert(counts_of(v).may_collect);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(sweep, rolled_back_it_has_done_nothing)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob blobs[] = {pvt_blob_make(1, 70000), pvt_blob_make(2, 1000)};
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(pvt_put_blob(v, &blobs[i]), PV_OK);
    v->env.mono_ms += 72 * hour_ms;
    struct pv_id ids[] = {blobs[0].id, blobs[1].id}, none = {{1}};
    struct pv_commit_op ops[] = {sweep_op(ids, 2, 0), {.type = PV_COMMIT_LEASE}};
    ops[1].u.lease.ids = &none;
    ops[1].u.lease.count = 1;
    cr_assert_eq(pvt_commit(v, ops, 2), PV_E_NOT_FOUND);
    cr_assert(pvt_has_blob(v, &blobs[0]) && pvt_has_blob(v, &blobs[1]));
    cr_assert_eq(counts_of(v).blobs, 2);
    cr_assert_eq(sweep(v, blobs, 2), 2);
    for (size_t i = 0; i < 2; i++)
        pvt_blob_free(&blobs[i]);
    pvt_vault_free(v);
}

/* ---- looking ---- */

Test(sweep, rows_are_told_in_order_with_their_leases)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_blob_row_info rows[4];
    size_t count;
    uint64_t cursor = 0, last;
    bool end;
    for (unsigned i = 0; i < 5; i++) {
        struct pvt_blob b = pvt_blob_make(i, i == 1 ? 70000 : 400 + i);
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        pvt_blob_free(&b);
        v->env.mono_ms += 18 * hour_ms;
    }
    cr_assert_eq(pv_store_last_blob(v->store, &last), PV_OK);
    cr_assert_eq(pv_store_blobs(v->store, &cursor, rows, 4, &count, &end), PV_OK);
    cr_assert(count == 4 && !end);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(rows[i].is_file, i == 1);
        cr_assert_eq(rows[i].is_leased, i > 1, "%u: after 90 hours, stored every 18", i);
        cr_assert_eq(rows[i].blob.size, i == 1 ? 70000 : 400 + i);
    }
    cr_assert_eq(pv_store_blobs(v->store, &cursor, rows, 4, &count, &end), PV_OK);
    cr_assert(count == 1 && end && rows[0].blob.seq == last);
    pvt_vault_free(v);
}

Test(sweep, vault_db_gets_shorter)
{
    struct pvt_vault *v = pvt_vault_new_open();
    enum { COUNT = 512 };
    struct pvt_blob *blobs = calloc(COUNT, sizeof *blobs);
    struct pv_fs_stat before, after;
    for (unsigned i = 0; i < COUNT; i++) {
        blobs[i] = pvt_blob_make(i, 30000);
        cr_assert_eq(pvt_put_blob(v, &blobs[i]), PV_OK);
    }
    cr_assert_eq(pv_commit_checkpoint(v->store), PV_OK);
    cr_assert_eq(pv_fs_real()->stat_at(NULL, v->vault.dir, "vault.db", &before), PV_OK);
    v->env.mono_ms += 72 * hour_ms;
    for (unsigned i = 0; i < COUNT; i += PV_SWEEP_MAX)
        cr_assert_eq(sweep(v, blobs + i, PV_SWEEP_MAX), PV_SWEEP_MAX);
    unsigned steps = 0;
    struct pv_commit_op op = {.type = PV_COMMIT_SHRINK};
    do
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    while (op.applied && ++steps < 1000);
    cr_assert(steps > 1 && steps < 1000, "%u", steps);
    cr_assert_eq(pv_commit_checkpoint(v->store), PV_OK);
    cr_assert_eq(pv_fs_real()->stat_at(NULL, v->vault.dir, "vault.db", &after), PV_OK);
    cr_assert_lt(after.size_bytes, before.size_bytes - (8 << 20));
    for (unsigned i = 0; i < COUNT; i++)
        pvt_blob_free(&blobs[i]);
    free(blobs);
    pvt_vault_free(v);
}
