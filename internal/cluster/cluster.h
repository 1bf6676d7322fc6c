/*
 * What local clients ask about the other nodes, and decide about them.
 *
 *   peers.c      who they are, and how they are reached
 *   ping.c       the way to one of them, measured
 *   decisions.c  allow, block, forget, drain
 *   invite.c     a code that lets one machine join; guest.c: who comes with it
 *   token.c      the token, replaced while the cluster runs
 *   keys.c       cluster keys: staged, active, read-only, retired; reseal.h: what is under them
 *   secrets.h    the keyring, changed while the node runs
 *
 * On the file server's context, whose loop and deadlines it shares.
 */
#ifndef PV_CLUSTER_CLUSTER_H
#define PV_CLUSTER_CLUSTER_H

#include "internal/file/files.h"
#include "storage/vault.h"

struct pv_cluster_config {
    struct pv_files *files; /* outlives it */
    /* The node's own. It is changed here, and nowhere else. */
    struct pv_keyring *keyring;
    const struct pv_vault *vault; /* where it is kept */
    /* May be NULL. Where others can reach this node, and where they can reach any member. */
    void (*own_addresses)(void *arg, struct pv_address_body *out);
    void (*member_addresses)(void *arg, struct pv_address_body *out);
    void (*doors_changed)(void *arg); /* other tokens or invites than before are in the keyring */
    void (*keys_changed)(void *arg);  /* other cluster keys, or in other states */
    uint64_t key_grace_s; /* how long a key is read with when all is under the next one */
    /* May be NULL: the server's own part of a connected peer, and of `peers` (addresses behind
     * which no member is connected). */
    void (*describe_link)(void *arg, pv_link link, json_t *peer);
    void (*describe_peers)(void *arg, json_t *peers);
    void *arg;
};

struct pv_cluster;
PV_MUST enum pv_err pv_cluster_new(struct pv_cluster **out, const struct pv_cluster_config *config);
/* Every request must have been finished or cancelled, and the node closed. */
void pv_cluster_free(struct pv_cluster *c);

/* True: rq is one of its own, and will be answered. */
bool pv_cluster_request(struct pv_cluster *c, struct pv_request *rq);

void pv_cluster_token_heard(struct pv_cluster *c, const struct pv_msg_token *token);
void pv_cluster_tokens_tick(struct pv_cluster *c); /* every few minutes */

/* From now on this node takes part in rotations of the cluster key. Once, when the node is ready.
 */
void pv_cluster_keys_start(struct pv_cluster *c);
void pv_cluster_key_heard(struct pv_cluster *c, pv_link link, const struct pv_msg_key *key);
void pv_cluster_record_heard(struct pv_cluster *c, const uint8_t *env, size_t len);

/* Sessions under an invite; the node core is not told of them. True: link is one of them. */
void pv_cluster_guest_up(struct pv_cluster *c, pv_link link, const struct pv_session_peer *peer,
                         const char *address);
bool pv_cluster_guest_message(struct pv_cluster *c, pv_link link, uint8_t type, const uint8_t *body,
                              size_t len);
bool pv_cluster_guest_down(struct pv_cluster *c, pv_link link);

/* Passed on by the server after the node got the same event. */
void pv_cluster_pong(struct pv_cluster *c, pv_link link, uint64_t rtt_ms);
void pv_cluster_link_down(struct pv_cluster *c, pv_link link);

#endif
