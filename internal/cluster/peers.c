/* peers: the other nodes, and how they are reached. */
#include "internal/cluster/cluster_private.h"
#include "internal/node/decide.h"

static json_t *connected_peer(const struct pv_cluster *c, const struct pv_node_peer_info *p)
{
    uint64_t up_ms = pv_env_mono_ms(pv_cluster_env(c)) - p->up_since_ms;
    char text[PV_NODE_TEXT_LEN];
    pv_node_id_format(text, &p->node_id);
    json_t *peer = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:o*, s:I, s:I, s:b, s:I, s:I}", "node", text, "address",
        p->address, "state", "connected", "role",
        pv_role_name(p->keyed ? PV_ROLE_KEYED : PV_ROLE_BLIND), "dialled", (int)p->dialled,
        "rtt_ms", p->rtt_ms != UINT64_MAX ? json_integer((json_int_t)p->rtt_ms) : NULL, "skew_ms",
        (json_int_t)p->skew_ms, "connected_s", (json_int_t)(up_ms / 1000), "in_sync",
        (int)p->in_sync, "offered", (json_int_t)p->offered, "wanted", (json_int_t)p->wanted);
    const struct pv_member *m = pv_members_find(pv_cluster_node(c), &p->node_id);
    if (peer != NULL && m != NULL && m->body.stale)
        (void)json_object_set_new(peer, "draining", json_true());
    if (peer != NULL && c->config.describe_link != NULL)
        c->config.describe_link(c->config.arg, p->link, peer);
    return peer;
}

static json_t *absent_peer(const struct pv_member *m)
{
    char text[PV_NODE_TEXT_LEN];
    pv_node_id_format(text, &m->node_id);
    return json_pack("{s:s, s:s, s:s, s:o*}", "node", text, "state", "absent", "role",
                     pv_role_name(m->body.role), "draining", m->body.stale ? json_true() : NULL);
}

/* A node that is kept out here, or that will be let in. */
static json_t *decided_peer(const struct pv_policy_entry *e)
{
    char text[PV_NODE_TEXT_LEN];
    const char *role = e->role == 0 ? NULL : pv_role_name(e->role);
    json_t *until = e->until_s == 0 ? NULL : json_integer((json_int_t)e->until_s * 1000);
    const char *state = e->kind == PV_POLICY_BLOCK ? "blocked" : "allowed";
    pv_node_id_format(text, &e->node_id);
    return json_pack("{s:s, s:s, s:s*, s:o*, s:s*}", "node", text, "state", state, "role", role,
                     "until_ms", until, "reason", e->reason[0] == '\0' ? NULL : e->reason);
}

static bool add_decided(const struct pv_cluster *c, json_t *list)
{
    const struct pv_node *n = pv_cluster_node(c);
    const struct pv_policy *policy = pv_node_policy(n);
    bool complete = true;
    for (size_t i = 0; i < policy->count; i++) {
        const struct pv_policy_entry *e = pv_node_decided(n, &policy->entries[i].node_id);
        if (e != NULL && (e->kind == PV_POLICY_BLOCK || pv_members_find(n, &e->node_id) == NULL))
            complete = json_array_append_new(list, decided_peer(e)) == 0 && complete;
    }
    return complete;
}

/* One that broke the protocol, member or not. */
static json_t *banned_peer(const struct pv_node *n, const struct pv_node_ban *ban)
{
    const struct pv_member *m = pv_members_find(n, &ban->node_id);
    char text[PV_NODE_TEXT_LEN];
    pv_node_id_format(text, &ban->node_id);
    json_t *role = m != NULL ? json_string(pv_role_name(m->body.role)) : NULL;
    return json_pack("{s:s, s:s, s:o*, s:I, s:s}", "node", text, "state", "banned", "role", role,
                     "banned_s", (json_int_t)((ban->left_ms + 999) / 1000), "reason", ban->what);
}

static bool add_banned(const struct pv_node *n, json_t *list)
{
    struct pv_node_ban ban;
    bool complete = true;
    for (size_t i = 0; pv_node_next_ban(n, &i, &ban);)
        complete = json_array_append_new(list, banned_peer(n, &ban)) == 0 && complete;
    return complete;
}

void pv_query_peers(struct pv_cluster *c, struct pv_request *rq)
{
    const struct pv_node *n = pv_cluster_node(c);
    struct pv_node_peer_info peers[PV_MEMBERS_MAX];
    const struct pv_member *members[PV_MEMBERS_MAX];
    json_t *list = json_array();
    bool complete = true;
    size_t count = pv_node_peers(n, peers, PV_MEMBERS_MAX);
    for (size_t i = 0; i < count; i++)
        complete = json_array_append_new(list, connected_peer(c, &peers[i])) == 0 && complete;
    count = pv_members_list(n, members, PV_MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct pv_member *m = members[i];
        if (m->link != 0 || m->body.expelled || pv_node_banned_until_ms(n, &m->node_id) != 0 ||
            pv_node_blocks(n, &m->node_id) ||
            pv_id_equal(&m->node_id, &pv_node_config(n)->identity->node_id))
            continue;
        complete = json_array_append_new(list, absent_peer(m)) == 0 && complete;
    }
    complete = add_decided(c, list) && complete;
    complete = add_banned(n, list) && complete;
    if (c->config.describe_peers != NULL)
        c->config.describe_peers(c->config.arg, list);
    if (!complete) {
        json_decref(list);
        list = NULL;
    }
    pv_request_ok(rq, json_pack("{s:o}", "peers", list));
}
