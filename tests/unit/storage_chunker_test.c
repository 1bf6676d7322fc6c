#include "storage/chunker.h"
#include "crypto/aead.h"
#include "internal/base/mem.h"
#include "tests/support/vectors.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(chunker, .timeout = 60);

static const char vectors[] = "tests/vectors/peervault/chunker.json";

enum { MIB = 1024 * 1024, LENGTHS_MAX = 512 };

static void setup_key(struct pv_chunker_key *key, const uint8_t cluster_key[PV_KEY_LEN])
{
    struct pv_cluster_keys keys;
    uint8_t material[PV_CHUNKER_KEY_LEN];
    cr_assert_eq(pv_cluster_keys_derive(&keys, cluster_key), PV_OK);
    pv_keys_chunker(material, &keys);
    pv_chunker_key_setup(key, material);
}

static void setup_key_number(struct pv_chunker_key *key, uint8_t number)
{
    uint8_t cluster_key[PV_KEY_LEN];
    for (size_t i = 0; i < sizeof cluster_key; i++)
        cluster_key[i] = (uint8_t)(number + i);
    setup_key(key, cluster_key);
}

/* The keystream of AES-256-GCM under a zero nonce: random bytes that Python makes as well. */
static void fill_stream(uint8_t *data, size_t len, const uint8_t stream_key[PV_KEY_LEN])
{
    static const uint8_t nonce[PV_NONCE_LEN];
    struct pv_aead *aead = NULL;
    uint8_t *sealed = calloc(1, len + PV_TAG_LEN);
    cr_assert_not_null(sealed);
    cr_assert_eq(pv_aead_new(&aead, stream_key), PV_OK);
    pv_aead_seal(aead, nonce, NULL, 0, sealed, len, sealed);
    memcpy(data, sealed, len);
    pv_aead_free(aead);
    free(sealed);
}

static struct pvt_bytes random_bytes(size_t len, uint8_t number)
{
    const uint8_t stream_key[PV_KEY_LEN] = {number};
    struct pvt_bytes data = pvt_bytes_of_len(len);
    fill_stream(data.p, len, stream_key);
    return data;
}

struct lengths {
    size_t count;
    size_t v[LENGTHS_MAX];
};

/* Chunks data that arrives in slices of step bytes. */
static void chunk(struct lengths *out, const struct pv_chunker_key *key,
                  const struct pvt_bytes *data, size_t step)
{
    struct pv_chunker *c = NULL;
    size_t current = 0;
    cr_assert_eq(pv_chunker_new(&c, key), PV_OK);
    out->count = 0;
    for (size_t at = 0; at < data->len;) {
        size_t len = step < data->len - at ? step : data->len - at;
        for (size_t done = 0; done < len;) {
            bool cut = false;
            size_t took = pv_chunker_feed(c, data->p + at + done, len - done, &cut);
            cr_assert(cut || took == len - done, "stopped without a cut");
            cr_assert(took > 0 && took <= len - done);
            done += took;
            current += took;
            if (cut) {
                cr_assert_lt(out->count, (size_t)LENGTHS_MAX);
                out->v[out->count++] = current;
                current = 0;
            }
        }
        at += len;
    }
    if (current > 0)
        out->v[out->count++] = current;
    pv_chunker_free(c);
}

static void assert_same(const struct lengths *a, const struct lengths *b)
{
    cr_assert_eq(a->count, b->count, "%zu chunks, not %zu", a->count, b->count);
    for (size_t i = 0; i < a->count; i++)
        cr_assert_eq(a->v[i], b->v[i], "chunk %zu: %zu, not %zu", i, a->v[i], b->v[i]);
}

/* ---- against the second implementation ---- */

Test(chunker, tables_are_those_of_the_second_implementation)
{
    json_t *root = pvt_json_load(vectors);
    const json_t *tables = json_object_get(root, "tables"), *table;
    size_t index;
    cr_assert_eq(json_array_size(tables), (size_t)2);
    json_array_foreach(tables, index, table)
    {
        struct pvt_bytes cluster_key = pvt_json_hex(table, "cluster_key");
        struct pvt_bytes prf_key = pvt_json_hex(table, "prf_key");
        struct pvt_bytes gear_sha256 = pvt_json_hex(table, "gear_sha256");
        struct pv_chunker_key key;
        uint8_t text[256 * 8], digest[PV_HASH_LEN];
        setup_key(&key, cluster_key.p);
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (uint8_t)(key.gear[i / 8] >> (56 - i % 8 * 8));
        pv_sha256(digest, text, sizeof text);
        cr_assert(pvt_bytes_equal(&gear_sha256, digest, sizeof digest));
        cr_assert(pvt_bytes_equal(&prf_key, key.prf_key, sizeof key.prf_key));
        cr_assert_gt(pvt_json_number(table, "flipped"), 0, "the rule of bit 63 is not exercised");
        pvt_bytes_release(&cluster_key);
        pvt_bytes_release(&prf_key);
        pvt_bytes_release(&gear_sha256);
    }
    json_decref(root);
}

static void fill_form(struct pvt_bytes *data, const char *form, const uint8_t *stream_key)
{
    size_t period = strncmp(form, "period ", 7) == 0 ? strtoul(form + 7, NULL, 10) : 0;
    if (strcmp(form, "zeros") == 0)
        return;
    fill_stream(data->p, period != 0 ? period : data->len, stream_key);
    for (size_t i = period; period != 0 && i < data->len; i++)
        data->p[i] = data->p[i - period];
    for (size_t i = 0; strcmp(form, "two bits") == 0 && i < data->len; i++)
        data->p[i] &= 3;
}

static void check_case(const json_t *c)
{
    const json_t *chunks = json_object_get(c, "chunks"), *length;
    struct pvt_bytes cluster_key = pvt_json_hex(c, "cluster_key");
    struct pvt_bytes stream_key = pvt_json_hex(c, "stream_key");
    struct pvt_bytes sha256 = pvt_json_hex(c, "sha256");
    struct pvt_bytes data = pvt_bytes_of_len((size_t)pvt_json_number(c, "length"));
    struct pv_chunker_key key;
    struct lengths expected = {0}, got;
    uint8_t digest[PV_HASH_LEN];
    size_t index;

    setup_key(&key, cluster_key.p);
    fill_form(&data, pvt_json_text(c, "form"), stream_key.p);
    pv_sha256(digest, data.p, data.len);
    cr_assert(pvt_bytes_equal(&sha256, digest, sizeof digest), "not the same data");
    json_array_foreach(chunks, index, length) expected.v[expected.count++] =
        (size_t)json_integer_value(length);
    chunk(&got, &key, &data, 65536);
    assert_same(&got, &expected);
    pvt_bytes_release(&data);
    pvt_bytes_release(&sha256);
    pvt_bytes_release(&stream_key);
    pvt_bytes_release(&cluster_key);
}

Test(chunker, cut_points_are_those_of_the_second_implementation)
{
    json_t *root = pvt_json_load(vectors);
    const json_t *cases = json_object_get(root, "cases"), *c;
    size_t index;
    cr_assert_eq(json_array_size(cases), (size_t)15);
    json_array_foreach(cases, index, c) check_case(c);
    json_decref(root);
}

/* ---- slicing ---- */

Test(chunker, slicing_of_the_input_does_not_matter)
{
    static const size_t steps[] = {1, 2, 3, 7, 61, 63, 64, 65, 127, 4093, 65521, 196607, 978945};
    struct pvt_bytes data = random_bytes(6 * MIB + 5, 1);
    struct pv_chunker_key key;
    struct lengths whole, sliced;
    setup_key_number(&key, 1);
    chunk(&whole, &key, &data, data.len);
    cr_assert_gt(whole.count, (size_t)8);
    for (size_t i = 0; i < PV_COUNT(steps); i++) {
        chunk(&sliced, &key, &data, steps[i]);
        assert_same(&sliced, &whole);
    }
    pvt_bytes_release(&data);
}

/* The same windows again and again: most decisions come from the memo. */
Test(chunker, slicing_of_periodic_data_does_not_matter)
{
    struct pvt_bytes data = random_bytes(4 * MIB, 2);
    struct pv_chunker_key key;
    struct lengths whole, sliced;
    for (size_t i = 40000; i < data.len; i++)
        data.p[i] = data.p[i - 40000];
    setup_key_number(&key, 2);
    chunk(&whole, &key, &data, data.len);
    for (size_t step = 1; step < 70; step += 11) {
        chunk(&sliced, &key, &data, step);
        assert_same(&sliced, &whole);
    }
    pvt_bytes_release(&data);
}

/* ---- what chunking is for ---- */

/* Chunks of b that a has not, compared by content. */
static size_t count_new(const struct pvt_bytes *a, const struct lengths *la,
                        const struct pvt_bytes *b, const struct lengths *lb)
{
    size_t fresh = 0;
    for (size_t j = 0, bt = 0; j < lb->count; bt += lb->v[j++]) {
        bool known = false;
        for (size_t i = 0, at = 0; i < la->count && !known; at += la->v[i++])
            known = la->v[i] == lb->v[j] && memcmp(a->p + at, b->p + bt, la->v[i]) == 0;
        fresh += known ? 0 : 1;
    }
    return fresh;
}

Test(chunker, an_insertion_changes_few_chunks)
{
    static const size_t inserted[] = {1, 2, 13, 64, 65, 200};
    struct pvt_bytes old = random_bytes(12 * MIB, 3);
    struct pv_chunker_key key;
    struct lengths old_lengths, new_lengths;
    size_t total = 0;
    setup_key_number(&key, 3);
    chunk(&old_lengths, &key, &old, 65536);
    for (size_t i = 0; i < PV_COUNT(inserted); i++) {
        struct pvt_bytes new = pvt_bytes_of_len(old.len + inserted[i]);
        size_t at = 1234567 + i * 1500000;
        memcpy(new.p, old.p, at);
        memset(new.p + at, 'x', inserted[i]);
        memcpy(new.p + at + inserted[i], old.p + at, old.len - at);
        chunk(&new_lengths, &key, &new, 65536);
        size_t fresh = count_new(&old, &old_lengths, &new, &new_lengths);
        cr_assert(fresh >= 1 && fresh <= 4, "%zu chunks changed", fresh);
        total += fresh;
        pvt_bytes_release(&new);
    }
    cr_assert_leq(total, 2 * PV_COUNT(inserted));
    pvt_bytes_release(&old);
}

Test(chunker, zeros_deduplicate)
{
    struct pvt_bytes data = pvt_bytes_of_len((size_t)64 * MIB);
    struct pv_chunker_key key;
    struct lengths lengths;
    size_t distinct = 0;
    setup_key_number(&key, 4);
    chunk(&lengths, &key, &data, 65536);
    cr_assert_eq(lengths.count, (size_t)69);
    for (size_t i = 0; i < lengths.count; i++) {
        bool known = false;
        for (size_t j = 0; j < i; j++)
            known = known || lengths.v[j] == lengths.v[i];
        distinct += known ? 0 : 1;
    }
    cr_assert_leq(distinct, (size_t)3);
    pvt_bytes_release(&data);
}

/* The maximum is a multiple of 4 096, so repeated blocks of that size are cut at equal places. */
Test(chunker, repeated_blocks_deduplicate)
{
    struct pvt_bytes data = random_bytes(16 * MIB, 5);
    struct pv_chunker_key key;
    struct lengths lengths;
    for (size_t i = 4096; i < data.len; i++)
        data.p[i] = data.p[i - 4096];
    setup_key_number(&key, 5);
    chunk(&lengths, &key, &data, 65536);
    for (size_t i = 0; i + 1 < lengths.count; i++) {
        cr_assert_eq(lengths.v[i], (size_t)PV_CHUNK_MAX);
        cr_assert_arr_eq(data.p + i * PV_CHUNK_MAX, data.p, PV_CHUNK_MAX);
    }
    pvt_bytes_release(&data);
}

/*
 * Lengths over several keys. A candidate comes once per 2^10 bytes and is taken once in 2^10 below
 * 458 752 and once in 2^6 above. So a share 1 - exp(-262 144 / 2^20) = 22.1 % of the chunks is
 * short, the rest lies on average 65 536 further: 467 KiB in all, with a deviation of 103 KiB. With
 * 850 chunks the bounds below are about six standard errors wide.
 */
Test(chunker, lengths_are_distributed_as_designed)
{
    struct pvt_bytes data = random_bytes(64 * MIB, 6);
    struct lengths lengths;
    double sum = 0, squares = 0;
    size_t count = 0, small = 0, forced = 0;
    for (uint8_t number = 10; number < 16; number++) {
        struct pv_chunker_key key;
        setup_key_number(&key, number);
        chunk(&lengths, &key, &data, MIB);
        for (size_t i = 0; i + 1 < lengths.count; i++) {
            double length = (double)lengths.v[i];
            cr_assert_geq(lengths.v[i], (size_t)PV_CHUNK_MIN);
            cr_assert_leq(lengths.v[i], (size_t)PV_CHUNK_MAX);
            sum += length;
            squares += length * length;
            small += lengths.v[i] < PV_CHUNK_NORMAL ? 1 : 0;
            forced += lengths.v[i] == PV_CHUNK_MAX ? 1 : 0;
            count++;
        }
    }
    double mean = sum / (double)count;
    double variance = squares / (double)count - mean * mean;
    double share = (double)small / (double)count;
    cr_assert(mean > 445.0 * 1024 && mean < 490.0 * 1024, "mean %.0f", mean);
    cr_assert(variance > 85.0 * 1024 * 85 * 1024 && variance < 121.0 * 1024 * 121 * 1024);
    cr_assert(share > 0.13 && share < 0.31, "%.3f are short", share);
    cr_assert_leq(forced, count / 100);
    pvt_bytes_release(&data);
}

Test(chunker, another_key_cuts_elsewhere)
{
    struct pvt_bytes data = random_bytes(8 * MIB, 7);
    struct pv_chunker_key one, other;
    struct lengths a, b;
    setup_key_number(&one, 20);
    setup_key_number(&other, 21);
    chunk(&a, &one, &data, MIB);
    chunk(&b, &other, &data, MIB);
    cr_assert_neq(a.v[0], b.v[0]);
    /* The same gear table with another PRF key too: the table is not where the secret is. */
    memcpy(other.gear, one.gear, sizeof other.gear);
    chunk(&b, &other, &data, MIB);
    cr_assert_neq(a.v[0], b.v[0]);
    pvt_bytes_release(&data);
}

/* ---- the edges ---- */

Test(chunker, a_run_of_any_byte_is_never_a_candidate_everywhere)
{
    struct pv_chunker_key key;
    for (uint8_t number = 0; number < 32; number++) {
        setup_key_number(&key, number);
        for (size_t b = 0; b < PV_COUNT(key.gear); b++)
            cr_assert_neq((0 - key.gear[b]) >> 54, UINT64_C(0));
    }
}

Test(chunker, table_of_worst_material_is_flipped)
{
    uint8_t material[PV_CHUNKER_KEY_LEN];
    struct pv_chunker_key key;
    memset(material, 0, sizeof material); /* -0 = 0: every entry breaks the rule */
    pv_chunker_key_setup(&key, material);
    for (size_t b = 0; b < PV_COUNT(key.gear); b++)
        cr_assert_eq(key.gear[b], UINT64_C(1) << 63);
    memset(material, 0xff, sizeof material); /* -(2^64 - 1) = 1 */
    pv_chunker_key_setup(&key, material);
    cr_assert_eq(key.gear[255], UINT64_MAX >> 1);
    material[16] = 0; /* top bits of -G are ones: stays */
    pv_chunker_key_setup(&key, material);
    cr_assert_eq(key.gear[0], UINT64_MAX >> 8);
}

Test(chunker, empty_input_changes_nothing)
{
    struct pvt_bytes data = random_bytes(2 * MIB, 8);
    struct pv_chunker_key key;
    struct pv_chunker *c = NULL;
    struct lengths expected;
    bool cut = true;
    setup_key_number(&key, 8);
    chunk(&expected, &key, &data, MIB);
    cr_assert_eq(pv_chunker_new(&c, &key), PV_OK);
    cr_assert_eq(pv_chunker_feed(c, NULL, 0, &cut), (size_t)0);
    cr_assert_not(cut);
    for (size_t at = 0; at < expected.v[0]; at++) {
        cr_assert_eq(pv_chunker_feed(c, data.p + at, 1, &cut), (size_t)1);
        cr_assert_eq(cut, at + 1 == expected.v[0]);
        bool again = true;
        cr_assert_eq(pv_chunker_feed(c, NULL, 0, &again), (size_t)0);
        cr_assert_not(again);
    }
    pv_chunker_free(c);
    pvt_bytes_release(&data);
}

Test(chunker, without_a_key_chunks_are_fixed)
{
    struct pvt_bytes data = random_bytes(2 * (size_t)PV_CHUNK_MAX + 1, 9);
    static const size_t steps[] = {977, 65536, PV_CHUNK_MAX - 1, PV_CHUNK_MAX, PV_CHUNK_MAX + 1};
    struct lengths lengths;
    for (size_t i = 0; i < PV_COUNT(steps); i++) {
        chunk(&lengths, NULL, &data, steps[i]);
        cr_assert_eq(lengths.count, (size_t)3);
        cr_assert_eq(lengths.v[0], (size_t)PV_CHUNK_MAX);
        cr_assert_eq(lengths.v[1], (size_t)PV_CHUNK_MAX);
        cr_assert_eq(lengths.v[2], (size_t)1);
    }
    pvt_bytes_release(&data);
}

Test(chunker, lack_of_memory_is_reported)
{
    struct pv_chunker_key key;
    struct pv_chunker *c = NULL;
    setup_key_number(&key, 1);
    for (uint64_t n = 0; n < 2; n++) {
        pv_mem_fail_after(n);
        cr_assert_eq(pv_chunker_new(&c, &key), PV_E_NOMEM);
        pv_mem_fail_after(UINT64_MAX);
        cr_assert_null(c);
    }
    pv_chunker_free(NULL);
}
