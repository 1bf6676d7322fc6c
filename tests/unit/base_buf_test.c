#include "internal/base/buf.h"
#include "internal/base/mem.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

TestSuite(buf, .timeout = 10);

Test(buf, appends_and_consumes)
{
    struct pv_buf b;
    pv_buf_init(&b, 1000);
    cr_assert_null(b.data);
    cr_assert_eq(pv_buf_append(&b, NULL, 0), PV_OK);
    cr_assert_eq(pv_buf_append(&b, "hello ", 6), PV_OK);
    cr_assert_eq(pv_buf_append(&b, "world", 5), PV_OK);
    cr_assert_eq(b.len, 11);
    pv_buf_consume(&b, 6);
    cr_assert_eq(b.len, 5);
    cr_assert_eq(memcmp(b.data, "world", 5), 0);
    pv_buf_consume(&b, 0);
    pv_buf_consume(&b, 5);
    cr_assert_eq(b.len, 0);
    pv_buf_release(&b);
    cr_assert_null(b.data);
    pv_buf_release(&b);
    cr_assert_eq(pv_buf_append(&b, "again", 5), PV_OK); /* the struct may be reused */
    pv_buf_release(&b);
}

Test(buf, grows_to_the_ceiling_and_not_beyond)
{
    for (size_t max = 0; max < 200; max++) {
        struct pv_buf b;
        pv_buf_init(&b, max);
        for (size_t i = 0; i < max; i++)
            cr_assert_eq(pv_buf_append(&b, &(uint8_t){(uint8_t)i}, 1), PV_OK);
        cr_assert_eq(pv_buf_append(&b, "x", 1), PV_E_LIMIT);
        cr_assert_eq(pv_buf_reserve(&b, SIZE_MAX), PV_E_LIMIT);
        cr_assert_eq(pv_buf_reserve(&b, 0), PV_OK);
        cr_assert_eq(b.len, max);
        cr_assert_leq(b.cap, max);
        for (size_t i = 0; i < max; i++)
            cr_assert_eq(b.data[i], (uint8_t)i);
        pv_buf_release(&b);
    }
}

Test(buf, reserve_makes_room_that_may_be_filled_directly)
{
    struct pv_buf b;
    pv_buf_init(&b, 1 << 20);
    cr_assert_eq(pv_buf_append(&b, "head", 4), PV_OK);
    cr_assert_eq(pv_buf_reserve(&b, 100000), PV_OK);
    memset(b.data + b.len, 'x', 100000);
    b.len += 100000;
    cr_assert_eq(memcmp(b.data, "headxxx", 7), 0);
    cr_assert_geq(b.cap, b.len);
    size_t cap = b.cap;
    pv_buf_reset(&b);
    cr_assert_eq(b.len, 0);
    cr_assert_eq(b.cap, cap);
    pv_buf_release(&b);
}

Test(buf, prints_up_to_the_very_ceiling)
{
    struct pv_buf b;
    pv_buf_init(&b, 10);
    cr_assert_eq(pv_buf_printf(&b, "%s", ""), PV_OK);
    cr_assert_eq(b.len, 0);
    cr_assert_eq(pv_buf_printf(&b, "%d-%s", 12345, "six"), PV_OK);
    cr_assert_eq(b.len, 9);
    cr_assert_eq(pv_buf_printf(&b, "%s", "ab"), PV_E_LIMIT);
    cr_assert_eq(b.len, 9);
    cr_assert_eq(pv_buf_printf(&b, "!"), PV_OK);
    cr_assert_eq(memcmp(b.data, "12345-six!", 10), 0);
    pv_buf_release(&b);
}

Test(buf, detach_gives_the_memory_away)
{
    struct pv_buf b;
    size_t len = 99;
    pv_buf_init(&b, 100);
    cr_assert_null(pv_buf_detach(&b, &len));
    cr_assert_eq(len, 0);
    cr_assert_eq(pv_buf_append(&b, "mine", 4), PV_OK);
    uint8_t *bytes = pv_buf_detach(&b, &len);
    cr_assert_eq(len, 4);
    cr_assert_eq(memcmp(bytes, "mine", 4), 0);
    cr_assert(b.data == NULL && b.len == 0 && b.cap == 0 && b.cap_max == 100);
    pv_free(bytes);
    pv_buf_release(&b);
}

Test(buf, out_of_memory_changes_nothing)
{
    struct pv_buf b;
    uint8_t more[5000] = {1};
    pv_buf_init(&b, 10000);
    pv_mem_fail_after(0);
    cr_assert_eq(pv_buf_append(&b, "x", 1), PV_E_NOMEM);
    cr_assert_null(b.data);
    cr_assert_eq(pv_buf_append(&b, "kept", 4), PV_OK);
    pv_mem_fail_after(0);
    cr_assert_eq(pv_buf_append(&b, more, sizeof more), PV_E_NOMEM);
    pv_mem_fail_after(0);
    cr_assert_eq(pv_buf_printf(&b, "%5000d", 1), PV_E_NOMEM);
    cr_assert_eq(b.len, 4);
    cr_assert_eq(memcmp(b.data, "kept", 4), 0);
    pv_buf_release(&b);
}

Test(buf, consuming_more_than_there_is_is_a_bug, .signal = SIGABRT)
{
    struct pv_buf b;
    pv_buf_init(&b, 10);
    pv_buf_consume(&b, 1);
}
