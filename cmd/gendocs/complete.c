/*
 * zsh and fish take lists of options and arguments with their descriptions; each has its own rules
 * of quoting.
 */
#include "cmd/gendocs/gendocs.h"

#include <stdio.h>
#include <string.h>

/* Inside single quotes of the shell; special characters get a backslash in front. */
static void put_quoted(const char *text, size_t len, const char *special, const char *quote)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\'') {
            (void)fputs(quote, stdout);
            continue;
        }
        if (strchr(special, text[i]) != NULL)
            (void)putchar('\\');
        (void)putchar(text[i]);
    }
}

/* What names the command in a list of first words: its help, or for a group the group's words. */
static void put_description(const struct pv_command *c, const char *special, const char *quote)
{
    if (pv_second_word(c) == NULL) {
        put_quoted(c->help, strlen(c->help), special, quote);
        return;
    }
    const char *between = "";
    for (const struct pv_command *d = c; d->name != NULL; d++)
        if (strncmp(d->name, c->name, pv_first_word(c) + 1) == 0) {
            (void)printf("%s%s", between, pv_second_word(d));
            between = ", ";
        }
}

/* ---- zsh ---- */

static void zsh_text(const char *text)
{
    put_quoted(text, strlen(text), "[]:\\", "'\\''");
}

static void zsh_values(const char *name)
{
    switch (pv_values_of(name)) {
    case PV_VALUES_FILES:
        (void)printf("_files");
        break;
    case PV_VALUES_FOLDERS:
        (void)printf("_files -/");
        break;
    case PV_VALUES_COMMANDS:
        (void)printf("_peervault_commands");
        break;
    case PV_VALUES_CHOICE:
        (void)putchar('(');
        for (; *name != '\0'; name++)
            (void)putchar(*name == '|' ? ' ' : *name);
        (void)putchar(')');
        break;
    case PV_VALUES_NONE:
    default:
        break;
    }
}

static void zsh_spec(const struct pv_option *o, const char *dashes, const char *name)
{
    (void)printf(" \\\n            '%s%s%s%s[", o->repeats ? "*" : "", dashes, name,
                 o->metavar == NULL  ? ""
                 : dashes[1] != '\0' ? "="
                                     : "+");
    zsh_text(o->help);
    (void)putchar(']');
    if (o->metavar != NULL) {
        (void)putchar(':');
        zsh_text(o->metavar);
        (void)putchar(':');
        zsh_values(o->metavar);
    }
    (void)putchar('\'');
}

static void zsh_options(const struct pv_option *options)
{
    for (const struct pv_option *o = options; o != NULL && o->name != NULL; o++) {
        const char letter[2] = {o->letter, '\0'};
        zsh_spec(o, "--", o->name);
        if (o->letter != '\0')
            zsh_spec(o, "-", letter);
    }
}

static void zsh_command(const struct pv_command *c)
{
    (void)printf("    '%s')\n        _arguments $globals", c->name);
    zsh_options(c->options);
    if (c->words_max > 0) {
        (void)printf(" \\\n            '*:");
        zsh_text(c->arguments);
        (void)putchar(':');
        zsh_values(c->arguments);
        (void)putchar('\'');
    }
    (void)printf("\n        ;;\n");
}

static void zsh_list(const char *first_word, size_t len)
{
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++) {
        if (first_word == NULL ? !pv_is_first_of_group(c)
                               : strncmp(c->name, first_word, len) != 0 || c->name[len] != ' ')
            continue;
        (void)printf("        '%.*s:", first_word == NULL ? (int)pv_first_word(c) : 100,
                     first_word == NULL ? c->name : pv_second_word(c));
        if (first_word == NULL)
            put_description(c, "", "'\\''");
        else
            zsh_text(c->help);
        (void)printf("'\n");
    }
}

static void zsh_groups(void)
{
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++) {
        if (!pv_is_first_of_group(c) || !pv_has_second_words(c))
            continue;
        (void)printf("    %.*s)\n        local -a seconds=(\n", (int)pv_first_word(c), c->name);
        zsh_list(c->name, pv_first_word(c));
        (void)printf("        )\n"
                     "        if [[ $words[2] != -* ]]; then\n" /* else: `invite --blind` */
                     "            if (( CURRENT == 2 )); then\n"
                     "                _describe -t commands command seconds\n"
                     "                return\n"
                     "            fi\n"
                     "            name=\"$words[1] $words[2]\"\n"
                     "            shift words\n"
                     "            (( CURRENT-- ))\n"
                     "        fi\n"
                     "        ;;\n");
    }
}

void pv_complete_zsh(void)
{
    (void)printf("#compdef peervault\n"
                 "# Made by gendocs from the table of commands.\n\n"
                 "_peervault_commands() {\n"
                 "    local -a commands=(\n");
    zsh_list(NULL, 0);
    (void)printf("    )\n"
                 "    _describe -t commands command commands\n}\n\n"
                 "_peervault() {\n"
                 "    local curcontext=\"$curcontext\" state name\n"
                 "    local -a globals line\n"
                 "    typeset -A opt_args\n"
                 "    globals=(");
    zsh_options(pv_global_options);
    (void)printf("\n    )\n"
                 "    _arguments -C $globals '1:command:_peervault_commands' '*::argument:->rest'\n"
                 "    [[ $state == rest ]] || return\n"
                 "    name=$words[1]\n"
                 "    case $name in\n");
    zsh_groups();
    (void)printf("    esac\n"
                 "    case $name in\n");
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++)
        zsh_command(c);
    (void)printf("    esac\n}\n\n_peervault \"$@\"\n");
}

/* ---- fish ---- */

static void fish_text(const char *text)
{
    put_quoted(text, strlen(text), "\\", "\\'");
}

static void fish_values(const char *name)
{
    switch (pv_values_of(name)) {
    case PV_VALUES_FILES:
        (void)printf(" -r -F");
        break;
    case PV_VALUES_FOLDERS:
        (void)printf(" -x -a '(__fish_complete_directories)'");
        break;
    case PV_VALUES_CHOICE:
        (void)printf(" -x -a '");
        for (; *name != '\0'; name++)
            (void)putchar(*name == '|' ? ' ' : *name);
        (void)putchar('\'');
        break;
    case PV_VALUES_COMMANDS:
    case PV_VALUES_NONE:
    default:
        (void)printf(" -x");
        break;
    }
}

/* The condition under which the command's own completions are offered. */
static void fish_condition(const struct pv_command *c)
{
    (void)printf("complete -c peervault -n '__fish_seen_subcommand_from %.*s",
                 (int)pv_first_word(c), c->name);
    if (pv_second_word(c) != NULL)
        (void)printf("; and __fish_seen_subcommand_from %s", pv_second_word(c));
    (void)putchar('\'');
}

static void fish_option(const struct pv_option *o)
{
    (void)printf(" -l %s", o->name);
    if (o->letter != '\0')
        (void)printf(" -s %c", o->letter);
    if (o->metavar != NULL)
        fish_values(o->metavar);
    (void)printf(" -d '");
    fish_text(o->help);
    (void)printf("'\n");
}

static void fish_name(const struct pv_command *c)
{
    if (pv_is_first_of_group(c)) {
        (void)printf("complete -c peervault -n __fish_use_subcommand -a %.*s -d '",
                     (int)pv_first_word(c), c->name);
        put_description(c, "\\", "\\'");
        (void)printf("'\n");
    }
    if (pv_second_word(c) == NULL)
        return;
    (void)printf("complete -c peervault -n '__fish_seen_subcommand_from %.*s' -a %s -d '",
                 (int)pv_first_word(c), c->name, pv_second_word(c));
    fish_text(c->help);
    (void)printf("'\n");
}

static void fish_command(const struct pv_command *c)
{
    fish_name(c);
    for (const struct pv_option *o = c->options; o != NULL && o->name != NULL; o++) {
        fish_condition(c);
        fish_option(o);
    }
    if (pv_values_of(c->arguments) == PV_VALUES_FILES) {
        fish_condition(c);
        (void)printf(" -F\n");
    } else if (pv_values_of(c->arguments) == PV_VALUES_COMMANDS) {
        fish_condition(c);
        (void)printf(" -a '");
        for (const struct pv_command *d = pv_commands; d->name != NULL; d++)
            if (pv_is_first_of_group(d))
                (void)printf(" %.*s", (int)pv_first_word(d), d->name);
        (void)printf("'\n");
    }
}

void pv_complete_fish(void)
{
    (void)printf("# fish completion for peervault. Made by gendocs from the table of commands.\n"
                 "complete -c peervault -f\n");
    for (const struct pv_option *o = pv_global_options; o->name != NULL; o++) {
        (void)printf("complete -c peervault");
        fish_option(o);
    }
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++)
        fish_command(c);
}
