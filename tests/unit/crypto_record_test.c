#include "crypto/record.h"

#include "crypto/body.h"
#include "internal/base/mem.h"
#include "tests/unit/crypto_fixture.h"

TestSuite(record, .timeout = 120);

enum { LEN = 512 + PV_RECORD_HEADER_LEN + PV_TAG_LEN + PV_SIG_LEN };

struct sealed {
    uint8_t env[PV_RECORD_LEN_MAX];
    size_t len;
    struct pv_record rec;
};

static struct pv_record_draft draft_of(uint8_t type, uint16_t flags, pv_hlc hlc)
{
    return (struct pv_record_draft){
        .type = type,
        .flags = flags,
        .rid = pvt_id_of("rid"),
        .hlc = hlc,
        .epoch = (flags & PV_RECORD_CLEAR) != 0 ? 0 : PVT_EPOCH,
        .body = (const uint8_t *)"body",
        .body_len = 4,
    };
}

static void seal(struct sealed *s, const struct pv_record_draft *draft, const char *salt_text)
{
    const struct pv_cluster_keys keys = pvt_cluster_keys(0);
    uint8_t seed[PV_SEED_LEN], salt[32];
    pvt_fill_hash(seed, "node seed");
    pvt_fill_hash(salt, salt_text);
    cr_assert_eq(pv_record_seal(s->env, &s->len, draft, &keys, seed, salt), PV_OK);
    cr_assert_eq(pv_record_verify(&s->rec, s->env, s->len), PV_OK);
}

/* Signs again what a test has changed, as a faulty or hostile author would. */
static void sign_again(struct sealed *s)
{
    uint8_t seed[PV_SEED_LEN];
    static const char label[] = "PV1/record";
    const size_t body_end = s->len - PV_SIG_LEN;
    uint8_t *msg = pv_malloc(sizeof label + body_end);
    cr_assert_not_null(msg);
    memcpy(msg, label, sizeof label);
    memcpy(msg + sizeof label, s->env, body_end);
    pvt_fill_hash(seed, "node seed");
    pv_ed25519_sign(s->env + body_end, seed, msg, sizeof label + body_end);
    pv_free(msg);
}

Test(record, hlc)
{
    const pv_hlc now = UINT64_C(5000) << 16;
    cr_assert_eq(pv_hlc_next(0, 5000), now);
    cr_assert_eq(pv_hlc_next(now - 1, 5000), now);
    cr_assert_eq(pv_hlc_next(now, 5000), now + 1);
    cr_assert_eq(pv_hlc_next(now + 1, 5000), now + 2);
    cr_assert_eq(pv_hlc_next(now, 4000), now + 1); /* the clock went back */
    cr_assert_eq(pv_hlc_next(now | 0xffff, 5000), UINT64_C(5001) << 16);
    cr_assert_eq(pv_hlc_ms(pv_hlc_next(now | 0xffff, 5000)), 5001);
    cr_assert_eq(pv_hlc_next(UINT64_MAX, 5000), UINT64_MAX);
    cr_assert_eq(pv_hlc_next(0, UINT64_MAX), UINT64_MAX << 16);
}

Test(record, sealed_round_trip)
{
    static const size_t lengths[] = {0, 1, 511, 512, 513, 4096, PV_RECORD_BODY_MAX};
    const struct pv_cluster_keys keys = pvt_cluster_keys(0);
    static uint8_t body[PV_RECORD_BODY_MAX], opened[PV_RECORD_BODY_MAX];
    static struct sealed s;
    pvt_pattern(body, sizeof body);
    for (size_t i = 0; i < PV_COUNT(lengths); i++) {
        struct pv_record_draft draft = draft_of(PV_RECORD_FILE, PV_RECORD_TOMBSTONE, 77);
        draft.body = lengths[i] > 0 ? body : NULL;
        draft.body_len = lengths[i];
        seal(&s, &draft, "salt");
        cr_assert_eq(s.rec.type, PV_RECORD_FILE);
        cr_assert_eq(s.rec.flags, PV_RECORD_TOMBSTONE);
        cr_assert_eq(s.rec.epoch, PVT_EPOCH);
        cr_assert_eq(s.rec.hlc, 77);
        cr_assert(pv_id_equal(&s.rec.rid, &draft.rid));
        cr_assert_eq(memcmp(s.rec.kid.b, keys.kid.b, PV_KID_LEN), 0);
        cr_assert(s.rec.body_len >= lengths[i] && s.rec.body_len >= PV_RECORD_BODY_MIN);
        cr_assert_eq(pv_record_open(opened, s.env, s.len, &s.rec, &keys), PV_OK);
        cr_assert_eq(memcmp(opened, body, lengths[i]), 0);
        for (size_t j = lengths[i]; j < s.rec.body_len; j++)
            cr_assert_eq(opened[j], 0);
    }
    cr_assert_eq(s.len, PV_RECORD_LEN_MAX);
}

Test(record, clear_round_trip)
{
    static const uint8_t types[] = {3, 4, 5, 6, 7, 255};
    static struct sealed s;
    uint8_t seed[PV_SEED_LEN], salt[32] = {1}, opened[16];
    const struct pv_cluster_keys keys = pvt_cluster_keys(0);
    pvt_fill_hash(seed, "node seed");
    for (size_t i = 0; i < PV_COUNT(types); i++) {
        struct pv_record_draft draft = draft_of(types[i], PV_RECORD_CLEAR, 1);
        cr_assert_eq(pv_record_seal(s.env, &s.len, &draft, NULL, seed, salt), PV_OK);
        cr_assert_eq(pv_record_verify(&s.rec, s.env, s.len), PV_OK);
        cr_assert_eq(s.len, PV_RECORD_LEN_MIN + 4);
        cr_assert_eq(s.rec.body_len, 4);
        cr_assert_eq(memcmp(s.rec.body, "body", 4), 0);
        cr_assert_eq(pv_record_open(opened, s.env, s.len, &s.rec, &keys), PV_E_INVALID);
    }
}

Test(record, drafts_out_of_range)
{
    static struct sealed s;
    static uint8_t body[PV_RECORD_BODY_MAX + 1];
    const struct pv_cluster_keys keys = pvt_cluster_keys(0);
    uint8_t seed[PV_SEED_LEN] = {1}, salt[32] = {1};
    struct pv_record_draft drafts[] = {draft_of(PV_RECORD_FILE, PV_RECORD_CLEAR, 1),
                                       draft_of(PV_RECORD_NAME, PV_RECORD_CLEAR, 1),
                                       draft_of(PV_RECORD_MEMBER, 0, 1),
                                       draft_of(PV_RECORD_CLUSTER, 0, 1),
                                       draft_of(0, PV_RECORD_CLEAR, 1),
                                       draft_of(PV_RECORD_FILE, 4, 1),
                                       draft_of(PV_RECORD_FILE, 0, 1),
                                       draft_of(PV_RECORD_FILE, 0, 1),
                                       draft_of(PV_RECORD_MEMBER, PV_RECORD_CLEAR, 1)};
    drafts[6].epoch = PV_EPOCH_FIRST_S - 1;
    drafts[7].body = body;
    drafts[7].body_len = sizeof body;
    drafts[8].epoch = PVT_EPOCH;
    for (size_t i = 0; i < PV_COUNT(drafts); i++)
        cr_assert_eq(pv_record_seal(s.env, &s.len, &drafts[i], &keys, seed, salt), PV_E_INVALID,
                     "draft %zu", i);
}

Test(record, every_flipped_byte_fails_structure_or_signature)
{
    static struct sealed s;
    struct pv_record rec;
    const struct pv_record_draft draft = draft_of(PV_RECORD_NAME, 0, 99);
    seal(&s, &draft, "salt");
    cr_assert_eq(s.len, LEN);
    for (size_t i = 0; i < s.len; i++) {
        s.env[i] ^= 1;
        const enum pv_err err = pv_record_verify(&rec, s.env, s.len);
        cr_assert(err == PV_E_AUTH || err == PV_E_PROTOCOL, "byte %zu", i);
        s.env[i] ^= 1;
    }
    cr_assert_eq(pv_record_verify(&rec, s.env, s.len), PV_OK);
}

Test(record, every_truncation_and_one_byte_more)
{
    static struct sealed s;
    static struct pv_record_draft drafts[2];
    struct pv_record rec;
    drafts[0] = draft_of(PV_RECORD_NAME, 0, 99);
    drafts[1] = draft_of(PV_RECORD_MEMBER, PV_RECORD_CLEAR, 99);
    for (size_t d = 0; d < 2; d++) {
        seal(&s, &drafts[d], "salt");
        for (size_t len = 0; len < s.len; len++) {
            uint8_t *cut = pv_memdup(s.env, len);
            cr_assert_eq(pv_record_parse(&rec, cut, len), PV_E_PROTOCOL, "length %zu", len);
            pv_free(cut);
        }
        s.env[s.len] = 0;
        cr_assert_eq(pv_record_parse(&rec, s.env, s.len + 1), PV_E_PROTOCOL);
    }
    cr_assert_eq(pv_record_parse(&rec, s.env, PV_RECORD_LEN_MAX), PV_E_PROTOCOL);
}

struct change {
    size_t offset;
    uint8_t value;
};

/* Each change is signed by the author, so that only the structure can refuse it. */
static void refused(const struct pv_record_draft *draft, const struct change *changes, size_t count)
{
    static struct sealed s;
    struct pv_record rec;
    seal(&s, draft, "salt");
    for (size_t i = 0; i < count; i++) {
        const uint8_t kept = s.env[changes[i].offset];
        s.env[changes[i].offset] = changes[i].value;
        sign_again(&s);
        cr_assert_eq(pv_record_verify(&rec, s.env, s.len), PV_E_PROTOCOL, "change %zu", i);
        s.env[changes[i].offset] = kept;
    }
    sign_again(&s);
    cr_assert_eq(pv_record_verify(&rec, s.env, s.len), PV_OK);
}

Test(record, one_wrong_field_at_a_time)
{
    static const struct change sealed_changes[] = {
        {0, 'X'}, {3, '2'}, {4, 0},   {4, 3},   {5, 2},   {6, 1},   {7, 2},   {7, 4},      {20, 0},
        {64, 1},  {71, 1},  {168, 1}, {170, 0}, {170, 4}, {171, 1}, {172, 1}, {175, 0xff},
    };
    static const struct change clear_changes[] = {
        {4, 1},   {4, 2},   {7, 0},   {8, 1},   {15, 1},  {16, 1},  {23, 1},  {64, 1},
        {104, 1}, {135, 1}, {136, 1}, {167, 1}, {171, 3}, {171, 5}, {172, 1},
    };
    const struct pv_record_draft sealed_draft = draft_of(PV_RECORD_FILE, 0, 1);
    const struct pv_record_draft clear_draft = draft_of(PV_RECORD_ADDRESS, PV_RECORD_CLEAR, 1);
    refused(&sealed_draft, sealed_changes, PV_COUNT(sealed_changes));
    refused(&clear_draft, clear_changes, PV_COUNT(clear_changes));
}

Test(record, body_length_must_be_one_the_padding_gives)
{
    static struct sealed s;
    struct pv_record rec;
    const struct pv_record_draft draft = draft_of(PV_RECORD_FILE, 0, 1);
    seal(&s, &draft, "salt");
    s.env[171] = 1; /* 513 bytes, and the envelope is as long as that */
    s.len += 1;
    sign_again(&s);
    cr_assert_eq(pv_record_parse(&rec, s.env, s.len), PV_E_PROTOCOL);
    s.env[170] = 1; /* 496: padme can give it, but it is under the minimum */
    s.env[171] = 240;
    s.len = LEN - 16;
    sign_again(&s);
    cr_assert_eq(pv_record_parse(&rec, s.env, s.len), PV_E_PROTOCOL);
}

Test(record, open_errors)
{
    static struct sealed s;
    uint8_t opened[512];
    const struct pv_cluster_keys keys = pvt_cluster_keys(0), other = pvt_cluster_keys(1);
    struct pv_cluster_keys same_kid = other;
    const struct pv_record_draft draft = draft_of(PV_RECORD_FILE, 0, 1);
    seal(&s, &draft, "salt");
    cr_assert_eq(pv_record_open(opened, s.env, s.len, &s.rec, &other), PV_E_UNSUPPORTED);
    same_kid.kid = keys.kid; /* a collision of kids: the commitment tells */
    cr_assert_eq(pv_record_open(opened, s.env, s.len, &s.rec, &same_kid), PV_E_CORRUPT);

    /* Every byte that is bound to the key, the commitment, the ciphertext and the tag. */
    for (size_t i = 24; i < s.len - PV_SIG_LEN; i++) {
        if (i >= 168 && i < 176) /* lengths are the parser's */
            continue;
        s.env[i] ^= 1;
        memset(opened, 0xaa, sizeof opened);
        cr_assert_eq(pv_record_open(opened, s.env, s.len, &s.rec, &keys), PV_E_CORRUPT, "byte %zu",
                     i);
        cr_assert_neq(memcmp(opened, "body", 4), 0);
        s.env[i] ^= 1;
    }
    struct pv_record early = s.rec;
    early.epoch = PV_EPOCH_FIRST_S - 1;
    cr_assert_eq(pv_record_open(opened, s.env, s.len, &early, &keys), PV_E_INVALID);
    cr_assert_eq(pv_record_open(opened, s.env, s.len, &s.rec, &keys), PV_OK);
}

Test(record, a_salt_gives_another_ciphertext_and_commitment)
{
    static struct sealed a, b;
    const struct pv_record_draft draft = draft_of(PV_RECORD_FILE, 0, 1);
    seal(&a, &draft, "salt 1");
    seal(&b, &draft, "salt 2");
    cr_assert_neq(memcmp(a.env + 136, b.env + 136, 32), 0);
    cr_assert_neq(memcmp(a.env + 176, b.env + 176, 512), 0);
    seal(&b, &draft, "salt 1");
    cr_assert_eq(memcmp(a.env, b.env, a.len), 0);
}

Test(record, small_order_author_is_refused)
{
    static struct sealed s;
    struct pv_record rec;
    const struct pv_record_draft draft = draft_of(PV_RECORD_FILE, 0, 1);
    seal(&s, &draft, "salt");
    memset(s.env + 72, 0, 32); /* the neutral element, with its universal signature */
    s.env[72] = 1;
    memset(s.env + s.len - 64, 0, 64);
    s.env[s.len - 64] = 1;
    cr_assert_eq(pv_record_verify(&rec, s.env, s.len), PV_E_AUTH);
}

static void expect_order(const struct pv_record *winner, const struct pv_record *loser)
{
    cr_assert(pv_record_cmp(winner, loser) > 0);
    cr_assert(pv_record_cmp(loser, winner) < 0);
    cr_assert_eq(pv_record_cmp(winner, winner), 0);
}

Test(record, order_of_versions)
{
    static struct sealed a, b;
    struct pv_record_draft draft = draft_of(PV_RECORD_FILE, 0, 10);
    seal(&a, &draft, "salt");
    draft.hlc = 9;
    draft.flags = PV_RECORD_TOMBSTONE;
    seal(&b, &draft, "salt");
    expect_order(&a.rec, &b.rec); /* the clock first */
    draft.hlc = 10;
    seal(&b, &draft, "salt");
    expect_order(&b.rec, &a.rec); /* then the tombstone */
    static const uint8_t longer[1000];
    static struct sealed whole;
    for (unsigned i = 0; i < 8; i++) { /* then, of tombstones, the shorter, whatever the hash */
        char salt[] = {'s', (char)('a' + i), '\0'};
        draft.body = longer;
        draft.body_len = sizeof longer;
        seal(&whole, &draft, salt);
        expect_order(&b.rec, &whole.rec);
    }
    draft = draft_of(PV_RECORD_FILE, 0, 10);
    draft.flags = 0;
    seal(&b, &draft, "other salt");
    const bool a_greater = pv_id_cmp(&a.rec.hash, &b.rec.hash) > 0; /* then the hash */
    expect_order(a_greater ? &a.rec : &b.rec, a_greater ? &b.rec : &a.rec);
    draft.hlc = UINT64_MAX;
    draft.type = PV_RECORD_NAME;
    seal(&b, &draft, "salt");
    expect_order(&a.rec, &b.rec); /* another type: the lower one, whatever its clock */
}

static void seal_member(struct sealed *s, uint32_t generation, bool expelled, pv_hlc hlc)
{
    uint8_t bytes[256];
    const struct pv_member_body body = {.generation = generation,
                                        .expelled = expelled,
                                        .role = PV_ROLE_KEYED,
                                        .weight = 1,
                                        .subject = {1}};
    struct pv_record_draft draft = draft_of(PV_RECORD_MEMBER, PV_RECORD_CLEAR, hlc);
    cr_assert_eq(pv_member_body_encode(bytes, &draft.body_len, &body), PV_OK);
    draft.body = bytes;
    seal(s, &draft, "salt");
}

Test(record, order_of_member_records)
{
    static struct sealed v[6];
    struct pv_record_draft malformed = draft_of(PV_RECORD_MEMBER, PV_RECORD_CLEAR, UINT64_MAX);
    seal(&v[0], &malformed, "salt"); /* loses against every member record that can be read */
    seal_member(&v[1], 0, false, 50);
    seal_member(&v[2], 0, false, 60);
    seal_member(&v[3], 0, true, 5);
    seal_member(&v[4], 1, false, 4);
    seal_member(&v[5], 1, true, 3);
    for (size_t i = 0; i < PV_COUNT(v); i++)
        for (size_t j = 0; j < i; j++)
            expect_order(&v[i].rec, &v[j].rec);
}

Test(record, every_order_of_arrival_converges)
{
    static struct sealed v[4];
    for (size_t i = 0; i < 4; i++) {
        const struct pv_record_draft draft =
            draft_of(PV_RECORD_NAME, i == 1 ? PV_RECORD_TOMBSTONE : 0, 10 + (i == 3));
        seal(&v[i], &draft, i == 0 ? "salt" : "other");
    }
    size_t orders = 0;
    for (size_t n = 0; n < 256; n++) {
        const size_t order[4] = {n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6 & 3};
        const unsigned seen = 1u << order[0] | 1u << order[1] | 1u << order[2] | 1u << order[3];
        if (seen != 15)
            continue;
        size_t winner = order[0];
        for (size_t i = 1; i < 4; i++)
            if (pv_record_cmp(&v[order[i]].rec, &v[winner].rec) > 0)
                winner = order[i];
        cr_assert_eq(winner, 3);
        orders++;
    }
    cr_assert_eq(orders, 24);
}

Test(record, out_of_memory_is_an_error)
{
    static struct sealed s;
    struct pv_record rec;
    uint8_t seed[PV_SEED_LEN] = {1}, salt[32] = {1}, opened[512];
    const struct pv_cluster_keys keys = pvt_cluster_keys(0);
    const struct pv_record_draft draft = draft_of(PV_RECORD_FILE, 0, 1);
    enum pv_err err = PV_E_NOMEM;
    uint64_t failed = 0;
    for (; err == PV_E_NOMEM && failed < 10; failed++) {
        pv_mem_fail_after(failed);
        err = pv_record_seal(s.env, &s.len, &draft, &keys, seed, salt);
    }
    pv_mem_fail_after(0);
    const enum pv_err verify_err = pv_record_verify(&rec, s.env, s.len);
    pv_mem_fail_after(UINT64_MAX);
    cr_assert_eq(err, PV_OK);
    cr_assert(failed > 1);
    cr_assert_eq(verify_err, PV_E_NOMEM);
    cr_assert_eq(pv_record_verify(&rec, s.env, s.len), PV_OK);
    pv_mem_fail_after(0);
    err = pv_record_open(opened, s.env, s.len, &rec, &keys);
    pv_mem_fail_after(UINT64_MAX);
    cr_assert_eq(err, PV_E_NOMEM);
}
