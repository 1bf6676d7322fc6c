/*
 * F2: two handshakes and somebody between them who knows the token. Whoever is done has accepted
 * nothing but what the other side really said, and both then have the same keys.
 *
 * The first byte (bits): 1, the dialler comes by an invite; 2, it expects the listener, or with 4
 * another node; 8, both are the same node; 16 and 32, its certificate is false. The last four must
 * not get through. 64, both have made their certificates anew after a day.
 *
 * Events: op u8 = side (bit 0), what (bits 1-2), under a right gate (bit 3), after 9 minutes at the
 * other side (bit 4). 0: its message goes to the other side. 1: changed at u16 by u8. 2: instead of
 * it the u16 bytes that follow. 3: it is lost.
 */
#include "tests/fuzz/node.h"
#include "transport/certificate.h"

struct side {
    struct node node;
    struct pv_handshake *h;
    bool deceived; /* accepted something else than was said */
};

enum {
    GUEST = 1,
    EXPECTS = 2,
    EXPECTS_OTHER = 4,
    SAME = 8,
    EXPIRED = 16,
    FORGED = 32,
    RENEWED = 64
};

static struct side sides[2];
static uint8_t tag[32]; /* of the last message that was accepted */

static void make_static(struct node *n, bool anew)
{
    pv_noise_static_make(&n->noise_static, &n->identity, &n->clock.env);
    cr_assert_not(pv_noise_static_refresh(&n->noise_static, &n->identity, &n->clock.env));
    if (anew) {
        pvt_env_advance(&n->clock, PV_CERTIFICATE_RENEW_S * UINT64_C(1000));
        cr_assert(pv_noise_static_refresh(&n->noise_static, &n->identity, &n->clock.env));
    }
}

static void begin(uint8_t mode)
{
    static const struct pv_id nobody = {{1}};
    struct node *dialler = &sides[0].node, *listener = &sides[1].node;
    struct pv_handshake_context *ctx = &dialler->ctx.handshake;
    const struct pv_id *expected = (mode & EXPECTS) != 0 ? &listener->identity.node_id : NULL;
    for (unsigned i = 0; i < 2; i++) {
        pvf_node_begin(&sides[i].node, (uint8_t)(i + 1));
        token_fill(&sides[i].node.ctx.handshake.tokens[0], 40);
        sides[i].deceived = false;
        make_static(&sides[i].node, (mode & RENEWED) != 0);
    }
    listener->ctx.handshake.invite_count = 1;
    token_fill(&listener->ctx.handshake.invites[0].keys, 90);
    if ((mode & GUEST) != 0)
        token_fill(&ctx->tokens[0], 90);
    ctx->identity = &dialler->identity;
    if ((mode & SAME) != 0) {
        ctx->identity = &listener->identity;
        pv_noise_static_make(&dialler->noise_static, ctx->identity, &dialler->clock.env);
    }
    dialler->noise_static.not_after_s += (mode & EXPIRED) != 0 ? 86400 : 0;
    dialler->noise_static.sig[9] ^= (mode & FORGED) != 0;
    expected = (mode & EXPECTS_OTHER) != 0 ? &nobody : expected;
    cr_assert_eq(pv_handshake_new(&sides[0].h, ctx, true, 0, expected), PV_OK);
    cr_assert_eq(pv_handshake_new(&sides[1].h, &listener->ctx.handshake, false, 0, NULL), PV_OK);
}

static void gate(uint8_t *msg, size_t len)
{
    const struct pv_part parts[] = {
        {"PV1/gate", 8}, {msg + 4, 1}, {tag, msg[4] == 1 ? 0 : sizeof tag}, {msg, len - 32}};
    pv_hmac_parts(msg + len - 32, sides[0].node.ctx.handshake.tokens[0].gate, PV_KEY_LEN, parts, 4);
}

static void step(struct pv_rd *r, struct side *from, struct side *to, uint8_t op)
{
    uint8_t said[PV_HS_LEN_MAX], heard[PV_HS_LEN_MAX];
    size_t len, said_len = 0;
    if ((op & 16) != 0)
        pvt_env_advance(&to->node.clock, 540000);
    if (pv_handshake_write(from->h, said, &said_len) != PV_OK)
        said_len = 0;
    memcpy(heard, said, len = said_len);
    unsigned what = op >> 1 & 3, at = what == 1 || what == 2 ? pv_rd_u16(r) : 0;
    if (what == 1 && len > 0)
        heard[at % len] ^= pv_rd_u8(r);
    if (what == 2)
        pv_rd_copy(r, heard, len = at % (PV_HS_LEN_MAX + 1));
    if (what == 3 || len == 0)
        return;
    if ((op & 8) != 0 && len > 48)
        gate(heard, len);
    if (pv_handshake_read(to->h, heard, len) != PV_OK)
        return;
    if (len != said_len || memcmp(said, heard, len) != 0)
        to->deceived = true;
    memcpy(tag, heard + len - sizeof tag, sizeof tag);
}

static void check(const struct side *a, const struct side *b)
{
    uint8_t send[2][PV_KEY_LEN], recv[2][PV_KEY_LEN], hash[2][PV_HASH_LEN];
    cr_assert(!pv_handshake_done(a->h) || !a->deceived, "the dialler was deceived");
    cr_assert(!pv_handshake_done(b->h) || (!b->deceived && pv_handshake_done(a->h)));
    if (!pv_handshake_done(b->h))
        return;
    pv_handshake_keys(a->h, send[0], recv[0], hash[0]);
    pv_handshake_keys(b->h, send[1], recv[1], hash[1]);
    cr_assert_arr_eq(send[0], recv[1], PV_KEY_LEN);
    cr_assert_arr_eq(send[1], recv[0], PV_KEY_LEN);
    cr_assert_arr_eq(hash[0], hash[1], PV_HASH_LEN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_rd r = pv_rd_of(data, size);
    uint8_t mode = pv_rd_u8(&r);
    begin(mode);
    while (pv_rd_left(&r) > 0 && !r.bad && !pv_handshake_done(sides[1].h)) {
        uint8_t op = pv_rd_u8(&r);
        step(&r, &sides[op & 1], &sides[1 - (op & 1)], op);
        check(&sides[0], &sides[1]);
        cr_assert((mode & 60) == 0 || !pv_handshake_done(sides[1].h), "got through: %u", mode);
    }
    for (unsigned i = 0; i < 2; i++) {
        pv_handshake_free(sides[i].h);
        pvf_node_end(&sides[i].node);
    }
    return 0;
}
