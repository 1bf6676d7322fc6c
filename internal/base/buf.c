/*
 * One block of cap + 1 bytes: the hidden last byte takes the NUL of vsnprintf, so that a text may
 * fill the buffer to its ceiling. Growth never uses realloc, which would leave the old plaintext
 * behind in freed memory: allocate, copy, wipe, free.
 */
#include "internal/base/buf.h"
#include "internal/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_CAP_BYTES = 64, DEBUG_MOVE_BYTES_MAX = 4096 };

void pv_buf_init(struct pv_buf *b, size_t cap_max)
{
    PV_ASSERT(cap_max < SIZE_MAX);
    *b = (struct pv_buf){.cap_max = cap_max};
}

void pv_buf_release(struct pv_buf *b)
{
    if (b->data != NULL)
        pv_wipe(b->data, b->cap + 1);
    pv_free(b->data);
    *b = (struct pv_buf){.cap_max = b->cap_max};
}

void pv_buf_reset(struct pv_buf *b)
{
    b->len = 0;
}

static enum pv_err move_to(struct pv_buf *b, size_t cap)
{
    uint8_t *data = pv_malloc(cap + 1);
    if (data == NULL)
        return PV_E_NOMEM;
    if (b->data != NULL) {
        memcpy(data, b->data, b->len);
        pv_wipe(b->data, b->cap + 1);
        pv_free(b->data);
    }
    b->data = data;
    b->cap = cap;
    return PV_OK;
}

enum pv_err pv_buf_reserve(struct pv_buf *b, size_t more)
{
    if (more > b->cap_max - b->len)
        return PV_E_LIMIT;
    size_t needed = b->len + more;
#ifdef PV_DEBUG_MEMORY
    /* Small buffers only: to move large ones for every few bytes would make tests quadratic. */
    if (b->data == NULL || (needed > b->len && needed <= DEBUG_MOVE_BYTES_MAX))
        return move_to(b, needed);
#endif
    if (b->data != NULL && needed <= b->cap)
        return PV_OK;
    size_t cap = b->cap > b->cap_max / 2 ? b->cap_max : b->cap * 2;
    if (cap < FIRST_CAP_BYTES)
        cap = b->cap_max < FIRST_CAP_BYTES ? b->cap_max : FIRST_CAP_BYTES;
    return move_to(b, needed > cap ? needed : cap);
}

enum pv_err pv_buf_append(struct pv_buf *b, const void *src, size_t len)
{
    if (len == 0)
        return PV_OK;
    enum pv_err err = pv_buf_reserve(b, len);
    if (err != PV_OK)
        return err;
    memcpy(b->data + b->len, src, len);
    b->len += len;
    return PV_OK;
}

enum pv_err pv_buf_printf(struct pv_buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    enum pv_err err = len < 0 ? PV_E_INVALID : pv_buf_reserve(b, (size_t)len);
    if (err == PV_OK) {
        vsnprintf((char *)b->data + b->len, (size_t)len + 1, fmt, again);
        b->len += (size_t)len;
    }
    va_end(again);
    va_end(args);
    return err;
}

void pv_buf_consume(struct pv_buf *b, size_t len)
{
    PV_ASSERT(len <= b->len);
    if (len > 0)
        memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
}

uint8_t *pv_buf_detach(struct pv_buf *b, size_t *len)
{
    uint8_t *data = b->data;
    *len = b->len;
    *b = (struct pv_buf){.cap_max = b->cap_max};
    return data;
}
