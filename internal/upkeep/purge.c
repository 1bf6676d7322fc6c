/*
 *   read (job: open, seal again) -> commit -> tell the members -> read ...
 *
 * A tombstone that cannot be opened keeps what it has: the key may come back.
 */
#include "internal/upkeep/purge.h"

#include "internal/base/mem.h"
#include "internal/file/file_records.h"
#include "internal/file/open_record.h"

static void drop_envelopes(struct pv_purge *p)
{
    while (p->op_count > 0)
        pv_free(p->envelopes[--p->op_count]);
}

/* True: the owner is gone, and now we are. */
static bool ended(struct pv_purge *p)
{
    p->running = false;
    if (!p->cancelled)
        return false;
    drop_envelopes(p);
    p->released(p);
    return true;
}

/* ---- the job ---- */

struct reading {
    struct pv_purge *p;
    const struct pv_job_context *ctx;
    uint8_t *plain, *body; /* PV_RECORD_BODY_MAX each */
    uint64_t now_ms;
    enum pv_err err;
};

static enum pv_err seal(struct reading *r, const struct pv_record *rec,
                        const struct pv_file_body *file)
{
    struct pv_purge *p = r->p;
    uint8_t *env = NULL;
    size_t len = 0;
    struct pv_id hash;
    struct pv_record_draft draft = {.type = PV_RECORD_FILE,
                                    .flags = PV_RECORD_TOMBSTONE,
                                    .rid = rec->rid,
                                    .hlc = rec->hlc,
                                    .epoch = pv_epoch_of(pv_env_wall_ms(r->ctx->env)),
                                    .body = r->body};
    enum pv_err err = pv_file_body_encode(r->body, &draft.body_len, file, r->ctx->identity->seed);
    if (err == PV_OK)
        err = pv_seal_record(&env, &len, &hash, &draft, pv_keyring_find(r->ctx->keyring, &rec->kid),
                             r->ctx);
    if (err != PV_OK)
        return err;
    p->envelopes[p->op_count] = env;
    p->ops[p->op_count] = (struct pv_commit_op){.type = PV_COMMIT_RECORD};
    p->ops[p->op_count].u.record.env = env;
    p->ops[p->op_count++].u.record.len = len;
    return PV_OK;
}

static enum pv_err take_tombstone(struct reading *r, struct pv_record *rec, const uint8_t *env,
                                  size_t len)
{
    struct pv_file_body file;
    size_t old_len = rec->body_len;
    enum pv_err err = pv_open_any(r->plain, rec, env, len, r->ctx);
    if (err == PV_OK)
        err = pv_file_body_decode(&file, r->plain, rec->body_len, false);
    if (err != PV_OK)
        return err == PV_E_NOMEM ? err : PV_OK;
    file.is_purged = file.is_inline && file.size > 0;
    file.author.hlc = rec->hlc;
    file.author.flags = PV_RECORD_TOMBSTONE;
    size_t new_len = pv_padme(pv_file_body_len(&file));
    if (file.is_purged && new_len < old_len) {
        r->p->count++;
        r->p->bytes += old_len - (new_len > PV_RECORD_BODY_MIN ? new_len : PV_RECORD_BODY_MIN);
        if (!r->p->dry_run)
            err = seal(r, rec, &file);
    }
    pv_wipe(&file, sizeof file);
    return err;
}

static bool take_record(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct reading *r = arg;
    struct pv_record rec;
    if (!pending && pv_record_parse(&rec, env, len) == PV_OK &&
        (rec.flags & PV_RECORD_TOMBSTONE) != 0 && pv_purge_may(&rec) &&
        pv_hlc_ms(rec.hlc) + r->p->grace_ms <= r->now_ms)
        r->err = take_tombstone(r, &rec, env, len);
    return r->err == PV_OK;
}

static void run_records(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_purge *p = PV_CONTAINER_OF(job, struct pv_purge, job);
    struct reading r = {.p = p,
                        .ctx = ctx,
                        .plain = pv_malloc(PV_RECORD_BODY_MAX),
                        .body = pv_malloc(PV_RECORD_BODY_MAX),
                        .now_ms = pv_store_time_ms(ctx->store)};
    job->err = PV_E_NOMEM;
    if (r.plain != NULL && r.body != NULL)
        job->err = pv_store_records_since(ctx->store, PV_RECORD_FILE, &p->record_seq,
                                          PV_PURGE_BATCH, take_record, &r, &p->end);
    if (job->err == PV_OK)
        job->err = r.err;
    if (r.plain != NULL)
        pv_wipe(r.plain, PV_RECORD_BODY_MAX);
    if (r.body != NULL)
        pv_wipe(r.body, PV_RECORD_BODY_MAX);
    pv_free(r.plain);
    pv_free(r.body);
}

/* ---- the rounds ---- */

static void read_records(struct pv_pace *pace);

static void finish(struct pv_purge *p, enum pv_err err)
{
    drop_envelopes(p);
    p->done(p, err);
}

static void on_committed(struct pv_job *job)
{
    struct pv_purge *p = PV_CONTAINER_OF(job, struct pv_purge, job);
    struct pv_node *n = p->files->config.node;
    for (size_t i = 0; i < p->op_count && job->commit.err == PV_OK; i++)
        if (p->ops[i].applied && !pv_node_closing(n))
            pv_publish_now(n, p->ops[i].u.record.env, p->ops[i].u.record.len);
    if (ended(p))
        return;
    drop_envelopes(p);
    if (job->commit.err != PV_OK || p->end)
        finish(p, job->commit.err);
    else
        pv_pace_wait(&p->pace, read_records);
}

static void on_records(struct pv_job *job)
{
    struct pv_purge *p = PV_CONTAINER_OF(job, struct pv_purge, job);
    if (ended(p))
        return;
    if (job->err != PV_OK || (p->op_count == 0 && p->end)) {
        finish(p, job->err);
    } else if (p->op_count == 0) {
        pv_pace_wait(&p->pace, read_records);
    } else {
        p->running = true;
        p->job =
            (struct pv_job){.done = on_committed, .commit = {.ops = p->ops, .count = p->op_count}};
        pv_node_submit(p->files->config.node, &p->job);
    }
}

static void read_records(struct pv_pace *pace)
{
    struct pv_purge *p = PV_CONTAINER_OF(pace, struct pv_purge, pace);
    pv_pace_begin(&p->pace);
    p->running = true;
    p->job = (struct pv_job){.run = run_records, .done = on_records};
    pv_node_submit(p->files->config.node, &p->job);
}

/* ---- life ---- */

void pv_purge_start(struct pv_purge *p)
{
    p->pace.files = p->files;
    p->pace.rests = p->rests;
    read_records(&p->pace);
}

bool pv_purge_cancel(struct pv_purge *p)
{
    p->cancelled = true;
    if (p->running)
        return false;
    pv_pace_cancel(&p->pace);
    drop_envelopes(p);
    return true;
}
