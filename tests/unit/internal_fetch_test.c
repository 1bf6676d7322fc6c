#include "tests/unit/internal_fetch_fixture.h"

__attribute__((weak)) atomic_int pvt_fatal_count;

TestSuite(fetch, .timeout = 120);

Test(fetch, found_and_delivered_and_kept)
{
    struct wanting *t = wanting_new(1, 200000);
    wish_start(t->h, &t->w, &t->b);
    pvt_net_run(t->net);
    cr_assert_eq(answer(t, 0, true), 1);
    struct pv_want want = next_fetch(t, 0);
    cr_expect(pv_id_equal(&want.id, &t->b.id));
    cr_expect_eq(want.offset, 0);
    pvt_script_body(&t->s[0], want.stream, &t->b, 0);
    cr_expect(granted(&t->w, &t->b));
    cr_expect(pvt_has_blob(t->h->v, &t->b));
    pv_fetch_cancel(t->h->node, &t->w.f); /* after the end: nothing */
    wanting_free(t);
}

Test(fetch, many_are_asked_for_in_one_message)
{
    enum { COUNT = PV_MSG_IDS_MAX + 10 };
    struct wanting *t = wanting_new(1, 300);
    struct wish *wishes = calloc(COUNT, sizeof *wishes);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct pvt_blob b = {.len = 1000};
        memcpy(b.id.b, &i, sizeof i);
        wish_start(t->h, &wishes[i], &b);
    }
    pvt_net_run(t->net);
    cr_expect_eq(answer(t, 0, false), PV_MSG_IDS_MAX);
    cr_expect_eq(answer(t, 0, false), 10);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(wishes[i].ended, 1);
        cr_assert_eq(wishes[i].err, PV_E_NOT_FOUND);
    }
    free(wishes);
    wanting_free(t);
}

Test(fetch, unanswered_gets_are_limited)
{
    struct wanting *t = wanting_new(1, 300);
    struct wish wishes[PV_FETCH_GETS_MAX + 2];
    for (uint32_t i = 0; i < PV_COUNT(wishes); i++) {
        struct pvt_blob b = {.len = 1000, .id = {{(uint8_t)i}}};
        wish_start(t->h, &wishes[i], &b);
        pvt_net_run(t->net);
    }
    for (size_t i = 0; i < PV_FETCH_GETS_MAX; i++)
        cr_assert_eq(pvt_script_get_ids(&t->s[0], PV_MSG_GET, &t->request, t->ids), 1);
    cr_expect_eq(pvt_script_get_ids(&t->s[0], PV_MSG_GET, &t->request, t->ids), 0);
    pvt_script_ids(&t->s[0], PV_MSG_NOT_FOUND, t->request, t->ids, 1);
    cr_expect_eq(pvt_script_get_ids(&t->s[0], PV_MSG_GET, &t->request, t->ids), 2, "the rest");
    for (size_t i = 0; i < PV_COUNT(wishes); i++)
        pv_fetch_cancel(t->h->node, &wishes[i].f);
    wanting_free(t);
}

Test(fetch, two_who_want_one_blob_share_the_transfer)
{
    struct wanting *t = wanting_new(1, 200000);
    struct wish second;
    wish_start(t->h, &t->w, &t->b);
    wish_start(t->h, &second, &t->b);
    pvt_net_run(t->net);
    cr_assert_eq(answer(t, 0, true), 1);
    struct pv_want want = next_fetch(t, 0);
    pvt_script_body(&t->s[0], want.stream, &t->b, 0);
    cr_expect(granted(&t->w, &t->b));
    cr_expect(granted(&second, &t->b));
    cr_expect_eq(pvt_script_wants(&t->s[0], PV_MSG_FETCH, t->wants), 0);
    wanting_free(t);
}

Test(fetch, size_that_no_blob_has)
{
    static const size_t lens[] = {PV_BLOB_LEN_MAX + 1, PV_BLOB_LEN_MIN - 1, 0};
    struct wanting *t = wanting_new(1, 300);
    struct pvt_blob b = t->b;
    for (size_t i = 0; i < PV_COUNT(lens); i++) {
        b.len = lens[i];
        wish_start(t->h, &t->w, &b);
        pvt_net_run(t->net);
        cr_expect_eq(t->w.ended, 1);
        cr_expect_eq(t->w.err, PV_E_NOT_FOUND);
    }
    wish_start(t->h, &t->w, &b);
    pv_fetch_cancel(t->h->node, &t->w.f);
    pvt_net_run(t->net);
    cr_expect_eq(t->w.ended, 0);
    wanting_free(t);
}

/* Tree nodes: nobody knows how long they are before they came. */
Test(fetch, length_is_a_bound)
{
    struct wanting *t = wanting_new(1, 200000);
    struct wish any, fewer, late;
    struct pvt_blob b = t->b;
    wish_start(t->h, &t->w, &b);
    b.len = t->b.len - 1;
    wish_start(t->h, &fewer, &b);
    b.len = PV_BLOB_LEN_MAX;
    wish_start(t->h, &any, &b);
    pvt_net_run(t->net);
    cr_assert_eq(answer(t, 0, true), 1);
    struct pv_want want = next_fetch(t, 0);
    pvt_script_data(&t->s[0], want.stream, 0, t->b.bytes, 60000);
    wish_start(t->h, &late, &t->b);
    pvt_script_body(&t->s[0], want.stream, &t->b, 60000);
    cr_expect(granted(&t->w, &t->b));
    cr_expect(granted(&any, &t->b));
    cr_expect(granted(&late, &t->b));
    cr_expect_eq(any.f.size, t->b.len);
    cr_expect_eq(fewer.ended, 1);
    cr_expect_eq(fewer.err, PV_E_NOT_FOUND);
    wanting_free(t);
}

Test(fetch, bound_grows_during_the_transfer)
{
    struct wanting *t = wanting_new(1, 200000);
    struct wish any;
    struct pvt_blob b = t->b;
    b.len = 100000;
    wish_start(t->h, &t->w, &b);
    pvt_net_run(t->net);
    cr_assert_eq(answer(t, 0, true), 1);
    struct pv_want want = next_fetch(t, 0);
    pvt_script_data(&t->s[0], want.stream, 0, t->b.bytes, 60000);
    b.len = PV_BLOB_LEN_MAX;
    wish_start(t->h, &any, &b);
    pvt_script_body(&t->s[0], want.stream, &t->b, 60000);
    cr_expect(granted(&any, &t->b));
    cr_expect_eq(t->w.err, PV_E_NOT_FOUND);
    wanting_free(t);
}

/* ---- nobody has it ---- */

Test(fetch, alone)
{
    struct wanting *t = wanting_new(0, 300);
    wish_start(t->h, &t->w, &t->b);
    pvt_net_run(t->net);
    cr_expect_eq(t->w.ended, 1);
    cr_expect_eq(t->w.err, PV_E_NOT_FOUND);
    wanting_free(t);
}

Test(fetch, every_member_says_no)
{
    struct wanting *t = wanting_new(2, 300);
    wish_start(t->h, &t->w, &t->b);
    pvt_net_run(t->net);
    answer(t, 0, false);
    cr_expect_eq(t->w.ended, 0);
    answer(t, 1, false);
    cr_expect_eq(t->w.ended, 1);
    cr_expect_eq(t->w.err, PV_E_NOT_FOUND);
    wanting_free(t);
}

Test(fetch, a_member_is_away)
{
    struct wanting *t = wanting_new(2, 300);
    pvt_cut(t->net, t->s[1].link);
    wish_start(t->h, &t->w, &t->b);
    pvt_net_run(t->net);
    answer(t, 0, false);
    pvt_net_advance(t->net, PV_BLOB_SILENCE_MS - 1);
    cr_expect_eq(t->w.ended, 0, "it may come back");
    pvt_net_advance(t->net, 1);
    cr_expect_eq(t->w.ended, 1);
    cr_expect_eq(t->w.err, PV_E_UNAVAILABLE);
    wanting_free(t);
}

Test(fetch, a_member_does_not_answer)
{
    struct wanting *t = wanting_new(2, 300);
    wish_start(t->h, &t->w, &t->b);
    pvt_net_run(t->net);
    answer(t, 0, false);
    pvt_net_advance(t->net, PV_BLOB_SILENCE_MS);
    cr_expect_eq(t->w.err, PV_E_UNAVAILABLE);
    wanting_free(t);
}

Test(fetch, a_peer_that_comes_up_is_asked)
{
    struct wanting *t = wanting_new(1, 300);
    wish_start(t->h, &t->w, &t->b);
    pvt_net_run(t->net);
    cr_assert_eq(pvt_script_get_ids(&t->s[0], PV_MSG_GET, &t->request, t->ids), 1);
    pvt_script_init(&t->s[1], t->net, t->h, 2);
    cr_assert_eq(answer(t, 1, true), 1);
    struct pv_want want = next_fetch(t, 1);
    pvt_script_body(&t->s[1], want.stream, &t->b, 0);
    cr_expect(granted(&t->w, &t->b));
    wanting_free(t);
}

/* ---- between nodes ---- */

enum { MANY = 40 };

static struct pvt_net *net_with(struct pvt_blob *blobs, size_t holders)
{
    struct pvt_net *net = pvt_net_new(holders + 1);
    for (size_t i = 1; i <= holders; i++) {
        pvt_put_many(&net->host[i], blobs, MANY);
        pvt_connect(net, &net->host[0], &net->host[i]);
    }
    return net;
}

/* Wants all while push has them on the way, too; every node sees each step of it. */
static void fetch_all(size_t holders, size_t cut_after)
{
    struct pvt_blob *blobs = calloc(MANY, sizeof *blobs);
    struct wish *wishes = calloc(MANY, sizeof *wishes);
    for (uint32_t i = 0; i < MANY; i++)
        blobs[i] = pvt_sealed(i, 150000);
    struct pvt_net *net = net_with(blobs, holders);
    net->steps_left = 8;
    pvt_net_run(net);
    for (size_t i = 0; i < MANY; i++)
        wish_start(&net->host[0], &wishes[i], &blobs[i]);
    net->steps_left = cut_after;
    pvt_net_run(net);
    net->steps_left = SIZE_MAX;
    if (cut_after != SIZE_MAX)
        pvt_cut(net, 1);
    pvt_net_run(net);
    for (size_t i = 0; i < MANY; i++)
        cr_assert(granted(&wishes[i], &blobs[i]), "blob %zu", i);
    for (size_t i = 0; i < net->count; i++)
        pvt_assert_idle(&net->host[i]);
    pvt_blobs_free(blobs, MANY);
    free(wishes);
    pvt_net_free(net);
}

Test(fetch, all_from_one_node)
{
    fetch_all(1, SIZE_MAX);
}

Test(fetch, all_from_three_nodes)
{
    fetch_all(3, SIZE_MAX);
}

Test(fetch, all_while_one_of_three_dies)
{
    for (size_t k = 1; k < 30; k += 7)
        fetch_all(3, k);
}

Test(fetch, several_holders_share_the_work)
{
    struct wanting *t = wanting_new(2, 300);
    struct pvt_blob blobs[8];
    struct wish wishes[8];
    for (uint32_t i = 0; i < 8; i++) {
        blobs[i] = pvt_sealed(i + 10, 300);
        wish_start(t->h, &wishes[i], &blobs[i]);
    }
    pvt_net_run(t->net);
    t->net->steps_left = 0; /* both answers arrive before anything is decided */
    cr_assert_eq(pvt_script_get_ids(&t->s[0], PV_MSG_GET, &t->request, t->ids), 8);
    pvt_script_ids(&t->s[0], PV_MSG_FOUND, t->request, t->ids, 8);
    cr_assert_eq(pvt_script_get_ids(&t->s[1], PV_MSG_GET, &t->request, t->ids), 8);
    pvt_script_ids(&t->s[1], PV_MSG_FOUND, t->request, t->ids, 8);
    t->net->steps_left = SIZE_MAX;
    for (size_t i = 0; i < 4; i++) {
        (void)next_fetch(t, 0);
        (void)next_fetch(t, 1);
    }
    for (size_t i = 0; i < 8; i++) {
        pv_fetch_cancel(t->h->node, &wishes[i].f);
        pvt_blob_free(&blobs[i]);
    }
    wanting_free(t);
}

Test(fetch, a_full_disk_does_not_fail_it)
{
    struct pvt_net *net = pvt_net_new(2);
    struct pvt_blob b = pvt_sealed(1, 200000);
    struct wish w;
    pvt_host_stop(&net->host[1]);
    net->host[1].v->config.disk_limit = 100000;
    pvt_reopen(net->host[1].v);
    pvt_host_start(&net->host[1]);
    pvt_net_run(net);
    pvt_put_many(&net->host[0], &b, 1);
    pvt_mesh(net);
    wish_start(&net->host[1], &w, &b);
    pvt_net_run(net);
    cr_expect(granted(&w, &b));
    cr_expect_not(pvt_has_blob(net->host[1].v, &b));
    pvt_blob_free(&b);
    pvt_net_free(net);
}

Test(fetch, memory_runs_out_anywhere)
{
    struct pvt_net *net = pvt_net_new(2);
    pv_link link = 0;
    for (uint64_t k = 0; k < 120; k++) {
        struct pvt_blob b = pvt_sealed((uint32_t)k, 300000);
        struct wish w;
        if (link == 0 || !pvt_conn_of(net, link)->up)
            link = pvt_connect(net, &net->host[0], &net->host[1]);
        pvt_net_run(net);
        struct pv_commit_op op = pvt_blob_op(&b); /* no kick: push does not know yet */
        cr_assert_eq(pvt_commit(net->host[0].v, &op, 1), PV_OK);
        pv_mem_fail_after(k);
        wish_start(&net->host[1], &w, &b);
        pvt_net_run(net);
        pv_mem_fail_after(UINT64_MAX);
        pvt_net_advance(net, 8 * PV_BLOB_SILENCE_MS);
        cr_assert_eq(w.ended, 1, "allocation %u", (unsigned)k);
        cr_assert(w.err != PV_OK || memcmp(w.bytes, b.bytes, b.len) == 0);
        pv_free(w.bytes);
        pvt_blob_free(&b);
        cr_assert_eq(net->host[1].node->fetches->wanted.count, 0);
    }
    pvt_net_free(net);
}
