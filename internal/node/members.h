/*
 * Members: the member records (type 3) of the cluster, in memory, and who of them is connected.
 *
 * Open mode: a peer that proved the cluster key in HELLO and has no member record yet is admitted
 * by a record of ours with generation 0. A peer that claims to be keyed without the proof is sent
 * away with GOODBYE "other cluster key"; one whose record says expelled, with "membership". Our own
 * record is written when the vault is made (pv_members_found_record).
 * A blind node admits nobody: it takes the word of the node that invited it (the keyring's root)
 * and of keyed members for who belongs.
 * A peer that returns with another store, or with a count of openings that is not higher although
 * it was started anew, has its held bits cleared, so that everything is offered to it again.
 *
 * Whose records are taken: those of keyed members. An active keyed member also vouches for what it
 * hands over: being an admin, it could sign any member record itself, which is how a newcomer
 * learns the cluster; and what an expelled member wrote before stays in the set of all, so a
 * newcomer must get it too, or the digests would never agree again. The expelled node itself gets
 * no session.
 */
#ifndef PV_NODE_MEMBERS_H
#define PV_NODE_MEMBERS_H

#include "crypto/body.h"
#include "internal/node/node.h"

struct pv_member {
    struct pv_id node_id;
    struct pv_member_body body;
    pv_hlc hlc;
    struct pv_id hash; /* of the winning envelope */
    pv_link link;      /* 0: no session */
    uint64_t heard_ms; /* mono: when the last session ended; the start or its record before that */
};

/* Seals our own first member record: keyed, weight 1, generation 0. env: PV_RECORD_LEN_MAX. */
PV_MUST enum pv_err pv_members_found_record(uint8_t *env, size_t *len,
                                            const struct pv_identity *identity, pv_hlc hlc,
                                            const struct pv_env *pvenv);

size_t pv_members_active(const struct pv_node *n); /* not expelled, not stale; with ourselves */
/* Active members but ourselves without a session in which the digests agreed. */
size_t pv_members_unheard(const struct pv_node *n);
const struct pv_member *pv_members_find(const struct pv_node *n, const struct pv_id *node_id);
size_t pv_members_list(const struct pv_node *n, const struct pv_member **out, size_t max);
/* Whether an author may write records of types 1 and 2 (and 3): a keyed member, not expelled. Stale
 * ones may: they are no longer placed, but what they wrote stays. */
bool pv_members_may_write(const struct pv_node *n, const uint8_t author[static PV_PUB_LEN]);

#endif
