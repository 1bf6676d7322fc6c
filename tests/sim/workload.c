/* What clients do. Each operation is drawn by itself, so that one can be left out. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

const char *sim_op_text(enum sim_op_kind kind)
{
    static const char *const texts[] = {
#define X(name, text) text,
        SIM_OP_LIST(X)
#undef X
    };
    return texts[kind];
}

void sim_name_text(char out[static 16], int name)
{
    (void)snprintf(out, 16, "name-%d", name);
}

/* ---- contents ---- */

static size_t draw_len(struct sim_rng *r)
{
    static const size_t edges[] = {0, 1, 100, 4095, 4096, 4097, 20000, 65536, 65537};
    uint64_t dice = sim_below(r, 100);
    if (dice < 60)
        return edges[sim_below(r, PV_COUNT(edges))];
    if (dice < 94)
        return (size_t)sim_between(r, 1, 30000);
    return (size_t)sim_between(r, 65000, dice < 98 ? 200000 : 1500000);
}

struct sim_content *sim_content(struct sim_world *w, unsigned index)
{
    struct sim_content *c = &w->contents[index];
    struct sim_rng r = sim_rng_of(w->plan->seed, SIM_WORKLOAD, 100000 + index);
    if (c->bytes != NULL)
        return c;
    c->len = draw_len(&r);
    if (c->len < 16) /* the shortest exist once */
        c->len = index < SIM_CONTENTS_KEPT && c->len < 2 && index < 2 ? index : c->len + 16;
    c->bytes = malloc(c->len + 8);
    PV_ASSERT(c->bytes != NULL);
    for (size_t i = 0; i < c->len; i += 8) {
        uint64_t x = sim_draw(&r);
        memcpy(c->bytes + i, &x, 8);
    }
    pv_sha256(c->sha256.b, c->bytes, c->len);
    pv_id_hex(c->key, &c->sha256);
    struct pv_id value;
    pv_sha256(value.b, c->bytes, sim_value_len(c));
    pv_id_hex(c->value_key, &value);
    return c;
}

size_t sim_value_len(const struct sim_content *c)
{
    return c->len < SIM_VALUE_LEN ? c->len : SIM_VALUE_LEN;
}

void sim_contents_release(struct sim_world *w)
{
    for (unsigned i = 0; i < SIM_CONTENTS; i++)
        free(w->contents[i].bytes);
}

/* ---- operations ---- */

static enum sim_op_kind draw_kind(struct sim_rng *r)
{
    static const struct {
        enum sim_op_kind kind;
        unsigned weight;
    } table[] = {{SIM_OP_STORE, 34}, {SIM_OP_GET, 18},    {SIM_OP_FIND, 8}, {SIM_OP_RANGE, 4},
                 {SIM_OP_RM, 8},     {SIM_OP_RM_NAME, 7}, {SIM_OP_GC, 3},   {SIM_OP_VERIFY, 3},
                 {SIM_OP_STATUS, 3}, {SIM_OP_LS, 4},      {SIM_OP_SET, 5},  {SIM_OP_VALUE, 2},
                 {SIM_OP_UNSET, 1}};
    unsigned dice = (unsigned)sim_below(r, 100), i = 0;
    while (dice >= table[i].weight)
        dice -= table[i++].weight;
    return table[i].kind;
}

void sim_op_draw(struct sim_op *op, const struct sim_plan *p, unsigned index)
{
    struct sim_rng r = sim_rng_of(p->seed, SIM_WORKLOAD, index);
    *op = (struct sim_op){.kind = draw_kind(&r), .name = -1, .key_content = -1};
    op->at_us = SIM_S + sim_below(&r, p->virtual_us);
    op->node = (unsigned)sim_below(&r, p->nodes);
    bool kept = sim_chance(&r, 600);
    if (op->kind == SIM_OP_RM || op->kind == SIM_OP_RM_NAME)
        kept = false;
    op->content = (unsigned)(kept ? sim_below(&r, SIM_CONTENTS_KEPT)
                                  : sim_between(&r, SIM_CONTENTS_KEPT, SIM_CONTENTS - 1));
    int free_name = (int)sim_below(&r, SIM_NAMES_FREE);
    int kept_name = (int)sim_between(&r, SIM_NAMES_FREE, SIM_NAMES - 1);
    if (op->kind == SIM_OP_STORE && sim_chance(&r, 500))
        op->name = kept ? kept_name : free_name;
    if (op->kind == SIM_OP_RM_NAME)
        op->name = free_name;
    if (op->kind == SIM_OP_FIND)
        op->name = kept ? kept_name : free_name;
    if (op->kind == SIM_OP_SET || op->kind == SIM_OP_VALUE || op->kind == SIM_OP_UNSET)
        op->name = (int)(SIM_NAMES + sim_below(&r, SIM_VALUES));
    op->copies = sim_chance(&r, 250) ? (unsigned)sim_between(&r, 1, 3) : 0;
    op->range_from = sim_below(&r, 5000);
    op->range_to = op->range_from + sim_below(&r, 5000);
    if (sim_chance(&r, 60))
        op->patience_us = 1 + sim_below(&r, 50 * SIM_MS);
}
