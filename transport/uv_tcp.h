/*
 * The only TCP code: listens, dials with jittered back-off, moves bytes between sockets and session
 * engines, keeps their deadlines. It holds no policy: peers are accepted or closed by the handler.
 *
 * Links are numbered (never reused) so that a late answer cannot reach the wrong connection. All
 * callbacks come from the loop, never from inside the call that caused them. Everything belongs to
 * the loop thread. Half-open connections are capped; above the cap a new one is closed at once.
 * The program ignores SIGPIPE: libuv writes to sockets that the other side has closed.
 *
 * A node is up on one link at a time: of two connections with one node the rule of duplicate.h
 * keeps one, and the handler hears of the other only if it had been up (down, then up of the new).
 */
#ifndef PV_TRANSPORT_UV_TCP_H
#define PV_TRANSPORT_UV_TCP_H

#include "transport/bandwidth.h"
#include "transport/session.h"
#include <uv.h>

struct pv_tcp_handler {
    void *ctx;
    void (*up)(void *ctx, pv_link link, const struct pv_session_peer *peer, const char *address);
    void (*message)(void *ctx, pv_link link, uint8_t type, const uint8_t *body, size_t len);
    void (*data)(void *ctx, pv_link link, uint32_t stream, uint8_t flags, const uint8_t *bytes,
                 size_t len);
    void (*writable)(void *ctx, pv_link link); /* fell below the mark after having been above */
    void (*pong)(void *ctx, pv_link link, uint64_t rtt_ms);
    /* Only after up. goodbye: what the peer said; 0 = connection lost. */
    void (*down)(void *ctx, pv_link link, enum pv_err err, uint8_t goodbye);
    /* Two live processes have this identity; both were refused (GOODBYE twice). May be NULL. */
    void (*twice)(void *ctx, const struct pv_id *node_id, const char *address,
                  const char *other_address);
    /* Another process with our own identity answered at this address. May be NULL. */
    void (*twin)(void *ctx, const char *address);
    /* Mono time before which the node is not to be dialled, 0: at once. May be NULL. */
    uint64_t (*dial_after_ms)(void *ctx, const struct pv_id *node_id);
};

struct pv_tcp;
PV_MUST enum pv_err pv_tcp_new(struct pv_tcp **out, uv_loop_t *loop,
                               const struct pv_session_context *ctx,
                               const struct pv_tcp_handler *handler);
/* Sockets at once, at most and at first PV_CONNECTIONS_MAX. Half of them may be unfinished
 * handshakes, and up to half are kept free for addresses of pv_tcp_add_peer. */
void pv_tcp_limit(struct pv_tcp *t, size_t connections_max);
/* Closes everything (GOODBYE shutdown to peers, up to 2 s to send it); closed runs once, last. */
void pv_tcp_close(struct pv_tcp *t, void (*closed)(void *arg), void *arg);
void pv_tcp_free(struct pv_tcp *t); /* after closed */

/* "127.0.0.1:3000", "[::1]:3000", "host:port". PV_E_INVALID: not of that form (text says why). */
PV_MUST enum pv_err pv_tcp_address_check(const char *address);
/* Port 0 picks a free one; pv_tcp_listening tells it. PV_E_BUSY: address in use; PV_E_AUTH;
 * PV_E_UNAVAILABLE: no address of this machine now. */
PV_MUST enum pv_err pv_tcp_listen(struct pv_tcp *t, const char *address);
const char *pv_tcp_listening(const struct pv_tcp *t); /* "addr:port", NULL when not listening */

/*
 * Keeps a connection to this address: dials, and dials again with back-off whenever it is down.
 * An address that turns out to be ourselves is dialled seldom. While the node behind the address is
 * connected by another link, it is not dialled. Adding an address again changes nothing.
 * PV_E_INVALID, PV_E_LIMIT (PV_STATIC_PEERS_MAX), PV_E_NOMEM, PV_E_CLOSED.
 */
PV_MUST enum pv_err pv_tcp_add_peer(struct pv_tcp *t, const char *address);

/* Applies to open connections at once. */
void pv_tcp_set_bandwidth(struct pv_tcp *t, const struct pv_bandwidth *bandwidth);

/*
 * Keeps a connection to a member that said itself where it can be reached: addresses, at most
 * PV_LEARNED_ADDRESSES_MAX of them, "host:port". Each dial goes through them one after the other;
 * who answers must be this member. It is dialled as a configured address is, with one difference:
 * the first dial waits 0 .. PV_LEARNED_WAIT_MS, so that one record does not make all its readers
 * dial at once. Those that transport/protocol.md does not allow are passed over. Again with the
 * same list: changes nothing. count 0: it is no longer dialled. At most PV_LEARNED_PEERS_MAX
 * members; what exceeds it is ignored.
 */
void pv_tcp_reach(struct pv_tcp *t, const struct pv_id *node_id, const char *const *addresses,
                  size_t count);

struct pv_tcp_peer_status { /* of each added or learned address, for `peers` and `status` */
    const char *address;
    bool connected;              /* its node is, by whatever link */
    const struct pv_id *node_id; /* last seen there; NULL never */
    const char *last_error;      /* text of the last refusal or failure; NULL none */
    enum pv_refusal refusal;     /* of the last dial; NOT: none, or for another reason */
    uint64_t next_dial_ms;       /* mono; 0 when not waiting */
    bool learned;                /* by pv_tcp_reach: one entry for a member, its first address */
    bool retired;                /* learned once, and taken back: not of interest */
};
size_t pv_tcp_peer_count(const struct pv_tcp *t);
void pv_tcp_peer_status(const struct pv_tcp *t, size_t index, struct pv_tcp_peer_status *out);

struct pv_tcp_traffic { /* of one link since it was opened; bytes as on the wire, and per second */
    uint64_t in_bytes, out_bytes, in_rate, out_rate;
    int64_t skew_ms; /* the peer's clock minus ours, when it last told */
};
/* Our own limits of bandwidth were in the way within the last seconds. */
bool pv_tcp_slowed(const struct pv_tcp *t, pv_link link);
/* False: the link is gone. */
bool pv_tcp_traffic(const struct pv_tcp *t, pv_link link, struct pv_tcp_traffic *out);

/* PV_E_CLOSED when the link is gone; PV_E_LIMIT when its queue was full (it is closed then). */
PV_MUST enum pv_err pv_tcp_send(struct pv_tcp *t, pv_link link, const uint8_t *payload, size_t len);
PV_MUST enum pv_err pv_tcp_send_data(struct pv_tcp *t, pv_link link, uint32_t stream, uint8_t flags,
                                     const uint8_t *data, size_t len);
PV_MUST enum pv_err pv_tcp_ping(struct pv_tcp *t, pv_link link);
bool pv_tcp_writable(const struct pv_tcp *t, pv_link link);
/* Stop reading: back-pressure. What has been read already (up to 64 KiB) still comes. */
void pv_tcp_pause(struct pv_tcp *t, pv_link link, bool paused);
/* GOODBYE; down follows from the loop with PV_E_CANCELLED. No-op when the link is gone. */
void pv_tcp_drop(struct pv_tcp *t, pv_link link, uint8_t goodbye);

#endif
