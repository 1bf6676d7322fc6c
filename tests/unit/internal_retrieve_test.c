#include "tests/unit/internal_client_fixture.h"

TestSuite(retrieve, .timeout = 120);

static json_t *get_args(const char *target)
{
    return json_pack("{s:s, s:s}", "op", "get", "target", target);
}

static json_t *range_args(const char *target, long long first, long long last)
{
    return json_pack("{s:s, s:s, s:[I, I]}", "op", "get", "target", target, "range",
                     (json_int_t)first, (json_int_t)last);
}

/* The client got these bytes, as announced, and the end. */
static void delivered(struct pvt_client *c, const uint8_t *bytes, size_t len)
{
    pvt_assert_ok(c);
    cr_assert_eq(c->event_count, 1);
    cr_assert_eq(pvt_number(c->events[0], "length"), (long long)len);
    cr_assert(c->ended);
    cr_assert_eq(c->len, len);
    if (len > 0)
        cr_assert_arr_eq(c->data, bytes, len);
    cr_assert_str_eq(pvt_text(c->final, "key"), pvt_text(c->events[0], "key"));
    pvt_client_free(c);
}

/* ---- a tree of small chunks, put together by hand ---- */

enum { TREE_CHUNKS = 23, TREE_LEN = TREE_CHUNKS * (TREE_CHUNKS + 1) / 2 * 10 };

struct tree {
    uint8_t *bytes; /* TREE_LEN of them; chunk i has 10 * (i + 1) */
    struct pv_entry chunks[TREE_CHUNKS], root;
    struct pvt_key key;
};

/* With fan-out 3 there are three levels of nodes: the deepest tree there may be. Chunk `missing`
 * is not stored; `damaged` is, with a wrong byte. */
static void tree_init(struct tree *t, struct pvt_node *n, int missing, int damaged)
{
    struct pv_entry level[TREE_CHUNKS];
    size_t count = TREE_CHUNKS, at = 0;
    t->bytes = pvt_content(9, TREE_LEN);
    for (int i = 0; i < TREE_CHUNKS; i++) {
        size_t len = 10 * ((size_t)i + 1);
        pvt_put_payload(n, i == missing ? NULL : n, PV_BLOB_CHUNK, t->bytes + at, len, len,
                        i == damaged, &t->chunks[i]);
        level[i] = t->chunks[i];
        at += len;
    }
    while (count > 1) {
        size_t nodes = 0;
        for (size_t i = 0; i < count; i += 3, nodes++) {
            struct pv_entry node;
            pvt_put_node(n, n, &level[i], count - i < 3 ? count - i : 3, &node);
            level[nodes] = node;
        }
        count = nodes;
    }
    t->root = level[0];
    t->key = pvt_key_of(t->bytes, TREE_LEN);
    pvt_put_tree(n, &t->root, t->bytes, TREE_LEN);
}

Test(retrieve, inline_chunk_and_tree)
{
    static const size_t lens[] = {0, 1, 4096, 4097, 70000, 900000, 5000000};
    struct pvt_server *s = pvt_server_new(1);
    for (size_t i = 0; i < PV_COUNT(lens); i++) {
        uint8_t *bytes = pvt_content(i, lens[i]);
        struct pvt_key key = pvt_store(s, "name", bytes, lens[i]);
        struct pvt_client *c = pvt_ask(s, get_args(key.hex));
        cr_assert_str_eq(pvt_text(c->events[0], "event"), "file");
        cr_assert_str_eq(pvt_text(c->events[0], "key"), key.hex);
        cr_assert_str_eq(pvt_text(c->events[0], "name"), "name");
        cr_assert_eq(pvt_number(c->events[0], "size"), (long long)lens[i]);
        cr_assert_eq(pvt_number(c->events[0], "offset"), 0);
        delivered(c, bytes, lens[i]);
        delivered(pvt_ask(s, get_args("name")), bytes, lens[i]);
        free(bytes);
    }
    cr_assert_leq(s->files->memory.peak_bytes, PV_FILES_MEMORY_MIN);
    pvt_server_free(s);
}

/* Three levels of nodes, from every byte to every byte of some. */
Test(retrieve, deepest_tree_and_ranges_at_every_edge)
{
    struct pvt_server *s = pvt_server_new(1);
    struct tree t;
    tree_init(&t, pvt_me(s), -1, -1);
    delivered(pvt_ask(s, get_args(t.key.hex)), t.bytes, TREE_LEN);
    size_t at = 0;
    for (int i = 0; i < TREE_CHUNKS; i++) {
        size_t len = 10 * ((size_t)i + 1), end = at + len - 1;
        size_t edges[][2] = {{at, end}, {at, at},          {end, end}, {at > 0 ? at - 1 : 0, at},
                             {0, end},  {at, TREE_LEN - 1}};
        for (size_t k = 0; k < PV_COUNT(edges); k++) {
            size_t first = edges[k][0], last = edges[k][1];
            struct pvt_client *c =
                pvt_ask(s, range_args(t.key.hex, (long long)first, (long long)last));
            cr_assert_eq(pvt_number(c->events[0], "offset"), (long long)first);
            delivered(c, t.bytes + first, last - first + 1);
        }
        at += len;
    }
    free(t.bytes);
    pvt_server_free(s);
}

Test(retrieve, range_is_cut_at_the_end_of_the_file)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key small = pvt_store_text(s, NULL, "0123456789");
    uint8_t *bytes = pvt_content(3, 100000);
    struct pvt_key big = pvt_store(s, NULL, bytes, 100000);
    struct pvt_key empty = pvt_store_text(s, NULL, "");
    delivered(pvt_ask(s, range_args(small.hex, 3, 5)), (const uint8_t *)"345", 3);
    delivered(pvt_ask(s, range_args(small.hex, 9, 1000)), (const uint8_t *)"9", 1);
    delivered(pvt_ask(s, range_args(big.hex, 99999, INT64_MAX)), bytes + 99999, 1);
    pvt_refused(pvt_ask(s, range_args(small.hex, 10, 10)), PV_EXIT_USAGE, "has 10 bytes");
    pvt_refused(pvt_ask(s, range_args(big.hex, 100000, 100000)), PV_EXIT_USAGE, "behind the end");
    pvt_refused(pvt_ask(s, range_args(empty.hex, 0, 0)), PV_EXIT_USAGE, "has 0 bytes");
    free(bytes);
    pvt_server_free(s);
}

Test(retrieve, malformed_requests)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, NULL, "0123456789");
    static const char *const bad[] = {
        "{}",
        "{\"target\":\"\"}",
        "{\"target\":7}",
        "{\"target\":\"x\", \"range\":[]}",
        "{\"target\":\"x\", \"range\":[1]}",
        "{\"target\":\"x\", \"range\":[1,2,3]}",
        "{\"target\":\"x\", \"range\":[2,1]}",
        "{\"target\":\"x\", \"range\":[-1,1]}",
        "{\"target\":\"x\", \"range\":[\"a\",\"b\"]}",
        "{\"target\":\"x\", \"range\":[0,null]}",
        "{\"target\":\"x\", \"range\":[0.5,1]}",
        "{\"target\":\"x\", \"range\":\"0-1\"}",
        "{\"target\":\"x\", \"range\":null}",
    };
    for (size_t i = 0; i < PV_COUNT(bad); i++) {
        json_t *args = json_loads(bad[i], 0, NULL);
        json_object_set_new(args, "op", json_string("get"));
        pvt_refused(pvt_ask(s, args), PV_EXIT_USAGE, "malformed");
    }
    pvt_client_free(pvt_ask(s, get_args(key.hex)));
    pvt_server_free(s);
}

/* ---- what is not as it should be ---- */

Test(retrieve, wrong_whole_hash)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pv_id other = {{1}};
    struct pv_entry chunk, root;
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, &other);
    pvt_put_inline(pvt_me(s), &other, "not these bytes", NULL);
    pvt_refused(pvt_ask(s, get_args(hex)), PV_EXIT_CORRUPT, "SHA-256");
    pvt_refused(pvt_ask(s, range_args(hex, 0, 3)), PV_EXIT_CORRUPT, "SHA-256");

    pvt_put_payload(pvt_me(s), pvt_me(s), PV_BLOB_CHUNK, "some", 4, 4, false, &chunk);
    pvt_put_tree(pvt_me(s), &chunk, "other", 5);
    struct pvt_client *c = pvt_ask(s, get_args(pvt_key_of("other", 5).hex));
    cr_assert_not(c->ended); /* the bytes came, but not their end */
    pvt_refused(c, PV_EXIT_CORRUPT, "SHA-256");

    struct pv_entry twice[] = {chunk, chunk};
    pvt_put_node(pvt_me(s), pvt_me(s), twice, 2, &root);
    pvt_put_tree(pvt_me(s), &root, "another", 7);
    pvt_refused(pvt_ask(s, get_args(pvt_key_of("another", 7).hex)), PV_EXIT_CORRUPT, "SHA-256");
    pvt_server_free(s);
}

Test(retrieve, one_chunk_missing_or_damaged_anywhere)
{
    for (int i = 0; i < TREE_CHUNKS; i += 11) {
        struct pvt_server *s = pvt_server_new(1);
        struct tree t, u;
        tree_init(&t, pvt_me(s), i, -1);
        pvt_refused(pvt_ask(s, get_args(t.key.hex)), PV_EXIT_UNAVAILABLE, "no reachable node");
        free(t.bytes);
        pvt_server_free(s);
        s = pvt_server_new(1);
        tree_init(&u, pvt_me(s), -1, i);
        pvt_refused(pvt_ask(s, get_args(u.key.hex)), PV_EXIT_CORRUPT, "corrupt");
        free(u.bytes);
        pvt_server_free(s);
    }
}

Test(retrieve, a_node_is_missing_or_too_deep)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pv_entry e, node;
    pvt_put_payload(pvt_me(s), pvt_me(s), PV_BLOB_CHUNK, "abc", 3, 3, false, &e);
    pvt_put_node(pvt_me(s), NULL, &e, 1, &node);
    pvt_put_tree(pvt_me(s), &node, "abc", 3);
    pvt_refused(pvt_ask(s, get_args(pvt_key_of("abc", 3).hex)), PV_EXIT_UNAVAILABLE, "no reach");

    pvt_put_payload(pvt_me(s), pvt_me(s), PV_BLOB_CHUNK, "abcd", 4, 4, false, &e);
    for (int i = 0; i < PV_TREE_DEPTH_MAX; i++) {
        if (i == PV_TREE_DEPTH_MAX - 1) {
            pvt_put_tree(pvt_me(s), &e, "abcd", 4);
            delivered(pvt_ask(s, get_args(pvt_key_of("abcd", 4).hex)), (const uint8_t *)"abcd", 4);
        }
        pvt_put_node(pvt_me(s), pvt_me(s), &e, 1, &node);
        e = node;
    }
    pvt_put_tree(pvt_me(s), &e, "abcd", 4);
    pvt_refused(pvt_ask(s, get_args(pvt_key_of("abcd", 4).hex)), PV_EXIT_CORRUPT, "corrupt");
    pvt_server_free(s);
}

static const char text[] = "some text that is a blob of its own";

/* The record is at node 0; what node 0 and node 1 have of its blob is told. */
static struct pvt_server *pair(bool mine, bool mine_damaged, bool theirs)
{
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_node *me = pvt_me(s), *other = &s->net.nodes[1];
    struct pv_entry e;
    if (theirs)
        pvt_put_payload(me, other, PV_BLOB_CHUNK, text, strlen(text), strlen(text), false, &e);
    pvt_put_payload(me, mine ? me : NULL, PV_BLOB_CHUNK, text, strlen(text), strlen(text),
                    mine_damaged, &e);
    pvt_put_tree(me, &e, text, strlen(text));
    return s;
}

static struct pvt_client *get_text(struct pvt_server *s)
{
    struct pvt_client *c = pvt_begin(s, get_args(pvt_key_of(text, strlen(text)).hex));
    for (int i = 0; c->is_open && i < 20; i++)
        pvt_advance(&s->net, 1000);
    return c;
}

Test(retrieve, a_peer_has_what_is_missing_or_bad_here)
{
    for (int damaged = 0; damaged < 2; damaged++) {
        struct pvt_server *s = pair(damaged, damaged, true);
        delivered(get_text(s), (const uint8_t *)text, strlen(text));
        pvt_cut(&s->net, 0, 1); /* it is kept, or repaired */
        delivered(get_text(s), (const uint8_t *)text, strlen(text));
        pvt_server_free(s);
    }
}

Test(retrieve, no_peer_has_it)
{
    struct pvt_server *s = pair(false, false, false);
    pvt_refused(get_text(s), PV_EXIT_UNAVAILABLE, "no reachable node");
    pvt_server_free(s);
    s = pair(true, true, false);
    pvt_refused(get_text(s), PV_EXIT_CORRUPT, "no good copy");
    pvt_server_free(s);
}

Test(retrieve, the_peer_that_has_it_is_away)
{
    for (int damaged = 0; damaged < 2; damaged++) {
        struct pvt_server *s = pair(damaged, damaged, true);
        pvt_cut(&s->net, 0, 1);
        struct pvt_client *c = pvt_begin(s, get_args(pvt_key_of(text, strlen(text)).hex));
        pvt_advance(&s->net, PV_BLOB_SILENCE_MS - 1);
        cr_assert(c->is_open, "it may come back");
        pvt_advance(&s->net, 1);
        pvt_refused(c, damaged ? PV_EXIT_CORRUPT : PV_EXIT_UNAVAILABLE, "blob");
        pvt_connect(&s->net, 0, 1);
        delivered(get_text(s), (const uint8_t *)text, strlen(text));
        pvt_server_free(s);
    }
}

/* ---- the client ---- */

Test(retrieve, a_slow_client_sets_the_pace)
{
    enum { LEN = 5000000 };
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(5, LEN);
    struct pvt_key key = pvt_store(s, NULL, bytes, LEN);
    struct pvt_client *c = pvt_ask_with_room(s, get_args(key.hex), 1);
    pvt_settle(&s->net);
    while (c->is_open) {
        size_t before = c->len;
        pvt_settle(&s->net);
        cr_assert(c->is_waiting);
        pvt_read_on(c, 50000);
        pvt_settle(&s->net);
        cr_assert_leq(c->len - before, 2 * PV_CONTROL_DATA_MAX);
    }
    delivered(c, bytes, LEN);
    cr_assert_leq(s->files->memory.peak_bytes, PV_FILES_MEMORY_MIN);
    free(bytes);
    pvt_server_free(s);
}

/* A client may become writable at any moment: what another request said before fills its socket. */
Test(retrieve, writable_before_there_is_anything_to_write)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(5, 300000);
    struct pvt_key key = pvt_store(s, NULL, bytes, 300000);
    struct pvt_client *c = pvt_begin(s, get_args(key.hex));
    do {
        if (c->is_open)
            c->rq.ops->on_writable(&c->rq);
    } while (pvt_step(&s->net));
    delivered(c, bytes, 300000);

    size_t all = s->files->memory.limit_bytes;
    cr_assert_eq(pv_budget_try(&s->files->memory, all), PV_OK);
    c = pvt_ask(s, get_args(key.hex));
    c->rq.ops->on_writable(&c->rq); /* while it waits for memory */
    cr_assert(c->is_open);
    pv_budget_give(&s->files->memory, all);
    pvt_settle(&s->net);
    delivered(c, bytes, 300000);
    free(bytes);
    pvt_server_free(s);
}

/* Begins the same get again and again, and cancels it one step later each time. */
static void cancel_everywhere(struct pvt_server *s, const char *key, size_t room, uint64_t wait_ms)
{
    for (uint64_t steps = 0;; steps++) {
        struct pvt_client *c = pvt_ask_with_room(s, get_args(key), room);
        bool more = pvt_steps(&s->net, steps);
        if (!more && c->is_open && wait_ms > 0)
            pvt_advance(&s->net, wait_ms);
        bool was_open = c->is_open;
        pvt_cancel(c);
        pvt_settle(&s->net);
        cr_assert_eq(s->files->memory.used_bytes, 0, "after %llu steps", (unsigned long long)steps);
        pvt_client_free(c);
        if (!was_open || !more)
            break;
        cr_assert_lt(steps, 10000);
    }
}

Test(retrieve, cancelled_after_every_step)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(6, 900000);
    struct pvt_key key = pvt_store(s, NULL, bytes, 900000);
    struct tree t;
    tree_init(&t, pvt_me(s), -1, -1);
    cancel_everywhere(s, key.hex, SIZE_MAX, 0);
    cancel_everywhere(s, key.hex, 1, 0);
    cancel_everywhere(s, t.key.hex, SIZE_MAX, 0);
    cancel_everywhere(s, t.key.hex, 1, 0);
    delivered(pvt_ask(s, get_args(key.hex)), bytes, 900000);
    free(bytes);
    free(t.bytes);
    pvt_server_free(s);
}

Test(retrieve, cancelled_while_fetching)
{
    struct pvt_server *s = pair(false, false, true);
    pvt_cut(&s->net, 0, 1);
    pvt_settle(&s->net);
    cancel_everywhere(s, pvt_key_of(text, strlen(text)).hex, SIZE_MAX, 100);
    pvt_connect(&s->net, 0, 1);
    delivered(get_text(s), (const uint8_t *)text, strlen(text));
    pvt_server_free(s);
}

/* ---- memory ---- */

Test(retrieve, many_gets_share_the_memory)
{
    enum { GETS = 12, LEN = 2000000 };
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(7, LEN);
    struct pvt_key key = pvt_store(s, NULL, bytes, LEN);
    struct pvt_client *c[GETS];
    for (size_t i = 0; i < GETS; i++)
        c[i] = pvt_ask_with_room(s, get_args(key.hex), i == 0 ? 1 : SIZE_MAX);
    pvt_settle(&s->net);
    cr_assert(c[0]->is_open);
    for (size_t i = 1; i < GETS; i++)
        cr_assert_eq(c[i]->len, 0, "the first one has all the memory");
    pvt_cancel(c[3]); /* while it waits */
    pvt_cancel(c[GETS - 1]);
    pvt_read_on(c[0], SIZE_MAX);
    pvt_settle(&s->net);
    for (size_t i = 0; i < GETS; i++) {
        if (i == 3 || i == GETS - 1)
            pvt_client_free(c[i]);
        else
            delivered(c[i], bytes, LEN);
    }
    cr_assert_leq(s->files->memory.peak_bytes, s->files->memory.limit_bytes);
    free(bytes);
    pvt_server_free(s);
}

/* ---- a client that stops reading ---- */

enum { STALL_MS = 5000, STALL_LEN = 4000000 };

/* A get that stopped reading at some point, and another that waits for its memory. */
static struct pvt_client *stalled(struct pvt_server *s, json_t *args, size_t room, uint64_t steps,
                                  struct pvt_client **waiter, const char *key)
{
    struct pvt_client *c = pvt_ask_with_room(s, args, room);
    pvt_settle(&s->net);
    *waiter = pvt_begin(s, get_args(key));
    pvt_settle(&s->net);
    cr_assert_eq((*waiter)->len, 0);
    pvt_read_on(c, 700000); /* some more, so that loads are on their way when it stops for good */
    pvt_steps(&s->net, steps);
    pvt_me(s)->env.mono_ms += STALL_MS;
    pvt_files_due(pvt_me(s));
    return c;
}

Test(retrieve, memory_of_a_client_that_does_not_read)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(11, STALL_LEN);
    struct pvt_key key = pvt_store(s, NULL, bytes, STALL_LEN);
    for (int ranged = 0; ranged < 2; ranged++) {
        for (uint64_t steps = 0; steps < 10; steps++) {
            for (int early = 0; early < 3; early++) {
                size_t from = ranged ? 1234 : 0;
                json_t *args =
                    ranged ? range_args(key.hex, 1234, STALL_LEN - 1) : get_args(key.hex);
                struct pvt_client *waiter;
                struct pvt_client *c = stalled(s, args, 1, steps, &waiter, key.hex);
                if (early == 1)
                    pvt_read_on(c, SIZE_MAX); /* before its loads have ended */
                if (early == 2)
                    pvt_cancel(c);
                pvt_settle(&s->net);
                delivered(waiter, bytes, STALL_LEN);
                if (early == 2) {
                    pvt_client_free(c);
                    continue;
                }
                pvt_read_on(c, 300000);
                pvt_settle(&s->net);
                while (c->is_open) {
                    pvt_read_on(c, 300000);
                    pvt_settle(&s->net);
                }
                delivered(c, bytes + from, STALL_LEN - from);
            }
        }
    }
    free(bytes);
    pvt_server_free(s);
}

Test(retrieve, nobody_waits_so_nothing_is_lost)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(11, STALL_LEN);
    struct pvt_key key = pvt_store(s, NULL, bytes, STALL_LEN);
    struct pvt_client *c = pvt_ask_with_room(s, get_args(key.hex), 1);
    pvt_settle(&s->net);
    for (int i = 0; i < 100; i++) {
        pvt_me(s)->env.mono_ms += STALL_MS;
        pvt_files_due(pvt_me(s));
        cr_assert_gt(pv_files_deadline_ms(s->files), pvt_me(s)->env.mono_ms);
        cr_assert_gt(s->files->memory.used_bytes, 0);
    }
    pvt_read_on(c, SIZE_MAX);
    pvt_settle(&s->net);
    delivered(c, bytes, STALL_LEN);
    cr_assert_eq(pv_files_deadline_ms(s->files), UINT64_MAX);
    free(bytes);
    pvt_server_free(s);
}

/* Parked, and cancelled then, or the whole server ends. */
Test(retrieve, parked_and_gone)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(11, STALL_LEN);
    struct pvt_key key = pvt_store(s, NULL, bytes, STALL_LEN);
    struct pvt_client *waiter, *c = stalled(s, get_args(key.hex), 1, 0, &waiter, key.hex);
    pvt_settle(&s->net);
    delivered(waiter, bytes, STALL_LEN);
    cr_assert_eq(s->files->memory.used_bytes, 0);
    pvt_read_on(c, 1); /* waits for memory once more */
    pvt_settle(&s->net);
    cr_assert(c->is_open);
    pvt_cancel(c);
    pvt_client_free(c);
    free(bytes);
    pvt_server_free(s);
}

/* A file of one chunk takes what it needs, not what the longest chunk would. */
Test(retrieve, small_files_do_not_wait_for_each_other)
{
    enum { GETS = 50 };
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(8, 20000);
    struct pvt_key key = pvt_store(s, NULL, bytes, 20000);
    struct pvt_client *c[GETS];
    for (size_t i = 0; i < GETS; i++)
        c[i] = pvt_ask_with_room(s, get_args(key.hex), 0);
    pvt_settle(&s->net);
    for (size_t i = 0; i < GETS; i++)
        cr_assert(c[i]->is_waiting, "has something to say");
    for (size_t i = 0; i < GETS; i++)
        pvt_read_on(c[i], SIZE_MAX);
    for (size_t i = 0; i < GETS; i++)
        delivered(c[i], bytes, 20000);
    free(bytes);
    pvt_server_free(s);
}

/* Any one allocation may fail: the get fails whole, or it is right. */
static bool survives(struct pvt_server *s, const char *key, const uint8_t *bytes, size_t len,
                     uint64_t k)
{
    json_t *args = get_args(key);
    pv_mem_fail_after(k);
    struct pvt_client *c = pvt_begin(s, args);
    for (int i = 0; c->is_open && i < 10000 && pvt_step(&s->net); i++)
        continue;
    pv_mem_fail_after(UINT64_MAX);
    pvt_settle(&s->net);
    cr_assert_not(c->is_open);
    cr_assert_eq(s->files->memory.used_bytes, 0);
    bool ok = !c->lost && pvt_ok(c);
    if (ok) {
        delivered(c, bytes, len);
    } else {
        if (c->final != NULL && json_is_false(json_object_get(c->final, "ok")))
            cr_assert_eq(pvt_number(c->final, "exit"), PV_EXIT_FAILED, "%s",
                         pvt_text(c->final, "error"));
        pvt_client_free(c);
    }
    return ok;
}

Test(retrieve, out_of_memory_anywhere)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key small = pvt_store_text(s, "name", "0123456789");
    struct tree t;
    tree_init(&t, pvt_me(s), -1, -1);
    unsigned failed[2] = {0};
    for (uint64_t k = 0; k < 200; k++) {
        failed[0] += !survives(s, small.hex, (const uint8_t *)"0123456789", 10, k);
        failed[1] += !survives(s, t.key.hex, t.bytes, TREE_LEN, k);
    }
    cr_assert_gt(failed[0], 3);
    cr_assert_gt(failed[1], TREE_CHUNKS);
    free(t.bytes);
    pvt_server_free(s);
}
