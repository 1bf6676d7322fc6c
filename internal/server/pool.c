/*
 * Two lists under one mutex: jobs to run, and jobs done. Threads take from the first and append to
 * the second; commits go to the committer, whose callback appends to the second as well.
 */
#include "internal/server/pool.h"

#include "internal/base/mem.h"
#include "internal/base/thread.h"

#include <stddef.h>

#include <unistd.h>

struct job_list {
    struct pv_job *head, *tail;
};

struct pv_pool {
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct job_list todo, finished;
    bool stopping;
    struct pv_job_context context;
    struct pv_committer *committer;
    void (*wake)(void *arg);
    void *arg;
    unsigned thread_count;
    pthread_t threads[PV_POOL_THREADS_MAX];
};

static void list_append(struct job_list *l, struct pv_job *job)
{
    job->next = NULL;
    if (l->tail != NULL)
        l->tail->next = job;
    else
        l->head = job;
    l->tail = job;
}

static void finish(struct pv_pool *p, struct pv_job *job)
{
    pthread_mutex_lock(&p->mutex);
    bool first = p->finished.head == NULL;
    list_append(&p->finished, job);
    /* Not the first: a wake is under way that will see this one too. Under the mutex, because once
     * the loop thread has drained the last job it may end the pool. */
    if (first)
        p->wake(p->arg);
    pthread_mutex_unlock(&p->mutex);
}

static void *worker(void *arg)
{
    struct pv_pool *p = arg;
    pthread_mutex_lock(&p->mutex);
    for (;;) {
        while (p->todo.head == NULL && !p->stopping)
            pthread_cond_wait(&p->work, &p->mutex);
        struct pv_job *job = p->todo.head;
        if (job == NULL)
            break;
        p->todo.head = job->next;
        if (p->todo.head == NULL)
            p->todo.tail = NULL;
        const struct pv_job_context context = p->context;
        pthread_mutex_unlock(&p->mutex);
        job->run(job, &context);
        finish(p, job);
        pthread_mutex_lock(&p->mutex);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

static unsigned default_threads(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    long n = cores > 0 ? cores + 2 : 4;
    return n > PV_POOL_THREADS_MAX ? PV_POOL_THREADS_MAX : (unsigned)n;
}

enum pv_err pv_pool_start(struct pv_pool **out, unsigned threads,
                          const struct pv_job_context *context, struct pv_committer *committer,
                          void (*wake)(void *arg), void *arg)
{
    struct pv_pool *p = pv_calloc(1, sizeof *p);
    if (p == NULL)
        return PV_E_NOMEM;
    p->context = *context;
    p->committer = committer;
    p->wake = wake;
    p->arg = arg;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->work, NULL);
    unsigned wanted = threads == 0 ? default_threads() : threads;
    while (p->thread_count < wanted && p->thread_count < PV_POOL_THREADS_MAX &&
           pv_thread_start(&p->threads[p->thread_count], worker, p))
        p->thread_count++;
    if (p->thread_count == 0) {
        pv_pool_stop(p);
        return PV_E_LIMIT;
    }
    *out = p; /* fewer threads than wanted are slower, not wrong */
    return PV_OK;
}

static void commit_done(struct pv_commit *c)
{
    struct pv_job *job = PV_CONTAINER_OF(c, struct pv_job, commit);
    finish(c->ctx, job);
}

void pv_pool_submit(struct pv_pool *p, struct pv_job *job)
{
    if (job->run == NULL) {
        job->commit.done = commit_done;
        job->commit.ctx = p;
        pv_committer_submit(p->committer, &job->commit);
        return;
    }
    pthread_mutex_lock(&p->mutex);
    list_append(&p->todo, job);
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->mutex);
}

void pv_pool_set_context(struct pv_pool *p, const struct pv_job_context *context)
{
    pthread_mutex_lock(&p->mutex);
    p->context = *context;
    pthread_mutex_unlock(&p->mutex);
}

void pv_pool_drain(struct pv_pool *p)
{
    pthread_mutex_lock(&p->mutex);
    struct pv_job *job = p->finished.head;
    p->finished = (struct job_list){NULL, NULL};
    pthread_mutex_unlock(&p->mutex);
    while (job != NULL) {
        struct pv_job *next = job->next; /* done may free the job or submit it again */
        job->done(job);
        job = next;
    }
}

void pv_pool_stop(struct pv_pool *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->mutex);
    PV_ASSERT(p->todo.head == NULL && p->finished.head == NULL);
    p->stopping = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->mutex);
    for (unsigned i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->mutex);
    pv_free(p);
}
