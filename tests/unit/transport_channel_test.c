#include "tests/unit/transport_fixture.h"

TestSuite(channel, .timeout = 10);

enum { FRAME_LEN = PV_FRAME_HEADER_LEN + 8 + PV_TAG_LEN };

struct pair {
    struct pv_channel *a, *b;
};

static struct pair pair_new(unsigned rekey_log2)
{
    uint8_t one[PV_KEY_LEN], two[PV_KEY_LEN];
    struct pair p;
    pv_crypto_init();
    memset(one, 1, sizeof one);
    memset(two, 2, sizeof two);
    cr_assert_eq(pv_channel_new(&p.a, one, two, rekey_log2), PV_OK);
    cr_assert_eq(pv_channel_new(&p.b, two, one, rekey_log2), PV_OK);
    return p;
}

static void pair_free(struct pair *p)
{
    pv_channel_free(p->a);
    pv_channel_free(p->b);
}

static void seal(struct pv_channel *c, uint64_t what, uint8_t frame[static FRAME_LEN])
{
    pv_channel_seal(c, PV_FRAME_MESSAGE, &what, sizeof what, frame);
}

static enum pv_err open_frame(struct pv_channel *c, const uint8_t frame[static FRAME_LEN],
                              uint64_t *what)
{
    uint8_t copy[FRAME_LEN];
    memcpy(copy, frame, sizeof copy);
    enum pv_err err =
        pv_channel_open(c, copy, copy + PV_FRAME_HEADER_LEN, FRAME_LEN - PV_FRAME_HEADER_LEN);
    memcpy(what, copy + PV_FRAME_HEADER_LEN, sizeof *what);
    return err;
}

Test(channel, many_frames_over_many_keys)
{
    struct pair p = pair_new(2);
    for (uint64_t i = 0; i < 100; i++) {
        uint8_t there[FRAME_LEN], back[FRAME_LEN];
        uint64_t got;
        seal(p.a, i, there);
        cr_assert_eq(open_frame(p.b, there, &got), PV_OK, "frame %zu", (size_t)i);
        cr_assert_eq(got, i);
        seal(p.b, ~i, back);
        cr_assert_eq(open_frame(p.a, back, &got), PV_OK);
        cr_assert_eq(got, ~i);
    }
    cr_assert_eq(pv_channel_sent(p.a), 100);
    cr_assert_eq(pv_channel_received(p.a), 100);
    pair_free(&p);
}

/* The key changes exactly before frame 4, and by the rule in the header. */
Test(channel, rekey_is_where_and_what_the_document_says)
{
    struct pair p = pair_new(2);
    uint8_t key[PV_KEY_LEN], frame[FRAME_LEN], next[PV_KEY_LEN + PV_TAG_LEN] = {0};
    uint8_t nonce[PV_NONCE_LEN] = {0};
    struct pv_aead *plain;
    memset(key, 1, sizeof key);
    cr_assert_eq(pv_aead_new(&plain, key), PV_OK);
    for (uint8_t n = 0; n < 9; n++) {
        if (n == 4 || n == 8) {
            uint8_t last[PV_NONCE_LEN] = {0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255};
            memset(next, 0, sizeof next);
            pv_aead_seal(plain, last, NULL, 0, next, PV_KEY_LEN, next);
            pv_aead_rekey(plain, next);
        }
        nonce[PV_NONCE_LEN - 1] = n;
        uint64_t got;
        seal(p.a, 77, frame);
        cr_assert_eq(pv_aead_open(plain, nonce, frame, PV_FRAME_HEADER_LEN,
                                  frame + PV_FRAME_HEADER_LEN, 8 + PV_TAG_LEN, (uint8_t *)&got),
                     PV_OK, "frame %u", n);
        cr_assert_eq(got, 77);
    }
    pv_aead_free(plain);
    pair_free(&p);
}

Test(channel, replayed_and_reordered_and_lost_frames_fail)
{
    uint8_t one[FRAME_LEN], two[FRAME_LEN];
    uint64_t got;
    struct pair p = pair_new(16);
    seal(p.a, 1, one);
    cr_assert_eq(open_frame(p.b, one, &got), PV_OK);
    cr_assert_eq(open_frame(p.b, one, &got), PV_E_AUTH, "replayed");
    pair_free(&p);

    p = pair_new(16);
    seal(p.a, 1, one);
    seal(p.a, 2, two);
    cr_assert_eq(open_frame(p.b, two, &got), PV_E_AUTH, "reordered or first one lost");
    pair_free(&p);
}

Test(channel, reflected_frame_fails)
{
    uint8_t frame[FRAME_LEN];
    uint64_t got;
    struct pair p = pair_new(16);
    seal(p.a, 1, frame);
    cr_assert_eq(open_frame(p.a, frame, &got), PV_E_AUTH);
    pair_free(&p);
}

Test(channel, every_flipped_bit_fails)
{
    for (size_t bit = 0; bit < FRAME_LEN * 8; bit++) {
        uint8_t frame[FRAME_LEN];
        uint64_t got;
        struct pair p = pair_new(16);
        seal(p.a, 1, frame);
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(open_frame(p.b, frame, &got), PV_E_AUTH, "bit %zu", bit);
        pair_free(&p);
    }
}

Test(channel, sizes)
{
    static uint8_t in[PV_FRAME_PLAIN_MAX];
    static uint8_t frame[PV_FRAME_HEADER_LEN + PV_FRAME_SEALED_MAX];
    const size_t sizes[] = {0, 1, 15, 16, 17, PV_FRAME_PLAIN_MAX};
    struct pair p = pair_new(16);
    memset(in, 9, sizeof in);
    for (size_t i = 0; i < PV_COUNT(sizes); i++) {
        struct pv_frame_header h;
        memcpy(frame + PV_FRAME_HEADER_LEN, in, sizes[i]); /* in place */
        pv_channel_seal(p.a, PV_FRAME_STREAM, frame + PV_FRAME_HEADER_LEN, sizes[i], frame);
        cr_assert_eq(pv_frame_header_decode(&h, frame, 16, PV_FRAME_SEALED_MAX), PV_OK);
        cr_assert_eq(h.type, PV_FRAME_STREAM);
        cr_assert_eq(h.len, sizes[i] + PV_TAG_LEN);
        cr_assert_eq(pv_channel_open(p.b, frame, frame + PV_FRAME_HEADER_LEN, h.len), PV_OK);
        cr_assert_arr_eq(frame + PV_FRAME_HEADER_LEN, in, sizes[i]);
    }
    /* less than a tag */
    cr_assert_eq(pv_channel_open(p.b, frame, frame + PV_FRAME_HEADER_LEN, 15), PV_E_AUTH);
    pair_free(&p);
}

Test(channel, out_of_memory)
{
    uint8_t key[PV_KEY_LEN] = {0};
    pv_crypto_init();
    for (uint64_t k = 0;; k++) {
        struct pv_channel *c = NULL;
        pv_mem_fail_after(k);
        enum pv_err err = pv_channel_new(&c, key, key, 16);
        pv_mem_fail_after(UINT64_MAX);
        if (err == PV_OK) {
            pv_channel_free(c);
            cr_assert_gt(k, 0);
            return;
        }
        cr_assert_eq(err, PV_E_NOMEM);
    }
}
