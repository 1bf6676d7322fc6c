/*
 * key rotate: stages a new key, unless one is staged already or records are still being sealed
 * anew, and tells how far it is until nothing is left under older keys. The rotation itself is that
 * of keys.c, and goes on without whoever asked for it.
 *
 * With `compromised` somebody else has the old key: nobody gets the new one over the network, where
 * he might be a member. It is active here at once, for blobs as well, under a new token and without
 * the invites that were open, and all sessions end. The others come back by an invite each.
 */
#include "internal/cluster/cluster_private.h"
#include "internal/cluster/rotation.h"
#include "internal/cluster/secrets.h"

#include <string.h>

struct watcher {
    struct pv_list link;
    struct pv_rotation *rotation;
    struct pv_request *rq; /* NULL: cancelled, while the keyring is being written */
    bool staging, wait, compromised;
    struct pv_rotation_progress told;
};

static void end(struct watcher *w)
{
    pv_list_remove(&w->link);
    pv_free(w);
}

static json_t *as_json(const struct pv_rotation_progress *p, const char *event)
{
    return json_pack("{s:s*, s:s, s:I, s:I, s:I, s:I}", "event", event, "phase", p->phase, "have",
                     (json_int_t)p->have, "of", (json_int_t)p->of, "moved", (json_int_t)p->moved,
                     "left", (json_int_t)p->left);
}

static void tell(struct watcher *w)
{
    struct pv_rotation_progress now;
    if (w->rq == NULL || w->staging)
        return;
    pv_rotation_progress(w->rotation, &now);
    bool is_over = strcmp(now.phase, "retire") == 0;
    if (is_over || !w->wait) {
        pv_request_ok(w->rq, as_json(&now, NULL));
        end(w);
        return;
    }
    bool same = w->told.phase != NULL && strcmp(now.phase, w->told.phase) == 0 &&
                now.have == w->told.have && now.of == w->told.of && now.left == w->told.left;
    w->told = now;
    if (!same)
        w->rq->io->event(w->rq, as_json(&now, "progress"));
}

void pv_rotation_tell(struct pv_rotation *r)
{
    PV_LIST_EACH(&r->watchers, e)
    tell(PV_LIST_ENTRY(e, struct watcher, link));
}

/* Whoever came in until now does not come in any more. */
static enum pv_err shut_out(struct pv_keyring *k, const struct pv_env *env)
{
    char token[PV_TOKEN_TEXT_LEN + 1];
    uint64_t now = pv_env_wall_s(env), before = k->token_count > 0 ? k->tokens[0].created_s : 0;
    pv_token_generate(token, env);
    enum pv_err err = pv_keyring_add_token(k, token, now > before ? now : before + 1);
    pv_wipe(token, sizeof token);
    if (err != PV_OK)
        return err;
    pv_keyring_drop_old_tokens(k);
    pv_keyring_drop_invites(k, UINT64_MAX);
    for (size_t i = 0; i < k->key_count; i++) /* it was given to members already */
        if (k->keys[i].state == PV_KEY_STAGED)
            k->keys[i].state = PV_KEY_READ_ONLY;
    return pv_keyring_set_dedup(k, &pv_keyring_active(k)->kid);
}

static enum pv_err stage(struct pv_keyring *k, void *arg)
{
    struct watcher *w = arg;
    const struct pv_env *env = pv_cluster_env(w->rotation->cluster);
    const struct pv_cluster_keys *active = pv_keyring_active(k);
    uint8_t key[PV_KEY_LEN];
    uint64_t created_s = pv_env_wall_s(env);
    if (active == NULL)
        return PV_E_AUTH;
    uint64_t before = pv_keyring_entry(k, &active->kid)->created_s;
    pv_env_random(env, key, sizeof key);
    enum pv_err err = pv_keyring_add_key(k, key, w->compromised ? PV_KEY_ACTIVE : PV_KEY_STAGED,
                                         created_s > before ? created_s : before + 1);
    pv_wipe(key, sizeof key);
    return err == PV_OK && w->compromised ? shut_out(k, env) : err;
}

static void staged(void *arg, enum pv_err err)
{
    struct watcher *w = arg;
    struct pv_rotation *r = w->rotation;
    struct pv_node *n = pv_cluster_node(r->cluster);
    w->staging = false;
    if (err == PV_OK && !pv_node_closing(n)) {
        PV_LOG(pv_cluster_env(r->cluster)->log, PV_LOG_WARN, PV_SUB_NODE,
               w->compromised ? "another cluster key is active, and another token in force"
                              : "a new cluster key is staged");
        if (w->compromised)
            pv_node_end_sessions(n);
        else
            pv_node_send_keys(n, 0);
    }
    if (w->compromised)
        r->walk_due = r->afresh = true;
    if (w->rq == NULL) {
        end(w);
    } else if (err != PV_OK) {
        if (err == PV_E_LIMIT)
            pv_request_fail(w->rq, PV_EXIT_FAILED, "the keyring is full: it has %d keys",
                            PV_KEYRING_KEYS_MAX);
        else
            pv_request_fail(w->rq, pv_exit_of(err), "the keyring could not be written: %s",
                            pv_err_text(err));
        end(w);
    }
    if (err == PV_OK)
        pv_rotation_review(r);
    pv_rotation_tell(r);
}

static void on_cancel(struct pv_request *rq)
{
    struct watcher *w = rq->op;
    w->rq = NULL;
    if (!w->staging)
        end(w);
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel};

void pv_query_key_rotate(struct pv_cluster *c, struct pv_request *rq)
{
    struct pv_rotation *r = c->rotation;
    struct pv_rotation_progress now;
    bool force = json_is_true(json_object_get(rq->args, "force"));
    bool compromised = json_is_true(json_object_get(rq->args, "compromised"));
    bool wait = !json_is_false(json_object_get(rq->args, "wait"));
    if (pv_keyring_active(c->config.keyring) == NULL) {
        pv_request_fail(rq, PV_EXIT_DENIED, "a blind node has no cluster key: ask a keyed one");
        return;
    }
    if (!r->started) {
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE, "the daemon has only begun: try again");
        return;
    }
    if (r->lacks) {
        pv_request_fail(rq, PV_EXIT_DENIED,
                        "the cluster has a newer key that this node lacks: ask another one");
        return;
    }
    struct watcher *w = pv_calloc(1, sizeof *w);
    if (w == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    *w = (struct watcher){
        .rotation = r, .rq = rq, .wait = wait && !compromised, .compromised = compromised};
    pv_list_push_back(&r->watchers, &w->link);
    rq->op = w;
    rq->ops = &ops;
    pv_rotation_progress(r, &now);
    r->force = r->force || force;
    if (compromised || strcmp(now.phase, "retire") == 0) {
        w->staging = true;
        if (pv_secrets_change(c, stage, staged, w) != PV_OK) {
            pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
            end(w);
        }
        return;
    }
    pv_rotation_review(r); /* it goes on where it is */
    pv_rotation_tell(r);
}
