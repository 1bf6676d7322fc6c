#include "transport/msg.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(msg_key, .timeout = 20);

static size_t put(uint8_t bytes[static 64], const struct pv_msg_key *m)
{
    struct pv_wr w = pv_wr_of(bytes, 64);
    pv_msg_put_key(&w, m);
    cr_assert_eq(pv_wr_end(&w), PV_OK);
    cr_assert_eq(bytes[0], PV_MSG_KEY);
    return pv_wr_len(&w);
}

static enum pv_err get(struct pv_msg_key *m, const uint8_t *bytes, size_t len)
{
    struct pv_rd r = pv_rd_of(bytes + 1, len - 1);
    return pv_msg_get_key(&r, m);
}

Test(msg_key, both_kinds_to_the_byte)
{
    struct pv_msg_key give = {.kind = PV_KEY_GIVE, .created_s = 0x0102030405060708},
                      have = {.kind = PV_KEY_HAVE, .kid.b = {1, 2, 3}}, out;
    uint8_t bytes[64];
    memset(give.cluster_key, 0xab, sizeof give.cluster_key);
    size_t len = put(bytes, &give);
    cr_assert_eq(len, 1 + 1 + 8 + 32);
    cr_assert_eq(get(&out, bytes, len), PV_OK);
    cr_assert_eq(out.created_s, give.created_s);
    cr_assert_arr_eq(out.cluster_key, give.cluster_key, sizeof give.cluster_key);
    cr_assert_eq(get(&out, bytes, len - 1), PV_E_PROTOCOL);
    cr_assert_eq(out.cluster_key[0], 0, "wiped");
    cr_assert_eq(get(&out, bytes, len + 1), PV_E_PROTOCOL);

    len = put(bytes, &have);
    cr_assert_eq(len, 1 + 1 + 8);
    cr_assert_eq(get(&out, bytes, len), PV_OK);
    cr_assert_arr_eq(out.kid.b, have.kid.b, PV_KID_LEN);
    cr_assert_eq(get(&out, bytes, len - 1), PV_E_PROTOCOL);
    bytes[1] = 3;
    cr_assert_eq(get(&out, bytes, len), PV_E_PROTOCOL, "no such kind");
}
