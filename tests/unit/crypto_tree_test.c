#include "crypto/tree.h"

#include "internal/base/mem.h"
#include "tests/unit/crypto_fixture.h"

TestSuite(tree, .timeout = 60);

static struct pv_entry entry_of(enum pv_blob_kind kind, uint64_t length)
{
    struct pv_entry e = {.id = pvt_id_of("id"), .length = length, .kind = kind};
    pvt_fill_hash(e.dk, "dk");
    return e;
}

Test(tree, entry_round_trip)
{
    uint8_t bytes[PV_ENTRY_LEN];
    struct pv_entry out;
    const struct pv_entry entries[] = {
        entry_of(PV_BLOB_CHUNK, 1),
        entry_of(PV_BLOB_CHUNK, PV_BLOB_PAYLOAD_MAX),
        entry_of(PV_BLOB_NODE, 1),
        entry_of(PV_BLOB_NODE, UINT64_MAX),
    };
    for (size_t i = 0; i < PV_COUNT(entries); i++) {
        pv_entry_encode(bytes, &entries[i]);
        cr_assert_eq(pv_entry_decode(&out, bytes), PV_OK);
        cr_assert(pv_id_equal(&out.id, &entries[i].id));
        cr_assert_eq(memcmp(out.dk, entries[i].dk, PV_KEY_LEN), 0);
        cr_assert_eq(out.length, entries[i].length);
        cr_assert_eq(out.kind, entries[i].kind);
    }
}

Test(tree, entry_fields_out_of_range)
{
    uint8_t bytes[PV_ENTRY_LEN];
    struct pv_entry out;
    const struct pv_entry bad[] = {entry_of(PV_BLOB_CHUNK, 0),
                                   entry_of(PV_BLOB_CHUNK, PV_BLOB_PAYLOAD_MAX + 1),
                                   entry_of(PV_BLOB_NODE, 0), entry_of((enum pv_blob_kind)0, 1),
                                   entry_of((enum pv_blob_kind)3, 1)};
    for (size_t i = 0; i < PV_COUNT(bad); i++) {
        cr_assert_not(pv_entry_valid(&bad[i]));
        pv_entry_encode(bytes, &bad[i]);
        cr_assert_eq(pv_entry_decode(&out, bytes), PV_E_CORRUPT, "entry %zu", i);
    }
    const struct pv_entry good = entry_of(PV_BLOB_CHUNK, 1);
    pv_entry_encode(bytes, &good);
    for (size_t i = 73; i < PV_ENTRY_LEN; i++) {
        bytes[i] = 1;
        cr_assert_eq(pv_entry_decode(&out, bytes), PV_E_CORRUPT);
        bytes[i] = 0;
    }
}

/* A node of count chunks of the given length each. */
static uint8_t *node_of(size_t count, uint64_t length)
{
    uint8_t *payload = pv_malloc(count * PV_ENTRY_LEN);
    const struct pv_entry e = entry_of(PV_BLOB_CHUNK, length);
    cr_assert_not_null(payload);
    for (size_t i = 0; i < count; i++)
        pv_entry_encode(payload + i * PV_ENTRY_LEN, &e);
    return payload;
}

Test(tree, node_counts)
{
    static const size_t counts[] = {1, 2, PV_NODE_ENTRIES_MAX};
    for (size_t i = 0; i < PV_COUNT(counts); i++) {
        size_t count = 0;
        const struct pv_entry parent = entry_of(PV_BLOB_NODE, 1000 * counts[i]);
        uint8_t *payload = node_of(counts[i], 1000);
        cr_assert_eq(pv_node_check(payload, counts[i] * PV_ENTRY_LEN, &parent, &count), PV_OK);
        cr_assert_eq(count, counts[i]);
        pv_free(payload);
    }
    size_t count = 77;
    const struct pv_entry parent = entry_of(PV_BLOB_NODE, PV_NODE_ENTRIES_MAX + 1);
    uint8_t *payload = node_of(PV_NODE_ENTRIES_MAX + 1, 1);
    cr_assert_eq(pv_node_check(payload, (PV_NODE_ENTRIES_MAX + 1) * PV_ENTRY_LEN, &parent, &count),
                 PV_E_CORRUPT);
    cr_assert_eq(pv_node_check(payload, 0, &parent, &count), PV_E_CORRUPT);
    cr_assert_eq(count, 77);
    pv_free(payload);
}

Test(tree, every_truncation_is_found)
{
    size_t count;
    const struct pv_entry parent = entry_of(PV_BLOB_NODE, 3000);
    uint8_t *payload = node_of(3, 1000);
    for (size_t len = 0; len < 3 * PV_ENTRY_LEN; len++) {
        uint8_t *cut = pv_memdup(payload, len);
        cr_assert_eq(pv_node_check(cut, len, &parent, &count), PV_E_CORRUPT, "length %zu", len);
        pv_free(cut);
    }
    pv_free(payload);
}

Test(tree, lengths_must_sum_to_the_parents)
{
    size_t count;
    uint8_t *payload = node_of(3, 1000);
    const struct pv_entry less = entry_of(PV_BLOB_NODE, 2999);
    const struct pv_entry more = entry_of(PV_BLOB_NODE, 3001);
    const struct pv_entry chunk = entry_of(PV_BLOB_CHUNK, 3000);
    cr_assert_eq(pv_node_check(payload, 3 * PV_ENTRY_LEN, &less, &count), PV_E_CORRUPT);
    cr_assert_eq(pv_node_check(payload, 3 * PV_ENTRY_LEN, &more, &count), PV_E_CORRUPT);
    cr_assert_eq(pv_node_check(payload, 3 * PV_ENTRY_LEN, &chunk, &count), PV_E_CORRUPT);

    /* Two lengths that wrap around to the parent's. */
    const struct pv_entry huge = entry_of(PV_BLOB_NODE, UINT64_MAX - 10);
    const struct pv_entry rest = entry_of(PV_BLOB_NODE, 111);
    const struct pv_entry parent = entry_of(PV_BLOB_NODE, 100);
    pv_entry_encode(payload, &huge);
    pv_entry_encode(payload + PV_ENTRY_LEN, &rest);
    cr_assert_eq(pv_node_check(payload, 2 * PV_ENTRY_LEN, &parent, &count), PV_E_CORRUPT);
    pv_free(payload);
}

Test(tree, one_bad_entry_spoils_the_node)
{
    size_t count;
    const struct pv_entry parent = entry_of(PV_BLOB_NODE, 3000);
    uint8_t *payload = node_of(3, 1000);
    for (size_t i = 0; i < 3; i++) {
        payload[i * PV_ENTRY_LEN + 79] = 1;
        cr_assert_eq(pv_node_check(payload, 3 * PV_ENTRY_LEN, &parent, &count), PV_E_CORRUPT);
        payload[i * PV_ENTRY_LEN + 79] = 0;
    }
    cr_assert_eq(pv_node_check(payload, 3 * PV_ENTRY_LEN, &parent, &count), PV_OK);
    pv_free(payload);
}
