/* Deadlines, silence, and output that nobody takes. */
#include "tests/unit/transport_session_fixture.h"

TestSuite(session_time, .timeout = 60);

/* ---- time ---- */

static void pass(struct fix *f, uint64_t ms)
{
    pvt_env_advance(&f->a.node.clock, ms);
    pvt_env_advance(&f->b.node.clock, ms);
}

Test(session_time, handshake_deadline)
{
    struct fix *f = fix_new();
    sessions_new(f);
    cr_assert_eq(pv_session_deadline_ms(f->b.s), f->b.node.clock.mono_ms + PV_HANDSHAKE_MS);
    pass(f, PV_HANDSHAKE_MS - 1);
    pv_session_tick(f->b.s);
    struct pv_session_effect e;
    cr_assert_not(pv_session_next(f->b.s, &e));
    pass(f, 1);
    pv_session_tick(f->b.s);
    bool moved = false;
    take_effects(f, &f->b, &f->a, &moved);
    check_refused(&f->b, PV_REFUSED_DEADLINE, PV_E_TIMEOUT, "handshake took too long");
    fix_free(f);
}

Test(session_time, handshake_deadline_is_not_renewed_by_bytes)
{
    struct fix *f = fix_new();
    size_t used;
    f->b.node.ctx.handshake_ms = 100;
    cr_assert_eq(pv_session_new(&f->b.s, &f->b.node.ctx, false, 0, NULL, "y:1"), PV_OK);
    const uint8_t slow[] = {1, 0, 0, 0, 96, 'P', 'V', 'H', '1'};
    for (size_t i = 0; i < sizeof slow; i++) {
        pass(f, 11);
        pv_session_feed(f->b.s, slow + i, 1, &used);
        cr_assert_eq(used, 1);
    }
    cr_assert_eq(pv_session_deadline_ms(f->b.s), f->b.node.clock.mono_ms + 1);
    fix_free(f);
}

Test(session_time, quiet_session_lives_on_pings)
{
    struct fix *f = fix_new();
    connect_both(f);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t due = pv_session_deadline_ms(f->a.s);
        cr_assert_eq(due, f->a.node.clock.mono_ms + PV_PING_IDLE_MS);
        pass(f, PV_PING_IDLE_MS);
        pv_session_tick(f->a.s);
        settle(f);
    }
    cr_assert_not(f->a.down || f->b.down);
    cr_assert_eq(f->a.pongs, 0, "keep-alive is nobody's business");
    fix_free(f);
}

/* A peer that asks before we would must not make us keep the memory of a busy hour. */
Test(session_time, memory_goes_back_whoever_pings_first)
{
    static uint8_t data[PV_STREAM_DATA_MAX];
    struct fix *f = fix_new();
    connect_both(f);
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(pv_session_send_data(f->b.s, 1, 0, data, sizeof data), PV_OK);
    settle(f);
    struct pv_outbox *out = &f->b.s->out;
    cr_assert_gt(out->filling.cap + out->flying.cap, sizeof data);
    for (unsigned i = 0; i < 3; i++) {
        pass(f, PV_PING_IDLE_MS - 1);
        cr_assert_eq(pv_session_ping(f->a.s), PV_OK);
        settle(f);
        pv_session_tick(f->b.s);
    }
    cr_assert_eq(f->a.pongs, 3);
    cr_assert_lt(out->filling.cap + out->flying.cap, 1024);
    fix_free(f);
}

Test(session_time, silent_peer_is_dead)
{
    struct fix *f = fix_new();
    connect_both(f);
    uint64_t start = f->a.node.clock.mono_ms;
    struct pv_session_effect e;
    while (!f->a.down) {
        uint64_t due = pv_session_deadline_ms(f->a.s);
        cr_assert_gt(due, f->a.node.clock.mono_ms);
        pvt_env_advance(&f->a.node.clock, due - f->a.node.clock.mono_ms);
        pv_session_tick(f->a.s);
        while (pv_session_next(f->a.s, &e)) {
            if (e.type == PV_SESSION_SEND) /* into the void */
                pv_session_sent(f->a.s, e.len);
            else
                note(&f->a, &e);
        }
    }
    cr_assert_eq(f->a.node.clock.mono_ms - start, PV_PEER_DEAD_MS);
    cr_assert_eq(f->a.end.err, PV_E_TIMEOUT);
    fix_free(f);
}

static void hear(struct side *side, const uint8_t *bytes, size_t len)
{
    struct pv_session_effect e;
    for (size_t used; len > 0; bytes += used, len -= used) {
        pv_session_feed(side->s, bytes, len, &used);
        while (used == 0 && pv_session_next(side->s, &e))
            note(side, &e);
    }
}

/* a talks for minutes over a way on which its bytes stand for 40 s; what b says comes at once. */
Test(session_time, slow_way_there_is_not_death)
{
    enum { DELAY_S = 40, SECONDS = 300 };
    struct {
        uint8_t *bytes;
        size_t len;
    } way[SECONDS] = {0};
    struct fix *f = fix_new();
    struct pv_session_effect e;
    connect_both(f);
    for (unsigned now_s = 0; now_s < SECONDS; now_s++) {
        pass(f, 1000);
        if (now_s >= DELAY_S)
            hear(&f->b, way[now_s - DELAY_S].bytes, way[now_s - DELAY_S].len);
        cr_assert_eq(pv_session_send_data(f->a.s, 1, 0, (const uint8_t *)"x", 1), PV_OK);
        pv_session_tick(f->b.s);
        while (pv_session_next(f->b.s, &e)) {
            if (e.type != PV_SESSION_SEND) {
                note(&f->b, &e);
                continue;
            }
            hear(&f->a, e.bytes, e.len);
            pv_session_sent(f->b.s, e.len);
        }
        pv_session_tick(f->a.s);
        if (pv_session_next(f->a.s, &e)) {
            cr_assert_eq(e.type, PV_SESSION_SEND, "second %u", now_s);
            way[now_s].bytes = pv_memdup(e.bytes, e.len);
            way[now_s].len = e.len;
            pv_session_sent(f->a.s, e.len);
        }
        cr_assert_not(f->a.down || f->b.down);
    }
    for (unsigned i = 0; i < SECONDS; i++)
        pv_free(way[i].bytes);
    fix_free(f);
}

/* b stops reading for an hour: neither side may take the other for dead. */
Test(session_time, back_pressure_is_not_death)
{
    struct fix *f = fix_new();
    struct pv_session_effect e;
    size_t used;
    connect_both(f);
    pv_session_reading(f->b.s, false);
    for (unsigned i = 0; i < 240; i++) {
        pass(f, PV_PING_IDLE_MS);
        pv_session_tick(f->a.s);
        pv_session_tick(f->b.s);
        while (pv_session_next(f->b.s, &e)) { /* what b says arrives, a's words wait */
            cr_assert_eq(e.type, PV_SESSION_SEND);
            uint8_t *copy = pv_memdup(e.bytes, e.len);
            pv_session_feed(f->a.s, copy, e.len, &used);
            pv_free(copy);
            pv_session_sent(f->b.s, e.len);
        }
    }
    pv_session_reading(f->b.s, true);
    pv_session_tick(f->a.s);
    settle(f);
    cr_assert_not(f->a.down || f->b.down);
    pass(f, PV_PING_IDLE_MS);
    pv_session_tick(f->b.s);
    settle(f);
    cr_assert_not(f->a.down || f->b.down);
    fix_free(f);
}

Test(session_time, ping_measures)
{
    struct fix *f = fix_new();
    connect_both(f);
    cr_assert_eq(pv_session_ping(f->a.s), PV_OK);
    cr_assert_eq(pv_session_ping(f->a.s), PV_E_BUSY);
    pass(f, 42);
    settle(f);
    cr_assert_eq(f->a.pongs, 1);
    cr_assert_eq(f->a.rtt_ms, 42);
    cr_assert_eq(pv_session_ping(f->a.s), PV_OK);
    settle(f);
    cr_assert_eq(f->a.pongs, 2);
    fix_free(f);
}

static unsigned times(const char *text, const char *part)
{
    unsigned count = 0;
    for (const char *p = text; (p = strstr(p, part)) != NULL; p++)
        count++;
    return count;
}

/* A clock that is set while a session lasts is noticed by the PONG, not only by the next M1. */
Test(session_time, the_clock_of_the_peer_is_watched)
{
    static const struct {
        int64_t by_ms;
        bool off;
    } steps[] = {{0, false},      {60000, false}, {1, true},     {1000, true},
                 {-61001, false}, {-60001, true}, {60001, false}};
    const char *warning = "clock differs";
    unsigned warned = 0;
    struct fix *f = fix_new();
    connect_both(f);
    int64_t skew_ms = pv_session_peer(f->a.s)->handshake.skew_ms;
    bool was_off = false;
    for (size_t i = 0; i < PV_COUNT(steps); i++) {
        f->b.node.clock.wall_ms += (uint64_t)steps[i].by_ms;
        skew_ms += steps[i].by_ms;
        cr_assert_eq(pv_session_ping(f->a.s), PV_OK);
        settle(f);
        cr_assert_eq(pv_session_peer(f->a.s)->handshake.skew_ms, skew_ms);
        warned += steps[i].off && !was_off;
        was_off = steps[i].off;
        cr_assert_eq(times(f->a.node.log.text, warning), warned, "step %zu: %s", i,
                     f->a.node.log.text);
    }
    cr_assert_eq(warned, 2);
    cr_assert_not(pvt_log_has(&f->b.node.log, warning), "who did not ask was not told");
    cr_assert_not(f->a.down);
    fix_free(f);
}

Test(session_time, unasked_pong_is_a_fault)
{
    struct fix *f = fix_new();
    uint8_t bytes[32];
    struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
    connect_both(f);
    pv_msg_put_ping(&w, PV_MSG_PONG, &(struct pv_msg_ping){1, 2});
    say(f, bytes, pv_wr_len(&w));
    cr_assert_eq(f->b.end.err, PV_E_PROTOCOL);
    fix_free(f);
}

Test(session_time, ends_at_its_age)
{
    struct fix *f = fix_new();
    connect_both(f);
    for (unsigned i = 0; i < PV_SESSION_LIFE_MS / 10000 - 1 && !f->a.down; i++) {
        pass(f, 10000);
        const uint8_t get[] = {PV_MSG_GET, 1};
        say(f, get, sizeof get);
        cr_assert_eq(pv_session_send(f->b.s, get, sizeof get), PV_OK);
        settle(f);
    }
    pass(f, 10000 - 1);
    pv_session_tick(f->a.s);
    settle(f);
    cr_assert_not(f->a.down);
    pass(f, 1);
    pv_session_tick(f->a.s);
    pv_session_tick(f->b.s);
    settle(f);
    cr_assert_eq(f->a.end.err, PV_E_CANCELLED);
    cr_assert_eq(f->b.end.goodbye, PV_BYE_RENEW);
    fix_free(f);
}

/* ---- output ---- */

Test(session_time, output_is_bounded)
{
    static uint8_t payload[PV_FRAME_PLAIN_MAX] = {PV_MSG_RECORD};
    struct fix *f = fix_new();
    connect_both(f);
    size_t sealed = PV_FRAME_HEADER_LEN + PV_FRAME_SEALED_MAX, frames = 0;
    while (pv_session_send(f->a.s, payload, sizeof payload) == PV_OK) {
        frames++;
        cr_assert_eq(pv_session_writable(f->a.s), frames * sealed < PV_SESSION_OUT_HIGH);
    }
    cr_assert_eq(frames, PV_SESSION_OUT_MAX / sealed);
    cr_assert_eq(pv_session_send(f->a.s, payload, 1), PV_E_CLOSED);
    settle(f);
    cr_assert_eq(f->a.end.err, PV_E_LIMIT);
    cr_assert_eq(f->b.end.err, PV_E_CLOSED);
    fix_free(f);
}

Test(session_time, goodbye_that_nobody_takes_ends_after_the_linger_time)
{
    struct fix *f = fix_new();
    struct pv_session_effect e;
    connect_both(f);
    pv_session_close(f->a.s, PV_BYE_SHUTDOWN);
    cr_assert(pv_session_next(f->a.s, &e));
    cr_assert_eq(e.type, PV_SESSION_SEND);
    cr_assert_not(pv_session_next(f->a.s, &e));
    cr_assert_eq(pv_session_deadline_ms(f->a.s), f->a.node.clock.mono_ms + PV_LINGER_MS);
    pass(f, PV_LINGER_MS);
    pv_session_tick(f->a.s);
    cr_assert(pv_session_next(f->a.s, &e));
    cr_assert_eq(e.type, PV_SESSION_DOWN);
    fix_free(f);
}

Test(session_time, sent_bytes_do_not_move)
{
    static uint8_t payload[5000] = {PV_MSG_RECORD};
    struct fix *f = fix_new();
    struct pv_session_effect e, other;
    connect_both(f);
    cr_assert_eq(pv_session_send(f->a.s, payload, 100), PV_OK);
    cr_assert(pv_session_next(f->a.s, &e));
    uint8_t *copy = pv_memdup(e.bytes, e.len);
    for (unsigned i = 0; i < 50; i++) {
        cr_assert_eq(pv_session_send(f->a.s, payload, sizeof payload), PV_OK);
        cr_assert_not(pv_session_next(f->a.s, &other), "one SEND at a time");
    }
    cr_assert_arr_eq(e.bytes, copy, e.len);
    pv_session_sent(f->a.s, e.len - 3); /* a short write */
    cr_assert(pv_session_next(f->a.s, &other));
    cr_assert_eq(other.len, 3);
    cr_assert_arr_eq(other.bytes, copy + e.len - 3, 3);
    pv_session_sent(f->a.s, 3);
    cr_assert(pv_session_next(f->a.s, &other));
    cr_assert_gt(other.len, 200000);
    pv_session_sent(f->a.s, other.len);
    pv_free(copy);
    fix_free(f);
}

Test(session_time, outbox_limits)
{
    struct pv_outbox o;
    uint8_t *dst;
    const uint8_t *view;
    size_t len;
    pv_outbox_init(&o);
    cr_assert_not(pv_outbox_view(&o, &view, &len));
    cr_assert_eq(pv_outbox_room(&o, PV_SESSION_OUT_MAX + 1, &dst), PV_E_LIMIT);
    cr_assert_eq(pv_outbox_room(&o, PV_SESSION_OUT_MAX, &dst), PV_OK);
    memset(dst, 1, PV_SESSION_OUT_MAX);
    pv_outbox_commit(&o, PV_SESSION_OUT_MAX);
    cr_assert_eq(pv_outbox_room(&o, 1, &dst), PV_E_LIMIT);
    cr_assert(pv_outbox_view(&o, &view, &len));
    cr_assert_eq(len, PV_SESSION_OUT_MAX);
    cr_assert_eq(pv_outbox_room(&o, 1, &dst), PV_E_LIMIT, "what flies counts");
    pv_outbox_shrink(&o);
    cr_assert_eq(pv_outbox_queued(&o), PV_SESSION_OUT_MAX);
    pv_outbox_sent(&o, 10);
    cr_assert_eq(pv_outbox_room(&o, 10, &dst), PV_OK);
    pv_outbox_commit(&o, 10);
    pv_outbox_drop(&o);
    cr_assert_eq(pv_outbox_queued(&o), 0);
    pv_outbox_release(&o);
}

Test(session_time, out_of_memory_at_any_allocation)
{
    bool finished = false;
    for (uint64_t k = 0; !finished; k++) {
        struct fix *f = fix_new();
        pv_mem_fail_after(k);
        enum pv_err err = pv_session_new(&f->a.s, &f->a.node.ctx, true, 0, NULL, "10.0.0.2:3000");
        pv_mem_fail_after(UINT64_MAX);
        cr_assert(err == PV_OK || err == PV_E_NOMEM);
        finished = err == PV_OK;
        fix_free(f);
    }
    /* and on the listener's side while it is fed; copies are made before */
    finished = false;
    for (uint64_t k = 0; !finished; k++) {
        struct fix *f = fix_new();
        struct pv_session_effect e;
        size_t used;
        sessions_new(f);
        cr_assert(pv_session_next(f->a.s, &e));
        pv_mem_fail_after(k);
        pv_session_feed(f->b.s, e.bytes, e.len, &used);
        pv_mem_fail_after(UINT64_MAX);
        pv_session_sent(f->a.s, e.len);
        settle(f);
        finished = f->b.up;
        cr_assert(finished || f->b.down);
        fix_free(f);
    }
}
