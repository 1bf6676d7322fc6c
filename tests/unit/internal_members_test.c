/* Members: who is admitted, who is refused, what is remembered of a peer's store. */
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>

static struct pvt_nodes net;

TestSuite(members, .timeout = 120);

static struct pv_node *core(unsigned i)
{
    return net.nodes[i].node;
}

static const struct pv_id *id_of(unsigned i)
{
    return &net.nodes[i].identity.node_id;
}

static struct pv_blob_info blob_of(unsigned i, const struct pv_entry *e)
{
    struct pv_blob_info info;
    cr_assert_eq(pv_store_blob(net.nodes[i].store, &e->id, &info), PV_OK);
    return info;
}

/* What a command does: commits a member record of its own and makes it known. */
static void decree(unsigned by, const struct pvt_record *rec)
{
    pvt_put(&net.nodes[by], rec, false);
    pv_members_changed(core(by), rec->env, rec->len);
    pv_publish_now(core(by), rec->env, rec->len);
}

static void fake_member(struct pvt_node *fake, unsigned number)
{
    memset(fake, 0, sizeof *fake);
    memcpy(fake->identity.seed, &number, sizeof number);
    pv_ed25519_public(fake->identity.pub, fake->identity.seed);
    pv_node_id_of(&fake->identity.node_id, fake->identity.pub);
}

Test(members, two_nodes_admit_each_other)
{
    pvt_nodes_init(&net, 2);
    cr_assert_eq(pv_members_active(core(0)), 1);
    cr_assert_eq(pv_members_unheard(core(0)), 0);
    pvt_connect_all(&net);
    pvt_settle(&net);
    cr_assert(pvt_connected(&net, 0, 1));
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(pv_members_active(core(i)), 2);
        const struct pv_member *m = pv_members_find(core(i), id_of(1 - i));
        cr_assert_not_null(m);
        cr_assert_eq(m->body.generation, 0);
        cr_assert_neq(m->link, 0);
        cr_assert(pv_members_may_write(core(i), net.nodes[1 - i].identity.pub));
    }
    pvt_advance(&net, 10000);
    cr_assert(pvt_all_agree(&net), "%s", net.log.text);
    pvt_cut(&net, 0, 1);
    pvt_settle(&net);
    cr_assert_eq(pv_members_find(core(0), id_of(1))->link, 0);
    cr_assert_eq(pv_members_unheard(core(0)), 1);
    pvt_nodes_release(&net);
}

Test(members, are_known_after_a_restart)
{
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
    pvt_node_stop(&net.nodes[0]);
    pvt_node_start(&net.nodes[0]);
    cr_assert_eq(pv_members_active(core(0)), 2);
    cr_assert_not_null(pv_members_find(core(0), id_of(1)));
    pvt_nodes_release(&net);
}

Test(members, other_cluster_key_is_refused_and_named)
{
    static const uint8_t keys[] = {0, 1};
    pvt_nodes_init_keys(&net, 2, keys);
    pvt_connect_all(&net);
    pvt_settle(&net);
    cr_assert_not(pvt_connected(&net, 0, 1));
    cr_assert_eq(net.nodes[0].last_goodbye, PV_BYE_CLUSTER_KEY);
    cr_assert(pvt_log_has(&net.log, "other cluster key"));
    cr_assert_eq(pv_members_active(core(0)), 1);
    cr_assert_eq(pv_members_active(core(1)), 1);
    pvt_nodes_release(&net);
}

Test(members, expelled_member_is_refused_everywhere)
{
    struct pvt_record rec;
    pvt_nodes_init(&net, 3);
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
    cr_assert_eq(pv_members_active(core(0)), 3);

    pvt_seal_member(&rec, &net.nodes[0], &net.nodes[2], 1, true, pvt_hlc(&net.nodes[0]));
    decree(0, &rec);
    pvt_advance(&net, 10000);
    cr_assert_not(pvt_connected(&net, 0, 2));
    cr_assert_not(pvt_connected(&net, 1, 2));
    cr_assert_eq(net.nodes[1].last_goodbye, PV_BYE_MEMBERSHIP);
    cr_assert_eq(pv_members_active(core(1)), 2);
    cr_assert_not(pv_members_may_write(core(1), net.nodes[2].identity.pub));

    (void)pvt_connect(&net, 2, 1);
    pvt_settle(&net);
    cr_assert_not(pvt_connected(&net, 1, 2));
    pvt_nodes_release(&net);
}

Test(members, admitted_again_by_a_higher_generation)
{
    struct pvt_record out, in;
    pvt_nodes_init(&net, 2);
    pvt_seal_member(&out, &net.nodes[0], &net.nodes[1], 1, true, pvt_hlc(&net.nodes[0]));
    pvt_seal_member(&in, &net.nodes[0], &net.nodes[1], 2, false, pvt_hlc(&net.nodes[0]));
    decree(0, &in);
    decree(0, &out); /* reported late: it does not win */
    cr_assert_eq(pv_members_active(core(0)), 2);
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    cr_assert(pvt_connected(&net, 0, 1));
    cr_assert_eq(pv_members_find(core(0), id_of(1))->body.generation, 2);
    pvt_nodes_release(&net);
}

Test(members, expulsion_while_being_recognised)
{
    struct pvt_record rec;
    pvt_nodes_init(&net, 2);
    (void)pvt_connect(&net, 0, 1);
    pvt_seal_member(&rec, &net.nodes[0], &net.nodes[1], 1, true, pvt_hlc(&net.nodes[0]));
    decree(0, &rec);
    pvt_settle(&net);
    cr_assert_not(pvt_connected(&net, 0, 1));
    cr_assert_eq(net.nodes[0].last_goodbye, PV_BYE_MEMBERSHIP);
    pvt_nodes_release(&net);
}

/* 0 and 1 met, then 1 is away: 2 learns of 1 from 0, and takes what 1 had written. */
Test(members, newcomer_learns_absent_members)
{
    struct pvt_record rec;
    pvt_nodes_init(&net, 3);
    pvt_seal_file(&rec, &net.nodes[1], "written by the absent one", pvt_hlc(&net.nodes[1]));
    pvt_put(&net.nodes[1], &rec, false);
    (void)pvt_connect(&net, 0, 1);
    pvt_advance(&net, 10000);
    pvt_cut(&net, 0, 1);
    pvt_settle(&net);
    (void)pvt_connect(&net, 2, 0);
    pvt_settle(&net);
    cr_assert_not_null(pv_members_find(core(2), id_of(1)));
    cr_assert(pvt_has_record(&net.nodes[2], &rec), "%s", net.log.text);
    pvt_nodes_release(&net);
}

/* What an expelled member wrote before is part of the set: a newcomer must be able to agree. */
Test(members, newcomer_takes_what_an_expelled_member_wrote)
{
    struct pvt_record file, out;
    pvt_nodes_init(&net, 3);
    pvt_seal_file(&file, &net.nodes[1], "before", pvt_hlc(&net.nodes[1]));
    pvt_put(&net.nodes[1], &file, false);
    (void)pvt_connect(&net, 0, 1);
    pvt_advance(&net, 10000);
    pvt_seal_member(&out, &net.nodes[0], &net.nodes[1], 1, true, pvt_hlc(&net.nodes[0]));
    decree(0, &out);
    pvt_settle(&net);
    (void)pvt_connect(&net, 2, 0);
    pvt_advance(&net, 10000);
    cr_assert(pvt_has_record(&net.nodes[2], &file));
    cr_assert(pvt_same_digest(&net.nodes[0], &net.nodes[2]));
    cr_assert_eq(pv_members_unheard(core(2)), 0);
    pvt_nodes_release(&net);
}

Test(members, number_of_active_ones_is_limited)
{
    struct pvt_node fake;
    struct pvt_record rec;
    pvt_nodes_init(&net, 3);
    for (unsigned i = 0; i < PV_MEMBERS_MAX - 2; i++) {
        fake_member(&fake, i + 1);
        pvt_seal_member(&rec, &net.nodes[0], &fake, 0, false, pvt_hlc(&net.nodes[0]));
        decree(0, &rec);
    }
    cr_assert_eq(pv_members_active(core(0)), PV_MEMBERS_MAX - 1);
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    cr_assert(pvt_connected(&net, 0, 1));
    cr_assert_eq(pv_members_active(core(0)), PV_MEMBERS_MAX);
    (void)pvt_connect(&net, 0, 2);
    pvt_settle(&net);
    cr_assert_not(pvt_connected(&net, 0, 2));
    cr_assert_eq(net.nodes[0].last_goodbye, PV_BYE_LIMIT);
    pvt_nodes_release(&net);
}

static size_t known(unsigned at)
{
    const struct pv_member *list[PV_MEMBERS_KNOWN_MAX + 1];
    return pv_members_list(core(at), list, PV_COUNT(list));
}

/* Expelled ones count, too: they must stay known. */
Test(members, number_of_known_ones_is_limited)
{
    static uint8_t buf[PV_FRAME_PLAIN_MAX];
    struct pvt_node fake;
    struct pvt_record rec;
    pvt_nodes_init(&net, 2);
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    for (unsigned i = 0; known(0) < PV_MEMBERS_KNOWN_MAX || i < PV_MEMBERS_KNOWN_MAX; i++) {
        size_t before = known(0);
        fake_member(&fake, i + 1);
        pvt_seal_member(&rec, &net.nodes[1], &fake, 1, true, pvt_hlc(&net.nodes[1]));
        struct pv_wr w = pv_wr_of(buf, sizeof buf);
        pv_msg_begin_records(&w);
        pv_msg_add_record(&w, rec.env, rec.len);
        pvt_inject(&net, 1, 0, buf, pv_wr_len(&w));
        pvt_settle(&net);
        bool room = before < PV_MEMBERS_KNOWN_MAX;
        cr_assert_eq(known(0), before + room);
        cr_assert_eq(pvt_has_record(&net.nodes[0], &rec), room, "%u", i);
    }
    cr_assert(pvt_connected(&net, 0, 1), "it is no fault");
    pvt_nodes_release(&net);
}

static void give_blob_to_peer(struct pv_entry *e)
{
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_settle(&net);
    pvt_put_blob(&net.nodes[0], "some bytes that both of them hold", e);
    pv_push_kick(core(0));
    pvt_advance(&net, 30000);
    cr_assert_neq(blob_of(0, e).held, 0);
    pvt_cut(&net, 0, 1);
    pvt_settle(&net);
}

/* Recognised, but not yet admitted: nothing was offered again. */
static void connect_until_recognised(void)
{
    (void)pvt_connect(&net, 0, 1);
    while (pv_members_find(core(0), id_of(1))->link == 0 && pvt_step(&net)) {
    }
    cr_assert_neq(pv_members_find(core(0), id_of(1))->link, 0);
}

Test(members, held_bits_stay_when_the_store_goes_on)
{
    struct pv_entry e;
    give_blob_to_peer(&e);
    connect_until_recognised(); /* the same run */
    cr_assert_neq(blob_of(0, &e).held, 0);
    pvt_node_stop(&net.nodes[1]);
    pvt_settle(&net);
    pvt_node_start(&net.nodes[1]);
    connect_until_recognised(); /* a later one */
    cr_assert_neq(blob_of(0, &e).held, 0);
    cr_assert_not(pvt_log_has(&net.log, "another store"));
    pvt_nodes_release(&net);
}

Test(members, held_bits_go_when_the_store_was_lost)
{
    struct pv_entry e;
    give_blob_to_peer(&e);
    pvt_node_stop(&net.nodes[1]);
    pvt_node_lose_store(&net.nodes[1]);
    pvt_node_start(&net.nodes[1]);
    connect_until_recognised();
    cr_assert_eq(blob_of(0, &e).held, 0);
    cr_assert(pvt_log_has(&net.log, "another store"));
    pvt_advance(&net, 30000);
    cr_assert_neq(blob_of(0, &e).held, 0, "given again");
    cr_assert(pvt_all_agree(&net));
    pvt_nodes_release(&net);
}

/* A copy of an old vault counts its openings up to where the lost one had been. */
Test(members, held_bits_go_when_the_store_was_restored)
{
    struct pv_entry e;
    give_blob_to_peer(&e);
    net.nodes[1].boot_random[0] ^= 1;
    connect_until_recognised();
    cr_assert_eq(blob_of(0, &e).held, 0);
    pvt_nodes_release(&net);
}

Test(members, held_bits_go_when_the_peer_says_lost)
{
    struct pv_entry e;
    uint8_t buf[256];
    give_blob_to_peer(&e);
    pvt_connect_all(&net);
    pvt_settle(&net);
    struct pv_wr w = pv_wr_of(buf, sizeof buf);
    pv_msg_put_ids(&w, PV_MSG_LOST, 0, &e.id, 1);
    cr_assert_eq(pv_wr_end(&w), PV_OK);
    pvt_inject(&net, 1, 0, buf, pv_wr_len(&w));
    while (blob_of(0, &e).held != 0 && pvt_step(&net)) {
    }
    cr_assert_eq(blob_of(0, &e).held, 0);
    pvt_advance(&net, 1000);
    cr_expect_neq(blob_of(0, &e).held, 0, "offered again at once, and answered");
    pvt_nodes_release(&net);
}

Test(members, lost_again_and_again_waits_for_the_disk)
{
    struct pv_entry e;
    uint8_t buf[256];
    give_blob_to_peer(&e);
    pvt_connect_all(&net);
    pvt_settle(&net);
    struct pv_wr w = pv_wr_of(buf, sizeof buf);
    pv_msg_put_ids(&w, PV_MSG_LOST, 0, &e.id, 1);
    for (unsigned i = 0; i < 1000; i++)
        pvt_inject(&net, 1, 0, buf, pv_wr_len(&w));
    uint64_t most = 0;
    while (pvt_step(&net))
        most = core(0)->jobs_running > most ? core(0)->jobs_running : most;
    cr_expect_leq(most, PV_SYNC_JOBS_MAX + 8);
    pvt_advance(&net, 1000);
    cr_expect_neq(blob_of(0, &e).held, 0);
    pvt_nodes_release(&net);
}

Test(members, link_of_the_session_that_is_left)
{
    pvt_nodes_init(&net, 2);
    pv_link older = pvt_connect(&net, 0, 1), newer = pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    pv_node_peer_down(core(0), newer);
    cr_assert_eq(pv_members_find(core(0), id_of(1))->link, older);
    pv_node_peer_down(core(0), older);
    cr_assert_eq(pv_members_find(core(0), id_of(1))->link, 0);
    pvt_cut(&net, 0, 1);
    pvt_settle(&net);
    pvt_nodes_release(&net);
}

Test(members, slots_stay)
{
    unsigned before, after, own;
    pvt_nodes_init(&net, 3);
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    cr_assert(pv_members_slot(core(0), id_of(1), &before));
    cr_assert(pv_members_slot(core(0), id_of(0), &own));
    cr_assert_neq(own, before);
    cr_assert_not(pv_members_slot(core(0), id_of(2), &after));
    (void)pvt_connect(&net, 0, 2);
    pvt_settle(&net);
    cr_assert(pv_members_slot(core(0), id_of(1), &after));
    cr_assert_eq(before, after);
    pvt_nodes_release(&net);
}
