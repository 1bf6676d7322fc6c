/*
 * What the parts of push share: budgets, peers, time.
 *
 * A turn (pv_push_tick) runs when a handler asked for one or a deadline passed. It lets every peer
 * do what became possible, and finds the next deadline on the way: due_ms starts at "never" and
 * everybody with something to wait for lowers it.
 */
#include "internal/node/push_private.h"

static uint64_t seed(const struct pv_node *n)
{
    uint64_t value;
    pv_env_random(n->config.env, &value, sizeof value);
    return value;
}

enum pv_err pv_push_new(struct pv_node *n)
{
    if (n->config.inbound_bytes < PV_BLOB_LEN_MAX || n->config.outbound_bytes < PV_PUSH_SLICE)
        return PV_E_INVALID; /* one blob, one slice would wait for ever */
    struct pv_push *s = pv_calloc(1, sizeof *s);
    if (s == NULL)
        return PV_E_NOMEM;
    s->node = n;
    s->due_ms = UINT64_MAX;
    pv_budget_init(&s->inbound, "inbound", n->config.inbound_bytes);
    pv_budget_init(&s->outbound, "outbound", n->config.outbound_bytes);
    pv_map_init(&s->incoming, PV_ID_LEN, (size_t)PV_SESSIONS_MAX * PV_PUSH_OFFERED_MAX, seed(n));
    pv_list_init(&s->receiving);
    pv_list_init(&s->kept);
    pv_list_init(&s->repairs);
    n->push = s;
    return PV_OK;
}

void pv_push_free(struct pv_node *n)
{
    struct pv_push *s = n->push;
    if (s == NULL)
        return;
    pv_repair_release(s);
    pv_body_make_room(s, SIZE_MAX);
    PV_ASSERT(s->incoming.count == 0); /* peers are detached, jobs are done */
    pv_map_release(&s->incoming);
    pv_budget_release(&s->inbound);
    pv_budget_release(&s->outbound);
    pv_free(s);
    n->push = NULL;
}

enum pv_err pv_push_attach(struct pv_peer *p)
{
    struct pv_node *n = p->node;
    struct pv_push_peer *pp = pv_calloc(1, sizeof *pp);
    if (pp == NULL)
        return PV_E_NOMEM;
    pp->push = n->push;
    pp->peer = p;
    pv_map_init(&pp->offered, PV_ID_LEN, PV_PUSH_OFFERED_MAX, seed(n));
    pv_map_init(&pp->out.streams, sizeof(uint32_t), PV_OUT_CLASSES * PV_STREAMS_MAX, seed(n));
    pv_map_init(&pp->in.streams, sizeof(uint32_t), PV_STREAMS_MAX, seed(n));
    pv_walk_init(pp);
    pv_out_init(pp);
    pv_in_init(pp);
    p->push = pp;
    n->push->places_stale = true;
    pv_push_soon(n->push);
    pv_repair_on_admitted(p);
    return PV_OK;
}

void pv_push_detach(struct pv_peer *p)
{
    struct pv_push_peer *pp = p->push;
    if (pp == NULL)
        return;
    p->push = NULL;
    pv_in_release(pp);
    pv_out_release(pp);
    pv_walk_release(pp);
    pv_audit_release(pp);
    pv_free(pp);
    p->node->push->places_stale = true;
    pv_push_soon(p->node->push); /* for those who take over */
}

struct pv_push_peer *pv_push_peer_of(struct pv_node *n, pv_link link)
{
    struct pv_peer *p = n->closing ? NULL : pv_node_peer(n, link);
    return p != NULL ? p->push : NULL;
}

void pv_push_kick(struct pv_node *n)
{
    size_t pos = 0;
    struct pv_peer *p;
    while ((p = pv_node_next_peer(n, &pos)) != NULL)
        if (p->push != NULL)
            pv_walk_kick(p->push);
    pv_push_soon(n->push);
}

void pv_push_again(struct pv_node *n, const struct pv_id *node_id)
{
    size_t pos = 0;
    struct pv_peer *p;
    while ((p = pv_node_next_peer(n, &pos)) != NULL)
        if (p->push != NULL && pv_id_equal(&p->node_id, node_id))
            pv_walk_restart(p->push);
}

void pv_push_places_changed(struct pv_node *n)
{
    n->push->places_moved = true;
    pv_push_soon(n->push);
}

bool pv_push_is_full(const struct pv_peer *p, uint64_t now_ms, uint64_t *until_ms)
{
    const struct pv_push_peer *pp = p->push;
    if (pp == NULL || pp->full_ms == 0 || now_ms >= pp->full_ms + PV_PUSH_FULL_MS)
        return false;
    *until_ms = pp->full_ms + PV_PUSH_FULL_MS;
    return true;
}

/* The table is another one, or substitutes are needed, or no longer: all is walked anew. */
static void review_places(struct pv_push *s)
{
    struct pv_places now;
    size_t pos = 0;
    struct pv_peer *p;
    pv_places_now(s->node, &now);
    bool moved = s->places_moved || now.away != s->away || now.full != s->full ||
                 (s->live & ~now.live) != 0; /* who went has not taken what only we have */
    s->places_moved = s->places_stale = false;
    s->places_due_ms = now.change_ms;
    s->away = now.away;
    s->live = now.live;
    s->full = now.full;
    while (moved && (p = pv_node_next_peer(s->node, &pos)) != NULL)
        if (p->push != NULL)
            pv_walk_anew(p->push);
}

void pv_push_on_writable(struct pv_peer *p)
{
    if (p->push == NULL)
        return;
    pv_out_next(p->push);
    pv_push_soon(p->push->push); /* its walk may have waited, too */
}

void pv_push_on_error(struct pv_peer *p, uint16_t code, const char *text)
{
    struct pv_push_peer *pp = p->push;
    struct pv_id id;
    if (code != PV_ERROR_BAD_BLOB)
        PV_LOG_LIMITED(p->node->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "peer reports an error",
                       "node", pv_log_id(p->node_id.b), "peer", p->address, "code",
                       pv_log_u64(code), "text", text);
    if (pp == NULL || code != PV_ERROR_BAD_BLOB)
        return;
    if (pv_id_parse(&id, text) != PV_OK) {
        pv_peer_misbehaved(p, "ERROR names no blob");
        return;
    }
    pv_walk_forget(pp, &id);
    if (pv_out_take_served(pp, &id))
        pv_repair_check(pp->push, &id);
}

void pv_push_info(const struct pv_peer *p, uint64_t *offered, uint64_t *wanted)
{
    *offered = p->push != NULL ? p->push->offered.count : 0;
    *wanted = p->push != NULL ? p->push->in.streams.count : 0;
}

uint64_t pv_push_deadline_ms(const struct pv_node *n)
{
    return n->push->soon ? 0 : n->push->due_ms;
}

void pv_push_tick(struct pv_node *n)
{
    struct pv_push *s = n->push;
    if (n->closing || (!s->soon && pv_node_now(n) < s->due_ms))
        return;
    s->soon = false;
    s->due_ms = UINT64_MAX;
    if (s->places_moved || s->places_stale || pv_node_now(n) >= s->places_due_ms)
        review_places(s);
    pv_push_due(s, s->places_due_ms);
    pv_body_tick(s);
    pv_repair_tick(s);
    size_t pos = 0;
    struct pv_peer *p;
    while ((p = pv_node_next_peer(n, &pos)) != NULL) {
        if (p->push == NULL)
            continue;
        pv_in_next(p->push);
        pv_walk_next(p->push);
        pv_audit_next(p->push);
        pv_out_tick(p->push);
    }
}
