#include "internal/base/list.h"

#include <criterion/criterion.h>

TestSuite(list, .timeout = 10);

struct item {
    int n;
    struct pv_list link;
};

static int digits(const struct pv_list *l)
{
    int all = 0;
    PV_LIST_EACH(l, e)
    all = all * 10 + PV_LIST_ENTRY(e, struct item, link)->n;
    return all;
}

Test(list, keeps_order_at_both_ends)
{
    struct pv_list l;
    struct item i[4] = {{.n = 1}, {.n = 2}, {.n = 3}, {.n = 4}};
    pv_list_init(&l);
    cr_assert(pv_list_empty(&l));
    cr_assert_eq(digits(&l), 0);
    pv_list_push_back(&l, &i[1].link);
    pv_list_push_back(&l, &i[3].link);
    pv_list_push_front(&l, &i[0].link);
    pv_list_insert(&i[1].link, &i[2].link);
    cr_assert_not(pv_list_empty(&l));
    cr_assert_eq(digits(&l), 1234);
    pv_list_remove(&i[0].link);
    pv_list_remove(&i[3].link);
    cr_assert_eq(digits(&l), 23);
    pv_list_push_back(&l, &i[0].link);
    cr_assert_eq(digits(&l), 231);
}

Test(list, removing_is_idempotent_and_knows_its_state)
{
    struct pv_list l;
    struct item a = {.n = 1};
    pv_list_init(&l);
    cr_assert_not(pv_list_linked(&a.link)); /* zeroed */
    pv_list_remove(&a.link);
    pv_list_push_back(&l, &a.link);
    cr_assert(pv_list_linked(&a.link));
    pv_list_remove(&a.link);
    cr_assert_not(pv_list_linked(&a.link)); /* self-linked */
    pv_list_remove(&a.link);
    cr_assert(pv_list_empty(&l));
}

Test(list, each_may_remove_the_current_entry)
{
    struct pv_list l;
    struct item i[6];
    pv_list_init(&l);
    for (int n = 0; n < 6; n++) {
        i[n] = (struct item){.n = n};
        pv_list_push_back(&l, &i[n].link);
    }
    PV_LIST_EACH(&l, e)
    {
        if (PV_LIST_ENTRY(e, struct item, link)->n % 2 == 0)
            pv_list_remove(e);
    }
    cr_assert_eq(digits(&l), 135);
    PV_LIST_EACH(&l, e)
    pv_list_remove(e);
    cr_assert(pv_list_empty(&l));
}
