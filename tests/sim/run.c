/*
 * One seed: the safety phase with its operations and faults, then everything is healed and the
 * cluster must agree in bounded time, then all that was acknowledged is read.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

enum {
    SETTLE_S = 45 * 60,  /* to agree, after the last fault; the longest pause of push is 10 min */
    LEAPT_S = 14 * 3600, /* after months each node drops old removals when it next collects */
    CONNECT_S = 30,
    LOOK_S = 5,
    READ_S = 300,
    IDLE_EVENTS_MAX = 200000,
};

/* The power cut of a script: in a change within a second of its operation, before checkpoints. */
static void aim(struct sim_world *w, unsigned op)
{
    struct sim_node *n = &w->nodes[w->ops[op].node];
    if (w->plan->cut_change == 0 || w->plan->cut_op != op)
        return;
    n->crash_in_changes = w->plan->cut_change;
    n->crash_until = w->now + SIM_S;
    n->crash_seed = sim_draw(&w->rng[SIM_DISK]);
}

static void dispatch(struct sim_world *w, const struct sim_event *e)
{
    struct sim_node *n = &w->nodes[e->node];
    switch (e->kind) {
    case SIM_EV_FAULT:
        sim_fault_begin(w, e->a);
        break;
    case SIM_EV_MEND:
        sim_fault_end(w, e->a);
        break;
    case SIM_EV_OP:
        if (w->plan->scripted)
            aim(w, e->a);
        sim_op_begin(w, e->a);
        break;
    case SIM_EV_LEAVE:
        sim_op_leave(w, e->a);
        break;
    case SIM_EV_CLIENT:
        sim_op_feed(w, e->a);
        break;
    case SIM_EV_BYTES:
    case SIM_EV_LINK_TICK:
        sim_link_handle(w, e);
        break;
    default:
        sim_node_handle(n, e);
    }
}

static bool is_of_world(const struct sim_event *e)
{
    return e->kind == SIM_EV_FAULT || e->kind == SIM_EV_MEND;
}

static void step(struct sim_world *w, const struct sim_event *e)
{
    struct sim_node *n = &w->nodes[e->node];
    if (e->life != 0 && e->life != n->life)
        return;
    if (e->life != 0 && !n->up)
        return;
    if (!is_of_world(e) && n->paused_until > w->now) {
        sim_at(w, n->paused_until, *e);
        return;
    }
    w->stats.events++;
    sim_note(w, (uint64_t)e->kind << 32 | e->node, (uint64_t)e->a << 32 | e->b);
    w->touched = 1U << e->node;
    dispatch(w, e);
    sim_net_work(w);
    for (unsigned i = 0; i < w->plan->nodes; i++)
        if (w->touched >> i & 1)
            sim_node_arm(&w->nodes[i]);
}

/* Until a moment, a failure, or nothing is left. */
static void run_until(struct sim_world *w, uint64_t until)
{
    struct sim_event e;
    while (!w->failed && w->heap_len > 0 && w->heap[0].at <= until && sim_take(w, &e)) {
        w->idle_events = e.at == w->now ? w->idle_events + 1 : 0;
        if (w->idle_events > IDLE_EVENTS_MAX)
            sim_fail(w, "O11", "node %u goes round in circles, event %u", e.node, e.kind);
        w->now = e.at;
        step(w, &e);
    }
    if (!w->failed)
        w->now = until;
}

/* ---- the phases ---- */

static void begin(struct sim_world *w)
{
    const struct sim_plan *p = w->plan;
    struct sim_rng r = sim_rng_of(p->seed, SIM_TOPOLOGY, 1);
    for (unsigned i = 0; i < SIM_STREAMS; i++)
        w->rng[i] = sim_rng_of(p->seed, i, 2);
    w->margin_us = (2 * (p->skew_ms + p->step_ms) + 2000) * SIM_MS;
    for (unsigned i = 0; i < p->nodes; i++) {
        sim_node_init(&w->nodes[i], w, i);
        if (p->skew_ms > 0)
            w->nodes[i].skew_ms = (int64_t)sim_below(&r, 2 * p->skew_ms + 1) - (int64_t)p->skew_ms;
        sim_at(w, sim_below(&r, 2 * SIM_S),
               (struct sim_event){.kind = SIM_EV_START, .node = (uint8_t)i});
    }
    w->op_count = p->ops;
    for (unsigned i = 0; i < p->ops; i++) {
        (p->scripted ? sim_exhaust_op : sim_op_draw)(&w->ops[i], p, i);
        if (!p->no_op[i])
            sim_at(w, w->ops[i].at_us,
                   (struct sim_event){.kind = SIM_EV_OP, .node = (uint8_t)w->ops[i].node, .a = i});
    }
    sim_faults_draw(w);
}

/* Some machines never come back, if nothing is lost by that. */
static void choose_core(struct sim_world *w)
{
    struct sim_rng r = sim_rng_of(w->plan->seed, SIM_TOPOLOGY, 3);
    if (w->plan->nodes < 3 || !sim_chance(&r, 300))
        return;
    struct sim_node *n = &w->nodes[sim_below(&r, w->plan->nodes)];
    if (!sim_can_spare(w, n))
        return;
    sim_node_die(n, NULL, "for good");
    n->dead_for_good = true;
}

static unsigned pick_node(struct sim_world *w, struct sim_rng *r)
{
    unsigned i = (unsigned)sim_below(r, w->plan->nodes);
    while (w->nodes[i].dead_for_good)
        i = (i + 1) % w->plan->nodes;
    return i;
}

static void ask(struct sim_world *w, unsigned node, enum sim_op_kind kind, unsigned content,
                int name)
{
    PV_ASSERT(w->op_count < SIM_OPS_MAX);
    struct sim_op *op = &w->ops[w->op_count];
    *op = (struct sim_op){.kind = kind,
                          .content = content,
                          .name = name,
                          .node = node,
                          .key_content = -1,
                          .is_check = true};
    sim_op_begin(w, w->op_count++);
    sim_net_work(w);
    sim_node_arm(&w->nodes[op->node]);
}

/* Nobody reads what rots, until somebody does: a scrub of a week, or this. */
static void look_for_rot(struct sim_world *w)
{
    for (unsigned i = 0; i < w->plan->nodes; i++)
        if (w->nodes[i].up && w->nodes[i].ready)
            ask(w, i, SIM_OP_VERIFY, 0, -1);
}

static void settle(struct sim_world *w)
{
    char why[SIM_CAUSE_LEN] = "";
    uint64_t settle_s = w->leap_us > 0 ? LEAPT_S : SETTLE_S, until = w->now + settle_s * SIM_S;
    sim_trace(w, "healed");
    run_until(w, w->now + CONNECT_S * SIM_S);
    if (!w->failed && w->rotted)
        look_for_rot(w);
    while (!w->failed && !sim_converged(w, why)) {
        if (w->now >= until) {
            sim_fail(w, "O5", "not converged %u s after the last fault: %.200s", (unsigned)settle_s,
                     why);
            return;
        }
        run_until(w, w->now + LOOK_S * SIM_S);
    }
    sim_trace(w, "converged");
}

static void judge(struct sim_world *w, unsigned index)
{
    const struct sim_op *op = &w->ops[index];
    if (op->state == SIM_OP_OPEN || op->state == SIM_OP_NOT_YET) {
        sim_fail(w, "O11", "node %u does not answer a %s", op->node, sim_op_text(op->kind));
    } else if (op->kind == SIM_OP_GET) {
        if (op->state != SIM_OP_OK && sim_must_live(w, op->content))
            sim_fail(w, "O1", "content %u is lost: node %u: %s", op->content, op->node, op->error);
        if (op->state == SIM_OP_OK && sim_must_be_dead(w, op->content))
            sim_fail(w, "O3", "content %u was removed, and node %u serves it", op->content,
                     op->node);
    } else {
        int means = op->state == SIM_OP_OK ? op->key_content : -1;
        if (!sim_name_may_mean(w, op->name, means))
            sim_fail(w, "O1", "name %d means content %d on node %u: %s", op->name, means, op->node,
                     op->error);
    }
}

/* All that clients were told is looked up once, each on some node. */
static void read_all(struct sim_world *w)
{
    struct sim_rng r = sim_rng_of(w->plan->seed, SIM_TOPOLOGY, 4);
    unsigned first = w->op_count;
    for (unsigned c = 0; c < SIM_CONTENTS; c++)
        if (w->contents[c].bytes != NULL)
            ask(w, pick_node(w, &r), SIM_OP_GET, c, -1);
    for (int name = 0; name < SIM_NAMES; name++)
        ask(w, pick_node(w, &r), SIM_OP_FIND, 0, name);
    for (int name = SIM_NAMES; name < SIM_NAMES + SIM_VALUES; name++)
        ask(w, pick_node(w, &r), SIM_OP_VALUE, 0, name);
    uint64_t until = w->now + READ_S * SIM_S;
    bool open = true;
    while (open && !w->failed && w->now < until) {
        run_until(w, w->now + SIM_S);
        open = false;
        for (unsigned i = first; i < w->op_count; i++)
            open = open || w->ops[i].state == SIM_OP_OPEN;
    }
    for (unsigned i = first; i < w->op_count && !w->failed; i++)
        judge(w, i);
}

static uint64_t virtual_ms(void *ctx)
{
    return ((const struct sim_world *)ctx)->now / SIM_MS;
}

void sim_run(struct sim_result *out, const struct sim_plan *plan, bool trace, struct pv_log *log)
{
    struct sim_world *w = calloc(1, sizeof *w);
    PV_ASSERT(w != NULL);
    w->plan = plan;
    w->trace = trace;
    w->log = log;
    if (log != NULL)
        pv_log_set_clock(log, virtual_ms, w);
    begin(w);
    run_until(w, plan->virtual_us);
    if (!w->failed) {
        choose_core(w);
        sim_heal(w);
        settle(w);
    }
    if (!w->failed)
        read_all(w);
    for (unsigned i = 0; i < plan->nodes; i++)
        sim_node_release(&w->nodes[i]);
    sim_net_release(w);
    sim_contents_release(w);
    *out = (struct sim_result){.failed = w->failed,
                               .was_cut = w->was_cut,
                               .hash = w->hash,
                               .end_us = w->now,
                               .stats = w->stats};
    memcpy(out->cause, w->cause, sizeof out->cause);
    free(w->heap);
    free(w);
}
