/* Who is refused before the session is up. */
#include "tests/unit/transport_session_fixture.h"

TestSuite(session_refusals, .timeout = 60);

Test(session_refusals, wrong_token)
{
    struct fix *f = fix_new();
    token_fill(&f->a.node.ctx.handshake.tokens[0], 99);
    sessions_new(f);
    settle(f);
    check_refused(&f->b, PV_REFUSED_TOKEN, PV_E_AUTH, "cause=\"wrong token\"");
    cr_assert(pvt_log_has(&f->b.node.log, "warn session"));
    cr_assert(pvt_log_has(&f->b.node.log, "peer=10.0.0.1:5555"));
    check_refused(&f->a, PV_REFUSED_SILENT, PV_E_CLOSED, "closed without an answer");
    fix_free(f);
}

Test(session_refusals, wrong_clock_is_named_on_both_sides)
{
    struct fix *f = fix_new();
    f->b.node.clock.wall_ms += 600000;
    sessions_new(f);
    settle(f);
    check_refused(&f->a, PV_REFUSED_CLOCK, PV_E_AUTH, "cause=\"clock differs by 600 s\"");
    check_refused(&f->b, PV_REFUSED_CLOCK, PV_E_AUTH, "cause=\"clock differs by 600 s\"");
    cr_assert(pvt_log_has(&f->a.node.log, "our_clock=2023-11-14T22:13:20Z"));
    cr_assert(pvt_log_has(&f->a.node.log, "their_clock=2023-11-14T22:23:20Z"));
    fix_free(f);
}

Test(session_refusals, ourselves_and_another_node)
{
    struct fix *f = fix_new();
    f->b.node.ctx.handshake.identity = &f->a.node.identity;
    f->b.node.ctx.handshake.noise_static = &f->a.node.noise_static;
    sessions_new(f);
    settle(f);
    check_refused(&f->a, PV_REFUSED_SELF, PV_E_AUTH, "this is ourselves");
    cr_assert(pvt_log_has(&f->b.node.log, "debug session"), "no news on the other side");
    fix_free(f);

    f = fix_new();
    struct pv_id other = {{1}};
    cr_assert_eq(pv_session_new(&f->a.s, &f->a.node.ctx, true, 0, &other, "x:1"), PV_OK);
    cr_assert_eq(pv_session_new(&f->b.s, &f->b.node.ctx, false, 0, NULL, "y:1"), PV_OK);
    settle(f);
    check_refused(&f->a, PV_REFUSED_EXPECTED, PV_E_AUTH, "another node than expected");
    fix_free(f);
}

static void check_stranger(const char *bytes, size_t len, const char *logged)
{
    struct fix *f = fix_new();
    bool moved = true;
    size_t used;
    cr_assert_eq(pv_session_new(&f->b.s, &f->b.node.ctx, false, 0, NULL, "y:1"), PV_OK);
    pv_session_feed(f->b.s, (const uint8_t *)bytes, len, &used);
    take_effects(f, &f->b, &f->a, &moved);
    check_refused(&f->b, PV_REFUSED_MAGIC, PV_E_PROTOCOL, logged);
    pv_session_feed(f->b.s, (const uint8_t *)bytes, len, &used);
    cr_assert_eq(used, len, "swallowed");
    fix_free(f);
}

Test(session_refusals, strangers_are_refused_by_their_first_five_bytes)
{
    check_stranger("GET /", 5, "not a PeerVault handshake (looks like HTTP)");
    check_stranger("HTTP/1.1 400 Bad Request", 24, "looks like HTTP");
    check_stranger("\x16\x03\x01\x02\x00\x01", 6, "looks like TLS");
    check_stranger("SSH-2.0-x", 9, "looks like SSH");
    check_stranger("\x00\x00\x00\x00\x00", 5, "not a PeerVault handshake");
    check_stranger("\x01\x00\x00\x00\x5f", 5, "not a PeerVault handshake"); /* 95 */
    check_stranger("\x01\x00\x00\x00\x61", 5, "not a PeerVault handshake"); /* 97 */
    check_stranger("\x02\x00\x00\x00\x60", 5, "not a PeerVault handshake");
    check_stranger("\x01\xff\xff\xff\xff", 5, "not a PeerVault handshake");
    check_stranger("\x01\x00\x00\x00\x60"
                   "0123456789012345678901234567890123456789012345678901234567890123456789"
                   "01234567890123456789012345",
                   101, "not a PeerVault handshake");
}

/* Every byte of the dialler's side of a connection, up to its HELLO, on its way to the listener. */
Test(session_refusals, every_flipped_byte_is_refused)
{
    struct fix *f = fix_new();
    connect_both(f);
    uint64_t total = f->passed;
    fix_free(f);
    cr_assert_gt(total, 500);
    for (uint64_t at = 0; at < total; at++) {
        f = fix_new();
        f->flip = 0x10;
        f->flip_at = at;
        sessions_new(f);
        settle(f);
        /* a longer length leaves the listener waiting: its deadline ends that */
        pvt_env_advance(&f->b.node.clock, PV_HANDSHAKE_MS);
        pv_session_tick(f->b.s);
        settle(f);
        cr_assert(f->b.down && !f->b.up, "byte %zu", (size_t)at);
        fix_free(f);
    }
}

static void send_first(struct fix *f, enum pv_frame_type type, const uint8_t *payload, size_t len);

/* A peer that authenticates itself rightly and then says something else than HELLO. */
Test(session_refusals, nothing_but_hello_before_hello)
{
    for (unsigned type = 0; type < 256; type++) {
        uint8_t payload[64] = {(uint8_t)type};
        struct fix *f = fix_new();
        send_first(f, PV_FRAME_MESSAGE, payload, type == PV_MSG_HELLO ? 40 : sizeof payload);
        check_refused(&f->b, PV_REFUSED_HELLO, PV_E_PROTOCOL, "no valid HELLO");
        fix_free(f);
    }
    uint8_t payload[64] = {0, 0, 0, 1};
    struct fix *f = fix_new();
    send_first(f, PV_FRAME_STREAM, payload, sizeof payload);
    check_refused(&f->b, PV_REFUSED_HELLO, PV_E_PROTOCOL, "no valid HELLO");
    fix_free(f);
}

/* It costs no memory for a larger frame, whatever its header says. */
Test(session_refusals, longest_hello_and_one_byte_more)
{
    for (unsigned more = 0; more < 2; more++) {
        struct fix *f = fix_new();
        uint8_t bytes[1024];
        struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
        struct pv_msg_hello m = {.version = 1, .role = PV_ROLE_KEYED, .features = 5};
        m.proof_count = PV_HELLO_PROOFS_MAX;
        pv_msg_put_hello(&w, &m);
        cr_assert_eq(pv_wr_len(&w), PV_HELLO_LEN_MAX);
        pv_wr_zero(&w, more);
        send_first(f, PV_FRAME_MESSAGE, bytes, pv_wr_len(&w));
        if (more == 0)
            cr_assert(f->b.up && !f->b.down);
        else
            check_refused(&f->b, PV_REFUSED_LENGTH, PV_E_PROTOCOL, "wrong handshake message");
        cr_assert_leq(f->b.s->in_cap, 1024);
        fix_free(f);
    }
}

/* The role and features of HELLO must be those that were authenticated before. */
Test(session_refusals, hello_must_agree_with_the_handshake)
{
    for (unsigned what = 0; what < 3; what++) {
        struct fix *f = fix_new();
        uint8_t bytes[1024];
        struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
        struct pv_msg_hello m = {.version = 1, .role = PV_ROLE_KEYED, .features = 5};
        if (what == 1)
            m.role = PV_ROLE_BLIND;
        if (what == 2)
            m.features = 4;
        pv_msg_put_hello(&w, &m);
        send_first(f, PV_FRAME_MESSAGE, bytes, pv_wr_len(&w));
        cr_assert_eq(f->b.up, what == 0);
        cr_assert_eq(f->b.down, what != 0);
        fix_free(f);
    }
}

/* Does a's handshake by hand, so that its first sealed frame can be anything. */
static void send_first(struct fix *f, enum pv_frame_type type, const uint8_t *payload, size_t len)
{
    struct pv_handshake *h;
    struct pv_channel *c;
    uint8_t bytes[1024], send_key[PV_KEY_LEN], recv_key[PV_KEY_LEN], hash[PV_HASH_LEN];
    size_t n, used;
    struct pv_session_effect e;
    cr_assert_eq(pv_handshake_new(&h, &f->a.node.ctx.handshake, true, 0, NULL), PV_OK);
    cr_assert_eq(pv_session_new(&f->b.s, &f->b.node.ctx, false, 0, NULL, "y:1"), PV_OK);
    cr_assert_eq(pv_handshake_write(h, bytes + 5, &n), PV_OK);
    pv_frame_header_encode(bytes, PV_FRAME_MESSAGE, (uint32_t)n);
    pv_session_feed(f->b.s, bytes, n + 5, &used);
    cr_assert(pv_session_next(f->b.s, &e) && e.type == PV_SESSION_SEND);
    cr_assert_eq(pv_handshake_read(h, e.bytes + 5, e.len - 5), PV_OK);
    pv_session_sent(f->b.s, e.len);
    cr_assert_eq(pv_handshake_write(h, bytes + 5, &n), PV_OK);
    pv_frame_header_encode(bytes, PV_FRAME_MESSAGE, (uint32_t)n);
    pv_session_feed(f->b.s, bytes, n + 5, &used);
    cr_assert(pv_session_next(f->b.s, &e) && e.type == PV_SESSION_SEND);
    pv_session_sent(f->b.s, e.len);
    pv_handshake_keys(h, send_key, recv_key, hash);
    cr_assert_eq(pv_channel_new(&c, send_key, recv_key, PV_CHANNEL_REKEY_LOG2), PV_OK);
    pv_channel_seal(c, type, payload, len, bytes);
    pv_session_feed(f->b.s, bytes, 5 + len + PV_TAG_LEN, &used);
    bool moved = false;
    take_effects(f, &f->b, &f->a, &moved);
    pv_channel_free(c);
    pv_handshake_free(h);
}
