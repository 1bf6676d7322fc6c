/*
 * The test as a peer of a node: reads and writes messages by hand. See internal_blobs_fixture.h.
 */
#ifndef PV_TESTS_INTERNAL_SCRIPT_FIXTURE_H
#define PV_TESTS_INTERNAL_SCRIPT_FIXTURE_H

#include "tests/unit/internal_blobs_fixture.h"

struct pvt_script {
    struct pvt_net *net;
    struct pvt_host *host; /* the node at the other end */
    pv_link link;
    struct pv_identity identity;
    uint8_t out[PV_FRAME_PLAIN_MAX];
};

static inline void pvt_script_init(struct pvt_script *s, struct pvt_net *net, struct pvt_host *host,
                                   uint8_t no)
{
    struct pv_session_peer peer = {.keyed = true};
    *s = (struct pvt_script){.net = net, .host = host};
    cr_assert_lt(net->conn_count, PVT_LINKS_MAX);
    memset(s->identity.seed, 100 + no, sizeof s->identity.seed);
    pv_ed25519_public(s->identity.pub, s->identity.seed);
    pv_node_id_of(&s->identity.node_id, s->identity.pub);
    struct pvt_conn *c = &net->conn[net->conn_count++];
    *c = (struct pvt_conn){.up = true, .end = {host, NULL}};
    c->out[0].tail = &c->out[0].head;
    c->out[1].tail = &c->out[1].head;
    s->link = (pv_link)net->conn_count;
    peer.handshake.node_id = s->identity.node_id;
    memcpy(peer.handshake.pub, s->identity.pub, PV_PUB_LEN);
    peer.handshake.role = peer.hello.role = PV_ROLE_KEYED;
    peer.hello.version = PV_HELLO_VERSION;
    peer.hello.open_count = 1;
    peer.hello.store_uuid[0] = no;
    peer.hello.boot_random[0] = no;
    pv_node_peer_up(host->node, s->link, &peer, "script:1");
    pvt_net_run(net);
    cr_assert_not_null(pv_node_peer(host->node, s->link));
}

/* The next message of a type, or stream frame (type 0), that the node sent; others are passed over.
 * NULL: none. free() it. */
static inline struct pvt_frame *pvt_script_next(struct pvt_script *s, uint8_t type)
{
    struct pvt_pipe *pipe = &pvt_conn_of(s->net, s->link)->out[0];
    for (;;) {
        struct pvt_frame *f = pipe->head;
        if (f == NULL) {
            bool was_blocked = pipe->blocked;
            pipe->blocked = false;
            if (was_blocked)
                pv_node_peer_writable(s->host->node, s->link);
            pvt_net_run(s->net);
            if (pipe->head == NULL)
                return NULL;
            continue;
        }
        pipe->head = f->next;
        if (pipe->head == NULL)
            pipe->tail = &pipe->head;
        pipe->bytes -= f->len;
        if (type == 0 ? f->data : !f->data && f->type == type)
            return f;
        free(f);
    }
}

static inline struct pv_wr pvt_script_wr(struct pvt_script *s)
{
    return pv_wr_of(s->out, sizeof s->out);
}

static inline void pvt_script_send(struct pvt_script *s, const struct pv_wr *w)
{
    cr_assert_eq(pv_wr_end(w), PV_OK);
    pv_node_peer_message(s->host->node, s->link, s->out[0], s->out + 1, pv_wr_len(w) - 1);
    pvt_net_run(s->net);
}

static inline void pvt_script_data(struct pvt_script *s, uint32_t stream, uint8_t flags,
                                   const uint8_t *bytes, size_t len)
{
    pv_node_peer_data(s->host->node, s->link, stream, flags, bytes, len);
    pvt_net_run(s->net);
}

/* Sends the whole blob from offset on. */
static inline void pvt_script_body(struct pvt_script *s, uint32_t stream, const struct pvt_blob *b,
                                   size_t offset)
{
    while (offset < b->len) {
        size_t len = b->len - offset < PV_STREAM_DATA_MAX ? b->len - offset : PV_STREAM_DATA_MAX;
        pvt_script_data(s, stream, offset + len == b->len ? PV_STREAM_FIN : 0, b->bytes + offset,
                        len);
        offset += len;
    }
}

static inline void pvt_script_offer(struct pvt_script *s, const struct pvt_blob *blobs,
                                    size_t count)
{
    struct pv_offer *offers = calloc(count, sizeof *offers);
    for (size_t i = 0; i < count; i++)
        offers[i] = (struct pv_offer){blobs[i].id, PV_BLOB_CHUNK, (uint32_t)blobs[i].len};
    struct pv_wr w = pvt_script_wr(s);
    pv_msg_put_store(&w, offers, count);
    free(offers);
    pvt_script_send(s, &w);
}

static inline void pvt_script_want(struct pvt_script *s, uint8_t type, const struct pv_id *id,
                                   uint32_t offset, uint32_t stream)
{
    struct pv_want want = {*id, offset, stream};
    struct pv_wr w = pvt_script_wr(s);
    pv_msg_put_wants(&w, type, &want, 1);
    pvt_script_send(s, &w);
}

static inline void pvt_script_stored(struct pvt_script *s, const struct pv_id *ids, size_t count)
{
    struct pv_wr w = pvt_script_wr(s);
    pv_msg_put_stored(&w, PV_STORED_BLOBS, ids, count);
    pvt_script_send(s, &w);
}

/* GET, FOUND, NOT_FOUND, FULL. */
static inline void pvt_script_ids(struct pvt_script *s, uint8_t type, uint32_t request,
                                  const struct pv_id *ids, size_t count)
{
    struct pv_wr w = pvt_script_wr(s);
    pv_msg_put_ids(&w, type, request, ids, count);
    pvt_script_send(s, &w);
}

static inline void pvt_script_cancel(struct pvt_script *s, uint32_t stream)
{
    struct pv_wr w = pvt_script_wr(s);
    pv_msg_put_cancel(&w, stream);
    pvt_script_send(s, &w);
}

/* The wants of the next WANT or FETCH; 0: there is none. */
static inline size_t pvt_script_wants(struct pvt_script *s, uint8_t type,
                                      struct pv_want wants[static PV_MSG_WANTS_MAX])
{
    struct pvt_frame *f = pvt_script_next(s, type);
    size_t count = 0;
    if (f == NULL)
        return 0;
    struct pv_rd r = pv_rd_of(f->bytes, f->len);
    cr_assert_eq(pv_msg_get_wants(&r, wants, &count), PV_OK);
    free(f);
    return count;
}

/* The ids of the next message with ids; 0: there is none. */
static inline size_t pvt_script_get_ids(struct pvt_script *s, uint8_t type, uint32_t *request,
                                        struct pv_id ids[static PV_MSG_IDS_MAX])
{
    struct pvt_frame *f = pvt_script_next(s, type);
    size_t count = 0;
    uint8_t what;
    if (f == NULL)
        return 0;
    struct pv_rd r = pv_rd_of(f->bytes, f->len);
    if (type == PV_MSG_STORED)
        cr_assert_eq(pv_msg_get_stored(&r, &what, ids, &count), PV_OK);
    else
        cr_assert_eq(pv_msg_get_ids(&r, request, ids, &count), PV_OK);
    free(f);
    return count;
}

static inline bool pvt_script_dropped(const struct pvt_script *s)
{
    struct pvt_conn *c = pvt_conn_of(s->net, s->link);
    return !c->up && c->goodbye[0] == PV_BYE_PROTOCOL;
}

#endif
