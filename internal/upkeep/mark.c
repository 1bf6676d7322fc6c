/*
 *   records (job: open them, mark their roots) -> for each tree: memory -> walk -> next slice
 *
 * A walk is a job of ENTRIES_A_JOB entries, then a node to be loaded, and so on. A node that cannot
 * be had is passed over: what is below it has no bit, so the mark of a live file is incomplete; a
 * removed one is marked as far as it goes.
 */
#include "internal/upkeep/mark.h"

#include "internal/file/open_record.h"
#include "internal/upkeep/purge.h"

#include <string.h>

enum { ENTRIES_A_JOB = 500 };

static void wipe_roots(struct pv_mark *m)
{
    pv_wipe(m->roots, sizeof m->roots); /* data keys */
    m->root_count = m->next_root = 0;
}

static void end_tree(struct pv_mark *m)
{
    size_t reserved = m->reserved;
    pv_tree_walk_release(&m->walk);
    pv_wipe(&m->next_node, sizeof m->next_node);
    m->reserved = 0;
    if (reserved > 0)
        pv_budget_give(&m->files->memory, reserved);
}

static void release(struct pv_mark *m)
{
    pv_pace_cancel(&m->pace);
    pv_budget_cancel(&m->wait);
    end_tree(m);
    wipe_roots(m);
}

static void finish(struct pv_mark *m, enum pv_err err)
{
    release(m);
    m->done(m, err);
}

/* True: the owner is gone, and now we are. */
static bool ended(struct pv_mark *m)
{
    m->running = false;
    if (!m->cancelled)
        return false;
    release(m);
    m->released(m);
    return true;
}

/* ---- marking ---- */

static enum pv_err mark(struct pv_mark *m, const struct pv_id *id, bool is_live,
                        const struct pv_job_context *ctx)
{
    struct pv_blob_info info;
    enum pv_err err = pv_store_blob(ctx->store, id, &info);
    if (err != PV_OK)
        return err == PV_E_NOT_FOUND ? PV_OK : err;
    uint64_t at = info.seq - m->first;
    uint64_t *set = is_live ? m->live : m->kept;
    if (info.seq >= m->first && at < m->count)
        set[at / 64] |= UINT64_C(1) << at % 64;
    return PV_OK;
}

/* ---- records ---- */

struct reading {
    struct pv_mark *m;
    const struct pv_job_context *ctx;
    uint8_t *plain;
    uint64_t now_ms;
    enum pv_err err;
};

static bool take_record(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct reading *r = arg;
    struct pv_mark *m = r->m;
    struct pv_record rec;
    struct pv_file_body body;
    (void)pending;
    m->records++;
    if (pv_record_parse(&rec, env, len) != PV_OK) {
        m->unreadable++;
        return true;
    }
    bool is_live = (rec.flags & PV_RECORD_TOMBSTONE) == 0;
    if (!is_live && pv_hlc_ms(rec.hlc) + m->grace_ms <= r->now_ms) {
        m->may_purge = m->may_purge || pv_purge_may(&rec);
        return true;
    }
    enum pv_err err = pv_open_any(r->plain, &rec, env, len, r->ctx);
    if (err == PV_OK)
        err = pv_file_body_decode(&body, r->plain, rec.body_len, false);
    if (err == PV_E_NOMEM) {
        r->err = err;
        return false;
    }
    if (err != PV_OK) {
        m->unreadable++;
        return true;
    }
    m->kept_files += !is_live && !body.is_purged;
    if (!body.is_inline)
        m->roots[m->root_count++] = (struct pv_mark_root){body.root, is_live};
    pv_wipe(&body, sizeof body);
    return true;
}

static void run_records(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_mark *m = PV_CONTAINER_OF(job, struct pv_mark, job);
    struct reading r = {.m = m,
                        .ctx = ctx,
                        .plain = pv_malloc(PV_RECORD_BODY_MAX),
                        .now_ms = pv_store_time_ms(ctx->store)};
    job->err = PV_E_NOMEM;
    if (r.plain == NULL)
        return;
    job->err = pv_store_records_since(ctx->store, PV_RECORD_FILE, &m->record_seq, PV_MARK_ROOTS,
                                      take_record, &r, &m->end);
    if (job->err == PV_OK)
        job->err = r.err;
    for (size_t i = 0; job->err == PV_OK && i < m->root_count; i++)
        job->err = mark(m, &m->roots[i].entry.id, m->roots[i].is_live, ctx);
    pv_wipe(r.plain, PV_RECORD_BODY_MAX);
    pv_free(r.plain);
}

static void next_tree(struct pv_mark *m);

static void on_records(struct pv_job *job)
{
    struct pv_mark *m = PV_CONTAINER_OF(job, struct pv_mark, job);
    if (ended(m))
        return;
    if (job->err != PV_OK) {
        finish(m, job->err);
        return;
    }
    if (m->progress != NULL)
        m->progress(m);
    next_tree(m);
}

static void submit(struct pv_mark *m, void (*run)(struct pv_job *, const struct pv_job_context *),
                   void (*done)(struct pv_job *))
{
    pv_pace_begin(&m->pace);
    m->running = true;
    m->job = (struct pv_job){.run = run, .done = done};
    pv_node_submit(m->files->config.node, &m->job);
}

static void read_records(struct pv_pace *pace)
{
    struct pv_mark *m = PV_CONTAINER_OF(pace, struct pv_mark, pace);
    wipe_roots(m);
    submit(m, run_records, on_records);
}

/* ---- trees ---- */

static const struct pv_mark_root *root(const struct pv_mark *m)
{
    return &m->roots[m->next_root - 1];
}

static void run_walk(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_mark *m = PV_CONTAINER_OF(job, struct pv_mark, job);
    job->err = PV_OK;
    m->descend = false;
    for (unsigned i = 0; job->err == PV_OK && i < ENTRIES_A_JOB && !m->descend; i++) {
        m->walk_ended = !pv_tree_walk_next(&m->walk, &m->next_node);
        if (m->walk_ended)
            return;
        job->err = mark(m, &m->next_node.id, root(m)->is_live, ctx);
        m->descend = m->next_node.kind == PV_BLOB_NODE;
    }
}

static void on_walked(struct pv_job *job);

static void walk_on(struct pv_pace *pace)
{
    submit(PV_CONTAINER_OF(pace, struct pv_mark, pace), run_walk, on_walked);
}

static void pass_over(struct pv_mark *m)
{
    m->broken += root(m)->is_live && !m->is_broken;
    m->is_broken = true;
    pv_pace_wait(&m->pace, walk_on);
}

static void on_node(struct pv_blob_load *l, enum pv_err err)
{
    struct pv_mark *m = PV_CONTAINER_OF(l, struct pv_mark, node);
    m->running = false;
    if (err == PV_OK)
        err = pv_tree_walk_open(&m->walk, l);
    if (err != PV_OK)
        pv_blob_load_reset(l);
    if (err == PV_OK)
        pv_pace_wait(&m->pace, walk_on);
    else if (err == PV_E_NOMEM)
        finish(m, err);
    else
        pass_over(m);
}

static void on_walked(struct pv_job *job)
{
    struct pv_mark *m = PV_CONTAINER_OF(job, struct pv_mark, job);
    if (ended(m))
        return;
    if (job->err != PV_OK) {
        finish(m, job->err);
    } else if (m->walk_ended) {
        end_tree(m);
        next_tree(m);
    } else if (m->descend && m->walk.depth < PV_TREE_NODES_OPEN_MAX) {
        m->running = true;
        pv_blob_load_start(&m->node, m->files->config.node, &m->next_node);
    } else if (m->descend) { /* too deep */
        pass_over(m);
    } else {
        pv_pace_wait(&m->pace, walk_on);
    }
}

static void on_granted(struct pv_budget_wait *wait)
{
    struct pv_mark *m = PV_CONTAINER_OF(wait, struct pv_mark, wait);
    m->reserved = PV_TREE_WALK_MEMORY;
    m->is_broken = false;
    pv_tree_walk_init(&m->walk, &root(m)->entry);
    walk_on(&m->pace);
}

static void next_tree(struct pv_mark *m)
{
    while (m->next_root < m->root_count) {
        if (m->roots[m->next_root++].entry.kind != PV_BLOB_NODE)
            continue;
        m->wait.granted = on_granted;
        if (pv_budget_take(&m->files->memory, PV_TREE_WALK_MEMORY, &m->wait))
            on_granted(&m->wait);
        return;
    }
    if (m->end)
        finish(m, PV_OK);
    else
        pv_pace_wait(&m->pace, read_records);
}

/* ---- life ---- */

static void on_node_released(struct pv_blob_load *l)
{
    struct pv_mark *m = PV_CONTAINER_OF(l, struct pv_mark, node);
    (void)ended(m);
}

void pv_mark_start(struct pv_mark *m)
{
    PV_ASSERT(!m->running);
    m->pace.files = m->files;
    m->pace.rests = m->rests;
    m->node.done = on_node;
    m->node.released = on_node_released;
    read_records(&m->pace);
}

bool pv_mark_cancel(struct pv_mark *m)
{
    bool loading = m->node.running;
    m->cancelled = true;
    if (loading && pv_blob_load_cancel(&m->node))
        m->running = false;
    if (m->running)
        return false;
    release(m);
    return true;
}
