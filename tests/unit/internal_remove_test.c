#include "tests/unit/internal_client_fixture.h"

TestSuite(remove, .timeout = 120);

static void removed(struct pvt_client *c, const char *key, long long files, long long names)
{
    pvt_assert_ok(c);
    cr_assert_str_eq(pvt_text(c->final, "key"), key);
    cr_assert_eq(pvt_number(c->final, "files"), files);
    cr_assert_eq(pvt_number(c->final, "names"), names);
    pvt_client_free(c);
}

static void left(struct pvt_server *s, size_t files, size_t names)
{
    struct pvt_client *c = pvt_ask(s, json_pack("{s:s}", "op", "ls"));
    size_t named = 0;
    pvt_assert_ok(c);
    for (size_t i = 0; i < c->event_count; i++)
        named += json_object_get(c->events[i], "name") != NULL;
    cr_assert_eq(named, names);
    cr_assert_eq(c->event_count - named, files, "without a name");
    pvt_client_free(c);
}

Test(remove, by_key_with_all_names)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, "a", "text");
    pvt_store_text(s, "b", "text");
    pvt_store_text(s, "other", "other");
    removed(pvt_ask_target(s, "rm", key.hex), key.hex, 1, 2);
    left(s, 0, 1);
    pvt_refused(pvt_ask_target(s, "rm", key.hex), PV_EXIT_NOT_FOUND, "not found");
    pvt_refused(pvt_ask_target(s, "rm", "a"), PV_EXIT_NOT_FOUND, "not found");
    removed(pvt_ask_target(s, "rm", "other"), pvt_key_of("other", 5).hex, 1, 1);
    left(s, 0, 0);
    pvt_server_free(s);
}

Test(remove, by_name_until_the_last)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, "a", "text");
    pvt_store_text(s, "b", "text");
    pvt_store_text(s, "c", "text");
    removed(pvt_ask_target(s, "rm", "b"), key.hex, 0, 1);
    left(s, 0, 2);
    removed(pvt_ask_target(s, "rm", "a"), key.hex, 0, 1);
    removed(pvt_ask_target(s, "rm", "c"), key.hex, 1, 1);
    left(s, 0, 0);
    pvt_server_free(s);
}

Test(remove, by_prefix_removes_that_file_only)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pv_id a = {{1, 2, 3, 4, 0x10}}, b = {{1, 2, 3, 4, 0x20}};
    struct pv_id rid;
    char hex[PV_ID_HEX_LEN + 1];
    pvt_put_inline(pvt_me(s), &a, "a", &rid);
    pvt_put_inline(pvt_me(s), &b, "b", &rid);
    pvt_refused(pvt_ask_target(s, "rm", "01020304"), PV_EXIT_USAGE, "ambiguous");
    left(s, 2, 0);
    pv_id_hex(hex, &a);
    removed(pvt_ask_target(s, "rm", "010203041"), hex, 1, 0);
    left(s, 1, 0);
    pvt_server_free(s);
}

/* More than one round takes. */
Test(remove, a_file_with_very_many_names)
{
    enum { NAMES = 400 };
    struct pvt_server *s = pvt_server_new(1);
    char name[32];
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "name %d", i);
        pvt_store_text(s, name, "text");
    }
    struct pvt_key key = pvt_key_of("text", 4);
    removed(pvt_ask_target(s, "rm", key.hex), key.hex, 1, NAMES);
    left(s, 0, 0);
    cr_assert_eq(pvt_counts(pvt_me(s)).files, 0);
    cr_assert_eq(pvt_counts(pvt_me(s)).names, 0);
    pvt_server_free(s);
}

/* rm KEY means the content: the shared file and every private copy of it. */
Test(remove, all_copies_of_a_content)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, "shared", "text");
    for (int i = 0; i < 3; i++) {
        struct pvt_client *c =
            pvt_begin_store(s,
                            json_pack("{s:b, s:b, s:o*}", "private", 1, "wait", 0, "name",
                                      i == 0 ? json_string("mine") : NULL),
                            "text", 4);
        pvt_settle(&s->net);
        pvt_assert_ok(c);
        pvt_client_free(c);
    }
    removed(pvt_ask_target(s, "rm", key.hex), key.hex, 4, 2);
    left(s, 0, 0);
    pvt_refused(pvt_ask_target(s, "get", key.hex), PV_EXIT_NOT_FOUND, "not found");
    pvt_server_free(s);
}

Test(remove, malformed_requests_and_a_wrong_clock)
{
    struct pvt_server *s = pvt_server_new(1);
    pvt_refused(pvt_ask(s, json_pack("{s:s}", "op", "rm")), PV_EXIT_USAGE, "malformed");
    pvt_refused(pvt_ask_target(s, "rm", ""), PV_EXIT_USAGE, "malformed");
    pvt_store_text(s, "name", "text");
    pvt_me(s)->env.wall_ms = 1000;
    pvt_refused(pvt_ask_target(s, "rm", "name"), PV_EXIT_UNAVAILABLE, "clock");
    pvt_me(s)->env.wall_ms = UINT64_C(1790000000000) + 1000;
    pvt_server_free(s);
}

Test(remove, what_is_bound_later_stays)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, "name", "text");
    struct pvt_client *c = pvt_begin(
        s, json_pack("{s:s, s:s}", "op", "rm", "target", key.hex)); /* its clock is taken now */
    struct pv_id sha256, rid;
    pv_sha256(sha256.b, "text", 4);
    pvt_put_inline(pvt_me(s), &sha256, "text", &rid);
    pvt_put_name_under(pvt_me(s), pv_keyring_active(&pvt_me(s)->keyring), "name", &sha256, &rid);
    pvt_settle(&s->net);
    removed(c, key.hex, 0, 0);
    left(s, 0, 1);
    pvt_server_free(s);
}

/* A removal that no other member knows of must not count as known to all: a node that was away for
 * very long takes their records for its own, but keeps those. */
Test(remove, is_pending_until_a_member_has_it)
{
    struct pvt_server *s = pvt_server_new(2);
    pvt_store_text(s, "name", "text");
    pvt_connect(&s->net, 0, 1);
    pvt_advance(&s->net, 20000);
    cr_assert_eq(pvt_counts(pvt_me(s)).pending, 0);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).names, 1);
    pvt_cut(&s->net, 0, 1);
    pvt_settle(&s->net);
    pvt_client_free(pvt_ask_target(s, "rm", "name"));
    pvt_advance(&s->net, 20000);
    cr_assert_eq(pvt_counts(pvt_me(s)).pending, 2, "the name and the file");
    pvt_node_stop(pvt_me(s)); /* it is remembered */
    pvt_node_start(pvt_me(s));
    pvt_connect(&s->net, 0, 1);
    pvt_advance(&s->net, 20000);
    cr_assert_eq(pvt_counts(pvt_me(s)).pending, 0);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).names, 0);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).files, 0);
    cr_assert(pvt_same_digest(pvt_me(s), &s->net.nodes[1]));
    pvt_server_free(s);
}

Test(remove, cancelled_after_every_step)
{
    struct pvt_server *s = pvt_server_new(1);
    for (uint64_t steps = 0, more = 1; more != 0; steps++) {
        struct pvt_key key = pvt_store_text(s, "a", "text");
        pvt_store_text(s, "b", "text");
        struct pvt_client *c = pvt_begin(s, json_pack("{s:s, s:s}", "op", "rm", "target", key.hex));
        more = pvt_steps(&s->net, steps);
        pvt_cancel(c);
        pvt_settle(&s->net);
        pvt_client_free(c);
        left(s, 0, 0); /* a round that began is finished, and here one is enough */
    }
    pvt_server_free(s);
}

Test(remove, out_of_memory_anywhere)
{
    struct pvt_server *s = pvt_server_new(1);
    unsigned failed = 0;
    for (uint64_t k = 0; k < 60; k++) {
        struct pvt_key key = pvt_store_text(s, "a", "text");
        json_t *args = json_pack("{s:s, s:s}", "op", "rm", "target", key.hex);
        pv_mem_fail_after(k);
        struct pvt_client *c = pvt_begin(s, args);
        for (int i = 0; c->is_open && i < 1000 && pvt_step(&s->net); i++)
            continue;
        pv_mem_fail_after(UINT64_MAX);
        pvt_settle(&s->net);
        cr_assert_not(c->is_open);
        if (!c->lost && pvt_ok(c))
            left(s, 0, 0);
        else
            failed++;
        pvt_client_free(c);
        pvt_client_free(pvt_ask_target(s, "rm", key.hex));
        left(s, 0, 0);
    }
    cr_assert_gt(failed, 5);
    pvt_server_free(s);
}

/* ---- in a cluster ---- */

Test(remove, everywhere)
{
    struct pvt_server *s = pvt_server_new(3);
    struct pvt_key key = pvt_store_text(s, "name", "text");
    pvt_advance(&s->net, 60000);
    cr_assert_eq(pvt_counts(&s->net.nodes[2]).files, 1);
    removed(pvt_ask_target(s, "rm", "name"), key.hex, 1, 1);
    pvt_advance(&s->net, 60000);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(pvt_counts(&s->net.nodes[i]).files, 0);
        cr_assert_eq(pvt_counts(&s->net.nodes[i]).names, 0);
    }
    cr_assert(pvt_all_agree(&s->net));
    pvt_server_free(s);
}

/* While nobody else has the record, and again at every step of its publishing. */
Test(remove, while_the_record_is_pending)
{
    uint8_t *bytes = pvt_content(4, 200000);
    struct pvt_key key = pvt_key_of(bytes, 200000);
    for (uint64_t steps = 0; steps < 80; steps += 1 + steps / 8) {
        struct pvt_server *s = pvt_server_new(2);
        pvt_cut(&s->net, 0, 1);
        pvt_settle(&s->net);
        struct pvt_client *c =
            pvt_begin_store(s, json_pack("{s:s, s:i}", "name", "name", "copies", 2), bytes, 200000);
        pvt_settle(&s->net);
        cr_assert_eq(pvt_counts(pvt_me(s)).pending, 2);
        if (steps > 0)
            pvt_connect(&s->net, 0, 1);
        pvt_steps(&s->net, steps);
        struct pvt_client *rm =
            pvt_begin(s, json_pack("{s:s, s:s}", "op", "rm", "target", key.hex));
        pvt_settle(&s->net);
        removed(rm, key.hex, 1, 1);
        if (steps == 0) {
            cr_assert_eq(pvt_counts(pvt_me(s)).pending, 2, "the removal");
            pvt_connect(&s->net, 0, 1);
        }
        pvt_wait(s, 60000);
        cr_assert_not(c->is_open, "whoever waits for copies is answered");
        cr_assert_eq(pvt_counts(pvt_me(s)).pending, 0);
        pvt_client_free(c);
        cr_assert_eq(pvt_counts(&s->net.nodes[1]).files, 0);
        cr_assert_eq(pvt_counts(&s->net.nodes[1]).names, 0);
        cr_assert(pvt_all_agree(&s->net));
        pvt_server_free(s);
    }
    free(bytes);
}
