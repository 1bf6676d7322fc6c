/* allow, block, forget and drain: what the operator decides about other nodes. */
#include "internal/cluster/cluster_private.h"
#include "internal/node/decide.h"

#include <string.h>

struct decision {
    struct pv_request *rq;
    struct pv_decide *decide;
    struct pv_id node_id;
    enum pv_decision_kind kind;
};

/* ---- which node ---- */

struct match {
    const char *beginning;
    struct pv_id found;
    size_t count; /* of different nodes */
};

static void consider(struct match *m, const struct pv_id *node_id)
{
    if ((m->count > 0 && pv_id_equal(&m->found, node_id)) ||
        !pv_node_id_begins(node_id, m->beginning))
        return;
    m->found = *node_id;
    m->count++;
}

/* A whole id, known or not, or the beginning of the id of one known node. False: answered. */
static bool find_node(const struct pv_cluster *c, struct pv_request *rq, struct pv_id *out)
{
    const struct pv_node *n = pv_cluster_node(c);
    const struct pv_policy *policy = pv_node_policy(n);
    const struct pv_member *members[PV_MEMBERS_MAX];
    struct match m = {.beginning = json_string_value(json_object_get(rq->args, "node"))};
    if (m.beginning == NULL || *m.beginning == '\0') {
        pv_request_fail(rq, PV_EXIT_USAGE, "no node id given (see `peervault peers`)");
        return false;
    }
    if (pv_node_id_parse(out, m.beginning) == PV_OK)
        return true;
    size_t count = pv_members_list(n, members, PV_MEMBERS_MAX);
    for (size_t i = 0; i < count; i++)
        consider(&m, &members[i]->node_id);
    for (size_t i = 0; i < policy->count; i++)
        consider(&m, &policy->entries[i].node_id);
    *out = m.found;
    if (m.count == 1)
        return true;
    if (m.count > 1)
        pv_request_fail(rq, PV_EXIT_USAGE, "ambiguous node id: %zu nodes match", m.count);
    else
        pv_request_fail(rq, PV_EXIT_NOT_FOUND,
                        "no such node: give its whole id, as `peervault id` prints it there");
    return false;
}

/* ---- the answer ---- */

static void fail(struct pv_request *rq, enum pv_decision_kind kind, enum pv_err err)
{
    if (err == PV_E_INVALID)
        pv_request_fail(rq, PV_EXIT_USAGE, "this is the node itself");
    else if (err == PV_E_NOT_FOUND)
        pv_request_fail(rq, PV_EXIT_NOT_FOUND,
                        "this node is no member, and nothing was decided "
                        "about it here");
    else if (err == PV_E_BUSY)
        pv_request_fail(rq, PV_EXIT_FAILED, "no other member is there to take its share");
    else if (err == PV_E_AUTH)
        pv_request_fail(rq, PV_EXIT_DENIED,
                        "a blind node decides about nobody but by block: ask a keyed one");
    else if (err == PV_E_LIMIT)
        pv_request_fail(rq, PV_EXIT_FAILED,
                        "too many: %d members, and %d nodes allowed or blocked, are the limit",
                        PV_MEMBERS_MAX, PV_POLICY_MAX);
    else if (err == PV_E_UNAVAILABLE)
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE,
                        "this node's clock is wrong: set it right (see `peervault doctor`)");
    else
        pv_request_fail(rq, pv_exit_of(err), "the decision could not be kept%s: %s",
                        kind == PV_DECIDE_BLOCK ? ", and holds until the daemon stops" : "",
                        pv_err_text(err));
}

static void on_decided(void *arg, enum pv_err err, enum pv_decided decided)
{
    static const char *const words[] = {
        [PV_DECIDED_MEMBER] = "member",     [PV_DECIDED_EXPECTED] = "expected",
        [PV_DECIDED_BLOCKED] = "blocked",   [PV_DECIDED_EXPELLED] = "expelled",
        [PV_DECIDED_DRAINING] = "draining", [PV_DECIDED_DROPPED] = "forgotten"};
    struct decision *d = arg;
    char text[PV_NODE_TEXT_LEN];
    pv_node_id_format(text, &d->node_id);
    if (err == PV_OK)
        pv_request_ok(d->rq, json_pack("{s:s, s:s}", "node", text, "result", words[decided]));
    else
        fail(d->rq, d->kind, err);
    pv_free(d);
}

static void on_cancel(struct pv_request *rq)
{
    struct decision *d = rq->op;
    pv_decide_cancel(d->decide);
    pv_free(d);
}

static const struct pv_request_ops decision_ops = {.on_cancel = on_cancel};

/* ---- the request ---- */

/* An integer from 1 to max, or 0 where there is none. */
static bool get_number(const json_t *args, const char *key, json_int_t max, json_int_t *out)
{
    const json_t *value = json_object_get(args, key);
    *out = json_integer_value(value);
    return value == NULL || (json_is_integer(value) && *out >= 1 && *out <= max);
}

/* At most cap bytes; jansson takes no NUL and nothing but UTF-8. */
static bool get_text(const json_t *args, const char *key, char *dst, size_t cap)
{
    const json_t *value = json_object_get(args, key);
    size_t len = json_string_length(value);
    if (value != NULL && (!json_is_string(value) || len > cap))
        return false;
    if (len > 0)
        memcpy(dst, json_string_value(value), len);
    dst[len] = '\0';
    return true;
}

static bool get_about(struct pv_decision *d, const json_t *args, uint64_t now_s)
{
    enum { YEARS_10_S = 10 * 366 * 24 * 3600 };
    const char *role = json_string_value(json_object_get(args, "role"));
    json_int_t weight, ttl_s;
    d->has_zone = json_object_get(args, "zone") != NULL;
    d->about.role = pv_role_find(role);
    if ((role != NULL && d->about.role == 0) || !get_number(args, "weight", 16, &weight) ||
        !get_number(args, "ttl_s", YEARS_10_S, &ttl_s) ||
        !get_text(args, "zone", d->about.zone, sizeof d->about.zone - 1) ||
        !get_text(args, "reason", d->about.reason, PV_POLICY_REASON_MAX))
        return false;
    d->about.weight = (uint8_t)weight;
    d->about.until_s = ttl_s == 0 ? 0 : now_s + (uint64_t)ttl_s;
    return true;
}

static void start(struct pv_cluster *c, struct pv_request *rq, enum pv_decision_kind kind)
{
    struct pv_decision what = {.kind = kind};
    uint64_t now_s = pv_env_wall_s(pv_cluster_env(c));
    if (!find_node(c, rq, &what.about.node_id))
        return;
    if (!get_about(&what, rq->args, now_s)) {
        pv_request_fail(rq, PV_EXIT_USAGE,
                        "malformed: role keyed or blind, weight 1 to 16, zone up to 32 bytes, "
                        "reason up to %d",
                        PV_POLICY_REASON_MAX);
        return;
    }
    struct decision *d = pv_calloc(1, sizeof *d);
    if (d != NULL) {
        d->rq = rq;
        d->kind = kind;
        d->node_id = what.about.node_id;
        d->decide = pv_decide_start(pv_cluster_node(c), &what, on_decided, d);
    }
    if (d == NULL || d->decide == NULL) {
        pv_free(d);
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    rq->op = d;
    rq->ops = &decision_ops;
}

void pv_query_allow(struct pv_cluster *c, struct pv_request *rq)
{
    start(c, rq, PV_DECIDE_ALLOW);
}

void pv_query_block(struct pv_cluster *c, struct pv_request *rq)
{
    start(c, rq, PV_DECIDE_BLOCK);
}

void pv_query_forget(struct pv_cluster *c, struct pv_request *rq)
{
    start(c, rq, PV_DECIDE_FORGET);
}

void pv_query_drain(struct pv_cluster *c, struct pv_request *rq)
{
    start(c, rq, PV_DECIDE_DRAIN);
}
