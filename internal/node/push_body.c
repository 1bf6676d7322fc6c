/*
 * Bodies arriving.
 *
 *   QUEUED --WANT--> RECEIVING --FIN--> CHECKING: verify (job) -> commit -> every offer answered
 *     ^                 |                  |
 *     +-- peer gone, ---+                  +-- bad: discarded, ERROR to the sender; the next offer
 *         silent, RST                          starts at offset 0, or there is none
 *
 * A cut body is kept for PV_PUSH_KEEP_MS so that the next WANT continues it, but only while nobody
 * waits for the memory. When a body from several transfers fails its check nobody is to blame, and
 * it is asked for anew. What is cut then is not kept: one who sends false beginnings could spoil
 * what the others add, again and again.
 *
 * A stream is silent when it brought nothing for PV_PUSH_SILENCE_MS and its peer brought nothing
 * for us on any other either: streams take turns at the sender, and on a slow link a turn is long.
 * A few bytes now and then do not count for ever: after PV_PUSH_SLOW_MS it gives way to others who
 * offer the same blob, or wait for memory.
 * A cancelled stream keeps its number and its offer until the sender ended it.
 */
#include "internal/node/push_private.h"
#include "internal/base/sometimes.h"

void pv_body_disown(struct pv_incoming *in)
{
    if (in->from == NULL)
        return;
    in->from->owner->in.reserved_bytes -= in->size;
    in->from = NULL;
}

void pv_body_start(struct pv_incoming *in, struct pv_offer_in *o, uint64_t now_ms)
{
    pv_list_remove(&in->link); /* kept */
    pv_list_remove(&o->queue);
    in->state = PV_IN_RECEIVING;
    in->from = o;
    in->kind = o->kind;
    in->mixed = in->got > 0;
    in->began_ms = in->last_ms = now_ms;
    o->owner->in.reserved_bytes += in->size;
    pv_list_push_back(&in->push->receiving, &in->link);
    pv_push_due(in->push, now_ms + PV_PUSH_SILENCE_MS);
}

void pv_body_release(struct pv_incoming *in)
{
    if (in->body == NULL)
        return;
    pv_body_disown(in);
    pv_list_remove(&in->link);
    pv_free(in->body);
    in->body = NULL;
    in->got = 0;
    pv_budget_give(&in->push->inbound, in->size);
    pv_push_soon(in->push);
}

void pv_body_settle(struct pv_incoming *in)
{
    if (in->state != PV_IN_QUEUED || in->body != NULL || !pv_list_empty(&in->offers))
        return;
    pv_map_remove(&in->push->incoming, in->id.b);
    pv_free(in);
}

void pv_body_make_room(struct pv_push *s, size_t bytes)
{
    while (!pv_list_empty(&s->kept) && s->inbound.limit_bytes - s->inbound.used_bytes < bytes) {
        struct pv_incoming *in = PV_LIST_ENTRY(s->kept.next, struct pv_incoming, link);
        pv_body_release(in);
        pv_body_settle(in);
    }
}

/* Every peer that still offers it may be asked now. */
static void requeue(struct pv_incoming *in)
{
    in->state = PV_IN_QUEUED;
    PV_LIST_EACH(&in->offers, e)
    {
        struct pv_offer_in *o = PV_LIST_ENTRY(e, struct pv_offer_in, same);
        if (!pv_list_linked(&o->queue))
            pv_list_push_front(&o->owner->in.queue, &o->queue);
    }
    pv_push_soon(in->push);
}

void pv_body_lost(struct pv_incoming *in)
{
    struct pv_push *s = in->push;
    pv_body_disown(in);
    pv_list_remove(&in->link);
    requeue(in);
    if (in->got == 0 || in->got == in->size || in->whole || s->inbound.head != NULL) {
        pv_body_release(in);
    } else {
        in->last_ms = pv_node_now(s->node);
        pv_list_push_back(&s->kept, &in->link);
        pv_push_due(s, in->last_ms + PV_PUSH_KEEP_MS);
    }
    pv_body_settle(in);
}

/* ---- verify and commit ---- */

static void say_bad(struct pv_push_peer *pp, const struct pv_id *id)
{
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, id);
    PV_LOG_LIMITED(pp->push->node->config.env->log, PV_LOG_WARN, PV_SUB_NODE,
                   "a peer sent a bad blob", "peer", pp->peer->address, "blob", pv_log_id(id->b));
    PV_SOMETIMES("push: a bad body");
    struct pv_wr w = pv_wr_of(pp->push->node->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_error(&w, PV_ERROR_BAD_BLOB, hex);
    pv_peer_send(pp->peer, &w);
}

static void body_bad(struct pv_incoming *in)
{
    struct pv_offer_in *o = in->from;
    if (o != NULL && !in->mixed) {
        say_bad(o->owner, &in->id);
        pv_peer_sent_bad_body(o->owner->peer);
        pv_in_drop(o);
    }
    in->whole = in->whole || in->mixed;
    pv_body_release(in);
    requeue(in);
    pv_body_settle(in);
}

static void committed(struct pv_job *base)
{
    struct pv_incoming *in = PV_CONTAINER_OF(base, struct pv_incoming, job);
    struct pv_push *s = in->push;
    enum pv_err err = base->commit.err;
    PV_LIST_EACH(&in->offers, e)
    {
        struct pv_offer_in *o = PV_LIST_ENTRY(e, struct pv_offer_in, same);
        if (err == PV_OK)
            pv_in_stored(o->owner, &in->id);
        else
            pv_in_full(o->owner, &in->id);
        if (in->from == o)
            pv_body_disown(in);
        pv_in_drop(o);
    }
    in->state = PV_IN_QUEUED;
    pv_body_release(in);
    pv_body_settle(in);
    if (err == PV_E_NOSPACE)
        pv_in_refuse_all(s);
    else if (err == PV_OK && !s->node->closing)
        pv_push_kick(s->node);
}

static void check_done(struct pv_job *base)
{
    struct pv_incoming *in = PV_CONTAINER_OF(base, struct pv_incoming, job);
    if (base->err != PV_OK) {
        body_bad(in);
        return;
    }
    in->job = (struct pv_job){.done = committed, .commit = {.ops = &in->op, .count = 1}};
    pv_node_submit(in->push->node, &in->job);
}

static void check_run(struct pv_job *base, const struct pv_job_context *ctx)
{
    struct pv_incoming *in = PV_CONTAINER_OF(base, struct pv_incoming, job);
    (void)ctx;
    base->err = pv_blob_check(in->op.u.blob.bytes, in->op.u.blob.len, &in->op.u.blob.id);
}

static void body_complete(struct pv_incoming *in)
{
    pv_list_remove(&in->link);
    in->state = PV_IN_CHECKING;
    in->op = (struct pv_commit_op){.type = PV_COMMIT_BLOB};
    in->op.u.blob.id = in->id;
    in->op.u.blob.kind = in->kind;
    in->op.u.blob.has_holder = true;
    in->op.u.blob.holder = in->from->owner->peer->node_id;
    in->op.u.blob.bytes = in->body;
    in->op.u.blob.len = in->size;
    in->job = (struct pv_job){.run = check_run, .done = check_done};
    pv_node_submit(in->push->node, &in->job);
}

/* ---- giving up on a peer ---- */

static void cancel(struct pv_incoming *in)
{
    struct pv_offer_in *o = in->from;
    struct pv_push_peer *pp = o->owner;
    PV_LOG_LIMITED(pp->push->node->config.env->log, PV_LOG_INFO, PV_SUB_NODE,
                   "a peer stopped sending", "peer", pp->peer->address, "blob",
                   pv_log_id(in->id.b));
    PV_SOMETIMES("push: a peer stops sending");
    struct pv_wr w = pv_wr_of(pp->push->node->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_cancel(&w, o->stream);
    pv_peer_send(pp->peer, &w);
    o->left = in->size - in->got;
    pv_body_disown(in);
    pv_list_remove(&o->same);
    o->in = NULL;
    pv_body_lost(in);
}

/* So slow that it might be on purpose, and somebody would be glad of its place. */
static bool too_slow(const struct pv_incoming *in)
{
    bool one_offer = in->offers.next == in->offers.prev;
    return in->last_ms - in->began_ms >= PV_PUSH_SLOW_MS &&
           !pv_peer_slowed(in->from->owner->peer) && (!one_offer || in->push->inbound.head != NULL);
}

/* ---- stream data ---- */

static void stream_ended(struct pv_offer_in *o)
{
    pv_map_remove(&o->owner->in.streams, &o->stream);
    o->stream = 0;
    pv_push_soon(o->owner->push); /* the next offer may have the place */
}

/* Bytes that were under way when we cancelled. */
static void cancelled_data(struct pv_push_peer *pp, struct pv_offer_in *o, uint8_t flags,
                           size_t len)
{
    if (len > o->left) {
        pv_peer_misbehaved(pp->peer, "sends more than it announced");
        return;
    }
    o->left -= (uint32_t)len;
    if (flags & PV_STREAM_RST) {
        pv_in_drop(o);
    } else if (flags & PV_STREAM_FIN) { /* it holds the offer for open: ask again */
        stream_ended(o);
        if (pv_in_queue(o) != PV_OK) {
            pv_in_full(pp, &o->id);
            pv_in_drop(o);
        }
    }
}

static void body_data(struct pv_push_peer *pp, struct pv_offer_in *o, uint8_t flags,
                      const uint8_t *bytes, size_t len)
{
    struct pv_push *s = pp->push;
    struct pv_incoming *in = o->in;
    if (flags & PV_STREAM_RST) { /* it cannot read the blob: no offer any more */
        stream_ended(o);
        pv_body_disown(in);
        pv_in_drop(o);
        pv_body_lost(in);
        return;
    }
    size_t left = in->size - in->got;
    if (len > left || ((flags & PV_STREAM_FIN) && len < left)) {
        pv_peer_misbehaved(pp->peer, "sends more or less than it announced");
        return;
    }
    if (len > 0) {
        memcpy(in->body + in->got, bytes, len);
        in->got += (uint32_t)len;
        in->last_ms = pp->in.last_data_ms = pv_node_now(s->node);
        pv_list_remove(&in->link);
        pv_list_push_back(&s->receiving, &in->link);
    }
    if (flags & PV_STREAM_FIN) {
        stream_ended(o);
        body_complete(in);
    } else if (too_slow(in)) {
        cancel(in);
    }
}

bool pv_push_on_data(struct pv_peer *p, uint32_t stream, uint8_t flags, const uint8_t *bytes,
                     size_t len)
{
    if (p->push == NULL || !(stream & 1))
        return false;
    struct pv_offer_in *o = pv_map_get(&p->push->in.streams, &stream);
    if (o == NULL)
        pv_peer_misbehaved(p, "sends a stream that was not asked for");
    else if (o->in == NULL)
        cancelled_data(p->push, o, flags, len);
    else
        body_data(p->push, o, flags, bytes, len);
    return true;
}

/* ---- time ---- */

void pv_body_tick(struct pv_push *s)
{
    uint64_t now = pv_node_now(s->node);
    PV_LIST_EACH(&s->receiving, e)
    {
        struct pv_incoming *in = PV_LIST_ENTRY(e, struct pv_incoming, link);
        uint64_t silent_at = in->last_ms + PV_PUSH_SILENCE_MS;
        if (now < silent_at) {
            pv_push_due(s, silent_at);
            break; /* the list is in order of last_ms */
        }
        uint64_t peer_silent_at = in->from->owner->in.last_data_ms + PV_PUSH_SILENCE_MS;
        if (now >= peer_silent_at && pv_peer_slowed(in->from->owner->peer))
            peer_silent_at = now + PV_PUSH_SILENCE_MS;
        if (now < peer_silent_at && now < in->last_ms + PV_PUSH_AGAIN_MS)
            pv_push_due(s, peer_silent_at);
        else
            cancel(in);
    }
    while (!pv_list_empty(&s->kept)) {
        struct pv_incoming *in = PV_LIST_ENTRY(s->kept.next, struct pv_incoming, link);
        if (now < in->last_ms + PV_PUSH_KEEP_MS) {
            pv_push_due(s, in->last_ms + PV_PUSH_KEEP_MS);
            break;
        }
        pv_body_release(in);
        pv_body_settle(in);
    }
}
