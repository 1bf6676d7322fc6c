/*
 * A cluster with a file server on node 0, and clients that ask it through a request io that stands
 * in for the control socket. Steps are those of tests/support/node. JSON takes its memory from
 * pv_malloc, so that it fails when a test says so.
 */
#ifndef PV_TESTS_INTERNAL_CLIENT_FIXTURE_H
#define PV_TESTS_INTERNAL_CLIENT_FIXTURE_H

#include "internal/cluster/cluster.h"
#include "internal/file/context.h"
#include "internal/upkeep/upkeep_private.h"
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct pvt_server {
    struct pvt_nodes net;
    struct pv_files *files;   /* of node 0 */
    struct pv_upkeep *upkeep; /* of it, with a grace of a week */
    struct pv_cluster *cluster;
};

static inline void pvt_files_due(struct pvt_node *n)
{
    struct pv_files *f = n->tick_arg;
    if (pv_files_deadline_ms(f) <= n->env.mono_ms)
        pv_files_tick(f);
}

static inline struct pvt_server *pvt_server_with(unsigned nodes, size_t memory_bytes)
{
    struct pvt_server *s = calloc(1, sizeof *s);
    json_set_alloc_funcs(pv_malloc, pv_free);
    pvt_nodes_init(&s->net, nodes);
    pvt_connect_all(&s->net);
    pvt_advance(&s->net, nodes > 1 ? 60000 : 0);
    struct pv_files_config config = {.node = s->net.nodes[0].node,
                                     .env = &s->net.nodes[0].env.env,
                                     .memory_bytes = memory_bytes,
                                     .replicas = 3};
    cr_assert_eq(pv_files_new(&s->files, &config), PV_OK);
    struct pv_upkeep_config upkeep = {.files = s->files, .gc_grace_ms = 7 * 24 * 3600 * 1000};
    cr_assert_eq(pv_upkeep_new(&s->upkeep, &upkeep), PV_OK);
    struct pv_cluster_config cluster = {
        .files = s->files, .keyring = &s->net.nodes[0].keyring, .vault = &s->net.nodes[0].vault};
    cr_assert_eq(pv_cluster_new(&s->cluster, &cluster), PV_OK);
    s->net.nodes[0].tick = pvt_files_due;
    s->net.nodes[0].tick_arg = s->files;
    return s;
}

static inline struct pvt_server *pvt_server_new(unsigned nodes)
{
    return pvt_server_with(nodes, PV_FILES_MEMORY_MIN);
}

/* The asserts inside say that no memory of the budget and no timer was left. */
static inline void pvt_server_free(struct pvt_server *s)
{
    pvt_settle(&s->net);
    cr_assert_eq(s->files->memory.used_bytes, 0);
    pvt_node_stop(&s->net.nodes[0]);
    pv_cluster_free(s->cluster);
    pv_upkeep_free(s->upkeep);
    pv_files_free(s->files);
    pvt_nodes_release(&s->net);
    free(s);
}

static inline struct pvt_node *pvt_me(struct pvt_server *s)
{
    return &s->net.nodes[0];
}

static inline struct pv_store_counts pvt_counts(struct pvt_node *n)
{
    struct pv_store_counts counts;
    cr_assert_eq(pv_store_counts(n->store, &counts), PV_OK);
    return counts;
}

/* Lets the clock and the file server's deadlines go on together. */
static inline void pvt_wait(struct pvt_server *s, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 100) {
        pvt_files_due(pvt_me(s));
        pvt_advance(&s->net, 100);
    }
    pvt_files_due(pvt_me(s));
    pvt_settle(&s->net);
}

/* Time goes from one deadline of the file server to the next. */
static inline void pvt_forward(struct pvt_server *s, uint64_t ms)
{
    struct pvt_node *n = pvt_me(s);
    uint64_t end_ms = n->env.mono_ms + ms;
    while (n->env.mono_ms < end_ms) {
        uint64_t at_ms = pv_files_deadline_ms(s->files);
        uint64_t to_ms = at_ms < end_ms ? at_ms : end_ms;
        pvt_advance(&s->net, to_ms > n->env.mono_ms ? to_ms - n->env.mono_ms : 0);
        pvt_files_due(n);
        pvt_settle(&s->net);
    }
}

/* ---- a client ---- */

enum { PVT_EVENTS_MAX = 20000 };

struct pvt_client {
    struct pvt_server *server;
    struct pv_request rq;
    json_t *events[PVT_EVENTS_MAX];
    size_t event_count;
    json_t *final;
    uint8_t *data;
    size_t len;
    bool is_open, ended, is_paused;
    bool lost;       /* an event, or the final reply, found no memory */
    size_t room;     /* of bytes and events it takes before it is full; SIZE_MAX: all */
    bool is_waiting; /* it said that it is full */
};

static inline struct pvt_client *pvt_client_of(const struct pv_request *rq)
{
    struct pvt_client *c = rq->owner;
    cr_assert(c->is_open);
    return c;
}

static inline void pvt_take_room(struct pvt_client *c, size_t n)
{
    if (c->room != SIZE_MAX)
        c->room -= n < c->room ? n : c->room;
}

static inline void pvt_io_event(struct pv_request *rq, json_t *message)
{
    struct pvt_client *c = pvt_client_of(rq);
    c->lost = c->lost || message == NULL;
    if (message == NULL)
        return;
    cr_assert_lt(c->event_count, PVT_EVENTS_MAX);
    c->events[c->event_count++] = message;
    c->ended = false; /* data may follow each of them */
    pvt_take_room(c, 1);
}

static inline void pvt_io_data(struct pv_request *rq, const uint8_t *bytes, size_t len, bool end)
{
    struct pvt_client *c = pvt_client_of(rq);
    cr_assert_not(c->ended);
    if (len > 0) {
        c->data = realloc(c->data, c->len + len);
        memcpy(c->data + c->len, bytes, len);
    }
    c->len += len;
    c->ended = end;
    pvt_take_room(c, len);
}

static inline void pvt_io_finish(struct pv_request *rq, json_t *message)
{
    struct pvt_client *c = pvt_client_of(rq);
    c->lost = c->lost || message == NULL;
    c->final = message;
    c->is_open = false;
    json_decref(rq->args);
    memset(&c->rq, 0xee, sizeof c->rq); /* whoever still uses it finds out */
}

static inline bool pvt_io_writable(const struct pv_request *rq)
{
    struct pvt_client *c = pvt_client_of(rq);
    c->is_waiting = c->room == 0;
    return !c->is_waiting;
}

static inline void pvt_io_pause(struct pv_request *rq, bool paused)
{
    pvt_client_of(rq)->is_paused = paused;
}

/* args is stolen. */
static inline struct pvt_client *pvt_ask_with_room(struct pvt_server *s, json_t *args, size_t room)
{
    static const struct pv_request_io io = {.event = pvt_io_event,
                                            .data = pvt_io_data,
                                            .finish = pvt_io_finish,
                                            .writable = pvt_io_writable,
                                            .pause = pvt_io_pause};
    struct pvt_client *c = calloc(1, sizeof *c);
    cr_assert_not_null(args);
    c->server = s;
    c->is_open = true;
    c->room = room;
    c->rq = (struct pv_request){.io = &io, .owner = c, .id = 1, .args = args};
    if (!pv_upkeep_request(s->upkeep, &c->rq) && !pv_cluster_request(s->cluster, &c->rq))
        pv_files_request(s->files, &c->rq);
    return c;
}

static inline struct pvt_client *pvt_begin(struct pvt_server *s, json_t *args)
{
    return pvt_ask_with_room(s, args, SIZE_MAX);
}

/* The client read what there was, and has room for more. */
static inline void pvt_read_on(struct pvt_client *c, size_t room)
{
    c->room = room;
    if (c->is_open && c->is_waiting) {
        c->is_waiting = false;
        c->rq.ops->on_writable(&c->rq);
    }
}

static inline void pvt_cancel(struct pvt_client *c)
{
    if (!c->is_open)
        return;
    if (c->rq.ops != NULL && c->rq.ops->on_cancel != NULL)
        c->rq.ops->on_cancel(&c->rq);
    c->is_open = false;
    json_decref(c->rq.args);
    memset(&c->rq, 0xee, sizeof c->rq);
}

static inline void pvt_client_free(struct pvt_client *c)
{
    cr_assert_not(c->is_open);
    for (size_t i = 0; i < c->event_count; i++)
        json_decref(c->events[i]);
    json_decref(c->final);
    free(c->data);
    free(c);
}

/* Asks, and runs until nothing moves any more. */
static inline struct pvt_client *pvt_ask(struct pvt_server *s, json_t *args)
{
    struct pvt_client *c = pvt_begin(s, args);
    pvt_settle(&s->net);
    return c;
}

static inline struct pvt_client *pvt_ask_target(struct pvt_server *s, const char *op,
                                                const char *target)
{
    return pvt_ask(s, json_pack("{s:s, s:s}", "op", op, "target", target));
}

static inline bool pvt_ok(const struct pvt_client *c)
{
    cr_assert_not_null(c->final, "no answer");
    return json_is_true(json_object_get(c->final, "ok"));
}

static inline long long pvt_number(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    cr_assert(json_is_integer(v), "no number %s", key);
    return json_integer_value(v);
}

static inline const char *pvt_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    cr_assert_not_null(text, "no text %s", key);
    return text;
}

static inline void pvt_assert_ok(const struct pvt_client *c)
{
    cr_assert(pvt_ok(c), "%s", json_string_value(json_object_get(c->final, "error")));
}

/* The client was refused with this exit code and these words; it is freed. */
static inline void pvt_refused(struct pvt_client *c, enum pv_exit exit, const char *words)
{
    cr_assert_not(pvt_ok(c));
    cr_assert_eq(pvt_number(c->final, "exit"), (long long)exit, "%lld: %s",
                 pvt_number(c->final, "exit"), pvt_text(c->final, "error"));
    cr_assert_not_null(strstr(pvt_text(c->final, "error"), words), "%s",
                       pvt_text(c->final, "error"));
    pvt_client_free(c);
}

/* ---- files ---- */

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

struct pvt_key {
    char hex[PV_ID_HEX_LEN + 1];
};

static inline struct pvt_key pvt_key_of(const void *bytes, size_t len)
{
    struct pv_id id;
    struct pvt_key key;
    pv_sha256(id.b, bytes, len);
    pv_id_hex(key.hex, &id);
    return key;
}

/* Begins an upload and gives it all its bytes. */
static inline struct pvt_client *pvt_begin_upload(struct pvt_server *s, const char *op,
                                                  json_t *args, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    json_object_set_new(args, "op", json_string(op));
    struct pvt_client *c = pvt_begin(s, args);
    bool end = false;
    while (c->is_open && !end) {
        if (c->is_paused) {
            cr_assert(pvt_step(&s->net));
            continue;
        }
        size_t n = len < PV_CONTROL_DATA_MAX ? len : PV_CONTROL_DATA_MAX;
        end = n == len;
        c->rq.ops->on_data(&c->rq, at, n, end);
        at += n;
        len -= n;
    }
    return c;
}

static inline struct pvt_client *pvt_begin_store(struct pvt_server *s, json_t *args,
                                                 const void *bytes, size_t len)
{
    return pvt_begin_upload(s, "store", args, bytes, len);
}

/* Stores through the front door. name may be NULL. */
static inline struct pvt_key pvt_store(struct pvt_server *s, const char *name, const void *bytes,
                                       size_t len)
{
    json_t *args = json_pack("{s:b}", "wait", 0);
    if (name != NULL)
        json_object_set_new(args, "name", json_string(name));
    struct pvt_client *c = pvt_begin_store(s, args, bytes, len);
    pvt_settle(&s->net);
    pvt_assert_ok(c);
    pvt_client_free(c);
    return pvt_key_of(bytes, len);
}

static inline struct pvt_key pvt_store_text(struct pvt_server *s, const char *name,
                                            const char *text)
{
    return pvt_store(s, name, text, strlen(text));
}

/* ---- files put together by hand ---- */

/* Seals a blob under the keys of n; it is committed to `to` unless that is NULL. With `damage` the
 * stored bytes are not what the id says. */
static inline void pvt_put_payload(struct pvt_node *n, struct pvt_node *to, enum pv_blob_kind kind,
                                   const void *payload, size_t len, uint64_t length, bool damage,
                                   struct pv_entry *out)
{
    struct pv_blob_sealed sealed;
    uint8_t *buf = malloc(pv_blob_len(len));
    memcpy(buf + PV_BLOB_PAYLOAD_OFFSET, payload, len);
    cr_assert_eq(pv_blob_seal(&sealed, pv_keyring_active(&n->keyring), 0, kind, buf, len, NULL),
                 PV_OK);
    *out = (struct pv_entry){.id = sealed.id, .length = length, .kind = kind};
    memcpy(out->dk, sealed.dk, PV_KEY_LEN);
    if (damage)
        buf[sealed.blob_len - 1] ^= 1;
    struct pv_commit_op op = {.type = PV_COMMIT_BLOB};
    op.u.blob.id = sealed.id;
    op.u.blob.kind = (uint8_t)kind;
    op.u.blob.bytes = buf;
    op.u.blob.len = sealed.blob_len;
    if (to != NULL)
        pvt_commit(to, &op, 1);
    free(buf);
}

/* A node over these entries. */
static inline void pvt_put_node(struct pvt_node *n, struct pvt_node *to,
                                const struct pv_entry *entries, size_t count, struct pv_entry *out)
{
    uint8_t *payload = malloc(count * PV_ENTRY_LEN);
    uint64_t length = 0;
    for (size_t i = 0; i < count; i++) {
        pv_entry_encode(payload + i * PV_ENTRY_LEN, &entries[i]);
        length += entries[i].length;
    }
    pvt_put_payload(n, to, PV_BLOB_NODE, payload, count * PV_ENTRY_LEN, length, false, out);
    free(payload);
}

/* Commits a file record to n, not pending; author fields are filled in. *rid may be NULL. */
static inline void pvt_put_file_under(struct pvt_node *n, const struct pv_cluster_keys *keys,
                                      struct pv_file_body *body, struct pv_id *rid)
{
    uint8_t *plain = malloc(PV_RECORD_BODY_MAX), *env = malloc(PV_RECORD_LEN_MAX), salt[32] = {1};
    struct pv_record_draft draft = {.type = PV_RECORD_FILE,
                                    .hlc = pvt_hlc(n),
                                    .epoch = pv_epoch_of(n->env.wall_ms),
                                    .body = plain};
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    body->author.hlc = draft.hlc;
    if (body->is_private)
        pv_rid_private(&draft.rid, keys, body->private_salt);
    else
        pv_rid_file(&draft.rid, keys, &body->sha256);
    cr_assert_eq(pv_file_body_encode(plain, &draft.body_len, body, n->identity.seed), PV_OK);
    cr_assert_eq(pv_record_seal(env, &op.u.record.len, &draft, keys, n->identity.seed, salt),
                 PV_OK);
    op.u.record.env = env;
    op.u.record.has_prefix = true;
    op.u.record.prefix_tag = pv_key_prefix_tag(keys, body->sha256.b);
    pvt_commit(n, &op, 1);
    if (rid != NULL)
        *rid = draft.rid;
    free(plain);
    free(env);
}

static inline void pvt_put_file(struct pvt_node *n, struct pv_file_body *body, struct pv_id *rid)
{
    pvt_put_file_under(n, pv_keyring_active(&n->keyring), body, rid);
}

static inline void pvt_put_inline(struct pvt_node *n, const struct pv_id *sha256, const char *text,
                                  struct pv_id *rid)
{
    struct pv_file_body body = {
        .sha256 = *sha256, .size = strlen(text), .is_inline = true, .data = (const uint8_t *)text};
    pvt_put_file(n, &body, rid);
}

static inline void pvt_put_tree(struct pvt_node *n, const struct pv_entry *root, const void *bytes,
                                size_t len)
{
    struct pv_file_body body = {.size = root->length, .chunker = PV_CHUNKER_GEAR1, .root = *root};
    pv_sha256(body.sha256.b, bytes, len);
    pvt_put_file(n, &body, NULL);
}

/* Commits a name to n, linked to its file. */
static inline void pvt_put_name_under(struct pvt_node *n, const struct pv_cluster_keys *keys,
                                      const char *name, const struct pv_id *sha256,
                                      const struct pv_id *file_rid)
{
    uint8_t *plain = malloc(PV_RECORD_BODY_MAX), *env = malloc(PV_RECORD_LEN_MAX), salt[32] = {2};
    struct pv_name_body body = {
        .name = name, .name_len = strlen(name), .file_sha256 = *sha256, .file_rid = *file_rid};
    struct pv_record_draft draft = {.type = PV_RECORD_NAME,
                                    .hlc = pvt_hlc(n),
                                    .epoch = pv_epoch_of(n->env.wall_ms),
                                    .body = plain};
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    body.author.hlc = draft.hlc;
    pv_rid_name(&draft.rid, keys, name, strlen(name));
    cr_assert_eq(pv_name_body_encode(plain, &draft.body_len, &body, n->identity.seed), PV_OK);
    cr_assert_eq(pv_record_seal(env, &op.u.record.len, &draft, keys, n->identity.seed, salt),
                 PV_OK);
    op.u.record.env = env;
    op.u.record.has_link = true;
    op.u.record.link_file_rid = *file_rid;
    pvt_commit(n, &op, 1);
    free(plain);
    free(env);
}

#endif
