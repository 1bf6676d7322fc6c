#include "internal/base/wr.h"
#include "internal/base/rd.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(wr, .timeout = 10);

enum { WHOLE = 1 + 2 + 4 + 8 + 3 + 3 + 2 };

static enum pv_err encode(uint8_t *dst, size_t cap, size_t *len)
{
    struct pv_wr w = pv_wr_of(dst, cap);
    pv_wr_u8(&w, 0x01);
    pv_wr_u16(&w, 0x0203);
    pv_wr_u32(&w, 0x04050607);
    pv_wr_u64(&w, 0x08090a0b0c0d0e0f);
    pv_wr_uint(&w, 0x101112, 3);
    pv_wr_bytes(&w, "abc", 3);
    pv_wr_zero(&w, 2);
    *len = pv_wr_len(&w);
    return pv_wr_end(&w);
}

Test(wr, writes_big_endian_fields)
{
    static const uint8_t expected[WHOLE] = {1,  2,  3,  4,  5,  6,  7,   8,   9,   10, 11, 12,
                                            13, 14, 15, 16, 17, 18, 'a', 'b', 'c', 0,  0};
    uint8_t out[WHOLE];
    size_t len;
    memset(out, 0xee, sizeof out);
    cr_assert_eq(encode(out, sizeof out, &len), PV_OK);
    cr_assert_eq(len, WHOLE);
    cr_assert_eq(memcmp(out, expected, WHOLE), 0);
}

Test(wr, too_little_room_is_a_limit_and_nothing_is_written_past_it)
{
    for (size_t cap = 0; cap < WHOLE; cap++) {
        uint8_t out[WHOLE + 1];
        size_t len;
        memset(out, 0xee, sizeof out);
        cr_assert_eq(encode(out, cap, &len), PV_E_LIMIT);
        cr_assert_leq(len, cap);
        for (size_t i = len; i < sizeof out; i++)
            cr_assert_eq(out[i], 0xee); /* a field that does not fit writes none of its bytes */
    }
}

Test(wr, after_an_error_smaller_fields_are_not_written_either)
{
    uint8_t out[4] = {0};
    struct pv_wr w = pv_wr_of(out, sizeof out);
    pv_wr_u64(&w, UINT64_MAX);
    pv_wr_u8(&w, 1);
    cr_assert_null(pv_wr_room(&w, 0));
    cr_assert_eq(pv_wr_len(&w), 0);
    cr_assert_eq(out[0], 0);
    cr_assert_eq(pv_wr_end(&w), PV_E_LIMIT);
}

Test(wr, room_is_for_the_caller_to_fill)
{
    uint8_t out[4] = {0};
    struct pv_wr w = pv_wr_of(out, sizeof out);
    uint8_t *p = pv_wr_room(&w, 4);
    cr_assert_eq(p, out);
    cr_assert_eq(pv_wr_len(&w), 4);
    cr_assert_eq(pv_wr_end(&w), PV_OK);
    cr_assert_null(pv_wr_room(&w, SIZE_MAX));
}

Test(wr, nothing_fits_into_nothing)
{
    struct pv_wr w = pv_wr_of(NULL, 0);
    pv_wr_bytes(&w, NULL, 0);
    pv_wr_zero(&w, 0);
    cr_assert_eq(pv_wr_end(&w), PV_OK);
    pv_wr_u8(&w, 1);
    cr_assert_eq(pv_wr_end(&w), PV_E_LIMIT);
}

Test(wr, what_is_written_reads_back)
{
    for (unsigned shift = 0; shift < 64; shift++) {
        uint64_t v = 0xfedcba9876543210U >> shift;
        uint8_t out[15];
        struct pv_wr w = pv_wr_of(out, sizeof out);
        pv_wr_u8(&w, (uint8_t)v);
        pv_wr_u16(&w, (uint16_t)v);
        pv_wr_u32(&w, (uint32_t)v);
        pv_wr_u64(&w, v);
        cr_assert_eq(pv_wr_end(&w), PV_OK);
        struct pv_rd r = pv_rd_of(out, sizeof out);
        cr_assert_eq(pv_rd_u8(&r), (uint8_t)v);
        cr_assert_eq(pv_rd_u16(&r), (uint16_t)v);
        cr_assert_eq(pv_rd_u32(&r), (uint32_t)v);
        cr_assert_eq(pv_rd_u64(&r), v);
        cr_assert_eq(pv_rd_end(&r), PV_OK);
    }
}
