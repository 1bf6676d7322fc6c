/* The digest exchange against peers that do not keep to it. */
#include "internal/node/digest.h"
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct pvt_nodes net;
static uint8_t message[PV_FRAME_PLAIN_MAX];
static struct pv_id hashes[PV_MSG_HASHES_MAX];

TestSuite(digest, .timeout = 120);

static void two_connected(void)
{
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
    cr_assert(pvt_all_agree(&net));
}

/* Ascending hashes of one bucket. */
static void make_hashes(unsigned bucket, unsigned from)
{
    memset(hashes, 0, sizeof hashes);
    for (unsigned i = 0; i < PV_MSG_HASHES_MAX; i++) {
        struct pv_wr w = pv_wr_of(hashes[i].b, PV_ID_LEN);
        pv_wr_u16(&w, (uint16_t)(bucket << 4));
        pv_wr_u32(&w, from + i);
    }
}

static void inject_list(uint16_t bucket, bool last, size_t count)
{
    struct pv_wr w = pv_wr_of(message, sizeof message);
    pv_msg_put_digest_hashes(&w, bucket, last, hashes, count);
    cr_assert_eq(pv_wr_end(&w), PV_OK);
    pvt_inject(&net, 0, 1, message, pv_wr_len(&w));
}

static void expect(bool connected)
{
    pvt_settle(&net);
    cr_assert_eq(pvt_connected(&net, 0, 1), connected);
    if (!connected)
        cr_assert_eq(net.nodes[1].last_goodbye, PV_BYE_PROTOCOL);
    pvt_forgive(&net, 1);
}

Test(digest, full_lists_are_taken)
{
    two_connected();
    for (unsigned part = 0; part < 4; part++) {
        make_hashes(9, part * PV_MSG_HASHES_MAX);
        inject_list(9, part == 3, PV_MSG_HASHES_MAX);
    }
    inject_list(10, true, 0);
    expect(true);
    pvt_nodes_release(&net);
}

Test(digest, hashes_out_of_order_end_the_session)
{
    two_connected();
    make_hashes(9, 0);
    hashes[5] = hashes[6];
    inject_list(9, true, 10);
    expect(false);
    pvt_nodes_release(&net);
}

Test(digest, parts_out_of_order_end_the_session)
{
    two_connected();
    make_hashes(9, 100);
    inject_list(9, false, 10);
    make_hashes(9, 0);
    inject_list(9, true, 10);
    expect(false);
    pvt_nodes_release(&net);
}

Test(digest, hashes_of_another_bucket_end_the_session)
{
    two_connected();
    make_hashes(9, 0);
    inject_list(10, true, 10);
    expect(false);
    pvt_nodes_release(&net);
}

Test(digest, interleaved_lists_end_the_session)
{
    two_connected();
    make_hashes(9, 0);
    inject_list(9, false, 10);
    make_hashes(11, 0);
    inject_list(11, true, 10);
    expect(false);
    pvt_nodes_release(&net);
}

Test(digest, empty_part_that_is_not_the_last_ends_the_session)
{
    two_connected();
    inject_list(9, false, 0);
    expect(false);
    pvt_nodes_release(&net);
}

/* Lists wait while one is compared: up to a limit, which honest peers never reach. */
Test(digest, number_of_lists_is_limited)
{
    two_connected();
    struct pv_node *n = net.nodes[1].node;
    pv_link link = net.links[net.link_count - 1].number;
    make_hashes(9, 0);
    for (unsigned i = 0; i <= PV_DIGEST_DIFFS_MAX; i++) {
        cr_assert_eq(net.nodes[1].drops, 0, "%u", i);
        struct pv_wr w = pv_wr_of(message, sizeof message);
        pv_msg_put_digest_hashes(&w, 9, true, hashes, 1);
        pv_node_peer_message(n, link, message[0], message + 1, pv_wr_len(&w) - 1);
    }
    cr_assert_eq(net.nodes[1].drops, 1);
    expect(false);
    pvt_nodes_release(&net);
}

/* Lists that nobody asked for: they cannot go back and forth for ever. */
Test(digest, unasked_lists_are_answered_a_few_times_only)
{
    two_connected();
    uint64_t before = net.messages;
    make_hashes(9, 0);
    for (unsigned i = 0; i < 20; i++)
        inject_list(9, true, 3);
    expect(true);
    cr_assert_leq(net.messages - before, 20 + 4 * PV_DIGEST_WINDOW);
    pvt_nodes_release(&net);
}

static void inject_root(const uint8_t *root)
{
    struct pv_wr w = pv_wr_of(message, sizeof message);
    pv_msg_put_digest_root(&w, root);
    pvt_inject(&net, 0, 1, message, pv_wr_len(&w));
}

/* 33 bytes would otherwise be answered with 80 KiB for ever. */
Test(digest, false_roots_are_answered_a_few_times_only)
{
    uint8_t root[PV_HASH_LEN] = {1};
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
    uint64_t before = net.messages;
    for (unsigned i = 0; i < 100; i++) {
        inject_root(root);
        pvt_settle(&net);
    }
    cr_assert(pvt_connected(&net, 0, 1));
    cr_assert_leq(net.messages - before, 100 + PV_DIGEST_BUCKETS_MAX * 10, "%u",
                  (unsigned)(net.messages - before));
    pvt_advance(&net, 2 * (uint64_t)PV_SYNC_INTERVAL_MS);
    cr_assert(pvt_all_agree(&net));
    pvt_nodes_release(&net);
}

static struct pv_digest *digest_at(unsigned i)
{
    size_t pos = 0;
    return &pv_node_next_peer(net.nodes[i].node, &pos)->sync->digest;
}

/* Nobody asked, so each side takes the other's answer for a question. */
Test(digest, a_root_too_many_ends)
{
    uint8_t root[PV_HASH_LEN];
    two_connected();
    memcpy(root, digest_at(1)->theirs, sizeof root);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t before = net.messages;
        inject_root(root);
        cr_assert_not(pvt_steps(&net, 200), "back and forth");
        cr_assert_leq(net.messages - before, 3);
    }
    cr_assert(pvt_all_agree(&net));
    pvt_nodes_release(&net);
}

/* An answer that was not given is only late. */
Test(digest, who_asks_again_is_answered)
{
    two_connected();
    struct pv_digest *asking = digest_at(0), *asked = digest_at(1);
    asked->echoed = true;
    memcpy(asked->echo, asking->theirs, sizeof asked->echo);
    asking->agrees = false;
    size_t pos = 0;
    pv_digest_settle(pv_node_next_peer(net.nodes[0].node, &pos));
    pvt_advance(&net, PV_SYNC_SETTLE_MS);
    cr_assert_not(asking->agrees);
    pvt_advance(&net, PV_SYNC_SETTLE_MS);
    cr_assert(asking->agrees);
    pvt_nodes_release(&net);
}

/* Now and then the right root: that is no gain either. */
Test(digest, changing_roots_are_answered_a_few_times_only)
{
    enum { PAIRS = 200 };
    uint8_t root[PV_HASH_LEN], other[PV_HASH_LEN] = {1};
    two_connected();
    memcpy(root, digest_at(1)->theirs, sizeof root);
    uint64_t before = net.messages;
    for (unsigned i = 0; i < PAIRS; i++) {
        inject_root(other);
        pvt_settle(&net);
        inject_root(root);
        pvt_settle(&net);
    }
    cr_assert_leq(net.messages - before, 4 * PAIRS + 4 * PV_DIGEST_BUCKETS_MAX, "%u",
                  (unsigned)(net.messages - before));
    pvt_advance(&net, 2 * (uint64_t)PV_SYNC_INTERVAL_MS);
    cr_assert(pvt_all_agree(&net));
    pvt_nodes_release(&net);
}

/* A root that looks like the answer to another leaves one side in doubt: it asks again, soon. */
Test(digest, doubt_ends_without_waiting_for_the_hour)
{
    uint8_t root[PV_HASH_LEN] = {1};
    two_connected();
    for (unsigned i = 0; i < 2 * PV_DIGEST_BUCKETS_MAX; i++) {
        inject_root(root);
        pvt_settle(&net);
    }
    cr_assert_not(pvt_all_agree(&net));
    pvt_advance(&net, 180000);
    cr_assert(pvt_all_agree(&net));
    uint64_t before = net.messages;
    pvt_advance(&net, PV_SYNC_INTERVAL_MS / 2);
    cr_assert_leq(net.messages - before, 4, "no more than a word of those who agree");
    pvt_nodes_release(&net);
}

Test(digest, false_buckets_cost_no_more_than_their_lists)
{
    static struct pv_bucket buckets[PV_MSG_BUCKETS_MAX];
    two_connected();
    for (unsigned i = 0; i < PV_MSG_BUCKETS_MAX; i++)
        buckets[i].count = i + 1;
    for (unsigned round = 0; round < 4; round++) {
        struct pv_wr w = pv_wr_of(message, sizeof message);
        pv_msg_put_digest_buckets(&w, round % 2 == 0 ? 0 : 2048, buckets, PV_MSG_BUCKETS_MAX);
        cr_assert_eq(pv_wr_end(&w), PV_OK);
        pvt_inject(&net, 0, 1, message, pv_wr_len(&w));
    }
    uint64_t before = net.messages;
    expect(true);
    /* Node 0 knows of no round: it answers nothing, so only a window of lists is sent. */
    cr_assert_leq(net.messages - before, 4 + PV_DIGEST_WINDOW + 4 + 4096);
    pvt_advance(&net, 3 * (uint64_t)PV_SYNC_INTERVAL_MS);
    cr_assert(pvt_all_agree(&net), "the round was given up");
    pvt_nodes_release(&net);
}

Test(digest, malformed_messages_end_the_session)
{
    static const uint8_t kinds[] = {0, 4, 255, PV_DIGEST_ROOT, PV_DIGEST_BUCKET_LIST};
    pvt_nodes_init(&net, 2);
    for (size_t i = 0; i < sizeof kinds; i++) {
        uint8_t bytes[] = {PV_MSG_DIGEST, kinds[i], 0x0f, 0xff, 0xff, 0xff};
        (void)pvt_connect(&net, 0, 1);
        pvt_settle(&net);
        net.nodes[1].last_goodbye = 0;
        pvt_inject(&net, 0, 1, bytes, sizeof bytes);
        expect(false);
    }
    pvt_nodes_release(&net);
}

/* As if node 0 had other records in the first eight buckets than node 1. */
static void inject_eight_that_differ(void)
{
    static struct pv_store_bucket ours[PV_STORE_BUCKETS];
    static struct pv_bucket buckets[PV_MSG_BUCKETS_MAX];
    pv_store_digest(net.nodes[1].store, ours);
    for (unsigned i = 0; i < PV_MSG_BUCKETS_MAX; i++) {
        buckets[i].count = ours[i].count + (i < PV_DIGEST_WINDOW);
        memcpy(buckets[i].sum, ours[i].sum, sizeof buckets[i].sum);
    }
    struct pv_wr w = pv_wr_of(message, sizeof message);
    pv_msg_put_digest_buckets(&w, 0, buckets, PV_MSG_BUCKETS_MAX);
    pvt_inject(&net, 0, 1, message, pv_wr_len(&w));
    expect(true);
}

/* Roots may agree while lists are under way, and those that come after that are not answered. */
Test(digest, lists_that_were_never_answered_are_sent_again)
{
    two_connected();
    digest_at(0)->answers_left = 0;
    inject_eight_that_differ();
    cr_assert_eq(digest_at(1)->listed.count, PV_DIGEST_WINDOW);
    size_t pos = 0;
    pv_digest_settle(pv_node_next_peer(net.nodes[0].node, &pos));
    pvt_advance(&net, PV_SYNC_SETTLE_MS);
    cr_assert_not(digest_at(1)->in_round);
    pvt_advance(&net, PV_DIGEST_ANSWER_MS);
    digest_at(0)->answers_left = PV_DIGEST_WINDOW;
    inject_eight_that_differ();
    cr_assert_eq(digest_at(0)->answers_left, 0, "all eight were sent");
    cr_assert_eq(digest_at(1)->listed.count, 0, "and answered");
    pvt_nodes_release(&net);
}
