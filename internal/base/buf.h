/*
 * A growable byte buffer with a ceiling.
 *
 * init -> append... -> consume... -> release. The bytes are data[0..len). Growth doubles and never
 * passes cap_max; asking for more is PV_E_LIMIT. Old memory is wiped when it moves, because
 * buffers carry plaintext. With -DPV_DEBUG_MEMORY every growth reallocates, so that stale pointers
 * die in tests. Pointers into data are valid until the next call on the buffer.
 */
#ifndef PV_BASE_BUF_H
#define PV_BASE_BUF_H

#include "internal/base/err.h"
#include <stddef.h>
#include <stdint.h>

struct pv_buf {
    uint8_t *data;
    size_t len, cap, cap_max;
};

void pv_buf_init(struct pv_buf *b, size_t cap_max); /* allocates nothing */
void pv_buf_release(struct pv_buf *b);              /* wipes and frees; the struct may be reused */
void pv_buf_reset(struct pv_buf *b);                /* len = 0, memory kept */
PV_MUST enum pv_err pv_buf_reserve(struct pv_buf *b, size_t more); /* room for more bytes */
PV_MUST enum pv_err pv_buf_append(struct pv_buf *b, const void *src, size_t len);
PV_MUST enum pv_err pv_buf_printf(struct pv_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void pv_buf_consume(struct pv_buf *b, size_t len); /* drops len bytes from the front */

/* Gives the memory to the caller (pv_free it) and leaves the buffer empty. May be NULL if empty. */
uint8_t *pv_buf_detach(struct pv_buf *b, size_t *len);

#endif
