/*
 * The table of members mirrors the type 3 records of the store: loaded at start, and told by
 * whoever commits one. Commits may be reported out of order, so each change is compared with what
 * is there by the order of the record type itself. Entries are never removed (an expelled member
 * must stay known), which makes their indices good for bit sets.
 *
 * New peers are judged in recognise.c.
 */
#include "internal/node/clear_records.h"
#include "internal/node/decide.h"
#include "internal/node/digest.h"

#include <string.h>

struct entry {
    struct pv_member m;
    uint8_t *env;
    size_t len;
};

struct pv_members {
    struct entry *entries[PV_MEMBERS_KNOWN_MAX];
    size_t count;
    bool full_logged;
};

/* ---- the table ----------------------------------------------------------------------------- */

static struct entry *find_entry(const struct pv_node *n, const struct pv_id *node_id)
{
    const struct pv_members *t = n->members;
    for (size_t i = 0; i < t->count; i++)
        if (pv_id_equal(&t->entries[i]->m.node_id, node_id))
            return t->entries[i];
    return NULL;
}

static const struct entry *find_author(const struct pv_node *n, const uint8_t *pub)
{
    const struct pv_members *t = n->members;
    for (size_t i = 0; i < t->count; i++)
        if (memcmp(t->entries[i]->m.body.subject, pub, PV_PUB_LEN) == 0)
            return t->entries[i];
    return NULL;
}

static bool is_active(const struct pv_member *m)
{
    return !m->body.expelled && !m->body.stale;
}

static bool is_self(const struct pv_node *n, const struct pv_id *node_id)
{
    return pv_id_equal(node_id, &n->config.identity->node_id);
}

const struct pv_member *pv_members_find(const struct pv_node *n, const struct pv_id *node_id)
{
    const struct entry *e = find_entry(n, node_id);
    return e != NULL ? &e->m : NULL;
}

size_t pv_members_list(const struct pv_node *n, const struct pv_member **out, size_t max)
{
    size_t count = n->members->count < max ? n->members->count : max;
    for (size_t i = 0; i < count; i++)
        out[i] = &n->members->entries[i]->m;
    return count;
}

size_t pv_members_active(const struct pv_node *n)
{
    size_t count = 1; /* ourselves, whatever the table says */
    for (size_t i = 0; i < n->members->count; i++) {
        const struct pv_member *m = &n->members->entries[i]->m;
        if (is_active(m) && !is_self(n, &m->node_id))
            count++;
    }
    return count;
}

size_t pv_members_unheard(const struct pv_node *n)
{
    size_t count = 0;
    for (size_t i = 0; i < n->members->count; i++) {
        const struct pv_member *m = &n->members->entries[i]->m;
        if (!is_active(m) || is_self(n, &m->node_id))
            continue;
        const struct pv_peer *p = m->link != 0 ? pv_node_peer(n, m->link) : NULL;
        if (p == NULL || !pv_sync_peer_agrees(p))
            count++;
    }
    return count;
}

static bool is_writer(const struct entry *e)
{
    return e != NULL && e->m.body.role == PV_ROLE_KEYED && !e->m.body.expelled;
}

bool pv_members_may_write(const struct pv_node *n, const uint8_t author[static PV_PUB_LEN])
{
    return is_writer(find_author(n, author));
}

bool pv_members_slot(const struct pv_node *n, const struct pv_id *node_id, unsigned *slot)
{
    for (unsigned i = 0; i < n->members->count; i++) {
        if (pv_id_equal(&n->members->entries[i]->m.node_id, node_id)) {
            *slot = i;
            return true;
        }
    }
    return false;
}

/* ---- records ------------------------------------------------------------------------------- */

static bool decode_member(const struct pv_record *rec, struct pv_member_body *body,
                          struct pv_id *node_id)
{
    struct pv_id rid;
    if (rec->type != PV_RECORD_MEMBER || (rec->flags & PV_RECORD_TOMBSTONE) != 0 ||
        pv_member_body_decode(body, rec->body, rec->body_len) != PV_OK)
        return false;
    pv_node_id_of(node_id, body->subject);
    pv_rid_clear(&rid, PV_RECORD_MEMBER, node_id->b, PV_ID_LEN);
    return pv_id_equal(&rid, &rec->rid);
}

static bool accept_member(const struct pv_peer *p, const struct pv_record *rec, bool vouched)
{
    struct pv_members *t = p->node->members;
    struct pv_member_body body;
    struct pv_id node_id;
    if (!decode_member(rec, &body, &node_id))
        return false;
    if (find_entry(p->node, &node_id) == NULL && t->count == PV_MEMBERS_KNOWN_MAX) {
        if (!t->full_logged)
            PV_LOG(p->node->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "too many members", "limit",
                   pv_log_u64(PV_MEMBERS_KNOWN_MAX));
        t->full_logged = true;
        return false;
    }
    return vouched || pv_members_may_write(p->node, rec->author);
}

/* An address is its owner's own statement. */
static bool accept_address(const struct pv_record *rec)
{
    struct pv_address_body body;
    struct pv_id node_id, rid;
    if (pv_address_body_decode(&body, rec->body, rec->body_len) != PV_OK ||
        memcmp(body.subject, rec->author, PV_PUB_LEN) != 0)
        return false;
    pv_node_id_of(&node_id, body.subject);
    pv_rid_clear(&rid, PV_RECORD_ADDRESS, node_id.b, PV_ID_LEN);
    return pv_id_equal(&rid, &rec->rid);
}

bool pv_members_root(const struct pv_node *n, const struct pv_id *node_id)
{
    const struct pv_keyring *k = n->config.keyring;
    const struct entry *e = find_entry(n, node_id);
    return k->has_root && pv_id_equal(&k->root, node_id) && (e == NULL || is_writer(e));
}

/* Of a blind node's peers nobody can prove a key to it: the records say who has one. */
static bool vouches(const struct pv_peer *p)
{
    bool proved = p->info.keyed || pv_keyring_active(p->node->config.keyring) == NULL;
    return (proved && is_writer(find_entry(p->node, &p->node_id))) ||
           pv_members_root(p->node, &p->node_id);
}

bool pv_members_accept(const struct pv_peer *p, const struct pv_record *rec)
{
    const struct entry *author = find_author(p->node, rec->author);
    bool vouched = vouches(p);
    if (rec->type == PV_RECORD_MEMBER)
        return accept_member(p, rec, vouched);
    if (author == NULL || (author->m.body.expelled && !vouched))
        return false;
    if (rec->type == PV_RECORD_ADDRESS)
        return accept_address(rec);
    return author->m.body.role == PV_ROLE_KEYED;
}

bool pv_members_current(const struct pv_node *n, const struct pv_record *rec)
{
    struct pv_member_body body;
    struct pv_id node_id;
    if (!decode_member(rec, &body, &node_id))
        return false;
    const struct entry *e = find_entry(n, &node_id);
    return e != NULL && pv_id_equal(&e->m.hash, &rec->hash);
}

static bool wins(const struct entry *e, const struct pv_record *rec)
{
    struct pv_record old;
    enum pv_err err = pv_record_parse(&old, e->env, e->len);
    PV_ASSERT(err == PV_OK); /* it was parsed when it came in, and lies in our own memory */
    return pv_record_cmp(rec, &old) > 0;
}

/* False: nothing changed. *out: the entry that did. */
static bool apply(struct pv_node *n, const uint8_t *env, size_t len, struct entry **out)
{
    struct pv_members *t = n->members;
    struct pv_record rec;
    struct pv_member_body body;
    struct pv_id node_id;
    if (pv_record_parse(&rec, env, len) != PV_OK || !decode_member(&rec, &body, &node_id))
        return false;
    struct entry *e = find_entry(n, &node_id);
    if (e != NULL && !wins(e, &rec))
        return false;
    if (e == NULL && t->count == PV_MEMBERS_KNOWN_MAX)
        return false;
    uint8_t *copy = pv_memdup(env, len);
    if (copy != NULL && e == NULL) {
        e = pv_calloc(1, sizeof *e);
        if (e != NULL) {
            e->m.heard_ms = pv_node_now(n);
            t->entries[t->count++] = e;
        }
    }
    if (copy == NULL || e == NULL) { /* the store has it: the next start will know it */
        PV_LOG(n->config.env->log, PV_LOG_ERROR, PV_SUB_NODE, "no memory for a member record");
        pv_free(copy);
        return false;
    }
    pv_free(e->env);
    e->env = copy;
    e->len = len;
    e->m.node_id = node_id;
    e->m.body = body;
    e->m.hlc = rec.hlc;
    e->m.hash = rec.hash;
    *out = e;
    return true;
}

void pv_members_end_sessions(struct pv_node *n, const struct pv_id *node_id)
{
    struct pv_peer *p;
    for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;)
        if (pv_id_equal(&p->node_id, node_id))
            pv_peer_drop(p, PV_BYE_MEMBERSHIP);
}

void pv_members_changed(struct pv_node *n, const uint8_t *env, size_t len)
{
    struct entry *e;
    if (!apply(n, env, len, &e))
        return;
    if (e->m.body.expelled) {
        PV_LOG(n->config.env->log, PV_LOG_WARN, PV_SUB_NODE,
               is_self(n, &e->m.node_id) ? "this node was expelled" : "member was expelled", "node",
               pv_log_id(e->m.node_id.b));
        pv_members_end_sessions(n, &e->m.node_id);
    }
    pv_addresses_review(n);
    pv_push_places_changed(n);
    pv_publish_on_held(n);
}

void pv_members_send_all(struct pv_peer *p)
{
    const struct pv_members *t = p->node->members;
    for (size_t i = 0; i < t->count;) {
        struct pv_wr w = pv_wr_of(p->node->scratch, PV_FRAME_PLAIN_MAX);
        pv_msg_begin_records(&w);
        for (size_t sum = 0; i < t->count; i++) {
            sum += t->entries[i]->len;
            if (sum > PV_MSG_ENVELOPES_MAX)
                break;
            pv_msg_add_record(&w, t->entries[i]->env, t->entries[i]->len);
        }
        pv_peer_send(p, &w);
    }
}

enum pv_err pv_members_found_record(uint8_t *env, size_t *len, const struct pv_identity *identity,
                                    pv_hlc hlc, const struct pv_env *pvenv)
{
    struct pv_member_body body = {.role = PV_ROLE_KEYED, .weight = 1};
    (void)pvenv;
    memcpy(body.subject, identity->pub, PV_PUB_LEN);
    const struct pv_clear_draft draft = {.member = &body, .hlc = hlc};
    return pv_clear_record_seal(env, len, &draft, identity);
}

/* ---- life ---------------------------------------------------------------------------------- */

enum pv_err pv_members_new(struct pv_node *n)
{
    n->members = pv_calloc(1, sizeof *n->members);
    n->policy = pv_calloc(1, sizeof *n->policy);
    return n->members != NULL && n->policy != NULL ? PV_OK : PV_E_NOMEM;
}

void pv_members_free(struct pv_node *n)
{
    for (size_t i = 0; i < n->members->count; i++) {
        pv_free(n->members->entries[i]->env);
        pv_free(n->members->entries[i]);
    }
    pv_free(n->members);
    n->members = NULL;
    pv_free(n->policy);
    n->policy = NULL;
}

struct load {
    struct pv_job job;
    void (*ready)(void *arg, enum pv_err err);
    void *arg;
    struct pv_clear_records records;
    uint8_t policy[PV_POLICY_LEN_MAX];
    size_t policy_len;
};

static void load_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct load *l = PV_CONTAINER_OF(job, struct load, job);
    job->err = pv_clear_records_load(&l->records, ctx->store, PV_RECORD_MEMBER);
    l->policy_len = sizeof l->policy;
    if (job->err == PV_OK)
        job->err = pv_store_meta(ctx->store, PV_POLICY_META, l->policy, &l->policy_len);
    if (job->err == PV_E_NOT_FOUND) {
        l->policy_len = 0;
        job->err = PV_OK;
    }
}

static void load_done(struct pv_job *job)
{
    struct load *l = PV_CONTAINER_OF(job, struct load, job);
    struct pv_node *n = job->node;
    struct entry *e;
    for (size_t i = 0; job->err == PV_OK && i < l->records.count; i++)
        (void)apply(n, l->records.found[i].env, l->records.found[i].len, &e);
    pv_clear_records_release(&l->records);
    /* To go on without the blocks would let in whom the operator keeps out. */
    if (job->err == PV_OK && l->policy_len > 0)
        job->err = pv_policy_decode(n->policy, l->policy, l->policy_len);
    l->ready(l->arg, job->err);
    pv_free(l);
}

void pv_members_start(struct pv_node *n, void (*ready)(void *arg, enum pv_err err), void *arg)
{
    struct load *l = pv_calloc(1, sizeof *l);
    if (l == NULL) {
        ready(arg, PV_E_NOMEM);
        return;
    }
    l->job.run = load_run;
    l->job.done = load_done;
    l->ready = ready;
    l->arg = arg;
    pv_node_submit(n, &l->job);
}

/* ---- sessions ------------------------------------------------------------------------------ */

const struct pv_member *pv_members_connected(struct pv_peer *p)
{
    struct entry *e = find_entry(p->node, &p->node_id);
    if (e == NULL || e->m.body.expelled || pv_node_blocks(p->node, &p->node_id))
        return NULL;
    e->m.link = p->link;
    return &e->m;
}

/* Of two sessions with one node the older may end after the newer began. */
void pv_members_peer_down(struct pv_peer *p)
{
    struct entry *e = find_entry(p->node, &p->node_id);
    struct pv_peer *other;
    if (e == NULL || e->m.link != p->link)
        return;
    e->m.link = 0;
    e->m.heard_ms = pv_node_now(p->node);
    for (size_t i = 0; (other = pv_node_next_peer(p->node, &i)) != NULL;)
        if (pv_id_equal(&other->node_id, &p->node_id))
            e->m.link = other->link;
}

struct lost {
    struct pv_job job;
    pv_link link;
    struct pv_id node_id;
    struct pv_commit_op op;
    struct pv_id ids[];
};

static void lost_done(struct pv_job *job)
{
    struct lost *l = PV_CONTAINER_OF(job, struct lost, job);
    struct pv_peer *p = pv_node_peer(job->node, l->link);
    if (job->commit.err == PV_OK && !job->node->closing)
        pv_push_again(job->node, &l->node_id);
    if (p != NULL && p->sync != NULL) {
        pv_sync_job_ended(p);
        pv_digest_pump(p);
    }
    pv_free(l);
}

void pv_members_on_lost(struct pv_peer *p, const struct pv_id *ids, size_t count)
{
    struct lost *l = pv_calloc(1, sizeof *l + count * sizeof *ids);
    if (l == NULL || count == 0) {
        pv_free(l);
        return;
    }
    memcpy(l->ids, ids, count * sizeof *ids);
    l->link = p->link;
    l->node_id = p->node_id;
    l->op.type = PV_COMMIT_HELD;
    l->op.u.held.node_id = p->node_id;
    l->op.u.held.ids = l->ids;
    l->op.u.held.count = count;
    l->job.done = lost_done;
    l->job.commit.ops = &l->op;
    l->job.commit.count = 1;
    pv_sync_job_began(p); /* a peer that says it for ever waits for our disk */
    pv_node_submit(p->node, &l->job);
}
