/*
 * What must be true. Of the oracles of the plan, checked here and elsewhere:
 *
 *   O1   what was acknowledged and not removed can be read in the end  run.c (reads), copies.c
 *   O2   served bytes are those that were stored, always               sim_check_data, client.c
 *   O3   what was removed stays removed                                run.c (reads)
 *   O5   the healed cluster agrees, with all copies, in bounded time   sim_converged
 *   O7   budgets are given back when a process ends                    node.c, asserts of the
 * product O8   a disk after a crash opens; tmp/ is empty                     sim_check_opened O10
 * honest peers are neither blamed nor banned                    net.c, dial.c O11  no request waits
 * for ever; time does not stand still          run.c O12  a seed gives one trace main.c O13  every
 * rare path was taken                                     main.c O14  no commit succeeds after a
 * failed sync                        node.c
 *
 * Not yet: O4 (each unlink has its proof; what it would break shows in O1), O6 (the merge of
 * records has its own tests), O9 (pairs of key and nonce), hostile members.
 *
 * What must live or be dead is judged by time: of two writes that are further apart than clocks
 * can differ, the later one wins; of closer ones either may.
 */
#include "tests/sim/sim.h"

#include <string.h>

static bool ended_before(const struct sim_world *w, const struct sim_op *a, uint64_t us)
{
    return a->state != SIM_OP_OPEN && a->end_us + w->margin_us < us;
}

static bool is_write(const struct sim_op *op)
{
    return op->state != SIM_OP_NOT_YET &&
           (op->kind == SIM_OP_STORE || op->kind == SIM_OP_RM || op->kind == SIM_OP_RM_NAME);
}

static bool was_bound(const struct sim_world *w, int name, unsigned content)
{
    for (unsigned i = 0; i < w->op_count; i++)
        if (w->ops[i].kind == SIM_OP_STORE && w->ops[i].state != SIM_OP_NOT_YET &&
            w->ops[i].name == name && w->ops[i].content == content)
            return true;
    return false;
}

/* Whether this removal may have removed the content. */
static bool may_remove(const struct sim_world *w, const struct sim_op *op, unsigned content)
{
    if (!is_write(op) || op->kind == SIM_OP_STORE)
        return false;
    if (op->kind == SIM_OP_RM)
        return op->content == content;
    return was_bound(w, op->name, content);
}

bool sim_must_live(const struct sim_world *w, unsigned content)
{
    for (unsigned s = 0; s < w->op_count; s++) {
        const struct sim_op *store = &w->ops[s];
        if (store->kind != SIM_OP_STORE || store->content != content || store->durable_us == 0)
            continue;
        bool sure = true;
        for (unsigned r = 0; sure && r < w->op_count; r++)
            sure =
                !may_remove(w, &w->ops[r], content) || ended_before(w, &w->ops[r], store->start_us);
        if (sure)
            return true;
    }
    return false;
}

bool sim_must_be_dead(const struct sim_world *w, unsigned content)
{
    for (unsigned r = 0; r < w->op_count; r++) {
        const struct sim_op *rm = &w->ops[r];
        if (rm->state != SIM_OP_OK || rm->files == 0 || !may_remove(w, rm, content) ||
            rm->key_content != (int)content)
            continue;
        bool sure = true;
        for (unsigned s = 0; sure && s < w->op_count; s++)
            sure = w->ops[s].kind != SIM_OP_STORE || w->ops[s].state == SIM_OP_NOT_YET ||
                   w->ops[s].content != content || ended_before(w, &w->ops[s], rm->start_us);
        if (sure)
            return true;
    }
    return false;
}

static bool binds(const struct sim_op *op, int name)
{
    return (op->kind == SIM_OP_STORE || op->kind == SIM_OP_SET) && op->name == name;
}

bool sim_name_may_mean(const struct sim_world *w, int name, int content)
{
    bool any_acked = false;
    for (unsigned b = 0; b < w->op_count; b++) {
        const struct sim_op *bind = &w->ops[b];
        if (!binds(bind, name) || bind->state == SIM_OP_NOT_YET)
            continue;
        any_acked = any_acked || bind->durable_us > 0;
        bool beaten = false;
        for (unsigned x = 0; !beaten && x < w->op_count; x++) {
            const struct sim_op *later = &w->ops[x];
            bool wins =
                (later->kind == SIM_OP_STORE && later->name == name && later->durable_us > 0) ||
                (later->kind == SIM_OP_RM_NAME && later->name == name &&
                 later->state == SIM_OP_OK && later->names > 0);
            beaten = wins && ended_before(w, bind, later->start_us);
        }
        if (!beaten && content == (int)bind->content)
            return true;
    }
    if (content >= 0)
        return false;
    for (unsigned x = 0; x < w->op_count; x++) /* a removal may have been the last word */
        if (w->ops[x].kind == SIM_OP_UNSET && w->ops[x].name == name &&
            w->ops[x].state != SIM_OP_NOT_YET)
            return true;
    for (unsigned x = 0; x < w->op_count; x++)
        for (unsigned c = 0; c < SIM_CONTENTS; c++)
            if (was_bound(w, name, c) && may_remove(w, &w->ops[x], c))
                return true;
    return !any_acked;
}

/* ---- answers ---- */

void sim_check_data(struct sim_world *w, struct sim_op *op, const uint8_t *bytes, size_t len)
{
    if (op->key_content < 0)
        return;
    const struct sim_content *c = &w->contents[op->key_content];
    if (op->data_at + len > c->len || (len > 0 && memcmp(c->bytes + op->data_at, bytes, len) != 0))
        sim_fail(w, "O2", "op %u: node %u serves wrong bytes", (unsigned)(op - w->ops), op->node);
}

void sim_check_answer(struct sim_world *w, struct sim_op *op)
{
    unsigned index = (unsigned)(op - w->ops);
    if (op->state == SIM_OP_FAILED && op->exit == PV_EXIT_INTERNAL)
        sim_fail(w, "O11", "op %u: internal error: %s", index, op->error);
    if (op->state != SIM_OP_OK)
        return;
    if ((op->kind == SIM_OP_STORE || op->kind == SIM_OP_GET) && op->key_content != (int)op->content)
        sim_fail(w, "O2", "op %u is answered with another key", index);
    if (op->kind == SIM_OP_STORE && op->durable_us == 0)
        sim_fail(w, "O1", "op %u is answered before it is durable", index);
    if ((op->kind == SIM_OP_GET || op->kind == SIM_OP_FIND) && op->key_content >= 0 &&
        op->data_len != w->contents[op->key_content].len)
        sim_fail(w, "O2", "op %u: %zu bytes of a file of %zu", index, op->data_len,
                 w->contents[op->key_content].len);
    if (op->kind == SIM_OP_VALUE && op->key_content >= 0 &&
        op->data_len != sim_value_len(&w->contents[op->key_content]))
        sim_fail(w, "O2", "op %u: %zu bytes of a value", index, op->data_len);
    w->stats.gets += op->kind == SIM_OP_GET;
}

/* ---- disks ---- */

static bool has_entry(void *arg, const char *name)
{
    (void)name;
    *(bool *)arg = true;
    return false;
}

void sim_check_opened(struct sim_node *n)
{
    bool any = false;
    const struct pv_fs *fs = pvt_simfs_fs(n->disk);
    enum pv_err err = fs->list(fs->ctx, n->vault.dir, "tmp", has_entry, &any);
    if (err == PV_OK && any)
        sim_fail(n->w, "O8", "node %u was opened and has temporary files", n->index);
}

/* ---- the healed cluster ---- */

static bool same_digest(struct sim_node *a, struct sim_node *b)
{
    static struct pv_store_bucket x[PV_STORE_BUCKETS], y[PV_STORE_BUCKETS];
    pv_store_digest(a->store, x);
    pv_store_digest(b->store, y);
    for (size_t i = 0; i < PV_STORE_BUCKETS; i++)
        if (x[i].count != y[i].count || memcmp(x[i].sum, y[i].sum, sizeof x[i].sum) != 0)
            return false;
    return true;
}

bool sim_converged(struct sim_world *w, char why[static SIM_CAUSE_LEN])
{
    struct sim_node *first = NULL;
    for (unsigned i = 0; i < w->op_count; i++)
        if (w->ops[i].state == SIM_OP_OPEN) {
            (void)snprintf(why, SIM_CAUSE_LEN, "op %u (%s on node %u) is not answered", i,
                           sim_op_text(w->ops[i].kind), w->ops[i].node);
            return false;
        }
    for (unsigned i = 0; i < w->plan->nodes; i++) {
        struct sim_node *n = &w->nodes[i];
        struct pv_store_counts counts;
        if (n->dead_for_good)
            continue;
        if (!n->up || !n->ready) {
            (void)snprintf(why, SIM_CAUSE_LEN, "node %u is not up", i);
            return false;
        }
        if (first != NULL && !same_digest(first, n)) {
            (void)snprintf(why, SIM_CAUSE_LEN, "nodes %u and %u have other records", first->index,
                           i);
            return false;
        }
        first = first == NULL ? n : first;
        if (pv_store_counts(n->store, &counts) == PV_OK && counts.pending > 0) {
            (void)snprintf(why, SIM_CAUSE_LEN, "node %u has %llu pending records", i,
                           (unsigned long long)counts.pending);
            return false;
        }
    }
    return sim_copies_ok(w, why);
}
