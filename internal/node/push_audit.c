/*
 * The audit: what a member has acknowledged is offered to it again, a thirtieth of the ids a day.
 * It answers STORED for what it has, and wants what it has lost without knowing; so nothing that it
 * should have goes unasked for longer than a month.
 *
 *   load (meta "audit:<node id>") -> a slice is due -> walk the blobs (jobs), offer those of the
 *   slice that are its own -> the end: the next slice, kept by a commit
 *
 * A slice that ends with its session begins anew in the next one. Days are those of the wall clock,
 * since the node may not run all the time.
 */
#include "internal/node/push_private.h"

enum { DAY_MS = 24 * 3600 * 1000, RETRY_MS = 600000 };

struct pv_audit_job {
    struct pv_job job;
    struct pv_push_peer *owner; /* NULL: the peer went */
    struct pv_node *node;
    struct pv_id node_id;
    struct pv_commit_op op;
    char key[PV_AUDIT_KEY_LEN];
    uint8_t value[PV_AUDIT_LEN];
    struct pv_audit_state state;
    bool loads;
    unsigned peer;
    struct pv_places places;
    uint64_t cursor;
    bool end;
    size_t count;
    struct pv_blob_row_info rows[PV_WALK_ROWS];
    struct pv_blob_info own[PV_WALK_ROWS]; /* count of them */
};

/* ---- what is kept ---- */

static void make_key(char key[static PV_AUDIT_KEY_LEN], const struct pv_id *node_id)
{
    memcpy(key, "audit:", 6);
    pv_id_hex(key + 6, node_id);
}

enum pv_err pv_audit_load(struct pv_store *s, const struct pv_id *node_id,
                          struct pv_audit_state *out)
{
    uint8_t value[PV_AUDIT_LEN];
    char key[PV_AUDIT_KEY_LEN];
    size_t len = sizeof value;
    make_key(key, node_id);
    *out = (struct pv_audit_state){.slice = 0};
    enum pv_err err = pv_store_meta(s, key, value, &len);
    if (err != PV_OK || len != sizeof value)
        return err == PV_E_NOT_FOUND || err == PV_OK ? PV_OK : err;
    struct pv_rd r = pv_rd_of(value, sizeof value);
    out->slice = pv_rd_u8(&r) % PV_AUDIT_SLICES;
    out->last_ms = pv_rd_u64(&r);
    out->whole_ms = pv_rd_u64(&r);
    return PV_OK;
}

/* ---- jobs ---- */

static void audit_run(struct pv_job *base, const struct pv_job_context *ctx)
{
    struct pv_audit_job *job = PV_CONTAINER_OF(base, struct pv_audit_job, job);
    size_t found = 0;
    if (job->loads) {
        base->err = pv_audit_load(ctx->store, &job->node_id, &job->state);
        return;
    }
    base->err = pv_places_load(&job->places, ctx->store);
    if (base->err == PV_OK)
        base->err =
            pv_store_blobs(ctx->store, &job->cursor, job->rows, PV_WALK_ROWS, &found, &job->end);
    for (size_t i = 0; base->err == PV_OK && i < found; i++) {
        struct pv_place place;
        const struct pv_blob_info *blob = &job->rows[i].blob;
        if (blob->id.b[PV_ID_LEN - 1] % PV_AUDIT_SLICES != job->state.slice)
            continue;
        pv_places_find(&job->places, blob, &place);
        if ((place.targets & place.holders) >> job->peer & 1)
            job->own[job->count++] = *blob;
    }
}

static void again_in(struct pv_push_peer *pp, uint64_t ms)
{
    pp->audit.due_ms = pv_node_now(pp->push->node) + ms;
    pv_push_soon(pp->push);
}

static void due_after_a_day(struct pv_push_peer *pp)
{
    uint64_t now_ms = pv_env_wall_ms(pp->push->node->config.env);
    uint64_t since_ms = now_ms > pp->audit.state.last_ms ? now_ms - pp->audit.state.last_ms : 0;
    again_in(pp, since_ms < DAY_MS ? DAY_MS - since_ms : 0);
}

static void kept(struct pv_job *base)
{
    struct pv_audit_job *job = PV_CONTAINER_OF(base, struct pv_audit_job, job);
    struct pv_push_peer *pp = job->owner;
    if (pp != NULL) {
        pp->audit.job = NULL;
        due_after_a_day(pp);
    }
    pv_free(job);
}

/* The job goes on as the commit that keeps the state. */
static void keep(struct pv_audit_job *job)
{
    const struct pv_audit_state *state = &job->owner->audit.state;
    struct pv_wr w = pv_wr_of(job->value, sizeof job->value);
    pv_wr_u8(&w, state->slice);
    pv_wr_u64(&w, state->last_ms);
    pv_wr_u64(&w, state->whole_ms);
    make_key(job->key, &job->node_id);
    job->op = (struct pv_commit_op){.type = PV_COMMIT_META};
    job->op.u.meta.key = job->key;
    job->op.u.meta.value = job->value;
    job->op.u.meta.len = sizeof job->value;
    job->job = (struct pv_job){.done = kept, .commit = {.ops = &job->op, .count = 1}};
    pv_node_submit(job->node, &job->job);
}

static void end_slice(struct pv_push_peer *pp)
{
    struct pv_audit_state *state = &pp->audit.state;
    state->last_ms = pv_env_wall_ms(pp->push->node->config.env);
    state->slice = (uint8_t)((state->slice + 1) % PV_AUDIT_SLICES);
    if (state->slice == 0)
        state->whole_ms = state->last_ms;
    pp->audit.cursor = 0;
}

static void audit_done(struct pv_job *base)
{
    struct pv_audit_job *job = PV_CONTAINER_OF(base, struct pv_audit_job, job);
    struct pv_push_peer *pp = job->owner;
    if (pp == NULL) {
        pv_free(job);
        return;
    }
    struct pv_audit *a = &pp->audit;
    if (base->err != PV_OK) {
        a->job = NULL;
        again_in(pp, RETRY_MS);
        pv_free(job);
    } else if (job->loads) {
        a->loaded = true;
        a->state = job->state;
        if (a->state.last_ms == 0) /* it is new: its copies are, too */
            a->state.last_ms = pv_env_wall_ms(job->node->config.env);
        keep(job);
    } else {
        a->cursor = job->cursor;
        pv_walk_offer(pp, job->own, job->count);
        if (job->end) {
            end_slice(pp);
            keep(job);
            return;
        }
        a->job = NULL;
        again_in(pp, 0);
        pv_free(job);
    }
}

void pv_audit_next(struct pv_push_peer *pp)
{
    struct pv_audit *a = &pp->audit;
    struct pv_node *n = pp->push->node;
    if (a->job != NULL)
        return;
    if (pv_node_now(n) < a->due_ms) {
        pv_push_due(pp->push, a->due_ms);
        return;
    }
    if (a->loaded &&
        (pp->offered.count > PV_PUSH_OFFERED_MAX - PV_WALK_ROWS || !pv_peer_writable(pp->peer)))
        return; /* answers bring the next turn */
    struct pv_audit_job *job = pv_calloc(1, sizeof *job);
    if (job == NULL) {
        again_in(pp, RETRY_MS);
        return;
    }
    job->loads = !a->loaded;
    job->owner = pp;
    job->node = n;
    job->node_id = pp->peer->node_id;
    job->cursor = a->cursor;
    job->state = a->state;
    pv_places_now(n, &job->places);
    if (a->loaded && !pv_placement_find(&job->places.table, &pp->peer->node_id, &job->peer)) {
        pv_free(job); /* nothing is its own */
        a->due_ms = pv_node_now(n) + DAY_MS;
        return;
    }
    job->job = (struct pv_job){.run = audit_run, .done = audit_done};
    a->job = job;
    pv_node_submit(n, &job->job);
}

void pv_audit_release(struct pv_push_peer *pp)
{
    if (pp->audit.job != NULL)
        pp->audit.job->owner = NULL;
}
