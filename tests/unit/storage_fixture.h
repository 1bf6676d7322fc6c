/*
 * A vault with an open store in a temporary folder, through a file system that can fail; blobs and
 * records to put into it. Blobs are any bytes under their SHA-256: the store opens none.
 */
#ifndef PV_TESTS_STORAGE_FIXTURE_H
#define PV_TESTS_STORAGE_FIXTURE_H

#include "crypto/blob.h"
#include "crypto/record.h"
#include "internal/base/mem.h"
#include "storage/commit.h"
#include "storage/store.h"
#include "storage/vfs.h"
#include "tests/support/faultfs.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct pvt_vault {
    struct pvt_tmpdir dir;
    char path[300];
    struct pvt_faultfs faults;
    struct pvt_env env;
    struct pvt_log log;
    struct pv_vault vault;
    struct pv_store_config config;
    struct pv_store *store;
};

extern atomic_int pvt_fatal_count; /* of pvt_fatal, which comes back */

static inline void pvt_fatal(const char *what)
{
    (void)what;
    atomic_fetch_add(&pvt_fatal_count, 1);
}

static inline enum pv_err pvt_vault_try_open(struct pvt_vault *v)
{
    long pid;
    enum pv_err err = pv_vault_open(&v->vault, v->path, &v->faults.fs);
    if (err != PV_OK)
        return err;
    err = pv_vault_lock(&v->vault, &pid);
    if (err == PV_OK)
        err = pv_store_open(&v->store, &v->config);
    if (err != PV_OK)
        pv_vault_close(&v->vault);
    return err;
}

static inline void pvt_vault_open(struct pvt_vault *v)
{
    cr_assert_eq(pvt_vault_try_open(v), PV_OK);
}

static inline void pvt_vault_close(struct pvt_vault *v)
{
    pv_store_close(v->store);
    v->store = NULL;
    pv_vault_close(&v->vault);
}

static inline struct pvt_vault *pvt_vault_new(void)
{
    struct pvt_vault *v = calloc(1, sizeof *v);
    pvt_tmpdir_init(&v->dir);
    snprintf(v->path, sizeof v->path, "%s/vault", v->dir.path);
    pvt_faultfs_init(&v->faults, pv_fs_real());
    pvt_log_init(&v->log, false);
    pvt_env_init(&v->env, 7, v->log.log);
    v->config = (struct pv_store_config){
        .vault = &v->vault,
        .env = &v->env.env,
        .cache_bytes = 2 << 20,
        .fatal = pvt_fatal,
    };
    cr_assert_eq(pv_vault_create(v->path, &v->faults.fs), PV_OK);
    return v;
}

static inline struct pvt_vault *pvt_vault_new_open(void)
{
    struct pvt_vault *v = pvt_vault_new();
    pvt_vault_open(v);
    return v;
}

static inline void pvt_vault_free(struct pvt_vault *v)
{
    if (v->store != NULL)
        pvt_vault_close(v);
    pvt_faultfs_release(&v->faults);
    pvt_log_release(&v->log);
    pvt_tmpdir_release(&v->dir);
    free(v);
}

static inline void pvt_reopen(struct pvt_vault *v)
{
    pvt_vault_close(v);
    pvt_vault_open(v);
}

/* Makes a closed vault a new one: folders only. */
static inline void pvt_vault_forget(struct pvt_vault *v)
{
    static const char *const names[] = {"vault.db", "vault.db-wal", "vault.db-journal"};
    for (unsigned i = 0; i < PV_COUNT(names); i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", v->path, names[i]);
        (void)unlink(path);
    }
}

/* ---- blobs ---- */

struct pvt_blob {
    struct pv_id id;
    size_t len;
    uint8_t *bytes;
};

static inline struct pvt_blob pvt_blob_make(uint32_t no, size_t len)
{
    struct pvt_blob b = {.len = len, .bytes = malloc(len)};
    uint64_t x = no * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        b.bytes[i] = (uint8_t)x;
    }
    pv_sha256(b.id.b, b.bytes, len);
    return b;
}

static inline void pvt_blob_free(struct pvt_blob *b)
{
    free(b->bytes);
}

static inline struct pv_commit_op pvt_blob_op(const struct pvt_blob *b)
{
    return (struct pv_commit_op){
        .type = PV_COMMIT_BLOB,
        .u.blob = {.id = b->id, .kind = PV_BLOB_CHUNK, .bytes = b->bytes, .len = b->len},
    };
}

/* ---- commits ---- */

static inline void pvt_done(struct pv_commit *c)
{
    c->ctx = c; /* says that it came */
}

static inline struct pv_commit pvt_commit_of(struct pv_commit_op *ops, size_t count)
{
    return (struct pv_commit){.ops = ops, .count = count, .done = pvt_done, .err = PV_E_INTERNAL};
}

/* One commit alone in a batch. */
static inline enum pv_err pvt_commit(struct pvt_vault *v, struct pv_commit_op *ops, size_t count)
{
    struct pv_commit c = pvt_commit_of(ops, count);
    pv_commit_batch(v->store, &c);
    cr_assert_eq(c.ctx, &c);
    return c.err;
}

static inline enum pv_err pvt_put_blob(struct pvt_vault *v, const struct pvt_blob *b)
{
    struct pv_commit_op op = pvt_blob_op(b);
    return pvt_commit(v, &op, 1);
}

/* Whole and equal to what was stored. */
static inline bool pvt_has_blob(struct pvt_vault *v, const struct pvt_blob *b)
{
    uint8_t *dst = malloc(b->len + 1);
    size_t got = 0;
    uint32_t size = 0;
    enum pv_err err = pv_store_read(v->store, &b->id, 0, dst, b->len + 1, &got, &size);
    bool same =
        err == PV_OK && got == b->len && size == b->len && memcmp(dst, b->bytes, b->len) == 0;
    free(dst);
    return same;
}

/* ---- records ---- */

struct pvt_record {
    uint8_t env[1024];
    size_t len;
    struct pv_record rec;
};

/* A record of subject `no` with the given clock; two with another salt differ in their hash. */
static inline struct pvt_record pvt_record_make(uint8_t type, uint32_t no, uint64_t hlc,
                                                uint16_t flags, uint8_t salt_byte)
{
    static const uint8_t key[PV_KEY_LEN] = {1, 2, 3}, seed[PV_SEED_LEN] = {9};
    struct pvt_record r;
    struct pv_cluster_keys keys;
    uint8_t salt[32] = {salt_byte};
    struct pv_record_draft draft = {
        .type = type,
        .flags = flags,
        .hlc = hlc,
        .epoch = UINT64_C(1767225600),
        .body = (const uint8_t *)"body",
        .body_len = 4,
    };
    cr_assert_eq(pv_cluster_keys_derive(&keys, key), PV_OK);
    pv_rid_clear(&draft.rid, type, &no, sizeof no);
    if (type > PV_RECORD_NAME) {
        draft.flags |= PV_RECORD_CLEAR;
        draft.epoch = 0;
    }
    uint8_t *env = malloc(PV_RECORD_LEN_MAX);
    cr_assert_eq(pv_record_seal(env, &r.len, &draft, &keys, seed, salt), PV_OK);
    cr_assert_leq(r.len, sizeof r.env);
    memcpy(r.env, env, r.len);
    free(env);
    cr_assert_eq(pv_record_parse(&r.rec, r.env, r.len), PV_OK);
    return r;
}

static inline struct pv_commit_op pvt_record_op(const struct pvt_record *r, bool pending)
{
    return (struct pv_commit_op){
        .type = PV_COMMIT_RECORD,
        .u.record = {.env = r->env, .len = r->len, .pending = pending},
    };
}

static inline enum pv_err pvt_put_record(struct pvt_vault *v, const struct pvt_record *r,
                                         bool pending, bool *applied)
{
    struct pv_commit_op op = pvt_record_op(r, pending);
    enum pv_err err = pvt_commit(v, &op, 1);
    *applied = op.applied;
    return err;
}

static inline bool pvt_has_record(struct pvt_vault *v, const struct pvt_record *r)
{
    uint8_t *env = malloc(PV_RECORD_LEN_MAX);
    size_t len = 0;
    bool pending;
    enum pv_err err = pv_store_record(v->store, &r->rec.rid, env, &len, &pending);
    bool same = err == PV_OK && len == r->len && memcmp(env, r->env, len) == 0;
    free(env);
    return same;
}

/* ---- files ---- */

static inline bool pvt_count_name(void *arg, const char *name)
{
    (void)name;
    ++*(size_t *)arg;
    return true;
}

static inline size_t pvt_files_in(struct pvt_vault *v, const char *folder)
{
    char path[400];
    size_t count = 0;
    pv_fd fd;
    snprintf(path, sizeof path, "%s/%s", v->path, folder);
    cr_assert_eq(pv_fs_real_open_root(path, &fd), PV_OK);
    cr_assert_eq(pv_fs_real()->list(NULL, fd, ".", pvt_count_name, &count), PV_OK);
    close(fd);
    return count;
}

static inline size_t pvt_blob_files(struct pvt_vault *v)
{
    size_t count = 0;
    for (unsigned i = 0; i < 256; i++) {
        char folder[sizeof "blobs/00"];
        snprintf(folder, sizeof folder, "blobs/%02x", i & 0xff);
        count += pvt_files_in(v, folder);
    }
    return count;
}

static inline bool pvt_file_exists(struct pvt_vault *v, const struct pv_id *id)
{
    char path[400], blob[PV_BLOB_PATH_LEN + 1];
    pv_blob_path(blob, id);
    snprintf(path, sizeof path, "%s/%s", v->path, blob);
    return access(path, F_OK) == 0;
}

/* Looks through all folders once. */
static inline size_t pvt_find_unknown(struct pvt_vault *v, struct pv_id ids[static PV_UNKNOWN_MAX])
{
    size_t count = 0;
    for (unsigned folder = 0; folder < 256;)
        cr_assert_eq(pv_store_find_unknown(v->store, &folder, ids, PV_UNKNOWN_MAX, &count), PV_OK);
    return count;
}

#endif
