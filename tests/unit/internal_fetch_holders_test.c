/* Holders that fail, and their manners. */
#include "tests/unit/internal_fetch_fixture.h"

TestSuite(fetch_holders, .timeout = 120);

/* Both have it; the first to answer begins to send. */
static struct pv_want begin(struct wanting *t, size_t bytes)
{
    wish_start(t->h, &t->w, &t->b);
    pvt_net_run(t->net);
    cr_assert_eq(answer(t, 0, true), 1);
    cr_assert_eq(answer(t, 1, true), 1);
    struct pv_want want = next_fetch(t, 0);
    cr_assert_eq(pvt_script_wants(&t->s[1], PV_MSG_FETCH, t->wants), 0);
    if (bytes > 0)
        pvt_script_data(&t->s[0], want.stream, 0, t->b.bytes, bytes);
    return want;
}

Test(fetch_holders, holder_dies_and_the_next_goes_on)
{
    struct wanting *t = wanting_new(2, 200000);
    (void)begin(t, 60000);
    pvt_cut(t->net, t->s[0].link);
    pvt_net_run(t->net);
    struct pv_want want = next_fetch(t, 1);
    cr_expect_eq(want.offset, 60000);
    pvt_script_body(&t->s[1], want.stream, &t->b, 60000);
    cr_expect(granted(&t->w, &t->b));
    wanting_free(t);
}

Test(fetch_holders, holder_falls_silent_and_the_next_goes_on)
{
    struct wanting *t = wanting_new(2, 200000);
    struct pv_want first = begin(t, 60000);
    pvt_net_advance(t->net, PV_BLOB_SILENCE_MS - 1);
    cr_expect_eq(pvt_script_wants(&t->s[1], PV_MSG_FETCH, t->wants), 0);
    pvt_net_advance(t->net, 1);
    struct pvt_frame *f = pvt_script_next(&t->s[0], PV_MSG_CANCEL);
    cr_expect_not_null(f);
    free(f);
    struct pv_want want = next_fetch(t, 1);
    cr_expect_eq(want.offset, 60000);
    pvt_script_data(&t->s[0], first.stream, 0, t->b.bytes + 60000, 1000); /* was under way */
    pvt_script_data(&t->s[0], first.stream, PV_STREAM_RST, NULL, 0);
    pvt_script_body(&t->s[1], want.stream, &t->b, 60000);
    cr_expect(granted(&t->w, &t->b));
    cr_expect_not(pvt_script_dropped(&t->s[0]));
    wanting_free(t);
}

/* Streams of a holder take turns, so one that brings nothing is not silent while others do. */
Test(fetch_holders, a_stream_waits_for_its_turn_but_not_for_ever)
{
    enum { STEP_MS = 1000 };
    struct wanting *t = wanting_new(1, 200000);
    size_t pos = 0;
    wish_start(t->h, &t->w, &t->b);
    pvt_net_run(t->net);
    cr_assert_eq(answer(t, 0, true), 1);
    struct pv_want want = next_fetch(t, 0);
    pvt_script_data(&t->s[0], want.stream, 0, t->b.bytes, 60000);
    struct pv_peer *p = pv_node_next_peer(t->h->node, &pos);
    for (unsigned ms = 0; ms + STEP_MS < PV_FETCH_STALL_MS; ms += STEP_MS) {
        pvt_net_advance(t->net, STEP_MS);
        p->fetch->last_data_ms = pv_node_now(t->h->node);
    }
    pvt_net_advance(t->net, STEP_MS - 1);
    cr_expect_null(pvt_script_next(&t->s[0], PV_MSG_CANCEL));
    pvt_net_advance(t->net, 1);
    struct pvt_frame *f = pvt_script_next(&t->s[0], PV_MSG_CANCEL);
    cr_expect_not_null(f);
    free(f);
    pvt_script_data(&t->s[0], want.stream, PV_STREAM_RST, NULL, 0);
    want = next_fetch(t, 0); /* there is no other holder */
    cr_expect_eq(want.offset, 60000);
    pvt_script_body(&t->s[0], want.stream, &t->b, 60000);
    cr_expect(granted(&t->w, &t->b));
    wanting_free(t);
}

/* A few bytes now and then: enough not to be silent. */
static size_t trickle(struct wanting *t, uint32_t stream)
{
    size_t at = 60000;
    for (uint64_t ms = 0; ms < PV_FETCH_SLOW_MS; ms += PV_BLOB_SILENCE_MS / 2) {
        pvt_script_data(&t->s[0], stream, 0, t->b.bytes + at++, 1);
        pvt_net_advance(t->net, PV_BLOB_SILENCE_MS / 2);
    }
    return at;
}

Test(fetch_holders, holder_is_slow_and_the_next_goes_on)
{
    struct wanting *t = wanting_new(2, 200000);
    struct pv_want first = begin(t, 60000);
    size_t at = trickle(t, first.stream);
    struct pv_want want = next_fetch(t, 1);
    cr_expect_eq(want.offset, at);
    pvt_script_body(&t->s[1], want.stream, &t->b, at);
    cr_expect(granted(&t->w, &t->b));
    wanting_free(t);
}

Test(fetch_holders, only_holder_may_be_slow)
{
    struct wanting *t = wanting_new(1, 200000);
    wish_start(t->h, &t->w, &t->b);
    pvt_net_run(t->net);
    cr_assert_eq(answer(t, 0, true), 1);
    struct pv_want want = next_fetch(t, 0);
    pvt_script_data(&t->s[0], want.stream, 0, t->b.bytes, 60000);
    size_t at = trickle(t, want.stream);
    cr_expect_eq(t->w.ended, 0);
    pvt_script_body(&t->s[0], want.stream, &t->b, at);
    cr_expect(granted(&t->w, &t->b));
    wanting_free(t);
}

Test(fetch_holders, holder_resets_and_the_next_goes_on)
{
    struct wanting *t = wanting_new(2, 200000);
    struct pv_want want = begin(t, 60000);
    pvt_script_data(&t->s[0], want.stream, PV_STREAM_RST, NULL, 0);
    want = next_fetch(t, 1);
    cr_expect_eq(want.offset, 60000);
    pvt_script_body(&t->s[1], want.stream, &t->b, 60000);
    cr_expect(granted(&t->w, &t->b));
    wanting_free(t);
}

Test(fetch_holders, only_holder_is_tried_again_but_not_for_ever)
{
    struct wanting *t = wanting_new(1, 200000);
    wish_start(t->h, &t->w, &t->b);
    pvt_net_run(t->net);
    cr_assert_eq(answer(t, 0, true), 1);
    for (size_t i = 0; i < PV_FETCH_TRIES_MAX; i++) {
        struct pv_want want = next_fetch(t, 0);
        pvt_script_data(&t->s[0], want.stream, PV_STREAM_RST, NULL, 0);
    }
    cr_expect_eq(pvt_script_wants(&t->s[0], PV_MSG_FETCH, t->wants), 0);
    pvt_net_advance(t->net, PV_BLOB_SILENCE_MS);
    cr_expect_eq(t->w.ended, 1);
    cr_expect_eq(t->w.err, PV_E_UNAVAILABLE);
    wanting_free(t);
}

Test(fetch_holders, wrong_bytes_from_one_good_ones_from_the_other)
{
    struct wanting *t = wanting_new(2, 200000);
    struct pv_want want = begin(t, 0);
    t->b.bytes[77] ^= 1;
    pvt_script_body(&t->s[0], want.stream, &t->b, 0);
    t->b.bytes[77] ^= 1;
    struct pvt_frame *f = pvt_script_next(&t->s[0], PV_MSG_ERROR);
    cr_expect_not_null(f, "so that it checks its copy");
    free(f);
    cr_expect(pvt_log_has(&t->h->v->log, "a peer sent a bad blob"));
    want = next_fetch(t, 1);
    cr_expect_eq(want.offset, 0);
    pvt_script_body(&t->s[1], want.stream, &t->b, 0);
    cr_expect(granted(&t->w, &t->b));
    wanting_free(t);
}

Test(fetch_holders, wrong_bytes_from_everybody)
{
    struct wanting *t = wanting_new(2, 200000);
    struct pv_want want = begin(t, 0);
    t->b.bytes[77] ^= 1;
    pvt_script_body(&t->s[0], want.stream, &t->b, 0);
    want = next_fetch(t, 1);
    pvt_script_body(&t->s[1], want.stream, &t->b, 0);
    pvt_net_advance(t->net, PV_BLOB_SILENCE_MS);
    cr_expect_eq(t->w.err, PV_E_UNAVAILABLE);
    cr_expect_eq(pvt_script_wants(&t->s[0], PV_MSG_FETCH, t->wants), 0, "not asked again");
    cr_expect_eq(pvt_script_wants(&t->s[1], PV_MSG_FETCH, t->wants), 0);
    wanting_free(t);
}

Test(fetch_holders, mixed_bytes_that_are_wrong_blame_nobody)
{
    struct wanting *t = wanting_new(2, 200000);
    t->b.bytes[77] ^= 1;
    (void)begin(t, 60000);
    t->b.bytes[77] ^= 1;
    pvt_cut(t->net, t->s[0].link);
    pvt_net_run(t->net);
    struct pv_want want = next_fetch(t, 1);
    pvt_script_body(&t->s[1], want.stream, &t->b, 60000);
    cr_expect_not(pvt_log_has(&t->h->v->log, "a peer sent a bad blob"));
    want = next_fetch(t, 1);
    cr_expect_eq(want.offset, 0);
    pvt_script_body(&t->s[1], want.stream, &t->b, 0);
    cr_expect(granted(&t->w, &t->b));
    wanting_free(t);
}

Test(fetch_holders, blob_of_another_length)
{
    struct wanting *t = wanting_new(2, 100000);
    struct pv_want want = begin(t, 60000);
    pvt_script_data(&t->s[0], want.stream, 0, t->b.bytes, t->b.len - 60000 + 1); /* too long */
    cr_expect_not(pvt_script_dropped(&t->s[0]), "nobody told it how long it is");
    want = next_fetch(t, 1);
    cr_expect_eq(want.offset, 0);
    pvt_script_data(&t->s[1], want.stream, PV_STREAM_FIN, t->b.bytes, 60000); /* too short */
    pvt_net_advance(t->net, PV_BLOB_SILENCE_MS);
    cr_expect_eq(t->w.err, PV_E_UNAVAILABLE);
    wanting_free(t);
}

Test(fetch_holders, cancel_at_every_point)
{
    struct wanting *t = wanting_new(1, 200000);
    for (size_t point = 0; point < 5; point++) {
        wish_start(t->h, &t->w, &t->b);
        if (point > 0)
            pvt_net_run(t->net);
        if (point > 1)
            cr_assert_eq(answer(t, 0, true), 1);
        if (point > 2) {
            struct pv_want want = next_fetch(t, 0);
            pvt_script_data(&t->s[0], want.stream, 0, t->b.bytes, 65000);
            if (point > 3) { /* while it is verified */
                t->net->steps_left = 0;
                for (size_t at = 65000; at < t->b.len; at += 65000)
                    pvt_script_data(&t->s[0], want.stream, at + 65000 >= t->b.len, t->b.bytes + at,
                                    at + 65000 < t->b.len ? 65000 : t->b.len - at);
                t->net->steps_left = SIZE_MAX;
            }
        }
        pv_fetch_cancel(t->h->node, &t->w.f);
        pvt_net_run(t->net);
        cr_expect_eq(t->w.ended, 0);
        cr_expect_eq(t->h->node->fetches->wanted.count, 0);
        pvt_cut(t->net, t->s[0].link);
        pvt_net_run(t->net);
        pvt_script_init(&t->s[0], t->net, t->h, (uint8_t)(point + 2));
    }
    cr_expect_not(pvt_has_blob(t->h->v, &t->b));
    wanting_free(t);
}

Test(fetch_holders, left_over_when_the_node_closes)
{
    struct wanting *t = wanting_new(2, 200000);
    (void)begin(t, 60000);
    t->left_over = 1;
    wanting_free(t);
}

/* ---- manners ---- */

Test(fetch_holders, answers_to_what_was_not_asked)
{
    for (size_t i = 0; i < 4; i++) {
        struct wanting *t = wanting_new(1, 300);
        struct pv_id ids[2] = {t->b.id, {{9}}};
        wish_start(t->h, &t->w, &t->b);
        pvt_net_run(t->net);
        cr_assert_eq(pvt_script_get_ids(&t->s[0], PV_MSG_GET, &t->request, t->ids), 1);
        if (i == 0) /* another request */
            pvt_script_ids(&t->s[0], PV_MSG_FOUND, t->request + 1, ids, 1);
        else if (i == 1) /* more than was asked */
            pvt_script_ids(&t->s[0], PV_MSG_FOUND, t->request, ids, 2);
        else if (i == 2) /* nothing */
            pvt_script_ids(&t->s[0], PV_MSG_FOUND, t->request, ids, 0);
        else /* a stream */
            pvt_script_data(&t->s[0], 2, 0, t->b.bytes, 10);
        cr_expect(pvt_script_dropped(&t->s[0]));
        pv_fetch_cancel(t->h->node, &t->w.f);
        wanting_free(t);
    }
}

Test(fetch_holders, stream_without_end)
{
    struct wanting *t = wanting_new(1, 300);
    wish_start(t->h, &t->w, &t->b);
    pvt_net_run(t->net);
    answer(t, 0, true);
    struct pv_want want = next_fetch(t, 0);
    uint8_t *junk = calloc(1, PV_STREAM_DATA_MAX);
    for (size_t i = 0; i < PV_BLOB_LEN_MAX / PV_STREAM_DATA_MAX; i++)
        pvt_script_data(&t->s[0], want.stream, 0, junk, PV_STREAM_DATA_MAX);
    cr_expect_not(pvt_script_dropped(&t->s[0]));
    pvt_script_data(&t->s[0], want.stream, 0, junk, PV_STREAM_DATA_MAX);
    cr_expect(pvt_script_dropped(&t->s[0]));
    free(junk);
    pv_fetch_cancel(t->h->node, &t->w.f);
    wanting_free(t);
}

Test(fetch_holders, get_is_answered_in_both_ways)
{
    struct wanting *t = wanting_new(1, 300);
    pvt_put_many(t->h, &t->b, 1);
    struct pv_id ids[2] = {{{9}}, t->b.id};
    pvt_script_ids(&t->s[0], PV_MSG_GET, 77, ids, 2);
    struct pv_id got[PV_MSG_IDS_MAX];
    cr_assert_eq(pvt_script_get_ids(&t->s[0], PV_MSG_FOUND, &t->request, got), 1);
    cr_expect_eq(t->request, 77);
    cr_expect(pv_id_equal(&got[0], &ids[1]));
    cr_assert_eq(pvt_script_get_ids(&t->s[0], PV_MSG_NOT_FOUND, &t->request, got), 1);
    cr_expect_eq(t->request, 77);
    cr_expect(pv_id_equal(&got[0], &ids[0]));
    pvt_script_ids(&t->s[0], PV_MSG_GET, 78, ids, 0);
    cr_expect(pvt_script_dropped(&t->s[0]), "a GET for nothing");
    wanting_free(t);
}

Test(fetch_holders, gets_to_the_limit_and_one_past_it)
{
    struct wanting *t = wanting_new(1, 300);
    t->net->steps_left = 0; /* so that none is answered meanwhile */
    for (uint32_t i = 0; i < PV_FETCH_GETS_MAX; i++)
        pvt_script_ids(&t->s[0], PV_MSG_GET, i, &t->b.id, 1);
    cr_expect_not(pvt_script_dropped(&t->s[0]));
    pvt_script_ids(&t->s[0], PV_MSG_GET, 9, &t->b.id, 1);
    cr_expect(pvt_script_dropped(&t->s[0]));
    t->net->steps_left = SIZE_MAX;
    wanting_free(t);
}
