/*
 * A keyed node with a real store and no network, and clients that send it files through a request
 * io that stands in for the control socket. Jobs and commits run one at a time, when told to, in
 * an order that can be varied.
 */
#ifndef PV_TESTS_INTERNAL_INGEST_FIXTURE_H
#define PV_TESTS_INTERNAL_INGEST_FIXTURE_H

#include "internal/file/ingest_private.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum pvt_order { PVT_FIRST, PVT_LAST, PVT_ANY };

struct pvt_server {
    struct pvt_tmpdir dir;
    struct pvt_env env;
    struct pvt_log log;
    struct pv_vault vault;
    struct pv_store *store;
    struct pv_keyring keyring;
    struct pv_identity identity;
    struct pv_chunker_key chunker_key;
    struct pv_job_context context;
    struct pv_node *node;
    struct pv_files *files;
    struct pv_job *jobs[64];
    size_t job_count;
    enum pvt_order order;
    uint64_t dice;
    size_t jobs_run;
    bool ready, closed;
};

struct pvt_server_options {
    size_t members; /* active ones besides us */
    bool blind;
    enum pv_convergence convergence;
    uint64_t disk_limit;
    size_t memory_bytes;
};

static inline enum pv_err pvt_no_send(void *ctx, pv_link link, const uint8_t *payload, size_t len)
{
    (void)ctx, (void)link, (void)payload, (void)len;
    return PV_E_CLOSED;
}

static inline void pvt_submit(void *ctx, struct pv_job *job)
{
    struct pvt_server *s = ctx;
    cr_assert_lt(s->job_count, PV_COUNT(s->jobs));
    s->jobs[s->job_count++] = job;
}

static inline uint64_t pvt_dice(struct pvt_server *s)
{
    s->dice ^= s->dice << 13;
    s->dice ^= s->dice >> 7;
    s->dice ^= s->dice << 17;
    return s->dice;
}

static inline void pvt_commit_done(struct pv_commit *c)
{
    (void)c;
}

/* Runs one job, if there is any. */
static inline bool pvt_step(struct pvt_server *s)
{
    if (s->job_count == 0)
        return false;
    size_t i = s->order == PVT_FIRST  ? 0
               : s->order == PVT_LAST ? s->job_count - 1
                                      : pvt_dice(s) % s->job_count;
    struct pv_job *job = s->jobs[i];
    memmove(s->jobs + i, s->jobs + i + 1, (s->job_count - i - 1) * sizeof s->jobs[0]);
    s->job_count--;
    s->jobs_run++;
    if (job->run != NULL) {
        job->run(job, &s->context);
    } else {
        job->commit.done = pvt_commit_done;
        job->commit.next = NULL;
        pv_commit_batch(s->store, &job->commit);
    }
    job->done(job);
    return true;
}

static inline void pvt_settle(struct pvt_server *s)
{
    while (pvt_step(s))
        continue;
}

static inline void pvt_on_ready(void *arg, enum pv_err err)
{
    struct pvt_server *s = arg;
    cr_assert_eq(err, PV_OK);
    s->ready = true;
}

static inline void pvt_on_closed(void *arg)
{
    ((struct pvt_server *)arg)->closed = true;
}

static inline void pvt_identity(struct pv_identity *id, uint8_t no)
{
    memset(id->seed, no, sizeof id->seed);
    pv_ed25519_public(id->pub, id->seed);
    pv_node_id_of(&id->node_id, id->pub);
}

/* As if this member's record had arrived. */
static inline void pvt_add_member(struct pvt_server *s, uint8_t no)
{
    struct pv_identity id;
    uint8_t *env = malloc(PV_RECORD_LEN_MAX);
    size_t len;
    pvt_identity(&id, no);
    cr_assert_eq(
        pv_members_found_record(env, &len, &id, pv_hlc_next(0, s->env.wall_ms), &s->env.env),
        PV_OK);
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    op.u.record.env = env;
    op.u.record.len = len;
    struct pv_commit commit = {.ops = &op, .count = 1, .done = pvt_commit_done};
    pv_commit_batch(s->store, &commit);
    cr_assert_eq(commit.err, PV_OK);
    free(env);
}

static inline void pvt_open_keys(struct pvt_server *s, bool blind)
{
    uint8_t key[PV_KEY_LEN], material[PV_CHUNKER_KEY_LEN];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i + 1);
    pv_keyring_init(&s->keyring);
    if (!blind) {
        cr_assert_eq(pv_keyring_add_cluster_key(&s->keyring, key, 1), PV_OK);
        pv_keys_chunker(material, pv_keyring_dedup(&s->keyring));
        pv_chunker_key_setup(&s->chunker_key, material);
    }
    pvt_identity(&s->identity, 1);
}

static inline struct pvt_server *pvt_server_new(const struct pvt_server_options *options)
{
    static const struct pvt_server_options none;
    const struct pvt_server_options *o = options != NULL ? options : &none;
    struct pvt_server *s = calloc(1, sizeof *s);
    char path[300];
    long pid;
    s->dice = 88172645463325252u;
    pvt_tmpdir_init(&s->dir);
    pvt_log_init(&s->log, false);
    pvt_env_init(&s->env, 7, s->log.log);
    snprintf(path, sizeof path, "%s/vault", s->dir.path);
    cr_assert_eq(pv_vault_create(path, pv_fs_real()), PV_OK);
    cr_assert_eq(pv_vault_open(&s->vault, path, pv_fs_real()), PV_OK);
    cr_assert_eq(pv_vault_lock(&s->vault, &pid), PV_OK);
    struct pv_store_config store = {
        .vault = &s->vault,
        .env = &s->env.env,
        .cache_bytes = 2 << 20,
        .disk_limit = o->disk_limit,
    };
    cr_assert_eq(pv_store_open(&s->store, &store), PV_OK);
    pvt_open_keys(s, o->blind);
    for (size_t i = 0; i <= o->members; i++)
        pvt_add_member(s, (uint8_t)(i + 1));
    s->context = (struct pv_job_context){.store = s->store,
                                         .env = &s->env.env,
                                         .keyring = &s->keyring,
                                         .identity = &s->identity,
                                         .chunker_key = o->blind ? NULL : &s->chunker_key};
    struct pv_node_config node = {.env = &s->env.env,
                                  .io = {.ctx = s, .submit = pvt_submit, .send = pvt_no_send},
                                  .keyring = &s->keyring,
                                  .identity = &s->identity,
                                  .replicas = 3,
                                  .inbound_bytes = 16 << 20,
                                  .outbound_bytes = 4 << 20,
                                  .hlc = pv_store_hlc(s->store)};
    cr_assert_eq(pv_node_new(&s->node, &node), PV_OK);
    pv_node_start(s->node, pvt_on_ready, s);
    pvt_settle(s);
    cr_assert(s->ready);
    cr_assert_eq(pv_members_active(s->node), o->members + 1);
    struct pv_files_config files = {
        .node = s->node,
        .env = &s->env.env,
        .memory_bytes = o->memory_bytes != 0 ? o->memory_bytes : 12 << 20,
        .convergence = o->convergence,
        .replicas = 3,
    };
    cr_assert_eq(pv_files_new(&s->files, &files), PV_OK);
    return s;
}

/* The asserts inside say that no memory of the budget and no timer was left. */
static inline void pvt_server_free(struct pvt_server *s)
{
    pv_node_close(s->node, pvt_on_closed, s);
    pvt_settle(s);
    cr_assert(s->closed);
    cr_assert_eq(s->files->memory.used_bytes, 0);
    pv_files_free(s->files);
    pv_node_free(s->node);
    pv_store_close(s->store);
    pv_vault_close(&s->vault);
    pv_keyring_wipe(&s->keyring);
    pvt_log_release(&s->log);
    pvt_tmpdir_release(&s->dir);
    free(s);
}

static inline struct pv_store_counts pvt_counts(struct pvt_server *s)
{
    struct pv_store_counts counts;
    cr_assert_eq(pv_store_counts(s->store, &counts), PV_OK);
    return counts;
}

/* ---- a client ---- */

struct pvt_client {
    struct pvt_server *server;
    struct pv_request rq;
    json_t *events, *final;
    bool paused, is_open, sent_end;
    const uint8_t *bytes;
    size_t len, at, slice; /* slice 0: a different one each time */
};

static inline struct pvt_client *pvt_client_of(const struct pv_request *rq)
{
    return rq->owner;
}

static inline void pvt_io_event(struct pv_request *rq, json_t *message)
{
    cr_assert_not_null(message);
    json_array_append_new(pvt_client_of(rq)->events, message);
}

static inline void pvt_io_finish(struct pv_request *rq, json_t *message)
{
    struct pvt_client *c = pvt_client_of(rq);
    cr_assert_not_null(message);
    cr_assert(c->is_open);
    c->final = message;
    c->is_open = false;
    json_decref(rq->args);
    memset(&c->rq, 0xee, sizeof c->rq); /* whoever still uses it finds out */
}

static inline bool pvt_io_writable(const struct pv_request *rq)
{
    (void)rq;
    return true;
}

static inline void pvt_io_pause(struct pv_request *rq, bool paused)
{
    struct pvt_client *c = pvt_client_of(rq);
    cr_assert_neq(c->paused, paused);
    c->paused = paused;
}

/* args is stolen. */
static inline struct pvt_client *pvt_store(struct pvt_server *s, json_t *args, const uint8_t *bytes,
                                           size_t len, size_t slice)
{
    static const struct pv_request_io io = {.event = pvt_io_event,
                                            .finish = pvt_io_finish,
                                            .writable = pvt_io_writable,
                                            .pause = pvt_io_pause};
    struct pvt_client *c = calloc(1, sizeof *c);
    cr_assert_not_null(args);
    json_object_set_new(args, "op", json_string("store"));
    c->server = s;
    c->events = json_array();
    c->is_open = true;
    c->bytes = bytes;
    c->len = len;
    c->slice = slice;
    c->rq = (struct pv_request){.io = &io, .owner = c, .id = 1, .args = args};
    pv_files_request(s->files, &c->rq);
    return c;
}

/* What an upload may have allocated is what it has charged. */
static inline void pvt_check_memory(const struct pvt_client *c)
{
    if (!c->is_open)
        return;
    const struct pv_ingest *in = c->rq.op;
    size_t bytes = in->stages[0].cap + in->stages[1].cap + pv_ingest_blob_bytes(in) +
                   in->records.written.file_len + in->records.written.name_len;
    if (!in->is_input_done || in->charged == 0)
        cr_assert_leq(bytes, in->charged);
    else
        cr_assert_leq(bytes + PV_RECORD_BODY_MAX + PV_RECORD_LEN_MAX, in->charged);
}

/* Sends the next slice, if the client may. */
static inline bool pvt_client_send(struct pvt_client *c)
{
    if (!c->is_open || c->paused || c->sent_end)
        return false;
    size_t n = c->slice != 0 ? c->slice : 1 + pvt_dice(c->server) % PV_CONTROL_DATA_MAX;
    if (n > c->len - c->at)
        n = c->len - c->at;
    /* Its own memory, so that a sanitizer sees a read behind the slice, or after the call. */
    uint8_t *slice = malloc(n + 1);
    memcpy(slice, c->bytes + c->at, n);
    c->at += n;
    c->sent_end = c->at == c->len;
    c->rq.ops->on_data(&c->rq, slice, n, c->sent_end);
    free(slice);
    pvt_check_memory(c);
    return true;
}

/* Until the final reply, or until nothing more happens by itself. */
static inline void pvt_client_run(struct pvt_client *c)
{
    while (c->is_open && (pvt_client_send(c) || pvt_step(c->server)))
        pvt_check_memory(c);
}

static inline void pvt_client_cancel(struct pvt_client *c)
{
    if (!c->is_open)
        return;
    if (c->rq.ops != NULL)
        c->rq.ops->on_cancel(&c->rq);
    c->is_open = false;
    json_decref(c->rq.args);
}

static inline void pvt_client_free(struct pvt_client *c)
{
    cr_assert(!c->is_open);
    json_decref(c->events);
    json_decref(c->final);
    free(c);
}

static inline long long pvt_number(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    cr_assert(json_is_integer(v), "no number %s", key);
    return json_integer_value(v);
}

static inline const json_t *pvt_event(const struct pvt_client *c, const char *event)
{
    size_t i;
    const json_t *e;
    json_array_foreach(c->events, i, e)
    {
        if (strcmp(json_string_value(json_object_get(e, "event")), event) == 0)
            return e;
    }
    return NULL;
}

static inline bool pvt_ok(const struct pvt_client *c)
{
    return json_is_true(json_object_get(c->final, "ok"));
}

static inline const char *pvt_error(const struct pvt_client *c)
{
    cr_assert(json_is_false(json_object_get(c->final, "ok")));
    return json_string_value(json_object_get(c->final, "error"));
}

/* Stores and expects success; *new_bytes may be NULL. */
static inline void pvt_store_ok(struct pvt_server *s, json_t *args, const uint8_t *bytes,
                                size_t len, size_t slice, long long *new_bytes)
{
    struct pvt_client *c = pvt_store(s, args, bytes, len, slice);
    pvt_client_run(c);
    cr_assert_not_null(c->final);
    cr_assert(pvt_ok(c), "%s", pvt_error(c));
    uint8_t sha[PV_HASH_LEN];
    char hex[PV_ID_HEX_LEN + 1];
    pv_sha256(sha, bytes, len);
    pv_hex_encode(hex, sha, sizeof sha);
    const json_t *durable = pvt_event(c, "durable");
    cr_assert_not_null(durable);
    cr_assert_str_eq(json_string_value(json_object_get(durable, "key")), hex);
    cr_assert_str_eq(json_string_value(json_object_get(c->final, "key")), hex);
    cr_assert_eq(pvt_number(durable, "size"), (long long)len);
    if (new_bytes != NULL)
        *new_bytes = pvt_number(durable, "new_bytes");
    pvt_client_free(c);
}

/* Stores and expects a refusal with this exit code and these words. */
static inline void pvt_store_fails(struct pvt_server *s, json_t *args, size_t len,
                                   enum pv_exit exit, const char *words)
{
    uint8_t *bytes = calloc(1, len + 1);
    struct pvt_client *c = pvt_store(s, args, bytes, len, 0);
    pvt_client_run(c);
    cr_assert_not_null(c->final);
    cr_assert_eq(pvt_number(c->final, "exit"), (long long)exit);
    cr_assert_not_null(strstr(pvt_error(c), words), "%s", pvt_error(c));
    pvt_client_free(c);
    free(bytes);
}

/* Bytes that no two seeds have in common. */
static inline uint8_t *pvt_content(uint64_t seed, size_t len)
{
    uint8_t *bytes = malloc(len + 8);
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < len; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(bytes + i, &x, 8);
    }
    return bytes;
}

/* ---- reading back ---- */

struct pvt_file {
    struct pv_file_body body;
    struct pv_record rec;
    bool pending;
    uint8_t *plain, *env;
    size_t env_len;
    size_t chunks, nodes, depth; /* of the tree, by pvt_read_back */
};

static inline enum pv_err pvt_load(struct pvt_server *s, const struct pv_id *rid,
                                   struct pvt_file *out)
{
    const struct pv_cluster_keys *keys = pv_keyring_active(&s->keyring);
    *out = (struct pvt_file){.plain = malloc(PV_RECORD_BODY_MAX), .env = malloc(PV_RECORD_LEN_MAX)};
    enum pv_err err = pv_store_record(s->store, rid, out->env, &out->env_len, &out->pending);
    if (err == PV_OK)
        err = pv_record_verify(&out->rec, out->env, out->env_len);
    if (err == PV_OK)
        err = pv_record_open(out->plain, out->env, out->env_len, &out->rec, keys);
    return err;
}

static inline void pvt_unload(struct pvt_file *f)
{
    free(f->plain);
    free(f->env);
}

static inline enum pv_err pvt_load_file(struct pvt_server *s, const struct pv_id *rid,
                                        struct pvt_file *out)
{
    enum pv_err err = pvt_load(s, rid, out);
    return err == PV_OK ? pv_file_body_decode(&out->body, out->plain, out->rec.body_len, true)
                        : err;
}

/* Opens what is below an entry and compares it with the file; returns the bytes compared. */
static inline size_t pvt_walk(struct pvt_server *s, struct pvt_file *f, const struct pv_entry *e,
                              const uint8_t *bytes, size_t depth)
{
    uint8_t *blob = malloc(PV_BLOB_LEN_MAX);
    const uint8_t *payload;
    size_t got, len, count, at = 0;
    uint32_t size;
    cr_assert_leq(depth, PV_TREE_DEPTH_MAX);
    f->depth = depth > f->depth ? depth : f->depth;
    cr_assert_eq(pv_store_read(s->store, &e->id, 0, blob, PV_BLOB_LEN_MAX, &got, &size), PV_OK);
    cr_assert_eq(got, size);
    cr_assert_eq(pv_blob_check(blob, got, &e->id), PV_OK);
    cr_assert_eq(pv_blob_open(blob, got, e->dk, e->kind, &payload, &len), PV_OK);
    if (e->kind == PV_BLOB_CHUNK) {
        f->chunks++;
        cr_assert_eq(len, e->length);
        cr_assert_arr_eq(payload, bytes, len);
        at = len;
    } else {
        f->nodes++;
        cr_assert_eq(pv_node_check(payload, len, e, &count), PV_OK);
        for (size_t i = 0; i < count; i++) {
            struct pv_entry child;
            cr_assert_eq(pv_entry_decode(&child, payload + i * PV_ENTRY_LEN), PV_OK);
            at += pvt_walk(s, f, &child, bytes + at, depth + 1);
        }
    }
    free(blob);
    return at;
}

/* The file under a rid has these bytes, as far as the store can tell. */
static inline void pvt_read_back(struct pvt_server *s, const struct pv_id *rid,
                                 const uint8_t *bytes, size_t len, struct pvt_file *out)
{
    uint8_t sha[PV_HASH_LEN];
    cr_assert_eq(pvt_load_file(s, rid, out), PV_OK);
    pv_sha256(sha, bytes, len);
    cr_assert_arr_eq(out->body.sha256.b, sha, sizeof sha);
    cr_assert_eq(out->body.size, len);
    cr_assert_eq(out->rec.epoch, pv_epoch_of(s->env.wall_ms));
    cr_assert_arr_eq(out->rec.author, s->identity.pub, PV_PUB_LEN);
    cr_assert_arr_eq(out->body.author.pub, s->identity.pub, PV_PUB_LEN);
    if (out->body.is_inline) {
        if (len > 0)
            cr_assert_arr_eq(out->body.data, bytes, len);
        cr_assert_eq(out->body.chunker, PV_CHUNKER_NONE);
    } else {
        cr_assert_eq(pvt_walk(s, out, &out->body.root, bytes, 1), len);
        cr_assert_eq(out->body.chunker, out->body.is_private ? PV_CHUNKER_FIXED : PV_CHUNKER_GEAR1);
    }
}

static inline struct pv_id pvt_rid_of(struct pvt_server *s, const uint8_t *bytes, size_t len)
{
    struct pv_id sha, rid;
    pv_sha256(sha.b, bytes, len);
    pv_rid_file(&rid, pv_keyring_active(&s->keyring), &sha);
    return rid;
}

#endif
