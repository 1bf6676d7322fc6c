/*
 * The job host: a fixed number of threads for jobs with a run, the committer for the rest, and a
 * list of what is done, which the loop thread drains.
 *
 * Own threads instead of libuv's work queue because a job must not need memory to be submitted:
 * they are linked through pv_job.next. Jobs block on the vault's disk and on nothing else, so the
 * pool cannot deadlock.
 */
#ifndef PV_SERVER_POOL_H
#define PV_SERVER_POOL_H

#include "internal/base/limits.h"
#include "internal/node/job.h"

struct pv_pool;

/* threads 0: cores + 2, at most 16. wake runs on any thread when something was done: it must make
 * the loop thread call pv_pool_drain, and neither block nor call the pool. What context points to
 * and committer are borrowed; the committer may outlive the pool. LIMIT: no thread may be started.
 */
PV_MUST enum pv_err pv_pool_start(struct pv_pool **out, unsigned threads,
                                  const struct pv_job_context *context,
                                  struct pv_committer *committer, void (*wake)(void *arg),
                                  void *arg);
void pv_pool_submit(struct pv_pool *p, struct pv_job *job); /* any thread; cannot fail */
/* For jobs that begin from now on; others go on with the one they began with. */
void pv_pool_set_context(struct pv_pool *p, const struct pv_job_context *context);
void pv_pool_drain(struct pv_pool *p); /* loop thread: calls done of what is finished */
/* Every job must be done already. Ends the threads, frees. */
void pv_pool_stop(struct pv_pool *p);

#endif
