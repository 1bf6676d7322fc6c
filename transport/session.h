/*
 * One connection to one peer, as an engine without input or output: bytes in, effects out.
 *
 *   handshake -> HELLO exchange -> established -> closed
 *
 *     pv_session_feed(s, bytes, len, &used)     bytes from the socket; may stop after one frame
 *     while (pv_session_next(s, &effect)) ...   do what it says, in order
 *     pv_session_deadline_ms / pv_session_tick  when to call again although nothing arrived
 *
 * The session handles HELLO, PING, PONG and GOODBYE itself; every other message and all stream data
 * come out as effects. It decides nothing about membership: whoever gets PV_SESSION_UP may close.
 * A session owns at most one inbound frame buffer (512 bytes before authentication) and an
 * outbound buffer of PV_SESSION_OUT_MAX bytes, both allocated on first use.
 * Every refusal and every end is logged here, once.
 *
 * Not thread-safe. The bytes of SEND stay where they are until pv_session_sent or free; other views
 * are valid until the next pv_session_feed.
 */
#ifndef PV_TRANSPORT_SESSION_H
#define PV_TRANSPORT_SESSION_H

#include "internal/base/limits.h"
#include "transport/channel.h"
#include "transport/handshake.h"
#include "transport/msg.h"

typedef uint32_t pv_link; /* the number of a connection, never reused; 0 is none */

/* Shared by all sessions of a node; borrowed. */
struct pv_session_context {
    struct pv_handshake_context handshake;
    const struct pv_cluster_keys *const *readable; /* for HELLO proofs; count 0 on a blind node */
    size_t readable_count;
    struct pv_msg_hello
        hello;             /* what we say; the session fills in version, role, features, proofs */
    uint64_t handshake_ms; /* deadline from creation to HELLO; 0: PV_HANDSHAKE_MS */
};

struct pv_session_peer {
    struct pv_handshake_peer handshake;
    struct pv_msg_hello hello;
    bool keyed;          /* proved that it holds a cluster key that we can read with */
    size_t proven_count; /* which ones */
    struct pv_kid proven[PV_HELLO_PROOFS_MAX];
    uint8_t hash[PV_HASH_LEN]; /* h, the handshake hash: salts the digest */
    bool dialled;              /* we dialled it */
};

enum pv_session_effect_type {
    PV_SESSION_SEND, /* write bytes[0..len) to the socket, then pv_session_sent; once until then */
    PV_SESSION_UP,   /* established; pv_session_peer is complete */
    PV_SESSION_MSG,  /* message msg_type with body[0..len) behind the type byte */
    PV_SESSION_DATA, /* stream data, with flags FIN or RST; the stream is the node's affair */
    PV_SESSION_PONG, /* answer to pv_session_ping after rtt_ms */
    PV_SESSION_DOWN, /* close the socket: what was to be sent has been; nothing follows */
};

struct pv_session_effect {
    enum pv_session_effect_type type;
    const uint8_t *bytes;
    size_t len;
    uint8_t msg_type;
    uint32_t stream;
    uint8_t stream_flags;
    uint64_t rtt_ms;
    enum pv_refusal refusal; /* of DOWN: PV_REFUSED_NOT when it had been established */
    uint8_t goodbye;         /* of DOWN: enum pv_goodbye said by the peer, 0 = none */
    bool renew;              /* of DOWN: by agreement at its age; whoever dialled dials again */
    enum pv_err err;         /* of DOWN: CLOSED, TIMEOUT, PROTOCOL, AUTH, CANCELLED, LIMIT */
};

struct pv_session;
/* token, expected: as in pv_handshake_new. address is for the log; copied. */
PV_MUST enum pv_err pv_session_new(struct pv_session **out, const struct pv_session_context *ctx,
                                   bool dialler, size_t token, const struct pv_id *expected,
                                   const char *address);
void pv_session_free(struct pv_session *s);

/* Takes in up to one frame; *used bytes were consumed (none while an effect of the frame before
 * waits to be taken). After an error only DOWN is left, and all input is swallowed. */
void pv_session_feed(struct pv_session *s, const uint8_t *in, size_t len, size_t *used);
void pv_session_eof(struct pv_session *s); /* the socket ended or failed */
bool pv_session_next(struct pv_session *s, struct pv_session_effect *out);
void pv_session_sent(struct pv_session *s, size_t len); /* the socket took len bytes of SEND */
/* The owner stops (false) or goes on reading: while it does not read, silence is no sign of death,
 * and the session keeps the other side content with PINGs. */
void pv_session_reading(struct pv_session *s, bool reading);

uint64_t pv_session_deadline_ms(const struct pv_session *s); /* mono; UINT64_MAX: none */
void pv_session_tick(struct pv_session *s);

/* Established sessions only. payload = type byte and body (see msg.h). PV_E_LIMIT: the outbound
 * buffer is full and the session has been closed, likewise PV_E_NOMEM; PV_E_CLOSED: it was down
 * already. */
PV_MUST enum pv_err pv_session_send(struct pv_session *s, const uint8_t *payload, size_t len);
PV_MUST enum pv_err pv_session_send_data(struct pv_session *s, uint32_t stream, uint8_t flags,
                                         const uint8_t *data, size_t len);
PV_MUST enum pv_err pv_session_ping(struct pv_session *s); /* one at a time: PV_E_BUSY */
/* GOODBYE, then DOWN with CANCELLED; before HELLO was said: DOWN alone. No-op when closing. */
void pv_session_close(struct pv_session *s, uint8_t goodbye);

/* The owner gives it up for this reason, without a word: nobody would read it. */
void pv_session_give_up(struct pv_session *s, const char *cause);

bool pv_session_amid_frame(const struct pv_session *s); /* up, and a part of a frame has come */
bool pv_session_writable(const struct pv_session *s);   /* queued bytes < PV_SESSION_OUT_HIGH */
bool pv_session_up(const struct pv_session *s);
const struct pv_session_peer *pv_session_peer(const struct pv_session *s); /* once up */
const char *pv_session_address(const struct pv_session *s);
const char *pv_session_cause(const struct pv_session *s); /* why it ended, for people; "" before */

#endif
