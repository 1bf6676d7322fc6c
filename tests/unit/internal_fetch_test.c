#include "internal/node/fetch_private.h"
#include "tests/unit/internal_script_fixture.h"

__attribute__((weak)) atomic_int pvt_fatal_count;

TestSuite(fetch, .timeout = 120);

struct wish { /* one who fetches */
    struct pv_fetch f;
    size_t ended;
    enum pv_err err;
    uint8_t *bytes;
};

static void ended(struct pv_fetch *f, enum pv_err err, uint8_t *bytes)
{
    struct wish *w = f->ctx;
    cr_assert_eq(bytes != NULL, err == PV_OK);
    w->ended++;
    w->err = err;
    w->bytes = bytes;
}

static void wish_start(struct pvt_host *h, struct wish *w, const struct pvt_blob *b)
{
    *w = (struct wish){.f = {.id = b->id, .size = (uint32_t)b->len, .kind = PV_BLOB_CHUNK}};
    w->f.done = ended;
    w->f.ctx = w;
    pv_fetch_start(h->node, &w->f);
    cr_assert_eq(w->ended, 0, "never from inside start");
}

static bool granted(struct wish *w, const struct pvt_blob *b)
{
    bool same = w->ended == 1 && w->err == PV_OK && memcmp(w->bytes, b->bytes, b->len) == 0;
    pv_free(w->bytes);
    w->bytes = NULL;
    return same;
}

/* ---- the test is the holder ---- */

struct wanting {
    struct pvt_net *net;
    struct pvt_host *h;
    struct pvt_script s[3];
    struct pvt_blob b;
    struct wish w;
    struct pv_want wants[PV_MSG_WANTS_MAX];
    struct pv_id ids[PV_MSG_IDS_MAX];
    uint32_t request;
    size_t left_over; /* wanted until the node is freed */
};

static struct wanting *wanting_new(size_t holders, size_t payload_len)
{
    struct wanting *t = calloc(1, sizeof *t);
    t->net = pvt_net_new(1);
    t->h = &t->net->host[0];
    t->b = pvt_sealed(1, payload_len);
    for (size_t i = 0; i < holders; i++)
        pvt_script_init(&t->s[i], t->net, t->h, (uint8_t)(i + 1));
    return t;
}

static void wanting_free(struct wanting *t)
{
    for (size_t i = 0; i < PV_COUNT(t->s); i++)
        if (t->s[i].net != NULL && !pvt_script_dropped(&t->s[i]))
            pvt_cut(t->net, t->s[i].link);
    pvt_net_run(t->net);
    pvt_assert_idle(t->h);
    cr_expect_eq(t->h->node->fetches->wanted.count, t->left_over);
    pvt_blob_free(&t->b);
    pvt_net_free(t->net);
    free(t);
}

/* The next GET, and its answer: found or not. */
static size_t answer(struct wanting *t, size_t who, bool found)
{
    size_t count = pvt_script_get_ids(&t->s[who], PV_MSG_GET, &t->request, t->ids);
    if (count > 0)
        pvt_script_ids(&t->s[who], found ? PV_MSG_FOUND : PV_MSG_NOT_FOUND, t->request, t->ids,
                       count);
    return count;
}

static struct pv_want next_fetch(struct wanting *t, size_t who)
{
    cr_assert_eq(pvt_script_wants(&t->s[who], PV_MSG_FETCH, t->wants), 1);
    cr_assert_eq(t->wants[0].stream & 1, 0);
    return t->wants[0];
}

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

/* ---- holders that fail ---- */

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

Test(fetch, holder_dies_and_the_next_goes_on)
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

Test(fetch, holder_falls_silent_and_the_next_goes_on)
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
Test(fetch, a_stream_waits_for_its_turn_but_not_for_ever)
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

Test(fetch, holder_is_slow_and_the_next_goes_on)
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

Test(fetch, only_holder_may_be_slow)
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

Test(fetch, holder_resets_and_the_next_goes_on)
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

Test(fetch, only_holder_is_tried_again_but_not_for_ever)
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

Test(fetch, wrong_bytes_from_one_good_ones_from_the_other)
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

Test(fetch, wrong_bytes_from_everybody)
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

Test(fetch, mixed_bytes_that_are_wrong_blame_nobody)
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

Test(fetch, blob_of_another_length)
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

Test(fetch, cancel_at_every_point)
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

Test(fetch, left_over_when_the_node_closes)
{
    struct wanting *t = wanting_new(2, 200000);
    (void)begin(t, 60000);
    t->left_over = 1;
    wanting_free(t);
}

/* ---- manners ---- */

Test(fetch, answers_to_what_was_not_asked)
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

Test(fetch, stream_without_end)
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

Test(fetch, get_is_answered_in_both_ways)
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

Test(fetch, gets_to_the_limit_and_one_past_it)
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
