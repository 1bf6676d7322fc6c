/*
 * The interface, listening and the end. Calls from the handler only queue (in the session) and put
 * the link on the work list; an idle handle, active while the list is not empty, works it off once
 * a turn of the loop. pv_tcp_close says GOODBYE everywhere, gives it PV_LINGER_MS, closes the rest
 * by force, and closes its own handles when the last link is gone.
 */
#include "internal/base/limits.h"
#include "internal/base/mem.h"
#include "transport/uv_tcp_impl.h"

#include <stdio.h>

enum { ACCEPT_AGAIN_MS = 1000, ACCEPT_LOG_MS = 10000 };

static uint64_t now_of(const struct pv_tcp *t)
{
    return pv_env_mono_ms(t->env);
}

static struct link *find(const struct pv_tcp *t, pv_link link)
{
    return pv_map_get(&t->by_id, &link);
}

void pv_sockaddr_format(char dst[static PV_ADDRESS_TEXT_LEN], const struct sockaddr_storage *a)
{
    char host[INET6_ADDRSTRLEN] = "?";
    uint16_t port;
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;
        uv_ip6_name(in6, host, sizeof host);
        port = ntohs(in6->sin6_port);
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)a;
        uv_ip4_name(in, host, sizeof host);
        port = ntohs(in->sin_port);
    }
    pv_address_format(dst, host, port);
}

/* ---- the work list ---- */

static void on_idle(uv_idle_t *idle)
{
    struct pv_tcp *t = idle->data;
    struct pv_list turn; /* what is scheduled meanwhile waits for the next turn */
    pv_list_init(&turn);
    PV_LIST_EACH(&t->work, e)
    {
        pv_list_remove(e);
        pv_list_push_back(&turn, e);
    }
    while (!pv_list_empty(&turn)) {
        struct link *l = PV_LIST_ENTRY(turn.next, struct link, work);
        pv_list_remove(&l->work);
        pv_link_work(l);
    }
    if (pv_list_empty(&t->work))
        uv_idle_stop(idle);
}

void pv_tcp_wake(struct pv_tcp *t)
{
    if (!t->finishing)
        uv_idle_start(&t->idle, on_idle);
}

/* ---- accepting ---- */

static void log_accept(struct pv_tcp *t, const char *peer, const char *cause)
{
    uint64_t now_ms = now_of(t);
    if (t->accept_logged_ms != 0 && now_ms - t->accept_logged_ms < ACCEPT_LOG_MS)
        return;
    t->accept_logged_ms = now_ms;
    PV_LOG(t->env->log, PV_LOG_WARN, PV_SUB_TCP, "connection not accepted", "peer", peer, "cause",
           cause);
}

bool pv_sockaddr_is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *in6 = &((const struct sockaddr_in6 *)a)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
}

static struct pv_host host_of(const struct sockaddr_storage *a)
{
    struct pv_host out;
    if (a->ss_family == AF_INET)
        pv_host_of_ipv4(&out, (const uint8_t *)&((const struct sockaddr_in *)a)->sin_addr);
    else
        pv_host_of_ipv6(&out, ((const struct sockaddr_in6 *)a)->sin6_addr.s6_addr);
    return out;
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct pv_host one = host_of(a), two = host_of(b);
    return memcmp(&one, &two, sizeof one) == 0;
}

/* The user named it, as far as its name has been resolved yet. */
static bool is_configured(const struct pv_tcp *t, const struct sockaddr_storage *a)
{
    for (size_t i = 0; i < t->dial_count; i++)
        for (size_t k = 0; k < t->dials[i]->found_count; k++)
            if (!t->dials[i]->learned && same_host(&t->dials[i]->found[k], a))
                return true;
    return false;
}

static size_t half_open_of_host(const struct pv_tcp *t, const struct link *l)
{
    size_t count = 0;
    PV_LIST_EACH(&t->links, e)
    {
        const struct link *other = PV_LIST_ENTRY(e, struct link, all);
        count += other->half_open && same_host(&other->peer, &l->peer);
    }
    return count;
}

/* Sockets that strangers may not take: without them nobody whom the user named would be reached. */
static size_t kept_for_dials(const struct pv_tcp *t)
{
    size_t dialled = 0, half = t->connections_max / 2;
    size_t kept = t->static_count < half ? t->static_count : half;
    PV_LIST_EACH(&t->links, e)
    {
        const struct dial *d = PV_LIST_ENTRY(e, struct link, all)->dial;
        dialled += d != NULL && !d->learned;
    }
    return kept > dialled ? kept - dialled : 0;
}

/* Why not to talk to it, or NULL. The link itself is counted in link_count already. */
static const char *too_many(struct pv_tcp *t, const struct link *l)
{
    if (t->link_count + kept_for_dials(t) > t->connections_max)
        return "too many connections";
    if (is_configured(t, &l->peer)) /* strangers from many hosts do not keep it out */
        return NULL;
    if (t->half_open_count >= PV_HALF_OPEN_MAX || t->half_open_count >= t->connections_max / 2)
        return "too many unfinished handshakes";
    if (pv_sockaddr_is_loopback(&l->peer))
        return NULL;
    const struct pv_host host = host_of(&l->peer);
    if (!pv_hosts_admit(t->hosts, &host))
        return "too many handshakes of this host";
    if (half_open_of_host(t, l) >= PV_HALF_OPEN_PER_HOST_MAX)
        return "too many unfinished handshakes of this host";
    return NULL;
}

static void accept_later(struct pv_tcp *t, const char *cause)
{
    t->accept_waits = true;
    t->accept_again_ms = now_of(t) + ACCEPT_AGAIN_MS;
    log_accept(t, NULL, cause);
    pv_tcp_arm(t);
}

static void accept_one(struct pv_tcp *t)
{
    struct link *l = pv_link_new(t, NULL);
    if (l == NULL) { /* libuv holds the connection, and accepts no other, until we take it */
        accept_later(t, pv_err_text(PV_E_NOMEM));
        return;
    }
    int len = sizeof l->peer;
    int status = uv_accept((uv_stream_t *)&t->listener->socket, (uv_stream_t *)&l->socket);
    if (status == 0)
        status = uv_tcp_getpeername(&l->socket, (struct sockaddr *)&l->peer, &len);
    if (status < 0) { /* gone again */
        pv_link_close(l);
        return;
    }
    pv_sockaddr_format(l->address, &l->peer);
    const char *refused = too_many(t, l);
    if (refused != NULL) {
        log_accept(t, l->address, refused);
        pv_link_close(l);
        return;
    }
    l->half_open = true;
    t->half_open_count++;
    pv_link_open(l, 0);
}

/* ---- listening ---- */

static void on_own_handle_closed(uv_handle_t *handle)
{
    struct pv_tcp *t = handle->data;
    if (--t->open_handles == 0)
        t->closed(t->closed_arg);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    handle->data = listener->t;
    on_own_handle_closed(handle);
    pv_free(listener);
}

static void close_listener(struct pv_tcp *t)
{
    if (t->listener != NULL)
        uv_close((uv_handle_t *)&t->listener->socket, on_listener_closed);
    t->listener = NULL;
}

/*
 * Out of descriptors. libuv sheds the waiting connections with a spare one; when another thread
 * has taken that, it calls here again and again without returning to the loop. Only to close the
 * listener ends this; the timer opens it again.
 */
static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *listener = stream->data;
    struct pv_tcp *t = listener->t;
    if (status == 0) {
        accept_one(t);
        return;
    }
    close_listener(t);
    accept_later(t, uv_strerror(status));
}

/* Binds t->listen_address, and completes it with the port that was free. A libuv status. */
static int open_listener(struct pv_tcp *t)
{
    struct listener *listener = pv_calloc(1, sizeof *listener);
    if (listener == NULL)
        return UV_ENOMEM;
    int len = sizeof t->listen_address;
    struct sockaddr *address = (struct sockaddr *)&t->listen_address;
    listener->t = t;
    int status = uv_tcp_init(t->loop, &listener->socket);
    PV_ASSERT(status == 0);
    listener->socket.data = listener;
    t->listener = listener;
    t->open_handles++;
    /* sets SO_REUSEADDR, so that a restart need not wait */
    status = uv_tcp_bind(&listener->socket, address, 0);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&listener->socket, TCP_BACKLOG, on_connection);
    if (status == 0)
        status = uv_tcp_getsockname(&listener->socket, address, &len);
    if (status < 0)
        close_listener(t);
    return status;
}

static void accept_again(struct pv_tcp *t)
{
    t->accept_waits = false;
    if (t->listener != NULL) {
        accept_one(t);
        return;
    }
    int status = open_listener(t);
    if (status < 0)
        accept_later(t, uv_strerror(status));
}

/* ---- time ---- */

static void close_by_force(struct pv_tcp *t)
{
    t->close_by_ms = UINT64_MAX;
    PV_LIST_EACH(&t->links, e)
    {
        struct link *l = PV_LIST_ENTRY(e, struct link, all);
        pv_link_withdraw(l, PV_E_CANCELLED, 0);
        pv_link_close(l);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct pv_tcp *t = timer->data;
    uint64_t now_ms = now_of(t);
    if (t->closing) {
        if (now_ms >= t->close_by_ms)
            close_by_force(t);
    } else {
        if (t->accept_waits && now_ms >= t->accept_again_ms)
            accept_again(t);
        pv_dial_due(t, now_ms);
    }
    pv_tcp_arm(t);
}

void pv_tcp_arm(struct pv_tcp *t)
{
    uint64_t next_ms = t->closing ? t->close_by_ms : pv_dial_next_ms(t);
    uint64_t now_ms = now_of(t);
    if (!t->closing && t->accept_waits && t->accept_again_ms < next_ms)
        next_ms = t->accept_again_ms;
    if (next_ms == UINT64_MAX || t->finishing)
        return;
    uv_update_time(t->loop);
    /* not 0: a timer that is due at once when its callback sets it keeps libuv from moving on */
    int status = uv_timer_start(&t->timer, on_timer, next_ms > now_ms ? next_ms - now_ms : 1, 0);
    PV_ASSERT(status == 0);
}

/* ---- life ---- */

enum pv_err pv_tcp_new(struct pv_tcp **out, uv_loop_t *loop, const struct pv_session_context *ctx,
                       const struct pv_tcp_handler *handler)
{
    struct pv_tcp *t = pv_calloc(1, sizeof *t);
    if (t == NULL || pv_hosts_new(&t->hosts, ctx->handshake.env) != PV_OK) {
        pv_free(t);
        return PV_E_NOMEM;
    }
    t->loop = loop;
    t->ctx = ctx;
    t->env = ctx->handshake.env;
    t->handler = *handler;
    t->connections_max = PV_CONNECTIONS_MAX;
    uint64_t seed;
    pv_env_random(t->env, &seed, sizeof seed);
    pv_map_init(&t->by_id, sizeof(pv_link), PV_SESSIONS_MAX, seed);
    pv_list_init(&t->links);
    pv_list_init(&t->work);
    int failed = uv_timer_init(loop, &t->timer);
    PV_ASSERT(failed == 0);
    failed = uv_idle_init(loop, &t->idle);
    PV_ASSERT(failed == 0);
    t->timer.data = t->idle.data = t;
    t->open_handles = 2;
    *out = t;
    return PV_OK;
}

void pv_tcp_limit(struct pv_tcp *t, size_t connections_max)
{
    PV_ASSERT(connections_max >= 2 && connections_max <= PV_CONNECTIONS_MAX);
    t->connections_max = connections_max;
}

void pv_tcp_finish(struct pv_tcp *t)
{
    if (!t->closing || t->finishing || t->resolving > 0 || !pv_list_empty(&t->links))
        return;
    t->finishing = true;
    uv_close((uv_handle_t *)&t->idle, on_own_handle_closed);
    uv_close((uv_handle_t *)&t->timer, on_own_handle_closed);
}

void pv_tcp_close(struct pv_tcp *t, void (*closed)(void *arg), void *arg)
{
    PV_ASSERT(!t->closing);
    t->closing = true;
    t->closed = closed;
    t->closed_arg = arg;
    t->close_by_ms = now_of(t) + PV_LINGER_MS;
    t->listens = false;
    close_listener(t);
    pv_dial_stop(t);
    PV_LIST_EACH(&t->links, e)
    {
        struct link *l = PV_LIST_ENTRY(e, struct link, all);
        if (l->state == LINK_CONNECTING) {
            pv_link_close(l);
        } else if (l->state == LINK_OPEN) {
            pv_session_close(l->session, PV_BYE_SHUTDOWN);
            pv_link_schedule(l);
        }
    }
    pv_tcp_arm(t);
    pv_tcp_finish(t);
}

void pv_tcp_free(struct pv_tcp *t)
{
    if (t == NULL)
        return;
    PV_ASSERT(t->open_handles == 0);
    for (size_t i = 0; i < t->dial_count; i++)
        pv_free(t->dials[i]);
    pv_map_release(&t->by_id);
    pv_hosts_free(t->hosts);
    pv_wipe(t->scratch, sizeof t->scratch);
    pv_free(t);
}

/* ---- listening and dialling ---- */

enum pv_err pv_tcp_address_check(const char *address)
{
    struct pv_address a;
    return pv_address_parse(&a, address);
}

/* Names are resolved while the caller waits: this is the start of the program. */
static int resolve_now(struct pv_tcp *t, struct sockaddr_storage *out, const struct pv_address *a)
{
    if (uv_ip4_addr(a->host, a->port, (struct sockaddr_in *)out) == 0 ||
        uv_ip6_addr(a->host, a->port, (struct sockaddr_in6 *)out) == 0)
        return 0;
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)a->port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    uv_getaddrinfo_t request;
    int status = uv_getaddrinfo(t->loop, &request, NULL, a->host, port, &hints);
    if (status < 0)
        return status;
    memcpy(out, request.addrinfo->ai_addr, request.addrinfo->ai_addrlen);
    uv_freeaddrinfo(request.addrinfo);
    return 0;
}

static enum pv_err listen_err(int status)
{
    if (status == UV_EADDRINUSE)
        return PV_E_BUSY;
    if (status == UV_EACCES || status == UV_EPERM)
        return PV_E_AUTH;
    if (status == UV_ENOMEM)
        return PV_E_NOMEM;
    if (status == UV_EADDRNOTAVAIL || (status <= UV_EAI_ADDRFAMILY && status >= UV_EAI_PROTOCOL))
        return PV_E_UNAVAILABLE; /* no address of this machine, or not yet: networks come late */
    return PV_E_IO;
}

enum pv_err pv_tcp_listen(struct pv_tcp *t, const char *address)
{
    PV_ASSERT(!t->listens && !t->closing);
    struct pv_address a;
    enum pv_err err = pv_address_parse(&a, address);
    if (err != PV_OK)
        return err;
    int status = resolve_now(t, &t->listen_address, &a);
    if (status == 0)
        status = open_listener(t);
    if (status < 0) {
        PV_LOG(t->env->log, PV_LOG_ERROR, PV_SUB_TCP, "cannot listen", "address", address, "cause",
               uv_strerror(status));
        return listen_err(status);
    }
    t->listens = true;
    pv_sockaddr_format(t->listen_text, &t->listen_address);
    return PV_OK; /* the daemon says it, when it is ready for what comes */
}

const char *pv_tcp_listening(const struct pv_tcp *t)
{
    return t->listens ? t->listen_text : NULL;
}

enum pv_err pv_tcp_add_peer(struct pv_tcp *t, const char *address)
{
    struct pv_dialer dialer;
    if (t->closing)
        return PV_E_CLOSED;
    enum pv_err err = pv_dialer_init(&dialer, t->env, address);
    if (err != PV_OK || dialer.address.port == 0)
        return PV_E_INVALID;
    for (size_t i = 0; i < t->dial_count; i++)
        if (!t->dials[i]->learned && strcmp(t->dials[i]->dialer.text, dialer.text) == 0)
            return PV_OK;
    if (t->static_count >= PV_STATIC_PEERS_MAX)
        return PV_E_LIMIT;
    struct dial *d = pv_calloc(1, sizeof *d);
    if (d == NULL)
        return PV_E_NOMEM;
    d->t = t;
    d->dialer = dialer;
    d->addresses[0] = dialer.address;
    d->address_count = 1;
    t->dials[t->dial_count++] = d;
    t->static_count++;
    pv_tcp_arm(t);
    return PV_OK;
}

size_t pv_tcp_peer_count(const struct pv_tcp *t)
{
    return t->dial_count;
}

void pv_tcp_peer_status(const struct pv_tcp *t, size_t index, struct pv_tcp_peer_status *out)
{
    PV_ASSERT(index < t->dial_count);
    const struct pv_dialer *d = &t->dials[index]->dialer;
    uint64_t due_ms = t->dials[index]->retired ? UINT64_MAX : pv_dialer_due_ms(d);
    *out = (struct pv_tcp_peer_status){
        .address = d->text,
        .retired = t->dials[index]->retired,
        .connected = d->state == PV_DIALER_UP || d->state == PV_DIALER_COVERED,
        .node_id = d->has_node_id ? &d->node_id : NULL,
        .learned = t->dials[index]->learned,
        .last_error = d->error[0] != '\0' ? d->error : NULL,
        .refusal = t->dials[index]->refusal,
        .next_dial_ms = due_ms != UINT64_MAX ? due_ms : 0,
    };
}

/* ---- links ---- */

bool pv_tcp_slowed(const struct pv_tcp *t, pv_link link)
{
    const struct link *l = find(t, link);
    return l != NULL && pv_shape_slowed(l, now_of(t));
}

bool pv_tcp_traffic(const struct pv_tcp *t, pv_link link, struct pv_tcp_traffic *out)
{
    const struct link *l = find(t, link);
    uint64_t now_ms = now_of(t);
    if (l == NULL)
        return false;
    *out = (struct pv_tcp_traffic){.in_bytes = l->in.total,
                                   .out_bytes = l->out.total,
                                   .in_rate = pv_rate_per_s(&l->in, now_ms),
                                   .out_rate = pv_rate_per_s(&l->out, now_ms),
                                   .skew_ms = pv_session_peer(l->session)->handshake.skew_ms};
    return true;
}

static void queued(struct link *l)
{
    if (!pv_session_writable(l->session))
        l->above = true;
    pv_link_schedule(l);
}

enum pv_err pv_tcp_send(struct pv_tcp *t, pv_link link, const uint8_t *payload, size_t len)
{
    struct link *l = find(t, link);
    if (l == NULL)
        return PV_E_CLOSED;
    enum pv_err err = pv_session_send(l->session, payload, len);
    queued(l);
    return err;
}

enum pv_err pv_tcp_send_data(struct pv_tcp *t, pv_link link, uint32_t stream, uint8_t flags,
                             const uint8_t *data, size_t len)
{
    struct link *l = find(t, link);
    if (l == NULL)
        return PV_E_CLOSED;
    enum pv_err err = pv_session_send_data(l->session, stream, flags, data, len);
    queued(l);
    return err;
}

enum pv_err pv_tcp_ping(struct pv_tcp *t, pv_link link)
{
    struct link *l = find(t, link);
    if (l == NULL)
        return PV_E_CLOSED;
    enum pv_err err = pv_session_ping(l->session);
    l->pinged |= err == PV_OK;
    queued(l);
    return err;
}

bool pv_tcp_writable(const struct pv_tcp *t, pv_link link)
{
    const struct link *l = find(t, link);
    return l != NULL && pv_session_writable(l->session);
}

void pv_tcp_pause(struct pv_tcp *t, pv_link link, bool paused)
{
    struct link *l = find(t, link);
    if (l == NULL || l->paused == paused)
        return;
    pv_link_pause(l, paused);
    pv_link_schedule(l);
}

void pv_tcp_drop(struct pv_tcp *t, pv_link link, uint8_t goodbye)
{
    struct link *l = find(t, link);
    if (l == NULL)
        return;
    pv_session_close(l->session, goodbye);
    pv_link_schedule(l);
}
