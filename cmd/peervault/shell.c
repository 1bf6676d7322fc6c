/*
 * shell: each line is taken apart and run as main runs its arguments, with the options of the shell
 * in front. A connection to the daemon is kept from one to the next; without a daemon each command
 * serves the vault as it does alone, so that a daemon may start meanwhile.
 */
#include "cmd/peervault/shell.h"
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/lines.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/run.h"
#include "cmd/peervault/words.h"
#include "internal/base/mem.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX = 256 * 1024, OPTIONS_MAX = 8 };

struct shell {
    const struct pv_cli *cli;
    char *options[OPTIONS_MAX]; /* argv[0] and those of the shell itself */
    int option_count;
    enum pv_exit exit; /* of the last command */
    bool ended;
};

static void end(struct shell *s, const struct pv_words *w)
{
    uint64_t number;
    if (w->count > 2 || (w->count == 2 && pv_number_parse(&number, w->list[1], 0, 255) != PV_OK)) {
        s->exit = pv_out_fail(PV_EXIT_USAGE, "exit: a number from 0 to 255, or nothing");
        return;
    }
    if (w->count == 2)
        s->exit = (enum pv_exit)number;
    s->ended = true;
}

/* What goes on for ever, or reads lines itself, has a process of its own. */
static bool is_elsewhere(const char *name)
{
    return strcmp(name, "daemon") == 0 || strcmp(name, "demo") == 0 || strcmp(name, "shell") == 0;
}

static void run_words(struct shell *s, const struct pv_words *w)
{
    char *argv[OPTIONS_MAX + PV_WORDS_MAX + 1];
    int argc = s->option_count;
    if (strcmp(w->list[0], "exit") == 0 || strcmp(w->list[0], "quit") == 0) {
        end(s, w);
        return;
    }
    if (is_elsewhere(w->list[0])) {
        s->exit = pv_out_fail(PV_EXIT_USAGE, "%s: not in a shell: run it by itself", w->list[0]);
        return;
    }
    memcpy(argv, s->options, (size_t)argc * sizeof *argv);
    memcpy(argv + argc, w->list, (w->count + 1) * sizeof *argv);
    s->exit = pv_run(argc + (int)w->count, argv);
}

static void run_line(struct shell *s, const char *line)
{
    struct pv_words w;
    enum pv_err err = pv_words_split(&w, line);
    if (err != PV_OK) {
        s->exit = err == PV_E_NOMEM
                      ? pv_out_no_memory()
                      : pv_out_fail(PV_EXIT_USAGE, "a quote or a backslash has no end");
        return;
    }
    if (w.count > 0)
        run_words(s, &w);
    pv_words_release(&w);
}

/* Blocks until there is a line; a script is no terminal. False: the end. */
static bool read_line(struct shell *s, struct pv_lines *lines, struct pv_line *line)
{
    for (;;) {
        struct pollfd in = {.fd = pv_lines_fd(lines), .events = POLLIN};
        switch (pv_lines_next(lines, line)) {
        case PV_LINES_LINE:
            return true;
        case PV_LINES_QUIET:
            (void)poll(&in, 1, -1);
            break;
        case PV_LINES_FAILED:
            s->exit = pv_out_fail(PV_EXIT_FAILED, "the lines: %s", line->text);
            return false;
        case PV_LINES_END:
            return false;
        }
    }
}

static void run_script(struct shell *s)
{
    struct pv_lines *lines = NULL;
    struct pv_line line;
    s->exit = pv_lines_open(&lines, "-", '\n', LINE_MAX);
    if (s->exit != PV_EXIT_OK)
        return;
    while (!s->ended && read_line(s, lines, &line)) {
        if (line.too_long || strlen(line.text) < line.len)
            s->exit = pv_out_fail(PV_EXIT_USAGE, "a line is too long, or has a NUL in it");
        else
            run_line(s, line.text);
    }
    pv_lines_close(lines);
}

static void converse(struct shell *s, struct pv_editor *editor)
{
    const char *line;
    while (!s->ended && (line = pv_editor_line(editor)) != NULL)
        run_line(s, line);
}

static void take_options(struct shell *s, const struct pv_cli *cli)
{
    static char name[] = "peervault", vault[] = "--vault", json[] = "--json", quiet[] = "-q",
                verbose[] = "-v";
    s->options[s->option_count++] = name;
    s->options[s->option_count++] = vault;
    s->options[s->option_count++] = cli->vault;
    if (cli->json)
        s->options[s->option_count++] = json;
    if (cli->quiet)
        s->options[s->option_count++] = quiet;
    if (cli->verbose)
        s->options[s->option_count++] = verbose;
}

enum pv_exit pv_cmd_shell(const struct pv_cli *cli, const struct pv_args *args)
{
    struct shell s = {.cli = cli};
    (void)args;
    take_options(&s, cli);
    pv_client_keep(true);
    struct pv_editor *editor = isatty(STDIN_FILENO) == 1 ? pv_editor_new(cli) : NULL;
    if (editor != NULL)
        converse(&s, editor);
    else
        run_script(&s);
    pv_editor_free(editor);
    pv_client_keep(false);
    return s.exit;
}
