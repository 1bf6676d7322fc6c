#include "internal/base/mem.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

TestSuite(mem, .timeout = 10);

Test(mem, allocations_hold_what_they_promise)
{
    uint8_t *p = pv_malloc(0), *q = pv_malloc(0);
    cr_assert(p != NULL && q != NULL && p != q);
    pv_free(p);
    pv_free(q);

    p = pv_calloc(7, 3);
    for (size_t i = 0; i < 21; i++)
        cr_assert_eq(p[i], 0);
    p[20] = 9;
    p = pv_realloc(p, 100);
    cr_assert_eq(p[20], 9);
    pv_free(p);
    p = pv_calloc(0, 8);
    cr_assert_not_null(p);
    pv_free(p);
    pv_free(NULL);
}

Test(mem, copies_and_formats)
{
    char *copy = pv_strdup("vault"), *text = pv_asprintf("%s-%d", copy, 7);
    uint8_t *bytes = pv_memdup("a\0b", 3), *none = pv_memdup(NULL, 0);
    cr_assert_str_eq(copy, "vault");
    cr_assert_str_eq(text, "vault-7");
    cr_assert_eq(memcmp(bytes, "a\0b", 3), 0);
    cr_assert_not_null(none);
    pv_free(copy);
    pv_free(text);
    pv_free(bytes);
    pv_free(none);
}

Test(mem, an_overflowing_product_is_refused)
{
    volatile size_t huge = SIZE_MAX / 2 + 1;
    cr_assert_null(pv_calloc(huge, 2));
    cr_assert_null(pv_calloc(2, huge));
}

Test(mem, auto_free_runs_on_every_way_out)
{
    for (int i = 0; i < 3; i++) {
        PV_AUTO_FREE char *s = pv_strdup("freed at the end of each turn");
        if (i == 1)
            continue;
        cr_assert_not_null(s);
    }
    PV_AUTO_FREE char *never_set = NULL;
    cr_assert_null(never_set);
}

Test(mem, exactly_the_chosen_allocation_fails)
{
    for (uint64_t n = 0; n < 5; n++) {
        pv_mem_fail_after(n);
        for (uint64_t i = 0; i < 8; i++) {
            void *p = pv_malloc(1);
            cr_assert_eq(p == NULL, i == n, "fail after %d, allocation %d", (int)n, (int)i);
            pv_free(p);
        }
    }
    pv_mem_fail_after(1);
    pv_mem_fail_after(UINT64_MAX);
    for (int i = 0; i < 3; i++) {
        void *p = pv_malloc(1);
        cr_assert_not_null(p);
        pv_free(p);
    }
}

Test(mem, every_door_can_be_made_to_fail)
{
    char *block = pv_strdup("kept");
    pv_mem_fail_after(0);
    cr_assert_null(pv_calloc(1, 1));
    pv_mem_fail_after(0);
    cr_assert_null(pv_strdup("x"));
    pv_mem_fail_after(0);
    cr_assert_null(pv_memdup("x", 1));
    pv_mem_fail_after(0);
    cr_assert_null(pv_asprintf("%d", 1));
    pv_mem_fail_after(0);
    cr_assert_null(pv_realloc(block, 1000));
    cr_assert_str_eq(block, "kept");
    pv_free(block);
}

Test(mem, wipe_zeroes)
{
    uint8_t secret[16];
    memset(secret, 0xaa, sizeof secret);
    pv_wipe(secret, sizeof secret - 1);
    for (size_t i = 0; i < sizeof secret - 1; i++)
        cr_assert_eq(secret[i], 0);
    cr_assert_eq(secret[15], 0xaa);
    pv_wipe(NULL, 0);
}
