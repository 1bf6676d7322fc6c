/*
 * The places of blobs as this node sees them now: the table of placement.h made of the member
 * records, and beside it what only this node knows: who is connected, who has not been for
 * `repair_after` (away), who said FULL lately.
 *
 * Where a blob belongs depends on the records alone. What this node knows decides two things only:
 * for whom a substitute is taken, and which of several holders offers a blob.
 *
 * A copy is made on the loop and goes with a job, which asks the store for the bits of `held`.
 */
#ifndef PV_NODE_PLACES_H
#define PV_NODE_PLACES_H

#include "internal/node/node.h"
#include "internal/node/placement.h"

struct pv_places {
    struct pv_placement table;
    /* No other member had the same records as we since the start: there may be more members. */
    bool unsettled;
    bool placed;                   /* we are in the table ourselves */
    unsigned self;                 /* then: our index */
    uint64_t live, away, full;     /* members, as bits of their index */
    uint64_t bits[PV_MEMBERS_MAX]; /* in `held`; 0: none yet. After pv_places_load */
    uint64_t change_ms; /* when away or full may change by themselves; UINT64_MAX: never */
};

void pv_places_now(const struct pv_node *n, struct pv_places *out);
PV_MUST enum pv_err pv_places_load(struct pv_places *p, struct pv_store *s);

struct pv_place {
    struct pv_place_order order;
    uint64_t owners;  /* who keeps it, as members */
    uint64_t holders; /* who has acknowledged a copy, but ourselves */
    uint64_t targets; /* who should have one now: owners, substitutes, keyed members if a node */
};
/* Whether a copy of it belongs here: what is missing although it does is damage, or on its way. */
bool pv_places_ours(const struct pv_places *p, const struct pv_id *id, uint8_t kind);
void pv_places_find(const struct pv_places *p, const struct pv_blob_info *blob,
                    struct pv_place *out);

#endif
