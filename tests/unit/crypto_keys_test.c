#include "crypto/keys.h"

#include "tests/unit/crypto_fixture.h"

TestSuite(keys, .timeout = 60);

Test(keys, weak_cluster_keys_are_refused)
{
    struct pv_cluster_keys keys;
    uint8_t key[PV_KEY_LEN];
    for (unsigned v = 0; v < 256; v++) {
        memset(key, (int)v, sizeof key);
        cr_assert_eq(pv_cluster_keys_derive(&keys, key), PV_E_INVALID);
    }
    for (size_t i = 0; i < sizeof key; i++) {
        memset(key, 0xff, sizeof key);
        key[i] = 0xfe;
        cr_assert_eq(pv_cluster_keys_derive(&keys, key), PV_OK);
        cr_assert_eq(memcmp(keys.cluster_key, key, sizeof key), 0);
    }
}

Test(keys, all_roots_differ)
{
    const struct pv_cluster_keys k = pvt_cluster_keys(0);
    const uint8_t *roots[] = {k.cluster_key, k.prk, k.conv, k.rec, k.loc, k.name, k.hint, k.member};
    for (size_t i = 0; i < PV_COUNT(roots); i++)
        for (size_t j = i + 1; j < PV_COUNT(roots); j++)
            cr_assert_neq(memcmp(roots[i], roots[j], PV_KEY_LEN), 0, "%zu %zu", i, j);
    const struct pv_cluster_keys other = pvt_cluster_keys(1);
    cr_assert_neq(memcmp(k.kid.b, other.kid.b, PV_KID_LEN), 0);
}

Test(keys, epoch_keys_differ_by_epoch_and_use)
{
    const struct pv_cluster_keys k = pvt_cluster_keys(0);
    uint8_t a[PV_KEY_LEN], b[PV_KEY_LEN];
    pv_keys_conv(a, &k, PVT_EPOCH);
    pv_keys_rec(b, &k, PVT_EPOCH);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
    pv_keys_conv(b, &k, PVT_EPOCH + PV_EPOCH_PERIOD_S);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
    pv_keys_conv(b, &k, PVT_EPOCH);
    cr_assert_eq(memcmp(a, b, sizeof a), 0);
}

Test(keys, epochs)
{
    cr_assert_eq(pv_epoch_of(0), 0);
    cr_assert_eq(pv_epoch_of(86399999), 0);
    cr_assert_eq(pv_epoch_of(86400000), 86400);
    cr_assert_eq(pv_epoch_of(PVT_EPOCH * 1000 + 86399999), PVT_EPOCH);

    const uint64_t now_ms = PVT_EPOCH * 1000;
    cr_assert(pv_epoch_plausible(0, now_ms));
    cr_assert_not(pv_epoch_plausible(1, now_ms));
    cr_assert_not(pv_epoch_plausible(PV_EPOCH_FIRST_S - 1, now_ms));
    cr_assert(pv_epoch_plausible(PV_EPOCH_FIRST_S, now_ms));
    cr_assert(pv_epoch_plausible(PVT_EPOCH + PV_EPOCH_AHEAD_S, now_ms));
    cr_assert_not(pv_epoch_plausible(PVT_EPOCH + PV_EPOCH_AHEAD_S + 1, now_ms));
    cr_assert_not(pv_epoch_plausible(UINT64_MAX, now_ms));
}

Test(keys, rids_differ_by_kind_input_and_cluster)
{
    const struct pv_cluster_keys k = pvt_cluster_keys(0), other = pvt_cluster_keys(1);
    const struct pv_id content = pvt_id_of("content");
    struct pv_id rids[8];
    pv_rid_file(&rids[0], &k, &content);
    pv_rid_file(&rids[1], &other, &content);
    pv_rid_private(&rids[2], &k, content.b);
    pv_rid_name(&rids[3], &k, content.b, PV_ID_LEN);
    pv_rid_name(&rids[4], &k, content.b, PV_ID_LEN - 1);
    pv_rid_name(&rids[5], &k, NULL, 0);
    pv_rid_clear(&rids[6], 3, content.b, PV_ID_LEN);
    pv_rid_clear(&rids[7], 5, content.b, PV_ID_LEN);
    for (size_t i = 0; i < PV_COUNT(rids); i++)
        for (size_t j = i + 1; j < PV_COUNT(rids); j++)
            cr_assert_not(pv_id_equal(&rids[i], &rids[j]), "%zu %zu", i, j);
}

Test(keys, prefix_tag_depends_on_four_bytes)
{
    const struct pv_cluster_keys k = pvt_cluster_keys(0);
    uint8_t first[5] = {1, 2, 3, 4, 5};
    const uint64_t tag = pv_key_prefix_tag(&k, first);
    first[4] = 9;
    cr_assert_eq(pv_key_prefix_tag(&k, first), tag);
    for (size_t i = 0; i < 4; i++) {
        first[i] ^= 1;
        cr_assert_neq(pv_key_prefix_tag(&k, first), tag);
        first[i] ^= 1;
    }
}
