#include "tests/unit/internal_client_fixture.h"

TestSuite(status, .timeout = 60);

static struct pvt_client *ask(struct pvt_server *s, const char *op)
{
    return pvt_ask(s, json_pack("{s:s}", "op", op));
}

Test(status, counts_of_a_node_alone)
{
    struct pvt_server *s = pvt_server_new(1);
    char id[PV_NODE_TEXT_LEN];
    pvt_store_text(s, "name", "text");
    struct pvt_client *c = ask(s, "status");
    pvt_assert_ok(c);
    pv_node_id_format(id, &pvt_me(s)->identity.node_id);
    cr_assert_str_eq(pvt_text(c->final, "node"), id);
    cr_assert_eq(pvt_number(c->final, "files"), 1);
    cr_assert_eq(pvt_number(c->final, "names"), 1);
    cr_assert_eq(pvt_number(c->final, "pending"), 0);
    cr_assert_eq(pvt_number(c->final, "members"), 1);
    cr_assert_eq(pvt_number(c->final, "connected"), 0);
    cr_assert_eq(pvt_number(c->final, "mem_used_bytes"), 0);
    cr_assert(json_is_true(json_object_get(c->final, "healthy")));
    pvt_client_free(c);
    c = ask(s, "peers");
    cr_assert_eq(json_array_size(json_object_get(c->final, "peers")), 0);
    pvt_client_free(c);
    pvt_refused(ask(s, "no such thing"), PV_EXIT_USAGE, "unknown operation");
    pvt_server_free(s);
}

Test(status, of_a_cluster)
{
    struct pvt_server *s = pvt_server_new(3);
    struct pvt_client *c = ask(s, "status");
    cr_assert_eq(pvt_number(c->final, "members"), 3);
    cr_assert_eq(pvt_number(c->final, "connected"), 2);
    cr_assert_eq(pvt_number(c->final, "in_sync"), 2);
    pvt_client_free(c);
    pvt_cut(&s->net, 0, 2);
    pvt_settle(&s->net);
    c = ask(s, "status");
    cr_assert_eq(pvt_number(c->final, "members"), 3);
    cr_assert_eq(pvt_number(c->final, "connected"), 1);
    pvt_client_free(c);

    c = ask(s, "peers");
    const json_t *peers = json_object_get(c->final, "peers");
    char here[PV_NODE_TEXT_LEN], away[PV_NODE_TEXT_LEN];
    pv_node_id_format(here, &s->net.nodes[1].identity.node_id);
    pv_node_id_format(away, &s->net.nodes[2].identity.node_id);
    cr_assert_eq(json_array_size(peers), 2);
    const json_t *p = json_array_get(peers, 0), *q = json_array_get(peers, 1);
    cr_assert_str_eq(pvt_text(p, "node"), here);
    cr_assert_str_eq(pvt_text(p, "state"), "connected");
    cr_assert_str_eq(pvt_text(p, "role"), "keyed");
    cr_assert_str_eq(pvt_text(p, "address"), "test:1");
    cr_assert(json_is_true(json_object_get(p, "dialled")));
    cr_assert(json_is_true(json_object_get(p, "in_sync")));
    cr_assert_null(json_object_get(p, "rtt_ms"), "never measured");
    cr_assert_eq(pvt_number(p, "connected_s"), 60);
    cr_assert_eq(pvt_number(p, "skew_ms"), 0);
    cr_assert_str_eq(pvt_text(q, "node"), away);
    cr_assert_str_eq(pvt_text(q, "state"), "absent");
    pvt_client_free(c);
    pvt_server_free(s);
}

static void say_more(void *arg, json_t *status)
{
    json_object_set_new(status, "files", json_string("overwritten"));
    json_object_set_new(status, "version", json_integer(*(int *)arg));
}

Test(status, the_server_adds_its_own)
{
    struct pvt_server *s = pvt_server_new(1);
    s->files->config.describe_status = say_more;
    int version = 12;
    s->files->config.arg = &version;
    struct pvt_client *c = ask(s, "status");
    cr_assert_eq(pvt_number(c->final, "version"), 12);
    cr_assert_eq(pvt_number(c->final, "files"), 0);
    pvt_client_free(c);
    pvt_server_free(s);
}

Test(status, cancelled_and_out_of_memory)
{
    static const char *const ops[] = {"status", "peers"};
    struct pvt_server *s = pvt_server_new(2);
    for (uint64_t steps = 0, more = 1; more != 0; steps++) {
        struct pvt_client *c = pvt_begin(s, json_pack("{s:s}", "op", "status"));
        more = pvt_steps(&s->net, steps);
        pvt_cancel(c);
        pvt_settle(&s->net);
        pvt_client_free(c);
    }
    for (size_t i = 0; i < PV_COUNT(ops); i++) {
        struct pvt_client *whole = ask(s, ops[i]);
        unsigned failed = 0;
        for (uint64_t k = 0; k < 80; k++) {
            json_t *args = json_pack("{s:s}", "op", ops[i]);
            pv_mem_fail_after(k);
            struct pvt_client *c = pvt_begin(s, args);
            for (int step = 0; c->is_open && step < 100 && pvt_step(&s->net); step++)
                continue;
            pv_mem_fail_after(UINT64_MAX);
            pvt_settle(&s->net);
            cr_assert_not(c->is_open);
            if (c->lost || !pvt_ok(c))
                failed++;
            else
                cr_assert_eq(json_object_size(c->final), json_object_size(whole->final));
            pvt_client_free(c);
        }
        cr_assert_gt(failed, 10);
        pvt_client_free(whole);
    }
    pvt_server_free(s);
}

static struct pvt_client *ask_copies(struct pvt_server *s)
{
    return pvt_ask(s, json_pack("{s:s, s:b}", "op", "status", "copies", 1));
}

Test(status, blobs_with_too_few_copies)
{
    struct pvt_server *s = pvt_server_new(2);
    uint8_t *bytes = calloc(1, 50000);
    struct pvt_client *c = ask(s, "status");
    cr_assert_null(json_object_get(c->final, "under_replicated"), "nobody asked");
    pvt_client_free(c);
    pvt_cut(&s->net, 0, 1);
    pvt_settle(&s->net);
    c = pvt_begin_store(s, json_pack("{s:s, s:b}", "op", "store", "wait", 0), bytes, 50000);
    pvt_settle(&s->net);
    pvt_assert_ok(c);
    pvt_client_free(c);
    c = ask_copies(s);
    cr_assert_eq(pvt_number(c->final, "blobs"), 1);
    cr_assert_eq(pvt_number(c->final, "under_replicated"), 1);
    pvt_client_free(c);
    pvt_connect(&s->net, 0, 1);
    pvt_advance(&s->net, 60000);
    c = ask_copies(s);
    cr_assert_eq(pvt_number(c->final, "under_replicated"), 0);
    pvt_client_free(c);
    for (uint64_t steps = 0, more = 1; more != 0; steps++) {
        c = pvt_begin(s, json_pack("{s:s, s:b}", "op", "status", "copies", 1));
        more = pvt_steps(&s->net, steps);
        pvt_cancel(c);
        pvt_settle(&s->net);
        pvt_client_free(c);
    }
    free(bytes);
    pvt_server_free(s);
}

/* Root writes where others may not; a folder that is gone stops it too. */
Test(status, a_vault_that_cannot_be_written)
{
    struct pvt_server *s = pvt_server_new(1);
    char *tmp = NULL, *away = NULL;
    cr_assert_geq(asprintf(&tmp, "%s/tmp", pvt_me(s)->vault_path), 0);
    cr_assert_geq(asprintf(&away, "%s/tmp.away", pvt_me(s)->vault_path), 0);
    cr_assert_eq(rename(tmp, away), 0);
    struct pvt_client *c = ask(s, "status");
    pvt_assert_ok(c);
    cr_assert(json_is_false(json_object_get(c->final, "healthy")));
    const json_t *problems = json_object_get(c->final, "problems");
    cr_assert_eq(json_array_size(problems), 1);
    cr_assert_str_eq(pvt_text(json_array_get(problems, 0), "text"),
                     "the vault cannot be written: not found");
    pvt_client_free(c);
    cr_assert_eq(rename(away, tmp), 0);
    c = ask(s, "status");
    cr_assert(json_is_true(json_object_get(c->final, "healthy")));
    cr_assert_eq(json_array_size(json_object_get(c->final, "problems")), 0);
    pvt_client_free(c);
    free(tmp);
    free(away);
    pvt_server_free(s);
}

/* ---- ping ---- */

static struct pvt_client *ping(struct pvt_server *s, const char *node, int count)
{
    return pvt_ask(s, json_pack("{s:s, s:s, s:i}", "op", "ping", "node", node, "count", count));
}

static struct pvt_key id_of(struct pvt_server *s, unsigned node)
{
    struct pvt_key hex;
    pv_id_hex(hex.hex, &s->net.nodes[node].identity.node_id);
    return hex;
}

/* The harness tells the node of a pong; a server would tell the files too. */
static void pong(struct pvt_server *s, pv_link link)
{
    pvt_files_due(pvt_me(s));
    pvt_settle(&s->net);
    pv_cluster_pong(s->cluster, link, 7);
}

Test(status, ping_a_few_times)
{
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_client *c = ping(s, id_of(s, 1).hex, 3);
    for (size_t i = 1; i <= 3; i++) {
        pong(s, 1);
        cr_assert_eq(c->event_count, i);
        cr_assert_str_eq(pvt_text(c->events[i - 1], "event"), "pong");
        cr_assert_eq(pvt_number(c->events[i - 1], "rtt_ms"), 7);
        pong(s, 1);
        cr_assert_eq(c->event_count, i, "one answer to each");
        pong(s, 99);
        pvt_wait(s, 1000);
    }
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "sent"), 3);
    cr_assert_eq(pvt_number(c->final, "received"), 3);
    pvt_client_free(c);

    char text[PV_NODE_TEXT_LEN];
    pv_node_id_format(text, &s->net.nodes[1].identity.node_id);
    c = pvt_ask(s, json_pack("{s:s, s:s}", "op", "ping", "node", text));
    pong(s, 1);
    pvt_wait(s, 100);
    pvt_assert_ok(c);
    pvt_client_free(c);
    pvt_server_free(s);
}

Test(status, ping_without_an_answer)
{
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_client *c = ping(s, id_of(s, 1).hex, 3);
    pvt_wait(s, 4900);
    cr_assert(c->is_open);
    pvt_wait(s, 200);
    pvt_refused(c, PV_EXIT_UNAVAILABLE, "no answer");

    c = ping(s, id_of(s, 1).hex, 3);
    pong(s, 1);
    pvt_wait(s, 6200);
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "sent"), 2);
    cr_assert_eq(pvt_number(c->final, "received"), 1);
    pvt_client_free(c);
    pvt_server_free(s);
}

Test(status, ping_and_the_link_goes_down)
{
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_client *c[4];
    for (size_t i = 0; i < 4; i++)
        c[i] = ping(s, id_of(s, 1).hex, 3);
    pvt_files_due(pvt_me(s));
    pvt_cancel(c[1]);
    pv_cluster_link_down(s->cluster, 99);
    cr_assert(c[0]->is_open);
    pv_cluster_link_down(s->cluster, 1);
    for (size_t i = 0; i < 4; i++) {
        if (i == 1)
            pvt_client_free(c[i]);
        else
            pvt_refused(c[i], PV_EXIT_UNAVAILABLE, "no answer");
    }
    cr_assert_eq(pv_files_deadline_ms(s->files), UINT64_MAX);

    struct pvt_client *d = ping(s, id_of(s, 1).hex, 3); /* the node finds out by itself */
    pvt_cut(&s->net, 0, 1);
    pvt_settle(&s->net);
    pvt_wait(s, 5200);
    pvt_refused(d, PV_EXIT_UNAVAILABLE, "no answer");
    pvt_refused(ping(s, id_of(s, 1).hex, 1), PV_EXIT_UNAVAILABLE, "no such peer");
    pvt_server_free(s);
}

Test(status, ping_whom)
{
    struct pvt_server *s = pvt_server_new(3);
    char hex[PV_ID_HEX_LEN + 1];
    pvt_refused(ping(s, "", 1), PV_EXIT_USAGE, "malformed");
    pvt_refused(ping(s, id_of(s, 1).hex, 0), PV_EXIT_USAGE, "malformed");
    pvt_refused(ping(s, id_of(s, 1).hex, -1), PV_EXIT_USAGE, "malformed");
    pvt_refused(ping(s, id_of(s, 1).hex, 1001), PV_EXIT_USAGE, "malformed");
    pvt_refused(pvt_ask(s, json_pack("{s:s, s:i}", "op", "ping", "node", 7)), PV_EXIT_USAGE,
                "malformed");
    pvt_refused(ping(s, id_of(s, 0).hex, 1), PV_EXIT_UNAVAILABLE, "no such peer");
    pvt_refused(ping(s, "zz", 1), PV_EXIT_UNAVAILABLE, "no such peer");
    snprintf(hex, sizeof hex, "%.10s", id_of(s, 2).hex);
    struct pvt_client *c = ping(s, hex, 1);
    cr_assert(c->is_open);
    pvt_cancel(c);
    pvt_client_free(c);
    char texts[2][PV_NODE_TEXT_LEN];
    size_t common = 0;
    for (unsigned i = 0; i < 2; i++)
        pv_node_id_format(texts[i], &s->net.nodes[i + 1].identity.node_id);
    while (texts[0][common] == texts[1][common])
        common++;
    if (common > 0) { /* what all ids begin with */
        texts[0][common] = '\0';
        pvt_refused(ping(s, texts[0], 1), PV_EXIT_USAGE, "ambiguous");
    }
    pvt_server_free(s);
}
