/*
 * Real sockets on loopback, port 0, one loop for all hosts. Nothing is timed: every wait is for a
 * condition, with the suite's timeout behind it. Each test ends with uv_loop_close == 0.
 */
#include "tests/unit/transport_fixture.h"
#include "transport/session_impl.h"
#include "transport/uv_tcp.h"
#include "transport/uv_tcp_impl.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(tcp, .timeout = 60);

enum { BIG_BYTES = 16 * 1024 * 1024, HOST_LINKS = 8 };

static uv_loop_t loop;
static bool in_call; /* a callback now would come from inside a call */

struct host {
    struct node node;
    struct pv_env env;
    struct pv_tcp *t;
    bool closed;
    pv_link link; /* last one that came up; 0 when it is down */
    struct pv_session_peer peer;
    unsigned ups, downs, messages, writables, pongs, twices;
    enum pv_err down_err;
    uint8_t down_goodbye, last_type;
    uint64_t data_bytes, to_send;
    bool fin;
};

static void on_up(void *ctx, pv_link link, const struct pv_session_peer *peer, const char *address)
{
    struct host *h = ctx;
    cr_assert_not(in_call);
    cr_assert_neq(link, 0);
    cr_assert_neq(strchr(address, ':'), NULL);
    h->link = link;
    h->peer = *peer;
    h->ups++;
}

static void on_message(void *ctx, pv_link link, uint8_t type, const uint8_t *body, size_t len)
{
    struct host *h = ctx;
    (void)body;
    (void)len;
    cr_assert_not(in_call);
    cr_assert_eq(link, h->link);
    h->messages++;
    h->last_type = type;
}

static void on_data(void *ctx, pv_link link, uint32_t stream, uint8_t flags, const uint8_t *bytes,
                    size_t len)
{
    struct host *h = ctx;
    cr_assert_not(in_call);
    cr_assert_eq(link, h->link);
    cr_assert_eq(stream, 7);
    for (size_t i = 0; i < len; i += 997)
        cr_assert_eq(bytes[i], (uint8_t)((h->data_bytes + i) / 13));
    h->data_bytes += len;
    h->fin |= flags == PV_STREAM_FIN;
}

/* Sends until all is said or the link does not want more. */
static void send_on(struct host *h)
{
    static uint8_t chunk[PV_STREAM_DATA_MAX];
    while (h->to_send > 0 && pv_tcp_writable(h->t, h->link)) {
        size_t len = h->to_send < sizeof chunk ? (size_t)h->to_send : sizeof chunk;
        uint64_t at = BIG_BYTES - h->to_send;
        for (size_t i = 0; i < len; i++)
            chunk[i] = (uint8_t)((at + i) / 13);
        h->to_send -= len;
        cr_assert_eq(
            pv_tcp_send_data(h->t, h->link, 7, h->to_send == 0 ? PV_STREAM_FIN : 0, chunk, len),
            PV_OK);
    }
}

static void on_writable(void *ctx, pv_link link)
{
    struct host *h = ctx;
    cr_assert_not(in_call);
    cr_assert(pv_tcp_writable(h->t, link));
    h->writables++;
    send_on(h);
}

static void on_pong(void *ctx, pv_link link, uint64_t rtt_ms)
{
    struct host *h = ctx;
    cr_assert_not(in_call);
    cr_assert_eq(link, h->link);
    cr_assert_lt(rtt_ms, 60000);
    h->pongs++;
}

static void on_down(void *ctx, pv_link link, enum pv_err err, uint8_t goodbye)
{
    struct host *h = ctx;
    cr_assert_not(in_call);
    cr_assert_eq(link, h->link);
    h->link = 0;
    h->downs++;
    h->down_err = err;
    h->down_goodbye = goodbye;
}

static void on_twice(void *ctx, const struct pv_id *node_id, const char *one, const char *other)
{
    struct host *h = ctx;
    cr_assert(pv_id_equal(node_id, &h->peer.handshake.node_id));
    cr_assert_str_neq(one, other);
    h->twices++;
}

static void host_start(struct host *h)
{
    const struct pv_tcp_handler handler = {h,       on_up,   on_message, on_data, on_writable,
                                           on_pong, on_down, on_twice,   NULL,    NULL};
    h->closed = false;
    cr_assert_eq(pv_tcp_new(&h->t, &loop, &h->node.ctx, &handler), PV_OK);
}

/* On real clocks: libuv's timers know no other. */
static void host_init(struct host *h, uint8_t number)
{
    memset(h, 0, sizeof *h);
    node_init(&h->node, number);
    h->env = pv_env_real(h->node.log.log);
    h->node.ctx.handshake.env = &h->env;
    pv_noise_static_make(&h->node.noise_static, &h->node.identity, &h->env);
    pv_replay_cache_free(h->node.replay);
    cr_assert_eq(pv_replay_cache_new(&h->node.replay, &h->env), PV_OK);
    h->node.ctx.handshake.replay = h->node.replay;
    host_start(h);
}

static void on_closed(void *arg)
{
    ((struct host *)arg)->closed = true;
}

#define RUN_UNTIL(cond)                 \
    do {                                \
        while (!(cond))                 \
            uv_run(&loop, UV_RUN_ONCE); \
    } while (false)

static void host_stop(struct host *h)
{
    if (h->t == NULL)
        return;
    in_call = true;
    pv_tcp_close(h->t, on_closed, h);
    in_call = false;
    cr_assert_not(h->closed);
    RUN_UNTIL(h->closed);
    cr_assert_eq(h->ups, h->downs, "every up has its down");
    pv_tcp_free(h->t);
    h->t = NULL;
}

static void host_release(struct host *h)
{
    host_stop(h);
    node_release(&h->node);
}

static struct host a, b, c;
static size_t fds_before;

static void begin(void)
{
    cr_assert_neq(signal(SIGPIPE, SIG_IGN), SIG_ERR);
    cr_assert_eq(uv_loop_init(&loop), 0); /* the first one opens a pipe for the whole process */
    cr_assert_eq(uv_loop_close(&loop), 0);
    fds_before = pvt_open_fds();
    cr_assert_eq(uv_loop_init(&loop), 0);
    host_init(&a, 1);
    host_init(&b, 2);
    cr_assert_eq(pv_tcp_listen(a.t, "127.0.0.1:0"), PV_OK);
    cr_assert_neq(pv_tcp_listening(a.t), NULL);
}

static void finish(void)
{
    host_release(&b);
    host_release(&a);
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
    cr_assert_eq(pvt_open_fds(), fds_before);
}

/* b dials a. */
static void connect_both(void)
{
    cr_assert_eq(pv_tcp_add_peer(b.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(a.link != 0 && b.link != 0);
}

static void say(struct host *h, uint8_t type)
{
    const uint8_t payload[] = {type, 1, 2};
    in_call = true;
    cr_assert_eq(pv_tcp_send(h->t, h->link, payload, sizeof payload), PV_OK);
    in_call = false;
}

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

/* A listener made of plain system calls, and its address. */
static int raw_listen(struct sockaddr_storage *address, char text[static 32])
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    memcpy(address, &sa, sizeof sa);
    snprintf(text, 32, "127.0.0.1:%u", (unsigned)ntohs(sa.sin_port));
    return fd;
}

/* b is told by a record where a is. Loopback: both listen there. */
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

/* ---- refusals ---- */

/* Said once, but tried again: the network may have led us astray. */
Test(tcp, ourselves_is_tried_again_later)
{
    begin();
    cr_assert_eq(pv_tcp_add_peer(a.t, pv_tcp_listening(a.t)), PV_OK);
    struct pv_dialer *d = &a.t->dials[0]->dialer;
    for (unsigned i = 1; i <= 3; i++) {
        RUN_UNTIL(d->attempts == i);
        struct pv_tcp_peer_status status;
        pv_tcp_peer_status(a.t, 0, &status);
        cr_assert_str_eq(status.last_error, "this is ourselves");
        cr_assert_neq(status.next_dial_ms, 0);
        cr_assert_not(status.connected);
        d->due_ms = 0;
        pv_tcp_arm(a.t);
    }
    cr_assert_eq(a.ups, 0);
    char *first = strstr(a.node.log.text, "warn");
    cr_assert_neq(first, NULL);
    cr_assert_null(strstr(first + 1, "warn"), "%s", a.node.log.text);
    cr_assert_neq(strstr(first, "cause=\"this is ourselves\""), NULL);
    finish();
}

Test(tcp, wrong_token_is_told)
{
    begin();
    token_fill(&b.node.ctx.handshake.tokens[0], 90);
    cr_assert_eq(pv_tcp_add_peer(b.t, pv_tcp_listening(a.t)), PV_OK);
    struct pv_tcp_peer_status status = {0};
    while (status.last_error == NULL) {
        uv_run(&loop, UV_RUN_ONCE);
        pv_tcp_peer_status(b.t, 0, &status);
    }
    cr_assert_str_eq(status.last_error, pv_refusal_text(PV_REFUSED_SILENT));
    cr_assert_neq(status.next_dial_ms, 0);
    cr_assert(pvt_log_has(&a.node.log, "cause=\"wrong token\""));
    finish();
    cr_assert_eq(a.ups + b.ups, 0);
}

Test(tcp, older_token_is_tried_next)
{
    begin();
    b.node.ctx.handshake.tokens[1] = b.node.ctx.handshake.tokens[0];
    token_fill(&b.node.ctx.handshake.tokens[0], 90);
    b.node.ctx.handshake.token_count = 2;
    connect_both();
    finish();
}

Test(tcp, wrong_clock_is_told_to_both)
{
    begin();
    b.env.wall_ms = b.node.clock.env.wall_ms; /* the fixed day in the past */
    b.env.ctx = b.node.clock.env.ctx;
    cr_assert_eq(pv_tcp_add_peer(b.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(pvt_log_has(&b.node.log, "clock differs by"));
    cr_assert(pvt_log_has(&a.node.log, "clock differs by"));
    cr_assert(pvt_log_has(&b.node.log, "our_clock=2023-11-14T22:13:20Z"));
    finish();
}

/* b dials a stranger who accepts and hangs up; the name has a second address. */
static struct dial *dial_two(const struct sockaddr_storage *second)
{
    struct sockaddr_storage first;
    char text[32];
    int fd = raw_listen(&first, text);
    cr_assert_eq(pv_tcp_add_peer(b.t, text), PV_OK);
    struct dial *d = b.t->dials[0];
    RUN_UNTIL(d->dialer.state == PV_DIALER_DIALLING);
    d->found[d->found_count++] = *second;
    close(accept(fd, NULL, NULL));
    close(fd);
    return d;
}

Test(tcp, a_stranger_at_one_address_does_not_hide_the_next)
{
    begin();
    struct dial *d = dial_two(&a.t->listen_address);
    RUN_UNTIL((a.link != 0 && b.link != 0) || d->dialer.attempts > 0);
    cr_assert_eq(d->dialer.attempts, 0, "%s", d->dialer.error);
    finish();
}

/* A name with so many addresses, each family in a row. */
static void resolve_to(struct dial *d, unsigned count)
{
    struct sockaddr_in v4[PV_RESOLVED_MAX + 1];
    struct sockaddr_in6 v6[PV_RESOLVED_MAX + 1];
    struct addrinfo list[PV_RESOLVED_MAX + 1];
    cr_assert_leq(count, PV_COUNT(list));
    for (unsigned i = 0; i < count; i++) {
        bool first = i < 2;
        v4[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(i)};
        v6[i] = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                      .sin6_addr.s6_addr = {[15] = (uint8_t)i}};
        list[i] = (struct addrinfo){
            .ai_family = first ? AF_INET : AF_INET6,
            .ai_addr = first ? (struct sockaddr *)&v4[i] : (struct sockaddr *)&v6[i],
            .ai_addrlen = first ? sizeof v4[i] : sizeof v6[i],
            .ai_next = i + 1 < count ? &list[i + 1] : NULL,
        };
    }
    d->found_count = 0;
    pv_dial_take(d, list);
}

Test(tcp, as_many_addresses_of_a_name_as_allowed)
{
    /* Families in turns, and the order of the system in each. */
    static const unsigned expected[PV_RESOLVED_MAX] = {0, 2, 1, 3, 4, 5, 6, 7};
    for (unsigned count = PV_RESOLVED_MAX - 1; count <= PV_RESOLVED_MAX + 1; count++) {
        struct dial *d = calloc(1, sizeof *d);
        unsigned taken = count < PV_RESOLVED_MAX ? count : PV_RESOLVED_MAX;
        d->dialer.address.port = 7;
        resolve_to(d, count);
        cr_assert_eq(d->found_count, taken);
        for (unsigned i = 0; i < taken; i++) {
            const struct sockaddr_in *v4 = (struct sockaddr_in *)&d->found[i];
            const struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&d->found[i];
            bool is_v4 = d->found[i].ss_family == AF_INET;
            cr_expect_eq(is_v4 ? ntohl(v4->sin_addr.s_addr) : v6->sin6_addr.s6_addr[15],
                         expected[i], "at %u of %u", i, count);
            cr_expect_eq(ntohs(is_v4 ? v4->sin_port : v6->sin6_port), 7);
        }
        free(d);
    }
}

/* An address that swallows what it gets: a listener whose queue is full. */
static int black_hole(struct sockaddr_storage *address, int fillers[static 8])
{
    char text[32];
    int fd = raw_listen(address, text);
    cr_assert_eq(listen(fd, 0), 0);
    for (unsigned i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)address, sizeof(struct sockaddr_in));
    }
    return fd;
}

Test(tcp, an_address_without_answer_does_not_hold_up_the_next)
{
    struct sockaddr_storage hole;
    int fillers[8];
    begin();
    int fd = black_hole(&hole, fillers);
    struct dial *d = dial_two(&hole);
    cr_assert_lt(d->found_count, PV_RESOLVED_MAX);
    d->found[d->found_count++] = a.t->listen_address;
    RUN_UNTIL((a.link != 0 && b.link != 0) || d->dialer.attempts > 0);
    cr_assert_eq(d->dialer.attempts, 0, "%s", d->dialer.error);
    cr_assert_eq(d->found_count, 3);
    cr_assert_eq(d->found_next, 2, "the one without an answer was not waited for");
    cr_assert_eq(d->connecting, 0);
    close(fd);
    for (unsigned i = 0; i < 8; i++)
        close(fillers[i]);
    finish();
}

/* The wait for an address is over: nothing here waits for it. */
Test(tcp, an_address_without_answer_is_given_up)
{
    struct sockaddr_storage hole;
    int fillers[8];
    char text[32];
    begin();
    int fd = black_hole(&hole, fillers);
    snprintf(text, sizeof text, "127.0.0.1:%u",
             (unsigned)ntohs(((struct sockaddr_in *)&hole)->sin_port));
    uint64_t before_ms = pv_env_mono_ms(&b.env);
    cr_assert_eq(pv_tcp_add_peer(b.t, text), PV_OK);
    RUN_UNTIL(b.t->link_count == 1);
    struct link *l = PV_LIST_ENTRY(b.t->links.next, struct link, all);
    cr_assert_eq(l->state, LINK_CONNECTING);
    cr_assert_geq(l->armed_ms, before_ms + PV_CONNECT_MS);
    cr_assert_leq(l->armed_ms, pv_env_mono_ms(&b.env) + PV_CONNECT_MS);
    l->armed_ms = UINT64_MAX;
    pv_link_arm(l, 0);
    struct pv_tcp_peer_status status = {0};
    while (status.last_error == NULL) {
        uv_run(&loop, UV_RUN_ONCE);
        pv_tcp_peer_status(b.t, 0, &status);
    }
    cr_assert_str_eq(status.last_error, "connection timed out");
    close(fd);
    for (unsigned i = 0; i < 8; i++)
        close(fillers[i]);
    finish();
}

Test(tcp, silence_at_one_address_is_what_counts)
{
    struct sockaddr_storage gone;
    char text[32];
    begin();
    b.node.ctx.handshake.token_count = 2;
    close(raw_listen(&gone, text));
    struct dial *d = dial_two(&gone);
    RUN_UNTIL(d->dialer.attempts == 1);
    cr_assert_str_eq(d->dialer.error, pv_refusal_text(PV_REFUSED_SILENT));
    cr_assert_eq(d->dialer.token, 1);
    finish();
}

/* One of the addresses of a name that all nodes share is our own: the others are still wanted. */
Test(tcp, ourselves_among_others_is_no_reason_to_wait)
{
    struct sockaddr_storage gone;
    char text[32];
    begin();
    close(raw_listen(&gone, text));
    cr_assert_eq(pv_tcp_add_peer(a.t, pv_tcp_listening(a.t)), PV_OK);
    struct dial *d = a.t->dials[0];
    RUN_UNTIL(d->dialer.state == PV_DIALER_DIALLING);
    d->found[d->found_count++] = gone;
    RUN_UNTIL(d->dialer.attempts == 1);
    cr_assert_str_eq(d->dialer.error, "connection refused");
    cr_assert_leq(d->dialer.due_ms, pv_env_mono_ms(&a.env) + PV_DIAL_MS_MIN);
    finish();
}

/* A client made of plain system calls. */
static int raw_connect(struct host *h)
{
    struct sockaddr_in sa;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    const char *port = strrchr(pv_tcp_listening(h->t), ':') + 1;
    cr_assert_eq(uv_ip4_addr("127.0.0.1", atoi(port), &sa), 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* 1: ended or reset; 0: nothing yet. Data is not expected. */
static bool raw_ended(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);
    cr_assert_leq(got, 0, "silence towards strangers");
    return got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void check_stranger(const char *bytes, size_t len, const char *logged)
{
    int fd = raw_connect(&a);
    cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    while (!raw_ended(fd))
        uv_run(&loop, UV_RUN_ONCE);
    close(fd);
    cr_assert(pvt_log_has(&a.node.log, logged), "%s", a.node.log.text);
    pvt_log_clear(&a.node.log);
}

Test(tcp, strangers_get_silence)
{
    static char noise[65536];
    begin();
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(i * 2654435761U >> 13);
    check_stranger("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27,
                   "cause=\"not a PeerVault handshake (looks like HTTP)\"");
    check_stranger("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, "looks like TLS");
    check_stranger(noise, sizeof noise, "not a PeerVault handshake");
    connect_both();
    finish();
}

Test(tcp, silent_client_meets_the_deadline)
{
    begin();
    a.node.ctx.handshake_ms = 20;
    int fd = raw_connect(&a), other = raw_connect(&a);
    cr_assert_eq(send(other, "\x01\x00\x00", 3, MSG_NOSIGNAL), 3);
    bool ended = false, other_ended = false;
    while (!ended || !other_ended) {
        uv_run(&loop, UV_RUN_ONCE);
        ended = ended || raw_ended(fd);
        other_ended = other_ended || raw_ended(other);
    }
    close(fd);
    close(other);
    cr_assert(pvt_log_has(&a.node.log, "handshake took too long"));
    a.node.ctx.handshake_ms = 0;
    connect_both();
    finish();
}

Test(tcp, half_open_connections_are_capped)
{
    static int fds[PV_HALF_OPEN_MAX + 1];
    begin();
    for (size_t i = 0; i < PV_HALF_OPEN_MAX; i++) {
        fds[i] = raw_connect(&a);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    while (a.t->half_open_count < PV_HALF_OPEN_MAX)
        uv_run(&loop, UV_RUN_ONCE);
    fds[PV_HALF_OPEN_MAX] = raw_connect(&a);
    while (!raw_ended(fds[PV_HALF_OPEN_MAX]))
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert(pvt_log_has(&a.node.log, "too many unfinished handshakes"));
    for (size_t i = 0; i < PV_HALF_OPEN_MAX; i++)
        cr_assert_not(raw_ended(fds[i]));
    for (size_t i = 0; i <= PV_HALF_OPEN_MAX; i++)
        close(fds[i]);
    while (a.t->half_open_count > 0)
        uv_run(&loop, UV_RUN_ONCE);
    connect_both();
    finish();
}

/* Few descriptors: strangers take all that they can get, and who was named is reached all the same;
 * when they have gone, there is room again. */
Test(tcp, strangers_leave_room_for_named_peers)
{
    enum { MAX = 8, STRANGERS = 3 * MAX };
    static int fds[STRANGERS];
    begin();
    pv_tcp_limit(a.t, MAX);
    cr_assert_eq(pv_tcp_listen(b.t, "127.0.0.1:0"), PV_OK);
    size_t refused = 0;
    for (size_t i = 0; i < STRANGERS; i++)
        fds[i] = raw_connect(&a);
    while (refused < STRANGERS - MAX / 2) {
        uv_run(&loop, UV_RUN_ONCE);
        cr_assert_leq(a.t->link_count, MAX);
        refused = 0;
        for (size_t i = 0; i < STRANGERS; i++)
            refused += raw_ended(fds[i]);
    }
    cr_assert_eq(a.t->half_open_count, MAX / 2);
    cr_assert_eq(pv_tcp_add_peer(a.t, pv_tcp_listening(b.t)), PV_OK);
    RUN_UNTIL(a.link != 0 && b.link != 0);
    for (size_t i = 0; i < STRANGERS; i++)
        close(fds[i]);
    RUN_UNTIL(a.t->link_count == 1);
    finish();
}

Test(tcp, no_more_sockets_than_allowed)
{
    begin();
    pv_tcp_limit(b.t, 2);
    cr_assert_eq(pv_tcp_listen(b.t, "127.0.0.1:0"), PV_OK);
    cr_assert_eq(pv_tcp_add_peer(a.t, pv_tcp_listening(b.t)), PV_OK);
    RUN_UNTIL(a.link != 0 && b.link != 0);
    int fd = raw_connect(&b), one_more = raw_connect(&b);
    while (!raw_ended(one_more))
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert_not(raw_ended(fd));
    cr_assert_eq(b.t->link_count, 2);
    cr_assert_eq(pv_tcp_add_peer(b.t, "127.0.0.1:1"), PV_OK);
    struct pv_tcp_peer_status status = {0};
    while (status.last_error == NULL) {
        uv_run(&loop, UV_RUN_ONCE);
        pv_tcp_peer_status(b.t, 0, &status);
    }
    cr_assert_str_eq(status.last_error, "too many connections");
    close(fd);
    close(one_more);
    finish();
}

/*
 * A first message that was recorded long ago opens the gate for whoever has it, and is answered
 * with the clock message. Until he has gone he is a stranger, and counted as one.
 */
Test(tcp, whoever_was_told_the_clock_stays_half_open)
{
    struct pv_session *s;
    struct pv_session_effect e;
    uint8_t answer[PV_FRAME_HEADER_LEN + PV_HS_CLOCK_LEN];
    begin();
    b.env.wall_ms = b.node.clock.env.wall_ms;
    b.env.ctx = b.node.clock.env.ctx;
    cr_assert_eq(pv_session_new(&s, &b.node.ctx, true, 0, NULL, "a"), PV_OK);
    cr_assert(pv_session_next(s, &e) && e.type == PV_SESSION_SEND);
    int fd = raw_connect(&a);
    cr_assert_eq(send(fd, e.bytes, e.len, MSG_NOSIGNAL), (ssize_t)e.len);
    for (size_t have = 0; have < sizeof answer;) {
        uv_run(&loop, UV_RUN_NOWAIT);
        ssize_t got = recv(fd, answer + have, sizeof answer - have, 0);
        cr_assert(got > 0 || (got < 0 && errno == EAGAIN));
        have += got > 0 ? (size_t)got : 0;
    }
    cr_assert_eq(a.t->link_count, 1);
    cr_assert_eq(a.t->half_open_count, 1);
    close(fd);
    RUN_UNTIL(a.t->link_count == 0);
    cr_assert_eq(a.t->half_open_count, 0);
    pv_session_free(s);
    finish();
}

Test(tcp, out_of_descriptors)
{
    struct rlimit limit, low;
    begin();
    int one = raw_connect(&a), two = raw_connect(&a);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = 0; /* no new descriptor at all; open ones go on */
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (!pvt_log_has(&a.node.log, "connection not accepted"))
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    close(one);
    close(two);
    connect_both();
    finish();
}

/* All but one of the sessions that may be are made up. */
Test(tcp, as_many_sessions_as_allowed)
{
    begin();
    host_init(&c, 3);
    for (pv_link id = UINT32_MAX; a.t->by_id.count < PV_SESSIONS_MAX - 1; id--)
        cr_assert_eq(pv_map_put(&a.t->by_id, &id, &a), PV_OK);
    connect_both();
    pv_link first = a.link;
    cr_assert_eq(a.t->by_id.count, PV_SESSIONS_MAX);
    cr_assert_eq(pv_tcp_add_peer(c.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(c.downs == 1);
    cr_assert_eq(c.down_goodbye, PV_BYE_LIMIT);
    cr_assert_eq(a.ups, 1);
    for (pv_link id = UINT32_MAX; a.t->by_id.count > 1; id--)
        pv_map_remove(&a.t->by_id, &id);
    RUN_UNTIL(a.ups == 2 && c.ups == 2); /* it came again */
    host_release(&c);
    RUN_UNTIL(a.downs == 1);
    a.link = first;
    finish();
}

/* ---- one node, one link ---- */

Test(tcp, both_dial_at_once_and_one_link_survives)
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
Test(tcp, two_addresses_of_one_node)
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

Test(tcp, identity_that_runs_twice_is_refused_twice)
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
Test(tcp, twins_cannot_fill_the_log)
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

Test(tcp, dead_predecessor_makes_way_after_the_time_to_answer)
{
    frozen_predecessor(true);
}

Test(tcp, predecessor_that_ends_makes_way_at_once)
{
    frozen_predecessor(false);
}

/* PV_SESSIONS_PER_NODE_MAX: one is in use, one is held while that is asked whether it lives; no
 * third one waits with them. */
Test(tcp, a_third_process_of_one_identity_is_refused)
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
Test(tcp, paused_predecessor_is_replaced)
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
Test(tcp, an_answer_from_before_proves_nothing)
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
