/*
 * Push: the one machine that replicates blobs, for the first copies, a new member and a lost one.
 *
 * Out: for every connected member, blobs whose held bit of that member is clear are walked in order
 * of arrival, and those that belong there (places.h) offered (STORE, at most PV_PUSH_OFFERED_MAX
 * unanswered). WANT starts a stream, read in slices when the link is writable; STORED sets the held
 * bits; FULL leaves them clear until the next walk, and lets others be substitutes meanwhile. Among
 * several live holders the first one in the blob's order offers at once, the one of rank r after
 * r * PV_PUSH_RANK_MS: enough that in a full mesh each blob is offered once, and soon enough where
 * the mesh is not full.
 *
 * In: offers of what we have are answered STORED; the rest is wanted as far as the inbound budget,
 * PV_STREAMS_MAX and PV_STREAM_BYTES_MAX allow, never twice at once. A body is verified in a pool
 * job and committed before STORED is said. A bad body is discarded, named in the log and answered
 * with ERROR (code 1, the id in hex): the sender then checks its own copy, and repairs it.
 */
#ifndef PV_NODE_PUSH_H
#define PV_NODE_PUSH_H

#include "internal/node/node.h"

enum {
    PV_PUSH_SLICE = 256 * 1024, /* bytes of a blob read at once to be sent */
    PV_PUSH_RANK_MS = 10000,
    PV_PUSH_AGAIN_MS = 600000,              /* walk all again: what was FULL or not our turn */
    PV_PUSH_FULL_MS = 2 * PV_PUSH_AGAIN_MS, /* so long a member that said FULL counts as full */
    PV_ERROR_BAD_BLOB = 1,                  /* of ERROR */
};

/* New blobs were committed here (by ingest): continue the walks. */
void pv_push_kick(struct pv_node *n);
/* Held bits of this member were cleared while it is connected: walk again from the first blob. */
void pv_push_again(struct pv_node *n, const struct pv_id *node_id);

#endif
