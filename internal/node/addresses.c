/*
 * The table mirrors the type 5 records of the store, as members.c does with type 3: loaded at the
 * start, told of each that is committed, and ordered by the records' own clocks, since commits may
 * be reported out of order. Whatever changes, records, members or policy, all of it is told to the
 * host again, which knows what is new.
 */
#include "internal/node/addresses.h"

#include "internal/node/clear_records.h"
#include "internal/node/decide.h"
#include "internal/node/node_private.h"

#include <string.h>

struct entry {
    struct pv_id node_id, hash;
    pv_hlc hlc;
    struct pv_address_body body;
};

struct pv_addresses {
    struct entry *entries[PV_MEMBERS_KNOWN_MAX];
    size_t count;
    bool loaded, writing, wanted;
    struct pv_address_body self; /* to be said, where wanted */
};

static struct entry *find(const struct pv_node *n, const struct pv_id *node_id)
{
    const struct pv_addresses *t = n->addresses;
    for (size_t i = 0; i < t->count; i++)
        if (pv_id_equal(&t->entries[i]->node_id, node_id))
            return t->entries[i];
    return NULL;
}

const struct pv_address_body *pv_addresses_find(const struct pv_node *n,
                                                const struct pv_id *node_id)
{
    const struct entry *e = find(n, node_id);
    return e != NULL ? &e->body : NULL;
}

/* ---- to the host --------------------------------------------------------------------------- */

static bool is_wanted(const struct pv_node *n, const struct pv_id *node_id)
{
    const struct pv_member *m = pv_members_find(n, node_id);
    return m != NULL && !m->body.expelled && !pv_node_blocks(n, node_id) &&
           !pv_id_equal(node_id, &n->config.identity->node_id);
}

void pv_addresses_review(struct pv_node *n)
{
    const struct pv_addresses *t = n->addresses;
    if (n->config.io.reach == NULL || n->closing)
        return;
    for (size_t i = 0; i < t->count; i++) {
        const struct entry *e = t->entries[i];
        const char *texts[PV_ADDRESSES_MAX];
        size_t count = is_wanted(n, &e->node_id) ? e->body.count : 0;
        for (size_t k = 0; k < count; k++)
            texts[k] = e->body.addresses[k];
        n->config.io.reach(n->config.io.ctx, &e->node_id, texts, count);
    }
}

/* ---- records ------------------------------------------------------------------------------- */

static void apply(struct pv_node *n, const uint8_t *env, size_t len)
{
    struct pv_addresses *t = n->addresses;
    struct pv_record rec;
    struct pv_address_body body;
    struct pv_id node_id;
    if (pv_record_parse(&rec, env, len) != PV_OK || rec.type != PV_RECORD_ADDRESS ||
        pv_address_body_decode(&body, rec.body, rec.body_len) != PV_OK)
        return;
    if ((rec.flags & PV_RECORD_TOMBSTONE) != 0)
        body.count = 0;
    pv_node_id_of(&node_id, body.subject);
    struct entry *e = find(n, &node_id);
    if (e != NULL &&
        (rec.hlc < e->hlc || (rec.hlc == e->hlc && pv_id_cmp(&rec.hash, &e->hash) <= 0)))
        return;
    if (e == NULL && t->count < PV_MEMBERS_KNOWN_MAX && (e = pv_calloc(1, sizeof *e)) != NULL)
        t->entries[t->count++] = e;
    if (e != NULL) /* else it waits for the next start: the store has it */
        *e = (struct entry){.node_id = node_id, .hash = rec.hash, .hlc = rec.hlc, .body = body};
}

void pv_addresses_changed(struct pv_node *n, const uint8_t *env, size_t len)
{
    apply(n, env, len);
    pv_addresses_review(n);
}

/* ---- our own ------------------------------------------------------------------------------- */

struct announce {
    struct pv_job job;
    struct pv_address_body body;
    pv_hlc hlc;
    struct pv_commit_op op;
    size_t len;
    uint8_t env[PV_RECORD_LEN_MAX];
};

static void seal_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct announce *a = PV_CONTAINER_OF(job, struct announce, job);
    const struct pv_clear_draft draft = {.address = &a->body, .hlc = a->hlc};
    job->err = pv_clear_record_seal(a->env, &a->len, &draft, ctx->identity);
}

static void announce_over(struct pv_job *job, enum pv_err err)
{
    struct pv_node *n = job->node;
    n->addresses->writing = false;
    if (err != PV_OK && !n->closing)
        PV_LOG_LIMITED(n->config.env->log, PV_LOG_WARN, PV_SUB_NODE,
                       "cannot tell the members our addresses", "cause", pv_err_text(err));
    pv_free(PV_CONTAINER_OF(job, struct announce, job));
}

static void announce_if_new(struct pv_node *n);

static void commit_done(struct pv_job *job)
{
    struct announce *a = PV_CONTAINER_OF(job, struct announce, job);
    struct pv_node *n = job->node;
    bool done = job->commit.err == PV_OK && !n->closing;
    if (done) {
        pv_addresses_changed(n, a->env, a->len);
        pv_sync_broadcast(n, a->env, a->len);
    }
    announce_over(job, job->commit.err);
    if (done)
        announce_if_new(n); /* it may have changed meanwhile */
}

static void seal_done(struct pv_job *job)
{
    struct announce *a = PV_CONTAINER_OF(job, struct announce, job);
    if (job->err != PV_OK) {
        announce_over(job, job->err);
        return;
    }
    a->op.type = PV_COMMIT_RECORD;
    a->op.u.record.env = a->env;
    a->op.u.record.len = a->len;
    job->run = NULL;
    job->done = commit_done;
    job->commit.ops = &a->op;
    job->commit.count = 1;
    pv_node_submit(job->node, job);
}

static bool says_the_same(const struct pv_address_body *a, const struct pv_address_body *b)
{
    bool same = a->capacity_bytes == b->capacity_bytes && a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = strcmp(a->addresses[i], b->addresses[i]) == 0;
    return same;
}

static void announce_if_new(struct pv_node *n)
{
    struct pv_addresses *t = n->addresses;
    const struct pv_id *self = &n->config.identity->node_id;
    const struct pv_member *m = pv_members_find(n, self);
    const struct entry *said = find(n, self);
    if (!t->loaded || !t->wanted || t->writing || n->closing || m == NULL || m->body.expelled ||
        (said != NULL ? says_the_same(&said->body, &t->self) : t->self.count == 0))
        return;
    struct announce *a = pv_calloc(1, sizeof *a);
    if (a == NULL || pv_node_next_hlc(n, &a->hlc) != PV_OK) {
        pv_free(a); /* the next call tries again */
        return;
    }
    a->body = t->self;
    memcpy(a->body.subject, n->config.identity->pub, PV_PUB_LEN);
    a->job.run = seal_run;
    a->job.done = seal_done;
    t->writing = true;
    pv_node_submit(n, &a->job);
}

void pv_node_advertise(struct pv_node *n, const struct pv_address_body *self)
{
    n->addresses->self = *self;
    n->addresses->wanted = true;
    announce_if_new(n);
    pv_addresses_review(n); /* a block may have expired */
}

/* ---- life ---------------------------------------------------------------------------------- */

struct load {
    struct pv_job job;
    struct pv_clear_records records;
};

static void load_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct load *l = PV_CONTAINER_OF(job, struct load, job);
    job->err = pv_clear_records_load(&l->records, ctx->store, PV_RECORD_ADDRESS);
}

/* What could not be read is known after the next start. */
static void load_done(struct pv_job *job)
{
    struct load *l = PV_CONTAINER_OF(job, struct load, job);
    struct pv_node *n = job->node;
    for (size_t i = 0; i < l->records.count; i++)
        apply(n, l->records.found[i].env, l->records.found[i].len);
    pv_clear_records_release(&l->records);
    pv_free(l);
    n->addresses->loaded = true;
    announce_if_new(n);
    pv_addresses_review(n);
}

enum pv_err pv_addresses_new(struct pv_node *n)
{
    n->addresses = pv_calloc(1, sizeof *n->addresses);
    return n->addresses != NULL ? PV_OK : PV_E_NOMEM;
}

void pv_addresses_free(struct pv_node *n)
{
    for (size_t i = 0; i < n->addresses->count; i++)
        pv_free(n->addresses->entries[i]);
    pv_free(n->addresses);
    n->addresses = NULL;
}

void pv_addresses_start(struct pv_node *n)
{
    struct load *l = pv_calloc(1, sizeof *l);
    if (l == NULL) { /* nobody is dialled but those configured, and we say nothing */
        PV_LOG(n->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "no memory for addresses of members");
        return;
    }
    l->job.run = load_run;
    l->job.done = load_done;
    pv_node_submit(n, &l->job);
}
