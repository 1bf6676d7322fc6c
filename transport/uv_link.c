/*
 * One connection: moves bytes between its socket and its session, and hands the session's effects
 * to the handler.
 *
 *   CONNECTING -> OPEN -> LINGERING -> CLOSED
 *
 * pump() is the centre: it takes effects until there are none. It runs only from callbacks of the
 * loop; calls from the handler put the link on the work list instead (pv_link_schedule). One write
 * is in flight at a time, straight from the session's buffer, which does not move until then. All
 * links read into one scratch buffer, because a read is fed to the session before the next begins.
 * A link is freed in the close callback of its last handle; by then no write can be in flight.
 */
#include "internal/base/limits.h"
#include "internal/base/mem.h"
#include "transport/uv_tcp_impl.h"

static void pump(struct link *l);

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct link *l = handle->data;
    struct pv_tcp *t = l->t;
    if (--l->open_handles > 0)
        return;
    pv_session_free(l->session);
    pv_buf_release(&l->stash);
    pv_list_remove(&l->all);
    pv_free(l);
    pv_tcp_finish(t);
}

static void no_longer_half_open(struct link *l)
{
    if (l->half_open)
        l->t->half_open_count--;
    l->half_open = false;
}

void pv_link_close(struct link *l)
{
    if (l->state == LINK_CLOSED)
        return;
    l->state = LINK_CLOSED;
    l->t->link_count--; /* libuv closes the socket at once; only its callback comes later */
    no_longer_half_open(l);
    pv_list_remove(&l->work);
    uv_close((uv_handle_t *)&l->timer, on_handle_closed);
    uv_close((uv_handle_t *)&l->socket, on_handle_closed);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct link *l = request->data;
    if (status < 0 || l->ended)
        pv_link_close(l);
}

/*
 * To close a socket while unread bytes are in it resets the connection, and the other side may
 * lose our GOODBYE. So: say that we are done, throw away what still comes, close when they are.
 */
static void linger(struct link *l)
{
    l->state = LINK_LINGERING;
    l->shutdown.data = l;
    l->armed_ms = UINT64_MAX;
    pv_link_arm(l, pv_env_mono_ms(l->t->env) + PV_LINGER_MS);
    pv_link_set_reading(l);
    if (l->ended || uv_shutdown(&l->shutdown, (uv_stream_t *)&l->socket, on_shutdown) < 0)
        pv_link_close(l);
}

/* ---- towards the handler ---- */

void pv_link_announce(struct link *l)
{
    struct pv_tcp *t = l->t;
    if (t->by_id.count >= PV_SESSIONS_MAX || pv_map_put(&t->by_id, &l->id, l) != PV_OK) {
        pv_session_close(l->session, PV_BYE_LIMIT);
        return;
    }
    l->announced = true;
    t->handler.up(t->handler.ctx, l->id, pv_session_peer(l->session), l->address);
}

void pv_link_withdraw(struct link *l, enum pv_err err, uint8_t goodbye)
{
    struct pv_tcp *t = l->t;
    if (!l->announced)
        return;
    l->announced = false;
    pv_map_remove(&t->by_id, &l->id);
    t->handler.down(t->handler.ctx, l->id, err, goodbye);
    pv_dial_uncover(t, &pv_session_peer(l->session)->handshake.node_id);
}

static void on_up(struct link *l)
{
    l->was_up = true;
    no_longer_half_open(l);
    if (l->dial != NULL)
        pv_dial_up(l);
    pv_pair_up(l);
}

static void on_down(struct link *l, const struct pv_session_effect *e)
{
    /* Something was said last, by us, that the other side should be able to read. */
    bool spoke = e->refusal == PV_REFUSED_CLOCK ||
                 (l->was_up && (e->err == PV_E_CANCELLED || e->err == PV_E_PROTOCOL));
    /* One that never came up stays half open until it is closed: it takes as much as before. */
    if (spoke)
        linger(l);
    else
        pv_link_close(l);
    pv_link_withdraw(l, e->err, e->goodbye);
    if (e->refusal == PV_REFUSED_TWIN && l->t->handler.twin != NULL)
        l->t->handler.twin(l->t->handler.ctx, l->address);
    if (l->dial != NULL)
        pv_dial_down(l, e, pv_session_cause(l->session));
    pv_pair_down(l);
}

static void on_pong(struct link *l, uint64_t rtt_ms)
{
    const struct pv_tcp_handler *handler = &l->t->handler;
    bool lives = l->asked && !l->ask_again;
    if (l->asked && l->ask_again)
        pv_pair_ask(l);
    if (l->pinged) {
        l->pinged = false;
        handler->pong(handler->ctx, l->id, rtt_ms);
    }
    if (lives)
        pv_pair_pong(l);
}

/* ---- output ---- */

static void on_written(uv_write_t *request, int status)
{
    struct link *l = request->data;
    size_t len = l->writing;
    l->writing = 0;
    if (l->state == LINK_CLOSED)
        return;
    if (status < 0) {
        l->ended = true;
        pv_session_eof(l->session);
    } else {
        pv_rate_add(&l->out, len, pv_env_mono_ms(l->t->env));
        pv_session_sent(l->session, len);
    }
    pump(l);
    if (l->above && l->announced && pv_session_writable(l->session)) {
        l->above = false;
        l->t->handler.writable(l->t->handler.ctx, l->id);
    }
}

static void start_write(struct link *l, const uint8_t *bytes, size_t len)
{
    PV_ASSERT(l->writing == 0);
    size_t may = pv_shape_may_write(l, len);
    l->held_bytes = may == 0 ? bytes : NULL;
    l->held_len = len;
    if (may == 0)
        return;
    l->writing = may;
    l->write.data = l;
    /* libuv wants a pointer to mutable bytes and leaves them alone */
    uv_buf_t buf = {.base = (char *)(uintptr_t)bytes, .len = may};
    if (uv_write(&l->write, (uv_stream_t *)&l->socket, &buf, 1, on_written) == 0)
        return;
    l->writing = 0;
    l->ended = true;
    pv_session_eof(l->session);
}

/* ---- effects ---- */

static void apply(struct link *l, const struct pv_session_effect *e)
{
    const struct pv_tcp_handler *handler = &l->t->handler;
    switch (e->type) {
    case PV_SESSION_SEND:
        start_write(l, e->bytes, e->len);
        break;
    case PV_SESSION_UP:
        on_up(l);
        break;
    case PV_SESSION_MSG:
        if (l->announced)
            handler->message(handler->ctx, l->id, e->msg_type, e->bytes, e->len);
        break;
    case PV_SESSION_DATA:
        if (l->announced)
            handler->data(handler->ctx, l->id, e->stream, e->stream_flags, e->bytes, e->len);
        break;
    case PV_SESSION_PONG:
        on_pong(l, e->rtt_ms);
        break;
    case PV_SESSION_DOWN:
        on_down(l, e);
        break;
    }
}

/*
 * A write in flight is owed by the peer, and so is the rest of a frame that has begun; not while we
 * do not read. What our own limits hold back is not in flight.
 */
static void watch_progress(struct link *l)
{
    uint64_t now_ms = pv_env_mono_ms(l->t->env);
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&l->socket);
    uint64_t out = l->out.total + l->writing - (left < l->writing ? left : l->writing);
    bool in_owed = l->reading && pv_session_amid_frame(l->session);
    if (!pv_progress_goes_on(&l->out_progress, l->writing > 0, out, now_ms))
        pv_session_give_up(l->session, "the peer reads too slowly");
    if (!pv_progress_goes_on(&l->in_progress, in_owed, l->in.total, now_ms))
        pv_session_give_up(l->session, "the peer sends a frame too slowly");
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void pump(struct link *l)
{
    struct pv_session_effect e;
    if (l->state == LINK_OPEN)
        watch_progress(l);
    while (l->state == LINK_OPEN && pv_session_next(l->session, &e))
        apply(l, &e);
    if (l->state != LINK_OPEN)
        return;
    watch_progress(l);                                    /* of what has just begun */
    if (l->announced && !pv_session_writable(l->session)) /* its own answers fill it up, too */
        l->above = true;
    uint64_t deadline_ms = pv_session_deadline_ms(l->session);
    deadline_ms = earlier(deadline_ms, pv_progress_deadline_ms(&l->in_progress));
    deadline_ms = earlier(deadline_ms, pv_progress_deadline_ms(&l->out_progress));
    if (l->held)
        deadline_ms = earlier(deadline_ms, l->held_until_ms);
    if (l->held_bytes != NULL)
        deadline_ms = earlier(deadline_ms, l->write_at_ms);
    if (l->choked)
        deadline_ms = earlier(deadline_ms, l->read_at_ms);
    pv_link_arm(l, deadline_ms);
}

void pv_link_schedule(struct link *l)
{
    if (l->state != LINK_OPEN || pv_list_linked(&l->work))
        return;
    pv_list_push_back(&l->t->work, &l->work);
    pv_tcp_wake(l->t);
}

/* ---- input ---- */

static void feed(struct link *l, const uint8_t *bytes, size_t len)
{
    while (len > 0 && l->state == LINK_OPEN && !l->held) {
        size_t used;
        pv_session_feed(l->session, bytes, len, &used);
        bytes += used;
        len -= used;
        pump(l);
    }
    if (len > 0 && l->state == LINK_OPEN && pv_buf_append(&l->stash, bytes, len) != PV_OK) {
        pv_session_eof(l->session);
        pump(l);
    }
}

void pv_link_work(struct link *l)
{
    if (l->state == LINK_OPEN && l->stash.len > 0 && !l->held) {
        struct pv_buf stash = l->stash;
        pv_buf_init(&l->stash, TCP_SCRATCH_LEN);
        feed(l, stash.data, stash.len);
        pv_buf_release(&stash);
    }
    if (l->state == LINK_OPEN) {
        pv_link_set_reading(l);
        pump(l);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct link *l = handle->data;
    (void)suggested;
    size_t len = pv_shape_may_read(l, sizeof l->t->scratch);
    *buf = uv_buf_init((char *)l->t->scratch, (unsigned)len);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct link *l = stream->data;
    if (got < 0) {
        l->ended = true;
        l->reading = false;
        uv_read_stop(stream);
        if (l->state == LINK_LINGERING)
            pv_link_close(l);
        if (l->state != LINK_OPEN)
            return;
        pv_session_eof(l->session);
        pump(l);
    } else if (got > 0 && l->state == LINK_OPEN) {
        pv_rate_add(&l->in, (uint64_t)got, pv_env_mono_ms(l->t->env));
        pv_shape_was_read(l, (size_t)got);
        feed(l, (const uint8_t *)buf->base, (size_t)got);
    }
}

void pv_link_set_reading(struct link *l)
{
    bool open = l->state == LINK_OPEN && !l->paused && !l->choked && !l->held && l->stash.len == 0;
    bool wanted = (open || l->state == LINK_LINGERING) && !l->ended;
    if (wanted == l->reading)
        return;
    l->reading = wanted;
    if (!wanted) {
        uv_read_stop((uv_stream_t *)&l->socket);
    } else if (uv_read_start((uv_stream_t *)&l->socket, on_alloc, on_read) < 0) {
        l->reading = false;
        l->ended = true;
        pv_session_eof(l->session);
        pv_link_schedule(l);
    }
}

/* While we do not read, by whoever's will, silence is no sign of death. */
static void tell_reading(struct link *l)
{
    pv_session_reading(l->session, !l->paused && !l->choked);
    pv_link_set_reading(l);
}

void pv_link_pause(struct link *l, bool paused)
{
    l->paused = paused;
    tell_reading(l);
}

void pv_link_choke(struct link *l)
{
    if (l->choked || l->state != LINK_OPEN)
        return;
    l->choked = true;
    tell_reading(l);
}

void pv_link_resume(struct link *l, uint64_t now_ms)
{
    if (l->state == LINK_OPEN && l->choked && now_ms >= l->read_at_ms) {
        l->choked = false;
        tell_reading(l);
    }
    if (l->state == LINK_OPEN && l->held_bytes != NULL && now_ms >= l->write_at_ms)
        start_write(l, l->held_bytes, l->held_len);
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer)
{
    struct link *l = timer->data;
    l->armed_ms = UINT64_MAX;
    if (l->state == LINK_CONNECTING) {
        pv_dial_connected(l, UV_ETIMEDOUT);
    } else if (l->state == LINK_LINGERING) {
        pv_link_close(l);
    } else if (l->state == LINK_OPEN) {
        pv_pair_timer(l);
        if (l->state == LINK_OPEN)
            pv_session_tick(l->session);
        pv_link_resume(l, pv_env_mono_ms(l->t->env));
        pump(l);
    }
}

/*
 * A timer that is set earlier is left alone: moving it at each read costs more than one call. Never
 * 0: a timer that is due at once when its callback sets it keeps libuv from moving on.
 */
void pv_link_arm(struct link *l, uint64_t deadline_ms)
{
    if (deadline_ms == UINT64_MAX || deadline_ms >= l->armed_ms)
        return;
    uint64_t now_ms = pv_env_mono_ms(l->t->env);
    l->armed_ms = deadline_ms;
    uv_update_time(l->t->loop);
    int failed =
        uv_timer_start(&l->timer, on_timer, deadline_ms > now_ms ? deadline_ms - now_ms : 1, 0);
    PV_ASSERT(failed == 0);
}

/* ---- beginning ---- */

struct link *pv_link_new(struct pv_tcp *t, struct dial *dial)
{
    struct link *l = pv_calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->t = t;
    l->dial = dial;
    l->id = ++t->last_id != 0 ? t->last_id : ++t->last_id;
    l->armed_ms = UINT64_MAX;
    pv_buf_init(&l->stash, TCP_SCRATCH_LEN);
    int failed = uv_tcp_init(t->loop, &l->socket); /* opens no descriptor yet */
    PV_ASSERT(failed == 0);
    failed = uv_timer_init(t->loop, &l->timer);
    PV_ASSERT(failed == 0);
    l->socket.data = l->timer.data = l;
    l->open_handles = 2;
    pv_rate_start(&l->in, pv_env_mono_ms(t->env));
    l->out = l->in;
    pv_list_push_back(&t->links, &l->all);
    t->link_count++;
    return l;
}

void pv_link_open(struct link *l, size_t token)
{
    struct pv_tcp *t = l->t;
    bool dialler = l->dial != NULL;
    uv_tcp_nodelay(&l->socket, 1); /* messages are small and wait for no others; best effort */
    const struct pv_id *expected = dialler && l->dial->learned ? &l->dial->member : NULL;
    if (pv_session_new(&l->session, t->ctx, dialler, token, expected, l->address) != PV_OK) {
        pv_link_close(l);
        if (dialler)
            pv_dial_down(l, &(struct pv_session_effect){.err = PV_E_NOMEM}, "out of memory");
        return;
    }
    l->state = LINK_OPEN;
    l->armed_ms = UINT64_MAX;
    pv_shape_begin(l);
    pv_link_set_reading(l);
    pump(l);
}
