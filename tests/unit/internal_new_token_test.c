/* Tokens that members send, as the node passes them on. */
#include "tests/unit/internal_client_fixture.h"

TestSuite(new_token, .timeout = 60);

static void hear(struct pvt_server *s, const char *text, uint64_t created_s)
{
    struct pv_msg_token token = {.created_s = created_s, .overlap_until_s = created_s + 1};
    (void)snprintf(token.text, sizeof token.text, "%s", text);
    pv_cluster_token_heard(s->cluster, &token);
    pvt_settle(&s->net);
}

static const char *newest(struct pvt_server *s)
{
    return pvt_me(s)->keyring.tokens[0].text;
}

Test(new_token, is_taken_only_when_it_is_newer)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pv_keyring *k = &pvt_me(s)->keyring;
    cr_assert_eq(pv_keyring_add_token(k, "ours", 100), PV_OK);
    hear(s, "older", 99);
    hear(s, "as old", 100);
    cr_assert_str_eq(newest(s), "ours");
    cr_assert_eq(k->token_count, 1);
    hear(s, "newer", 101);
    cr_assert_str_eq(newest(s), "newer");
    cr_assert_str_eq(k->tokens[1].text, "ours", "opens the door, too");
    cr_assert_eq(k->overlap_until_s, 102);
    pvt_server_free(s);
}

/* Nothing could ever replace it. */
Test(new_token, is_not_taken_when_it_is_dated_far_ahead)
{
    struct pvt_server *s = pvt_server_new(1);
    uint64_t last_s = pvt_me(s)->env.wall_ms / 1000 + PV_TOKEN_AHEAD_S_MAX;
    cr_assert_eq(pv_keyring_add_token(&pvt_me(s)->keyring, "ours", 100), PV_OK);
    hear(s, "too far", UINT64_MAX);
    hear(s, "a second too far", last_s + 1);
    cr_assert_str_eq(newest(s), "ours");
    hear(s, "not too far", last_s);
    cr_assert_str_eq(newest(s), "not too far");
    pvt_server_free(s);
}
