/* When records are compared: what was missed must not wait for the hour. */
#include "internal/node/digest.h"
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct pvt_nodes net;

TestSuite(sync_settle, .timeout = 120);

static struct pvt_node *node(unsigned i)
{
    return &net.nodes[i];
}

/* Every second somebody writes something: it is never quiet, and compared all the same. */
Test(sync_settle, steady_writing_puts_the_comparison_off_but_not_for_ever)
{
    struct pvt_record missed, rec;
    char text[32];
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_advance(&net, 20000);
    cr_assert(pvt_all_agree(&net));
    pvt_seal_file(&missed, node(0), "missed", pvt_hlc(node(0)));
    pvt_put(node(0), &missed, false);
    for (unsigned i = 0; i < 2 * PV_DIGEST_SETTLE_MAX_MS / 1000; i++) {
        (void)snprintf(text, sizeof text, "record %u", i);
        pvt_seal_file(&rec, node(0), text, pvt_hlc(node(0)));
        pvt_put(node(0), &rec, false);
        pv_publish_now(node(0)->node, rec.env, rec.len);
        pvt_advance(&net, 1000);
        cr_assert(pvt_has_record(node(1), &rec));
    }
    cr_assert(pvt_has_record(node(1), &missed));
    pvt_nodes_release(&net);
}
