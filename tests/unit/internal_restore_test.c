/* restore and history: what comes back, with what name, and what stands in the way. */
#include "tests/unit/internal_client_fixture.h"

TestSuite(restore, .timeout = 120);

static const uint64_t day_ms = 24 * 3600 * 1000;
enum { LARGE = 3 << 20 };

static json_t *target_args(const char *op, const char *target)
{
    return json_pack("{s:s, s:s}", "op", op, "target", target);
}

static void rm(struct pvt_server *s, const char *target)
{
    struct pvt_client *c = pvt_ask_target(s, "rm", target);
    pvt_assert_ok(c);
    pvt_client_free(c);
}

static void restored(struct pvt_client *c, const char *key, long long files, const char *name)
{
    pvt_assert_ok(c);
    cr_assert_str_eq(pvt_text(c->final, "key"), key);
    cr_assert_eq(pvt_number(c->final, "files"), files);
    cr_assert_eq(pvt_number(c->final, "names"), name != NULL);
    if (name != NULL)
        cr_assert_str_eq(pvt_text(c->final, "name"), name);
    pvt_client_free(c);
}

static void assert_whole(struct pvt_server *s, const char *name, const void *bytes, size_t len)
{
    struct pvt_client *c = pvt_ask_target(s, "get", name);
    pvt_assert_ok(c);
    cr_assert(c->len == len && (len == 0 || memcmp(c->data, bytes, len) == 0));
    pvt_client_free(c);
}

static void gc(struct pvt_server *s, bool now)
{
    struct pvt_client *c = pvt_ask(s, json_pack("{s:s, s:b}", "op", "gc", "now", (int)now));
    pvt_assert_ok(c);
    pvt_client_free(c);
}

static struct pvt_client *version(struct pvt_server *s, const char *name, const char *key)
{
    return pvt_ask(s, json_pack("{s:s, s:s, s:s}", "op", "restore", "target", name, "key", key));
}

static struct pvt_client *history(struct pvt_server *s, const char *name)
{
    return pvt_ask(s, json_pack("{s:s, s:s}", "op", "history", "name", name));
}

static struct pvt_key store_private(struct pvt_server *s, const char *name, const void *bytes,
                                    size_t len)
{
    json_t *args = json_pack("{s:b, s:b}", "private", 1, "wait", 0);
    if (name != NULL)
        json_object_set_new(args, "name", json_string(name));
    struct pvt_client *c = pvt_begin_store(s, args, bytes, len);
    pvt_settle(&s->net);
    pvt_assert_ok(c);
    pvt_client_free(c);
    return pvt_key_of(bytes, len);
}

/* ---- what comes back ---- */

Test(restore, by_name_and_by_key)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(1, LARGE);
    struct pvt_key key = pvt_store(s, "f", bytes, LARGE);
    rm(s, "f");
    restored(pvt_ask_target(s, "restore", "f"), key.hex, 1, "f");
    assert_whole(s, "f", bytes, LARGE);
    rm(s, key.hex);
    restored(pvt_ask_target(s, "restore", key.hex), key.hex, 1, "f");
    assert_whole(s, "f", bytes, LARGE);
    assert_whole(s, key.hex, bytes, LARGE);
    pvt_advance(&s->net, 200 * day_ms);
    gc(s, true);
    assert_whole(s, "f", bytes, LARGE);
    rm(s, "f");
    pvt_advance(&s->net, 6 * day_ms);
    restored(pvt_ask_target(s, "restore", "f"), key.hex, 1, "f");
    gc(s, false);
    assert_whole(s, "f", bytes, LARGE);
    free(bytes);
    pvt_server_free(s);
}

Test(restore, inline_files)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, "f", "text");
    pvt_store_text(s, "empty", "");
    pvt_store_text(s, NULL, "nameless");
    rm(s, "f");
    rm(s, "empty");
    rm(s, pvt_key_of("nameless", 8).hex);
    gc(s, true);
    restored(pvt_ask_target(s, "restore", "f"), key.hex, 1, "f");
    restored(pvt_ask_target(s, "restore", "empty"), pvt_key_of("", 0).hex, 1, "empty");
    struct pvt_key nameless = pvt_key_of("nameless", 8);
    restored(pvt_ask_target(s, "restore", nameless.hex), nameless.hex, 1, NULL);
    assert_whole(s, "f", "text", 4);
    assert_whole(s, "empty", "", 0);
    assert_whole(s, nameless.hex, "nameless", 8);
    pvt_server_free(s);
}

Test(restore, private_files)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(2, 100000);
    struct pvt_key key = store_private(s, "mine", bytes, 100000);
    for (int i = 0; i < 600; i++) { /* more records than one job looks at */
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        pvt_store_text(s, name, name);
        if (i % 2 == 0)
            rm(s, name);
    }
    rm(s, "mine");
    restored(pvt_ask_target(s, "restore", "mine"), key.hex, 1, "mine");
    assert_whole(s, "mine", bytes, 100000);
    rm(s, key.hex);
    restored(pvt_ask_target(s, "restore", key.hex), key.hex, 1, "mine");
    assert_whole(s, "mine", bytes, 100000);
    struct pvt_client *c = pvt_ask_target(s, "stat", "mine");
    pvt_assert_ok(c);
    cr_assert(json_is_true(json_object_get(c->final, "private")));
    pvt_client_free(c);
    restored(pvt_ask_target(s, "restore", key.hex), key.hex, 0, NULL);
    struct pvt_key other = store_private(s, NULL, "other", 5);
    rm(s, other.hex);
    restored(pvt_ask_target(s, "restore", other.hex), other.hex, 1, NULL);
    assert_whole(s, other.hex, "other", 5);
    free(bytes);
    pvt_server_free(s);
}

Test(restore, a_name_of_a_file_that_has_others)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, "a", "text");
    pvt_store_text(s, "b", "text");
    rm(s, "a");
    restored(pvt_ask_target(s, "restore", "a"), key.hex, 0, "a");
    assert_whole(s, "a", "text", 4);
    rm(s, key.hex);
    restored(pvt_ask_target(s, "restore", "b"), key.hex, 1, "b");
    restored(pvt_ask_target(s, "restore", "a"), key.hex, 0, "a");
    assert_whole(s, "a", "text", 4);
    assert_whole(s, "b", "text", 4);
    pvt_server_free(s);
}

Test(restore, a_name_that_means_another_file_now)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key old = pvt_store_text(s, "f", "old");
    rm(s, "f");
    pvt_store_text(s, "f", "new");
    restored(pvt_ask_target(s, "restore", old.hex), old.hex, 1, NULL);
    assert_whole(s, old.hex, "old", 3);
    assert_whole(s, "f", "new", 3);
    pvt_server_free(s);
}

Test(restore, what_is_not_removed_and_what_never_was)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, "f", "text");
    struct pvt_client *c = pvt_ask_target(s, "restore", "f");
    pvt_assert_ok(c);
    cr_assert_not_null(strstr(pvt_text(c->final, "note"), "not removed"));
    pvt_client_free(c);
    restored(pvt_ask_target(s, "restore", key.hex), key.hex, 0, NULL);
    pvt_refused(pvt_ask_target(s, "restore", "g"), PV_EXIT_NOT_FOUND, "not found");
    pvt_refused(pvt_ask_target(s, "restore", pvt_key_of("never", 5).hex), PV_EXIT_NOT_FOUND,
                "not found");
    pvt_refused(pvt_ask_target(s, "restore", ""), PV_EXIT_USAGE, "malformed");
    pvt_refused(pvt_ask(s, json_pack("{s:s}", "op", "restore")), PV_EXIT_USAGE, "malformed");
    pvt_refused(version(s, "f", "1234567"), PV_EXIT_USAGE, "8 or more of its");
    pvt_refused(version(s, "f", "1234567g"), PV_EXIT_USAGE, "8 or more of its");
    rm(s, "f");
    pvt_me(s)->env.wall_ms = 1000;
    pvt_refused(pvt_ask_target(s, "restore", "f"), PV_EXIT_UNAVAILABLE, "clock");
    pvt_me(s)->env.wall_ms = UINT64_C(1790000000000) + 1000;
    pvt_server_free(s);
}

Test(restore, removed_under_an_older_cluster_key)
{
    static const uint8_t newer[PV_KEY_LEN] = {9, 9, 9};
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(3, LARGE);
    struct pvt_key key = pvt_store(s, "f", bytes, LARGE);
    struct pvt_key mine = store_private(s, "mine", bytes, 90000);
    pvt_store(s, "g", bytes, 80000);
    rm(s, "f");
    rm(s, "mine");
    rm(s, "g");
    cr_assert_eq(pv_keyring_add_cluster_key(&pvt_me(s)->keyring, newer, 2), PV_OK);
    restored(pvt_ask_target(s, "restore", "f"), key.hex, 1, "f");
    assert_whole(s, "f", bytes, LARGE);
    restored(pvt_ask_target(s, "restore", mine.hex), mine.hex, 1, "mine");
    assert_whole(s, "mine", bytes, 90000);
    struct pvt_key g = pvt_key_of(bytes, 80000);
    restored(pvt_ask_target(s, "restore", g.hex), g.hex, 1, "g");
    rm(s, "f"); /* under the newer one */
    rm(s, "mine");
    restored(pvt_ask_target(s, "restore", "mine"), mine.hex, 1, "mine");
    restored(pvt_ask_target(s, "restore", "f"), key.hex, 1, "f");
    assert_whole(s, "f", bytes, LARGE);
    struct pvt_client *c = history(s, "f");
    pvt_assert_ok(c);
    cr_assert_eq(c->event_count, 5);
    cr_assert(json_is_true(json_object_get(c->events[0], "current")));
    for (size_t i = 1; i < c->event_count; i++)
        cr_assert_not(json_is_true(json_object_get(c->events[i], "current")));
    pvt_client_free(c);
    free(bytes);
    pvt_server_free(s);
}

/* ---- what stands in the way ---- */

Test(restore, not_when_blobs_are_gone)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(4, LARGE);
    struct pvt_key key = pvt_store(s, "f", bytes, LARGE);
    pvt_store(s, "part", bytes, 2 << 20); /* keeps some of its chunks */
    rm(s, "f");
    gc(s, true);
    pvt_refused(pvt_ask_target(s, "restore", "f"), PV_EXIT_UNAVAILABLE,
                "1 of at least 1 blobs are gone");
    pvt_refused(pvt_ask_target(s, "restore", key.hex), PV_EXIT_UNAVAILABLE, "gone");
    cr_assert_eq(s->files->uploads, 0);
    pvt_store(s, "f", bytes, LARGE);
    assert_whole(s, "f", bytes, LARGE);
    free(bytes);
    pvt_server_free(s);
}

static void sweep_all(struct pvt_node *n, bool nodes_too)
{
    struct pv_blob_row_info rows[64];
    struct pv_id ids[64];
    size_t count, swept = 0;
    uint64_t cursor = 0;
    bool end;
    cr_assert_eq(pv_store_blobs(n->store, &cursor, rows, 64, &count, &end), PV_OK);
    for (size_t i = 0; i < count; i++)
        if (nodes_too || rows[i].blob.kind != PV_BLOB_NODE)
            ids[swept++] = rows[i].blob.id;
    struct pv_commit_op ops[2] = {
        {.type = PV_COMMIT_EXPIRE},
        {.type = PV_COMMIT_SWEEP,
         .u.sweep = {.ids = ids, .count = swept, .record_seq = INT64_MAX}}};
    pvt_commit(n, ops, 2);
    cr_assert_eq(ops[1].u.sweep.swept, swept);
}

Test(restore, says_how_many_are_gone)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(5, LARGE);
    pvt_store(s, "f", bytes, LARGE);
    struct pv_store_counts counts = pvt_counts(pvt_me(s));
    rm(s, "f");
    sweep_all(pvt_me(s), false);
    char words[64];
    snprintf(words, sizeof words, "%u of %u blobs are gone", (unsigned)counts.blobs - 1,
             (unsigned)counts.blobs);
    pvt_refused(pvt_ask_target(s, "restore", "f"), PV_EXIT_UNAVAILABLE, words);
    free(bytes);
    pvt_server_free(s);
}

/* More blobs than one batch, in a tree of two levels of nodes. */
Test(restore, a_file_of_many_blobs)
{
    enum { CHUNKS = 700, CHUNK_LEN = 300, FAN_OUT = 300 };
    struct pvt_server *s = pvt_server_new(1);
    struct pv_entry *chunks = calloc(CHUNKS, sizeof *chunks), nodes[3], root;
    uint8_t *bytes = pvt_content(13, (size_t)CHUNKS * CHUNK_LEN);
    for (size_t i = 0; i < CHUNKS; i++)
        pvt_put_payload(pvt_me(s), pvt_me(s), PV_BLOB_CHUNK, bytes + i * CHUNK_LEN, CHUNK_LEN,
                        CHUNK_LEN, false, &chunks[i]);
    for (size_t i = 0; i < 3; i++)
        pvt_put_node(pvt_me(s), pvt_me(s), chunks + i * FAN_OUT, i < 2 ? FAN_OUT : 100, &nodes[i]);
    pvt_put_node(pvt_me(s), pvt_me(s), nodes, 3, &root);
    pvt_put_tree(pvt_me(s), &root, bytes, (size_t)CHUNKS * CHUNK_LEN);
    struct pvt_key key = pvt_key_of(bytes, (size_t)CHUNKS * CHUNK_LEN);
    rm(s, key.hex);
    pvt_advance(&s->net, 8 * day_ms);
    restored(pvt_ask_target(s, "restore", key.hex), key.hex, 1, NULL);
    rm(s, key.hex);
    gc(s, false);
    cr_assert_eq(pvt_counts(pvt_me(s)).blobs, CHUNKS + 4, "each has a lease");

    struct pv_id lost[2] = {chunks[10].id, nodes[2].id};
    struct pv_commit_op ops[2] = {
        {.type = PV_COMMIT_EXPIRE},
        {.type = PV_COMMIT_SWEEP, .u.sweep = {.ids = lost, .count = 2, .record_seq = INT64_MAX}}};
    pvt_commit(pvt_me(s), ops, 2);
    pvt_refused(pvt_ask_target(s, "restore", key.hex), PV_EXIT_UNAVAILABLE,
                "2 of at least 604 blobs are gone");
    free(chunks);
    free(bytes);
    pvt_server_free(s);
}

/* ---- in a cluster ---- */

Test(restore, everywhere)
{
    struct pvt_server *s = pvt_server_new(3);
    uint8_t *bytes = pvt_content(6, LARGE);
    struct pvt_key key = pvt_store(s, "f", bytes, LARGE);
    pvt_store_text(s, "small", "text");
    pvt_advance(&s->net, 60000);
    rm(s, "f");
    rm(s, "small");
    pvt_advance(&s->net, 60000);
    cr_assert_eq(pvt_counts(&s->net.nodes[2]).files, 0);
    restored(pvt_ask_target(s, "restore", "f"), key.hex, 1, "f");
    restored(pvt_ask_target(s, "restore", "small"), pvt_key_of("text", 4).hex, 1, "small");
    pvt_advance(&s->net, 60000);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(pvt_counts(&s->net.nodes[i]).files, 2);
        cr_assert_eq(pvt_counts(&s->net.nodes[i]).names, 2);
        cr_assert_eq(pvt_counts(&s->net.nodes[i]).pending, 0);
    }
    cr_assert(pvt_all_agree(&s->net));
    free(bytes);
    pvt_server_free(s);
}

/* Blobs that only another member has are fetched; with and without the tree's node here. */
Test(restore, from_another_member)
{
    uint8_t *bytes = pvt_content(7, LARGE);
    for (int nodes_too = 0; nodes_too < 2; nodes_too++) {
        struct pvt_server *s = pvt_server_new(2);
        struct pvt_key key = pvt_store(s, "f", bytes, LARGE);
        pvt_advance(&s->net, 60000);
        uint64_t blobs = pvt_counts(pvt_me(s)).blobs;
        rm(s, "f");
        pvt_advance(&s->net, 60000);
        sweep_all(pvt_me(s), nodes_too == 1);
        pvt_cut(&s->net, 0, 1);
        struct pvt_client *c = pvt_begin(s, target_args("restore", "f"));
        pvt_wait(s, 60000);
        pvt_refused(c, PV_EXIT_UNAVAILABLE, "in reach");
        pvt_connect(&s->net, 0, 1);
        pvt_settle(&s->net);
        c = pvt_begin(s, target_args("restore", "f"));
        pvt_wait(s, 60000);
        restored(c, key.hex, 1, "f");
        cr_assert_eq(pvt_counts(pvt_me(s)).blobs, blobs);
        assert_whole(s, "f", bytes, LARGE);
        cr_assert(pvt_all_agree(&s->net));
        pvt_server_free(s);
    }
    free(bytes);
}

/* A copy that a member let go does not count: it gets the blob again before the record leaves. */
Test(restore, copies_that_were_let_go_do_not_count)
{
    struct pvt_server *s = pvt_server_new(2);
    uint8_t *bytes = pvt_content(8, LARGE);
    struct pvt_key key = pvt_store(s, "f", bytes, LARGE);
    pvt_advance(&s->net, 60000);
    uint64_t blobs = pvt_counts(pvt_me(s)).blobs;
    rm(s, "f");
    pvt_advance(&s->net, 4 * day_ms); /* the leases are over */
    sweep_all(&s->net.nodes[1], true);
    restored(pvt_ask_target(s, "restore", "f"), key.hex, 1, "f");
    pvt_advance(&s->net, 60000);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).blobs, blobs);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).files, 1);
    cr_assert(pvt_all_agree(&s->net));
    free(bytes);
    pvt_server_free(s);
}

/* ---- beside other work ---- */

/* A collection that takes all removed files is under way, at every step of it. */
Test(restore, beside_a_collection)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(9, LARGE);
    unsigned came = 0, refused = 0;
    bool more = true;
    for (uint64_t steps = 0; more; steps++) {
        pvt_store(s, "f", bytes, LARGE);
        rm(s, "f");
        struct pvt_client *c = pvt_begin(s, json_pack("{s:s, s:b}", "op", "gc", "now", 1));
        more = pvt_steps(&s->net, steps) && c->is_open;
        struct pvt_client *back = pvt_ask_target(s, "restore", "f");
        pvt_settle(&s->net);
        pvt_assert_ok(c);
        pvt_client_free(c);
        if (pvt_ok(back)) {
            came++;
            pvt_client_free(back);
            assert_whole(s, "f", bytes, LARGE);
        } else {
            refused++;
            pvt_refused(back, PV_EXIT_UNAVAILABLE, "gone");
            pvt_store(s, "f", bytes, LARGE);
        }
    }
    cr_assert(came > 0 && refused > 3, "%u %u", came, refused);
    free(bytes);
    pvt_server_free(s);
}

/* And the other way round: a collection begins at every step of a restore. */
Test(restore, while_a_collection_begins)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(10, LARGE);
    unsigned came = 0;
    bool more = true;
    for (uint64_t steps = 0; more; steps++) {
        pvt_store(s, "f", bytes, LARGE);
        rm(s, "f");
        struct pvt_client *back = pvt_begin(s, target_args("restore", "f"));
        more = pvt_steps(&s->net, steps) && back->is_open;
        gc(s, true);
        pvt_settle(&s->net);
        if (pvt_ok(back)) {
            came++;
            pvt_client_free(back);
            assert_whole(s, "f", bytes, LARGE);
        } else {
            pvt_refused(back, PV_EXIT_UNAVAILABLE, "gone");
        }
    }
    cr_assert_gt(came, 3);
    free(bytes);
    pvt_server_free(s);
}

Test(restore, cancelled_at_every_step)
{
    struct pvt_server *s = pvt_server_new(2);
    uint8_t *bytes = pvt_content(11, LARGE);
    pvt_store(s, "f", bytes, LARGE);
    pvt_advance(&s->net, 60000);
    bool more = true;
    for (uint64_t steps = 0; more; steps++) {
        rm(s, "f");
        pvt_advance(&s->net, 60000);
        sweep_all(pvt_me(s), true); /* so that there is something to fetch */
        struct pvt_client *c = pvt_begin(s, target_args("restore", "f"));
        more = pvt_steps(&s->net, steps) && c->is_open;
        pvt_cancel(c);
        pvt_settle(&s->net);
        pvt_client_free(c);
        cr_assert_eq(s->files->memory.used_bytes, 0);
        cr_assert_eq(s->files->uploads, 0);
        c = pvt_begin(s, target_args("restore", "f")); /* or it was written already */
        pvt_wait(s, 1000);
        pvt_assert_ok(c);
        pvt_client_free(c);
        pvt_advance(&s->net, 60000);
        cr_assert(pvt_all_agree(&s->net));
    }
    assert_whole(s, "f", bytes, LARGE);
    free(bytes);
    pvt_server_free(s);
}

Test(restore, without_memory)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(12, LARGE);
    struct pvt_key key = pvt_store(s, "f", bytes, LARGE);
    unsigned failed = 0, done = 0;
    for (uint64_t k = 0; k < 120; k++) {
        rm(s, "f");
        json_t *args = target_args("restore", k % 2 == 0 ? "f" : key.hex);
        pv_mem_fail_after(k);
        struct pvt_client *c = pvt_begin(s, args);
        for (int step = 0; c->is_open && step < 1000 && pvt_step(&s->net); step++)
            continue;
        pv_mem_fail_after(UINT64_MAX);
        pvt_settle(&s->net);
        cr_assert_not(c->is_open);
        cr_assert_eq(s->files->uploads, 0);
        bool ok = !c->lost && pvt_ok(c);
        failed += !ok;
        done += ok;
        pvt_client_free(c);
        if (!ok) {
            c = pvt_ask_target(s, "restore", "f");
            pvt_assert_ok(c);
            pvt_client_free(c);
        }
        assert_whole(s, "f", bytes, LARGE);
    }
    cr_assert(failed > 5 && done > 5, "%u %u", failed, done);
    free(bytes);
    pvt_server_free(s);
}

/* ---- versions ---- */

Test(restore, versions_of_a_name)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key one = pvt_store_text(s, "f", "one"), two = pvt_store_text(s, "f", "two two");
    struct pvt_key three = pvt_store_text(s, "f", "three");
    rm(s, one.hex);
    rm(s, "f");
    struct pvt_client *c = history(s, "f");
    pvt_assert_ok(c);
    const char *keys[] = {three.hex, three.hex, two.hex, one.hex};
    cr_assert_eq(pvt_number(c->final, "versions"), 4);
    cr_assert_eq(pvt_number(c->final, "unreadable"), 0);
    for (size_t i = 0; i < 4; i++) {
        const json_t *e = c->events[i];
        cr_assert_str_eq(pvt_text(e, "key"), keys[i]);
        cr_assert_eq(json_is_true(json_object_get(e, "deleted")), i == 0);
        cr_assert_eq(json_is_true(json_object_get(e, "current")), i == 0);
        cr_assert_str_eq(pvt_text(e, "file"), i == 2 ? "live" : "removed");
        cr_assert(i == 0 ||
                  pvt_number(e, "written_ms") <= pvt_number(c->events[i - 1], "written_ms"));
        cr_assert_eq(strlen(pvt_text(e, "author")), 77);
    }
    cr_assert_eq(pvt_number(c->events[2], "size"), 7);
    pvt_client_free(c);

    char abbreviated[11] = {0};
    memcpy(abbreviated, one.hex, 10);
    restored(version(s, "f", abbreviated), one.hex, 1, "f");
    assert_whole(s, "f", "one", 3);
    restored(version(s, "f", two.hex), two.hex, 0, "f");
    assert_whole(s, "f", "two two", 7);
    restored(version(s, "f", two.hex), two.hex, 0, NULL);
    restored(version(s, "f", three.hex), three.hex, 1, "f");
    assert_whole(s, "f", "three", 5);
    pvt_refused(version(s, "f", pvt_key_of("never", 5).hex), PV_EXIT_NOT_FOUND, "no such version");
    pvt_refused(version(s, "g", one.hex), PV_EXIT_NOT_FOUND, "no such version");
    pvt_refused(history(s, "g"), PV_EXIT_NOT_FOUND, "not found");
    pvt_refused(history(s, ""), PV_EXIT_USAGE, "malformed");
    pvt_server_free(s);
}

/* Two members bind one name while they do not see each other: both find the loser. */
Test(restore, losers_of_a_conflict_are_versions)
{
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_record rec;
    struct pv_id rid, sha256;
    pv_sha256(sha256.b, "theirs", 6);
    pvt_cut(&s->net, 0, 1);
    pvt_settle(&s->net);
    struct pvt_key ours = pvt_store_text(s, "f", "ours");
    pvt_advance(&s->net, 1000);
    struct pvt_node *other = &s->net.nodes[1];
    pvt_seal_file(&rec, other, "theirs", pvt_hlc(other));
    pvt_put(other, &rec, false);
    rid = rec.rid;
    pvt_put_name_under(other, pv_keyring_active(&other->keyring), "f", &sha256, &rid);
    pvt_connect(&s->net, 0, 1);
    pvt_advance(&s->net, 60000);
    assert_whole(s, "f", "theirs", 6);
    struct pvt_client *c = history(s, "f");
    pvt_assert_ok(c);
    cr_assert_eq(c->event_count, 2);
    cr_assert_str_neq(pvt_text(c->events[0], "author"), pvt_text(c->events[1], "author"));
    cr_assert_str_eq(pvt_text(c->events[1], "key"), ours.hex);
    cr_assert_str_eq(pvt_text(c->events[1], "file"), "live");
    pvt_client_free(c);
    restored(version(s, "f", ours.hex), ours.hex, 0, "f");
    pvt_advance(&s->net, 60000);
    assert_whole(s, "f", "ours", 4);
    cr_assert(pvt_all_agree(&s->net));
    pvt_server_free(s);
}

Test(restore, history_is_limited_and_survives_little_memory)
{
    struct pvt_server *s = pvt_server_new(1);
    for (int i = 0; i < 30; i++) {
        char text[32];
        snprintf(text, sizeof text, "text %d", i);
        pvt_store_text(s, "f", text);
    }
    struct pvt_client *c = history(s, "f");
    pvt_assert_ok(c);
    cr_assert_eq(c->event_count, 1 + PV_HISTORY_MAX);
    pvt_client_free(c);
    for (uint64_t k = 0; k < 60; k++) {
        json_t *args = json_pack("{s:s, s:s}", "op", "history", "name", "f");
        pv_mem_fail_after(k);
        c = pvt_begin(s, args);
        for (int step = 0; c->is_open && step < 1000 && pvt_step(&s->net); step++)
            continue;
        pv_mem_fail_after(UINT64_MAX);
        pvt_settle(&s->net);
        cr_assert_not(c->is_open);
        pvt_client_free(c);
    }
    for (uint64_t steps = 0; steps < 3; steps++) {
        c = pvt_begin(s, json_pack("{s:s, s:s}", "op", "history", "name", "f"));
        pvt_steps(&s->net, steps);
        pvt_cancel(c);
        pvt_settle(&s->net);
        pvt_client_free(c);
    }
    pvt_server_free(s);
}
