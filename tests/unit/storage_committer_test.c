#include "tests/unit/storage_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

TestSuite(committer, .timeout = 120);

/* A commit of one blob that posts a semaphore. */
struct task {
    struct pv_commit commit;
    struct pv_commit_op op;
    struct pvt_blob blob;
    sem_t *done;
    struct pv_committer *again; /* submit once more from done */
};

static void on_done(struct pv_commit *c)
{
    struct task *t = c->ctx;
    if (t->again != NULL) {
        struct pv_committer *to = t->again;
        t->again = NULL;
        pv_committer_submit(to, c);
        return;
    }
    sem_post(t->done);
}

static void task_init(struct task *t, unsigned no, size_t len, sem_t *done)
{
    t->blob = pvt_blob_make(no, len);
    t->op = pvt_blob_op(&t->blob);
    t->done = done;
    t->again = NULL;
    t->commit = (struct pv_commit){.ops = &t->op, .count = 1, .done = on_done, .ctx = t};
}

Test(committer, stores_what_is_submitted)
{
    enum { N = 150 };
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_committer *c;
    struct task *tasks = calloc(N, sizeof *tasks);
    sem_t done;
    sem_init(&done, 0, 0);
    cr_assert_eq(pv_committer_start(&c, v->store), PV_OK);
    for (unsigned i = 0; i < N; i++) {
        task_init(&tasks[i], i, i % 2 == 0 ? 66000 : 1000, &done);
        tasks[i].again = i == 7 ? c : NULL;
        pv_committer_submit(c, &tasks[i].commit);
    }
    for (unsigned i = 0; i < N; i++)
        sem_wait(&done);
    for (unsigned i = 0; i < N; i++) {
        cr_assert_eq(tasks[i].commit.err, PV_OK);
        cr_assert(pvt_has_blob(v, &tasks[i].blob));
        pvt_blob_free(&tasks[i].blob);
    }
    pv_committer_stop(c);
    cr_assert_eq(pv_commit_log_bytes(v->store), 0); /* checkpointed */
    sem_destroy(&done);
    free(tasks);
    pvt_vault_free(v);
}

Test(committer, stop_finishes_what_was_submitted_and_refuses_the_rest)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_committer *c;
    struct task tasks[20];
    sem_t done;
    int posted;
    sem_init(&done, 0, 0);
    cr_assert_eq(pv_committer_start(&c, v->store), PV_OK);
    for (unsigned i = 0; i < 20; i++) {
        task_init(&tasks[i], i, 1000, &done);
        pv_committer_submit(c, &tasks[i].commit);
    }
    pv_committer_stop(c);
    sem_getvalue(&done, &posted);
    cr_assert_eq(posted, 20);
    for (unsigned i = 0; i < 20; i++) {
        cr_assert_eq(tasks[i].commit.err, PV_OK);
        cr_assert(pvt_has_blob(v, &tasks[i].blob));
        pvt_blob_free(&tasks[i].blob);
    }
    pv_committer_stop(NULL);
    sem_destroy(&done);
    pvt_vault_free(v);
}

/*
 * One commit's done keeps the committer busy and submits empty ones until one is refused: by then
 * another thread has begun to stop it.
 */
enum { PROBES = 200000 };

struct prober {
    struct pv_commit first;
    struct pv_committer *c;
    struct pv_commit *probes;
    size_t sent, finished, cancelled;
    sem_t entered;
};

static void probe_done(struct pv_commit *c)
{
    struct prober *p = c->ctx;
    p->finished++;
    p->cancelled += c->err == PV_E_CANCELLED;
}

static void probe(struct pv_commit *c)
{
    struct prober *p = c->ctx;
    sem_post(&p->entered);
    while (p->cancelled == 0 && p->sent < PROBES) {
        struct pv_commit *next = &p->probes[p->sent++];
        *next = (struct pv_commit){.done = probe_done, .ctx = p};
        pv_committer_submit(p->c, next);
        sched_yield();
    }
}

static void *stop(void *arg)
{
    pv_committer_stop(arg);
    return NULL;
}

Test(committer, submitting_after_stop_began_is_cancelled)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct prober p = {.first = {.done = probe, .ctx = &p}};
    pthread_t stopper;
    sem_init(&p.entered, 0, 0);
    p.probes = calloc(PROBES, sizeof *p.probes);
    cr_assert_eq(pv_committer_start(&p.c, v->store), PV_OK);
    pv_committer_submit(p.c, &p.first);
    sem_wait(&p.entered);
    cr_assert_eq(pthread_create(&stopper, NULL, stop, p.c), 0);
    pthread_join(stopper, NULL);
    cr_assert_eq(p.first.err, PV_OK);
    cr_assert_eq(p.cancelled, 1);
    cr_assert_eq(p.finished, p.sent); /* those submitted before were run */
    free(p.probes);
    sem_destroy(&p.entered);
    pvt_vault_free(v);
}

/* ---- reading while committing ---- */

struct reader {
    struct pvt_vault *v;
    struct task *tasks;
    atomic_uint *acked; /* tasks[0..acked) are durable */
    atomic_bool *over;
    unsigned reads;
    bool failed;
    pthread_t thread;
};

static void *read_all_the_time(void *arg)
{
    struct reader *r = arg;
    struct pv_store_bucket *digest = malloc(PV_STORE_BUCKETS * sizeof *digest);
    for (unsigned i = 0; !atomic_load(r->over) || r->reads < 50; i++) {
        unsigned acked = atomic_load(r->acked);
        if (acked == 0)
            continue;
        const struct pvt_blob *b = &r->tasks[i * 31 % acked].blob;
        bool have;
        if (!pvt_has_blob(r->v, b) || pv_store_have(r->v->store, &b->id, 1, &have) != PV_OK ||
            !have)
            r->failed = true;
        pv_store_digest(r->v->store, digest);
        r->reads++;
    }
    free(digest);
    return NULL;
}

Test(committer, readers_see_all_that_was_acknowledged)
{
    enum { N = 400, READERS = 6 }; /* more readers than connections */
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_committer *c;
    struct task *tasks = calloc(N, sizeof *tasks);
    struct reader readers[READERS];
    atomic_uint acked = 0;
    atomic_bool over = false;
    sem_t done;
    sem_init(&done, 0, 0);
    for (unsigned i = 0; i < N; i++)
        task_init(&tasks[i], i, i % 16 == 0 ? 66000 : 500, &done);
    cr_assert_eq(pv_committer_start(&c, v->store), PV_OK);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.v = v, .tasks = tasks, .acked = &acked, .over = &over};
        pthread_create(&readers[i].thread, NULL, read_all_the_time, &readers[i]);
    }
    for (unsigned i = 0; i < N; i += 8) {
        for (unsigned j = i; j < i + 8; j++)
            pv_committer_submit(c, &tasks[j].commit);
        for (unsigned j = 0; j < 8; j++)
            sem_wait(&done);
        atomic_store(&acked, i + 8);
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        cr_assert_not(readers[i].failed, "%s", v->log.text);
        cr_assert_geq(readers[i].reads, 50);
    }
    pv_committer_stop(c);
    for (unsigned i = 0; i < N; i++) {
        cr_assert_eq(tasks[i].commit.err, PV_OK);
        pvt_blob_free(&tasks[i].blob);
    }
    sem_destroy(&done);
    free(tasks);
    pvt_vault_free(v);
}
