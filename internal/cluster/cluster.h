/*
 * What local clients ask about the other nodes, and decide about them.
 *
 *   peers.c      who they are, and how they are reached
 *   ping.c       the way to one of them, measured
 *   decisions.c  allow, block, forget
 *
 * On the file server's context, whose loop and deadlines it shares.
 */
#ifndef PV_CLUSTER_CLUSTER_H
#define PV_CLUSTER_CLUSTER_H

#include "internal/file/files.h"

struct pv_cluster_config {
    struct pv_files *files; /* outlives it */
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

/* Passed on by the server after the node got the same event. */
void pv_cluster_pong(struct pv_cluster *c, pv_link link, uint64_t rtt_ms);
void pv_cluster_link_down(struct pv_cluster *c, pv_link link);

#endif
