/*
 * Fixed inputs of the crypto tests; the same as in tests/vectors/peervault/make_vectors.py where
 * both need them.
 */
#ifndef PV_TESTS_CRYPTO_FIXTURE_H
#define PV_TESTS_CRYPTO_FIXTURE_H

#include "crypto/ecc.h"
#include "crypto/keys.h"
#include <criterion/criterion.h>
#include <string.h>

#define PVT_EPOCH UINT64_C(1767225600) /* 2026-01-01 */

static inline void pvt_pattern(uint8_t *dst, size_t len)
{
    for (size_t i = 0; i < len; i++)
        dst[i] = (uint8_t)(31 * i + i / 256);
}

static inline struct pv_cluster_keys pvt_cluster_keys(uint8_t first)
{
    struct pv_cluster_keys keys;
    uint8_t key[PV_KEY_LEN];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(first + i);
    cr_assert_eq(pv_cluster_keys_derive(&keys, key), PV_OK);
    return keys;
}

static inline void pvt_fill_hash(uint8_t out[static 32], const char *text)
{
    pv_sha256(out, text, strlen(text));
}

static inline struct pv_id pvt_id_of(const char *text)
{
    struct pv_id id;
    pvt_fill_hash(id.b, text);
    return id;
}

#endif
