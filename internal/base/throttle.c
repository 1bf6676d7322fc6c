/* A level that is looked at is first brought up to now; a full one forgets how long it has been. */
#include "internal/base/throttle.h"

#include "internal/base/err.h"

enum { PARTS = 1000 };

static void fill(struct pv_throttle *b, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms - b->looked_at_ms;
    uint64_t missing = (uint64_t)(b->full - b->level);
    b->looked_at_ms = now_ms;
    if (b->rate == 0 || passed_ms > missing / b->rate) /* or the product might be too large */
        b->level = b->full;
    else
        b->level += (int64_t)(passed_ms * b->rate);
}

void pv_throttle_init(struct pv_throttle *b, uint64_t rate, uint64_t burst, uint64_t now_ms)
{
    PV_ASSERT(rate <= PV_THROTTLE_RATE_MAX && burst <= PV_THROTTLE_RATE_MAX);
    b->rate = rate;
    b->level = b->full = (int64_t)(burst * PARTS);
    b->looked_at_ms = now_ms;
}

void pv_throttle_change(struct pv_throttle *b, uint64_t rate, uint64_t burst, uint64_t now_ms)
{
    struct pv_throttle to;
    fill(b, now_ms);
    pv_throttle_init(&to, rate, burst, now_ms);
    if (b->rate != 0 && rate != 0 && b->level < to.level)
        to.level = b->level;
    *b = to;
}

uint64_t pv_throttle_has(struct pv_throttle *b, uint64_t now_ms)
{
    if (b->rate == 0)
        return UINT64_MAX;
    fill(b, now_ms);
    return b->level > 0 ? (uint64_t)b->level / PARTS : 0;
}

void pv_throttle_take(struct pv_throttle *b, uint64_t count, uint64_t now_ms)
{
    if (b->rate == 0)
        return;
    PV_ASSERT(count <= PV_THROTTLE_RATE_MAX);
    fill(b, now_ms);
    b->level -= (int64_t)(count * PARTS);
}

uint64_t pv_throttle_ready_ms(struct pv_throttle *b, uint64_t count, uint64_t now_ms)
{
    if (b->rate == 0)
        return now_ms;
    fill(b, now_ms);
    int64_t wanted = (int64_t)(count * PARTS);
    if (wanted > b->full)
        wanted = b->full;
    if (b->level >= wanted)
        return now_ms;
    uint64_t missing = (uint64_t)(wanted - b->level);
    return now_ms + (missing + b->rate - 1) / b->rate;
}
