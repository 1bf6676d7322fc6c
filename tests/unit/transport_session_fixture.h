/* Two sessions joined by buffers, and what each of them did. */
#ifndef PV_TESTS_TRANSPORT_SESSION_FIXTURE_H
#define PV_TESTS_TRANSPORT_SESSION_FIXTURE_H

#include "tests/unit/transport_fixture.h"
#include "transport/hello.h"
#include "transport/outbox.h"
#include "transport/session_impl.h"

/* One end: its session, what it received as effects, and how it was closed. */
struct side {
    struct node node;
    struct pv_session *s;
    bool up, down;
    struct pv_session_effect end;
    unsigned messages, pongs;
    uint8_t last_type, last_body[64];
    size_t last_len;
    uint64_t data_bytes;
    uint32_t stream;
    uint8_t stream_flags;
    uint64_t rtt_ms;
};

struct fix {
    struct side a, b; /* a dials */
    size_t slice;     /* bytes fed at once */
    uint8_t flip;     /* what is done to the byte of number flip_at from a to b; 0: nothing */
    uint64_t flip_at, passed;
};

static inline void sessions_new(struct fix *f)
{
    cr_assert_eq(pv_session_new(&f->a.s, &f->a.node.ctx, true, 0, NULL, "10.0.0.2:3000"), PV_OK);
    cr_assert_eq(pv_session_new(&f->b.s, &f->b.node.ctx, false, 0, NULL, "10.0.0.1:5555"), PV_OK);
}

static inline struct fix *fix_new(void)
{
    struct fix *f = pv_calloc(1, sizeof *f);
    f->slice = SIZE_MAX;
    node_init(&f->a.node, 1);
    node_init(&f->b.node, 2);
    return f;
}

static inline void fix_free(struct fix *f)
{
    pv_session_free(f->a.s);
    pv_session_free(f->b.s);
    node_release(&f->a.node);
    node_release(&f->b.node);
    pv_free(f);
}

static inline void note(struct side *side, const struct pv_session_effect *e)
{
    cr_assert_not(side->down, "nothing follows DOWN");
    switch (e->type) {
    case PV_SESSION_UP:
        cr_assert_not(side->up);
        side->up = true;
        break;
    case PV_SESSION_MSG:
        side->messages++;
        side->last_type = e->msg_type;
        side->last_len = e->len;
        memcpy(side->last_body, e->bytes, e->len < 64 ? e->len : 64);
        break;
    case PV_SESSION_DATA:
        side->data_bytes += e->len;
        side->stream = e->stream;
        side->stream_flags = e->stream_flags;
        break;
    case PV_SESSION_PONG:
        side->pongs++;
        side->rtt_ms = e->rtt_ms;
        break;
    case PV_SESSION_DOWN:
        side->down = true;
        side->end = *e;
        break;
    case PV_SESSION_SEND:
        cr_assert_fail("handled by the caller");
    }
}

static void pump(struct fix *f, struct side *from, struct side *to, bool *moved);

static inline void take_effects(struct fix *f, struct side *side, struct side *other, bool *moved)
{
    struct pv_session_effect e;
    while (!side->down && pv_session_next(side->s, &e)) {
        *moved = true;
        if (e.type != PV_SESSION_SEND) {
            note(side, &e);
            continue;
        }
        uint8_t *bytes = pv_memdup(e.bytes, e.len);
        for (size_t i = 0; i < e.len && side == &f->a; i++, f->passed++)
            if (f->passed == f->flip_at)
                bytes[i] ^= f->flip;
        for (size_t at = 0; at < e.len;) {
            size_t len = e.len - at < f->slice ? e.len - at : f->slice, used;
            uint8_t *exact = pv_memdup(bytes + at, len);
            if (other->s == NULL)
                used = len;
            else
                pv_session_feed(other->s, exact, len, &used);
            pv_free(exact);
            at += used;
            struct pv_session_effect in;
            bool more = used == 0;
            while (more && pv_session_next(other->s, &in)) {
                if (in.type == PV_SESSION_SEND)
                    cr_assert_fail("SEND waits behind the effect of a frame");
                note(other, &in);
                more = false;
            }
        }
        pv_free(bytes);
        pv_session_sent(side->s, e.len);
    }
    if (side->down && other->s != NULL && !other->down)
        pv_session_eof(other->s);
}

static inline void pump(struct fix *f, struct side *from, struct side *to, bool *moved)
{
    take_effects(f, from, to, moved);
    take_effects(f, to, from, moved);
}

static inline void settle(struct fix *f)
{
    bool moved = true;
    while (moved) {
        moved = false;
        pump(f, &f->a, &f->b, &moved);
    }
}

static inline void connect_both(struct fix *f)
{
    sessions_new(f);
    settle(f);
    cr_assert(f->a.up && f->b.up && !f->a.down && !f->b.down);
}

/* Lets a say anything under its right keys. */
static inline void say(struct fix *f, const void *payload, size_t len)
{
    cr_assert_eq(pv_session_send(f->a.s, payload, len), PV_OK);
    settle(f);
}

static inline void check_refused(struct side *side, enum pv_refusal refusal, enum pv_err err,
                                 const char *logged)
{
    cr_assert(side->down && !side->up);
    cr_assert_eq(side->end.refusal, refusal, "%s", pv_session_cause(side->s));
    cr_assert_eq(side->end.err, err);
    cr_assert(pvt_log_has(&side->node.log, logged), "%s", side->node.log.text);
    cr_assert_eq(side->node.log.lines, 1, "logged once: %s", side->node.log.text);
}

#endif
