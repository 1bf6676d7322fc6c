/*
 * How the exchange of digest.h runs. Whatever reads the store is a job that keeps the link alone;
 * at most one for the root, one for the list being sent and one for the list being compared runs a
 * session. Whatever came for the same purpose meanwhile is a flag or a bit, so memory is bounded
 * by the lists in digest.h, whatever the peer does.
 *
 * A round is given up, and left to the next hour, when a job fails: nothing is lost by that.
 */
#include "internal/node/digest.h"
#include "internal/base/sometimes.h"

#include <string.h>

enum {
    HASHES_A_MESSAGE = PV_SCAN_ROWS_MAX, /* below PV_MSG_HASHES_MAX */
};

/* A peer has one as long as it is in session. */
static struct pv_digest *digest_of(struct pv_peer *p)
{
    return &p->sync->digest;
}

/* NULL: the peer of a job has left. */
static struct pv_peer *peer_of(const struct pv_job *job, pv_link link)
{
    struct pv_peer *p = pv_node_peer(job->node, link);
    return p != NULL && p->sync != NULL ? p : NULL;
}

static const struct pv_env *env_of(const struct pv_peer *p)
{
    return p->node->config.env;
}

static void end_round(struct pv_digest *d)
{
    d->in_round = false;
    d->to_list = (struct pv_bucket_set){{0}, 0};
    d->lists_open = 0;
}

static void give_up(struct pv_peer *p, enum pv_err err)
{
    PV_LOG(env_of(p)->log, PV_LOG_WARN, PV_SUB_SYNC, "comparison given up", "node",
           pv_log_id(p->node_id.b), "cause", pv_err_text(err));
    end_round(digest_of(p));
}

/* ---- the root ------------------------------------------------------------------------------ */

struct root_job {
    struct pv_job job;
    pv_link link;
    uint8_t salt[PV_HASH_LEN];
    uint8_t root[PV_HASH_LEN];
    struct pv_store_bucket buckets[PV_STORE_BUCKETS];
    uint8_t bytes[PV_STORE_BUCKETS * 20];
};

static void root_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct root_job *r = PV_CONTAINER_OF(job, struct root_job, job);
    struct pv_wr w = pv_wr_of(r->bytes, sizeof r->bytes);
    pv_store_digest(ctx->store, r->buckets);
    for (size_t i = 0; i < PV_STORE_BUCKETS; i++) {
        pv_wr_u32(&w, r->buckets[i].count);
        pv_wr_bytes(&w, r->buckets[i].sum, sizeof r->buckets[i].sum);
    }
    PV_ASSERT(!w.bad && w.p == w.end);
    pv_hmac(r->root, r->salt, sizeof r->salt, r->bytes, sizeof r->bytes);
}

static void root_done(struct pv_job *job);

static void submit_root(struct pv_peer *p)
{
    struct pv_digest *d = digest_of(p);
    if (d->root_running)
        return;
    struct root_job *r = pv_malloc(sizeof *r);
    if (r == NULL) {
        d->send_root = d->have_theirs = false;
        give_up(p, PV_E_NOMEM);
        return;
    }
    memset(&r->job, 0, sizeof r->job);
    r->job.run = root_run;
    r->job.done = root_done;
    r->link = p->link;
    memcpy(r->salt, p->info.hash, sizeof r->salt);
    d->root_running = true;
    pv_node_submit(p->node, &r->job);
}

static void arm_retry(struct pv_peer *p)
{
    struct pv_digest *d = digest_of(p);
    if (d->retry_at_ms != UINT64_MAX || d->retries == PV_DIGEST_RETRIES_MAX)
        return;
    d->retry_at_ms = pv_node_now(p->node) + ((uint64_t)PV_SYNC_SETTLE_MS << d->retries++);
}

static void send_root(struct pv_peer *p, const uint8_t root[static PV_HASH_LEN])
{
    struct pv_wr w = pv_wr_of(p->node->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_digest_root(&w, root);
    pv_peer_send(p, &w);
}

static void send_members_once(struct pv_peer *p)
{
    struct pv_digest *d = digest_of(p);
    if (d->members_sent)
        return;
    d->members_sent = true;
    pv_members_send_all(p);
}

static void send_buckets(struct pv_peer *p, const struct pv_store_bucket *from)
{
    struct pv_digest *d = digest_of(p);
    send_members_once(p);
    for (unsigned first = 0; first < PV_DIGEST_BUCKETS; first += PV_MSG_BUCKETS_MAX) {
        struct pv_bucket buckets[PV_MSG_BUCKETS_MAX];
        for (unsigned i = 0; i < PV_MSG_BUCKETS_MAX; i++) {
            buckets[i].count = from[first + i].count;
            memcpy(buckets[i].sum, from[first + i].sum, sizeof buckets[i].sum);
        }
        struct pv_wr w = pv_wr_of(p->node->scratch, PV_FRAME_PLAIN_MAX);
        pv_msg_put_digest_buckets(&w, (uint16_t)first, buckets, PV_MSG_BUCKETS_MAX);
        pv_peer_send(p, &w);
    }
    d->answers_left = PV_DIGEST_BUCKETS;
}

/* Not twice in a row: theirs may be the answer to ours, and answers to answers would go back and
 * forth for ever. Whoever asks and hears nothing asks again. */
static void answer_root(struct pv_peer *p, const uint8_t root[static PV_HASH_LEN])
{
    struct pv_digest *d = digest_of(p);
    d->echoed = !d->echoed || memcmp(d->echo, root, PV_HASH_LEN) != 0;
    memcpy(d->echo, root, PV_HASH_LEN);
    if (d->echoed)
        send_root(p, root);
}

static void roots_equal(struct pv_peer *p, const uint8_t root[static PV_HASH_LEN])
{
    struct pv_digest *d = digest_of(p);
    unsigned buckets_sent = memcmp(d->buckets_root, root, PV_HASH_LEN) == 0 ? d->buckets_sent : 0;
    if (!d->agrees)
        PV_LOG(env_of(p)->log, PV_LOG_INFO, PV_SUB_SYNC, "records agree", "node",
               pv_log_id(p->node_id.b));
    d->agrees = p->node->has_agreed = true;
    if (d->answers_left > PV_DIGEST_WINDOW) /* for lists that are under way */
        d->answers_left = PV_DIGEST_WINDOW;
    end_round(d);
    pv_digest_gained(p);
    d->buckets_sent = buckets_sent; /* or 66 bytes would draw them again and again */
    d->retry_at_ms = UINT64_MAX;
    d->hourly_at_ms = pv_node_now(p->node) + PV_SYNC_INTERVAL_MS;
}

/* answered: this root is the answer to ours, or crossed it. */
static void roots_differ(struct pv_peer *p, const struct root_job *r, bool answered)
{
    struct pv_digest *d = digest_of(p);
    d->agrees = false;
    arm_retry(p);
    if (answered && pv_id_cmp(&p->node->config.identity->node_id, &p->node_id) > 0) {
        pv_digest_settle(p); /* unless their buckets come, as they should */
        return;
    }
    if (d->buckets_sent == PV_DIGEST_BUCKETS_MAX) {
        PV_LOG(env_of(p)->log, PV_LOG_DEBUG, PV_SUB_SYNC, "records keep differing", "node",
               pv_log_id(p->node_id.b));
        return;
    }
    PV_SOMETIMES("sync: buckets are compared");
    d->buckets_sent++;
    memcpy(d->buckets_root, r->root, PV_HASH_LEN);
    send_buckets(p, r->buckets);
}

static void root_done(struct pv_job *job)
{
    struct root_job *r = PV_CONTAINER_OF(job, struct root_job, job);
    struct pv_peer *p = peer_of(job, r->link);
    if (p == NULL) {
        pv_free(r);
        return;
    }
    struct pv_digest *d = digest_of(p);
    d->root_running = false;
    if (d->have_theirs) {
        bool answered =
            d->root_sent && pv_node_now(job->node) - d->root_sent_ms < PV_DIGEST_ANSWER_MS;
        d->have_theirs = d->root_sent = false;
        if (memcmp(r->root, d->theirs, PV_HASH_LEN) != 0) {
            roots_differ(p, r, answered);
        } else {
            roots_equal(p, r->root);
            if (!answered)
                answer_root(p, r->root);
        }
    }
    if (d->send_root) {
        d->send_root = false;
        d->root_sent = true;
        d->root_sent_ms = pv_node_now(job->node);
        send_root(p, r->root);
        if (!p->dropped)
            arm_retry(p);
    }
    pv_free(r);
}

static void compare(struct pv_peer *p)
{
    struct pv_digest *d = digest_of(p);
    d->compare_at_ms = UINT64_MAX;
    d->settling = false;
    d->send_root = true;
    submit_root(p);
}

/* ---- their buckets ------------------------------------------------------------------------- */

struct buckets_job {
    struct pv_job job;
    pv_link link;
    unsigned first, count;
    struct pv_bucket theirs[]; /* afterwards: count is 1 where they differ */
};

static void buckets_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct buckets_job *b = PV_CONTAINER_OF(job, struct buckets_job, job);
    /* Here and not in the job: a read may bring a thousand small messages at once. */
    struct pv_store_bucket *all = pv_calloc(PV_STORE_BUCKETS, sizeof *all);
    if (all == NULL) {
        job->err = PV_E_NOMEM;
        return;
    }
    pv_store_digest(ctx->store, all);
    for (unsigned i = 0; i < b->count; i++) {
        const struct pv_store_bucket *ours = &all[b->first + i];
        struct pv_bucket *theirs = &b->theirs[i];
        theirs->count =
            ours->count != theirs->count || memcmp(ours->sum, theirs->sum, sizeof ours->sum) != 0;
    }
    pv_free(all);
}

static void take_buckets(struct pv_peer *p, const struct buckets_job *b)
{
    struct pv_digest *d = digest_of(p);
    d->in_round = true;
    d->active_ms = pv_node_now(p->node);
    if (d->compare_at_ms == UINT64_MAX)
        d->compare_at_ms = d->active_ms + PV_DIGEST_ANSWER_MS;
    if (d->active_ms - d->listed_ms >= PV_DIGEST_ANSWER_MS) /* of a round that ended before */
        d->listed = (struct pv_bucket_set){{0}, 0};
    for (unsigned i = 0; i < b->count; i++)
        if (b->theirs[i].count != 0 && !pv_bucket_set_has(&d->listed, b->first + i))
            pv_bucket_set_add(&d->to_list, b->first + i);
}

static void buckets_done(struct pv_job *job)
{
    struct buckets_job *b = PV_CONTAINER_OF(job, struct buckets_job, job);
    struct pv_peer *p = peer_of(job, b->link);
    if (p != NULL) {
        if (job->err == PV_OK)
            take_buckets(p, b);
        else
            give_up(p, job->err);
        pv_sync_job_ended(p);
        pv_digest_pump(p);
    }
    pv_free(b);
}

static void on_buckets(struct pv_peer *p, const struct pv_msg_digest *m)
{
    struct pv_digest *d = digest_of(p);
    struct buckets_job *b = pv_malloc(sizeof *b + m->count * sizeof *b->theirs);
    d->root_sent = false;
    d->agrees = false;
    if (b == NULL) {
        give_up(p, PV_E_NOMEM);
        return;
    }
    send_members_once(p);
    memset(&b->job, 0, sizeof b->job);
    b->job.run = buckets_run;
    b->job.done = buckets_done;
    b->link = p->link;
    b->first = m->first;
    b->count = (unsigned)m->count;
    memcpy(b->theirs, m->buckets, m->count * sizeof *b->theirs);
    pv_sync_job_began(p);
    pv_node_submit(p->node, &b->job);
}

/* ---- sending lists ------------------------------------------------------------------------- */

struct list_job {
    struct pv_job job;
    pv_link link;
    uint16_t bucket;
    bool from_start, end;
    struct pv_id after;
    size_t count;
    struct pv_id hashes[HASHES_A_MESSAGE];
};

static void list_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct list_job *l = PV_CONTAINER_OF(job, struct list_job, job);
    const struct pv_id *after = l->from_start ? NULL : &l->after;
    job->err = pv_store_bucket_hashes(ctx->store, l->bucket, after, l->hashes, HASHES_A_MESSAGE,
                                      &l->count, &l->end);
}

/* An empty message that is not the last would say nothing: the store gave it, so it is the end. */
static void send_list(struct pv_peer *p, const struct list_job *l)
{
    struct pv_digest *d = digest_of(p);
    bool last = l->end || l->count == 0;
    struct pv_wr w = pv_wr_of(p->node->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_digest_hashes(&w, l->bucket, last, l->hashes, l->count);
    pv_peer_send(p, &w);
    if (last) {
        d->list_open = false;
    } else {
        d->list_began = true;
        d->list_after = l->hashes[l->count - 1];
    }
}

static void list_done(struct pv_job *job)
{
    struct list_job *l = PV_CONTAINER_OF(job, struct list_job, job);
    struct pv_peer *p = peer_of(job, l->link);
    if (p != NULL) {
        digest_of(p)->list_running = false;
        if (job->err == PV_OK)
            send_list(p, l);
        else /* a list once begun cannot be left open: the session starts over */
            pv_peer_drop(p, PV_BYE_RENEW);
        if (!p->dropped)
            pv_digest_pump(p);
    }
    pv_free(l);
}

static uint16_t take_first(struct pv_bucket_set *s)
{
    PV_ASSERT(s->count > 0);
    unsigned i = 0;
    while (s->bits[i] == 0)
        i++;
    unsigned bucket = i * 64 + (unsigned)__builtin_ctzll(s->bits[i]);
    (void)pv_bucket_set_remove(s, bucket);
    return (uint16_t)bucket;
}

/* Answers go first: somebody waits for them. */
static bool open_list(struct pv_digest *d)
{
    if (d->list_open)
        return true;
    d->list_is_answer = d->to_answer.count > 0;
    if (d->list_is_answer)
        d->list_bucket = take_first(&d->to_answer);
    else if (d->to_list.count > 0 && d->lists_open < PV_DIGEST_WINDOW)
        d->list_bucket = take_first(&d->to_list);
    else
        return false;
    if (!d->list_is_answer) {
        pv_bucket_set_add(&d->listed, d->list_bucket);
        d->lists_open++;
    }
    d->list_open = true;
    d->list_began = false;
    return true;
}

static void pump_list(struct pv_peer *p)
{
    struct pv_digest *d = digest_of(p);
    if (d->list_running || !pv_peer_writable(p) || !open_list(d))
        return;
    struct list_job *l = pv_malloc(sizeof *l);
    if (l == NULL) {
        pv_peer_drop(p, PV_BYE_RENEW);
        return;
    }
    if (!d->list_is_answer)
        d->listed_ms = pv_node_now(p->node);
    memset(&l->job, 0, sizeof l->job);
    l->job.run = list_run;
    l->job.done = list_done;
    l->link = p->link;
    l->bucket = d->list_bucket;
    l->from_start = !d->list_began;
    l->after = d->list_after;
    l->count = 0;
    l->end = false;
    d->list_running = true;
    pv_node_submit(p->node, &l->job);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void round_over(struct pv_peer *p)
{
    struct pv_digest *d = digest_of(p);
    uint64_t wait_ms = (uint64_t)PV_DIGEST_ROUND_MS << d->rounds;
    d->in_round = false;
    d->compare_at_ms = UINT64_MAX;
    if (d->rounds >= PV_DIGEST_ROUNDS_MAX)
        return;
    d->rounds++;
    d->compare_at_ms = pv_node_now(p->node) + wait_ms;
}

void pv_digest_pump(struct pv_peer *p)
{
    struct pv_digest *d = digest_of(p);
    pv_diff_pump(p);
    if (!p->dropped)
        pump_list(p);
    if (!p->dropped && d->in_round && d->to_list.count == 0 && !d->list_open &&
        d->lists_open == 0 && d->diff_count == 0 && p->sync->jobs == 0)
        round_over(p);
}

void pv_digest_list_done(struct pv_peer *p, uint16_t bucket, enum pv_list_role role)
{
    struct pv_digest *d = digest_of(p);
    d->active_ms = pv_node_now(p->node);
    if (role == PV_LIST_QUESTION)
        pv_bucket_set_add(&d->to_answer, bucket);
    else if (role == PV_LIST_ANSWER && d->lists_open > 0)
        d->lists_open--;
}

void pv_digest_on_message(struct pv_peer *p, struct pv_rd *r, struct pv_msg_digest *m)
{
    struct pv_digest *d = digest_of(p);
    if (pv_msg_get_digest(r, m) != PV_OK) {
        pv_peer_misbehaved(p, "malformed digest");
        return;
    }
    if (m->kind == PV_DIGEST_ROOT) {
        memcpy(d->theirs, m->root, sizeof d->theirs);
        d->have_theirs = true;
        submit_root(p);
    } else if (m->kind == PV_DIGEST_BUCKET_LIST) {
        on_buckets(p, m);
    } else {
        pv_diff_add(p, m);
    }
}

void pv_digest_settle(struct pv_peer *p)
{
    struct pv_digest *d = digest_of(p);
    uint64_t now = pv_node_now(p->node), quiet = now + PV_SYNC_SETTLE_MS;
    if (!d->settling)
        d->settling_since_ms = now;
    d->settling = true;
    uint64_t latest = d->settling_since_ms + PV_DIGEST_SETTLE_MAX_MS;
    d->compare_at_ms = quiet < latest ? quiet : latest;
}

void pv_digest_gained(struct pv_peer *p)
{
    struct pv_digest *d = digest_of(p);
    d->rounds = d->buckets_sent = d->retries = 0;
}

uint64_t pv_digest_deadline_ms(const struct pv_peer *p)
{
    const struct pv_digest *d = &p->sync->digest;
    uint64_t at = d->compare_at_ms < d->hourly_at_ms ? d->compare_at_ms : d->hourly_at_ms;
    return d->retry_at_ms < at ? d->retry_at_ms : at;
}

void pv_digest_tick(struct pv_peer *p)
{
    struct pv_digest *d = digest_of(p);
    uint64_t now = pv_node_now(p->node);
    bool hourly = now >= d->hourly_at_ms;
    if (!hourly && now < d->compare_at_ms && now < d->retry_at_ms)
        return;
    d->retry_at_ms = UINT64_MAX;
    if (hourly) {
        d->hourly_at_ms = now + PV_SYNC_INTERVAL_MS;
        pv_digest_gained(p);
    }
    if (d->in_round && now - d->active_ms < PV_DIGEST_ANSWER_MS) {
        d->compare_at_ms = now + PV_DIGEST_ANSWER_MS; /* it ends with a comparison of its own */
        return;
    }
    if (d->in_round) /* what has not been answered by now may be asked again */
        d->listed = (struct pv_bucket_set){{0}, 0};
    end_round(d);
    compare(p);
}

void pv_digest_attach(struct pv_peer *p)
{
    struct pv_digest *d = digest_of(p);
    pv_list_init(&d->diffs);
    d->hourly_at_ms = pv_node_now(p->node) + PV_SYNC_INTERVAL_MS;
    d->retry_at_ms = UINT64_MAX;
    compare(p);
}

void pv_digest_free(struct pv_peer *p)
{
    pv_diff_free_all(p);
}
