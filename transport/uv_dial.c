/*
 * Keeps the added addresses connected: dialer.h says when, this file resolves the name, tries the
 * resulting addresses until a session is up, and tells the dialer how it went.
 *
 * The addresses are tried in the order of the system, but with IPv6 and IPv4 in turns, and the next
 * one a little while after the one before, whether that has failed by then or not: a way that leads
 * nowhere costs PV_CONNECT_STAGGER_MS, not PV_CONNECT_MS. The first connection that stands is used,
 * the others are given up, and their addresses come again when it turns out to be no peer.
 */
#include "internal/base/limits.h"
#include "internal/base/mem.h"
#include "transport/uv_tcp_impl.h"

#include <stdio.h>

static void failed(struct dial *d, enum pv_refusal refusal, const char *what)
{
    struct pv_tcp *t = d->t;
    if (refusal == PV_REFUSED_NOT && d->refusal != PV_REFUSED_NOT) {
        refusal = d->refusal; /* someone answered at an earlier address */
        what = d->cause;
    }
    /* The session has logged most refusals; the rest is said once, not at every attempt. */
    bool unsaid = refusal == PV_REFUSED_NOT || refusal == PV_REFUSED_SELF;
    if (unsaid && strcmp(d->dialer.error, what) != 0)
        PV_LOG(t->env->log, PV_LOG_WARN, PV_SUB_TCP, "cannot connect", "peer", d->dialer.text,
               "cause", what);
    pv_dialer_failed(&d->dialer, refusal, t->ctx->handshake.token_count, what);
    pv_tcp_arm(t);
}

/* ---- connecting ---- */

static void on_connect(uv_connect_t *request, int status)
{
    struct link *l = request->data;
    if (l->state == LINK_CONNECTING)
        pv_dial_connected(l, status);
}

static void set_port(struct sockaddr_storage *a, uint16_t port)
{
    if (a->ss_family == AF_INET)
        ((struct sockaddr_in *)a)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)a)->sin6_port = htons(port);
}

/* Goes on to the next address that was found until one has an answer pending: true. */
static bool connect_found(struct dial *d, int *status)
{
    struct pv_tcp *t = d->t;
    while (d->found_next < d->found_count) {
        struct link *l = pv_link_new(t, d);
        if (l == NULL) {
            *status = UV_ENOMEM;
            return false;
        }
        l->peer = d->found[d->found_next++];
        if (d->learned)
            pv_sockaddr_format(l->address, &l->peer);
        else
            snprintf(l->address, sizeof l->address, "%s", d->dialer.text);
        l->connect.data = l;
        *status =
            uv_tcp_connect(&l->connect, &l->socket, (const struct sockaddr *)&l->peer, on_connect);
        if (*status == 0) {
            uint64_t now_ms = pv_env_mono_ms(t->env);
            bool others = d->found_next < d->found_count;
            pv_link_arm(l, now_ms + PV_CONNECT_MS);
            d->connecting++;
            d->next_at_ms = others ? now_ms + PV_CONNECT_STAGGER_MS : 0;
            pv_tcp_arm(t);
            return true;
        }
        l->dial = NULL;
        pv_link_close(l);
    }
    return false;
}

static bool look_up(struct dial *d, int *status);

/* Likewise of all addresses that were given; else, once none of them is waited for, this dial has
 * failed. status: why the last one has. */
static void connect_next(struct dial *d, int status)
{
    struct pv_tcp *t = d->t;
    d->next_at_ms = 0;
    for (;;) {
        bool more = d->address_next < d->address_count && !d->retired;
        bool full = t->link_count >= t->connections_max;
        if (d->connecting > 0 && (full || d->found_next == d->found_count))
            return;
        if (full && (more || d->found_next < d->found_count)) {
            failed(d, PV_REFUSED_NOT, "too many connections");
            return;
        }
        if (connect_found(d, &status))
            return;
        if (!more) {
            failed(d, PV_REFUSED_NOT, uv_strerror(status));
            return;
        }
        if (look_up(d, &status))
            return;
    }
}

/* One stands: the others are not waited for, but may be tried later in this dial. */
static void give_up_others(struct dial *d, const struct link *stands)
{
    PV_LIST_EACH(&d->t->links, e)
    {
        struct link *other = PV_LIST_ENTRY(e, struct link, all);
        if (other->dial != d || other == stands)
            continue;
        d->found[--d->found_next] = other->peer; /* those before found_next are done with */
        other->dial = NULL;
        pv_link_close(other);
    }
    d->connecting = 0;
    d->next_at_ms = 0;
}

void pv_dial_connected(struct link *l, int status)
{
    struct dial *d = l->dial;
    d->connecting--;
    if (status == 0) {
        give_up_others(d, l);
        size_t token = d->dialer.token;
        pv_link_open(l, token < d->t->ctx->handshake.token_count ? token : 0);
        return;
    }
    l->dial = NULL;
    pv_link_close(l);
    if (!d->t->closing)
        connect_next(d, status);
}

/* ---- resolving ---- */

static void add_found(struct dial *d, const struct sockaddr *a, size_t len)
{
    struct sockaddr_storage *slot = &d->found[d->found_count];
    memcpy(slot, a, len);
    set_port(slot, d->dialer.address.port);
    if (!d->learned || pv_reach_allows(d->t, slot))
        d->found_count++;
}

/* Families in turns, the first one first. */
static void interleave(struct dial *d)
{
    struct sockaddr_storage sorted[PV_RESOLVED_MAX];
    size_t at[2] = {0, 0}; /* of the family of the first, and of the other */
    for (size_t i = 0; i < d->found_count; i++) {
        size_t turn = i % 2;
        for (unsigned tries = 0; tries < 2; tries++, turn = 1 - turn) {
            size_t *k = &at[turn];
            while (*k < d->found_count &&
                   (d->found[*k].ss_family == d->found[0].ss_family) != (turn == 0))
                ++*k;
            if (*k < d->found_count)
                break;
        }
        sorted[i] = d->found[at[turn]++];
    }
    memcpy(d->found, sorted, d->found_count * sizeof sorted[0]);
}

void pv_dial_take(struct dial *d, const struct addrinfo *list)
{
    const struct addrinfo *a;
    for (a = list; a != NULL && d->found_count < PV_RESOLVED_MAX; a = a->ai_next)
        if (a->ai_family == AF_INET || a->ai_family == AF_INET6)
            add_found(d, a->ai_addr, a->ai_addrlen);
    interleave(d);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct dial *d = request->data;
    struct pv_tcp *t = d->t;
    d->resolving = false;
    t->resolving--;
    pv_dial_take(d, list);
    uv_freeaddrinfo(list);
    if (t->closing)
        pv_tcp_finish(t);
    else
        connect_next(d, status < 0 ? status : UV_EAI_NONAME);
}

/* The next of the addresses that were given. True: a name is being looked up; else it is a number,
 * or *status says why not. */
static bool look_up(struct dial *d, int *status)
{
    const struct pv_address *a = &d->addresses[d->address_next++];
    struct pv_tcp *t = d->t;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } number;
    d->dialer.address = *a;
    d->found_count = d->found_next = 0;
    *status = UV_EAI_NONAME; /* where none is allowed */
    if (uv_ip4_addr(a->host, a->port, &number.in) == 0) {
        add_found(d, &number.any, sizeof number.in);
        return false;
    }
    if (uv_ip6_addr(a->host, a->port, &number.in6) == 0) {
        add_found(d, &number.any, sizeof number.in6);
        return false;
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    d->resolve.data = d;
    *status = uv_getaddrinfo(t->loop, &d->resolve, on_resolved, a->host, NULL, &hints);
    d->resolving = *status == 0;
    t->resolving += d->resolving;
    return d->resolving;
}

static void start(struct dial *d)
{
    pv_dialer_start(&d->dialer);
    d->refusal = PV_REFUSED_NOT;
    d->found_count = d->found_next = d->address_next = 0;
    connect_next(d, UV_EAI_NONAME);
}

/* ---- what becomes of it ---- */

void pv_dial_up(struct link *l)
{
    pv_dialer_up(&l->dial->dialer, &pv_session_peer(l->session)->handshake.node_id);
}

/*
 * Silence tells most, as it is answered with the other token. That one of several addresses is ours
 * tells nothing: all nodes may share a name, and the others of it are wanted soon. Nor does it of
 * one that another member named: many machines have the same private address.
 */
static void refused(struct dial *d, enum pv_refusal refusal, const char *cause)
{
    bool shared = refusal == PV_REFUSED_SELF && (d->found_count > 1 || d->learned);
    if (shared || refusal == PV_REFUSED_NOT ||
        (d->refusal != PV_REFUSED_NOT && refusal != PV_REFUSED_SILENT))
        return;
    d->refusal = refusal;
    snprintf(d->cause, sizeof d->cause, "%s", cause);
}

void pv_dial_down(struct link *l, const struct pv_session_effect *e, const char *cause)
{
    struct dial *d = l->dial;
    l->dial = NULL;
    if (d->dialer.state != PV_DIALER_UP) {
        /* A refusal may also be ours: closed by drop or close before it was up. */
        refused(d, e->refusal, cause);
        bool more = d->found_next < d->found_count || d->address_next < d->address_count;
        if (!d->t->closing && more)
            connect_next(d, 0);
        else
            failed(d, PV_REFUSED_NOT, cause);
        return;
    }
    bool cut = e->goodbye == 0 && (e->err == PV_E_CLOSED || e->err == PV_E_TIMEOUT);
    pv_dialer_down(&d->dialer,
                   e->renew ? PV_DIALER_AGREED
                   : cut    ? PV_DIALER_CUT
                            : PV_DIALER_ENDED,
                   cause);
    pv_tcp_arm(d->t);
}

void pv_dial_uncover(struct pv_tcp *t, const struct pv_id *node_id)
{
    for (size_t i = 0; i < t->dial_count; i++) {
        struct pv_dialer *d = &t->dials[i]->dialer;
        if (d->has_node_id && pv_id_equal(&d->node_id, node_id))
            pv_dialer_uncover(d);
    }
    pv_tcp_arm(t);
}

static uint64_t allowed_ms(const struct pv_tcp *t, const struct pv_id *node_id)
{
    return t->handler.dial_after_ms != NULL ? t->handler.dial_after_ms(t->handler.ctx, node_id) : 0;
}

void pv_dial_due(struct pv_tcp *t, uint64_t now_ms)
{
    for (size_t i = 0; i < t->dial_count; i++) {
        struct dial *d = t->dials[i];
        if (d->next_at_ms != 0 && d->next_at_ms <= now_ms)
            connect_next(d, UV_ETIMEDOUT);
        if (d->retired || pv_dialer_due_ms(&d->dialer) > now_ms)
            continue;
        uint64_t after_ms = d->dialer.has_node_id ? allowed_ms(t, &d->dialer.node_id) : 0;
        if (after_ms > now_ms)
            pv_dialer_postpone(&d->dialer, after_ms, "banned here");
        else if (d->dialer.has_node_id && pv_pair_find(t, &d->dialer.node_id) != NULL)
            pv_dialer_cover(&d->dialer);
        else
            start(d);
    }
}

uint64_t pv_dial_next_ms(const struct pv_tcp *t)
{
    uint64_t next_ms = UINT64_MAX;
    for (size_t i = 0; i < t->dial_count; i++) {
        const struct dial *d = t->dials[i];
        uint64_t due_ms = d->retired ? UINT64_MAX : pv_dialer_due_ms(&d->dialer);
        if (d->next_at_ms != 0 && d->next_at_ms < due_ms)
            due_ms = d->next_at_ms;
        if (due_ms < next_ms)
            next_ms = due_ms;
    }
    return next_ms;
}

void pv_dial_stop(struct pv_tcp *t)
{
    for (size_t i = 0; i < t->dial_count; i++)
        if (t->dials[i]->resolving)
            uv_cancel((uv_req_t *)&t->dials[i]->resolve); /* too late: its callback comes anyway */
}
