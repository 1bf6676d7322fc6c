/*
 * From addresses to connections, with the real back-off (transport/dialer.h), and of two
 * connections with one node the real rule which stays (transport/duplicate.h). What lies between
 * them is uv_dial.c and uv_pair.c once more, for links of the simulator.
 */
#include "tests/sim/sim.h"
#include "transport/duplicate.h"

#include <string.h>

/* ---- dialling ---- */

static const struct pv_session_peer *peer_of(const struct sim_end *e)
{
    return pv_session_peer(e->session);
}

static struct sim_end *find(struct sim_node *n, const struct pv_id *node_id, bool held,
                            const struct sim_end *except, struct sim_link **link)
{
    for (size_t i = 0; i < n->w->link_count; i++)
        for (unsigned side = 0; side < 2; side++) {
            struct sim_end *e = &n->w->links[i]->ends[side];
            if (e->node != n || e == except || !(held ? e->held : e->announced) ||
                !pv_id_equal(&peer_of(e)->handshake.node_id, node_id))
                continue;
            *link = n->w->links[i];
            return e;
        }
    return NULL;
}

void sim_dial_arm(struct sim_node *n)
{
    uint64_t now_ms = pv_env_mono_ms(&n->env);
    for (unsigned i = 0; i < n->w->plan->nodes; i++) {
        uint64_t ms = n->dials[i] ? pv_dialer_due_ms(&n->dialers[i]) : UINT64_MAX;
        if (ms == UINT64_MAX)
            continue;
        uint64_t at = n->w->now + (ms > now_ms ? (ms - now_ms) * SIM_MS : 1);
        if (at >= n->dial_at[i])
            continue;
        n->dial_at[i] = at;
        sim_at(n->w, at,
               (struct sim_event){
                   .kind = SIM_EV_DIAL, .node = (uint8_t)n->index, .life = n->life, .b = i});
    }
}

void sim_dial_init(struct sim_node *n)
{
    for (unsigned i = 0; i < n->w->plan->nodes; i++) {
        char address[32];
        n->dials[i] = i != n->index && (n->w->plan->both_dial || i < n->index);
        n->dial_at[i] = SIM_NEVER;
        if (!n->dials[i])
            continue;
        (void)snprintf(address, sizeof address, "10.0.0.%u:3000", i);
        enum pv_err err = pv_dialer_init(&n->dialers[i], &n->env, address);
        PV_ASSERT(err == PV_OK);
    }
    sim_dial_arm(n);
}

void sim_dial_hurry(struct sim_node *n)
{
    for (unsigned i = 0; i < n->w->plan->nodes; i++)
        if (n->dials[i])
            pv_dialer_restart(&n->dialers[i], 2000);
    sim_dial_arm(n);
}

static void later(struct sim_node *n, uint64_t in_us, enum sim_event_kind kind, unsigned to)
{
    sim_at(n->w, n->w->now + in_us,
           (struct sim_event){
               .kind = (uint8_t)kind, .node = (uint8_t)n->index, .life = n->life, .b = to});
}

static void on_due(struct sim_node *n, unsigned to)
{
    struct pv_dialer *d = &n->dialers[to];
    struct sim_link *l;
    uint64_t now_ms = pv_env_mono_ms(&n->env);
    n->dial_at[to] = SIM_NEVER;
    if (pv_dialer_due_ms(d) <= now_ms) {
        uint64_t after_ms = d->has_node_id ? pv_node_banned_until_ms(n->core, &d->node_id) : 0;
        if (after_ms > now_ms) {
            sim_fail(n->w, "O10", "node %u has banned node %u", n->index, to);
            pv_dialer_postpone(d, after_ms, "banned here");
        } else if (d->has_node_id && find(n, &d->node_id, false, NULL, &l) != NULL) {
            pv_dialer_cover(d);
        } else {
            pv_dialer_start(d);
            later(n, 1 + sim_about(&n->w->rng[SIM_NETWORK], n->w->plan->delay_us), SIM_EV_CONNECT,
                  to);
        }
    }
    sim_dial_arm(n);
}

static void on_failed(struct sim_node *n, unsigned to, const char *why)
{
    pv_dialer_failed(&n->dialers[to], PV_REFUSED_NOT, 1, why);
    sim_dial_arm(n);
}

void sim_dial_handle(struct sim_node *n, const struct sim_event *e)
{
    struct sim_node *to = &n->w->nodes[e->b];
    if (e->kind == SIM_EV_DIAL)
        on_due(n, e->b);
    else if (e->kind == SIM_EV_UNREACHED)
        on_failed(n, e->b, "timed out");
    else if (sim_blocked(n->w, n->index, e->b) || sim_blocked(n->w, e->b, n->index))
        later(n, PV_CONNECT_MS * SIM_MS, SIM_EV_UNREACHED, e->b);
    else if (!to->up || !to->ready)
        on_failed(n, e->b, "refused");
    else
        (void)sim_link_new(n->w, n, to);
}

void sim_dial_ended(struct sim_link *l, const struct pv_session_effect *e, const char *cause)
{
    struct sim_node *n = l->ends[0].node;
    struct pv_dialer *d = &n->dialers[l->index[1]];
    if (d->state == PV_DIALER_UP) {
        bool cut = e->goodbye == 0 && (e->err == PV_E_CLOSED || e->err == PV_E_TIMEOUT);
        pv_dialer_down(d,
                       e->renew ? PV_DIALER_AGREED
                       : cut    ? PV_DIALER_CUT
                                : PV_DIALER_ENDED,
                       cause);
    } else {
        pv_dialer_failed(d, e->refusal, 1, cause);
    }
    sim_dial_arm(n);
}

/* ---- one node, one link ---- */

static void refuse(struct sim_link *l, struct sim_end *e, uint8_t goodbye)
{
    e->held = false;
    pv_session_close(e->session, goodbye);
    sim_end_withdraw(l, (unsigned)(e - l->ends), PV_E_CANCELLED, 0);
    e->dirty = true;
}

static void hold(struct sim_end *e, uint64_t until_ms)
{
    e->held = true;
    e->held_until_ms = until_ms;
    e->dirty = true;
}

static void ask(struct sim_end *older)
{
    enum pv_err err = pv_session_ping(older->session);
    older->asked = true;
    older->ask_again = err == PV_E_BUSY;
    older->dirty = true;
}

static void release(struct sim_world *w, struct sim_link *l, struct sim_end *e)
{
    unsigned side = (unsigned)(e - l->ends);
    e->held = false;
    sim_end_announce(l, side);
    e->dirty = true;
    sim_at(w, w->now,
           (struct sim_event){.kind = SIM_EV_LINK_TICK, /* reads on */
                              .node = (uint8_t)e->node->index,
                              .life = e->node->life,
                              .a = l->id,
                              .b = side});
}

void sim_pair_up(struct sim_world *w, struct sim_link *l, unsigned side)
{
    struct sim_end *e = &l->ends[side];
    struct sim_node *n = e->node;
    struct sim_link *older_link, *held_link;
    const struct pv_id *id = &peer_of(e)->handshake.node_id;
    struct sim_end *older = find(n, id, false, e, &older_link);
    struct sim_end *held = find(n, id, true, e, &held_link);
    if (older != NULL && !pv_session_up(older->session)) {
        sim_end_withdraw(older_link, (unsigned)(older - older_link->ends), PV_E_CANCELLED, 0);
        older = NULL;
    }
    struct sim_end *rival = held != NULL ? held : older;
    (void)w;
    if (rival == NULL) {
        sim_end_announce(l, side);
    } else if (!pv_duplicate_same_boot(peer_of(rival), peer_of(e))) {
        if (held != NULL) {
            refuse(l, e, PV_BYE_DUPLICATE);
            return;
        }
        hold(e, pv_env_mono_ms(&n->env) + PV_TWICE_MS);
        ask(older);
    } else if (pv_duplicate_first_stays(&n->identity.node_id, peer_of(rival), peer_of(e))) {
        refuse(l, e, PV_BYE_DUPLICATE);
    } else if (held != NULL) {
        uint64_t until_ms = held->held_until_ms;
        refuse(held_link, held, PV_BYE_DUPLICATE);
        hold(e, until_ms);
    } else {
        refuse(older_link, older, PV_BYE_DUPLICATE);
        sim_end_announce(l, side);
    }
}

void sim_pair_pong(struct sim_world *w, struct sim_link *l, unsigned side)
{
    struct sim_end *e = &l->ends[side];
    struct sim_link *held_link;
    struct sim_end *held = find(e->node, &peer_of(e)->handshake.node_id, true, e, &held_link);
    e->asked = false;
    if (held == NULL)
        return;
    sim_fail(w, "O10", "node %u says that node %u runs twice", e->node->index, l->index[1 - side]);
    refuse(held_link, held, PV_BYE_TWICE);
    refuse(l, e, PV_BYE_TWICE);
}

void sim_pair_down(struct sim_world *w, struct sim_link *l, unsigned side)
{
    struct sim_end *e = &l->ends[side];
    struct sim_link *other_link;
    if (!e->held && !e->asked)
        return;
    struct sim_end *other = find(e->node, &peer_of(e)->handshake.node_id, e->asked, e, &other_link);
    bool was_asked = e->asked;
    e->held = e->asked = false;
    if (other == NULL)
        return;
    if (was_asked)
        release(w, other_link, other);
    else
        other->asked = false;
}

void sim_pair_timer(struct sim_world *w, struct sim_link *l, unsigned side)
{
    struct sim_end *e = &l->ends[side];
    struct sim_link *older_link;
    if (!e->held || pv_env_mono_ms(&e->node->env) < e->held_until_ms)
        return;
    struct sim_end *older = find(e->node, &peer_of(e)->handshake.node_id, false, e, &older_link);
    if (older != NULL) {
        older->asked = false;
        refuse(older_link, older, PV_BYE_DUPLICATE);
    }
    release(w, l, e);
}
