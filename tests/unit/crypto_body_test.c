#include "crypto/body.h"

#include "internal/base/mem.h"
#include "tests/unit/crypto_fixture.h"

TestSuite(body, .timeout = 120);

static uint8_t bytes[PV_RECORD_BODY_MAX]; /* each test is a process of its own */
static size_t len;

static void seed_of(uint8_t seed[static PV_SEED_LEN])
{
    pvt_fill_hash(seed, "node seed");
}

static struct pv_file_body tree_body(void)
{
    struct pv_file_body b = {
        .author = {.hlc = 1234567, .flags = PV_RECORD_TOMBSTONE},
        .sha256 = pvt_id_of("content"),
        .size = 5000000,
        .mtime_ms = 1767225599000,
        .chunker = PV_CHUNKER_GEAR1,
        .root = {.id = pvt_id_of("root"), .length = 5000000, .kind = PV_BLOB_NODE},
        .name = "big.bin",
        .name_len = 7,
    };
    pvt_fill_hash(b.root.dk, "dk");
    return b;
}

static struct pv_file_body inline_body(const uint8_t *data, size_t size)
{
    return (struct pv_file_body){.author = {.hlc = 5},
                                 .sha256 = pvt_id_of("inline"),
                                 .size = size,
                                 .is_inline = true,
                                 .data = data,
                                 .name = "",
                                 .name_len = 0};
}

static enum pv_err encode_file(const struct pv_file_body *b)
{
    uint8_t seed[PV_SEED_LEN];
    seed_of(seed);
    return pv_file_body_encode(bytes, &len, b, seed);
}

static enum pv_err encode_name(const struct pv_name_body *b)
{
    uint8_t seed[PV_SEED_LEN];
    seed_of(seed);
    return pv_name_body_encode(bytes, &len, b, seed);
}

Test(body, file_with_tree)
{
    uint8_t seed[PV_SEED_LEN], pub[PV_PUB_LEN];
    struct pv_file_body in = tree_body(), out;
    seed_of(seed);
    pv_ed25519_public(pub, seed);
    cr_assert_eq(encode_file(&in), PV_OK);
    cr_assert_eq(len, 280 + 7);
    cr_assert_eq(pv_file_body_decode(&out, bytes, len, true), PV_OK);
    cr_assert_eq(memcmp(out.author.pub, pub, sizeof pub), 0);
    cr_assert_eq(out.author.hlc, in.author.hlc);
    cr_assert_eq(out.author.flags, in.author.flags);
    cr_assert(pv_id_equal(&out.sha256, &in.sha256));
    cr_assert_eq(out.size, in.size);
    cr_assert_eq(out.mtime_ms, in.mtime_ms);
    cr_assert_eq(out.chunker, in.chunker);
    cr_assert_not(out.is_inline);
    cr_assert_not(out.is_private);
    cr_assert(pv_id_equal(&out.root.id, &in.root.id));
    cr_assert_eq(memcmp(out.root.dk, in.root.dk, PV_KEY_LEN), 0);
    cr_assert_eq(out.root.length, in.root.length);
    cr_assert_eq(out.root.kind, PV_BLOB_NODE);
    cr_assert_eq(out.name_len, 7);
    cr_assert_eq(memcmp(out.name, "big.bin", 7), 0);
    in.is_private = true;
    pvt_fill_hash(in.private_salt, "private salt");
    cr_assert_eq(encode_file(&in), PV_OK);
    cr_assert_eq(pv_file_body_decode(&out, bytes, len, true), PV_OK);
    cr_assert(out.is_private);
    cr_assert_eq(memcmp(out.private_salt, in.private_salt, 32), 0);
}

Test(body, file_inline_at_its_limits)
{
    static uint8_t data[PV_INLINE_MAX + 1];
    static const size_t sizes[] = {0, 1, PV_INLINE_MAX};
    struct pv_file_body out;
    pvt_pattern(data, sizeof data);
    for (size_t i = 0; i < PV_COUNT(sizes); i++) {
        const struct pv_file_body in = inline_body(sizes[i] > 0 ? data : NULL, sizes[i]);
        cr_assert_eq(encode_file(&in), PV_OK);
        cr_assert_eq(pv_file_body_decode(&out, bytes, len, true), PV_OK);
        cr_assert(out.is_inline);
        cr_assert_eq(out.size, sizes[i]);
        cr_assert_eq(memcmp(out.data, data, sizes[i]), 0);
    }
    const struct pv_file_body over = inline_body(data, PV_INLINE_MAX + 1);
    cr_assert_eq(encode_file(&over), PV_E_INVALID);
}

/* A tombstone may let the bytes go, a live record may not. */
Test(body, file_purged)
{
    static uint8_t data[PV_INLINE_MAX];
    struct pv_file_body in = inline_body(data, sizeof data), out;
    size_t whole_len = pv_file_body_len(&in);
    in.is_purged = true;
    cr_assert_eq(encode_file(&in), PV_E_INVALID, "live");
    in.author.flags = PV_RECORD_TOMBSTONE;
    cr_assert_eq(encode_file(&in), PV_OK);
    cr_assert_eq(len, pv_file_body_len(&in));
    cr_assert_eq(len, whole_len - sizeof data);
    cr_assert_eq(pv_file_body_decode(&out, bytes, len, true), PV_OK);
    cr_assert(out.is_purged && out.is_inline && out.data == NULL);
    cr_assert_eq(out.size, sizeof data);
    bytes[41] = 0; /* the flags: now it says that it was live */
    cr_assert_eq(pv_file_body_decode(&out, bytes, len, false), PV_E_CORRUPT);

    in = inline_body(NULL, 0);
    in.author.flags = PV_RECORD_TOMBSTONE;
    cr_assert_eq(encode_file(&in), PV_OK);
    cr_assert_eq(pv_file_body_decode(&out, bytes, len, true), PV_OK);
    cr_assert(!out.is_purged, "an empty file has nothing to lose");
    in.is_purged = true;
    cr_assert_eq(encode_file(&in), PV_E_INVALID);
    in = tree_body();
    in.is_purged = true;
    cr_assert_eq(encode_file(&in), PV_E_INVALID, "not inline");
}

Test(body, file_fields_out_of_range)
{
    char name[PV_NAME_MAX + 1];
    struct pv_file_body b[10], out;
    memset(name, 'n', sizeof name);
    for (size_t i = 0; i < PV_COUNT(b); i++)
        b[i] = tree_body();
    b[0].author.flags = PV_RECORD_CLEAR;
    b[1].chunker = 3;
    b[2].name = name;
    b[2].name_len = PV_NAME_MAX + 1;
    b[3].name = "a\0b";
    b[3].name_len = 3;
    b[4].private_salt[31] = 1;
    b[5].size += 1;
    b[6].root.kind = (enum pv_blob_kind)3;
    b[7].size = b[7].root.length = 0;
    b[8].root.kind = PV_BLOB_CHUNK;
    b[9].author.flags = 4;
    for (size_t i = 0; i < PV_COUNT(b); i++)
        cr_assert_eq(encode_file(&b[i]), PV_E_INVALID, "body %zu", i);
    b[2].name_len = PV_NAME_MAX;
    cr_assert_eq(encode_file(&b[2]), PV_OK);
    cr_assert_eq(pv_file_body_decode(&out, bytes, len, true), PV_OK);
    cr_assert_eq(out.name_len, PV_NAME_MAX);
}

Test(body, name_round_trip_and_limits)
{
    char name[PV_NAME_MAX + 1];
    struct pv_name_body in = {.author = {.hlc = 9},
                              .name = name,
                              .file_sha256 = pvt_id_of("content"),
                              .file_rid = pvt_id_of("rid")};
    struct pv_name_body out;
    memset(name, 'n', sizeof name);
    static const size_t lengths[] = {1, 20, PV_NAME_MAX};
    for (size_t i = 0; i < PV_COUNT(lengths); i++) {
        in.name_len = lengths[i];
        cr_assert_eq(encode_name(&in), PV_OK);
        cr_assert_eq(pv_name_body_decode(&out, bytes, len, true), PV_OK);
        cr_assert_eq(out.name_len, lengths[i]);
        cr_assert_eq(memcmp(out.name, name, lengths[i]), 0);
        cr_assert(pv_id_equal(&out.file_sha256, &in.file_sha256));
        cr_assert(pv_id_equal(&out.file_rid, &in.file_rid));
        cr_assert_eq(out.author.hlc, 9);
    }
    in.name_len = 0;
    cr_assert_eq(encode_name(&in), PV_E_INVALID);
    in.name_len = PV_NAME_MAX + 1;
    cr_assert_eq(encode_name(&in), PV_E_INVALID);
    in.name_len = 5;
    name[2] = '\0';
    cr_assert_eq(encode_name(&in), PV_E_INVALID);
    name[2] = 'n';
    in.author.flags = 8;
    cr_assert_eq(encode_name(&in), PV_E_INVALID);
}

Test(body, value_round_trip_and_limits)
{
    static uint8_t value[PV_VALUE_MAX + 1], padded[PV_RECORD_BODY_MAX];
    char name[PV_NAME_MAX];
    struct pv_name_body in = {.author = {.hlc = 9},
                              .name = name,
                              .name_len = sizeof name,
                              .is_value = true,
                              .value = value};
    struct pv_name_body out;
    memset(name, 'n', sizeof name);
    memset(value, 0xa5, sizeof value);
    static const size_t lengths[] = {0, 1, PV_VALUE_MAX - 1, PV_VALUE_MAX};
    for (size_t i = 0; i < PV_COUNT(lengths); i++) {
        in.value_len = lengths[i];
        cr_assert_eq(encode_name(&in), PV_OK);
        memset(padded, 0, sizeof padded);
        memcpy(padded, bytes, len);
        cr_assert_eq(pv_name_body_decode(&out, padded, sizeof padded, true), PV_OK);
        cr_assert(out.is_value);
        cr_assert_eq(out.name_len, sizeof name);
        cr_assert_eq(memcmp(out.name, name, sizeof name), 0);
        cr_assert_eq(out.value_len, lengths[i]);
        cr_assert_eq(memcmp(out.value, value, lengths[i]), 0);
    }
    in.value_len = PV_VALUE_MAX + 1;
    cr_assert_eq(encode_name(&in), PV_E_INVALID);
    in.value_len = 1;
    in.author.flags = PV_RECORD_TOMBSTONE;
    cr_assert_eq(encode_name(&in), PV_E_INVALID, "a tombstone has no bytes");
    in.value_len = 0;
    cr_assert_eq(encode_name(&in), PV_OK);
    in.author.flags = 0;
    in.is_value = false;
    in.value_len = 1;
    cr_assert_eq(encode_name(&in), PV_E_INVALID, "a file's name has no value");
}

/* What no encoder of ours writes. */
Test(body, lengths_of_a_value_that_lie)
{
    struct pv_name_body in = {
        .name = "name", .name_len = 4, .is_value = true, .value = bytes, .value_len = 9};
    struct pv_name_body out;
    static const struct {
        size_t at;
        uint8_t to;
        enum pv_err err;
    } cases[] = {
        {113, 3, PV_E_UNSUPPORTED}, {113, 0, PV_E_UNSUPPORTED}, {113, 1, PV_E_CORRUPT},
        {117, 1, PV_E_CORRUPT},     {119, 10, PV_E_CORRUPT},    {119, 8, PV_E_CORRUPT},
        {115, 0, PV_E_CORRUPT},     {115, 14, PV_E_CORRUPT},    {41, 1, PV_E_CORRUPT},
        {122, 0, PV_E_CORRUPT},
    };
    uint8_t value[9];
    memset(value, 0xa5, sizeof value);
    in.value = value;
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        cr_assert_eq(encode_name(&in), PV_OK);
        cr_assert_eq(len, 120 + 4 + 9);
        bytes[cases[i].at] = cases[i].to;
        cr_assert_eq(pv_name_body_decode(&out, bytes, len, false), cases[i].err, "case %zu", i);
    }
    cr_assert_eq(encode_name(&in), PV_OK);
    bytes[124] ^= 1;
    cr_assert_eq(pv_name_body_decode(&out, bytes, len, true), PV_E_AUTH, "the value is signed");
}

/* A decoder by type, without its result. */
static enum pv_err decode(unsigned type, const uint8_t *src, size_t src_len, bool verify)
{
    static struct pv_file_body file;
    static struct pv_name_body name;
    static struct pv_member_body member;
    static struct pv_address_body address;
    switch (type) {
    case PV_RECORD_FILE:
        return pv_file_body_decode(&file, src, src_len, verify);
    case PV_RECORD_NAME:
        return pv_name_body_decode(&name, src, src_len, verify);
    case PV_RECORD_MEMBER:
        return pv_member_body_decode(&member, src, src_len);
    default:
        return pv_address_body_decode(&address, src, src_len);
    }
}

static void encode_example(unsigned type)
{
    static const uint8_t data[] = "inline data";
    const struct pv_file_body file = inline_body(data, sizeof data);
    const struct pv_name_body name = {.author = {.hlc = 3}, .name = "name", .name_len = 4};
    const struct pv_member_body member = {
        .generation = 7, .role = PV_ROLE_BLIND, .weight = 16, .zone = "cellar", .subject = {1}};
    const struct pv_address_body address = {
        .capacity_bytes = 99, .count = 2, .addresses = {"192.0.2.1:1", "[::1]:3000"}};
    switch (type) {
    case PV_RECORD_FILE:
        cr_assert_eq(encode_file(&file), PV_OK);
        break;
    case PV_RECORD_NAME:
        cr_assert_eq(encode_name(&name), PV_OK);
        break;
    case PV_RECORD_MEMBER:
        cr_assert_eq(pv_member_body_encode(bytes, &len, &member), PV_OK);
        break;
    default:
        cr_assert_eq(pv_address_body_encode(bytes, &len, &address), PV_OK);
        break;
    }
    cr_assert_eq(decode(type, bytes, len, true), PV_OK);
}

Test(body, every_truncation_is_found)
{
    static const unsigned types[] = {PV_RECORD_FILE, PV_RECORD_NAME, PV_RECORD_MEMBER,
                                     PV_RECORD_ADDRESS};
    for (size_t t = 0; t < PV_COUNT(types); t++) {
        encode_example(types[t]);
        for (size_t cut_len = 0; cut_len < len; cut_len++) {
            uint8_t *cut = pv_memdup(bytes, cut_len);
            cr_assert_eq(decode(types[t], cut, cut_len, false), PV_E_CORRUPT, "type %u length %zu",
                         types[t], cut_len);
            pv_free(cut);
        }
    }
}

Test(body, zero_padding_after_sealed_bodies_only)
{
    encode_example(PV_RECORD_FILE);
    cr_assert_eq(decode(PV_RECORD_FILE, bytes, 512, true), PV_OK);
    bytes[511] = 1;
    cr_assert_eq(decode(PV_RECORD_FILE, bytes, 512, false), PV_E_CORRUPT);
    bytes[511] = 0;
    bytes[len] = 1;
    cr_assert_eq(decode(PV_RECORD_FILE, bytes, 512, false), PV_E_CORRUPT);
    encode_example(PV_RECORD_NAME);
    memset(bytes + len, 0, 512 - len);
    cr_assert_eq(decode(PV_RECORD_NAME, bytes, 512, true), PV_OK);
    bytes[511] = 1;
    cr_assert_eq(decode(PV_RECORD_NAME, bytes, 512, false), PV_E_CORRUPT);
    encode_example(PV_RECORD_MEMBER);
    bytes[len] = 0;
    cr_assert_eq(decode(PV_RECORD_MEMBER, bytes, len + 1, false), PV_E_CORRUPT);
    encode_example(PV_RECORD_ADDRESS);
    bytes[len] = 0;
    cr_assert_eq(decode(PV_RECORD_ADDRESS, bytes, len + 1, false), PV_E_CORRUPT);
}

Test(body, inner_signature_covers_every_byte)
{
    static const unsigned types[] = {PV_RECORD_FILE, PV_RECORD_NAME};
    for (size_t t = 0; t < PV_COUNT(types); t++) {
        encode_example(types[t]);
        for (size_t i = 0; i < len; i++) {
            bytes[i] ^= 1;
            cr_assert_neq(decode(types[t], bytes, len, true), PV_OK, "type %u byte %zu", types[t],
                          i);
            bytes[i] ^= 1;
        }
        bytes[32] ^= 1; /* another HLC is well formed, but not what the author signed */
        cr_assert_eq(decode(types[t], bytes, len, false), PV_OK);
        cr_assert_eq(decode(types[t], bytes, len, true), PV_E_AUTH);
    }
}

struct change {
    unsigned type;
    size_t offset;
    uint8_t value;
    enum pv_err err;
};

static void refused(const struct change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        encode_example(changes[i].type);
        cr_assert_neq(bytes[changes[i].offset], changes[i].value);
        bytes[changes[i].offset] = changes[i].value;
        cr_assert_eq(decode(changes[i].type, bytes, len, false), changes[i].err, "change %zu", i);
    }
}

Test(body, one_wrong_field_of_a_file_at_a_time)
{
    static const struct change changes[] = {
        {1, 40, 1, PV_E_CORRUPT},   {1, 41, 2, PV_E_CORRUPT},      {1, 42, 1, PV_E_CORRUPT},
        {1, 47, 1, PV_E_CORRUPT},   {1, 112, 0, PV_E_UNSUPPORTED}, {1, 112, 2, PV_E_UNSUPPORTED},
        {1, 113, 0, PV_E_CORRUPT},  {1, 113, 5, PV_E_CORRUPT},     {1, 114, 3, PV_E_CORRUPT},
        {1, 115, 1, PV_E_CORRUPT},  {1, 116, 4, PV_E_CORRUPT},     {1, 117, 1, PV_E_CORRUPT},
        {1, 118, 1, PV_E_CORRUPT},  {1, 119, 11, PV_E_CORRUPT},    {1, 120, 1, PV_E_CORRUPT},
        {1, 127, 11, PV_E_CORRUPT}, {1, 168, 1, PV_E_CORRUPT},     {1, 199, 1, PV_E_CORRUPT},
        {1, 200, 1, PV_E_CORRUPT},  {1, 279, 1, PV_E_CORRUPT},
    };
    refused(changes, PV_COUNT(changes));
    struct pv_file_body b = tree_body(), out;
    cr_assert_eq(encode_file(&b), PV_OK);
    bytes[272] = 9; /* the kind of the root */
    cr_assert_eq(pv_file_body_decode(&out, bytes, len, false), PV_E_CORRUPT);
    bytes[272] = PV_BLOB_NODE;
    bytes[279] = 1;
    cr_assert_eq(pv_file_body_decode(&out, bytes, len, false), PV_E_CORRUPT);
    bytes[279] = 0;
    bytes[271] ^= 1; /* a root that is longer than the file */
    cr_assert_eq(pv_file_body_decode(&out, bytes, len, false), PV_E_CORRUPT);
    bytes[271] ^= 1;
    bytes[281] = '\0'; /* in the name */
    cr_assert_eq(pv_file_body_decode(&out, bytes, len, false), PV_E_CORRUPT);
    bytes[281] = 'i';
    cr_assert_eq(pv_file_body_decode(&out, bytes, len, true), PV_OK);
}

Test(body, one_wrong_field_of_the_others_at_a_time)
{
    static const struct change changes[] = {
        {2, 41, 2, PV_E_CORRUPT},      {2, 42, 1, PV_E_CORRUPT},    {2, 112, 2, PV_E_UNSUPPORTED},
        {2, 113, 3, PV_E_UNSUPPORTED}, {2, 114, 4, PV_E_CORRUPT},   {2, 115, 0, PV_E_CORRUPT},
        {2, 115, 5, PV_E_CORRUPT},     {2, 116, 1, PV_E_CORRUPT},   {2, 119, 1, PV_E_CORRUPT},
        {2, 185, 0, PV_E_CORRUPT},     {3, 0, 2, PV_E_UNSUPPORTED}, {3, 1, 4, PV_E_CORRUPT},
        {3, 2, 0, PV_E_CORRUPT},       {3, 2, 3, PV_E_CORRUPT},     {3, 3, 0, PV_E_CORRUPT},
        {3, 3, 17, PV_E_CORRUPT},      {3, 8, 5, PV_E_CORRUPT},     {3, 8, 33, PV_E_CORRUPT},
        {3, 9, 1, PV_E_CORRUPT},       {3, 15, 1, PV_E_CORRUPT},    {3, 50, 0, PV_E_CORRUPT},
        {5, 0, 2, PV_E_UNSUPPORTED},   {5, 1, 1, PV_E_CORRUPT},     {5, 1, 3, PV_E_CORRUPT},
        {5, 1, 9, PV_E_CORRUPT},       {5, 2, 1, PV_E_CORRUPT},     {5, 7, 1, PV_E_CORRUPT},
        {5, 48, 0, PV_E_CORRUPT},      {5, 49, 11, PV_E_CORRUPT},   {5, 50, 1, PV_E_CORRUPT},
        {5, 60, 0, PV_E_CORRUPT},
    };
    refused(changes, PV_COUNT(changes));
}

Test(body, member_round_trip_and_limits)
{
    struct pv_member_body in = {.generation = UINT32_MAX,
                                .expelled = true,
                                .stale = true,
                                .role = PV_ROLE_KEYED,
                                .weight = 1,
                                .subject = {9}};
    struct pv_member_body out;
    memset(in.zone, 'z', 32);
    cr_assert_eq(pv_member_body_encode(bytes, &len, &in), PV_OK);
    cr_assert_eq(len, 80);
    cr_assert_eq(pv_member_body_decode(&out, bytes, len), PV_OK);
    cr_assert_eq(out.generation, UINT32_MAX);
    cr_assert(out.expelled && out.stale);
    cr_assert_eq(out.role, PV_ROLE_KEYED);
    cr_assert_eq(out.weight, 1);
    cr_assert_str_eq(out.zone, in.zone);
    cr_assert_eq(memcmp(out.subject, in.subject, PV_PUB_LEN), 0);

    struct pv_member_body bad[5] = {in, in, in, in, in};
    bad[0].role = 0;
    bad[1].role = 3;
    bad[2].weight = 0;
    bad[3].weight = 17;
    bad[4].zone[32] = 'z';
    for (size_t i = 0; i < PV_COUNT(bad); i++)
        cr_assert_eq(pv_member_body_encode(bytes, &len, &bad[i]), PV_E_INVALID, "body %zu", i);
}

Test(body, roles_have_names)
{
    cr_assert_str_eq(pv_role_name(PV_ROLE_KEYED), "keyed");
    cr_assert_str_eq(pv_role_name(PV_ROLE_BLIND), "blind");
    cr_assert_str_eq(pv_role_name(0), "?");
    cr_assert_str_eq(pv_role_name(3), "?");
    for (uint8_t role = PV_ROLE_KEYED; role <= PV_ROLE_BLIND; role++)
        cr_assert_eq(pv_role_find(pv_role_name(role)), role);
    cr_assert_eq(pv_role_find(NULL), 0);
    cr_assert_eq(pv_role_find(""), 0);
    cr_assert_eq(pv_role_find("Keyed"), 0);
}

Test(body, address_round_trip_and_limits)
{
    static struct pv_address_body in = {.capacity_bytes = UINT64_MAX, .count = PV_ADDRESSES_MAX};
    static struct pv_address_body out;
    for (size_t i = 0; i < PV_ADDRESSES_MAX; i++)
        memset(in.addresses[i], 'a', i == 0 ? PV_ADDRESS_MAX : i);
    cr_assert_eq(pv_address_body_encode(bytes, &len, &in), PV_OK);
    cr_assert_eq(pv_address_body_decode(&out, bytes, len), PV_OK);
    cr_assert_eq(out.capacity_bytes, UINT64_MAX);
    cr_assert_eq(out.count, PV_ADDRESSES_MAX);
    for (size_t i = 0; i < PV_ADDRESSES_MAX; i++)
        cr_assert_str_eq(out.addresses[i], in.addresses[i]);
    in.addresses[0][PV_ADDRESS_MAX] = 'a';
    cr_assert_eq(pv_address_body_encode(bytes, &len, &in), PV_E_INVALID);
    in.addresses[0][0] = '\0';
    cr_assert_eq(pv_address_body_encode(bytes, &len, &in), PV_E_INVALID);
    in.addresses[0][0] = 'a';
    in.addresses[0][1] = '\0';
    in.count = PV_ADDRESSES_MAX + 1;
    cr_assert_eq(pv_address_body_encode(bytes, &len, &in), PV_E_INVALID);
    in.count = 0;
    cr_assert_eq(pv_address_body_encode(bytes, &len, &in), PV_OK);
    cr_assert_eq(len, 56);
    cr_assert_eq(pv_address_body_decode(&out, bytes, len), PV_OK);
}

/* What rotation does: the opened body, padding included, is sealed again under another key. */
Test(body, survives_sealing_under_another_key)
{
    static uint8_t env[PV_RECORD_LEN_MAX], opened[PV_RECORD_BODY_MAX];
    const struct pv_cluster_keys keys[] = {pvt_cluster_keys(0), pvt_cluster_keys(1)};
    uint8_t seed[PV_SEED_LEN] = {2}, salt[32] = {3}, author[PV_PUB_LEN], author_seed[PV_SEED_LEN];
    const struct pv_file_body in = tree_body();
    struct pv_file_body out;
    struct pv_record rec;
    size_t env_len;
    cr_assert_eq(encode_file(&in), PV_OK);
    for (size_t i = 0; i < 2; i++) {
        const struct pv_record_draft draft = {
            .type = PV_RECORD_FILE, .epoch = PVT_EPOCH, .body = bytes, .body_len = len};
        cr_assert_eq(pv_record_seal(env, &env_len, &draft, &keys[i], seed, salt), PV_OK);
        cr_assert_eq(pv_record_verify(&rec, env, env_len), PV_OK);
        cr_assert_eq(pv_record_open(opened, env, env_len, &rec, &keys[i]), PV_OK);
        len = rec.body_len;
        memcpy(bytes, opened, len);
    }
    seed_of(author_seed);
    pv_ed25519_public(author, author_seed);
    cr_assert_eq(pv_file_body_decode(&out, opened, len, true), PV_OK);
    cr_assert_eq(memcmp(out.author.pub, author, sizeof author), 0);
    cr_assert_neq(memcmp(out.author.pub, rec.author, sizeof author), 0);
}
