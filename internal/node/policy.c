#include "internal/node/policy.h"

#include "internal/base/rd.h"
#include "internal/base/wr.h"

#include <string.h>

enum { VERSION = 1 };

static bool is_over(const struct pv_policy_entry *e, uint64_t now_s)
{
    return e->until_s != 0 && e->until_s <= now_s;
}

/* p->count: none. */
static size_t find(const struct pv_policy *p, const struct pv_id *node_id)
{
    size_t i = 0;
    while (i < p->count && !pv_id_equal(&p->entries[i].node_id, node_id))
        i++;
    return i;
}

const struct pv_policy_entry *pv_policy_find(const struct pv_policy *p, const struct pv_id *node_id,
                                             uint64_t now_s)
{
    size_t i = find(p, node_id);
    return i < p->count && !is_over(&p->entries[i], now_s) ? &p->entries[i] : NULL;
}

bool pv_policy_blocks(const struct pv_policy *p, const struct pv_id *node_id, uint64_t now_s)
{
    const struct pv_policy_entry *e = pv_policy_find(p, node_id, now_s);
    return e != NULL && e->kind == PV_POLICY_BLOCK;
}

static void forget_what_is_over(struct pv_policy *p, uint64_t now_s)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++)
        if (!is_over(&p->entries[i], now_s))
            p->entries[kept++] = p->entries[i];
    p->count = kept;
}

enum pv_err pv_policy_put(struct pv_policy *p, const struct pv_policy_entry *entry, uint64_t now_s)
{
    forget_what_is_over(p, now_s);
    size_t i = find(p, &entry->node_id);
    if (i == PV_POLICY_MAX)
        return PV_E_LIMIT;
    p->entries[i] = *entry;
    p->count += i == p->count;
    return PV_OK;
}

bool pv_policy_drop(struct pv_policy *p, const struct pv_id *node_id)
{
    size_t i = find(p, node_id);
    if (i == p->count)
        return false;
    p->entries[i] = p->entries[--p->count];
    return true;
}

/* ---- as bytes ---- */

enum pv_err pv_policy_encode(struct pv_buf *out, const struct pv_policy *p)
{
    uint8_t bytes[PV_POLICY_ENTRY_LEN_MAX];
    struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
    pv_wr_u8(&w, VERSION);
    pv_wr_u16(&w, (uint16_t)p->count);
    enum pv_err err = pv_buf_append(out, bytes, pv_wr_len(&w));
    for (size_t i = 0; err == PV_OK && i < p->count; i++) {
        const struct pv_policy_entry *e = &p->entries[i];
        w = pv_wr_of(bytes, sizeof bytes);
        pv_wr_bytes(&w, e->node_id.b, PV_ID_LEN);
        pv_wr_u8(&w, e->kind);
        pv_wr_u8(&w, e->role);
        pv_wr_u8(&w, e->weight);
        pv_wr_u64(&w, e->since_s);
        pv_wr_u64(&w, e->until_s);
        pv_wr_text8(&w, e->zone);
        pv_wr_text8(&w, e->reason);
        PV_ASSERT(!w.bad);
        err = pv_buf_append(out, bytes, pv_wr_len(&w));
    }
    return err;
}

static bool rd_entry(struct pv_rd *r, struct pv_policy_entry *e)
{
    pv_rd_copy(r, e->node_id.b, PV_ID_LEN);
    e->kind = pv_rd_u8(r);
    e->role = pv_rd_u8(r);
    e->weight = pv_rd_u8(r);
    e->since_s = pv_rd_u64(r);
    e->until_s = pv_rd_u64(r);
    pv_rd_text(r, pv_rd_u8(r), e->zone, sizeof e->zone - 1);
    pv_rd_text(r, pv_rd_u8(r), e->reason, sizeof e->reason - 1);
    return !r->bad && (e->kind == PV_POLICY_ALLOW || e->kind == PV_POLICY_BLOCK) &&
           e->role <= PV_ROLE_BLIND && e->weight >= 1 && e->weight <= 16;
}

enum pv_err pv_policy_decode(struct pv_policy *out, const uint8_t *src, size_t len)
{
    struct pv_rd r = pv_rd_of(src, len);
    bool good = pv_rd_u8(&r) == VERSION;
    size_t count = pv_rd_u16(&r);
    out->count = 0;
    good = good && count <= PV_POLICY_MAX;
    for (size_t i = 0; good && i < count; i++) {
        good = rd_entry(&r, &out->entries[i]) && find(out, &out->entries[i].node_id) == i;
        out->count += good;
    }
    if (good && pv_rd_end(&r) == PV_OK)
        return PV_OK;
    out->count = 0;
    return PV_E_CORRUPT;
}
