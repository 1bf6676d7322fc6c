/*
 * The local table changes at once, so that two decisions under way do not undo each other and a
 * block works before the disk does. Then a job seals the member record, if there is to be one, and
 * a commit keeps both. The table goes to disk whole, and commits are done in order.
 */
#include "internal/node/decide.h"

#include "internal/node/clear_records.h"
#include "internal/node/node_private.h"
#include "internal/node/places.h"

#include <string.h>

_Static_assert((int)PV_POLICY_LEN_MAX <= (int)PV_META_MAX, "the table is one value");

struct pv_decide {
    struct pv_job job;
    pv_decide_done done; /* NULL: cancelled */
    void *arg;
    enum pv_err err;
    enum pv_decided decided;
    bool writes_record;
    struct pv_member_body body;
    pv_hlc hlc;
    uint8_t *env;
    size_t env_len;
    struct pv_buf table; /* the policy as it goes to disk; empty: unchanged */
    struct pv_commit_op ops[2];
};

const struct pv_policy *pv_node_policy(const struct pv_node *n)
{
    return n->policy;
}

static uint64_t now_s(const struct pv_node *n)
{
    return pv_env_wall_s(n->config.env);
}

const struct pv_policy_entry *pv_node_decided(const struct pv_node *n, const struct pv_id *node_id)
{
    return pv_policy_find(n->policy, node_id, now_s(n));
}

bool pv_node_blocks(const struct pv_node *n, const struct pv_id *node_id)
{
    return pv_policy_blocks(n->policy, node_id, now_s(n));
}

static void finish(struct pv_decide *d)
{
    if (d->done != NULL)
        d->done(d->arg, d->err, d->decided);
    pv_free(d->env);
    pv_buf_release(&d->table);
    pv_free(d);
}

/* ---- what is to be done ---- */

static enum pv_err put(struct pv_decide *d, struct pv_node *n, const struct pv_decision *what,
                       enum pv_policy_kind kind)
{
    struct pv_policy_entry entry = what->about;
    entry.kind = (uint8_t)kind;
    entry.since_s = now_s(n);
    entry.weight = entry.weight == 0 ? 1 : entry.weight;
    enum pv_err err = pv_policy_put(n->policy, &entry, now_s(n));
    return err == PV_OK ? pv_policy_encode(&d->table, n->policy) : err;
}

static enum pv_err drop(struct pv_decide *d, struct pv_node *n, const struct pv_id *node_id)
{
    return pv_policy_drop(n->policy, node_id) ? pv_policy_encode(&d->table, n->policy) : PV_OK;
}

static bool says_the_same(const struct pv_member_body *a, const struct pv_member_body *b)
{
    return a->expelled == b->expelled && a->stale == b->stale && a->role == b->role &&
           a->weight == b->weight && strcmp(a->zone, b->zone) == 0;
}

/* The record that makes *body true; none when the present one says so. */
static enum pv_err write_record(struct pv_decide *d, struct pv_node *n,
                                const struct pv_member_body *now, const struct pv_member_body *body)
{
    if (says_the_same(now, body))
        return PV_OK;
    if (now->generation == UINT32_MAX)
        return PV_E_LIMIT;
    d->body = *body;
    d->body.generation = now->generation + 1;
    d->writes_record = true;
    return pv_node_next_hlc(n, &d->hlc);
}

static enum pv_err allow(struct pv_decide *d, struct pv_node *n, const struct pv_decision *what)
{
    const struct pv_policy_entry *about = &what->about;
    const struct pv_member *m = pv_members_find(n, &about->node_id);
    struct pv_member_body now = {.role = PV_ROLE_KEYED, .weight = 1, .expelled = true};
    if (m == NULL && !what->has_pub) {
        d->decided = PV_DECIDED_EXPECTED;
        return pv_members_active(n) < PV_MEMBERS_MAX ? put(d, n, what, PV_POLICY_ALLOW)
                                                     : PV_E_LIMIT;
    }
    if (m != NULL)
        now = m->body;
    else
        memcpy(now.subject, what->pub, PV_PUB_LEN);
    if (now.expelled && pv_members_active(n) >= PV_MEMBERS_MAX)
        return PV_E_LIMIT;
    d->decided = PV_DECIDED_MEMBER;
    struct pv_member_body body = now;
    body.expelled = body.stale = false;
    body.role = about->role != 0 ? about->role : body.role;
    body.weight = about->weight != 0 ? about->weight : body.weight;
    if (what->has_zone)
        memcpy(body.zone, about->zone, sizeof body.zone);
    enum pv_err err = drop(d, n, &about->node_id);
    return err == PV_OK ? write_record(d, n, &now, &body) : err;
}

static enum pv_err block(struct pv_decide *d, struct pv_node *n, const struct pv_decision *what)
{
    d->decided = PV_DECIDED_BLOCKED;
    enum pv_err err = put(d, n, what, PV_POLICY_BLOCK);
    if (err == PV_OK) {
        pv_members_end_sessions(n, &what->about.node_id);
        pv_addresses_review(n);
    }
    return err;
}

static enum pv_err forget(struct pv_decide *d, struct pv_node *n, const struct pv_decision *what)
{
    const struct pv_id *id = &what->about.node_id;
    const struct pv_member *m = pv_members_find(n, id);
    if (m == NULL && pv_node_decided(n, id) == NULL)
        return PV_E_NOT_FOUND;
    d->decided = m == NULL ? PV_DECIDED_DROPPED : PV_DECIDED_EXPELLED;
    enum pv_err err = drop(d, n, id);
    if (err != PV_OK || m == NULL)
        return err;
    struct pv_member_body body = m->body;
    body.expelled = true;
    return write_record(d, n, &m->body, &body);
}

/* Old versions know this flag, too: to them it is a member that has been away for long. */
static enum pv_err drain(struct pv_decide *d, struct pv_node *n, const struct pv_id *id)
{
    const struct pv_member *m = pv_members_find(n, id);
    struct pv_places p;
    unsigned index;
    if (m == NULL || m->body.expelled)
        return PV_E_NOT_FOUND;
    d->decided = PV_DECIDED_DRAINING;
    pv_places_now(n, &p);
    if (p.table.count == 1 && pv_placement_find(&p.table, id, &index))
        return PV_E_BUSY;
    struct pv_member_body body = m->body;
    body.stale = true;
    return write_record(d, n, &m->body, &body);
}

static bool is_for_others(const struct pv_node *n, enum pv_decision_kind kind)
{
    const struct pv_member *self = pv_members_find(n, &n->config.identity->node_id);
    bool ends_drain = kind == PV_DECIDE_ALLOW && self != NULL && self->body.stale;
    return kind != PV_DECIDE_DRAIN && !ends_drain;
}

static enum pv_err prepare(struct pv_decide *d, struct pv_node *n, const struct pv_decision *what)
{
    const struct pv_id *id = &what->about.node_id;
    if (pv_id_equal(id, &n->config.identity->node_id) && is_for_others(n, what->kind))
        return PV_E_INVALID;
    if (what->kind == PV_DECIDE_BLOCK)
        return block(d, n, what);
    if (pv_keyring_active(n->config.keyring) == NULL)
        return PV_E_AUTH;
    if (what->kind == PV_DECIDE_DRAIN)
        return drain(d, n, id);
    return what->kind == PV_DECIDE_ALLOW ? allow(d, n, what) : forget(d, n, what);
}

/* ---- doing it ---- */

static void seal_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_decide *d = PV_CONTAINER_OF(job, struct pv_decide, job);
    if (d->err != PV_OK || !d->writes_record)
        return;
    const struct pv_clear_draft draft = {.member = &d->body, .hlc = d->hlc};
    d->env = pv_malloc(PV_RECORD_LEN_MAX);
    d->err = d->env == NULL ? PV_E_NOMEM
                            : pv_clear_record_seal(d->env, &d->env_len, &draft, ctx->identity);
}

static void commit_done(struct pv_job *job)
{
    struct pv_decide *d = PV_CONTAINER_OF(job, struct pv_decide, job);
    struct pv_node *n = job->node;
    d->err = job->commit.err;
    if (d->err == PV_OK && d->writes_record && !n->closing) {
        pv_sync_broadcast(n, d->env, d->env_len); /* to the expelled as well */
        pv_members_changed(n, d->env, d->env_len);
    }
    pv_addresses_review(n); /* a block may have been lifted */
    finish(d);
}

static void seal_done(struct pv_job *job)
{
    struct pv_decide *d = PV_CONTAINER_OF(job, struct pv_decide, job);
    size_t count = 0;
    if (d->table.len > 0) {
        struct pv_commit_op *op = &d->ops[count++];
        op->type = PV_COMMIT_META;
        op->u.meta.key = PV_POLICY_META;
        op->u.meta.value = d->table.data;
        op->u.meta.len = d->table.len;
    }
    if (d->writes_record) {
        struct pv_commit_op *op = &d->ops[count++];
        op->type = PV_COMMIT_RECORD;
        op->u.record.env = d->env;
        op->u.record.len = d->env_len;
    }
    if (d->err != PV_OK || count == 0) {
        finish(d);
        return;
    }
    job->run = NULL;
    job->done = commit_done;
    job->commit.ops = d->ops;
    job->commit.count = count;
    pv_node_submit(job->node, job);
}

struct pv_decide *pv_decide_start(struct pv_node *n, const struct pv_decision *decision,
                                  pv_decide_done done, void *arg)
{
    struct pv_decide *d = pv_calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    pv_buf_init(&d->table, PV_POLICY_LEN_MAX);
    d->done = done;
    d->arg = arg;
    d->job.run = seal_run;
    d->job.done = seal_done;
    d->err = prepare(d, n, decision);
    pv_node_submit(n, &d->job);
    return d;
}

void pv_decide_cancel(struct pv_decide *d)
{
    d->done = NULL;
}
