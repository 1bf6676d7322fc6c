/* Hosts with real sockets on loopback, port 0, and one loop for all of them. Nothing is timed:
 * every wait is for a condition, with the timeout of the suite behind it. Each test ends with
 * uv_loop_close == 0. */
#ifndef PV_TESTS_TRANSPORT_TCP_FIXTURE_H
#define PV_TESTS_TRANSPORT_TCP_FIXTURE_H

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

static inline void on_up(void *ctx, pv_link link, const struct pv_session_peer *peer,
                         const char *address)
{
    struct host *h = ctx;
    cr_assert_not(in_call);
    cr_assert_neq(link, 0);
    cr_assert_neq(strchr(address, ':'), NULL);
    h->link = link;
    h->peer = *peer;
    h->ups++;
}

static inline void on_message(void *ctx, pv_link link, uint8_t type, const uint8_t *body,
                              size_t len)
{
    struct host *h = ctx;
    (void)body;
    (void)len;
    cr_assert_not(in_call);
    cr_assert_eq(link, h->link);
    h->messages++;
    h->last_type = type;
}

static inline void on_data(void *ctx, pv_link link, uint32_t stream, uint8_t flags,
                           const uint8_t *bytes, size_t len)
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
static inline void send_on(struct host *h)
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

static inline void on_writable(void *ctx, pv_link link)
{
    struct host *h = ctx;
    cr_assert_not(in_call);
    cr_assert(pv_tcp_writable(h->t, link));
    h->writables++;
    send_on(h);
}

static inline void on_pong(void *ctx, pv_link link, uint64_t rtt_ms)
{
    struct host *h = ctx;
    cr_assert_not(in_call);
    cr_assert_eq(link, h->link);
    cr_assert_lt(rtt_ms, 60000);
    h->pongs++;
}

static inline void on_down(void *ctx, pv_link link, enum pv_err err, uint8_t goodbye)
{
    struct host *h = ctx;
    cr_assert_not(in_call);
    cr_assert_eq(link, h->link);
    h->link = 0;
    h->downs++;
    h->down_err = err;
    h->down_goodbye = goodbye;
}

static inline void on_twice(void *ctx, const struct pv_id *node_id, const char *one,
                            const char *other)
{
    struct host *h = ctx;
    cr_assert(pv_id_equal(node_id, &h->peer.handshake.node_id));
    cr_assert_str_neq(one, other);
    h->twices++;
}

static inline void host_start(struct host *h)
{
    const struct pv_tcp_handler handler = {h,       on_up,   on_message, on_data, on_writable,
                                           on_pong, on_down, on_twice,   NULL,    NULL};
    h->closed = false;
    cr_assert_eq(pv_tcp_new(&h->t, &loop, &h->node.ctx, &handler), PV_OK);
}

/* On real clocks: libuv's timers know no other. */
static inline void host_init(struct host *h, uint8_t number)
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

static inline void on_closed(void *arg)
{
    ((struct host *)arg)->closed = true;
}

#define RUN_UNTIL(cond)                 \
    do {                                \
        while (!(cond))                 \
            uv_run(&loop, UV_RUN_ONCE); \
    } while (false)

static inline void host_stop(struct host *h)
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

static inline void host_release(struct host *h)
{
    host_stop(h);
    node_release(&h->node);
}

static struct host a, b;
static size_t fds_before;

static inline void begin(void)
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

static inline void finish(void)
{
    host_release(&b);
    host_release(&a);
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
    cr_assert_eq(pvt_open_fds(), fds_before);
}

/* b dials a. */
static inline void connect_both(void)
{
    cr_assert_eq(pv_tcp_add_peer(b.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(a.link != 0 && b.link != 0);
}

static inline void say(struct host *h, uint8_t type)
{
    const uint8_t payload[] = {type, 1, 2};
    in_call = true;
    cr_assert_eq(pv_tcp_send(h->t, h->link, payload, sizeof payload), PV_OK);
    in_call = false;
}

/* A listener made of plain system calls, and its address. */
static inline int raw_listen(struct sockaddr_storage *address, char text[static 32])
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
/* A client made of plain system calls. */
static inline int raw_connect(struct host *h)
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
static inline bool raw_ended(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);
    cr_assert_leq(got, 0, "silence towards strangers");
    return got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

#endif
