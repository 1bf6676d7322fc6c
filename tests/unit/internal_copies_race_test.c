/* A copy that comes while copies are being counted is counted again. */
#include "tests/unit/internal_client_fixture.h"

#include "internal/node/pending.h"

TestSuite(copies_race, .timeout = 120);

enum { LEN = 2000000 };

/* The counting that is under way may have passed the blob already, and no other copy will come. */
Test(copies_race, held_while_the_last_copy_is_waited_for)
{
    uint8_t *bytes = pvt_content(1, LEN);
    struct pvt_server *s = pvt_server_new(3);
    struct pv_node *n = pvt_me(s)->node;
    bool met = false;
    struct pvt_client *c =
        pvt_begin_store(s, json_pack("{s:i, s:b}", "copies", 3, "wait", 1), bytes, LEN);
    while (!met && pvt_step(&s->net)) {
        struct pv_pending *e = n->publish->checking;
        met = e != NULL && e->safe && e->level < pv_pending_goal(n, e) && !e->again;
        if (met) {
            pv_publish_on_held(n);
            cr_assert(e->again);
        }
    }
    cr_assert(met, "it was never waited for in this state");
    pvt_wait(s, 25000);
    cr_assert_not(c->is_open);
    pvt_assert_ok(c);
    pvt_client_free(c);
    pvt_server_free(s);
    free(bytes);
}
