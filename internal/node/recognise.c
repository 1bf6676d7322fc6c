/*
 * What happens between HELLO and admission. What can be refused at once is; then two jobs: one
 * reads what the peer's store said of itself last time, and seals its member record if it has none;
 * one commit clears its held bits, remembers its store and keeps the record, as far as each is
 * needed. Only then is the peer admitted, after another look at the table: it may have been
 * expelled meanwhile.
 */
#include "internal/node/clear_records.h"
#include "internal/base/sometimes.h"
#include "internal/node/decide.h"
#include "internal/node/node_private.h"

#include <string.h>

enum {
    ORIGIN_LEN = 16 + 8 + 16,
    META_PREFIX_LEN = 5, /* "peer:" */
};

struct recognise {
    struct pv_job job;
    pv_link link;
    struct pv_id node_id;
    struct pv_member_body body;
    pv_hlc hlc; /* of the member record to be sealed; 0: none */
    char meta_key[META_PREFIX_LEN + PV_ID_HEX_LEN + 1];
    uint8_t origin[ORIGIN_LEN]; /* store uuid, open count, boot random; as remembered */
    bool known, replaced;
    struct pv_commit_op ops[3];
    size_t env_len;
    uint8_t *env;
};

static void recognise_free(struct recognise *rc)
{
    if (rc != NULL)
        pv_free(rc->env);
    pv_free(rc);
}

static void write_origin(uint8_t out[static ORIGIN_LEN], const struct pv_msg_hello *hello)
{
    struct pv_wr w = pv_wr_of(out, ORIGIN_LEN);
    pv_wr_bytes(&w, hello->store_uuid, sizeof hello->store_uuid);
    pv_wr_u64(&w, hello->open_count);
    pv_wr_bytes(&w, hello->boot_random, sizeof hello->boot_random);
    PV_ASSERT(!w.bad && w.p == w.end);
}

/* The same store later on, or still the same run of it: what it held then it still holds. */
static bool store_goes_on(const uint8_t before[static ORIGIN_LEN],
                          const uint8_t now[static ORIGIN_LEN])
{
    struct pv_rd rb = pv_rd_of(before, ORIGIN_LEN), rn = pv_rd_of(now, ORIGIN_LEN);
    const uint8_t *uuid_before = pv_rd_view(&rb, 16), *uuid_now = pv_rd_view(&rn, 16);
    if (memcmp(before, now, ORIGIN_LEN) == 0)
        return true;
    return memcmp(uuid_before, uuid_now, 16) == 0 && pv_rd_u64(&rn) > pv_rd_u64(&rb);
}

static void read_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct recognise *rc = PV_CONTAINER_OF(job, struct recognise, job);
    uint8_t before[ORIGIN_LEN];
    size_t len = sizeof before;
    job->err = pv_store_meta(ctx->store, rc->meta_key, before, &len);
    if (job->err == PV_OK) {
        rc->known = len == sizeof before && memcmp(before, rc->origin, sizeof before) == 0;
        rc->replaced = len != sizeof before || !store_goes_on(before, rc->origin);
    } else if (job->err == PV_E_NOT_FOUND) {
        job->err = PV_OK;
    }
    const struct pv_clear_draft draft = {.member = &rc->body, .hlc = rc->hlc};
    if (job->err == PV_OK && rc->hlc != 0)
        job->err = pv_clear_record_seal(rc->env, &rc->env_len, &draft, ctx->identity);
}

static void fail(struct pv_peer *p, enum pv_err err)
{
    PV_LOG_LIMITED(p->node->config.env->log, PV_LOG_ERROR, PV_SUB_NODE, "cannot admit peer", "node",
                   pv_log_id(p->node_id.b), "cause", pv_err_text(err));
    pv_peer_drop(p, PV_BYE_LIMIT);
}

static void admit(struct pv_peer *p)
{
    if (pv_members_connected(p) == NULL && !pv_members_root(p->node, &p->node_id)) {
        pv_peer_drop(p, PV_BYE_MEMBERSHIP);
        return;
    }
    PV_LOG_LIMITED(p->node->config.env->log, PV_LOG_INFO, PV_SUB_NODE, "peer is a member", "node",
                   pv_log_id(p->node_id.b), "peer", p->address);
    pv_node_peer_admitted(p);
}

static void commit_done(struct pv_job *job)
{
    struct recognise *rc = PV_CONTAINER_OF(job, struct recognise, job);
    struct pv_node *n = job->node;
    enum pv_err err = job->commit.err;
    if (err == PV_OK && rc->hlc != 0 && !n->closing) {
        PV_LOG(n->config.env->log, PV_LOG_INFO, PV_SUB_NODE, "admitted a new member", "node",
               pv_log_id(rc->node_id.b));
        pv_members_changed(n, rc->env, rc->env_len);
        pv_sync_broadcast(n, rc->env, rc->env_len);
    }
    struct pv_peer *p = pv_node_peer(n, rc->link);
    if (p != NULL && err != PV_OK)
        fail(p, err);
    else if (p != NULL)
        admit(p);
    recognise_free(rc);
}

static void add_ops(struct recognise *rc)
{
    size_t count = 0;
    if (rc->replaced) {
        struct pv_commit_op *op = &rc->ops[count++];
        op->type = PV_COMMIT_HELD;
        op->u.held.node_id = rc->node_id;
        op->u.held.all = true;
    }
    if (!rc->known) {
        struct pv_commit_op *op = &rc->ops[count++];
        op->type = PV_COMMIT_META;
        op->u.meta.key = rc->meta_key;
        op->u.meta.value = rc->origin;
        op->u.meta.len = sizeof rc->origin;
    }
    if (rc->hlc != 0) {
        struct pv_commit_op *op = &rc->ops[count++];
        op->type = PV_COMMIT_RECORD;
        op->u.record.env = rc->env;
        op->u.record.len = rc->env_len;
    }
    rc->job.run = NULL;
    rc->job.done = commit_done;
    rc->job.commit.ops = rc->ops;
    rc->job.commit.count = count;
}

static void read_done(struct pv_job *job)
{
    struct recognise *rc = PV_CONTAINER_OF(job, struct recognise, job);
    struct pv_node *n = job->node;
    struct pv_peer *p = pv_node_peer(n, rc->link);
    if (p == NULL) {
        recognise_free(rc);
        return;
    }
    if (job->err != PV_OK) {
        fail(p, job->err);
        recognise_free(rc);
        return;
    }
    if (rc->replaced) {
        PV_SOMETIMES("node: a peer has another store than before");
        PV_LOG_LIMITED(n->config.env->log, PV_LOG_WARN, PV_SUB_NODE,
                       "peer has another store than before: offering it everything again", "node",
                       pv_log_id(p->node_id.b));
    }
    add_ops(rc);
    if (job->commit.count == 0) {
        admit(p);
        recognise_free(rc);
        return;
    }
    pv_node_submit(n, job);
}

/* 0: welcome, as far as the tables tell. said: what was decided here about it, or NULL. */
static uint8_t refusal(const struct pv_peer *p, const struct pv_member *m,
                       const struct pv_policy_entry *said)
{
    bool is_allowed = said != NULL && said->kind == PV_POLICY_ALLOW;
    if (said != NULL && said->kind == PV_POLICY_BLOCK)
        return PV_BYE_MEMBERSHIP;
    if (m != NULL && m->body.expelled)
        return PV_BYE_MEMBERSHIP;
    if (pv_keyring_active(p->node->config.keyring) == NULL) /* it cannot check a proof */
        return m != NULL || pv_members_root(p->node, &p->node_id) ? 0 : PV_BYE_MEMBERSHIP;
    if (!p->info.keyed && p->info.hello.role == PV_ROLE_KEYED)
        return PV_BYE_CLUSTER_KEY;
    if (m == NULL && !is_allowed && (p->node->config.allowlist || !p->info.keyed))
        return PV_BYE_MEMBERSHIP;
    if (m == NULL && pv_members_active(p->node) >= PV_MEMBERS_MAX)
        return PV_BYE_LIMIT;
    return 0;
}

/* The member record of a newcomer. Generation 0 is that of nodes nobody decided about. */
static struct pv_member_body newcomer(const struct pv_peer *p, const struct pv_policy_entry *said)
{
    struct pv_member_body body = {.role = PV_ROLE_KEYED, .weight = 1};
    memcpy(body.subject, p->info.handshake.pub, PV_PUB_LEN);
    if (said == NULL)
        return body;
    body.generation = 1;
    body.role = said->role != 0 ? said->role : p->info.keyed ? PV_ROLE_KEYED : PV_ROLE_BLIND;
    body.weight = said->weight;
    memcpy(body.zone, said->zone, sizeof body.zone);
    return body;
}

static void refuse(struct pv_peer *p, uint8_t goodbye)
{
    PV_LOG_LIMITED(p->node->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "peer refused", "node",
                   pv_log_id(p->node_id.b), "peer", p->address, "cause", pv_goodbye_text(goodbye));
    pv_peer_drop(p, goodbye);
}

void pv_members_peer_up(struct pv_peer *p)
{
    struct pv_node *n = p->node;
    const struct pv_member *m = pv_members_find(n, &p->node_id);
    const struct pv_policy_entry *said = pv_node_decided(n, &p->node_id);
    uint8_t goodbye = refusal(p, m, said);
    if (goodbye != 0) {
        refuse(p, goodbye);
        return;
    }
    struct recognise *rc = pv_calloc(1, sizeof *rc);
    enum pv_err err = rc != NULL ? PV_OK : PV_E_NOMEM;
    bool admits = m == NULL && pv_keyring_active(n->config.keyring) != NULL;
    if (err == PV_OK && admits) {
        rc->env = pv_malloc(PV_RECORD_LEN_MAX);
        err = rc->env != NULL ? pv_node_next_hlc(n, &rc->hlc) : PV_E_NOMEM;
    }
    if (err != PV_OK) {
        fail(p, err);
        recognise_free(rc);
        return;
    }
    rc->link = p->link;
    rc->node_id = p->node_id;
    rc->body = newcomer(p, said);
    write_origin(rc->origin, &p->info.hello);
    memcpy(rc->meta_key, "peer:", META_PREFIX_LEN);
    pv_id_hex(rc->meta_key + META_PREFIX_LEN, &p->node_id);
    rc->job.run = read_run;
    rc->job.done = read_done;
    pv_node_submit(n, &rc->job);
}
