#include "crypto/blob.h"
#include "tests/unit/transport_fixture.h"

TestSuite(msg, .timeout = 30);

static uint8_t buffer[PV_FRAME_PLAIN_MAX];

static struct pv_id ids[PV_MSG_IDS_MAX + 1];
static struct pv_id got_ids[PV_MSG_IDS_MAX];

static void fill_ids(void)
{
    for (size_t i = 0; i < PV_COUNT(ids); i++) {
        memset(ids[i].b, (int)(i % 251), PV_ID_LEN);
        ids[i].b[0] = (uint8_t)(i >> 8);
    }
}

/* Decodes whatever the message is, as a node would. */
static enum pv_err decode(const uint8_t *bytes, size_t len)
{
    static struct pv_msg_digest digest;
    static struct pv_offer offers[PV_MSG_IDS_MAX];
    static struct pv_want wants[PV_MSG_WANTS_MAX];
    struct pv_rd r = pv_rd_of(bytes, len);
    size_t count;
    uint32_t number;
    uint64_t n;
    uint16_t code;
    uint8_t small;
    switch (pv_rd_u8(&r)) {
    case PV_MSG_HELLO:
        return pv_msg_get_hello(&r, &(struct pv_msg_hello){0});
    case PV_MSG_PING:
    case PV_MSG_PONG:
        return pv_msg_get_ping(&r, &(struct pv_msg_ping){0});
    case PV_MSG_STORE:
        return pv_msg_get_store(&r, offers, &count);
    case PV_MSG_WANT:
    case PV_MSG_FETCH:
        return pv_msg_get_wants(&r, wants, &count);
    case PV_MSG_STORED:
        return pv_msg_get_stored(&r, &small, got_ids, &count);
    case PV_MSG_GET:
    case PV_MSG_FOUND:
    case PV_MSG_NOT_FOUND:
    case PV_MSG_FULL:
    case PV_MSG_LOST:
        return pv_msg_get_ids(&r, &number, got_ids, &count);
    case PV_MSG_CANCEL:
        return pv_msg_get_cancel(&r, &number);
    case PV_MSG_DIGEST:
        return pv_msg_get_digest(&r, &digest);
    case PV_MSG_RECORD: {
        const uint8_t *env = bytes;
        enum pv_err err = PV_OK;
        while (err == PV_OK && env != NULL)
            err = pv_msg_next_record(&r, &env, &count);
        return err;
    }
    case PV_MSG_ERROR:
        return pv_msg_get_error(&r, &code, (char[PV_MSG_TEXT_MAX + 1]){0});
    case PV_MSG_GOODBYE:
        return pv_msg_get_goodbye(&r, &small, &n);
    default:
        return PV_E_PROTOCOL;
    }
}

/* A copy of exactly len bytes, so that a read past the end is caught by the sanitizer. */
static enum pv_err decode_exact(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = pv_memdup(bytes, len);
    enum pv_err err = decode(copy, len);
    pv_free(copy);
    return err;
}

/* Whole: right. Cut anywhere, or one byte more: wrong. ends: lengths at which it is whole too. */
static void check_lengths_but(const struct pv_wr *w, size_t also)
{
    size_t len = pv_wr_len(w);
    cr_assert_eq(pv_wr_end(w), PV_OK);
    cr_assert_eq(decode_exact(buffer, len), PV_OK);
    size_t step = len > 4096 ? 97 : 1;
    for (size_t cut = 0; cut < len; cut += step)
        if (cut != also)
            cr_assert_eq(decode_exact(buffer, cut), PV_E_PROTOCOL, "%s cut to %zu",
                         pv_msg_name(buffer[0]), cut);
    cr_assert_eq(decode_exact(buffer, len - 1), PV_E_PROTOCOL);
    if (len < sizeof buffer) {
        buffer[len] = 0;
        cr_assert_eq(decode_exact(buffer, len + 1), PV_E_PROTOCOL);
    }
}

static void check_lengths(const struct pv_wr *w)
{
    check_lengths_but(w, SIZE_MAX);
}

static struct pv_wr begin(void)
{
    return pv_wr_of(buffer, sizeof buffer);
}

static struct pv_rd body(const struct pv_wr *w)
{
    return pv_rd_of(w->start + 1, pv_wr_len(w) - 1);
}

static struct pv_msg_hello a_hello(uint8_t proofs)
{
    struct pv_msg_hello m = {.version = 1,
                             .features = 0xa0b0c0d0,
                             .role = PV_ROLE_KEYED,
                             .open_count = 77,
                             .listen_port = 3000,
                             .proof_count = proofs};
    memset(m.store_uuid, 5, sizeof m.store_uuid);
    memset(m.boot_random, 6, sizeof m.boot_random);
    for (uint8_t i = 0; i < proofs; i++) {
        memset(m.proofs[i].kid.b, i, PV_KID_LEN);
        memset(m.proofs[i].proof, i + 1, sizeof m.proofs[i].proof);
    }
    return m;
}

Test(msg, hello)
{
    for (uint8_t proofs = 0; proofs <= PV_HELLO_PROOFS_MAX; proofs += 8) {
        struct pv_msg_hello in = a_hello(proofs), out;
        struct pv_wr w = begin();
        pv_msg_put_hello(&w, &in);
        cr_assert_eq(pv_wr_len(&w), 51U + 40U * proofs);
        struct pv_rd r = body(&w);
        cr_assert_eq(pv_msg_get_hello(&r, &out), PV_OK);
        cr_assert_eq(out.version, 1);
        cr_assert_eq(out.features, in.features);
        cr_assert_eq(out.role, in.role);
        cr_assert_eq(out.open_count, 77);
        cr_assert_eq(out.listen_port, 3000);
        cr_assert_eq(out.proof_count, proofs);
        cr_assert_arr_eq(out.store_uuid, in.store_uuid, 16);
        cr_assert_arr_eq(out.boot_random, in.boot_random, 16);
        for (size_t i = 0; i < proofs; i++) {
            cr_assert_arr_eq(out.proofs[i].kid.b, in.proofs[i].kid.b, PV_KID_LEN);
            cr_assert_arr_eq(out.proofs[i].proof, in.proofs[i].proof, 32);
        }
        check_lengths(&w);
    }
}

Test(msg, hello_values)
{
    struct pv_msg_hello m = a_hello(0);
    struct pv_wr w = begin();
    m.version = 0;
    pv_msg_put_hello(&w, &m);
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL);
    for (uint8_t role = 0; role < 4; role++) {
        m = a_hello(0);
        m.role = role;
        w = begin();
        pv_msg_put_hello(&w, &m);
        cr_assert_eq(decode(buffer, pv_wr_len(&w)), role == 1 || role == 2 ? PV_OK : PV_E_PROTOCOL);
    }
    m = a_hello(PV_HELLO_PROOFS_MAX);
    w = begin();
    pv_msg_put_hello(&w, &m);
    buffer[50] = PV_HELLO_PROOFS_MAX + 1;
    cr_assert_eq(decode(buffer, pv_wr_len(&w) + 40), PV_E_PROTOCOL);
}

Test(msg, ping_and_pong)
{
    const uint8_t types[] = {PV_MSG_PING, PV_MSG_PONG};
    for (size_t i = 0; i < 2; i++) {
        struct pv_msg_ping in = {0x1122334455667788, 99}, out;
        struct pv_wr w = begin();
        pv_msg_put_ping(&w, types[i], &in);
        struct pv_rd r = body(&w);
        cr_assert_eq(pv_msg_get_ping(&r, &out), PV_OK);
        cr_assert_eq(out.cookie, in.cookie);
        cr_assert_eq(out.wall_ms, 99);
        check_lengths(&w);
    }
}

Test(msg, store)
{
    static struct pv_offer in[PV_MSG_IDS_MAX], out[PV_MSG_IDS_MAX];
    const size_t counts[] = {0, 1, 3, PV_MSG_IDS_MAX};
    for (size_t i = 0; i < PV_MSG_IDS_MAX; i++) {
        memset(in[i].id.b, (int)(i % 200), PV_ID_LEN);
        in[i].kind = (uint8_t)(i % 3);
        in[i].size = (uint32_t)(PV_BLOB_LEN_MIN + i);
    }
    in[0].size = PV_BLOB_LEN_MAX;
    for (size_t c = 0; c < PV_COUNT(counts); c++) {
        struct pv_wr w = begin();
        size_t count = 9999;
        pv_msg_put_store(&w, in, counts[c]);
        struct pv_rd r = body(&w);
        cr_assert_eq(pv_msg_get_store(&r, out, &count), PV_OK);
        cr_assert_eq(count, counts[c]);
        for (size_t i = 0; i < count; i++) {
            cr_assert(pv_id_equal(&in[i].id, &out[i].id));
            cr_assert_eq(in[i].kind, out[i].kind);
            cr_assert_eq(in[i].size, out[i].size);
        }
        check_lengths(&w);
    }
}

Test(msg, store_values)
{
    struct pv_offer good = {.kind = PV_BLOB_NODE, .size = PV_BLOB_LEN_MIN};
    struct pv_offer bad[3] = {good, good, good};
    bad[0].kind = PV_BLOB_NODE + 1;
    bad[1].size = PV_BLOB_LEN_MIN - 1;
    bad[2].size = PV_BLOB_LEN_MAX + 1;
    for (size_t i = 0; i < PV_COUNT(bad); i++) {
        struct pv_wr w = begin();
        pv_msg_put_store(&w, &bad[i], 1);
        cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL, "case %zu", i);
    }
}

Test(msg, want_and_fetch)
{
    const uint8_t types[] = {PV_MSG_WANT, PV_MSG_FETCH};
    struct pv_want in[PV_MSG_WANTS_MAX], out[PV_MSG_WANTS_MAX];
    for (uint32_t i = 0; i < PV_MSG_WANTS_MAX; i++) {
        memset(in[i].id.b, (int)i, PV_ID_LEN);
        in[i].offset = i * 1000;
        in[i].stream = UINT32_MAX - i;
    }
    in[1].offset = PV_BLOB_LEN_MAX - 1;
    for (size_t i = 0; i < 2; i++) {
        for (size_t n = 1; n <= PV_MSG_WANTS_MAX; n += 63) {
            struct pv_wr w = begin();
            size_t count = 0;
            pv_msg_put_wants(&w, types[i], in, n);
            struct pv_rd r = body(&w);
            cr_assert_eq(pv_msg_get_wants(&r, out, &count), PV_OK);
            cr_assert_eq(count, n);
            for (size_t k = 0; k < n; k++) {
                cr_assert(pv_id_equal(&in[k].id, &out[k].id));
                cr_assert_eq(in[k].offset, out[k].offset);
                cr_assert_eq(in[k].stream, out[k].stream);
            }
            check_lengths(&w);
        }
    }
    in[0].offset = PV_BLOB_LEN_MAX;
    struct pv_wr w = begin();
    pv_msg_put_wants(&w, PV_MSG_WANT, in, 1);
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL);
}

Test(msg, stored)
{
    fill_ids();
    for (uint8_t what = 0; what < 4; what++) {
        struct pv_wr w = begin();
        uint8_t got = 99;
        size_t count = 99;
        pv_msg_put_stored(&w, PV_STORED_BLOBS, ids, 3);
        buffer[1] = what;
        struct pv_rd r = body(&w);
        bool valid = what == PV_STORED_BLOBS || what == PV_STORED_RECORDS;
        cr_assert_eq(pv_msg_get_stored(&r, &got, got_ids, &count), valid ? PV_OK : PV_E_PROTOCOL);
        cr_assert_eq(got, valid ? what : 99);
        cr_assert_eq(count, valid ? 3 : 99);
        if (valid)
            check_lengths(&w);
    }
}

Test(msg, id_lists)
{
    const uint8_t types[] = {PV_MSG_GET, PV_MSG_FOUND, PV_MSG_NOT_FOUND, PV_MSG_FULL, PV_MSG_LOST};
    const size_t counts[] = {0, 1, PV_MSG_IDS_MAX};
    fill_ids();
    for (size_t i = 0; i < PV_COUNT(types); i++) {
        for (size_t c = 0; c < PV_COUNT(counts); c++) {
            struct pv_wr w = begin();
            uint32_t request = 0;
            size_t count = 99;
            pv_msg_put_ids(&w, types[i], 0xdeadbeef, ids, counts[c]);
            struct pv_rd r = body(&w);
            cr_assert_eq(pv_msg_get_ids(&r, &request, got_ids, &count), PV_OK);
            cr_assert_eq(request, 0xdeadbeef);
            cr_assert_eq(count, counts[c]);
            cr_assert(count == 0 || memcmp(ids, got_ids, count * sizeof *ids) == 0);
            check_lengths(&w);
        }
    }
}

/* One entry more than allowed, all of it there; and counts that promise more than there is. */
Test(msg, counts_beyond_the_limit)
{
    const struct {
        uint8_t type;
        uint8_t count_at; /* of the u16 */
        uint16_t item_len;
        uint32_t max;
    } lists[] = {
        {PV_MSG_STORE, 1, 37, PV_MSG_IDS_MAX},      {PV_MSG_WANT, 1, 40, PV_MSG_WANTS_MAX},
        {PV_MSG_FETCH, 1, 40, PV_MSG_WANTS_MAX},    {PV_MSG_STORED, 2, 32, PV_MSG_IDS_MAX},
        {PV_MSG_GET, 5, 32, PV_MSG_IDS_MAX},        {PV_MSG_LOST, 5, 32, PV_MSG_IDS_MAX},
        {PV_MSG_DIGEST, 4, 20, PV_MSG_BUCKETS_MAX}, {PV_MSG_DIGEST, 5, 32, PV_MSG_HASHES_MAX},
    };
    for (size_t i = 0; i < PV_COUNT(lists); i++) {
        memset(buffer, 1, sizeof buffer);
        buffer[0] = lists[i].type;
        if (lists[i].type == PV_MSG_DIGEST) {
            buffer[1] = lists[i].count_at == 4 ? PV_DIGEST_BUCKET_LIST : PV_DIGEST_HASH_LIST;
            buffer[2] = buffer[3] = 0;
        }
        struct pv_wr w = pv_wr_of(buffer + lists[i].count_at, 2);
        pv_wr_u16(&w, (uint16_t)(lists[i].max + 1));
        size_t len = lists[i].count_at + 2U + (lists[i].max + 1) * (size_t)lists[i].item_len;
        cr_assert_leq(len, sizeof buffer);
        cr_assert_eq(decode(buffer, len), PV_E_PROTOCOL, "list %zu", i);
        memset(buffer + lists[i].count_at, 0xff, 2);
        cr_assert_eq(decode(buffer, len), PV_E_PROTOCOL, "list %zu", i);
    }
}

Test(msg, cancel)
{
    struct pv_wr w = begin();
    uint32_t stream = 0;
    pv_msg_put_cancel(&w, 0x01020304);
    struct pv_rd r = body(&w);
    cr_assert_eq(pv_msg_get_cancel(&r, &stream), PV_OK);
    cr_assert_eq(stream, 0x01020304);
    check_lengths(&w);
}

Test(msg, digest_root)
{
    static struct pv_msg_digest m;
    uint8_t root[32];
    memset(root, 9, sizeof root);
    struct pv_wr w = begin();
    pv_msg_put_digest_root(&w, root);
    struct pv_rd r = body(&w);
    cr_assert_eq(pv_msg_get_digest(&r, &m), PV_OK);
    cr_assert_eq(m.kind, PV_DIGEST_ROOT);
    cr_assert_arr_eq(m.root, root, sizeof root);
    check_lengths(&w);
    buffer[1] = 0;
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL);
    buffer[1] = 4;
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL);
}

Test(msg, digest_buckets)
{
    static struct pv_msg_digest m;
    static struct pv_bucket in[PV_MSG_BUCKETS_MAX];
    for (uint32_t i = 0; i < PV_MSG_BUCKETS_MAX; i++) {
        in[i].count = i * 3;
        memset(in[i].sum, (int)(i % 256), sizeof in[i].sum);
    }
    const struct {
        uint16_t first;
        size_t count;
    } cases[] = {{0, PV_MSG_BUCKETS_MAX}, {PV_MSG_BUCKETS_MAX, PV_MSG_BUCKETS_MAX}, {4095, 1}};
    for (size_t c = 0; c < PV_COUNT(cases); c++) {
        struct pv_wr w = begin();
        pv_msg_put_digest_buckets(&w, cases[c].first, in, cases[c].count);
        struct pv_rd r = body(&w);
        cr_assert_eq(pv_msg_get_digest(&r, &m), PV_OK);
        cr_assert_eq(m.kind, PV_DIGEST_BUCKET_LIST);
        cr_assert_eq(m.first, cases[c].first);
        cr_assert_eq(m.count, cases[c].count);
        cr_assert_eq(memcmp(m.buckets, in, m.count * sizeof *in), 0);
        check_lengths(&w);
    }
    struct pv_wr w = begin();
    pv_msg_put_digest_buckets(&w, 4094, in, 2);
    buffer[3]++; /* 4095 + 2 passes the end */
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL);
    buffer[2] = 0x10;
    buffer[3] = 0; /* first = 4096 */
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL);
    w = begin();
    pv_msg_put_digest_buckets(&w, 0, in, 0);
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL, "no bucket at all");
}

Test(msg, digest_hashes)
{
    static struct pv_msg_digest m;
    const size_t counts[] = {0, 1, PV_MSG_HASHES_MAX};
    fill_ids();
    for (size_t c = 0; c < PV_COUNT(counts); c++) {
        struct pv_wr w = begin();
        pv_msg_put_digest_hashes(&w, 4095, c == 1, ids, counts[c]);
        struct pv_rd r = body(&w);
        cr_assert_eq(pv_msg_get_digest(&r, &m), PV_OK);
        cr_assert_eq(m.kind, PV_DIGEST_HASH_LIST);
        cr_assert_eq(m.first, 4095);
        cr_assert_eq(m.last, c == 1);
        cr_assert_eq(m.count, counts[c]);
        cr_assert(m.count == 0 || memcmp(m.hashes, ids, m.count * sizeof *ids) == 0);
        check_lengths(&w);
    }
    struct pv_wr w = begin();
    pv_msg_put_digest_hashes(&w, 1, true, ids, 1);
    buffer[4] = 2;
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL, "last is a bool");
    buffer[4] = 1;
    buffer[2] = 0x10;
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL, "bucket 4096");
}

Test(msg, records)
{
    static uint8_t env[PV_RECORD_LEN_MAX];
    const uint8_t *got;
    size_t len;
    memset(env, 4, sizeof env);
    struct pv_wr w = begin();
    pv_msg_begin_records(&w);
    pv_msg_add_record(&w, env, PV_RECORD_LEN_MIN);
    size_t whole = pv_wr_len(&w);
    pv_msg_add_record(&w, env, 1000);
    struct pv_rd r = body(&w);
    cr_assert_eq(pv_msg_next_record(&r, &got, &len), PV_OK);
    cr_assert_eq(len, PV_RECORD_LEN_MIN);
    cr_assert_arr_eq(got, env, len);
    cr_assert_eq(pv_msg_next_record(&r, &got, &len), PV_OK);
    cr_assert_eq(len, 1000);
    cr_assert_eq(pv_msg_next_record(&r, &got, &len), PV_OK);
    cr_assert_null(got);
    for (size_t cut = 2; cut < pv_wr_len(&w); cut++)
        cr_assert_eq(decode_exact(buffer, cut), cut == whole ? PV_OK : PV_E_PROTOCOL, "%zu", cut);

    w = begin();
    pv_msg_begin_records(&w);
    pv_msg_add_record(&w, env, PV_RECORD_LEN_MAX);
    cr_assert_eq(pv_wr_end(&w), PV_OK, "the largest record fits one frame");
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_OK);
}

Test(msg, record_lengths)
{
    const uint32_t lens[] = {0, PV_RECORD_LEN_MIN - 1, PV_RECORD_LEN_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < PV_COUNT(lens); i++) {
        struct pv_wr w = begin();
        pv_msg_begin_records(&w);
        pv_wr_u32(&w, lens[i]);
        cr_assert_eq(decode(buffer, sizeof buffer), PV_E_PROTOCOL, "len %u", lens[i]);
    }
}

Test(msg, error_and_its_text)
{
    char long_text[300], text[PV_MSG_TEXT_MAX + 1];
    uint16_t code;
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    struct pv_wr w = begin();
    pv_msg_put_error(&w, 7, long_text);
    struct pv_rd r = body(&w);
    cr_assert_eq(pv_msg_get_error(&r, &code, text), PV_OK);
    cr_assert_eq(code, 7);
    cr_assert_eq(strlen(text), PV_MSG_TEXT_MAX);
    check_lengths(&w);
    buffer[5] = 0; /* a NUL inside */
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL);
    buffer[5] = 'x';
    buffer[3] = PV_MSG_TEXT_MAX + 1;
    cr_assert_eq(decode(buffer, pv_wr_len(&w) + 1), PV_E_PROTOCOL);
    w = begin();
    pv_msg_put_error(&w, 7, "");
    check_lengths(&w);
}

Test(msg, goodbye)
{
    struct pv_wr w = begin();
    uint8_t reason;
    uint64_t n;
    pv_msg_put_goodbye(&w, PV_BYE_TWICE, 12345678901);
    struct pv_rd r = body(&w);
    cr_assert_eq(pv_msg_get_goodbye(&r, &reason, &n), PV_OK);
    cr_assert_eq(reason, PV_BYE_TWICE);
    cr_assert_eq(n, 12345678901);
    check_lengths(&w);
    buffer[1] = 0;
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_E_PROTOCOL);
    buffer[1] = 200; /* a reason of a later version is still a GOODBYE */
    cr_assert_eq(decode(buffer, pv_wr_len(&w)), PV_OK);
    cr_assert_str_eq(pv_goodbye_text(200), "unknown reason");
}

Test(msg, names)
{
    cr_assert_str_eq(pv_msg_name(PV_MSG_NOT_FOUND), "NOT_FOUND");
    cr_assert_str_eq(pv_msg_name(0), "?");
    cr_assert_str_eq(pv_msg_name(4), "?");
    cr_assert_str_eq(pv_msg_name(255), "?");
    for (uint8_t r = PV_BYE_SHUTDOWN; r <= PV_BYE_RENEW; r++)
        cr_assert_str_neq(pv_goodbye_text(r), "unknown reason");
}

/* ---- JOIN ---- */

static struct pv_msg_join join;
static struct pv_keyring ring;
static uint8_t payload[PV_FRAME_PLAIN_MAX];

static size_t put_grant(uint8_t role)
{
    static const char *const addresses[] = {"a:1", "[::1]:2"};
    struct pv_wr w = pv_wr_of(payload, sizeof payload);
    pv_msg_put_join_grant(&w, role, &ring, addresses, 2);
    cr_assert_not(w.bad);
    return pv_wr_len(&w);
}

static enum pv_err get_join(size_t len)
{
    struct pv_rd r = pv_rd_of(payload + 1, len - 1);
    return pv_msg_get_join(&r, &join);
}

static void fill_ring(void)
{
    static const uint8_t first[PV_KEY_LEN] = {1}, second[PV_KEY_LEN] = {2};
    cr_assert_eq(pv_keyring_add_token(&ring, "older", 1), PV_OK);
    cr_assert_eq(pv_keyring_add_token(&ring, "newer", 2), PV_OK);
    cr_assert_eq(pv_keyring_add_cluster_key(&ring, first, 3), PV_OK);
    cr_assert_eq(pv_keyring_add_cluster_key(&ring, second, 4), PV_OK);
}

Test(msg, join_grant_to_a_keyed_machine)
{
    fill_ring();
    size_t len = put_grant(PV_ROLE_KEYED);
    cr_assert_eq(get_join(len), PV_OK);
    cr_assert_eq(join.role, PV_ROLE_KEYED);
    cr_assert_eq(join.keyring.token_count, 1);
    cr_assert_str_eq(join.keyring.tokens[0].text, "newer");
    cr_assert_eq(join.keyring.tokens[0].created_s, 2);
    cr_assert_eq(join.keyring.key_count, 2);
    cr_assert_eq(memcmp(join.keyring.keys, ring.keys, sizeof ring.keys), 0);
    cr_assert_eq(memcmp(&join.keyring.dedup_kid, &ring.dedup_kid, sizeof ring.dedup_kid), 0);
    cr_assert_eq(join.address_count, 2);
    cr_assert_str_eq(join.addresses[1], "[::1]:2");
    for (size_t cut = 1; cut < len; cut++)
        cr_assert_eq(get_join(cut), PV_E_PROTOCOL, "%zu", cut);
    payload[len] = 0;
    cr_assert_eq(get_join(len + 1), PV_E_PROTOCOL);
    cr_assert_eq(join.keyring.key_count, 0); /* nothing half-read stays */
}

Test(msg, join_grant_to_a_blind_machine_has_no_key)
{
    fill_ring();
    size_t len = put_grant(PV_ROLE_BLIND);
    cr_assert_eq(get_join(len), PV_OK);
    cr_assert_eq(join.keyring.key_count, 0);
    for (size_t k = 0; k < ring.key_count; k++)
        for (size_t i = 0; i + PV_KEY_LEN <= len; i++)
            cr_assert_neq(memcmp(payload + i, ring.keys[k].keys.cluster_key, PV_KEY_LEN), 0);
    payload[2] = PV_ROLE_KEYED; /* keyed, but without a key */
    cr_assert_eq(get_join(len), PV_E_PROTOCOL);
}

Test(msg, join_request)
{
    char name[PV_JOIN_NAME_MAX + 1];
    memset(name, 'n', sizeof name - 1);
    name[PV_JOIN_NAME_MAX] = '\0';
    struct pv_wr w = pv_wr_of(payload, sizeof payload);
    pv_msg_put_join_request(&w, name);
    size_t len = pv_wr_len(&w);
    cr_assert_eq(get_join(len), PV_OK);
    cr_assert_eq(join.kind, PV_JOIN_REQUEST);
    cr_assert_str_eq(join.name, name);
    payload[2]++; /* longer than may be, and than is there */
    payload[len] = 'n';
    cr_assert_eq(get_join(len + 1), PV_E_PROTOCOL);
    payload[2] = PV_JOIN_NAME_MAX;
    payload[3] = 0;
    cr_assert_eq(get_join(len), PV_E_PROTOCOL);
    w = pv_wr_of(payload, sizeof payload);
    pv_msg_put_join_confirm(&w);
    cr_assert_eq(get_join(pv_wr_len(&w)), PV_OK);
    cr_assert_eq(join.kind, PV_JOIN_CONFIRM);
    cr_assert_eq(get_join(3), PV_E_PROTOCOL);
    payload[1] = 4; /* no such kind */
    cr_assert_eq(get_join(2), PV_E_PROTOCOL);
}

/* ---- TOKEN ---- */

Test(msg, token)
{
    static struct pv_msg_token in = {.created_s = 5, .overlap_until_s = 6}, out;
    memset(in.text, 't', PV_TOKEN_LEN_MAX);
    struct pv_wr w = pv_wr_of(payload, sizeof payload);
    pv_msg_put_token(&w, &in);
    size_t len = pv_wr_len(&w);
    struct pv_rd r = pv_rd_of(payload + 1, len - 1);
    cr_assert_eq(pv_msg_get_token(&r, &out), PV_OK);
    cr_assert_eq(memcmp(&in, &out, sizeof in), 0);
    for (size_t cut = 0; cut < len - 1; cut++) {
        r = pv_rd_of(payload + 1, cut);
        cr_assert_eq(pv_msg_get_token(&r, &out), PV_E_PROTOCOL, "%zu", cut);
    }
    payload[20] = 0; /* a NUL in the text */
    r = pv_rd_of(payload + 1, len - 1);
    cr_assert_eq(pv_msg_get_token(&r, &out), PV_E_PROTOCOL);
    memcpy(payload + 17, "\0\0", 2); /* no token at all */
    r = pv_rd_of(payload + 1, 18);
    cr_assert_eq(pv_msg_get_token(&r, &out), PV_E_PROTOCOL);
}
