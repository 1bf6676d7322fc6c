/*
 * DIGEST has three forms behind one kind byte: the salted root, a run of buckets, and a segment of
 * the hashes of one bucket. The decoded form is large, so lists go straight into the caller's
 * struct, whose count is set only when everything was right.
 */
#include "transport/msg.h"

enum { BUCKET_LEN = 4 + 16 };

void pv_msg_put_digest_root(struct pv_wr *w, const uint8_t root[static 32])
{
    pv_wr_u8(w, PV_MSG_DIGEST);
    pv_wr_u8(w, PV_DIGEST_ROOT);
    pv_wr_bytes(w, root, 32);
}

void pv_msg_put_digest_buckets(struct pv_wr *w, uint16_t first, const struct pv_bucket *buckets,
                               size_t count)
{
    PV_ASSERT(count <= PV_MSG_BUCKETS_MAX && first + count <= PV_DIGEST_BUCKETS);
    pv_wr_u8(w, PV_MSG_DIGEST);
    pv_wr_u8(w, PV_DIGEST_BUCKET_LIST);
    pv_wr_u16(w, first);
    pv_wr_u16(w, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        pv_wr_u32(w, buckets[i].count);
        pv_wr_bytes(w, buckets[i].sum, sizeof buckets[i].sum);
    }
}

void pv_msg_put_digest_hashes(struct pv_wr *w, uint16_t bucket, bool last,
                              const struct pv_id *hashes, size_t count)
{
    PV_ASSERT(count <= PV_MSG_HASHES_MAX && bucket < PV_DIGEST_BUCKETS);
    pv_wr_u8(w, PV_MSG_DIGEST);
    pv_wr_u8(w, PV_DIGEST_HASH_LIST);
    pv_wr_u16(w, bucket);
    pv_wr_u8(w, last);
    pv_wr_u16(w, (uint16_t)count);
    for (size_t i = 0; i < count; i++)
        pv_wr_bytes(w, hashes[i].b, PV_ID_LEN);
}

static void get_buckets(struct pv_rd *r, struct pv_msg_digest *m)
{
    m->first = pv_rd_u16(r);
    uint32_t max = m->first < PV_DIGEST_BUCKETS ? PV_DIGEST_BUCKETS - (uint32_t)m->first : 0;
    if (max > PV_MSG_BUCKETS_MAX)
        max = PV_MSG_BUCKETS_MAX;
    m->count = pv_rd_count(r, pv_rd_u16(r), BUCKET_LEN, max);
    if (m->count == 0)
        r->bad = true;
    for (size_t i = 0; i < m->count; i++) {
        m->buckets[i].count = pv_rd_u32(r);
        pv_rd_copy(r, m->buckets[i].sum, sizeof m->buckets[i].sum);
    }
}

static void get_hashes(struct pv_rd *r, struct pv_msg_digest *m)
{
    m->first = pv_rd_u16(r);
    uint8_t last = pv_rd_u8(r);
    m->last = last == 1;
    m->count = pv_rd_count(r, pv_rd_u16(r), PV_ID_LEN, PV_MSG_HASHES_MAX);
    if (m->first >= PV_DIGEST_BUCKETS || last > 1)
        r->bad = true;
    for (size_t i = 0; i < m->count; i++)
        pv_rd_copy(r, m->hashes[i].b, PV_ID_LEN);
}

enum pv_err pv_msg_get_digest(struct pv_rd *r, struct pv_msg_digest *m)
{
    m->kind = pv_rd_u8(r);
    m->count = 0;
    if (m->kind == PV_DIGEST_ROOT)
        pv_rd_copy(r, m->root, sizeof m->root);
    else if (m->kind == PV_DIGEST_BUCKET_LIST)
        get_buckets(r, m);
    else if (m->kind == PV_DIGEST_HASH_LIST)
        get_hashes(r, m);
    else
        return PV_E_PROTOCOL;
    return pv_rd_end(r);
}
