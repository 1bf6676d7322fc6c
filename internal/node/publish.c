/*
 * The queue (pending.h) holds what is pending, oldest first, as far as it fits; the rest is loaded
 * from the store, which is the true queue, when there is room. A check looks the record up again,
 * so an entry whose record was replaced or deleted meanwhile finds out there. What is safe is sent
 * to all; the first STORED makes it published, by a commit; later ones only count.
 */
#include "internal/node/pending.h"
#include "internal/base/sometimes.h"

#include <string.h>

enum { LOAD_MAX = 1024 };

static void pump(struct pv_node *n);

/* ---- publishing: the record is no longer pending ------------------------------------------- */

struct publish_item {
    struct pv_id rid; /* of the entry */
    bool is_name;
};

struct publish_job {
    struct pv_job job;
    size_t count;
    struct pv_commit_op *ops;
    struct publish_item *items;
};

static void publish_free(struct publish_job *pj)
{
    if (pj != NULL) {
        pv_free(pj->ops);
        pv_free(pj->items);
    }
    pv_free(pj);
}

static void publish_done(struct pv_job *job)
{
    struct publish_job *pj = PV_CONTAINER_OF(job, struct publish_job, job);
    struct pv_node *n = job->node;
    for (size_t i = 0; i < pj->count; i++) {
        struct pv_pending *e = pv_pending_find(n->publish, &pj->items[i].rid);
        const struct pv_id *hash = &pj->ops[i].u.publish.hash;
        bool is_name = pj->items[i].is_name;
        if (job->commit.err != PV_OK && e != NULL &&
            pv_id_equal(is_name ? &e->name_hash : &e->hash, hash))
            *(is_name ? &e->name_published : &e->published) = false;
        pv_pending_settle_rid(n, &pj->items[i].rid);
    }
    if (n->publish->load_full || job->commit.err != PV_OK)
        n->publish->more = true;
    if (job->commit.err == PV_OK && !n->closing)
        pv_sync_changed(n); /* some may have missed it, and compared while it was pending */
    if (job->commit.err != PV_OK)
        PV_LOG(n->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "cannot mark records published",
               "cause", pv_err_text(job->commit.err));
    publish_free(pj);
    pump(n);
}

static struct publish_job *publish_new(size_t max)
{
    struct publish_job *pj = pv_calloc(1, sizeof *pj);
    if (pj == NULL)
        return NULL;
    pj->ops = pv_calloc(max, sizeof *pj->ops);
    pj->items = pv_calloc(max, sizeof *pj->items);
    if (pj->ops != NULL && pj->items != NULL)
        return pj;
    publish_free(pj);
    return NULL;
}

static void publish_add(struct publish_job *pj, struct pv_pending *e, bool is_name)
{
    struct pv_commit_op *op = &pj->ops[pj->count];
    op->type = PV_COMMIT_PUBLISH;
    op->u.publish.rid = is_name ? e->name_rid : e->rid;
    op->u.publish.hash = is_name ? e->name_hash : e->hash;
    pj->items[pj->count].rid = e->rid;
    pj->items[pj->count++].is_name = is_name;
    *(is_name ? &e->name_published : &e->published) = true;
}

static void publish_submit(struct pv_node *n, struct publish_job *pj)
{
    if (pj->count == 0) {
        publish_free(pj);
        return;
    }
    pj->job.done = publish_done;
    pj->job.commit.ops = pj->ops;
    pj->job.commit.count = pj->count;
    pv_node_submit(n, &pj->job);
}

static bool note_holder(struct pv_pending *e, unsigned slot)
{
    uint8_t bit = (uint8_t)(1U << slot % 8);
    if ((e->stored_by[slot / 8] & bit) != 0)
        return false;
    e->stored_by[slot / 8] |= bit;
    e->stored_count++;
    return true;
}

/* No memory for the commit: the records are sent again, and answered again. */
void pv_publish_on_stored(struct pv_peer *p, const struct pv_id *hashes, size_t count)
{
    struct pv_node *n = p->node;
    struct pv_publish *q = n->publish;
    struct publish_job *pj = NULL;
    unsigned slot;
    if (!pv_members_slot(n, &p->node_id, &slot))
        return;
    for (size_t i = 0; i < count; i++) {
        struct pv_pending *e = pv_map_get(&q->by_hash, &hashes[i]);
        if (e == NULL)
            continue;
        bool is_name = e->has_name_hash && pv_id_equal(&hashes[i], &e->name_hash);
        if (pj == NULL && (pj = publish_new(count)) == NULL)
            return;
        if (!(is_name ? e->name_published : e->published))
            publish_add(pj, e, is_name);
        struct pv_id rid = e->rid;
        if (!is_name && note_holder(e, slot))
            pv_pending_tell(n, &rid);
        pv_pending_settle_rid(n, &rid);
    }
    if (pj != NULL)
        publish_submit(n, pj);
}

/* ---- checks -------------------------------------------------------------------------------- */

static bool somebody_writable(const struct pv_node *n)
{
    const struct pv_peer *p;
    for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;)
        if (pv_peer_writable(p))
            return true;
    return false;
}

/* Nobody else to wait for. */
static void publish_alone(struct pv_node *n, struct pv_pending *e)
{
    struct publish_job *pj = publish_new(2);
    if (pj == NULL) {
        e->stuck = true;
        return;
    }
    if (!e->published)
        publish_add(pj, e, false);
    if (e->has_name && !e->name_published)
        publish_add(pj, e, true);
    publish_submit(n, pj);
}

static void send(struct pv_node *n, struct pv_pending *e, const struct pv_publish_check *c)
{
    uint64_t now = pv_node_now(n);
    if (e->sent_at_ms != 0 && now < e->sent_at_ms + PV_PUBLISH_AGAIN_MS)
        return;
    e->sent_at_ms = 0;
    if (!somebody_writable(n))
        return;
    pv_sync_broadcast(n, c->env, c->env_len);
    if (c->name_env != NULL)
        pv_sync_broadcast(n, c->name_env, c->name_env_len);
    e->sent_at_ms = now;
}

/* A name that waits for its file goes on as part of the file's entry, if that has none yet. */
static void join_file(struct pv_node *n, struct pv_pending *e, const struct pv_id *file_rid)
{
    struct pv_publish *q = n->publish;
    struct pv_pending *file = pv_pending_find(q, file_rid);
    if (file != NULL && file->has_name && pv_id_equal(&file->name_rid, &e->rid)) {
        pv_pending_free(q, e);
        return;
    }
    if (file == NULL || file->has_name || file->published) {
        e->stuck = true;
        pv_pending_settle(n, e);
        return;
    }
    file->has_name = true;
    file->name_rid = e->rid;
    pv_pending_enqueue(q, file);
    pv_pending_free(q, e);
}

static void take_result(struct pv_node *n, struct pv_pending *e, struct pv_publish_check *c)
{
    struct pv_publish *q = n->publish;
    struct pv_id rid = e->rid;
    pv_pending_learn_hash(q, e, &c->hash);
    if (e->has_name && pv_id_equal(&e->name_rid, &c->name_rid)) {
        e->has_name = c->has_name;
        if (c->has_name)
            pv_pending_learn_name(q, e, &c->name_hash);
    }
    if (c->name_waits) {
        join_file(n, e, &c->name_file_rid);
        return;
    }
    e->level = c->level;
    e->walk = c->walk;
    e->again = e->again || c->unfinished;
    e->safe = c->level >= pv_publish_need(n);
    if (e->safe && pv_members_active(n) == 1 && !pv_pending_all_published(e))
        publish_alone(n, e);
    else if (pv_pending_wants_sending(n, e))
        send(n, e, c);
    pv_pending_tell(n, &rid);
    e = pv_pending_find(q, &rid);
    if (e != NULL && e != q->checking && !pv_list_linked(&e->list)) /* unless by who was told */
        pv_pending_settle(n, e);
}

/* The file got another name while its former one waits, or is gone: the name goes on by itself. */
static void let_name_go(struct pv_publish *q, struct pv_pending *e, const struct pv_id *new_name)
{
    if (!e->has_name || e->name_published ||
        (new_name != NULL && pv_id_equal(new_name, &e->name_rid)))
        return;
    e->has_name = false;
    if (pv_pending_find(q, &e->name_rid) == NULL)
        (void)pv_pending_new(q, &e->name_rid);
}

static void check_done(struct pv_job *job)
{
    struct pv_publish_check *c = PV_CONTAINER_OF(job, struct pv_publish_check, job);
    struct pv_node *n = job->node;
    struct pv_publish *q = n->publish;
    struct pv_pending *e = q->checking;
    q->checking = NULL;
    bool changed = c->has_hash && e->has_hash && !pv_id_equal(&e->hash, &c->hash);
    if (n->closing) {
        pv_pending_enqueue(q, e);
    } else if (c->replaced && !changed) {
        pv_pending_adopt(q, e, &c->new_hash);
        pv_pending_enqueue(q, e);
    } else if (changed || (c->gone && e->again)) { /* the record was replaced by us meanwhile */
        pv_pending_enqueue(q, e);
    } else if (job->err != PV_OK) {
        PV_LOG(n->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "cannot check a pending record",
               "cause", pv_err_text(job->err));
        e->stuck = true;
        pv_pending_settle(n, e);
    } else if (c->gone) {
        let_name_go(q, e, NULL);
        pv_pending_free(q, e);
    } else {
        take_result(n, e, c);
    }
    pv_free(c->env);
    pv_free(c->name_env);
    pv_free(c);
    pump(n);
}

/* The other active ones. */
static size_t other_members(const struct pv_node *n, struct pv_id *ids)
{
    const struct pv_member *members[PV_MEMBERS_KNOWN_MAX];
    size_t count = 0, known = pv_members_list(n, members, PV_MEMBERS_KNOWN_MAX);
    for (size_t i = 0; i < known && count < PV_MEMBERS_MAX; i++) {
        const struct pv_member *m = members[i];
        if (!m->body.expelled && !m->body.stale &&
            !pv_id_equal(&m->node_id, &n->config.identity->node_id))
            ids[count++] = m->node_id;
    }
    return count;
}

/* Passes over what has only to be sent while nobody can be sent to. */
static struct pv_pending *next_to_check(struct pv_node *n)
{
    struct pv_publish *q = n->publish;
    bool writable = somebody_writable(n);
    PV_LIST_EACH(&q->todo, l)
    {
        struct pv_pending *e = PV_LIST_ENTRY(l, struct pv_pending, list);
        if (writable || !e->safe || pv_members_active(n) == 1 || pv_pending_goal(n, e) > e->level)
            return e;
        e->sent_at_ms = 0;
        pv_pending_settle(n, e);
    }
    return NULL;
}

static void load(struct pv_node *n);

/* The next check, one at a time. */
static void pump(struct pv_node *n)
{
    struct pv_publish *q = n->publish;
    if (n->closing)
        return;
    load(n);
    struct pv_pending *e = q->checking == NULL ? next_to_check(n) : NULL;
    if (e == NULL)
        return;
    struct pv_publish_check *c = pv_calloc(1, sizeof *c);
    if (c == NULL) {
        q->again_at_ms = pv_node_now(n) + PV_PUBLISH_AGAIN_MS;
        return;
    }
    pv_list_remove(&e->list);
    e->stuck = e->again = false;
    c->job.run = pv_publish_check_run;
    c->job.done = check_done;
    c->rid = e->rid;
    c->hash = e->hash;
    c->has_hash = e->has_hash;
    c->name_rid = e->name_rid;
    c->has_name = e->has_name;
    c->is_waited_for = pv_pending_is_waited_for(q, e);
    c->goal = pv_pending_goal(n, e);
    c->level = e->level;
    c->walk = e->walk;
    c->holder_count = other_members(n, c->holders);
    q->checking = e;
    pv_node_submit(n, &c->job);
}

/* ---- what the store has -------------------------------------------------------------------- */

struct load_job {
    struct pv_job job;
    size_t count;
    struct pv_id rids[LOAD_MAX];
};

static void load_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct load_job *l = PV_CONTAINER_OF(job, struct load_job, job);
    job->err = pv_store_pending(ctx->store, l->rids, LOAD_MAX, &l->count);
}

static void look_by(struct pv_publish *q, uint64_t at_ms)
{
    if (at_ms < q->again_at_ms)
        q->again_at_ms = at_ms;
}

/* Nothing else may happen that would make us look. */
static void load_failed(struct pv_node *n, enum pv_err err)
{
    struct pv_publish *q = n->publish;
    q->more = true;
    q->load_at_ms = pv_node_now(n) + PV_PUBLISH_AGAIN_MS;
    look_by(q, q->load_at_ms);
    PV_LOG(n->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "cannot list pending records", "cause",
           pv_err_text(err));
}

static void load_done(struct pv_job *job)
{
    struct load_job *l = PV_CONTAINER_OF(job, struct load_job, job);
    struct pv_node *n = job->node;
    struct pv_publish *q = n->publish;
    bool added = false;
    q->loading = false;
    for (size_t i = 0; job->err == PV_OK && !n->closing && i < l->count; i++) {
        if (pv_pending_find(q, &l->rids[i]) != NULL || q->by_rid.count >= PV_PENDING_QUEUE_MAX)
            continue;
        added = true;
        PV_SOMETIMES("publish: pending records of an earlier run");
        if (pv_pending_new(q, &l->rids[i]) == NULL)
            job->err = PV_E_NOMEM;
    }
    q->load_full = job->err == PV_OK && l->count == LOAD_MAX;
    q->more = q->load_full && added;
    if (job->err != PV_OK)
        load_failed(n, job->err);
    pv_free(l);
    pump(n);
}

static void load(struct pv_node *n)
{
    struct pv_publish *q = n->publish;
    if (q->loading || !q->more || q->by_rid.count >= PV_PENDING_QUEUE_MAX / 2)
        return;
    if (pv_node_now(n) < q->load_at_ms) {
        look_by(q, q->load_at_ms);
        return;
    }
    struct load_job *l = pv_calloc(1, sizeof *l);
    if (l == NULL) {
        load_failed(n, PV_E_NOMEM);
        return;
    }
    l->job.run = load_run;
    l->job.done = load_done;
    q->loading = true;
    q->more = false;
    pv_node_submit(n, &l->job);
}

/* ---- from outside -------------------------------------------------------------------------- */

void pv_publish_start(struct pv_node *n)
{
    n->publish->more = true;
    pump(n);
}

void pv_publish_file(struct pv_node *n, const struct pv_id *file_rid, const struct pv_id *file_hash,
                     const struct pv_id *name_rid)
{
    struct pv_publish *q = n->publish;
    struct pv_pending *e = pv_pending_find(q, file_rid);
    if (e == NULL && q->by_rid.count >= PV_PENDING_QUEUE_MAX)
        q->more = true;
    else if (e == NULL)
        e = pv_pending_new(q, file_rid);
    if (e == NULL)
        return;
    let_name_go(q, e, name_rid);
    pv_pending_renew(q, e, file_hash);
    if (name_rid != NULL) {
        e->has_name = true;
        e->name_published = false;
        e->name_rid = *name_rid;
    }
    pv_pending_enqueue(q, e);
    pump(n);
}

void pv_publish_now(struct pv_node *n, const uint8_t *env, size_t len)
{
    pv_sync_broadcast(n, env, len);
}

void pv_publish_wait(struct pv_node *n, struct pv_copies_wait *wait)
{
    struct pv_publish *q = n->publish;
    wait->told = 1;
    wait->node = n;
    if (wait->want <= 1) {
        wait->progress(wait, 1);
        return;
    }
    pv_list_push_back(&q->waits, &wait->link);
    struct pv_pending *e = pv_pending_find(q, &wait->file_rid);
    if (e == NULL && (e = pv_pending_new(q, &wait->file_rid)) != NULL)
        pv_pending_learn_hash(q, e, &wait->record_hash);
    if (e != NULL)
        pv_pending_enqueue(q, e);
    pump(n);
}

/* Moves what waits for such an event back to be checked. */
static void wake(struct pv_node *n,
                 bool (*concerned)(const struct pv_node *, const struct pv_pending *))
{
    struct pv_publish *q = n->publish;
    PV_LIST_EACH(&q->parked, l)
    {
        struct pv_pending *e = PV_LIST_ENTRY(l, struct pv_pending, list);
        if (concerned(n, e))
            pv_pending_enqueue(q, e);
    }
    pump(n);
}

static bool wants_blobs(const struct pv_node *n, const struct pv_pending *e)
{
    return !e->safe || e->level < pv_pending_goal(n, e) || pv_members_active(n) == 1;
}

void pv_publish_on_held(struct pv_node *n)
{
    struct pv_pending *e = n->publish->checking;
    if (e != NULL && wants_blobs(n, e)) /* what is being counted may just have become more */
        e->again = true;
    wake(n, wants_blobs);
}

void pv_publish_on_admitted(struct pv_peer *p)
{
    struct pv_publish *q = p->node->publish;
    PV_LIST_EACH(&q->parked, l)
    {
        PV_LIST_ENTRY(l, struct pv_pending, list)->sent_at_ms = 0;
    }
    wake(p->node, pv_pending_wants_sending);
}

static bool unsent(const struct pv_node *n, const struct pv_pending *e)
{
    return e->sent_at_ms == 0 && pv_pending_wants_sending(n, e);
}

void pv_publish_on_writable(struct pv_peer *p)
{
    wake(p->node, unsent);
}

uint64_t pv_publish_deadline_ms(const struct pv_node *n)
{
    return n->publish->again_at_ms;
}

void pv_publish_tick(struct pv_node *n)
{
    struct pv_publish *q = n->publish;
    uint64_t now = pv_node_now(n);
    if (now < q->again_at_ms)
        return;
    q->again_at_ms = UINT64_MAX;
    PV_LIST_EACH(&q->parked, l)
    {
        struct pv_pending *e = PV_LIST_ENTRY(l, struct pv_pending, list);
        if (e->due_ms <= now)
            pv_pending_enqueue(q, e);
        else if (e->due_ms < q->again_at_ms)
            q->again_at_ms = e->due_ms;
    }
    pump(n);
}

enum pv_err pv_publish_new(struct pv_node *n)
{
    struct pv_publish *q = pv_calloc(1, sizeof *q);
    uint64_t seed;
    if (q == NULL)
        return PV_E_NOMEM;
    pv_env_random(n->config.env, &seed, sizeof seed);
    pv_list_init(&q->todo);
    pv_list_init(&q->parked);
    pv_list_init(&q->waits);
    pv_map_init(&q->by_rid, PV_ID_LEN, PV_PENDING_ENTRIES_MAX, seed);
    pv_map_init(&q->by_hash, PV_ID_LEN, 2 * PV_PENDING_ENTRIES_MAX, seed);
    q->again_at_ms = UINT64_MAX;
    n->publish = q;
    return PV_OK;
}

void pv_publish_free(struct pv_node *n)
{
    struct pv_publish *q = n->publish;
    struct pv_pending *e;
    PV_LIST_EACH(&q->waits, w)
    {
        pv_list_remove(w);
    }
    for (size_t i = 0; (e = pv_map_next(&q->by_rid, &i, NULL)) != NULL;)
        pv_pending_free(q, e);
    pv_map_release(&q->by_rid);
    pv_map_release(&q->by_hash);
    pv_free(q);
    n->publish = NULL;
}
