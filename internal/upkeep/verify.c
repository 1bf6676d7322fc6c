/*
 * verify: is everything here that should be, and as it was written?
 *
 *   memory -> records (parse, hash) -> recount -> pages of vault.db and its backups, if every byte
 *   was asked for -> blobs -> trees of the files -> lost ones that nobody needs are struck off the
 *   list -> the reply
 *
 * Everything happens in jobs of bounded size. A client that does not read what it is told holds the
 * work up, not our memory.
 */
#include "internal/upkeep/verify_private.h"

enum {
    SLICE_BYTES = 8 * 1024 * 1024,
    PROGRESS_MS = 500,
    /* The open nodes and the one being loaded; a slice of blobs needs less. */
    MEMORY = (PV_TREE_NODES_OPEN_MAX + 1) * PV_BLOB_LEN_MAX,
};
_Static_assert((int)MEMORY <= (int)PV_FILES_MEMORY_MIN, "one verify always fits the budget");

static void release(struct pv_verify *v)
{
    struct pv_files *f = v->files;
    size_t reserved = v->reserved;
    pv_budget_cancel(&v->wait);
    pv_verify_trees_release(v);
    pv_backup_check_close(&v->backup);
    pv_map_release(&v->bad);
    pv_free(v->lost);
    pv_wipe(v, sizeof *v);
    pv_free(v);
    if (reserved > 0)
        pv_budget_give(&f->memory, reserved);
}

void pv_verify_fail(struct pv_verify *v, enum pv_err err)
{
    if (err == PV_E_CORRUPT)
        pv_request_fail(v->rq, PV_EXIT_CORRUPT, PV_DB_DAMAGED_TEXT " (not all was checked)");
    else
        pv_request_fail(v->rq, pv_exit_of(err),
                        "cannot read the vault: %s: not all of it was checked", pv_err_text(err));
    release(v);
}

/* ---- jobs ---- */

static void on_done(struct pv_job *job)
{
    struct pv_verify *v = PV_CONTAINER_OF(job, struct pv_verify, job);
    v->running = false;
    if (v->rq == NULL)
        release(v);
    else
        v->done(v, job->run == NULL ? job->commit.err : job->err);
}

void pv_verify_submit(struct pv_verify *v,
                      void (*run)(struct pv_job *, const struct pv_job_context *),
                      void (*done)(struct pv_verify *v, enum pv_err err))
{
    v->running = true;
    v->done = done;
    v->job = (struct pv_job){.run = run, .done = on_done};
    if (run == NULL)
        v->job.commit = (struct pv_commit){.ops = &v->op, .count = 1};
    pv_node_submit(v->files->config.node, &v->job);
}

void pv_verify_go_on(struct pv_verify *v, void (*next)(struct pv_verify *v))
{
    v->next = next;
    v->blocked = !v->rq->io->writable(v->rq);
    if (!v->blocked)
        next(v);
}

static void on_writable(struct pv_request *rq)
{
    struct pv_verify *v = rq->op;
    if (v->blocked)
        pv_verify_go_on(v, v->next);
}

static void on_cancel(struct pv_request *rq)
{
    struct pv_verify *v = rq->op;
    v->rq = NULL;
    pv_verify_abandon(v);
    pv_verify_side_abandon(v);
    if (!v->running)
        release(v);
}

static const struct pv_request_ops ops = {.on_writable = on_writable, .on_cancel = on_cancel};

static void tell_progress(struct pv_verify *v, const char *phase)
{
    uint64_t now_ms = pv_env_mono_ms(v->files->config.env);
    if (now_ms < v->told_ms + PROGRESS_MS)
        return;
    v->told_ms = now_ms;
    v->rq->io->event(v->rq,
                     json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "event", "progress", "phase",
                               phase, "bytes", (json_int_t)v->counts.bytes, "total_bytes",
                               (json_int_t)v->total_bytes, "records", (json_int_t)v->counts.records,
                               "files", (json_int_t)v->counts.files));
}

/* ---- the end ---- */

static void answer(struct pv_verify *v)
{
    const struct pv_verify_counts *c = &v->counts;
    uint64_t damaged = c->bad_blobs - c->repaired - c->needless;
    bool clean =
        damaged == 0 && c->bad_records == 0 && !c->inconsistent && !c->bad_pages && !c->bad_backup;
    pv_request_ok(
        v->rq,
        json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, "
                  "s:b}",
                  "depth", v->deep ? "every byte" : "structure", "clean", (int)clean, "blobs",
                  (json_int_t)c->blobs, "bytes", (json_int_t)c->bytes, "records",
                  (json_int_t)c->records, "files", (json_int_t)c->files, "unreadable_records",
                  (json_int_t)c->unreadable_records, "bad_records", (json_int_t)c->bad_records,
                  "bad_blobs", (json_int_t)c->bad_blobs, "repaired", (json_int_t)c->repaired,
                  "damaged", (json_int_t)damaged, "affected_files", (json_int_t)c->affected_files,
                  "consistent", (int)!c->inconsistent, "bad_pages", (int)c->bad_pages, "bad_backup",
                  (int)c->bad_backup));
    release(v);
}

/* ---- lost blobs that no file needs ---- */

static void run_lost(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_verify *v = PV_CONTAINER_OF(job, struct pv_verify, job);
    v->lost = pv_calloc(PV_LOST_MAX, sizeof *v->lost);
    job->err = v->lost == NULL ? PV_E_NOMEM : pv_store_lost(ctx->store, v->lost, &v->lost_count);
}

static void strike_next(struct pv_verify *v);

static void on_struck(struct pv_verify *v, enum pv_err err)
{
    if (err != PV_OK)
        pv_verify_fail(v, err);
    else
        strike_next(v);
}

static void strike_next(struct pv_verify *v)
{
    while (v->lost_next < v->lost_count) {
        const struct pv_id *id = &v->lost[v->lost_next++];
        if (pv_verify_is_needed(v, id))
            continue;
        v->counts.needless += pv_map_get(&v->bad, id->b) != NULL;
        v->op = (struct pv_commit_op){.type = PV_COMMIT_BAD};
        v->op.u.bad.id = *id;
        v->op.u.bad.why = PV_BAD_NEEDLESS;
        pv_verify_submit(v, NULL, on_struck);
        return;
    }
    answer(v);
}

static void on_lost(struct pv_verify *v, enum pv_err err)
{
    if (err != PV_OK)
        pv_verify_fail(v, err);
    else
        strike_next(v);
}

void pv_verify_files_done(struct pv_verify *v)
{
    /* What cannot be read may need them. */
    if (v->counts.unreadable_records > 0 || v->bad_is_full || v->skipped_nodes)
        answer(v);
    else
        pv_verify_submit(v, run_lost, on_lost);
}

/* ---- blobs ---- */

static void run_blobs(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_verify *v = PV_CONTAINER_OF(job, struct pv_verify, job);
    job->err = pv_store_check_blobs(ctx->store, &v->blobs);
}

static void blobs_settled(struct pv_verify *v)
{
    v->finding_count = 0;
    pv_verify_go_on(v, v->blobs.end ? pv_verify_trees : pv_verify_blobs);
}

static void on_blobs(struct pv_verify *v, enum pv_err err)
{
    if (err != PV_OK) {
        pv_verify_fail(v, err);
        return;
    }
    v->counts.blobs += v->blobs.blobs;
    v->counts.bytes += v->blobs.bytes;
    tell_progress(v, "blobs");
    for (size_t i = 0; i < v->blobs.count; i++)
        v->findings[i] = (struct pv_verify_finding){.blob = v->blobs.findings[i]};
    v->finding_count = v->blobs.count;
    pv_verify_settle(v, blobs_settled);
}

void pv_verify_blobs(struct pv_verify *v)
{
    pv_verify_submit(v, run_blobs, on_blobs);
}

/* ---- records ---- */

static void run_recount(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_verify *v = PV_CONTAINER_OF(job, struct pv_verify, job);
    bool same = false;
    job->err = pv_store_recount(ctx->store, &same);
    v->counts.inconsistent = !same;
}

static void on_recount(struct pv_verify *v, enum pv_err err)
{
    if (err != PV_OK) {
        pv_verify_fail(v, err);
        return;
    }
    if (v->counts.inconsistent)
        v->rq->io->event(v->rq,
                         json_pack("{s:s, s:s, s:s}", "event", "problem", "what", "counts", "cause",
                                   "the digest or the counts are not those of the "
                                   "rows: a restart counts anew"));
    pv_verify_go_on(v, pv_verify_side);
}

static void recount(struct pv_verify *v)
{
    pv_verify_submit(v, run_recount, on_recount);
}

static void run_records(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_verify *v = PV_CONTAINER_OF(job, struct pv_verify, job);
    struct pv_store_counts counts = {0};
    job->err = pv_store_check_records(ctx->store, &v->records);
    if (job->err == PV_OK)
        job->err = pv_store_counts(ctx->store, &counts);
    v->total_bytes = counts.blob_bytes;
}

static void check_records(struct pv_verify *v);

static void on_records(struct pv_verify *v, enum pv_err err)
{
    if (err != PV_OK) {
        pv_verify_fail(v, err);
        return;
    }
    v->counts.records += v->records.records;
    v->counts.bad_records += v->records.count;
    for (size_t i = 0; i < v->records.count; i++) {
        char rid[PV_ID_HEX_LEN + 1];
        pv_id_hex(rid, &v->records.bad[i]);
        v->rq->io->event(v->rq, json_pack("{s:s, s:s, s:s, s:s}", "event", "problem", "what",
                                          "record", "record", rid, "cause",
                                          "it is not what its row in vault.db says"));
    }
    tell_progress(v, "records");
    pv_verify_go_on(v, v->records.end ? recount : check_records);
}

static void check_records(struct pv_verify *v)
{
    pv_verify_submit(v, run_records, on_records);
}

/* ---- the beginning ---- */

static void begin(struct pv_verify *v)
{
    v->reserved = MEMORY;
    check_records(v);
}

static void on_granted(struct pv_budget_wait *wait)
{
    begin(PV_CONTAINER_OF(wait, struct pv_verify, wait));
}

void pv_query_verify(struct pv_upkeep *u, struct pv_request *rq)
{
    struct pv_files *f = u->config.files;
    uint64_t seed;
    struct pv_verify *v = pv_calloc(1, sizeof *v);
    if (v == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    v->files = f;
    v->upkeep = u;
    v->rq = rq;
    v->deep = json_is_true(json_object_get(rq->args, "deep"));
    v->repair = json_is_true(json_object_get(rq->args, "repair"));
    v->blobs.depth = v->deep ? PV_CHECK_EVERY_BYTE : PV_CHECK_STRUCTURE;
    v->blobs.max_bytes = SLICE_BYTES;
    pv_env_random(f->config.env, &seed, sizeof seed);
    pv_map_init(&v->bad, PV_ID_LEN, PV_VERIFY_BAD_MAX, seed);
    v->told_ms = pv_env_mono_ms(f->config.env);
    rq->op = v;
    rq->ops = &ops;
    v->wait.granted = on_granted;
    if (pv_budget_take(&f->memory, MEMORY, &v->wait))
        begin(v);
}
