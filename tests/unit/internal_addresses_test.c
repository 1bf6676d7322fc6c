/* Where members are reached: what is written of ourselves, and what the host is told of others. */
#include "internal/node/addresses.h"
#include "internal/node/decide.h"
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(addresses, .timeout = 120);

static struct pvt_nodes net;

static struct pv_node *core(unsigned i)
{
    return net.nodes[i].node;
}

static const struct pv_id *id_of(unsigned i)
{
    return &net.nodes[i].identity.node_id;
}

/* What the host of node 0 was told last of the node it is about; "" nothing to reach. */
static struct {
    struct pv_id node_id;
    char text[600];
    unsigned calls;
} told[3];

static void on_reach(void *ctx, const struct pv_id *node_id, const char *const *addresses,
                     size_t count)
{
    (void)ctx;
    for (unsigned i = 0; i < PV_COUNT(told); i++) {
        if (!pv_id_equal(node_id, id_of(i)))
            continue;
        told[i].calls++;
        told[i].text[0] = '\0';
        for (size_t k = 0; k < count; k++) {
            size_t len = strlen(told[i].text);
            (void)snprintf(told[i].text + len, sizeof told[i].text - len, "%s ", addresses[k]);
        }
    }
}

static void init(void)
{
    memset(told, 0, sizeof told);
    pvt_nodes_init(&net, 3);
    core(0)->config.io.reach = on_reach;
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
}

static void advertise(unsigned by, const char *one, const char *other)
{
    struct pv_address_body self = {.capacity_bytes = 7};
    if (one != NULL)
        (void)snprintf(self.addresses[self.count++], PV_ADDRESS_MAX, "%s", one);
    if (other != NULL)
        (void)snprintf(self.addresses[self.count++], PV_ADDRESS_MAX, "%s", other);
    pv_node_advertise(core(by), &self);
    pvt_settle(&net);
}

static void on_decided(void *arg, enum pv_err err, enum pv_decided decided)
{
    (void)decided;
    *(enum pv_err *)arg = err;
}

static void decide(enum pv_decision_kind kind, unsigned about)
{
    struct pv_decision what = {.kind = kind, .about = {.node_id = *id_of(about)}};
    enum pv_err err = PV_E_BUSY;
    cr_assert_not_null(pv_decide_start(core(0), &what, on_decided, &err));
    pvt_settle(&net);
    cr_assert_eq(err, PV_OK);
}

Test(addresses, are_told_to_all_and_replaced)
{
    init();
    advertise(1, "192.0.2.1:3000", "[2001:db8::1]:3000");
    cr_assert_str_eq(told[1].text, "192.0.2.1:3000 [2001:db8::1]:3000 ");
    cr_assert_eq(pv_addresses_find(core(2), id_of(1))->count, 2);
    cr_assert_eq(pv_addresses_find(core(2), id_of(1))->capacity_bytes, 7);
    pvt_advance(&net, 1000);
    advertise(1, "192.0.2.9:3000", NULL);
    cr_assert_str_eq(told[1].text, "192.0.2.9:3000 ");
    pvt_advance(&net, 1000);
    advertise(1, NULL, NULL); /* moved to where nobody can reach it */
    cr_assert_str_eq(told[1].text, "");
    cr_assert_eq(told[0].calls, 0, "a node does not dial itself");
    pvt_advance(&net, 60000);
    cr_assert(pvt_all_agree(&net));
    pvt_nodes_release(&net);
}

Test(addresses, are_written_when_they_change_only)
{
    init();
    pv_hlc start = core(1)->hlc;
    advertise(1, NULL, NULL); /* nothing to say, and nothing said before */
    cr_assert_eq(core(1)->hlc, start);
    advertise(1, "192.0.2.1:3000", NULL);
    pv_hlc written = core(1)->hlc;
    cr_assert_gt(written, start);
    pvt_advance(&net, 1000);
    advertise(1, "192.0.2.1:3000", NULL);
    cr_assert_eq(core(1)->hlc, written);

    /* Nor after a restart, which finds the record; a change while one is written is not lost. */
    pvt_node_stop(&net.nodes[1]);
    pvt_node_start(&net.nodes[1]);
    pvt_settle(&net);
    struct pv_address_body self = {.count = 1, .capacity_bytes = 7};
    (void)snprintf(self.addresses[0], PV_ADDRESS_MAX, "192.0.2.2:3000");
    pv_node_advertise(core(1), &self);
    (void)snprintf(self.addresses[0], PV_ADDRESS_MAX, "192.0.2.3:3000");
    pv_node_advertise(core(1), &self);
    pvt_settle(&net);
    cr_assert_str_eq(pv_addresses_find(core(1), id_of(1))->addresses[0], "192.0.2.3:3000");
    pvt_nodes_release(&net);
}

Test(addresses, are_known_after_a_restart)
{
    init();
    advertise(1, "192.0.2.1:3000", NULL);
    pvt_node_stop(&net.nodes[0]);
    memset(told, 0, sizeof told);
    pvt_node_start(&net.nodes[0]);
    pvt_settle(&net);
    core(0)->config.io.reach = on_reach; /* the host is told when anything changes */
    advertise(0, "192.0.2.8:3000", NULL);
    cr_assert_str_eq(told[1].text, "192.0.2.1:3000 ");
    pvt_nodes_release(&net);
}

Test(addresses, of_the_blocked_and_the_expelled_are_not_used)
{
    init();
    advertise(1, "192.0.2.1:3000", NULL);
    advertise(2, "192.0.2.2:3000", NULL);
    decide(PV_DECIDE_BLOCK, 1);
    cr_assert_str_eq(told[1].text, "");
    cr_assert_str_eq(told[2].text, "192.0.2.2:3000 ");
    decide(PV_DECIDE_ALLOW, 1);
    cr_assert_str_eq(told[1].text, "192.0.2.1:3000 ");
    decide(PV_DECIDE_FORGET, 2);
    cr_assert_str_eq(told[2].text, "");
    pvt_nodes_release(&net);
}
