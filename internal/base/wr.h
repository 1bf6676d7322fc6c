/*
 * Bounds-checked writer into a buffer of fixed size; the twin of rd.h. Sticky error: a write that
 * does not fit writes nothing and sets bad, and pv_wr_end reports PV_E_LIMIT once. Big-endian.
 * The functions test bad, not the pointer: gcc 12 otherwise follows a NULL buffer through two
 * writes and warns about a store to address 4.
 */
#ifndef PV_BASE_WR_H
#define PV_BASE_WR_H

#include "internal/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct pv_wr {
    uint8_t *start, *p, *end;
    bool bad;
};

static inline struct pv_wr pv_wr_of(void *bytes, size_t cap)
{
    uint8_t *p = bytes;
    return (struct pv_wr){p, p, cap == 0 ? p : p + cap, false};
}

static inline size_t pv_wr_len(const struct pv_wr *w)
{
    return (size_t)(w->p - w->start);
}

/* Room for len bytes to be filled in by the caller; NULL and bad when there is not that much. */
static inline uint8_t *pv_wr_room(struct pv_wr *w, size_t len)
{
    if (w->bad || len > (size_t)(w->end - w->p)) {
        w->bad = true;
        return NULL;
    }
    uint8_t *p = w->p;
    w->p += len;
    return p;
}

static inline void pv_wr_bytes(struct pv_wr *w, const void *src, size_t len)
{
    uint8_t *p = pv_wr_room(w, len);
    if (!w->bad && len > 0)
        memcpy(p, src, len);
}

static inline void pv_wr_zero(struct pv_wr *w, size_t len)
{
    uint8_t *p = pv_wr_room(w, len);
    if (!w->bad && len > 0)
        memset(p, 0, len);
}

static inline void pv_wr_uint(struct pv_wr *w, uint64_t v, size_t width)
{
    uint8_t *p = pv_wr_room(w, width);
    for (size_t i = width; !w->bad && i-- > 0; v >>= 8)
        p[i] = (uint8_t)v;
}

static inline void pv_wr_u8(struct pv_wr *w, uint8_t v)
{
    pv_wr_uint(w, v, 1);
}

static inline void pv_wr_u16(struct pv_wr *w, uint16_t v)
{
    pv_wr_uint(w, v, 2);
}

static inline void pv_wr_u32(struct pv_wr *w, uint32_t v)
{
    pv_wr_uint(w, v, 4);
}

static inline void pv_wr_u64(struct pv_wr *w, uint64_t v)
{
    pv_wr_uint(w, v, 8);
}

/* A u8 with the length of a text of at most 255 bytes, and the text. */
static inline void pv_wr_text8(struct pv_wr *w, const char *text)
{
    size_t len = strlen(text);
    PV_ASSERT(len <= UINT8_MAX);
    pv_wr_u8(w, (uint8_t)len);
    pv_wr_bytes(w, text, len);
}

static inline enum pv_err pv_wr_end(const struct pv_wr *w)
{
    return w->bad ? PV_E_LIMIT : PV_OK;
}

#endif
