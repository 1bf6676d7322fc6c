#include "internal/base/rd.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(rd, .timeout = 10);

static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 16};

/* One message of every kind of field; *sum depends on each of them. */
static enum pv_err decode(const uint8_t *src, size_t len, uint64_t *sum)
{
    struct pv_rd r = pv_rd_of(src, len);
    uint8_t copied[1] = {0xff};
    uint64_t total = pv_rd_u8(&r);
    total += pv_rd_u16(&r);
    total += pv_rd_u32(&r);
    total += (uint64_t)pv_rd_uint(&r, 3);
    total += pv_rd_u32(&r) & 0xff;
    pv_rd_copy(&r, copied, sizeof copied);
    pv_rd_zero(&r, 2);
    const uint8_t *view = pv_rd_view(&r, 1);
    *sum = total + copied[0] + (view != NULL ? *view : 0);
    return pv_rd_end(&r);
}

Test(rd, reads_big_endian_fields_to_the_end)
{
    uint64_t sum;
    cr_assert_eq(decode(bytes, sizeof bytes, &sum), PV_OK);
    cr_assert_eq(sum, 1 + 0x0203 + 0x04050607 + 0x08090a + 14 + 15 + 16);
    struct pv_rd r = pv_rd_of(bytes, 8);
    cr_assert_eq(pv_rd_u64(&r), 0x0102030405060708);
    cr_assert_eq(pv_rd_left(&r), 0);
    cr_assert_eq(pv_rd_end(&r), PV_OK);
}

Test(rd, a_message_cut_anywhere_is_a_protocol_error)
{
    for (size_t len = 0; len < sizeof bytes; len++) {
        uint8_t exact[sizeof bytes]; /* its own memory, so that ASan sees a read past the cut */
        uint64_t sum;
        memcpy(exact + sizeof exact - len, bytes, len);
        cr_assert_eq(decode(exact + sizeof exact - len, len, &sum), PV_E_PROTOCOL, "%zu", len);
    }
}

Test(rd, bytes_left_over_are_a_protocol_error)
{
    uint8_t longer[sizeof bytes + 1] = {0};
    uint64_t sum;
    memcpy(longer, bytes, sizeof bytes);
    cr_assert_eq(decode(longer, sizeof longer, &sum), PV_E_PROTOCOL);
}

Test(rd, each_reserved_byte_must_be_zero)
{
    for (size_t at = 15; at <= 16; at++) {
        uint8_t bad[sizeof bytes];
        uint64_t sum;
        memcpy(bad, bytes, sizeof bytes);
        bad[at] = 1;
        cr_assert_eq(decode(bad, sizeof bad, &sum), PV_E_PROTOCOL);
    }
}

Test(rd, after_an_error_everything_reads_as_zero)
{
    struct pv_rd r = pv_rd_of(bytes, 4);
    uint8_t copied[2] = {9, 9};
    cr_assert_eq(pv_rd_u64(&r), 0);
    cr_assert(r.bad);
    cr_assert_eq(pv_rd_u8(&r), 0); /* though a byte is there */
    cr_assert_eq(pv_rd_u16(&r), 0);
    cr_assert_eq(pv_rd_u32(&r), 0);
    pv_rd_copy(&r, copied, sizeof copied);
    cr_assert(copied[0] == 0 && copied[1] == 0);
    cr_assert_null(pv_rd_view(&r, 0));
    cr_assert_eq(pv_rd_count(&r, 0, 1, 10), 0);
    cr_assert_eq(pv_rd_end(&r), PV_E_PROTOCOL);
}

Test(rd, a_view_of_a_huge_length_does_not_wrap)
{
    struct pv_rd r = pv_rd_of(bytes, sizeof bytes);
    (void)pv_rd_u8(&r);
    cr_assert_null(pv_rd_view(&r, SIZE_MAX));
    cr_assert(r.bad);
}

Test(rd, counts_are_checked_against_the_maximum_and_the_bytes)
{
    struct pv_rd r = pv_rd_of(bytes, 12);
    cr_assert_eq(pv_rd_count(&r, 3, 4, 3), 3);
    cr_assert_eq(pv_rd_count(&r, 0, 4, 0), 0);
    cr_assert_not(r.bad);
    cr_assert_eq(pv_rd_count(&r, 4, 4, 10), 0); /* 16 bytes of 12 */
    cr_assert(r.bad);
    r = pv_rd_of(bytes, 12);
    cr_assert_eq(pv_rd_count(&r, 4, 1, 3), 0); /* one more than allowed */
    cr_assert(r.bad);
    r = pv_rd_of(bytes, 12);
    cr_assert_eq(pv_rd_count(&r, UINT32_MAX, SIZE_MAX, UINT32_MAX), 0);
    cr_assert(r.bad);
}

Test(rd, nothing_is_a_valid_input)
{
    struct pv_rd r = pv_rd_of(NULL, 0);
    cr_assert_eq(pv_rd_left(&r), 0);
    cr_assert_eq(pv_rd_end(&r), PV_OK);
    cr_assert_eq(pv_rd_u8(&r), 0);
    cr_assert_eq(pv_rd_end(&r), PV_E_PROTOCOL);
}

Test(rd, a_text_fits_is_there_and_has_no_nul)
{
    static const uint8_t in[] = {'a', 'b', 'c', 0, 'd'};
    char text[4] = "xyz";
    struct pv_rd r = pv_rd_of(in, sizeof in);
    pv_rd_text(&r, 3, text, 3);
    cr_assert_str_eq(text, "abc");
    pv_rd_text(&r, 0, text, 3);
    cr_assert_str_eq(text, "");
    cr_assert_not(r.bad);
    pv_rd_text(&r, 2, text, 3); /* a NUL and "d" */
    cr_assert(r.bad);
    cr_assert_str_eq(text, "");
    r = pv_rd_of(in, 3);
    pv_rd_text(&r, 3, text, 2); /* one too long */
    cr_assert(r.bad);
    r = pv_rd_of(in, 2);
    pv_rd_text(&r, 3, text, 3); /* not all there */
    cr_assert(r.bad);
    pv_rd_text(&r, 1, text, 3); /* what comes after an error is none */
    cr_assert(r.bad);
    cr_assert_str_eq(text, "");
}
