#include "crypto/body.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(body_cluster, .timeout = 20);

static struct pv_cluster_body body_of(size_t count)
{
    struct pv_cluster_body b = {.count = count};
    for (size_t i = 0; i < count && i < PV_CLUSTER_KIDS_MAX; i++) {
        b.keys[i].kid.b[0] = (uint8_t)(i + 1);
        b.keys[i].retire_s = i * 1000;
    }
    return b;
}

Test(body_cluster, comes_back_as_it_was)
{
    static uint8_t bytes[PV_RECORD_BODY_MAX];
    for (size_t count = 1; count <= PV_CLUSTER_KIDS_MAX; count++) {
        struct pv_cluster_body in = body_of(count), out;
        size_t len;
        cr_assert_eq(pv_cluster_body_encode(bytes, &len, &in), PV_OK);
        cr_assert_eq(len, 8 + 16 * count);
        cr_assert_eq(pv_cluster_body_decode(&out, bytes, len), PV_OK);
        cr_assert_eq(out.count, count);
        for (size_t i = 0; i < count; i++) {
            cr_assert_arr_eq(out.keys[i].kid.b, in.keys[i].kid.b, PV_KID_LEN);
            cr_assert_eq(out.keys[i].retire_s, in.keys[i].retire_s);
        }
        cr_assert_eq(pv_cluster_body_decode(&out, bytes, len - 1), PV_E_CORRUPT);
        cr_assert_eq(pv_cluster_body_decode(&out, bytes, len + 1), PV_E_CORRUPT);
    }
}

Test(body_cluster, what_makes_no_sense_is_refused)
{
    static uint8_t bytes[PV_RECORD_BODY_MAX];
    struct pv_cluster_body b = body_of(0), out;
    size_t len;
    cr_assert_eq(pv_cluster_body_encode(bytes, &len, &b), PV_E_INVALID, "no active key");
    b.count = PV_CLUSTER_KIDS_MAX + 1;
    cr_assert_eq(pv_cluster_body_encode(bytes, &len, &b), PV_E_INVALID);
    b = body_of(2);
    b.keys[0].retire_s = 1;
    cr_assert_eq(pv_cluster_body_encode(bytes, &len, &b), PV_E_INVALID, "the active one is used");
    b = body_of(3);
    b.keys[2].kid = b.keys[1].kid;
    cr_assert_eq(pv_cluster_body_encode(bytes, &len, &b), PV_E_INVALID, "one twice");

    b = body_of(2);
    cr_assert_eq(pv_cluster_body_encode(bytes, &len, &b), PV_OK);
    for (size_t i = 0; i < 8; i++) { /* version, count, reserved */
        bytes[i] ^= 1;
        cr_assert_eq(pv_cluster_body_decode(&out, bytes, len),
                     i == 0 ? PV_E_UNSUPPORTED : PV_E_CORRUPT, "byte %zu", i);
        bytes[i] ^= 1;
    }
    memcpy(bytes + 24, bytes + 8, PV_KID_LEN);
    cr_assert_eq(pv_cluster_body_decode(&out, bytes, len), PV_E_CORRUPT);
}
