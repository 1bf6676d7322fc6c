/*
 * The one thread that writes. It takes what has gathered while it was busy as one batch, runs it,
 * and starts again. With nothing to do it moves the log into the database after a second of quiet,
 * and keeps the clock of leases from falling behind by more than an hour.
 *
 * The queue is made of the commits themselves and has no limit of its own: whoever submits has
 * reserved the bytes before.
 */
#include "storage/commit.h"
#include "internal/base/mem.h"
#include "internal/base/thread.h"
#include "storage/store_private.h"

#include <uv.h>

enum { QUIET_S = 1, CLOCK_S = 3600, OPS_MAX = 8192 };

struct pv_committer {
    struct pv_store *s;
    pthread_t thread;
    uv_mutex_t mutex; /* guards the rest */
    uv_cond_t cond;
    struct pv_commit *head, **tail;
    bool stopping;
};

/* Adds a commit to what a batch has, if it still fits. */
static bool fits(const struct pv_commit *c, size_t *blobs, size_t *bytes, size_t *ops)
{
    size_t more_blobs = *blobs, more_bytes = *bytes;
    for (size_t i = 0; i < c->count; i++) {
        if (c->ops[i].type == PV_COMMIT_BLOB) {
            more_blobs++;
            more_bytes += c->ops[i].u.blob.len;
        } else if (c->ops[i].type == PV_COMMIT_RECORD) {
            more_bytes += c->ops[i].u.record.len;
        }
    }
    if (*ops > 0 && (more_blobs > PV_COMMIT_BLOBS_MAX || more_bytes > PV_COMMIT_BYTES_MAX ||
                     *ops + c->count > OPS_MAX))
        return false;
    *blobs = more_blobs;
    *bytes = more_bytes;
    *ops += c->count > 0 ? c->count : 1;
    return true;
}

/* Cuts the next batch off the queue, which is not empty. */
static struct pv_commit *take_batch(struct pv_committer *c)
{
    size_t blobs = 0, bytes = 0, ops = 0;
    struct pv_commit *first = c->head, **end = &c->head;
    while (*end != NULL && fits(*end, &blobs, &bytes, &ops))
        end = &(*end)->next;
    struct pv_commit *rest = *end;
    *end = NULL;
    c->head = rest;
    if (rest == NULL)
        c->tail = &c->head;
    return first;
}

/*
 * Waits for work or the end; false: nothing came for so many seconds. Waking up for nothing starts
 * the seconds anew, which does not matter.
 */
static bool wait_for_work(struct pv_committer *c, unsigned seconds)
{
    while (c->head == NULL && !c->stopping)
        if (uv_cond_timedwait(&c->cond, &c->mutex, seconds * UINT64_C(1000000000)) != 0)
            return c->head != NULL || c->stopping;
    return true;
}

/* A checkpoint that fails is logged where it fails, and loses nothing. */
static void checkpoint(struct pv_store *s)
{
    if (pv_commit_log_bytes(s) > 0 && pv_commit_checkpoint(s) != PV_OK)
        PV_LOG(s->config.env->log, PV_LOG_WARN, PV_SUB_STORE, "checkpoint put off", "log_bytes",
               pv_log_u64(pv_commit_log_bytes(s)));
}

static void *run(void *arg)
{
    struct pv_committer *c = arg;
    bool tried = false; /* a checkpoint since the last batch */
    uv_mutex_lock(&c->mutex);
    while (c->head != NULL || !c->stopping) {
        bool dirty = pv_commit_log_bytes(c->s) > 0 && !tried;
        bool work = wait_for_work(c, dirty ? QUIET_S : CLOCK_S);
        struct pv_commit *batch = c->head != NULL ? take_batch(c) : NULL;
        uv_mutex_unlock(&c->mutex);
        if (batch != NULL || (!work && !dirty)) {
            pv_commit_batch(c->s, batch);
            tried = false;
        } else if (!work) {
            checkpoint(c->s);
            tried = true;
        }
        uv_mutex_lock(&c->mutex);
    }
    uv_mutex_unlock(&c->mutex);
    checkpoint(c->s);
    return NULL;
}

enum pv_err pv_committer_start(struct pv_committer **out, struct pv_store *s)
{
    struct pv_committer *c = pv_calloc(1, sizeof *c);
    if (c == NULL)
        return PV_E_NOMEM;
    c->s = s;
    c->tail = &c->head;
    if (uv_mutex_init(&c->mutex) != 0 || uv_cond_init(&c->cond) != 0) {
        pv_free(c); /* neither allocates on Linux */
        return PV_E_NOMEM;
    }
    if (!pv_thread_start(&c->thread, run, c)) {
        uv_cond_destroy(&c->cond);
        uv_mutex_destroy(&c->mutex);
        pv_free(c);
        return PV_E_LIMIT;
    }
    *out = c;
    return PV_OK;
}

void pv_committer_submit(struct pv_committer *c, struct pv_commit *commit)
{
    commit->next = NULL;
    uv_mutex_lock(&c->mutex);
    bool stopping = c->stopping;
    if (!stopping) {
        *c->tail = commit;
        c->tail = &commit->next;
        uv_cond_signal(&c->cond);
    }
    uv_mutex_unlock(&c->mutex);
    if (stopping) {
        commit->err = PV_E_CANCELLED;
        commit->done(commit);
    }
}

void pv_committer_stop(struct pv_committer *c)
{
    if (c == NULL)
        return;
    uv_mutex_lock(&c->mutex);
    c->stopping = true;
    uv_cond_signal(&c->cond);
    uv_mutex_unlock(&c->mutex);
    pthread_join(c->thread, NULL);
    uv_cond_destroy(&c->cond);
    uv_mutex_destroy(&c->mutex);
    pv_free(c);
}
