#include "transport/progress.h"
#include "internal/base/limits.h"

bool pv_progress_goes_on(struct pv_progress *p, bool owed, uint64_t done, uint64_t now_ms)
{
    bool begins = owed && !p->owed, over = now_ms - p->since_ms >= PV_RATE_WINDOW_MS;
    p->owed = owed;
    if (!owed || (!begins && !over))
        return true;
    if (!begins && done - p->from < (uint64_t)PV_RATE_MIN * (PV_RATE_WINDOW_MS / 1000))
        return false;
    p->since_ms = now_ms;
    p->from = done;
    return true;
}

uint64_t pv_progress_deadline_ms(const struct pv_progress *p)
{
    return p->owed ? p->since_ms + PV_RATE_WINDOW_MS : UINT64_MAX;
}
