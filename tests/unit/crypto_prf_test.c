#include "crypto/prf.h"
#include "internal/base/mem.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(prf, .timeout = 10);

static struct pv_prf *new_prf(const uint8_t *key)
{
    struct pv_prf *prf = NULL;
    cr_assert_eq(pv_prf_new(&prf, key), PV_OK);
    return prf;
}

static void check(const uint8_t *key, const uint8_t *window, uint64_t expected)
{
    struct pv_prf *prf = new_prf(key);
    cr_assert_eq(pv_prf_window(prf, window), expected);
    cr_assert_eq(pv_prf_window(prf, window), expected, "the second call chained on the first");
    pv_prf_free(prf);
}

/*
 * NIST SP 800-38A, F.2.1 (CBC-AES128): its IV 00 01 .. 0f, added to the first plaintext block,
 * makes it a case with a zero IV. The last ciphertext block is 3ff1caa1681fac09120eca307586e1a7.
 */
Test(prf, nist_cbc_known_answer)
{
    static const uint8_t key[PV_PRF_KEY_LEN] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                                0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
    uint8_t window[PV_PRF_WINDOW_LEN] = {
        0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73,
        0x93, 0x17, 0x2a, 0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c, 0x9e, 0xb7,
        0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51, 0x30, 0xc8, 0x1c, 0x46, 0xa3, 0x5c, 0xe4,
        0x11, 0xe5, 0xfb, 0xc1, 0x19, 0x1a, 0x0a, 0x52, 0xef, 0xf6, 0x9f, 0x24, 0x45,
        0xdf, 0x4f, 0x9b, 0x17, 0xad, 0x2b, 0x41, 0x7b, 0xe6, 0x6c, 0x37, 0x10};
    for (size_t i = 0; i < 16; i++)
        window[i] ^= (uint8_t)i;
    check(key, window, UINT64_C(0x09ac1f68a1caf13f));
}

/*
 * Made from the AES block alone, outside this project: s = AES(key, s xor block) for the four
 * blocks, with Python's cryptography in ECB mode (FIPS 197's example checked with the same code).
 */
Test(prf, cbc_mac_chained_by_hand)
{
    uint8_t key[PV_PRF_KEY_LEN], window[PV_PRF_WINDOW_LEN];
    memset(key, 0, sizeof key);
    memset(window, 0, sizeof window);
    check(key, window, UINT64_C(0x21aed8e09583c747));
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof window; i++)
        window[i] = (uint8_t)i;
    check(key, window, UINT64_C(0x6e69d45dcaf47f67));
    memset(key, 0xff, sizeof key);
    memset(window, 0xff, sizeof window);
    check(key, window, UINT64_C(0x03018a99eb675954));
}

Test(prf, every_byte_of_the_window_and_of_the_key_counts)
{
    uint8_t key[PV_PRF_KEY_LEN] = {0}, window[PV_PRF_WINDOW_LEN] = {0};
    struct pv_prf *prf = new_prf(key);
    const uint64_t base = pv_prf_window(prf, window);
    for (size_t i = 0; i < sizeof window; i++) {
        window[i] ^= 0x10;
        cr_assert_neq(pv_prf_window(prf, window), base);
        window[i] ^= 0x10;
    }
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] ^= 0x10;
        struct pv_prf *other = new_prf(key);
        cr_assert_neq(pv_prf_window(other, window), base);
        pv_prf_free(other);
        key[i] ^= 0x10;
    }
    cr_assert_eq(pv_prf_window(prf, window), base);
    pv_prf_free(prf);
}

Test(prf, lack_of_memory_is_reported)
{
    static const uint8_t key[PV_PRF_KEY_LEN];
    struct pv_prf *prf = NULL;
    pv_mem_fail_after(0);
    cr_assert_eq(pv_prf_new(&prf, key), PV_E_NOMEM);
    pv_mem_fail_after(UINT64_MAX);
    cr_assert_null(prf);
    pv_prf_free(NULL);
}
