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

static struct pvt_end *end_towards(unsigned i)
{
    for (unsigned l = 0; l < net.link_count; l++)
        for (unsigned k = 0; k < 2; k++)
            if (net.links[l].ends[k].node == node(i))
                return &net.links[l].ends[k];
    cr_assert_fail("no link");
    return NULL;
}

/* One member's link was full when a record was sent, and it was still pending when they compared.
 */
Test(sync_settle, record_published_after_the_comparison)
{
    struct pvt_record file;
    pvt_nodes_init(&net, 3);
    (void)pvt_connect(&net, 0, 1);
    (void)pvt_connect(&net, 0, 2);
    pvt_advance(&net, 20000);
    cr_assert(pvt_same_digest(node(0), node(1)) && pvt_same_digest(node(0), node(2)));
    struct pvt_end *one = end_towards(1), *two = end_towards(2);
    two->paused = true;
    two->in_bytes += PV_SESSION_OUT_HIGH;
    pvt_seal_file(&file, node(0), "slowly", pvt_hlc(node(0)));
    pvt_put(node(0), &file, true);
    pv_publish_file(node(0)->node, &file.rid, &file.hash, NULL);
    one->paused = true;
    pvt_advance(&net, 100);
    cr_assert_eq(two->in, NULL, "not sent to the full link");
    two->in_bytes -= PV_SESSION_OUT_HIGH;
    two->paused = false;
    pvt_advance(&net, PV_SYNC_SETTLE_MS + 100);
    cr_assert(pvt_is_pending(node(0), &file.rid));
    one->paused = false;
    pvt_advance(&net, 100);
    cr_assert_not(pvt_is_pending(node(0), &file.rid));
    cr_assert_not(pvt_has_record(node(2), &file));
    pvt_advance(&net, 4 * PV_SYNC_SETTLE_MS);
    cr_assert(pvt_has_record(node(2), &file));
    pvt_nodes_release(&net);
}
