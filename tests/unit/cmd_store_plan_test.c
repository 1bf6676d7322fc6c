/* What of the files of a `store` is kept, when it is said, and how it all exits. */
#include "cmd/peervault/commands.h"
#include "cmd/peervault/store_plan.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(store_plan, .timeout = 10);

static struct pv_store_plan plan;
static struct pv_cli cli = {.quiet = true};

static enum pv_exit init(int argc, const char *const *line)
{
    static char copies[8][80];
    char *argv[8], why[PV_ARGS_WHY_MAX];
    size_t used = 0;
    int at = 0;
    const char *name = "store";
    struct pv_args args;
    struct pv_args_input in = {argc, argv, pv_global_options,
                               pv_command_find(&name, 1, &used)->options, false};
    for (int i = 0; i < argc; i++)
        argv[i] = strcpy(copies[i], line[i]);
    pv_args_init(&args);
    cr_assert_eq(pv_args_parse(&args, &in, &at, why), PV_OK, "%s", why);
    enum pv_exit exit = pv_store_plan_init(&plan, &args);
    pv_args_release(&args);
    return exit;
}

#define INIT(...)                                                       \
    init((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
         (const char *[]){__VA_ARGS__})

Test(store_plan, reads_its_options)
{
    cr_assert_eq(INIT("a"), PV_EXIT_OK);
    cr_assert(plan.wait && !plan.is_private && plan.copies == 0);
    cr_assert_eq(INIT("a", "--private", "--no-wait"), PV_EXIT_OK);
    cr_assert(!plan.wait && plan.is_private);
    cr_assert_eq(INIT("x", "--copies", "64"), PV_EXIT_OK);
    cr_assert_eq(plan.copies, 64);
    cr_assert_eq(INIT("x", "--copies", "0"), PV_EXIT_USAGE);
    cr_assert_eq(INIT("x", "--copies", "65"), PV_EXIT_USAGE);
    cr_assert_eq(INIT("x", "--copies", "many"), PV_EXIT_USAGE);
    cr_assert_eq(INIT("x", "--copies", "2", "--no-wait"), PV_EXIT_USAGE);
}

static void add(const char *path, json_int_t id)
{
    struct pv_store_item *item = pv_store_plan_add(&plan, path, NULL);
    cr_assert_not_null(item);
    item->id = id;
}

static void stored(json_int_t id, json_int_t copies, json_int_t want)
{
    struct pv_store_item *item = pv_store_plan_find(&plan, id);
    cr_assert_not_null(item);
    memset(item->key, 'a', PV_ID_HEX_LEN);
    item->size = 10;
    item->copies = copies;
    item->want = want;
    pv_store_settle(item, PV_EXIT_OK, NULL);
}

static enum pv_exit finish(bool embedded)
{
    cr_assert_eq(pv_store_plan_print(&plan, &cli), PV_EXIT_OK);
    cr_assert_eq(plan.done, plan.begun);
    return pv_store_plan_finish(&plan, &cli, embedded);
}

Test(store_plan, exits_with_the_single_cause)
{
    INIT("a");
    add("a", 1);
    add("b", 2);
    stored(1, 1, 2);
    stored(2, 2, 2);
    cr_assert_eq(finish(false), PV_EXIT_OK);
    cr_assert_eq(plan.stored, 2);
    cr_assert_eq(plan.behind, 1);
    cr_assert_eq(plan.bytes, 20);
    add("c", 3);
    pv_store_settle(pv_store_plan_find(&plan, 3), PV_EXIT_FULL, "no room");
    cr_assert_eq(finish(true), PV_EXIT_FULL);
    add("d", 4);
    add("e", 5);
    pv_store_plan_settle_all(&plan, PV_EXIT_CORRUPT, "one reason");
    cr_assert_eq(finish(true), PV_EXIT_FAILED);
    cr_assert_eq(plan.failed, 3);
}

Test(store_plan, keeps_what_is_not_done_and_no_more)
{
    INIT("a");
    for (int i = 0; i < PV_STORE_RING; i++) {
        cr_assert(pv_store_plan_has_room(&plan));
        add("x", i + 1);
    }
    cr_assert(!pv_store_plan_has_room(&plan));
    for (int i = 1; i < PV_STORE_RING; i++)
        stored(i + 1, 1, 1);
    cr_assert(!pv_store_plan_is_ready(&plan, &cli)); /* the first one comes first */
    cr_assert_eq(pv_store_plan_print(&plan, &cli), PV_EXIT_OK);
    cr_assert(!pv_store_plan_has_room(&plan));
    cr_assert_null(pv_store_plan_find(&plan, 2));
    stored(1, 1, 1);
    cr_assert(pv_store_plan_is_ready(&plan, &cli));
    cr_assert_eq(finish(false), PV_EXIT_OK);
    cr_assert_eq(plan.stored, PV_STORE_RING);
    cr_assert(pv_store_plan_has_room(&plan));
}

Test(store_plan, is_said_when_durable_and_done_when_settled)
{
    struct pv_cli json = {.quiet = true, .json = true};
    INIT("a");
    add("x", 1);
    memset(pv_store_plan_find(&plan, 1)->key, 'b', PV_ID_HEX_LEN);
    cr_assert(pv_store_plan_is_ready(&plan, &cli));
    cr_assert(!pv_store_plan_is_ready(&plan, &json));
    cr_assert_eq(pv_store_plan_print(&plan, &cli), PV_EXIT_OK);
    cr_assert_eq(plan.printed, 1);
    cr_assert_eq(plan.done, 0);
    stored(1, 2, 2);
    cr_assert_eq(finish(false), PV_EXIT_OK);
    add("left open", 2);
    pv_store_plan_release(&plan);
}
