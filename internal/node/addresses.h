/*
 * Peer exchange: members say in records of type 5 where they can be reached, and every node has its
 * host keep a connection to each member that it knows an address of.
 *
 * Our own record is written anew when what it says changes, and not before we are a member. The
 * addresses of an expelled member, and of one that is blocked here, are not used; an entry of the
 * table is never removed, because the record stays.
 */
#ifndef PV_NODE_ADDRESSES_H
#define PV_NODE_ADDRESSES_H

#include "crypto/body.h"
#include "internal/node/node.h"

/* Where we can be reached; call it again whenever that may have changed, and every few minutes,
 * because a write may have failed. self->subject is filled in here. */
void pv_node_advertise(struct pv_node *n, const struct pv_address_body *self);

/* What a member says of itself; NULL: nothing. */
const struct pv_address_body *pv_addresses_find(const struct pv_node *n,
                                                const struct pv_id *node_id);

#endif
