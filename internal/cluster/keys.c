/*
 * The cluster key, replaced while the cluster runs. What has been reached is in two places, and
 * everything else follows from them, after a crash as well: the keyring (which keys, in which
 * state) and the record of type 6 (which one is active, when the others retire).
 *
 *   stage     a new key is in the keyring, as staged; members are given it (node/handover.c)
 *   activate  when every active keyed member has it: it is active here, and the record says so;
 *             the others follow the record
 *   re-seal   a walk gives each record under an older key a counterpart (reseal.h), until nothing
 *             is left
 *   retire    when nothing is left and all members agree on what there is, the record says when the
 *             older key retires; from then on it opens nothing, and what is under it is deleted
 *
 * review() looks at all this and takes the next step; it runs when something happened, and from
 * time to time. Steps are the same on every node and may be taken by several at once.
 */
#include "internal/cluster/cluster_private.h"
#include "internal/cluster/rotation.h"
#include "internal/cluster/secrets.h"
#include "internal/node/publish.h"

#include <string.h>

enum { LOOK_MS = 500, REST_MS = 60000, PATIENCE = 3 };

/* ---- what is known ---- */

static struct pv_node *node_of(const struct pv_rotation *r)
{
    return pv_cluster_node(r->cluster);
}

static const struct pv_keyring *ring_of(const struct pv_rotation *r)
{
    return r->cluster->config.keyring;
}

static uint64_t now_s(const struct pv_rotation *r)
{
    return pv_env_wall_s(pv_cluster_env(r->cluster));
}

static bool same_kid(const struct pv_kid *a, const struct pv_kid *b)
{
    return memcmp(a->b, b->b, PV_KID_LEN) == 0;
}

static const struct pv_keyring_key *active_of(const struct pv_rotation *r)
{
    const struct pv_cluster_keys *keys = pv_keyring_active(ring_of(r));
    return keys != NULL ? pv_keyring_entry(ring_of(r), &keys->kid) : NULL;
}

static const struct pv_keyring_key *staged_of(const struct pv_rotation *r)
{
    const struct pv_keyring *k = ring_of(r);
    const struct pv_keyring_key *staged = NULL;
    for (size_t i = 0; i < k->key_count; i++)
        if (k->keys[i].state == PV_KEY_STAGED &&
            (staged == NULL || pv_keyring_newer(&k->keys[i], staged)))
            staged = &k->keys[i];
    return staged;
}

uint64_t pv_rotation_retires_s(const struct pv_rotation *r, const struct pv_kid *kid)
{
    for (size_t i = 0; r->is_said && i < r->said.count; i++)
        if (same_kid(&r->said.keys[i].kid, kid))
            return r->said.keys[i].retire_s;
    return 0;
}

/* The active keyed members with ourselves, and how many of them have a key. */
static size_t keyed_members(const struct pv_rotation *r, const struct pv_kid *kid, size_t *have)
{
    const struct pv_member *members[PV_MEMBERS_KNOWN_MAX];
    const struct pv_id *self = &pv_node_config(node_of(r))->identity->node_id;
    size_t count = pv_members_list(node_of(r), members, PV_COUNT(members)), of = 1;
    *have = 1;
    for (size_t i = 0; i < count; i++) {
        const struct pv_member *m = members[i];
        if (m->body.expelled || m->body.stale || m->body.role != PV_ROLE_KEYED ||
            pv_id_equal(&m->node_id, self))
            continue;
        of++;
        *have += m->link != 0 && pv_node_peer_reads(node_of(r), m->link, kid);
    }
    return of;
}

static bool all_have(const struct pv_rotation *r, const struct pv_kid *kid)
{
    size_t have;
    return keyed_members(r, kid, &have) == have;
}

/* The walk is shared with those who can do it now. */
static void share(struct pv_rotation *r, const struct pv_kid *kid)
{
    const struct pv_member *members[PV_MEMBERS_KNOWN_MAX];
    const struct pv_id *self = &pv_node_config(node_of(r))->identity->node_id;
    size_t count = pv_members_list(node_of(r), members, PV_COUNT(members));
    pv_placement_init(&r->reseal.sharing, 1);
    for (size_t i = 0; i < count && r->reseal.sharing.count < PV_MEMBERS_MAX; i++) {
        const struct pv_member *m = members[i];
        bool does = m->link != 0 && pv_node_peer_reads(node_of(r), m->link, kid);
        if (m->body.expelled || m->body.role != PV_ROLE_KEYED)
            continue;
        if (does || pv_id_equal(&m->node_id, self))
            (void)pv_placement_add(&r->reseal.sharing, &m->node_id, &m->body);
    }
}

/* Keys under which something may be left. */
static bool is_sealing(const struct pv_rotation *r)
{
    const struct pv_keyring *k = ring_of(r);
    for (size_t i = 0; i < k->key_count; i++)
        if (k->keys[i].state == PV_KEY_READ_ONLY &&
            pv_rotation_retires_s(r, &k->keys[i].keys.kid) == 0)
            return true;
    return false;
}

/* ---- changes of the keyring ---- */

static void review(struct pv_rotation *r);

static enum pv_err apply(struct pv_keyring *k, void *arg)
{
    struct pv_rotation *r = arg;
    const struct pv_cluster_keys *active = pv_keyring_active(k);
    switch (r->step) {
    case PV_STEP_ACTIVATE:
        return pv_keyring_activate(k, &r->step_kid);
    case PV_STEP_DEDUP:
        return active == NULL ? PV_E_NOT_FOUND : pv_keyring_set_dedup(k, &active->kid);
    case PV_STEP_RETIRE:
        return pv_keyring_retire(k, &r->step_kid);
    }
    return PV_E_INTERNAL;
}

static void applied(void *arg, enum pv_err err)
{
    static const char *const texts[] = {
        [PV_STEP_ACTIVATE] = "another cluster key is active",
        [PV_STEP_DEDUP] = "new blobs are made under the active cluster key",
        [PV_STEP_RETIRE] = "a cluster key has retired",
    };
    struct pv_rotation *r = arg;
    char kid[2 * PV_KID_LEN + 1];
    pv_hex_encode(kid, r->step_kid.b, PV_KID_LEN);
    r->changing = false;
    PV_LOG(pv_cluster_env(r->cluster)->log, err == PV_OK ? PV_LOG_WARN : PV_LOG_ERROR, PV_SUB_NODE,
           texts[r->step], "key", kid, "result", pv_err_text(err));
    r->walk_due = r->afresh = true;
    if (err == PV_OK)
        review(r);
}

static void change(struct pv_rotation *r, enum pv_rotation_step step, const struct pv_kid *kid)
{
    r->step = step;
    r->step_kid = *kid;
    r->changing = pv_secrets_change(r->cluster, apply, applied, r) == PV_OK;
}

/* ---- the record ---- */

/* What it should say: the keyring's, and what it says of keys that we have not got. */
static void what_to_say(const struct pv_rotation *r, struct pv_cluster_body *out)
{
    const struct pv_keyring *k = ring_of(r);
    const struct pv_keyring_key *active = active_of(r);
    *out = (struct pv_cluster_body){.count = 1};
    out->keys[0].kid = active->keys.kid;
    for (size_t i = 0; i < k->key_count && out->count < PV_CLUSTER_KIDS_MAX; i++) {
        const struct pv_kid *kid = &k->keys[i].keys.kid;
        if (&k->keys[i] == active || k->keys[i].state == PV_KEY_STAGED)
            continue;
        out->keys[out->count].kid = *kid;
        out->keys[out->count++].retire_s = pv_rotation_retires_s(r, kid);
    }
    for (size_t i = 0; r->is_said && i < r->said.count; i++)
        if (pv_keyring_entry(k, &r->said.keys[i].kid) == NULL && out->count < PV_CLUSTER_KIDS_MAX)
            out->keys[out->count++] = r->said.keys[i];
}

static bool is_said(const struct pv_rotation *r, const struct pv_cluster_body *body)
{
    bool same = r->is_said && r->said.count == body->count &&
                same_kid(&r->said.keys[0].kid, &body->keys[0].kid);
    for (size_t i = 1; same && i < body->count; i++) {
        bool found = false;
        for (size_t k = 1; k < r->said.count; k++)
            found = found || (same_kid(&r->said.keys[k].kid, &body->keys[i].kid) &&
                              r->said.keys[k].retire_s == body->keys[i].retire_s);
        same = found;
    }
    return same;
}

static void hear(struct pv_rotation *r, const uint8_t *env, size_t len)
{
    struct pv_record rec;
    struct pv_cluster_body body;
    struct pv_id rid;
    pv_rid_cluster(&rid);
    if (pv_record_parse(&rec, env, len) != PV_OK || rec.type != PV_RECORD_CLUSTER ||
        !pv_id_equal(&rec.rid, &rid) || (rec.flags & PV_RECORD_TOMBSTONE) != 0 ||
        pv_cluster_body_decode(&body, rec.body, rec.body_len) != PV_OK)
        return;
    if (r->is_said &&
        (rec.hlc < r->hlc || (rec.hlc == r->hlc && pv_id_cmp(&rec.hash, &r->hash) <= 0)))
        return;
    r->is_said = true;
    r->said = body;
    r->hlc = rec.hlc;
    r->hash = rec.hash;
    r->walk_due = true;
}

static void write_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    static const uint8_t no_salt[32]; /* clear records have none */
    struct pv_rotation *r = PV_CONTAINER_OF(job, struct pv_rotation, job);
    PV_AUTO_FREE uint8_t *body = pv_malloc(PV_RECORD_BODY_MAX);
    struct pv_record_draft draft = {
        .type = PV_RECORD_CLUSTER, .flags = PV_RECORD_CLEAR, .hlc = r->draft_hlc, .body = body};
    pv_rid_cluster(&draft.rid);
    job->err = body == NULL ? PV_E_NOMEM : pv_cluster_body_encode(body, &draft.body_len, &r->draft);
    if (job->err == PV_OK)
        job->err = pv_record_seal(r->env, &r->env_len, &draft, NULL, ctx->identity->seed, no_salt);
}

static void write_over(struct pv_rotation *r, enum pv_err err)
{
    r->writing = false;
    if (err != PV_OK)
        PV_LOG(pv_cluster_env(r->cluster)->log, PV_LOG_ERROR, PV_SUB_NODE,
               "cannot write which cluster key is in use", "cause", pv_err_text(err));
    else if (!pv_node_closing(node_of(r)))
        review(r);
}

static void write_committed(struct pv_job *job)
{
    struct pv_rotation *r = PV_CONTAINER_OF(job, struct pv_rotation, job);
    if (job->commit.err == PV_OK) {
        hear(r, r->env, r->env_len);
        if (!pv_node_closing(node_of(r)))
            pv_publish_now(node_of(r), r->env, r->env_len);
    }
    write_over(r, job->commit.err);
}

static void write_sealed(struct pv_job *job)
{
    struct pv_rotation *r = PV_CONTAINER_OF(job, struct pv_rotation, job);
    if (job->err != PV_OK) {
        write_over(r, job->err);
        return;
    }
    r->op = (struct pv_commit_op){.type = PV_COMMIT_RECORD};
    r->op.u.record.env = r->env;
    r->op.u.record.len = r->env_len;
    r->job = (struct pv_job){.done = write_committed, .commit = {.ops = &r->op, .count = 1}};
    pv_node_submit(node_of(r), &r->job);
}

static void say(struct pv_rotation *r, const struct pv_cluster_body *body)
{
    if (pv_node_next_hlc(node_of(r), &r->draft_hlc) != PV_OK)
        return; /* our clock is wrong, and told to be */
    r->writing = true;
    r->draft = *body;
    r->job = (struct pv_job){.run = write_run, .done = write_sealed};
    pv_node_submit(node_of(r), &r->job);
}

/* ---- steps ---- */

/* The record names a key: ours is to be that one, if it is the newer. True: a step is taken. */
static bool follow(struct pv_rotation *r, const struct pv_keyring_key *active)
{
    const struct pv_kid *kid = &r->said.keys[0].kid;
    const struct pv_keyring_key *named = r->is_said ? pv_keyring_entry(ring_of(r), kid) : NULL;
    bool lacks = r->is_said && named == NULL;
    if (lacks && !r->lacks)
        PV_LOG(pv_cluster_env(r->cluster)->log, PV_LOG_ERROR, PV_SUB_NODE,
               "the cluster has a new key that this node lacks: a member that is connected gives "
               "it, unless it was replaced because the old one leaked: then join by an invite");
    r->lacks = lacks;
    if (named == NULL || named == active || named->state == PV_KEY_RETIRED ||
        !pv_keyring_newer(named, active))
        return false;
    change(r, PV_STEP_ACTIVATE, kid);
    return true;
}

static bool activate(struct pv_rotation *r)
{
    const struct pv_keyring_key *staged = staged_of(r);
    if (staged == NULL || (!r->force && !all_have(r, &staged->keys.kid)))
        return false;
    r->force = false;
    change(r, PV_STEP_ACTIVATE, &staged->keys.kid);
    return true;
}

static bool nothing_is_left(const struct pv_rotation *r)
{
    return !r->walk_due && !pv_reseal_runs(&r->reseal) && r->walks > 0 && r->left == 0;
}

/* Keys whose time is over, and blobs under one that retires. */
static bool retire(struct pv_rotation *r)
{
    const struct pv_keyring *k = ring_of(r);
    const struct pv_keyring_key *dedup = pv_keyring_entry(k, &k->dedup_kid);
    if (dedup != NULL && pv_rotation_retires_s(r, &k->dedup_kid) != 0) {
        change(r, PV_STEP_DEDUP, &k->dedup_kid);
        return true;
    }
    for (size_t i = 0; i < k->key_count; i++) {
        uint64_t at_s = pv_rotation_retires_s(r, &k->keys[i].keys.kid);
        if (k->keys[i].state == PV_KEY_READ_ONLY && at_s != 0 && at_s <= now_s(r) &&
            nothing_is_left(r)) {
            change(r, PV_STEP_RETIRE, &k->keys[i].keys.kid);
            return true;
        }
    }
    return false;
}

/* Nothing is left, and everybody who could have something has the new key and the same records. */
static void end_of_sealing(struct pv_rotation *r, struct pv_cluster_body *body)
{
    const struct pv_keyring_key *active = active_of(r);
    if (!nothing_is_left(r) || staged_of(r) != NULL || pv_members_unheard(node_of(r)) > 0 ||
        !all_have(r, &active->keys.kid))
        return;
    for (size_t i = 1; i < body->count; i++)
        if (body->keys[i].retire_s == 0)
            body->keys[i].retire_s = now_s(r) + r->cluster->config.key_grace_s;
}

static void walk(struct pv_rotation *r)
{
    const struct pv_keyring *k = ring_of(r);
    const struct pv_keyring_key *active = active_of(r);
    bool has_old = false;
    for (size_t i = 0; i < k->key_count; i++)
        has_old =
            has_old || k->keys[i].state == PV_KEY_READ_ONLY || k->keys[i].state == PV_KEY_RETIRED;
    uint64_t now_ms = pv_env_mono_ms(pv_cluster_env(r->cluster));
    if (!has_old || pv_reseal_runs(&r->reseal) || (!r->walk_due && r->left == 0) ||
        (!r->afresh && now_ms < r->walk_at_ms))
        return;
    bool whole = r->afresh || r->walks == 0 || r->left > 0;
    r->walk_due = r->afresh = false;
    r->walk_at_ms = now_ms; /* that it began, until it ends */
    share(r, &active->keys.kid);
    r->reseal.all = r->stuck >= PATIENCE;
    pv_reseal_start(&r->reseal, whole);
}

static void walked(struct pv_reseal *reseal, enum pv_err err)
{
    struct pv_rotation *r = PV_CONTAINER_OF(reseal, struct pv_rotation, reseal);
    uint64_t now_ms = pv_env_mono_ms(pv_cluster_env(r->cluster));
    r->walk_at_ms = now_ms + 4 * (now_ms - r->walk_at_ms);
    if (err != PV_OK) {
        r->walk_due = r->afresh = true;
        return;
    }
    if (reseal->moved > 0 || reseal->deleted > 0)
        PV_LOG(pv_cluster_env(r->cluster)->log, PV_LOG_INFO, PV_SUB_NODE,
               "records sealed under the active cluster key", "records", pv_log_u64(reseal->moved),
               "left", pv_log_u64(reseal->left), "deleted", pv_log_u64(reseal->deleted));
    r->walks++;
    r->stuck = reseal->left > 0 && reseal->left >= r->left ? r->stuck + 1 : 0;
    r->left = reseal->left;
    r->moved += reseal->moved;
    review(r); /* nothing may be left now: later something may have come */
}

static void review(struct pv_rotation *r)
{
    const struct pv_keyring_key *active = active_of(r);
    struct pv_cluster_body body;
    if (!r->started || r->changing || r->writing || active == NULL || pv_node_closing(node_of(r)))
        return;
    if (follow(r, active) || activate(r) || retire(r))
        return;
    if (r->is_said || ring_of(r)->key_count > 1 + (size_t)(staged_of(r) != NULL)) {
        what_to_say(r, &body);
        end_of_sealing(r, &body);
        if (!r->lacks && !is_said(r, &body)) {
            say(r, &body);
            return;
        }
    }
    walk(r);
}

/* ---- time ---- */

void pv_rotation_progress(struct pv_rotation *r, struct pv_rotation_progress *out)
{
    const struct pv_keyring_key *staged = staged_of(r), *key = staged;
    if (key == NULL)
        key = active_of(r);
    *out = (struct pv_rotation_progress){.moved = r->moved, .left = r->left};
    out->of = keyed_members(r, &key->keys.kid, &out->have);
    if (staged != NULL)
        out->phase = "stage";
    else if (r->changing || r->writing)
        out->phase = "activate";
    else
        out->phase = is_sealing(r) ? "re-seal" : "retire";
}

static void arm(struct pv_rotation *r)
{
    bool busy = r->changing || r->writing || staged_of(r) != NULL || is_sealing(r) || r->walk_due ||
                r->left > 0 || !pv_list_empty(&r->watchers);
    struct pv_files *f = r->cluster->config.files;
    const struct pv_keyring *k = ring_of(r);
    uint64_t ms = busy ? LOOK_MS : REST_MS, now = now_s(r);
    for (size_t i = 0; i < k->key_count; i++) { /* or when one retires */
        uint64_t at_s = pv_rotation_retires_s(r, &k->keys[i].keys.kid);
        if (k->keys[i].state == PV_KEY_READ_ONLY && at_s != 0 && at_s < now + ms / 1000)
            ms = at_s > now ? (at_s - now) * 1000 : LOOK_MS;
    }
    pv_timer_arm(&f->timers, &r->timer, pv_env_mono_ms(f->config.env) + ms);
}

static void on_timer(struct pv_timer *t)
{
    struct pv_rotation *r = PV_CONTAINER_OF(t, struct pv_rotation, timer);
    if (pv_node_closing(node_of(r)))
        return;
    r->walk_due = r->walk_due || is_sealing(r) || ++r->rests % 10 == 0;
    review(r);
    pv_rotation_tell(r);
    arm(r);
}

void pv_rotation_review(struct pv_rotation *r)
{
    if (!r->started || pv_node_closing(node_of(r)))
        return;
    review(r);
    arm(r);
}

/* ---- the start ---- */

static void load_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_rotation *r = PV_CONTAINER_OF(job, struct pv_rotation, job);
    struct pv_id rid;
    bool pending;
    pv_rid_cluster(&rid);
    r->env_len = PV_RECORD_LEN_MAX;
    job->err = pv_store_record(ctx->store, &rid, r->env, &r->env_len, &pending);
}

static void loaded(struct pv_job *job)
{
    struct pv_rotation *r = PV_CONTAINER_OF(job, struct pv_rotation, job);
    if (job->err == PV_OK)
        hear(r, r->env, r->env_len);
    r->started = true;
    r->walk_due = true;
    pv_rotation_review(r);
}

void pv_cluster_keys_start(struct pv_cluster *c)
{
    struct pv_rotation *r = c->rotation;
    r->job = (struct pv_job){.run = load_run, .done = loaded};
    pv_node_submit(node_of(r), &r->job);
}

enum pv_err pv_rotation_new(struct pv_cluster *c)
{
    struct pv_rotation *r = pv_calloc(1, sizeof *r);
    if (r == NULL || (r->env = pv_malloc(PV_RECORD_LEN_MAX)) == NULL) {
        pv_free(r);
        return PV_E_NOMEM;
    }
    r->cluster = c;
    r->timer.fire = on_timer;
    pv_list_init(&r->watchers);
    pv_reseal_init(&r->reseal, c->config.files);
    r->reseal.done = walked;
    c->rotation = r;
    return PV_OK;
}

void pv_rotation_free(struct pv_cluster *c)
{
    struct pv_rotation *r = c->rotation;
    PV_ASSERT(pv_list_empty(&r->watchers));
    pv_timer_disarm(&r->timer);
    pv_reseal_release(&r->reseal);
    pv_free(r->env);
    pv_free(r);
}

/* ---- what members say ---- */

void pv_cluster_record_heard(struct pv_cluster *c, const uint8_t *env, size_t len)
{
    hear(c->rotation, env, len);
    pv_rotation_review(c->rotation);
}

struct given {
    struct pv_cluster *cluster;
    pv_link link;
    struct pv_msg_key key;
    struct pv_kid kid;
};

static enum pv_err keep(struct pv_keyring *k, void *arg)
{
    struct given *g = arg;
    return pv_keyring_add_key(k, g->key.cluster_key, PV_KEY_STAGED, g->key.created_s);
}

static void kept(void *arg, enum pv_err err)
{
    struct given *g = arg;
    struct pv_rotation *r = g->cluster->rotation;
    if (err == PV_OK)
        PV_LOG(pv_cluster_env(g->cluster)->log, PV_LOG_WARN, PV_SUB_NODE,
               "a member gave a new cluster key");
    else if (err != PV_E_EXISTS)
        PV_LOG(pv_cluster_env(g->cluster)->log, PV_LOG_ERROR, PV_SUB_NODE,
               "the new cluster key was not kept", "cause", pv_err_text(err));
    if ((err == PV_OK || err == PV_E_EXISTS) && !pv_node_closing(node_of(r))) {
        pv_node_have_key(node_of(r), g->link, &g->kid);
        pv_node_send_keys(node_of(r), 0);
        pv_rotation_review(r);
    }
    pv_wipe(g, sizeof *g);
    pv_free(g);
}

void pv_cluster_key_heard(struct pv_cluster *c, pv_link link, const struct pv_msg_key *key)
{
    struct pv_cluster_keys keys;
    if (key->kind == PV_KEY_HAVE) {
        pv_rotation_review(c->rotation);
        return;
    }
    struct given *g = pv_calloc(1, sizeof *g);
    if (g == NULL)
        return; /* given again in the next session */
    g->cluster = c;
    g->link = link;
    g->key = *key;
    if (pv_cluster_keys_derive(&keys, key->cluster_key) == PV_OK)
        g->kid = keys.kid;
    pv_wipe(&keys, sizeof keys);
    if (pv_secrets_change(c, keep, kept, g) != PV_OK) {
        pv_wipe(g, sizeof *g);
        pv_free(g);
    }
}
