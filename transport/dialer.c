/* Full jitter: the wait is drawn from the whole interval, so that many nodes do not dial in step.
 */
#include "transport/dialer.h"
#include "internal/base/limits.h"

#include <stdio.h>
#include <string.h>

enum pv_err pv_dialer_init(struct pv_dialer *d, const struct pv_env *env, const char *address)
{
    struct pv_address parsed;
    enum pv_err err = pv_address_parse(&parsed, address);
    if (err != PV_OK)
        return err;
    *d = (struct pv_dialer){.env = env, .address = parsed, .due_ms = pv_env_mono_ms(env)};
    snprintf(d->text, sizeof d->text, "%s", address);
    return PV_OK;
}

uint64_t pv_dialer_due_ms(const struct pv_dialer *d)
{
    return d->state == PV_DIALER_WAITING ? d->due_ms : UINT64_MAX;
}

static void wait_up_to(struct pv_dialer *d, uint64_t limit_ms)
{
    uint64_t random;
    pv_env_random(d->env, &random, sizeof random);
    d->due_ms = pv_env_mono_ms(d->env) + random % (limit_ms + 1);
    d->state = PV_DIALER_WAITING;
}

static void wait(struct pv_dialer *d, uint64_t max_ms)
{
    uint64_t limit_ms = PV_DIAL_MS_MIN;
    for (unsigned i = 0; i < d->attempts && limit_ms < max_ms; i++)
        limit_ms *= 2;
    wait_up_to(d, limit_ms < max_ms ? limit_ms : max_ms);
}

static void note(struct pv_dialer *d, const char *error)
{
    snprintf(d->error, sizeof d->error, "%s", error);
}

void pv_dialer_start(struct pv_dialer *d)
{
    PV_ASSERT(d->state == PV_DIALER_WAITING);
    d->state = PV_DIALER_DIALLING;
}

static bool cut_lately(const struct pv_dialer *d)
{
    return d->was_cut && pv_env_mono_ms(d->env) - d->cut_ms < PV_DIAL_LATELY_MS;
}

void pv_dialer_failed(struct pv_dialer *d, enum pv_refusal refusal, size_t token_count,
                      const char *error)
{
    PV_ASSERT(d->state == PV_DIALER_DIALLING && token_count > 0);
    note(d, error);
    if (refusal == PV_REFUSED_SILENT)
        d->token = (d->token + 1) % token_count;
    if (refusal == PV_REFUSED_SELF) /* most likely for good */
        wait_up_to(d, PV_DIAL_MS_MAX);
    else
        wait(d, cut_lately(d) ? PV_DIAL_CUT_MS_MAX : PV_DIAL_MS_MAX);
    d->attempts++;
}

void pv_dialer_up(struct pv_dialer *d, const struct pv_id *node_id)
{
    PV_ASSERT(d->state == PV_DIALER_DIALLING);
    d->state = PV_DIALER_UP;
    d->up_ms = pv_env_mono_ms(d->env);
    d->has_node_id = true;
    d->node_id = *node_id;
    d->error[0] = '\0';
}

void pv_dialer_down(struct pv_dialer *d, enum pv_dialer_end end, const char *error)
{
    PV_ASSERT(d->state == PV_DIALER_UP);
    note(d, error);
    uint64_t now_ms = pv_env_mono_ms(d->env);
    bool stable = now_ms - d->up_ms >= PV_DIAL_STABLE_MS;
    if (stable)
        d->attempts = 0;
    d->was_cut = end == PV_DIALER_CUT;
    d->cut_ms = now_ms;
    wait(d, d->was_cut ? PV_DIAL_CUT_MS_MAX : PV_DIAL_MS_MAX);
    if (end == PV_DIALER_AGREED &&
        stable) /* else a peer that renews at once would keep both sides busy */
        d->due_ms = now_ms;
    else
        d->attempts++;
}

void pv_dialer_postpone(struct pv_dialer *d, uint64_t due_ms, const char *error)
{
    PV_ASSERT(d->state == PV_DIALER_WAITING);
    note(d, error);
    d->due_ms = due_ms;
}

void pv_dialer_cover(struct pv_dialer *d)
{
    PV_ASSERT(d->state == PV_DIALER_WAITING);
    d->state = PV_DIALER_COVERED;
    d->error[0] = '\0';
}

void pv_dialer_uncover(struct pv_dialer *d)
{
    if (d->state != PV_DIALER_COVERED)
        return;
    d->attempts = 0;
    wait(d, PV_DIAL_MS_MAX);
}

void pv_dialer_restart(struct pv_dialer *d, uint64_t limit_ms)
{
    d->attempts = 0;
    if (d->state == PV_DIALER_WAITING)
        wait_up_to(d, limit_ms);
}
