/*
 *   take a batch of entries (job) -> look which are here (job) -> lease those (commit)
 *        ^                             ^        | one was swept        |
 *        |                             +--------+                      v
 *        |                             +--- fetched some --- fetch the others, one at a time
 *        +---- load the node that ended the batch <------------------- |
 *
 * A batch ends with a node, so that one is leased before it is read. Once a blob cannot be had the
 * rest is only counted, for the answer.
 */
#include "internal/file/hold.h"

#include <string.h>

enum {
    /* The open nodes and the last one while it is loaded, and what is fetched. */
    MEMORY = (PV_TREE_NODES_OPEN_MAX + 1) * PV_BLOB_LEN_MAX,
};
_Static_assert((int)MEMORY <= (int)PV_FILES_MEMORY_MIN, "one hold always fits the budget");

static void release(struct pv_hold *h)
{
    size_t reserved = h->reserved;
    pv_budget_cancel(&h->wait);
    pv_tree_walk_release(&h->walk);
    pv_wipe(h->batch, sizeof h->batch); /* data keys */
    h->reserved = 0;
    if (reserved > 0)
        pv_budget_give(&h->files->memory, reserved);
}

static void finish(struct pv_hold *h, enum pv_err err)
{
    if (err == PV_OK && h->missing > 0)
        err = h->was_unreachable ? PV_E_UNAVAILABLE : PV_E_NOT_FOUND;
    release(h);
    if (!pv_node_closing(h->files->config.node))
        pv_push_kick(h->files->config.node); /* what has arrived anew is offered anew */
    h->done(h, err);
}

/* True: the owner is gone, and now we are. */
static bool ended(struct pv_hold *h)
{
    h->running = false;
    if (!h->cancelled)
        return false;
    release(h);
    h->released(h);
    return true;
}

static void submit(struct pv_hold *h, void (*run)(struct pv_job *, const struct pv_job_context *),
                   void (*done)(struct pv_job *))
{
    h->running = true;
    h->job = (struct pv_job){.run = run, .done = done};
    pv_node_submit(h->files->config.node, &h->job);
}

static void run_take(struct pv_job *job, const struct pv_job_context *ctx);
static void run_look(struct pv_job *job, const struct pv_job_context *ctx);
static void on_looked(struct pv_job *job);

/* ---- nodes ---- */

static void lose(struct pv_hold *h, enum pv_err err)
{
    h->missing++;
    h->was_denied = true;
    h->was_unreachable = h->was_unreachable || err == PV_E_UNAVAILABLE;
}

static void on_node(struct pv_blob_load *l, enum pv_err err)
{
    struct pv_hold *h = PV_CONTAINER_OF(l, struct pv_hold, node);
    h->running = false;
    if (err == PV_OK)
        err = pv_tree_walk_open(&h->walk, l);
    if (err != PV_OK)
        pv_blob_load_reset(l);
    if (err == PV_E_NOT_FOUND || err == PV_E_UNAVAILABLE) {
        lose(h, err);
        h->is_partial = true;
        err = PV_OK;
    }
    if (err == PV_OK)
        submit(h, run_take, on_looked);
    else
        finish(h, err);
}

static void on_node_released(struct pv_blob_load *l)
{
    (void)ended(PV_CONTAINER_OF(l, struct pv_hold, node));
}

static void next_batch(struct pv_hold *h)
{
    if (h->end) {
        finish(h, PV_OK);
    } else if (!h->descend) {
        submit(h, run_take, on_looked);
    } else if (!h->have[h->count - 1]) {
        h->is_partial = true;
        submit(h, run_take, on_looked);
    } else if (h->walk.depth == PV_TREE_NODES_OPEN_MAX) {
        finish(h, PV_E_CORRUPT); /* too deep */
    } else {
        h->running = true;
        pv_blob_load_start(&h->node, h->files->config.node, &h->batch[h->count - 1]);
    }
}

/* ---- what is not here ---- */

static void fetch_on(struct pv_hold *h);

static void on_fetched(struct pv_fetch *f, enum pv_err err, uint8_t *bytes)
{
    struct pv_hold *h = PV_CONTAINER_OF(f, struct pv_hold, fetch);
    h->fetching = false;
    pv_free(bytes); /* ciphertext, and kept by whoever fetched it */
    if (err == PV_E_NOT_FOUND || err == PV_E_UNAVAILABLE) {
        lose(h, err);
        err = PV_OK;
    } else if (err == PV_OK) {
        h->was_fetched = true;
    }
    if (err == PV_OK)
        fetch_on(h);
    else
        finish(h, err);
}

/* Fetches what is not here, or counts it. */
static void fetch_on(struct pv_hold *h)
{
    for (; h->next < h->count; h->next++) {
        const struct pv_entry *e = &h->batch[h->next];
        if (h->have[h->next])
            continue;
        if (h->was_denied) {
            h->missing++;
            continue;
        }
        if (h->tried[h->next]) { /* it came, and was not kept */
            finish(h, PV_E_NOSPACE);
            return;
        }
        h->tried[h->next] = true;
        h->fetch = (struct pv_fetch){.id = e->id, .kind = (uint8_t)e->kind, .done = on_fetched};
        h->fetch.size =
            e->kind == PV_BLOB_NODE ? PV_BLOB_LEN_MAX : (uint32_t)pv_blob_len((size_t)e->length);
        h->fetching = true;
        h->next++;
        pv_fetch_start(h->files->config.node, &h->fetch);
        return;
    }
    if (h->was_fetched && !h->was_denied)
        submit(h, run_look, on_looked);
    else
        next_batch(h);
}

/* ---- what is here ---- */

static void run_look(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_hold *h = PV_CONTAINER_OF(job, struct pv_hold, job);
    job->err = h->count == 0 ? PV_OK : pv_store_have(ctx->store, h->ids, h->count, h->have);
}

static void run_take(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_hold *h = PV_CONTAINER_OF(job, struct pv_hold, job);
    h->count = 0;
    h->descend = false;
    while (h->count < PV_HOLD_BATCH && !h->descend) {
        struct pv_entry *e = &h->batch[h->count];
        h->end = !pv_tree_walk_next(&h->walk, e);
        if (h->end)
            break;
        h->ids[h->count] = e->id;
        h->tried[h->count++] = false;
        h->descend = e->kind == PV_BLOB_NODE;
    }
    h->blobs += h->count;
    run_look(job, ctx);
}

static void on_leased(struct pv_job *job)
{
    struct pv_hold *h = PV_CONTAINER_OF(job, struct pv_hold, job);
    if (ended(h))
        return;
    if (job->commit.err == PV_E_NOT_FOUND)
        submit(h, run_look, on_looked); /* one was swept meanwhile */
    else if (job->commit.err != PV_OK)
        finish(h, job->commit.err);
    else
        fetch_on(h);
}

static void on_looked(struct pv_job *job)
{
    struct pv_hold *h = PV_CONTAINER_OF(job, struct pv_hold, job);
    if (ended(h))
        return;
    if (job->err != PV_OK) {
        finish(h, job->err);
        return;
    }
    h->next = h->leased = 0;
    h->was_fetched = false;
    for (size_t i = 0; i < h->count && !h->was_denied; i++)
        if (h->have[i])
            h->leases[h->leased++] = h->ids[i];
    if (h->leased == 0) {
        fetch_on(h);
        return;
    }
    h->op = (struct pv_commit_op){.type = PV_COMMIT_LEASE};
    h->op.u.lease.ids = h->leases;
    h->op.u.lease.count = h->leased;
    h->running = true;
    h->job = (struct pv_job){.done = on_leased, .commit = {.ops = &h->op, .count = 1}};
    pv_node_submit(h->files->config.node, &h->job);
}

/* ---- life ---- */

static void on_granted(struct pv_budget_wait *wait)
{
    struct pv_hold *h = PV_CONTAINER_OF(wait, struct pv_hold, wait);
    h->reserved = MEMORY;
    submit(h, run_take, on_looked);
}

void pv_hold_start(struct pv_hold *h, const struct pv_entry *root)
{
    h->node.done = on_node;
    h->node.released = on_node_released;
    pv_tree_walk_init(&h->walk, root);
    h->wait.granted = on_granted;
    if (pv_budget_take(&h->files->memory, MEMORY, &h->wait))
        on_granted(&h->wait);
}

bool pv_hold_cancel(struct pv_hold *h)
{
    struct pv_node *n = h->files->config.node;
    h->cancelled = true;
    if (h->fetching)
        pv_fetch_cancel(n, &h->fetch);
    h->fetching = false;
    if (h->node.running && pv_blob_load_cancel(&h->node))
        h->running = false;
    if (h->running)
        return false;
    release(h);
    return true;
}
