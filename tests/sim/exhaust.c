/*
 * Every order of a few operations on a few nodes, and in each of them a power cut at every file
 * call that an operation makes change something: small workloads on a new disk find most of what
 * crashes can do.
 */
#include "tests/sim/sim.h"

static const enum sim_op_kind kinds[] = {SIM_OP_STORE, SIM_OP_RM, SIM_OP_RM_NAME, SIM_OP_SET,
                                         SIM_OP_GC};

uint64_t sim_exhaust_count(unsigned ops, unsigned nodes)
{
    uint64_t count = 1;
    for (unsigned i = 0; i < ops; i++)
        count *= PV_COUNT(kinds) * nodes;
    return count;
}

/* The plan of one order, without a power cut. */
void sim_exhaust_plan(struct sim_plan *p, uint64_t order, unsigned ops, unsigned nodes)
{
    *p = (struct sim_plan){.seed = 1,
                           .nodes = nodes,
                           .ops = ops,
                           .virtual_us = (20 + 10 * ops) * SIM_S,
                           .delay_us = SIM_MS,
                           .window = 1 << 18,
                           .job_us = 100,
                           .sync_us = 1000,
                           .scripted = true};
    for (unsigned i = 0; i < ops; i++) {
        p->script[i].node = (unsigned)(order % nodes);
        order /= nodes;
        p->script[i].kind = kinds[order % PV_COUNT(kinds)];
        order /= PV_COUNT(kinds);
    }
}

/* Always the same file, every other time as another content, under the same name. */
void sim_exhaust_op(struct sim_op *op, const struct sim_plan *p, unsigned index)
{
    *op = (struct sim_op){.kind = p->script[index].kind,
                          .node = p->script[index].node,
                          .content = SIM_CONTENTS_KEPT + index % 2,
                          .key_content = -1,
                          .at_us = (10 + 10 * index) * SIM_S};
    if (op->kind == SIM_OP_SET)
        op->name = SIM_NAMES;
    if (op->kind == SIM_OP_RM)
        op->content = SIM_CONTENTS_KEPT;
}
