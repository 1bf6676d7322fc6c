#include "tests/unit/internal_client_fixture.h"

TestSuite(where, .timeout = 120);

static const json_t *member(const struct pvt_client *c, const char *state)
{
    size_t i;
    const json_t *m;
    json_array_foreach(json_object_get(c->final, "members"), i, m)
    {
        if (strcmp(pvt_text(m, "state"), state) == 0)
            return m;
    }
    cr_assert_fail("no member is %s", state);
    return NULL;
}

Test(where, members_and_what_they_acknowledged)
{
    enum { LEN = 3000000 };
    struct pvt_server *s = pvt_server_new(2);
    uint8_t *bytes = pvt_content(1, LEN);
    pvt_cut(&s->net, 0, 1);
    struct pvt_key key = pvt_store(s, NULL, bytes, LEN);
    long long blobs = (long long)pvt_counts(pvt_me(s)).blobs;
    struct pvt_client *c = pvt_ask_target(s, "where", key.hex);
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "blobs"), blobs);
    cr_assert_eq(pvt_number(c->final, "want"), 2);
    cr_assert_eq(pvt_number(member(c, "self"), "has"), blobs);
    cr_assert_eq(pvt_number(member(c, "absent"), "belongs"), blobs);
    cr_assert_eq(pvt_number(member(c, "absent"), "has"), 0);
    pvt_client_free(c);
    pvt_connect(&s->net, 0, 1);
    pvt_advance(&s->net, 60000);
    c = pvt_ask_target(s, "where", key.hex);
    cr_assert_eq(pvt_number(member(c, "connected"), "has"), blobs);
    cr_assert_eq(pvt_number(c->final, "elsewhere_blobs"), 0);
    pvt_client_free(c);
    pvt_refused(pvt_ask_target(s, "where", "nothing"), PV_EXIT_NOT_FOUND, "not found");
    pvt_refused(pvt_ask_target(s, "where", ""), PV_EXIT_USAGE, "malformed");
    free(bytes);
    pvt_server_free(s);
}

Test(where, an_inline_file)
{
    struct pvt_server *s = pvt_server_new(1);
    pvt_store_text(s, "a", "text");
    struct pvt_client *c = pvt_ask_target(s, "where", "a");
    pvt_assert_ok(c);
    cr_assert(json_is_true(json_object_get(c->final, "inline")));
    cr_assert_eq(pvt_number(c->final, "blobs"), 0);
    pvt_client_free(c);
    pvt_server_free(s);
}

/* Cancelled after any number of steps, it leaves nothing behind. */
Test(where, client_goes_at_any_time)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(2, 1500000);
    struct pvt_key key = pvt_store(s, NULL, bytes, 1500000);
    for (uint64_t steps = 0, more = 1; more != 0; steps++) {
        struct pvt_client *c = pvt_begin(
            s, json_pack("{s:s, s:s, s:b}", "op", "where", "target", key.hex, "blobs", 1));
        more = pvt_steps(&s->net, steps);
        pvt_cancel(c);
        pvt_settle(&s->net);
        pvt_client_free(c);
    }
    free(bytes);
    pvt_server_free(s);
}
