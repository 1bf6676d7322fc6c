/* What stays in the queue of pending records, and what comes back into it. */
#include "internal/node/pending.h"
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>

static struct pvt_nodes net;

TestSuite(publish_queue, .timeout = 120);

static struct pvt_node *node(unsigned i)
{
    return &net.nodes[i];
}

static void publish(unsigned i, const struct pvt_record *file)
{
    pvt_put(node(i), file, true);
    pv_publish_file(node(i)->node, &file->rid, &file->hash, NULL);
}

static void on_progress(struct pv_copies_wait *wait, unsigned copies)
{
    *(unsigned *)wait->ctx = copies;
}

/* Somebody gave up waiting for a third copy: nothing is left to be done for the record. */
Test(publish_queue, what_nobody_waits_for_any_more_leaves_it)
{
    struct pvt_record file;
    unsigned copies = 0;
    pvt_nodes_init(&net, 3);
    pvt_connect_all(&net);
    pvt_advance(&net, 20000);
    pvt_cut(&net, 0, 2);
    pvt_settle(&net);
    pvt_seal_file(&file, node(0), "two of three", pvt_hlc(node(0)));
    publish(0, &file);
    struct pv_copies_wait wait = {.file_rid = file.rid,
                                  .record_hash = file.hash,
                                  .want = 3,
                                  .progress = on_progress,
                                  .ctx = &copies};
    pv_publish_wait(node(0)->node, &wait);
    pvt_settle(&net);
    cr_assert_eq(copies, 2);
    cr_assert_not(pvt_is_pending(node(0), &file.rid));
    cr_assert_eq(node(0)->node->publish->by_rid.count, 1);
    pv_publish_wait_cancel(&wait);
    pvt_settle(&net);
    cr_assert_eq(node(0)->node->publish->by_rid.count, 0, "or the queue fills up with such");
    pv_publish_wait_cancel(&wait);
    pvt_nodes_release(&net);
    pv_publish_wait_cancel(&wait);
}

static void fail_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    (void)ctx;
    job->err = PV_E_IO;
}

/* What an earlier run left pending is looked for again when the store could not be read. */
Test(publish_queue, list_of_an_earlier_run_that_could_not_be_read)
{
    struct pvt_record file;
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_advance(&net, 20000);
    pvt_seal_file(&file, node(0), "left pending", pvt_hlc(node(0)));
    pvt_put(node(0), &file, true);
    pv_publish_start(node(0)->node);
    cr_assert_not_null(node(0)->jobs);
    node(0)->jobs->run = fail_run;
    pvt_settle(&net);
    cr_assert(pvt_is_pending(node(0), &file.rid));
    pvt_advance(&net, PV_PUBLISH_AGAIN_MS);
    cr_assert_not(pvt_is_pending(node(0), &file.rid));
    cr_assert(pvt_has_record(node(1), &file));
    pvt_nodes_release(&net);
}
