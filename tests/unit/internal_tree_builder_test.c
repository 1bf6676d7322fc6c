#include "internal/file/tree_builder.h"
#include "crypto/hash.h"
#include "internal/base/mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(tree_builder, .timeout = 60);

/* Nodes are not sealed here: they are kept in the order they came, and their number is their id. */
struct forest {
    struct pv_tree_builder builder;
    struct kept {
        uint8_t *payload;
        size_t len;
        uint64_t length;
    } nodes[64];
    size_t count;
    struct pv_entry root;
};

static struct pv_entry entry_of(uint64_t no, uint64_t length, enum pv_blob_kind kind)
{
    struct pv_entry e = {.length = length, .kind = kind};
    memcpy(e.id.b, &no, sizeof no);
    memset(e.dk, 0x5a, sizeof e.dk);
    return e;
}

static uint64_t number_of(const struct pv_entry *e)
{
    uint64_t no;
    memcpy(&no, e->id.b, sizeof no);
    return no;
}

static struct pv_entry keep(struct forest *f, const struct pv_tree_node *n)
{
    cr_assert_lt(f->count, PV_COUNT(f->nodes));
    cr_assert_geq(n->cap, pv_blob_len(n->payload_len), "no room to seal");
    struct pv_entry e = entry_of(f->count, n->length, PV_BLOB_NODE);
    size_t entries;
    cr_assert_eq(pv_node_check(n->buf + PV_BLOB_PAYLOAD_OFFSET, n->payload_len, &e, &entries),
                 PV_OK);
    struct kept *k = &f->nodes[f->count++];
    k->payload = malloc(n->payload_len);
    k->len = n->payload_len;
    memcpy(k->payload, n->buf + PV_BLOB_PAYLOAD_OFFSET, n->payload_len);
    pv_free(n->buf);
    return e;
}

static void add(struct forest *f, unsigned level, struct pv_entry e)
{
    struct pv_tree_node node;
    for (;;) {
        cr_assert_eq(pv_tree_builder_add(&f->builder, level, &e, &node), PV_OK);
        if (node.buf == NULL)
            return;
        level = node.level;
        e = keep(f, &node);
    }
}

static void build(struct forest *f, size_t chunks, size_t fan_out)
{
    struct pv_tree_node node;
    bool closed = false;
    pv_tree_builder_init(&f->builder, fan_out);
    f->count = 0;
    for (size_t i = 0; i < chunks; i++)
        add(f, 0, entry_of(i, 1 + i % 7, PV_BLOB_CHUNK));
    while (!closed && pv_tree_builder_finish(&f->builder, &node, &f->root)) {
        struct pv_entry e = keep(f, &node);
        closed = node.is_root;
        if (closed)
            f->root = e;
        else
            add(f, node.level, e);
    }
    cr_assert_eq(pv_tree_builder_bytes(&f->builder), 0);
    pv_tree_builder_release(&f->builder);
}

/* Visits the chunks below an entry in order; *next is the number that must come. */
static size_t depth_of(const struct forest *f, const struct pv_entry *e, uint64_t *next)
{
    size_t depth = 0;
    if (e->kind == PV_BLOB_CHUNK) {
        cr_assert_eq(number_of(e), *next);
        cr_assert_eq(e->length, 1 + *next % 7);
        ++*next;
        return 1;
    }
    const struct kept *k = &f->nodes[number_of(e)];
    for (size_t at = 0; at < k->len; at += PV_ENTRY_LEN) {
        struct pv_entry child;
        cr_assert_eq(pv_entry_decode(&child, k->payload + at), PV_OK);
        size_t d = depth_of(f, &child, next);
        cr_assert(at == 0 || d == depth, "chunks are all at one depth");
        depth = d;
    }
    return depth + 1;
}

static void check(size_t chunks, size_t fan_out, size_t nodes, size_t depth)
{
    struct forest *f = calloc(1, sizeof *f);
    uint64_t next = 0, total = 0;
    build(f, chunks, fan_out);
    cr_assert_eq(depth_of(f, &f->root, &next), depth);
    cr_assert_eq(next, chunks);
    cr_assert_eq(f->count, nodes);
    for (size_t i = 0; i < chunks; i++)
        total += 1 + i % 7;
    cr_assert_eq(f->root.length, total);
    for (size_t i = 0; i < f->count; i++)
        free(f->nodes[i].payload);
    free(f);
}

/* What the format says: in order, level by level, until one entry is left. */
static void expected(size_t chunks, size_t fan_out, size_t *nodes, size_t *depth)
{
    *nodes = 0;
    *depth = 1;
    for (size_t n = chunks; n > 1; ++*depth) {
        n = (n + fan_out - 1) / fan_out;
        *nodes += n;
    }
}

Test(tree_builder, every_count_gives_the_tree_of_the_format)
{
    for (size_t fan_out = 2; fan_out <= 4; fan_out++) {
        for (size_t chunks = 1; chunks <= fan_out * fan_out * fan_out; chunks++) {
            size_t nodes, depth;
            expected(chunks, fan_out, &nodes, &depth);
            cr_assert_leq(depth, PV_TREE_DEPTH_MAX);
            check(chunks, fan_out, nodes, depth);
        }
    }
}

Test(tree_builder, real_nodes_hold_12287_entries)
{
    check(1, PV_NODE_ENTRIES_MAX, 0, 1);
    check(2, PV_NODE_ENTRIES_MAX, 1, 2);
    check(PV_TREE_SMALL_ENTRIES, PV_NODE_ENTRIES_MAX, 1, 2);
    check(PV_TREE_SMALL_ENTRIES + 1, PV_NODE_ENTRIES_MAX, 1, 2);
    check(PV_NODE_ENTRIES_MAX - 1, PV_NODE_ENTRIES_MAX, 1, 2);
    check(PV_NODE_ENTRIES_MAX, PV_NODE_ENTRIES_MAX, 1, 2);
    check(PV_NODE_ENTRIES_MAX + 1, PV_NODE_ENTRIES_MAX, 3, 3);
    check(2 * PV_NODE_ENTRIES_MAX, PV_NODE_ENTRIES_MAX, 3, 3);
    check(2 * PV_NODE_ENTRIES_MAX + 1, PV_NODE_ENTRIES_MAX, 4, 3);
}

Test(tree_builder, too_deep_is_a_limit)
{
    struct pv_tree_builder b;
    struct pv_tree_node node;
    struct pv_entry e = entry_of(0, 1, PV_BLOB_NODE);
    pv_tree_builder_init(&b, 2);
    cr_assert_eq(pv_tree_builder_add(&b, PV_TREE_LEVELS, &e, &node), PV_E_LIMIT);
    cr_assert_null(node.buf);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pv_tree_builder_add(&b, PV_TREE_LEVELS - 1, &e, &node), PV_OK);
        cr_assert_null(node.buf);
    }
    cr_assert_eq(pv_tree_builder_add(&b, PV_TREE_LEVELS - 1, &e, &node), PV_E_LIMIT);
    cr_assert(pv_tree_builder_finish(&b, &node, &e));
    cr_assert(node.is_root);
    pv_free(node.buf);
    pv_tree_builder_release(&b);
}

Test(tree_builder, lengths_do_not_overflow)
{
    struct pv_tree_builder b;
    struct pv_tree_node node;
    struct pv_entry most = entry_of(0, UINT64_MAX, PV_BLOB_NODE);
    struct pv_entry one = entry_of(1, 1, PV_BLOB_NODE);
    pv_tree_builder_init(&b, 10);
    cr_assert_eq(pv_tree_builder_add(&b, 1, &most, &node), PV_OK);
    cr_assert_eq(pv_tree_builder_add(&b, 1, &one, &node), PV_E_LIMIT);
    pv_tree_builder_release(&b);
}

Test(tree_builder, says_early_that_it_will_grow)
{
    struct pv_tree_builder b;
    struct pv_tree_node node;
    struct pv_entry e = entry_of(0, 1, PV_BLOB_CHUNK);
    pv_tree_builder_init(&b, PV_NODE_ENTRIES_MAX);
    cr_assert_eq(pv_tree_builder_bytes(&b), 0);
    for (size_t i = 1; i < PV_NODE_ENTRIES_MAX; i++) {
        cr_assert_eq(pv_tree_builder_add(&b, 0, &e, &node), PV_OK);
        cr_assert_null(node.buf);
        cr_assert_eq(pv_tree_builder_large(&b), i > PV_TREE_SMALL_ENTRIES / 2 ? 1 : 0);
        cr_assert_eq(pv_tree_builder_bytes(&b), i <= PV_TREE_SMALL_ENTRIES
                                                    ? (size_t)PV_TREE_SMALL_LEN
                                                    : (size_t)PV_BLOB_LEN_MAX);
    }
    cr_assert_eq(pv_tree_builder_add(&b, 0, &e, &node), PV_OK);
    cr_assert_not_null(node.buf);
    cr_assert_eq(node.payload_len, (size_t)PV_NODE_ENTRIES_MAX * PV_ENTRY_LEN);
    cr_assert_eq(pv_tree_builder_large(&b), 0);
    pv_free(node.buf);
    pv_tree_builder_release(&b);
}

Test(tree_builder, no_memory_is_an_error_and_loses_nothing)
{
    struct pv_tree_builder b;
    struct pv_tree_node node;
    struct pv_entry e = entry_of(0, 1, PV_BLOB_CHUNK);
    pv_tree_builder_init(&b, PV_NODE_ENTRIES_MAX);
    for (size_t i = 0; i <= PV_TREE_SMALL_ENTRIES; i++) {
        bool grows = i == 0 || i == PV_TREE_SMALL_ENTRIES;
        pv_mem_fail_after(grows ? 0 : UINT64_MAX);
        if (grows)
            cr_assert_eq(pv_tree_builder_add(&b, 0, &e, &node), PV_E_NOMEM);
        pv_mem_fail_after(UINT64_MAX);
        cr_assert_eq(pv_tree_builder_add(&b, 0, &e, &node), PV_OK);
    }
    cr_assert(pv_tree_builder_finish(&b, &node, &e));
    cr_assert(node.is_root);
    cr_assert_eq(node.length, PV_TREE_SMALL_ENTRIES + 1);
    pv_free(node.buf);
    pv_tree_builder_release(&b);
}
