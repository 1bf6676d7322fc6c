#include "internal/node/strikes.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(strikes, .timeout = 10);

static struct pv_strikes table;

static struct pv_id id(unsigned number)
{
    struct pv_id out = {{0}};
    memcpy(out.b, &number, sizeof number);
    return out;
}

static bool strike(unsigned number, uint64_t now_ms)
{
    struct pv_id node = id(number);
    return pv_strikes_add(&table, &node, "a test", now_ms);
}

static bool banned(unsigned number, uint64_t now_ms)
{
    struct pv_id node = id(number);
    return pv_strikes_ban(&table, &node, now_ms) != NULL;
}

static uint64_t ban(unsigned number, uint64_t now_ms) /* until when */
{
    struct pv_id node = id(number);
    for (unsigned i = 0; i + 1 < PV_STRIKES_MAX; i++)
        cr_assert_not(strike(number, now_ms));
    cr_assert(strike(number, now_ms));
    return pv_strikes_ban(&table, &node, now_ms)->banned_until_ms;
}

Test(strikes, the_third_is_a_ban_of_ten_minutes)
{
    struct pv_id one = id(1);
    cr_assert_not(strike(1, 1000));
    cr_assert_not(strike(1, 2000));
    cr_assert_not(banned(1, 2000));
    cr_assert(strike(1, 3000));
    cr_assert(banned(1, 3000));
    cr_assert_str_eq(pv_strikes_ban(&table, &one, 3000)->what, "a test");
    cr_assert_not(banned(2, 3000), "others are not");
    cr_assert(banned(1, 3000 + 600000 - 1));
    cr_assert_not(banned(1, 3000 + 600000));
}

Test(strikes, bans_double_up_to_a_day)
{
    uint64_t now = 5, expected = PV_BAN_MS_MIN;
    for (unsigned i = 0; i < 12; i++) {
        uint64_t until = ban(1, now);
        cr_assert_eq(until - now, expected, "ban %u", i);
        expected = expected * 2 < PV_BAN_MS_MAX ? expected * 2 : PV_BAN_MS_MAX;
        now = until + PV_STRIKES_FORGET_MS - 1;
    }
    cr_assert_eq(expected, 24 * 3600000);
}

Test(strikes, are_forgotten_after_a_day)
{
    strike(1, 0);
    strike(1, 0);
    cr_assert_not(strike(1, PV_STRIKES_FORGET_MS), "the first of new ones");
    cr_assert_not(strike(1, 2 * (uint64_t)PV_STRIKES_FORGET_MS - 1));
    cr_assert(strike(1, 3 * (uint64_t)PV_STRIKES_FORGET_MS - 2));
    uint64_t until = ban(2, 0);
    until = ban(2, until + PV_STRIKES_FORGET_MS);
    cr_assert_eq(until, 2 * (uint64_t)PV_BAN_MS_MIN + PV_STRIKES_FORGET_MS, "a first one again");
}

Test(strikes, a_rotten_disk_is_no_crime)
{
    struct pv_id one = id(1);
    unsigned bodies = 0;
    for (uint64_t now = 0; !banned(1, now); now++, bodies++)
        pv_strikes_add_bad_body(&table, &one, now);
    cr_assert_eq(bodies, PV_STRIKES_MAX * PV_BAD_BODIES_A_STRIKE);
}

Test(strikes, the_table_is_bounded_and_keeps_bans)
{
    for (unsigned i = 0; i < PV_STRIKES_KNOWN_MAX - 1; i++)
        ban(i, 1000 + i);
    strike(1000, 0);
    cr_assert_eq(table.count, PV_STRIKES_KNOWN_MAX);
    for (unsigned i = 0; i < 10000; i++)
        strike(2000 + i, 5000);
    cr_assert_eq(table.count, PV_STRIKES_KNOWN_MAX);
    for (unsigned i = 0; i < PV_STRIKES_KNOWN_MAX - 1; i++)
        cr_assert(banned(i, 5000), "strikes take no place of a ban");
    ban(20000, 6000); /* in the one place that is not banned */
    cr_assert(banned(0, 6000));
    ban(20001, 6000);
    cr_assert_not(banned(0, 6000), "the one that would have ended first");
    cr_assert(banned(1, 6000) && banned(20000, 6000) && banned(20001, 6000));
}
