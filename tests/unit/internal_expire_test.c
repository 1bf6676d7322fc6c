/* The end of tombstones: all nodes forget them at the same midnight. */
#include "internal/upkeep/expire.h"
#include "tests/unit/internal_client_fixture.h"

#include "internal/upkeep/upkeep_private.h"

TestSuite(expire, .timeout = 240);

#define DAY_MS (UINT64_C(24) * 3600 * 1000)

static void stop(struct pvt_server *s)
{
    pv_expire_stop(s->upkeep);
    pvt_settle(&s->net);
    pvt_server_free(s);
}

static size_t history_of(struct pvt_server *s, const char *name)
{
    struct pvt_client *c = pvt_ask(s, json_pack("{s:s, s:s}", "op", "history", "name", name));
    size_t count = c->event_count;
    pvt_client_free(c);
    return count;
}

/* From one hour before the midnight of the last day on. */
Test(expire, after_so_many_days)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    pvt_store_text(s, "name", "text");
    pvt_store_text(s, "other", "other");
    uint64_t removed_ms = n->env.wall_ms;
    pvt_client_free(pvt_ask_target(s, "rm", "name"));
    cr_assert_eq(pvt_counts(n).records, 2 + 2 + 1, "live, removed, and the member");
    cr_assert_gt(history_of(s, "name"), 0);
    uint64_t last_ms = (removed_ms / DAY_MS + PV_TOMBSTONE_DAYS + 1) * DAY_MS;
    pvt_env_advance(&n->env, last_ms - removed_ms - 3600000);
    pv_expire_schedule(s->upkeep);
    pvt_forward(s, 3600000 - 1);
    cr_assert_eq(pvt_counts(n).records, 5);
    pvt_forward(s, 2);
    cr_assert_eq(pvt_counts(n).records, 3);
    cr_assert_eq(pvt_counts(n).names, 1);
    cr_assert_eq(history_of(s, "name"), 0);
    pvt_node_stop(n); /* and the digest is that of the rows */
    pvt_node_start(n);
    cr_assert_eq(pvt_counts(n).records, 3);
    stop(s);
}

/* The clock is set ahead while the daemon runs; and more than one batch. */
Test(expire, many_within_the_hour)
{
    enum { NAMES = 3 * PV_EXPIRE_BATCH };
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    for (int i = 0; i < NAMES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d", i);
        pvt_store_text(s, name, "text");
    }
    pvt_client_free(pvt_ask_target(s, "rm", pvt_key_of("text", 4).hex));
    pv_expire_schedule(s->upkeep);
    pvt_forward(s, 1);
    cr_assert_eq(pvt_counts(n).records, NAMES + 2);
    n->env.wall_ms += (PV_TOMBSTONE_DAYS + 2) * DAY_MS;
    pvt_forward(s, PV_EXPIRE_EVERY_MS);
    cr_assert_eq(pvt_counts(n).records, 1);
    stop(s);
}

/* What nobody else knows of is no matter of days. */
Test(expire, not_what_is_pending)
{
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_node *n = pvt_me(s);
    pvt_store_text(s, "name", "text");
    pvt_connect(&s->net, 0, 1);
    pvt_advance(&s->net, 20000);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).names, 1);
    pvt_cut(&s->net, 0, 1);
    pvt_settle(&s->net);
    pvt_client_free(pvt_ask_target(s, "rm", "name"));
    n->env.wall_ms += 200 * DAY_MS;
    s->net.nodes[1].env.wall_ms += 200 * DAY_MS;
    pv_expire_schedule(s->upkeep);
    pvt_forward(s, 1000);
    cr_assert_eq(pvt_counts(n).pending, 2);
    pvt_connect(&s->net, 0, 1);
    pvt_forward(s, 20000);
    cr_assert_eq(pvt_counts(n).pending, 0);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).names, 0);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).files, 0);
    pvt_forward(s, PV_EXPIRE_EVERY_MS);
    pvt_forward(s, 120000);
    cr_assert_eq(pvt_counts(n).records, pvt_counts(&s->net.nodes[1]).records);
    cr_assert(pvt_all_agree(&s->net));
    stop(s);
}
