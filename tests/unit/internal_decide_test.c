/* What an operator decides about other nodes: the table of it, and what the cores do with it. */
#include "internal/node/decide.h"
#include "internal/node/places.h"
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>

static struct pvt_nodes net;
static struct pv_policy policy, other;

TestSuite(policy, .timeout = 120);
TestSuite(decide, .timeout = 120);

static struct pv_policy_entry entry_of(unsigned number, enum pv_policy_kind kind, uint64_t until_s)
{
    struct pv_policy_entry e = {.kind = (uint8_t)kind, .weight = 1, .until_s = until_s};
    e.node_id.b[0] = (uint8_t)number;
    e.node_id.b[1] = (uint8_t)(number >> 8);
    return e;
}

Test(policy, survives_as_bytes)
{
    struct pv_policy_entry a = entry_of(1, PV_POLICY_ALLOW, 0), b = entry_of(2, PV_POLICY_BLOCK, 9);
    struct pv_buf bytes;
    a.role = PV_ROLE_BLIND;
    a.weight = 16;
    memset(a.zone, 'z', sizeof a.zone - 1);
    memset(b.reason, 'r', PV_POLICY_REASON_MAX);
    cr_assert_eq(pv_policy_put(&policy, &a, 1), PV_OK);
    cr_assert_eq(pv_policy_put(&policy, &b, 1), PV_OK);
    pv_buf_init(&bytes, PV_POLICY_LEN_MAX);
    cr_assert_eq(pv_policy_encode(&bytes, &policy), PV_OK);
    cr_assert_eq(pv_policy_decode(&other, bytes.data, bytes.len), PV_OK);
    cr_assert_eq(other.count, 2);
    cr_assert_str_eq(pv_policy_find(&other, &a.node_id, 1)->zone, a.zone);
    cr_assert_eq(pv_policy_find(&other, &a.node_id, 1)->role, PV_ROLE_BLIND);
    cr_assert_str_eq(pv_policy_find(&other, &b.node_id, 8)->reason, b.reason);
    cr_assert(pv_policy_blocks(&other, &b.node_id, 8));
    cr_assert_not(pv_policy_blocks(&other, &b.node_id, 9));
    for (size_t len = 0; len < bytes.len; len++) {
        cr_assert_eq(pv_policy_decode(&other, bytes.data, len), PV_E_CORRUPT, "%zu", len);
        cr_assert_eq(other.count, 0);
    }
    pv_buf_release(&bytes);
}

Test(policy, has_room_for_so_many_and_forgets_what_is_over)
{
    for (unsigned i = 0; i < PV_POLICY_MAX; i++) {
        struct pv_policy_entry e = entry_of(i, PV_POLICY_BLOCK, i == 7 ? 100 : 0);
        cr_assert_eq(pv_policy_put(&policy, &e, 50), PV_OK);
    }
    struct pv_policy_entry more = entry_of(9999, PV_POLICY_BLOCK, 0),
                           again = entry_of(3, PV_POLICY_ALLOW, 0);
    cr_assert_eq(pv_policy_put(&policy, &more, 99), PV_E_LIMIT);
    cr_assert_eq(pv_policy_put(&policy, &again, 99), PV_OK);
    cr_assert_eq(pv_policy_put(&policy, &more, 100), PV_OK);
    cr_assert_eq(policy.count, PV_POLICY_MAX);
    cr_assert_not(pv_policy_blocks(&policy, &again.node_id, 100));
    struct pv_buf bytes;
    pv_buf_init(&bytes, PV_POLICY_LEN_MAX);
    cr_assert_eq(pv_policy_encode(&bytes, &policy), PV_OK);
    cr_assert_eq(pv_policy_decode(&other, bytes.data, bytes.len), PV_OK);
    bytes.data[2]++; /* one more than there can be */
    cr_assert_eq(pv_policy_decode(&other, bytes.data, bytes.len), PV_E_CORRUPT);
    pv_buf_release(&bytes);
}

/* ---- cores ---- */

static struct outcome {
    unsigned calls;
    enum pv_err err;
    enum pv_decided decided;
} got;

static void on_decided(void *arg, enum pv_err err, enum pv_decided decided)
{
    struct outcome *o = arg;
    o->calls++;
    o->err = err;
    o->decided = decided;
}

static struct pv_node *core(unsigned i)
{
    return net.nodes[i].node;
}

static const struct pv_id *id_of(unsigned i)
{
    return &net.nodes[i].identity.node_id;
}

static enum pv_err decide(unsigned by, enum pv_decision_kind kind, struct pv_policy_entry about)
{
    struct pv_decision what = {.kind = kind, .about = about};
    got = (struct outcome){0};
    cr_assert_not_null(pv_decide_start(core(by), &what, on_decided, &got));
    pvt_settle(&net);
    cr_assert_eq(got.calls, 1);
    return got.err;
}

static enum pv_err decide_about(unsigned by, enum pv_decision_kind kind, unsigned about)
{
    return decide(by, kind, (struct pv_policy_entry){.node_id = *id_of(about)});
}

static void reconnect(unsigned a, unsigned b)
{
    pvt_cut(&net, a, b);
    (void)pvt_connect(&net, a, b);
    pvt_advance(&net, 1000);
}

Test(decide, block_ends_the_session_and_outlives_a_restart)
{
    pvt_nodes_init(&net, 3);
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
    cr_assert_eq(decide_about(0, PV_DECIDE_BLOCK, 1), PV_OK);
    cr_assert_eq(got.decided, PV_DECIDED_BLOCKED);
    cr_assert_not(pvt_connected(&net, 0, 1));
    cr_assert_eq(net.nodes[0].last_goodbye, PV_BYE_MEMBERSHIP);
    reconnect(1, 0);
    cr_assert_not(pvt_connected(&net, 0, 1));
    cr_assert(pvt_connected(&net, 1, 2)); /* nobody else is concerned */

    pvt_node_stop(&net.nodes[0]);
    pvt_node_start(&net.nodes[0]);
    reconnect(0, 1);
    cr_assert_not(pvt_connected(&net, 0, 1));

    cr_assert_eq(decide_about(0, PV_DECIDE_ALLOW, 1), PV_OK);
    cr_assert_eq(got.decided, PV_DECIDED_MEMBER);
    reconnect(0, 1);
    cr_assert(pvt_connected(&net, 0, 1));
    pvt_nodes_release(&net);
}

Test(decide, block_ends_by_itself)
{
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_advance(&net, 1000);
    uint64_t now_s = pv_env_wall_s(&net.nodes[0].env.env);
    struct pv_policy_entry about = {.node_id = *id_of(1), .until_s = now_s + 60};
    cr_assert_eq(decide(0, PV_DECIDE_BLOCK, about), PV_OK);
    reconnect(0, 1);
    cr_assert_not(pvt_connected(&net, 0, 1));
    pvt_advance(&net, 60000);
    reconnect(0, 1);
    cr_assert(pvt_connected(&net, 0, 1));
    pvt_nodes_release(&net);
}

Test(decide, forget_expels_everywhere_and_allow_takes_back)
{
    pvt_nodes_init(&net, 3);
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
    cr_assert_eq(decide_about(0, PV_DECIDE_FORGET, 2), PV_OK);
    cr_assert_eq(got.decided, PV_DECIDED_EXPELLED);
    pvt_advance(&net, 1000);
    cr_assert_not(pvt_connected(&net, 0, 2));
    cr_assert_not(pvt_connected(&net, 1, 2));
    cr_assert_eq(pv_members_active(core(1)), 2);
    cr_assert_eq(pv_members_find(core(1), id_of(2))->body.generation, 1);

    cr_assert_eq(decide_about(1, PV_DECIDE_ALLOW, 2), PV_OK);
    pvt_advance(&net, 1000);
    cr_assert_eq(pv_members_find(core(0), id_of(2))->body.generation, 2);
    reconnect(0, 2);
    cr_assert(pvt_connected(&net, 0, 2));
    pvt_nodes_release(&net);
}

Test(decide, allowlist_lets_in_whom_it_names_and_nobody_else)
{
    pvt_nodes_init(&net, 3);
    pv_node_set_allowlist(core(0), true);
    (void)pvt_connect(&net, 1, 0);
    pvt_settle(&net);
    cr_assert_not(pvt_connected(&net, 0, 1));
    cr_assert_eq(pv_members_active(core(0)), 1);

    struct pv_policy_entry about = {.node_id = *id_of(1), .weight = 5};
    memcpy(about.zone, "attic", 6);
    cr_assert_eq(decide(0, PV_DECIDE_ALLOW, about), PV_OK);
    cr_assert_eq(got.decided, PV_DECIDED_EXPECTED);
    (void)pvt_connect(&net, 1, 0);
    (void)pvt_connect(&net, 2, 0);
    pvt_settle(&net);
    cr_assert(pvt_connected(&net, 0, 1));
    cr_assert_not(pvt_connected(&net, 0, 2));
    const struct pv_member *m = pv_members_find(core(0), id_of(1));
    cr_assert_eq(m->body.generation, 1);
    cr_assert_eq(m->body.weight, 5);
    cr_assert_str_eq(m->body.zone, "attic");
    pvt_nodes_release(&net);
}

Test(decide, tells_what_cannot_be)
{
    struct pv_policy_entry nobody = {.node_id = {{1, 2, 3}}};
    pvt_nodes_init(&net, 1);
    cr_assert_eq(decide_about(0, PV_DECIDE_BLOCK, 0), PV_E_INVALID);
    cr_assert_eq(decide_about(0, PV_DECIDE_FORGET, 0), PV_E_INVALID);
    cr_assert_eq(decide(0, PV_DECIDE_FORGET, nobody), PV_E_NOT_FOUND);
    cr_assert_eq(decide(0, PV_DECIDE_ALLOW, nobody), PV_OK);
    cr_assert_eq(decide(0, PV_DECIDE_FORGET, nobody), PV_OK);
    cr_assert_eq(got.decided, PV_DECIDED_DROPPED);
    cr_assert_eq(decide(0, PV_DECIDE_FORGET, nobody), PV_E_NOT_FOUND);
    pvt_nodes_release(&net);
}

Test(decide, cancelled_one_is_carried_out_in_silence)
{
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_advance(&net, 1000);
    struct pv_decision what = {.kind = PV_DECIDE_FORGET, .about = {.node_id = *id_of(1)}};
    got = (struct outcome){0};
    struct pv_decide *d = pv_decide_start(core(0), &what, on_decided, &got);
    pv_decide_cancel(d);
    pvt_settle(&net);
    cr_assert_eq(got.calls, 0);
    cr_assert(pv_members_find(core(0), id_of(1))->body.expelled);
    pvt_nodes_release(&net);
}

/* ---- the token ---- */

static unsigned heard;

static void on_token(void *ctx, const struct pv_msg_token *token)
{
    (void)ctx;
    cr_assert_str_eq(token->text, "the new one");
    heard++;
}

static void send_token(unsigned from, unsigned to)
{
    struct pv_msg_token token = {.created_s = 5, .text = "the new one"};
    uint8_t payload[64];
    struct pv_wr w = pv_wr_of(payload, sizeof payload);
    pv_msg_put_token(&w, &token);
    pvt_inject(&net, from, to, payload, pv_wr_len(&w));
    pvt_settle(&net);
}

Test(decide, a_token_is_taken_from_keyed_members_only)
{
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_advance(&net, 1000);
    core(0)->config.io.token = on_token;
    send_token(1, 0);
    cr_assert_eq(heard, 1);

    struct pv_policy_entry blind = {.node_id = *id_of(1), .role = PV_ROLE_BLIND};
    cr_assert_eq(decide(0, PV_DECIDE_ALLOW, blind), PV_OK);
    send_token(1, 0);
    cr_assert_eq(heard, 1);
    cr_assert_not(pvt_connected(&net, 0, 1));
    cr_assert_eq(net.nodes[0].last_goodbye, PV_BYE_PROTOCOL);
    pvt_nodes_release(&net);
}

static bool has_share(unsigned at, unsigned node)
{
    struct pv_places p;
    unsigned index;
    pv_places_now(core(at), &p);
    return pv_placement_find(&p.table, id_of(node), &index);
}

Test(decide, a_drained_member_stays_one_without_a_share_until_it_is_allowed)
{
    pvt_nodes_init(&net, 3);
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
    cr_assert_eq(decide_about(0, PV_DECIDE_DRAIN, 1), PV_OK);
    cr_assert_eq(got.decided, PV_DECIDED_DRAINING);
    pvt_settle(&net);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(has_share(i, 0) && !has_share(i, 1) && has_share(i, 2), "on node %u", i);
    cr_assert(pvt_connected(&net, 0, 1));
    cr_assert_eq(decide_about(0, PV_DECIDE_DRAIN, 1), PV_OK, "twice is once");
    cr_assert_eq(decide_about(1, PV_DECIDE_ALLOW, 1), PV_OK, "its own operator may as well");
    pvt_settle(&net);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(has_share(i, 1), "on node %u", i);
    cr_assert_eq(decide_about(1, PV_DECIDE_ALLOW, 1), PV_E_INVALID);
    pvt_nodes_release(&net);
}

Test(decide, somebody_must_keep_a_share)
{
    static const struct pv_policy_entry stranger = {.node_id = {{9}}};
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
    cr_assert_eq(decide(0, PV_DECIDE_DRAIN, stranger), PV_E_NOT_FOUND);
    cr_assert_eq(decide_about(0, PV_DECIDE_DRAIN, 0), PV_OK);
    cr_assert_eq(decide_about(0, PV_DECIDE_DRAIN, 1), PV_E_BUSY);
    cr_assert(has_share(0, 1) && !has_share(0, 0));
    pvt_nodes_release(&net);
}
