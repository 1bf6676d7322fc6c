/*
 * The proofs in HELLO: for each cluster key that a node can read with,
 *
 *   proof = X(K_member[kid], "proof", h || side || node id of the prover)   side: 01 dialler
 *
 * bound to this one session by the handshake hash h, and to the prover by its proven node id.
 * Without a valid proof a peer is blind, whatever it claims.
 */
#ifndef PV_TRANSPORT_HELLO_H
#define PV_TRANSPORT_HELLO_H

#include "transport/msg.h"
#include "transport/session.h"

/* What we say: ctx->hello with version, role and features of the handshake, and our proofs. */
void pv_hello_make(struct pv_msg_hello *out, const struct pv_session_context *ctx,
                   const uint8_t hash[static PV_HASH_LEN], bool dialler);
/* How many of the keys that we can read with m proves, and which. dialler: the prover dialled. */
size_t pv_hello_proves(const struct pv_msg_hello *m, const struct pv_session_context *ctx,
                       const uint8_t hash[static PV_HASH_LEN], bool dialler,
                       const struct pv_id *node_id, struct pv_kid proven[PV_HELLO_PROOFS_MAX]);

#endif
