/*
 * Records in sync: every member holds the same set.
 *
 * A written record is broadcast at once (after publish.h let it go) and answered with STORED once
 * durable. On connect, hourly, and a little after records came in from elsewhere, both sides
 * compare the digest root, then buckets, then hashes, and each pushes what the other lacks, member
 * records first (transport/protocol.md, Digest). Received records are verified in jobs of 64, then
 * checked here: membership of the author, clock at most 120 s ahead (held back otherwise: it will
 * be offered again). A tombstone that has expired is not kept, but what it removes goes. At most
 * PV_SYNC_JOBS_MAX jobs a session are in flight; beyond, the session is not read.
 */
#ifndef PV_NODE_SYNC_H
#define PV_NODE_SYNC_H

#include "internal/node/node.h"

enum {
    PV_SYNC_RECORDS_A_JOB = 64,
    PV_SYNC_INTERVAL_MS = 3600000,
    PV_SYNC_SETTLE_MS = 2000, /* quiet for so long after records came in: compare again */
};

/* Whether some other member's records were found equal to ours, since the start of the node. */
bool pv_sync_has_agreed(const struct pv_node *n);

/* Our set has other records than before: all members are compared with when it has been quiet for a
 * while. */
void pv_sync_changed(struct pv_node *n);

/* Sends an envelope to every connected member. Copies it. */
void pv_sync_broadcast(struct pv_node *n, const uint8_t *env, size_t len);

#endif
