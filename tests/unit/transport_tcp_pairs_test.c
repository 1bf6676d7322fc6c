/* One node, one link: when both dial, when one comes back, and when one runs twice. */
#include "tests/unit/transport_tcp_fixture.h"

TestSuite(tcp_pairs, .timeout = 60);

static struct host c;

Test(tcp_pairs, both_dial_at_once_and_one_link_survives)
{
    begin();
    cr_assert_eq(pv_tcp_listen(b.t, "127.0.0.1:0"), PV_OK);
    cr_assert_eq(pv_tcp_add_peer(b.t, pv_tcp_listening(a.t)), PV_OK);
    cr_assert_eq(pv_tcp_add_peer(a.t, pv_tcp_listening(b.t)), PV_OK);
    struct pv_tcp_peer_status sa = {0}, sb = {0};
    bool a_is_smaller = pv_id_cmp(&a.node.identity.node_id, &b.node.identity.node_id) < 0;
    /* settled: both ends have a link, it is the smaller id's, and neither wants to dial */
    while (a.link == 0 || b.link == 0 || a.peer.dialled != a_is_smaller ||
           b.peer.dialled == a_is_smaller || !sa.connected || !sb.connected) {
        uv_run(&loop, UV_RUN_ONCE);
        pv_tcp_peer_status(a.t, 0, &sa);
        pv_tcp_peer_status(b.t, 0, &sb);
    }
    cr_assert_arr_eq(a.peer.hash, b.peer.hash, PV_HASH_LEN);
    cr_assert_eq(sa.next_dial_ms + sb.next_dial_ms, 0);
    say(&a, PV_MSG_GET);
    RUN_UNTIL(b.messages == 1);
    cr_assert_eq(a.ups, a.downs + 1);
    cr_assert_eq(b.ups, b.downs + 1);

    /* the survivor goes: the covered side dials too, and again one survives */
    pv_tcp_drop(a.t, a.link, PV_BYE_LIMIT);
    unsigned ups = b.ups;
    RUN_UNTIL(a.link != 0 && b.link != 0 && b.ups > ups &&
              memcmp(a.peer.hash, b.peer.hash, PV_HASH_LEN) == 0);
    finish();
}

/* Two names of one node: the second dial replaces the first link, then both addresses rest. */
Test(tcp_pairs, two_addresses_of_one_node)
{
    char name[64];
    begin();
    connect_both();
    snprintf(name, sizeof name, "localhost%s", strrchr(pv_tcp_listening(a.t), ':'));
    cr_assert_eq(pv_tcp_add_peer(b.t, name), PV_OK);
    struct pv_tcp_peer_status one = {0}, two = {0};
    while (!one.connected || !two.connected || a.link == 0 || b.link == 0 || b.ups < 2) {
        uv_run(&loop, UV_RUN_ONCE);
        pv_tcp_peer_status(b.t, 0, &one);
        pv_tcp_peer_status(b.t, 1, &two);
    }
    cr_assert_eq(b.ups, 2);
    cr_assert_eq(b.downs, 1);
    cr_assert_arr_eq(a.peer.hash, b.peer.hash, PV_HASH_LEN);
    finish();
}

/* The same identity in another process: c is b's twin. */
static void twin_init(void)
{
    host_init(&c, 2);
    c.node.ctx.hello.boot_random[0] ^= 1;
}

Test(tcp_pairs, identity_that_runs_twice_is_refused_twice)
{
    begin();
    twin_init();
    connect_both();
    cr_assert_eq(pv_tcp_add_peer(c.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(b.downs == 1 && c.downs == 1 && a.twices == 1);
    cr_assert_eq(b.down_goodbye, PV_BYE_TWICE);
    cr_assert_eq(c.down_goodbye, PV_BYE_TWICE);
    cr_assert(pvt_log_has(&a.node.log, "this identity runs twice"));
    host_release(&c);
    finish();
}

static uint64_t no_time(void *ctx)
{
    (void)ctx;
    return 1700000000000;
}

/* Whoever has the token can be his own twin as often as he likes. */
Test(tcp_pairs, twins_cannot_fill_the_log)
{
    begin();
    twin_init();
    connect_both();
    pv_log_set_clock(a.node.log.log, no_time, NULL);
    while (pv_log_admit(a.node.log.log, PV_LOG_ERROR, PV_SUB_SESSION))
        continue;
    cr_assert_eq(pv_tcp_add_peer(c.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(b.downs == 1 && c.downs == 1 && a.twices == 1);
    cr_assert_not(pvt_log_has(&a.node.log, "this identity runs twice"));
    host_release(&c);
    finish();
}

static struct link *held_link(struct host *h)
{
    PV_LIST_EACH(&h->t->links, e)
    {
        struct link *l = PV_LIST_ENTRY(e, struct link, all);
        if (l->held)
            return l;
    }
    return NULL;
}

/* b's process is frozen (its loop does not turn); its successor c is held, then taken. */
static void frozen_predecessor(bool by_timer)
{
    begin();
    twin_init();
    int fd = -1;
    /* b lives on a socket of its own, driven by hand, so that it can stop answering */
    struct pv_session *s;
    cr_assert_eq(pv_session_new(&s, &b.node.ctx, true, 0, NULL, "a"), PV_OK);
    fd = raw_connect(&a);
    while (!pv_session_up(s) || a.link == 0) {
        struct pv_session_effect e;
        uint8_t byte;
        size_t used;
        while (pv_session_next(s, &e)) {
            if (e.type == PV_SESSION_SEND) {
                cr_assert_eq(send(fd, e.bytes, e.len, MSG_NOSIGNAL), (ssize_t)e.len);
                pv_session_sent(s, e.len);
            }
        }
        uv_run(&loop, UV_RUN_NOWAIT);
        while (recv(fd, &byte, 1, 0) == 1)
            for (used = 0; used == 0;) {
                pv_session_feed(s, &byte, 1, &used);
                while (used == 0 && pv_session_next(s, &e))
                    cr_assert_eq(e.type, PV_SESSION_UP);
            }
    }
    pv_link first = a.link;
    cr_assert_eq(pv_tcp_add_peer(c.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(c.link != 0);
    say(&c, PV_MSG_GET);
    say(&c, PV_MSG_FOUND);
    RUN_UNTIL(held_link(&a) != NULL);
    for (unsigned i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    cr_assert_eq(a.link, first, "the question is open");
    cr_assert_eq(a.messages, 0);
    if (by_timer) {
        struct link *held = held_link(&a);
        held->held_until_ms = 0;
        held->armed_ms = UINT64_MAX;
        pv_link_arm(held, 0);
    } else {
        close(fd);
        fd = -1;
    }
    RUN_UNTIL(a.ups == 2 && a.downs == 1 && a.messages == 2);
    cr_assert_eq(a.last_type, PV_MSG_FOUND, "in order");
    cr_assert_eq(a.twices, 0);
    pv_session_free(s);
    if (fd >= 0)
        close(fd);
    host_release(&c);
    finish();
}

Test(tcp_pairs, dead_predecessor_makes_way_after_the_time_to_answer)
{
    frozen_predecessor(true);
}

Test(tcp_pairs, predecessor_that_ends_makes_way_at_once)
{
    frozen_predecessor(false);
}

/* PV_SESSIONS_PER_NODE_MAX: one is in use, one is held while that is asked whether it lives; no
 * third one waits with them. */
Test(tcp_pairs, a_third_process_of_one_identity_is_refused)
{
    static struct host d;
    begin();
    twin_init();
    host_init(&d, 2);
    d.node.ctx.hello.boot_random[0] ^= 2;
    connect_both();
    pv_tcp_pause(b.t, b.link, true);
    cr_assert_eq(pv_tcp_add_peer(c.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(held_link(&a) != NULL && c.link != 0);
    cr_assert_eq(pv_tcp_add_peer(d.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(d.downs == 1);
    cr_assert_eq(d.down_goodbye, PV_BYE_DUPLICATE);
    cr_assert_neq(held_link(&a), NULL);
    cr_assert_eq(a.ups, 1);
    host_release(&d);
    host_release(&c);
    pv_tcp_pause(b.t, b.link, false);
    finish();
}

/* Paused is not dead, but does not answer: the newer one is taken, and b dials again. */
Test(tcp_pairs, paused_predecessor_is_replaced)
{
    begin();
    twin_init();
    connect_both();
    pv_tcp_pause(b.t, b.link, true);
    cr_assert_eq(pv_tcp_add_peer(c.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(held_link(&a) != NULL && c.link != 0);
    host_release(&c); /* gives up while it is held; nobody reads its GOODBYE */
    struct link *held = held_link(&a);
    cr_assert_neq(held, NULL);
    held->held_until_ms = 0;
    held->armed_ms = UINT64_MAX;
    pv_link_arm(held, 0);
    RUN_UNTIL(a.ups == 2 && a.downs == 2); /* c's, and its end */
    pv_tcp_pause(b.t, b.link, false);
    RUN_UNTIL(a.ups == 3 && b.ups == 2);
    finish();
}

/* b answers a PING and dies; its answer is read when its successor c is there. */
Test(tcp_pairs, an_answer_from_before_proves_nothing)
{
    begin();
    twin_init();
    connect_both();
    pv_tcp_pause(a.t, a.link, true);
    cr_assert_eq(pv_tcp_ping(a.t, a.link), PV_OK);
    for (unsigned i = 0; i < 50; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    host_stop(&b);
    cr_assert_eq(a.downs + a.pongs, 0);
    cr_assert_eq(pv_tcp_add_peer(c.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(held_link(&a) != NULL && c.link != 0);
    pv_tcp_pause(a.t, a.link, false);
    RUN_UNTIL(a.downs == 1 && (a.ups == 2 || a.twices == 1));
    cr_assert_eq(a.pongs, 1);
    cr_assert_eq(a.twices, 0);
    cr_assert_neq(c.link, 0);
    host_release(&c);
    finish();
}
