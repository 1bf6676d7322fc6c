/*
 * Trees of many chunks, and what the node keeps in meta of its peers, against
 * tests/vectors/peervault, which another program made from storage/format.md.
 */
#include "crypto/hash.h"
#include "internal/file/tree_builder.h"
#include "tests/support/vectors.h"
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(golden, .timeout = 120);

#define FOLDER "tests/vectors/peervault/"

/* ---- trees ---- */

struct forest {
    struct pv_cluster_keys keys;
    struct pv_tree_builder builder;
    const json_t *nodes; /* ids, in the order in which they are complete */
    size_t count;
};

static void hash_of(uint8_t out[static PV_ID_LEN], size_t chunk, const char *what)
{
    char text[40];
    const int len = snprintf(text, sizeof text, "chunk %zu %s", chunk, what);
    pv_sha256(out, text, (size_t)len);
}

static struct pv_entry chunk_entry(size_t i)
{
    struct pv_entry e = {.length = 1 + i, .kind = PV_BLOB_CHUNK};
    hash_of(e.id.b, i, "id");
    hash_of(e.dk, i, "dk");
    return e;
}

static struct pv_entry seal(struct forest *f, struct pv_tree_node *node)
{
    struct pv_blob_sealed s;
    struct pv_entry e = {.length = node->length, .kind = PV_BLOB_NODE};
    char hex[PV_ID_HEX_LEN + 1];
    cr_assert_eq(pv_blob_seal(&s, &f->keys, 0, PV_BLOB_NODE, node->buf, node->payload_len, NULL),
                 PV_OK);
    const char *was = json_string_value(json_array_get(f->nodes, f->count++));
    pv_id_hex(hex, &s.id);
    PVT_FROZEN(was != NULL && strcmp(hex, was) == 0, "tree node", hex);
    pv_free(node->buf);
    e.id = s.id;
    memcpy(e.dk, s.dk, sizeof e.dk);
    return e;
}

static void add(struct forest *f, struct pv_entry e)
{
    struct pv_tree_node node = {.level = 0};
    do {
        cr_assert_eq(pv_tree_builder_add(&f->builder, node.level, &e, &node), PV_OK);
        if (node.buf != NULL)
            e = seal(f, &node);
    } while (node.buf != NULL);
}

static struct pv_entry root_of(struct forest *f, size_t chunks)
{
    struct pv_tree_node node;
    struct pv_entry root;
    for (size_t i = 0; i < chunks; i++)
        add(f, chunk_entry(i));
    while (pv_tree_builder_finish(&f->builder, &node, &root)) {
        struct pv_tree_node above = node;
        root = seal(f, &node);
        if (above.is_root)
            break;
        cr_assert_eq(pv_tree_builder_add(&f->builder, above.level, &root, &node), PV_OK);
        cr_assert_null(node.buf);
    }
    return root;
}

Test(golden, trees)
{
    json_t *root = pvt_json_load(FOLDER "trees.json");
    struct pvt_bytes key = pvt_json_hex(root, "cluster_key");
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(root, "trees"), i, item)
    {
        struct forest f = {.nodes = json_object_get(item, "nodes")};
        struct pvt_bytes was = pvt_json_hex(item, "root");
        uint8_t is[PV_ENTRY_LEN];
        cr_assert_eq(pv_cluster_keys_derive(&f.keys, key.p), PV_OK);
        pv_tree_builder_init(&f.builder, PV_NODE_ENTRIES_MAX);
        const struct pv_entry e = root_of(&f, (size_t)pvt_json_number(item, "chunks"));
        pv_entry_encode(is, &e);
        PVT_FROZEN(pvt_bytes_equal(&was, is, sizeof is), "the root of", "a tree");
        PVT_FROZEN(f.count == json_array_size(f.nodes), "the number of", "tree nodes");
        pv_tree_builder_release(&f.builder);
        pvt_bytes_release(&was);
    }
    cr_assert_eq(i, 6);
    pvt_bytes_release(&key);
    json_decref(root);
}

/* ---- meta ---- */

Test(golden, peer_origin)
{
    struct pvt_nodes *net = calloc(1, sizeof *net);
    char key[sizeof "peer:" + PV_ID_HEX_LEN] = "peer:";
    uint8_t is[64], was[40] = {0};
    size_t len = sizeof is;
    pvt_nodes_init(net, 2);
    struct pvt_node *other = &net->nodes[1];
    pvt_connect_all(net);
    pvt_settle(net);
    const struct pv_store_origin origin = pv_store_origin(other->store);
    cr_assert_lt(origin.open_count, 256);
    memcpy(was, origin.uuid, 16);
    was[23] = (uint8_t)origin.open_count;
    memcpy(was + 24, other->boot_random, 16);
    pv_id_hex(key + 5, &other->identity.node_id);
    PVT_FROZEN(pv_store_meta(net->nodes[0].store, key, is, &len) == PV_OK && len == sizeof was &&
                   memcmp(is, was, len) == 0,
               "the meta value", "peer:<node id>");
    pvt_nodes_release(net);
    free(net);
}
