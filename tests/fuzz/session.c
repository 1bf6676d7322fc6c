/*
 * F4: two sessions and a network between them. Nothing follows DOWN, both have the same hash when
 * they are up, messages come whole and in order, and all of them do where nothing was in the way.
 *
 * Events: op u8 = side (bit 0), what (bits 1-3).
 *   0  so many bytes (u16) go to the other side
 *   1  a message of (u16) bytes             2  so much stream data
 *   3  (u8) bytes as a message, whatever they say; a PING if none
 *   4  (u16) * 8 ms pass, or with bit 4 of op 64 times that; if odd, only the wall clock of this
 *      side moves
 *   5  close with (u8); 255: give up        6  the end of the socket
 *   7  the next byte on the way is changed by (u8); by 0: the side stops or goes on reading
 */
#include "tests/fuzz/node.h"
#include "internal/base/buf.h"

struct side {
    struct node node;
    struct pv_session *s;
    struct pv_buf wire; /* sent, not yet received */
    bool down, deaf;
    uint32_t sent, received;
};

static struct side sides[2];
static bool disturbed, odd; /* odd: somebody said what honest nodes do not say */

static void on_message(struct side *to, const struct pv_session_effect *e)
{
    struct pv_rd r = pv_rd_of(e->bytes, e->len);
    if (odd)
        return;
    cr_assert(e->type == PV_SESSION_DATA || e->msg_type == PV_MSG_GET);
    cr_assert_eq(pv_rd_u32(&r), to->received, "out of order");
    to->received++;
}

static void take(struct side *me)
{
    struct pv_session_effect e;
    while (pv_session_next(me->s, &e)) {
        cr_assert_not(me->down, "nothing follows DOWN");
        me->down = e.type == PV_SESSION_DOWN;
        if (e.type == PV_SESSION_SEND) {
            cr_assert_eq(pv_buf_append(&me->wire, e.bytes, e.len), PV_OK);
            pv_session_sent(me->s, e.len);
        } else if (e.type == PV_SESSION_MSG || e.type == PV_SESSION_DATA) {
            on_message(me, &e);
        }
    }
}

static void carry(struct side *from, struct side *to, size_t len)
{
    size_t used;
    take(from);
    len = len < from->wire.len ? len : from->wire.len;
    uint8_t *exact = pv_memdup(from->wire.data, len);
    pv_session_feed(to->s, exact, 0, &used);
    cr_assert_eq(used, 0);
    for (size_t at = 0; at < len; at += used) {
        pv_session_feed(to->s, exact + at, len - at, &used);
        cr_assert_leq(used, len - at);
        take(to);
    }
    pv_free(exact);
    pv_buf_consume(&from->wire, len);
}

static void say(struct side *me, bool data, size_t len)
{
    static uint8_t bytes[PV_FRAME_PLAIN_MAX];
    struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
    bool up = pv_session_up(me->s);
    if (!data)
        pv_wr_u8(&w, PV_MSG_GET);
    pv_wr_u32(&w, me->sent);
    me->sent += up;
    len = len > pv_wr_len(&w) ? len : pv_wr_len(&w);
    len = len < PV_STREAM_DATA_MAX ? len : PV_STREAM_DATA_MAX;
    enum pv_err err = data ? pv_session_send_data(me->s, 7, len & 1, bytes, len)
                           : pv_session_send(me->s, bytes, len);
    cr_assert(up || err == PV_E_CLOSED);
    disturbed = disturbed || (up && err != PV_OK);
}

static void say_anything(struct pv_rd *r, struct side *me, size_t len)
{
    const uint8_t *payload = pv_rd_view(r, len);
    if (!pv_session_up(me->s) || payload == NULL)
        return;
    enum pv_err err = len == 0 ? pv_session_ping(me->s) : pv_session_send(me->s, payload, len);
    cr_assert(err == PV_OK || err == PV_E_BUSY || err == PV_E_LIMIT);
    odd = odd || len > 0;
    disturbed = disturbed || len > 0;
}

static void pass(struct side *me, size_t ms)
{
    for (unsigned i = 0; i < 2; i++) {
        if (ms % 2 == 0)
            pvt_env_advance(&sides[i].node.clock, ms);
        else if (me == &sides[i])
            me->node.clock.wall_ms += ms;
        pv_session_tick(sides[i].s);
    }
}

static void step(struct pv_rd *r, struct side *me, struct side *other, uint8_t op)
{
    unsigned what = op >> 1 & 7;
    bool slowly = (op & 16) != 0;
    size_t n = what == 6 ? 0 : what == 3 || what == 5 || what == 7 ? pv_rd_u8(r) : pv_rd_u16(r);
    disturbed = disturbed || (what >= 4 && (what != 7 || n != 0));
    if (what == 0) {
        carry(me, other, n);
    } else if (what == 1 || what == 2) {
        say(me, what == 2, n);
    } else if (what == 3) {
        say_anything(r, me, n);
    } else if (what == 4) {
        pass(me, n * (slowly ? 512 : 8) + n % 2);
    } else if (what == 5 && n == UINT8_MAX) {
        pv_session_give_up(me->s, "given up");
    } else if (what == 5) {
        pv_session_close(me->s, (uint8_t)n);
    } else if (what == 6) {
        pv_session_eof(me->s);
    } else if (what == 7 && n > 0 && me->wire.len > 0) {
        me->wire.data[0] ^= (uint8_t)n;
    } else if (what == 7) {
        pv_session_reading(me->s, me->deaf);
        me->deaf = !me->deaf;
    }
    take(me);
}

static void check(struct side *a, struct side *b)
{
    if (pv_session_up(a->s) && pv_session_up(b->s))
        cr_assert_arr_eq(pv_session_peer(a->s)->hash, pv_session_peer(b->s)->hash, PV_HASH_LEN);
    cr_assert(odd || (a->received <= b->sent && b->received <= a->sent));
    cr_assert(!pv_session_amid_frame(a->s) || pv_session_up(a->s));
    cr_assert(!pv_session_writable(a->s) || pv_session_up(a->s));
    cr_assert(!a->down || pv_session_deadline_ms(a->s) == UINT64_MAX);
    cr_assert(!a->down || pv_session_cause(a->s)[0] != '\0');
    cr_assert_str_eq(pv_session_address(a->s), "10.0.0.1:1");
}

static void begin(void)
{
    disturbed = odd = false;
    for (unsigned i = 0; i < 2; i++) {
        struct side *me = &sides[i];
        pvf_node_begin(&me->node, (uint8_t)(i + 1));
        me->down = me->deaf = false;
        me->sent = me->received = 0;
        pv_buf_init(&me->wire, SIZE_MAX / 2);
        cr_assert_eq(pv_session_new(&me->s, &me->node.ctx, i == 0, 0, NULL, "10.0.0.1:1"), PV_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_rd r = pv_rd_of(data, size);
    begin();
    for (unsigned n = 0; n < 64 && pv_rd_left(&r) > 0 && !r.bad; n++) {
        uint8_t op = pv_rd_u8(&r);
        step(&r, &sides[op & 1], &sides[1 - (op & 1)], op);
        check(&sides[0], &sides[1]);
        check(&sides[1], &sides[0]);
    }
    for (unsigned i = 0; i < 8; i++)
        carry(&sides[i & 1], &sides[1 - (i & 1)], SIZE_MAX);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(disturbed || pv_session_up(sides[i].s));
        cr_assert(disturbed || sides[i].received == sides[1 - i].sent);
    }
    for (unsigned i = 0; i < 2; i++) {
        pv_session_free(sides[i].s);
        pv_buf_release(&sides[i].wire);
        pvf_node_end(&sides[i].node);
    }
    return 0;
}
