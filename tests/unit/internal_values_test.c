/* set, value, unset, undo, and what they and files do to one another under one name. */
#include "tests/unit/internal_client_fixture.h"

TestSuite(values, .timeout = 120);

/* args may be NULL; it gets the name. */
static struct pvt_client *begin_set(struct pvt_server *s, json_t *args, const char *name,
                                    const void *bytes, size_t len)
{
    args = args != NULL ? args : json_object();
    json_object_set_new(args, "name", json_string(name));
    return pvt_begin_upload(s, "set", args, bytes, len);
}

static struct pvt_client *set_with(struct pvt_server *s, json_t *args, const char *name,
                                   const char *text)
{
    struct pvt_client *c = begin_set(s, args, name, text, strlen(text));
    pvt_settle(&s->net);
    return c;
}

static void done(struct pvt_client *c)
{
    pvt_assert_ok(c);
    pvt_client_free(c);
}

static void set(struct pvt_server *s, const char *name, const char *text)
{
    done(set_with(s, NULL, name, text));
}

static struct pvt_client *ask(struct pvt_server *s, const char *op, const char *name)
{
    return pvt_ask(s, json_pack("{s:s, s:s}", "op", op, "name", name));
}

static void is(struct pvt_server *s, const char *name, const char *text)
{
    struct pvt_client *c = ask(s, "value", name);
    pvt_assert_ok(c);
    cr_assert_eq(c->event_count, 1);
    cr_assert(c->ended);
    cr_assert_eq(pvt_number(c->events[0], "size"), (long long)strlen(text));
    cr_assert_eq(c->len, strlen(text));
    cr_assert(c->len == 0 || memcmp(c->data, text, c->len) == 0, "%.*s", (int)c->len,
              (const char *)c->data);
    cr_assert_str_eq(pvt_text(c->final, "sha256"), pvt_key_of(text, strlen(text)).hex);
    pvt_client_free(c);
}

static void is_nothing(struct pvt_server *s, const char *name)
{
    pvt_refused(ask(s, "value", name), PV_EXIT_NOT_FOUND, "not found");
}

Test(values, come_back_whole)
{
    struct pvt_server *s = pvt_server_new(1);
    is_nothing(s, "a");
    set(s, "a", "one");
    is(s, "a", "one");
    set(s, "a", "");
    is(s, "a", "");
    set(s, "b", "of another name");
    is(s, "a", "");
    done(ask(s, "unset", "a"));
    is_nothing(s, "a");
    is(s, "b", "of another name");
    pvt_refused(ask(s, "unset", "a"), PV_EXIT_NOT_FOUND, "not found");
    pvt_refused(ask(s, "value", ""), PV_EXIT_USAGE, "malformed");
    pvt_refused(ask(s, "unset", ""), PV_EXIT_USAGE, "1 to 1024");
    pvt_server_free(s);
}

Test(values, as_long_as_allowed_and_one_byte_more)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(1, PV_VALUE_MAX + 1);
    for (size_t len = PV_VALUE_MAX - 1; len <= PV_VALUE_MAX; len++) {
        struct pvt_client *c = begin_set(s, NULL, "a", bytes, len);
        pvt_settle(&s->net);
        done(c);
        c = ask(s, "value", "a");
        pvt_assert_ok(c);
        cr_assert(c->len == len && memcmp(c->data, bytes, len) == 0);
        pvt_client_free(c);
    }
    struct pvt_client *c = begin_set(s, NULL, "a", bytes, PV_VALUE_MAX + 1);
    pvt_settle(&s->net);
    pvt_refused(c, PV_EXIT_USAGE, "at most 59392 bytes");
    free(bytes);
    pvt_server_free(s);
}

Test(values, and_files_do_not_destroy_each_other)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, "f", "of a file");
    set(s, "v", "of a value");
    pvt_refused(set_with(s, NULL, "f", "x"), PV_EXIT_FAILED, "means a file");
    pvt_refused(ask(s, "unset", "f"), PV_EXIT_FAILED, "means a file");
    pvt_refused(ask(s, "undo", "f"), PV_EXIT_FAILED, "means a file");
    pvt_refused(ask(s, "value", "f"), PV_EXIT_NOT_FOUND, "means a file");
    pvt_refused(pvt_ask_target(s, "get", "v"), PV_EXIT_NOT_FOUND, "means a value");
    pvt_refused(pvt_ask_target(s, "stat", "v"), PV_EXIT_NOT_FOUND, "means a value");
    pvt_refused(pvt_ask_target(s, "rm", "v"), PV_EXIT_NOT_FOUND, "means a value");
    pvt_refused(pvt_ask_target(s, "restore", "v"), PV_EXIT_NOT_FOUND, "means a value");
    struct pvt_client *c =
        pvt_begin_store(s, json_pack("{s:s, s:b}", "name", "v", "wait", 0), "x", 1);
    pvt_settle(&s->net);
    pvt_refused(c, PV_EXIT_FAILED, "means a value");
    is(s, "v", "of a value");

    done(set_with(s, json_pack("{s:b}", "replace", 1), "f", "now a value"));
    is(s, "f", "now a value");
    pvt_refused(ask(s, "undo", "f"), PV_EXIT_FAILED, key.hex[0] == 0 ? "" : "before, this name");
    c = pvt_begin_store(s, json_pack("{s:s, s:b, s:b}", "name", "v", "wait", 0, "replace", 1), "x",
                        1);
    pvt_settle(&s->net);
    done(c);
    pvt_refused(ask(s, "value", "v"), PV_EXIT_NOT_FOUND, "means a file");
    c = pvt_ask(s, json_pack("{s:s, s:s, s:s}", "op", "restore", "target", "f", "key", key.hex));
    done(c);
    pvt_refused(ask(s, "value", "f"), PV_EXIT_NOT_FOUND, "means a file");
    pvt_server_free(s);
}

Test(values, conditions)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key one = pvt_key_of("one", 3);
    pvt_refused(set_with(s, json_pack("{s:s}", "if_sha256", one.hex), "a", "x"), PV_EXIT_FAILED,
                "not the one");
    done(set_with(s, json_pack("{s:b}", "if_absent", 1), "a", "one"));
    pvt_refused(set_with(s, json_pack("{s:b}", "if_absent", 1), "a", "x"), PV_EXIT_FAILED,
                "already");
    done(set_with(s, json_pack("{s:s}", "if_sha256", one.hex), "a", "two"));
    pvt_refused(set_with(s, json_pack("{s:s}", "if_sha256", one.hex), "a", "x"), PV_EXIT_FAILED,
                "not the one");
    pvt_refused(
        pvt_ask(s, json_pack("{s:s, s:s, s:s}", "op", "unset", "name", "a", "if_sha256", one.hex)),
        PV_EXIT_FAILED, "not the one");
    is(s, "a", "two");
    done(ask(s, "unset", "a"));
    done(set_with(s, json_pack("{s:b}", "if_absent", 1), "a", "three"));
    pvt_refused(set_with(s, json_pack("{s:s}", "if_sha256", "12"), "a", "x"), PV_EXIT_USAGE,
                "64 hex");
    pvt_refused(set_with(s, json_pack("{s:s}", "if_absent", "yes"), "a", "x"), PV_EXIT_USAGE,
                "true or false");
    pvt_server_free(s);
}

/* All looked at the same value before the first of them was committed. */
Test(values, one_of_many_at_once_meets_its_condition)
{
    enum { MANY = 8 };
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key zero = pvt_key_of("0", 1);
    struct pvt_client *c[MANY];
    size_t written = 0;
    set(s, "a", "0");
    for (size_t i = 0; i < MANY; i++)
        c[i] = begin_set(s, json_pack("{s:s}", "if_sha256", zero.hex), "a", "1", 1);
    pvt_settle(&s->net);
    for (size_t i = 0; i < MANY; i++) {
        if (pvt_ok(c[i])) {
            written++;
            pvt_client_free(c[i]);
        } else {
            pvt_refused(c[i], PV_EXIT_FAILED, "not written");
        }
    }
    cr_assert_eq(written, 1);
    pvt_server_free(s);
}

Test(values, undo_goes_back_and_forth)
{
    struct pvt_server *s = pvt_server_new(1);
    pvt_refused(ask(s, "undo", "a"), PV_EXIT_NOT_FOUND, "not found");
    set(s, "a", "one");
    pvt_refused(ask(s, "undo", "a"), PV_EXIT_NOT_FOUND, "no such version");
    set(s, "a", "two");
    done(ask(s, "undo", "a"));
    is(s, "a", "one");
    done(ask(s, "undo", "a"));
    is(s, "a", "two");
    done(ask(s, "unset", "a"));
    done(ask(s, "undo", "a"));
    is(s, "a", "two");
    done(ask(s, "undo", "a"));
    is_nothing(s, "a");

    struct pvt_key one = pvt_key_of("one", 3);
    done(pvt_ask(s, json_pack("{s:s, s:s, s:s%}", "op", "undo", "name", "a", "version", one.hex,
                              (size_t)8)));
    is(s, "a", "one");
    pvt_refused(
        pvt_ask(s, json_pack("{s:s, s:s, s:s}", "op", "undo", "name", "a", "version", "0123456")),
        PV_EXIT_USAGE, "8 or more");
    pvt_refused(pvt_ask(s, json_pack("{s:s, s:s, s:s}", "op", "undo", "name", "a", "version",
                                     "0123456789")),
                PV_EXIT_NOT_FOUND, "no such version");
    pvt_server_free(s);
}

Test(values, history_shows_them)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(2, 5000);
    set(s, "a", "one");
    struct pvt_client *c = begin_set(s, NULL, "a", bytes, 5000);
    pvt_settle(&s->net);
    done(c);
    done(ask(s, "unset", "a"));
    pvt_store_text(s, "a", "a file");
    c = ask(s, "history", "a");
    pvt_assert_ok(c);
    cr_assert_eq(c->event_count, 4);
    cr_assert_null(json_object_get(c->events[0], "value"));
    cr_assert(json_is_true(json_object_get(c->events[1], "deleted")));
    cr_assert_eq(pvt_number(c->events[2], "size"), 5000);
    cr_assert_not(json_is_true(json_object_get(c->events[2], "data")), "a long one is not shown");
    cr_assert(json_is_true(json_object_get(c->events[3], "data")));
    cr_assert(c->len == 3 && memcmp(c->data, "one", 3) == 0);
    pvt_client_free(c);
    free(bytes);
    pvt_server_free(s);
}

Test(values, are_listed_by_themselves)
{
    struct pvt_server *s = pvt_server_new(1);
    pvt_store_text(s, "f", "of a file");
    set(s, "conf/a", "one");
    set(s, "conf/b", "");
    set(s, "c", "three");
    set(s, "gone", "x");
    done(ask(s, "unset", "gone"));
    struct pvt_client *c = pvt_ask(s, json_pack("{s:s}", "op", "ls"));
    pvt_assert_ok(c);
    cr_assert_eq(c->event_count, 1, "files only");
    pvt_client_free(c);
    c = pvt_ask(s, json_pack("{s:s, s:b}", "op", "ls", "values", 1));
    pvt_assert_ok(c);
    cr_assert_eq(c->event_count, 3);
    cr_assert_eq(c->len, strlen("one") + strlen("three"));
    pvt_client_free(c);
    c = pvt_ask(s, json_pack("{s:s, s:b, s:s}", "op", "ls", "values", 1, "prefix", "conf/"));
    pvt_assert_ok(c);
    cr_assert_eq(c->event_count, 2);
    cr_assert(c->len == 3 && memcmp(c->data, "one", 3) == 0);
    pvt_client_free(c);
    pvt_server_free(s);
}

/* ---- several nodes ---- */

Test(values, reach_other_members_and_are_kept_for_those_away)
{
    struct pvt_server *s = pvt_server_new(2);
    pvt_cut(&s->net, 0, 1);
    set(s, "a", "one");
    set(s, "a", "two");
    cr_assert_eq(pvt_counts(pvt_me(s)).pending, 1);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).names, 0);
    pvt_connect(&s->net, 0, 1);
    pvt_advance(&s->net, 60000);
    cr_assert_eq(pvt_counts(pvt_me(s)).pending, 0);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).names, 1);
    cr_assert(pvt_all_agree(&s->net));
    set(s, "b", "at once");
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).names, 2);
    done(ask(s, "unset", "b"));
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).names, 1);
    cr_assert(pvt_all_agree(&s->net));
    pvt_server_free(s);
}

Test(values, what_lost_is_what_undo_brings_back)
{
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_record theirs;
    pvt_cut(&s->net, 0, 1);
    pvt_seal_value(&theirs, &s->net.nodes[1], "a", "theirs", pvt_hlc(&s->net.nodes[1]));
    pvt_put(&s->net.nodes[1], &theirs, true);
    pv_publish_file(s->net.nodes[1].node, &theirs.rid, &theirs.hash, NULL);
    pvt_advance(&s->net, 1000);
    set(s, "a", "ours");
    pvt_connect(&s->net, 0, 1);
    pvt_advance(&s->net, 60000);
    cr_assert(pvt_all_agree(&s->net));
    is(s, "a", "ours");
    done(ask(s, "undo", "a"));
    is(s, "a", "theirs");
    pvt_server_free(s);
}

/* ---- little memory, cancelled requests ---- */

Test(values, any_allocation_may_fail_and_any_step_be_the_last)
{
    static const char *const ops[] = {"set", "value", "undo", "unset", "ls"};
    struct pvt_server *s = pvt_server_new(1);
    for (size_t o = 0; o < PV_COUNT(ops); o++) {
        for (uint64_t k = 0; k < 70; k++) {
            set(s, "a", "one");
            set(s, "a", "two");
            json_t *args = json_pack("{s:s, s:s, s:b}", "op", ops[o], "name", "a", "values", 1);
            if (k < 60)
                pv_mem_fail_after(k);
            struct pvt_client *c =
                o == 0 ? pvt_begin_upload(s, "set", args, "three", 5) : pvt_begin(s, args);
            pvt_steps(&s->net, k < 60 ? 100 : k - 60);
            pv_mem_fail_after(UINT64_MAX);
            if (k >= 60)
                pvt_cancel(c);
            pvt_settle(&s->net);
            cr_assert_not(c->is_open);
            pvt_client_free(c);
        }
    }
    pvt_server_free(s);
}

Test(values, wait_for_memory)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pv_budget *b = &s->files->memory;
    size_t taken = b->limit_bytes;
    cr_assert_eq(pv_budget_try(b, taken), PV_OK);
    struct pvt_client *c = pvt_begin(s, json_pack("{s:s, s:s}", "op", "set", "name", "a"));
    struct pvt_client *cancelled = pvt_begin(s, json_pack("{s:s, s:s}", "op", "set", "name", "b"));
    pvt_settle(&s->net);
    cr_assert(c->is_open && c->is_paused && cancelled->is_paused);
    pvt_cancel(cancelled);
    pvt_client_free(cancelled);
    pv_budget_give(b, taken);
    cr_assert_not(c->is_paused);
    c->rq.ops->on_data(&c->rq, (const uint8_t *)"x", 1, true);
    pvt_settle(&s->net);
    done(c);
    is(s, "a", "x");
    pvt_server_free(s);
}
