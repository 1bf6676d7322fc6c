/* What `store` says of copies, and what is on the other members then. */
#include "internal/file/files.h"
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(ingest_copies, .timeout = 120);

enum { FILE_LEN = 1500000 };

struct cluster {
    struct pvt_nodes net;
    struct pv_files *files; /* of node 0 */
    struct pv_request rq;
    bool paused;
    unsigned have; /* of the last event */
    json_t *final;
};

static void on_event(struct pv_request *rq, json_t *message)
{
    struct cluster *c = rq->owner;
    const json_t *have = json_object_get(message, "have");
    if (have != NULL) {
        cr_assert_gt((unsigned)json_integer_value(have), c->have, "copies only grow");
        c->have = (unsigned)json_integer_value(have);
    }
    json_decref(message);
}

static void on_finish(struct pv_request *rq, json_t *message)
{
    struct cluster *c = rq->owner;
    cr_assert_null(c->final);
    c->final = message;
    json_decref(rq->args);
}

static void on_pause(struct pv_request *rq, bool paused)
{
    ((struct cluster *)rq->owner)->paused = paused;
}

static const struct pv_request_io io = {.event = on_event, .finish = on_finish, .pause = on_pause};

static struct cluster *cluster_new(unsigned nodes, uint64_t seed)
{
    struct cluster *c = calloc(1, sizeof *c);
    pvt_nodes_init(&c->net, nodes);
    c->net.seed = seed;
    pvt_connect_all(&c->net);
    pvt_settle(&c->net);
    struct pv_files_config config = {.node = c->net.nodes[0].node,
                                     .env = &c->net.nodes[0].env.env,
                                     .memory_bytes = PV_FILES_MEMORY_MIN,
                                     .replicas = 3};
    cr_assert_eq(pv_files_new(&c->files, &config), PV_OK);
    return c;
}

static void cluster_free(struct cluster *c)
{
    pvt_node_stop(&c->net.nodes[0]);
    pv_files_free(c->files);
    pvt_nodes_release(&c->net);
    json_decref(c->final);
    free(c);
}

/* Begins a store of FILE_LEN bytes (all of this value), and runs until nothing moves. */
static void store(struct cluster *c, json_t *args, uint8_t value)
{
    uint8_t *bytes = malloc(FILE_LEN);
    for (size_t i = 0; i < FILE_LEN; i++)
        bytes[i] = (uint8_t)(value ^ i * i >> 8);
    json_decref(c->final);
    c->final = NULL;
    c->have = 1;
    json_object_set_new(args, "op", json_string("store"));
    json_object_set_new(args, "name", json_string("a name"));
    c->rq = (struct pv_request){.io = &io, .owner = c, .id = 1, .args = args};
    pv_files_request(c->files, &c->rq);
    for (size_t at = 0; at < FILE_LEN;) {
        size_t n = FILE_LEN - at < 65535 ? FILE_LEN - at : 65535;
        if (c->paused) {
            cr_assert(pvt_step(&c->net));
            continue;
        }
        c->rq.ops->on_data(&c->rq, bytes + at, n, at + n == FILE_LEN);
        at += n;
    }
    pvt_settle(&c->net);
    free(bytes);
}

static void wait_ms(struct cluster *c, uint64_t ms)
{
    pvt_advance(&c->net, ms);
    pv_files_tick(c->files);
    pvt_settle(&c->net);
}

static long long number(const struct cluster *c, const char *key)
{
    cr_assert_not_null(c->final, "no answer");
    cr_assert(json_is_integer(json_object_get(c->final, key)), "%s",
              json_string_value(json_object_get(c->final, "error")));
    return json_integer_value(json_object_get(c->final, key));
}

static struct pv_store_counts counts(struct cluster *c, unsigned node)
{
    struct pv_store_counts out;
    cr_assert_eq(pv_store_counts(c->net.nodes[node].store, &out), PV_OK);
    return out;
}

static void same_everywhere(struct cluster *c)
{
    for (unsigned i = 1; i < c->net.count; i++) {
        cr_assert_eq(counts(c, i).blob_bytes, counts(c, 0).blob_bytes);
        cr_assert_eq(counts(c, i).files, counts(c, 0).files);
        cr_assert_eq(counts(c, i).names, counts(c, 0).names);
        cr_assert_eq(counts(c, i).pending, 0);
    }
    cr_assert_eq(counts(c, 0).pending, 0);
    cr_assert(pvt_all_agree(&c->net));
}

Test(ingest_copies, all_that_were_asked_for)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct cluster *c = cluster_new(3, seed);
        store(c, json_pack("{s:i}", "copies", 3), 1);
        for (int i = 0; c->final == NULL && i < 25; i++)
            wait_ms(c, 1000); /* offers of lower rank come later */
        cr_assert_eq(number(c, "copies"), 3);
        cr_assert_eq(c->have, 3);
        wait_ms(c, 60000);
        same_everywhere(c);
        cluster_free(c);
    }
}

Test(ingest_copies, two_are_enough_by_default)
{
    struct cluster *c = cluster_new(3, 0);
    pvt_cut(&c->net, 0, 2);
    pvt_cut(&c->net, 1, 2);
    pvt_settle(&c->net);
    store(c, json_object(), 2);
    wait_ms(c, 100); /* the first offers come from a tick */
    cr_assert_eq(number(c, "copies"), 2);
    cr_assert_eq(number(c, "want"), 2);
    cluster_free(c);
}

Test(ingest_copies, cut_off_it_stays_pending_until_somebody_comes)
{
    struct cluster *c = cluster_new(2, 0);
    pvt_cut(&c->net, 0, 1);
    pvt_settle(&c->net);
    store(c, json_object(), 3);
    cr_assert_null(c->final);
    wait_ms(c, PV_STORE_WAIT_MS);
    cr_assert_eq(number(c, "copies"), 1);
    cr_assert_eq(number(c, "want"), 2);
    cr_assert_eq(counts(c, 0).pending, 2);
    cr_assert_eq(counts(c, 1).files, 0);

    store(c, json_pack("{s:i}", "copies", 2), 3);
    wait_ms(c, PV_STORE_COPIES_WAIT_MS - 1);
    cr_assert_null(c->final);
    wait_ms(c, 1);
    cr_assert_eq(number(c, "exit"), PV_EXIT_UNAVAILABLE);

    pvt_connect(&c->net, 0, 1);
    pvt_settle(&c->net);
    wait_ms(c, 60000);
    same_everywhere(c);
    cr_assert_eq(counts(c, 1).files, 1);
    cluster_free(c);
}

/* The blobs of a long upload are on their way before its end. */
Test(ingest_copies, replication_does_not_wait_for_the_end)
{
    struct cluster *c = cluster_new(2, 0);
    uint8_t *bytes = calloc(1, FILE_LEN);
    for (size_t i = 0; i < FILE_LEN; i++)
        bytes[i] = (uint8_t)(i * i >> 7);
    c->rq = (struct pv_request){
        .io = &io, .owner = c, .id = 1, .args = json_pack("{s:s}", "op", "store")};
    pv_files_request(c->files, &c->rq);
    for (size_t at = 0; at + 65535 < FILE_LEN;) {
        if (!c->paused) {
            c->rq.ops->on_data(&c->rq, bytes + at, 65535, false);
            at += 65535;
        }
        wait_ms(c, 10);
    }
    cr_assert_gt(counts(c, 1).blobs, 0);
    cr_assert_eq(counts(c, 1).files, 0);
    c->rq.ops->on_cancel(&c->rq);
    json_decref(c->rq.args);
    pvt_settle(&c->net);
    cr_assert_eq(counts(c, 0).files, 0);
    free(bytes);
    cluster_free(c);
}
