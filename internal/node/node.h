/*
 * The node core: membership, replication of records and blobs. No input or output of its own.
 *
 * Events come in through the functions below, all on one thread; what is to be done goes out
 * through struct pv_node_io. The core reads no clock, socket, file or random source but env.
 *
 *   members.h   who belongs: member records, and which of them have a session
 *   addresses.h where members can be reached
 *   sync.h      records: broadcast, digest on connect, verification on receipt
 *   publish.h   pending records, and who waits for copies
 *   push.h      blobs out and in: STORE -> WANT / STORED
 *   fetch.h     blobs wanted now: GET -> FOUND -> FETCH
 *   repair.h    blobs that are bad at rest: out, and another copy in
 *   strikes.h   peers that misbehave, and bans
 *
 * Life: new -> events ... -> close (everything in flight is cancelled) -> free once closed says so.
 */
#ifndef PV_NODE_NODE_H
#define PV_NODE_NODE_H

#include "internal/base/mem.h"
#include "internal/node/job.h"
#include "transport/session.h"
#include <jansson.h>

typedef uint32_t pv_client; /* a local client's request; 0 is none */

/* The only way out of the core. Calls do not call back into it before they returned. */
struct pv_node_io {
    void *ctx;
    void (*submit)(void *ctx, struct pv_job *job);

    /* Peers: as in uv_tcp.h. */
    enum pv_err (*send)(void *ctx, pv_link link, const uint8_t *payload, size_t len);
    enum pv_err (*send_data)(void *ctx, pv_link link, uint32_t stream, uint8_t flags,
                             const uint8_t *data, size_t len);
    enum pv_err (*ping)(void *ctx, pv_link link);
    bool (*writable)(void *ctx, pv_link link);
    void (*pause)(void *ctx, pv_link link, bool paused);
    void (*drop)(void *ctx, pv_link link, uint8_t goodbye);
    bool (*slowed)(void *ctx, pv_link link); /* may be NULL: never */
    /* A keyed member says that this is the newest token. May be NULL. */
    void (*token)(void *ctx, const struct pv_msg_token *token);
    /* Keep a connection to this member, at one of these addresses; again, with the same or others;
     * count 0: no longer. May be NULL. */
    void (*reach)(void *ctx, const struct pv_id *node_id, const char *const *addresses,
                  size_t count);
    /* A keyed member gives a cluster key, to be answered by pv_node_have_key, or has one. May be
     * NULL. */
    void (*key)(void *ctx, pv_link link, const struct pv_msg_key *key);
    /* A record of type 6 was committed. May be NULL. */
    void (*cluster)(void *ctx, const uint8_t *env, size_t len);
};

struct pv_node_config {
    const struct pv_env *env;
    struct pv_node_io io;
    const struct pv_keyring *keyring;
    const struct pv_identity *identity;
    bool allowlist;           /* none but members and those allowed by policy.h get in */
    unsigned replicas;        /* R: copies of a blob, on as many members (placement.h) */
    uint64_t repair_after_ms; /* a member unheard for so long is substituted; 0: never */
    size_t inbound_bytes;     /* budget of bodies that peers send us */
    size_t outbound_bytes;    /* budget of slices read to be sent */
    pv_hlc hlc;               /* pv_store_hlc */
};

struct pv_node;
PV_MUST enum pv_err pv_node_new(struct pv_node **out, const struct pv_node_config *config);
/* Loads the members from the store, then calls ready (once, later). No peers before that. */
void pv_node_start(struct pv_node *n, void (*ready)(void *arg, enum pv_err err), void *arg);
/* No event but job results may come after this; closed runs when the last job is done. */
void pv_node_close(struct pv_node *n, void (*closed)(void *arg), void *arg);
void pv_node_free(struct pv_node *n);

/* ---- events ---- */
void pv_node_peer_up(struct pv_node *n, pv_link link, const struct pv_session_peer *peer,
                     const char *address);
void pv_node_peer_message(struct pv_node *n, pv_link link, uint8_t type, const uint8_t *body,
                          size_t len);
void pv_node_peer_data(struct pv_node *n, pv_link link, uint32_t stream, uint8_t flags,
                       const uint8_t *bytes, size_t len);
void pv_node_peer_writable(struct pv_node *n, pv_link link);
void pv_node_peer_pong(struct pv_node *n, pv_link link, uint64_t rtt_ms);
/* Before down: the session ended because of a fault in an authenticated message. */
void pv_node_peer_fault(struct pv_node *n, pv_link link);
/* Before down: the peer closed because it met our identity in two live processes, or says so. */
void pv_node_peer_says_twice(struct pv_node *n, pv_link link);
void pv_node_peer_down(struct pv_node *n, pv_link link);
uint64_t pv_node_deadline_ms(const struct pv_node *n); /* mono; UINT64_MAX: none */
void pv_node_tick(struct pv_node *n);

/* ---- for whoever writes records and reads files (internal/file) ---- */

const struct pv_node_config *pv_node_config(const struct pv_node *n);
/* Submits a job; counts it, so that close waits for it. */
void pv_node_submit(struct pv_node *n, struct pv_job *job);
/* Who is told of every commit that succeeded, whoever submitted it, before its submitter is. One;
 * on the loop thread. Of the node it may only submit jobs. */
void pv_node_observe(struct pv_node *n, void (*committed)(void *arg, const struct pv_commit *c),
                     void *arg);
bool pv_node_closing(const struct pv_node *n);
/* Tells the newest token in the keyring to one member, or to all connected (link 0). */
void pv_node_send_token(struct pv_node *n, pv_link link);
/* Gives the cluster keys of the keyring that are not retired to one member, or to all connected
 * (link 0), unless it has proved that it has them or is not to have them. */
void pv_node_send_keys(struct pv_node *n, pv_link link);
void pv_node_end_sessions(struct pv_node *n); /* all, with GOODBYE: shutting down */
void pv_node_have_key(struct pv_node *n, pv_link link, const struct pv_kid *kid); /* it is kept */
bool pv_node_peer_reads(const struct pv_node *n, pv_link link, const struct pv_kid *kid);
/* As in the configuration; for newcomers from now on. */
void pv_node_set_allowlist(struct pv_node *n, bool allowlist);

/*
 * The clock for the next record written here. PV_E_UNAVAILABLE: our own clock is before 2020, or
 * more than 120 s behind the clocks of records already here (text: "clock").
 */
PV_MUST enum pv_err pv_node_next_hlc(struct pv_node *n, pv_hlc *out);

/* ---- for status ---- */
struct pv_node_peer_info {
    pv_link link;
    struct pv_id node_id;
    const char *address;
    bool keyed, dialled;
    int64_t skew_ms;
    uint64_t rtt_ms;          /* of the last ping, UINT64_MAX unknown */
    uint64_t up_since_ms;     /* mono */
    uint64_t offered, wanted; /* blobs we offered without an answer yet; bodies it is sending us */
    bool in_sync;             /* the last digest comparison found nothing to exchange */
};
struct pv_node_ban { /* see strikes.h */
    struct pv_id node_id;
    const char *what; /* the last fault */
    uint64_t left_ms;
};
/* The bans that run: size_t i = 0; while (pv_node_next_ban(n, &i, &ban)) ... */
bool pv_node_next_ban(const struct pv_node *n, size_t *pos, struct pv_node_ban *out);
uint64_t pv_node_banned_until_ms(const struct pv_node *n, const struct pv_id *node_id); /* 0: no */
/* Who said last, within PV_CLAIM_MS, that our identity runs twice. NULL: nobody. */
const struct pv_id *pv_node_said_twice_by(const struct pv_node *n);
size_t pv_node_peers(const struct pv_node *n, struct pv_node_peer_info *out, size_t max);

#endif
