/*
 * The inside of push, shared by push*.c only.
 *
 *   push.c         what all peers share; attach, detach, time
 *   push_walk.c    which blobs a peer lacks: walks, offers, STORED and FULL
 *   push_out.c     streams that a peer asked us for: slices, frames
 *   push_in.c      what a peer offers us: have-jobs, the queue of wants, answers
 *   push_body.c    bodies arriving: stream data, verification, commit
 *   push_audit.c   what a peer has acknowledged is offered again, now and then: audit.h
 *   push_repair.c  a copy of ours is bad: repair.h
 *
 * Handlers change state and ask for a turn (pv_push_soon); what one event makes possible for other
 * peers happens in the turn (pv_push_tick), not inside the handler. So no handler sees its lists
 * changed by a call it made.
 */
#ifndef PV_NODE_PUSH_PRIVATE_H
#define PV_NODE_PUSH_PRIVATE_H

#include "internal/node/audit.h"
#include "internal/node/node_private.h"
#include "internal/node/places.h"
#include "internal/node/repair.h"
#include "storage/check.h"

enum {
    PV_WALK_ROWS = 256,         /* offers of one walk job; walks wait for room for so many */
    PV_PUSH_OUT_BYTES = 524288, /* slices a peer holds or waits for */
    PV_PUSH_STALL_MS = 1000,    /* a slice that cannot be sent gives way to those who wait */
    PV_PUSH_ANSWERS = 256,      /* ids gathered for one STORED or FULL */
    PV_OUT_SERVED_MAX = 2 * PV_STREAMS_MAX, /* bodies that a peer may find bad */
};

/* ---- out ---- */

struct pv_offered { /* offered to a peer, not yet answered and committed */
    uint32_t size;
    bool committing; /* STORED came, the held bit is on its way to the disk */
};

struct pv_walk_job;
struct pv_walk {
    struct pv_walk_job *job; /* running */
    bool has_bit, bit_asked;
    unsigned bit;
    uint64_t cursor;
    bool at_end, kicked;
    bool anew;                   /* places changed: from the first blob on, at once */
    bool full;                   /* the peer said FULL: nothing more before again_ms */
    uint64_t round_ms, again_ms; /* when it last began at the first blob, and will again */
    /* Blobs that are another holder's turn: walked again from skip_from at skip_due_ms. */
    uint64_t skip_from, skip_since_ms, skip_due_ms;
    uint64_t aged_to, aged_since_ms; /* blobs below aged_to were first seen at aged_since_ms */
};

struct pv_slice;
struct pv_stream_out {
    struct pv_id id;
    uint32_t stream, offset; /* offset: of the next slice */
    uint32_t size;           /* 0: unknown before the first slice */
    bool whole;              /* asked for from its beginning on */
    struct pv_slice *slice;  /* waiting for memory, being read, or being sent */
    struct pv_list turn;     /* in pv_push_out.turn while it has no slice */
};

/* WANT streams have odd numbers, FETCH streams even ones; somebody waits for the latter. */
enum { PV_OUT_FETCH, PV_OUT_WANT, PV_OUT_CLASSES };
struct pv_push_out {
    struct pv_map streams; /* number -> struct pv_stream_out */
    size_t open[PV_OUT_CLASSES];
    struct pv_list turn[PV_OUT_CLASSES];
    struct pv_list ready; /* struct pv_slice, to be sent in this order */
    size_t slice_bytes;
    uint64_t sent_ms; /* when the last frame went out, or the first slice became ready */
    struct pv_id served[PV_OUT_SERVED_MAX]; /* the last ones sent whole; served_at: the oldest */
    unsigned served_at;
};

/* ---- in ---- */

struct pv_incoming;
struct pv_offer_in { /* one id offered by one peer and not answered yet */
    struct pv_push_peer *owner;
    struct pv_id id;
    uint8_t kind;
    uint32_t size;
    struct pv_incoming *in; /* NULL: its stream was cancelled and has not ended yet */
    uint32_t stream;        /* 0: none */
    uint32_t left;          /* of a cancelled stream */
    struct pv_list of_peer; /* in pv_push_in.offers */
    struct pv_list queue;   /* in pv_push_in.queue, unless another peer sends the body */
    struct pv_list same;    /* in pv_incoming.offers */
};

enum pv_incoming_state { PV_IN_QUEUED, PV_IN_RECEIVING, PV_IN_CHECKING };
struct pv_incoming { /* one id that we lack, whoever offers it */
    struct pv_push *push;
    struct pv_id id;
    enum pv_incoming_state state;
    struct pv_list offers;    /* struct pv_offer_in */
    struct pv_offer_in *from; /* whose stream it is or was; NULL: none or gone */
    uint8_t *body;            /* size bytes, reserved; kept while QUEUED if it was cut */
    uint32_t size, got;
    uint8_t kind;
    bool mixed; /* got is from several transfers */
    bool whole; /* such bytes were wrong: nothing cut is kept any more */
    uint64_t began_ms, last_ms;
    struct pv_list link; /* in pv_push.receiving or pv_push.kept, by last_ms */
    /* CHECKING: the job's own. */
    struct pv_job job;
    struct pv_commit_op op;
};

struct pv_push_in {
    struct pv_map streams; /* number -> struct pv_offer_in */
    struct pv_list offers, queue;
    size_t offer_count; /* offers not answered, those in have-jobs included */
    size_t reserved_bytes;
    uint32_t next_stream;
    uint64_t last_data_ms;
    struct pv_budget_wait wait;
    size_t asked_bytes, granted_bytes; /* of the wait; and when it came true, until used */
    struct pv_id stored[PV_PUSH_ANSWERS], full[PV_PUSH_ANSWERS];
    size_t stored_count, full_count;
};

struct pv_audit_job;
struct pv_audit {
    struct pv_audit_job *job; /* running */
    bool loaded;
    struct pv_audit_state state;
    uint64_t cursor, due_ms;
};

struct pv_push_peer {
    struct pv_push *push;
    struct pv_peer *peer;
    struct pv_map offered; /* id -> struct pv_offered; push_walk.c */
    struct pv_walk walk;
    struct pv_audit audit;
    struct pv_push_out out;
    struct pv_push_in in;
    uint64_t full_ms; /* when it last said FULL; 0: never */
};

/* ---- shared ---- */

struct pv_push {
    struct pv_node *node;
    struct pv_budget inbound, outbound;
    struct pv_map incoming; /* id -> struct pv_incoming; push_in.c */
    struct pv_list receiving, kept;
    struct pv_list repairs; /* push_repair.c */
    size_t repair_count;
    struct pv_id lost[PV_MSG_IDS_MAX]; /* to be told of at lost_due_ms */
    size_t lost_count;
    uint64_t lost_due_ms;
    bool soon;
    uint64_t due_ms; /* no turn is needed before */
    /* What the walks go by; it is looked at again when one of these says so. */
    bool places_moved, places_stale;
    uint64_t places_due_ms;
    uint64_t away, full, live;
    /* Scratch of one handler at a time. */
    struct pv_offer offers[PV_MSG_IDS_MAX];
    struct pv_id ids[PV_MSG_IDS_MAX];
};

/* push.c */
static inline void pv_push_soon(struct pv_push *s)
{
    s->soon = true;
}
static inline void pv_push_due(struct pv_push *s, uint64_t at_ms)
{
    if (at_ms < s->due_ms)
        s->due_ms = at_ms;
}
/* The push part of a link, NULL when it is gone or the node is closing: for job results. */
struct pv_push_peer *pv_push_peer_of(struct pv_node *n, pv_link link);

/* push_walk.c. next: what is to be done now, and when again (pv_push_due). */
void pv_walk_init(struct pv_push_peer *pp);
void pv_walk_release(struct pv_push_peer *pp);
void pv_walk_kick(struct pv_push_peer *pp);
void pv_walk_restart(struct pv_push_peer *pp);
void pv_walk_anew(struct pv_push_peer *pp); /* blobs belong to others than before */
void pv_walk_next(struct pv_push_peer *pp);
/* The peer does not take this blob now: the offer is forgotten until a later walk. */
void pv_walk_forget(struct pv_push_peer *pp, const struct pv_id *id);

/* Offers what is not offered already; room for so many is the caller's business. */
void pv_walk_offer(struct pv_push_peer *pp, const struct pv_blob_info *blobs, size_t count);

/* push_audit.c */
void pv_audit_next(struct pv_push_peer *pp);
void pv_audit_release(struct pv_push_peer *pp);

/* push_out.c */
void pv_out_init(struct pv_push_peer *pp);
void pv_out_release(struct pv_push_peer *pp);
void pv_out_next(struct pv_push_peer *pp);
void pv_out_tick(struct pv_push_peer *pp);
/* Whether the peer lately got all of this blob; true once for each time. */
bool pv_out_take_served(struct pv_push_peer *pp, const struct pv_id *id);

/* push_in.c */
void pv_in_init(struct pv_push_peer *pp);
void pv_in_release(struct pv_push_peer *pp);
void pv_in_next(struct pv_push_peer *pp);
void pv_in_stored(struct pv_push_peer *pp, const struct pv_id *id);
void pv_in_full(struct pv_push_peer *pp, const struct pv_id *id);
/* Everything waiting to be sent to us is refused: there is no space. */
void pv_in_refuse_all(struct pv_push *s);
/* Puts the offer into the queue of its peer. NOMEM: unchanged. */
PV_MUST enum pv_err pv_in_queue(struct pv_offer_in *o);
/* The offer is answered or void: unlinks and frees it. Its incoming stays: pv_body_settle. */
void pv_in_drop(struct pv_offer_in *o);

/* push_body.c */
void pv_body_start(struct pv_incoming *in, struct pv_offer_in *o, uint64_t now_ms);
/* Its peer sends it no longer: the session's share is free for others. */
void pv_body_disown(struct pv_incoming *in);
/* No bytes will come from that peer any more: kept for the next one, or released. */
void pv_body_lost(struct pv_incoming *in);
void pv_body_release(struct pv_incoming *in);
/* Frees what nobody offers and nothing is kept of. in may be gone afterwards. */
void pv_body_settle(struct pv_incoming *in);
/* Gives kept bodies back, oldest first, until so many bytes can be reserved or none is left. */
void pv_body_make_room(struct pv_push *s, size_t bytes);
void pv_body_tick(struct pv_push *s);

/* push_repair.c. check: a peer, or reading, found our copy bad. */
void pv_repair_check(struct pv_push *s, const struct pv_id *id);
void pv_repair_tick(struct pv_push *s);
void pv_repair_on_admitted(struct pv_peer *p); /* tells it which blobs were lost */
void pv_repair_release(struct pv_push *s);

#endif
