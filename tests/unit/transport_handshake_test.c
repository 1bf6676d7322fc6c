#include "tests/unit/transport_fixture.h"
#include "transport/certificate.h"

TestSuite(handshake, .timeout = 60);

struct fix {
    struct node a, b; /* a dials */
    struct pv_handshake *ha, *hb;
    size_t dial_token;
    const struct pv_id *expected;
    /* what happens to message `at` (1..3) on its way */
    unsigned at;
    size_t flip; /* bit number, SIZE_MAX: none */
    size_t cut;  /* bytes taken from the end */
};

static void fix_init(struct fix *f)
{
    memset(f, 0, sizeof *f);
    f->flip = SIZE_MAX;
    node_init(&f->a, 1);
    node_init(&f->b, 2);
}

static void fix_end_handshakes(struct fix *f)
{
    pv_handshake_free(f->ha);
    pv_handshake_free(f->hb);
    f->ha = f->hb = NULL;
}

static void fix_release(struct fix *f)
{
    fix_end_handshakes(f);
    node_release(&f->a);
    node_release(&f->b);
}

/* Runs until somebody refuses or both are done; the error of the refusing read or write. */
static enum pv_err run(struct fix *f)
{
    fix_end_handshakes(f);
    cr_assert_eq(pv_handshake_new(&f->ha, &f->a.ctx.handshake, true, f->dial_token, f->expected),
                 PV_OK);
    cr_assert_eq(pv_handshake_new(&f->hb, &f->b.ctx.handshake, false, 0, NULL), PV_OK);
    struct pv_handshake *from = f->ha, *to = f->hb;
    for (unsigned msg = 1; msg <= 3; msg++) {
        uint8_t bytes[PV_HS_LEN_MAX];
        size_t len, other;
        enum pv_err err = pv_handshake_write(from, bytes, &len);
        if (err != PV_OK)
            return err;
        cr_assert_eq(len, pv_handshake_expects(to, &other));
        if (f->at == msg) {
            len -= f->cut;
            if (f->flip != SIZE_MAX)
                bytes[f->flip / 8] ^= (uint8_t)(1 << f->flip % 8);
        }
        err = pv_handshake_read(to, bytes, len);
        if (err != PV_OK)
            return err;
        struct pv_handshake *swap = from;
        from = to;
        to = swap;
    }
    return PV_OK;
}

static void check_agreed(struct fix *f)
{
    uint8_t as[PV_KEY_LEN], ar[PV_KEY_LEN], ah[PV_HASH_LEN];
    uint8_t bs[PV_KEY_LEN], br[PV_KEY_LEN], bh[PV_HASH_LEN];
    cr_assert(pv_handshake_done(f->ha) && pv_handshake_done(f->hb));
    pv_handshake_keys(f->ha, as, ar, ah);
    pv_handshake_keys(f->hb, bs, br, bh);
    cr_assert_arr_eq(as, br, sizeof as);
    cr_assert_arr_eq(ar, bs, sizeof ar);
    cr_assert_arr_eq(ah, bh, sizeof ah);
    cr_assert_neq(memcmp(as, ar, sizeof as), 0);
    const struct pv_handshake_peer *pa = pv_handshake_peer(f->ha), *pb = pv_handshake_peer(f->hb);
    cr_assert(pv_id_equal(&pa->node_id, &f->b.identity.node_id));
    cr_assert(pv_id_equal(&pb->node_id, &f->a.identity.node_id));
    cr_assert_arr_eq(pa->pub, f->b.identity.pub, PV_PUB_LEN);
    cr_assert_eq(pa->dialled_ms, pb->dialled_ms);
    cr_assert_eq(pa->answered_ms, pb->answered_ms);
}

Test(handshake, both_sides_agree)
{
    struct fix f;
    fix_init(&f);
    f.b.ctx.handshake.role = PV_ROLE_BLIND;
    f.b.ctx.handshake.features = 0x80000001;
    pvt_env_advance(&f.b.clock, 1500);
    cr_assert_eq(run(&f), PV_OK);
    check_agreed(&f);
    const struct pv_handshake_peer *peer = pv_handshake_peer(f.ha);
    cr_assert_eq(peer->role, PV_ROLE_BLIND);
    cr_assert_eq(peer->features, 0x80000001);
    cr_assert_eq(peer->skew_ms, 1500);
    cr_assert_eq(pv_handshake_peer(f.hb)->skew_ms, -1500);
    cr_assert_eq(peer->answered_ms - peer->dialled_ms, 1500);
    cr_assert_eq(pv_handshake_refusal(f.ha), PV_REFUSED_NOT);
    fix_release(&f);
}

Test(handshake, keys_differ_from_session_to_session)
{
    struct fix f;
    uint8_t one[PV_KEY_LEN], two[PV_KEY_LEN], other[PV_KEY_LEN], hash[PV_HASH_LEN];
    fix_init(&f);
    cr_assert_eq(run(&f), PV_OK);
    pv_handshake_keys(f.ha, one, other, hash);
    cr_assert_eq(run(&f), PV_OK);
    pv_handshake_keys(f.ha, two, other, hash);
    cr_assert_neq(memcmp(one, two, sizeof one), 0);
    fix_release(&f);
}

Test(handshake, wrong_token_is_refused_by_the_listener)
{
    struct fix f;
    fix_init(&f);
    token_fill(&f.a.ctx.handshake.tokens[0], 99);
    cr_assert_eq(run(&f), PV_E_AUTH);
    cr_assert_eq(pv_handshake_refusal(f.hb), PV_REFUSED_TOKEN);
    uint8_t bytes[PV_HS_LEN_MAX];
    size_t len = 9;
    cr_assert_eq(pv_handshake_write(f.hb, bytes, &len), PV_OK);
    cr_assert_eq(len, 0, "silence");
    fix_release(&f);
}

Test(handshake, right_gate_but_other_psk)
{
    struct fix f;
    fix_init(&f);
    memset(f.a.ctx.handshake.tokens[0].psk, 3, PV_KEY_LEN);
    cr_assert_eq(run(&f), PV_E_AUTH);
    /* psk is mixed in from the first key on (psk mode), so M1's tag already fails or M3's does */
    cr_assert(pv_handshake_refusal(f.ha) == PV_REFUSED_CRYPTO ||
              pv_handshake_refusal(f.hb) == PV_REFUSED_CRYPTO);
    fix_release(&f);
}

Test(handshake, listener_takes_either_token)
{
    struct fix f;
    fix_init(&f);
    token_fill(&f.b.ctx.handshake.tokens[1], 77);
    f.b.ctx.handshake.token_count = 2;
    cr_assert_eq(run(&f), PV_OK);
    check_agreed(&f);
    token_fill(&f.a.ctx.handshake.tokens[0], 99);
    token_fill(&f.a.ctx.handshake.tokens[1], 77);
    f.a.ctx.handshake.token_count = 2;
    cr_assert_eq(run(&f), PV_E_AUTH, "the newest is not known there");
    f.dial_token = 1;
    cr_assert_eq(run(&f), PV_OK);
    check_agreed(&f);
    fix_release(&f);
}

Test(handshake, clock_window)
{
    const int64_t max = PV_SKEW_MS_DEFAULT,
                  offsets_ms[] = {-max - 1, -max, max, max + 1, 100000000000};
    for (size_t i = 0; i < PV_COUNT(offsets_ms); i++) {
        struct fix f;
        fix_init(&f);
        f.b.clock.wall_ms += (uint64_t)offsets_ms[i];
        pv_noise_static_make(&f.b.noise_static, &f.b.identity, &f.b.clock.env);
        bool inside = offsets_ms[i] >= -max && offsets_ms[i] <= max;
        enum pv_err err = run(&f);
        cr_assert_eq(err, inside ? PV_OK : PV_E_AUTH, "offset %zu", i);
        if (!inside) {
            uint8_t bytes[PV_HS_LEN_MAX];
            size_t len, other;
            cr_assert_eq(pv_handshake_refusal(f.hb), PV_REFUSED_CLOCK);
            cr_assert_eq(pv_handshake_write(f.hb, bytes, &len), PV_OK);
            cr_assert_eq(len, PV_HS_CLOCK_LEN);
            (void)pv_handshake_expects(f.ha, &other);
            cr_assert_eq(other, PV_HS_CLOCK_LEN);
            cr_assert_eq(pv_handshake_read(f.ha, bytes, len), PV_E_AUTH);
            cr_assert_eq(pv_handshake_refusal(f.ha), PV_REFUSED_CLOCK);
            cr_assert_eq(pv_handshake_skew_ms(f.ha), offsets_ms[i]);
            cr_assert_eq(pv_handshake_write(f.hb, bytes, &len), PV_OK);
            cr_assert_eq(len, 0, "answered once");
        }
        fix_release(&f);
    }
}

Test(handshake, forged_clock_message_tells_nothing)
{
    struct fix f;
    fix_init(&f);
    f.b.clock.wall_ms += 1000000;
    for (size_t at = 0; at < PV_HS_CLOCK_LEN; at++) {
        uint8_t bytes[PV_HS_LEN_MAX];
        size_t len;
        cr_assert_eq(run(&f), PV_E_AUTH);
        cr_assert_eq(pv_handshake_write(f.hb, bytes, &len), PV_OK);
        bytes[at] ^= 1;
        cr_assert_neq(pv_handshake_read(f.ha, bytes, len), PV_OK);
        cr_assert_neq(pv_handshake_refusal(f.ha), PV_REFUSED_CLOCK, "byte %zu", at);
    }
    fix_release(&f);
}

/* The clock may leave the window between M1 and M2: the dialler checks for itself. */
Test(handshake, dialler_checks_the_clock_too)
{
    struct fix f;
    uint8_t bytes[PV_HS_LEN_MAX];
    size_t len;
    fix_init(&f);
    cr_assert_eq(pv_handshake_new(&f.ha, &f.a.ctx.handshake, true, 0, NULL), PV_OK);
    cr_assert_eq(pv_handshake_new(&f.hb, &f.b.ctx.handshake, false, 0, NULL), PV_OK);
    cr_assert_eq(pv_handshake_write(f.ha, bytes, &len), PV_OK);
    cr_assert_eq(pv_handshake_read(f.hb, bytes, len), PV_OK);
    f.b.clock.wall_ms -= 400000;
    cr_assert_eq(pv_handshake_write(f.hb, bytes, &len), PV_OK);
    cr_assert_eq(pv_handshake_read(f.ha, bytes, len), PV_E_AUTH);
    cr_assert_eq(pv_handshake_refusal(f.ha), PV_REFUSED_CLOCK);
    cr_assert_eq(pv_handshake_write(f.ha, bytes, &len), PV_OK);
    cr_assert_eq(len, 0, "only M1 is answered with a clock message");
    fix_release(&f);
}

Test(handshake, replayed_first_message)
{
    struct fix f;
    struct pv_handshake *again;
    uint8_t m1[PV_HS_LEN_MAX];
    size_t len;
    fix_init(&f);
    cr_assert_eq(pv_handshake_new(&f.ha, &f.a.ctx.handshake, true, 0, NULL), PV_OK);
    cr_assert_eq(pv_handshake_write(f.ha, m1, &len), PV_OK);
    cr_assert_eq(pv_handshake_new(&f.hb, &f.b.ctx.handshake, false, 0, NULL), PV_OK);
    cr_assert_eq(pv_handshake_read(f.hb, m1, len), PV_OK);
    cr_assert_eq(pv_handshake_new(&again, &f.b.ctx.handshake, false, 0, NULL), PV_OK);
    cr_assert_eq(pv_handshake_read(again, m1, len), PV_E_AUTH);
    cr_assert_eq(pv_handshake_refusal(again), PV_REFUSED_REPLAY);
    pv_handshake_free(again);
    /* later it is too old */
    pvt_env_advance(&f.b.clock, 300001);
    cr_assert_eq(pv_handshake_new(&again, &f.b.ctx.handshake, false, 0, NULL), PV_OK);
    cr_assert_eq(pv_handshake_read(again, m1, len), PV_E_AUTH);
    cr_assert_eq(pv_handshake_refusal(again), PV_REFUSED_CLOCK);
    pv_handshake_free(again);
    fix_release(&f);
}

Test(handshake, every_byte_of_every_message_counts)
{
    const size_t lens[] = {0, PV_HS_M1_LEN, PV_HS_M2_LEN, PV_HS_M3_LEN};
    struct fix f;
    fix_init(&f);
    for (f.at = 1; f.at <= 3; f.at++) {
        for (size_t byte = 0; byte < lens[f.at]; byte++) {
            f.flip = byte * 8 + byte % 8;
            cr_assert_neq(run(&f), PV_OK, "M%u byte %zu", f.at, byte);
            struct pv_handshake *reader = f.at == 2 ? f.ha : f.hb;
            enum pv_refusal expected = byte < 4    ? PV_REFUSED_MAGIC
                                       : byte == 4 ? PV_REFUSED_LENGTH
                                       : byte < 8  ? PV_REFUSED_VERSION
                                                   : PV_REFUSED_TOKEN;
            cr_assert_eq(pv_handshake_refusal(reader), expected, "M%u byte %zu", f.at, byte);
            cr_assert_not(pv_handshake_done(reader));
        }
    }
    fix_release(&f);
}

Test(handshake, every_other_length_is_refused)
{
    const size_t lens[] = {0, PV_HS_M1_LEN, PV_HS_M2_LEN, PV_HS_M3_LEN};
    struct fix f;
    fix_init(&f);
    for (f.at = 1; f.at <= 3; f.at++) {
        for (f.cut = 1; f.cut <= lens[f.at]; f.cut++) {
            cr_assert_neq(run(&f), PV_OK);
            struct pv_handshake *reader = f.at == 2 ? f.ha : f.hb;
            cr_assert_eq(pv_handshake_refusal(reader), PV_REFUSED_LENGTH);
        }
        f.cut = 0;
    }
    uint8_t bytes[PV_HS_M1_LEN + 1] = {0};
    fix_end_handshakes(&f);
    cr_assert_eq(pv_handshake_new(&f.hb, &f.b.ctx.handshake, false, 0, NULL), PV_OK);
    cr_assert_eq(pv_handshake_read(f.hb, bytes, sizeof bytes), PV_E_PROTOCOL);
    fix_release(&f);
}

Test(handshake, expected_node)
{
    struct fix f;
    fix_init(&f);
    f.expected = &f.b.identity.node_id;
    cr_assert_eq(run(&f), PV_OK);
    struct pv_id other = f.b.identity.node_id;
    other.b[31] ^= 1;
    f.expected = &other;
    cr_assert_eq(run(&f), PV_E_AUTH);
    cr_assert_eq(pv_handshake_refusal(f.ha), PV_REFUSED_EXPECTED);
    fix_release(&f);
}

Test(handshake, ourselves)
{
    struct fix f;
    fix_init(&f);
    f.b.ctx.handshake.identity = &f.a.identity;
    f.b.ctx.handshake.noise_static = &f.a.noise_static;
    cr_assert_eq(run(&f), PV_E_AUTH);
    cr_assert_eq(pv_handshake_refusal(f.ha), PV_REFUSED_SELF);
    fix_release(&f);
}

/* A copy of the vault, in a process that is not this one. Our own key of a day ago is no twin. */
Test(handshake, another_process_of_ourselves)
{
    struct fix f;
    fix_init(&f);
    f.b.ctx.handshake.identity = &f.a.identity;
    pv_noise_static_make(&f.b.noise_static, &f.a.identity, f.b.ctx.handshake.env);
    cr_assert_eq(run(&f), PV_E_AUTH);
    cr_assert_eq(pv_handshake_refusal(f.ha), PV_REFUSED_TWIN);
    memcpy(f.a.noise_static.past_pub, f.b.noise_static.pub, PV_DH_LEN);
    cr_assert_eq(run(&f), PV_E_AUTH);
    cr_assert_eq(pv_handshake_refusal(f.ha), PV_REFUSED_SELF);
    fix_release(&f);
}

/* An insider has the token but not the seed of the node that it plays. */
Test(handshake, insider_cannot_play_another_node)
{
    struct fix f;
    struct node victim;
    fix_init(&f);
    node_init(&victim, 3);
    /* the victim's name and key, signed by the insider */
    memcpy(f.b.identity.pub, victim.identity.pub, PV_PUB_LEN);
    f.b.identity.node_id = victim.identity.node_id;
    pv_noise_static_make(&f.b.noise_static, &f.b.identity, &f.b.clock.env);
    cr_assert_eq(run(&f), PV_E_AUTH);
    cr_assert_eq(pv_handshake_refusal(f.ha), PV_REFUSED_IDENTITY);

    /* the victim's certificate as seen in a session with it, over the insider's own static key */
    memcpy(f.b.noise_static.sig, victim.noise_static.sig, PV_SIG_LEN);
    f.b.noise_static.not_before_s = victim.noise_static.not_before_s;
    f.b.noise_static.not_after_s = victim.noise_static.not_after_s;
    cr_assert_eq(run(&f), PV_E_AUTH);
    cr_assert_eq(pv_handshake_refusal(f.ha), PV_REFUSED_IDENTITY);

    /* and as a dialler */
    f.a.identity = f.b.identity;
    f.a.noise_static = f.b.noise_static;
    node_release(&f.b);
    node_init(&f.b, 2);
    cr_assert_eq(run(&f), PV_E_AUTH);
    cr_assert_eq(pv_handshake_refusal(f.hb), PV_REFUSED_IDENTITY);
    node_release(&victim);
    fix_release(&f);
}

/* ---- certificates ---- */

struct paper {
    struct node n;
    uint8_t bytes[PV_CERTIFICATE_LEN];
    struct pv_certificate_check check;
};

static void paper_write(struct paper *p)
{
    pv_certificate_write(p->bytes, &p->n.ctx.handshake, &p->n.noise_static, p->check.ts_ms);
}

static void paper_init(struct paper *p)
{
    node_init(&p->n, 1);
    p->check = (struct pv_certificate_check){
        .noise_pub = p->n.noise_static.pub,
        .ts_ms = p->n.clock.wall_ms,
        .now_ms = p->n.clock.wall_ms,
        .max_skew_ms = PV_SKEW_MS_DEFAULT,
    };
    paper_write(p);
}

Test(handshake, certificate_each_byte)
{
    struct paper p;
    struct pv_handshake_peer peer;
    paper_init(&p);
    cr_assert_eq(pv_certificate_read(&peer, p.bytes, &p.check), PV_OK);
    for (size_t i = 0; i < PV_CERTIFICATE_LEN; i++) {
        struct pv_handshake_peer untouched = {.role = 99};
        p.bytes[i] ^= 0x40;
        enum pv_err expected = i >= 4 && i < 8 ? PV_OK : PV_E_AUTH; /* feature bits are free */
        cr_assert_eq(pv_certificate_read(&untouched, p.bytes, &p.check), expected, "byte %zu", i);
        cr_assert(expected == PV_OK || untouched.role == 99);
        p.bytes[i] ^= 0x40;
    }
    node_release(&p.n);
}

Test(handshake, certificate_dates)
{
    const struct {
        int64_t before_s, after_s; /* from now */
        enum pv_err err;
    } cases[] = {
        {-3600, 6 * 86400, PV_OK},
        {-7 * 86400, 0, PV_OK},
        {-7 * 86400 - 300, -300, PV_OK},
        {-7 * 86400 - 301, -301, PV_E_AUTH},
        {300, 301, PV_OK},
        {301, 400, PV_E_AUTH},
        {-1, 7 * 86400, PV_E_AUTH},
        {10, -10, PV_E_AUTH},
        {-86400 * 400, 86400, PV_E_AUTH},
    };
    struct paper p;
    paper_init(&p);
    uint64_t now_s = p.n.clock.wall_ms / 1000;
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        struct pv_handshake_peer peer;
        struct pv_noise_static *s = &p.n.noise_static;
        s->not_before_s = now_s + (uint64_t)cases[i].before_s;
        s->not_after_s = now_s + (uint64_t)cases[i].after_s;
        uint8_t msg[17 + 32 + 16] = "PV1/noise-static";
        struct pv_wr w = pv_wr_of(msg + 17, sizeof msg - 17);
        pv_wr_bytes(&w, s->pub, PV_DH_LEN);
        pv_wr_u64(&w, s->not_before_s);
        pv_wr_u64(&w, s->not_after_s);
        pv_ed25519_sign(s->sig, p.n.identity.seed, msg, sizeof msg);
        paper_write(&p);
        cr_assert_eq(pv_certificate_read(&peer, p.bytes, &p.check), cases[i].err, "case %zu", i);
    }
    node_release(&p.n);
}

/* A node that runs for weeks is as welcome on each day as on the first. */
Test(handshake, certificate_is_made_again)
{
    struct fix f;
    struct node *n[2] = {&f.a, &f.b};
    fix_init(&f);
    for (unsigned day = 0; day < 20; day++) {
        for (unsigned i = 0; i < 2; i++) {
            uint8_t before[PV_DH_LEN];
            memcpy(before, n[i]->noise_static.pub, sizeof before);
            pvt_env_advance(&n[i]->clock, 23 * 3600 * 1000);
            bool made =
                pv_noise_static_refresh(&n[i]->noise_static, &n[i]->identity, &n[i]->clock.env);
            cr_expect_eq(made, day % 2 == 1, "day %u", day);
            cr_expect_eq(made, memcmp(before, n[i]->noise_static.pub, sizeof before) != 0);
        }
        cr_assert_eq(run(&f), PV_OK, "day %u", day);
        check_agreed(&f);
    }
    /* A machine whose clock was set right only after the start. */
    const int64_t jumps_s[] = {-7200, -30 * 86400, 30 * 86400};
    for (size_t i = 0; i < PV_COUNT(jumps_s); i++) {
        f.a.clock.wall_ms += (uint64_t)(jumps_s[i] * 1000);
        cr_expect(pv_noise_static_refresh(&f.a.noise_static, &f.a.identity, &f.a.clock.env));
        cr_expect_not(pv_noise_static_refresh(&f.a.noise_static, &f.a.identity, &f.a.clock.env));
    }
    fix_release(&f);
}

Test(handshake, certificate_of_a_small_order_key)
{
    struct paper p;
    struct pv_handshake_peer peer;
    paper_init(&p);
    /* the identity element as public key; R = identity, S = 0 verifies for almost anything */
    memset(p.n.identity.pub, 0, PV_PUB_LEN);
    p.n.identity.pub[0] = 1;
    pv_node_id_of(&p.n.identity.node_id, p.n.identity.pub);
    memset(p.n.noise_static.sig, 0, PV_SIG_LEN);
    p.n.noise_static.sig[0] = 1;
    paper_write(&p);
    cr_assert_eq(pv_certificate_read(&peer, p.bytes, &p.check), PV_E_AUTH);
    node_release(&p.n);
}

Test(handshake, out_of_memory_is_an_error)
{
    struct fix f;
    fix_init(&f);
    bool finished = false;
    for (uint64_t k = 0; !finished; k++) {
        uint8_t bytes[PV_HS_LEN_MAX];
        size_t len;
        struct pv_handshake *h = NULL;
        pv_mem_fail_after(k);
        enum pv_err err = pv_handshake_new(&h, &f.a.ctx.handshake, true, 0, NULL);
        if (err == PV_OK)
            err = pv_handshake_write(h, bytes, &len);
        pv_mem_fail_after(UINT64_MAX);
        finished = err == PV_OK;
        cr_assert(finished || err == PV_E_NOMEM);
        pv_handshake_free(h);
    }
    fix_release(&f);
}

Test(handshake, every_refusal_has_a_text)
{
    for (int r = PV_REFUSED_NOT; r <= PV_REFUSED_GONE; r++)
        cr_assert_gt(strlen(pv_refusal_text((enum pv_refusal)r)), 3);
    cr_assert_str_eq(pv_refusal_text((enum pv_refusal)99), "?");
    cr_assert_str_eq(pv_refusal_text(PV_REFUSED_TOKEN), "wrong token");
}
