/*
 * The token, replaced while the cluster runs: made here or heard from a keyed member, on disk, in
 * force, and told to everybody connected. The older one opens the door beside it until the overlap
 * ends, so that members that were away meanwhile get in and are told.
 */
#include "internal/cluster/cluster_private.h"
#include "internal/cluster/secrets.h"

#include <string.h>

enum { OVERLAP_S_DEFAULT = 7 * 24 * 3600, OVERLAP_S_MAX = 90 * 24 * 3600 };

static uint64_t now_s(const struct pv_cluster *c)
{
    return pv_env_wall_s(pv_cluster_env(c));
}

static void tell_members(struct pv_cluster *c)
{
    pv_node_send_token(pv_cluster_node(c), 0);
}

/* ---- rotate ---- */

struct rotation {
    struct pv_cluster *cluster;
    struct pv_request *rq; /* NULL: cancelled; what has begun goes on */
    uint64_t overlap_s;
    bool finish;
};

static enum pv_err rotate(struct pv_keyring *k, void *arg)
{
    struct rotation *r = arg;
    char token[PV_TOKEN_TEXT_LEN + 1];
    if (r->finish) {
        pv_keyring_drop_old_tokens(k);
        return PV_OK;
    }
    /* Later than the one before, also twice in a second, or others would not take it. */
    uint64_t now = now_s(r->cluster), before = k->token_count > 0 ? k->tokens[0].created_s : 0;
    pv_token_generate(token, pv_cluster_env(r->cluster));
    enum pv_err err = pv_keyring_add_token(k, token, now > before ? now : before + 1);
    if (err == PV_OK)
        k->overlap_until_s = now + r->overlap_s;
    pv_wipe(token, sizeof token);
    return err;
}

static void rotated(void *arg, enum pv_err err)
{
    struct rotation *r = arg;
    const struct pv_keyring *k = r->cluster->config.keyring;
    if (err == PV_OK)
        PV_LOG(pv_cluster_env(r->cluster)->log, PV_LOG_WARN, PV_SUB_NODE,
               r->finish ? "the older token is refused from now on" : "a new token is in force");
    if (err == PV_OK && !r->finish)
        tell_members(r->cluster);
    if (r->rq != NULL && err == PV_OK)
        pv_request_ok(r->rq, json_pack("{s:i, s:I}", "tokens", (int)k->token_count,
                                       "overlap_until_ms", (json_int_t)k->overlap_until_s * 1000));
    else if (r->rq != NULL)
        pv_request_fail(r->rq, pv_exit_of(err), "the keyring could not be written: %s",
                        pv_err_text(err));
    pv_free(r);
}

static void on_cancel(struct pv_request *rq)
{
    ((struct rotation *)rq->op)->rq = NULL;
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel};

void pv_query_token_rotate(struct pv_cluster *c, struct pv_request *rq)
{
    const json_t *overlap = json_object_get(rq->args, "overlap_s");
    json_int_t overlap_s = overlap == NULL ? OVERLAP_S_DEFAULT : json_integer_value(overlap);
    bool finish = json_is_true(json_object_get(rq->args, "finish"));
    if (overlap_s < 1 || overlap_s > OVERLAP_S_MAX) {
        pv_request_fail(rq, PV_EXIT_USAGE, "the overlap must be from 1s to 90d");
        return;
    }
    if (!finish && pv_keyring_active(c->config.keyring) == NULL) {
        pv_request_fail(rq, PV_EXIT_DENIED,
                        "nobody would take a token from a blind node: ask a keyed one");
        return;
    }
    struct rotation *r = pv_calloc(1, sizeof *r);
    if (r != NULL) {
        *r = (struct rotation){
            .cluster = c, .rq = rq, .overlap_s = (uint64_t)overlap_s, .finish = finish};
        rq->op = r;
        rq->ops = &ops;
    }
    if (r == NULL || pv_secrets_change(c, rotate, rotated, r) != PV_OK) {
        pv_free(r);
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
    }
}

/* ---- heard from a member ---- */

struct heard {
    struct pv_cluster *cluster;
    struct pv_msg_token token;
};

static enum pv_err take(struct pv_keyring *k, void *arg)
{
    const struct pv_msg_token *t = &((struct heard *)arg)->token;
    if (k->token_count > 0 && t->created_s <= k->tokens[0].created_s)
        return PV_E_EXISTS; /* or older than ours, which the other side hears of */
    enum pv_err err = pv_keyring_add_token(k, t->text, t->created_s);
    if (err == PV_OK)
        k->overlap_until_s = t->overlap_until_s;
    return err;
}

static void taken(void *arg, enum pv_err err)
{
    struct heard *h = arg;
    const struct pv_env *env = pv_cluster_env(h->cluster);
    if (err == PV_OK) {
        PV_LOG(env->log, PV_LOG_INFO, PV_SUB_NODE, "a member sent the new token");
        tell_members(h->cluster);
    } else if (err != PV_E_EXISTS) {
        PV_LOG(env->log, PV_LOG_ERROR, PV_SUB_NODE, "the new token was not kept", "cause",
               pv_err_text(err));
    }
    pv_wipe(h, sizeof *h);
    pv_free(h);
}

void pv_cluster_token_heard(struct pv_cluster *c, const struct pv_msg_token *token)
{
    if (token->created_s > now_s(c) + PV_TOKEN_AHEAD_S_MAX)
        return; /* nothing could ever replace it */
    struct heard *h = pv_calloc(1, sizeof *h);
    if (h == NULL)
        return; /* told again at the next connection */
    h->cluster = c;
    h->token = *token;
    if (pv_secrets_change(c, take, taken, h) != PV_OK) {
        pv_wipe(h, sizeof *h);
        pv_free(h);
    }
}

/* ---- the end of the overlap ---- */

static enum pv_err drop_older(struct pv_keyring *k, void *arg)
{
    (void)arg;
    pv_keyring_drop_old_tokens(k);
    return PV_OK;
}

static void dropped(void *arg, enum pv_err err)
{
    struct pv_cluster *c = arg;
    PV_LOG(pv_cluster_env(c)->log, err == PV_OK ? PV_LOG_INFO : PV_LOG_ERROR, PV_SUB_NODE,
           "the overlap of the tokens is over", "result", pv_err_text(err));
}

void pv_cluster_tokens_tick(struct pv_cluster *c)
{
    const struct pv_keyring *k = c->config.keyring;
    if (k->token_count > 1 && k->overlap_until_s != 0 && k->overlap_until_s <= now_s(c) &&
        pv_secrets_change(c, drop_older, dropped, c) != PV_OK)
        return; /* at the next tick */
}
