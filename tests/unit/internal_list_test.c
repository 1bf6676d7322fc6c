#include "tests/unit/internal_client_fixture.h"

TestSuite(list, .timeout = 120);

static struct pvt_client *list(struct pvt_server *s, const char *prefix)
{
    json_t *args = json_pack("{s:s}", "op", "ls");
    if (prefix != NULL)
        json_object_set_new(args, "prefix", json_string(prefix));
    return pvt_ask(s, args);
}

static size_t count_of(const struct pvt_client *c, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < c->event_count; i++) {
        const char *n = json_string_value(json_object_get(c->events[i], "name"));
        count += name == NULL ? n == NULL : n != NULL && strcmp(n, name) == 0;
    }
    return count;
}

static void has_entries(struct pvt_client *c, size_t count)
{
    pvt_assert_ok(c);
    cr_assert_eq(c->event_count, count);
    cr_assert_eq(pvt_number(c->final, "entries"), (long long)count);
}

Test(list, names_and_files_without_one)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_client *c = list(s, NULL);
    has_entries(c, 0);
    pvt_client_free(c);

    pvt_store_text(s, "a", "one text");
    pvt_store_text(s, "b", "one text");
    struct pvt_key nameless = pvt_store_text(s, NULL, "no name");
    struct pvt_client *p = pvt_begin_store(
        s, json_pack("{s:b, s:s, s:b}", "private", 1, "name", "p", "wait", 0), "secret", 6);
    pvt_settle(&s->net);
    pvt_client_free(p);
    c = list(s, NULL);
    has_entries(c, 4);
    cr_assert_eq(count_of(c, "a"), 1);
    cr_assert_eq(count_of(c, "b"), 1);
    cr_assert_eq(count_of(c, "p"), 1);
    cr_assert_eq(count_of(c, NULL), 1);
    for (size_t i = 0; i < 4; i++) {
        const char *name = json_string_value(json_object_get(c->events[i], "name"));
        cr_assert_str_eq(pvt_text(c->events[i], "event"), "entry");
        cr_assert_eq(json_is_true(json_object_get(c->events[i], "private")),
                     name != NULL && *name == 'p');
        if (name == NULL) {
            cr_assert_str_eq(pvt_text(c->events[i], "key"), nameless.hex);
            cr_assert_eq(pvt_number(c->events[i], "size"), 7);
        }
    }
    pvt_client_free(c);
    pvt_server_free(s);
}

Test(list, by_prefix)
{
    struct pvt_server *s = pvt_server_new(1);
    pvt_store_text(s, "dir/a", "1");
    pvt_store_text(s, "dir/b", "2");
    pvt_store_text(s, "dir", "3");
    pvt_store_text(s, "dirt", "4");
    pvt_store_text(s, NULL, "5");
    static const struct {
        const char *prefix;
        size_t count;
    } cases[] = {{"dir/", 2}, {"dir", 4}, {"dir/a", 1}, {"dir/ab", 0}, {"x", 0}, {"", 5}};
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        struct pvt_client *c = list(s, cases[i].prefix);
        has_entries(c, cases[i].count);
        pvt_client_free(c);
    }
    struct pvt_client *c =
        pvt_ask(s, json_pack("{s:s, s:s}", "op", "ls", "prefix_hex", "6469722f"));
    has_entries(c, 2);
    pvt_client_free(c);
    pvt_refused(pvt_ask(s, json_pack("{s:s, s:i}", "op", "ls", "prefix", 1)), PV_EXIT_USAGE,
                "prefix");
    pvt_server_free(s);
}

Test(list, names_that_moved_or_went)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key first = pvt_store_text(s, "name", "first");
    struct pvt_key second = pvt_store_text(s, "name", "second");
    struct pvt_client *c = list(s, NULL);
    has_entries(c, 2);
    for (size_t i = 0; i < 2; i++) {
        bool named = json_object_get(c->events[i], "name") != NULL;
        cr_assert_str_eq(pvt_text(c->events[i], "key"), named ? second.hex : first.hex);
    }
    pvt_client_free(c);
    pvt_client_free(pvt_ask_target(s, "rm", "name"));
    c = list(s, NULL);
    has_entries(c, 1);
    cr_assert_eq(count_of(c, NULL), 1);
    pvt_client_free(c);
    pvt_server_free(s);
}

/* Every one of them, however many (an empty file has hundreds of names in many a folder). */
Test(list, a_file_with_very_many_names)
{
    enum { NAMES = 700 };
    struct pvt_server *s = pvt_server_new(1);
    char name[32];
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "folder-%03d/empty", i);
        pvt_store(s, name, "", 0);
    }
    struct pvt_client *c = list(s, NULL);
    has_entries(c, NAMES);
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "folder-%03d/empty", i);
        cr_assert_eq(count_of(c, name), 1);
    }
    pvt_client_free(c);
    c = list(s, "folder-1");
    has_entries(c, 100);
    pvt_client_free(c);
    pvt_server_free(s);
}

Test(list, a_slow_client_and_one_that_goes)
{
    enum { NAMES = 300 };
    struct pvt_server *s = pvt_server_new(1);
    char name[32];
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "name %d", i);
        pvt_store(s, i % 3 == 0 ? NULL : name, &i, sizeof i);
    }
    struct pvt_client *c = pvt_ask_with_room(s, json_pack("{s:s}", "op", "ls"), 0);
    pvt_settle(&s->net);
    cr_assert_eq(c->event_count, 0);
    for (size_t i = 1; c->is_open; i++) {
        pvt_read_on(c, 1);
        pvt_settle(&s->net);
        cr_assert_leq(c->event_count, i);
    }
    has_entries(c, NAMES);
    pvt_client_free(c);

    for (uint64_t steps = 0, more = 1; more != 0; steps++) {
        for (size_t room = 0; room < 3; room++) {
            c = pvt_ask_with_room(s, json_pack("{s:s}", "op", "ls"), room == 2 ? SIZE_MAX : room);
            more = pvt_steps(&s->net, steps);
            pvt_cancel(c);
            pvt_settle(&s->net);
            pvt_client_free(c);
        }
    }
    pvt_server_free(s);
}

static void put_malformed(struct pvt_node *n, uint8_t type, uint8_t no)
{
    uint8_t env[2000], salt[32] = {4}, plain[600] = {0xff};
    struct pv_record_draft draft = {.type = type,
                                    .rid = {{no}},
                                    .hlc = pvt_hlc(n),
                                    .epoch = pv_epoch_of(n->env.wall_ms),
                                    .body = plain,
                                    .body_len = sizeof plain};
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    cr_assert_eq(pv_record_seal(env, &op.u.record.len, &draft, pv_keyring_active(&n->keyring),
                                n->identity.seed, salt),
                 PV_OK);
    op.u.record.env = env;
    pvt_commit(n, &op, 1);
}

/* One bad record of whomever does not hide the others. */
Test(list, records_that_cannot_be_read)
{
    struct pvt_server *s = pvt_server_new(1);
    pvt_store_text(s, "name", "text");
    pvt_store_text(s, NULL, "no name");
    for (uint8_t i = 0; i < 4; i++)
        put_malformed(pvt_me(s), i < 2 ? PV_RECORD_FILE : PV_RECORD_NAME, (uint8_t)(i * 80 + 1));
    struct pvt_client *c = list(s, NULL);
    has_entries(c, 2);
    cr_assert_eq(pvt_number(c->final, "unreadable"), 4);
    pvt_client_free(c);
    pvt_server_free(s);
}

/* A list that is not whole does not end well. */
Test(list, out_of_memory_anywhere)
{
    struct pvt_server *s = pvt_server_new(1);
    unsigned failed = 0;
    pvt_store_text(s, "name", "text");
    pvt_store_text(s, NULL, "no name");
    for (uint64_t k = 0; k < 120; k++) {
        json_t *args = json_pack("{s:s}", "op", "ls");
        pv_mem_fail_after(k);
        struct pvt_client *c = pvt_begin(s, args);
        for (int i = 0; c->is_open && i < 1000 && pvt_step(&s->net); i++)
            continue;
        pv_mem_fail_after(UINT64_MAX);
        pvt_settle(&s->net);
        cr_assert_not(c->is_open);
        if (!c->lost && pvt_ok(c))
            has_entries(c, 2);
        else
            failed++;
        pvt_client_free(c);
    }
    cr_assert_gt(failed, 10);
    pvt_server_free(s);
}

static size_t count_pages(struct pvt_server *s, const char *prefix, int limit, size_t *pages)
{
    size_t count = 0;
    char next[80] = "";
    do {
        json_t *args = json_pack("{s:s, s:i}", "op", "ls", "limit", limit);
        if (prefix != NULL)
            json_object_set_new(args, "prefix", json_string(prefix));
        if (next[0] != '\0')
            json_object_set_new(args, "after", json_string(next));
        struct pvt_client *c = pvt_ask(s, args);
        has_entries(c, c->event_count);
        const char *text = json_string_value(json_object_get(c->final, "next"));
        snprintf(next, sizeof next, "%s", text != NULL ? text : "");
        cr_assert(text == NULL || prefix != NULL || c->event_count >= (size_t)limit);
        cr_assert_lt(c->event_count, (size_t)limit + 64);
        count += c->event_count;
        (*pages)++;
        pvt_client_free(c);
    } while (next[0] != '\0');
    return count;
}

Test(list, in_pages)
{
    enum { NAMES = 150 };
    struct pvt_server *s = pvt_server_new(1);
    char name[32];
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "%s/%d", i % 3 == 0 ? "third" : "rest", i);
        pvt_store(s, name, "", 0);
        snprintf(name, sizeof name, "nameless %d", i);
        pvt_store_text(s, NULL, name);
    }
    static const struct {
        const char *prefix;
        int limit;
        size_t count, pages_min, pages_max;
    } cases[] = {
        {NULL, 1, 2 * NAMES, 4, 8},    {NULL, 64, 2 * NAMES, 4, 6}, {NULL, 100, 2 * NAMES, 2, 4},
        {NULL, 1000, 2 * NAMES, 1, 1}, {"third/", 10, 50, 2, 4},    {"none", 1, 0, 1, 1},
    };
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        size_t pages = 0;
        cr_assert_eq(count_pages(s, cases[i].prefix, cases[i].limit, &pages), cases[i].count);
        cr_assert(pages >= cases[i].pages_min && pages <= cases[i].pages_max, "%zu: %zu", i, pages);
    }
    static const char *const wrong[] = {
        "{\"limit\":0}",
        "{\"limit\":-1}",
        "{\"limit\":\"1\"}",
        "{\"after\":\"\"}",
        "{\"after\":\"n0123\"}",
        "{\"after\":null}",
        "{\"after\":5}",
        "{\"after\":\"x0000000000000000000000000000000000000000000000000000000000000000\"}",
        "{\"after\":\"n000000000000000000000000000000000000000000000000000000000000000g\"}",
    };
    for (size_t i = 0; i < PV_COUNT(wrong); i++) {
        json_t *args = json_loads(wrong[i], 0, NULL);
        json_object_set_new(args, "op", json_string("ls"));
        pvt_refused(pvt_ask(s, args), PV_EXIT_USAGE, "malformed");
    }
    pvt_server_free(s);
}
