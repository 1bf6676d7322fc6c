/*
 * What a peer offers us.
 *
 *   STORE -> have-job --+-- here already: leases renewed, holder noted (commit) -> STORED
 *                       +-- not here: queue -> WANT -> body (push_body.c) -> STORED
 *
 * Offers of one id by several peers meet in one pv_incoming: one of them sends the body, the
 * others wait, and all are answered when it is committed. An offer leaves the queue when its body
 * has been reserved (inbound budget, PV_STREAM_BYTES_MAX and PV_STREAMS_MAX of the session). A
 * queue waits for memory as a whole: its first offer stands in the budget's line.
 *
 * Every offer gets exactly one end: STORED, FULL, ERROR (bad body), or an RST of its stream by the
 * sender. Both sides count open offers by that, so the sender never runs past the limit here.
 */
#include "internal/node/push_private.h"
#include "internal/base/sometimes.h"

struct have_job {
    struct pv_job job;
    struct pv_node *node;
    pv_link link;
    struct pv_commit_op ops[2];
    size_t count, here; /* after the job: ids[0..here) are here */
    struct pv_offer *offers;
    struct pv_id *ids;
    bool *have;
};

static void granted(struct pv_budget_wait *wait)
{
    struct pv_push_in *in = PV_CONTAINER_OF(wait, struct pv_push_in, wait);
    struct pv_push_peer *pp = PV_CONTAINER_OF(in, struct pv_push_peer, in);
    in->granted_bytes = in->asked_bytes;
    pv_push_soon(pp->push);
}

void pv_in_init(struct pv_push_peer *pp)
{
    pv_list_init(&pp->in.offers);
    pv_list_init(&pp->in.queue);
    pp->in.next_stream = 1;
    pp->in.last_data_ms = pv_node_now(pp->push->node);
    pp->in.wait.granted = granted;
}

static void give_granted(struct pv_push_peer *pp)
{
    size_t bytes = pp->in.granted_bytes;
    pp->in.granted_bytes = 0;
    pv_budget_give(&pp->push->inbound, bytes);
}

void pv_in_release(struct pv_push_peer *pp)
{
    pv_budget_cancel(&pp->in.wait);
    give_granted(pp);
    PV_LIST_EACH(&pp->in.offers, e)
    {
        struct pv_offer_in *o = PV_LIST_ENTRY(e, struct pv_offer_in, of_peer);
        struct pv_incoming *in = o->in;
        bool sending = in != NULL && in->state == PV_IN_RECEIVING && in->from == o;
        pv_in_drop(o);
        if (sending)
            pv_body_lost(in);
        else if (in != NULL)
            pv_body_settle(in);
    }
    PV_ASSERT(pp->in.reserved_bytes == 0);
    pv_map_release(&pp->in.streams);
}

/* ---- answers ---- */

static void flush(struct pv_push_peer *pp)
{
    struct pv_push_in *in = &pp->in;
    struct pv_push *s = pp->push;
    if (in->stored_count > 0) {
        struct pv_wr w = pv_wr_of(s->node->scratch, PV_FRAME_PLAIN_MAX);
        pv_msg_put_stored(&w, PV_STORED_BLOBS, in->stored, in->stored_count);
        pv_peer_send(pp->peer, &w);
        in->stored_count = 0;
    }
    if (in->full_count > 0) {
        struct pv_wr w = pv_wr_of(s->node->scratch, PV_FRAME_PLAIN_MAX);
        PV_SOMETIMES("push: full");
        pv_msg_put_ids(&w, PV_MSG_FULL, 0, in->full, in->full_count);
        pv_peer_send(pp->peer, &w);
        in->full_count = 0;
    }
}

void pv_in_stored(struct pv_push_peer *pp, const struct pv_id *id)
{
    if (pp->in.stored_count == PV_PUSH_ANSWERS)
        flush(pp);
    pp->in.stored[pp->in.stored_count++] = *id;
    pv_push_soon(pp->push);
}

void pv_in_full(struct pv_push_peer *pp, const struct pv_id *id)
{
    if (pp->in.full_count == PV_PUSH_ANSWERS)
        flush(pp);
    pp->in.full[pp->in.full_count++] = *id;
    pv_push_soon(pp->push);
}

/* ---- offers ---- */

void pv_in_drop(struct pv_offer_in *o)
{
    struct pv_push_peer *pp = o->owner;
    if (o->stream != 0)
        pv_map_remove(&pp->in.streams, &o->stream);
    if (o->in != NULL && o->in->from == o)
        pv_body_disown(o->in);
    pv_list_remove(&o->of_peer);
    pv_list_remove(&o->queue);
    pv_list_remove(&o->same);
    pp->in.offer_count--;
    pv_push_soon(pp->push);
    pv_free(o);
}

enum pv_err pv_in_queue(struct pv_offer_in *o)
{
    struct pv_push *s = o->owner->push;
    struct pv_incoming *in = pv_map_get(&s->incoming, o->id.b);
    if (in == NULL) {
        in = pv_calloc(1, sizeof *in);
        if (in == NULL || pv_map_put(&s->incoming, o->id.b, in) != PV_OK) {
            pv_free(in);
            return PV_E_NOMEM;
        }
        in->push = s;
        in->id = o->id;
        pv_list_init(&in->offers);
    }
    o->in = in;
    pv_list_push_back(&in->offers, &o->same);
    pv_list_push_back(&o->owner->in.queue, &o->queue);
    pv_push_soon(s);
    return PV_OK;
}

/* A new offer of something that is not here. */
static void take_offer(struct pv_push_peer *pp, const struct pv_offer *offer)
{
    const struct pv_incoming *in = pv_map_get(&pp->push->incoming, offer->id.b);
    if (in != NULL) {
        PV_LIST_EACH(&in->offers, e)
        {
            if (PV_LIST_ENTRY(e, struct pv_offer_in, same)->owner == pp) {
                pp->in.offer_count--; /* offered twice: answered once */
                return;
            }
        }
    }
    struct pv_offer_in *o = pv_calloc(1, sizeof *o);
    if (o == NULL) {
        pp->in.offer_count--;
        pv_in_full(pp, &offer->id);
        return;
    }
    o->owner = pp;
    o->id = offer->id;
    o->kind = offer->kind;
    o->size = offer->size;
    pv_list_push_back(&pp->in.offers, &o->of_peer);
    if (pv_in_queue(o) != PV_OK) {
        pv_in_full(pp, &offer->id);
        pv_in_drop(o);
    }
}

void pv_in_refuse_all(struct pv_push *s)
{
    size_t pos = 0;
    struct pv_peer *p;
    while ((p = pv_node_next_peer(s->node, &pos)) != NULL) {
        if (p->push == NULL)
            continue;
        PV_LIST_EACH(&p->push->in.queue, e)
        {
            struct pv_offer_in *o = PV_LIST_ENTRY(e, struct pv_offer_in, queue);
            struct pv_incoming *in = o->in;
            pv_in_full(p->push, &o->id);
            pv_in_drop(o);
            pv_body_settle(in);
        }
    }
}

/* ---- have-jobs ---- */

static struct have_job *have_new(size_t count)
{
    struct have_job *job = pv_calloc(1, sizeof *job);
    if (job == NULL)
        return NULL;
    job->offers = pv_calloc(count, sizeof *job->offers);
    job->ids = pv_calloc(count, sizeof *job->ids);
    job->have = pv_calloc(count, sizeof *job->have);
    if (job->offers != NULL && job->ids != NULL && job->have != NULL)
        return job;
    pv_free(job->offers);
    pv_free(job->ids);
    pv_free(job->have);
    pv_free(job);
    return NULL;
}

static void have_free(struct have_job *job)
{
    pv_free(job->offers);
    pv_free(job->ids);
    pv_free(job->have);
    pv_free(job);
}

static void have_run(struct pv_job *base, const struct pv_job_context *ctx)
{
    struct have_job *job = PV_CONTAINER_OF(base, struct have_job, job);
    base->err = pv_store_have(ctx->store, job->ids, job->count, job->have);
}

static void have_done(struct pv_job *base);

static void have_submit(struct have_job *job)
{
    job->here = 0;
    job->job = (struct pv_job){.run = have_run, .done = have_done};
    pv_node_submit(job->node, &job->job);
}

static void renewed(struct pv_job *base)
{
    struct have_job *job = PV_CONTAINER_OF(base, struct have_job, job);
    struct pv_node *n = job->node;
    struct pv_push_peer *pp = pv_push_peer_of(n, job->link);
    if (base->commit.err == PV_E_LIMIT && base->commit.count == 2) {
        base->commit.count = 1; /* no bit is left for the peer: the leases alone */
        pv_node_submit(n, base);
        return;
    }
    if (base->commit.err == PV_E_NOT_FOUND) { /* one was deleted meanwhile: which? */
        job->count = job->here;
        have_submit(job);
        return;
    }
    for (size_t i = 0; pp != NULL && i < job->here; i++) {
        pp->in.offer_count--;
        if (base->commit.err == PV_OK)
            pv_in_stored(pp, &job->ids[i]);
        else
            pv_in_full(pp, &job->ids[i]);
    }
    if (base->commit.err == PV_OK && job->ops[0].applied && !n->closing)
        pv_push_kick(n); /* some arrived anew, behind the walks */
    if (base->commit.err == PV_OK && !n->closing)
        pv_publish_on_held(n);
    have_free(job);
}

/* STORED promises that the blob stays: its lease starts anew. The peer has it, too. */
static void renew(struct have_job *job, const struct pv_id *holder)
{
    job->ops[0] = (struct pv_commit_op){.type = PV_COMMIT_LEASE};
    job->ops[0].u.lease.ids = job->ids;
    job->ops[0].u.lease.count = job->here;
    job->ops[1] = (struct pv_commit_op){.type = PV_COMMIT_HELD};
    job->ops[1].u.held.node_id = *holder;
    job->ops[1].u.held.ids = job->ids;
    job->ops[1].u.held.count = job->here;
    job->ops[1].u.held.held = true;
    job->job = (struct pv_job){.done = renewed, .commit = {.ops = job->ops, .count = 2}};
    pv_node_submit(job->node, &job->job);
}

static void have_done(struct pv_job *base)
{
    struct have_job *job = PV_CONTAINER_OF(base, struct have_job, job);
    struct pv_push_peer *pp = pv_push_peer_of(job->node, job->link);
    if (pp == NULL) {
        have_free(job);
        return;
    }
    for (size_t i = 0; i < job->count; i++) {
        if (base->err != PV_OK) {
            pp->in.offer_count--;
            pv_in_full(pp, &job->offers[i].id);
        } else if (job->have[i]) {
            job->offers[job->here] = job->offers[i]; /* together, if they are looked for again */
            job->ids[job->here++] = job->offers[i].id;
        } else {
            take_offer(pp, &job->offers[i]);
        }
    }
    if (job->here > 0)
        renew(job, &pp->peer->node_id);
    else
        have_free(job);
}

void pv_push_on_store(struct pv_peer *p, struct pv_rd *r)
{
    struct pv_push_peer *pp = p->push;
    size_t count;
    if (pp == NULL)
        return;
    const struct pv_offer *offers = pp->push->offers;
    if (pv_msg_get_store(r, pp->push->offers, &count) != PV_OK) {
        pv_peer_misbehaved(p, "malformed STORE");
        return;
    }
    if (count > PV_PUSH_OFFERED_MAX - pp->in.offer_count) {
        pv_peer_misbehaved(p, "offers more than it may without an answer");
        return;
    }
    if (count == 0)
        return;
    struct have_job *job = have_new(count);
    if (job == NULL) {
        for (size_t i = 0; i < count; i++)
            pv_in_full(pp, &offers[i].id);
        return;
    }
    job->node = p->node;
    job->link = p->link;
    job->count = count;
    for (size_t i = 0; i < count; i++) {
        job->offers[i] = offers[i];
        job->ids[i] = offers[i].id;
    }
    pp->in.offer_count += count;
    have_submit(job);
}

/* ---- the queue ---- */

/* Reserves the bytes of the first offer, or puts it into the budget's line. */
static bool reserve(struct pv_push_peer *pp, size_t bytes)
{
    struct pv_push *s = pp->push;
    if (pp->in.granted_bytes >= bytes) {
        size_t rest = pp->in.granted_bytes - bytes;
        pp->in.granted_bytes = 0;
        pv_budget_give(&s->inbound, rest);
        return true;
    }
    give_granted(pp);
    pv_body_make_room(s, bytes);
    pp->in.asked_bytes = bytes;
    return pv_budget_take(&s->inbound, bytes, &pp->in.wait);
}

/* Makes the first offer of the queue a transfer. false: not now. */
static bool start_first(struct pv_push_peer *pp, struct pv_offer_in *o)
{
    struct pv_push_in *pin = &pp->in;
    struct pv_incoming *in = o->in;
    if (pin->streams.count >= PV_STREAMS_MAX || pin->reserved_bytes + o->size > PV_STREAM_BYTES_MAX)
        return false;
    if (in->body != NULL && in->size != o->size)
        pv_body_release(in); /* the two peers do not agree: start afresh */
    if (in->body == NULL) {
        if (!reserve(pp, o->size))
            return false;
        in->body = pv_malloc(o->size);
        if (in->body == NULL) {
            pv_budget_give(&pp->push->inbound, o->size);
            pv_in_full(pp, &o->id);
            pv_in_drop(o);
            pv_body_settle(in);
            return true;
        }
        in->size = o->size;
        in->got = 0;
        in->mixed = false;
    }
    o->stream = pin->next_stream;
    if (pv_map_put(&pin->streams, &o->stream, o) != PV_OK) {
        o->stream = 0;
        pv_body_release(in);
        pv_in_full(pp, &o->id);
        pv_in_drop(o);
        pv_body_settle(in);
        return true;
    }
    pin->next_stream += 2;
    pv_body_start(in, o, pv_node_now(pp->push->node));
    return true;
}

void pv_in_next(struct pv_push_peer *pp)
{
    struct pv_push_in *pin = &pp->in;
    struct pv_want wants[PV_MSG_WANTS_MAX];
    size_t count = 0;
    flush(pp);
    while (pin->wait.budget == NULL && !pv_list_empty(&pin->queue) && count < PV_COUNT(wants)) {
        struct pv_offer_in *o = PV_LIST_ENTRY(pin->queue.next, struct pv_offer_in, queue);
        struct pv_incoming *in = o->in;
        if (in->state != PV_IN_QUEUED) {
            pv_list_remove(&o->queue); /* somebody else sends it: answered with that one */
            continue;
        }
        uint32_t stream = pin->next_stream;
        if (!start_first(pp, o))
            break;
        if (pin->next_stream == stream)
            continue; /* it was not started */
        if (in->got > 0)
            PV_SOMETIMES("push: a cut body goes on where it was");
        wants[count++] = (struct pv_want){in->id, in->got, stream};
    }
    if (pin->wait.budget == NULL && pin->granted_bytes > 0)
        give_granted(pp);
    if (count == 0)
        return;
    struct pv_wr w = pv_wr_of(pp->push->node->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_wants(&w, PV_MSG_WANT, wants, count);
    pv_peer_send(pp->peer, &w);
}
