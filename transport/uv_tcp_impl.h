/*
 * Inside of uv_tcp, shared by uv_tcp.c (interface, listening, closing), uv_link.c (one connection),
 * uv_pair.c (one node, one link) and uv_dial.c (addresses to keep connected). Nobody else includes
 * this.
 */
#ifndef PV_TRANSPORT_UV_TCP_IMPL_H
#define PV_TRANSPORT_UV_TCP_IMPL_H

#include "internal/base/throttle.h"
#include "internal/base/buf.h"
#include "internal/base/limits.h"
#include "internal/base/list.h"
#include "internal/base/map.h"
#include "internal/base/rate.h"
#include "transport/dialer.h"
#include "transport/hosts.h"
#include "transport/progress.h"
#include "transport/uv_tcp.h"

enum { TCP_SCRATCH_LEN = 65536, TCP_BACKLOG = 1024 };

enum link_state {
    LINK_CONNECTING, /* no session yet */
    LINK_OPEN,       /* the session lives */
    LINK_LINGERING,  /* the session is down; waits for the other side to have read our last words */
    LINK_CLOSED,     /* handles are closing */
};

struct dial;

struct link {
    struct pv_list all, work; /* in pv_tcp */
    struct pv_tcp *t;
    pv_link id;
    enum link_state state;
    unsigned open_handles;
    uv_tcp_t socket;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    uint64_t armed_ms; /* when the timer fires */
    size_t writing;    /* bytes of the one write in flight */
    /* What the session wants to be sent and limits do not allow yet; NULL: nothing waits. */
    const uint8_t *held_bytes;
    size_t held_len;
    uint64_t write_at_ms, read_at_ms; /* when limits allow it again */
    uint64_t shaped_ms;               /* when limits were last in the way */
    struct pv_throttle up, down;      /* of this connection */
    bool shaped;                      /* limits concern it */
    bool choked;                      /* not read before read_at_ms */
    struct pv_session *session;
    struct dial *dial; /* NULL: accepted */
    struct sockaddr_storage peer;
    char address[PV_ADDRESS_TEXT_LEN];
    bool half_open; /* accepted and not up yet: counted */
    bool reading, ended;
    bool was_up;    /* the session came up, announced or not */
    bool paused;    /* by the handler */
    bool announced; /* the handler knows it */
    bool above;     /* the handler waits for writable */
    bool pinged;    /* the handler waits for pong */
    bool held;      /* up, but an older link of the same node is being asked whether it lives */
    bool asked;     /* this is the older one */
    bool ask_again; /* asked while another PING was open, whose answer may be from before */
    uint64_t held_until_ms;
    struct pv_buf stash;    /* what was read when it was held */
    struct pv_rate in, out; /* of the socket */
    struct pv_progress in_progress, out_progress;
};

struct dial {
    struct pv_tcp *t;
    struct pv_dialer dialer;
    bool learned;        /* from its member's record (pv_tcp_reach), not from the settings */
    bool retired;        /* learned, and no longer wanted: never due */
    struct pv_id member; /* learned: who is expected */
    struct pv_address addresses[PV_LEARNED_ADDRESSES_MAX]; /* one of them, if not learned */
    size_t address_count, address_next;
    uv_getaddrinfo_t resolve;
    bool resolving;
    struct sockaddr_storage found[PV_RESOLVED_MAX];
    size_t found_count, found_next;
    size_t connecting;       /* links that wait for one of them to answer */
    uint64_t next_at_ms;     /* when the next one is asked as well; 0: not waited for */
    enum pv_refusal refusal; /* of this attempt: the one that tells most; NOT: none yet */
    char cause[PV_CAUSE_LEN];
};

struct listener {
    uv_tcp_t socket;
    struct pv_tcp *t;
};

struct pv_tcp {
    uv_loop_t *loop;
    const struct pv_session_context *ctx;
    struct pv_tcp_handler handler;
    const struct pv_env *env;
    struct listener *listener; /* NULL: not listening, or to be opened again */
    bool listens;
    struct sockaddr_storage listen_address;
    char listen_text[PV_ADDRESS_TEXT_LEN];
    bool accept_waits; /* a connection could not be accepted: see uv_tcp.c */
    uint64_t accept_again_ms, accept_logged_ms;
    uv_timer_t timer; /* dials, accept_again, the end of closing */
    uv_idle_t idle;   /* active while work is not empty */
    unsigned open_handles, resolving;
    struct pv_list links, work;
    struct pv_map by_id; /* announced links */
    pv_link last_id;
    size_t link_count, half_open_count; /* sockets; of these, accepted and not up yet */
    size_t connections_max;
    struct pv_hosts *hosts;
    struct pv_bandwidth bandwidth;
    struct pv_throttle up, down; /* of all connections that limits concern */
    struct dial *dials[PV_STATIC_PEERS_MAX + PV_LEARNED_PEERS_MAX];
    size_t dial_count, static_count; /* all; those of the settings */
    bool closing, finishing;
    uint64_t close_by_ms;
    void (*closed)(void *arg);
    void *closed_arg;
    uint8_t scratch[TCP_SCRATCH_LEN];
};

/* ---- uv_link.c ---- */
struct link *pv_link_new(struct pv_tcp *t, struct dial *dial); /* NULL: out of memory */
void pv_link_close(struct link *l);                            /* at once; idempotent */
void pv_link_open(struct link *l, size_t token);               /* connected: starts the session */
void pv_link_schedule(struct link *l);                         /* pumps it soon, from the loop */
void pv_link_work(struct link *l); /* pumps it now; only from the loop */
void pv_link_set_reading(struct link *l);
void pv_link_arm(struct link *l, uint64_t deadline_ms); /* the timer fires then or before */
void pv_link_announce(struct link *l);
void pv_link_withdraw(struct link *l, enum pv_err err,
                      uint8_t goodbye); /* no-op unless announced */

void pv_link_pause(struct link *l, bool paused);
void pv_link_choke(struct link *l);                   /* stops reading until read_at_ms */
void pv_link_resume(struct link *l, uint64_t now_ms); /* what limits allow again by then */

/* ---- uv_shape.c ---- */
void pv_shape_begin(struct link *l);
size_t pv_shape_may_write(struct link *l, size_t len); /* and it is; 0: not before write_at_ms */
size_t pv_shape_may_read(struct link *l, size_t len);  /* into so large a buffer */
void pv_shape_was_read(struct link *l, size_t len);    /* chokes it when that was too much */
/* Our own limits were in the way lately: slowness is no fault of the peer's. */
bool pv_shape_slowed(const struct link *l, uint64_t now_ms);

/* ---- uv_pair.c ---- */
struct link *pv_pair_find(struct pv_tcp *t, const struct pv_id *node_id); /* announced, or NULL */
void pv_pair_up(struct link *l);    /* announces l, or closes it or the older one, or asks */
void pv_pair_ask(struct link *l);   /* the older one: does it live? */
void pv_pair_pong(struct link *l);  /* of one that was asked: the identity runs twice */
void pv_pair_down(struct link *l);  /* l is gone: whoever waited for that goes on */
void pv_pair_timer(struct link *l); /* of a held one: time to answer is over? */

/* ---- uv_dial.c ---- */
void pv_dial_up(struct link *l);
/* The connection of a dial ended: not reached (refusal NOT), refused, or lost after up. */
void pv_dial_down(struct link *l, const struct pv_session_effect *e, const char *cause);
void pv_dial_connected(struct link *l, int status);
void pv_dial_take(struct dial *d, const struct addrinfo *list); /* what its name resolved to */
void pv_dial_uncover(struct pv_tcp *t, const struct pv_id *node_id);
void pv_dial_due(struct pv_tcp *t, uint64_t now_ms); /* starts what is due */
uint64_t pv_dial_next_ms(const struct pv_tcp *t);
void pv_dial_stop(struct pv_tcp *t);

/* ---- uv_reach.c ---- */
/* Whether an address that a member named is worth a connection: see transport/protocol.md. */
bool pv_reach_allows(const struct pv_tcp *t, const struct sockaddr_storage *a);

/* ---- uv_tcp.c ---- */
bool pv_sockaddr_is_loopback(const struct sockaddr_storage *a);
void pv_tcp_arm(struct pv_tcp *t);
void pv_tcp_wake(struct pv_tcp *t);   /* the work list is not empty */
void pv_tcp_finish(struct pv_tcp *t); /* goes on closing when all links are gone */
void pv_sockaddr_format(char dst[static PV_ADDRESS_TEXT_LEN], const struct sockaddr_storage *a);

#endif
