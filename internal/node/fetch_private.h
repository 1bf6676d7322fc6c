/*
 * The inside of fetch, shared by fetch*.c only.
 *
 *   fetch.c       what is wanted: who waits for it, whom to take it from, how it ends
 *   fetch_peer.c  one session: GET and its answers in both directions, streams
 *
 * As in push: handlers change state and put what may go on into `todo`; the turn (pv_fetch_tick)
 * decides. done is called from the turn and from job results only.
 */
#ifndef PV_NODE_FETCH_PRIVATE_H
#define PV_NODE_FETCH_PRIVATE_H

#include "internal/node/node_private.h"

enum pv_holding { PV_HOLD_UNASKED, PV_HOLD_ASKED, PV_HOLD_NO, PV_HOLD_YES, PV_HOLD_BAD };

struct pv_holder {   /* what one connected member has of one blob */
    uint8_t holding; /* enum pv_holding */
    uint8_t tries;
};

struct pv_stream_in;
struct pv_wanted { /* one id, for everybody who wants it */
    struct pv_fetches *fetches;
    struct pv_id id;
    uint32_t size; /* it has at most so many bytes: the most that anybody expects */
    uint8_t kind;
    bool replace, kept;
    bool checking;             /* its job runs: nothing else may happen */
    struct pv_list waiters;    /* struct pv_fetch */
    struct pv_list link, todo; /* in pv_fetches.all and .todo */
    uint8_t *body;             /* size bytes, from the first transfer on */
    uint32_t got;
    bool mixed; /* got is from several transfers */
    bool whole; /* such bytes were wrong, or too many: each transfer begins at offset 0 now */
    struct pv_stream_in *stream;              /* the transfer running */
    uint64_t since_ms;                        /* start, or the end of the last transfer */
    struct pv_holder holders[PV_MEMBERS_MAX]; /* by slot */
    /* While checking: the job's own. */
    struct pv_job job;
    struct pv_commit_op op;
    struct pv_id holder;
};

struct pv_stream_in {
    struct pv_fetch_peer *owner;
    struct pv_wanted *wanted; /* NULL: cancelled, the other side has not ended it yet */
    uint32_t stream, received;
    uint64_t began_ms, last_ms;
};

struct pv_get { /* asked and not answered for `left` ids */
    uint32_t request;
    size_t left; /* 0: free */
};

struct pv_fetch_peer {
    struct pv_fetches *fetches;
    struct pv_peer *peer;
    unsigned slot;
    bool ask; /* there may be something it was not asked for */
    struct pv_get asked[PV_FETCH_GETS_MAX];
    uint32_t next_request, next_stream;
    struct pv_map streams; /* number -> struct pv_stream_in */
    size_t running;        /* streams not cancelled */
    uint64_t last_data_ms, cancelled_ms;
    size_t serving; /* its GETs that we work on */
};

struct pv_fetches {
    struct pv_node *node;
    struct pv_map wanted; /* id -> struct pv_wanted */
    struct pv_list all, todo;
    struct pv_list failed; /* struct pv_fetch: to be told so in the next turn */
    struct pv_fetch_peer *slots[PV_MEMBERS_MAX];
    bool soon;
    uint64_t due_ms;
    struct pv_id ids[PV_MSG_IDS_MAX]; /* scratch of one handler at a time */
};

/* fetch.c */
/* Something about it changed: it is looked at in the next turn. */
void pv_wanted_touch(struct pv_wanted *w);
/* All bytes are there: verify, commit, deliver. */
void pv_wanted_complete(struct pv_wanted *w);
/* The peer's bytes are wrong: it is not asked again. */
void pv_wanted_blame(struct pv_wanted *w, struct pv_fetch_peer *fp);

/* fetch_peer.c */
void pv_fetch_peer_ask(struct pv_fetch_peer *fp);
/* Begins a transfer at w->got. NOMEM. */
PV_MUST enum pv_err pv_stream_open(struct pv_fetch_peer *fp, struct pv_wanted *w);
/* The transfer is over for w, with CANCEL if the other side has not ended it. */
void pv_stream_cancel(struct pv_stream_in *s);
bool pv_stream_silent(const struct pv_stream_in *s, uint64_t now_ms, uint64_t *due_ms);

#endif
