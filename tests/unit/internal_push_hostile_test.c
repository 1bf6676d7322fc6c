/* Push while a member does what it can against it, or a disk is failing. */
#include "tests/unit/internal_script_fixture.h"

__attribute__((weak)) atomic_int pvt_fatal_count;

TestSuite(push_hostile, .timeout = 120);

/* ---- poisoned beginnings ---- */

struct two_offers {
    struct pvt_net *net;
    struct pvt_host *h;
    struct pvt_script s[2], *first, *second; /* first: has its turn first, if both have one */
    struct pvt_blob b;
    uint8_t *nonsense;
};

static struct two_offers *two_offers_new(void)
{
    struct two_offers *t = calloc(1, sizeof *t);
    size_t pos = 0;
    t->net = pvt_net_new(1);
    t->h = &t->net->host[0];
    t->b = pvt_sealed(1, 200000);
    t->nonsense = calloc(1, t->b.len);
    pvt_script_init(&t->s[0], t->net, t->h, 1);
    pvt_script_init(&t->s[1], t->net, t->h, 2);
    bool is_0 = pv_node_next_peer(t->h->node, &pos)->link == t->s[0].link;
    t->first = &t->s[is_0 ? 0 : 1];
    t->second = &t->s[is_0 ? 1 : 0];
    return t;
}

static void two_offers_free(struct two_offers *t)
{
    pvt_blob_free(&t->b);
    free(t->nonsense);
    pvt_net_free(t->net);
    free(t);
}

Test(push_hostile, poisoned_beginnings_do_not_keep_a_blob_out)
{
    struct two_offers *t = two_offers_new();
    struct pv_want want[PV_MSG_WANTS_MAX];
    pvt_script_offer(t->first, &t->b, 1);
    pvt_script_offer(t->second, &t->b, 1);
    for (size_t i = 0; i < 20 && !pvt_has_blob(t->h->v, &t->b); i++) {
        if (pvt_script_wants(t->first, PV_MSG_WANT, want) == 1) {
            pvt_script_data(t->first, want[0].stream, 0, t->nonsense, 50000);
            pvt_script_data(t->first, want[0].stream, PV_STREAM_RST, NULL, 0);
            pvt_script_offer(t->first, &t->b, 1); /* and here it is again */
        }
        if (pvt_script_wants(t->second, PV_MSG_WANT, want) == 1)
            pvt_script_body(t->second, want[0].stream, &t->b, want[0].offset);
    }
    cr_expect(pvt_has_blob(t->h->v, &t->b));
    pvt_assert_idle(t->h);
    two_offers_free(t);
}
