#include "internal/node/quota.h"
#include "internal/node/node_private.h"

void pv_quota_begin(struct pv_peer *p)
{
    uint64_t now_ms = pv_node_now(p->node);
    bool guest = !p->info.keyed;
    pv_throttle_init(&p->quota.messages, guest ? PV_GUEST_MESSAGES_PER_S : 0,
                     PV_GUEST_MESSAGES_BURST, now_ms);
    pv_throttle_init(&p->quota.records, guest ? PV_GUEST_RECORDS_PER_S : 0, PV_GUEST_RECORDS_BURST,
                     now_ms);
}

static uint64_t ready_ms(struct pv_peer *p, uint64_t now_ms)
{
    uint64_t messages_ms = pv_throttle_ready_ms(&p->quota.messages, 1, now_ms);
    uint64_t records_ms = pv_throttle_ready_ms(&p->quota.records, 1, now_ms);
    return messages_ms > records_ms ? messages_ms : records_ms;
}

void pv_quota_message(struct pv_peer *p)
{
    uint64_t now_ms = pv_node_now(p->node);
    pv_throttle_take(&p->quota.messages, 1, now_ms);
    if (p->quota.paused || ready_ms(p, now_ms) <= now_ms)
        return;
    p->quota.paused = true;
    pv_peer_pause(p, true);
}

void pv_quota_record(struct pv_peer *p)
{
    pv_throttle_take(&p->quota.records, 1, pv_node_now(p->node));
}

uint64_t pv_quota_deadline_ms(const struct pv_node *n)
{
    uint64_t now_ms = pv_node_now(n), first_ms = UINT64_MAX;
    struct pv_peer *p;
    for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;) {
        uint64_t at_ms = p->quota.paused ? ready_ms(p, now_ms) : UINT64_MAX;
        first_ms = at_ms < first_ms ? at_ms : first_ms;
    }
    return first_ms;
}

void pv_quota_tick(struct pv_node *n)
{
    uint64_t now_ms = pv_node_now(n);
    struct pv_peer *p;
    for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;) {
        if (!p->quota.paused || ready_ms(p, now_ms) > now_ms)
            continue;
        p->quota.paused = false;
        pv_peer_pause(p, false);
    }
}
