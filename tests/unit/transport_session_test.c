#include "tests/unit/transport_fixture.h"
#include "transport/hello.h"
#include "transport/outbox.h"
#include "transport/session_impl.h"

TestSuite(session, .timeout = 60);

/* One end: its session, what it received as effects, and how it was closed. */
struct side {
    struct node node;
    struct pv_session *s;
    bool up, down;
    struct pv_session_effect end;
    unsigned messages, pongs;
    uint8_t last_type, last_body[64];
    size_t last_len;
    uint64_t data_bytes;
    uint32_t stream;
    uint8_t stream_flags;
    uint64_t rtt_ms;
};

struct fix {
    struct side a, b; /* a dials */
    size_t slice;     /* bytes fed at once */
    uint8_t flip;     /* what is done to the byte of number flip_at from a to b; 0: nothing */
    uint64_t flip_at, passed;
};

static void sessions_new(struct fix *f)
{
    cr_assert_eq(pv_session_new(&f->a.s, &f->a.node.ctx, true, 0, NULL, "10.0.0.2:3000"), PV_OK);
    cr_assert_eq(pv_session_new(&f->b.s, &f->b.node.ctx, false, 0, NULL, "10.0.0.1:5555"), PV_OK);
}

static struct fix *fix_new(void)
{
    struct fix *f = pv_calloc(1, sizeof *f);
    f->slice = SIZE_MAX;
    node_init(&f->a.node, 1);
    node_init(&f->b.node, 2);
    return f;
}

static void fix_free(struct fix *f)
{
    pv_session_free(f->a.s);
    pv_session_free(f->b.s);
    node_release(&f->a.node);
    node_release(&f->b.node);
    pv_free(f);
}

static void note(struct side *side, const struct pv_session_effect *e)
{
    cr_assert_not(side->down, "nothing follows DOWN");
    switch (e->type) {
    case PV_SESSION_UP:
        cr_assert_not(side->up);
        side->up = true;
        break;
    case PV_SESSION_MSG:
        side->messages++;
        side->last_type = e->msg_type;
        side->last_len = e->len;
        memcpy(side->last_body, e->bytes, e->len < 64 ? e->len : 64);
        break;
    case PV_SESSION_DATA:
        side->data_bytes += e->len;
        side->stream = e->stream;
        side->stream_flags = e->stream_flags;
        break;
    case PV_SESSION_PONG:
        side->pongs++;
        side->rtt_ms = e->rtt_ms;
        break;
    case PV_SESSION_DOWN:
        side->down = true;
        side->end = *e;
        break;
    case PV_SESSION_SEND:
        cr_assert_fail("handled by the caller");
    }
}

static void pump(struct fix *f, struct side *from, struct side *to, bool *moved);

static void take_effects(struct fix *f, struct side *side, struct side *other, bool *moved)
{
    struct pv_session_effect e;
    while (!side->down && pv_session_next(side->s, &e)) {
        *moved = true;
        if (e.type != PV_SESSION_SEND) {
            note(side, &e);
            continue;
        }
        uint8_t *bytes = pv_memdup(e.bytes, e.len);
        for (size_t i = 0; i < e.len && side == &f->a; i++, f->passed++)
            if (f->passed == f->flip_at)
                bytes[i] ^= f->flip;
        for (size_t at = 0; at < e.len;) {
            size_t len = e.len - at < f->slice ? e.len - at : f->slice, used;
            uint8_t *exact = pv_memdup(bytes + at, len);
            if (other->s == NULL)
                used = len;
            else
                pv_session_feed(other->s, exact, len, &used);
            pv_free(exact);
            at += used;
            struct pv_session_effect in;
            bool more = used == 0;
            while (more && pv_session_next(other->s, &in)) {
                if (in.type == PV_SESSION_SEND)
                    cr_assert_fail("SEND waits behind the effect of a frame");
                note(other, &in);
                more = false;
            }
        }
        pv_free(bytes);
        pv_session_sent(side->s, e.len);
    }
    if (side->down && other->s != NULL && !other->down)
        pv_session_eof(other->s);
}

static void pump(struct fix *f, struct side *from, struct side *to, bool *moved)
{
    take_effects(f, from, to, moved);
    take_effects(f, to, from, moved);
}

static void settle(struct fix *f)
{
    bool moved = true;
    while (moved) {
        moved = false;
        pump(f, &f->a, &f->b, &moved);
    }
}

static void connect_both(struct fix *f)
{
    sessions_new(f);
    settle(f);
    cr_assert(f->a.up && f->b.up && !f->a.down && !f->b.down);
}

/* Lets a say anything under its right keys. */
static void say(struct fix *f, const void *payload, size_t len)
{
    cr_assert_eq(pv_session_send(f->a.s, payload, len), PV_OK);
    settle(f);
}

/* ---- coming up ---- */

Test(session, comes_up_with_any_slicing)
{
    const size_t slices[] = {1, 2, 3, 5, 7, 64, 101, 336, 341, 1000, SIZE_MAX};
    for (size_t i = 0; i < PV_COUNT(slices); i++) {
        struct fix *f = fix_new();
        f->slice = slices[i];
        connect_both(f);
        const struct pv_session_peer *pa = pv_session_peer(f->a.s), *pb = pv_session_peer(f->b.s);
        cr_assert(pa->dialled && !pb->dialled);
        cr_assert(pa->keyed && pb->keyed);
        cr_assert(pv_id_equal(&pa->handshake.node_id, &f->b.node.identity.node_id));
        cr_assert_eq(pa->hello.open_count, 2);
        cr_assert_eq(pb->hello.open_count, 1);
        cr_assert_eq(pa->hello.version, PV_HELLO_VERSION);
        cr_assert_eq(pa->hello.features, 5);
        cr_assert_arr_eq(pa->hash, pb->hash, PV_HASH_LEN);
        cr_assert_str_eq(pv_session_address(f->a.s), "10.0.0.2:3000");
        cr_assert(pv_session_up(f->a.s) && pv_session_writable(f->a.s));
        fix_free(f);
    }
}

Test(session, other_cluster_key_is_not_keyed)
{
    struct fix *f = fix_new();
    cluster_fill(&f->b.node.cluster, 9);
    connect_both(f);
    cr_assert_not(pv_session_peer(f->a.s)->keyed);
    cr_assert_not(pv_session_peer(f->b.s)->keyed);
    fix_free(f);
}

Test(session, blind_peer_proves_nothing)
{
    struct fix *f = fix_new();
    f->b.node.ctx.readable_count = 0;
    f->b.node.ctx.handshake.role = PV_ROLE_BLIND;
    connect_both(f);
    cr_assert_not(pv_session_peer(f->a.s)->keyed);
    cr_assert_eq(pv_session_peer(f->a.s)->hello.proof_count, 0);
    cr_assert_not(pv_session_peer(f->b.s)->keyed, "it cannot check");
    fix_free(f);
}

Test(session, proof_is_bound_to_session_side_and_node)
{
    struct node n;
    struct pv_msg_hello m;
    uint8_t hash[PV_HASH_LEN] = {1}, other_hash[PV_HASH_LEN] = {2};
    struct pv_id other = {{7}};
    node_init(&n, 1);
    pv_hello_make(&m, &n.ctx, hash, true);
    cr_assert(pv_hello_proves(&m, &n.ctx, hash, true, &n.identity.node_id));
    cr_assert_not(pv_hello_proves(&m, &n.ctx, other_hash, true, &n.identity.node_id));
    cr_assert_not(pv_hello_proves(&m, &n.ctx, hash, false, &n.identity.node_id), "reflected");
    cr_assert_not(pv_hello_proves(&m, &n.ctx, hash, true, &other), "borrowed");
    m.proofs[0].proof[31] ^= 1;
    cr_assert_not(pv_hello_proves(&m, &n.ctx, hash, true, &n.identity.node_id));
    node_release(&n);
}

/* ---- refusals ---- */

static void check_refused(struct side *side, enum pv_refusal refusal, enum pv_err err,
                          const char *logged)
{
    cr_assert(side->down && !side->up);
    cr_assert_eq(side->end.refusal, refusal, "%s", pv_session_cause(side->s));
    cr_assert_eq(side->end.err, err);
    cr_assert(pvt_log_has(&side->node.log, logged), "%s", side->node.log.text);
    cr_assert_eq(side->node.log.lines, 1, "logged once: %s", side->node.log.text);
}

Test(session, wrong_token)
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

Test(session, wrong_clock_is_named_on_both_sides)
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

Test(session, ourselves_and_another_node)
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

Test(session, strangers_are_refused_by_their_first_five_bytes)
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
Test(session, every_flipped_byte_is_refused)
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
Test(session, nothing_but_hello_before_hello)
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
Test(session, longest_hello_and_one_byte_more)
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
Test(session, hello_must_agree_with_the_handshake)
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

/* ---- messages and data ---- */

Test(session, messages_pass_and_unknown_ones_end_it)
{
    const uint8_t passing[] = {PV_MSG_STORE, PV_MSG_WANT,      PV_MSG_STORED, PV_MSG_GET,
                               PV_MSG_FOUND, PV_MSG_NOT_FOUND, PV_MSG_FETCH,  PV_MSG_CANCEL,
                               PV_MSG_FULL,  PV_MSG_LOST,      PV_MSG_DIGEST, PV_MSG_RECORD,
                               PV_MSG_JOIN,  PV_MSG_TOKEN,     PV_MSG_ERROR};
    for (unsigned type = 0; type < 256; type++) {
        bool passes = memchr(passing, (int)type, sizeof passing) != NULL;
        const uint8_t payload[] = {(uint8_t)type, 1, 2, 3};
        struct fix *f = fix_new();
        connect_both(f);
        say(f, payload, sizeof payload);
        cr_assert_eq(f->b.down, !passes, "type %u", type);
        if (passes) {
            cr_assert_eq(f->b.messages, 1);
            cr_assert_eq(f->b.last_type, type);
            cr_assert_eq(f->b.last_len, 3);
            cr_assert_arr_eq(f->b.last_body, payload + 1, 3);
        } else {
            cr_assert_eq(f->b.end.err, PV_E_PROTOCOL);
            cr_assert_eq(f->b.end.refusal, PV_REFUSED_NOT);
            cr_assert_eq(f->b.end.goodbye, 0);
            cr_assert(f->a.down);
            cr_assert_eq(f->a.end.goodbye, PV_BYE_PROTOCOL);
            cr_assert_eq(f->a.end.err, PV_E_CLOSED);
        }
        fix_free(f);
    }
}

Test(session, hello_again)
{
    struct fix *f = fix_new();
    uint8_t bytes[1024];
    struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
    connect_both(f);
    pv_msg_put_hello(&w, &(struct pv_msg_hello){.version = 1, .role = 1, .features = 5});
    say(f, bytes, pv_wr_len(&w));
    cr_assert_eq(f->b.end.err, PV_E_PROTOCOL);
    fix_free(f);
}

Test(session, stream_data)
{
    static uint8_t data[PV_STREAM_DATA_MAX];
    struct fix *f = fix_new();
    connect_both(f);
    cr_assert_eq(pv_session_send_data(f->a.s, 7, 0, data, sizeof data), PV_OK);
    cr_assert_eq(pv_session_send_data(f->a.s, 7, PV_STREAM_FIN, data, 10), PV_OK);
    settle(f);
    cr_assert_eq(f->b.data_bytes, PV_STREAM_DATA_MAX + 10);
    cr_assert_eq(f->b.stream, 7);
    cr_assert_eq(f->b.stream_flags, PV_STREAM_FIN);
    cr_assert_eq(pv_session_send_data(f->b.s, UINT32_MAX, PV_STREAM_RST, NULL, 0), PV_OK);
    settle(f);
    cr_assert_eq(f->a.stream, UINT32_MAX);
    cr_assert_eq(f->a.stream_flags, PV_STREAM_RST);
    fix_free(f);
}

Test(session, a_frame_at_a_time_in_odd_slices)
{
    static uint8_t data[PV_STREAM_DATA_MAX];
    const size_t slices[] = {1, 13, 4096, 70000, SIZE_MAX};
    for (size_t i = 0; i < PV_COUNT(slices); i++) {
        struct fix *f = fix_new();
        connect_both(f);
        f->slice = slices[i];
        for (size_t n = 0; n < 3; n++) {
            const uint8_t get[] = {PV_MSG_GET, 1};
            cr_assert_eq(pv_session_send(f->a.s, get, sizeof get), PV_OK);
            cr_assert_eq(pv_session_send_data(f->a.s, 1, 0, data, 30000), PV_OK);
        }
        settle(f);
        cr_assert_eq(f->b.messages, 3);
        cr_assert_eq(f->b.data_bytes, 90000);
        fix_free(f);
    }
}

/* ---- ends ---- */

Test(session, goodbye)
{
    struct fix *f = fix_new();
    connect_both(f);
    pv_session_close(f->a.s, PV_BYE_SHUTDOWN);
    pv_session_close(f->a.s, PV_BYE_LIMIT); /* no-op */
    cr_assert_not(pv_session_up(f->a.s));
    cr_assert_eq(pv_session_send(f->a.s, (const uint8_t *)"x", 1), PV_E_CLOSED);
    cr_assert_eq(pv_session_send_data(f->a.s, 1, 1, NULL, 0), PV_E_CLOSED);
    cr_assert_eq(pv_session_ping(f->a.s), PV_E_CLOSED);
    settle(f);
    cr_assert_eq(f->a.end.err, PV_E_CANCELLED);
    cr_assert_eq(f->a.end.goodbye, 0);
    cr_assert_eq(f->b.end.err, PV_E_CLOSED);
    cr_assert_eq(f->b.end.goodbye, PV_BYE_SHUTDOWN);
    cr_assert_eq(pv_session_deadline_ms(f->a.s), UINT64_MAX);
    cr_assert_str_eq(pv_session_cause(f->b.s), "closed by the peer: shutting down");
    fix_free(f);
}

Test(session, goodbye_with_a_wrong_count)
{
    struct fix *f = fix_new();
    uint8_t bytes[16];
    struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
    connect_both(f);
    pv_msg_put_goodbye(&w, PV_BYE_SHUTDOWN, 99);
    say(f, bytes, pv_wr_len(&w));
    cr_assert_eq(f->b.end.err, PV_E_PROTOCOL);
    fix_free(f);
}

Test(session, end_without_goodbye)
{
    struct fix *f = fix_new();
    connect_both(f);
    pv_session_eof(f->a.s);
    settle(f);
    cr_assert_eq(f->a.end.err, PV_E_CLOSED);
    cr_assert_eq(f->a.end.goodbye, 0);
    cr_assert_eq(f->a.end.refusal, PV_REFUSED_NOT);
    cr_assert_eq(f->b.end.err, PV_E_CLOSED);
    fix_free(f);
}

Test(session, close_before_anything)
{
    struct fix *f = fix_new();
    sessions_new(f);
    pv_session_close(f->b.s, PV_BYE_SHUTDOWN);
    settle(f);
    cr_assert(f->a.down && f->b.down && !f->a.up);
    cr_assert_eq(f->b.end.err, PV_E_CANCELLED);
    fix_free(f);
}

Test(session, tampering_after_up_ends_in_silence)
{
    struct fix *f = fix_new();
    connect_both(f);
    f->flip = 1;
    f->flip_at = f->passed + 9;
    const uint8_t get[] = {PV_MSG_GET, 1};
    say(f, get, sizeof get);
    cr_assert_eq(f->b.end.err, PV_E_AUTH);
    cr_assert_eq(f->b.messages, 0);
    cr_assert_eq(f->a.end.goodbye, 0, "no reply");
    fix_free(f);
}

Test(session, malformed_headers_after_up)
{
    const char *headers[] = {"\x03\x00\x00\x00\x20", "\x01\x00\x00\x00\x10", "\x01\x00\x01\x00\x11",
                             "\x02\xff\xff\xff\xff"};
    for (size_t i = 0; i < PV_COUNT(headers); i++) {
        struct fix *f = fix_new();
        size_t used;
        connect_both(f);
        pv_session_feed(f->b.s, (const uint8_t *)headers[i], 5, &used);
        settle(f);
        cr_assert_eq(f->b.end.err, PV_E_AUTH, "header %zu: perhaps altered on the way", i);
        fix_free(f);
    }
}

/* ---- time ---- */

static void pass(struct fix *f, uint64_t ms)
{
    pvt_env_advance(&f->a.node.clock, ms);
    pvt_env_advance(&f->b.node.clock, ms);
}

Test(session, handshake_deadline)
{
    struct fix *f = fix_new();
    sessions_new(f);
    cr_assert_eq(pv_session_deadline_ms(f->b.s), f->b.node.clock.mono_ms + PV_HANDSHAKE_MS);
    pass(f, PV_HANDSHAKE_MS - 1);
    pv_session_tick(f->b.s);
    struct pv_session_effect e;
    cr_assert_not(pv_session_next(f->b.s, &e));
    pass(f, 1);
    pv_session_tick(f->b.s);
    bool moved = false;
    take_effects(f, &f->b, &f->a, &moved);
    check_refused(&f->b, PV_REFUSED_DEADLINE, PV_E_TIMEOUT, "handshake took too long");
    fix_free(f);
}

Test(session, handshake_deadline_is_not_renewed_by_bytes)
{
    struct fix *f = fix_new();
    size_t used;
    f->b.node.ctx.handshake_ms = 100;
    cr_assert_eq(pv_session_new(&f->b.s, &f->b.node.ctx, false, 0, NULL, "y:1"), PV_OK);
    const uint8_t slow[] = {1, 0, 0, 0, 96, 'P', 'V', 'H', '1'};
    for (size_t i = 0; i < sizeof slow; i++) {
        pass(f, 11);
        pv_session_feed(f->b.s, slow + i, 1, &used);
        cr_assert_eq(used, 1);
    }
    cr_assert_eq(pv_session_deadline_ms(f->b.s), f->b.node.clock.mono_ms + 1);
    fix_free(f);
}

Test(session, quiet_session_lives_on_pings)
{
    struct fix *f = fix_new();
    connect_both(f);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t due = pv_session_deadline_ms(f->a.s);
        cr_assert_eq(due, f->a.node.clock.mono_ms + PV_PING_IDLE_MS);
        pass(f, PV_PING_IDLE_MS);
        pv_session_tick(f->a.s);
        settle(f);
    }
    cr_assert_not(f->a.down || f->b.down);
    cr_assert_eq(f->a.pongs, 0, "keep-alive is nobody's business");
    fix_free(f);
}

/* A peer that asks before we would must not make us keep the memory of a busy hour. */
Test(session, memory_goes_back_whoever_pings_first)
{
    static uint8_t data[PV_STREAM_DATA_MAX];
    struct fix *f = fix_new();
    connect_both(f);
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(pv_session_send_data(f->b.s, 1, 0, data, sizeof data), PV_OK);
    settle(f);
    struct pv_outbox *out = &f->b.s->out;
    cr_assert_gt(out->filling.cap + out->flying.cap, sizeof data);
    for (unsigned i = 0; i < 3; i++) {
        pass(f, PV_PING_IDLE_MS - 1);
        cr_assert_eq(pv_session_ping(f->a.s), PV_OK);
        settle(f);
        pv_session_tick(f->b.s);
    }
    cr_assert_eq(f->a.pongs, 3);
    cr_assert_lt(out->filling.cap + out->flying.cap, 1024);
    fix_free(f);
}

Test(session, silent_peer_is_dead)
{
    struct fix *f = fix_new();
    connect_both(f);
    uint64_t start = f->a.node.clock.mono_ms;
    struct pv_session_effect e;
    while (!f->a.down) {
        uint64_t due = pv_session_deadline_ms(f->a.s);
        cr_assert_gt(due, f->a.node.clock.mono_ms);
        pvt_env_advance(&f->a.node.clock, due - f->a.node.clock.mono_ms);
        pv_session_tick(f->a.s);
        while (pv_session_next(f->a.s, &e)) {
            if (e.type == PV_SESSION_SEND) /* into the void */
                pv_session_sent(f->a.s, e.len);
            else
                note(&f->a, &e);
        }
    }
    cr_assert_eq(f->a.node.clock.mono_ms - start, PV_PEER_DEAD_MS);
    cr_assert_eq(f->a.end.err, PV_E_TIMEOUT);
    fix_free(f);
}

static void hear(struct side *side, const uint8_t *bytes, size_t len)
{
    struct pv_session_effect e;
    for (size_t used; len > 0; bytes += used, len -= used) {
        pv_session_feed(side->s, bytes, len, &used);
        while (used == 0 && pv_session_next(side->s, &e))
            note(side, &e);
    }
}

/* a talks for minutes over a way on which its bytes stand for 40 s; what b says comes at once. */
Test(session, slow_way_there_is_not_death)
{
    enum { DELAY_S = 40, SECONDS = 300 };
    struct {
        uint8_t *bytes;
        size_t len;
    } way[SECONDS] = {0};
    struct fix *f = fix_new();
    struct pv_session_effect e;
    connect_both(f);
    for (unsigned now_s = 0; now_s < SECONDS; now_s++) {
        pass(f, 1000);
        if (now_s >= DELAY_S)
            hear(&f->b, way[now_s - DELAY_S].bytes, way[now_s - DELAY_S].len);
        cr_assert_eq(pv_session_send_data(f->a.s, 1, 0, (const uint8_t *)"x", 1), PV_OK);
        pv_session_tick(f->b.s);
        while (pv_session_next(f->b.s, &e)) {
            if (e.type != PV_SESSION_SEND) {
                note(&f->b, &e);
                continue;
            }
            hear(&f->a, e.bytes, e.len);
            pv_session_sent(f->b.s, e.len);
        }
        pv_session_tick(f->a.s);
        if (pv_session_next(f->a.s, &e)) {
            cr_assert_eq(e.type, PV_SESSION_SEND, "second %u", now_s);
            way[now_s].bytes = pv_memdup(e.bytes, e.len);
            way[now_s].len = e.len;
            pv_session_sent(f->a.s, e.len);
        }
        cr_assert_not(f->a.down || f->b.down);
    }
    for (unsigned i = 0; i < SECONDS; i++)
        pv_free(way[i].bytes);
    fix_free(f);
}

/* b stops reading for an hour: neither side may take the other for dead. */
Test(session, back_pressure_is_not_death)
{
    struct fix *f = fix_new();
    struct pv_session_effect e;
    size_t used;
    connect_both(f);
    pv_session_reading(f->b.s, false);
    for (unsigned i = 0; i < 240; i++) {
        pass(f, PV_PING_IDLE_MS);
        pv_session_tick(f->a.s);
        pv_session_tick(f->b.s);
        while (pv_session_next(f->b.s, &e)) { /* what b says arrives, a's words wait */
            cr_assert_eq(e.type, PV_SESSION_SEND);
            uint8_t *copy = pv_memdup(e.bytes, e.len);
            pv_session_feed(f->a.s, copy, e.len, &used);
            pv_free(copy);
            pv_session_sent(f->b.s, e.len);
        }
    }
    pv_session_reading(f->b.s, true);
    pv_session_tick(f->a.s);
    settle(f);
    cr_assert_not(f->a.down || f->b.down);
    pass(f, PV_PING_IDLE_MS);
    pv_session_tick(f->b.s);
    settle(f);
    cr_assert_not(f->a.down || f->b.down);
    fix_free(f);
}

Test(session, ping_measures)
{
    struct fix *f = fix_new();
    connect_both(f);
    cr_assert_eq(pv_session_ping(f->a.s), PV_OK);
    cr_assert_eq(pv_session_ping(f->a.s), PV_E_BUSY);
    pass(f, 42);
    settle(f);
    cr_assert_eq(f->a.pongs, 1);
    cr_assert_eq(f->a.rtt_ms, 42);
    cr_assert_eq(pv_session_ping(f->a.s), PV_OK);
    settle(f);
    cr_assert_eq(f->a.pongs, 2);
    fix_free(f);
}

static unsigned times(const char *text, const char *part)
{
    unsigned count = 0;
    for (const char *p = text; (p = strstr(p, part)) != NULL; p++)
        count++;
    return count;
}

/* A clock that is set while a session lasts is noticed by the PONG, not only by the next M1. */
Test(session, the_clock_of_the_peer_is_watched)
{
    static const struct {
        int64_t by_ms;
        bool off;
    } steps[] = {{0, false},      {60000, false}, {1, true},     {1000, true},
                 {-61001, false}, {-60001, true}, {60001, false}};
    const char *warning = "clock differs";
    unsigned warned = 0;
    struct fix *f = fix_new();
    connect_both(f);
    int64_t skew_ms = pv_session_peer(f->a.s)->handshake.skew_ms;
    bool was_off = false;
    for (size_t i = 0; i < PV_COUNT(steps); i++) {
        f->b.node.clock.wall_ms += (uint64_t)steps[i].by_ms;
        skew_ms += steps[i].by_ms;
        cr_assert_eq(pv_session_ping(f->a.s), PV_OK);
        settle(f);
        cr_assert_eq(pv_session_peer(f->a.s)->handshake.skew_ms, skew_ms);
        warned += steps[i].off && !was_off;
        was_off = steps[i].off;
        cr_assert_eq(times(f->a.node.log.text, warning), warned, "step %zu: %s", i,
                     f->a.node.log.text);
    }
    cr_assert_eq(warned, 2);
    cr_assert_not(pvt_log_has(&f->b.node.log, warning), "who did not ask was not told");
    cr_assert_not(f->a.down);
    fix_free(f);
}

Test(session, unasked_pong_is_a_fault)
{
    struct fix *f = fix_new();
    uint8_t bytes[32];
    struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
    connect_both(f);
    pv_msg_put_ping(&w, PV_MSG_PONG, &(struct pv_msg_ping){1, 2});
    say(f, bytes, pv_wr_len(&w));
    cr_assert_eq(f->b.end.err, PV_E_PROTOCOL);
    fix_free(f);
}

Test(session, ends_at_its_age)
{
    struct fix *f = fix_new();
    connect_both(f);
    for (unsigned i = 0; i < PV_SESSION_LIFE_MS / 10000 - 1 && !f->a.down; i++) {
        pass(f, 10000);
        const uint8_t get[] = {PV_MSG_GET, 1};
        say(f, get, sizeof get);
        cr_assert_eq(pv_session_send(f->b.s, get, sizeof get), PV_OK);
        settle(f);
    }
    pass(f, 10000 - 1);
    pv_session_tick(f->a.s);
    settle(f);
    cr_assert_not(f->a.down);
    pass(f, 1);
    pv_session_tick(f->a.s);
    pv_session_tick(f->b.s);
    settle(f);
    cr_assert_eq(f->a.end.err, PV_E_CANCELLED);
    cr_assert_eq(f->b.end.goodbye, PV_BYE_RENEW);
    fix_free(f);
}

/* ---- output ---- */

Test(session, output_is_bounded)
{
    static uint8_t payload[PV_FRAME_PLAIN_MAX] = {PV_MSG_RECORD};
    struct fix *f = fix_new();
    connect_both(f);
    size_t sealed = PV_FRAME_HEADER_LEN + PV_FRAME_SEALED_MAX, frames = 0;
    while (pv_session_send(f->a.s, payload, sizeof payload) == PV_OK) {
        frames++;
        cr_assert_eq(pv_session_writable(f->a.s), frames * sealed < PV_SESSION_OUT_HIGH);
    }
    cr_assert_eq(frames, PV_SESSION_OUT_MAX / sealed);
    cr_assert_eq(pv_session_send(f->a.s, payload, 1), PV_E_CLOSED);
    settle(f);
    cr_assert_eq(f->a.end.err, PV_E_LIMIT);
    cr_assert_eq(f->b.end.err, PV_E_CLOSED);
    fix_free(f);
}

Test(session, goodbye_that_nobody_takes_ends_after_the_linger_time)
{
    struct fix *f = fix_new();
    struct pv_session_effect e;
    connect_both(f);
    pv_session_close(f->a.s, PV_BYE_SHUTDOWN);
    cr_assert(pv_session_next(f->a.s, &e));
    cr_assert_eq(e.type, PV_SESSION_SEND);
    cr_assert_not(pv_session_next(f->a.s, &e));
    cr_assert_eq(pv_session_deadline_ms(f->a.s), f->a.node.clock.mono_ms + PV_LINGER_MS);
    pass(f, PV_LINGER_MS);
    pv_session_tick(f->a.s);
    cr_assert(pv_session_next(f->a.s, &e));
    cr_assert_eq(e.type, PV_SESSION_DOWN);
    fix_free(f);
}

Test(session, sent_bytes_do_not_move)
{
    static uint8_t payload[5000] = {PV_MSG_RECORD};
    struct fix *f = fix_new();
    struct pv_session_effect e, other;
    connect_both(f);
    cr_assert_eq(pv_session_send(f->a.s, payload, 100), PV_OK);
    cr_assert(pv_session_next(f->a.s, &e));
    uint8_t *copy = pv_memdup(e.bytes, e.len);
    for (unsigned i = 0; i < 50; i++) {
        cr_assert_eq(pv_session_send(f->a.s, payload, sizeof payload), PV_OK);
        cr_assert_not(pv_session_next(f->a.s, &other), "one SEND at a time");
    }
    cr_assert_arr_eq(e.bytes, copy, e.len);
    pv_session_sent(f->a.s, e.len - 3); /* a short write */
    cr_assert(pv_session_next(f->a.s, &other));
    cr_assert_eq(other.len, 3);
    cr_assert_arr_eq(other.bytes, copy + e.len - 3, 3);
    pv_session_sent(f->a.s, 3);
    cr_assert(pv_session_next(f->a.s, &other));
    cr_assert_gt(other.len, 200000);
    pv_session_sent(f->a.s, other.len);
    pv_free(copy);
    fix_free(f);
}

Test(session, outbox_limits)
{
    struct pv_outbox o;
    uint8_t *dst;
    const uint8_t *view;
    size_t len;
    pv_outbox_init(&o);
    cr_assert_not(pv_outbox_view(&o, &view, &len));
    cr_assert_eq(pv_outbox_room(&o, PV_SESSION_OUT_MAX + 1, &dst), PV_E_LIMIT);
    cr_assert_eq(pv_outbox_room(&o, PV_SESSION_OUT_MAX, &dst), PV_OK);
    memset(dst, 1, PV_SESSION_OUT_MAX);
    pv_outbox_commit(&o, PV_SESSION_OUT_MAX);
    cr_assert_eq(pv_outbox_room(&o, 1, &dst), PV_E_LIMIT);
    cr_assert(pv_outbox_view(&o, &view, &len));
    cr_assert_eq(len, PV_SESSION_OUT_MAX);
    cr_assert_eq(pv_outbox_room(&o, 1, &dst), PV_E_LIMIT, "what flies counts");
    pv_outbox_shrink(&o);
    cr_assert_eq(pv_outbox_queued(&o), PV_SESSION_OUT_MAX);
    pv_outbox_sent(&o, 10);
    cr_assert_eq(pv_outbox_room(&o, 10, &dst), PV_OK);
    pv_outbox_commit(&o, 10);
    pv_outbox_drop(&o);
    cr_assert_eq(pv_outbox_queued(&o), 0);
    pv_outbox_release(&o);
}

Test(session, out_of_memory_at_any_allocation)
{
    bool finished = false;
    for (uint64_t k = 0; !finished; k++) {
        struct fix *f = fix_new();
        pv_mem_fail_after(k);
        enum pv_err err = pv_session_new(&f->a.s, &f->a.node.ctx, true, 0, NULL, "10.0.0.2:3000");
        pv_mem_fail_after(UINT64_MAX);
        cr_assert(err == PV_OK || err == PV_E_NOMEM);
        finished = err == PV_OK;
        fix_free(f);
    }
    /* and on the listener's side while it is fed; copies are made before */
    finished = false;
    for (uint64_t k = 0; !finished; k++) {
        struct fix *f = fix_new();
        struct pv_session_effect e;
        size_t used;
        sessions_new(f);
        cr_assert(pv_session_next(f->a.s, &e));
        pv_mem_fail_after(k);
        pv_session_feed(f->b.s, e.bytes, e.len, &used);
        pv_mem_fail_after(UINT64_MAX);
        pv_session_sent(f->a.s, e.len);
        settle(f);
        finished = f->b.up;
        cr_assert(finished || f->b.down);
        fix_free(f);
    }
}
