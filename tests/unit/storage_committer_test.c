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
    unsigned batch;             /* out: how many syncs had been made by then */
};

static atomic_uint sync_count;

static void on_done(struct pv_commit *c)
{
    struct task *t = c->ctx;
    if (t->again != NULL) {
        struct pv_committer *to = t->again;
        t->again = NULL;
        pv_committer_submit(to, c);
        return;
    }
    t->batch = atomic_load(&sync_count);
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

/* ---- a file system that tells of a call, or waits in it ---- */

static struct pv_fs told;
static const struct pv_fs *inner;
static sem_t synced, refused;
static atomic_bool hold_back, refuse;
static sem_t held, go_on;

static enum pv_err sync_and_tell(void *ctx, pv_fd fd)
{
    if (atomic_exchange(&hold_back, false)) {
        sem_post(&held);
        sem_wait(&go_on);
    }
    enum pv_err err = inner->sync(ctx, fd);
    atomic_fetch_add(&sync_count, 1);
    sem_post(&synced);
    return err;
}

static enum pv_err write_or_refuse(void *ctx, pv_fd fd, const void *src, size_t len,
                                   uint64_t offset)
{
    if (!atomic_load(&refuse))
        return inner->write(ctx, fd, src, len, offset);
    sem_post(&refused);
    return PV_E_NOSPACE;
}

static struct pvt_vault *open_told(void)
{
    struct pvt_vault *v = pvt_vault_new();
    sem_init(&synced, 0, 0);
    sem_init(&refused, 0, 0);
    sem_init(&held, 0, 0);
    sem_init(&go_on, 0, 0);
    inner = pv_fs_real();
    told = *inner;
    told.sync = sync_and_tell;
    told.write = write_or_refuse;
    pvt_faultfs_release(&v->faults);
    pvt_faultfs_init(&v->faults, &told);
    pvt_vault_open(v);
    return v;
}

static void forget(sem_t *sem)
{
    while (sem_trywait(sem) == 0)
        ;
}

Test(committer, moves_the_log_when_nothing_comes)
{
    struct pvt_vault *v = open_told();
    struct pv_committer *c;
    struct task task;
    sem_t done;
    sem_init(&done, 0, 0);
    cr_assert_eq(pv_committer_start(&c, v->store), PV_OK);
    task_init(&task, 1, 1000, &done);
    pv_committer_submit(c, &task.commit);
    sem_wait(&done);
    forget(&synced); /* those of the commit */
    sem_wait(&synced);
    sem_wait(&synced); /* log and database, by itself */
    pv_committer_stop(c);
    cr_assert(pvt_has_blob(v, &task.blob));
    pvt_blob_free(&task.blob);
    pvt_vault_free(v);
}

Test(committer, a_log_that_cannot_be_moved_waits)
{
    struct pvt_vault *v = open_told();
    struct pv_committer *c;
    struct task tasks[2];
    sem_t done;
    sem_init(&done, 0, 0);
    cr_assert_eq(pv_committer_start(&c, v->store), PV_OK);
    task_init(&tasks[0], 1, 1000, &done);
    pv_committer_submit(c, &tasks[0].commit);
    sem_wait(&done);
    atomic_store(&refuse, true); /* the disk is full */
    sem_wait(&refused);
    atomic_store(&refuse, false);
    task_init(&tasks[1], 2, 1000, &done);
    pv_committer_submit(c, &tasks[1].commit);
    sem_wait(&done);
    pv_committer_stop(c);
    cr_assert_eq(pv_commit_log_bytes(v->store), 0);
    cr_assert(pvt_log_has(&v->log, "checkpoint put off"));
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(pvt_has_blob(v, &tasks[i].blob));
        pvt_blob_free(&tasks[i].blob);
    }
    pvt_vault_free(v);
}

/* ---- how much a batch takes ---- */

/* While something is being synced, others gather; in how many batches they are done then. */
static unsigned batches_of(struct pv_committer *c, struct task *tasks, unsigned count, sem_t *done)
{
    struct task first;
    unsigned batches = 0;
    task_init(&first, 1000, 1000, done);
    atomic_store(&hold_back, true);
    pv_committer_submit(c, &first.commit);
    sem_wait(&held);
    for (unsigned i = 0; i < count; i++)
        pv_committer_submit(c, &tasks[i].commit);
    sem_post(&go_on);
    for (unsigned i = 0; i <= count; i++)
        sem_wait(done);
    for (unsigned i = 0; i < count; i++) { /* in order; each batch syncs */
        cr_assert_eq(tasks[i].commit.err, PV_OK);
        batches += i == 0 || tasks[i].batch != tasks[i - 1].batch;
    }
    cr_assert_eq(first.commit.err, PV_OK);
    pvt_blob_free(&first.blob);
    return batches;
}

static unsigned batches_of_records(struct pv_committer *c, struct task *tasks, unsigned count,
                                   sem_t *done)
{
    struct pvt_record *records = calloc(count, sizeof *records);
    for (unsigned i = 0; i < count; i++) {
        records[i] = pvt_record_make(PV_RECORD_FILE, i, 10, 0, 0);
        tasks[i].op = pvt_record_op(&records[i], false);
        tasks[i].commit =
            (struct pv_commit){.ops = &tasks[i].op, .count = 1, .done = on_done, .ctx = &tasks[i]};
        tasks[i].done = done;
    }
    unsigned batches = batches_of(c, tasks, count, done);
    free(records);
    return batches;
}

static unsigned batches_of_blobs(struct pv_committer *c, struct task *tasks, unsigned count,
                                 size_t len, sem_t *done)
{
    for (unsigned i = 0; i < count; i++)
        task_init(&tasks[i], (unsigned)len + i, len, done);
    unsigned batches = batches_of(c, tasks, count, done);
    for (unsigned i = 0; i < count; i++)
        pvt_blob_free(&tasks[i].blob);
    return batches;
}

/* Blobs of so many bytes in all, each time other ones. */
static unsigned batches_of_bytes(struct pv_committer *c, struct task *tasks, size_t bytes,
                                 sem_t *done)
{
    enum { LARGE = 600000 };
    unsigned count = 0;
    for (size_t rest = bytes; rest > 0; count++) {
        size_t len = rest < LARGE ? rest : LARGE;
        task_init(&tasks[count], (unsigned)bytes + count, len, done);
        rest -= len;
    }
    unsigned batches = batches_of(c, tasks, count, done);
    for (unsigned i = 0; i < count; i++)
        pvt_blob_free(&tasks[i].blob);
    return batches;
}

/* Commits of so many operations, none of which brings anything of length. */
static unsigned batches_of_ops(struct pv_committer *c, struct task *tasks, unsigned count,
                               size_t op_count, sem_t *done)
{
    struct pv_commit_op *ops = calloc(count * op_count, sizeof *ops);
    for (size_t i = 0; i < count * op_count; i++) {
        ops[i].type = PV_COMMIT_META;
        ops[i].u.meta.key = "key";
        ops[i].u.meta.value = &tasks[i / op_count].blob.id; /* another one each time */
        ops[i].u.meta.len = PV_ID_LEN;
    }
    for (unsigned i = 0; i < count; i++)
        tasks[i].commit = (struct pv_commit){
            .ops = ops + i * op_count, .count = op_count, .done = on_done, .ctx = &tasks[i]};
    unsigned batches = batches_of(c, tasks, count, done);
    free(ops);
    return batches;
}

Test(committer, a_batch_has_its_limits)
{
    enum { TASKS = PV_COMMIT_BLOBS_MAX + 1 };
    struct pvt_vault *v = open_told();
    struct pv_committer *c;
    struct task *tasks = calloc(TASKS, sizeof *tasks);
    sem_t done;
    sem_init(&done, 0, 0);
    cr_assert_eq(pv_committer_start(&c, v->store), PV_OK);
    cr_assert_eq(batches_of_records(c, tasks, 40, &done), 1);
    cr_assert_eq(batches_of_blobs(c, tasks, PV_COMMIT_BLOBS_MAX - 1, 1000, &done), 1);
    cr_assert_eq(batches_of_blobs(c, tasks, PV_COMMIT_BLOBS_MAX, 2000, &done), 1);
    cr_assert_eq(batches_of_blobs(c, tasks, PV_COMMIT_BLOBS_MAX + 1, 3000, &done), 2);
    cr_assert_eq(batches_of_bytes(c, tasks, PV_COMMIT_BYTES_MAX - 1, &done), 1);
    cr_assert_eq(batches_of_bytes(c, tasks, PV_COMMIT_BYTES_MAX, &done), 1);
    cr_assert_eq(batches_of_bytes(c, tasks, PV_COMMIT_BYTES_MAX + 1, &done), 2);
    cr_assert_eq(batches_of_ops(c, tasks, 6, 3000, &done), 3); /* 8 192 operations, whole commits */
    pv_committer_stop(c);
    free(tasks);
    pvt_vault_free(v);
}

Test(committer, without_a_thread_there_is_none)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pv_committer *c = NULL;
    pthread_attr_t usual, huge;
    pv_mem_fail_after(0);
    cr_assert_eq(pv_committer_start(&c, v->store), PV_E_NOMEM);
    pv_mem_fail_after(UINT64_MAX);
    cr_assert_eq(pthread_getattr_default_np(&usual), 0);
    cr_assert_eq(pthread_attr_init(&huge), 0);
    cr_assert_eq(pthread_attr_setstacksize(&huge, (size_t)1 << 46), 0);
    cr_assert_eq(pthread_setattr_default_np(&huge), 0);
    cr_assert_eq(pv_committer_start(&c, v->store), PV_E_LIMIT);
    cr_assert_eq(pthread_setattr_default_np(&usual), 0);
    pthread_attr_destroy(&huge);
    pthread_attr_destroy(&usual);
    cr_assert_null(c);
    cr_assert_eq(pv_committer_start(&c, v->store), PV_OK);
    pv_committer_stop(c);
    pvt_vault_free(v);
}
