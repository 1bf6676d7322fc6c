/*
 * What strikes.h counts, applied to sessions: a fault ends the session, a ban all of that identity,
 * and those it opens afterwards are told why, and for how long, only once both sides are
 * authenticated.
 */
#include "internal/node/node_private.h"

static void log_ban(const struct pv_node *n, const struct pv_id *node_id)
{
    const struct pv_strike *ban = pv_strikes_ban(&n->strikes, node_id, pv_node_now(n));
    PV_LOG(n->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "peer is banned", "node",
           pv_log_id(node_id->b), "seconds", pv_log_u64(ban->ban_ms / 1000), "what", ban->what);
}

static void drop_all(struct pv_node *n, const struct pv_id *node_id)
{
    struct pv_peer *p;
    for (size_t i = 0; (p = pv_map_next(&n->peers, &i, NULL)) != NULL;)
        if (pv_id_equal(&p->node_id, node_id))
            pv_peer_drop(p, PV_BYE_BANNED);
}

static void strike(struct pv_node *n, const struct pv_id *node_id, const char *what)
{
    if (!pv_strikes_add(&n->strikes, node_id, what, pv_node_now(n)))
        return;
    log_ban(n, node_id);
    drop_all(n, node_id);
}

void pv_peer_misbehaved(struct pv_peer *p, const char *what)
{
    const struct pv_id node_id = p->node_id;
    if (p->dropped)
        return;
    PV_LOG_LIMITED(p->node->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "peer broke the protocol",
                   "node", pv_log_id(node_id.b), "peer", p->address, "what", what);
    pv_peer_drop(p, PV_BYE_PROTOCOL);
    strike(p->node, &node_id, what);
}

void pv_peer_sent_bad_body(struct pv_peer *p)
{
    struct pv_node *n = p->node;
    const struct pv_id node_id = p->node_id;
    if (!pv_strikes_add_bad_body(&n->strikes, &node_id, pv_node_now(n)))
        return;
    log_ban(n, &node_id);
    drop_all(n, &node_id);
}

void pv_node_peer_fault(struct pv_node *n, pv_link link)
{
    const struct pv_peer *p = pv_node_peer(n, link);
    if (p != NULL)
        strike(n, &p->node_id, "a malformed or unexpected message");
}

bool pv_bans_refuse(struct pv_node *n, pv_link link, const struct pv_id *node_id,
                    const char *address)
{
    const struct pv_strike *ban = pv_strikes_ban(&n->strikes, node_id, pv_node_now(n));
    if (ban == NULL)
        return false;
    PV_LOG_LIMITED(n->config.env->log, PV_LOG_INFO, PV_SUB_NODE, "banned peer refused", "node",
                   pv_log_id(node_id->b), "peer", address, "seconds",
                   pv_log_u64((ban->banned_until_ms - pv_node_now(n)) / 1000), "what", ban->what);
    n->config.io.drop(n->config.io.ctx, link, PV_BYE_BANNED);
    return true;
}

uint64_t pv_node_banned_until_ms(const struct pv_node *n, const struct pv_id *node_id)
{
    const struct pv_strike *ban = pv_strikes_ban(&n->strikes, node_id, pv_node_now(n));
    return ban != NULL ? ban->banned_until_ms : 0;
}

bool pv_node_next_ban(const struct pv_node *n, size_t *pos, struct pv_node_ban *out)
{
    uint64_t now_ms = pv_node_now(n);
    while (*pos < n->strikes.count) {
        const struct pv_strike *k = &n->strikes.known[(*pos)++];
        if (now_ms >= k->banned_until_ms)
            continue;
        *out = (struct pv_node_ban){
            .node_id = k->node_id, .what = k->what, .left_ms = k->banned_until_ms - now_ms};
        return true;
    }
    return false;
}

/* Nothing but a word, which any member may say: shown, and not acted on. */
void pv_node_peer_says_twice(struct pv_node *n, pv_link link)
{
    const struct pv_peer *p = pv_node_peer(n, link);
    if (p == NULL)
        return;
    PV_LOG_LIMITED(n->config.env->log, PV_LOG_ERROR, PV_SUB_NODE,
                   "a peer says that this identity runs twice", "node", pv_log_id(p->node_id.b),
                   "peer", p->address);
    n->twice_said = true;
    n->twice_by = p->node_id;
    n->twice_ms = pv_node_now(n);
}

const struct pv_id *pv_node_said_twice_by(const struct pv_node *n)
{
    bool shown = n->twice_said && pv_node_now(n) - n->twice_ms < PV_CLAIM_MS;
    return shown ? &n->twice_by : NULL;
}
