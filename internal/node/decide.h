/*
 * An operator's decision about another node.
 *
 *   allow    it belongs. A node whose key is known gets a member record, which all members learn;
 *            any other gets one when it comes (policy.h). Lifts a block of this node's, and ends a
 *            drain.
 *   drain    it stays a member, and is given no share of the blobs any more: its record says stale,
 *            and what it keeps goes to the others
 *   block    it gets no session here, whatever the others think; its sessions end at once
 *   forget   it belongs no more, anywhere: its member record says expelled, its sessions end on
 *            every member that learns of it. What it wrote stays.
 *
 * A member record that is written here has the highest generation seen of its subject, plus one, so
 * that it wins over what any node wrote without having seen it, automatic admission first of all.
 */
#ifndef PV_NODE_DECIDE_H
#define PV_NODE_DECIDE_H

#include "internal/node/node.h"
#include "internal/node/policy.h"

enum pv_decision_kind { PV_DECIDE_ALLOW, PV_DECIDE_BLOCK, PV_DECIDE_FORGET, PV_DECIDE_DRAIN };

struct pv_decision {
    enum pv_decision_kind kind;
    /* node_id, until_s and reason; of allow: role and weight (0: as they are, or by default) and
     * zone, if has_zone. kind and since_s are filled in. */
    struct pv_policy_entry about;
    bool has_zone;
    /* Of allow, if the caller knows it: the key that about.node_id is the hash of. */
    bool has_pub;
    uint8_t pub[PV_PUB_LEN];
};

enum pv_decided {
    PV_DECIDED_MEMBER,   /* allow: it is a member now, or was one already */
    PV_DECIDED_EXPECTED, /* allow: it will be one when it connects */
    PV_DECIDED_BLOCKED,
    PV_DECIDED_EXPELLED,
    PV_DECIDED_DRAINING,
    PV_DECIDED_DROPPED, /* forget: it was no member; what had been allowed or blocked is forgotten
                         */
};

/*
 * done runs once, later, unless cancelled: OK; INVALID: this node itself (it may be drained, and
 * allowed again); NOT_FOUND: forget of a node that nothing is known of, drain of one that is no
 * member; BUSY: drain of the last one that has a share; AUTH: a blind node decides about nobody but
 * by block; LIMIT: too many members or entries; UNAVAILABLE: the clock (pv_node_next_hlc); NOMEM;
 * any error of the commit: a block is in force all the same, until this process ends.
 */
struct pv_decide;
typedef void (*pv_decide_done)(void *arg, enum pv_err err, enum pv_decided decided);
/* NULL: no memory; done does not run. */
struct pv_decide *pv_decide_start(struct pv_node *n, const struct pv_decision *decision,
                                  pv_decide_done done, void *arg);
void pv_decide_cancel(struct pv_decide *d); /* what has begun goes on; done does not run */

const struct pv_policy *pv_node_policy(const struct pv_node *n);
/* What is decided about a node here and now; NULL: nothing. */
const struct pv_policy_entry *pv_node_decided(const struct pv_node *n, const struct pv_id *node_id);
bool pv_node_blocks(const struct pv_node *n, const struct pv_id *node_id);

#endif
