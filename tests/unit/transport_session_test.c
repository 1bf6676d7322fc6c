#include "tests/unit/transport_session_fixture.h"

TestSuite(session, .timeout = 60);

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
    struct pv_kid proven[PV_HELLO_PROOFS_MAX];
    node_init(&n, 1);
    pv_hello_make(&m, &n.ctx, hash, true);
    cr_assert_eq(pv_hello_proves(&m, &n.ctx, hash, true, &n.identity.node_id, proven), 1);
    cr_assert_arr_eq(proven[0].b, n.cluster.kid.b, PV_KID_LEN);
    cr_assert_not(pv_hello_proves(&m, &n.ctx, other_hash, true, &n.identity.node_id, proven));
    cr_assert_not(pv_hello_proves(&m, &n.ctx, hash, false, &n.identity.node_id, proven),
                  "reflected");
    cr_assert_not(pv_hello_proves(&m, &n.ctx, hash, true, &other, proven), "borrowed");
    m.proofs[0].proof[31] ^= 1;
    cr_assert_not(pv_hello_proves(&m, &n.ctx, hash, true, &n.identity.node_id, proven));
    node_release(&n);
}

/* ---- messages and data ---- */

Test(session, messages_pass_and_unknown_ones_end_it)
{
    const uint8_t passing[] = {PV_MSG_STORE, PV_MSG_WANT,      PV_MSG_STORED, PV_MSG_GET,
                               PV_MSG_FOUND, PV_MSG_NOT_FOUND, PV_MSG_FETCH,  PV_MSG_CANCEL,
                               PV_MSG_FULL,  PV_MSG_LOST,      PV_MSG_DIGEST, PV_MSG_RECORD,
                               PV_MSG_JOIN,  PV_MSG_TOKEN,     PV_MSG_ERROR,  PV_MSG_KEY};
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

/* A message of a later day than the first version. */
Test(session, keys_pass_only_where_both_say_so)
{
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t payload[] = {PV_MSG_KEY, 1};
        struct fix *f = fix_new();
        f->a.node.ctx.handshake.features = 4 | (i & 1);
        f->b.node.ctx.handshake.features = 4 | (i >> 1);
        connect_both(f);
        say(f, payload, sizeof payload);
        cr_assert_eq(f->b.down, i != 3, "case %u", i);
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
