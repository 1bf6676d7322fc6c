/*
 * A failure with less in it: operations and faults are taken out, by halves and then one by one,
 * as long as the same oracle still speaks.
 */
#include "tests/sim/sim.h"

#include <string.h>

static bool same_failure(const struct sim_result *a, const struct sim_result *b)
{
    size_t len = strcspn(a->cause, ":");
    return b->failed && strncmp(a->cause, b->cause, len + 1) == 0;
}

/* Whether it fails alike without out[from .. to). It stays so if it does. */
static bool without(struct sim_plan *plan, const struct sim_result *failure, bool *out,
                    unsigned from, unsigned to)
{
    struct sim_result result;
    bool before[SIM_OPS_MAX], any = false;
    memcpy(before + from, out + from, to - from);
    for (unsigned i = from; i < to; i++) {
        any = any || !out[i];
        out[i] = true;
    }
    if (!any)
        return true;
    sim_run_seeded(&result, plan);
    if (same_failure(failure, &result))
        return true;
    memcpy(out + from, before + from, to - from);
    return false;
}

static void take_out(struct sim_plan *plan, const struct sim_result *failure, bool *out,
                     unsigned count)
{
    for (unsigned step = count > 1 ? count / 2 : 1; step > 0; step /= 2)
        for (unsigned from = 0; from < count; from += step)
            (void)!without(plan, failure, out, from, from + step < count ? from + step : count);
}

void sim_shrink(struct sim_plan *plan, const struct sim_result *failure)
{
    take_out(plan, failure, plan->no_fault, plan->faults);
    take_out(plan, failure, plan->no_op, plan->ops);
    take_out(plan, failure, plan->no_fault, plan->faults);
}
