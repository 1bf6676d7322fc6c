/* The body of the one record of type 6. See body.c for how the others are made. */
#include "crypto/body.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"

#include <string.h>

enum { VERSION = 1, HEAD_LEN = 8, KID_LEN = PV_KID_LEN + 8 };

void pv_rid_cluster(struct pv_id *rid)
{
    pv_rid_clear(rid, PV_RECORD_CLUSTER, "keys", 4);
}

static bool is_sound(const struct pv_cluster_body *b)
{
    bool sound = b->count >= 1 && b->count <= PV_CLUSTER_KIDS_MAX && b->keys[0].retire_s == 0;
    for (size_t i = 0; sound && i < b->count; i++)
        for (size_t k = 0; sound && k < i; k++)
            sound = memcmp(b->keys[i].kid.b, b->keys[k].kid.b, PV_KID_LEN) != 0;
    return sound;
}

enum pv_err pv_cluster_body_encode(uint8_t *dst, size_t *len, const struct pv_cluster_body *body)
{
    struct pv_wr w = pv_wr_of(dst, PV_RECORD_BODY_MAX);
    if (!is_sound(body))
        return PV_E_INVALID;
    pv_wr_u8(&w, VERSION);
    pv_wr_u8(&w, (uint8_t)body->count);
    pv_wr_zero(&w, HEAD_LEN - 2);
    for (size_t i = 0; i < body->count; i++) {
        pv_wr_bytes(&w, body->keys[i].kid.b, PV_KID_LEN);
        pv_wr_u64(&w, body->keys[i].retire_s);
    }
    *len = pv_wr_len(&w);
    return pv_wr_end(&w);
}

enum pv_err pv_cluster_body_decode(struct pv_cluster_body *out, const uint8_t *src, size_t len)
{
    struct pv_cluster_body body = {.count = 0};
    struct pv_rd r = pv_rd_of(src, len);
    uint8_t version = pv_rd_u8(&r);
    if (!r.bad && version != VERSION)
        return PV_E_UNSUPPORTED;
    body.count = pv_rd_count(&r, pv_rd_u8(&r), KID_LEN, PV_CLUSTER_KIDS_MAX);
    pv_rd_zero(&r, HEAD_LEN - 2);
    for (size_t i = 0; i < body.count; i++) {
        pv_rd_copy(&r, body.keys[i].kid.b, PV_KID_LEN);
        body.keys[i].retire_s = pv_rd_u64(&r);
    }
    if (pv_rd_end(&r) != PV_OK || !is_sound(&body))
        return PV_E_CORRUPT;
    *out = body;
    return PV_OK;
}
