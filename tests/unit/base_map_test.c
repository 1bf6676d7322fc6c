#include "internal/base/map.h"
#include "internal/base/mem.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

TestSuite(map, .timeout = 20);

enum { MANY = 5000 };

static int values[MANY];

Test(map, puts_gets_and_removes)
{
    struct pv_map m;
    uint32_t key = 1, other = 2;
    pv_map_init(&m, sizeof key, 10, 42);
    cr_assert_null(pv_map_get(&m, &key));
    cr_assert_null(pv_map_remove(&m, &key));
    cr_assert_eq(pv_map_put(&m, &key, &values[1]), PV_OK);
    cr_assert_eq(pv_map_put(&m, &key, &values[2]), PV_E_EXISTS);
    cr_assert_eq(pv_map_get(&m, &key), &values[1]);
    cr_assert_null(pv_map_get(&m, &other));
    cr_assert_eq(m.count, 1);
    cr_assert_eq(pv_map_remove(&m, &key), &values[1]);
    cr_assert_null(pv_map_remove(&m, &key));
    cr_assert_eq(m.count, 0);
    cr_assert_eq(pv_map_put(&m, &key, &values[3]), PV_OK);
    cr_assert_eq(pv_map_get(&m, &key), &values[3]);
    pv_map_release(&m);
    cr_assert_null(pv_map_get(&m, &key));
    cr_assert_eq(pv_map_put(&m, &key, &values[4]), PV_OK); /* may be used again */
    pv_map_release(&m);
}

Test(map, the_map_owns_copies_of_its_keys)
{
    struct pv_map m;
    char key[] = "key";
    pv_map_init(&m, 3, 10, 1);
    cr_assert_eq(pv_map_put(&m, key, values), PV_OK);
    key[0] = 'X';
    cr_assert_null(pv_map_get(&m, key));
    cr_assert_eq(pv_map_get(&m, "key"), values);
    pv_map_release(&m);
}

Test(map, holds_count_max_and_not_one_more)
{
    for (uint32_t max = 0; max < 40; max++) {
        struct pv_map m;
        uint32_t key;
        pv_map_init(&m, sizeof key, max, 7);
        for (key = 0; key < max; key++)
            cr_assert_eq(pv_map_put(&m, &key, &values[key]), PV_OK);
        cr_assert_eq(pv_map_put(&m, &key, &values[0]), PV_E_LIMIT);
        key = 0;
        if (max > 0) {
            cr_assert_eq(pv_map_put(&m, &key, &values[1]), PV_E_EXISTS);
            cr_assert_eq(pv_map_remove(&m, &key), &values[0]);
            cr_assert_eq(pv_map_put(&m, &key, &values[0]), PV_OK);
        }
        pv_map_release(&m);
    }
}

Test(map, agrees_with_an_array_over_many_steps)
{
    struct pv_map m;
    static void *expected[512];
    size_t count = 0;
    uint64_t state = 99;
    pv_map_init(&m, sizeof(uint64_t), 512, 3);
    for (int step = 0; step < 100000; step++) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        uint64_t key = state >> 33 & 511;
        void *value = &values[state >> 50 & 1023];
        if (state >> 62 != 0) {
            cr_assert_eq(pv_map_remove(&m, &key), expected[key]);
            count -= expected[key] != NULL;
            expected[key] = NULL;
        } else {
            enum pv_err err = expected[key] != NULL ? PV_E_EXISTS : PV_OK;
            cr_assert_eq(pv_map_put(&m, &key, value), err);
            count += err == PV_OK;
            expected[key] = err == PV_OK ? value : expected[key];
        }
        cr_assert_eq(m.count, count);
    }
    for (uint64_t key = 0; key < 512; key++)
        cr_assert_eq(pv_map_get(&m, &key), expected[key]);
    cr_assert_leq(m.cap, 1024, "removed entries made the table grow");
    pv_map_release(&m);
}

Test(map, put_and_remove_for_ever_stays_small)
{
    struct pv_map m;
    pv_map_init(&m, sizeof(uint64_t), 4, 3);
    for (uint64_t key = 0; key < 10000; key++) {
        cr_assert_eq(pv_map_put(&m, &key, values), PV_OK);
        cr_assert_eq(pv_map_remove(&m, &key), values);
    }
    cr_assert_leq(m.cap, 16);
    pv_map_release(&m);
}

Test(map, iteration_sees_each_entry_once_and_may_remove_it)
{
    struct pv_map m;
    static bool seen[MANY];
    pv_map_init(&m, sizeof(uint32_t), MANY, 11);
    for (uint32_t key = 0; key < MANY; key++)
        cr_assert_eq(pv_map_put(&m, &key, &values[key]), PV_OK);
    size_t pos = 0, left = MANY;
    const void *key;
    int *value;
    while ((value = pv_map_next(&m, &pos, &key)) != NULL) {
        uint32_t k;
        memcpy(&k, key, sizeof k);
        cr_assert_eq(value, &values[k]);
        cr_assert_not(seen[k]);
        seen[k] = true;
        if (k % 3 == 0)
            cr_assert_eq(pv_map_remove(&m, &k), value);
        left--;
    }
    cr_assert_eq(left, 0);
    cr_assert_null(pv_map_next(&m, &pos, NULL));
    cr_assert_eq(m.count, MANY - (MANY + 2) / 3);
    for (pos = 0; pv_map_next(&m, &pos, NULL) != NULL;)
        left++;
    cr_assert_eq(left, m.count);
    pv_map_release(&m);
}

Test(map, an_empty_map_iterates_over_nothing)
{
    struct pv_map m;
    size_t pos = 0;
    pv_map_init(&m, 1, 1, 0);
    cr_assert_null(pv_map_next(&m, &pos, NULL));
    pv_map_release(&m);
}

Test(map, out_of_memory_at_any_point_changes_nothing)
{
    struct pv_map m;
    pv_map_init(&m, sizeof(uint32_t), MANY, 5);
    for (uint32_t key = 0; key < 100; key++) {
        for (uint64_t fail = 0; fail < 3; fail++) {
            pv_mem_fail_after(fail);
            enum pv_err err = pv_map_put(&m, &key, &values[key]);
            pv_mem_fail_after(UINT64_MAX);
            if (err == PV_OK)
                cr_assert_eq(pv_map_remove(&m, &key), &values[key]);
            else
                cr_assert_eq(err, PV_E_NOMEM);
            cr_assert_eq(m.count, key);
        }
        cr_assert_eq(pv_map_put(&m, &key, &values[key]), PV_OK);
        for (uint32_t k = 0; k <= key; k++)
            cr_assert_eq(pv_map_get(&m, &k), &values[k]);
    }
    pv_map_release(&m);
}

Test(map, the_seed_changes_the_order)
{
    uint32_t first[2][8];
    for (uint64_t seed = 0; seed < 2; seed++) {
        struct pv_map m;
        size_t pos = 0;
        const void *key;
        pv_map_init(&m, sizeof(uint32_t), 8, seed);
        for (uint32_t k = 0; k < 8; k++)
            cr_assert_eq(pv_map_put(&m, &k, &values[k]), PV_OK);
        for (size_t i = 0; pv_map_next(&m, &pos, &key) != NULL; i++)
            memcpy(&first[seed][i], key, sizeof(uint32_t));
        pv_map_release(&m);
    }
    cr_assert_neq(memcmp(first[0], first[1], sizeof first[0]), 0);
}

Test(map, a_null_value_is_a_bug, .signal = SIGABRT)
{
    struct pv_map m;
    pv_map_init(&m, 1, 1, 0);
    (void)!pv_map_put(&m, "k", NULL);
}
