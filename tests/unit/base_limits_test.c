#include "internal/base/limits.h"
#include "internal/base/err.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(limits, .timeout = 10);

Test(limits, every_limit_says_what_it_is)
{
    size_t count;
    const struct pv_limit *limits = pv_limits(&count);
    cr_assert_gt(count, 30);
    for (size_t i = 0; i < count; i++) {
        const struct pv_limit *l = &limits[i];
        cr_expect_gt(strlen(l->unit), 0, "%s", l->name);
        cr_expect_gt(strlen(l->at_limit), 0, "%s", l->name);
        cr_expect_geq(l->value, 0, "%s", l->name);
        cr_expect_gt(strlen(l->enforced_by), 2, "%s", l->name);
        for (size_t j = 0; j < i; j++)
            cr_expect_str_neq(l->name, limits[j].name);
    }
    cr_assert_str_eq(limits[0].name, "CONNECTIONS_MAX");
    cr_assert_eq(limits[0].value, PV_CONNECTIONS_MAX);
}

Test(limits, shares_make_up_the_whole)
{
    cr_assert_eq(PV_MEM_SHARE_CONNECTIONS_MIB + PV_MEM_SHARE_INBOUND_MIB + PV_MEM_SHARE_FILES_MIB +
                     PV_MEM_SHARE_OUTBOUND_MIB + PV_MEM_SHARE_SQLITE_MIB,
                 PV_MEM_LIMIT_MIB);
}
