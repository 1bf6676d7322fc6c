/* ping: the way to a connected node, measured. */
#include "internal/cluster/cluster_private.h"

enum { PINGS_MAX = 1000, PING_GAP_MS = 1000, PING_WAIT_MS = 5000 };

struct ping {
    struct pv_cluster *cluster;
    struct pv_request *rq;
    struct pv_list link; /* of cluster->pings */
    struct pv_timer timer;
    pv_link peer;
    json_int_t count, sent, received;
    bool waiting;
};

static void ping_release(struct ping *p)
{
    pv_timer_disarm(&p->timer);
    pv_list_remove(&p->link);
    pv_free(p);
}

static void ping_finish(struct ping *p)
{
    if (p->received > 0)
        pv_request_ok(p->rq, json_pack("{s:I, s:I}", "sent", p->sent, "received", p->received));
    else
        pv_request_fail(p->rq, PV_EXIT_UNAVAILABLE, "no answer from the peer");
    ping_release(p);
}

static void ping_fire(struct pv_timer *timer)
{
    struct ping *p = PV_CONTAINER_OF(timer, struct ping, timer);
    if (p->sent == p->count || p->waiting) {
        ping_finish(p);
        return;
    }
    const struct pv_node_io *io = &pv_node_config(pv_cluster_node(p->cluster))->io;
    enum pv_err err = io->ping(io->ctx, p->peer);
    if (err == PV_E_CLOSED || err == PV_E_LIMIT) {
        ping_finish(p);
        return;
    }
    /* BUSY: a keep-alive is under way; its answer counts as ours. */
    p->sent++;
    p->waiting = true;
    pv_timer_arm(&p->cluster->config.files->timers, timer,
                 pv_env_mono_ms(pv_cluster_env(p->cluster)) + PING_WAIT_MS);
}

void pv_cluster_pong(struct pv_cluster *c, pv_link link, uint64_t rtt_ms)
{
    PV_LIST_EACH(&c->pings, e)
    {
        struct ping *p = PV_LIST_ENTRY(e, struct ping, link);
        if (p->peer != link || !p->waiting)
            continue;
        p->waiting = false;
        p->received++;
        p->rq->io->event(p->rq,
                         json_pack("{s:s, s:I}", "event", "pong", "rtt_ms", (json_int_t)rtt_ms));
        uint64_t gap = p->sent == p->count ? 0 : PING_GAP_MS;
        pv_timer_arm(&c->config.files->timers, &p->timer, pv_env_mono_ms(pv_cluster_env(c)) + gap);
    }
}

void pv_cluster_link_down(struct pv_cluster *c, pv_link link)
{
    PV_LIST_EACH(&c->pings, e)
    {
        struct ping *p = PV_LIST_ENTRY(e, struct ping, link);
        if (p->peer == link)
            ping_finish(p);
    }
}

static void ping_on_cancel(struct pv_request *rq)
{
    ping_release(rq->op);
}

static const struct pv_request_ops ping_ops = {.on_cancel = ping_on_cancel};

/* The connected peer whose node id begins so; 0: none or several. */
static pv_link find_peer(const struct pv_cluster *c, const char *beginning, size_t *matches)
{
    struct pv_node_peer_info peers[PV_MEMBERS_MAX];
    size_t count = pv_node_peers(pv_cluster_node(c), peers, PV_MEMBERS_MAX);
    pv_link found = 0;
    *matches = 0;
    for (size_t i = 0; i < count; i++) {
        if (!pv_node_id_begins(&peers[i].node_id, beginning))
            continue;
        found = peers[i].link;
        ++*matches;
    }
    return *matches == 1 ? found : 0;
}

void pv_query_ping(struct pv_cluster *c, struct pv_request *rq)
{
    const char *node = json_string_value(json_object_get(rq->args, "node"));
    const json_t *count = json_object_get(rq->args, "count");
    json_int_t wanted = count == NULL ? 1 : json_integer_value(count);
    size_t matches = 0;
    if (node == NULL || *node == '\0' || wanted < 1 || wanted > PINGS_MAX) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed node id or count (1 to %d)", PINGS_MAX);
        return;
    }
    pv_link peer = find_peer(c, node, &matches);
    if (matches > 1) {
        pv_request_fail(rq, PV_EXIT_USAGE, "ambiguous node id: %zu peers match", matches);
        return;
    }
    if (peer == 0) {
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE,
                        "no such peer is connected (see `peervault peers`)");
        return;
    }
    struct ping *p = pv_calloc(1, sizeof *p);
    if (p == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    p->cluster = c;
    p->rq = rq;
    p->peer = peer;
    p->count = wanted;
    p->timer.fire = ping_fire;
    rq->op = p;
    rq->ops = &ping_ops;
    pv_list_push_back(&c->pings, &p->link);
    pv_timer_arm(&c->config.files->timers, &p->timer, pv_env_mono_ms(pv_cluster_env(c)));
}
