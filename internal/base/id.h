/*
 * 32-byte identifiers (blob ids, record ids, node ids, file keys) and their text forms.
 *
 * Blob ids, rids and file keys are written as 64 lower-case hex digits. Base32 is RFC 4648's
 * alphabet in lower case without padding; it is used for tokens and node ids.
 */
#ifndef PV_BASE_ID_H
#define PV_BASE_ID_H

#include "internal/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { PV_ID_LEN = 32, PV_ID_HEX_LEN = 64 };

struct pv_id {
    uint8_t b[PV_ID_LEN];
};

static inline bool pv_id_equal(const struct pv_id *a, const struct pv_id *b)
{
    return memcmp(a->b, b->b, PV_ID_LEN) == 0; /* ids are public: no need for constant time */
}

static inline int pv_id_cmp(const struct pv_id *a, const struct pv_id *b)
{
    return memcmp(a->b, b->b, PV_ID_LEN);
}

void pv_hex_encode(char *dst, const void *src, size_t len); /* writes 2 * len digits and a NUL */

/* Exactly 2 * dst_len hex digits (either case), else PV_E_INVALID and dst untouched. */
PV_MUST enum pv_err pv_hex_decode(void *dst, size_t dst_len, const char *src, size_t src_len);

void pv_id_hex(char dst[static PV_ID_HEX_LEN + 1], const struct pv_id *id);
PV_MUST enum pv_err pv_id_parse(struct pv_id *id, const char *hex); /* 64 digits, lower or upper */

/* Base32. Encoded length of len bytes is (len * 8 + 4) / 5, without the NUL written after it. */
void pv_base32_encode(char *dst, size_t dst_cap, const void *src, size_t len);
/* Accepts either case. Unused trailing bits must be zero. PV_E_INVALID on anything else. */
PV_MUST enum pv_err pv_base32_decode(void *dst, size_t dst_len, const char *src, size_t src_len);

#endif
