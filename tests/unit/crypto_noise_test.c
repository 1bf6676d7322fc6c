#include "crypto/noise.h"
#include "internal/base/mem.h"
#include "tests/support/vectors.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

TestSuite(noise, .timeout = 60);

enum { BUF_LEN = 1024, XXPSK3 = 1U << 3 };

/* ---- public vectors ---- */

struct vector_side {
    struct pv_noise *noise;
    struct pv_aead *send, *recv;
    uint64_t sent, received;
    uint8_t hash[PV_HASH_LEN];
};

/* The psk mask of "Noise_XXpsk0+psk3_25519_AESGCM_SHA256"; false for other patterns and suites. */
static bool parse_name(const char *name, unsigned *mask)
{
    *mask = 0;
    if (strncmp(name, "Noise_XX", 8) != 0)
        return false;
    for (name += 8; strncmp(name, "psk", 3) == 0 || strncmp(name, "+psk", 4) == 0;) {
        name += *name == '+' ? 4 : 3;
        *mask |= 1U << (*name++ - '0');
    }
    return strcmp(name, "_25519_AESGCM_SHA256") == 0;
}

static void side_init(struct vector_side *side, const json_t *v, bool initiator, unsigned mask)
{
    const char *const keys[2][4] = {
        {"resp_prologue", "resp_static", "resp_ephemeral", "resp_psks"},
        {"init_prologue", "init_static", "init_ephemeral", "init_psks"},
    };
    struct pvt_bytes prologue = pvt_json_hex(v, keys[initiator][0]);
    struct pvt_bytes s = pvt_json_hex(v, keys[initiator][1]);
    struct pvt_bytes e = pvt_json_hex(v, keys[initiator][2]);
    const json_t *array = json_object_get(v, keys[initiator][3]);
    uint8_t psks[PV_NOISE_PSK_MAX][PV_KEY_LEN] = {{0}};
    cr_assert_eq(json_array_size(array), (size_t)__builtin_popcount(mask));
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *hex = json_string_value(json_array_get(array, i));
        cr_assert_eq(pv_hex_decode(psks[i], PV_KEY_LEN, hex, strlen(hex)), PV_OK);
    }
    const struct pv_noise_config config = {
        .initiator = initiator,
        .prologue = prologue.p,
        .prologue_len = prologue.len,
        .static_private = s.p,
        .ephemeral_private = e.p,
        .psk_mask = mask,
        .psks = (const uint8_t(*)[PV_KEY_LEN])psks,
    };
    *side = (struct vector_side){0};
    cr_assert_eq(pv_noise_new(&side->noise, &config), PV_OK);
    pvt_bytes_release(&prologue);
    pvt_bytes_release(&s);
    pvt_bytes_release(&e);
}

static void side_split(struct vector_side *side)
{
    uint8_t send[PV_KEY_LEN], recv[PV_KEY_LEN];
    pv_noise_split(side->noise, send, recv, side->hash);
    cr_assert_eq(pv_aead_new(&side->send, send), PV_OK);
    cr_assert_eq(pv_aead_new(&side->recv, recv), PV_OK);
}

static void side_release(struct vector_side *side)
{
    pv_noise_free(side->noise);
    pv_aead_free(side->send);
    pv_aead_free(side->recv);
}

static void transport(struct vector_side *from, struct vector_side *to,
                      const struct pvt_bytes *payload, const struct pvt_bytes *ciphertext)
{
    uint8_t nonce[PV_NONCE_LEN] = {0}, buf[BUF_LEN];
    cr_assert_eq(from->sent, to->received);
    nonce[PV_NONCE_LEN - 1] = (uint8_t)from->sent++;
    to->received++;
    pv_aead_seal(from->send, nonce, NULL, 0, payload->p, payload->len, buf);
    cr_assert(pvt_bytes_equal(ciphertext, buf, payload->len + PV_TAG_LEN));
    cr_assert_eq(pv_aead_open(to->recv, nonce, NULL, 0, buf, ciphertext->len, buf), PV_OK);
    cr_assert(pvt_bytes_equal(payload, buf, ciphertext->len - PV_TAG_LEN));
}

static void handshake(struct vector_side *from, struct vector_side *to, unsigned message,
                      const struct pvt_bytes *payload, const struct pvt_bytes *ciphertext)
{
    uint8_t buf[BUF_LEN], out[BUF_LEN];
    size_t len = 0, out_len = 0;
    const size_t overhead = pv_noise_overhead(from->noise, message);
    cr_assert_eq(pv_noise_write(from->noise, payload->p, payload->len, buf, sizeof buf, &len),
                 PV_OK);
    cr_assert(pvt_bytes_equal(ciphertext, buf, len), "message %u", message);
    cr_assert_eq(len, payload->len + overhead);
    cr_assert_eq(pv_noise_overhead(to->noise, message), overhead);
    cr_assert_eq(pv_noise_read(to->noise, buf, len, out, sizeof out, &out_len), PV_OK);
    cr_assert(pvt_bytes_equal(payload, out, out_len));
}

static void run_vector(const json_t *v, unsigned mask)
{
    struct vector_side side[2]; /* responder, initiator */
    side_init(&side[0], v, false, mask);
    side_init(&side[1], v, true, mask);
    const json_t *messages = json_object_get(v, "messages");
    cr_assert_gt(json_array_size(messages), PV_NOISE_MESSAGES, "no transport messages");
    for (unsigned i = 0; i < json_array_size(messages); i++) {
        struct pvt_bytes payload = pvt_json_hex(json_array_get(messages, i), "payload");
        struct pvt_bytes ciphertext = pvt_json_hex(json_array_get(messages, i), "ciphertext");
        struct vector_side *from = &side[i % 2 == 0], *to = &side[i % 2 != 0];
        if (i < PV_NOISE_MESSAGES)
            handshake(from, to, i, &payload, &ciphertext);
        else
            transport(from, to, &payload, &ciphertext);
        if (i == PV_NOISE_MESSAGES - 1) {
            side_split(&side[0]);
            side_split(&side[1]);
        }
        pvt_bytes_release(&payload);
        pvt_bytes_release(&ciphertext);
    }
    cr_assert_eq(memcmp(side[0].hash, side[1].hash, PV_HASH_LEN), 0);
    if (json_object_get(v, "handshake_hash") != NULL) {
        struct pvt_bytes hash = pvt_json_hex(v, "handshake_hash");
        cr_assert(pvt_bytes_equal(&hash, side[0].hash, PV_HASH_LEN));
        pvt_bytes_release(&hash);
    }
    side_release(&side[0]);
    side_release(&side[1]);
}

/* Runs every XX case of our suite; *masks gets one bit for each psk mask seen. */
static size_t run_file(const char *path, unsigned *masks, size_t *with_hash)
{
    json_t *root = pvt_json_load(path);
    const json_t *vectors = json_object_get(root, "vectors");
    size_t count = 0;
    *masks = 0;
    *with_hash = 0;
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *v = json_array_get(vectors, i);
        unsigned mask;
        if (!parse_name(pvt_json_text(v, "protocol_name"), &mask))
            continue;
        run_vector(v, mask);
        *masks |= 1U << mask;
        *with_hash += json_object_get(v, "handshake_hash") != NULL;
        count++;
    }
    json_decref(root);
    return count;
}

Test(noise, cacophony)
{
    unsigned masks;
    size_t with_hash;
    cr_assert_eq(run_file("tests/vectors/noise/cacophony.json", &masks, &with_hash), 2);
    cr_assert_eq(with_hash, 2);
    cr_assert_eq(masks, 1U << 0 | 1U << XXPSK3);
}

Test(noise, snow)
{
    unsigned masks;
    size_t with_hash;
    cr_assert_eq(run_file("tests/vectors/noise/snow.json", &masks, &with_hash), 5);
    /* none, psk0+psk1, psk0+psk2, psk0+psk3, all four */
    cr_assert_eq(masks, 1U << 0 | 1U << 3 | 1U << 5 | 1U << 9 | 1U << 15);
}

/* ---- own cases, XXpsk3 unless said ---- */

static const uint8_t psk_a[1][PV_KEY_LEN] = {{1}}, psk_b[1][PV_KEY_LEN] = {{2}};
static const uint8_t key_is[PV_DH_LEN] = {11}, key_ie[PV_DH_LEN] = {12};
static const uint8_t key_rs[PV_DH_LEN] = {13}, key_re[PV_DH_LEN] = {14};

static struct pv_noise_config config_of(bool initiator)
{
    return (struct pv_noise_config){
        .initiator = initiator,
        .prologue = "prologue",
        .prologue_len = 8,
        .static_private = initiator ? key_is : key_rs,
        .ephemeral_private = initiator ? key_ie : key_re,
        .psk_mask = XXPSK3,
        .psks = psk_a,
    };
}

struct pair {
    struct pv_noise *side[2]; /* responder, initiator */
};

static struct pair pair_of(const struct pv_noise_config *responder,
                           const struct pv_noise_config *initiator)
{
    struct pair p;
    cr_assert_eq(pv_noise_new(&p.side[0], responder), PV_OK);
    cr_assert_eq(pv_noise_new(&p.side[1], initiator), PV_OK);
    return p;
}

static struct pair pair_new(void)
{
    const struct pv_noise_config r = config_of(false), i = config_of(true);
    return pair_of(&r, &i);
}

static void pair_free(struct pair *p)
{
    pv_noise_free(p->side[0]);
    pv_noise_free(p->side[1]);
}

static struct pv_noise *writer(struct pair *p, unsigned message)
{
    return p->side[message % 2 == 0];
}

static struct pv_noise *reader(struct pair *p, unsigned message)
{
    return p->side[message % 2 != 0];
}

/* Writes message number `message` with a 5-byte payload; returns its length. */
static size_t write_next(struct pair *p, unsigned message, uint8_t buf[BUF_LEN])
{
    size_t len = 0;
    cr_assert_eq(pv_noise_write(writer(p, message), "hello", 5, buf, BUF_LEN, &len), PV_OK);
    return len;
}

static enum pv_err read_next(struct pair *p, unsigned message, const uint8_t *buf, size_t len)
{
    /* A copy of exact length, so that a read past the end is seen. */
    struct pvt_bytes exact = pvt_bytes_of_len(len);
    uint8_t out[BUF_LEN];
    size_t out_len = 0;
    memcpy(exact.p, buf, len);
    enum pv_err err = pv_noise_read(reader(p, message), exact.p, len, out, sizeof out, &out_len);
    if (err == PV_OK)
        cr_assert(out_len == 5 && memcmp(out, "hello", 5) == 0);
    pvt_bytes_release(&exact);
    return err;
}

static void exchange(struct pair *p, unsigned first, unsigned end)
{
    uint8_t buf[BUF_LEN];
    for (unsigned m = first; m < end; m++) {
        const size_t len = write_next(p, m, buf);
        cr_assert_eq(read_next(p, m, buf, len), PV_OK);
    }
}

/* After an error a state is of no use any more, to either call. */
static void check_dead(struct pv_noise *n)
{
    uint8_t buf[BUF_LEN] = {0};
    size_t len = 99;
    cr_assert_eq(pv_noise_write(n, NULL, 0, buf, sizeof buf, &len), PV_E_INVALID);
    cr_assert_eq(pv_noise_read(n, buf, 200, buf + 200, 200, &len), PV_E_INVALID);
    cr_assert_eq(len, 99);
    cr_assert_null(pv_noise_remote_static(n));
}

Test(noise, both_sides_agree_and_learn_the_other_key)
{
    struct pair p = pair_new();
    uint8_t pub[PV_DH_LEN], keys[4][PV_KEY_LEN], hash[2][PV_HASH_LEN];
    exchange(&p, 0, 1);
    cr_assert_null(pv_noise_remote_static(p.side[0]));
    cr_assert_null(pv_noise_remote_static(p.side[1]));
    exchange(&p, 1, 2);
    pv_x25519_public(pub, key_rs);
    cr_assert_eq(memcmp(pv_noise_remote_static(p.side[1]), pub, sizeof pub), 0);
    cr_assert_null(pv_noise_remote_static(p.side[0]));
    exchange(&p, 2, 3);
    pv_x25519_public(pub, key_is);
    cr_assert_eq(memcmp(pv_noise_remote_static(p.side[0]), pub, sizeof pub), 0);
    pv_noise_split(p.side[0], keys[0], keys[1], hash[0]);
    pv_noise_split(p.side[1], keys[2], keys[3], hash[1]);
    cr_assert_eq(memcmp(keys[0], keys[3], PV_KEY_LEN), 0);
    cr_assert_eq(memcmp(keys[1], keys[2], PV_KEY_LEN), 0);
    cr_assert_neq(memcmp(keys[0], keys[1], PV_KEY_LEN), 0);
    cr_assert_eq(memcmp(hash[0], hash[1], PV_HASH_LEN), 0);
    pair_free(&p);
}

/* What the frames of the handshake are built from. */
Test(noise, overheads_of_xxpsk3)
{
    struct pair p = pair_new();
    cr_assert_eq(pv_noise_overhead(p.side[0], 0), 48);
    cr_assert_eq(pv_noise_overhead(p.side[0], 1), 96);
    cr_assert_eq(pv_noise_overhead(p.side[0], 2), 64);
    pair_free(&p);
}

Test(noise, every_flipped_byte_of_every_message_is_refused)
{
    uint8_t buf[BUF_LEN];
    for (unsigned m = 0; m < PV_NOISE_MESSAGES; m++) {
        size_t len = 1;
        for (size_t i = 0; i < len; i++) {
            struct pair p = pair_new();
            exchange(&p, 0, m);
            len = write_next(&p, m, buf);
            buf[i] ^= 0x80; /* of the last byte of e: a bit that X25519 itself ignores */
            cr_assert_eq(read_next(&p, m, buf, len), PV_E_AUTH, "message %u byte %zu", m, i);
            check_dead(reader(&p, m));
            pair_free(&p);
        }
        cr_assert_gt(len, 48);
    }
}

Test(noise, every_truncation_of_every_message_is_refused)
{
    uint8_t buf[BUF_LEN];
    for (unsigned m = 0; m < PV_NOISE_MESSAGES; m++) {
        size_t len = 1;
        for (size_t cut = 0; cut < len; cut++) {
            struct pair p = pair_new();
            exchange(&p, 0, m);
            len = write_next(&p, m, buf);
            const enum pv_err expected =
                cut < pv_noise_overhead(p.side[0], m) ? PV_E_PROTOCOL : PV_E_AUTH;
            cr_assert_eq(read_next(&p, m, buf, cut), expected, "message %u cut %zu", m, cut);
            check_dead(reader(&p, m));
            pair_free(&p);
        }
        cr_assert_gt(len, 48);
    }
}

Test(noise, another_psk_fails_in_the_last_message)
{
    struct pv_noise_config r = config_of(false), i = config_of(true);
    uint8_t buf[BUF_LEN];
    r.psks = psk_b;
    struct pair p = pair_of(&r, &i);
    exchange(&p, 0, 2);
    const size_t len = write_next(&p, 2, buf);
    cr_assert_eq(read_next(&p, 2, buf, len), PV_E_AUTH);
    check_dead(p.side[0]);
    pair_free(&p);
}

Test(noise, another_prologue_fails_in_the_first_message)
{
    struct pv_noise_config r = config_of(false), i = config_of(true);
    uint8_t buf[BUF_LEN];
    r.prologue_len--;
    struct pair p = pair_of(&r, &i);
    const size_t len = write_next(&p, 0, buf);
    cr_assert_eq(read_next(&p, 0, buf, len), PV_E_AUTH);
    pair_free(&p);
}

/* Without a psk nothing protects e, and a low-order one must fail in the DH itself. */
Test(noise, a_low_order_ephemeral_is_refused)
{
    struct pv_noise_config r = config_of(false), i = config_of(true);
    r.psk_mask = i.psk_mask = 0;
    struct pair p = pair_of(&r, &i);
    uint8_t buf[BUF_LEN];
    cr_assert_eq(pv_noise_overhead(p.side[0], 0), 32);
    const size_t len = write_next(&p, 0, buf);
    memset(buf, 0, PV_DH_LEN);
    cr_assert_eq(read_next(&p, 0, buf, len), PV_OK);
    size_t out_len = 99;
    cr_assert_eq(pv_noise_write(p.side[0], NULL, 0, buf, sizeof buf, &out_len), PV_E_AUTH);
    cr_assert_eq(out_len, 99);
    check_dead(p.side[0]);
    pair_free(&p);
}

Test(noise, calls_out_of_turn_are_refused)
{
    uint8_t buf[BUF_LEN] = {0};
    size_t len;
    for (unsigned m = 0; m <= PV_NOISE_MESSAGES; m++) {
        struct pair p = pair_new();
        exchange(&p, 0, m);
        cr_assert_eq(pv_noise_write(reader(&p, m), NULL, 0, buf, sizeof buf, &len), PV_E_INVALID);
        cr_assert_eq(pv_noise_read(writer(&p, m), buf, 96, buf + 96, 96, &len), PV_E_INVALID);
        check_dead(p.side[0]);
        check_dead(p.side[1]);
        pair_free(&p);
    }
    struct pair p = pair_new(); /* a fourth message */
    exchange(&p, 0, PV_NOISE_MESSAGES);
    cr_assert_eq(pv_noise_write(p.side[0], NULL, 0, buf, sizeof buf, &len), PV_E_INVALID);
    pair_free(&p);
}

Test(noise, sending_without_a_static_key_is_refused)
{
    struct pv_noise_config r = config_of(false), i = config_of(true);
    i.static_private = NULL;
    struct pair p = pair_of(&r, &i);
    uint8_t buf[BUF_LEN];
    size_t len;
    exchange(&p, 0, 2); /* reading needs none */
    cr_assert_eq(pv_noise_write(p.side[1], NULL, 0, buf, sizeof buf, &len), PV_E_INVALID);
    check_dead(p.side[1]);
    pair_free(&p);
}

Test(noise, buffers_at_their_limit_and_one_less)
{
    uint8_t buf[53], out[5];
    size_t len = 0;
    struct pair p = pair_new();
    cr_assert_eq(pv_noise_write(p.side[1], "hello", 5, buf, 53, &len), PV_OK);
    cr_assert_eq(len, 53);
    cr_assert_eq(pv_noise_read(p.side[0], buf, len, out, 5, &len), PV_OK);
    cr_assert_eq(len, 5);
    pair_free(&p);
    p = pair_new();
    cr_assert_eq(pv_noise_write(p.side[1], "hello", 5, buf, 52, &len), PV_E_LIMIT);
    check_dead(p.side[1]);
    pair_free(&p);
    p = pair_new();
    cr_assert_eq(pv_noise_write(p.side[1], "hello", 5, buf, 53, &len), PV_OK);
    cr_assert_eq(pv_noise_read(p.side[0], buf, len, out, 4, &len), PV_E_LIMIT);
    check_dead(p.side[0]);
    pair_free(&p);
}

Test(noise, messages_end_at_65535_bytes)
{
    struct pvt_bytes payload = pvt_bytes_of_len(65535 - 48 + 1);
    struct pvt_bytes message = pvt_bytes_of_len(65536), out = pvt_bytes_of_len(65536);
    size_t len = 0;
    struct pair p = pair_new();
    cr_assert_eq(
        pv_noise_write(p.side[1], payload.p, payload.len - 1, message.p, message.len, &len), PV_OK);
    cr_assert_eq(len, 65535);
    cr_assert_eq(pv_noise_read(p.side[0], message.p, len, out.p, out.len, &len), PV_OK);
    pair_free(&p);
    p = pair_new();
    cr_assert_eq(pv_noise_write(p.side[1], payload.p, payload.len, message.p, SIZE_MAX, &len),
                 PV_E_LIMIT);
    cr_assert_eq(pv_noise_read(p.side[0], message.p, 65536, out.p, out.len, &len), PV_E_PROTOCOL);
    pair_free(&p);
    pvt_bytes_release(&payload);
    pvt_bytes_release(&message);
    pvt_bytes_release(&out);
}

Test(noise, lack_of_memory_is_reported)
{
    const struct pv_noise_config config = config_of(true);
    struct pv_noise *n = NULL;
    enum pv_err err = PV_E_NOMEM;
    for (uint64_t k = 0; err != PV_OK; k++) {
        cr_assert_lt(k, 10);
        /* The thread's hash contexts are made at the first hash, and are no part of this. */
        uint8_t warm[PV_HASH_LEN];
        pv_sha256(warm, NULL, 0);
        pv_mem_fail_after(k);
        err = pv_noise_new(&n, &config);
        pv_mem_fail_after(UINT64_MAX);
        cr_assert(err == PV_OK ? k > 0 : err == PV_E_NOMEM && n == NULL);
    }
    pv_noise_free(n);
    pv_noise_free(NULL);
}

Test(noise, split_before_the_end_is_our_own_mistake, .signal = SIGABRT)
{
    struct pair p = pair_new();
    uint8_t out[3][PV_KEY_LEN];
    exchange(&p, 0, 2);
    pv_noise_split(p.side[0], out[0], out[1], out[2]);
}
