#include "internal/server/pool.h"
#include "tests/unit/storage_fixture.h"

#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>

__attribute__((weak)) atomic_int pvt_fatal_count;

TestSuite(pool, .timeout = 60);

struct host {
    struct pvt_vault *v;
    struct pv_committer *committer;
    struct pv_job_context context;
    struct pv_pool *pool;
    sem_t woken;
    atomic_int wakes;
};

static void wake(void *arg)
{
    struct host *h = arg;
    atomic_fetch_add(&h->wakes, 1);
    sem_post(&h->woken);
}

static struct host *host_new(unsigned threads)
{
    struct host *h = calloc(1, sizeof *h);
    h->v = pvt_vault_new_open();
    cr_assert_eq(pv_committer_start(&h->committer, h->v->store), PV_OK);
    sem_init(&h->woken, 0, 0);
    h->context = (struct pv_job_context){.store = h->v->store, .env = &h->v->env.env};
    cr_assert_eq(pv_pool_start(&h->pool, threads, &h->context, h->committer, wake, h), PV_OK);
    return h;
}

/* In the order of the server: the pool first. */
static void host_free(struct host *h)
{
    pv_pool_stop(h->pool);
    pv_committer_stop(h->committer);
    sem_destroy(&h->woken);
    pvt_vault_free(h->v);
    free(h);
}

struct task {
    struct pv_job job;
    struct host *host;
    unsigned runs_left; /* submitted again from done */
    unsigned done;
    pthread_t ran_on;
    bool saw_context;
    struct pvt_blob blob;
    struct pv_commit_op op;
};

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct task *t = PV_CONTAINER_OF(job, struct task, job);
    t->ran_on = pthread_self();
    t->saw_context = ctx->env == t->host->context.env && ctx->keyring == t->host->context.keyring;
}

static unsigned finished; /* by all tasks, on this thread */

static void done(struct pv_job *job)
{
    struct task *t = PV_CONTAINER_OF(job, struct task, job);
    t->done++;
    finished++;
    if (--t->runs_left > 0)
        pv_pool_submit(t->host->pool, job);
}

static void drain_until(struct host *h, unsigned count)
{
    while (finished < count) {
        sem_wait(&h->woken);
        pv_pool_drain(h->pool);
    }
}

Test(pool, runs_jobs_on_its_threads)
{
    enum { TASKS = 200, RUNS = 20 };
    struct host *h = host_new(4);
    struct task *tasks = calloc(TASKS, sizeof *tasks);
    for (int i = 0; i < TASKS; i++) {
        tasks[i] = (struct task){.job = {.run = run, .done = done}, .host = h, .runs_left = RUNS};
        pv_pool_submit(h->pool, &tasks[i].job);
    }
    cr_assert_eq(finished, 0, "done never runs inside submit");
    drain_until(h, TASKS * RUNS);
    for (int i = 0; i < TASKS; i++) {
        cr_assert_eq(tasks[i].done, RUNS);
        cr_assert(tasks[i].saw_context);
        cr_assert_not(pthread_equal(tasks[i].ran_on, pthread_self()));
    }
    cr_assert_leq(atomic_load(&h->wakes), TASKS * RUNS);
    /* Jobs that begin after a change see it. */
    struct pv_keyring other;
    h->context.keyring = &other;
    pv_pool_set_context(h->pool, &h->context);
    tasks[0] = (struct task){.job = {.run = run, .done = done}, .host = h, .runs_left = 1};
    pv_pool_submit(h->pool, &tasks[0].job);
    drain_until(h, TASKS * RUNS + 1);
    cr_assert(tasks[0].saw_context);
    free(tasks);
    host_free(h);
}

/* One thread: in the order of submission, and drained in that order. */
static unsigned order[100], ordered;

static void note_order(struct pv_job *job)
{
    order[ordered++] = PV_CONTAINER_OF(job, struct task, job)->runs_left;
    finished++;
}

Test(pool, one_thread_keeps_the_order)
{
    struct host *h = host_new(1);
    struct task tasks[PV_COUNT(order)];
    for (unsigned i = 0; i < PV_COUNT(tasks); i++) {
        tasks[i] =
            (struct task){.job = {.run = run, .done = note_order}, .host = h, .runs_left = i};
        pv_pool_submit(h->pool, &tasks[i].job);
    }
    drain_until(h, PV_COUNT(tasks));
    for (unsigned i = 0; i < PV_COUNT(tasks); i++)
        cr_assert_eq(order[i], i);
    host_free(h);
}

/* What comes while a list is drained is for the next drain: the loop gets its turn. */
Test(pool, a_drain_ends)
{
    struct host *h = host_new(2);
    struct task t = {.job = {.run = run, .done = done}, .host = h, .runs_left = 50};
    pv_pool_submit(h->pool, &t.job);
    for (unsigned drains = 1; t.runs_left > 0; drains++) {
        sem_wait(&h->woken);
        pv_pool_drain(h->pool);
        cr_assert_leq(t.done, drains);
    }
    pv_pool_drain(h->pool); /* nothing there */
    host_free(h);
}

static void *submitter(void *arg)
{
    struct task *tasks = arg;
    for (int i = 0; i < 500; i++)
        pv_pool_submit(tasks[i].host->pool, &tasks[i].job);
    return NULL;
}

Test(pool, submitted_from_any_thread)
{
    enum { THREADS = 4, EACH = 500 };
    struct host *h = host_new(3);
    struct task *tasks = calloc(THREADS * EACH, sizeof *tasks);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS * EACH; i++)
        tasks[i] = (struct task){.job = {.run = run, .done = done}, .host = h, .runs_left = 1};
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, submitter, &tasks[i * EACH]);
    drain_until(h, THREADS * EACH);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS * EACH; i++)
        cr_assert_eq(tasks[i].done, 1);
    free(tasks);
    host_free(h);
}

Test(pool, commits_go_to_the_committer)
{
    enum { TASKS = 100 };
    struct host *h = host_new(2);
    struct task *tasks = calloc(TASKS, sizeof *tasks);
    for (unsigned i = 0; i < TASKS; i++) {
        struct task *t = &tasks[i];
        *t = (struct task){.host = h, .runs_left = i % 2 + 1, .blob = pvt_blob_make(i, 500)};
        t->op = pvt_blob_op(&t->blob);
        t->job = (struct pv_job){.done = done, .commit = {.ops = &t->op, .count = 1}};
        pv_pool_submit(h->pool, &t->job);
    }
    drain_until(h, TASKS + TASKS / 2);
    for (unsigned i = 0; i < TASKS; i++) {
        cr_assert_eq(tasks[i].job.commit.err, PV_OK);
        cr_assert(pvt_has_blob(h->v, &tasks[i].blob));
        pvt_blob_free(&tasks[i].blob);
    }
    free(tasks);
    host_free(h);
}

/* The pool ends as soon as the last job was drained, while the committer's thread may still be on
 * its way out of the callback. */
Test(pool, ends_right_after_the_last_commit)
{
    for (unsigned round = 0; round < 50; round++) {
        struct host *h = host_new(1);
        struct task t = {.host = h, .runs_left = 1, .blob = pvt_blob_make(round, 100)};
        t.op = pvt_blob_op(&t.blob);
        t.job = (struct pv_job){.done = done, .commit = {.ops = &t.op, .count = 1}};
        finished = 0;
        pv_pool_submit(h->pool, &t.job);
        while (finished == 0) /* without waiting for the wake */
            pv_pool_drain(h->pool);
        host_free(h);
        pvt_blob_free(&t.blob);
    }
}

static unsigned threads_of_process(void)
{
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    cr_assert_not_null(tasks);
    while (readdir(tasks) != NULL)
        count++;
    closedir(tasks);
    return count;
}

/* Ours, the committer's, and those of the pool. */
Test(pool, as_many_threads_as_there_are)
{
    static const unsigned asked[] = {1, PV_POOL_THREADS_MAX - 1, PV_POOL_THREADS_MAX,
                                     PV_POOL_THREADS_MAX + 1, 1000};
    struct host *one = host_new(0);
    host_free(one);
    for (size_t i = 0; i < PV_COUNT(asked); i++) {
        unsigned before = threads_of_process();
        struct host *h = host_new(asked[i]);
        unsigned more = threads_of_process() - before - 1;
        cr_assert_eq(more, asked[i] < PV_POOL_THREADS_MAX ? asked[i] : PV_POOL_THREADS_MAX);
        host_free(h);
    }
    pv_pool_stop(NULL);
    struct pv_pool *p;
    pv_mem_fail_after(0);
    enum pv_err err = pv_pool_start(&p, 1, NULL, NULL, wake, NULL);
    pv_mem_fail_after(UINT64_MAX);
    cr_assert_eq(err, PV_E_NOMEM);
}
