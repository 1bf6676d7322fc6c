/* No name is taken for another one, and none is forgotten when the table grows. */
#include "cmd/peervault/name_set.h"
#include "internal/base/mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(name_set, .timeout = 20);

static enum pv_err add(struct pv_name_set *s, int i)
{
    char name[32];
    int n = snprintf(name, sizeof name, "folder/%d", i);
    return pv_name_set_add(s, name, (size_t)n);
}

Test(name_set, knows_what_it_has_seen)
{
    enum { NAMES = 100000 };
    struct pv_name_set s;
    pv_name_set_init(&s, 42);
    for (int i = 0; i < NAMES; i++)
        cr_assert_eq(add(&s, i), PV_OK);
    for (int i = 0; i < NAMES; i++)
        cr_assert_eq(add(&s, i), PV_E_EXISTS);
    cr_assert_eq(s.count, NAMES);
    cr_assert_leq(s.cap * sizeof *s.slots, NAMES * 42); /* at most half full, doubling */
    pv_name_set_release(&s);
}

Test(name_set, stays_as_it_was_without_memory)
{
    struct pv_name_set s;
    int i = 0;
    pv_name_set_init(&s, 1);
    pv_mem_fail_after(0);
    cr_assert_eq(add(&s, i), PV_E_NOMEM);
    pv_mem_fail_after(UINT64_MAX);
    for (; i < 512; i++)
        cr_assert_eq(add(&s, i), PV_OK);
    pv_mem_fail_after(0);
    cr_assert_eq(add(&s, i), PV_E_NOMEM);
    pv_mem_fail_after(UINT64_MAX);
    cr_assert_eq(add(&s, i), PV_OK);
    cr_assert_eq(add(&s, 0), PV_E_EXISTS);
    pv_name_set_release(&s);
}
