#include "tests/unit/internal_client_fixture.h"

TestSuite(stat, .timeout = 120);

static struct pvt_client *stat_of(struct pvt_server *s, const char *target)
{
    return pvt_ask_target(s, "stat", target);
}

static bool has_name(const struct pvt_client *c, const char *name)
{
    size_t i;
    const json_t *e;
    json_array_foreach(json_object_get(c->final, "names"), i, e)
    {
        if (strcmp(pvt_text(e, "name"), name) == 0)
            return true;
    }
    return false;
}

Test(stat, an_inline_file)
{
    struct pvt_server *s = pvt_server_new(1);
    char author[PV_NODE_TEXT_LEN];
    struct pvt_key key = pvt_store_text(s, "a", "text");
    pvt_store_text(s, "b", "text");
    struct pvt_client *c = stat_of(s, "a");
    pvt_assert_ok(c);
    cr_assert_str_eq(pvt_text(c->final, "key"), key.hex);
    cr_assert_eq(pvt_number(c->final, "size"), 4);
    cr_assert_eq(json_array_size(json_object_get(c->final, "names")), 2);
    cr_assert(has_name(c, "a") && has_name(c, "b"));
    cr_assert(json_is_false(json_object_get(c->final, "more_names")));
    cr_assert(json_is_true(json_object_get(c->final, "inline")));
    cr_assert(json_is_false(json_object_get(c->final, "private")));
    cr_assert_eq(pvt_number(c->final, "blobs"), 0);
    cr_assert_eq(pvt_number(c->final, "stored_bytes"), 0);
    cr_assert_eq(pvt_number(c->final, "copies"), 1);
    cr_assert_eq(pvt_number(c->final, "want"), 1);
    cr_assert_eq(pvt_number(c->final, "missing_blobs"), 0);
    pv_node_id_format(author, &pvt_me(s)->identity.node_id);
    cr_assert_str_eq(pvt_text(c->final, "author"), author);
    pvt_client_free(c);
    pvt_refused(stat_of(s, "c"), PV_EXIT_NOT_FOUND, "not found");
    pvt_refused(stat_of(s, ""), PV_EXIT_USAGE, "malformed");
    pvt_server_free(s);
}

Test(stat, blobs_and_copies)
{
    enum { LEN = 3000000 };
    struct pvt_server *s = pvt_server_new(2);
    uint8_t *bytes = pvt_content(1, LEN);
    pvt_cut(&s->net, 0, 1);
    struct pvt_key key = pvt_store(s, NULL, bytes, LEN);
    struct pvt_client *c = stat_of(s, key.hex);
    pvt_assert_ok(c);
    struct pv_store_counts counts = pvt_counts(pvt_me(s));
    cr_assert_eq(pvt_number(c->final, "blobs"), (long long)counts.blobs);
    cr_assert_eq(pvt_number(c->final, "stored_bytes"), (long long)counts.blob_bytes);
    cr_assert_eq(pvt_number(c->final, "copies"), 1);
    cr_assert_eq(pvt_number(c->final, "want"), 2);
    pvt_client_free(c);
    pvt_connect(&s->net, 0, 1);
    pvt_advance(&s->net, 60000);
    c = stat_of(s, key.hex);
    cr_assert_eq(pvt_number(c->final, "copies"), 2);
    pvt_client_free(c);
    free(bytes);
    pvt_server_free(s);
}

/* More entries than one job looks at, and two of them missing. */
Test(stat, missing_blobs)
{
    enum { CHUNKS = 1200 };
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    struct pv_entry *chunks = calloc(CHUNKS, sizeof *chunks), nodes[2], root;
    for (int i = 0; i < CHUNKS; i++)
        pvt_put_payload(n, i == 3 || i == CHUNKS - 1 ? NULL : n, PV_BLOB_CHUNK, &i, sizeof i,
                        sizeof i, false, &chunks[i]);
    pvt_put_node(n, n, chunks, CHUNKS - 100, &nodes[0]);
    pvt_put_node(n, n, chunks + CHUNKS - 100, 100, &nodes[1]);
    pvt_put_node(n, n, nodes, 2, &root);
    pvt_put_tree(n, &root, "any", 3);
    struct pvt_client *c = stat_of(s, pvt_key_of("any", 3).hex);
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "blobs"), CHUNKS + 3);
    cr_assert_eq(pvt_number(c->final, "missing_blobs"), 2);
    cr_assert_eq(pvt_number(c->final, "copies"), 0);
    pvt_client_free(c);
    free(chunks);
    pvt_server_free(s);
}

Test(stat, a_node_that_cannot_be_read)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    struct pv_entry e, node;
    pvt_put_payload(n, n, PV_BLOB_CHUNK, "x", 1, 1, false, &e);
    pvt_put_node(n, NULL, &e, 1, &node);
    pvt_put_tree(n, &node, "missing", 7);
    pvt_refused(stat_of(s, pvt_key_of("missing", 7).hex), PV_EXIT_UNAVAILABLE, "on no member");

    pvt_put_payload(n, n, PV_BLOB_NODE, "not entries", 11, 1, false, &node);
    pvt_put_tree(n, &node, "malformed", 9);
    pvt_refused(stat_of(s, pvt_key_of("malformed", 9).hex), PV_EXIT_CORRUPT, "tree");

    for (int i = 0; i < PV_TREE_DEPTH_MAX; i++) {
        pvt_put_node(n, n, &e, 1, &node);
        e = node;
    }
    pvt_put_tree(n, &node, "deep", 4);
    pvt_refused(stat_of(s, pvt_key_of("deep", 4).hex), PV_EXIT_CORRUPT, "tree");
    pvt_server_free(s);
}

/* The reply fits its frame, and says that it is not all. */
Test(stat, very_many_and_long_names)
{
    struct pvt_server *s = pvt_server_new(1);
    char name[PV_NAME_MAX + 1];
    memset(name, 1, sizeof name); /* control characters are six bytes each in JSON */
    name[PV_NAME_MAX] = '\0';
    for (char i = 0; i < 20; i++) {
        name[0] = (char)('a' + i);
        pvt_store_text(s, name, "text");
    }
    struct pvt_client *c = stat_of(s, pvt_key_of("text", 4).hex);
    pvt_assert_ok(c);
    char *text = json_dumps(c->final, JSON_COMPACT);
    cr_assert_lt(strlen(text), PV_CONTROL_JSON_MAX - 100);
    pv_free(text);
    cr_assert(json_is_true(json_object_get(c->final, "more_names")));
    pvt_client_free(c);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%d", i);
        pvt_store_text(s, name, "other");
    }
    c = stat_of(s, pvt_key_of("other", 5).hex);
    cr_assert_eq(json_array_size(json_object_get(c->final, "names")), 256);
    cr_assert(json_is_true(json_object_get(c->final, "more_names")));
    pvt_client_free(c);
    pvt_server_free(s);
}

Test(stat, cancelled_after_every_step)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(2, 900000);
    struct pvt_key key = pvt_store(s, "name", bytes, 900000);
    for (uint64_t steps = 0, more = 1; more != 0; steps++) {
        struct pvt_client *c =
            pvt_begin(s, json_pack("{s:s, s:s}", "op", "stat", "target", key.hex));
        more = pvt_steps(&s->net, steps);
        pvt_cancel(c);
        pvt_settle(&s->net);
        cr_assert_eq(s->files->memory.used_bytes, 0);
        pvt_client_free(c);
    }
    free(bytes);
    pvt_server_free(s);
}

/* It waits for the memory of its nodes like a get. */
Test(stat, memory)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(2, 2000000);
    struct pvt_key key = pvt_store(s, "name", bytes, 2000000);
    size_t all = s->files->memory.limit_bytes;
    cr_assert_eq(pv_budget_try(&s->files->memory, all), PV_OK);
    struct pvt_client *c = stat_of(s, "name"), *d = stat_of(s, key.hex);
    cr_assert(c->is_open && d->is_open);
    pvt_cancel(d);
    pv_budget_give(&s->files->memory, all);
    pvt_settle(&s->net);
    pvt_assert_ok(c);
    pvt_client_free(c);
    pvt_client_free(d);

    unsigned failed = 0;
    for (uint64_t k = 0; k < 80; k++) {
        json_t *args = json_pack("{s:s, s:s}", "op", "stat", "target", "name");
        pv_mem_fail_after(k);
        c = pvt_begin(s, args);
        for (int i = 0; c->is_open && i < 1000 && pvt_step(&s->net); i++)
            continue;
        pv_mem_fail_after(UINT64_MAX);
        pvt_settle(&s->net);
        cr_assert_not(c->is_open);
        if (c->lost || !pvt_ok(c))
            failed++;
        else
            cr_assert_eq(json_array_size(json_object_get(c->final, "names")), 1);
        pvt_client_free(c);
    }
    cr_assert_gt(failed, 10);
    free(bytes);
    pvt_server_free(s);
}
