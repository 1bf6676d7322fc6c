/* The frame: messages before admission, drops, closing, the clock of records. */
#include "internal/node/digest.h"
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct pvt_nodes net;

TestSuite(node, .timeout = 120);

static struct pvt_node *node_of(unsigned i)
{
    return &net.nodes[i];
}

static size_t record_message(uint8_t *buf, const struct pvt_record *rec)
{
    struct pv_wr w = pv_wr_of(buf, PV_FRAME_PLAIN_MAX);
    pv_msg_begin_records(&w);
    pv_msg_add_record(&w, rec->env, rec->len);
    cr_assert_eq(pv_wr_end(&w), PV_OK);
    return pv_wr_len(&w);
}

Test(node, early_messages_are_kept_in_order)
{
    static uint8_t buf[PV_FRAME_PLAIN_MAX];
    struct pvt_record rec;
    pvt_nodes_init(&net, 2);
    pv_link link = pvt_connect(&net, 0, 1);
    pvt_seal_file(&rec, &net.nodes[0], "early", pvt_hlc(&net.nodes[0]));
    size_t len = record_message(buf, &rec);
    pv_node_peer_message(net.nodes[1].node, link, buf[0], buf + 1, len - 1);
    cr_assert_not(pvt_has_record(&net.nodes[1], &rec));
    pvt_settle(&net);
    cr_assert(pvt_has_record(&net.nodes[1], &rec));
    pvt_nodes_release(&net);
}

Test(node, early_messages_to_the_limit_and_one_byte_past_it)
{
    static uint8_t body[PV_FRAME_PLAIN_MAX - 1];
    for (unsigned over = 0; over < 2; over++) {
        pvt_nodes_init(&net, 2);
        pv_link link = pvt_connect(&net, 0, 1);
        const struct pv_peer *p = pv_node_peer(net.nodes[1].node, link);
        for (unsigned i = 0; i < 3; i++)
            pv_node_peer_message(net.nodes[1].node, link, PV_MSG_RECORD, body, sizeof body);
        size_t room = PV_EARLY_BYTES_MAX - p->early_bytes;
        cr_assert_lt(room, sizeof body);
        pv_node_peer_message(net.nodes[1].node, link, PV_MSG_RECORD, body, room + over);
        cr_assert_eq(net.nodes[1].drops, over);
        if (over == 1)
            cr_assert_eq(net.nodes[1].last_goodbye, PV_BYE_LIMIT);
        pvt_settle(&net);
        pvt_nodes_release(&net);
    }
}

Test(node, stream_data_before_admission_is_an_offence)
{
    uint8_t byte = 0;
    pvt_nodes_init(&net, 2);
    pv_link link = pvt_connect(&net, 0, 1);
    pv_node_peer_data(net.nodes[1].node, link, 1, 0, &byte, 1);
    cr_assert_eq(net.nodes[1].last_goodbye, PV_BYE_PROTOCOL);
    pvt_settle(&net);
    cr_assert_not(pvt_connected(&net, 0, 1));
    pvt_nodes_release(&net);
}

Test(node, unknown_and_malformed_messages_end_the_session)
{
    static const uint8_t types[] = {0,  PV_MSG_HELLO, PV_MSG_PING,   4,           15, 18,
                                    99, PV_MSG_LOST,  PV_MSG_STORED, PV_MSG_ERROR};
    pvt_nodes_init(&net, 2);
    for (size_t i = 0; i < sizeof types; i++) {
        uint8_t payload[2] = {types[i], 0xff};
        (void)pvt_connect(&net, 0, 1);
        pvt_settle(&net);
        pvt_forgive(&net, 1);
        net.nodes[1].last_goodbye = 0;
        pvt_inject(&net, 0, 1, payload, sizeof payload);
        pvt_settle(&net);
        cr_assert_eq(net.nodes[1].last_goodbye, PV_BYE_PROTOCOL, "type %u", types[i]);
        cr_assert_not(pvt_connected(&net, 0, 1));
    }
    pvt_nodes_release(&net);
}

/* ---- strikes and bans ---- */

static void fault(unsigned from, unsigned to)
{
    static const uint8_t unknown[] = {99, 0};
    (void)pvt_connect(&net, from, to);
    pvt_settle(&net);
    pvt_inject(&net, from, to, unknown, sizeof unknown);
    pvt_settle(&net);
    cr_assert_not(pvt_connected(&net, from, to));
}

Test(node, the_third_fault_is_a_ban_told_in_a_session)
{
    struct pv_node_ban ban;
    size_t pos = 0;
    pvt_nodes_init(&net, 3);
    const struct pv_id bad = net.nodes[0].identity.node_id;
    fault(0, 1);
    fault(0, 1);
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    cr_assert(pvt_connected(&net, 0, 1), "two are forgiven");
    pv_node_peer_fault(net.nodes[1].node, net.links[net.link_count - 1].number);
    pvt_settle(&net);
    cr_assert_eq(net.nodes[1].last_goodbye, PV_BYE_BANNED, "the third, found by the session");
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    cr_assert_not(pvt_connected(&net, 0, 1));
    cr_assert_eq(net.nodes[1].last_goodbye, PV_BYE_BANNED);
    cr_assert(pv_node_next_ban(net.nodes[1].node, &pos, &ban));
    cr_assert(pv_id_equal(&ban.node_id, &bad));
    cr_assert_eq(ban.left_ms, PV_BAN_MS_MIN);
    cr_assert_not(pv_node_next_ban(net.nodes[1].node, &pos, &ban));
    cr_assert_neq(pv_node_banned_until_ms(net.nodes[1].node, &bad), 0);
    (void)pvt_connect(&net, 2, 1);
    (void)pvt_connect(&net, 0, 2);
    pvt_settle(&net);
    cr_assert(pvt_connected(&net, 2, 1) && pvt_connected(&net, 0, 2), "it is ours alone");
    pvt_advance(&net, PV_BAN_MS_MIN);
    cr_assert_eq(pv_node_banned_until_ms(net.nodes[1].node, &bad), 0);
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    cr_assert(pvt_connected(&net, 0, 1));
    pvt_nodes_release(&net);
}

static enum pv_err closed_send(void *ctx, pv_link link, const uint8_t *payload, size_t len)
{
    (void)ctx, (void)link, (void)payload, (void)len;
    return PV_E_CLOSED;
}

Test(node, a_fault_counts_although_sending_failed_before_it_was_told)
{
    uint8_t request[1 + 4 + 2 + PV_ID_LEN] = {PV_MSG_GET, 0, 0, 0, 1, 0, 1};
    pvt_nodes_init(&net, 2);
    struct pv_node *n = net.nodes[1].node;
    fault(0, 1);
    fault(0, 1);
    pv_link link = pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    enum pv_err (*send)(void *, pv_link, const uint8_t *, size_t) = n->config.io.send;
    n->config.io.send = closed_send; /* as a session that has ended and not been heard yet */
    pv_node_peer_message(n, link, request[0], request + 1, sizeof request - 1);
    pvt_settle(&net);
    n->config.io.send = send;
    pv_node_peer_fault(n, link);
    pvt_settle(&net);
    cr_assert_neq(pv_node_banned_until_ms(n, &net.nodes[0].identity.node_id), 0);
    pvt_nodes_release(&net);
}

Test(node, a_ban_ends_all_sessions_of_the_identity_and_a_restart_the_ban)
{
    pvt_nodes_init(&net, 2);
    fault(0, 1);
    fault(0, 1);
    pv_link first = pvt_connect(&net, 0, 1);
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    pv_node_peer_data(net.nodes[1].node, first, 1, 0, (const uint8_t *)"x", 1);
    pvt_settle(&net);
    cr_assert_not(pvt_connected(&net, 0, 1));
    pvt_node_stop(&net.nodes[1]);
    pvt_node_start(&net.nodes[1]);
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    cr_assert(pvt_connected(&net, 0, 1));
    pvt_nodes_release(&net);
}

Test(node, a_peer_is_not_read_while_so_much_of_it_is_at_work)
{
    size_t pos = 0;
    pvt_nodes_init(&net, 2);
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    struct pv_peer *p = pv_node_next_peer(net.nodes[1].node, &pos);
    for (unsigned i = 0; i < PV_SYNC_JOBS_MAX + 1; i++) {
        cr_assert_eq(p->pause_count, i >= PV_SYNC_JOBS_MAX);
        pv_sync_job_began(p);
    }
    pv_sync_job_ended(p);
    cr_assert_eq(p->pause_count, 1);
    pv_sync_job_ended(p);
    cr_assert_eq(p->pause_count, 0);
    for (unsigned i = 1; i < PV_SYNC_JOBS_MAX; i++)
        pv_sync_job_ended(p);
    pvt_nodes_release(&net);
}

/* ---- how fast a peer may talk that is not keyed ---- */

/* Node 0 as node 1 sees it, connected. */
static struct pv_peer *guest(bool keyed)
{
    size_t pos = 0;
    pvt_nodes_init(&net, 2);
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    struct pv_peer *p = pv_node_next_peer(net.nodes[1].node, &pos);
    cr_assert_not_null(p);
    p->info.keyed = keyed;
    pv_quota_begin(p);
    return p;
}

static void talk(unsigned count)
{
    static const uint8_t error[] = {PV_MSG_ERROR, 0, 9, 0};
    pv_link link = net.links[net.link_count - 1].number;
    for (unsigned i = 0; i < count; i++)
        pv_node_peer_message(net.nodes[1].node, link, error[0], error + 1, sizeof error - 1);
}

Test(node, a_guest_is_not_read_when_it_talks_too_fast)
{
    const struct pv_peer *p = guest(false);
    talk(PV_GUEST_MESSAGES_BURST - 1);
    cr_assert_eq(p->pause_count, 0);
    talk(1);
    cr_assert_eq(p->pause_count, 1, "the last one it has");
    talk(1); /* had been read already */
    cr_assert_eq(p->pause_count, 1);
    pvt_advance(&net, 2 * 1000 / PV_GUEST_MESSAGES_PER_S - 1);
    cr_assert_eq(p->pause_count, 1);
    pvt_advance(&net, 1);
    cr_assert_eq(p->pause_count, 0);
    cr_assert(pvt_connected(&net, 0, 1), "it is no fault");
    pvt_nodes_release(&net);
}

Test(node, records_of_a_guest_count_for_themselves)
{
    struct pv_peer *p = guest(false);
    for (unsigned i = 0; i < PV_GUEST_RECORDS_BURST - 1; i++)
        pv_quota_record(p);
    talk(1);
    cr_assert_eq(p->pause_count, 0);
    pv_quota_record(p);
    talk(1);
    cr_assert_eq(p->pause_count, 1);
    pvt_advance(&net, 1000 / PV_GUEST_RECORDS_PER_S);
    cr_assert_eq(p->pause_count, 0);
    pvt_nodes_release(&net);
}

Test(node, a_keyed_member_may_talk_as_fast_as_it_can)
{
    struct pv_peer *p = guest(true);
    talk(5 * PV_GUEST_MESSAGES_BURST);
    for (unsigned i = 0; i < 5 * PV_GUEST_RECORDS_BURST; i++)
        pv_quota_record(p);
    talk(1);
    cr_assert_eq(p->pause_count, 0);
    pvt_nodes_release(&net);
}

Test(node, closing_with_everything_under_way)
{
    struct pvt_record rec;
    char text[32];
    pvt_nodes_init(&net, 2);
    for (unsigned steps = 0; steps < 100; steps++) {
        (void)snprintf(text, sizeof text, "file %u", steps);
        pvt_seal_file(&rec, &net.nodes[0], text, pvt_hlc(&net.nodes[0]));
        pvt_put(&net.nodes[0], &rec, true);
        pv_publish_file(net.nodes[0].node, &rec.rid, &rec.hash, NULL);
        (void)pvt_connect(&net, 0, 1);
        (void)pvt_steps(&net, steps);
        pvt_node_stop(&net.nodes[steps % 2]); /* asserts that closed ran */
        pvt_settle(&net);
        pvt_node_start(&net.nodes[steps % 2]);
    }
    pvt_connect_all(&net);
    pvt_advance(&net, 20000);
    cr_assert(pvt_all_agree(&net));
    pvt_nodes_release(&net);
}

/* The k-th allocation fails, wherever that is: a session may be lost, nothing else. */
Test(node, out_of_memory_anywhere)
{
    struct pvt_record file, name;
    char text[32];
    pvt_nodes_init(&net, 2);
    for (unsigned k = 0; k < 400; k++) {
        (void)snprintf(text, sizeof text, "file %u", k);
        pvt_seal_file(&file, node_of(k % 2), text, pvt_hlc(node_of(k % 2)));
        pvt_seal_name(&name, node_of(k % 2), text, &file.rid, pvt_hlc(node_of(k % 2)));
        pvt_put(node_of(k % 2), &file, true);
        pvt_put(node_of(k % 2), &name, true);
        pv_mem_fail_after(k);
        pv_publish_file(node_of(k % 2)->node, &file.rid, &file.hash, &name.rid);
        pvt_connect_all(&net);
        pvt_settle(&net);
        pv_mem_fail_after(UINT64_MAX);
        if (k % 4 == 3) {
            pvt_cut(&net, 0, 1);
            pvt_settle(&net);
        }
    }
    pvt_connect_all(&net);
    pvt_advance(&net, PV_SYNC_INTERVAL_MS + 60000);
    for (unsigned i = 0; i < 2; i++) { /* what memory forgot the next run finds */
        pvt_node_stop(node_of(i));
        pvt_settle(&net);
        pvt_node_start(node_of(i));
    }
    pvt_connect_all(&net);
    pvt_advance(&net, 60000);
    struct pv_store_counts counts;
    cr_assert_eq(pv_store_counts(node_of(0)->store, &counts), PV_OK);
    cr_assert_eq(counts.pending, 0);
    cr_assert(pvt_all_agree(&net));
    pvt_nodes_release(&net);
}

Test(node, info_for_status)
{
    struct pv_node_peer_info info[2];
    pvt_nodes_init(&net, 2);
    cr_assert_eq(pv_node_peers(net.nodes[0].node, info, 2), 0);
    pv_link link = pvt_connect(&net, 0, 1);
    cr_assert_eq(pv_node_peers(net.nodes[0].node, info, 2), 0, "not admitted yet");
    pvt_advance(&net, 10000);
    cr_assert_eq(pv_node_peers(net.nodes[0].node, info, 2), 1);
    cr_assert_eq(info[0].link, link);
    cr_assert(pv_id_equal(&info[0].node_id, &net.nodes[1].identity.node_id));
    cr_assert_str_eq(info[0].address, "test:1");
    cr_assert(info[0].keyed && info[0].dialled && info[0].in_sync);
    cr_assert_eq(info[0].rtt_ms, UINT64_MAX);
    pv_node_peer_pong(net.nodes[0].node, link, 12);
    cr_assert_eq(pv_node_peers(net.nodes[0].node, info, 1), 1);
    cr_assert_eq(info[0].rtt_ms, 12);
    cr_assert_eq(pv_node_peers(net.nodes[0].node, info, 0), 0);
    pvt_nodes_release(&net);
}

Test(node, next_hlc)
{
    pv_hlc a, b;
    pvt_nodes_init(&net, 1);
    struct pvt_node *n = &net.nodes[0];
    cr_assert_eq(pv_node_next_hlc(n->node, &a), PV_OK);
    cr_assert_eq(pv_node_next_hlc(n->node, &b), PV_OK);
    cr_assert_gt(b, a);
    n->node->hlc = (n->env.wall_ms + 120000) << 16;
    cr_assert_eq(pv_node_next_hlc(n->node, &a), PV_OK);
    n->node->hlc = (n->env.wall_ms + 120001) << 16;
    cr_assert_eq(pv_node_next_hlc(n->node, &a), PV_E_UNAVAILABLE);
    n->node->hlc = 0;
    n->env.wall_ms = PV_EPOCH_FIRST_S * 1000;
    cr_assert_eq(pv_node_next_hlc(n->node, &a), PV_OK);
    n->env.wall_ms--;
    cr_assert_eq(pv_node_next_hlc(n->node, &a), PV_E_UNAVAILABLE);
    pvt_nodes_release(&net);
}
