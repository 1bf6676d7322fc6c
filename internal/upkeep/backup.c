/*
 * For each file: begin -> step... -> finish -> commit of how far it goes; each but the last a job.
 *
 * One structure, which frees itself. It holds no pointer that a late job could follow: `upkeep` is
 * cleared when it stops it.
 */
#include "internal/upkeep/backup.h"

struct backup {
    struct pv_upkeep *upkeep; /* NULL: stopped */
    struct pv_node *node;
    struct pv_job job;
    enum pv_backup_what what, last; /* from this file to that one */
    enum pv_backup_mode mode;
    struct pv_backup b;
    bool begun, end;
    pv_backup_fn done; /* NULL: nobody waits */
    void *ctx;
    uint8_t meta[PV_BACKUP_META_LEN];
    struct pv_commit_op op;
};

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct backup *x = PV_CONTAINER_OF(job, struct backup, job);
    if (!x->begun) {
        job->err = pv_backup_begin(ctx->store, x->what, x->mode, &x->b);
        x->begun = job->err == PV_OK;
        return;
    }
    job->err = pv_backup_step(ctx->store, &x->b, &x->end);
    if (job->err == PV_OK && x->end && x->b.changed)
        job->err = pv_backup_finish(ctx->store, &x->b, x->meta);
    if (job->err != PV_OK)
        pv_backup_abort(ctx->store, &x->b);
}

static void run_abort(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct backup *x = PV_CONTAINER_OF(job, struct backup, job);
    pv_backup_abort(ctx->store, &x->b);
}

static void release(struct backup *x, enum pv_err err)
{
    pv_backup_fn done = x->done;
    void *ctx = x->ctx;
    if (x->upkeep != NULL)
        x->upkeep->backup = NULL;
    pv_free(x);
    if (done != NULL)
        done(ctx, err);
}

static void on_aborted(struct pv_job *job)
{
    release(PV_CONTAINER_OF(job, struct backup, job), PV_E_CANCELLED);
}

static void on_run(struct pv_job *job);

static void step(struct backup *x)
{
    x->job = (struct pv_job){.run = run, .done = on_run};
    pv_node_submit(x->node, &x->job);
}

/* This file is done, or could not be: on to the next one. */
static void next_file(struct backup *x, enum pv_err err)
{
    if (err != PV_OK && err != PV_E_CANCELLED)
        PV_LOG(pv_node_config(x->node)->env->log, PV_LOG_WARN, PV_SUB_FILE,
               "backup is not up to date", "file", pv_backup_file(x->what), "cause",
               pv_err_text(err));
    if (x->what == x->last || x->upkeep == NULL || pv_node_closing(x->node)) {
        release(x, err);
        return;
    }
    x->what++;
    x->begun = x->end = false;
    step(x);
}

static void on_committed(struct pv_job *job)
{
    next_file(PV_CONTAINER_OF(job, struct backup, job), job->commit.err);
}

static void on_run(struct pv_job *job)
{
    struct backup *x = PV_CONTAINER_OF(job, struct backup, job);
    if (job->err != PV_OK || (x->end && !x->b.changed)) {
        next_file(x, job->err);
    } else if (x->end) {
        x->op = (struct pv_commit_op){.type = PV_COMMIT_META};
        x->op.u.meta.key = pv_backup_file(x->what);
        x->op.u.meta.value = x->meta;
        x->op.u.meta.len = sizeof x->meta;
        x->job = (struct pv_job){.done = on_committed, .commit = {.ops = &x->op, .count = 1}};
        pv_node_submit(x->node, &x->job);
    } else if (x->upkeep == NULL || pv_node_closing(x->node)) {
        x->job = (struct pv_job){.run = run_abort, .done = on_aborted};
        pv_node_submit(x->node, &x->job);
    } else {
        step(x);
    }
}

/* NULL: no memory. */
static struct backup *start(struct pv_upkeep *u, enum pv_backup_what first,
                            enum pv_backup_what last, enum pv_backup_mode mode)
{
    struct backup *x = pv_calloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->upkeep = u;
    x->node = u->config.files->config.node;
    x->what = first;
    x->last = last;
    x->mode = mode;
    u->backup = x;
    step(x);
    return x;
}

struct backup *pv_backup_renew(struct pv_upkeep *u, enum pv_backup_what what, pv_backup_fn done,
                               void *ctx)
{
    struct backup *x = u->backup == NULL ? start(u, what, what, PV_BACKUP_ANEW) : NULL;
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
    bool tidy = u->backups++ % PV_BACKUP_TIDY_EVERY == 0;
    if (u->backup == NULL) /* lacking memory: in an hour, then */
        (void)start(u, 0, PV_BACKUP_COUNT - 1, tidy ? PV_BACKUP_TIDY : PV_BACKUP_APPEND);
    pv_timer_arm(&f->timers, timer, pv_env_mono_ms(f->config.env) + PV_BACKUP_EVERY_MS);
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
