#include "tests/unit/internal_script_fixture.h"

__attribute__((weak)) atomic_int pvt_fatal_count;

TestSuite(push_in, .timeout = 120);

/* The test offers, the node takes. */
struct taking {
    struct pvt_net *net;
    struct pvt_host *h;
    struct pvt_script s, other;
    struct pvt_blob b;
    struct pv_want wants[PV_MSG_WANTS_MAX];
    struct pv_id ids[PV_MSG_IDS_MAX];
    uint32_t request;
};

static struct taking *taking_new(size_t payload_len)
{
    struct taking *t = calloc(1, sizeof *t);
    t->net = pvt_net_new(1);
    t->h = &t->net->host[0];
    t->b = pvt_sealed(1, payload_len);
    pvt_script_init(&t->s, t->net, t->h, 1);
    pvt_script_init(&t->other, t->net, t->h, 2);
    return t;
}

static void taking_free(struct taking *t)
{
    if (!pvt_script_dropped(&t->s))
        pvt_cut(t->net, t->s.link);
    if (!pvt_script_dropped(&t->other))
        pvt_cut(t->net, t->other.link);
    pvt_net_run(t->net);
    pvt_net_advance(t->net, PV_PUSH_KEEP_MS);
    pvt_assert_idle(t->h);
    pvt_blob_free(&t->b);
    pvt_net_free(t->net);
    free(t);
}

Test(push_in, offer_want_body_stored)
{
    struct taking *t = taking_new(200000);
    pvt_script_offer(&t->s, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    cr_expect(pv_id_equal(&t->wants[0].id, &t->b.id));
    cr_expect_eq(t->wants[0].offset, 0);
    cr_expect_eq(t->wants[0].stream & 1, 1);
    cr_expect_eq(t->h->node->push->inbound.used_bytes, t->b.len, "reserved before it is asked for");
    pvt_script_body(&t->s, t->wants[0].stream, &t->b, 0);
    cr_assert_eq(pvt_script_get_ids(&t->s, PV_MSG_STORED, NULL, t->ids), 1);
    cr_expect(pv_id_equal(&t->ids[0], &t->b.id));
    cr_expect(pvt_has_blob(t->h->v, &t->b));
    struct pv_blob_info info;
    unsigned bit;
    cr_assert_eq(pv_store_blob(t->h->v->store, &t->b.id, &info), PV_OK);
    cr_assert_eq(pv_store_holder(t->h->v->store, &t->s.identity.node_id, &bit), PV_OK);
    cr_expect_eq(info.held, UINT64_C(1) << bit, "who gave it holds it");
    pvt_script_offer(&t->s, &t->b, 1); /* here already: at once */
    cr_expect_eq(pvt_script_get_ids(&t->s, PV_MSG_STORED, NULL, t->ids), 1);
    taking_free(t);
}

Test(push_in, offered_by_two_comes_once)
{
    struct taking *t = taking_new(200000);
    pvt_script_offer(&t->s, &t->b, 1);
    pvt_script_offer(&t->other, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    uint32_t stream = t->wants[0].stream;
    cr_expect_eq(pvt_script_wants(&t->other, PV_MSG_WANT, t->wants), 0);
    pvt_script_body(&t->s, stream, &t->b, 0);
    cr_expect_eq(pvt_script_get_ids(&t->s, PV_MSG_STORED, NULL, t->ids), 1);
    cr_expect_eq(pvt_script_get_ids(&t->other, PV_MSG_STORED, NULL, t->ids), 1);
    taking_free(t);
}

Test(push_in, second_peer_continues_a_cut_body)
{
    struct taking *t = taking_new(200000);
    pvt_script_offer(&t->s, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    pvt_script_data(&t->s, t->wants[0].stream, 0, t->b.bytes, 50000);
    pvt_cut(t->net, t->s.link);
    pvt_net_run(t->net);
    cr_expect_eq(t->h->node->push->inbound.used_bytes, t->b.len, "kept");
    pvt_script_offer(&t->other, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->other, PV_MSG_WANT, t->wants), 1);
    cr_expect_eq(t->wants[0].offset, 50000);
    pvt_script_body(&t->other, t->wants[0].stream, &t->b, 50000);
    cr_expect_eq(pvt_script_get_ids(&t->other, PV_MSG_STORED, NULL, t->ids), 1);
    cr_expect(pvt_has_blob(t->h->v, &t->b));
    taking_free(t);
}

Test(push_in, kept_body_makes_room_and_expires)
{
    struct taking *t = taking_new(PV_BLOB_PAYLOAD_MAX);
    struct pv_push *push = t->h->node->push;
    struct pvt_blob c = pvt_sealed(2, PV_BLOB_PAYLOAD_MAX);
    pvt_script_offer(&t->s, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    pvt_script_data(&t->s, t->wants[0].stream, 0, t->b.bytes, 50000);
    push->inbound.limit_bytes = PV_BLOB_LEN_MAX;
    pvt_cut(t->net, t->s.link);
    pvt_net_run(t->net);
    cr_expect_eq(push->inbound.used_bytes, PV_BLOB_LEN_MAX);
    pvt_script_offer(&t->other, &c, 1);
    cr_assert_eq(pvt_script_wants(&t->other, PV_MSG_WANT, t->wants), 1);
    cr_expect(pv_id_equal(&t->wants[0].id, &c.id));
    cr_expect_eq(push->incoming.count, 1);
    pvt_script_data(&t->other, t->wants[0].stream, 0, c.bytes, 50000);
    pvt_cut(t->net, t->other.link);
    pvt_net_advance(t->net, PV_PUSH_KEEP_MS - 1);
    cr_expect_eq(push->inbound.used_bytes, PV_BLOB_LEN_MAX);
    pvt_net_advance(t->net, 1);
    cr_expect_eq(push->inbound.used_bytes, 0);
    pvt_blob_free(&c);
    taking_free(t);
}

Test(push_in, mixed_body_that_is_bad_blames_nobody)
{
    struct taking *t = taking_new(200000);
    pvt_script_offer(&t->s, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    t->b.bytes[100] ^= 1;
    pvt_script_data(&t->s, t->wants[0].stream, 0, t->b.bytes, 50000);
    t->b.bytes[100] ^= 1;
    pvt_cut(t->net, t->s.link);
    pvt_script_offer(&t->other, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->other, PV_MSG_WANT, t->wants), 1);
    pvt_script_body(&t->other, t->wants[0].stream, &t->b, 50000);
    cr_assert_eq(pvt_script_wants(&t->other, PV_MSG_WANT, t->wants), 1, "all of it, please");
    cr_expect_eq(t->wants[0].offset, 0);
    cr_expect_not(pvt_log_has(&t->h->v->log, "a peer sent a bad blob"));
    pvt_script_body(&t->other, t->wants[0].stream, &t->b, 0);
    cr_expect_eq(pvt_script_get_ids(&t->other, PV_MSG_STORED, NULL, t->ids), 1);
    taking_free(t);
}

Test(push_in, bad_body_goes_to_the_next_who_offered)
{
    struct taking *t = taking_new(200000);
    char hex[PV_ID_HEX_LEN + 1], text[PV_MSG_TEXT_MAX + 1];
    uint16_t code;
    pvt_script_offer(&t->s, &t->b, 1);
    pvt_script_offer(&t->other, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    t->b.bytes[100] ^= 1;
    pvt_script_body(&t->s, t->wants[0].stream, &t->b, 0);
    t->b.bytes[100] ^= 1;
    struct pvt_frame *f = pvt_script_next(&t->s, PV_MSG_ERROR);
    cr_assert_not_null(f);
    struct pv_rd r = pv_rd_of(f->bytes, f->len);
    cr_assert_eq(pv_msg_get_error(&r, &code, text), PV_OK);
    free(f);
    pv_id_hex(hex, &t->b.id);
    cr_expect_eq(code, PV_ERROR_BAD_BLOB);
    cr_expect_str_eq(text, hex);
    cr_assert_eq(pvt_script_wants(&t->other, PV_MSG_WANT, t->wants), 1);
    cr_expect_eq(t->wants[0].offset, 0);
    pvt_script_body(&t->other, t->wants[0].stream, &t->b, 0);
    cr_expect_eq(pvt_script_get_ids(&t->other, PV_MSG_STORED, NULL, t->ids), 1);
    cr_expect_eq(pvt_script_get_ids(&t->s, PV_MSG_STORED, NULL, t->ids), 0);
    taking_free(t);
}

/* ---- silence ---- */

static uint32_t start_half(struct taking *t)
{
    pvt_script_offer(&t->s, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    pvt_script_data(&t->s, t->wants[0].stream, 0, t->b.bytes, 50000);
    return t->wants[0].stream;
}

static bool cancelled(struct taking *t, uint32_t stream)
{
    uint32_t number = 0;
    struct pvt_frame *f = pvt_script_next(&t->s, PV_MSG_CANCEL);
    if (f == NULL)
        return false;
    struct pv_rd r = pv_rd_of(f->bytes, f->len);
    cr_assert_eq(pv_msg_get_cancel(&r, &number), PV_OK);
    free(f);
    return number == stream;
}

Test(push_in, silent_stream_is_cancelled_and_ended_by_rst)
{
    struct taking *t = taking_new(200000);
    uint32_t stream = start_half(t);
    pvt_net_advance(t->net, PV_PUSH_SILENCE_MS - 1);
    cr_expect_not(cancelled(t, stream));
    pvt_net_advance(t->net, 1);
    cr_expect(cancelled(t, stream));
    pvt_script_data(&t->s, stream, 0, t->b.bytes + 50000, 20000); /* was under way */
    pvt_script_data(&t->s, stream, PV_STREAM_RST, NULL, 0);
    cr_expect_not(pvt_script_dropped(&t->s));
    pvt_net_advance(t->net, PV_PUSH_KEEP_MS);
    pvt_assert_idle(t->h);
    pvt_script_data(&t->s, stream, 0, t->b.bytes, 1); /* it has ended */
    cr_expect(pvt_script_dropped(&t->s));
    taking_free(t);
}

Test(push_in, silent_stream_that_ended_after_all_is_asked_again)
{
    struct taking *t = taking_new(200000);
    uint32_t stream = start_half(t);
    pvt_net_advance(t->net, PV_PUSH_SILENCE_MS);
    cr_expect(cancelled(t, stream));
    pvt_script_body(&t->s, stream, &t->b, 50000);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    cr_expect_eq(t->wants[0].offset, 50000, "goes on from the kept bytes");
    pvt_script_body(&t->s, t->wants[0].stream, &t->b, 50000);
    cr_expect_eq(pvt_script_get_ids(&t->s, PV_MSG_STORED, NULL, t->ids), 1);
    taking_free(t);
}

Test(push_in, more_than_announced_on_a_cancelled_stream)
{
    struct taking *t = taking_new(100000);
    uint32_t stream = start_half(t);
    pvt_net_advance(t->net, PV_PUSH_SILENCE_MS);
    cr_expect(cancelled(t, stream));
    for (size_t left = t->b.len - 50000; left > 0;) {
        size_t len = left < PV_STREAM_DATA_MAX ? left : PV_STREAM_DATA_MAX;
        pvt_script_data(&t->s, stream, 0, t->b.bytes, len);
        left -= len;
    }
    cr_expect_not(pvt_script_dropped(&t->s));
    pvt_script_data(&t->s, stream, 0, t->b.bytes, 1);
    cr_expect(pvt_script_dropped(&t->s));
    taking_free(t);
}

/* A few bytes now and then: enough not to be silent, and to keep others from sending it. */
static size_t trickle(struct taking *t, uint32_t stream)
{
    size_t at = 50000;
    for (uint64_t ms = 0; ms < PV_PUSH_SLOW_MS && !pvt_script_dropped(&t->s); at++) {
        pvt_net_advance(t->net, PV_PUSH_SILENCE_MS / 2);
        pvt_script_data(&t->s, stream, 0, t->b.bytes + at, 1);
        ms += PV_PUSH_SILENCE_MS / 2;
    }
    return at;
}

Test(push_in, slow_stream_gives_way_to_another_offer)
{
    struct taking *t = taking_new(200000);
    uint32_t stream = start_half(t);
    pvt_script_offer(&t->other, &t->b, 1);
    cr_expect_eq(pvt_script_wants(&t->other, PV_MSG_WANT, t->wants), 0);
    size_t at = trickle(t, stream);
    cr_expect(cancelled(t, stream));
    cr_assert_eq(pvt_script_wants(&t->other, PV_MSG_WANT, t->wants), 1);
    cr_expect_eq(t->wants[0].offset, at);
    pvt_script_body(&t->other, t->wants[0].stream, &t->b, at);
    cr_expect_eq(pvt_script_get_ids(&t->other, PV_MSG_STORED, NULL, t->ids), 1);
    pvt_script_data(&t->s, stream, PV_STREAM_RST, NULL, 0);
    cr_expect_not(pvt_script_dropped(&t->s));
    taking_free(t);
}

Test(push_in, slow_stream_gives_way_to_those_who_wait_for_memory)
{
    struct taking *t = taking_new(200000);
    struct pvt_blob c = pvt_sealed(2, PV_BLOB_PAYLOAD_MAX);
    t->h->node->push->inbound.limit_bytes = PV_BLOB_LEN_MAX;
    uint32_t stream = start_half(t);
    pvt_script_offer(&t->other, &c, 1);
    cr_expect_eq(pvt_script_wants(&t->other, PV_MSG_WANT, t->wants), 0);
    (void)trickle(t, stream);
    cr_expect(cancelled(t, stream));
    cr_expect_eq(pvt_script_wants(&t->other, PV_MSG_WANT, t->wants), 1);
    pvt_blob_free(&c);
    taking_free(t);
}

Test(push_in, slow_stream_that_nobody_else_needs_goes_on)
{
    struct taking *t = taking_new(200000);
    uint32_t stream = start_half(t);
    size_t at = trickle(t, stream);
    cr_expect_not(cancelled(t, stream));
    pvt_script_body(&t->s, stream, &t->b, at);
    cr_expect_eq(pvt_script_get_ids(&t->s, PV_MSG_STORED, NULL, t->ids), 1);
    taking_free(t);
}

/* Streams take turns at the sender: one that waits while another goes on is not silent. */
Test(push_in, waiting_stream_is_not_silent)
{
    struct taking *t = taking_new(200000);
    struct pvt_blob c = pvt_sealed(2, 900000);
    uint32_t stream = start_half(t);
    pvt_script_offer(&t->s, &c, 1);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    for (size_t i = 0; i < 10; i++) {
        pvt_net_advance(t->net, PV_PUSH_SILENCE_MS / 2);
        pvt_script_data(&t->s, t->wants[0].stream, 0, c.bytes + i * 1000, 1000);
    }
    cr_expect_not(cancelled(t, stream));
    pvt_script_body(&t->s, stream, &t->b, 50000);
    cr_expect_eq(pvt_script_get_ids(&t->s, PV_MSG_STORED, NULL, t->ids), 1);
    pvt_blob_free(&c);
    taking_free(t);
}

/* ---- limits ---- */

Test(push_in, want_no_more_than_may_be_open)
{
    struct taking *t = taking_new(300);
    struct pvt_blob small[PV_STREAMS_MAX + 5], large[12];
    size_t n;
    for (uint32_t i = 0; i < PV_COUNT(small); i++)
        small[i] = pvt_sealed(i + 10, 300);
    for (uint32_t i = 0; i < PV_COUNT(large); i++)
        large[i] = pvt_sealed(i + 1000, PV_BLOB_PAYLOAD_MAX);
    pvt_script_offer(&t->s, small, PV_COUNT(small));
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), PV_STREAMS_MAX);
    cr_expect_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants + 0), 0);
    pvt_script_offer(&t->other, large, PV_COUNT(large));
    n = pvt_script_wants(&t->other, PV_MSG_WANT, t->wants);
    cr_expect_eq(n, PV_STREAM_BYTES_MAX / PV_BLOB_LEN_MAX);
    for (size_t i = 0; i < PV_COUNT(large); i++) {
        cr_assert_eq(t->wants[0].stream, 1 + 2 * i);
        pvt_script_body(&t->other, t->wants[0].stream, &large[i], 0);
        memmove(t->wants, t->wants + 1, sizeof t->wants - sizeof t->wants[0]);
        if (i + n < PV_COUNT(large))
            cr_assert_eq(pvt_script_wants(&t->other, PV_MSG_WANT, &t->wants[n - 1]), 1);
    }
    for (size_t i = 0; i < PV_COUNT(large); i++) {
        cr_expect(pvt_has_blob(t->h->v, &large[i]));
        pvt_blob_free(&large[i]);
    }
    for (size_t i = 0; i < PV_COUNT(small); i++)
        pvt_blob_free(&small[i]);
    taking_free(t);
}

Test(push_in, offers_to_the_limit_and_one_past_it)
{
    struct taking *t = taking_new(300);
    struct pvt_blob *fake = calloc(PV_MSG_IDS_MAX, sizeof *fake);
    for (uint32_t i = 0; i < PV_MSG_IDS_MAX; i++) {
        fake[i].len = 1000;
        memcpy(fake[i].id.b, &i, sizeof i);
    }
    pvt_script_offer(&t->s, fake, PV_MSG_IDS_MAX);
    cr_expect_not(pvt_script_dropped(&t->s));
    pvt_script_offer(&t->s, &t->b, 1);
    cr_expect(pvt_script_dropped(&t->s));
    free(fake);
    taking_free(t);
}

Test(push_in, an_offer_twice_is_answered_once)
{
    struct taking *t = taking_new(300);
    pvt_script_offer(&t->s, &t->b, 1);
    pvt_script_offer(&t->s, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    pvt_script_body(&t->s, t->wants[0].stream, &t->b, 0);
    cr_expect_eq(pvt_script_get_ids(&t->s, PV_MSG_STORED, NULL, t->ids), 1);
    cr_expect_eq(pvt_script_get_ids(&t->s, PV_MSG_STORED, NULL, t->ids), 0);
    taking_free(t);
}

Test(push_in, sizes_that_no_blob_has)
{
    static const size_t lens[] = {0, PV_BLOB_LEN_MIN - 1, PV_BLOB_LEN_MAX + 1};
    for (size_t i = 0; i < PV_COUNT(lens); i++) {
        struct taking *t = taking_new(300);
        size_t len = t->b.len;
        t->b.len = lens[i];
        pvt_script_offer(&t->s, &t->b, 1);
        t->b.len = len;
        cr_expect(pvt_script_dropped(&t->s));
        taking_free(t);
    }
}

static void misbehave(void (*how)(struct taking *t, uint32_t stream))
{
    struct taking *t = taking_new(100000);
    how(t, start_half(t));
    cr_expect(pvt_script_dropped(&t->s));
    cr_expect_not(pvt_has_blob(t->h->v, &t->b));
    taking_free(t);
}

static void unknown_stream(struct taking *t, uint32_t stream)
{
    pvt_script_data(&t->s, stream + 2, 0, t->b.bytes, 10);
}

static void too_much(struct taking *t, uint32_t stream)
{
    pvt_script_data(&t->s, stream, 0, t->b.bytes + 50000, t->b.len - 50000 - 1);
    cr_expect_not(pvt_script_dropped(&t->s));
    pvt_script_data(&t->s, stream, PV_STREAM_FIN, t->b.bytes, 2);
}

static void too_little(struct taking *t, uint32_t stream)
{
    pvt_script_data(&t->s, stream, PV_STREAM_FIN, t->b.bytes + 50000, 10);
}

static void no_end(struct taking *t, uint32_t stream)
{
    pvt_script_data(&t->s, stream, 0, t->b.bytes + 50000, t->b.len - 50000);
    cr_expect_not(pvt_script_dropped(&t->s));
    pvt_script_data(&t->s, stream, 0, t->b.bytes, 1);
}

Test(push_in, unknown_stream_ends_the_session)
{
    misbehave(unknown_stream);
}

Test(push_in, body_too_long_ends_the_session)
{
    misbehave(too_much);
}

Test(push_in, body_too_short_ends_the_session)
{
    misbehave(too_little);
}

Test(push_in, body_without_end_ends_the_session)
{
    misbehave(no_end);
}

Test(push_in, end_in_a_frame_of_its_own)
{
    struct taking *t = taking_new(100000);
    uint32_t stream = start_half(t);
    pvt_script_data(&t->s, stream, 0, t->b.bytes + 50000, t->b.len - 50000);
    pvt_script_data(&t->s, stream, PV_STREAM_FIN, NULL, 0);
    cr_expect_eq(pvt_script_get_ids(&t->s, PV_MSG_STORED, NULL, t->ids), 1);
    taking_free(t);
}

Test(push_in, end_that_never_comes)
{
    struct taking *t = taking_new(100000);
    uint32_t stream = start_half(t);
    pvt_script_data(&t->s, stream, 0, t->b.bytes + 50000, t->b.len - 50000);
    pvt_net_advance(t->net, PV_PUSH_SILENCE_MS);
    pvt_script_data(&t->s, stream, PV_STREAM_RST, NULL, 0);
    pvt_assert_idle(t->h);
    taking_free(t);
}

Test(push_in, sender_resets_the_stream)
{
    struct taking *t = taking_new(100000);
    uint32_t stream = start_half(t);
    pvt_script_data(&t->s, stream, PV_STREAM_RST, NULL, 0);
    cr_expect_not(pvt_script_dropped(&t->s));
    cr_expect_eq(pv_node_peer(t->h->node, t->s.link)->push->in.offer_count, 0);
    pvt_script_offer(&t->s, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    cr_expect_eq(t->wants[0].offset, 50000);
    pvt_script_body(&t->s, t->wants[0].stream, &t->b, 50000);
    cr_expect_eq(pvt_script_get_ids(&t->s, PV_MSG_STORED, NULL, t->ids), 1);
    taking_free(t);
}

Test(push_in, two_peers_announce_different_sizes)
{
    struct taking *t = taking_new(100000);
    (void)start_half(t);
    t->b.len += 1000;
    pvt_script_offer(&t->other, &t->b, 1);
    t->b.len -= 1000;
    pvt_cut(t->net, t->s.link);
    pvt_net_run(t->net);
    cr_assert_eq(pvt_script_wants(&t->other, PV_MSG_WANT, t->wants), 1);
    cr_expect_eq(t->wants[0].offset, 0, "from the start: one of the two is wrong");
    taking_free(t);
}

/* ---- space ---- */

Test(push_in, full_disk_is_said_and_ends)
{
    struct taking *t = taking_new(200000);
    struct pvt_blob more[3];
    for (uint32_t i = 0; i < 3; i++)
        more[i] = pvt_sealed(i + 10, 200000);
    pvt_cut(t->net, t->s.link);
    pvt_cut(t->net, t->other.link);
    pvt_net_run(t->net);
    pvt_host_stop(t->h);
    t->h->v->config.disk_limit = 100000;
    pvt_reopen(t->h->v);
    pvt_host_start(t->h);
    pvt_net_run(t->net);

    pvt_script_init(&t->s, t->net, t->h, 1);
    pvt_script_offer(&t->s, &t->b, 1);
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), 1);
    pvt_script_body(&t->s, t->wants[0].stream, &t->b, 0);
    cr_assert_eq(pvt_script_get_ids(&t->s, PV_MSG_FULL, &t->request, t->ids), 1);
    cr_expect(pv_id_equal(&t->ids[0], &t->b.id));
    pvt_assert_idle(t->h);
    for (size_t i = 0; i < 3; i++)
        pvt_blob_free(&more[i]);
    taking_free(t);
}

Test(push_in, full_disk_refuses_what_waits)
{
    struct taking *t = taking_new(300);
    struct pvt_blob more[PV_STREAMS_MAX + 6];
    for (uint32_t i = 0; i < PV_COUNT(more); i++)
        more[i] = pvt_sealed(i + 10, 300);
    pvt_script_offer(&t->s, more, PV_COUNT(more));
    cr_assert_eq(pvt_script_wants(&t->s, PV_MSG_WANT, t->wants), PV_STREAMS_MAX);
    pv_in_refuse_all(t->h->node->push);
    pvt_net_run(t->net);
    cr_expect_eq(pvt_script_get_ids(&t->s, PV_MSG_FULL, &t->request, t->ids), 6);
    for (size_t i = 0; i < PV_COUNT(more); i++)
        pvt_blob_free(&more[i]);
    taking_free(t);
}

/* A node is full, then it is not: the blobs arrive in the end. */
Test(push_in, full_then_space_again)
{
    struct pvt_net *net = pvt_net_new(2);
    struct pvt_host *a = &net->host[0], *b = &net->host[1];
    struct pvt_blob *blobs = pvt_blobs_new(100);
    pvt_host_stop(b);
    b->v->config.disk_limit = 200000;
    pvt_reopen(b->v);
    pvt_host_start(b);
    pvt_net_run(net);
    pvt_put_many(a, blobs, 100);
    pvt_mesh(net);
    size_t here = pvt_count_here(b, blobs, 100);
    cr_expect_lt(here, 100);
    cr_expect_eq(pvt_count_held(a, b, blobs, 100), here);
    pvt_assert_idle(a);
    pvt_assert_idle(b);
    pvt_cut(net, 1);
    pvt_net_run(net);
    pvt_host_stop(b);
    b->v->config.disk_limit = 0;
    pvt_reopen(b->v);
    pvt_host_start(b);
    pvt_net_run(net);
    pvt_mesh(net);
    cr_expect_eq(pvt_count_here(b, blobs, 100), 100);
    cr_expect_eq(pvt_count_held(a, b, blobs, 100), 100);
    pvt_blobs_free(blobs, 100);
    pvt_net_free(net);
}
