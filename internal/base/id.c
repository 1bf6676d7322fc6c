/*
 * Hex and base32. Decoders check everything before the first byte of dst is written, because
 * callers rely on "untouched on error". Ids are public, so nothing here is constant-time; secrets
 * that pass through base32 (tokens) are entered by hand, where timing tells nobody anything.
 */
#include "internal/base/id.h"

static const char hex_digits[] = "0123456789abcdef";
static const char base32_digits[] = "abcdefghijklmnopqrstuvwxyz234567";

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int base32_value(char c)
{
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= '2' && c <= '7')
        return c - '2' + 26;
    return -1;
}

void pv_hex_encode(char *dst, const void *src, size_t len)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < len; i++) {
        dst[2 * i] = hex_digits[p[i] >> 4];
        dst[2 * i + 1] = hex_digits[p[i] & 15];
    }
    dst[2 * len] = '\0';
}

enum pv_err pv_hex_decode(void *dst, size_t dst_len, const char *src, size_t src_len)
{
    if (src_len % 2 != 0 || src_len / 2 != dst_len)
        return PV_E_INVALID;
    for (size_t i = 0; i < src_len; i++)
        if (hex_value(src[i]) < 0)
            return PV_E_INVALID;
    uint8_t *p = dst;
    for (size_t i = 0; i < dst_len; i++)
        p[i] = (uint8_t)(hex_value(src[2 * i]) * 16 + hex_value(src[2 * i + 1]));
    return PV_OK;
}

void pv_id_hex(char dst[static PV_ID_HEX_LEN + 1], const struct pv_id *id)
{
    pv_hex_encode(dst, id->b, PV_ID_LEN);
}

enum pv_err pv_id_parse(struct pv_id *id, const char *hex)
{
    return pv_hex_decode(id->b, PV_ID_LEN, hex, strnlen(hex, PV_ID_HEX_LEN + 1));
}

void pv_base32_encode(char *dst, size_t dst_cap, const void *src, size_t len)
{
    const uint8_t *p = src;
    size_t out = 0;
    unsigned bits = 0, pending = 0;
    PV_ASSERT(len <= SIZE_MAX / 8 - 1 && dst_cap > (len * 8 + 4) / 5);
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | p[i]) & 0xfff; /* at most 4 pending bits and 8 new ones */
        for (pending += 8; pending >= 5; pending -= 5)
            dst[out++] = base32_digits[bits >> (pending - 5) & 31];
    }
    if (pending > 0)
        dst[out++] = base32_digits[bits << (5 - pending) & 31];
    dst[out] = '\0';
}

enum pv_err pv_base32_decode(void *dst, size_t dst_len, const char *src, size_t src_len)
{
    if (dst_len > SIZE_MAX / 8 - 1 || src_len != (dst_len * 8 + 4) / 5)
        return PV_E_INVALID;
    for (size_t i = 0; i < src_len; i++)
        if (base32_value(src[i]) < 0)
            return PV_E_INVALID;
    unsigned unused = (unsigned)(src_len * 5 - dst_len * 8);
    if (unused > 0 && (base32_value(src[src_len - 1]) & ((1 << unused) - 1)) != 0)
        return PV_E_INVALID;
    uint8_t *p = dst;
    unsigned bits = 0, pending = 0;
    size_t out = 0;
    for (size_t i = 0; i < src_len; i++) {
        bits = (bits << 5 | (unsigned)base32_value(src[i])) & 0xfff;
        pending += 5;
        if (pending >= 8) {
            pending -= 8;
            p[out++] = (uint8_t)(bits >> pending);
        }
    }
    return PV_OK;
}
