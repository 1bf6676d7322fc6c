/* Replacing the cluster key of one node whose clock stands still; clusters: tests/integration. */
#include "internal/cluster/cluster_private.h"
#include "internal/cluster/rotation.h"
#include "tests/unit/internal_client_fixture.h"

TestSuite(rotation, .timeout = 120);

enum { GRACE_S = 1000 };

static struct pvt_server *server_new(void)
{
    struct pvt_server *s = pvt_server_new(1);
    s->cluster->config.key_grace_s = GRACE_S;
    pv_cluster_keys_start(s->cluster);
    pvt_settle(&s->net);
    return s;
}

/* The keys as `key list` has them, the oldest first. */
static json_t *keys_of(struct pvt_server *s, struct pvt_client **c)
{
    *c = pvt_ask(s, json_pack("{s:s}", "op", "key_list"));
    pvt_assert_ok(*c);
    return json_object_get((*c)->final, "keys");
}

static void under(struct pvt_server *s, size_t at, const char *state, long long files,
                  long long names, long long tombstones)
{
    struct pvt_client *c;
    json_t *key = json_array_get(keys_of(s, &c), at);
    cr_assert_not_null(key, "key %zu", at);
    cr_expect_str_eq(pvt_text(key, "state"), state);
    cr_expect_eq(pvt_number(key, "files"), files, "key %zu: %lld", at,
                 (long long)pvt_number(key, "files"));
    cr_expect_eq(pvt_number(key, "names"), names);
    cr_expect_eq(pvt_number(key, "tombstones"), tombstones);
    pvt_client_free(c);
}

static void rotate(struct pvt_server *s)
{
    struct pvt_client *c = pvt_ask(s, json_pack("{s:s}", "op", "key_rotate"));
    for (unsigned i = 0; i < 100 && c->final == NULL; i++)
        pvt_wait(s, 500);
    pvt_assert_ok(c);
    cr_assert_str_eq(pvt_text(c->final, "phase"), "retire");
    cr_assert_eq(pvt_number(c->final, "left"), 0);
    pvt_client_free(c);
}

static size_t listed(struct pvt_server *s)
{
    struct pvt_client *c = pvt_ask(s, json_pack("{s:s}", "op", "ls"));
    pvt_assert_ok(c);
    size_t count = c->event_count;
    cr_assert_eq(pvt_number(c->final, "unreadable"), 0);
    pvt_client_free(c);
    return count;
}

static void removed(struct pvt_server *s, const char *target, long long files, long long names)
{
    struct pvt_client *c = pvt_ask_target(s, "rm", target);
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "files"), files, "%s", target);
    cr_assert_eq(pvt_number(c->final, "names"), names, "%s", target);
    pvt_client_free(c);
}

Test(rotation, everything_gets_a_counterpart_and_the_old_key_retires)
{
    struct pvt_server *s = server_new();
    struct pvt_key key = pvt_store_text(s, "a", "text");
    pvt_store_text(s, "b", "text");
    pvt_store_text(s, "other", "another text");
    pvt_store_text(s, "gone", "text that goes");
    removed(s, "gone", 1, 1);
    under(s, 0, "active", 2, 3, 2);
    rotate(s);
    under(s, 0, "read-only", 2, 3, 2);
    under(s, 1, "active", 2, 3, 2);
    cr_assert_eq(listed(s), 3, "each once");
    removed(s, "b", 0, 1); /* under both */
    under(s, 0, "read-only", 2, 2, 3);
    under(s, 1, "active", 2, 2, 3);
    cr_assert_eq(listed(s), 2);
    s->net.nodes[0].env.wall_ms += UINT64_C(1000) * (GRACE_S + 1);
    pvt_wait(s, 120000);
    under(s, 0, "retired", 0, 0, 0);
    under(s, 1, "active", 2, 2, 3);
    cr_assert_eq(listed(s), 2);
    removed(s, "a", 1, 1); /* the name still says where the file was */
    cr_assert_eq(listed(s), 1);
    removed(s, pvt_key_of("another text", 12).hex, 1, 1);
    cr_assert_eq(listed(s), 0);
    (void)key;
    pvt_server_free(s);
}

Test(rotation, what_is_older_never_wins_over_what_was_written_meanwhile)
{
    struct pvt_server *s = server_new();
    struct pvt_key first = pvt_store_text(s, "a", "first"), second;
    rotate(s);
    second = pvt_store_text(s, "a", "second");
    struct pvt_client *c = pvt_ask_target(s, "stat", "a");
    pvt_assert_ok(c);
    cr_assert_str_eq(pvt_text(c->final, "key"), second.hex);
    pvt_client_free(c);
    cr_assert_eq(listed(s), 2, "the name, and the file without one");
    c = pvt_ask_target(s, "stat", first.hex);
    pvt_assert_ok(c);
    cr_assert_eq(json_array_size(json_object_get(c->final, "names")), 0);
    pvt_client_free(c);
    rotate(s); /* three keys: the middle one's records are the newest */
    c = pvt_ask_target(s, "stat", "a");
    pvt_assert_ok(c);
    cr_assert_str_eq(pvt_text(c->final, "key"), second.hex);
    pvt_client_free(c);
    cr_assert_eq(listed(s), 2);
    pvt_server_free(s);
}

Test(rotation, goes_on_after_a_restart)
{
    struct pvt_server *s = server_new();
    pvt_store_text(s, "a", "text");
    struct pvt_client *c = pvt_ask(s, json_pack("{s:s, s:b}", "op", "key_rotate", "wait", 0));
    pvt_settle(&s->net);
    pvt_client_free(c);
    /* Whatever it had in memory is lost. */
    pv_rotation_free(s->cluster);
    cr_assert_eq(pv_rotation_new(s->cluster), PV_OK);
    pv_cluster_keys_start(s->cluster);
    pvt_wait(s, 5000);
    under(s, 0, "read-only", 1, 1, 0);
    under(s, 1, "active", 1, 1, 0);
    pvt_server_free(s);
}

/* Under a key that this node never had: kept, counted, and no guess is made. */
Test(rotation, an_unknown_key_is_an_error)
{
    struct pvt_server *s = server_new();
    struct pv_cluster_keys other;
    uint8_t secret[PV_KEY_LEN] = {9, 9};
    struct pv_id rid, sha256;
    struct pvt_key key = pvt_key_of("theirs", 6);
    pv_sha256(sha256.b, "theirs", 6);
    cr_assert_eq(pv_cluster_keys_derive(&other, secret), PV_OK);
    struct pv_file_body body = {
        .sha256 = sha256, .size = 6, .is_inline = true, .data = (const uint8_t *)"theirs"};
    pvt_put_file_under(pvt_me(s), &other, &body, &rid);
    struct pvt_client *c;
    keys_of(s, &c);
    cr_assert_eq(pvt_number(c->final, "unknown"), 1);
    pvt_client_free(c);
    c = pvt_ask(s, json_pack("{s:s}", "op", "ls"));
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "unreadable"), 1);
    pvt_client_free(c);
    pvt_refused(pvt_ask_target(s, "stat", key.hex), PV_EXIT_NOT_FOUND, "not found");
    rotate(s); /* nobody can say what it is: it does not hold up the rotation */
    pvt_server_free(s);
}
