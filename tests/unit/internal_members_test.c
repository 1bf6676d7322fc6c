#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>

static struct pvt_nodes net;

TestSuite(members, .timeout = 120);

Test(members, two_nodes_admit_each_other)
{
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_settle(&net);
    cr_assert(pvt_connected(&net, 0, 1));
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(pv_members_active(net.nodes[i].node), 2);
        const struct pv_member *m =
            pv_members_find(net.nodes[i].node, &net.nodes[1 - i].identity.node_id);
        cr_assert_not_null(m);
        cr_assert_eq(m->body.generation, 0);
        cr_assert_neq(m->link, 0);
    }
    pvt_advance(&net, 10000);
    cr_assert(pvt_all_agree(&net), "%s", net.log.text);
    pvt_nodes_release(&net);
}
