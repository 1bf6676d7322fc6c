/*
 * Lists from the peer, compared one after the other. A list is a range of our bucket: from behind
 * what the peer said before, to its last hash, or to the end of the bucket. Both are ascending, so
 * what we have in that range and the list has not is found in one pass, a page and a RECORD message
 * a job; the next job is submitted when the link is writable again.
 */
#include "internal/node/digest.h"

#include <string.h>

enum { PAGE = 64, HASHES_A_STEP_MAX = 1024 };

struct diff {
    struct pv_list list;
    struct pv_job job;
    pv_link link;
    uint16_t bucket;
    bool last; /* up to the end of the bucket, else to the last of theirs */
    enum pv_list_role role;
    bool from_start, finished, running;
    struct pv_id after; /* where we are in our bucket, unless from_start */
    uint8_t *payload;   /* out: a RECORD message */
    size_t payload_len, record_count;
    size_t count;
    struct pv_id theirs[];
};

/* ---- in the job ---------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    return pv_id_cmp(a, b);
}

static bool they_have(const struct diff *d, const struct pv_id *hash)
{
    return bsearch(hash, d->theirs, d->count, sizeof *hash, compare_ids) != NULL;
}

/* *full: the record does not fit behind those that are there already. */
static enum pv_err append(struct diff *d, struct pv_store *s, const struct pv_id *hash,
                          struct pv_wr *w, bool *full)
{
    size_t len;
    uint8_t *env = pv_malloc(PV_RECORD_LEN_MAX);
    if (env == NULL)
        return PV_E_NOMEM;
    enum pv_err err = pv_store_record_by_hash(s, hash, env, &len);
    if (err == PV_OK && d->record_count > 0 && pv_wr_len(w) + len > PV_MSG_ENVELOPES_MAX) {
        *full = true;
    } else if (err == PV_OK) {
        pv_msg_add_record(w, env, len);
        d->record_count++;
    }
    pv_free(env);
    return err == PV_E_NOT_FOUND ? PV_OK : err; /* replaced since: the next round has the new one */
}

static bool beyond(const struct diff *d, const struct pv_id *hash)
{
    return !d->last && pv_id_cmp(hash, &d->theirs[d->count - 1]) > 0;
}

static enum pv_err step(struct diff *d, struct pv_store *s, struct pv_wr *w)
{
    bool full = false;
    for (size_t seen = 0; seen < HASHES_A_STEP_MAX && !full && !d->finished;) {
        struct pv_id page[PAGE];
        size_t count;
        bool end;
        enum pv_err err = pv_store_bucket_hashes(s, d->bucket, d->from_start ? NULL : &d->after,
                                                 page, PAGE, &count, &end);
        size_t i = 0;
        for (; err == PV_OK && i < count && !full && !d->finished; i++) {
            if (beyond(d, &page[i]))
                d->finished = true;
            else if (!they_have(d, &page[i]))
                err = append(d, s, &page[i], w, &full);
            if (err == PV_OK && !full && !d->finished) {
                d->after = page[i];
                d->from_start = false;
            }
        }
        if (err != PV_OK)
            return err;
        if (!full && (end || count == 0))
            d->finished = true;
        seen += count;
    }
    return PV_OK;
}

static void diff_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct diff *d = PV_CONTAINER_OF(job, struct diff, job);
    d->record_count = 0;
    d->payload = pv_malloc(PV_FRAME_PLAIN_MAX);
    if (d->payload == NULL) {
        job->err = PV_E_NOMEM;
        return;
    }
    struct pv_wr w = pv_wr_of(d->payload, PV_FRAME_PLAIN_MAX);
    pv_msg_begin_records(&w);
    job->err = step(d, ctx->store, &w);
    d->payload_len = pv_wr_len(&w);
    if (w.bad)
        job->err = PV_E_INTERNAL;
}

/* ---- on the loop --------------------------------------------------------------------------- */

static void diff_free(struct diff *d)
{
    pv_free(d->payload);
    pv_free(d);
}

static void finish(struct pv_peer *p, struct diff *d)
{
    pv_list_remove(&d->list);
    p->sync->digest.diff_count--;
    if (d->last)
        pv_digest_list_done(p, d->bucket, d->role);
    diff_free(d);
}

static void diff_done(struct pv_job *job)
{
    struct diff *d = PV_CONTAINER_OF(job, struct diff, job);
    struct pv_peer *p = pv_node_peer(job->node, d->link);
    if (p == NULL || p->sync == NULL) {
        pv_list_remove(&d->list);
        diff_free(d);
        return;
    }
    d->running = p->sync->digest.diff_running = false;
    if (job->err != PV_OK) { /* answered all the same: the next round will find what was missed */
        PV_LOG(job->node->config.env->log, PV_LOG_WARN, PV_SUB_SYNC, "cannot compare records",
               "node", pv_log_id(p->node_id.b), "cause", pv_err_text(job->err));
        d->finished = true;
    } else if (d->record_count > 0) {
        struct pv_wr w = pv_wr_of(d->payload, PV_FRAME_PLAIN_MAX);
        (void)pv_wr_room(&w, d->payload_len);
        pv_peer_send(p, &w);
    }
    pv_free(d->payload);
    d->payload = NULL;
    if (d->finished)
        finish(p, d);
    if (!p->dropped)
        pv_digest_pump(p);
}

void pv_diff_pump(struct pv_peer *p)
{
    struct pv_digest *g = &p->sync->digest;
    if (g->diff_running || pv_list_empty(&g->diffs) || !pv_peer_writable(p))
        return;
    struct diff *d = PV_LIST_ENTRY(g->diffs.next, struct diff, list);
    memset(&d->job, 0, sizeof d->job);
    d->job.run = diff_run;
    d->job.done = diff_done;
    d->running = g->diff_running = true;
    pv_node_submit(p->node, &d->job);
}

static unsigned bucket_of(const struct pv_id *hash)
{
    return (unsigned)hash->b[0] << 4 | (unsigned)hash->b[1] >> 4;
}

static bool list_valid(const struct pv_digest *g, const struct pv_msg_digest *m)
{
    if (g->in_open && g->in_bucket != m->first)
        return false;
    if (!m->last && m->count == 0)
        return false;
    for (size_t i = 0; i < m->count; i++) {
        const struct pv_id *before = i > 0 ? &m->hashes[i - 1] : g->in_open ? &g->in_after : NULL;
        if (bucket_of(&m->hashes[i]) != m->first)
            return false;
        if (before != NULL && pv_id_cmp(before, &m->hashes[i]) >= 0)
            return false;
    }
    return true;
}

void pv_diff_add(struct pv_peer *p, const struct pv_msg_digest *m)
{
    struct pv_digest *g = &p->sync->digest;
    if (!list_valid(g, m)) {
        pv_peer_misbehaved(p, "hashes out of order");
        return;
    }
    if (g->diff_count == PV_DIGEST_DIFFS_MAX) {
        pv_peer_misbehaved(p, "more lists of hashes than agreed");
        return;
    }
    struct diff *d = pv_calloc(1, sizeof *d + m->count * sizeof *d->theirs);
    if (d == NULL) {
        pv_peer_drop(p, PV_BYE_RENEW);
        return;
    }
    if (!g->in_open && pv_bucket_set_remove(&g->listed, m->first))
        g->in_role = PV_LIST_ANSWER;
    else if (!g->in_open)
        g->in_role = g->answers_left > 0 ? PV_LIST_QUESTION : PV_LIST_STRAY;
    if (!g->in_open && g->in_role == PV_LIST_QUESTION)
        g->answers_left--;
    d->link = p->link;
    d->bucket = m->first;
    d->last = m->last;
    d->role = g->in_role;
    d->from_start = !g->in_open;
    d->after = g->in_after;
    d->count = m->count;
    memcpy(d->theirs, m->hashes, m->count * sizeof *d->theirs);
    g->in_open = !m->last;
    g->in_bucket = m->first;
    if (m->count > 0)
        g->in_after = m->hashes[m->count - 1];
    pv_list_push_back(&g->diffs, &d->list);
    g->diff_count++;
    pv_diff_pump(p);
}

/* The one whose job runs is freed by its done. */
void pv_diff_free_all(struct pv_peer *p)
{
    struct pv_digest *g = &p->sync->digest;
    PV_LIST_EACH(&g->diffs, e)
    {
        struct diff *d = PV_LIST_ENTRY(e, struct diff, list);
        pv_list_remove(e);
        if (!d->running)
            diff_free(d);
    }
}
