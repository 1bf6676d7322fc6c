/* The operations that clients ask for, by the files of this folder that answer them. */
#ifndef PV_CLUSTER_CLUSTER_PRIVATE_H
#define PV_CLUSTER_CLUSTER_PRIVATE_H

#include "internal/cluster/cluster.h"
#include "internal/file/context.h"

struct pv_cluster {
    struct pv_cluster_config config;
    struct pv_list pings;   /* ping.c */
    struct pv_list changes; /* secrets.c; the first is under way */
    struct pv_list guests;  /* guest.c */
    unsigned guest_count;
    struct pv_rotation *rotation; /* keys.c */
};

PV_MUST enum pv_err pv_rotation_new(struct pv_cluster *c);
void pv_rotation_free(struct pv_cluster *c);

/* Each takes over the request and answers it. */
void pv_query_peers(struct pv_cluster *c, struct pv_request *rq);
void pv_query_ping(struct pv_cluster *c, struct pv_request *rq);
void pv_query_allow(struct pv_cluster *c, struct pv_request *rq);
void pv_query_block(struct pv_cluster *c, struct pv_request *rq);
void pv_query_forget(struct pv_cluster *c, struct pv_request *rq);
void pv_query_drain(struct pv_cluster *c, struct pv_request *rq);
void pv_query_invite(struct pv_cluster *c, struct pv_request *rq);
void pv_query_confirm(struct pv_cluster *c, struct pv_request *rq); /* guest.c */
void pv_query_token_rotate(struct pv_cluster *c, struct pv_request *rq);
void pv_query_key_rotate(struct pv_cluster *c, struct pv_request *rq); /* keys.c */
void pv_query_key_list(struct pv_cluster *c, struct pv_request *rq);   /* key_list.c */

static inline struct pv_node *pv_cluster_node(const struct pv_cluster *c)
{
    return c->config.files->config.node;
}

static inline const struct pv_env *pv_cluster_env(const struct pv_cluster *c)
{
    return c->config.files->config.env;
}

#endif
