/*
 * The C code against tests/vectors/peervault/handshake.json, which another program made from
 * transport/protocol.md: the same keys and clocks must give the same bytes.
 */
#include "tests/support/vectors.h"
#include "tests/unit/transport_fixture.h"

#define FILE_NAME "tests/vectors/peervault/handshake.json"

TestSuite(transport_vectors, .timeout = 30);

struct party {
    struct node node;
    uint8_t random[32]; /* what the next request for 32 random bytes gets */
};

struct fix {
    json_t *json;
    struct party dialler, listener;
};

static bool is(const struct fix *f, const char *name, const void *p, size_t len)
{
    struct pvt_bytes expected = pvt_json_hex(f->json, name);
    bool same = pvt_bytes_equal(&expected, p, len);
    pvt_bytes_release(&expected);
    return same;
}

static void take(void *dst, size_t len, const json_t *object, const char *name)
{
    struct pvt_bytes b = pvt_json_hex(object, name);
    cr_assert_eq(b.len, len, "%s", name);
    memcpy(dst, b.p, len);
    pvt_bytes_release(&b);
}

static void fixed_random(void *ctx, void *dst, size_t len)
{
    struct party *p = PV_CONTAINER_OF((struct pvt_env *)ctx, struct party, node.clock);
    memset(dst, 0, len);
    if (len == sizeof p->random)
        memcpy(dst, p->random, len);
}

static void token_of(struct pv_token_keys *out, const json_t *json)
{
    uint8_t bytes[36], hash[PV_HASH_LEN];
    char text[PV_TOKEN_TEXT_LEN + 1] = "pvt1-";
    bool weak;
    take(bytes, 32, json, "token_secret");
    pv_sha256(hash, bytes, 32);
    memcpy(bytes + 32, hash, 4);
    pv_base32_encode(text + 5, sizeof text - 5, bytes, sizeof bytes);
    cr_assert_eq(pv_token_derive(out, text, &weak), PV_OK);
}

static void party_init(struct party *p, const json_t *json, const char *name)
{
    const json_t *own = json_object_get(json, name);
    uint8_t cluster_key[PV_KEY_LEN];
    struct node *n = &p->node;
    node_init(n, 1);
    n->clock.env.random = fixed_random;
    n->clock.wall_ms = (uint64_t)pvt_json_number(own, "ts_ms");
    take(n->identity.seed, sizeof n->identity.seed, own, "seed");
    pv_ed25519_public(n->identity.pub, n->identity.seed);
    pv_node_id_of(&n->identity.node_id, n->identity.pub);
    struct pvt_bytes id = pvt_json_hex(own, "node_id");
    cr_assert(pvt_bytes_equal(&id, n->identity.node_id.b, PV_ID_LEN));
    pvt_bytes_release(&id);
    take(p->random, sizeof p->random, own, "static_private");
    pv_noise_static_make(&n->noise_static, &n->identity, &n->clock.env);
    cr_assert_eq(n->noise_static.not_before_s, (uint64_t)pvt_json_number(own, "not_before_s"));
    cr_assert_eq(n->noise_static.not_after_s, (uint64_t)pvt_json_number(own, "not_after_s"));
    take(p->random, sizeof p->random, own, "ephemeral_private");
    take(cluster_key, sizeof cluster_key, json, "cluster_key");
    cr_assert_eq(pv_cluster_keys_derive(&n->cluster, cluster_key), PV_OK);
    token_of(&n->ctx.handshake.tokens[0], json);
    n->ctx.handshake.role = (uint8_t)pvt_json_number(own, "role");
    n->ctx.handshake.features = (uint32_t)pvt_json_number(own, "features");
    n->ctx.hello.open_count = (uint64_t)pvt_json_number(own, "open_count");
    n->ctx.hello.listen_port = (uint16_t)pvt_json_number(own, "listen_port");
    take(n->ctx.hello.store_uuid, 16, own, "store_uuid");
    take(n->ctx.hello.boot_random, 16, own, "boot_random");
}

static struct fix *fix_new(void)
{
    struct fix *f = pv_calloc(1, sizeof *f);
    f->json = pvt_json_load(FILE_NAME);
    party_init(&f->dialler, f->json, "dialler");
    party_init(&f->listener, f->json, "listener");
    return f;
}

static void fix_free(struct fix *f)
{
    node_release(&f->dialler.node);
    node_release(&f->listener.node);
    json_decref(f->json);
    pv_free(f);
}

Test(transport_vectors, token)
{
    struct fix *f = fix_new();
    const struct pv_token_keys *keys = &f->dialler.node.ctx.handshake.tokens[0];
    cr_assert(is(f, "k_gate", keys->gate, sizeof keys->gate));
    cr_assert(is(f, "psk", keys->psk, sizeof keys->psk));
    fix_free(f);
}

Test(transport_vectors, handshake)
{
    struct fix *f = fix_new();
    struct pv_handshake *d, *l;
    uint8_t bytes[PV_HS_LEN_MAX], from_d[PV_KEY_LEN], from_l[PV_KEY_LEN], h[PV_HASH_LEN];
    size_t len;
    cr_assert_eq(pv_handshake_new(&d, &f->dialler.node.ctx.handshake, true, 0, NULL), PV_OK);
    cr_assert_eq(pv_handshake_new(&l, &f->listener.node.ctx.handshake, false, 0, NULL), PV_OK);
    cr_assert_eq(pv_handshake_write(d, bytes, &len), PV_OK);
    cr_assert(is(f, "m1", bytes, len));
    cr_assert_eq(pv_handshake_read(l, bytes, len), PV_OK);
    cr_assert_eq(pv_handshake_write(l, bytes, &len), PV_OK);
    cr_assert(is(f, "m2", bytes, len));
    cr_assert_eq(pv_handshake_read(d, bytes, len), PV_OK);
    cr_assert_eq(pv_handshake_write(d, bytes, &len), PV_OK);
    cr_assert(is(f, "m3", bytes, len));
    cr_assert_eq(pv_handshake_read(l, bytes, len), PV_OK);
    pv_handshake_keys(d, from_d, from_l, h);
    cr_assert(is(f, "key_from_dialler", from_d, sizeof from_d));
    cr_assert(is(f, "key_from_listener", from_l, sizeof from_l));
    cr_assert(is(f, "h", h, sizeof h));
    pv_handshake_free(d);
    pv_handshake_free(l);
    fix_free(f);
}

Test(transport_vectors, clock_message)
{
    struct fix *f = fix_new();
    struct pv_handshake *l;
    uint8_t bytes[PV_HS_LEN_MAX];
    size_t len;
    f->listener.node.ctx.handshake.max_skew_ms = 332; /* the clocks are 333 ms apart */
    struct pvt_bytes m1 = pvt_json_hex(f->json, "m1");
    cr_assert_eq(pv_handshake_new(&l, &f->listener.node.ctx.handshake, false, 0, NULL), PV_OK);
    cr_assert_eq(pv_handshake_read(l, m1.p, m1.len), PV_E_AUTH);
    cr_assert_eq(pv_handshake_write(l, bytes, &len), PV_OK);
    cr_assert(is(f, "clock", bytes, len));
    pv_handshake_free(l);
    pvt_bytes_release(&m1);
    fix_free(f);
}

/* Feeds all that `from` says to `to` and gathers it. */
static bool pass(struct pv_session *from, struct pv_session *to, uint8_t *said, size_t *said_len)
{
    struct pv_session_effect e;
    bool any = false;
    while (pv_session_next(from, &e)) {
        any = true;
        if (e.type != PV_SESSION_SEND)
            continue;
        memcpy(said + *said_len, e.bytes, e.len);
        *said_len += e.len;
        for (size_t at = 0, used; at < e.len; at += used)
            pv_session_feed(to, e.bytes + at, e.len - at, &used);
        pv_session_sent(from, e.len);
    }
    return any;
}

Test(transport_vectors, session_up_to_hello)
{
    struct fix *f = fix_new();
    struct pv_session *d, *l;
    uint8_t from_d[2048], from_l[2048];
    size_t from_d_len = 0, from_l_len = 0;
    cr_assert_eq(pv_session_new(&d, &f->dialler.node.ctx, true, 0, NULL, "l"), PV_OK);
    cr_assert_eq(pv_session_new(&l, &f->listener.node.ctx, false, 0, NULL, "d"), PV_OK);
    while (pass(d, l, from_d, &from_d_len) || pass(l, d, from_l, &from_l_len))
        ;
    cr_assert(pv_session_up(d) && pv_session_up(l));
    cr_assert(pv_session_peer(d)->keyed && pv_session_peer(l)->keyed);
    cr_assert(is(f, "sent_by_dialler", from_d, from_d_len));
    cr_assert(is(f, "sent_by_listener", from_l, from_l_len));
    pv_session_free(d);
    pv_session_free(l);
    fix_free(f);
}

Test(transport_vectors, frames_and_rekey)
{
    struct fix *f = fix_new();
    struct pv_channel *c;
    uint8_t send_key[PV_KEY_LEN], recv_key[PV_KEY_LEN], msg[32], data[64], frame[128];
    take(send_key, sizeof send_key, f->json, "key_from_dialler");
    take(recv_key, sizeof recv_key, f->json, "key_from_listener");
    struct pv_wr w = pv_wr_of(msg, sizeof msg), d = pv_wr_of(data, sizeof data);
    pv_msg_put_ping(&w, PV_MSG_PING,
                    &(struct pv_msg_ping){0x0102030405060708, f->dialler.node.clock.wall_ms});
    pv_wr_u32(&d, 7);
    pv_wr_u8(&d, PV_STREAM_FIN);
    pv_wr_zero(&d, 3);
    pv_wr_bytes(&d, "the end of a blob", 17);
    cr_assert_eq(pv_channel_new(&c, send_key, recv_key, 2), PV_OK);
    pv_channel_seal(c, PV_FRAME_MESSAGE, msg, pv_wr_len(&w), frame);
    pv_channel_seal(c, PV_FRAME_MESSAGE, msg, pv_wr_len(&w), frame);
    cr_assert(is(f, "frame_1_ping", frame, 5 + pv_wr_len(&w) + PV_TAG_LEN));
    pv_channel_seal(c, PV_FRAME_STREAM, data, pv_wr_len(&d), frame);
    cr_assert(is(f, "frame_2_data", frame, 5 + pv_wr_len(&d) + PV_TAG_LEN));
    pv_channel_seal(c, PV_FRAME_MESSAGE, msg, pv_wr_len(&w), frame);
    pv_channel_seal(c, PV_FRAME_MESSAGE, msg, pv_wr_len(&w), frame);
    cr_assert(is(f, "frame_4_ping_after_rekey_at_4", frame, 5 + pv_wr_len(&w) + PV_TAG_LEN));
    pv_channel_free(c);
    fix_free(f);
}
