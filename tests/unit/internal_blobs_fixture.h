/*
 * Nodes with real stores in one process, connected by links in memory, under one clock that only
 * tests move. Jobs wait in a queue; commits that wait together are one batch. Everything happens
 * in pvt_net_run, in a fixed order, until nothing is left to do at the present time.
 *
 * The other end of a link is a node, or the test itself (internal_script_fixture.h).
 */
#ifndef PV_TESTS_INTERNAL_BLOBS_FIXTURE_H
#define PV_TESTS_INTERNAL_BLOBS_FIXTURE_H

#include "internal/node/fetch_private.h"
#include "internal/node/push_private.h"
#include "tests/unit/storage_fixture.h"

enum { PVT_NODES_MAX = 5, PVT_LINKS_MAX = 600 };

struct pvt_frame {
    struct pvt_frame *next;
    bool data;
    uint8_t type; /* of a message; flags of data */
    uint32_t stream;
    size_t len;
    uint8_t bytes[];
};

struct pvt_pipe { /* one direction of a link */
    struct pvt_frame *head, **tail;
    size_t bytes;
    bool stalled; /* takes frames, delivers none */
    bool blocked; /* was found not writable */
};

struct pvt_net;
struct pvt_host {
    struct pvt_net *net;
    struct pvt_vault *v;
    struct pv_keyring *ring;
    struct pv_identity identity;
    struct pv_node *node;
    struct pv_job *jobs, **jobs_tail;
    bool ready, closed;
    size_t inbound_bytes, outbound_bytes;
    size_t frames_in, bodies_in, stores_in;
    bool drop_bodies; /* stream data towards it is lost */
    int corrupt;      /* of that many bodies towards it the last byte is changed */
};

struct pvt_conn { /* end 0 is a node, end 1 a node or NULL: the test */
    bool up;
    struct pvt_host *end[2];
    struct pvt_pipe out[2]; /* what end i sent */
    uint8_t goodbye[2];     /* said by end i */
};

struct pvt_net {
    struct pvt_host host[PVT_NODES_MAX];
    size_t count;
    struct pvt_conn conn[PVT_LINKS_MAX]; /* link = index + 1 */
    size_t conn_count;
    uint64_t mono_ms;
    size_t steps_left; /* pvt_net_run stops there */
};

/* ---- pv_node_io ---- */

static inline void pvt_submit(void *ctx, struct pv_job *job)
{
    struct pvt_host *h = ctx;
    job->next = NULL;
    *h->jobs_tail = job;
    h->jobs_tail = &job->next;
}

static inline struct pvt_conn *pvt_conn_of(struct pvt_net *net, pv_link link)
{
    cr_assert(link >= 1 && link <= net->conn_count);
    return &net->conn[link - 1];
}

static inline struct pvt_pipe *pvt_out(struct pvt_host *h, pv_link link)
{
    struct pvt_conn *c = pvt_conn_of(h->net, link);
    return c->up ? &c->out[c->end[0] == h ? 0 : 1] : NULL;
}

static inline enum pv_err pvt_put(struct pvt_pipe *pipe, bool data, uint8_t type, uint32_t stream,
                                  const uint8_t *bytes, size_t len)
{
    if (pipe == NULL)
        return PV_E_CLOSED;
    cr_assert_leq(len, PV_FRAME_PLAIN_MAX);
    if (pipe->bytes + len > PV_SESSION_OUT_MAX)
        return PV_E_LIMIT;
    struct pvt_frame *f = malloc(sizeof *f + len);
    *f = (struct pvt_frame){.data = data, .type = type, .stream = stream, .len = len};
    if (len > 0)
        memcpy(f->bytes, bytes, len);
    *pipe->tail = f;
    pipe->tail = &f->next;
    pipe->bytes += len;
    return PV_OK;
}

static inline enum pv_err pvt_send(void *ctx, pv_link link, const uint8_t *payload, size_t len)
{
    return pvt_put(pvt_out(ctx, link), false, payload[0], 0, payload + 1, len - 1);
}

static inline enum pv_err pvt_send_data(void *ctx, pv_link link, uint32_t stream, uint8_t flags,
                                        const uint8_t *data, size_t len)
{
    cr_assert_leq(len, PV_STREAM_DATA_MAX);
    return pvt_put(pvt_out(ctx, link), true, flags, stream, data, len);
}

static inline enum pv_err pvt_ping(void *ctx, pv_link link)
{
    (void)ctx;
    (void)link;
    return PV_OK;
}

static inline bool pvt_writable(void *ctx, pv_link link)
{
    struct pvt_pipe *pipe = pvt_out(ctx, link);
    bool yes = pipe != NULL && pipe->bytes < PV_SESSION_OUT_HIGH;
    if (pipe != NULL && !yes)
        pipe->blocked = true;
    return yes;
}

static inline void pvt_pause(void *ctx, pv_link link, bool paused)
{
    (void)ctx;
    (void)link;
    (void)paused;
}

static inline void pvt_drop(void *ctx, pv_link link, uint8_t goodbye)
{
    struct pvt_host *h = ctx;
    struct pvt_conn *c = pvt_conn_of(h->net, link);
    c->goodbye[c->end[0] == h ? 0 : 1] = goodbye;
    c->up = false;
}

/* ---- life ---- */

static inline void pvt_is_ready(void *arg, enum pv_err err)
{
    cr_assert_eq(err, PV_OK);
    ((struct pvt_host *)arg)->ready = true;
}

static inline void pvt_is_closed(void *arg)
{
    ((struct pvt_host *)arg)->closed = true;
}

static inline void pvt_host_start(struct pvt_host *h)
{
    struct pv_node_config config = {
        .env = &h->v->env.env,
        .io = {h, pvt_submit, pvt_send, pvt_send_data, pvt_ping, pvt_writable, pvt_pause, pvt_drop,
               NULL},
        .keyring = h->ring,
        .identity = &h->identity,
        .replicas = 3,
        .inbound_bytes = h->inbound_bytes,
        .outbound_bytes = h->outbound_bytes,
        .hlc = pv_store_hlc(h->v->store),
    };
    h->jobs = NULL;
    h->jobs_tail = &h->jobs;
    h->ready = h->closed = false;
    h->v->env.mono_ms = h->net->mono_ms;
    cr_assert_eq(pv_node_new(&h->node, &config), PV_OK);
    pv_node_start(h->node, pvt_is_ready, h);
}

static inline struct pvt_host *pvt_host_new(struct pvt_net *net)
{
    static const uint8_t key[PV_KEY_LEN] = {1, 2, 3};
    struct pvt_host *h = &net->host[net->count++];
    *h = (struct pvt_host){.net = net, .v = pvt_vault_new_open()};
    h->v->env.random_state += net->count * 1000;
    h->v->env.wall_ms = UINT64_C(1790000000000);
    h->inbound_bytes = (size_t)PV_MEM_SHARE_INBOUND_MIB << 20;
    h->outbound_bytes = (size_t)PV_MEM_SHARE_OUTBOUND_MIB << 20;
    h->ring = calloc(1, sizeof *h->ring);
    pv_keyring_init(h->ring);
    cr_assert_eq(pv_keyring_add_cluster_key(h->ring, key, 1), PV_OK);
    memset(h->identity.seed, (int)net->count, sizeof h->identity.seed);
    pv_ed25519_public(h->identity.pub, h->identity.seed);
    pv_node_id_of(&h->identity.node_id, h->identity.pub);

    uint8_t *env = malloc(PV_RECORD_LEN_MAX);
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    cr_assert_eq(pv_members_found_record(env, &op.u.record.len, &h->identity,
                                         pv_hlc_next(0, h->v->env.wall_ms), &h->v->env.env),
                 PV_OK);
    op.u.record.env = env;
    cr_assert_eq(pvt_commit(h->v, &op, 1), PV_OK);
    free(env);
    return h;
}

/* ---- links ---- */

static inline void pvt_session_peer(struct pv_session_peer *out, const struct pvt_host *of)
{
    struct pv_store_origin origin = pv_store_origin(of->v->store);
    *out = (struct pv_session_peer){.keyed = true};
    out->handshake.node_id = of->identity.node_id;
    memcpy(out->handshake.pub, of->identity.pub, PV_PUB_LEN);
    out->handshake.role = out->hello.role = PV_ROLE_KEYED;
    out->hello.version = PV_HELLO_VERSION;
    memcpy(out->hello.store_uuid, origin.uuid, sizeof origin.uuid);
    out->hello.open_count = origin.open_count;
    out->hello.boot_random[0] = of->identity.seed[0];
}

static inline pv_link pvt_connect(struct pvt_net *net, struct pvt_host *a, struct pvt_host *b)
{
    cr_assert_lt(net->conn_count, PVT_LINKS_MAX);
    struct pvt_conn *c = &net->conn[net->conn_count++];
    struct pv_session_peer peer;
    *c = (struct pvt_conn){.up = true, .end = {a, b}};
    c->out[0].tail = &c->out[0].head;
    c->out[1].tail = &c->out[1].head;
    pvt_session_peer(&peer, b);
    pv_node_peer_up(a->node, (pv_link)net->conn_count, &peer, "peer:1");
    pvt_session_peer(&peer, a);
    pv_node_peer_up(b->node, (pv_link)net->conn_count, &peer, "peer:2");
    return (pv_link)net->conn_count;
}

static inline void pvt_pipe_empty(struct pvt_pipe *pipe)
{
    while (pipe->head != NULL) {
        struct pvt_frame *f = pipe->head;
        pipe->head = f->next;
        free(f);
    }
    pipe->tail = &pipe->head;
    pipe->bytes = 0;
}

/* The connection is lost with all that is under way. */
static inline void pvt_cut(struct pvt_net *net, pv_link link)
{
    struct pvt_conn *c = pvt_conn_of(net, link);
    c->up = false;
    for (size_t i = 0; i < 2; i++) {
        pvt_pipe_empty(&c->out[i]);
        if (c->end[i] != NULL)
            pv_node_peer_down(c->end[i]->node, link);
    }
}

/* ---- the world goes on ---- */

static inline void pvt_deliver(struct pvt_host *h, pv_link link, struct pvt_frame *f)
{
    h->frames_in++;
    h->stores_in += !f->data && f->type == PV_MSG_STORE;
    if (!f->data) {
        pv_node_peer_message(h->node, link, f->type, f->bytes, f->len);
        return;
    }
    if (h->drop_bodies)
        return;
    bool fin = (f->type & PV_STREAM_FIN) != 0;
    if (fin && h->corrupt > 0) {
        h->corrupt--;
        f->bytes[f->len - 1] ^= 1;
    }
    h->bodies_in += fin;
    pv_node_peer_data(h->node, link, f->stream, f->type, f->bytes, f->len);
}

static inline bool pvt_conn_step(struct pvt_net *net, size_t index)
{
    struct pvt_conn *c = &net->conn[index];
    pv_link link = (pv_link)index + 1;
    bool any = false;
    for (size_t i = 0; i < 2; i++) {
        struct pvt_host *to = c->end[1 - i];
        struct pvt_pipe *pipe = &c->out[i];
        if (!c->up) {
            any = any || pipe->head != NULL;
            pvt_pipe_empty(pipe);
            if (c->end[i] != NULL)
                pv_node_peer_down(c->end[i]->node, link);
            continue;
        }
        if (to == NULL || pipe->stalled || pipe->head == NULL)
            continue;
        struct pvt_frame *f = pipe->head;
        pipe->head = f->next;
        if (pipe->head == NULL)
            pipe->tail = &pipe->head;
        pipe->bytes -= f->len;
        pvt_deliver(to, link, f);
        free(f);
        any = true;
        if (c->up && pipe->blocked && pipe->bytes < PV_SESSION_OUT_HIGH && c->end[i] != NULL) {
            pipe->blocked = false;
            pv_node_peer_writable(c->end[i]->node, link);
        }
    }
    return any;
}

static inline void pvt_committed(struct pv_commit *c)
{
    (void)c;
}

/* All jobs that wait now; commits together. */
static inline bool pvt_jobs_step(struct pvt_host *h)
{
    struct pv_job_context ctx = {
        .store = h->v->store,
        .env = &h->v->env.env,
        .keyring = h->ring,
        .identity = &h->identity,
    };
    struct pv_job *job = h->jobs, *next, *commits = NULL, **tail = &commits;
    struct pv_commit *first = NULL, **commit_tail = &first;
    if (job == NULL)
        return false;
    h->jobs = NULL;
    h->jobs_tail = &h->jobs;
    for (; job != NULL; job = next) {
        next = job->next;
        if (job->run != NULL) {
            job->run(job, &ctx);
            job->done(job);
            continue;
        }
        job->commit.done = pvt_committed;
        job->commit.next = NULL;
        job->next = NULL;
        *commit_tail = &job->commit;
        commit_tail = &job->commit.next;
        *tail = job;
        tail = &job->next;
    }
    if (first != NULL)
        pv_commit_batch(h->v->store, first);
    for (job = commits; job != NULL; job = next) {
        next = job->next;
        job->done(job);
    }
    return true;
}

static inline bool pvt_step(struct pvt_net *net)
{
    bool any = false;
    for (size_t i = 0; i < net->conn_count; i++)
        any = pvt_conn_step(net, i) || any;
    for (size_t i = 0; i < net->count; i++) {
        struct pvt_host *h = &net->host[i];
        if (h->node == NULL)
            continue;
        any = pvt_jobs_step(h) || any;
        if (h->ready && !h->closed && pv_node_deadline_ms(h->node) <= net->mono_ms) {
            pv_node_tick(h->node);
            any = true;
        }
    }
    return any;
}

static inline void pvt_net_run(struct pvt_net *net)
{
    for (size_t rounds = 0; net->steps_left > 0 && pvt_step(net); rounds++) {
        cr_assert_lt(rounds, 200000, "does not come to rest");
        net->steps_left -= net->steps_left != SIZE_MAX;
    }
}

static inline void pvt_net_advance(struct pvt_net *net, uint64_t ms)
{
    net->mono_ms += ms;
    for (size_t i = 0; i < net->count; i++)
        pvt_env_advance(&net->host[i].v->env, ms);
    pvt_net_run(net);
}

/* ---- nets ---- */

static inline struct pvt_net *pvt_net_new(size_t count)
{
    struct pvt_net *net = calloc(1, sizeof *net);
    pv_crypto_init();
    net->mono_ms = 1000;
    net->steps_left = SIZE_MAX;
    for (size_t i = 0; i < count; i++)
        pvt_host_start(pvt_host_new(net));
    pvt_net_run(net);
    return net;
}

static inline void pvt_mesh(struct pvt_net *net)
{
    for (size_t i = 0; i < net->count; i++)
        for (size_t k = i + 1; k < net->count; k++)
            pvt_connect(net, &net->host[i], &net->host[k]);
    pvt_net_run(net);
}

static inline void pvt_host_stop(struct pvt_host *h)
{
    pv_node_close(h->node, pvt_is_closed, h);
    while (pvt_jobs_step(h))
        ;
    cr_assert(h->closed);
    pv_node_free(h->node); /* asserts that every reservation was returned */
    h->node = NULL;
}

static inline void pvt_net_free(struct pvt_net *net)
{
    for (size_t i = 0; i < net->count; i++)
        if (net->host[i].node != NULL)
            pvt_host_stop(&net->host[i]);
    for (size_t i = 0; i < net->conn_count; i++) {
        pvt_pipe_empty(&net->conn[i].out[0]);
        pvt_pipe_empty(&net->conn[i].out[1]);
    }
    for (size_t i = 0; i < net->count; i++) {
        pvt_vault_free(net->host[i].v);
        pv_keyring_wipe(net->host[i].ring);
        free(net->host[i].ring);
    }
    free(net);
}

/* ---- blobs ---- */

static inline struct pvt_blob pvt_sealed(uint32_t no, size_t payload_len)
{
    static const uint8_t key[PV_KEY_LEN] = {1, 2, 3};
    static struct pv_cluster_keys keys;
    static bool derived;
    struct pv_blob_sealed sealed;
    if (!derived)
        cr_assert_eq(pv_cluster_keys_derive(&keys, key), PV_OK);
    derived = true;
    struct pvt_blob b = {.len = pv_blob_len(payload_len)};
    b.bytes = calloc(1, b.len);
    memset(b.bytes + PV_BLOB_PAYLOAD_OFFSET, (int)(no & 0xff), payload_len);
    memcpy(b.bytes + PV_BLOB_PAYLOAD_OFFSET, &no, payload_len < 4 ? payload_len : 4);
    cr_assert_eq(pv_blob_seal(&sealed, &keys, 0, PV_BLOB_CHUNK, b.bytes, payload_len, NULL), PV_OK);
    cr_assert_eq(sealed.blob_len, b.len);
    b.id = sealed.id;
    return b;
}

/* Sizes of all kinds: rows, files, one and many frames, one and many slices. */
static inline size_t pvt_mixed_len(uint32_t no)
{
    static const size_t lens[] = {4, 900, 7000, 60000, 70000, 300000, PV_BLOB_PAYLOAD_MAX};
    return no % 50 == 0 ? lens[no / 50 % 7] : lens[no % 3];
}

static inline void pvt_put_many(struct pvt_host *h, struct pvt_blob *blobs, size_t count)
{
    struct pv_commit_op *ops = calloc(count, sizeof *ops);
    for (size_t i = 0; i < count; i++)
        ops[i] = pvt_blob_op(&blobs[i]);
    for (size_t i = 0; i < count; i += 64)
        cr_assert_eq(pvt_commit(h->v, ops + i, count - i < 64 ? count - i : 64), PV_OK);
    free(ops);
    if (h->node != NULL && h->ready)
        pv_push_kick(h->node);
}

static inline struct pvt_blob *pvt_blobs_new(size_t count)
{
    struct pvt_blob *blobs = calloc(count, sizeof *blobs);
    for (size_t i = 0; i < count; i++)
        blobs[i] = pvt_sealed((uint32_t)i, pvt_mixed_len((uint32_t)i));
    return blobs;
}

static inline void pvt_blobs_free(struct pvt_blob *blobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pvt_blob_free(&blobs[i]);
    free(blobs);
}

static inline size_t pvt_count_here(struct pvt_host *h, const struct pvt_blob *blobs, size_t count)
{
    size_t here = 0;
    for (size_t i = 0; i < count; i++)
        here += pvt_has_blob(h->v, &blobs[i]);
    return here;
}

/* How many of the blobs h knows to be held by another node. */
static inline size_t pvt_count_held(struct pvt_host *h, const struct pvt_host *by,
                                    const struct pvt_blob *blobs, size_t count)
{
    unsigned bit;
    size_t held = 0;
    if (pv_store_holder(h->v->store, &by->identity.node_id, &bit) != PV_OK)
        return 0;
    for (size_t i = 0; i < count; i++) {
        struct pv_blob_info info;
        if (pv_store_blob(h->v->store, &blobs[i].id, &info) == PV_OK)
            held += info.held >> bit & 1;
    }
    return held;
}

/* Nothing reserved, nothing open: what must hold at rest, and after any accident. */
static inline void pvt_assert_idle(struct pvt_host *h)
{
    struct pv_push *s = h->node->push;
    cr_assert_eq(s->inbound.used_bytes, 0);
    cr_assert_eq(s->outbound.used_bytes, 0);
    cr_assert_null(s->inbound.head);
    cr_assert_null(s->outbound.head);
    cr_assert_eq(s->incoming.count, 0);
    cr_assert_eq(s->repair_count, 0);
    size_t pos = 0;
    struct pv_peer *p;
    while ((p = pv_node_next_peer(h->node, &pos)) != NULL) {
        cr_assert_eq(p->push->offered.count, 0);
        cr_assert_eq(p->push->in.offer_count, 0);
        cr_assert_eq(p->push->in.streams.count, 0);
        cr_assert_eq(p->push->out.streams.count, 0);
        cr_assert_eq(p->push->out.slice_bytes, 0);
        cr_assert_eq(p->push->in.reserved_bytes, 0);
        cr_assert_eq(p->fetch->streams.count, 0);
    }
}

#endif
