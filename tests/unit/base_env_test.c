#include "internal/base/env.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(env, .timeout = 10);

Test(env, the_real_clocks_run_forward)
{
    struct pv_env env = pv_env_real(NULL);
    uint64_t before = pv_env_mono_ms(&env);
    cr_assert_gt(pv_env_wall_ms(&env), 1600000000000);  /* after 2020 */
    cr_assert_lt(pv_env_wall_ms(&env), 32503680000000); /* before 3000: milliseconds, not micro */
    for (int i = 0; i < 1000; i++) {
        uint64_t now = pv_env_mono_ms(&env);
        cr_assert_geq(now, before);
        before = now;
    }
    cr_assert_null(env.log);
}

Test(env, random_fills_exactly_what_is_asked)
{
    struct pv_env env = pv_env_real(NULL);
    static uint8_t a[1000002], b[1000002];
    pv_env_random(&env, a + 1, sizeof a - 2); /* more than getrandom gives at once */
    pv_env_random(&env, b + 1, sizeof b - 2);
    cr_assert(a[0] == 0 && a[sizeof a - 1] == 0);
    size_t same = 0;
    for (size_t i = 1; i < sizeof a - 1; i++)
        same += a[i] == b[i];
    cr_assert_lt(same, sizeof a / 100); /* 1 in 256 is expected */
    pv_env_random(&env, a, 0);
    cr_assert_eq(a[0], 0);
}

Test(env, durations_parse)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        {"0", 0},
        {"90", 90000},
        {"90s", 90000},
        {"5m", 300000},
        {"12h", 43200000},
        {"7d", 604800000},
        {"500ms", 500},
        {"007s", 7000},
        {"18446744073709551615ms", UINT64_MAX},
        {"18446744073709551s", 18446744073709551000U},
    };
    for (size_t i = 0; i < PV_COUNT(good); i++) {
        uint64_t ms = 1;
        cr_assert_eq(pv_duration_parse(&ms, good[i].text), PV_OK, "%s", good[i].text);
        cr_assert_eq(ms, good[i].ms, "%s", good[i].text);
    }
}

Test(env, bad_durations_are_refused)
{
    static const char *const bad[] = {
        "",
        "s",
        "ms",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1 s",
        "1S",
        "1sec",
        "1.5h",
        "1h30m",
        "0x10",
        "1w",
        "5mss",
        "18446744073709551616ms",
        "18446744073709552s",
        "213503982335d",
        "99999999999999999999999999",
    };
    for (size_t i = 0; i < PV_COUNT(bad); i++) {
        uint64_t ms = 77;
        cr_assert_eq(pv_duration_parse(&ms, bad[i]), PV_E_INVALID, "%s", bad[i]);
        cr_assert_eq(ms, 77);
    }
}

Test(env, the_test_environment_repeats_itself)
{
    struct pvt_env a, b, c;
    uint8_t bytes[3][32];
    pvt_env_init(&a, 1, NULL);
    pvt_env_init(&b, 1, NULL);
    pvt_env_init(&c, 2, NULL);
    pv_env_random(&a.env, bytes[0], 32);
    pv_env_random(&b.env, bytes[1], 32);
    pv_env_random(&c.env, bytes[2], 32);
    cr_assert_eq(memcmp(bytes[0], bytes[1], 32), 0);
    cr_assert_neq(memcmp(bytes[0], bytes[2], 32), 0);
    uint64_t wall = pv_env_wall_ms(&a.env), mono = pv_env_mono_ms(&a.env);
    pvt_env_advance(&a, 1234);
    cr_assert_eq(pv_env_wall_ms(&a.env), wall + 1234);
    cr_assert_eq(pv_env_mono_ms(&a.env), mono + 1234);
}
