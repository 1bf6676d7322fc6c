/*
 * Global options, the command's name, its own options and words; then the command runs.
 */
#include "cmd/peervault/run.h"

#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"

struct call {
    const struct pv_command *command;
    struct pv_args args;
};

/* What is wrong with the number of words, else NULL. */
static const char *check_words(const struct pv_command *c, const struct pv_args *a)
{
    if (a->word_count < c->words_min)
        return "something is missing";
    if (a->word_count > c->words_max)
        return "too many arguments";
    for (size_t i = 0; i < a->word_count; i++)
        if (a->words[i][0] == '\0' && !c->may_be_empty)
            return "an argument is empty";
    return NULL;
}

/* Finds the command at argv[*at]; NULL when there is none: said. */
static const struct pv_command *find_command(int argc, char **argv, int *at)
{
    const char *words[2] = {argv[*at], *at + 1 < argc ? argv[*at + 1] : NULL};
    size_t used = 0;
    const struct pv_command *c = pv_command_find(words, words[1] != NULL ? 2 : 1, &used);
    if (c == NULL && pv_command_needs_second(words[0]))
        pv_out_line("%s%s%.80s: no such command: see `peervault help %s`", words[0],
                    words[1] != NULL ? " " : "", words[1] != NULL ? words[1] : "", words[0]);
    else if (c == NULL)
        pv_out_line("%.80s: no such command: see `peervault help`", words[0]);
    *at += (int)used;
    return c;
}

static enum pv_exit refuse(enum pv_err err, const char *why)
{
    if (err != PV_E_INVALID)
        return pv_out_no_memory();
    return pv_out_fail(PV_EXIT_USAGE, "%s", why);
}

/* Fills the call. *done: it has been answered already, with the exit code returned. */
static enum pv_exit read_command_line(struct call *call, int argc, char **argv, bool *done)
{
    char why[PV_ARGS_WHY_MAX];
    int at = 1;
    struct pv_args *args = &call->args;
    struct pv_args_input in = {
        .argc = argc, .argv = argv, .global = pv_global_options, .stop_at_word = true};
    *done = true;
    enum pv_err err = pv_args_parse(args, &in, &at, why);
    if (err != PV_OK)
        return refuse(err, why);
    if (at == argc && pv_args_has(args, "version"))
        return pv_cmd_version(&(struct pv_cli){0}, args);
    if (at == argc && pv_args_has(args, "help"))
        return pv_help_all();
    if (at == argc)
        return pv_out_fail(PV_EXIT_USAGE, "no command: see `peervault help`");
    call->command = find_command(argc, argv, &at);
    if (call->command == NULL)
        return PV_EXIT_USAGE;
    in.own = call->command->options;
    in.stop_at_word = false;
    err = pv_args_parse(args, &in, &at, why);
    if (err != PV_OK)
        return refuse(err, why);
    if (pv_args_has(args, "help"))
        return pv_help_command(call->command);
    const char *problem = check_words(call->command, args);
    if (problem != NULL)
        return pv_out_fail(PV_EXIT_USAGE, "%s: %s: see `peervault help %s`", call->command->name,
                           problem, call->command->name);
    *done = false;
    return PV_EXIT_OK;
}

static enum pv_exit run(const struct call *call)
{
    struct pv_cli cli = {0};
    enum pv_exit exit = pv_cli_init(&cli, &call->args);
    if (exit == PV_EXIT_OK && !call->command->vaultless)
        exit = pv_cli_find_vault(&cli, &call->args);
    if (exit == PV_EXIT_OK)
        exit = call->command->run(&cli, &call->args);
    pv_cli_release(&cli);
    return exit;
}

enum pv_exit pv_run(int argc, char **argv)
{
    struct call call = {0};
    bool done;
    pv_args_init(&call.args);
    enum pv_exit exit = read_command_line(&call, argc, argv, &done);
    if (!done)
        exit = run(&call);
    pv_args_release(&call.args);
    return exit;
}
