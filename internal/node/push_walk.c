/*
 * Which blobs a peer lacks.
 *
 * A walk reads blobs in order of arrival whose held bit of the peer is clear, a few hundred rows a
 * job, from `cursor` on. Each is offered or left out:
 *   - not its place (places.h): neither owner nor substitute;
 *   - already offered: its answer is awaited;
 *   - our turn: among the live holders (ourselves and connected members whose held bit is set) the
 *     first one in the blob's order of members offers at once, the one of rank r when r *
 *     PV_PUSH_RANK_MS passed since the walk first saw the blob. A blob that is not due yet sends
 *     the walk back to it at the time when the first of those left out is due.
 * The walk stops at the end (a kick continues it), while more than PV_PUSH_OFFERED_MAX -
 * PV_WALK_ROWS offers are open, and when the peer said FULL. Every PV_PUSH_AGAIN_MS, and when blobs
 * have another place than before, it starts from the beginning: the former picks up whatever was
 * refused, lost, or not readable.
 *
 * STORED becomes a held bit by a commit; until that is done the id stays in `offered`, so that no
 * walk offers it anew.
 */
#include "internal/node/push_private.h"

enum { SCANS_A_JOB = 8 };

struct pv_walk_job {
    struct pv_job job;
    struct pv_push_peer *owner; /* NULL: the peer went */
    struct pv_node *node;
    struct pv_id node_id;
    struct pv_commit_op op; /* gives the node its bit */
    bool has_bit, end;
    unsigned bit;
    uint64_t cursor;
    unsigned peer; /* its index among the places */
    struct pv_places places;
    size_t count;
    struct pv_blob_info rows[PV_WALK_ROWS];
    unsigned ranks[PV_WALK_ROWS]; /* live holders that come before us */
};

struct held_job {
    struct pv_job job;
    struct pv_node *node;
    pv_link link;
    struct pv_commit_op op;
    size_t count;
    struct pv_id ids[];
};

void pv_walk_init(struct pv_push_peer *pp)
{
    pp->walk.skip_from = UINT64_MAX;
    pp->walk.round_ms = pv_node_now(pp->push->node);
    pp->walk.again_ms = pp->walk.round_ms + PV_PUSH_AGAIN_MS;
}

void pv_walk_release(struct pv_push_peer *pp)
{
    size_t pos = 0;
    void *offered;
    if (pp->walk.job != NULL)
        pp->walk.job->owner = NULL;
    while ((offered = pv_map_next(&pp->offered, &pos, NULL)) != NULL)
        pv_free(offered);
    pv_map_release(&pp->offered);
}

void pv_walk_kick(struct pv_push_peer *pp)
{
    pp->walk.kicked = pp->walk.job != NULL; /* it may have read past the new rows already */
    pp->walk.at_end = false;
}

/* Back to an earlier blob. Those walked so far keep the time since which they are known. */
static void go_back(struct pv_walk *w, uint64_t to, uint64_t since_ms)
{
    w->aged_to = w->cursor;
    w->aged_since_ms = since_ms;
    w->cursor = to;
    w->at_end = false;
    w->skip_from = UINT64_MAX;
}

void pv_walk_restart(struct pv_push_peer *pp)
{
    pp->walk.again_ms = pv_node_now(pp->push->node); /* a running job must come back first */
    pv_push_soon(pp->push);
}

void pv_walk_anew(struct pv_push_peer *pp)
{
    pp->walk.anew = true;
    pv_push_soon(pp->push);
}

/* ---- whose turn ---- */

static bool our_turn(struct pv_push_peer *pp, const struct pv_blob_info *blob, unsigned rank,
                     uint64_t now)
{
    struct pv_walk *w = &pp->walk;
    uint64_t since = blob->seq < w->aged_to ? w->aged_since_ms : now;
    uint64_t due = since + (uint64_t)rank * PV_PUSH_RANK_MS;
    if (due <= now)
        return true;
    if (w->skip_from == UINT64_MAX || since < w->skip_since_ms)
        w->skip_since_ms = since; /* for all of them: a little early does no harm */
    if (w->skip_from == UINT64_MAX || due < w->skip_due_ms)
        w->skip_due_ms = due;
    if (blob->seq < w->skip_from)
        w->skip_from = blob->seq;
    return false;
}

/* ---- offers ---- */

static bool remember(struct pv_push_peer *pp, const struct pv_blob_info *blob)
{
    struct pv_offered *offered = pv_calloc(1, sizeof *offered);
    if (offered == NULL)
        return false;
    offered->size = blob->size;
    if (pv_map_put(&pp->offered, blob->id.b, offered) == PV_OK)
        return true;
    pv_free(offered);
    return false;
}

void pv_walk_offer(struct pv_push_peer *pp, const struct pv_blob_info *blobs, size_t count)
{
    struct pv_push *s = pp->push;
    size_t offered = 0;
    for (size_t i = 0; i < count; i++) {
        if (pv_map_get(&pp->offered, blobs[i].id.b) != NULL)
            continue;
        if (!remember(pp, &blobs[i]))
            break; /* out of memory: the next walk finds it */
        s->offers[offered++] = (struct pv_offer){
            .id = blobs[i].id,
            .kind = pp->peer->info.keyed ? blobs[i].kind : 0,
            .size = blobs[i].size,
        };
    }
    if (offered == 0)
        return;
    struct pv_wr w = pv_wr_of(s->node->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_store(&w, s->offers, offered);
    pv_peer_send(pp->peer, &w);
}

static void offer_rows(struct pv_push_peer *pp, struct pv_walk_job *job)
{
    uint64_t now = pv_node_now(pp->push->node);
    size_t count = 0;
    for (size_t i = 0; i < job->count; i++)
        if (pv_map_get(&pp->offered, job->rows[i].id.b) == NULL &&
            our_turn(pp, &job->rows[i], job->ranks[i], now))
            job->rows[count++] = job->rows[i];
    pv_walk_offer(pp, job->rows, count);
}

/* ---- the walk's job ---- */

/* Whether a blob belongs to the peer, and how many live holders come before us: all of them if we
 * have no share, or may not know all members yet. */
static bool is_its_place(const struct pv_walk_job *job, const struct pv_blob_info *blob,
                         unsigned *rank)
{
    const struct pv_places *p = &job->places;
    struct pv_place place;
    pv_places_find(p, blob, &place);
    uint64_t others = place.holders & p->live & ~(UINT64_C(1) << job->peer);
    if ((place.targets >> job->peer & 1) == 0)
        return false;
    if (p->placed && !p->unsettled)
        *rank = pv_place_rank(&place.order, p->table.count, p->self, others);
    else
        *rank = (unsigned)__builtin_popcountll(others);
    return true;
}

static enum pv_err read_rows(struct pv_walk_job *job, struct pv_store *s)
{
    struct pv_blob_info *rows = job->rows + job->count;
    size_t found;
    enum pv_err err = pv_store_unheld(s, job->bit, &job->cursor, rows, PV_WALK_ROWS - job->count,
                                      &found, &job->end);
    for (size_t i = 0; err == PV_OK && i < found; i++) {
        if (!is_its_place(job, &rows[i], &job->ranks[job->count]))
            continue;
        job->rows[job->count++] = rows[i];
    }
    return err;
}

static void walk_run(struct pv_job *base, const struct pv_job_context *ctx)
{
    struct pv_walk_job *job = PV_CONTAINER_OF(base, struct pv_walk_job, job);
    base->err = PV_OK;
    if (!job->has_bit) {
        base->err = pv_store_holder(ctx->store, &job->node_id, &job->bit);
        job->has_bit = base->err == PV_OK;
    }
    if (base->err == PV_OK)
        base->err = pv_places_load(&job->places, ctx->store);
    for (unsigned i = 0;
         base->err == PV_OK && i < SCANS_A_JOB && !job->end && job->count < PV_WALK_ROWS; i++)
        base->err = read_rows(job, ctx->store);
}

/* Ends the job; NULL when its peer is gone. */
static struct pv_push_peer *walk_finish(struct pv_walk_job *job)
{
    struct pv_push_peer *pp = job->owner;
    if (pp == NULL) {
        pv_free(job);
        return NULL;
    }
    pp->walk.job = NULL;
    pv_push_soon(pp->push);
    return pp;
}

static void walk_failed(struct pv_push_peer *pp, enum pv_err err)
{
    pp->walk.at_end = true; /* until something is committed, or the next walk */
    PV_LOG(pp->push->node->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "blobs cannot be listed",
           "peer", pp->peer->address, "cause", pv_err_text(err));
}

static void bit_given(struct pv_job *base)
{
    struct pv_walk_job *job = PV_CONTAINER_OF(base, struct pv_walk_job, job);
    struct pv_push_peer *pp = walk_finish(job);
    if (pp == NULL)
        return;
    if (base->commit.err != PV_OK) {
        pp->walk.bit_asked = false;
        walk_failed(pp, base->commit.err);
    }
    pv_free(job); /* the next walk asks for the bit again */
}

static void give_bit(struct pv_walk_job *job)
{
    job->owner->walk.bit_asked = true;
    job->op = (struct pv_commit_op){.type = PV_COMMIT_HELD};
    job->op.u.held.node_id = job->node_id;
    job->op.u.held.held = true;
    job->job = (struct pv_job){.done = bit_given, .commit = {.ops = &job->op, .count = 1}};
    pv_node_submit(job->node, &job->job);
}

static void walk_done(struct pv_job *base)
{
    struct pv_walk_job *job = PV_CONTAINER_OF(base, struct pv_walk_job, job);
    if (base->err == PV_E_NOT_FOUND && job->owner != NULL && !job->owner->walk.bit_asked) {
        give_bit(job);
        return;
    }
    struct pv_push_peer *pp = walk_finish(job);
    if (pp == NULL)
        return;
    struct pv_walk *w = &pp->walk;
    if (base->err != PV_OK) {
        walk_failed(pp, base->err);
    } else {
        w->has_bit = true;
        w->bit = job->bit;
        w->cursor = job->cursor;
        w->at_end = job->end && !w->kicked;
        offer_rows(pp, job);
    }
    pv_free(job);
}

static void walk_start(struct pv_push_peer *pp)
{
    struct pv_walk *w = &pp->walk;
    struct pv_walk_job *job = pv_calloc(1, sizeof *job);
    if (job == NULL) {
        w->at_end = true;
        return;
    }
    pv_places_now(pp->push->node, &job->places);
    if (!pv_placement_find(&job->places.table, &pp->peer->node_id, &job->peer)) {
        w->at_end = true; /* nothing is placed with it: until its record says otherwise */
        pv_free(job);
        return;
    }
    job->job.run = walk_run;
    job->job.done = walk_done;
    job->owner = pp;
    job->node = pp->push->node;
    job->node_id = pp->peer->node_id;
    job->has_bit = w->has_bit;
    job->bit = w->bit;
    job->cursor = w->cursor;
    w->job = job;
    w->kicked = false;
    pv_node_submit(job->node, &job->job);
}

void pv_walk_next(struct pv_push_peer *pp)
{
    struct pv_walk *w = &pp->walk;
    const struct pv_node *n = pp->push->node;
    uint64_t now = pv_node_now(n);
    if (w->job != NULL)
        return;
    if (w->anew) {
        w->anew = false;
        go_back(w, 0, now);
    }
    if (now >= w->again_ms) {
        go_back(w, 0, w->round_ms);
        w->round_ms = now;
        w->again_ms = now + PV_PUSH_AGAIN_MS;
        w->full = false;
    } else if (w->skip_from != UINT64_MAX && now >= w->skip_due_ms && !w->full) {
        go_back(w, w->skip_from, w->skip_since_ms);
    }
    pv_push_due(pp->push, w->again_ms);
    if (w->full)
        return;
    if (w->skip_from != UINT64_MAX)
        pv_push_due(pp->push, w->skip_due_ms);
    if (!w->at_end && pp->offered.count <= PV_PUSH_OFFERED_MAX - PV_WALK_ROWS &&
        pv_peer_writable(pp->peer))
        walk_start(pp);
}

/* ---- answers ---- */

void pv_walk_forget(struct pv_push_peer *pp, const struct pv_id *id)
{
    struct pv_offered *offered = pv_map_get(&pp->offered, id->b);
    if (offered == NULL || offered->committing)
        return;
    pv_free(pv_map_remove(&pp->offered, id->b));
    pv_push_soon(pp->push);
}

static void held_done(struct pv_job *base)
{
    struct held_job *job = PV_CONTAINER_OF(base, struct held_job, job);
    struct pv_node *n = job->node;
    struct pv_push_peer *pp = pv_push_peer_of(n, job->link);
    for (size_t i = 0; pp != NULL && i < job->count; i++)
        pv_free(pv_map_remove(&pp->offered, job->ids[i].b));
    if (pp != NULL)
        pv_push_soon(pp->push);
    if (base->commit.err != PV_OK)
        PV_LOG(n->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "holders cannot be noted", "cause",
               pv_err_text(base->commit.err));
    else if (!n->closing)
        pv_publish_on_held(n);
    pv_free(job);
}

void pv_push_on_stored(struct pv_peer *p, const struct pv_id *ids, size_t count)
{
    struct pv_push_peer *pp = p->push;
    if (pp == NULL || count == 0)
        return;
    struct held_job *job = pv_malloc(sizeof *job + count * sizeof *ids);
    if (job == NULL) {
        for (size_t i = 0; i < count; i++)
            pv_walk_forget(pp, &ids[i]);
        return;
    }
    *job = (struct held_job){.node = p->node, .link = p->link};
    for (size_t i = 0; i < count; i++) {
        struct pv_offered *offered = pv_map_get(&pp->offered, ids[i].b);
        if (offered == NULL || offered->committing)
            continue; /* a claim about what we did not ask for is worth nothing */
        offered->committing = true;
        job->ids[job->count++] = ids[i];
    }
    if (job->count == 0) {
        pv_free(job);
        return;
    }
    job->op = (struct pv_commit_op){.type = PV_COMMIT_HELD};
    job->op.u.held.node_id = p->node_id;
    job->op.u.held.ids = job->ids;
    job->op.u.held.count = job->count;
    job->op.u.held.held = true;
    job->job = (struct pv_job){.done = held_done, .commit = {.ops = &job->op, .count = 1}};
    pv_node_submit(p->node, &job->job);
}

void pv_push_on_full(struct pv_peer *p, struct pv_rd *r)
{
    struct pv_push_peer *pp = p->push;
    uint32_t request;
    size_t count;
    if (pp == NULL)
        return;
    struct pv_id *ids = pp->push->ids;
    if (pv_msg_get_ids(r, &request, ids, &count) != PV_OK || request != 0) {
        pv_peer_misbehaved(p, "malformed FULL");
        return;
    }
    for (size_t i = 0; i < count; i++)
        pv_walk_forget(pp, &ids[i]);
    if (count > 0) {
        pp->walk.full = true;
        pp->full_ms = pv_node_now(p->node);
        pp->push->places_stale = true; /* others take what is its own */
    }
    pv_push_soon(pp->push);
}
