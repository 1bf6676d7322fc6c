/* The way of every job: counted, handed to the host, and back to whoever submitted it. */
#include "internal/node/node_private.h"

/* The job may be freed, or submitted again, by its own done. closed may free the node. */
static void job_done(struct pv_job *job)
{
    struct pv_node *n = job->node;
    if (job->run == NULL && job->commit.err == PV_OK && n->committed != NULL)
        n->committed(n->committed_arg, &job->commit);
    job->done = job->after;
    job->done(job);
    pv_node_sweep(n);
    n->jobs_running--;
    if (n->closing && n->jobs_running == 0)
        n->closed(n->closed_arg);
}

void pv_node_submit(struct pv_node *n, struct pv_job *job)
{
    PV_ASSERT(job->done != NULL && job->done != job_done);
    n->jobs_running++;
    job->node = n;
    job->after = job->done;
    job->done = job_done;
    n->config.io.submit(n->config.io.ctx, job);
}

void pv_node_observe(struct pv_node *n, void (*committed)(void *arg, const struct pv_commit *c),
                     void *arg)
{
    n->committed = committed;
    n->committed_arg = arg;
}
