#include "tests/unit/transport_fixture.h"

TestSuite(replay, .timeout = 30);

static void key_of(uint8_t key[static PV_REPLAY_KEY_LEN], uint32_t n)
{
    memset(key, 0, PV_REPLAY_KEY_LEN);
    memcpy(key, &n, sizeof n);
}

Test(replay, remembers_for_the_time_given)
{
    struct pvt_env clock;
    struct pv_replay_cache *c;
    uint8_t key[PV_REPLAY_KEY_LEN];
    pvt_env_init(&clock, 1, NULL);
    cr_assert_eq(pv_replay_cache_new(&c, &clock.env), PV_OK);
    key_of(key, 1);
    cr_assert_eq(pv_replay_cache_add(c, key, 1000), PV_OK);
    cr_assert_eq(pv_replay_cache_add(c, key, 1000), PV_E_EXISTS);
    pvt_env_advance(&clock, 1000);
    cr_assert_eq(pv_replay_cache_add(c, key, 1000), PV_E_EXISTS);
    pvt_env_advance(&clock, 1);
    cr_assert_eq(pv_replay_cache_add(c, key, 1000), PV_OK);
    cr_assert_eq(pv_replay_cache_count(c), 1);
    pv_replay_cache_free(c);
}

Test(replay, is_bounded_and_forgets_the_oldest)
{
    struct pvt_env clock;
    struct pv_replay_cache *c;
    uint8_t key[PV_REPLAY_KEY_LEN];
    pvt_env_init(&clock, 1, NULL);
    cr_assert_eq(pv_replay_cache_new(&c, &clock.env), PV_OK);
    for (uint32_t i = 0; i < PV_REPLAY_ENTRIES_MAX; i++) {
        key_of(key, i);
        cr_assert_eq(pv_replay_cache_add(c, key, 1000), PV_OK);
    }
    key_of(key, 0);
    cr_assert_eq(pv_replay_cache_add(c, key, 1000), PV_E_EXISTS, "full, and all of them there");
    key_of(key, PV_REPLAY_ENTRIES_MAX);
    cr_assert_eq(pv_replay_cache_add(c, key, 1000), PV_OK);
    cr_assert_eq(pv_replay_cache_count(c), PV_REPLAY_ENTRIES_MAX);
    key_of(key, 1);
    cr_assert_eq(pv_replay_cache_add(c, key, 1000), PV_E_EXISTS);
    key_of(key, 0);
    cr_assert_eq(pv_replay_cache_add(c, key, 1000), PV_OK, "the oldest made room");
    pv_replay_cache_free(c);
}

Test(replay, out_of_memory_is_not_acceptance)
{
    struct pvt_env clock;
    struct pv_replay_cache *c;
    uint8_t key[PV_REPLAY_KEY_LEN];
    pvt_env_init(&clock, 1, NULL);
    cr_assert_eq(pv_replay_cache_new(&c, &clock.env), PV_OK);
    key_of(key, 1);
    enum pv_err err = PV_E_NOMEM;
    for (uint64_t k = 0; err != PV_OK; k++) {
        pv_mem_fail_after(k);
        err = pv_replay_cache_add(c, key, 1000);
        pv_mem_fail_after(UINT64_MAX);
        cr_assert(err == PV_OK || err == PV_E_NOMEM);
    }
    cr_assert_eq(pv_replay_cache_count(c), 1);
    pv_replay_cache_free(c);
}
