/*
 * F5: blobs. The first byte chooses: bit 0, any bytes, or any plaintext under the right seal;
 * bit 1, a chunk or a node. What opens is what a writer wrote, down to the padding.
 */
#include "tests/fuzz/fuzz.h"
#include "crypto/tree.h"

static uint8_t golden[PV_BLOB_LEN_MIN];
static struct pv_blob_sealed sealed;

static void make_golden(void)
{
    struct pv_cluster_keys keys;
    uint8_t key[PV_KEY_LEN] = {1};
    memset(golden, 'g', sizeof golden);
    cr_assert_eq(pv_cluster_keys_derive(&keys, key), PV_OK);
    cr_assert_eq(pv_blob_seal(&sealed, &keys, 0, PV_BLOB_CHUNK, golden, 100, NULL), PV_OK);
}

/* header 32 || plaintext, of which the length field is put right. */
static uint8_t *seal_anything(struct pv_rd *r, size_t *len)
{
    static const uint8_t nonce[PV_NONCE_LEN];
    struct pv_aead *aead;
    size_t left = pv_rd_left(r) > PV_BLOB_HEADER_LEN ? pv_rd_left(r) - PV_BLOB_HEADER_LEN : 0;
    size_t padded = pv_padme(left > PV_BLOB_PADDED_MIN ? left : PV_BLOB_PADDED_MIN);
    *len = PV_BLOB_HEADER_LEN + padded + PV_TAG_LEN;
    uint8_t *blob = pv_calloc(1, *len);
    pv_rd_copy(r, blob, PV_BLOB_HEADER_LEN);
    struct pv_wr w = pv_wr_of(blob + 24, 4);
    pv_wr_u32(&w, (uint32_t)padded);
    pv_rd_copy(r, blob + PV_BLOB_HEADER_LEN, left);
    cr_assert_eq(pv_aead_new(&aead, sealed.dk), PV_OK);
    pv_aead_seal(aead, nonce, blob, PV_BLOB_HEADER_LEN, blob + PV_BLOB_HEADER_LEN, padded,
                 blob + PV_BLOB_HEADER_LEN);
    pv_aead_free(aead);
    return blob;
}

static void check_node(const uint8_t *payload, size_t len)
{
    struct pv_entry e, parent = {.kind = PV_BLOB_NODE};
    uint8_t again[PV_ENTRY_LEN];
    size_t count, good = 0;
    for (; (good + 1) * PV_ENTRY_LEN <= len; good++) {
        if (pv_entry_decode(&e, payload + good * PV_ENTRY_LEN) != PV_OK)
            break;
        parent.length += e.length;
        pv_entry_encode(again, &e);
        cr_assert_arr_eq(again, payload + good * PV_ENTRY_LEN, PV_ENTRY_LEN);
    }
    if (pv_node_check(payload, len, &parent, &count) != PV_OK)
        return;
    cr_assert(count == good && count * PV_ENTRY_LEN == len && count <= PV_NODE_ENTRIES_MAX);
    parent.length++;
    cr_assert_eq(pv_node_check(payload, len, &parent, &count), PV_E_CORRUPT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_rd r = pv_rd_of(data, size);
    struct pv_id id;
    const uint8_t *payload;
    if (sealed.blob_len == 0)
        make_golden();
    uint8_t mode = pv_rd_u8(&r);
    enum pv_blob_kind kind = (mode & 2) != 0 ? PV_BLOB_NODE : PV_BLOB_CHUNK;
    size_t payload_len, len = pv_rd_left(&r);
    uint8_t *blob = (mode & 1) != 0 ? seal_anything(&r, &len) : pv_memdup(r.p, len);
    pv_sha256(id.b, blob, len);
    bool whole = len >= PV_BLOB_LEN_MIN && pv_blob_len_of(blob, len) == len;
    cr_assert_eq(pv_blob_check(blob, len, &id) == PV_OK, whole);
    enum pv_err err = pv_blob_open(blob, len, sealed.dk, kind, &payload, &payload_len);
    cr_assert(err == PV_OK || err == PV_E_CORRUPT || err == PV_E_UNSUPPORTED);
    if (err == PV_OK) {
        cr_assert(whole && payload == blob + PV_BLOB_PAYLOAD_OFFSET);
        cr_assert(pv_blob_len(payload_len) == len && payload_len >= 1);
        cr_assert((mode & 1) != 0 || pv_id_equal(&id, &sealed.id), "forged");
        if (kind == PV_BLOB_NODE)
            check_node(payload, payload_len);
    }
    pv_free(blob);
    if ((mode & 1) != 0)
        check_node(data, size);
    return 0;
}
