/* Which of several requests an error names, and what it says of it. */
#include "cmd/peervault/unanswered.h"
#include "cmd/peervault/client.h"
#include "internal/base/mem.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(unanswered, .timeout = 10);

static void ask(struct pv_unanswered *u, json_int_t id, const char *op, const char *key,
                const char *subject)
{
    json_t *request = json_pack("{s:s}", "op", op);
    if (key != NULL)
        cr_assert(pv_json_set_bytes(request, key, subject));
    pv_unanswered_add(u, id, request);
    json_decref(request);
}

static void hear(struct pv_unanswered *u, json_int_t id, const char *event)
{
    json_t *message = json_pack("{s:I}", "id", id);
    if (event != NULL)
        json_object_set_new(message, "event", json_string(event));
    pv_unanswered_note(u, message);
    json_decref(message);
}

static void check(const struct pv_unanswered *u, const char *beginning, const char *words)
{
    char text[PV_UNANSWERED_TEXT];
    pv_unanswered_explain(u, text);
    cr_assert_eq(strncmp(text, beginning, strlen(beginning)), 0, "%s", text);
    cr_assert_not_null(strstr(text, words), "%s", text);
}

Test(unanswered, names_the_first_file_that_is_not_safe)
{
    struct pv_unanswered u = {.count = 0};
    check(&u, "the daemon ended the connection", "repeat the command");
    ask(&u, 1, "store", "name", "one");
    ask(&u, 2, "store", "name", "\xff two");
    ask(&u, 3, "store", NULL, NULL);
    check(&u, "one: ", "store what has no line");
    hear(&u, 1, "copies");
    check(&u, "one: ", "store what has no line");
    hear(&u, 1, "durable");
    check(&u, "\xff two: ", "store what has no line");
    hear(&u, 2, NULL);
    check(&u, "-: ", "store what has no line");
    hear(&u, 3, "durable");
    check(&u, "one: ", "is safe here");
    hear(&u, 1, NULL);
    hear(&u, 7, NULL); /* nobody asked */
    hear(&u, 3, NULL);
    cr_assert_eq(u.count, 0);
    ask(&u, 4, "get", "target", "four");
    check(&u, "four: ", "get it once more");
    ask(&u, 5, "status", NULL, NULL);
    hear(&u, 4, NULL);
    check(&u, "the daemon", "repeat the command");
    pv_unanswered_clear(&u);
    cr_assert_eq(u.count, 0);
}

Test(unanswered, bounds)
{
    struct pv_unanswered u = {.count = 0};
    char longest[4097], text[PV_UNANSWERED_TEXT];
    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    for (json_int_t id = 1; id <= PV_UNANSWERED_MAX + 1; id++)
        ask(&u, id, "get", "target", longest);
    cr_assert_eq(u.count, PV_UNANSWERED_MAX);
    pv_unanswered_explain(&u, text);
    cr_assert_not_null(strstr(text, "its log says why"));
    hear(&u, PV_UNANSWERED_MAX + 1, NULL);
    cr_assert_eq(u.count, PV_UNANSWERED_MAX);
    pv_unanswered_clear(&u);
}

/* Without memory for the name, the sentence is there without it. */
Test(unanswered, out_of_memory)
{
    struct pv_unanswered u = {.count = 0};
    json_t *request = json_pack("{s:s, s:s}", "op", "get", "target_hex", "ff00");
    for (uint64_t k = 0; k < 3; k++) {
        pv_mem_fail_after(k);
        pv_unanswered_add(&u, (json_int_t)k, request);
        pv_mem_fail_after(UINT64_MAX);
    }
    cr_assert_eq(u.count, 3);
    check(&u, "", "get it once more");
    pv_unanswered_clear(&u);
    json_decref(request);
}
