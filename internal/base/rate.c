#include "internal/base/rate.h"

static struct pv_rate at(const struct pv_rate *r, uint64_t now_ms)
{
    struct pv_rate out = *r;
    uint64_t slots = (now_ms - r->slot_ms) / PV_RATE_SLOT_MS;
    if (slots == 0)
        return out;
    out.past_bytes = slots == 1 ? r->slot_bytes : 0;
    out.slot_bytes = 0;
    out.slot_ms += slots * PV_RATE_SLOT_MS;
    return out;
}

void pv_rate_start(struct pv_rate *r, uint64_t now_ms)
{
    *r = (struct pv_rate){.begun_ms = now_ms, .slot_ms = now_ms};
}

void pv_rate_add(struct pv_rate *r, uint64_t bytes, uint64_t now_ms)
{
    *r = at(r, now_ms);
    r->slot_bytes += bytes;
    r->total += bytes;
}

uint64_t pv_rate_per_s(const struct pv_rate *r, uint64_t now_ms)
{
    struct pv_rate now = at(r, now_ms);
    uint64_t span_ms = now_ms - now.slot_ms + PV_RATE_SLOT_MS;
    if (span_ms > now_ms - now.begun_ms) /* younger than a slot */
        span_ms = now_ms - now.begun_ms;
    /* Less than a second says nothing of a second; no overflow at any rate that hardware has. */
    return (now.slot_bytes + now.past_bytes) * 1000 / (span_ms < 1000 ? 1000 : span_ms);
}
