/*
 * Receiving records, and telling others of our own.
 *
 * Envelopes are collected into batches: of one message when nothing is under way, of whatever came
 * meanwhile otherwise, so that a stream of single records costs a few commits, not one each. A
 * batch is verified in a job (signature, seal, body), and then judged on the loop, because
 * membership and the clock live there: first its member records, in a commit of their own, since
 * they decide about the authors of the rest. Batches that were verified while a member record is
 * being committed wait for it. What is durable is answered with STORED.
 *
 * A wrong signature is the sender's fault: it verified, or should have, what it sends on. Whatever
 * else is wrong with a record is its author's: it is skipped, and the session goes on.
 */
#include "internal/base/buf.h"
#include "internal/node/digest.h"
#include "internal/record_index.h"
#include "internal/base/sometimes.h"

#include <string.h>

enum { BATCH_BYTES_MAX = 2 * PV_FRAME_PLAIN_MAX };

enum verdict { OPEN, SKIPPED, ACCEPTED };

struct item {
    size_t offset, len;
    struct pv_record rec; /* from verification on */
    enum verdict verdict;
    bool committed; /* or here already */
    struct pv_record_index index;
};

struct pv_batch {
    struct pv_job job;
    struct pv_list list; /* of pv_sync.verified */
    pv_link link;
    bool members_done;
    pv_hlc hlc; /* highest of those being committed */
    struct pv_buf bytes;
    size_t count;
    struct item items[PV_SYNC_RECORDS_A_JOB];
    struct pv_commit_op ops[PV_SYNC_RECORDS_A_JOB];
    struct item *op_items[PV_SYNC_RECORDS_A_JOB];
};

struct pv_sync {
    struct pv_list verified;
    bool members_committing;
    uint64_t held_until_ms; /* mono: the first record held back becomes acceptable */
    struct pv_msg_digest digest;
};

static struct pv_batch *batch_new(pv_link link)
{
    struct pv_batch *b = pv_calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->link = link;
    pv_buf_init(&b->bytes, BATCH_BYTES_MAX);
    return b;
}

static void batch_free(struct pv_batch *b)
{
    if (b != NULL)
        pv_buf_release(&b->bytes);
    pv_free(b);
}

static const uint8_t *env_of(const struct pv_batch *b, const struct item *it)
{
    return b->bytes.data + it->offset;
}

/* ---- verification, in a job ---------------------------------------------------------------- */

/* What the index needs of a sealed record; SKIPPED if its inside is not what it should be. Under a
 * key we have not got it is kept as it is. */
static enum pv_err look_inside(struct pv_batch *b, struct item *it,
                               const struct pv_job_context *ctx, uint8_t *plain)
{
    const struct pv_keyring_key *key = pv_keyring_entry(ctx->keyring, &it->rec.kid);
    if (key != NULL && key->state == PV_KEY_RETIRED) {
        it->verdict = SKIPPED; /* what counts of it is under the active key */
        return PV_OK;
    }
    enum pv_err err = pv_record_index(&it->index, &it->rec, env_of(b, it), it->len, ctx->keyring,
                                      pv_env_wall_ms(ctx->env), plain);
    if (err == PV_E_UNSUPPORTED) {
        PV_LOG(ctx->env->log, PV_LOG_DEBUG, PV_SUB_SYNC, "record under a key we have not got",
               "record", pv_log_id(it->rec.hash.b));
    } else if (err == PV_E_CORRUPT) {
        it->verdict = SKIPPED;
        PV_LOG_LIMITED(ctx->env->log, PV_LOG_WARN, PV_SUB_SYNC, "malformed record", "record",
                       pv_log_id(it->rec.hash.b));
    }
    return err == PV_E_NOMEM ? err : PV_OK;
}

static void verify_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_batch *b = PV_CONTAINER_OF(job, struct pv_batch, job);
    uint8_t *plain = pv_malloc(PV_RECORD_BODY_MAX);
    job->err = plain != NULL ? PV_OK : PV_E_NOMEM;
    for (size_t i = 0; i < b->count && job->err == PV_OK; i++) {
        struct item *it = &b->items[i];
        job->err = pv_record_verify(&it->rec, env_of(b, it), it->len);
        if (job->err == PV_OK)
            job->err = look_inside(b, it, ctx, plain);
    }
    if (plain != NULL)
        pv_wipe(plain, PV_RECORD_BODY_MAX);
    pv_free(plain);
}

/* ---- judgement, on the loop ---------------------------------------------------------------- */

static void hold(struct pv_node *n, const struct pv_record *rec, uint64_t wait_ms)
{
    PV_SOMETIMES("sync: a record from the future is held back");
    uint64_t now = pv_node_now(n);
    uint64_t at = wait_ms < PV_SYNC_INTERVAL_MS ? now + wait_ms : UINT64_MAX;
    PV_LOG(n->config.env->log, PV_LOG_DEBUG, PV_SUB_SYNC, "record from the future held back",
           "record", pv_log_id(rec->hash.b), "seconds", pv_log_u64(wait_ms / 1000));
    if (at < n->sync->held_until_ms)
        n->sync->held_until_ms = at;
}

static bool clock_allows(struct pv_node *n, const struct pv_record *rec)
{
    uint64_t wall_ms = pv_env_wall_ms(n->config.env), ms = pv_hlc_ms(rec->hlc);
    if (ms > wall_ms + PV_HLC_AHEAD_MS) {
        hold(n, rec, ms - wall_ms - PV_HLC_AHEAD_MS);
        return false;
    }
    return true;
}

static void judge(struct pv_peer *p, struct item *it)
{
    it->verdict = SKIPPED;
    if (!clock_allows(p->node, &it->rec))
        return;
    if (pv_members_accept(p, &it->rec))
        it->verdict = ACCEPTED;
    else
        PV_LOG(p->node->config.env->log, PV_LOG_DEBUG, PV_SUB_SYNC, "record of no member skipped",
               "record", pv_log_id(it->rec.hash.b), "from", pv_log_id(p->node_id.b));
}

/* A removal that everybody has forgotten may come from who was away: it still removes. */
static void add_op(struct pv_node *n, struct pv_batch *b, struct item *it)
{
    struct pv_commit_op *op = &b->ops[b->job.commit.count];
    *op = pv_record_index_op(&it->index, env_of(b, it), it->len);
    op->u.record.expired = (it->rec.flags & PV_RECORD_TOMBSTONE) != 0 &&
                           it->rec.hlc < pv_hlc_remembered(pv_env_wall_ms(n->config.env));
    b->op_items[b->job.commit.count++] = it;
    if (it->rec.hlc > b->hlc)
        b->hlc = it->rec.hlc;
}

static void commit_done(struct pv_job *job);

/* False: nothing to commit in this step. */
static bool commit_step(struct pv_peer *p, struct pv_batch *b)
{
    memset(&b->job, 0, sizeof b->job);
    b->hlc = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct item *it = &b->items[i];
        if (it->verdict != OPEN || (it->rec.type == PV_RECORD_MEMBER) == b->members_done)
            continue;
        judge(p, it);
        if (it->verdict == ACCEPTED && pv_members_current(p->node, &it->rec))
            it->committed = true;
        else if (it->verdict == ACCEPTED)
            add_op(p->node, b, it);
    }
    if (b->job.commit.count == 0)
        return false;
    b->job.done = commit_done;
    b->job.commit.ops = b->ops;
    p->node->sync->members_committing = !b->members_done;
    pv_node_submit(p->node, &b->job);
    return true;
}

static void say_stored(struct pv_peer *p, const struct pv_batch *b)
{
    struct pv_id hashes[PV_SYNC_RECORDS_A_JOB];
    size_t count = 0;
    for (size_t i = 0; i < b->count; i++)
        if (b->items[i].committed)
            hashes[count++] = b->items[i].rec.hash;
    if (count == 0)
        return;
    struct pv_wr w = pv_wr_of(p->node->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_stored(&w, PV_STORED_RECORDS, hashes, count);
    pv_peer_send(p, &w);
}

static void submit_open(struct pv_peer *p);

static void batch_over(struct pv_peer *p, struct pv_batch *b)
{
    say_stored(p, b);
    batch_free(b);
    pv_sync_job_ended(p);
    pv_digest_pump(p);
}

static void drain(struct pv_node *n)
{
    struct pv_sync *s = n->sync;
    while (!s->members_committing && !pv_list_empty(&s->verified)) {
        struct pv_batch *b = PV_LIST_ENTRY(s->verified.next, struct pv_batch, list);
        pv_list_remove(&b->list);
        struct pv_peer *p = pv_node_peer(n, b->link);
        if (p == NULL) {
            batch_free(b);
            continue;
        }
        if (!b->members_done && commit_step(p, b))
            continue;
        b->members_done = true;
        if (!commit_step(p, b))
            batch_over(p, b);
    }
}

static void tell_of_twin(struct pv_node *n, const struct pv_record *rec)
{
    struct pv_id author;
    pv_node_id_of(&author, rec->author);
    PV_LOG_LIMITED(n->config.env->log, PV_LOG_WARN, PV_SUB_SYNC,
                   "a node wrote two records at one clock: it was copied or restored, or lies",
                   "node", pv_log_id(author.b), "record", pv_log_id(rec->hash.b));
}

static void gained(struct pv_node *n, const struct pv_batch *b)
{
    size_t applied = 0;
    if (b->hlc > n->hlc)
        n->hlc = b->hlc;
    for (size_t i = 0; i < b->job.commit.count; i++) {
        b->op_items[i]->committed = true;
        applied += b->ops[i].applied;
        const struct pv_commit_op *op = &b->ops[i];
        uint8_t type = b->op_items[i]->rec.type;
        if (op->u.record.is_twin)
            tell_of_twin(n, &b->op_items[i]->rec);
        if (op->applied && type == PV_RECORD_MEMBER)
            pv_members_changed(n, op->u.record.env, op->u.record.len);
        if (op->applied && type == PV_RECORD_ADDRESS)
            pv_addresses_changed(n, op->u.record.env, op->u.record.len);
        if (op->applied && type == PV_RECORD_CLUSTER && n->config.io.cluster != NULL)
            n->config.io.cluster(n->config.io.ctx, op->u.record.env, op->u.record.len);
    }
    if (applied == 0)
        return;
    pv_sync_changed(n);
    struct pv_peer *p = pv_node_peer(n, b->link);
    if (p != NULL)
        pv_digest_gained(p);
}

/* A full disk refuses what adds to it, and with it all that is in the same commit: the rest, above
 * all deletions, goes alone then. */
static bool without_additions(struct pv_batch *b)
{
    size_t count = 0;
    for (size_t i = 0; i < b->job.commit.count; i++) {
        if ((b->op_items[i]->rec.flags & (PV_RECORD_TOMBSTONE | PV_RECORD_CLEAR)) == 0)
            continue;
        b->ops[count] = b->ops[i];
        b->op_items[count++] = b->op_items[i];
    }
    bool fewer = count > 0 && count < b->job.commit.count;
    if (fewer)
        b->job.commit.count = count;
    return fewer;
}

static void commit_done(struct pv_job *job)
{
    struct pv_batch *b = PV_CONTAINER_OF(job, struct pv_batch, job);
    struct pv_node *n = job->node;
    if (job->commit.err != PV_OK) {
        PV_SOMETIMES("sync: records cannot be kept");
        PV_LOG_LIMITED(n->config.env->log, PV_LOG_WARN, PV_SUB_SYNC, "cannot keep records", "cause",
                       pv_err_text(job->commit.err));
    }
    if (job->commit.err == PV_E_NOSPACE && !n->closing && without_additions(b)) {
        pv_node_submit(n, job);
        return;
    }
    if (job->commit.err == PV_OK)
        gained(n, b);
    struct pv_peer *p = pv_node_peer(n, b->link);
    if (!b->members_done) {
        n->sync->members_committing = false;
        b->members_done = true;
        pv_list_push_front(&n->sync->verified, &b->list);
    } else if (p != NULL) {
        batch_over(p, b);
    } else {
        batch_free(b);
    }
    drain(n);
}

static void verify_done(struct pv_job *job)
{
    struct pv_batch *b = PV_CONTAINER_OF(job, struct pv_batch, job);
    struct pv_node *n = job->node;
    struct pv_peer *p = pv_node_peer(n, b->link);
    if (p == NULL) {
        batch_free(b);
    } else if (job->err == PV_E_PROTOCOL || job->err == PV_E_AUTH) {
        pv_peer_misbehaved(p, job->err == PV_E_AUTH ? "record with a wrong signature"
                                                    : "malformed record");
        batch_free(b);
    } else if (job->err != PV_OK) {
        PV_LOG(n->config.env->log, PV_LOG_WARN, PV_SUB_SYNC, "cannot verify records", "cause",
               pv_err_text(job->err));
        batch_free(b);
        pv_sync_job_ended(p);
    } else {
        pv_list_push_back(&n->sync->verified, &b->list);
        drain(n);
    }
}

/* ---- collecting ---------------------------------------------------------------------------- */

void pv_sync_job_began(struct pv_peer *p)
{
    if (++p->sync->jobs == PV_SYNC_JOBS_MAX)
        pv_peer_pause(p, true);
}

void pv_sync_job_ended(struct pv_peer *p)
{
    PV_ASSERT(p->sync->jobs > 0);
    if (p->sync->jobs-- == PV_SYNC_JOBS_MAX)
        pv_peer_pause(p, false);
    submit_open(p); /* what came meanwhile: nothing else may come that would take it along */
}

static void submit_open(struct pv_peer *p)
{
    struct pv_batch *b = p->sync->open;
    if (b == NULL || p->dropped)
        return;
    p->sync->open = NULL;
    b->job.run = verify_run;
    b->job.done = verify_done;
    pv_sync_job_began(p);
    pv_node_submit(p->node, &b->job);
}

static bool has_room(const struct pv_batch *b, size_t len)
{
    return b->count < PV_SYNC_RECORDS_A_JOB && b->bytes.len + len <= BATCH_BYTES_MAX;
}

static enum pv_err collect(struct pv_peer *p, const uint8_t *env, size_t len)
{
    struct pv_sync_peer *sp = p->sync;
    if (sp->open != NULL && !has_room(sp->open, len))
        submit_open(p);
    if (sp->open == NULL)
        sp->open = batch_new(p->link);
    if (sp->open == NULL)
        return PV_E_NOMEM;
    size_t offset = sp->open->bytes.len;
    enum pv_err err = pv_buf_append(&sp->open->bytes, env, len);
    if (err == PV_OK)
        sp->open->items[sp->open->count++] = (struct item){.offset = offset, .len = len};
    return err;
}

void pv_sync_on_record(struct pv_peer *p, struct pv_rd *r)
{
    const uint8_t *env;
    size_t len;
    enum pv_err err;
    while ((err = pv_msg_next_record(r, &env, &len)) == PV_OK && env != NULL) {
        pv_quota_record(p);
        if ((err = collect(p, env, len)) != PV_OK)
            break;
    }
    if (err == PV_E_PROTOCOL)
        pv_peer_misbehaved(p, "malformed record message");
    else if (err != PV_OK)
        pv_peer_drop(p, PV_BYE_RENEW);
    else if (p->sync->jobs == 0)
        submit_open(p);
}

/* ---- the rest of the part ------------------------------------------------------------------ */

void pv_sync_broadcast(struct pv_node *n, const uint8_t *env, size_t len)
{
    struct pv_peer *p;
    struct pv_wr w = pv_wr_of(n->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_begin_records(&w);
    pv_msg_add_record(&w, env, len);
    for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;) {
        if (pv_peer_writable(p))
            pv_peer_send(p, &w);
        else if (p->sync != NULL) /* it will learn of the record by comparison */
            pv_digest_settle(p);
    }
}

void pv_sync_changed(struct pv_node *n)
{
    struct pv_peer *p;
    for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;)
        if (p->sync != NULL)
            pv_digest_settle(p);
}

void pv_sync_on_digest(struct pv_peer *p, struct pv_rd *r)
{
    pv_digest_on_message(p, r, &p->node->sync->digest);
}

void pv_sync_on_writable(struct pv_peer *p)
{
    pv_digest_pump(p);
}

bool pv_sync_has_agreed(const struct pv_node *n)
{
    return n->has_agreed;
}

bool pv_sync_peer_agrees(const struct pv_peer *p)
{
    return p->sync != NULL && p->sync->digest.agrees;
}

uint64_t pv_sync_deadline_ms(const struct pv_node *n)
{
    struct pv_peer *p;
    uint64_t at = n->sync->held_until_ms;
    for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;) {
        uint64_t peer_at = p->sync != NULL ? pv_digest_deadline_ms(p) : UINT64_MAX;
        at = peer_at < at ? peer_at : at;
    }
    return at;
}

void pv_sync_tick(struct pv_node *n)
{
    struct pv_peer *p;
    bool due = pv_node_now(n) >= n->sync->held_until_ms;
    if (due)
        n->sync->held_until_ms = UINT64_MAX;
    for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;) {
        if (p->sync == NULL)
            continue;
        if (due)
            pv_digest_settle(p);
        pv_digest_tick(p);
    }
}

enum pv_err pv_sync_new(struct pv_node *n)
{
    n->sync = pv_calloc(1, sizeof *n->sync);
    if (n->sync == NULL)
        return PV_E_NOMEM;
    pv_list_init(&n->sync->verified);
    n->sync->held_until_ms = UINT64_MAX;
    return PV_OK;
}

void pv_sync_free(struct pv_node *n)
{
    PV_ASSERT(pv_list_empty(&n->sync->verified)); /* drained by the commit they waited for */
    pv_free(n->sync);
    n->sync = NULL;
}

enum pv_err pv_sync_attach(struct pv_peer *p)
{
    p->sync = pv_calloc(1, sizeof *p->sync);
    if (p->sync == NULL)
        return PV_E_NOMEM;
    pv_digest_attach(p);
    return PV_OK;
}

/* Batches under way end as those of a peer that is gone. */
void pv_sync_detach(struct pv_peer *p)
{
    pv_digest_free(p);
    batch_free(p->sync->open);
    pv_free(p->sync);
    p->sync = NULL;
}
