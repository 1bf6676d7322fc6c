/* The table of commands is whole and consistent, and finds what it should. */
#include "cmd/peervault/cli.h"
#include "cmd/peervault/commands.h"
#include "internal/base/mem.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

TestSuite(commands, .timeout = 10);

Test(commands, every_entry_is_whole)
{
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++) {
        cr_assert_not_null(c->arguments, "%s", c->name);
        cr_assert_not_null(c->help, "%s", c->name);
        cr_assert_not_null(c->run, "%s", c->name);
        cr_assert_leq(c->words_min, c->words_max, "%s", c->name);
        cr_assert_eq(c->words_max > 0, c->arguments[0] != '\0', "%s", c->name);
        cr_assert_neq(c->help[strlen(c->help) - 1], '.', "%s", c->name);
        for (const struct pv_command *d = pv_commands; d < c; d++)
            cr_assert_str_neq(c->name, d->name);
        for (const struct pv_option *o = c->options; o != NULL && o->name != NULL; o++)
            for (const struct pv_option *g = pv_global_options; g->name != NULL; g++)
                cr_assert(strcmp(o->name, g->name) != 0 &&
                              (o->letter == 0 || o->letter != g->letter),
                          "%s: %s", c->name, o->name);
    }
}

static void check_width(const char *what, const char *lines, size_t max)
{
    for (size_t len; lines != NULL && *lines != '\0'; lines += len + (lines[len] == '\n' ? 1 : 0)) {
        len = strcspn(lines, "\n");
        cr_assert_leq(len, max, "%s: %.*s", what, (int)len, lines);
    }
}

Test(commands, fit_a_terminal_of_80_columns)
{
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++) {
        cr_assert_leq(strlen(c->name) + strlen(c->arguments), 21, "%s", c->name);
        check_width(c->name, c->help, 80 - 26); /* behind the name in the list of all */
        check_width(c->name, c->details, 80);
        check_width(c->name, c->json, 80 - 2);
        check_width(c->name, c->examples, 80 - 2);
        for (const struct pv_option *o = c->options; o != NULL && o->name != NULL; o++)
            check_width(o->name, o->help, 80 - 28);
    }
    for (const struct pv_option *o = pv_global_options; o->name != NULL; o++)
        check_width(o->name, o->help, 80 - 28);
}

static const char *found(const char *first, const char *second, size_t count, size_t *used)
{
    const char *words[] = {first, second};
    const struct pv_command *c = pv_command_find(words, count, used);
    return c != NULL ? c->name : "none";
}

Test(commands, are_found_by_one_or_two_words)
{
    size_t used = 0;
    cr_assert_str_eq(found("store", "x", 2, &used), "store");
    cr_assert_eq(used, 1);
    cr_assert_str_eq(found("key", "export", 2, &used), "key export");
    cr_assert_eq(used, 2);
    cr_assert_str_eq(found("status", NULL, 1, &used), "status");
    cr_assert_str_eq(found("stat", NULL, 1, &used), "stat");
    cr_assert_str_eq(found("key", NULL, 1, &used), "none");
    cr_assert_str_eq(found("key", "expor", 2, &used), "none");
    cr_assert_str_eq(found("key export", NULL, 1, &used), "none");
    cr_assert_str_eq(found("sto", NULL, 1, &used), "none");
    cr_assert_str_eq(found("", NULL, 1, &used), "none");
    cr_assert(pv_command_needs_second("key") && pv_command_needs_second("token"));
    cr_assert(!pv_command_needs_second("store") && !pv_command_needs_second("ke"));
}

static const char *environment[8];

static const char *get_env(void *ctx, const char *name)
{
    (void)ctx;
    for (size_t i = 0; environment[i] != NULL; i += 2)
        if (strcmp(environment[i], name) == 0)
            return environment[i + 1];
    return NULL;
}

static void vault_is(const char *option, const char *expected)
{
    char *path = NULL;
    cr_assert_eq(pv_vault_path(&path, option, get_env, NULL), PV_OK);
    cr_assert_str_eq(path, expected);
    pv_free(path);
}

Test(commands, the_vault_is_where_the_first_of_four_says)
{
    char *path = NULL;
    cr_assert_eq(pv_vault_path(&path, NULL, get_env, NULL), PV_E_NOT_FOUND);
    environment[0] = "HOME";
    environment[1] = "/home/u";
    vault_is(NULL, "/home/u/.local/share/peervault");
    environment[2] = "XDG_DATA_HOME";
    environment[3] = "relative";
    vault_is(NULL, "/home/u/.local/share/peervault");
    environment[3] = "/data";
    vault_is(NULL, "/data/peervault");
    environment[4] = "PEERVAULT_VAULT";
    environment[5] = "";
    vault_is(NULL, "/data/peervault");
    environment[5] = "/v";
    vault_is(NULL, "/v");
    vault_is("/option", "/option");
    cr_assert_eq(chdir("/tmp"), 0);
    vault_is("relative/x", "/tmp/relative/x");
}
