/* gc: what is deleted, what is kept and why, and what stands in the way. */
#include "tests/unit/internal_client_fixture.h"

#include "internal/upkeep/collect.h"

TestSuite(collect, .timeout = 120);

static const uint64_t hour_ms = 3600 * 1000, day_ms = 24 * 3600 * 1000;
enum { LARGE = 3 << 20 };

static json_t *gc_args(bool dry_run, bool now)
{
    return json_pack("{s:s, s:b, s:b}", "op", "gc", "dry_run", (int)dry_run, "now", (int)now);
}

static struct pvt_client *gc(struct pvt_server *s, bool dry_run, bool now)
{
    return pvt_ask(s, gc_args(dry_run, now));
}

/* Collects; how many blobs went. */
static long long freed(struct pvt_server *s, bool now)
{
    struct pvt_client *c = gc(s, false, now);
    pvt_assert_ok(c);
    long long n = pvt_number(c->final, "garbage_blobs");
    pvt_client_free(c);
    return n;
}

static uint64_t blobs_of(const struct pvt_node *n)
{
    struct pv_store_counts counts;
    cr_assert_eq(pv_store_counts(n->store, &counts), PV_OK);
    return counts.blobs;
}

static void ignore_commit(struct pv_commit *c)
{
    cr_assert_eq(c->err, PV_OK);
}

static void rm(struct pvt_server *s, const char *target)
{
    struct pvt_client *c = pvt_ask_target(s, "rm", target);
    pvt_assert_ok(c);
    pvt_client_free(c);
}

static void assert_whole(struct pvt_server *s, const char *name, const uint8_t *bytes, size_t len)
{
    struct pvt_client *c = pvt_ask_target(s, "get", name);
    pvt_assert_ok(c);
    cr_assert(c->len == len && memcmp(c->data, bytes, len) == 0);
    pvt_client_free(c);
}

/* ---- what goes ---- */

Test(collect, only_what_nothing_needs)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *large = pvt_content(1, LARGE), *small = pvt_content(2, 50000);
    pvt_store(s, "large", large, LARGE);
    pvt_store(s, "small", small, 50000);
    pvt_store_text(s, "inline", "has no blob");
    uint64_t before = blobs_of(pvt_me(s));
    cr_assert_gt(before, 4);
    cr_assert_eq(freed(s, false), 0);
    pvt_advance(&s->net, 200 * day_ms);
    cr_assert_eq(freed(s, false), 0, "age alone is no reason");

    rm(s, "large");
    struct pvt_client *c = gc(s, false, false);
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "garbage_blobs"), 0);
    cr_assert_eq(pvt_number(c->final, "live_blobs"), 1);
    cr_assert_eq(pvt_number(c->final, "removed_files"), 1);
    cr_assert_eq(pvt_number(c->final, "removed_blobs"), (long long)before - 1);
    cr_assert_geq(pvt_number(c->final, "removed_bytes"), LARGE);
    pvt_client_free(c);

    pvt_advance(&s->net, 7 * day_ms - 1000);
    cr_assert_eq(freed(s, false), 0, "the grace");
    pvt_advance(&s->net, 1000);
    c = gc(s, true, false);
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "garbage_blobs"), (long long)before - 1);
    pvt_client_free(c);
    cr_assert_eq(blobs_of(pvt_me(s)), before, "that was only a question");
    s->upkeep->backups = 3;
    cr_assert_eq(freed(s, false), (long long)before - 1);
    cr_assert_eq(s->upkeep->backups, 0, "the next backup looks what is dead");
    cr_assert_eq(blobs_of(pvt_me(s)), 1);
    assert_whole(s, "small", small, 50000);
    free(large);
    free(small);
    pvt_server_free(s);
}

Test(collect, shared_chunks_stay)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(1, LARGE + 1000);
    pvt_store(s, "one", bytes, LARGE);
    uint64_t of_one = blobs_of(pvt_me(s));
    pvt_store(s, "two", bytes, LARGE + 1000);
    uint64_t of_both = blobs_of(pvt_me(s));
    cr_assert_lt(of_both, 2 * of_one, "nothing is shared");
    rm(s, "one");
    pvt_advance(&s->net, 8 * day_ms);
    long long n = freed(s, false);
    cr_assert(n > 0 && n < (long long)of_one);
    assert_whole(s, "two", bytes, LARGE + 1000);
    free(bytes);
    pvt_server_free(s);
}

Test(collect, half_an_upload)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(3, LARGE);
    struct pvt_client *c =
        pvt_begin(s, json_pack("{s:s, s:I}", "op", "store", "size", (json_int_t)LARGE));
    for (size_t at = 0; at < LARGE - 70000;) {
        if (c->is_paused) {
            cr_assert(pvt_step(&s->net));
            continue;
        }
        c->rq.ops->on_data(&c->rq, bytes + at, 60000, false);
        at += 60000;
    }
    pvt_settle(&s->net);
    uint64_t before = blobs_of(pvt_me(s));
    cr_assert_gt(before, 2);
    cr_assert_eq(freed(s, true), 0, "an upload is under way: leases stand");
    pvt_cancel(c);
    pvt_client_free(c);
    pvt_settle(&s->net);
    struct pvt_client *told = gc(s, false, false);
    pvt_assert_ok(told);
    cr_assert_eq(pvt_number(told->final, "leased_blobs"), (long long)before);
    pvt_client_free(told);
    pvt_advance(&s->net, 72 * hour_ms);
    cr_assert_eq(freed(s, false), (long long)before);
    cr_assert_eq(blobs_of(pvt_me(s)), 0);
    free(bytes);
    pvt_server_free(s);
}

Test(collect, now_for_an_operator)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(4, 200000);
    pvt_store(s, "gone", bytes, 200000);
    uint64_t before = blobs_of(pvt_me(s));
    rm(s, "gone");
    cr_assert_eq(freed(s, false), 0);
    struct pvt_client *c = gc(s, true, true);
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "garbage_blobs"), (long long)before);
    pvt_client_free(c);
    cr_assert_eq(blobs_of(pvt_me(s)), before);
    cr_assert_eq(freed(s, true), (long long)before);
    pvt_store(s, "again", bytes, 200000);
    cr_assert_eq(freed(s, true), 0);
    assert_whole(s, "again", bytes, 200000);
    free(bytes);
    pvt_server_free(s);
}

/* ---- in a cluster ---- */

Test(collect, not_before_a_member_agreed)
{
    struct pvt_server *s = pvt_server_new(2);
    uint8_t *bytes = pvt_content(5, 100000);
    pvt_store(s, "f", bytes, 100000);
    pvt_settle(&s->net);
    rm(s, "f");
    pvt_settle(&s->net);
    pvt_advance(&s->net, 8 * day_ms);
    pvt_me(s)->node->has_agreed = false;
    pvt_cut(&s->net, 0, 1);
    pvt_settle(&s->net);
    pvt_refused(gc(s, false, false), PV_EXIT_UNAVAILABLE, "in sync");
    struct pvt_client *c = gc(s, true, false);
    pvt_assert_ok(c);
    cr_assert_not_null(strstr(pvt_text(c->final, "blocked"), "in sync"));
    cr_assert_gt(pvt_number(c->final, "garbage_blobs"), 0);
    pvt_client_free(c);
    cr_assert_gt(blobs_of(pvt_me(s)), 0);
    pvt_connect(&s->net, 0, 1);
    pvt_advance(&s->net, 60000);
    cr_assert_gt(freed(s, false), 0);
    cr_assert_eq(blobs_of(pvt_me(s)), 0);
    free(bytes);
    pvt_server_free(s);
}

Test(collect, leases_stand_in_a_cluster)
{
    struct pvt_server *s = pvt_server_new(2);
    uint8_t *bytes = pvt_content(6, 100000);
    pvt_store(s, "f", bytes, 100000);
    pvt_settle(&s->net);
    rm(s, "f");
    pvt_advance(&s->net, 60000);
    cr_assert_eq(freed(s, true), 0);
    pvt_advance(&s->net, 72 * hour_ms);
    cr_assert_gt(freed(s, true), 0, "but not the grace");
    free(bytes);
    pvt_server_free(s);
}

/* What one member let go must not count as its copy when the content comes again. Not within three
 * days of an audit, which asks the other to keep what it has. */
Test(collect, copies_that_were_let_go_do_not_count)
{
    struct pvt_server *s = pvt_server_new(2);
    uint8_t *bytes = pvt_content(7, 100000);
    pvt_store(s, "f", bytes, 100000);
    pvt_advance(&s->net, 60000);
    uint64_t count = blobs_of(pvt_me(s));
    cr_assert_eq(blobs_of(&s->net.nodes[1]), count);
    rm(s, "f");
    pvt_advance(&s->net, 60000);
    pvt_advance(&s->net, 11 * day_ms);
    cr_assert_eq(freed(s, false), (long long)count); /* here, but not on node 1 */
    pvt_store(s, "f", bytes, 100000);
    pvt_advance(&s->net, 60000);
    struct pvt_client *c = pvt_ask_target(s, "stat", "f");
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "copies"), 2);
    pvt_client_free(c);

    /* The other way round: node 1 lets it go, and node 0 still has it and its word. */
    rm(s, "f");
    pvt_advance(&s->net, 60000);
    pvt_advance(&s->net, 11 * day_ms);
    struct pv_id ids[8];
    struct pv_blob_row_info rows[8];
    size_t n;
    uint64_t cursor = 0;
    bool end;
    cr_assert_eq(pv_store_blobs(s->net.nodes[1].store, &cursor, rows, 8, &n, &end), PV_OK);
    for (size_t i = 0; i < n; i++)
        ids[i] = rows[i].blob.id;
    struct pv_commit_op op = {.type = PV_COMMIT_SWEEP,
                              .u.sweep = {.ids = ids, .count = n, .record_seq = INT64_MAX}};
    struct pv_commit commit = {.ops = &op, .count = 1, .done = ignore_commit};
    pv_commit_batch(s->net.nodes[1].store, &commit);
    cr_assert_eq(op.u.sweep.swept, count);
    pvt_store(s, "f", bytes, 100000);
    pvt_advance(&s->net, 60000);
    cr_assert_eq(blobs_of(&s->net.nodes[1]), count, "it was offered again");
    free(bytes);
    pvt_server_free(s);
}

/* What arrives anew at one member is offered on by it, soon. */
Test(collect, offered_on_along_a_chain)
{
    struct pvt_server *s = pvt_server_new(3);
    struct pvt_node *far = &s->net.nodes[2];
    uint8_t *bytes = pvt_content(20, 100000);
    pvt_cut(&s->net, 0, 2);
    pvt_store(s, "f", bytes, 100000);
    pvt_advance(&s->net, 120000);
    uint64_t count = blobs_of(pvt_me(s));
    cr_assert_eq(blobs_of(far), count);
    pvt_advance(&s->net, 30 * hour_ms);
    struct pv_blob_row_info rows[8];
    struct pv_id ids[8];
    size_t n;
    uint64_t cursor = 0;
    bool end;
    cr_assert_eq(pv_store_blobs(far->store, &cursor, rows, 8, &n, &end), PV_OK);
    for (size_t i = 0; i < n; i++)
        ids[i] = rows[i].blob.id;
    struct pv_commit_op ops[] = {
        {.type = PV_COMMIT_EXPIRE},
        {.type = PV_COMMIT_SWEEP, .u.sweep = {.ids = ids, .count = n, .record_seq = INT64_MAX}}};
    struct pv_commit commit = {.ops = ops, .count = 2, .done = ignore_commit};
    pv_commit_batch(far->store, &commit);
    cr_assert_eq(blobs_of(far), 0);
    pvt_store(s, "f", bytes, 100000);
    pvt_advance(&s->net, 60000);
    cr_assert_eq(blobs_of(far), count);
    free(bytes);
    pvt_server_free(s);
}

/* ---- small files, in their records ---- */

static long long purged(struct pvt_server *s, bool dry_run, bool now)
{
    struct pvt_client *c = gc(s, dry_run, now);
    pvt_assert_ok(c);
    long long n = pvt_number(c->final, "purged_files");
    cr_assert_eq(pvt_number(c->final, "purged_bytes") >= 3000 * n, true);
    pvt_client_free(c);
    return n;
}

static bool add_tombstone(void *arg, const uint8_t *env, size_t len, bool pending)
{
    size_t *lengths = arg;
    struct pv_record rec;
    (void)pending;
    cr_assert_eq(pv_record_parse(&rec, env, len), PV_OK);
    if ((rec.flags & PV_RECORD_TOMBSTONE) != 0) {
        lengths[0] += len;
        lengths[1]++;
    }
    return true;
}

static size_t tombstone_len(struct pvt_node *n, unsigned *count)
{
    struct pv_id after = {{0}};
    size_t lengths[2] = {0, 0};
    bool end = false;
    while (!end)
        cr_assert_eq(
            pv_store_records(n->store, PV_RECORD_FILE, &after, 64, add_tombstone, lengths, &end),
            PV_OK);
    *count = (unsigned)lengths[1];
    return lengths[0];
}

Test(collect, bytes_in_records_go_after_the_grace)
{
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_node *other = &s->net.nodes[1];
    uint8_t *bytes = pvt_content(3, 4096);
    char name[16];
    unsigned here, there;
    enum { COUNT = 150 }; /* more than two jobs of them */
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        memcpy(bytes, name, sizeof name);
        pvt_store(s, name, bytes, 4096);
    }
    pvt_store(s, "kept", bytes + 100, 3900);
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        rm(s, name);
    }
    pvt_advance(&s->net, 7 * day_ms - 3600 * 1000);
    cr_assert_eq(purged(s, false, false), 0, "the grace");
    struct pvt_client *c = pvt_ask_target(s, "restore", "f7");
    pvt_assert_ok(c);
    pvt_client_free(c);
    pvt_advance(&s->net, 3600 * 1000);
    cr_assert_eq(purged(s, true, false), COUNT - 1);
    cr_assert_geq(tombstone_len(pvt_me(s), &here), (COUNT - 1) * 4096, "it only asked");
    cr_assert_eq(purged(s, false, false), COUNT - 1);
    cr_assert_eq(purged(s, false, false), 0, "once is enough");
    pvt_advance(&s->net, 60000);
    cr_assert_leq(tombstone_len(pvt_me(s), &here), (COUNT - 1) * 1000);
    cr_assert_leq(tombstone_len(other, &there), (COUNT - 1) * 1000, "the other member knows");
    cr_assert(here == COUNT - 1 && there == here);
    cr_assert(pvt_same_digest(pvt_me(s), other));
    c = pvt_ask_target(s, "get", "f7");
    pvt_assert_ok(c);
    pvt_client_free(c);
    assert_whole(s, "kept", bytes + 100, 3900);
    pvt_refused(pvt_ask_target(s, "restore", "f9"), PV_EXIT_UNAVAILABLE, "too long ago");
    free(bytes);
    pvt_server_free(s);
}

/* ---- what stands in the way ---- */

static void lose_a_node(struct pvt_node *n)
{
    struct pv_blob_row_info rows[16];
    size_t count;
    uint64_t cursor = 0;
    bool end;
    cr_assert_eq(pv_store_blobs(n->store, &cursor, rows, 16, &count, &end), PV_OK);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].blob.kind != PV_BLOB_NODE)
            continue;
        struct pv_commit_op ops[2] = {
            {.type = PV_COMMIT_EXPIRE},
            {.type = PV_COMMIT_SWEEP,
             .u.sweep = {.ids = &rows[i].blob.id, .count = 1, .record_seq = INT64_MAX}}};
        struct pv_commit commit = {.ops = ops, .count = 2, .done = ignore_commit};
        pv_commit_batch(n->store, &commit);
        cr_assert_eq(ops[1].u.sweep.swept, 1);
        return;
    }
    cr_assert_fail("no node");
}

Test(collect, a_live_file_that_is_not_whole)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(8, LARGE);
    pvt_store(s, "f", bytes, LARGE);
    lose_a_node(pvt_me(s));
    uint64_t before = blobs_of(pvt_me(s));
    pvt_refused(gc(s, false, true), PV_EXIT_UNAVAILABLE, "1 files are not whole");
    cr_assert_eq(blobs_of(pvt_me(s)), before, "its chunks may be all that is left");
    rm(s, "f");
    cr_assert_eq(freed(s, true), (long long)before, "and now nobody wants them");
    free(bytes);
    pvt_server_free(s);
}

Test(collect, a_node_that_a_peer_has)
{
    struct pvt_server *s = pvt_server_new(2);
    uint8_t *bytes = pvt_content(9, LARGE);
    pvt_store(s, "f", bytes, LARGE);
    pvt_advance(&s->net, 60000);
    uint64_t before = blobs_of(pvt_me(s));
    lose_a_node(pvt_me(s));
    cr_assert_eq(freed(s, false), 0);
    cr_assert_eq(blobs_of(pvt_me(s)), before, "it was fetched");
    free(bytes);
    pvt_server_free(s);
}

Test(collect, a_record_that_nobody_can_read)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(10, 100000);
    pvt_store(s, "f", bytes, 100000);
    rm(s, "f");
    pvt_advance(&s->net, 8 * day_ms);
    struct pv_kid kid = pvt_me(s)->keyring.keys[0].keys.kid;
    pvt_store(s, "g", bytes, 90000);
    pvt_me(s)->keyring.keys[0].keys.kid.b[0] ^= 1;
    pvt_refused(gc(s, false, false), PV_EXIT_CORRUPT, "1 file records cannot be read");
    pvt_me(s)->keyring.keys[0].keys.kid = kid;
    cr_assert_gt(freed(s, false), 0);
    free(bytes);
    pvt_server_free(s);
}

/* ---- beside other work ---- */

/* The same content is stored while its old blobs are being collected, at every step of it. */
Test(collect, content_comes_back_meanwhile)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(11, 300000);
    uint64_t went = 0;
    bool more = true;
    for (uint64_t steps = 0; more; steps++) {
        pvt_store(s, "f", bytes, 300000);
        rm(s, "f");
        pvt_advance(&s->net, 8 * day_ms);
        uint64_t before = blobs_of(pvt_me(s));
        struct pvt_client *c = pvt_begin(s, gc_args(false, false));
        more = pvt_steps(&s->net, steps) && c->is_open;
        pvt_store(s, "f", bytes, 300000);
        pvt_settle(&s->net);
        pvt_assert_ok(c);
        went += (uint64_t)pvt_number(c->final, "garbage_blobs");
        pvt_client_free(c);
        cr_assert_eq(blobs_of(pvt_me(s)), before);
        assert_whole(s, "f", bytes, 300000);
    }
    cr_assert_gt(went, 0);
    free(bytes);
    pvt_server_free(s);
}

Test(collect, cancelled_at_every_step)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(12, LARGE);
    pvt_store(s, "stays", bytes, LARGE);
    pvt_store(s, "goes", bytes + 1000, 500000);
    rm(s, "goes");
    pvt_advance(&s->net, 8 * day_ms);
    bool more = true;
    for (uint64_t steps = 0; more; steps++) {
        struct pvt_client *c = pvt_begin(s, gc_args(false, false));
        more = pvt_steps(&s->net, steps) && c->is_open;
        pvt_cancel(c);
        pvt_settle(&s->net);
        pvt_client_free(c);
        cr_assert_eq(s->files->memory.used_bytes, 0);
        cr_assert_null(s->upkeep->collect);
    }
    assert_whole(s, "stays", bytes, LARGE);
    free(bytes);
    pvt_server_free(s);
}

/* Small files of which one is removed before each. */
static void remove_another(struct pvt_server *s, uint64_t i)
{
    uint8_t *bytes = pvt_content((unsigned)(100 + i), 4000);
    pvt_store(s, "small", bytes, 4000);
    rm(s, "small");
    pvt_advance(&s->net, 1000);
    free(bytes);
}

Test(collect, purge_cancelled_at_every_step)
{
    struct pvt_server *s = pvt_server_new(1);
    bool more = true;
    for (uint64_t steps = 0; more; steps++) {
        remove_another(s, steps);
        struct pvt_client *c = pvt_begin(s, gc_args(false, true));
        more = pvt_steps(&s->net, steps) && c->is_open;
        pvt_cancel(c);
        pvt_settle(&s->net);
        pvt_client_free(c);
        cr_assert_null(s->upkeep->collect);
    }
    cr_assert_eq(purged(s, true, true), 0, "the last one was not cancelled");
    pvt_server_free(s);
}

/* Whether `gc --now` fails when the k-th allocation does. */
static bool fails_without_memory(struct pvt_server *s, uint64_t k)
{
    json_t *args = gc_args(false, true);
    pv_mem_fail_after(k);
    struct pvt_client *c = pvt_begin(s, args);
    for (int step = 0; c->is_open && step < 1000 && pvt_step(&s->net); step++)
        continue;
    pv_mem_fail_after(UINT64_MAX);
    pvt_settle(&s->net);
    cr_assert_not(c->is_open);
    bool failed = c->lost || !pvt_ok(c);
    pvt_client_free(c);
    return failed;
}

Test(collect, purge_without_memory)
{
    struct pvt_server *s = pvt_server_new(1);
    unsigned failed = 0;
    for (uint64_t k = 0; k < 80; k++) {
        remove_another(s, k);
        failed += fails_without_memory(s, k);
    }
    cr_assert_gt(failed, 5);
    cr_assert_leq(purged(s, false, true), 1);
    cr_assert_eq(purged(s, false, true), 0);
    pvt_server_free(s);
}

Test(collect, without_memory)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(13, LARGE);
    pvt_store(s, "stays", bytes, LARGE);
    unsigned failed = 0;
    for (uint64_t k = 0; k < 60; k++) {
        failed += fails_without_memory(s, k);
        assert_whole(s, "stays", bytes, LARGE);
    }
    cr_assert_gt(failed, 5);
    free(bytes);
    pvt_server_free(s);
}

Test(collect, one_at_a_time)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_client *first = pvt_begin(s, gc_args(false, false));
    pvt_refused(gc(s, false, false), PV_EXIT_UNAVAILABLE, "under way");
    pvt_settle(&s->net);
    pvt_assert_ok(first);
    pvt_client_free(first);
    pvt_server_free(s);
}

/* ---- in the background ---- */

Test(collect, by_itself)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(14, 400000);
    pvt_store(s, "f", bytes, 400000);
    rm(s, "f");
    pvt_advance(&s->net, 8 * day_ms);
    pv_upkeep_work(s->upkeep);
    pvt_wait(s, PV_COLLECT_FIRST_MS - 1000);
    cr_assert_gt(blobs_of(pvt_me(s)), 0);
    pvt_wait(s, 60000); /* it rests between slices */
    cr_assert_eq(blobs_of(pvt_me(s)), 0);

    pvt_store(s, "f", bytes, 400000);
    rm(s, "f");
    pvt_advance(&s->net, 8 * day_ms); /* it is due while others wait */
    bool more = true;
    for (uint64_t steps = 0; more; steps++) { /* a client displaces it at any moment */
        pvt_advance(&s->net, PV_COLLECT_EVERY_MS);
        more = pvt_steps(&s->net, steps) && s->upkeep->collect != NULL;
        struct pvt_client *c = gc(s, true, false);
        pvt_assert_ok(c);
        pvt_client_free(c);
    }
    pv_upkeep_rest(s->upkeep);
    free(bytes);
    pvt_server_free(s);
}
