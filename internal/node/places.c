/* See the header. An owner that is full and has the blob all the same needs no substitute. */
#include "internal/node/places.h"

#include "internal/node/node_private.h"

/* Returns whether the member with this index is out, and if not, until when. */
static void look_at(const struct pv_node *n, const struct pv_member *m, unsigned index,
                    struct pv_places *out)
{
    uint64_t bit = UINT64_C(1) << index, now = pv_node_now(n), until_ms = UINT64_MAX;
    const struct pv_peer *p = m->link != 0 ? pv_node_peer(n, m->link) : NULL;
    if (p != NULL && p->push != NULL) {
        out->live |= bit;
        if (pv_push_is_full(p, now, &until_ms))
            out->full |= bit;
    } else if (n->config.repair_after_ms > 0) {
        until_ms = m->heard_ms + n->config.repair_after_ms;
        if (until_ms <= now) {
            out->away |= bit;
            until_ms = UINT64_MAX; /* it has to come itself */
        }
    }
    if (until_ms < out->change_ms)
        out->change_ms = until_ms;
}

void pv_places_now(const struct pv_node *n, struct pv_places *out)
{
    const struct pv_member *members[PV_MEMBERS_KNOWN_MAX];
    size_t count = pv_members_list(n, members, PV_MEMBERS_KNOWN_MAX);
    *out = (struct pv_places){.change_ms = UINT64_MAX, .unsettled = !n->has_agreed};
    pv_placement_init(&out->table, n->config.replicas);
    for (size_t i = 0; i < count && out->table.count < PV_MEMBERS_MAX; i++) {
        const struct pv_member *m = members[i];
        if (m->body.expelled || m->body.stale)
            continue;
        unsigned index = pv_placement_add(&out->table, &m->node_id, &m->body);
        if (pv_id_equal(&m->node_id, &n->config.identity->node_id)) {
            out->placed = true;
            out->self = index;
        } else {
            look_at(n, m, index, out);
        }
    }
}

enum pv_err pv_places_load(struct pv_places *p, struct pv_store *s)
{
    for (size_t i = 0; i < p->table.count; i++) {
        unsigned bit;
        enum pv_err err = pv_store_holder(s, &p->table.members[i].node_id, &bit);
        if (err != PV_OK && err != PV_E_NOT_FOUND)
            return err;
        p->bits[i] = err == PV_OK ? UINT64_C(1) << bit : 0;
    }
    return PV_OK;
}

void pv_places_find(const struct pv_places *p, const struct pv_blob_info *blob,
                    struct pv_place *out)
{
    uint64_t keyed = 0;
    pv_placement_order(&p->table, &blob->id, &out->order);
    out->holders = 0;
    for (size_t i = 0; i < p->table.count; i++) {
        out->holders |= (uint64_t)((blob->held & p->bits[i]) != 0) << i;
        keyed |= (uint64_t)p->table.members[i].keyed << i;
    }
    out->owners = pv_place_owners(&out->order);
    uint64_t is_out = p->away | (p->full & ~out->holders);
    if (out->holders == 0) /* the only copy: whoever is there takes one, until the owners have */
        is_out |= ~p->live & ~(p->placed ? UINT64_C(1) << p->self : 0);
    out->targets = pv_place_targets(&out->order, p->table.count, is_out);
    if (blob->kind == PV_BLOB_NODE)
        out->targets |= keyed;
}

bool pv_places_ours(const struct pv_places *p, const struct pv_id *id, uint8_t kind)
{
    struct pv_place_order order;
    if (p->table.count == 0) /* the records were lost: nobody else is known to have it */
        return true;
    if (!p->placed)
        return false;
    if (kind == PV_BLOB_NODE && p->table.members[p->self].keyed)
        return true;
    pv_placement_order(&p->table, id, &order);
    return (pv_place_owners(&order) >> p->self & 1) != 0;
}
