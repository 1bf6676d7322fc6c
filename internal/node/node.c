/*
 * The core's frame: which sessions there are, who gets which message, how many jobs run.
 *
 * The host's calls never nest (node.h, job.h), so each event ends by freeing the peers that were
 * dropped in it: whoever drops a peer may go on using its pointer until it returns. A drop from
 * outside of an event is swept up by the next one. pv_node_io.drop may or may not be followed by
 * pv_node_peer_down: both are fine, because the link is forgotten with the first of them.
 *
 * A peer is read again only once members.c has admitted it. The few messages that the transport had
 * read by then are kept in order: the other side may have admitted us earlier, and its offers and
 * its digest are said only once.
 */
#include "internal/node/node_private.h"

#include <stdio.h>
#include <string.h>

struct early_message {
    struct pv_list link;
    size_t len;
    uint8_t type;
    uint8_t body[];
};

static void free_early(struct pv_peer *p)
{
    PV_LIST_EACH(&p->early, e)
    {
        pv_list_remove(e);
        pv_free(PV_LIST_ENTRY(e, struct early_message, link));
    }
}

static void detach_parts(struct pv_peer *p)
{
    if (p->fetch != NULL)
        pv_fetch_detach(p);
    if (p->push != NULL)
        pv_push_detach(p);
    if (p->sync != NULL)
        pv_sync_detach(p);
    pv_members_peer_down(p);
}

/* The end of every event. Detaching may drop further peers. */
void pv_node_sweep(struct pv_node *n)
{
    while (n->sweep) {
        n->sweep = false;
        struct pv_peer *p;
        for (size_t i = 0; (p = pv_map_next(&n->peers, &i, NULL)) != NULL;) {
            if (!p->dropped)
                continue;
            pv_map_remove(&n->peers, &p->link);
            detach_parts(p);
            free_early(p);
            pv_free(p);
        }
    }
}

/* ---- life ---------------------------------------------------------------------------------- */

enum pv_err pv_node_new(struct pv_node **out, const struct pv_node_config *config)
{
    uint64_t seed;
    struct pv_node *n = pv_calloc(1, sizeof *n);
    if (n == NULL)
        return PV_E_NOMEM;
    n->config = *config;
    n->hlc = config->hlc;
    pv_env_random(config->env, &seed, sizeof seed);
    pv_map_init(&n->peers, sizeof(pv_link), PV_SESSIONS_MAX, seed);
    n->scratch = pv_malloc(PV_FRAME_PLAIN_MAX);
    enum pv_err err = n->scratch != NULL ? PV_OK : PV_E_NOMEM;
    if (err == PV_OK)
        err = pv_members_new(n);
    if (err == PV_OK)
        err = pv_addresses_new(n);
    if (err == PV_OK)
        err = pv_sync_new(n);
    if (err == PV_OK)
        err = pv_publish_new(n);
    if (err == PV_OK)
        err = pv_push_new(n);
    if (err == PV_OK)
        err = pv_fetches_new(n);
    if (err != PV_OK) {
        pv_node_free(n);
        return err;
    }
    *out = n;
    return PV_OK;
}

void pv_node_free(struct pv_node *n)
{
    if (n == NULL)
        return;
    PV_ASSERT(n->jobs_running == 0 && n->peers.count == 0);
    if (n->fetches != NULL)
        pv_fetches_free(n);
    if (n->push != NULL)
        pv_push_free(n);
    if (n->publish != NULL)
        pv_publish_free(n);
    if (n->sync != NULL)
        pv_sync_free(n);
    if (n->addresses != NULL)
        pv_addresses_free(n);
    if (n->members != NULL)
        pv_members_free(n);
    pv_map_release(&n->peers);
    pv_free(n->scratch);
    pv_free(n);
}

static void members_ready(void *arg, enum pv_err err)
{
    struct pv_node *n = arg;
    if (err == PV_OK && !n->closing) {
        n->started = true;
        pv_publish_start(n);
        pv_addresses_start(n);
    }
    n->ready(n->ready_arg, n->closing ? PV_E_CANCELLED : err);
}

void pv_node_start(struct pv_node *n, void (*ready)(void *arg, enum pv_err err), void *arg)
{
    n->ready = ready;
    n->ready_arg = arg;
    pv_members_start(n, members_ready, n);
}

static void nothing_to_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    (void)job;
    (void)ctx;
}

static void nothing_done(struct pv_job *job)
{
    (void)job;
}

/*
 * May be called from anywhere, so the peers are freed, and closed is called, only after a job: one
 * that does nothing if no other runs.
 */
void pv_node_close(struct pv_node *n, void (*closed)(void *arg), void *arg)
{
    PV_ASSERT(!n->closing);
    n->closing = true;
    n->closed = closed;
    n->closed_arg = arg;
    struct pv_peer *p;
    for (size_t i = 0; (p = pv_map_next(&n->peers, &i, NULL)) != NULL;)
        p->dropped = true;
    n->sweep = true;
    n->closing_job.run = nothing_to_run;
    n->closing_job.done = nothing_done;
    pv_node_submit(n, &n->closing_job);
}

/* ---- what others of the node ask ----------------------------------------------------------- */

bool pv_node_closing(const struct pv_node *n)
{
    return n->closing;
}

void pv_node_set_allowlist(struct pv_node *n, bool allowlist)
{
    n->config.allowlist = allowlist;
}

const struct pv_node_config *pv_node_config(const struct pv_node *n)
{
    return &n->config;
}

enum pv_err pv_node_next_hlc(struct pv_node *n, pv_hlc *out)
{
    uint64_t wall_ms = pv_env_wall_ms(n->config.env);
    if (wall_ms < PV_EPOCH_FIRST_S * 1000 || pv_hlc_ms(n->hlc) > wall_ms + PV_HLC_AHEAD_MS)
        return PV_E_UNAVAILABLE;
    n->hlc = pv_hlc_next(n->hlc, wall_ms);
    *out = n->hlc;
    return PV_OK;
}

/* ---- peers --------------------------------------------------------------------------------- */

struct pv_peer *pv_node_peer(const struct pv_node *n, pv_link link)
{
    struct pv_peer *p = pv_map_get(&n->peers, &link);
    return p == NULL || p->dropped ? NULL : p;
}

struct pv_peer *pv_node_next_peer(const struct pv_node *n, size_t *pos)
{
    struct pv_peer *p;
    while ((p = pv_map_next(&n->peers, pos, NULL)) != NULL)
        if (p->admitted && !p->dropped)
            return p;
    return NULL;
}

void pv_peer_pause(struct pv_peer *p, bool paused)
{
    const struct pv_node_io *io = &p->node->config.io;
    PV_ASSERT(paused || p->pause_count > 0);
    bool was = p->pause_count > 0;
    p->pause_count = paused ? p->pause_count + 1 : p->pause_count - 1;
    if (was != (p->pause_count > 0) && !p->dropped)
        io->pause(io->ctx, p->link, paused);
}

bool pv_peer_writable(const struct pv_peer *p)
{
    const struct pv_node_io *io = &p->node->config.io;
    return !p->dropped && io->writable(io->ctx, p->link);
}

bool pv_peer_slowed(const struct pv_peer *p)
{
    const struct pv_node_io *io = &p->node->config.io;
    return io->slowed != NULL && io->slowed(io->ctx, p->link);
}

void pv_peer_send(struct pv_peer *p, const struct pv_wr *w)
{
    const struct pv_node_io *io = &p->node->config.io;
    if (p->dropped)
        return;
    PV_ASSERT(pv_wr_end(w) == PV_OK && pv_wr_len(w) > 0);
    enum pv_err err = io->send(io->ctx, p->link, w->start, pv_wr_len(w));
    if (err == PV_OK || err == PV_E_CLOSED) /* its end, perhaps by a fault, is told in a moment */
        return;
    PV_LOG_LIMITED(p->node->config.env->log, PV_LOG_INFO, PV_SUB_NODE, "cannot send to peer",
                   "node", pv_log_id(p->node_id.b), "message", pv_msg_name(w->start[0]), "cause",
                   pv_err_text(err));
    pv_peer_drop(p, PV_BYE_LIMIT);
}

void pv_peer_drop(struct pv_peer *p, uint8_t goodbye)
{
    const struct pv_node_io *io = &p->node->config.io;
    if (p->dropped)
        return;
    p->dropped = true;
    p->node->sweep = true;
    io->drop(io->ctx, p->link, goodbye);
}

/* ---- messages ------------------------------------------------------------------------------ */

static enum pv_err on_stored(struct pv_peer *p, struct pv_rd *r)
{
    struct pv_id ids[PV_MSG_IDS_MAX];
    size_t count;
    uint8_t what;
    enum pv_err err = pv_msg_get_stored(r, &what, ids, &count);
    if (err != PV_OK)
        return err;
    if (what == PV_STORED_BLOBS)
        pv_push_on_stored(p, ids, count);
    else
        pv_publish_on_stored(p, ids, count);
    return PV_OK;
}

static enum pv_err on_lost(struct pv_peer *p, struct pv_rd *r)
{
    struct pv_id ids[PV_MSG_IDS_MAX];
    size_t count;
    uint32_t request;
    enum pv_err err = pv_msg_get_ids(r, &request, ids, &count);
    if (err == PV_OK && request != 0)
        err = PV_E_PROTOCOL;
    if (err == PV_OK)
        pv_members_on_lost(p, ids, count);
    return err;
}

static enum pv_err on_error(struct pv_peer *p, struct pv_rd *r)
{
    uint16_t code;
    char text[PV_MSG_TEXT_MAX + 1];
    enum pv_err err = pv_msg_get_error(r, &code, text);
    if (err == PV_OK)
        pv_push_on_error(p, code, text);
    return err;
}

/* Parts that take the reader judge the message themselves. */
static void dispatch(struct pv_peer *p, uint8_t type, struct pv_rd *r)
{
    enum pv_err err = PV_OK;
    switch (type) {
    case PV_MSG_STORE:
        pv_push_on_store(p, r);
        break;
    case PV_MSG_WANT:
    case PV_MSG_FETCH:
        pv_push_on_want(p, type == PV_MSG_FETCH, r);
        break;
    case PV_MSG_STORED:
        err = on_stored(p, r);
        break;
    case PV_MSG_GET:
        pv_fetch_on_get(p, r);
        break;
    case PV_MSG_FOUND:
    case PV_MSG_NOT_FOUND:
        pv_fetch_on_found(p, r, type == PV_MSG_FOUND);
        break;
    case PV_MSG_CANCEL:
        pv_push_on_cancel(p, r);
        break;
    case PV_MSG_FULL:
        pv_push_on_full(p, r);
        break;
    case PV_MSG_LOST:
        err = on_lost(p, r);
        break;
    case PV_MSG_DIGEST:
        pv_sync_on_digest(p, r);
        break;
    case PV_MSG_RECORD:
        pv_sync_on_record(p, r);
        break;
    case PV_MSG_ERROR:
        err = on_error(p, r);
        break;
    case PV_MSG_TOKEN:
        err = pv_handover_on_token(p, r);
        break;
    case PV_MSG_KEY:
        err = pv_handover_on_key(p, r);
        break;
    default:
        err = PV_E_PROTOCOL;
    }
    if (err != PV_OK)
        pv_peer_misbehaved(p, pv_msg_name(type));
}

static void keep_early(struct pv_peer *p, uint8_t type, const uint8_t *body, size_t len)
{
    struct early_message *m = NULL;
    if (p->early_bytes + len <= PV_EARLY_BYTES_MAX)
        m = pv_malloc(sizeof *m + len);
    if (m == NULL) {
        pv_peer_drop(p, PV_BYE_LIMIT);
        return;
    }
    m->link = (struct pv_list){NULL, NULL};
    m->type = type;
    m->len = len;
    if (len > 0)
        memcpy(m->body, body, len);
    p->early_bytes += sizeof *m + len;
    pv_list_push_back(&p->early, &m->link);
}

static void deliver_early(struct pv_peer *p)
{
    while (!pv_list_empty(&p->early) && !p->dropped) {
        struct early_message *m = PV_LIST_ENTRY(p->early.next, struct early_message, link);
        struct pv_rd r = pv_rd_of(m->body, m->len);
        pv_list_remove(&m->link);
        dispatch(p, m->type, &r);
        pv_free(m);
    }
    free_early(p);
    p->early_bytes = 0;
}

void pv_node_peer_admitted(struct pv_peer *p)
{
    PV_ASSERT(!p->admitted && !p->dropped);
    p->admitted = true;
    enum pv_err err = pv_sync_attach(p);
    if (err == PV_OK)
        err = pv_push_attach(p);
    if (err == PV_OK)
        err = pv_fetch_attach(p);
    if (err != PV_OK) {
        pv_peer_drop(p, PV_BYE_LIMIT);
        return;
    }
    deliver_early(p);
    pv_peer_pause(p, false);
    pv_publish_on_admitted(p);
    if (p->info.handshake.token > 0) /* it was away when the token changed */
        pv_node_send_token(p->node, p->link);
    pv_node_send_keys(p->node, p->link);
}

/* ---- events -------------------------------------------------------------------------------- */

void pv_node_peer_up(struct pv_node *n, pv_link link, const struct pv_session_peer *peer,
                     const char *address)
{
    PV_ASSERT(n->started && link != 0);
    if (n->closing || pv_bans_refuse(n, link, &peer->handshake.node_id, address))
        return;
    struct pv_peer *p = pv_calloc(1, sizeof *p);
    if (p == NULL || pv_map_put(&n->peers, &link, p) != PV_OK) {
        pv_free(p);
        n->config.io.drop(n->config.io.ctx, link, PV_BYE_LIMIT);
        pv_node_sweep(n);
        return;
    }
    p->node = n;
    p->link = link;
    p->node_id = peer->handshake.node_id;
    p->info = *peer;
    p->up_since_ms = pv_node_now(n);
    p->rtt_ms = UINT64_MAX;
    pv_list_init(&p->early);
    pv_quota_begin(p);
    (void)snprintf(p->address, sizeof p->address, "%s", address);
    pv_peer_pause(p, true);
    pv_members_peer_up(p);
    pv_node_sweep(n);
}

void pv_node_peer_message(struct pv_node *n, pv_link link, uint8_t type, const uint8_t *body,
                          size_t len)
{
    struct pv_peer *p = pv_node_peer(n, link);
    if (p == NULL)
        return;
    if (p->admitted) {
        struct pv_rd r = pv_rd_of(body, len);
        dispatch(p, type, &r);
        if (!p->dropped)
            pv_quota_message(p);
    } else {
        keep_early(p, type, body, len);
    }
    pv_node_sweep(n);
}

/* Whoever cancelled a stream may still get what was under way: that is no offence. */
void pv_node_peer_data(struct pv_node *n, pv_link link, uint32_t stream, uint8_t flags,
                       const uint8_t *bytes, size_t len)
{
    struct pv_peer *p = pv_node_peer(n, link);
    if (p == NULL)
        return;
    if (!p->admitted)
        pv_peer_misbehaved(p, "stream data before any request");
    else if (!pv_push_on_data(p, stream, flags, bytes, len))
        (void)pv_fetch_on_data(p, stream, flags, bytes, len);
    pv_node_sweep(n);
}

void pv_node_peer_writable(struct pv_node *n, pv_link link)
{
    struct pv_peer *p = pv_node_peer(n, link);
    if (p == NULL || !p->admitted)
        return;
    pv_sync_on_writable(p);
    if (!p->dropped)
        pv_publish_on_writable(p);
    if (!p->dropped)
        pv_push_on_writable(p);
    pv_node_sweep(n);
}

void pv_node_peer_pong(struct pv_node *n, pv_link link, uint64_t rtt_ms)
{
    struct pv_peer *p = pv_node_peer(n, link);
    if (p != NULL)
        p->rtt_ms = rtt_ms;
}

void pv_node_peer_down(struct pv_node *n, pv_link link)
{
    struct pv_peer *p = pv_map_get(&n->peers, &link);
    if (p == NULL)
        return;
    p->dropped = true;
    n->sweep = true;
    pv_node_sweep(n);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t pv_node_deadline_ms(const struct pv_node *n)
{
    if (n->sweep)
        return 0;
    if (!n->started || n->closing)
        return UINT64_MAX;
    uint64_t at = earlier(pv_sync_deadline_ms(n), pv_quota_deadline_ms(n));
    at = earlier(at, pv_publish_deadline_ms(n));
    at = earlier(at, pv_push_deadline_ms(n));
    return earlier(at, pv_fetch_deadline_ms(n));
}

void pv_node_tick(struct pv_node *n)
{
    if (n->started && !n->closing) {
        pv_quota_tick(n);
        pv_sync_tick(n);
        pv_publish_tick(n);
        pv_push_tick(n);
        pv_fetch_tick(n);
    }
    pv_node_sweep(n);
}

size_t pv_node_peers(const struct pv_node *n, struct pv_node_peer_info *out, size_t max)
{
    struct pv_peer *p;
    size_t count = 0;
    for (size_t i = 0; count < max && (p = pv_node_next_peer(n, &i)) != NULL;) {
        struct pv_node_peer_info *info = &out[count++];
        *info = (struct pv_node_peer_info){
            .link = p->link,
            .node_id = p->node_id,
            .address = p->address,
            .keyed = p->info.keyed,
            .dialled = p->info.dialled,
            .skew_ms = p->info.handshake.skew_ms,
            .rtt_ms = p->rtt_ms,
            .up_since_ms = p->up_since_ms,
            .in_sync = pv_sync_peer_agrees(p),
        };
        pv_push_info(p, &info->offered, &info->wanted);
    }
    return count;
}
