/* One structure, one job at a time: 256 scans, then the commit that deletes, then it frees itself.
 */
#include "internal/upkeep/sweep.h"

#include "internal/base/mem.h"
#include "internal/base/sometimes.h"

#include <stddef.h>

struct sweep {
    struct pv_job job;
    struct pv_node *node;
    unsigned folder;
    struct pv_id ids[PV_UNKNOWN_MAX];
    size_t count;
    uint64_t unknown; /* in all, as the store counts them */
    struct pv_commit_op op;
};

static void run_scan(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct sweep *s = PV_CONTAINER_OF(job, struct sweep, job);
    struct pv_store_counts counts;
    job->err = pv_store_find_unknown(ctx->store, &s->folder, s->ids, PV_UNKNOWN_MAX, &s->count);
    if (job->err != PV_OK || s->folder < 256)
        return;
    job->err = pv_store_counts(ctx->store, &counts);
    if (job->err == PV_OK)
        s->unknown = counts.unknown_files;
}

static void on_deleted(struct pv_job *job)
{
    struct sweep *s = PV_CONTAINER_OF(job, struct sweep, job);
    struct pv_log *log = pv_node_config(s->node)->env->log;
    PV_SOMETIMES("store: blob files left by a crash");
    if (job->commit.err == PV_OK)
        PV_LOG(log, PV_LOG_INFO, PV_SUB_STORE, "deleted blob files left by a crash", "files",
               pv_log_u64(s->count));
    else
        PV_LOG(log, PV_LOG_WARN, PV_SUB_STORE, "cannot delete blob files left by a crash", "cause",
               pv_err_text(job->commit.err));
    pv_free(s);
}

static void on_scanned(struct pv_job *job)
{
    struct sweep *s = PV_CONTAINER_OF(job, struct sweep, job);
    struct pv_log *log = pv_node_config(s->node)->env->log;
    if (job->err != PV_OK) {
        PV_LOG(log, PV_LOG_WARN, PV_SUB_STORE, "cannot look for unknown blob files", "cause",
               pv_err_text(job->err));
        pv_free(s);
    } else if (pv_node_closing(s->node)) {
        pv_free(s);
    } else if (s->folder < 256) {
        pv_node_submit(s->node, job);
    } else if (s->unknown > PV_UNKNOWN_MAX) {
        PV_LOG(
            log, PV_LOG_ERROR, PV_SUB_STORE,
            "vault.db does not know these blob files: it is old or lost commits; nothing deleted",
            "files", pv_log_u64(s->unknown));
        pv_free(s);
    } else if (s->count == 0) {
        pv_free(s);
    } else {
        s->op = (struct pv_commit_op){.type = PV_COMMIT_UNKNOWN};
        s->op.u.unknown.ids = s->ids;
        s->op.u.unknown.count = s->count;
        s->job.run = NULL;
        s->job.done = on_deleted;
        s->job.commit = (struct pv_commit){.ops = &s->op, .count = 1};
        pv_node_submit(s->node, job);
    }
}

void pv_sweep_start(struct pv_node *node)
{
    struct sweep *s = pv_calloc(1, sizeof *s);
    if (s == NULL)
        return;
    s->node = node;
    s->job.run = run_scan;
    s->job.done = on_scanned;
    pv_node_submit(node, &s->job);
}
