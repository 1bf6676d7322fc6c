/*
 * Inside of a session, shared by session.c (life, ends, output) and session_input.c (handshake,
 * frames, messages). Nobody else includes this.
 */
#ifndef PV_TRANSPORT_SESSION_IMPL_H
#define PV_TRANSPORT_SESSION_IMPL_H

#include "transport/outbox.h"
#include "transport/refusal.h"
#include "transport/session.h"

enum session_state { HANDSHAKE, HELLO, UP, CLOSING, DOWN };

struct pv_session {
    const struct pv_session_context *ctx;
    enum session_state state;
    bool dialler, was_up;
    char *address;
    struct pv_handshake *handshake; /* until HELLO */
    struct pv_channel *channel;     /* from then on */
    struct pv_session_peer peer;

    uint8_t header[PV_FRAME_HEADER_LEN], first[PV_FRAME_HEADER_LEN];
    struct pv_frame_header frame;
    size_t header_have, in_have, in_cap;
    uint8_t *in;
    bool any_frame; /* first is complete */

    struct pv_outbox out;
    bool has_waiting, flush;
    struct pv_session_effect waiting, down;
    char cause[PV_CAUSE_LEN];

    uint64_t created_ms, received_ms, queued_ms, pinged_ms, ended_ms;
    uint64_t bytes; /* both ways, for the size limit of a session */
    bool not_reading;
    bool clock_off; /* theirs differs from ours by more than is well */
    uint32_t pongs_due;
    uint64_t ping_cookie, ping_ms; /* of pv_session_ping; cookie 0: none is open */
};

static inline uint64_t pv_session_now_ms(const struct pv_session *s)
{
    return pv_env_mono_ms(s->ctx->handshake.env);
}

/* cause: NULL for the usual text of a refusal. No-op when it has ended. */
void pv_session_end(struct pv_session *s, enum pv_err err, enum pv_refusal refusal,
                    const char *cause);
/* Before UP a fault is a refusal, afterwards it is not and has a cause of its own. */
void pv_session_end_any(struct pv_session *s, enum pv_err err, enum pv_refusal refusal,
                        const char *cause);
/* A fault in an authenticated message: GOODBYE protocol. */
void pv_session_fault(struct pv_session *s, const char *what);
/* Seals and queues one message. PV_E_LIMIT, PV_E_NOMEM. */
PV_MUST enum pv_err pv_session_queue_msg(struct pv_session *s, const struct pv_wr *w);
/* The same; when it fails the session has ended. */
void pv_session_reply(struct pv_session *s, const struct pv_wr *w);
/* Writes the handshake message whose turn it is; the last one is followed by our HELLO. */
PV_MUST enum pv_err pv_session_advance(struct pv_session *s);

#endif
