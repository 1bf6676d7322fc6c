/*
 * Connections as TCP gives them: bytes in order, late, in pieces, or not at all. Loss, duplicates
 * and reordering of packets are delays here, because that is what TCP makes of them; bytes that
 * were changed on the way are a fault of their own. Each end drives a real session as uv_link.c
 * does.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

enum { CRUMBS = 40, CRUMB_LEN = 32 };

/* ---- links ---- */

struct sim_link *sim_link_find(struct sim_world *w, uint32_t id)
{
    for (size_t i = w->link_count; i-- > 0;)
        if (w->links[i]->id == id)
            return w->links[i];
    return NULL;
}

void sim_link_touch(struct sim_world *w, struct sim_link *l, unsigned side)
{
    (void)w;
    l->ends[side].dirty = true;
}

static void event(struct sim_world *w, const struct sim_link *l, unsigned side, uint64_t at,
                  enum sim_event_kind kind)
{
    const struct sim_node *n = l->ends[side].node;
    sim_at(w, at,
           (struct sim_event){.kind = (uint8_t)kind,
                              .node = (uint8_t)n->index,
                              .life = n->life,
                              .a = l->id,
                              .b = side});
}

static void clear_input(struct sim_end *e)
{
    while (e->in != NULL) {
        struct sim_piece *p = e->in;
        e->in = p->next;
        free(p);
    }
    e->in_tail = &e->in;
    e->in_bytes = 0;
}

struct sim_link *sim_link_new(struct sim_world *w, struct sim_node *dialler, struct sim_node *to)
{
    struct sim_link *l = calloc(1, sizeof *l);
    PV_ASSERT(l != NULL);
    l->id = ++w->last_link;
    w->stats.links++;
    if (w->link_count == w->link_cap) {
        w->link_cap = w->link_cap == 0 ? 32 : w->link_cap * 2;
        w->links = realloc(w->links, w->link_cap * sizeof(struct sim_link *));
        PV_ASSERT(w->links != NULL);
    }
    w->links[w->link_count++] = l;
    for (unsigned side = 0; side < 2; side++) {
        struct sim_end *e = &l->ends[side];
        char address[32];
        e->node = side == 0 ? dialler : to;
        l->index[side] = e->node->index;
        e->in_tail = &e->in;
        e->armed_at = SIM_NEVER;
        (void)snprintf(address, sizeof address, "10.0.0.%u:3000",
                       (side == 0 ? to : dialler)->index);
        enum pv_err err =
            pv_session_new(&e->session, &e->node->sessions, side == 0, 0, NULL, address);
        PV_ASSERT(err == PV_OK);
        sim_link_touch(w, l, side);
    }
    sim_trace(w, "link %u: node %u connects to node %u", l->id, dialler->index, to->index);
    return l;
}

/* ---- bytes ---- */

static void deliver_later(struct sim_world *w, struct sim_link *l, unsigned side)
{
    struct sim_end *e = &l->ends[side];
    if (e->deliver_due || e->in == NULL || e->node == NULL)
        return;
    e->deliver_due = true;
    event(w, l, side, e->in->at, SIM_EV_BYTES);
}

static void put_piece(struct sim_world *w, struct sim_link *l, unsigned to, const uint8_t *bytes,
                      size_t len)
{
    struct sim_end *e = &l->ends[to];
    struct sim_rng *r = &w->rng[SIM_NETWORK];
    uint64_t late = 1 + sim_about(r, w->healed ? w->plan->delay_us / 4 : w->plan->delay_us);
    for (unsigned tries = 0; tries < 5 && !w->healed && sim_chance(r, w->plan->loss_per_mille);)
        late += (200 * SIM_MS) << tries++;
    struct sim_piece *p = malloc(sizeof *p + len);
    PV_ASSERT(p != NULL);
    e->last_at = e->last_at > w->now + late ? e->last_at : w->now + late;
    *p = (struct sim_piece){.at = e->last_at, .len = len, .eof = bytes == NULL};
    if (len > 0)
        memcpy(p->bytes, bytes, len);
    if (len > 0 && w->mangle > 0 && sim_chance(r, 200)) {
        w->mangle--;
        p->bytes[sim_below(r, len)] ^= (uint8_t)(1U << sim_below(r, 8));
        sim_trace(w, "link %u: a bit is changed on the way", l->id);
    }
    *e->in_tail = p;
    e->in_tail = &p->next;
    e->in_bytes += len;
    deliver_later(w, l, to);
}

/* What the socket takes of what the session wants to say. */
static void write_some(struct sim_world *w, struct sim_link *l, unsigned side)
{
    struct sim_end *e = &l->ends[side], *to = &l->ends[1 - side];
    size_t room = to->in_bytes < w->plan->window ? w->plan->window - to->in_bytes : 0;
    size_t len = e->held_len < room ? e->held_len : room;
    const uint8_t *bytes = e->held_bytes;
    if (len == 0)
        return;
    w->stats.bytes += len;
    size_t at = 0;
    if (sim_chance(&w->rng[SIM_NETWORK], w->plan->split_per_mille))
        for (unsigned i = 0; to->node != NULL && i < CRUMBS && len - at > CRUMB_LEN; i++) {
            size_t n = sim_between(&w->rng[SIM_NETWORK], 1, CRUMB_LEN);
            put_piece(w, l, 1 - side, bytes + at, n);
            at += n;
        }
    if (to->node != NULL) /* else nobody is there to get it */
        put_piece(w, l, 1 - side, bytes + at, len - at);
    e->held_bytes = NULL;
    pv_session_sent(e->session, len);
    if (e->above && e->announced && pv_session_writable(e->session)) {
        e->above = false;
        pv_node_peer_writable(e->node->core, l->id);
    }
}

/* ---- what sessions want ---- */

void sim_end_announce(struct sim_link *l, unsigned side)
{
    struct sim_end *e = &l->ends[side];
    e->announced = true;
    pv_node_peer_up(e->node->core, l->id, pv_session_peer(e->session),
                    pv_session_address(e->session));
}

void sim_end_withdraw(struct sim_link *l, unsigned side, enum pv_err err, uint8_t goodbye)
{
    struct sim_end *e = &l->ends[side];
    struct sim_node *n = e->node;
    if (!e->announced)
        return;
    e->announced = false;
    if (err == PV_E_PROTOCOL) {
        sim_fail(n->w, "O10", "node %u finds fault with an honest peer: %s", n->index,
                 pv_session_cause(e->session));
        pv_node_peer_fault(n->core, l->id);
    }
    if (goodbye == PV_BYE_TWICE)
        pv_node_peer_says_twice(n->core, l->id);
    pv_node_peer_down(n->core, l->id);
    for (unsigned i = 0; i < n->w->plan->nodes; i++)
        if (n->dials[i] && n->dialers[i].has_node_id &&
            pv_id_equal(&n->dialers[i].node_id, &pv_session_peer(e->session)->handshake.node_id))
            pv_dialer_uncover(&n->dialers[i]);
    sim_dial_arm(n);
}

void sim_end_close(struct sim_world *w, struct sim_link *l, unsigned side, bool say)
{
    struct sim_end *e = &l->ends[side];
    if (e->node == NULL)
        return;
    e->node = NULL;
    pv_session_free(e->session);
    e->session = NULL;
    e->held_bytes = NULL;
    clear_input(e);
    if (say && l->ends[1 - side].node != NULL)
        put_piece(w, l, 1 - side, NULL, 0);
}

static void on_down(struct sim_world *w, struct sim_link *l, unsigned side,
                    const struct pv_session_effect *fx)
{
    struct sim_end *e = &l->ends[side];
    sim_trace(w, "link %u: down at node %u: %s", l->id, e->node->index,
              pv_session_cause(e->session));
    sim_note(w, l->id, 5000U + side);
    sim_end_withdraw(l, side, fx->err, fx->goodbye);
    if (side == 0)
        sim_dial_ended(l, fx, pv_session_cause(e->session));
    sim_pair_down(w, l, side);
    sim_end_close(w, l, side, true);
}

static void apply(struct sim_world *w, struct sim_link *l, unsigned side,
                  const struct pv_session_effect *fx)
{
    struct sim_end *e = &l->ends[side];
    struct sim_node *n = e->node;
    switch (fx->type) {
    case PV_SESSION_SEND:
        e->held_bytes = fx->bytes;
        e->held_len = fx->len;
        write_some(w, l, side);
        break;
    case PV_SESSION_UP:
        e->was_up = true;
        sim_note(w, l->id, 6000U + side);
        if (side == 0)
            pv_dialer_up(&n->dialers[l->index[1]], &pv_session_peer(e->session)->handshake.node_id);
        sim_pair_up(w, l, side);
        break;
    case PV_SESSION_MSG:
        if (e->announced)
            pv_node_peer_message(n->core, l->id, fx->msg_type, fx->bytes, fx->len);
        break;
    case PV_SESSION_DATA:
        if (e->announced)
            pv_node_peer_data(n->core, l->id, fx->stream, fx->stream_flags, fx->bytes, fx->len);
        break;
    case PV_SESSION_PONG: {
        bool lives = e->asked && !e->ask_again;
        if (e->asked && e->ask_again) {
            e->ask_again = false;
            (void)!pv_session_ping(e->session);
        }
        if (e->pinged && e->announced) {
            e->pinged = false;
            pv_node_peer_pong(n->core, l->id, fx->rtt_ms);
        }
        if (lives)
            sim_pair_pong(w, l, side);
        break;
    }
    case PV_SESSION_DOWN:
        on_down(w, l, side, fx);
        break;
    }
}

static void arm(struct sim_world *w, struct sim_link *l, unsigned side)
{
    struct sim_end *e = &l->ends[side];
    uint64_t ms = pv_session_deadline_ms(e->session), now_ms = pv_env_mono_ms(&e->node->env);
    if (e->held && e->held_until_ms < ms)
        ms = e->held_until_ms;
    if (ms == UINT64_MAX)
        return;
    uint64_t at = w->now / SIM_MS * SIM_MS + (ms > now_ms ? (ms - now_ms) * SIM_MS : 0);
    if (at >= e->armed_at)
        return;
    e->armed_at = at > w->now ? at : w->now;
    event(w, l, side, e->armed_at, SIM_EV_LINK_TICK);
}

static void pump(struct sim_world *w, struct sim_link *l, unsigned side)
{
    struct sim_end *e = &l->ends[side];
    struct pv_session_effect fx;
    e->dirty = false;
    if (e->node != NULL && e->held_bytes != NULL)
        write_some(w, l, side);
    while (e->node != NULL && pv_session_next(e->session, &fx))
        apply(w, l, side, &fx);
    if (e->node == NULL)
        return;
    w->touched |= 1U << e->node->index;
    if (e->announced && !pv_session_writable(e->session))
        e->above = true;
    arm(w, l, side);
}

void sim_net_work(struct sim_world *w)
{
    bool any = true;
    while (any && !w->failed) {
        any = false;
        for (size_t i = 0; i < w->link_count; i++)
            for (unsigned side = 0; side < 2; side++)
                if (w->links[i]->ends[side].dirty) {
                    any = true;
                    pump(w, w->links[i], side);
                }
    }
    size_t kept = 0;
    for (size_t i = 0; i < w->link_count; i++) {
        struct sim_link *l = w->links[i];
        if (l->ends[0].node != NULL || l->ends[1].node != NULL)
            w->links[kept++] = l;
        else
            free(l);
    }
    w->link_count = kept;
}

/* ---- events ---- */

static void feed(struct sim_world *w, struct sim_link *l, unsigned side, struct sim_piece *p)
{
    struct sim_end *e = &l->ends[side];
    sim_note_bytes(w, p->bytes, p->len);
    while (p->used < p->len && e->node != NULL && !e->held) {
        size_t used;
        pv_session_feed(e->session, p->bytes + p->used, p->len - p->used, &used);
        p->used += used;
        pump(w, l, side);
    }
}

static void on_bytes(struct sim_world *w, struct sim_link *l, unsigned side)
{
    struct sim_end *e = &l->ends[side];
    struct sim_piece *p = e->in;
    e->deliver_due = false;
    if (p == NULL || e->held || (e->paused && !p->eof))
        return;
    if (sim_blocked(w, l->index[1 - side], l->index[side])) {
        e->deliver_due = true;
        event(w, l, side, w->now + 500 * SIM_MS, SIM_EV_BYTES); /* it is sent again */
        return;
    }
    /* Out of the queue first: what the bytes lead to may clear it. */
    e->in = p->next;
    if (e->in == NULL)
        e->in_tail = &e->in;
    e->in_bytes -= p->len;
    if (p->eof)
        pv_session_eof(e->session);
    else
        feed(w, l, side, p);
    if (e->node != NULL && p->used < p->len) { /* held: the rest comes later */
        p->next = e->in;
        if (e->in == NULL)
            e->in_tail = &p->next;
        e->in = p;
        e->in_bytes += p->len;
    } else {
        free(p);
    }
    if (e->node != NULL) {
        sim_link_touch(w, l, side);
        if (!e->held)
            deliver_later(w, l, side);
    }
    if (l->ends[1 - side].held_bytes != NULL)
        sim_link_touch(w, l, 1 - side);
}

void sim_link_handle(struct sim_world *w, const struct sim_event *e)
{
    struct sim_link *l = sim_link_find(w, e->a);
    if (l == NULL || l->ends[e->b].node == NULL)
        return;
    if (e->kind == SIM_EV_BYTES) {
        on_bytes(w, l, e->b);
        return;
    }
    l->ends[e->b].armed_at = SIM_NEVER;
    sim_pair_timer(w, l, e->b);
    if (l->ends[e->b].node != NULL) {
        pv_session_tick(l->ends[e->b].session);
        sim_link_touch(w, l, e->b);
        deliver_later(w, l, e->b);
    }
}

/* ---- ends ---- */

void sim_link_reset(struct sim_world *w, struct sim_link *l, int half)
{
    for (unsigned side = 0; side < 2; side++) {
        struct sim_end *e = &l->ends[side];
        clear_input(e);
        if (e->node == NULL || half == (int)side)
            continue;
        pv_session_eof(e->session);
        sim_link_touch(w, l, side);
    }
}

void sim_node_lose_links(struct sim_node *n, bool silent)
{
    for (size_t i = 0; i < n->w->link_count; i++)
        for (unsigned side = 0; side < 2; side++)
            if (n->w->links[i]->ends[side].node == n)
                sim_end_close(n->w, n->w->links[i], side, !silent);
}

void sim_net_release(struct sim_world *w)
{
    for (size_t i = 0; i < w->link_count; i++) {
        sim_end_close(w, w->links[i], 0, false);
        sim_end_close(w, w->links[i], 1, false);
        free(w->links[i]);
    }
    free(w->links);
    w->links = NULL;
    w->link_count = w->link_cap = 0;
}

/* ---- what the core asks for ---- */

static struct sim_end *end_of(struct sim_node *n, pv_link number, struct sim_link **link)
{
    struct sim_link *l = sim_link_find(n->w, number);
    for (unsigned side = 0; l != NULL && side < 2; side++)
        if (l->ends[side].node == n && l->ends[side].announced) {
            *link = l;
            l->ends[side].dirty = true;
            return &l->ends[side];
        }
    return NULL;
}

/* Whoever finds it full waits to be told. */
static enum pv_err queued(struct sim_end *e, enum pv_err err)
{
    if (!pv_session_writable(e->session))
        e->above = true;
    return err;
}

static enum pv_err io_send(void *ctx, pv_link number, const uint8_t *payload, size_t len)
{
    struct sim_link *l;
    struct sim_end *e = end_of(ctx, number, &l);
    return e == NULL ? PV_E_CLOSED : queued(e, pv_session_send(e->session, payload, len));
}

static enum pv_err io_send_data(void *ctx, pv_link number, uint32_t stream, uint8_t flags,
                                const uint8_t *data, size_t len)
{
    struct sim_link *l;
    struct sim_end *e = end_of(ctx, number, &l);
    return e == NULL ? PV_E_CLOSED
                     : queued(e, pv_session_send_data(e->session, stream, flags, data, len));
}

static enum pv_err io_ping(void *ctx, pv_link number)
{
    struct sim_link *l;
    struct sim_end *e = end_of(ctx, number, &l);
    if (e == NULL)
        return PV_E_CLOSED;
    enum pv_err err = pv_session_ping(e->session);
    e->pinged |= err == PV_OK;
    return err;
}

static bool io_writable(void *ctx, pv_link number)
{
    struct sim_link *l;
    struct sim_end *e = end_of(ctx, number, &l);
    return e != NULL && pv_session_writable(e->session);
}

static void io_pause(void *ctx, pv_link number, bool paused)
{
    struct sim_link *l;
    struct sim_end *e = end_of(ctx, number, &l);
    if (e == NULL)
        return;
    e->paused = paused;
    pv_session_reading(e->session, !paused);
    if (!paused)
        deliver_later(e->node->w, l, (unsigned)(e - l->ends));
}

static void io_drop(void *ctx, pv_link number, uint8_t goodbye)
{
    struct sim_link *l;
    struct sim_end *e = end_of(ctx, number, &l);
    if (e != NULL)
        pv_session_close(e->session, goodbye);
}

struct pv_node_io sim_node_io(struct sim_node *n)
{
    return (struct pv_node_io){.ctx = n,
                               .send = io_send,
                               .send_data = io_send_data,
                               .ping = io_ping,
                               .writable = io_writable,
                               .pause = io_pause,
                               .drop = io_drop};
}
