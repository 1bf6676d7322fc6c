/*
 * Help is the table of commands, printed; so is `help --json`.
 */
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"

#include <stdio.h>
#include <string.h>

enum { NAME_WIDTH = 22, OPTION_WIDTH = 24 };

static const char contract[] =
    "The vault: --vault, else PEERVAULT_VAULT, else XDG_DATA_HOME/peervault, else\n"
    "~/.local/share/peervault.\n"
    "\n"
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 corrupt data detected,\n"
    "5 unavailable (peers, copies, lock), 6 denied, 7 storage full, 70 internal error.\n"
    "For several files: the single cause, else 1.\n"
    "\n"
    "Environment: PEERVAULT_CLUSTER_KEY and PEERVAULT_AUTH_TOKEN, or\n"
    "PEERVAULT_CLUSTER_KEY_FILE and PEERVAULT_AUTH_TOKEN_FILE; PEERVAULT_LISTEN,\n"
    "PEERVAULT_PEERS and every other setting that `peervault config show` lists.\n";

static void print_indented(const char *lines)
{
    for (const char *line = lines; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        printf("  %.*s\n", (int)len, line);
        line += len + (line[len] == '\n' ? 1 : 0);
    }
}

static void print_options(const struct pv_option *options)
{
    for (const struct pv_option *o = options; o->name != NULL; o++) {
        char left[80];
        char letter[8] = "";
        if (o->letter != '\0')
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->metavar != NULL ? " " : "",
                 o->metavar != NULL ? o->metavar : "");
        printf("  %-*s  %s\n", OPTION_WIDTH, left, o->help);
    }
}

enum pv_exit pv_help_all(void)
{
    printf("peervault %s: your files, encrypted, on your own machines, named by sha256sum\n\n"
           "usage: peervault [options] COMMAND\n\ncommands:\n",
           PV_VERSION);
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++) {
        char left[80];
        snprintf(left, sizeof left, "%s %s", c->name, c->arguments);
        printf("  %-*s  %s\n", NAME_WIDTH, left, c->help);
    }
    printf("\noptions, before or after the command:\n");
    print_options(pv_global_options);
    printf("\n`peervault help COMMAND` says more.\n\n%s", contract);
    return pv_out_flush();
}

enum pv_exit pv_help_command(const struct pv_command *c)
{
    printf("usage: peervault [options] %s%s%s%s\n\n%s.\n", c->name,
           c->options != NULL ? " [options]" : "", c->arguments[0] != '\0' ? " " : "", c->arguments,
           c->help);
    if (c->details != NULL)
        printf("\n%s\n", c->details);
    if (c->options != NULL) {
        printf("\noptions:\n");
        print_options(c->options);
    }
    if (c->json != NULL) {
        printf("\n--json prints:\n");
        print_indented(c->json);
    }
    if (c->examples != NULL) {
        printf("\nexamples:\n");
        print_indented(c->examples);
    }
    return pv_out_flush();
}

static json_t *describe(const struct pv_command *c)
{
    json_t *options = json_array();
    for (const struct pv_option *o = c->options; o != NULL && o->name != NULL; o++)
        json_array_append_new(options,
                              json_pack("{s:s, s:s?, s:b, s:s}", "name", o->name, "metavar",
                                        o->metavar, "repeats", (int)o->repeats, "help", o->help));
    return json_pack("{s:s, s:s, s:s, s:o}", "name", c->name, "arguments", c->arguments, "help",
                     c->help, "options", options);
}

enum pv_exit pv_cmd_help(const struct pv_cli *cli, const struct pv_args *args)
{
    enum pv_exit exit = PV_EXIT_OK;
    size_t used = 0;
    if (args->word_count == 0 && !cli->json)
        return pv_help_all();
    for (const struct pv_command *c = pv_commands; args->word_count == 0 && c->name != NULL; c++)
        if ((exit = pv_out_json(describe(c))) != PV_EXIT_OK)
            return exit;
    if (args->word_count == 0)
        return exit;
    const struct pv_command *found = pv_command_find(args->words, args->word_count, &used);
    if (found != NULL && used == args->word_count)
        return cli->json ? pv_out_json(describe(found)) : pv_help_command(found);
    /* "help key": all that begin with the word. */
    if (args->word_count == 1 && pv_command_needs_second(args->words[0])) {
        size_t len = strlen(args->words[0]);
        for (const struct pv_command *c = pv_commands; c->name != NULL && exit == PV_EXIT_OK; c++)
            if (strncmp(c->name, args->words[0], len) == 0 && c->name[len] == ' ')
                exit = cli->json ? pv_out_json(describe(c)) : pv_help_command(c);
        return exit;
    }
    return pv_out_fail(PV_EXIT_USAGE, "%.80s: no such command: see `peervault help`",
                       args->words[0]);
}

enum pv_exit pv_cmd_version(const struct pv_cli *cli, const struct pv_args *args)
{
    (void)cli;
    if (pv_args_has(args, "json"))
        return pv_out_json(json_pack("{s:s}", "version", PV_VERSION));
    printf("peervault %s\n", PV_VERSION);
    return pv_out_flush();
}
