/*
 * Guests: sessions that came by an invite. A guest is nobody yet: the node core does not see it,
 * and JOIN is all that is listened to.
 *
 *   up -> REQUEST -> the invite is marked as used by this node (on disk) -> its member record is
 *   written (on disk) -> GRANT -> the guest says goodbye
 *
 * Where the invite says so, CONFIRM is sent before the record is written, and the operator asked.
 *
 * Marked first: of two machines with one code only one gets anything, also across a crash. The same
 * node may come again until the invite expires, so that a joiner that was cut off is not lost.
 */
#include "internal/cluster/cluster_private.h"
#include "internal/cluster/secrets.h"
#include "internal/node/decide.h"
#include "transport/msg.h"

#include <string.h>

struct guest {
    struct pv_cluster *cluster;
    struct pv_list list; /* of cluster->guests */
    pv_link link;        /* 0: gone; freed when the work that runs for it is done */
    struct pv_timer timer;
    struct pv_id node_id;
    uint8_t pub[PV_PUB_LEN];
    uint8_t invite_id[PV_INVITE_ID_LEN];
    uint8_t hash[PV_HASH_LEN]; /* of the handshake */
    uint8_t role;
    uint32_t number; /* if it is to be confirmed */
    char address[PV_ADDRESS_MAX + 1];
    bool asked, working, confirm, waits; /* waits: for the operator */
    struct pv_request *rq;               /* of the operator, who has confirmed it; or NULL */
};

static struct guest *find(const struct pv_cluster *c, pv_link link)
{
    PV_LIST_EACH(&c->guests, e)
    {
        struct guest *g = PV_LIST_ENTRY(e, struct guest, list);
        if (g->link == link)
            return g;
    }
    return NULL;
}

static void guest_free(struct guest *g)
{
    pv_timer_disarm(&g->timer);
    pv_list_remove(&g->list);
    g->cluster->guest_count--;
    pv_free(g);
}

static void drop(struct guest *g, uint8_t goodbye)
{
    const struct pv_node_io *io = &pv_node_config(pv_cluster_node(g->cluster))->io;
    if (g->link != 0)
        io->drop(io->ctx, g->link, goodbye); /* down follows */
}

static void refuse(struct guest *g, const char *cause)
{
    PV_LOG(pv_cluster_env(g->cluster)->log, PV_LOG_WARN, PV_SUB_NODE, "guest refused", "node",
           pv_log_id(g->node_id.b), "peer", g->address, "cause", cause);
    drop(g, PV_BYE_MEMBERSHIP);
}

static void on_late(struct pv_timer *timer)
{
    drop(PV_CONTAINER_OF(timer, struct guest, timer), PV_BYE_IDLE);
}

void pv_cluster_guest_up(struct pv_cluster *c, pv_link link, const struct pv_session_peer *peer,
                         const char *address)
{
    const struct pv_node_io *io = &pv_node_config(pv_cluster_node(c))->io;
    struct guest *g = c->guest_count < PV_GUESTS_MAX ? pv_calloc(1, sizeof *g) : NULL;
    if (g == NULL) {
        io->drop(io->ctx, link, PV_BYE_LIMIT);
        return;
    }
    g->cluster = c;
    g->link = link;
    g->node_id = peer->handshake.node_id;
    memcpy(g->pub, peer->handshake.pub, sizeof g->pub);
    memcpy(g->invite_id, peer->handshake.invite_id, sizeof g->invite_id);
    memcpy(g->hash, peer->hash, sizeof g->hash);
    (void)snprintf(g->address, sizeof g->address, "%s", address);
    g->timer.fire = on_late;
    pv_list_push_back(&c->guests, &g->list);
    c->guest_count++;
    pv_timer_arm(&c->config.files->timers, &g->timer,
                 pv_env_mono_ms(pv_cluster_env(c)) + PV_GUEST_MS);
}

bool pv_cluster_guest_down(struct pv_cluster *c, pv_link link)
{
    struct guest *g = find(c, link);
    if (g == NULL)
        return false;
    g->link = 0;
    if (!g->working)
        guest_free(g);
    return true;
}

/* ---- the grant ---- */

static void grant(struct guest *g)
{
    struct pv_cluster *c = g->cluster;
    const struct pv_node_io *io = &pv_node_config(pv_cluster_node(c))->io;
    struct pv_address_body own = {.count = 0};
    const char *addresses[PV_ADDRESSES_MAX];
    uint8_t *payload = pv_malloc(PV_FRAME_PLAIN_MAX);
    if (payload == NULL) {
        drop(g, PV_BYE_LIMIT);
        return;
    }
    if (c->config.member_addresses != NULL)
        c->config.member_addresses(c->config.arg, &own);
    for (size_t i = 0; i < own.count; i++)
        addresses[i] = own.addresses[i];
    struct pv_wr w = pv_wr_of(payload, PV_FRAME_PLAIN_MAX);
    pv_msg_put_join_grant(&w, g->role, c->config.keyring, addresses, own.count);
    size_t len = pv_wr_len(&w);
    if (w.bad || io->send(io->ctx, g->link, payload, len) != PV_OK)
        drop(g, PV_BYE_LIMIT);
    else
        PV_LOG(pv_cluster_env(c)->log, PV_LOG_INFO, PV_SUB_NODE, "a machine joined by invite",
               "node", pv_log_id(g->node_id.b), "peer", g->address, "role", pv_role_name(g->role));
    pv_wipe(payload, PV_FRAME_PLAIN_MAX);
    pv_free(payload);
}

static void answer_operator(struct guest *g, enum pv_err err)
{
    char node[PV_NODE_TEXT_LEN];
    struct pv_request *rq = g->rq;
    g->rq = NULL;
    pv_node_id_format(node, &g->node_id);
    if (rq == NULL)
        return;
    if (err != PV_OK)
        pv_request_fail(rq, pv_exit_of(err), "the machine could not be let in: %s",
                        pv_err_text(err));
    else if (g->link == 0)
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE,
                        "the machine has gone meanwhile: run the same `peervault join` there");
    else
        pv_request_ok(rq, json_pack("{s:s, s:s}", "node", node, "address", g->address));
}

static void on_member(void *arg, enum pv_err err, enum pv_decided decided)
{
    struct guest *g = arg;
    (void)decided;
    g->working = false;
    answer_operator(g, err);
    if (g->link == 0)
        guest_free(g);
    else if (err == PV_OK)
        grant(g);
    else
        refuse(g, pv_err_text(err));
}

/* False: out of memory. */
static bool admit(struct guest *g)
{
    struct pv_decision what = {.kind = PV_DECIDE_ALLOW,
                               .about = {.node_id = g->node_id, .role = g->role},
                               .has_pub = true};
    memcpy(what.pub, g->pub, sizeof what.pub);
    g->working = pv_decide_start(pv_cluster_node(g->cluster), &what, on_member, g) != NULL;
    return g->working;
}

static void await_operator(struct guest *g)
{
    struct pv_cluster *c = g->cluster;
    const struct pv_node_io *io = &pv_node_config(pv_cluster_node(c))->io;
    uint8_t payload[2];
    struct pv_wr w = pv_wr_of(payload, sizeof payload);
    pv_msg_put_join_confirm(&w);
    g->waits = true;
    pv_timer_arm(&c->config.files->timers, &g->timer,
                 pv_env_mono_ms(pv_cluster_env(c)) + PV_GUEST_CONFIRM_MS);
    PV_LOG(pv_cluster_env(c)->log, PV_LOG_INFO, PV_SUB_NODE, "a guest waits to be confirmed",
           "node", pv_log_id(g->node_id.b), "peer", g->address);
    if (io->send(io->ctx, g->link, payload, pv_wr_len(&w)) != PV_OK)
        drop(g, PV_BYE_LIMIT);
}

static void on_marked(void *arg, enum pv_err err)
{
    struct guest *g = arg;
    g->working = false;
    if (g->link == 0)
        guest_free(g);
    else if (err == PV_OK && g->confirm)
        await_operator(g);
    else if (err == PV_OK && admit(g))
        return;
    else
        refuse(g, err == PV_E_NOT_FOUND ? "the invite has expired"
                  : err == PV_E_EXISTS  ? "the invite was used by another machine"
                                        : pv_err_text(err == PV_OK ? PV_E_NOMEM : err));
}

static enum pv_err mark(struct pv_keyring *k, void *arg)
{
    struct guest *g = arg;
    pv_keyring_drop_invites(k, pv_env_wall_s(pv_cluster_env(g->cluster)));
    struct pv_keyring_invite *invite = pv_keyring_find_invite(k, g->invite_id);
    if (invite == NULL)
        return PV_E_NOT_FOUND;
    if (invite->used && !pv_id_equal(&invite->joiner, &g->node_id))
        return PV_E_EXISTS;
    invite->used = true;
    invite->joiner = g->node_id;
    g->role = invite->role;
    g->confirm = invite->confirm;
    g->number = pv_invite_number(invite->id, invite->secret, g->hash);
    return PV_OK;
}

static void on_request(struct guest *g)
{
    struct pv_cluster *c = g->cluster;
    g->asked = true;
    if (pv_node_blocks(pv_cluster_node(c), &g->node_id)) {
        refuse(g, "blocked here");
        return;
    }
    g->working = true;
    if (pv_secrets_change(c, mark, on_marked, g) != PV_OK) {
        g->working = false;
        drop(g, PV_BYE_LIMIT);
    }
}

bool pv_cluster_guest_message(struct pv_cluster *c, pv_link link, uint8_t type, const uint8_t *body,
                              size_t len)
{
    struct guest *g = find(c, link);
    struct pv_rd r = pv_rd_of(body, len);
    if (g == NULL)
        return false;
    struct pv_msg_join *m = pv_malloc(sizeof *m);
    if (m == NULL)
        drop(g, PV_BYE_LIMIT);
    else if (type != PV_MSG_JOIN || g->asked || pv_msg_get_join(&r, m) != PV_OK ||
             m->kind != PV_JOIN_REQUEST)
        drop(g, PV_BYE_PROTOCOL);
    else
        on_request(g);
    if (m != NULL)
        pv_wipe(m, sizeof *m);
    pv_free(m);
    return true;
}

/* ---- confirming ---- */

static void on_cancel(struct pv_request *rq)
{
    ((struct guest *)rq->op)->rq = NULL;
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel};

void pv_query_confirm(struct pv_cluster *c, struct pv_request *rq)
{
    const json_t *given = json_object_get(rq->args, "number");
    json_int_t number = json_is_integer(given) ? json_integer_value(given) : -1;
    struct guest *found = NULL;
    size_t count = 0;
    PV_LIST_EACH(&c->guests, e)
    {
        struct guest *g = PV_LIST_ENTRY(e, struct guest, list);
        if (g->waits && g->link != 0 && (json_int_t)g->number == number) {
            found = g;
            count++;
        }
    }
    if (count != 1) { /* two are no accident: neither is let in */
        pv_request_fail(rq, PV_EXIT_NOT_FOUND,
                        "no machine waits here with this number: look at what `peervault join` "
                        "shows there; where another one waits, the code is in other hands, too");
        return;
    }
    found->waits = false;
    found->rq = rq;
    rq->op = found;
    rq->ops = &ops;
    if (!admit(found))
        answer_operator(found, PV_E_NOMEM);
}
