/*
 * The inside of struct pv_node, shared by the files of this folder only.
 *
 * Each file owns one part of the state and is the only one that changes it; the others call its
 * functions. A peer is a session with another node; its parts hang off struct pv_peer.
 *
 * A peer is: up (HELLO done) -> admitted (members.c knows it) -> dropped. Until it is admitted its
 * messages are kept and no part but members.c sees it. A dropped peer is out of reach of
 * pv_node_peer and pv_node_next_peer at once, but freed only when the event is over: a pointer
 * to it stays good until the function that got it from node.c, or as its argument, returns.
 */
#ifndef PV_NODE_NODE_PRIVATE_H
#define PV_NODE_NODE_PRIVATE_H

#include "internal/base/list.h"
#include "internal/base/map.h"
#include "internal/node/fetch.h"
#include "internal/node/members.h"
#include "internal/node/node.h"
#include "internal/node/policy.h"
#include "internal/node/publish.h"
#include "internal/node/push.h"
#include "internal/node/quota.h"
#include "internal/node/strikes.h"
#include "internal/node/sync.h"

struct pv_members;   /* members.c */
struct pv_addresses; /* addresses.c */
struct pv_sync;      /* sync.c */
struct pv_publish;   /* publish.c */
struct pv_push;      /* push.c: what all peers share (budgets, ids being received) */
struct pv_fetches;   /* fetch.c */

struct pv_sync_peer;  /* sync.c: the digest exchange and jobs of one session */
struct pv_push_peer;  /* push.c: walk, offers, streams out and in of one session */
struct pv_fetch_peer; /* fetch.c: transfers running from one session */

struct pv_peer {
    struct pv_node *node;
    pv_link link;
    struct pv_id node_id;
    struct pv_session_peer info;
    char address[64];
    uint64_t up_since_ms, rtt_ms;
    unsigned pause_count; /* reading is paused while > 0 (pv_peer_pause) */
    bool admitted, dropped;
    struct pv_quota quota;
    struct pv_list early; /* messages that came before admission (node.c) */
    size_t early_bytes;
    struct pv_sync_peer *sync; /* each NULL before attach and after detach */
    struct pv_push_peer *push;
    struct pv_fetch_peer *fetch;
};

struct pv_node {
    struct pv_node_config config;
    struct pv_map peers; /* link -> struct pv_peer */
    pv_hlc hlc;
    uint64_t jobs_running;
    void (*committed)(void *arg, const struct pv_commit *c); /* NULL: nobody is told */
    void *committed_arg;
    bool sweep; /* there are dropped peers to be freed */
    bool started, closing;
    bool has_agreed; /* some member had the same records as we, since the start */
    void (*ready)(void *arg, enum pv_err err);
    void *ready_arg;
    void (*closed)(void *arg);
    void *closed_arg;
    struct pv_job closing_job;
    struct pv_strikes strikes; /* bans.c */
    struct pv_id twice_by;     /* who said last, at twice_ms, that we run twice; bans.c */
    uint64_t twice_ms;
    bool twice_said;
    uint8_t *scratch; /* PV_FRAME_PLAIN_MAX: to put one message together and send it at once */
    struct pv_members *members;
    struct pv_policy *policy; /* changed by decide.c */
    struct pv_addresses *addresses;
    struct pv_sync *sync;
    struct pv_publish *publish;
    struct pv_push *push;
    struct pv_fetches *fetches;
};

/* ---- node.c ---- */
/* NULL when gone or dropped. A job keeps the link alone, and asks here in done. */
struct pv_peer *pv_node_peer(const struct pv_node *n, pv_link link);
/* Admitted peers only: for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;) */
struct pv_peer *pv_node_next_peer(const struct pv_node *n, size_t *pos);
void pv_node_sweep(struct pv_node *n); /* frees dropped peers: the last thing of an event */
/* Calls of pause(true) and pause(false) are counted, so that parts need not know each other. */
void pv_peer_pause(struct pv_peer *p, bool paused);
bool pv_peer_writable(const struct pv_peer *p);
/* Our own limits of bandwidth slow it down: that it brings little is no fault of its own. */
bool pv_peer_slowed(const struct pv_peer *p);
/* Sends a payload put together in w (checks pv_wr_end); drops the peer when that fails. */
void pv_peer_send(struct pv_peer *p, const struct pv_wr *w);
void pv_peer_drop(struct pv_peer *p, uint8_t goodbye);
static inline uint64_t pv_node_now(const struct pv_node *n)
{
    return pv_env_mono_ms(n->config.env);
}

/* ---- bans.c ---- */
/* The peer broke the protocol: logs what (a static string), drops it with GOODBYE protocol, and it
 * is a strike. p is gone later. */
void pv_peer_misbehaved(struct pv_peer *p, const char *what);
void pv_peer_sent_bad_body(struct pv_peer *p); /* a whole body of its own, and a wrong one */
/* True: this identity is banned, and the session has been dropped. */
bool pv_bans_refuse(struct pv_node *n, pv_link link, const struct pv_id *node_id,
                    const char *address);

/* ---- handover.c ---- */
PV_MUST enum pv_err pv_handover_on_token(struct pv_peer *p, struct pv_rd *r);
PV_MUST enum pv_err pv_handover_on_key(struct pv_peer *p, struct pv_rd *r);

/* ---- each part: new/free with the node, attach/detach with a peer, its messages, its time ----
 * attach sets the part's pointer in the peer; it may fail for lack of memory: the peer is dropped.
 * detach runs before the peer is freed, for the parts whose pointer is set, and clears it; jobs
 * still running for it must not touch it any more. Closing detaches every peer, waits for the jobs
 * (whose done sees pv_node_closing) and then frees the parts. */

PV_MUST enum pv_err pv_members_new(struct pv_node *n);
void pv_members_free(struct pv_node *n);
void pv_members_start(struct pv_node *n, void (*ready)(void *arg, enum pv_err err), void *arg);
/* recognise.c: after the HELLO: refuses, or calls pv_node_peer_admitted later. */
void pv_members_peer_up(struct pv_peer *p);
void pv_members_peer_down(struct pv_peer *p);
/* A member record was committed; it is taken when it wins over what is known of its subject. */
void pv_members_changed(struct pv_node *n, const uint8_t *env, size_t len);
/* Whether a (verified) record, handed over by p, may be stored as far as its author is concerned.
 */
bool pv_members_accept(const struct pv_peer *p, const struct pv_record *rec);
/* Whether this very member record is the current one. */
bool pv_members_current(const struct pv_node *n, const struct pv_record *rec);
/* All member records in RECORD messages: before others, whose authors they are. */
void pv_members_send_all(struct pv_peer *p);
/* A number below PV_MEMBERS_KNOWN_MAX that stands for a member while the node runs. False: not a
 * member. */
bool pv_members_slot(const struct pv_node *n, const struct pv_id *node_id, unsigned *slot);
/* GOODBYE to every session of this node. */
void pv_members_end_sessions(struct pv_node *n, const struct pv_id *node_id);
/* Whether this is the keyed member whose word a blind node takes for who the others are. */
bool pv_members_root(const struct pv_node *n, const struct pv_id *node_id);
/* Notes the session in the member. NULL: p is no member, an expelled one, or blocked here. */
const struct pv_member *pv_members_connected(struct pv_peer *p);
/* The peer lost blobs: their held bits are cleared, so that push offers them again. */
void pv_members_on_lost(struct pv_peer *p, const struct pv_id *ids, size_t count);

/* node.c: the peer is an active member: attach sync, push and fetch, deliver what came early. */
void pv_node_peer_admitted(struct pv_peer *p);

PV_MUST enum pv_err pv_addresses_new(struct pv_node *n);
void pv_addresses_free(struct pv_node *n);
void pv_addresses_start(struct pv_node *n);
/* An address record was committed. */
void pv_addresses_changed(struct pv_node *n, const uint8_t *env, size_t len);
/* A member or the policy changed: who is to be reached is told again. */
void pv_addresses_review(struct pv_node *n);

PV_MUST enum pv_err pv_sync_new(struct pv_node *n);
void pv_sync_free(struct pv_node *n);
PV_MUST enum pv_err pv_sync_attach(struct pv_peer *p); /* sends our digest root */
void pv_sync_detach(struct pv_peer *p);
void pv_sync_on_digest(struct pv_peer *p, struct pv_rd *r);
void pv_sync_on_record(struct pv_peer *p, struct pv_rd *r);
void pv_sync_on_writable(struct pv_peer *p);
bool pv_sync_peer_agrees(const struct pv_peer *p); /* last comparison: nothing to exchange */
uint64_t pv_sync_deadline_ms(const struct pv_node *n);
void pv_sync_tick(struct pv_node *n);

PV_MUST enum pv_err pv_publish_new(struct pv_node *n);
void pv_publish_free(struct pv_node *n);
void pv_publish_start(struct pv_node *n); /* picks up records left pending by an earlier run */
/* A member's STORED for blobs was committed (held bits set), or the set of members changed. */
void pv_publish_on_held(struct pv_node *n);
/* A member answered STORED for records. */
void pv_publish_on_stored(struct pv_peer *p, const struct pv_id *hashes, size_t count);
void pv_publish_on_writable(struct pv_peer *p);
void pv_publish_on_admitted(struct pv_peer *p);
uint64_t pv_publish_deadline_ms(const struct pv_node *n);
void pv_publish_tick(struct pv_node *n);

PV_MUST enum pv_err pv_push_new(struct pv_node *n);
void pv_push_free(struct pv_node *n);
PV_MUST enum pv_err pv_push_attach(struct pv_peer *p);
void pv_push_detach(struct pv_peer *p);
void pv_push_on_store(struct pv_peer *p, struct pv_rd *r);
/* WANT (answers our offers) and FETCH (answers our FOUND) ask alike: a stream from us. The numbers
 * of the one are odd, of the other even. */
void pv_push_on_want(struct pv_peer *p, bool is_fetch, struct pv_rd *r);
void pv_push_on_stored(struct pv_peer *p, const struct pv_id *ids, size_t count);
void pv_push_on_full(struct pv_peer *p, struct pv_rd *r);
void pv_push_on_cancel(struct pv_peer *p, struct pv_rd *r);
void pv_push_on_error(struct pv_peer *p, uint16_t code, const char *text);
/* Stream data: true when the stream was one of push's. */
bool pv_push_on_data(struct pv_peer *p, uint32_t stream, uint8_t flags, const uint8_t *bytes,
                     size_t len);
void pv_push_on_writable(struct pv_peer *p);
void pv_push_info(const struct pv_peer *p, uint64_t *offered, uint64_t *wanted);
/* It said FULL less than PV_PUSH_FULL_MS ago; then *until_ms is when that is over. */
bool pv_push_is_full(const struct pv_peer *p, uint64_t now_ms, uint64_t *until_ms);
/* The member records changed: blobs may belong elsewhere. */
void pv_push_places_changed(struct pv_node *n);
uint64_t pv_push_deadline_ms(const struct pv_node *n);
void pv_push_tick(struct pv_node *n);

PV_MUST enum pv_err pv_fetches_new(struct pv_node *n);
void pv_fetches_free(struct pv_node *n);
PV_MUST enum pv_err pv_fetch_attach(struct pv_peer *p);
void pv_fetch_detach(struct pv_peer *p);
void pv_fetch_on_get(struct pv_peer *p, struct pv_rd *r); /* answers FOUND and NOT_FOUND */
void pv_fetch_on_found(struct pv_peer *p, struct pv_rd *r, bool found);
bool pv_fetch_on_data(struct pv_peer *p, uint32_t stream, uint8_t flags, const uint8_t *bytes,
                      size_t len);
uint64_t pv_fetch_deadline_ms(const struct pv_node *n);
void pv_fetch_tick(struct pv_node *n);

/* Streams we asked for: push uses odd numbers, fetch even ones, each counting up per session. */

#endif
