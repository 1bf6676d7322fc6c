/*
 * Publishing: when a record written here may leave, and when its writer may be told so.
 *
 * A file record leaves its node only after every blob it reaches has min(2, active members, R)
 * durable copies, and stays pending until another member (if there is any) answered STORED for it.
 * Name records written with a file leave with it. Tombstones and other names leave at once, but are
 * pending until then, too: what is pending is kept by a node that was away for very long. Pending
 * records are checked oldest first, whenever a STORED was committed; each check walks the tree on
 * from the first blob that had too few copies, so that its cost is a few lookups.
 *
 * `copies` of a file = the smaller of: copies of its least copied blob; members that stored its
 * record, and ourselves. For an inline file: of the record alone.
 */
#ifndef PV_NODE_PUBLISH_H
#define PV_NODE_PUBLISH_H

#include "internal/base/list.h"
#include "internal/node/node.h"

/* Somebody who waits for copies of a file. Embedded; progress may be called several times. */
struct pv_copies_wait {
    struct pv_id file_rid;
    struct pv_id record_hash;
    unsigned want;
    /* copies grew, or reached want (then the waiter has been removed). From the loop. */
    void (*progress)(struct pv_copies_wait *wait, unsigned copies);
    void *ctx;
    struct pv_list link;  /* private; zeroed by the owner, as is told */
    unsigned told;        /* private: copies at the last call */
    struct pv_node *node; /* private */
};

/*
 * A file record (and at most one name record, or NULL) has been committed as pending by us; or a
 * tombstone, or a name by itself, whose rid and hash stand for those of the file. Copies what it
 * needs.
 */
void pv_publish_file(struct pv_node *n, const struct pv_id *file_rid, const struct pv_id *file_hash,
                     const struct pv_id *name_rid);
/* Records that are committed and not pending: of this node as such (member, address), or written
 * while there was no other member. */
void pv_publish_now(struct pv_node *n, const uint8_t *env, size_t len);

/* Copies that each blob of a file has before its record leaves: 2, or what there can be. */
unsigned pv_publish_need(const struct pv_node *n);

/* want <= 1 is there already: progress(wait, 1) runs before this returns. */
void pv_publish_wait(struct pv_node *n, struct pv_copies_wait *wait);
void pv_publish_wait_cancel(struct pv_copies_wait *wait); /* no-op when not waiting */

#endif
