/*
 * Two authenticated sessions with one node: which of them stays. Pure functions.
 *
 * Both ends judge for themselves, may see the two come up in either order, and must decide alike,
 * or both connections or neither would survive. So they judge by numbers that both know: the
 * timestamps of M1 and M2, and the handshake hashes. Of each connection the number written by the
 * node with the smaller id is taken (M1 if it dialled, M2 if it answered): one clock orders both.
 *
 *   1. dialled by different sides within 10 s of each other: the one dialled by the smaller id
 *   2. else the newer one; of the same millisecond, the one with the larger hash
 */
#ifndef PV_TRANSPORT_DUPLICATE_H
#define PV_TRANSPORT_DUPLICATE_H

#include "transport/session.h"

/* Whether the two come from one process of that node. If not, ask whether the older one lives. */
bool pv_duplicate_same_boot(const struct pv_session_peer *a, const struct pv_session_peer *b);
/* Whether a stays and b goes. self: our node id. a and b are sessions with the same node. */
bool pv_duplicate_first_stays(const struct pv_id *self, const struct pv_session_peer *a,
                              const struct pv_session_peer *b);

#endif
