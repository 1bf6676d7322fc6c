/* The list of the header as a table, for people. */
#include "internal/base/limits.h"

#include "internal/base/err.h"

const struct pv_limit *pv_limits(size_t *count)
{
    static const struct pv_limit table[] = {
#define X(name, value, unit, at_limit, enforced_by) {#name, value, unit, at_limit, enforced_by},
        PV_LIMIT_LIST(X)
#undef X
    };
    *count = PV_COUNT(table);
    return table;
}
