/*
 * Bounds-checked reader over untrusted bytes; with wr.h the only place with pointer arithmetic on
 * them. The error is sticky: after a short read every further read gives zeros, and pv_rd_end says
 * so once. Integers are big-endian, as everywhere in PeerVault. Inline: all of it is tiny.
 *
 *     struct pv_rd r = pv_rd_of(bytes, len);
 *     uint32_t n = pv_rd_u32(&r);
 *     pv_rd_copy(&r, id, sizeof id);
 *     return pv_rd_end(&r);           // PV_E_PROTOCOL if short or if bytes remain
 */
#ifndef PV_BASE_RD_H
#define PV_BASE_RD_H

#include "internal/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct pv_rd {
    const uint8_t *p, *end;
    bool bad;
};

static inline struct pv_rd pv_rd_of(const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    return (struct pv_rd){p, len == 0 ? p : p + len, false};
}

static inline size_t pv_rd_left(const struct pv_rd *r)
{
    return (size_t)(r->end - r->p);
}

/* A borrowed view of the next len bytes, valid as long as the input; NULL and bad when short. */
static inline const uint8_t *pv_rd_view(struct pv_rd *r, size_t len)
{
    if (r->bad || len > pv_rd_left(r)) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += len;
    return p;
}

/* Copies dst_len bytes; the length belongs to the destination. Zeroes dst when short. */
static inline void pv_rd_copy(struct pv_rd *r, void *dst, size_t dst_len)
{
    const uint8_t *p = pv_rd_view(r, dst_len);
    if (p == NULL)
        memset(dst, 0, dst_len);
    else
        memcpy(dst, p, dst_len);
}

static inline uint64_t pv_rd_uint(struct pv_rd *r, size_t width)
{
    const uint8_t *p = pv_rd_view(r, width);
    uint64_t v = 0;
    for (size_t i = 0; p != NULL && i < width; i++)
        v = v << 8 | p[i];
    return v;
}

static inline uint8_t pv_rd_u8(struct pv_rd *r)
{
    return (uint8_t)pv_rd_uint(r, 1);
}

static inline uint16_t pv_rd_u16(struct pv_rd *r)
{
    return (uint16_t)pv_rd_uint(r, 2);
}

static inline uint32_t pv_rd_u32(struct pv_rd *r)
{
    return (uint32_t)pv_rd_uint(r, 4);
}

static inline uint64_t pv_rd_u64(struct pv_rd *r)
{
    return pv_rd_uint(r, 8);
}

/* Fields that must be zero in this version. */
static inline void pv_rd_zero(struct pv_rd *r, size_t len)
{
    const uint8_t *p = pv_rd_view(r, len);
    for (size_t i = 0; p != NULL && i < len; i++)
        if (p[i] != 0)
            r->bad = true;
}

/* A count of items of item_len bytes each: bad unless count <= max and all of them are there. */
static inline uint32_t pv_rd_count(struct pv_rd *r, uint32_t count, size_t item_len, uint32_t max)
{
    if (r->bad || count > max || (size_t)count > pv_rd_left(r) / item_len) {
        r->bad = true;
        return 0;
    }
    return count;
}

/* A text of len bytes into dst, which has room for cap and a NUL: bad, and "", when it is longer,
 * not all there, or has a NUL in it. */
static inline void pv_rd_text(struct pv_rd *r, size_t len, char *dst, size_t cap)
{
    const uint8_t *p = len <= cap ? pv_rd_view(r, len) : NULL;
    r->bad = p == NULL || memchr(p, 0, len) != NULL;
    if (!r->bad)
        memcpy(dst, p, len);
    dst[r->bad ? 0 : len] = '\0';
}

static inline enum pv_err pv_rd_end(const struct pv_rd *r)
{
    return r->bad || r->p != r->end ? PV_E_PROTOCOL : PV_OK;
}

#endif
