/* A small table that is walked: it is looked at once a session and once a strike. */
#include "internal/node/strikes.h"

static bool is_banned(const struct pv_strike *k, uint64_t now_ms)
{
    return now_ms < k->banned_until_ms;
}

static bool is_over(const struct pv_strike *k, uint64_t now_ms)
{
    uint64_t last_ms = k->struck_ms > k->banned_until_ms ? k->struck_ms : k->banned_until_ms;
    return now_ms >= last_ms + PV_STRIKES_FORGET_MS;
}

/* Whether a should give way rather than b. */
static bool goes_before(const struct pv_strike *a, const struct pv_strike *b, uint64_t now_ms)
{
    bool a_banned = is_banned(a, now_ms), b_banned = is_banned(b, now_ms);
    if (a_banned != b_banned)
        return b_banned;
    return a_banned ? a->banned_until_ms < b->banned_until_ms : a->struck_ms < b->struck_ms;
}

static struct pv_strike *take_place(struct pv_strikes *s, uint64_t now_ms)
{
    if (s->count < PV_STRIKES_KNOWN_MAX)
        return &s->known[s->count++];
    struct pv_strike *first = &s->known[0];
    for (size_t i = 1; i < s->count; i++)
        if (goes_before(&s->known[i], first, now_ms))
            first = &s->known[i];
    return first;
}

static struct pv_strike *entry_of(struct pv_strikes *s, const struct pv_id *node_id,
                                  uint64_t now_ms)
{
    struct pv_strike *k = NULL;
    for (size_t i = 0; k == NULL && i < s->count; i++)
        if (pv_id_equal(&s->known[i].node_id, node_id))
            k = &s->known[i];
    if (k != NULL && !is_over(k, now_ms))
        return k;
    if (k == NULL)
        k = take_place(s, now_ms);
    *k = (struct pv_strike){.node_id = *node_id, .struck_ms = now_ms};
    return k;
}

static uint64_t next_ban_ms(const struct pv_strike *k)
{
    uint64_t ms = k->ban_ms == 0 ? PV_BAN_MS_MIN : 2 * k->ban_ms;
    return ms < PV_BAN_MS_MAX ? ms : PV_BAN_MS_MAX;
}

bool pv_strikes_add(struct pv_strikes *s, const struct pv_id *node_id, const char *what,
                    uint64_t now_ms)
{
    struct pv_strike *k = entry_of(s, node_id, now_ms);
    k->what = what;
    k->struck_ms = now_ms;
    if (++k->strikes < PV_STRIKES_MAX)
        return false;
    k->strikes = 0;
    k->ban_ms = next_ban_ms(k);
    k->banned_until_ms = now_ms + k->ban_ms;
    return true;
}

bool pv_strikes_add_bad_body(struct pv_strikes *s, const struct pv_id *node_id, uint64_t now_ms)
{
    struct pv_strike *k = entry_of(s, node_id, now_ms);
    k->struck_ms = now_ms;
    if (++k->bad_bodies < PV_BAD_BODIES_A_STRIKE)
        return false;
    k->bad_bodies = 0;
    return pv_strikes_add(s, node_id, "blobs with the wrong hash", now_ms);
}

const struct pv_strike *pv_strikes_ban(const struct pv_strikes *s, const struct pv_id *node_id,
                                       uint64_t now_ms)
{
    for (size_t i = 0; i < s->count; i++)
        if (is_banned(&s->known[i], now_ms) && pv_id_equal(&s->known[i].node_id, node_id))
            return &s->known[i];
    return NULL;
}
