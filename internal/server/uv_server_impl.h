/*
 * Inside of uv_server, shared by uv_server.c (up, down, the loop), uv_sessions.c (between sessions
 * and node), uv_advertise.c (where it can be reached) and
 * uv_describe.c (what it says of itself). Nobody else includes this.
 */
#ifndef PV_SERVER_UV_SERVER_IMPL_H
#define PV_SERVER_UV_SERVER_IMPL_H

#include "internal/server/descriptors.h"
#include "internal/server/pool.h"
#include "internal/server/uv_control.h"
#include "internal/server/uv_server.h"
#include "transport/uv_tcp.h"

struct server {
    const struct pv_server_config *config;
    char *why;
    enum pv_err err;
    uv_loop_t loop;
    uv_async_t wake;
    uv_signal_t sigterm, sigint, sighup;
    uv_timer_t timer, watchdog, housekeeping;
    uv_prepare_t prepare;
    bool stopping;
    uint64_t started_ms;
    struct pv_descriptors descriptors;
    uint64_t disk_limit_bytes; /* now: it can be reloaded, and so can bandwidth */
    struct pv_bandwidth bandwidth;

    struct pv_store *store;
    struct pv_committer *committer;
    struct pv_pool *pool;
    struct job_keys *job_keys; /* the newest first: jobs may still use the others */
    struct pv_job_context jobs;
    struct pv_noise_static noise_static;
    struct pv_session_context sessions;
    struct { /* tokens that were stretched; the newest two */
        char text[PV_TOKEN_LEN_MAX + 1];
        struct pv_token_keys keys;
    } derived[PV_KEYRING_TOKENS_MAX];
    const struct pv_cluster_keys *readable[PV_HELLO_PROOFS_MAX];
    struct pv_tcp *tcp;
    struct pv_node *node;
    struct pv_files *files;
    struct pv_upkeep *upkeep;
    struct pv_cluster *cluster;
    struct pv_control_server *control;
};

/* ---- uv_server.c ---- */
void pv_server_stop(struct server *s); /* the end begins; idempotent */

/* ---- uv_sessions.c ---- */
struct pv_node_io pv_server_node_io(struct server *s);
PV_MUST enum pv_err pv_server_start_sessions(struct server *s);

/* ---- uv_advertise.c: where we can be reached, to the node, and for struct pv_cluster_config ----
 */
void pv_server_advertise(struct server *s);
void pv_server_own_addresses(void *arg, struct pv_address_body *out);
void pv_server_member_addresses(void *arg, struct pv_address_body *out);

/* ---- uv_doors.c ---- */
/* Takes tokens and invites from the keyring; handshakes under way keep theirs. On errors the tokens
 * stay as they were. An embedded server, which talks to nobody, has none. */
PV_MUST enum pv_err pv_server_open_doors(struct server *s);
void pv_server_doors_changed(void *arg); /* for struct pv_cluster_config */

/* ---- uv_keys.c: the cluster keys, for sessions and for jobs ---- */
/* A copy of the keys as they are now, into s->jobs; jobs that run keep theirs. NOMEM: nothing has
 * changed. */
PV_MUST enum pv_err pv_server_take_keys(struct server *s);
void pv_server_keys_changed(void *arg);      /* for struct pv_cluster_config */
void pv_server_prove_keys(struct server *s); /* of those that can be read, in HELLO */
void pv_server_free_keys(struct server *s);

/* ---- uv_describe.c: for struct pv_files_config and struct pv_cluster_config; arg is the server
 * ---- */
void pv_server_describe_status(void *arg, json_t *status);
void pv_server_describe_link(void *arg, pv_link link, json_t *peer);
void pv_server_describe_peers(void *arg, json_t *peers);

#endif
