/*
 * Every blob is its own lottery: a member draws one ticket for each unit of its weight, and the
 * best tickets win. A draw depends on no other member, which is why so little moves.
 */
#include "internal/node/placement.h"

#include "internal/base/mem.h"

#include <string.h>
#include <xxhash.h>

void pv_placement_init(struct pv_placement *p, unsigned copies)
{
    *p = (struct pv_placement){.copies = copies};
}

static uint8_t zone_number(struct pv_placement *p, const char *zone)
{
    for (size_t i = 0; i < p->zone_count; i++)
        if (strcmp(p->zones[i], zone) == 0)
            return (uint8_t)i;
    memcpy(p->zones[p->zone_count], zone, strlen(zone) + 1);
    return (uint8_t)p->zone_count++;
}

unsigned pv_placement_add(struct pv_placement *p, const struct pv_id *node_id,
                          const struct pv_member_body *body)
{
    PV_ASSERT(p->count < PV_MEMBERS_MAX);
    p->members[p->count] = (struct pv_place_member){
        .node_id = *node_id,
        .weight = body->weight,
        .zone = zone_number(p, body->zone),
        .keyed = body->role == PV_ROLE_KEYED,
    };
    return (unsigned)p->count++;
}

bool pv_placement_find(const struct pv_placement *p, const struct pv_id *node_id, unsigned *index)
{
    for (size_t i = 0; i < p->count; i++) {
        if (pv_id_equal(&p->members[i].node_id, node_id)) {
            *index = (unsigned)i;
            return true;
        }
    }
    return false;
}

static uint64_t score_of(const struct pv_place_member *m, const struct pv_id *blob)
{
    uint8_t ticket[2 * PV_ID_LEN + 1];
    uint64_t best = 0;
    memcpy(ticket, blob->b, PV_ID_LEN);
    memcpy(ticket + PV_ID_LEN, m->node_id.b, PV_ID_LEN);
    for (uint8_t j = 0; j < m->weight; j++) {
        ticket[2 * PV_ID_LEN] = j;
        uint64_t score = XXH3_64bits(ticket, sizeof ticket);
        best = score > best ? score : best;
    }
    return best;
}

struct scored {
    uint64_t score;
    uint8_t index;
};

static bool comes_before(const struct pv_placement *p, const struct scored *a,
                         const struct scored *b)
{
    if (a->score != b->score)
        return a->score > b->score;
    return pv_id_cmp(&p->members[a->index].node_id, &p->members[b->index].node_id) > 0;
}

static void sort_by_score(const struct pv_placement *p, const struct pv_id *blob,
                          struct scored *sorted)
{
    for (size_t i = 0; i < p->count; i++) {
        struct scored s = {score_of(&p->members[i], blob), (uint8_t)i};
        size_t at = i;
        for (; at > 0 && comes_before(p, &s, &sorted[at - 1]); at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = s;
    }
}

static void ensure_keyed_owner(const struct pv_placement *p, struct pv_place_order *o)
{
    size_t first = 0;
    while (first < p->count && !p->members[o->at[first]].keyed)
        first++;
    if (first < o->owners || first == p->count)
        return;
    uint8_t index = o->at[first];
    memmove(&o->at[o->owners], &o->at[o->owners - 1], first - o->owners + 1);
    o->at[o->owners - 1] = index;
}

void pv_placement_order(const struct pv_placement *p, const struct pv_id *blob,
                        struct pv_place_order *out)
{
    struct scored sorted[PV_MEMBERS_MAX];
    uint64_t zones_used = 0, taken = 0;
    size_t count = 0;
    sort_by_score(p, blob, sorted);
    for (size_t i = 0; i < p->count; i++) {
        uint64_t zone = UINT64_C(1) << p->members[sorted[i].index].zone;
        if ((zones_used & zone) != 0)
            continue;
        zones_used |= zone;
        taken |= UINT64_C(1) << i;
        out->at[count++] = sorted[i].index;
    }
    for (size_t i = 0; i < p->count; i++)
        if ((taken >> i & 1) == 0)
            out->at[count++] = sorted[i].index;
    out->owners = p->count < p->copies ? p->count : p->copies;
    if (out->owners > 0)
        ensure_keyed_owner(p, out);
}

uint64_t pv_place_owners(const struct pv_place_order *o)
{
    uint64_t set = 0;
    for (size_t i = 0; i < o->owners; i++)
        set |= UINT64_C(1) << o->at[i];
    return set;
}

uint64_t pv_place_targets(const struct pv_place_order *o, size_t count, uint64_t out)
{
    uint64_t set = pv_place_owners(o);
    unsigned missing = (unsigned)__builtin_popcountll(set & out);
    for (size_t i = o->owners; i < count && missing > 0; i++) {
        uint64_t member = UINT64_C(1) << o->at[i];
        if ((member & out) != 0)
            continue;
        set |= member;
        missing--;
    }
    return set;
}

unsigned pv_place_rank(const struct pv_place_order *o, size_t count, unsigned index,
                       uint64_t others)
{
    unsigned rank = 0;
    for (size_t i = 0; i < count && o->at[i] != index; i++)
        rank += (others >> o->at[i] & 1) != 0;
    return rank;
}
