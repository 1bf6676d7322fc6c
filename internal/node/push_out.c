/*
 * Streams that a peer asked us for.
 *
 *   turn --(memory reserved)--> slice: waiting -> reading (job) -> ready --> sent
 *     ^                                                                       |
 *     +---------------- the blob goes on -------------------------------------+-- FIN: closed
 *
 * A stream has at most one slice (<= PV_PUSH_SLICE bytes of its blob). Streams take turns a slice
 * at a time, those somebody waits for (FETCH) before those of replication (WANT). Slices are read
 * only while the link is writable, and a peer has at most PV_PUSH_OUT_BYTES of them; a slice that
 * cannot be sent for PV_PUSH_STALL_MS while others wait for memory is given back and read again
 * later. So a slow peer costs the others nothing.
 *
 * A stream ends with FIN, or with RST when the blob cannot be read or the peer said CANCEL: every
 * stream has an end that the peer sees, unless the session ends.
 *
 * What was sent whole is remembered for a while: only that may the peer find bad, since it takes
 * reading and hashing the blob to answer a complaint.
 */
#include "internal/node/push_private.h"

enum slice_state { SLICE_WAITING, SLICE_READING, SLICE_READY };

struct pv_slice {
    struct pv_job job;
    struct pv_push *push;
    struct pv_push_peer *owner;
    struct pv_stream_out *stream; /* NULL: closed while the job runs; then owner is not valid */
    enum slice_state state;
    struct pv_budget_wait wait;
    struct pv_list ready;
    struct pv_id id;
    uint32_t offset, blob_len;
    uint8_t *bytes;
    size_t cap, len, sent; /* cap is reserved */
};

static unsigned class_of(uint32_t stream)
{
    return stream & 1 ? PV_OUT_WANT : PV_OUT_FETCH;
}

void pv_out_init(struct pv_push_peer *pp)
{
    for (size_t i = 0; i < PV_OUT_CLASSES; i++)
        pv_list_init(&pp->out.turn[i]);
    pv_list_init(&pp->out.ready);
}

/* ---- the life of a slice ---- */

static void slice_free(struct pv_slice *slice)
{
    pv_free(slice->bytes);
    pv_budget_give(&slice->push->outbound, slice->cap);
    pv_free(slice);
}

/* Takes the slice away from its stream. One that is being read frees itself when it is done. */
static void slice_detach(struct pv_slice *slice)
{
    struct pv_push_peer *pp = slice->owner;
    slice->stream->slice = NULL;
    slice->stream = NULL;
    pp->out.slice_bytes -= slice->cap;
    switch (slice->state) {
    case SLICE_WAITING:
        pv_budget_cancel(&slice->wait);
        pv_free(slice);
        break;
    case SLICE_READING:
        break;
    case SLICE_READY:
        pv_list_remove(&slice->ready);
        slice_free(slice);
        break;
    }
}

static void stream_close(struct pv_push_peer *pp, struct pv_stream_out *s)
{
    if (s->slice != NULL)
        slice_detach(s->slice);
    pv_list_remove(&s->turn);
    pv_map_remove(&pp->out.streams, &s->stream);
    pp->out.open[class_of(s->stream)]--;
    pv_free(s);
}

static void send_reset(struct pv_push_peer *pp, uint32_t stream, const struct pv_id *id)
{
    const struct pv_node_io *io = &pp->push->node->config.io;
    enum pv_err err = io->send_data(io->ctx, pp->peer->link, stream, PV_STREAM_RST, NULL, 0);
    (void)err; /* a link that does not take it is going down */
    if (class_of(stream) == PV_OUT_WANT)
        pv_walk_forget(pp, id);
}

static void stream_reset(struct pv_push_peer *pp, struct pv_stream_out *s)
{
    send_reset(pp, s->stream, &s->id);
    stream_close(pp, s);
}

void pv_out_release(struct pv_push_peer *pp)
{
    struct pv_stream_out *s;
    size_t pos = 0;
    while ((s = pv_map_next(&pp->out.streams, &pos, NULL)) != NULL)
        stream_close(pp, s);
    pv_map_release(&pp->out.streams);
}

/* ---- reading ---- */

static void slice_run(struct pv_job *base, const struct pv_job_context *ctx)
{
    struct pv_slice *slice = PV_CONTAINER_OF(base, struct pv_slice, job);
    slice->bytes = pv_malloc(slice->cap);
    if (slice->bytes == NULL) {
        base->err = PV_E_NOMEM;
        return;
    }
    base->err = pv_store_read(ctx->store, &slice->id, slice->offset, slice->bytes, slice->cap,
                              &slice->len, &slice->blob_len);
}

static void slice_done(struct pv_job *base)
{
    struct pv_slice *slice = PV_CONTAINER_OF(base, struct pv_slice, job);
    struct pv_push *push = slice->push;
    struct pv_stream_out *s = slice->stream;
    struct pv_push_peer *pp = slice->owner;
    struct pv_id id = slice->id;
    bool readable = base->err == PV_OK && slice->len > 0;
    if (base->err == PV_E_CORRUPT && !push->node->closing)
        pv_repair_check(push, &id);
    if (s == NULL) {
        slice_free(slice);
        return;
    }
    slice->state = SLICE_READY;
    if (!readable) {
        stream_reset(pp, s); /* the slice goes with it */
        pv_push_soon(push);
        return;
    }
    s->size = slice->blob_len;
    if (pv_list_empty(&pp->out.ready))
        pp->out.sent_ms = pv_node_now(push->node);
    pv_list_push_back(&pp->out.ready, &slice->ready);
    pv_out_next(pp);
}

static void slice_read(struct pv_slice *slice)
{
    slice->state = SLICE_READING;
    slice->job = (struct pv_job){.run = slice_run, .done = slice_done};
    pv_node_submit(slice->push->node, &slice->job);
}

/* Back to the queue, unsent bytes to be read again. */
static void slice_requeue(struct pv_push_peer *pp, struct pv_slice *slice)
{
    struct pv_stream_out *s = slice->stream;
    PV_ASSERT(slice->state == SLICE_READY && s != NULL);
    s->offset = slice->offset + (uint32_t)slice->sent;
    slice_detach(slice);
    pv_list_push_front(&pp->out.turn[class_of(s->stream)], &s->turn);
}

static void slice_granted(struct pv_budget_wait *wait)
{
    struct pv_slice *slice = PV_CONTAINER_OF(wait, struct pv_slice, wait);
    if (pv_peer_writable(slice->owner->peer)) {
        slice_read(slice);
        return;
    }
    slice->state = SLICE_READY; /* owns its bytes now */
    slice_requeue(slice->owner, slice);
}

static void slice_start(struct pv_push_peer *pp, struct pv_stream_out *s)
{
    struct pv_slice *slice = pv_calloc(1, sizeof *slice);
    if (slice == NULL) {
        stream_reset(pp, s);
        return;
    }
    pv_list_remove(&s->turn);
    s->slice = slice;
    slice->push = pp->push;
    slice->owner = pp;
    slice->stream = s;
    slice->id = s->id;
    slice->offset = s->offset;
    slice->cap = PV_PUSH_SLICE;
    if (s->size > s->offset && s->size - s->offset < PV_PUSH_SLICE)
        slice->cap = s->size - s->offset;
    slice->wait.granted = slice_granted;
    pp->out.slice_bytes += slice->cap;
    if (pv_budget_take(&pp->push->outbound, slice->cap, &slice->wait))
        slice_read(slice);
    else
        pv_push_due(pp->push, pv_node_now(pp->push->node) + PV_PUSH_STALL_MS);
}

static struct pv_stream_out *whose_turn(struct pv_push_peer *pp)
{
    for (size_t i = 0; i < PV_OUT_CLASSES; i++)
        if (!pv_list_empty(&pp->out.turn[i]))
            return PV_LIST_ENTRY(pp->out.turn[i].next, struct pv_stream_out, turn);
    return NULL;
}

/* ---- sending ---- */

static void note_served(struct pv_push_out *out, const struct pv_stream_out *s)
{
    if (!s->whole)
        return;
    out->served[out->served_at] = s->id;
    out->served_at = (out->served_at + 1) % PV_OUT_SERVED_MAX;
}

bool pv_out_take_served(struct pv_push_peer *pp, const struct pv_id *id)
{
    for (size_t i = 0; i < PV_OUT_SERVED_MAX; i++) {
        struct pv_id *served = &pp->out.served[i];
        if (!pv_id_equal(served, id))
            continue;
        *served = (struct pv_id){{0}};
        return true;
    }
    return false;
}

/* One frame of a ready slice; false when the link is going down. */
static bool send_frame(struct pv_push_peer *pp, struct pv_slice *slice)
{
    const struct pv_node *n = pp->push->node;
    struct pv_stream_out *s = slice->stream;
    size_t len = slice->len - slice->sent;
    if (len > PV_STREAM_DATA_MAX)
        len = PV_STREAM_DATA_MAX;
    bool last = slice->offset + slice->sent + len >= slice->blob_len;
    enum pv_err err =
        n->config.io.send_data(n->config.io.ctx, pp->peer->link, s->stream,
                               last ? PV_STREAM_FIN : 0, slice->bytes + slice->sent, len);
    if (err != PV_OK)
        return false; /* down is under way */
    pp->out.sent_ms = pv_node_now(n);
    slice->sent += len;
    if (last) {
        note_served(&pp->out, s);
        stream_close(pp, s);
    } else if (slice->sent == slice->len) {
        s->offset = slice->offset + (uint32_t)slice->len;
        slice_detach(slice);
        pv_list_push_back(&pp->out.turn[class_of(s->stream)], &s->turn);
    }
    return true;
}

void pv_out_next(struct pv_push_peer *pp)
{
    struct pv_push_out *out = &pp->out;
    struct pv_stream_out *s;
    for (;;) {
        while (out->slice_bytes < PV_PUSH_OUT_BYTES && pv_peer_writable(pp->peer) &&
               (s = whose_turn(pp)) != NULL)
            slice_start(pp, s);
        if (pv_list_empty(&out->ready) || !pv_peer_writable(pp->peer))
            return;
        if (!send_frame(pp, PV_LIST_ENTRY(out->ready.next, struct pv_slice, ready)))
            return;
    }
}

void pv_out_tick(struct pv_push_peer *pp)
{
    struct pv_push *push = pp->push;
    uint64_t now = pv_node_now(push->node);
    if (push->outbound.head != NULL) {
        bool stalled = !pv_peer_writable(pp->peer) && now - pp->out.sent_ms >= PV_PUSH_STALL_MS;
        while (stalled && !pv_list_empty(&pp->out.ready))
            slice_requeue(pp, PV_LIST_ENTRY(pp->out.ready.prev, struct pv_slice, ready));
        pv_push_due(push, now + PV_PUSH_STALL_MS);
    }
    pv_out_next(pp);
}

/* ---- what the peer says ---- */

static bool open_stream(struct pv_push_peer *pp, const struct pv_want *want)
{
    struct pv_push_out *out = &pp->out;
    unsigned class = class_of(want->stream);
    if (want->stream == 0 || out->open[class] >= PV_STREAMS_MAX ||
        pv_map_get(&out->streams, &want->stream) != NULL) {
        pv_peer_misbehaved(pp->peer, "asks for too many streams, or for one twice");
        return false;
    }
    struct pv_stream_out *s = pv_calloc(1, sizeof *s);
    if (s == NULL || pv_map_put(&out->streams, &want->stream, s) != PV_OK) {
        pv_free(s);
        send_reset(pp, want->stream, &want->id);
        return true;
    }
    const struct pv_offered *offered = pv_map_get(&pp->offered, want->id.b);
    s->id = want->id;
    s->stream = want->stream;
    s->offset = want->offset;
    s->whole = want->offset == 0;
    s->size = offered != NULL ? offered->size : 0;
    out->open[class]++;
    pv_list_push_back(&out->turn[class], &s->turn);
    return true;
}

void pv_push_on_want(struct pv_peer *p, bool is_fetch, struct pv_rd *r)
{
    struct pv_want wants[PV_MSG_WANTS_MAX];
    size_t count;
    if (p->push == NULL)
        return;
    if (pv_msg_get_wants(r, wants, &count) != PV_OK) {
        pv_peer_misbehaved(p, "malformed WANT or FETCH");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (class_of(wants[i].stream) != (is_fetch ? PV_OUT_FETCH : PV_OUT_WANT)) {
            pv_peer_misbehaved(p, "asks with a stream number of the other kind");
            return;
        }
        if (!open_stream(p->push, &wants[i]))
            return;
    }
    pv_out_next(p->push);
}

void pv_push_on_cancel(struct pv_peer *p, struct pv_rd *r)
{
    uint32_t stream;
    if (p->push == NULL)
        return;
    if (pv_msg_get_cancel(r, &stream) != PV_OK) {
        pv_peer_misbehaved(p, "malformed CANCEL");
        return;
    }
    struct pv_stream_out *s = pv_map_get(&p->push->out.streams, &stream);
    if (s == NULL)
        return; /* its FIN is on the way */
    stream_reset(p->push, s);
    pv_out_next(p->push);
}
