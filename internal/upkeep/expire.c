/* A round: read (job) -> forget (commit) -> read ..., until nothing is found. It is part of struct
 * pv_upkeep, which outlives the node's jobs. */
#include "internal/upkeep/expire.h"

#include "internal/node/sync.h"
#include "internal/upkeep/upkeep_private.h"

static struct pv_upkeep *upkeep_of(struct pv_job *job)
{
    return PV_CONTAINER_OF(PV_CONTAINER_OF(job, struct pv_expire, job), struct pv_upkeep, expire);
}

static struct pv_node *node_of(const struct pv_upkeep *u)
{
    return u->config.files->config.node;
}

static void arm(struct pv_upkeep *u)
{
    struct pv_files *f = u->config.files;
    const uint64_t day_ms = 86400000;
    uint64_t wait_ms = day_ms - pv_env_wall_ms(f->config.env) % day_ms;
    if (wait_ms > PV_EXPIRE_EVERY_MS)
        wait_ms = PV_EXPIRE_EVERY_MS;
    pv_timer_arm(&f->timers, &u->expire.timer, pv_env_mono_ms(f->config.env) + wait_ms);
}

static void finish(struct pv_upkeep *u, enum pv_err err)
{
    struct pv_log *log = u->config.files->config.env->log;
    if (err != PV_OK)
        PV_LOG(log, PV_LOG_WARN, PV_SUB_FILE, "cannot forget old removals", "cause",
               pv_err_text(err));
    if (u->expire.forgotten > 0) {
        PV_LOG(log, PV_LOG_INFO, PV_SUB_FILE, "old removals forgotten", "records",
               pv_log_u64(u->expire.forgotten));
        pv_sync_changed(node_of(u));
    }
    if (!u->expire.stopped)
        arm(u);
}

static void on_read(struct pv_job *job);

static void run_read(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_expire *e = PV_CONTAINER_OF(job, struct pv_expire, job);
    job->err = pv_store_tombstones(ctx->store, e->below, &e->after, e->found, PV_EXPIRE_BATCH,
                                   &e->count, &e->end);
}

static void read_next(struct pv_upkeep *u)
{
    u->expire.job = (struct pv_job){.run = run_read, .done = on_read};
    pv_node_submit(node_of(u), &u->expire.job);
}

static void go_on(struct pv_upkeep *u, enum pv_err err)
{
    if (err == PV_OK && !u->expire.end && !u->expire.stopped)
        read_next(u);
    else
        finish(u, err);
}

static void on_forgotten(struct pv_job *job)
{
    struct pv_upkeep *u = upkeep_of(job);
    u->expire.forgotten += job->commit.err == PV_OK ? u->expire.op.u.forget.forgotten : 0;
    if (!pv_node_closing(node_of(u)))
        go_on(u, job->commit.err);
}

static void on_read(struct pv_job *job)
{
    struct pv_upkeep *u = upkeep_of(job);
    struct pv_expire *e = &u->expire;
    if (pv_node_closing(node_of(u)))
        return;
    if (job->err != PV_OK || e->count == 0) {
        go_on(u, job->err);
        return;
    }
    e->op = (struct pv_commit_op){.type = PV_COMMIT_FORGET};
    e->op.u.forget.records = e->found;
    e->op.u.forget.count = e->count;
    e->job = (struct pv_job){.done = on_forgotten, .commit = {.ops = &e->op, .count = 1}};
    pv_node_submit(node_of(u), &e->job);
}

static void on_due(struct pv_timer *timer)
{
    struct pv_expire *e = PV_CONTAINER_OF(timer, struct pv_expire, timer);
    struct pv_upkeep *u = PV_CONTAINER_OF(e, struct pv_upkeep, expire);
    e->below = pv_hlc_remembered(pv_env_wall_ms(u->config.files->config.env));
    e->after = (struct pv_id){{0}};
    e->forgotten = 0;
    read_next(u);
}

void pv_expire_schedule(struct pv_upkeep *u)
{
    struct pv_files *f = u->config.files;
    u->expire.stopped = false;
    u->expire.timer.fire = on_due;
    pv_timer_arm(&f->timers, &u->expire.timer, pv_env_mono_ms(f->config.env));
}

void pv_expire_stop(struct pv_upkeep *u)
{
    u->expire.stopped = true;
    pv_timer_disarm(&u->expire.timer);
}
