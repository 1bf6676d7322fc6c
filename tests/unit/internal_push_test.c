#include "tests/unit/internal_script_fixture.h"

__attribute__((weak)) atomic_int pvt_fatal_count;

TestSuite(push, .timeout = 120);

/* ---- between nodes ---- */

static void push_to(size_t nodes, size_t count)
{
    struct pvt_net *net = pvt_net_new(nodes);
    struct pvt_blob *blobs = pvt_blobs_new(count);
    pvt_put_many(&net->host[0], blobs, count);
    pvt_mesh(net);
    for (size_t i = 0; i < nodes; i++)
        pvt_net_advance(net, PV_PUSH_RANK_MS);
    for (size_t i = 0; i < nodes; i++) {
        struct pvt_host *h = &net->host[i];
        cr_expect_eq(pvt_count_here(h, blobs, count), count);
        cr_expect_eq(h->bodies_in, i == 0 ? 0 : count, "each blob travels once to each node");
        for (size_t k = 0; k < nodes; k++)
            if (k != i)
                cr_expect_eq(pvt_count_held(h, &net->host[k], blobs, count), count);
        pvt_assert_idle(h);
    }
    pvt_blobs_free(blobs, count);
    pvt_net_free(net);
}

Test(push, one_blob_to_one_peer)
{
    push_to(2, 1);
}

Test(push, hundred_blobs_to_one_peer)
{
    push_to(2, 100);
}

Test(push, many_blobs_to_one_peer)
{
    push_to(2, 1500);
}

Test(push, hundred_blobs_to_two_peers)
{
    push_to(3, 100);
}

Test(push, many_blobs_to_two_peers)
{
    push_to(3, 1500);
}

Test(push, new_blobs_follow_a_kick)
{
    struct pvt_net *net = pvt_net_new(2);
    struct pvt_blob *blobs = pvt_blobs_new(20);
    pvt_mesh(net);
    for (size_t i = 0; i < 20; i++) {
        pvt_put_many(&net->host[i & 1], &blobs[i], 1);
        pvt_net_run(net);
        cr_assert_eq(pvt_count_here(&net->host[~i & 1], &blobs[i], 1), 1);
    }
    pvt_assert_idle(&net->host[0]);
    pvt_assert_idle(&net->host[1]);
    pvt_blobs_free(blobs, 20);
    pvt_net_free(net);
}

Test(push, both_sides_have_the_same)
{
    struct pvt_net *net = pvt_net_new(2);
    struct pvt_blob *blobs = pvt_blobs_new(300);
    pvt_put_many(&net->host[0], blobs, 300);
    pvt_put_many(&net->host[1], blobs, 300);
    pvt_mesh(net);
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(net->host[i].bodies_in, 0);
        cr_expect_eq(pvt_count_held(&net->host[i], &net->host[1 - i], blobs, 300), 300);
        pvt_assert_idle(&net->host[i]);
    }
    pvt_blobs_free(blobs, 300);
    pvt_net_free(net);
}

Test(push, inbound_budget_of_one_blob)
{
    struct pvt_net *net = calloc(1, sizeof *net);
    pv_crypto_init();
    net->mono_ms = 1000;
    net->steps_left = SIZE_MAX;
    struct pvt_blob *blobs = pvt_blobs_new(400);
    for (size_t i = 0; i < 3; i++) {
        struct pvt_host *h = pvt_host_new(net);
        h->inbound_bytes = i == 2 ? PV_BLOB_LEN_MAX : h->inbound_bytes;
        pvt_host_start(h);
    }
    pvt_net_run(net);
    pvt_put_many(&net->host[0], blobs, 200);
    pvt_put_many(&net->host[1], blobs + 200, 200);
    pvt_connect(net, &net->host[2], &net->host[0]);
    pvt_connect(net, &net->host[2], &net->host[1]);
    pvt_net_run(net);
    pvt_net_advance(net, PV_PUSH_RANK_MS);
    cr_expect_eq(pvt_count_here(&net->host[2], blobs, 400), 400);
    cr_expect_eq(net->host[2].bodies_in, 400);
    cr_expect_leq(net->host[2].node->push->inbound.peak_bytes, PV_BLOB_LEN_MAX);
    for (size_t i = 0; i < 3; i++)
        pvt_assert_idle(&net->host[i]);
    pvt_blobs_free(blobs, 400);
    pvt_net_free(net);
}

Test(push, budgets_below_one_blob_are_refused)
{
    struct pvt_net *net = pvt_net_new(1);
    struct pv_node_config config = *pv_node_config(net->host[0].node);
    struct pv_node *n;
    config.inbound_bytes = PV_BLOB_LEN_MAX - 1;
    cr_expect_eq(pv_node_new(&n, &config), PV_E_INVALID);
    config.inbound_bytes = PV_BLOB_LEN_MAX;
    config.outbound_bytes = PV_PUSH_SLICE - 1;
    cr_expect_eq(pv_node_new(&n, &config), PV_E_INVALID);
    pvt_net_free(net);
}

/* Blobs for one round of a test that makes the same accident happen at ever later steps. */
static void fresh_blobs(struct pvt_blob blobs[static 6], size_t round)
{
    for (uint32_t i = 0; i < 6; i++) {
        pvt_blob_free(&blobs[i]);
        blobs[i] = pvt_sealed((uint32_t)round * 6 + i, i < 4 ? 5000 : 400000);
    }
}

/* The link is cut after k steps, for every k that is not the end; then comes another. */
Test(push, session_lost_at_every_step)
{
    struct pvt_net *net = pvt_net_new(2);
    struct pvt_blob blobs[6] = {{.len = 0}};
    bool ended = false;
    for (size_t k = 1; !ended; k++) {
        fresh_blobs(blobs, k);
        pvt_put_many(&net->host[0], blobs, 4);
        pvt_put_many(&net->host[1], blobs + 4, 2);
        pv_link link = pvt_connect(net, &net->host[0], &net->host[1]);
        net->steps_left = k;
        pvt_net_run(net);
        ended = net->steps_left > 0;
        net->steps_left = SIZE_MAX;
        pvt_cut(net, link);
        pvt_net_run(net);
        pvt_net_advance(net, PV_PUSH_KEEP_MS);
        for (size_t i = 0; i < 2; i++)
            pvt_assert_idle(&net->host[i]);
        link = pvt_connect(net, &net->host[0], &net->host[1]);
        pvt_net_run(net);
        for (size_t i = 0; i < 2; i++) {
            cr_assert_eq(pvt_count_here(&net->host[i], blobs, 6), 6, "after step %zu", k);
            cr_assert_eq(pvt_count_held(&net->host[i], &net->host[1 - i], blobs, 6), 6);
            pvt_assert_idle(&net->host[i]);
        }
        pvt_cut(net, link);
        pvt_net_run(net);
        cr_assert_lt(k, 200);
    }
    for (size_t i = 0; i < 6; i++)
        pvt_blob_free(&blobs[i]);
    pvt_net_free(net);
}

/* The receiving node is closed after k steps. */
Test(push, closed_at_every_step)
{
    struct pvt_net *net = pvt_net_new(2);
    struct pvt_blob blobs[6] = {{.len = 0}};
    bool ended = false;
    for (size_t k = 1; !ended; k++) {
        fresh_blobs(blobs, k);
        pvt_put_many(&net->host[k & 1], blobs, 6);
        pv_link link = pvt_connect(net, &net->host[0], &net->host[1]);
        net->steps_left = k;
        pvt_net_run(net);
        ended = net->steps_left > 0;
        net->steps_left = SIZE_MAX;
        pvt_host_stop(&net->host[0]);
        pvt_conn_of(net, link)->up = false;
        pvt_host_start(&net->host[0]);
        pvt_net_run(net);
        pvt_net_advance(net, PV_PUSH_KEEP_MS);
        pvt_assert_idle(&net->host[1]);
        cr_assert_lt(k, 200);
    }
    for (size_t i = 0; i < 6; i++)
        pvt_blob_free(&blobs[i]);
    pvt_net_free(net);
}

Test(push, memory_runs_out_anywhere)
{
    struct pvt_net *net = pvt_net_new(2);
    struct pvt_blob blobs[6] = {{.len = 0}};
    pv_link link = 0;
    for (uint64_t k = 0; k < 250; k++) {
        fresh_blobs(blobs, k);
        if (link == 0 || !pvt_conn_of(net, link)->up)
            link = pvt_connect(net, &net->host[0], &net->host[1]);
        pvt_net_run(net);
        pvt_put_many(&net->host[0], blobs, 6);
        pv_mem_fail_after(k);
        pvt_net_run(net);
        pv_mem_fail_after(UINT64_MAX);
        if (!pvt_conn_of(net, link)->up) /* dropped for it */
            link = pvt_connect(net, &net->host[0], &net->host[1]);
        pvt_net_run(net);
        pvt_net_advance(net, PV_PUSH_AGAIN_MS);
        pvt_net_advance(net, PV_PUSH_AGAIN_MS);
        cr_assert_eq(pvt_count_here(&net->host[1], blobs, 6), 6, "allocation %u", (unsigned)k);
        pvt_assert_idle(&net->host[0]);
        pvt_assert_idle(&net->host[1]);
    }
    for (size_t i = 0; i < 6; i++)
        pvt_blob_free(&blobs[i]);
    pvt_net_free(net);
}

/* ---- bad bytes ---- */

Test(push, corrupt_body_is_refused_and_comes_again)
{
    struct pvt_net *net = pvt_net_new(2);
    struct pvt_blob *blobs = pvt_blobs_new(10);
    net->host[1].corrupt = 3;
    pvt_put_many(&net->host[0], blobs, 10);
    pvt_mesh(net);
    cr_expect_eq(pvt_count_here(&net->host[1], blobs, 10), 7);
    cr_expect_eq(pvt_count_held(&net->host[0], &net->host[1], blobs, 10), 7);
    cr_expect(pvt_log_has(&net->host[1].v->log, "a peer sent a bad blob"));
    pvt_assert_idle(&net->host[0]);
    pvt_assert_idle(&net->host[1]);
    pvt_net_advance(net, PV_PUSH_AGAIN_MS);
    cr_expect_eq(pvt_count_here(&net->host[1], blobs, 10), 10);
    cr_expect_eq(pvt_count_held(&net->host[0], &net->host[1], blobs, 10), 10);
    pvt_blobs_free(blobs, 10);
    pvt_net_free(net);
}

static void damage(struct pvt_host *h, const struct pvt_blob *b)
{
    char path[400], name[PV_BLOB_PATH_LEN + 1];
    pv_blob_path(name, &b->id);
    snprintf(path, sizeof path, "%s/%s", h->v->path, name);
    FILE *f = fopen(path, "r+b");
    cr_assert_not_null(f);
    fseek(f, 5000, SEEK_SET);
    fputc(b->bytes[5000] ^ 1, f);
    fclose(f);
}

Test(push, damaged_copy_is_found_and_repaired)
{
    struct pvt_net *net = pvt_net_new(3);
    struct pvt_blob b = pvt_sealed(1, 200000);
    pvt_put_many(&net->host[0], &b, 1);
    pvt_connect(net, &net->host[0], &net->host[1]);
    pvt_net_run(net);
    cr_assert_eq(pvt_count_here(&net->host[1], &b, 1), 1);
    damage(&net->host[0], &b);
    pvt_connect(net, &net->host[0], &net->host[2]);
    for (size_t i = 0; i < 3; i++)
        pvt_net_advance(net, PV_PUSH_RANK_MS);
    cr_expect(pvt_log_has(&net->host[0].v->log, "a stored blob is damaged"));
    cr_expect(pvt_log_has(&net->host[0].v->log, "a damaged blob was fetched again"));
    cr_expect_eq(pvt_count_here(&net->host[0], &b, 1), 1);
    cr_expect_eq(pvt_count_here(&net->host[2], &b, 1), 1);
    for (size_t i = 0; i < 3; i++)
        pvt_assert_idle(&net->host[i]);
    pvt_blob_free(&b);
    pvt_net_free(net);
}

Test(push, damaged_copy_without_another)
{
    struct pvt_net *net = pvt_net_new(2);
    struct pvt_blob b = pvt_sealed(1, 200000);
    pvt_put_many(&net->host[0], &b, 1);
    damage(&net->host[0], &b);
    pvt_mesh(net);
    pvt_net_advance(net, PV_BLOB_SILENCE_MS);
    cr_expect(pvt_log_has(&net->host[0].v->log, "a damaged blob has no other copy in reach"));
    cr_expect_eq(pvt_count_here(&net->host[1], &b, 1), 0);
    pvt_assert_idle(&net->host[0]);
    pvt_assert_idle(&net->host[1]);
    pvt_blob_free(&b);
    pvt_net_free(net);
}

/* ---- the node offers, the test answers ---- */

static size_t next_offers(struct pvt_script *s, struct pv_offer offers[static PV_MSG_IDS_MAX])
{
    struct pvt_frame *f = pvt_script_next(s, PV_MSG_STORE);
    size_t count = 0;
    if (f == NULL)
        return 0;
    struct pv_rd r = pv_rd_of(f->bytes, f->len);
    cr_assert_eq(pv_msg_get_store(&r, offers, &count), PV_OK);
    free(f);
    return count;
}

struct offering { /* a node with blobs, the test as its peer */
    struct pvt_net *net;
    struct pvt_host *h;
    struct pvt_script s;
    struct pvt_blob *blobs;
    size_t count;
    struct pv_offer offers[PV_MSG_IDS_MAX];
};

static struct offering *offering_new(size_t count, size_t payload_len)
{
    struct offering *o = calloc(1, sizeof *o);
    o->net = pvt_net_new(1);
    o->h = &o->net->host[0];
    o->count = count;
    o->blobs = calloc(count, sizeof *o->blobs);
    for (size_t i = 0; i < count; i++)
        o->blobs[i] = pvt_sealed((uint32_t)i, payload_len);
    pvt_put_many(o->h, o->blobs, count);
    pvt_script_init(&o->s, o->net, o->h, 1);
    return o;
}

static void offering_free(struct offering *o)
{
    if (!pvt_script_dropped(&o->s))
        pvt_cut(o->net, o->s.link);
    pvt_net_run(o->net);
    pvt_assert_idle(o->h);
    pvt_blobs_free(o->blobs, o->count);
    pvt_net_free(o->net);
    free(o);
}

Test(push, offers_stop_at_the_limit_and_go_on_with_answers)
{
    struct offering *o = offering_new(1500, 300);
    struct pv_id ids[PV_MSG_IDS_MAX];
    size_t open = 0, n, all = 0;
    while ((n = next_offers(&o->s, o->offers)) > 0) {
        for (size_t i = 0; i < n; i++)
            ids[open + i] = o->offers[i].id;
        open += n;
        cr_assert_leq(open, PV_PUSH_OFFERED_MAX);
    }
    cr_assert_eq(open, PV_PUSH_OFFERED_MAX);
    pvt_script_stored(&o->s, ids, open);
    for (all = open; (n = next_offers(&o->s, o->offers)) > 0; all += n)
        for (size_t i = 0; i < n; i++)
            pvt_script_stored(&o->s, &o->offers[i].id, 1);
    cr_expect_eq(all, 1500);
    pvt_assert_idle(o->h);
    offering_free(o);
}

Test(push, full_holds_offers_back_until_the_next_walk)
{
    struct offering *o = offering_new(600, 300);
    cr_assert_eq(next_offers(&o->s, o->offers), PV_WALK_ROWS);
    for (size_t n; (n = next_offers(&o->s, o->offers)) > 0;)
        continue;
    pvt_script_ids(&o->s, PV_MSG_FULL, 0, &o->blobs[0].id, 1);
    pvt_script_ids(&o->s, PV_MSG_FULL, 0, &o->blobs[1].id, 1);
    struct pvt_blob more = pvt_sealed(9999, 300);
    pvt_put_many(o->h, &more, 1);
    pvt_net_run(o->net);
    cr_expect_eq(next_offers(&o->s, o->offers), 0, "nothing while the peer is full");
    pvt_net_advance(o->net, PV_PUSH_AGAIN_MS);
    size_t offered = next_offers(&o->s, o->offers);
    cr_expect_eq(offered, 2);
    cr_expect_eq(next_offers(&o->s, o->offers), 1);
    cr_expect(pv_id_equal(&o->offers[0].id, &more.id));
    pvt_blob_free(&more);
    offering_free(o);
}

Test(push, want_of_part_and_of_what_is_not_here)
{
    struct offering *o = offering_new(1, 300000);
    const struct pvt_blob *b = &o->blobs[0];
    struct pv_id unknown = {{1}};
    size_t at = 1000;
    pvt_script_want(&o->s, PV_MSG_WANT, &b->id, (uint32_t)at, 7);
    for (bool fin = false; !fin;) {
        struct pvt_frame *f = pvt_script_next(&o->s, 0);
        cr_assert_not_null(f);
        cr_assert_eq(f->stream, 7);
        cr_assert_leq(at + f->len, b->len);
        cr_assert_arr_eq(f->bytes, b->bytes + at, f->len);
        at += f->len;
        fin = f->type == PV_STREAM_FIN;
        free(f);
    }
    cr_expect_eq(at, b->len);
    pvt_script_want(&o->s, PV_MSG_FETCH, &unknown, 0, 8);
    struct pvt_frame *f = pvt_script_next(&o->s, 0);
    cr_assert_not_null(f);
    cr_expect_eq(f->type, PV_STREAM_RST);
    cr_expect_eq(f->stream, 8);
    free(f);
    pvt_script_want(&o->s, PV_MSG_FETCH, &b->id, (uint32_t)b->len, 8); /* nothing is left there */
    f = pvt_script_next(&o->s, 0);
    cr_assert_not_null(f);
    cr_expect_eq(f->type, PV_STREAM_RST);
    free(f);
    offering_free(o);
}

Test(push, cancel_ends_the_stream_with_rst)
{
    struct offering *o = offering_new(1, 900000);
    struct pvt_frame *f;
    uint8_t last = 0;
    size_t frames = 0;
    cr_assert_eq(next_offers(&o->s, o->offers), 1);
    pvt_script_want(&o->s, PV_MSG_WANT, &o->blobs[0].id, 0, 1);
    pvt_script_cancel(&o->s, 1);
    pvt_script_cancel(&o->s, 1); /* no longer open: nothing */
    for (; (f = pvt_script_next(&o->s, 0)) != NULL; frames++) {
        last = f->type;
        free(f);
    }
    cr_expect_eq(last, PV_STREAM_RST);
    cr_expect_leq(frames, 4);
    pvt_assert_idle(o->h);
    offering_free(o);
}

Test(push, streams_to_the_limit_and_one_past_it)
{
    struct offering *o = offering_new(1, 200000);
    for (uint32_t i = 0; i < PV_STREAMS_MAX; i++) {
        pvt_script_want(&o->s, PV_MSG_WANT, &o->blobs[0].id, 0, 2 * i + 1);
        pvt_script_want(&o->s, PV_MSG_FETCH, &o->blobs[0].id, 0, 2 * i + 2);
    }
    cr_expect_not(pvt_script_dropped(&o->s));
    cr_expect_leq(o->h->node->push->outbound.used_bytes, PV_PUSH_OUT_BYTES + PV_PUSH_SLICE);
    pvt_script_want(&o->s, PV_MSG_WANT, &o->blobs[0].id, 0, 1001);
    cr_expect(pvt_script_dropped(&o->s));
    offering_free(o);
}

Test(push, one_stream_number_twice)
{
    struct offering *o = offering_new(1, 900000);
    pvt_script_want(&o->s, PV_MSG_WANT, &o->blobs[0].id, 0, 1);
    pvt_script_want(&o->s, PV_MSG_WANT, &o->blobs[0].id, 0, 1);
    cr_expect(pvt_script_dropped(&o->s));
    offering_free(o);
}

/* Peers that read nothing hold what they can; one that reads gets everything all the same. */
Test(push, slow_peers_do_not_hold_others)
{
    struct pvt_net *net = pvt_net_new(2);
    struct pvt_host *h = &net->host[0];
    struct pvt_blob *blobs = calloc(12, sizeof *blobs);
    struct pvt_script *slow = calloc(10, sizeof *slow);
    h->node->config.replicas = PV_MEMBERS_MAX; /* every blob for everybody */
    for (uint32_t i = 0; i < 12; i++)
        blobs[i] = pvt_sealed(i, 900000);
    pvt_put_many(h, blobs, 12);
    for (uint8_t i = 0; i < 10; i++) {
        pvt_script_init(&slow[i], net, h, i);
        pvt_script_want(&slow[i], PV_MSG_FETCH, &blobs[0].id, 0, 2);
        pvt_script_want(&slow[i], PV_MSG_FETCH, &blobs[1].id, 0, 4);
        pvt_script_want(&slow[i], PV_MSG_FETCH, &blobs[2].id, 0, 6);
    }
    cr_expect_leq(h->node->push->outbound.used_bytes, h->outbound_bytes);
    pvt_connect(net, h, &net->host[1]);
    pvt_net_run(net);
    for (size_t i = 0; i < 10; i++)
        pvt_net_advance(net, PV_PUSH_STALL_MS);
    cr_expect_eq(pvt_count_here(&net->host[1], blobs, 12), 12);
    for (uint32_t i = 0; i < 10; i++) { /* and the slow ones lose nothing */
        size_t got[3] = {0};
        struct pvt_frame *f;
        while ((f = pvt_script_next(&slow[i], 0)) != NULL) {
            const struct pvt_blob *b = &blobs[f->stream / 2 - 1];
            cr_assert_arr_eq(f->bytes, b->bytes + got[f->stream / 2 - 1], f->len);
            got[f->stream / 2 - 1] += f->len;
            free(f);
        }
        for (size_t k = 0; k < 3; k++)
            cr_expect_eq(got[k], blobs[k].len);
        pvt_cut(net, slow[i].link);
    }
    pvt_net_run(net);
    pvt_assert_idle(h);
    cr_expect_leq(h->node->push->outbound.peak_bytes, h->outbound_bytes);
    pvt_blobs_free(blobs, 12);
    free(slow);
    pvt_net_free(net);
}

Test(push, bad_messages_end_the_session)
{
    static const uint8_t types[] = {PV_MSG_STORE, PV_MSG_WANT,  PV_MSG_FETCH,     PV_MSG_FULL,
                                    PV_MSG_GET,   PV_MSG_FOUND, PV_MSG_NOT_FOUND, PV_MSG_CANCEL};
    for (size_t i = 0; i < PV_COUNT(types); i++) {
        struct offering *o = offering_new(1, 300);
        struct pv_wr w = pvt_script_wr(&o->s);
        pv_wr_u8(&w, types[i]);
        pv_wr_u8(&w, 1);
        pvt_script_send(&o->s, &w);
        cr_expect(pvt_script_dropped(&o->s), "%s", pv_msg_name(types[i]));
        offering_free(o);
    }
    struct offering *o = offering_new(1, 300);
    struct pv_wr w = pvt_script_wr(&o->s);
    pv_msg_put_error(&w, 77, "whatever");
    pvt_script_send(&o->s, &w);
    cr_expect_not(pvt_script_dropped(&o->s));
    w = pvt_script_wr(&o->s);
    pv_msg_put_error(&w, PV_ERROR_BAD_BLOB, "no id");
    pvt_script_send(&o->s, &w);
    cr_expect(pvt_script_dropped(&o->s));
    offering_free(o);
}
