/*
 * Input is one frame at a time: five bytes of header, checked against the state, then the payload
 * into `in`, which has 512 bytes until a larger frame comes from an authenticated peer. What a
 * frame leads to is handled here (handshake, HELLO, PING, PONG, GOODBYE) or waits as the one
 * effect (`waiting`) until it is taken; until then nothing more is read.
 */
#include "transport/session_impl.h"
#include "internal/base/mem.h"
#include "transport/hello.h"

#include <stdio.h>

enum {
    IN_SMALL_LEN = 512,
    SEALED_MIN = PV_TAG_LEN + 1,
    HELLO_SEALED_MAX = PV_HELLO_LEN_MAX + PV_TAG_LEN,
};

/* ---- handshake and HELLO ---- */

static enum pv_err start_channel(struct pv_session *s)
{
    uint8_t send_key[PV_KEY_LEN], recv_key[PV_KEY_LEN];
    s->peer.handshake = *pv_handshake_peer(s->handshake);
    s->peer.dialled = s->dialler;
    pv_handshake_keys(s->handshake, send_key, recv_key, s->peer.hash);
    enum pv_err err = pv_channel_new(&s->channel, send_key, recv_key, PV_CHANNEL_REKEY_LOG2);
    pv_wipe(send_key, sizeof send_key);
    pv_wipe(recv_key, sizeof recv_key);
    if (err != PV_OK)
        return err;
    s->state = HELLO;

    uint8_t bytes[1024];
    struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
    struct pv_msg_hello hello;
    pv_hello_make(&hello, s->ctx, s->peer.hash, s->dialler);
    pv_msg_put_hello(&w, &hello);
    return pv_session_queue_msg(s, &w);
}

/* Writes whatever is our turn to write; the last message of the handshake is followed by HELLO. */
enum pv_err pv_session_advance(struct pv_session *s)
{
    uint8_t msg[PV_HS_LEN_MAX], *dst;
    size_t len;
    enum pv_err err = pv_handshake_write(s->handshake, msg, &len);
    if (err == PV_OK && len > 0)
        err = pv_outbox_room(&s->out, PV_FRAME_HEADER_LEN + len, &dst);
    if (err != PV_OK)
        return err;
    if (len > 0) {
        pv_frame_header_encode(dst, PV_FRAME_MESSAGE, (uint32_t)len);
        memcpy(dst + PV_FRAME_HEADER_LEN, msg, len);
        pv_outbox_commit(&s->out, PV_FRAME_HEADER_LEN + len);
    }
    return pv_handshake_done(s->handshake) ? start_channel(s) : PV_OK;
}

static void on_handshake(struct pv_session *s)
{
    enum pv_err err = pv_handshake_read(s->handshake, s->in, s->frame.len);
    if (err == PV_OK)
        err = pv_session_advance(s);
    if (err == PV_OK)
        return;
    enum pv_refusal refusal = pv_handshake_refusal(s->handshake);
    if (refusal == PV_REFUSED_CLOCK)
        s->flush =
            pv_session_advance(s) == PV_OK; /* the one answer; the dialler has none to give */
    if (refusal != PV_REFUSED_NOT)
        pv_session_end(s, err, refusal, NULL);
    else
        pv_session_end(s, err, PV_REFUSED_CRYPTO, pv_err_text(err));
}

/* A clock that is set wrong is said once in a session, and again when it got right in between. */
static void judge_clock(struct pv_session *s, int64_t skew_ms)
{
    bool off = skew_ms > PV_SKEW_WARN_MS || skew_ms < -PV_SKEW_WARN_MS;
    if (off && !s->clock_off)
        PV_LOG_LIMITED(s->ctx->handshake.env->log, PV_LOG_WARN, PV_SUB_SESSION,
                       "clock differs: set the wrong one", "peer", s->address, "node",
                       pv_log_id(s->peer.handshake.node_id.b),
                       skew_ms < 0 ? "seconds_behind_ours" : "seconds_ahead_of_ours",
                       pv_log_u64((uint64_t)(skew_ms < 0 ? -skew_ms : skew_ms) / 1000));
    s->clock_off = off;
    s->peer.handshake.skew_ms = skew_ms;
}

static void on_hello(struct pv_session *s, struct pv_rd *r)
{
    struct pv_msg_hello *hello = &s->peer.hello;
    const struct pv_handshake_peer *peer = &s->peer.handshake;
    if (pv_msg_get_hello(r, hello) != PV_OK || hello->role != peer->role ||
        hello->features != peer->features) {
        pv_session_end(s, PV_E_PROTOCOL, PV_REFUSED_HELLO, NULL);
        return;
    }
    s->peer.proven_count = pv_hello_proves(hello, s->ctx, s->peer.hash, !s->dialler,
                                           &s->peer.handshake.node_id, s->peer.proven);
    s->peer.keyed = s->peer.proven_count > 0;
    pv_handshake_free(s->handshake);
    s->handshake = NULL;
    s->state = UP;
    s->was_up = true;
    s->waiting = (struct pv_session_effect){.type = PV_SESSION_UP};
    s->has_waiting = true;
    PV_LOG_LIMITED(s->ctx->handshake.env->log, PV_LOG_INFO, PV_SUB_SESSION, "connected", "peer",
                   s->address, "direction", s->dialler ? "out" : "in", "node",
                   pv_log_id(peer->node_id.b), "keyed", s->peer.keyed ? "yes" : "no");
    judge_clock(s, s->peer.handshake.skew_ms);
}

/* ---- messages ---- */

static bool has_feature(const struct pv_session *s, uint32_t feature)
{
    return (s->ctx->handshake.features & s->peer.handshake.features & feature) != 0;
}

static void on_ping(struct pv_session *s, struct pv_rd *r)
{
    struct pv_msg_ping ping;
    if (pv_msg_get_ping(r, &ping) != PV_OK) {
        pv_session_fault(s, "malformed PING");
        return;
    }
    pv_outbox_shrink(&s->out); /* it asks because we were quiet */
    uint8_t bytes[32];
    struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
    ping.wall_ms = pv_env_wall_ms(s->ctx->handshake.env);
    pv_msg_put_ping(&w, PV_MSG_PONG, &ping);
    pv_session_reply(s, &w);
}

static void on_pong(struct pv_session *s, struct pv_rd *r)
{
    struct pv_msg_ping pong;
    if (pv_msg_get_ping(r, &pong) != PV_OK || s->pongs_due == 0) {
        pv_session_fault(s, "unexpected PONG");
        return;
    }
    s->pongs_due--;
    judge_clock(s, pv_skew_ms(pong.wall_ms, pv_env_wall_ms(s->ctx->handshake.env)));
    if (s->ping_cookie == 0 || pong.cookie != s->ping_cookie)
        return;
    s->ping_cookie = 0;
    s->waiting = (struct pv_session_effect){.type = PV_SESSION_PONG,
                                            .rtt_ms = pv_session_now_ms(s) - s->ping_ms};
    s->has_waiting = true;
}

static void on_goodbye(struct pv_session *s, struct pv_rd *r)
{
    uint8_t reason;
    uint64_t last_n;
    if (pv_msg_get_goodbye(r, &reason, &last_n) != PV_OK ||
        last_n != pv_channel_received(s->channel) - 1) {
        pv_session_fault(s, "malformed GOODBYE");
        return;
    }
    s->down.goodbye = reason;
    s->down.renew = reason == PV_BYE_RENEW;
    char cause[PV_CAUSE_LEN];
    snprintf(cause, sizeof cause, "closed by the peer: %s", pv_goodbye_text(reason));
    pv_session_end(s, PV_E_CLOSED, PV_REFUSED_NOT, cause);
}

static void on_message(struct pv_session *s, const uint8_t *plain, size_t len)
{
    struct pv_rd r = pv_rd_of(plain, len);
    uint8_t type = pv_rd_u8(&r);
    switch (type) {
    case PV_MSG_PING:
        on_ping(s, &r);
        return;
    case PV_MSG_PONG:
        on_pong(s, &r);
        return;
    case PV_MSG_GOODBYE:
        on_goodbye(s, &r);
        return;
    case PV_MSG_STORE:
    case PV_MSG_WANT:
    case PV_MSG_STORED:
    case PV_MSG_GET:
    case PV_MSG_FOUND:
    case PV_MSG_NOT_FOUND:
    case PV_MSG_FETCH:
    case PV_MSG_CANCEL:
    case PV_MSG_FULL:
    case PV_MSG_LOST:
    case PV_MSG_DIGEST:
    case PV_MSG_RECORD:
    case PV_MSG_ERROR:
    case PV_MSG_JOIN:
    case PV_MSG_TOKEN:
    case PV_MSG_KEY:
        if (type == PV_MSG_KEY && !has_feature(s, PV_FEATURE_KEYS)) {
            pv_session_fault(s, "message of a feature that is not agreed");
            return;
        }
        s->waiting = (struct pv_session_effect){
            .type = PV_SESSION_MSG, .msg_type = type, .bytes = r.p, .len = pv_rd_left(&r)};
        s->has_waiting = true;
        return;
    default: /* HELLO again, reserved and unknown types */
        pv_session_fault(s, "unknown or unexpected message");
    }
}

static void on_data(struct pv_session *s, const uint8_t *plain, size_t len)
{
    struct pv_rd r = pv_rd_of(plain, len);
    uint32_t stream = pv_rd_u32(&r);
    uint8_t flags = pv_rd_u8(&r);
    pv_rd_zero(&r, 3);
    size_t left = pv_rd_left(&r);
    if (r.bad || flags > PV_STREAM_RST || (flags == 0 && left == 0)) {
        pv_session_fault(s, "malformed stream frame");
        return;
    }
    s->waiting = (struct pv_session_effect){.type = PV_SESSION_DATA,
                                            .bytes = r.p,
                                            .len = left,
                                            .stream = stream,
                                            .stream_flags = flags};
    s->has_waiting = true;
}

/* ---- frames ---- */

static void on_frame(struct pv_session *s)
{
    if (s->state == HANDSHAKE) {
        on_handshake(s);
        return;
    }
    enum pv_err err = pv_channel_open(s->channel, s->header, s->in, s->frame.len);
    if (err != PV_OK) {
        pv_session_end_any(s, PV_E_AUTH, PV_REFUSED_CRYPTO, "a frame failed its authentication");
        return;
    }
    size_t len = s->frame.len - PV_TAG_LEN;
    if (s->state == HELLO) {
        struct pv_rd r = pv_rd_of(s->in, len);
        uint8_t type = pv_rd_u8(&r);
        if (s->frame.type == PV_FRAME_MESSAGE && type == PV_MSG_HELLO)
            on_hello(s, &r);
        else
            pv_session_end(s, PV_E_PROTOCOL, PV_REFUSED_HELLO, NULL);
    } else if (s->frame.type == PV_FRAME_MESSAGE) {
        on_message(s, s->in, len);
    } else {
        on_data(s, s->in, len);
    }
}

static bool frame_allowed(struct pv_session *s)
{
    size_t alternative, expected;
    uint32_t sealed_max = s->state == HELLO ? HELLO_SEALED_MAX : PV_FRAME_SEALED_MAX;
    if (s->state != HANDSHAKE)
        return pv_frame_header_decode(&s->frame, s->header, SEALED_MIN, sealed_max) == PV_OK;
    expected = pv_handshake_expects(s->handshake, &alternative);
    return pv_frame_header_decode(&s->frame, s->header, 1, PV_HS_LEN_MAX) == PV_OK &&
           s->frame.type == PV_FRAME_MESSAGE &&
           (s->frame.len == expected || s->frame.len == alternative);
}

_Static_assert((int)PV_SESSIONS_MAX *(int)PV_FRAME_SEALED_MAX <= (int)PV_MEM_SHARE_CONNECTIONS_MIB
                                                                     << 20,
               "a whole frame for each session fits their share of the memory");

static enum pv_err make_room(struct pv_session *s)
{
    size_t needed = IN_SMALL_LEN;
    if (s->frame.len > IN_SMALL_LEN)
        needed = s->state == HELLO ? HELLO_SEALED_MAX : PV_FRAME_SEALED_MAX;
    if (needed <= s->in_cap)
        return PV_OK;
    uint8_t *in = pv_malloc(needed);
    if (in == NULL)
        return PV_E_NOMEM;
    if (s->in != NULL)
        pv_wipe(s->in, s->in_cap);
    pv_free(s->in); /* between frames nobody looks into it */
    s->in = in;
    s->in_cap = needed;
    return PV_OK;
}

static void on_header(struct pv_session *s)
{
    bool is_first = !s->any_frame;
    s->any_frame = true;
    if (is_first)
        memcpy(s->first, s->header, sizeof s->first);
    if (!frame_allowed(s)) { /* no fault of the peer's for certain: it is not authenticated yet */
        pv_session_end_any(s, s->state == UP ? PV_E_AUTH : PV_E_PROTOCOL,
                           is_first ? PV_REFUSED_MAGIC : PV_REFUSED_LENGTH,
                           "malformed frame header");
        return;
    }
    enum pv_err err = make_room(s);
    if (err != PV_OK)
        pv_session_end_any(s, err, PV_REFUSED_HELLO, pv_err_text(err));
    s->in_have = 0;
}

static size_t take(uint8_t *dst, size_t *have, size_t wanted, const uint8_t *in, size_t len)
{
    size_t n = wanted - *have < len ? wanted - *have : len;
    if (n > 0)
        memcpy(dst + *have, in, n);
    *have += n;
    return n;
}

void pv_session_feed(struct pv_session *s, const uint8_t *in, size_t len, size_t *used)
{
    *used = 0;
    if (s->state >= CLOSING) {
        *used = len;
        return;
    }
    if (s->has_waiting || len == 0)
        return;
    s->received_ms = pv_session_now_ms(s);
    if (s->header_have < PV_FRAME_HEADER_LEN) {
        *used = take(s->header, &s->header_have, PV_FRAME_HEADER_LEN, in, len);
        if (s->header_have < PV_FRAME_HEADER_LEN)
            return;
        on_header(s);
        if (s->state >= CLOSING)
            return;
    }
    *used += take(s->in, &s->in_have, s->frame.len, in + *used, len - *used);
    if (s->in_have < s->frame.len)
        return;
    s->header_have = 0;
    s->bytes += PV_FRAME_HEADER_LEN + s->frame.len;
    on_frame(s);
}
