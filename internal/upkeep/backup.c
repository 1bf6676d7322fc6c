/*
 * age -> begin -> step... -> finish -> commit of how far it goes; each but the last a job.
 *
 * One structure, which frees itself. It holds no pointer that a late job could follow:
 * `upkeep` is cleared when it stops it.
 */
#include "internal/upkeep/backup.h"

#include "storage/backup.h"

struct backup {
    struct pv_upkeep *upkeep; /* NULL: stopped */
    struct pv_node *node;
    struct pv_job job;
    struct pv_backup b;
    bool anew, begun, end;
    pv_backup_fn done; /* NULL: nobody waits */
    void *ctx;
    uint64_t now_ms;
    uint8_t meta[PV_BACKUP_META_LEN];
    struct pv_commit_op op;
};

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct backup *x = PV_CONTAINER_OF(job, struct backup, job);
    uint64_t at_ms = 0;
    job->err = PV_OK;
    if (!x->begun) {
        job->err = pv_backup_age(ctx->store, &at_ms);
        /* Of a clock that was ahead: once more, now. */
        x->end = job->err == PV_OK && !x->anew && at_ms <= x->now_ms &&
                 x->now_ms - at_ms < PV_BACKUP_AGE_MS;
        if (job->err == PV_OK && !x->end)
            job->err = pv_backup_begin(ctx->store, &x->b, x->anew);
        x->begun = job->err == PV_OK && !x->end;
        return;
    }
    job->err = pv_backup_step(ctx->store, &x->b, &x->end);
    if (job->err == PV_OK && x->end)
        job->err = pv_backup_finish(ctx->store, &x->b, x->meta);
    if (job->err != PV_OK)
        pv_backup_abort(ctx->store, &x->b);
}

static void run_abort(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct backup *x = PV_CONTAINER_OF(job, struct backup, job);
    pv_backup_abort(ctx->store, &x->b);
}

static void finish(struct backup *x, enum pv_err err)
{
    pv_backup_fn done = x->done;
    void *ctx = x->ctx;
    if (err != PV_OK && err != PV_E_CANCELLED)
        PV_LOG(pv_node_config(x->node)->env->log, PV_LOG_WARN, PV_SUB_FILE,
               "records.bak is not up to date", "cause", pv_err_text(err));
    if (x->upkeep != NULL)
        x->upkeep->backup = NULL;
    pv_free(x);
    if (done != NULL)
        done(ctx, err);
}

static void on_aborted(struct pv_job *job)
{
    finish(PV_CONTAINER_OF(job, struct backup, job), PV_E_CANCELLED);
}

static void on_committed(struct pv_job *job)
{
    finish(PV_CONTAINER_OF(job, struct backup, job), job->commit.err);
}

static void on_run(struct pv_job *job)
{
    struct backup *x = PV_CONTAINER_OF(job, struct backup, job);
    if (job->err != PV_OK || !x->begun) {
        finish(x, job->err);
        return;
    }
    if (x->end) {
        x->op = (struct pv_commit_op){.type = PV_COMMIT_META};
        x->op.u.meta.key = PV_BACKUP_META;
        x->op.u.meta.value = x->meta;
        x->op.u.meta.len = sizeof x->meta;
        x->job = (struct pv_job){.done = on_committed, .commit = {.ops = &x->op, .count = 1}};
    } else if (x->upkeep == NULL || pv_node_closing(x->node)) {
        x->job = (struct pv_job){.run = run_abort, .done = on_aborted};
    }
    pv_node_submit(x->node, &x->job);
}

/* NULL: no memory. */
static struct backup *start(struct pv_upkeep *u, bool anew)
{
    const struct pv_files *f = u->config.files;
    struct backup *x = pv_calloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->anew = anew;
    x->upkeep = u;
    x->node = f->config.node;
    x->now_ms = pv_env_wall_ms(f->config.env);
    x->job = (struct pv_job){.run = run, .done = on_run};
    u->backup = x;
    pv_node_submit(x->node, &x->job);
    return x;
}

struct backup *pv_backup_renew(struct pv_upkeep *u, pv_backup_fn done, void *ctx)
{
    struct backup *x = u->backup == NULL ? start(u, true) : NULL;
    if (x != NULL) {
        x->done = done;
        x->ctx = ctx;
    }
    return x;
}

void pv_backup_let_go(struct backup *x)
{
    x->done = NULL;
}

static void on_due(struct pv_timer *timer)
{
    struct pv_upkeep *u = PV_CONTAINER_OF(timer, struct pv_upkeep, backup_timer);
    struct pv_files *f = u->config.files;
    if (u->backup == NULL)
        (void)start(u, false); /* lacking memory: in an hour, then */
    pv_timer_arm(&f->timers, timer, pv_env_mono_ms(f->config.env) + PV_BACKUP_LOOK_MS);
}

void pv_backup_schedule(struct pv_upkeep *u)
{
    struct pv_files *f = u->config.files;
    u->backup_timer.fire = on_due;
    pv_timer_arm(&f->timers, &u->backup_timer, pv_env_mono_ms(f->config.env));
}

void pv_backup_stop(struct pv_upkeep *u)
{
    pv_timer_disarm(&u->backup_timer);
    if (u->backup != NULL)
        u->backup->upkeep = NULL; /* whoever waits for it still hears */
    u->backup = NULL;
}
