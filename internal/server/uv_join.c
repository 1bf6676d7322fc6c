#include "internal/server/uv_join.h"

#include "internal/base/mem.h"
#include "transport/hello.h"
#include "transport/uv_tcp.h"

#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 200 };

struct asking {
    const struct pv_join *join;
    struct pv_join_result *out;
    char *why;
    enum pv_err err; /* TIMEOUT until something else is known */
    uv_loop_t loop;
    uv_timer_t timer;
    struct pv_noise_static noise_static;
    struct pv_session_context sessions;
    struct pv_tcp *tcp;
    pv_link link;              /* the one that was asked; 0: none yet */
    uint8_t hash[PV_HASH_LEN]; /* of its handshake */
    uint64_t until_ms;         /* mono */
    bool over, confirming;
};

static void on_closed(void *arg)
{
    struct asking *a = arg;
    uv_close((uv_handle_t *)&a->timer, NULL);
}

static void end(struct asking *a, enum pv_err err, const char *why)
{
    if (a->over)
        return;
    a->over = true;
    a->err = err;
    if (err != PV_OK)
        (void)snprintf(a->why, PV_JOIN_TEXT_MAX, "%s", why);
    pv_tcp_close(a->tcp, on_closed, a);
}

/* What went wrong at the addresses, when time is up. */
static void give_up(struct asking *a)
{
    char why[PV_JOIN_TEXT_MAX] = "the inviter cannot be reached";
    for (size_t i = 0; i < pv_tcp_peer_count(a->tcp); i++) {
        struct pv_tcp_peer_status st;
        size_t len = strlen(why);
        pv_tcp_peer_status(a->tcp, i, &st);
        (void)snprintf(why + len, sizeof why - len, "%s %s (%s)", i == 0 ? ":" : ",", st.address,
                       st.last_error != NULL ? st.last_error : "no answer");
    }
    end(a, PV_E_TIMEOUT, why);
}

/* An inviter that does not know the code is silent, as towards any stranger. */
static bool is_unknown_there(const struct asking *a)
{
    size_t silent = 0;
    for (size_t i = 0; i < pv_tcp_peer_count(a->tcp); i++) {
        struct pv_tcp_peer_status st;
        pv_tcp_peer_status(a->tcp, i, &st);
        if (st.last_error == NULL)
            return false; /* may still answer */
        silent += st.refusal == PV_REFUSED_SILENT;
    }
    return silent > 0 && a->link == 0;
}

static void on_look(uv_timer_t *timer)
{
    struct asking *a = timer->data;
    if (is_unknown_there(a))
        end(a, PV_E_AUTH, "the invite is not known there: it has expired, or the node lost it");
    else if (pv_env_mono_ms(a->join->env) >= a->until_ms)
        give_up(a);
}

static bool is_own_cluster(const struct pv_keyring *own, const struct pv_session_peer *peer)
{
    const struct pv_cluster_keys *readable[PV_KEYRING_KEYS_MAX];
    struct pv_session_context ours = {.readable = readable};
    struct pv_kid proven[PV_HELLO_PROOFS_MAX];
    for (size_t i = 0; i < own->key_count; i++)
        if (own->keys[i].state != PV_KEY_RETIRED)
            readable[ours.readable_count++] = &own->keys[i].keys;
    return pv_hello_proves(&peer->hello, &ours, peer->hash, !peer->dialled,
                           &peer->handshake.node_id, proven) > 0;
}

static void on_up(void *ctx, pv_link link, const struct pv_session_peer *peer, const char *address)
{
    struct asking *a = ctx;
    uint8_t payload[2 + 1 + PV_JOIN_NAME_MAX];
    struct pv_wr w = pv_wr_of(payload, sizeof payload);
    if (!pv_invite_is_from(a->join->invite, &peer->handshake.node_id)) {
        end(a, PV_E_AUTH, "another node than the inviter answered there: do not use this code");
        return;
    }
    if (a->join->own != NULL && !is_own_cluster(a->join->own, peer)) {
        end(a, PV_E_INVALID,
            "this vault belongs to another cluster: name another folder with --vault");
        return;
    }
    if (a->link != 0) {
        pv_tcp_drop(a->tcp, link, PV_BYE_DUPLICATE);
        return;
    }
    a->link = link;
    (void)address;
    a->out->inviter = peer->handshake.node_id;
    memcpy(a->hash, peer->hash, sizeof a->hash);
    pv_msg_put_join_request(&w, a->join->name);
    PV_ASSERT(!w.bad);
    if (pv_tcp_send(a->tcp, link, payload, pv_wr_len(&w)) != PV_OK)
        a->link = 0; /* down follows, and the next dial */
}

static void granted(struct asking *a)
{
    for (size_t i = 0; i < pv_tcp_peer_count(a->tcp); i++) {
        struct pv_tcp_peer_status st;
        pv_tcp_peer_status(a->tcp, i, &st);
        if (st.connected)
            (void)snprintf(a->out->reached, sizeof a->out->reached, "%s", st.address);
    }
    end(a, PV_OK, NULL);
}

static void confirm(struct asking *a)
{
    const struct pv_join *j = a->join;
    a->confirming = true;
    a->until_ms = pv_env_mono_ms(j->env) + PV_GUEST_CONFIRM_MS + PV_JOIN_WAIT_MS;
    j->show_number(j->arg, pv_invite_number(j->invite->id, j->invite->secret, a->hash));
}

static void on_message(void *ctx, pv_link link, uint8_t type, const uint8_t *body, size_t len)
{
    struct asking *a = ctx;
    struct pv_rd r = pv_rd_of(body, len);
    struct pv_msg_join *m = &a->out->grant;
    if (link != a->link || a->over)
        return;
    if (type != PV_MSG_JOIN || pv_msg_get_join(&r, m) != PV_OK || m->kind == PV_JOIN_REQUEST)
        end(a, PV_E_PROTOCOL, "the inviter's answer was not understood: is it of another version?");
    else if (m->kind == PV_JOIN_GRANT && m->role != a->join->invite->role)
        end(a, PV_E_PROTOCOL, "the inviter granted another role than the code says");
    else if (m->kind == PV_JOIN_GRANT)
        granted(a);
    else
        confirm(a);
}

static void on_data(void *ctx, pv_link link, uint32_t stream, uint8_t flags, const uint8_t *bytes,
                    size_t len)
{
    struct asking *a = ctx;
    (void)link, (void)stream, (void)flags, (void)bytes, (void)len;
    end(a, PV_E_PROTOCOL, "the inviter's answer was not understood: is it of another version?");
}

static void on_nothing(void *ctx, pv_link link)
{
    (void)ctx, (void)link;
}

static void on_pong(void *ctx, pv_link link, uint64_t rtt_ms)
{
    (void)ctx, (void)link, (void)rtt_ms;
}

static void on_down(void *ctx, pv_link link, enum pv_err err, uint8_t goodbye)
{
    struct asking *a = ctx;
    (void)err;
    if (link != a->link)
        return;
    a->link = 0; /* cut off: it is dialled again, and the same node may ask again */
    if (goodbye == PV_BYE_MEMBERSHIP)
        end(a, PV_E_AUTH,
            "the inviter refused: the invite has expired, or was used by another machine; its log "
            "says which");
    else if (goodbye == PV_BYE_IDLE && a->confirming)
        end(a, PV_E_TIMEOUT, "nobody confirmed this machine there");
    else if (goodbye == PV_BYE_PROTOCOL)
        end(a, PV_E_PROTOCOL, "the inviter did not understand: is it of another version?");
}

static enum pv_err prepare(struct asking *a)
{
    const struct pv_join *j = a->join;
    struct pv_tcp_handler handler = {.ctx = a,
                                     .up = on_up,
                                     .message = on_message,
                                     .data = on_data,
                                     .writable = on_nothing,
                                     .pong = on_pong,
                                     .down = on_down};
    pv_noise_static_make(&a->noise_static, j->identity, j->env);
    a->sessions.handshake = (struct pv_handshake_context){.env = j->env,
                                                          .identity = j->identity,
                                                          .noise_static = &a->noise_static,
                                                          .token_count = 1,
                                                          .max_skew_ms = PV_SKEW_MS_DEFAULT,
                                                          .role = PV_ROLE_BLIND};
    pv_invite_keys(&a->sessions.handshake.tokens[0], j->invite->id, j->invite->secret);
    a->sessions.hello.version = PV_HELLO_VERSION;
    a->sessions.hello.role = PV_ROLE_BLIND; /* it has no key yet */
    pv_env_random(j->env, a->sessions.hello.boot_random, sizeof a->sessions.hello.boot_random);
    enum pv_err err = pv_tcp_new(&a->tcp, &a->loop, &a->sessions, &handler);
    for (size_t i = 0; err == PV_OK && i < j->address_count; i++)
        err = pv_tcp_add_peer(a->tcp, j->addresses[i]);
    return err;
}

enum pv_err pv_join_ask(struct pv_join_result *out, const struct pv_join *join, char *why)
{
    memset(out, 0, sizeof *out);
    struct asking *a = pv_calloc(1, sizeof *a);
    if (a == NULL)
        return PV_E_NOMEM;
    *a = (struct asking){.join = join, .out = out, .why = why, .err = PV_E_TIMEOUT};
    int rc = uv_loop_init(&a->loop);
    PV_ASSERT(rc == 0);
    (void)uv_timer_init(&a->loop, &a->timer);
    a->timer.data = a;
    enum pv_err err = prepare(a);
    if (err != PV_OK && a->tcp != NULL)
        end(a, err, pv_err_text(err));
    else if (err != PV_OK)
        on_closed(a);
    else
        (void)uv_timer_start(&a->timer, on_look, LOOK_MS, LOOK_MS);
    a->until_ms = pv_env_mono_ms(join->env) + PV_JOIN_WAIT_MS;
    (void)uv_run(&a->loop, UV_RUN_DEFAULT);
    rc = uv_loop_close(&a->loop);
    PV_ASSERT(rc == 0);
    pv_tcp_free(a->tcp);
    err = err != PV_OK ? err : a->err;
    if (err != PV_OK)
        pv_wipe(out, sizeof *out);
    pv_wipe(a, sizeof *a);
    pv_free(a);
    return err;
}
