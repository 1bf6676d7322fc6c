#include "tests/unit/transport_tcp_fixture.h"

TestSuite(tcp, .timeout = 60);

/* ---- ordinary life ---- */

Test(tcp, connects_and_exchanges)
{
    begin();
    connect_both();
    cr_assert(a.peer.keyed && b.peer.keyed && b.peer.dialled && !a.peer.dialled);
    say(&a, PV_MSG_GET);
    say(&b, PV_MSG_FOUND);
    in_call = true;
    cr_assert_eq(pv_tcp_ping(a.t, a.link), PV_OK);
    cr_assert_eq(pv_tcp_ping(a.t, a.link), PV_E_BUSY);
    in_call = false;
    RUN_UNTIL(a.messages == 1 && b.messages == 1 && a.pongs == 1);
    cr_assert_eq(b.last_type, PV_MSG_GET);
    cr_assert_eq(a.last_type, PV_MSG_FOUND);

    struct pv_tcp_peer_status status;
    cr_assert_eq(pv_tcp_peer_count(b.t), 1);
    pv_tcp_peer_status(b.t, 0, &status);
    cr_assert(status.connected);
    cr_assert(pv_id_equal(status.node_id, &a.node.identity.node_id));
    cr_assert_null(status.last_error);
    cr_assert_eq(status.next_dial_ms, 0);
    finish();
    cr_assert_eq(a.downs, 1);
}

Test(tcp, numbers_of_gone_links_do_nothing)
{
    begin();
    connect_both();
    pv_link old = b.link;
    pv_tcp_drop(b.t, b.link, PV_BYE_LIMIT);
    RUN_UNTIL(b.link == 0);
    cr_assert_eq(pv_tcp_send(b.t, old, (const uint8_t *)"x", 1), PV_E_CLOSED);
    cr_assert_eq(pv_tcp_send_data(b.t, old, 1, 1, NULL, 0), PV_E_CLOSED);
    cr_assert_eq(pv_tcp_ping(b.t, old), PV_E_CLOSED);
    cr_assert_not(pv_tcp_writable(b.t, old));
    pv_tcp_pause(b.t, old, true);
    pv_tcp_drop(b.t, old, PV_BYE_LIMIT);
    finish();
}

Test(tcp, big_data_both_ways)
{
    begin();
    connect_both();
    a.to_send = b.to_send = BIG_BYTES;
    in_call = true;
    send_on(&a);
    send_on(&b);
    in_call = false;
    RUN_UNTIL(a.fin && b.fin);
    cr_assert_eq(a.data_bytes, BIG_BYTES);
    cr_assert_eq(b.data_bytes, BIG_BYTES);
    cr_assert_gt(a.writables, 10);
    finish();
}

Test(tcp, pause_holds_the_sender_back)
{
    begin();
    connect_both();
    pv_tcp_pause(b.t, b.link, true);
    a.to_send = BIG_BYTES;
    send_on(&a);
    /* socket buffers fill up: turns of the loop that move nothing more */
    for (unsigned idle = 0; idle < 50; idle++) {
        uint64_t left = a.to_send;
        uv_run(&loop, UV_RUN_NOWAIT);
        idle = a.to_send != left ? 0 : idle;
    }
    cr_assert_gt(a.to_send, 0);
    cr_assert_leq(b.data_bytes, TCP_SCRATCH_LEN);
    pv_tcp_pause(b.t, b.link, false);
    RUN_UNTIL(b.fin);
    cr_assert_eq(b.data_bytes, BIG_BYTES);
    finish();
}

/* ---- bandwidth ---- */

enum { SLOW_BYTES = 256 * 1024 };

/* Sends SLOW_BYTES from a to b under these limits of both, and tells the ms it took. Slowness of
 * the machine can only add to that. */
static uint64_t time_of(const struct pv_bandwidth *of_a, const struct pv_bandwidth *of_b)
{
    pv_tcp_set_bandwidth(a.t, of_a);
    pv_tcp_set_bandwidth(b.t, of_b);
    b.fin = false;
    b.data_bytes = BIG_BYTES - SLOW_BYTES; /* what send_on goes on from */
    a.to_send = SLOW_BYTES;
    uint64_t start_ms = pv_env_mono_ms(&a.env);
    send_on(&a);
    RUN_UNTIL(b.fin);
    cr_assert_eq(b.data_bytes, BIG_BYTES);
    return pv_env_mono_ms(&a.env) - start_ms;
}

/* Each way of limiting holds, also what is set while connected. What is free at first: a burst of
 * an eighth of a second; of what was read, one part more. */
Test(tcp, bandwidth_is_limited)
{
    const struct pv_bandwidth none = {0};
    const struct pv_bandwidth limits[] = {{.up = SLOW_BYTES, .lan = 1},
                                          {.peer_up = SLOW_BYTES, .lan = 1},
                                          {.down = SLOW_BYTES, .lan = 1},
                                          {.peer_down = SLOW_BYTES, .lan = 1}};
    begin();
    connect_both();
    for (size_t i = 0; i < PV_COUNT(limits); i++) {
        bool up = limits[i].up + limits[i].peer_up > 0;
        uint64_t ms = time_of(up ? &limits[i] : &none, up ? &none : &limits[i]);
        cr_assert_geq(ms, 1000 - 125 - 2 * 63, "limit %zu: %u ms", i, (unsigned)ms);
    }
    const struct pv_bandwidth only_strangers = {.up = PV_FRAME_PLAIN_MAX, .lan = 0};
    pv_tcp_set_bandwidth(a.t, &only_strangers);
    const struct link *l = pv_map_get(&a.t->by_id, &a.link);
    cr_assert_not(l->shaped, "loopback is exempt");
    cr_assert_eq(a.downs + b.downs, 0);
    finish();
}

static size_t queued_at(const struct host *h)
{
    const struct link *l = pv_map_get(&h->t->by_id, &h->link);
    return pv_outbox_queued(&l->session->out);
}

/* Turns of the loop until they move nothing more out of h. */
static void run_until_stuck(const struct host *h)
{
    for (unsigned idle = 0; idle < 50; idle++) {
        size_t before = queued_at(h);
        uv_run(&loop, UV_RUN_NOWAIT);
        idle = queued_at(h) != before ? 0 : idle;
    }
}

/* Whoever looks at pv_tcp_writable hears of the change, even if it was a PONG that filled it up. */
Test(tcp, writable_after_an_answer_of_the_session)
{
    static uint8_t payload[PV_FRAME_PLAIN_MAX] = {PV_MSG_RECORD};
    const size_t overhead = PV_FRAME_HEADER_LEN + PV_TAG_LEN;
    begin();
    connect_both();
    pv_tcp_pause(b.t, b.link, true);
    while (queued_at(&a) != PV_SESSION_OUT_HIGH - 1) {
        size_t room = PV_SESSION_OUT_HIGH - 1 - queued_at(&a);
        size_t len = room - overhead < sizeof payload ? room - overhead : sizeof payload;
        cr_assert_gt(room, overhead);
        cr_assert_eq(pv_tcp_send(a.t, a.link, payload, len), PV_OK);
        run_until_stuck(&a);
    }
    cr_assert(pv_tcp_writable(a.t, a.link));
    unsigned before = a.writables;
    cr_assert_eq(pv_tcp_ping(b.t, b.link), PV_OK);
    RUN_UNTIL(!pv_tcp_writable(a.t, a.link));
    pv_tcp_pause(b.t, b.link, false);
    RUN_UNTIL(b.pongs == 1);
    run_until_stuck(&a);
    cr_assert_eq(a.writables, before + 1);
    finish();
}

Test(tcp, queue_over_the_limit_closes_the_link)
{
    static uint8_t payload[PV_FRAME_PLAIN_MAX] = {PV_MSG_RECORD};
    begin();
    connect_both();
    enum pv_err err = PV_OK;
    in_call = true;
    for (unsigned i = 0; i < 100 && err == PV_OK; i++)
        err = pv_tcp_send(a.t, a.link, payload, sizeof payload);
    in_call = false;
    cr_assert_eq(err, PV_E_LIMIT);
    RUN_UNTIL(a.downs == 1 && b.downs == 1);
    cr_assert_eq(a.down_err, PV_E_LIMIT);
    cr_assert_eq(b.down_err, PV_E_CLOSED);
    finish();
}

Test(tcp, drop_tells_why_and_the_dialler_comes_back)
{
    begin();
    connect_both();
    in_call = true;
    pv_tcp_drop(a.t, a.link, PV_BYE_MEMBERSHIP);
    in_call = false;
    RUN_UNTIL(a.downs == 1 && b.downs == 1);
    cr_assert_eq(a.down_err, PV_E_CANCELLED);
    cr_assert_eq(b.down_err, PV_E_CLOSED);
    cr_assert_eq(b.down_goodbye, PV_BYE_MEMBERSHIP);
    struct pv_tcp_peer_status status;
    pv_tcp_peer_status(b.t, 0, &status);
    cr_assert_str_eq(status.last_error, "closed by the peer: not a member");
    cr_assert_not(status.connected);
    cr_assert_neq(status.next_dial_ms, 0);
    RUN_UNTIL(a.ups == 2 && b.ups == 2);
    finish();
}

/* A session of a day ends, and its dialler is back at once: who holds part of a body goes on with
 * it before anybody gives it up. */
Test(tcp, a_session_that_reached_its_age_begins_anew_at_once)
{
    begin();
    connect_both();
    struct link *l = PV_LIST_ENTRY(b.t->links.next, struct link, all);
    struct pv_dialer *d = &b.t->dials[0]->dialer;
    l->session->created_ms -= PV_SESSION_LIFE_MS;
    d->up_ms -= PV_DIAL_STABLE_MS;
    const uint8_t get[] = {PV_MSG_GET, 1};
    cr_assert_eq(pv_tcp_send(a.t, a.link, get, sizeof get), PV_OK); /* b looks at its clock */
    RUN_UNTIL(a.downs == 1 && b.downs == 1);
    cr_assert_eq(a.down_goodbye, PV_BYE_RENEW);
    cr_assert(d->state == PV_DIALER_DIALLING || pv_dialer_due_ms(d) <= pv_env_mono_ms(&b.env));
    cr_assert_eq(d->attempts, 0);
    RUN_UNTIL(a.ups == 2 && b.ups == 2);
    finish();
}

static struct dial *reach(const struct pv_id *member, const char *const *addresses, size_t count)
{
    cr_assert_eq(pv_tcp_listen(b.t, "127.0.0.1:0"), PV_OK);
    pv_tcp_reach(b.t, member, addresses, count);
    cr_assert_eq(b.t->dial_count, 1);
    struct dial *d = b.t->dials[0];
    cr_assert_leq(d->dialer.due_ms, pv_env_mono_ms(&b.env) + PV_LEARNED_WAIT_MS);
    d->dialer.due_ms = 0; /* the test does not wait */
    pv_tcp_arm(b.t);
    return d;
}

Test(tcp, a_member_is_reached_where_it_says)
{
    struct sockaddr_storage gone;
    char text[32];
    begin();
    close(raw_listen(&gone, text));
    const char *addresses[] = {"127.0.0.1:22", text, "nonsense", pv_tcp_listening(a.t)};
    const struct pv_id *a_id = &a.node.identity.node_id;
    struct dial *d = reach(a_id, addresses, PV_COUNT(addresses));
    RUN_UNTIL(a.link != 0 && b.link != 0);
    cr_assert_eq(d->dialer.state, PV_DIALER_UP);

    /* The same again changes nothing; an end means no further dial, and no lost connection. */
    pv_tcp_reach(b.t, a_id, addresses, PV_COUNT(addresses));
    pv_tcp_reach(b.t, a_id, NULL, 0);
    cr_assert(d->retired);
    cr_assert_eq(a.downs, 0);
    pv_tcp_drop(a.t, a.link, PV_BYE_MEMBERSHIP);
    RUN_UNTIL(b.downs == 1);
    cr_assert_eq(pv_dial_next_ms(b.t), UINT64_MAX);
    pv_tcp_reach(b.t, &b.node.identity.node_id, addresses, 1);
    cr_assert_eq(b.t->dial_count, 1, "the idle slot is used again");
    finish();
}

Test(tcp, another_node_at_a_members_address)
{
    const struct pv_id somebody = {{9}};
    begin();
    const char *address = pv_tcp_listening(a.t);
    struct dial *d = reach(&somebody, &address, 1);
    RUN_UNTIL(d->dialer.attempts == 1);
    cr_assert_str_eq(d->dialer.error, "another node than expected");
    cr_assert_eq(a.ups + b.ups, 0, "no session, which might replace one that is in use");
    finish();
}

Test(tcp, a_members_address_that_is_ours_too)
{
    begin();
    cr_assert_eq(pv_tcp_listen(b.t, "127.0.0.1:0"), PV_OK);
    const char *address = pv_tcp_listening(b.t);
    pv_tcp_reach(b.t, &a.node.identity.node_id, &address, 1);
    struct dial *d = b.t->dials[0];
    d->dialer.due_ms = 0;
    pv_tcp_arm(b.t);
    RUN_UNTIL(d->dialer.attempts == 1);
    cr_assert_leq(d->dialer.due_ms, pv_env_mono_ms(&b.env) + PV_DIAL_MS_MIN);
    finish();
}

/* GOODBYE arrives although the other side was in the middle of sending. */
Test(tcp, goodbye_is_not_lost_in_unread_data)
{
    for (unsigned i = 0; i < 5; i++) {
        begin();
        connect_both();
        b.to_send = BIG_BYTES;
        send_on(&b);
        RUN_UNTIL(a.data_bytes > 0);
        pv_tcp_drop(a.t, a.link, PV_BYE_SHUTDOWN);
        RUN_UNTIL(b.downs == 1);
        cr_assert_eq(b.down_goodbye, PV_BYE_SHUTDOWN);
        b.to_send = 0;
        finish();
        memset(&a, 0, sizeof a);
        memset(&b, 0, sizeof b);
    }
}

Test(tcp, comes_back_when_the_listener_does)
{
    char address[PV_ADDRESS_TEXT_LEN];
    begin();
    connect_both();
    snprintf(address, sizeof address, "%s", pv_tcp_listening(a.t));
    host_stop(&a);
    RUN_UNTIL(b.downs == 1);
    cr_assert_eq(b.down_goodbye, PV_BYE_SHUTDOWN);
    struct pv_tcp_peer_status status;
    do {
        uv_run(&loop, UV_RUN_ONCE);
        pv_tcp_peer_status(b.t, 0, &status);
    } while (strcmp(status.last_error, "connection refused") != 0);
    host_start(&a);
    cr_assert_eq(pv_tcp_listen(a.t, address), PV_OK);
    RUN_UNTIL(b.ups == 2 && a.ups == 2);
    finish();
}

Test(tcp, host_names_are_resolved)
{
    char address[64];
    begin();
    snprintf(address, sizeof address, "localhost%s", strrchr(pv_tcp_listening(a.t), ':'));
    cr_assert_eq(pv_tcp_add_peer(b.t, address), PV_OK);
    RUN_UNTIL(a.link != 0 && b.link != 0);
    finish();
}

Test(tcp, close_while_resolving_and_connecting)
{
    begin();
    cr_assert_eq(pv_tcp_add_peer(b.t, "localhost:9"), PV_OK);
    cr_assert_eq(pv_tcp_add_peer(b.t, pv_tcp_listening(a.t)), PV_OK);
    uv_run(&loop, UV_RUN_NOWAIT);
    finish();
}

Test(tcp, addresses)
{
    char busy[PV_ADDRESS_TEXT_LEN];
    begin();
    snprintf(busy, sizeof busy, "%s", pv_tcp_listening(a.t));
    cr_assert_eq(pv_tcp_listen(b.t, busy), PV_E_BUSY);
    cr_assert_null(pv_tcp_listening(b.t));
    cr_assert_eq(pv_tcp_listen(b.t, "nonsense"), PV_E_INVALID);
    cr_assert_eq(pv_tcp_listen(b.t, "192.0.2.1:0"), PV_E_UNAVAILABLE, "not an address of ours");
    cr_assert_eq(pv_tcp_listen(b.t, "127.0.0.1:0"), PV_OK, "and it may be tried again");
    cr_assert_eq(pv_tcp_address_check("127.0.0.1:3000"), PV_OK);
    cr_assert_eq(pv_tcp_address_check("127.0.0.1"), PV_E_INVALID);
    cr_assert_eq(pv_tcp_add_peer(b.t, "127.0.0.1:0"), PV_E_INVALID);
    cr_assert_eq(pv_tcp_add_peer(b.t, "nonsense"), PV_E_INVALID);
    for (unsigned i = 0; i < PV_STATIC_PEERS_MAX; i++) {
        char address[64];
        snprintf(address, sizeof address, "127.0.0.1:%u", i + 1);
        cr_assert_eq(pv_tcp_add_peer(b.t, address), PV_OK);
        cr_assert_eq(pv_tcp_add_peer(b.t, address), PV_OK, "again changes nothing");
    }
    cr_assert_eq(pv_tcp_peer_count(b.t), PV_STATIC_PEERS_MAX);
    cr_assert_eq(pv_tcp_add_peer(b.t, "127.0.0.1:1000"), PV_E_LIMIT);
    finish();
}
