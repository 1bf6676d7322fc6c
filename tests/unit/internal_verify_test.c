#include "storage/check.h"
#include "tests/unit/internal_client_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(verify, .timeout = 240);

enum { LEN = 3000000 };

static void path_of(struct pvt_node *n, const struct pv_id *id, char path[static 700])
{
    char name[PV_BLOB_PATH_LEN + 1];
    pv_blob_path(name, id);
    snprintf(path, 700, "%s/%s", n->vault_path, name);
}

static void flip(struct pvt_node *n, const struct pv_id *id)
{
    char path[700];
    uint8_t byte;
    path_of(n, id, path);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, 5000), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, 5000), 1);
    close(fd);
}

static void remove_file(struct pvt_node *n, const struct pv_id *id)
{
    char path[700];
    path_of(n, id, path);
    cr_assert_eq(unlink(path), 0);
}

/* The blobs of a node in order of arrival; chunks of a stored file come before its nodes. */
static size_t blobs_of(struct pvt_node *n, struct pv_blob_row_info *rows, size_t max)
{
    uint64_t cursor = 0;
    size_t count = 0;
    bool end;
    cr_assert_eq(pv_store_blobs(n->store, &cursor, rows, max, &count, &end), PV_OK);
    return count;
}

static struct pv_id nth_file(struct pvt_node *n, uint8_t kind, size_t nth)
{
    struct pv_blob_row_info rows[64];
    size_t count = blobs_of(n, rows, 64);
    for (size_t i = 0; i < count; i++)
        if (rows[i].blob.kind == kind && (kind == PV_BLOB_NODE || rows[i].is_file) && nth-- == 0)
            return rows[i].blob.id;
    cr_assert(false, "no such blob");
    return (struct pv_id){{0}};
}

static struct pvt_client *verify(struct pvt_server *s, bool deep, bool repair)
{
    struct pvt_client *c = pvt_begin(
        s, json_pack("{s:s, s:b, s:b}", "op", "verify", "deep", (int)deep, "repair", (int)repair));
    pvt_settle(&s->net);
    for (unsigned i = 0; c->is_open && i < 100; i++)
        pvt_wait(s, 1000);
    pvt_assert_ok(c);
    cr_assert_str_eq(pvt_text(c->final, "depth"), deep ? "every byte" : "structure");
    return c;
}

static const json_t *event(const struct pvt_client *c, const char *name, size_t nth)
{
    for (size_t i = 0; i < c->event_count; i++)
        if (strcmp(pvt_text(c->events[i], "event"), name) == 0 && nth-- == 0)
            return c->events[i];
    return NULL;
}

static bool clean(struct pvt_server *s, bool deep)
{
    struct pvt_client *c = verify(s, deep, false);
    bool yes = json_is_true(json_object_get(c->final, "clean"));
    cr_assert_eq(event(c, "problem", 0) == NULL, yes);
    pvt_client_free(c);
    return yes;
}

/* One problem with this blob and this result (NULL: none is told), and these counts at the end. */
static void finds(struct pvt_client *c, const struct pv_id *id, const char *cause,
                  const char *result, long long damaged)
{
    char hex[PV_ID_HEX_LEN + 1];
    const json_t *p = event(c, "problem", 0);
    pv_id_hex(hex, id);
    cr_assert_not_null(p);
    cr_assert_null(event(c, "problem", 1));
    cr_assert_str_eq(pvt_text(p, "what"), "blob");
    cr_assert_str_eq(pvt_text(p, "blob"), hex);
    cr_assert_not_null(strstr(pvt_text(p, "cause"), cause), "%s", pvt_text(p, "cause"));
    cr_assert_eq(json_object_get(p, "result") != NULL, result != NULL);
    if (result != NULL)
        cr_assert_str_eq(pvt_text(p, "result"), result);
    cr_assert_eq(pvt_number(c->final, "bad_blobs"), 1);
    cr_assert_eq(pvt_number(c->final, "damaged"), damaged);
    cr_assert_eq(json_is_true(json_object_get(c->final, "clean")), damaged == 0);
}

static void affects(const struct pvt_client *c, const char *key, const char *name)
{
    const json_t *f = event(c, "file", 0);
    cr_assert_not_null(f);
    cr_assert_str_eq(pvt_text(f, "key"), key);
    const json_t *names = json_object_get(f, "names");
    cr_assert_eq(json_array_size(names), 1);
    cr_assert_str_eq(pvt_text(json_array_get(names, 0), "name"), name);
    cr_assert_geq(pvt_number(f, "bad_blobs"), 1);
    cr_assert_eq(pvt_number(c->final, "affected_files"), 1);
}

static size_t lost(struct pvt_node *n)
{
    static struct pv_id ids[PV_LOST_MAX];
    size_t count = 99;
    cr_assert_eq(pv_store_lost(n->store, ids, &count), PV_OK);
    return count;
}

static bool gets(struct pvt_server *s, const char *key)
{
    struct pvt_client *c = pvt_begin(s, json_pack("{s:s, s:s}", "op", "get", "target", key));
    pvt_settle(&s->net);
    for (unsigned i = 0; c->is_open && i < 100; i++)
        pvt_wait(s, 1000);
    bool ok = pvt_ok(c);
    pvt_client_free(c);
    return ok;
}

Test(verify, a_good_vault)
{
    struct pvt_server *s = pvt_server_new(1);
    cr_assert(clean(s, true));
    uint8_t *bytes = pvt_content(1, LEN);
    pvt_store(s, "big", bytes, LEN);
    pvt_store(s, "other", bytes + 8, 500000);
    pvt_store(s, "small", bytes, 20000);
    pvt_store_text(s, "inline", "text");
    struct pv_store_counts counts = pvt_counts(pvt_me(s));
    for (int deep = 0; deep < 2; deep++) {
        struct pvt_client *c = verify(s, deep, false);
        cr_assert(json_is_true(json_object_get(c->final, "clean")));
        cr_assert(json_is_true(json_object_get(c->final, "consistent")));
        cr_assert_eq(pvt_number(c->final, "blobs"), (long long)counts.blobs);
        cr_assert_eq(pvt_number(c->final, "bytes"), (long long)counts.blob_bytes);
        cr_assert_eq(pvt_number(c->final, "records"), (long long)counts.records);
        cr_assert_eq(pvt_number(c->final, "files"), 4);
        cr_assert_eq(pvt_number(c->final, "bad_blobs"), 0);
        cr_assert_null(event(c, "problem", 0));
        pvt_client_free(c);
    }
    free(bytes);
    pvt_server_free(s);
}

/* Alone: a chunk with a wrong byte is found by reading every byte, told of with its file; repair
 * cannot help, but presence says the truth afterwards. */
Test(verify, a_bad_chunk_that_nobody_else_has)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    uint8_t *bytes = pvt_content(1, LEN);
    struct pvt_key key = pvt_store(s, "big", bytes, LEN);
    pvt_store(s, "good", bytes + 100, 70000);
    struct pv_id id = nth_file(n, PV_BLOB_CHUNK, 1);
    struct pv_blob_info info;
    flip(n, &id);
    cr_assert(clean(s, false));
    struct pvt_client *c = verify(s, true, false);
    finds(c, &id, "bytes are wrong", NULL, 1);
    affects(c, key.hex, "big");
    pvt_client_free(c);
    cr_assert_eq(pv_store_blob(n->store, &id, &info), PV_OK);

    c = verify(s, true, true);
    finds(c, &id, "bytes are wrong", "lost", 1);
    affects(c, key.hex, "big");
    pvt_client_free(c);
    cr_assert_eq(pv_store_blob(n->store, &id, &info), PV_E_NOT_FOUND);
    cr_assert_eq(lost(n), 1);
    c = verify(s, false, false); /* now the structure shows it, too */
    finds(c, &id, "missing", NULL, 1);
    affects(c, key.hex, "big");
    pvt_client_free(c);
    cr_assert_eq(lost(n), 1);

    struct pvt_client *rm = pvt_ask_target(s, "rm", "big");
    pvt_assert_ok(rm);
    pvt_client_free(rm);
    cr_assert(clean(s, true)); /* nobody needs it any more */
    cr_assert_eq(lost(n), 0);
    free(bytes);
    pvt_server_free(s);
}

/* What is stored again is whole again. */
Test(verify, storing_again_repairs)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    uint8_t *bytes = pvt_content(1, LEN);
    struct pvt_key key = pvt_store(s, "big", bytes, LEN);
    struct pv_id id = nth_file(n, PV_BLOB_CHUNK, 1);
    flip(n, &id);
    pvt_client_free(verify(s, true, true));
    cr_assert_eq(lost(n), 1);
    pvt_store(s, "big", bytes, LEN);
    cr_assert_eq(lost(n), 0);
    cr_assert(clean(s, true));
    cr_assert(gets(s, key.hex));
    free(bytes);
    pvt_server_free(s);
}

/* Garbage that is bad is no damage once it is in quarantine. */
Test(verify, a_bad_blob_that_no_file_needs)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    struct pv_entry e;
    uint8_t *bytes = pvt_content(1, 100000);
    pvt_put_payload(n, n, PV_BLOB_CHUNK, bytes, 100000, 100000, true, &e);
    struct pvt_client *c = verify(s, true, false);
    finds(c, &e.id, "bytes are wrong", NULL, 1);
    cr_assert_null(event(c, "file", 0));
    pvt_client_free(c);
    c = verify(s, true, true);
    finds(c, &e.id, "bytes are wrong", "lost", 0);
    pvt_client_free(c);
    cr_assert_eq(lost(n), 0);
    cr_assert(clean(s, true));
    free(bytes);
    pvt_server_free(s);
}

static void chunk_flipped(struct pvt_node *n, struct pv_id *id)
{
    *id = nth_file(n, PV_BLOB_CHUNK, 2);
    flip(n, id);
}

static void chunk_missing(struct pvt_node *n, struct pv_id *id)
{
    *id = nth_file(n, PV_BLOB_CHUNK, 0);
    remove_file(n, id);
}

static void chunk_is_folder(struct pvt_node *n, struct pv_id *id)
{
    char path[700];
    *id = nth_file(n, PV_BLOB_CHUNK, 0);
    remove_file(n, id);
    path_of(n, id, path);
    cr_assert_eq(mkdir(path, 0700), 0);
}

static void chunk_without_row(struct pvt_node *n, struct pv_id *id)
{
    struct pv_commit_op op = {.type = PV_COMMIT_BAD};
    *id = op.u.bad.id = nth_file(n, PV_BLOB_CHUNK, 1);
    remove_file(n, id);
    pvt_commit(n, &op, 1);
    op.u.bad.why = PV_BAD_NEEDLESS;
    pvt_commit(n, &op, 1);
    cr_assert_eq(lost(n), 0);
}

static void node_without_row(struct pvt_node *n, struct pv_id *id)
{
    struct pv_commit_op op = {.type = PV_COMMIT_BLOB};
    uint8_t zeros[400] = {0};
    *id = nth_file(n, PV_BLOB_NODE, 0);
    op.u.blob.id = *id;
    op.u.blob.bytes = zeros;
    op.u.blob.len = sizeof zeros;
    op.u.blob.replace = true;
    pvt_commit(n, &op, 1); /* now its bytes are bad */
    op = (struct pv_commit_op){.type = PV_COMMIT_BAD, .u.bad.id = *id};
    pvt_commit(n, &op, 1);
    cr_assert(op.u.bad.gone);
}

/* Two nodes: whatever happened to a blob here, it comes back from the other one. */
Test(verify, repair_from_a_peer)
{
    void (*const accidents[])(struct pvt_node *, struct pv_id *) = {
        chunk_flipped, chunk_missing, chunk_is_folder, chunk_without_row, node_without_row};
    uint8_t *bytes = pvt_content(1, LEN);
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_node *n = pvt_me(s);
    struct pvt_key key = pvt_store(s, "big", bytes, LEN);
    pvt_advance(&s->net, 60000);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).blobs, pvt_counts(n).blobs);
    for (size_t i = 0; i < PV_COUNT(accidents); i++) {
        struct pv_store_counts before = pvt_counts(n), after;
        struct pv_id id;
        accidents[i](n, &id);
        struct pvt_client *c = verify(s, true, true);
        finds(c, &id, "", "repaired", 0);
        cr_assert_null(event(c, "file", 0));
        cr_assert_eq(pvt_number(c->final, "repaired"), 1);
        pvt_client_free(c);
        after = pvt_counts(n);
        cr_assert_eq(after.blobs, before.blobs);
        cr_assert_eq(after.blob_bytes, before.blob_bytes);
        cr_assert(clean(s, true));
        cr_assert_eq(lost(n), 0);
    }
    pvt_cut(&s->net, 0, 1);
    cr_assert(gets(s, key.hex));
    free(bytes);
    pvt_server_free(s);
}

/* The other one is away: it is lost until it comes back, and then it comes by itself. */
Test(verify, what_is_lost_comes_back_with_a_peer)
{
    uint8_t *bytes = pvt_content(1, LEN);
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_node *n = pvt_me(s);
    struct pvt_key key = pvt_store(s, "big", bytes, LEN);
    pvt_advance(&s->net, 60000);
    pvt_cut(&s->net, 0, 1);
    struct pv_id id;
    chunk_flipped(n, &id);
    struct pvt_client *c = verify(s, true, true);
    finds(c, &id, "bytes are wrong", "lost", 1);
    affects(c, key.hex, "big");
    pvt_client_free(c);
    pvt_node_stop(&s->net.nodes[1]);
    pvt_node_start(&s->net.nodes[1]);
    pvt_connect(&s->net, 0, 1);
    pvt_advance(&s->net, 120000);
    cr_assert_eq(lost(n), 0);
    cr_assert(clean(s, true));
    free(bytes);
    pvt_server_free(s);
}

/* A node that is not here and cannot be had hides what is below it; the rest is told. */
Test(verify, a_tree_without_its_root)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    struct pv_entry e, node;
    pvt_put_payload(n, n, PV_BLOB_CHUNK, "x", 1, 1, false, &e);
    pvt_put_node(n, NULL, &e, 1, &node);
    pvt_put_tree(n, &node, "missing", 7);
    struct pvt_client *c = verify(s, false, true);
    finds(c, &node.id, "missing", "lost", 1);
    cr_assert_not_null(event(c, "file", 0));
    pvt_client_free(c);
    cr_assert_eq(lost(n), 1);
    cr_assert_not(clean(s, false));
    cr_assert_eq(lost(n), 1);
    pvt_server_free(s);
}

/* Nodes that are the bytes of their ids, and still no trees: nothing can repair them. */
Test(verify, malformed_trees)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    struct pv_entry e, node;
    pvt_put_payload(n, n, PV_BLOB_NODE, "not entries", 11, 1, false, &node);
    pvt_put_tree(n, &node, "malformed", 9);
    for (int repair = 0; repair < 2; repair++) {
        struct pvt_client *c = verify(s, true, repair);
        finds(c, &node.id, "not what its file says", repair ? "failed" : NULL, 1);
        pvt_client_free(c);
    }
    struct pv_store_counts counts = pvt_counts(n);
    cr_assert_eq(counts.blobs, 1);
    struct pvt_client *rm = pvt_ask_target(s, "rm", pvt_key_of("malformed", 9).hex);
    pvt_assert_ok(rm);
    pvt_client_free(rm);
    pvt_put_payload(n, n, PV_BLOB_CHUNK, "x", 1, 1, false, &e);
    for (int i = 0; i < PV_TREE_DEPTH_MAX; i++) {
        pvt_put_node(n, n, &e, 1, &node);
        e = node;
    }
    pvt_put_tree(n, &node, "deep", 4);
    struct pvt_client *c = verify(s, true, true);
    cr_assert_eq(pvt_number(c->final, "damaged"), 1);
    cr_assert_eq(pvt_number(c->final, "affected_files"), 1);
    pvt_client_free(c);
    pvt_server_free(s);
}

/* More of them than are remembered in one slice, in files of thousands of chunks. */
Test(verify, many_missing_blobs)
{
    enum { CHUNKS = 1200 };
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    struct pv_entry *chunks = calloc(CHUNKS, sizeof *chunks), root;
    for (int i = 0; i < CHUNKS; i++)
        pvt_put_payload(n, i % 3 == 0 ? NULL : n, PV_BLOB_CHUNK, &i, sizeof i, sizeof i, false,
                        &chunks[i]);
    pvt_put_node(n, n, chunks, CHUNKS, &root);
    pvt_put_tree(n, &root, "any", 3);
    pvt_put_tree(n, &root, "same tree", 9);
    for (int repair = 0; repair < 2; repair++) {
        struct pvt_client *c = verify(s, false, repair);
        cr_assert_eq(pvt_number(c->final, "bad_blobs"), CHUNKS / 3);
        cr_assert_eq(pvt_number(c->final, "damaged"), CHUNKS / 3);
        cr_assert_eq(pvt_number(c->final, "affected_files"), 2);
        cr_assert_eq(pvt_number(event(c, "file", 1), "bad_blobs"), CHUNKS / 3);
        pvt_client_free(c);
    }
    cr_assert_eq(lost(n), CHUNKS / 3);
    free(chunks);
    pvt_server_free(s);
}

/* The file goes, and its blobs with it, before the record is looked at or after: nothing is missing
 * of a file that nobody has any more. */
Test(verify, a_file_that_is_removed_meanwhile)
{
    enum { CHUNKS = 3, BLOBS = CHUNKS + 1 };
    for (uint64_t steps = 0; steps < 40; steps++) {
        struct pvt_server *s = pvt_server_new(1);
        struct pvt_node *n = pvt_me(s);
        struct pv_entry chunks[CHUNKS], root;
        struct pv_id ids[BLOBS], rid;
        struct pv_file_body body = {.size = CHUNKS, .chunker = PV_CHUNKER_GEAR1};
        for (int i = 0; i < CHUNKS; i++) {
            pvt_put_payload(n, n, PV_BLOB_CHUNK, &i, sizeof i, sizeof i, false, &chunks[i]);
            ids[i] = chunks[i].id;
        }
        pvt_put_node(n, n, chunks, CHUNKS, &root);
        ids[CHUNKS] = root.id;
        body.root = root;
        body.size = root.length;
        pv_sha256(body.sha256.b, "any", 3);
        pvt_put_file(n, &body, &rid);

        struct pvt_client *c = pvt_begin(s, json_pack("{s:s}", "op", "verify"));
        pvt_steps(&s->net, steps);
        static uint8_t env[PV_RECORD_LEN_MAX];
        uint8_t salt[32] = {3};
        struct pv_record_draft draft = {.type = PV_RECORD_FILE,
                                        .flags = PV_RECORD_TOMBSTONE,
                                        .rid = rid,
                                        .hlc = pvt_hlc(n) + 1,
                                        .epoch = pv_epoch_of(n->env.wall_ms),
                                        .body = (const uint8_t *)"x",
                                        .body_len = 1};
        struct pv_commit_op ops[3] = {{.type = PV_COMMIT_RECORD}, {.type = PV_COMMIT_EXPIRE}};
        cr_assert_eq(pv_record_seal(env, &ops[0].u.record.len, &draft,
                                    pv_keyring_active(&n->keyring), n->identity.seed, salt),
                     PV_OK);
        ops[0].u.record.env = env;
        pvt_commit(n, ops, 2);
        ops[0] = (struct pv_commit_op){.type = PV_COMMIT_SWEEP};
        ops[0].u.sweep.ids = ids;
        ops[0].u.sweep.count = BLOBS;
        ops[0].u.sweep.record_seq = INT64_MAX;
        pvt_commit(n, ops, 1);
        cr_assert_eq(pvt_counts(n).blobs, 0);
        pvt_settle(&s->net);
        pvt_assert_ok(c);
        cr_assert_null(event(c, "problem", 0), "%llu", (unsigned long long)steps);
        cr_assert(json_is_true(json_object_get(c->final, "clean")));
        pvt_client_free(c);
        pvt_server_free(s);
    }
}

/* A client that does not read holds the work up; one that goes ends it, at any step. */
Test(verify, clients_that_stall_or_leave)
{
    enum { CHUNKS = 200 };
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_node *n = pvt_me(s);
    struct pv_entry chunks[CHUNKS], root;
    pvt_cut(&s->net, 0, 1);
    for (int i = 0; i < CHUNKS; i++)
        pvt_put_payload(n, i % 2 == 0 ? NULL : n, PV_BLOB_CHUNK, &i, sizeof i, sizeof i, false,
                        &chunks[i]);
    pvt_put_node(n, n, chunks, CHUNKS, &root);
    pvt_put_tree(n, &root, "any", 3);
    struct pvt_client *c =
        pvt_ask_with_room(s, json_pack("{s:s, s:b}", "op", "verify", "deep", 1), 1);
    pvt_settle(&s->net);
    cr_assert(c->is_open && c->is_waiting);
    cr_assert_leq(c->event_count, 1 + PV_CHECK_FINDINGS_MAX);
    while (c->is_open) {
        pvt_read_on(c, 1);
        pvt_settle(&s->net);
    }
    cr_assert_eq(pvt_number(c->final, "damaged"), CHUNKS / 2);
    pvt_client_free(c);
    pvt_connect(&s->net, 0, 1);
    pvt_settle(&s->net);
    for (uint64_t steps = 0; steps < 400; steps += 7) {
        c = pvt_begin(s, json_pack("{s:s, s:b, s:b}", "op", "verify", "deep", 1, "repair", 1));
        pvt_steps(&s->net, steps);
        pvt_cancel(c);
        pvt_settle(&s->net);
        pvt_client_free(c);
    }
    pvt_server_free(s);
}

/* Nothing is lost, whatever allocation fails: refused, or told. */
Test(verify, memory_fails)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    uint8_t *bytes = pvt_content(1, LEN);
    pvt_store(s, "big", bytes, LEN);
    struct pv_id id;
    chunk_flipped(n, &id);
    bool all = false;
    for (uint64_t k = 0; !all; k += 1 + k / 20) {
        json_t *args = json_pack("{s:s, s:b}", "op", "verify", "deep", 1);
        pv_mem_fail_after(k);
        struct pvt_client *c = pvt_begin(s, args);
        pvt_settle(&s->net);
        pv_mem_fail_after(UINT64_MAX);
        cr_assert_not(c->is_open);
        if (c->final != NULL && !c->lost && pvt_ok(c)) {
            cr_assert_eq(pvt_number(c->final, "damaged"), 1, "%llu", (unsigned long long)k);
            all = k > 200 || event(c, "file", 0) != NULL;
        }
        pvt_client_free(c);
    }
    free(bytes);
    pvt_server_free(s);
}

static void overwrite(struct pvt_node *n, const char *name, off_t at)
{
    char path[700];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/%s", n->vault_path, name);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void finds_beside(struct pvt_client *c, const char *what, const char *result)
{
    const json_t *p = event(c, "problem", 0);
    cr_assert_not_null(p);
    cr_assert_null(event(c, "problem", 1));
    cr_assert_str_eq(pvt_text(p, "what"), what);
    cr_assert_eq(json_object_get(p, "result") != NULL, result != NULL);
    if (result != NULL)
        cr_assert_str_eq(pvt_text(p, "result"), result);
    bool repaired = result != NULL && strcmp(result, "repaired") == 0;
    cr_assert_eq(json_is_true(json_object_get(c->final, "clean")), repaired);
    pvt_client_free(c);
}

Test(verify, records_bak_is_written_anew)
{
    struct pvt_server *s = pvt_server_new(1);
    pvt_store_text(s, "one", "first");
    pv_upkeep_work(s->upkeep);
    pvt_wait(s, 100);
    cr_assert(clean(s, true));
    overwrite(pvt_me(s), "records.bak", 300);
    cr_assert(clean(s, false));
    finds_beside(verify(s, true, false), "records.bak", NULL);
    finds_beside(verify(s, true, true), "records.bak", "repaired");
    cr_assert(clean(s, true));
    pv_upkeep_rest(s->upkeep);
    pvt_server_free(s);
}

/* Wherever the client goes away, the backup is finished and nobody is called. */
Test(verify, a_client_that_leaves_while_records_bak_is_written)
{
    struct pvt_server *s = pvt_server_new(1);
    bool more = true;
    pvt_store_text(s, "one", "first");
    pv_upkeep_work(s->upkeep);
    pvt_wait(s, 100);
    for (uint64_t steps = 0; more; steps++) {
        overwrite(pvt_me(s), "records.bak", 300);
        struct pvt_client *c = pvt_begin(
            s, json_pack("{s:s, s:b, s:b}", "op", "verify", "deep", true, "repair", true));
        more = pvt_steps(&s->net, steps);
        pvt_cancel(c);
        pvt_client_free(c);
        pvt_settle(&s->net);
        struct pvt_client *again = verify(s, true, true);
        cr_assert(json_is_true(json_object_get(again->final, "clean")));
        pvt_client_free(again);
    }
    pv_upkeep_rest(s->upkeep);
    pvt_server_free(s);
}
