#include "tests/unit/transport_fixture.h"

TestSuite(frame, .timeout = 10);

Test(frame, round_trip)
{
    uint8_t bytes[PV_FRAME_HEADER_LEN];
    struct pv_frame_header h;
    pv_frame_header_encode(bytes, PV_FRAME_STREAM, 0x01020304);
    const uint8_t expected[] = {2, 1, 2, 3, 4};
    cr_assert_arr_eq(bytes, expected, sizeof expected);
    cr_assert_eq(pv_frame_header_decode(&h, bytes, 0, UINT32_MAX), PV_OK);
    cr_assert_eq(h.type, PV_FRAME_STREAM);
    cr_assert_eq(h.len, 0x01020304);
}

Test(frame, limits)
{
    uint8_t bytes[PV_FRAME_HEADER_LEN];
    struct pv_frame_header h = {.len = 99};
    const struct {
        uint32_t len;
        enum pv_err err;
    } cases[] = {{9, PV_E_PROTOCOL},         {10, PV_OK},        {20, PV_OK},
                 {21, PV_E_PROTOCOL},        {0, PV_E_PROTOCOL}, {0x80000000, PV_E_PROTOCOL},
                 {UINT32_MAX, PV_E_PROTOCOL}};
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        pv_frame_header_encode(bytes, PV_FRAME_MESSAGE, cases[i].len);
        cr_assert_eq(pv_frame_header_decode(&h, bytes, 10, 20), cases[i].err, "len %u",
                     cases[i].len);
    }
}

Test(frame, only_two_types)
{
    struct pv_frame_header h = {.len = 99};
    for (unsigned type = 0; type < 256; type++) {
        const uint8_t bytes[] = {(uint8_t)type, 0, 0, 0, 15};
        enum pv_err expected = type == 1 || type == 2 ? PV_OK : PV_E_PROTOCOL;
        cr_assert_eq(pv_frame_header_decode(&h, bytes, 10, 20), expected, "type %u", type);
    }
}

Test(frame, writes_nothing_on_error)
{
    struct pv_frame_header h = {.type = PV_FRAME_STREAM, .len = 99};
    const uint8_t bytes[] = {'G', 'E', 'T', ' ', '/'};
    cr_assert_eq(pv_frame_header_decode(&h, bytes, 0, UINT32_MAX), PV_E_PROTOCOL);
    cr_assert_eq(h.type, PV_FRAME_STREAM);
    cr_assert_eq(h.len, 99);
}
