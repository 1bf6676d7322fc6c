/* What a `store` refuses before it stores anything, and the names it gives. */
#include "cmd/peervault/commands.h"
#include "cmd/peervault/store_plan.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(store_plan, .timeout = 10);

static struct pv_store_plan plan;

static enum pv_exit make(int argc, const char *const *line)
{
    static char copies[8][1200];
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
    pv_store_plan_release(&plan);
    enum pv_exit exit = pv_store_plan_make(&plan, &args);
    pv_args_release(&args);
    return exit;
}

#define MAKE(...)                                                       \
    make((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
         (const char *[]){__VA_ARGS__})

Test(store_plan, names_files_by_their_last_component)
{
    cr_assert_eq(MAKE("a", "x/b", "/y/z/c.txt", "-", "./d/"), PV_EXIT_OK);
    cr_assert_eq(plan.count, 5);
    cr_assert_str_eq(plan.items[0].name, "a");
    cr_assert_str_eq(plan.items[1].name, "b");
    cr_assert_str_eq(plan.items[2].name, "c.txt");
    cr_assert_null(plan.items[3].name);
    cr_assert_null(plan.items[4].name);
    cr_assert(plan.wait && !plan.is_private && plan.copies == 0);
    cr_assert_eq(MAKE("-", "--name", "stream", "--private", "--no-wait"), PV_EXIT_OK);
    cr_assert_str_eq(plan.items[0].name, "stream");
    cr_assert(!plan.wait && plan.is_private);
    cr_assert_eq(MAKE("x", "--copies", "64"), PV_EXIT_OK);
    cr_assert_eq(plan.copies, 64);
    pv_store_plan_release(&plan);
}

Test(store_plan, refuses_what_cannot_be_meant)
{
    char name[1026];
    cr_assert_eq(MAKE("x/same", "other", "y/same"), PV_EXIT_USAGE);
    cr_assert_eq(MAKE("a", "b", "--name", "n"), PV_EXIT_USAGE);
    cr_assert_eq(MAKE("-", "-"), PV_EXIT_USAGE);
    cr_assert_eq(MAKE("x", "--copies", "0"), PV_EXIT_USAGE);
    cr_assert_eq(MAKE("x", "--copies", "65"), PV_EXIT_USAGE);
    cr_assert_eq(MAKE("x", "--copies", "many"), PV_EXIT_USAGE);
    cr_assert_eq(MAKE("x", "--copies", "2", "--no-wait"), PV_EXIT_USAGE);
    memset(name, 'n', 1025);
    name[1025] = '\0';
    cr_assert_eq(MAKE("-", "--name", name), PV_EXIT_USAGE);
    name[1024] = '\0';
    cr_assert_eq(MAKE("-", "--name", name), PV_EXIT_OK);
    pv_store_plan_release(&plan);
}

static struct pv_store_item item(json_int_t copies, json_int_t want, enum pv_exit exit)
{
    struct pv_store_item i = {
        .path = "f", .settled = true, .exit = exit, .copies = copies, .want = want};
    if (exit == PV_EXIT_OK)
        memset(i.key, 'a', PV_ID_HEX_LEN);
    return i;
}

Test(store_plan, exits_with_the_single_cause)
{
    struct pv_cli cli = {.quiet = true};
    struct pv_store_item items[] = {item(1, 2, PV_EXIT_OK), item(2, 2, PV_EXIT_OK),
                                    item(0, 0, PV_EXIT_FULL)};
    struct pv_store_plan p = {.items = items, .count = 2};
    cr_assert_eq(pv_store_plan_finish(&p, &cli, false), PV_EXIT_OK);
    p.count = 3;
    cr_assert_eq(pv_store_plan_finish(&p, &cli, false), PV_EXIT_FULL);
    items[0] = item(0, 0, PV_EXIT_CORRUPT);
    cr_assert_eq(pv_store_plan_finish(&p, &cli, true), PV_EXIT_FAILED);
}
