#include "tests/unit/storage_fixture.h"

TestSuite(record, .timeout = 60);

/* ---- the register ---- */

Test(record, the_winner_stays_and_losers_of_names_are_history)
{
    struct pvt_vault *v = pvt_vault_new_open();
    bool applied;
    struct pvt_record old = pvt_record_make(PV_RECORD_NAME, 1, 100, 0, 1),
                      new = pvt_record_make(PV_RECORD_NAME, 1, 200, 0, 1),
                      late = pvt_record_make(PV_RECORD_NAME, 1, 150, 0, 1);
    cr_assert_eq(pvt_put_record(v, &old, false, &applied), PV_OK);
    cr_assert(applied);
    cr_assert_eq(pvt_put_record(v, &old, false, &applied), PV_OK);
    cr_assert(!applied);
    cr_assert_eq(pvt_put_record(v, &new, false, &applied), PV_OK);
    cr_assert(applied);
    cr_assert_eq(pv_store_hlc(v->store), 200);
    for (int i = 0; i < 3; i++) { /* the same loser again and again is kept once */
        cr_assert_eq(pvt_put_record(v, &late, false, &applied), PV_OK);
        cr_assert(!applied);
    }
    cr_assert_eq(pvt_put_record(v, &old, false, &applied), PV_OK);
    cr_assert(!applied);
    pvt_reopen(v);
    cr_assert(pvt_has_record(v, &new));
    cr_assert_eq(pv_store_hlc(v->store), 200);
    uint8_t *env = malloc(PV_RECORD_LEN_MAX);
    size_t len;
    cr_assert_eq(pv_store_record_by_hash(v->store, &new.rec.hash, env, &len), PV_OK);
    cr_assert(len == new.len &&memcmp(env, new.env, len) == 0);
    cr_assert_eq(pv_store_record_by_hash(v->store, &old.rec.hash, env, &len), PV_E_NOT_FOUND);
    free(env);
    pvt_vault_free(v);
}

struct seen {
    uint64_t hlc[100];
    size_t count, stop_after;
    unsigned pending;
};

static bool see(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct seen *s = arg;
    struct pv_record rec;
    cr_assert_eq(pv_record_parse(&rec, env, len), PV_OK);
    s->hlc[s->count++] = rec.hlc;
    s->pending += pending;
    return s->count != s->stop_after;
}

Test(record, is_written_only_over_the_expected_one)
{
    struct pvt_vault *v = pvt_vault_new_open();
    static const struct pv_id none;
    struct pvt_record r[4];
    for (uint64_t i = 0; i < PV_COUNT(r); i++)
        r[i] = pvt_record_make(PV_RECORD_NAME, 1, 100 + i, 0, 1);
    const struct {
        const struct pvt_record *rec;
        const struct pv_id *expected;
        bool applied;
    } steps[] = {
        {&r[0], &r[1].rec.hash, false}, {&r[0], &none, true},
        {&r[2], &none, false},          {&r[1], &r[0].rec.hash, true},
        {&r[3], &r[0].rec.hash, false}, {&r[0], &r[1].rec.hash, false},
        {&r[3], &r[1].rec.hash, true},
    };
    for (size_t i = 0; i < PV_COUNT(steps); i++) {
        struct pv_commit_op op = pvt_record_op(steps[i].rec, false);
        op.u.record.expected = steps[i].expected;
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
        cr_assert_eq(op.applied, steps[i].applied, "step %zu", i);
    }
    cr_assert(pvt_has_record(v, &r[3]));
    struct seen seen = {.count = 0};
    cr_assert_eq(pv_store_history(v->store, &r[0].rec.rid, see, &seen), PV_OK);
    cr_assert_eq(seen.count, 2, "what was not to be written is nobody's history");
    pvt_vault_free(v);
}

Test(record, history_keeps_the_16_newest)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct seen seen = {.count = 0};
    bool applied;
    for (uint64_t i = 0; i < 20; i++) {
        struct pvt_record r = pvt_record_make(PV_RECORD_NAME, 1, 100 + i, 0, 1);
        cr_assert_eq(pvt_put_record(v, &r, false, &applied), PV_OK);
        r = pvt_record_make(PV_RECORD_FILE, 1, 100 + i, 0, 1); /* files have no history */
        cr_assert_eq(pvt_put_record(v, &r, false, &applied), PV_OK);
    }
    struct pvt_record name = pvt_record_make(PV_RECORD_NAME, 1, 1, 0, 1),
                      file = pvt_record_make(PV_RECORD_FILE, 1, 1, 0, 1);
    cr_assert_eq(pvt_put_record(v, &name, false, &applied), PV_OK); /* too old to be kept */
    cr_assert_eq(pv_store_history(v->store, &name.rec.rid, see, &seen), PV_OK);
    cr_assert_eq(seen.count, PV_HISTORY_MAX);
    for (size_t i = 0; i < PV_HISTORY_MAX; i++)
        cr_assert_eq(seen.hlc[i], 118 - i);
    seen = (struct seen){.stop_after = 3};
    cr_assert_eq(pv_store_history(v->store, &name.rec.rid, see, &seen), PV_OK);
    cr_assert_eq(seen.count, 3);
    seen = (struct seen){.count = 0};
    cr_assert_eq(pv_store_history(v->store, &file.rec.rid, see, &seen), PV_OK);
    cr_assert_eq(seen.count, 0);
    pvt_vault_free(v);
}

Test(record, what_does_not_parse_is_refused)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_record r = pvt_record_make(PV_RECORD_FILE, 1, 5, 0, 1);
    bool applied;
    for (size_t len = 0; len < r.len; len += len < 200 ? 1 : 37) {
        struct pv_commit_op op = pvt_record_op(&r, false);
        op.u.record.len = len;
        cr_assert_eq(pvt_commit(v, &op, 1), PV_E_PROTOCOL);
        cr_assert(!op.applied);
    }
    cr_assert_eq(pvt_put_record(v, &r, false, &applied), PV_OK);
    cr_assert(applied);
    pvt_vault_free(v);
}

static struct pv_store_counts counts_of(struct pvt_vault *v)
{
    struct pv_store_counts counts;
    cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
    return counts;
}

Test(record, counts_follow_files_names_and_tombstones)
{
    struct pvt_vault *v = pvt_vault_new_open();
    bool applied;
    for (unsigned i = 0; i < 3; i++) {
        struct pvt_record file = pvt_record_make(PV_RECORD_FILE, i, 10, 0, 1),
                          name = pvt_record_make(PV_RECORD_NAME, i, 10, 0, 1),
                          member = pvt_record_make(PV_RECORD_MEMBER, i, 10, 0, 1);
        cr_assert_eq(pvt_put_record(v, &file, i == 0, &applied), PV_OK);
        cr_assert_eq(pvt_put_record(v, &name, false, &applied), PV_OK);
        cr_assert_eq(pvt_put_record(v, &member, false, &applied), PV_OK);
    }
    struct pvt_record gone = pvt_record_make(PV_RECORD_FILE, 1, 20, PV_RECORD_TOMBSTONE, 1);
    cr_assert_eq(pvt_put_record(v, &gone, false, &applied), PV_OK);
    for (int i = 0; i < 2; i++) {
        struct pv_store_counts c = counts_of(v);
        cr_assert(c.files == 2 && c.names == 3 && c.records == 9 && c.pending == 1);
        pvt_reopen(v);
    }
    pvt_vault_free(v);
}

/* ---- indexes ---- */

Test(record, links_and_prefixes_follow_their_record)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_id file = {{1}}, other = {{2}}, rids[10];
    size_t count;
    struct pvt_record names[3];
    for (unsigned i = 0; i < 3; i++) {
        names[i] = pvt_record_make(PV_RECORD_NAME, i, 10, 0, 1);
        struct pv_commit_op op = pvt_record_op(&names[i], false);
        op.u.record.has_link = true;
        op.u.record.link_file_rid = file;
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    }
    cr_assert_eq(pv_store_names_of(v->store, &file, rids, 10, &count), PV_OK);
    cr_assert_eq(count, 3);
    cr_assert_eq(pv_store_names_of(v->store, &file, rids, 2, &count), PV_OK);
    cr_assert_eq(count, 2);
    struct pvt_record moved = pvt_record_make(PV_RECORD_NAME, 0, 20, 0, 1);
    struct pv_commit_op op = pvt_record_op(&moved, false);
    op.u.record.has_link = true;
    op.u.record.link_file_rid = other;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    struct pvt_record gone = pvt_record_make(PV_RECORD_NAME, 1, 20, PV_RECORD_TOMBSTONE, 1);
    op = pvt_record_op(&gone, false);
    op.u.record.has_link = true; /* a tombstone has no link, whatever is said */
    op.u.record.link_file_rid = file;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(pv_store_names_of(v->store, &file, rids, 10, &count), PV_OK);
    cr_assert(count == 1 && pv_id_equal(&rids[0], &names[2].rec.rid));
    cr_assert_eq(pv_store_names_of(v->store, &other, rids, 10, &count), PV_OK);
    cr_assert(count == 1 && pv_id_equal(&rids[0], &names[0].rec.rid));

    struct pvt_record f = pvt_record_make(PV_RECORD_FILE, 1, 10, 0, 1);
    op = pvt_record_op(&f, false);
    op.u.record.has_prefix = true;
    op.u.record.prefix_tag = UINT64_MAX - 3;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(pv_store_by_prefix(v->store, UINT64_MAX - 3, rids, 10, &count), PV_OK);
    cr_assert(count == 1 && pv_id_equal(&rids[0], &f.rec.rid));
    cr_assert_eq(pv_store_by_prefix(v->store, 0, rids, 10, &count), PV_OK);
    cr_assert_eq(count, 0);
    f = pvt_record_make(PV_RECORD_FILE, 1, 20, PV_RECORD_TOMBSTONE, 1);
    op = pvt_record_op(&f, false);
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(pv_store_by_prefix(v->store, UINT64_MAX - 3, rids, 10, &count), PV_OK);
    cr_assert_eq(count, 0);
    pvt_vault_free(v);
}

Test(record, pending_ones_are_listed_in_order_until_published)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_record r[4];
    struct pv_id rids[10];
    struct pv_store_bucket *empty = calloc(PV_STORE_BUCKETS, sizeof *empty),
                           *now = calloc(PV_STORE_BUCKETS, sizeof *now);
    size_t count;
    bool applied;
    for (unsigned i = 0; i < 4; i++) {
        r[i] = pvt_record_make(PV_RECORD_FILE, i, 10, 0, 1);
        cr_assert_eq(pvt_put_record(v, &r[i], true, &applied), PV_OK);
    }
    pv_store_digest(v->store, now);
    cr_assert_eq(memcmp(now, empty, PV_STORE_BUCKETS * sizeof *now), 0);
    cr_assert_eq(pv_store_pending(v->store, rids, 10, &count), PV_OK);
    cr_assert_eq(count, 4);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(pv_id_equal(&rids[i], &r[i].rec.rid));
    struct pv_commit_op op = {.type = PV_COMMIT_PUBLISH,
                              .u.publish = {.rid = r[1].rec.rid, .hash = r[2].rec.hash}};
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert(!op.applied); /* not the current one */
    op.u.publish.hash = r[1].rec.hash;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert(op.applied);
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert(!op.applied); /* no longer pending */
    cr_assert_eq(pv_store_pending(v->store, rids, 10, &count), PV_OK);
    cr_assert(count == 3 && pv_id_equal(&rids[1], &r[2].rec.rid));
    cr_assert_eq(pv_store_pending(v->store, rids, 1, &count), PV_OK);
    cr_assert_eq(count, 1);
    cr_assert_eq(counts_of(v).pending, 3);
    pv_store_digest(v->store, now);
    cr_assert_eq(now[r[1].rec.hash.b[0] << 4 | r[1].rec.hash.b[1] >> 4].count, 1);
    pvt_reopen(v);
    cr_assert_eq(counts_of(v).pending, 3);
    free(empty);
    free(now);
    pvt_vault_free(v);
}

Test(record, scans_give_each_type_in_order_of_rid)
{
    struct pvt_vault *v = pvt_vault_new_open();
    bool applied;
    for (unsigned i = 0; i < 25; i++) {
        for (uint8_t type = 1; type <= 5; type++) {
            struct pvt_record r = pvt_record_make(type, i, 1000U * type + i, 0, 1);
            cr_assert_eq(pvt_put_record(v, &r, type == 1, &applied), PV_OK);
        }
    }
    for (uint8_t type = 0; type <= 6; type++) {
        const size_t steps[] = {1, 7, 1000};
        size_t expect = type == 0 ? 125 : type == 6 ? 0 : 25;
        for (unsigned i = 0; i < 3; i++) {
            struct pv_id after = {{0}};
            size_t total = 0;
            bool end = false;
            while (!end) {
                struct seen seen = {.count = 0};
                struct pv_id before = after;
                size_t step = type == 0 && steps[i] > 100 ? 100 : steps[i];
                cr_assert_eq(pv_store_records(v->store, type, &after, step, see, &seen, &end),
                             PV_OK);
                cr_assert_leq(seen.count, step);
                cr_assert(end || pv_id_cmp(&before, &after) < 0);
                for (size_t j = 0; j < seen.count && type != 0; j++)
                    cr_assert_eq(seen.hlc[j] / 1000, type);
                cr_assert(type == 0 || type == 1 || seen.pending == 0);
                total += seen.count;
            }
            cr_assert_eq(total, expect);
        }
    }
    struct pv_id after = {{0}};
    struct seen seen = {.stop_after = 4};
    bool end;
    cr_assert_eq(pv_store_records(v->store, 3, &after, 100, see, &seen, &end), PV_OK);
    cr_assert(seen.count == 4 && !end);
    seen = (struct seen){.count = 0};
    cr_assert_eq(pv_store_records(v->store, 3, &after, 100, see, &seen, &end), PV_OK);
    cr_assert(seen.count == 21 && end);
    pvt_vault_free(v);
}

/* ---- digest ---- */

static void add_to(struct pv_store_bucket *digest, const struct pv_id *hash)
{
    struct pv_store_bucket *b = &digest[hash->b[0] << 4 | hash->b[1] >> 4];
    unsigned carry = 0;
    for (unsigned i = 16; i-- > 0; carry >>= 8) {
        carry += b->sum[i] + hash->b[i];
        b->sum[i] = (uint8_t)carry;
    }
    b->count++;
}

Test(record, digest_is_the_sum_over_current_records)
{
    enum { N = 300 };
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_store_bucket *expect = calloc(PV_STORE_BUCKETS, sizeof *expect),
                           *now = calloc(PV_STORE_BUCKETS, sizeof *now);
    struct pvt_record *r = calloc(N, sizeof *r);
    struct pv_commit_op *ops = calloc(N, sizeof *ops);
    for (unsigned round = 0; round < 2; round++) { /* the second replaces some of the first */
        for (unsigned i = 0; i < N; i++) {
            if (round == 0 || i % 3 == 0)
                r[i] = pvt_record_make(PV_RECORD_ADDRESS, i, 10 + round, 0, 1);
            ops[i] = pvt_record_op(&r[i], false);
        }
        cr_assert_eq(pvt_commit(v, ops, N), PV_OK);
    }
    /* A commit that fails leaves the digest alone. */
    struct pvt_record more = pvt_record_make(PV_RECORD_ADDRESS, N, 1, 0, 1);
    struct pv_id none = {{1}};
    struct pv_commit_op bad[] = {pvt_record_op(&more, false),
                                 {.type = PV_COMMIT_LEASE, .u.lease = {.ids = &none, .count = 1}}};
    cr_assert_eq(pvt_commit(v, bad, 2), PV_E_NOT_FOUND);
    cr_assert(!pvt_has_record(v, &more));
    for (unsigned i = 0; i < N; i++)
        add_to(expect, &r[i].rec.hash);
    for (unsigned i = 0; i < 2; i++) {
        pv_store_digest(v->store, now);
        cr_assert_eq(memcmp(now, expect, PV_STORE_BUCKETS * sizeof *now), 0);
        pvt_reopen(v);
    }
    free(expect);
    free(now);
    free(r);
    free(ops);
    pvt_vault_free(v);
}

Test(record, buckets_list_their_hashes_in_order)
{
    enum { N = 400 };
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_record *r = calloc(N, sizeof *r);
    struct pv_commit_op *ops = calloc(N, sizeof *ops);
    for (unsigned i = 0; i < N; i++) {
        r[i] = pvt_record_make(PV_RECORD_ADDRESS, i, 10, 0, 1);
        ops[i] = pvt_record_op(&r[i], i == 0);
    }
    cr_assert_eq(pvt_commit(v, ops, N), PV_OK);
    size_t total = 0;
    for (unsigned bucket = 0; bucket < PV_STORE_BUCKETS; bucket++) {
        struct pv_id hash, last;
        const struct pv_id *after = NULL;
        bool end = false;
        while (!end) {
            size_t count;
            cr_assert_eq(pv_store_bucket_hashes(v->store, bucket, after, &hash, 1, &count, &end),
                         PV_OK);
            cr_assert(count == 1 || end);
            if (count == 0)
                break;
            cr_assert_eq((unsigned)hash.b[0] << 4 | hash.b[1] >> 4, bucket);
            cr_assert(after == NULL || pv_id_cmp(&last, &hash) < 0);
            cr_assert_not(pv_id_equal(&hash, &r[0].rec.hash));
            last = hash;
            after = &last;
            total++;
        }
    }
    cr_assert_eq(total, N - 1);
    free(r);
    free(ops);
    pvt_vault_free(v);
}

/* ---- two of one clock ---- */

static bool is_twin(struct pvt_vault *v, const struct pvt_record *r)
{
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    op.u.record.env = r->env;
    op.u.record.len = r->len;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    return op.u.record.is_twin;
}

Test(record, two_of_one_author_and_clock_are_noticed)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_record one = pvt_record_make(PV_RECORD_NAME, 1, 100, 0, 1),
                      other = pvt_record_make(PV_RECORD_NAME, 1, 100, 0, 2),
                      gone = pvt_record_make(PV_RECORD_NAME, 1, 100, PV_RECORD_TOMBSTONE, 1),
                      shorter = pvt_record_make(PV_RECORD_NAME, 1, 100, PV_RECORD_TOMBSTONE, 2),
                      later = pvt_record_make(PV_RECORD_NAME, 1, 101, 0, 1);
    cr_assert(!is_twin(v, &one));
    cr_assert(!is_twin(v, &one), "the same again");
    cr_assert(is_twin(v, &other));
    cr_assert(is_twin(v, &gone));
    cr_assert(!is_twin(v, &shorter), "what a purge leaves");
    cr_assert(!is_twin(v, &later));
    cr_assert(!is_twin(v, &one), "long replaced");
    pvt_vault_free(v);
}

/* ---- forgetting ---- */

static size_t tombstones(struct pvt_vault *v, pv_hlc below, struct pv_record_ref *found)
{
    struct pv_id after = {{0}};
    size_t count = 0, more;
    for (bool end = false; !end; count += more)
        cr_assert_eq(pv_store_tombstones(v->store, below, &after, found + count, 1, &more, &end),
                     PV_OK);
    return count;
}

Test(record, forgotten_if_it_is_current_and_not_pending)
{
    struct pvt_vault *v = pvt_vault_new_open();
    bool applied;
    struct pvt_record live = pvt_record_make(PV_RECORD_NAME, 1, 100, 0, 1),
                      gone = pvt_record_make(PV_RECORD_NAME, 1, 200, PV_RECORD_TOMBSTONE, 1),
                      pending = pvt_record_make(PV_RECORD_NAME, 2, 201, PV_RECORD_TOMBSTONE, 1),
                      young = pvt_record_make(PV_RECORD_NAME, 3, 300, PV_RECORD_TOMBSTONE, 1),
                      other = pvt_record_make(PV_RECORD_NAME, 4, 100, 0, 1);
    struct pv_record_ref found[8];
    cr_assert_eq(pvt_put_record(v, &live, false, &applied), PV_OK);
    cr_assert_eq(pvt_put_record(v, &gone, false, &applied), PV_OK);
    cr_assert_eq(pvt_put_record(v, &pending, true, &applied), PV_OK);
    cr_assert_eq(pvt_put_record(v, &young, false, &applied), PV_OK);
    cr_assert_eq(pvt_put_record(v, &other, false, &applied), PV_OK);
    cr_assert_eq(tombstones(v, 200, found), 0);
    cr_assert_eq(tombstones(v, 201, found), 1);
    cr_assert_eq(tombstones(v, 300, found), 1);
    cr_assert_eq(tombstones(v, 301, found), 2);
    bool swapped = pv_id_equal(&found[1].hash, &gone.rec.hash);
    cr_assert(pv_id_equal(&found[swapped].hash, &gone.rec.hash));
    cr_assert(pv_id_equal(&found[swapped].rid, &gone.rec.rid));
    cr_assert(pv_id_equal(&found[!swapped].hash, &young.rec.hash));

    found[0].rid = gone.rec.rid; /* four that stay: */
    found[0].hash = live.rec.hash;
    found[1].rid = pending.rec.rid;
    found[1].hash = pending.rec.hash;
    found[2].rid = (struct pv_id){{9}};
    found[2].hash = gone.rec.hash;
    found[3].rid = gone.rec.rid;
    found[3].hash = gone.rec.hash;
    struct pv_commit_op op = {.type = PV_COMMIT_FORGET};
    op.u.forget.records = found;
    op.u.forget.count = 3;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert(!op.applied);
    op.u.forget.count = 4;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert(op.applied);
    cr_assert_eq(op.u.forget.forgotten, 1);
    cr_assert_not(pvt_has_record(v, &gone));
    cr_assert(pvt_has_record(v, &pending));
    struct seen seen = {.count = 0};
    cr_assert_eq(pv_store_history(v->store, &gone.rec.rid, see, &seen), PV_OK);
    cr_assert_eq(seen.count, 0);

    found[0].rid = other.rec.rid;
    found[0].hash = other.rec.hash;
    op.u.forget.count = 1;
    op.u.forget.keep_history = true;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_eq(pv_store_history(v->store, &other.rec.rid, see, &seen), PV_OK);
    cr_assert_eq(seen.count, 1);

    struct pv_store_bucket before[PV_STORE_BUCKETS], after[PV_STORE_BUCKETS];
    pv_store_digest(v->store, before);
    pvt_reopen(v);
    pv_store_digest(v->store, after);
    cr_assert_eq(memcmp(before, after, sizeof before), 0);
    pvt_vault_free(v);
}
