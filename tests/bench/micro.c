/*
 * Speed of the inner loops, one core: chunker, blob sealing and opening, SHA-256. Prints one line
 * each, "name<TAB>MB/s", of the best of a few rounds (the others were disturbed).
 */
#include "crypto/blob.h"
#include "internal/base/env.h"
#include "internal/base/mem.h"
#include "storage/chunker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 5, DATA_LEN = 64 * 1024 * 1024, FEED_LEN = 65536, PAYLOAD_LEN = 480000 };

struct bench {
    struct pv_env env;
    struct pv_cluster_keys keys;
    struct pv_chunker_key chunker_key;
    uint8_t *data, *blob;
    struct pv_blob_sealed sealed;
};

static void check(enum pv_err err)
{
    if (err == PV_OK)
        return;
    fprintf(stderr, "bench_micro: %s\n", pv_err_text(err));
    exit(1);
}

static void chunk_data(struct bench *b)
{
    struct pv_chunker *c = NULL;
    check(pv_chunker_new(&c, &b->chunker_key));
    for (size_t at = 0; at < DATA_LEN;) {
        size_t left = DATA_LEN - at;
        bool cut;
        at += pv_chunker_feed(c, b->data + at, left < FEED_LEN ? left : FEED_LEN, &cut);
    }
    pv_chunker_free(c);
}

static void seal(struct bench *b, size_t at)
{
    memcpy(b->blob + PV_BLOB_PAYLOAD_OFFSET, b->data + at, PAYLOAD_LEN);
    check(pv_blob_seal(&b->sealed, &b->keys, 0, PV_BLOB_CHUNK, b->blob, PAYLOAD_LEN, NULL));
}

static void seal_data(struct bench *b)
{
    for (size_t at = 0; at + PAYLOAD_LEN <= DATA_LEN; at += PAYLOAD_LEN)
        seal(b, at);
}

/* Check of the id and decryption, as for a blob read back from a disk or a peer. */
static void open_data(struct bench *b)
{
    static uint8_t copy[PV_BLOB_LEN_MAX];
    for (size_t at = 0; at + PAYLOAD_LEN <= DATA_LEN; at += PAYLOAD_LEN) {
        const uint8_t *payload = NULL;
        size_t len = 0;
        memcpy(copy, b->blob, b->sealed.blob_len);
        check(pv_blob_check(copy, b->sealed.blob_len, &b->sealed.id));
        check(pv_blob_open(copy, b->sealed.blob_len, b->sealed.dk, PV_BLOB_CHUNK, &payload, &len));
    }
}

static void hash_data(struct bench *b)
{
    uint8_t out[PV_HASH_LEN];
    pv_sha256(out, b->data, DATA_LEN);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void measure(const char *name, struct bench *b, void (*run)(struct bench *b))
{
    uint64_t best_ns = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = now_ns();
        run(b);
        uint64_t ns = now_ns() - start;
        best_ns = ns < best_ns ? ns : best_ns;
    }
    printf("%s\t%.0f\n", name, (double)DATA_LEN * 1000.0 / (double)best_ns);
}

int main(void)
{
    struct bench b = {.env = pv_env_real(NULL)};
    uint8_t secret[PV_KEY_LEN], material[PV_CHUNKER_KEY_LEN];
    pv_crypto_init();
    pv_env_random(&b.env, secret, sizeof secret);
    check(pv_cluster_keys_derive(&b.keys, secret));
    pv_keys_chunker(material, &b.keys);
    pv_chunker_key_setup(&b.chunker_key, material);
    b.data = pv_malloc(DATA_LEN);
    b.blob = pv_malloc(PV_BLOB_LEN_MAX);
    if (b.data == NULL || b.blob == NULL)
        check(PV_E_NOMEM);
    pv_env_random(&b.env, b.data, DATA_LEN);

    measure("chunker, random data", &b, chunk_data);
    measure("seal a blob", &b, seal_data);
    measure("check and open a blob", &b, open_data);
    measure("SHA-256", &b, hash_data);
    for (size_t i = 0; i < DATA_LEN; i++)
        b.data[i] = (uint8_t)(i % 6400);
    measure("chunker, periodic data", &b, chunk_data);
    memset(b.data, 0, DATA_LEN);
    measure("chunker, zeros", &b, chunk_data);
    pv_free(b.data);
    pv_free(b.blob);
    return 0;
}
