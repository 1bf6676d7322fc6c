/* Between sessions and node: what each hears of the other, and how sessions are set up. */
#include "internal/server/uv_server_impl.h"

#include <stdio.h>
#include <string.h>

/* ---- what the node asks for ---- */

static void io_submit(void *ctx, struct pv_job *job)
{
    struct server *s = ctx;
    pv_pool_submit(s->pool, job);
}

static enum pv_err io_send(void *ctx, pv_link link, const uint8_t *payload, size_t len)
{
    struct server *s = ctx;
    return s->tcp == NULL ? PV_E_CLOSED : pv_tcp_send(s->tcp, link, payload, len);
}

static enum pv_err io_send_data(void *ctx, pv_link link, uint32_t stream, uint8_t flags,
                                const uint8_t *data, size_t len)
{
    struct server *s = ctx;
    return s->tcp == NULL ? PV_E_CLOSED : pv_tcp_send_data(s->tcp, link, stream, flags, data, len);
}

static enum pv_err io_ping(void *ctx, pv_link link)
{
    struct server *s = ctx;
    return s->tcp == NULL ? PV_E_CLOSED : pv_tcp_ping(s->tcp, link);
}

static bool io_writable(void *ctx, pv_link link)
{
    struct server *s = ctx;
    return s->tcp != NULL && pv_tcp_writable(s->tcp, link);
}

static void io_pause(void *ctx, pv_link link, bool paused)
{
    struct server *s = ctx;
    if (s->tcp != NULL)
        pv_tcp_pause(s->tcp, link, paused);
}

static bool io_slowed(void *ctx, pv_link link)
{
    struct server *s = ctx;
    return s->tcp != NULL && pv_tcp_slowed(s->tcp, link);
}

static void io_drop(void *ctx, pv_link link, uint8_t goodbye)
{
    struct server *s = ctx;
    if (s->tcp != NULL)
        pv_tcp_drop(s->tcp, link, goodbye);
}

static void io_reach(void *ctx, const struct pv_id *node_id, const char *const *addresses,
                     size_t count)
{
    struct server *s = ctx;
    if (s->tcp != NULL && s->config->daemon)
        pv_tcp_reach(s->tcp, node_id, addresses, count);
}

static void io_token(void *ctx, const struct pv_msg_token *token)
{
    struct server *s = ctx;
    pv_cluster_token_heard(s->cluster, token);
}

static void io_key(void *ctx, pv_link link, const struct pv_msg_key *key)
{
    struct server *s = ctx;
    pv_cluster_key_heard(s->cluster, link, key);
}

static void io_cluster(void *ctx, const uint8_t *env, size_t len)
{
    struct server *s = ctx;
    pv_cluster_record_heard(s->cluster, env, len);
}

struct pv_node_io pv_server_node_io(struct server *s)
{
    return (struct pv_node_io){.ctx = s,
                               .submit = io_submit,
                               .send = io_send,
                               .send_data = io_send_data,
                               .ping = io_ping,
                               .writable = io_writable,
                               .pause = io_pause,
                               .slowed = io_slowed,
                               .token = io_token,
                               .key = io_key,
                               .cluster = io_cluster,
                               .drop = io_drop,
                               .reach = io_reach};
}

/* ---- what sessions tell ---- */

static void tcp_up(void *ctx, pv_link link, const struct pv_session_peer *peer, const char *address)
{
    struct server *s = ctx;
    if (peer->handshake.is_guest)
        pv_cluster_guest_up(s->cluster, link, peer, address);
    else
        pv_node_peer_up(s->node, link, peer, address);
}

static void tcp_message(void *ctx, pv_link link, uint8_t type, const uint8_t *body, size_t len)
{
    struct server *s = ctx;
    if (!pv_cluster_guest_message(s->cluster, link, type, body, len))
        pv_node_peer_message(s->node, link, type, body, len);
}

static void tcp_data(void *ctx, pv_link link, uint32_t stream, uint8_t flags, const uint8_t *bytes,
                     size_t len)
{
    struct server *s = ctx;
    if (!pv_cluster_guest_message(s->cluster, link, 0, NULL, 0)) /* which is none for a guest */
        pv_node_peer_data(s->node, link, stream, flags, bytes, len);
}

static void tcp_writable(void *ctx, pv_link link)
{
    struct server *s = ctx;
    pv_node_peer_writable(s->node, link);
}

static void tcp_pong(void *ctx, pv_link link, uint64_t rtt_ms)
{
    struct server *s = ctx;
    pv_node_peer_pong(s->node, link, rtt_ms);
    pv_cluster_pong(s->cluster, link, rtt_ms);
}

static uint64_t tcp_dial_after_ms(void *ctx, const struct pv_id *node_id)
{
    struct server *s = ctx;
    return pv_node_banned_until_ms(s->node, node_id);
}

static void tcp_down(void *ctx, pv_link link, enum pv_err err, uint8_t goodbye)
{
    struct server *s = ctx;
    if (pv_cluster_guest_down(s->cluster, link))
        return;
    if (err == PV_E_PROTOCOL)
        pv_node_peer_fault(s->node, link);
    if (goodbye == PV_BYE_TWICE)
        pv_node_peer_says_twice(s->node, link);
    pv_node_peer_down(s->node, link);
    pv_cluster_link_down(s->cluster, link);
}

/* Only what we saw ourselves ends the daemon: that a peer says so may be a lie. */
static void tcp_twin(void *ctx, const char *address)
{
    struct server *s = ctx;
    if (s->err != PV_OK)
        return;
    s->err = PV_E_AUTH;
    (void)snprintf(
        s->why, PV_SETUP_TEXT_MAX,
        "this identity runs twice: at %.100s another node uses a copy of this vault; give "
        "one of them a vault of its own",
        address);
    pv_server_stop(s);
}

/* ---- up ---- */

enum pv_err pv_server_start_sessions(struct server *s)
{
    const struct pv_server_config *c = s->config;
    struct pv_handshake_context *h = &s->sessions.handshake;
    pv_noise_static_make(&s->noise_static, &c->setup->identity, c->env);
    *h = (struct pv_handshake_context){.env = c->env,
                                       .identity = &c->setup->identity,
                                       .noise_static = &s->noise_static,
                                       .max_skew_ms = c->max_skew_ms,
                                       .role = c->role,
                                       .features = PV_FEATURE_KEYS};
    enum pv_err err = pv_replay_cache_new(&h->replay, c->env);
    if (err == PV_OK)
        err = pv_server_open_doors(s);
    pv_server_prove_keys(s);

    struct pv_store_origin origin = pv_store_origin(s->store);
    s->sessions.hello.version = PV_HELLO_VERSION;
    s->sessions.hello.role = c->role;
    s->sessions.hello.open_count = origin.open_count;
    memcpy(s->sessions.hello.store_uuid, origin.uuid, sizeof origin.uuid);
    pv_env_random(c->env, s->sessions.hello.boot_random, sizeof s->sessions.hello.boot_random);
    struct pv_tcp_handler handler = {.ctx = s,
                                     .up = tcp_up,
                                     .message = tcp_message,
                                     .data = tcp_data,
                                     .writable = tcp_writable,
                                     .pong = tcp_pong,
                                     .down = tcp_down,
                                     .twin = tcp_twin,
                                     .dial_after_ms = tcp_dial_after_ms};
    if (err == PV_OK)
        err = pv_tcp_new(&s->tcp, &s->loop, &s->sessions, &handler);
    if (err == PV_OK) {
        pv_tcp_limit(s->tcp, s->descriptors.connections);
        pv_tcp_set_bandwidth(s->tcp, &s->bandwidth);
    }
    return err;
}
