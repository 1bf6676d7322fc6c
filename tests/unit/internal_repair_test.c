#include "internal/node/repair.h"
#include "tests/unit/internal_script_fixture.h"

#include <unistd.h>

__attribute__((weak)) atomic_int pvt_fatal_count;

TestSuite(repair, .timeout = 120);

enum { COUNT = 3 };

struct outcome {
    unsigned calls;
    enum pv_repair_end end;
};

static void on_end(void *ctx, enum pv_repair_end end)
{
    struct outcome *o = ctx;
    o->calls++;
    o->end = end;
}

static void damage(struct pvt_host *h, const struct pvt_blob *b)
{
    char path[400], name[PV_BLOB_PATH_LEN + 1];
    pv_blob_path(name, &b->id);
    snprintf(path, sizeof path, "%s/%s", h->v->path, name);
    cr_assert_eq(truncate(path, 1000), 0);
}

struct scene {
    struct pvt_net *net;
    struct pvt_host *h;
    struct pvt_script *s;
    struct pvt_blob blobs[COUNT];
    struct outcome outcomes[COUNT];
    struct pv_id ids[PV_MSG_IDS_MAX];
    uint32_t request;
};

/* A node with damaged blobs; the test is the only other member, if it is connected. */
static struct scene *scene_new(bool connected)
{
    struct scene *t = calloc(1, sizeof *t);
    t->net = pvt_net_new(1);
    t->h = &t->net->host[0];
    t->s = calloc(1, sizeof *t->s);
    for (uint32_t i = 0; i < COUNT; i++)
        t->blobs[i] = pvt_sealed(i, 100000 + i);
    pvt_put_many(t->h, t->blobs, COUNT);
    if (connected)
        pvt_script_init(t->s, t->net, t->h, 1);
    for (uint32_t i = 0; i < COUNT; i++)
        damage(t->h, &t->blobs[i]);
    return t;
}

static struct pv_repair *start(struct scene *t, size_t i)
{
    struct pv_repair_what what = {.id = t->blobs[i].id};
    struct pv_repair *r = pv_repair_start(t->h->node, &what, on_end, &t->outcomes[i]);
    cr_assert_not_null(r);
    return r;
}

static void scene_free(struct scene *t)
{
    for (size_t i = 0; i < COUNT; i++)
        pvt_blob_free(&t->blobs[i]);
    pvt_net_free(t->net);
    free(t->s);
    free(t);
}

/* The peer has offers of ours that the test does not answer. */
static void is_over(struct pvt_host *h)
{
    cr_expect_eq(h->node->push->repair_count, 0);
    cr_expect_eq(h->node->push->inbound.used_bytes, 0);
}

static bool has_id(const struct scene *t, size_t count, const struct pv_id *id)
{
    for (size_t i = 0; i < count; i++)
        if (pv_id_equal(&t->ids[i], id))
            return true;
    return false;
}

/* Several that are lost are told of in one message, and again after each connection. */
Test(repair, lost_ones_are_told_together_and_again)
{
    struct scene *t = scene_new(true);
    for (size_t i = 0; i < COUNT; i++)
        (void)start(t, i);
    pvt_net_run(t->net);
    cr_expect_eq(pvt_script_get_ids(t->s, PV_MSG_GET, &t->request, t->ids), COUNT);
    cr_expect_eq(pvt_count_here(t->h, t->blobs, COUNT), 0);
    pvt_script_ids(t->s, PV_MSG_NOT_FOUND, t->request, t->ids, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        cr_expect(t->outcomes[i].calls == 1 && t->outcomes[i].end == PV_REPAIR_LOST);
    pvt_net_advance(t->net, 2000);
    size_t count = pvt_script_get_ids(t->s, PV_MSG_LOST, &t->request, t->ids);
    cr_expect_eq(count, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        cr_expect(has_id(t, count, &t->blobs[i].id));
    pvt_net_advance(t->net, 10000);
    cr_expect_eq(pvt_script_get_ids(t->s, PV_MSG_LOST, &t->request, t->ids), 0);

    cr_assert_eq(pvt_put_blob(t->h->v, &t->blobs[1]), PV_OK);
    struct pvt_script *later = calloc(1, sizeof *later);
    pvt_script_init(later, t->net, t->h, 2);
    count = pvt_script_get_ids(later, PV_MSG_LOST, &t->request, t->ids);
    cr_expect_eq(count, COUNT - 1);
    cr_expect_not(has_id(t, count, &t->blobs[1].id));
    is_over(t->h);
    free(later);
    scene_free(t);
}

Test(repair, from_whoever_has_it)
{
    struct scene *t = scene_new(true);
    struct pv_want wants[PV_MSG_WANTS_MAX];
    (void)start(t, 0);
    pvt_net_run(t->net);
    cr_assert_eq(pvt_script_get_ids(t->s, PV_MSG_GET, &t->request, t->ids), 1);
    pvt_script_ids(t->s, PV_MSG_FOUND, t->request, t->ids, 1);
    cr_assert_eq(pvt_script_wants(t->s, PV_MSG_FETCH, wants), 1);
    pvt_script_body(t->s, wants[0].stream, &t->blobs[0], 0);
    cr_expect(t->outcomes[0].calls == 1 && t->outcomes[0].end == PV_REPAIR_DONE);
    cr_expect(pvt_has_blob(t->h->v, &t->blobs[0]));
    cr_expect_eq(pvt_script_get_ids(t->s, PV_MSG_LOST, &t->request, t->ids), 0);
    is_over(t->h);
    scene_free(t);
}

/* The disk is full: the copy that was fetched cannot be kept, and that is no repair. */
Test(repair, fetched_and_not_kept)
{
    struct scene *t = scene_new(true);
    struct pv_want wants[PV_MSG_WANTS_MAX];
    (void)start(t, 0);
    pvt_net_run(t->net);
    cr_assert_eq(pvt_script_get_ids(t->s, PV_MSG_GET, &t->request, t->ids), 1);
    pvt_script_ids(t->s, PV_MSG_FOUND, t->request, t->ids, 1);
    cr_assert_eq(pvt_script_wants(t->s, PV_MSG_FETCH, wants), 1);
    pvt_faultfs_fail_on(&t->h->v->faults, PVT_FS_OPEN, PV_E_NOSPACE);
    pvt_script_body(t->s, wants[0].stream, &t->blobs[0], 0);
    pvt_faultfs_heal(&t->h->v->faults);
    cr_expect(t->outcomes[0].calls == 1 && t->outcomes[0].end == PV_REPAIR_FAILED);
    is_over(t->h);
    scene_free(t);
}

Test(repair, good_absent_and_too_many)
{
    struct scene *t = scene_new(false);
    struct outcome o = {0};
    struct pvt_blob good = pvt_sealed(9, 5000), absent = pvt_sealed(10, 5000);
    pvt_put_many(t->h, &good, 1);
    struct pv_repair_what what = {.id = good.id};
    cr_assert_not_null(pv_repair_start(t->h->node, &what, on_end, &o));
    pvt_net_run(t->net);
    cr_expect(o.calls == 1 && o.end == PV_REPAIR_GOOD);
    cr_expect(pvt_has_blob(t->h->v, &good));
    what.id = absent.id;
    cr_assert_not_null(pv_repair_start(t->h->node, &what, on_end, &o));
    pvt_net_run(t->net);
    cr_expect(o.calls == 2 && o.end == PV_REPAIR_GOOD);
    what.wanted = true; /* alone: nobody to ask */
    cr_assert_not_null(pv_repair_start(t->h->node, &what, on_end, &o));
    pvt_net_run(t->net);
    cr_expect(o.calls == 3 && o.end == PV_REPAIR_LOST);

    for (unsigned i = 0; i < PV_REPAIRS_MAX; i++)
        cr_assert_not_null(pv_repair_start(t->h->node, &what, NULL, NULL));
    cr_expect_null(pv_repair_start(t->h->node, &what, on_end, &o));
    pvt_net_run(t->net);
    struct pv_repair *r = pv_repair_start(t->h->node, &what, on_end, &o);
    cr_assert_not_null(r);
    pv_repair_abandon(r);
    pvt_net_run(t->net);
    cr_expect_eq(o.calls, 3);
    pv_mem_fail_after(0);
    cr_expect_null(pv_repair_start(t->h->node, &what, on_end, &o));
    pv_mem_fail_after(UINT64_MAX);
    is_over(t->h);
    pvt_blob_free(&good);
    pvt_blob_free(&absent);
    scene_free(t);
}

/* Whatever a repair waits for when the node ends: it is told once. */
Test(repair, the_node_ends)
{
    for (unsigned stage = 0; stage < 3; stage++) {
        struct scene *t = scene_new(true);
        struct outcome outcomes[COUNT];
        if (stage == 2)
            t->h->node->push->inbound.limit_bytes = PV_BLOB_LEN_MAX / 8; /* one of them fits */
        for (size_t i = 0; i < COUNT; i++)
            (void)start(t, i);
        if (stage > 0)
            pvt_net_run(t->net);
        pvt_host_stop(t->h);
        memcpy(outcomes, t->outcomes, sizeof outcomes);
        for (size_t i = 0; i < COUNT; i++)
            cr_expect(outcomes[i].calls == 1 && outcomes[i].end == PV_REPAIR_FAILED);
        scene_free(t);
    }
}
