/*
 * Placement: which members keep a blob. Pure: no clock, no store; the same table gives the same
 * answer on every node, and protocol.md has the rule for other implementations.
 *
 *   score  of a member: the largest of XXH3_64bits(blob id || node id || u8 j), j < weight, seed 0
 *   walk   members by falling score, of equal ones the larger node id first; the first of each
 *          zone before all others ("" is a zone as well)
 *   owners the first `copies` of the walk. If none of them is keyed and some member is, the first
 *          keyed one of the walk becomes the last owner, before those whose place it takes
 *
 * So a member that comes takes its share, in proportion to its weight, and one that goes leaves its
 * own to the others; nothing else moves.
 */
#ifndef PV_NODE_PLACEMENT_H
#define PV_NODE_PLACEMENT_H

#include "crypto/body.h"
#include "internal/base/id.h"
#include "internal/base/limits.h"

struct pv_place_member {
    struct pv_id node_id;
    uint8_t weight; /* 1..16 */
    uint8_t zone;   /* equal numbers are one zone: pv_placement_add gives them */
    bool keyed;
};

/* Active members, in any order. At most PV_MEMBERS_MAX, so that sets of them are bits of u64. */
struct pv_placement {
    unsigned copies; /* R; fewer where there are fewer members */
    size_t count;
    struct pv_place_member members[PV_MEMBERS_MAX];
    char zones[PV_MEMBERS_MAX][sizeof(((struct pv_member_body *)NULL)->zone)];
    size_t zone_count;
};

void pv_placement_init(struct pv_placement *p, unsigned copies);
/* The new member's index. The table has room. */
unsigned pv_placement_add(struct pv_placement *p, const struct pv_id *node_id,
                          const struct pv_member_body *body);
/* False: it is not in the table. */
bool pv_placement_find(const struct pv_placement *p, const struct pv_id *node_id, unsigned *index);

/* All members in the order in which they come into question for a blob, as indices. */
struct pv_place_order {
    size_t owners; /* at[0 .. owners) */
    uint8_t at[PV_MEMBERS_MAX];
};
void pv_placement_order(const struct pv_placement *p, const struct pv_id *blob,
                        struct pv_place_order *out);

/* ---- of an order: sets of members, bit i for index i ---- */

uint64_t pv_place_owners(const struct pv_place_order *o);
/*
 * Who should have a copy now: the owners, and for each of them that is `out` (does not answer for
 * long, is full) the next of the order that is not: a substitute.
 */
uint64_t pv_place_targets(const struct pv_place_order *o, size_t count, uint64_t out);
/* How many of `others` come before a member. */
unsigned pv_place_rank(const struct pv_place_order *o, size_t count, unsigned index,
                       uint64_t others);

#endif
