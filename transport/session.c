/*
 * Life, ends and output of a session; session_input.c has the other half. The states:
 *
 *   HANDSHAKE  M1..M3        -> HELLO when the keys are there; our HELLO follows at once
 *   HELLO      their HELLO   -> UP
 *   UP         messages, stream data
 *   CLOSING    what is queued goes out (or is dropped: flush), input is swallowed -> DOWN
 *   DOWN       nothing
 *
 * pv_session_end is the only way to CLOSING: it writes the cause down, logs it, and drops the queue
 * unless that is still worth sending (flush). Faults of the record layer end in silence, faults in
 * an authenticated message with GOODBYE protocol.
 */
#include "transport/session_impl.h"
#include "internal/base/mem.h"

#include <stdio.h>

#define SESSION_BYTES_MAX (UINT64_C(1) << 40)

/* ---- the end ---- */

static void log_refusal(const struct pv_session *s, enum pv_refusal refusal)
{
    const struct pv_env *env = s->ctx->handshake.env;
    /* Whoever connects and leaves again (health checks, a peer that refused us) is no news, and
     * that an address is our own is said once, where it is dialled. */
    bool gone = refusal == PV_REFUSED_GONE && !s->dialler;
    bool no_news = gone || (refusal == PV_REFUSED_SELF && s->dialler);
    enum pv_log_level level = no_news ? PV_LOG_DEBUG : PV_LOG_WARN;
    const char *direction = s->dialler ? "out" : "in";
    if (refusal != PV_REFUSED_CLOCK) {
        PV_LOG_LIMITED(env->log, level, PV_SUB_SESSION, "handshake refused", "peer", s->address,
                       "direction", direction, "cause", s->cause);
        return;
    }
    char ours[PV_UTC_LEN], theirs[PV_UTC_LEN];
    uint64_t now_ms = pv_env_wall_ms(env);
    pv_utc_format(ours, now_ms);
    pv_utc_format(theirs, now_ms + (uint64_t)pv_handshake_skew_ms(s->handshake));
    PV_LOG_LIMITED(env->log, level, PV_SUB_SESSION, "handshake refused", "peer", s->address,
                   "direction", direction, "cause", s->cause, "our_clock", ours, "their_clock",
                   theirs);
}

void pv_session_end(struct pv_session *s, enum pv_err err, enum pv_refusal refusal,
                    const char *cause)
{
    if (s->state >= CLOSING)
        return;
    if (cause != NULL)
        snprintf(s->cause, sizeof s->cause, "%s", cause);
    else
        pv_refusal_describe(s->cause, refusal, s->first,
                            s->handshake != NULL ? pv_handshake_skew_ms(s->handshake) : 0);
    if (refusal != PV_REFUSED_NOT)
        log_refusal(s, refusal);
    else
        PV_LOG_LIMITED(s->ctx->handshake.env->log, err == PV_E_PROTOCOL ? PV_LOG_WARN : PV_LOG_INFO,
                       PV_SUB_SESSION, "disconnected", "peer", s->address, "cause", s->cause);
    s->down.type = PV_SESSION_DOWN;
    s->down.err = err;
    s->down.refusal = refusal;
    s->has_waiting = false;
    s->state = CLOSING;
    s->ended_ms = pv_session_now_ms(s);
    if (!s->flush)
        pv_outbox_drop(&s->out);
}

void pv_session_end_any(struct pv_session *s, enum pv_err err, enum pv_refusal refusal,
                        const char *cause)
{
    if (s->state == UP)
        pv_session_end(s, err, PV_REFUSED_NOT, cause);
    else /* our own want of memory is no refusal of theirs: say what it was */
        pv_session_end(s, err, refusal, err == PV_E_NOMEM || err == PV_E_LIMIT ? cause : NULL);
}

/* ---- sending ---- */

static enum pv_err queue_frame(struct pv_session *s, enum pv_frame_type type,
                               const struct pv_part parts[static 2])
{
    size_t len = parts[0].len + parts[1].len;
    size_t frame_len = PV_FRAME_HEADER_LEN + len + PV_TAG_LEN;
    uint8_t *dst;
    enum pv_err err = pv_outbox_room(&s->out, frame_len, &dst);
    if (err != PV_OK)
        return err;
    uint8_t *plain = dst + PV_FRAME_HEADER_LEN;
    for (size_t i = 0; i < 2; i++) {
        if (parts[i].len > 0)
            memcpy(plain, parts[i].data, parts[i].len);
        plain += parts[i].len;
    }
    pv_channel_seal(s->channel, type, dst + PV_FRAME_HEADER_LEN, len, dst);
    pv_outbox_commit(&s->out, frame_len);
    s->bytes += frame_len;
    s->queued_ms = pv_session_now_ms(s);
    return PV_OK;
}

enum pv_err pv_session_queue_msg(struct pv_session *s, const struct pv_wr *w)
{
    PV_ASSERT(pv_wr_end(w) == PV_OK);
    return queue_frame(s, PV_FRAME_MESSAGE,
                       (const struct pv_part[2]){{w->start, pv_wr_len(w)}, {NULL, 0}});
}

/* A frame that does not fit means a peer that does not read: there is no one to say GOODBYE to. */
static enum pv_err queued(struct pv_session *s, enum pv_err err)
{
    if (err == PV_E_LIMIT)
        pv_session_end_any(s, err, PV_REFUSED_HELLO, "the peer reads too slowly");
    else if (err != PV_OK)
        pv_session_end_any(s, err, PV_REFUSED_HELLO, pv_err_text(err));
    return err;
}

void pv_session_reply(struct pv_session *s, const struct pv_wr *w)
{
    (void)queued(s, pv_session_queue_msg(s, w));
}

static void goodbye(struct pv_session *s, uint8_t reason)
{
    uint8_t bytes[16];
    struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
    pv_msg_put_goodbye(&w, reason, pv_channel_sent(s->channel));
    s->flush = pv_session_queue_msg(s, &w) == PV_OK;
}

void pv_session_fault(struct pv_session *s, const char *what)
{
    goodbye(s, PV_BYE_PROTOCOL);
    pv_session_end(s, PV_E_PROTOCOL, PV_REFUSED_NOT, what);
}

static enum pv_err send_ping(struct pv_session *s, uint64_t cookie)
{
    uint8_t bytes[32];
    struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
    const struct pv_env *env = s->ctx->handshake.env;
    pv_msg_put_ping(&w, PV_MSG_PING, &(struct pv_msg_ping){cookie, pv_env_wall_ms(env)});
    s->pinged_ms = pv_session_now_ms(s);
    s->pongs_due++;
    return queued(s, pv_session_queue_msg(s, &w));
}

/* ---- life ---- */

void pv_session_eof(struct pv_session *s)
{
    if (s->state == CLOSING) { /* nobody reads what is still queued */
        s->flush = false;
        pv_outbox_drop(&s->out);
        return;
    }
    bool unanswered = s->dialler && !s->any_frame;
    pv_session_end_any(s, PV_E_CLOSED, unanswered ? PV_REFUSED_SILENT : PV_REFUSED_GONE,
                       "connection lost");
}

enum pv_err pv_session_new(struct pv_session **out, const struct pv_session_context *ctx,
                           bool dialler, size_t token, const struct pv_id *expected,
                           const char *address)
{
    struct pv_session *s = pv_calloc(1, sizeof *s);
    if (s == NULL)
        return PV_E_NOMEM;
    s->ctx = ctx;
    s->dialler = dialler;
    s->created_ms = s->received_ms = s->queued_ms = s->pinged_ms = pv_session_now_ms(s);
    pv_outbox_init(&s->out);
    s->address = pv_strdup(address);
    enum pv_err err = s->address != NULL ? PV_OK : PV_E_NOMEM;
    if (err == PV_OK)
        err = pv_handshake_new(&s->handshake, &ctx->handshake, dialler, token, expected);
    if (err == PV_OK && dialler)
        err = pv_session_advance(s);
    if (err != PV_OK) {
        pv_session_free(s);
        return err;
    }
    *out = s;
    return PV_OK;
}

void pv_session_free(struct pv_session *s)
{
    if (s == NULL)
        return;
    pv_handshake_free(s->handshake);
    pv_channel_free(s->channel);
    pv_outbox_release(&s->out);
    if (s->in != NULL)
        pv_wipe(s->in, s->in_cap);
    pv_free(s->in);
    pv_free(s->address);
    pv_wipe(s, sizeof *s);
    pv_free(s);
}

bool pv_session_next(struct pv_session *s, struct pv_session_effect *out)
{
    if (s->has_waiting) {
        *out = s->waiting;
        s->has_waiting = false;
        return true;
    }
    struct pv_session_effect send = {.type = PV_SESSION_SEND};
    if (s->state != DOWN && pv_outbox_view(&s->out, &send.bytes, &send.len)) {
        *out = send;
        return true;
    }
    if (s->state != CLOSING || (s->flush && pv_outbox_queued(&s->out) > 0))
        return false;
    s->state = DOWN;
    *out = s->down;
    return true;
}

void pv_session_sent(struct pv_session *s, size_t len)
{
    pv_outbox_sent(&s->out, len);
    if (s->state >= CLOSING && !s->flush)
        pv_outbox_drop(&s->out);
}

void pv_session_reading(struct pv_session *s, bool reading)
{
    s->not_reading = !reading;
    s->received_ms = pv_session_now_ms(s);
}

static uint64_t life_ms(const struct pv_session *s)
{
    /* The listener waits a little longer, so that the one who dials again does it first. */
    return s->bytes >= SESSION_BYTES_MAX ? 0 : PV_SESSION_LIFE_MS + (s->dialler ? 0 : 60 * 1000);
}

/*
 * After silence of either side, and one in a while. The other side's PINGs may stand behind much
 * that it has to say, so whoever only listens says by itself that it is there.
 */
static uint64_t ping_due_ms(const struct pv_session *s)
{
    uint64_t from_ms = s->received_ms < s->queued_ms ? s->received_ms : s->queued_ms;
    return (from_ms > s->pinged_ms ? from_ms : s->pinged_ms) + PV_PING_IDLE_MS;
}

static uint64_t dead_ms(const struct pv_session *s)
{
    return s->not_reading ? UINT64_MAX : s->received_ms + PV_PEER_DEAD_MS;
}

static uint64_t handshake_over_ms(const struct pv_session *s)
{
    uint64_t allowed_ms = s->ctx->handshake_ms;
    return s->created_ms + (allowed_ms != 0 ? allowed_ms : PV_HANDSHAKE_MS);
}

uint64_t pv_session_deadline_ms(const struct pv_session *s)
{
    if (s->state == DOWN)
        return UINT64_MAX;
    if (s->state == CLOSING)
        return s->ended_ms + PV_LINGER_MS;
    if (s->state != UP)
        return handshake_over_ms(s);
    uint64_t first_ms = s->created_ms + life_ms(s);
    if (ping_due_ms(s) < first_ms)
        first_ms = ping_due_ms(s);
    return dead_ms(s) < first_ms ? dead_ms(s) : first_ms;
}

void pv_session_tick(struct pv_session *s)
{
    uint64_t now_ms = pv_session_now_ms(s);
    if (now_ms < pv_session_deadline_ms(s))
        return;
    if (s->state == CLOSING) {
        s->flush = false;
        pv_outbox_drop(&s->out);
    } else if (s->state != UP) {
        pv_session_end(s, PV_E_TIMEOUT, PV_REFUSED_DEADLINE, NULL);
    } else if (now_ms >= dead_ms(s)) {
        pv_session_end(s, PV_E_TIMEOUT, PV_REFUSED_NOT, "the peer fell silent");
    } else if (now_ms >= s->created_ms + life_ms(s)) {
        pv_session_close(s, PV_BYE_RENEW);
    } else {
        pv_outbox_shrink(&s->out);
        (void)send_ping(s, 0);
    }
}

/* ---- for the node ---- */

enum pv_err pv_session_send(struct pv_session *s, const uint8_t *payload, size_t len)
{
    PV_ASSERT(len >= 1 && len <= PV_FRAME_PLAIN_MAX);
    if (s->state != UP)
        return PV_E_CLOSED;
    return queued(
        s, queue_frame(s, PV_FRAME_MESSAGE, (const struct pv_part[2]){{payload, len}, {NULL, 0}}));
}

enum pv_err pv_session_send_data(struct pv_session *s, uint32_t stream, uint8_t flags,
                                 const uint8_t *data, size_t len)
{
    PV_ASSERT(len <= PV_STREAM_DATA_MAX && flags <= PV_STREAM_RST && (flags != 0 || len > 0));
    if (s->state != UP)
        return PV_E_CLOSED;
    uint8_t head[PV_STREAM_HEADER_LEN];
    struct pv_wr w = pv_wr_of(head, sizeof head);
    pv_wr_u32(&w, stream);
    pv_wr_u8(&w, flags);
    pv_wr_zero(&w, 3);
    return queued(s, queue_frame(s, PV_FRAME_STREAM,
                                 (const struct pv_part[2]){{head, sizeof head}, {data, len}}));
}

enum pv_err pv_session_ping(struct pv_session *s)
{
    if (s->state != UP)
        return PV_E_CLOSED;
    if (s->ping_cookie != 0)
        return PV_E_BUSY;
    uint64_t cookie;
    pv_env_random(s->ctx->handshake.env, &cookie, sizeof cookie);
    s->ping_cookie = cookie | 1; /* 0 means none, and is what keep-alive PINGs carry */
    s->ping_ms = pv_session_now_ms(s);
    return send_ping(s, s->ping_cookie);
}

void pv_session_close(struct pv_session *s, uint8_t reason)
{
    if (s->state >= CLOSING)
        return;
    if (s->channel != NULL)
        goodbye(s, reason);
    s->down.renew = reason == PV_BYE_RENEW;
    char cause[PV_CAUSE_LEN];
    snprintf(cause, sizeof cause, "closed here: %s", pv_goodbye_text(reason));
    pv_session_end(s, PV_E_CANCELLED, PV_REFUSED_NOT, cause);
}

void pv_session_give_up(struct pv_session *s, const char *cause)
{
    pv_session_end_any(s, PV_E_TIMEOUT, PV_REFUSED_DEADLINE, cause);
}

bool pv_session_amid_frame(const struct pv_session *s)
{
    return s->state == UP && s->header_have > 0;
}

bool pv_session_writable(const struct pv_session *s)
{
    return s->state == UP && pv_outbox_queued(&s->out) < PV_SESSION_OUT_HIGH;
}

bool pv_session_up(const struct pv_session *s)
{
    return s->state == UP;
}

const struct pv_session_peer *pv_session_peer(const struct pv_session *s)
{
    PV_ASSERT(s->was_up);
    return &s->peer;
}

const char *pv_session_address(const struct pv_session *s)
{
    return s->address;
}

const char *pv_session_cause(const struct pv_session *s)
{
    return s->cause;
}
