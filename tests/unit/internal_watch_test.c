/* watch: what is told, to whom, and what becomes of a watcher that does not read. */
#include "tests/unit/internal_client_fixture.h"

TestSuite(watch, .timeout = 120);

static struct pvt_client *watch(struct pvt_server *s, const char *prefix, size_t room)
{
    json_t *args = json_pack("{s:s, s:s*}", "op", "watch", "prefix", prefix);
    struct pvt_client *c = pvt_ask_with_room(s, args, room);
    cr_assert_eq(c->event_count, 1);
    cr_assert_str_eq(pvt_text(c->events[0], "event"), "watching");
    return c;
}

static void set(struct pvt_server *s, const char *name, const char *text)
{
    struct pvt_client *c =
        pvt_begin_upload(s, "set", json_pack("{s:s}", "name", name), text, strlen(text));
    pvt_settle(&s->net);
    pvt_assert_ok(c);
    pvt_client_free(c);
}

static void told(const struct pvt_client *c, size_t i, const char *what, const char *name)
{
    cr_assert_lt(i, c->event_count);
    cr_assert_str_eq(pvt_text(c->events[i], "event"), "change");
    cr_assert_str_eq(pvt_text(c->events[i], "change"), what);
    cr_assert_str_eq(pvt_text(c->events[i], "name"), name);
}

static void end(struct pvt_client *c)
{
    pvt_cancel(c);
    pvt_client_free(c);
}

Test(watch, tells_every_kind_of_change_in_order)
{
    struct pvt_server *s = pvt_server_new(1);
    set(s, "before", "x");
    struct pvt_client *all = watch(s, NULL, SIZE_MAX), *some = watch(s, "b/", SIZE_MAX);
    set(s, "a", "one");
    set(s, "b/1", "two");
    struct pvt_key key = pvt_store_text(s, "b/file", "text");
    pvt_client_free(pvt_ask(s, json_pack("{s:s, s:s}", "op", "unset", "name", "a")));
    pvt_client_free(pvt_ask_target(s, "rm", "b/file"));
    cr_assert_eq(all->event_count, 6);
    told(all, 1, "set", "a");
    told(all, 2, "set", "b/1");
    told(all, 3, "store", "b/file");
    told(all, 4, "unset", "a");
    told(all, 5, "rm", "b/file");
    cr_assert_str_eq(pvt_text(all->events[3], "key"), key.hex);
    cr_assert_str_eq(pvt_text(all->events[5], "key"), key.hex);
    cr_assert(all->len == 6 && memcmp(all->data, "onetwo", 6) == 0);
    cr_assert_eq(some->event_count, 4);
    told(some, 1, "set", "b/1");
    told(some, 2, "store", "b/file");
    told(some, 3, "rm", "b/file");
    end(all);
    set(s, "b/2", "three");
    told(some, 4, "set", "b/2");
    end(some);
    set(s, "b/3", "to nobody");
    pvt_server_free(s);
}

Test(watch, tells_what_others_wrote_unless_it_lost)
{
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_node *other = &s->net.nodes[1];
    struct pvt_record old, new;
    pvt_seal_value(&old, other, "a", "old", pvt_hlc(other));
    pvt_seal_value(&new, other, "a", "new", pvt_hlc(other));
    struct pvt_client *c = watch(s, NULL, SIZE_MAX);
    pv_publish_now(other->node, new.env, new.len);
    pvt_settle(&s->net);
    pv_publish_now(other->node, old.env, old.len);
    pvt_settle(&s->net);
    cr_assert_eq(c->event_count, 2);
    told(c, 1, "set", "a");
    cr_assert(c->len == 3 && memcmp(c->data, "new", 3) == 0);
    end(c);
    pvt_server_free(s);
}

Test(watch, counts_what_a_slow_reader_missed)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_client *c = watch(s, NULL, 2), *prompt = watch(s, NULL, SIZE_MAX);
    for (int i = 0; i < 5; i++)
        set(s, "a", "");
    cr_assert_eq(c->event_count, 2, "room for the beginning and one change");
    cr_assert_eq(prompt->event_count, 6);
    pvt_read_on(c, SIZE_MAX);
    cr_assert_eq(c->event_count, 3);
    cr_assert_str_eq(pvt_text(c->events[2], "event"), "missed");
    cr_assert_eq(pvt_number(c->events[2], "count"), 4);
    set(s, "b", "");
    told(c, 3, "set", "b");
    end(c);
    end(prompt);
    pvt_server_free(s);
}

/* Changes come faster than a job opens them. */
Test(watch, changes_wait_up_to_the_limit)
{
    enum { TOO_MANY = PV_WATCH_WAITING_MAX / PV_VALUE_MAX + 20 };
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_client *c = watch(s, NULL, SIZE_MAX);
    static struct pvt_record rec;
    char *text = calloc(1, PV_VALUE_MAX + 1);
    memset(text, 'x', PV_VALUE_MAX);
    pvt_seal_value(&rec, pvt_me(s), "a", text, pvt_hlc(pvt_me(s)));
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD, .applied = true};
    op.u.record.env = rec.env;
    op.u.record.len = rec.len;
    struct pv_commit commit = {.ops = &op, .count = 1};
    for (size_t i = 0; i < TOO_MANY; i++)
        pv_watching_committed(s->files->watching, &commit);
    pvt_settle(&s->net);
    size_t changes = 0, missed = 0;
    for (size_t i = 1; i < c->event_count; i++) {
        bool is_change = strcmp(pvt_text(c->events[i], "event"), "change") == 0;
        changes += is_change;
        missed += is_change ? 0 : (size_t)pvt_number(c->events[i], "count");
    }
    cr_assert_eq(changes + missed, TOO_MANY);
    cr_assert_eq(changes, 1 + PV_WATCH_WAITING_MAX / (sizeof(size_t) + rec.len),
                 "one was opened at once, the others filled the buffer");
    free(text);
    end(c);
    pvt_server_free(s);
}

Test(watch, as_many_as_allowed_and_one_more)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_client *c[PV_WATCHERS_MAX];
    for (size_t i = 0; i < PV_COUNT(c); i++)
        c[i] = watch(s, NULL, SIZE_MAX);
    pvt_refused(pvt_ask(s, json_pack("{s:s}", "op", "watch")), PV_EXIT_UNAVAILABLE,
                "32 clients watch");
    end(c[0]);
    c[0] = watch(s, NULL, SIZE_MAX);
    set(s, "a", "x");
    for (size_t i = 0; i < PV_COUNT(c); i++) {
        told(c[i], 1, "set", "a");
        end(c[i]);
    }
    pvt_refused(pvt_ask(s, json_pack("{s:s, s:i}", "op", "watch", "prefix", 1)), PV_EXIT_USAGE,
                "malformed prefix");
    pvt_server_free(s);
}

Test(watch, any_allocation_may_fail_and_any_step_be_the_last)
{
    struct pvt_server *s = pvt_server_new(1);
    for (uint64_t k = 0; k < 80; k++) {
        struct pvt_client *c = watch(s, NULL, SIZE_MAX);
        json_t *args = json_pack("{s:s, s:s}", "op", "set", "name", "a");
        if (k < 70)
            pv_mem_fail_after(k);
        struct pvt_client *set_client = pvt_begin_upload(s, "set", args, "x", 1);
        pvt_steps(&s->net, k < 70 ? 100 : k - 70);
        pv_mem_fail_after(UINT64_MAX);
        if (k >= 70)
            end(c);
        pvt_settle(&s->net);
        pvt_client_free(set_client);
        if (k < 70)
            end(c);
    }
    pvt_server_free(s);
}
