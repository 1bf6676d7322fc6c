/*
 * One shell function. It finds the command among the words before the cursor, skipping options and
 * their values; what can stand at the cursor follows from the option before it, else from the
 * command. It needs nothing of the bash-completion package. Readline splits words at "=" and ":",
 * so both appear as words of their own.
 */
#include "cmd/gendocs/gendocs.h"

#include <stdio.h>
#include <string.h>

/* The tables of options of all commands, the global one first; NULL at the end. */
static const struct pv_option *table(size_t i)
{
    return i == 0 ? pv_global_options : pv_commands[i - 1].options;
}

static bool is_table(size_t i)
{
    return i == 0 || pv_commands[i - 1].name != NULL;
}

/* Whether no earlier table has an option of this name: commands share some. */
static bool is_new(const struct pv_option *option, size_t in_table)
{
    for (size_t i = 0; i < in_table; i++)
        for (const struct pv_option *o = table(i); o != NULL && o->name != NULL; o++)
            if (strcmp(o->name, option->name) == 0)
                return false;
    return true;
}

static void put_pattern(const struct pv_option *o)
{
    (void)printf("--%s", o->name);
    if (o->letter != '\0')
        (void)printf("|-%c", o->letter);
}

static void put_options(const struct pv_option *options)
{
    for (const struct pv_option *o = options; o != NULL && o->name != NULL; o++) {
        (void)printf(" --%s", o->name);
        if (o->letter != '\0')
            (void)printf(" -%c", o->letter);
    }
}

static void put_choice(const char *metavar)
{
    for (; *metavar != '\0'; metavar++)
        (void)putchar(*metavar == '|' ? ' ' : *metavar);
}

static void put_names(void)
{
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++)
        if (pv_is_first_of_group(c))
            (void)printf(" %.*s", (int)pv_first_word(c), c->name);
}

static void put_second_words(const struct pv_command *first)
{
    size_t len = pv_first_word(first);
    for (const struct pv_command *c = first; c->name != NULL; c++)
        if (strncmp(c->name, first->name, len) == 0 && c->name[len] == ' ')
            (void)printf(" %s", c->name + len + 1);
}

/* Patterns of the options that take a value, for a case. */
static void put_value_options(void)
{
    const char *between = "";
    for (size_t i = 0; is_table(i); i++)
        for (const struct pv_option *o = table(i); o != NULL && o->name != NULL; o++)
            if (o->metavar != NULL && is_new(o, i)) {
                (void)fputs(between, stdout);
                put_pattern(o);
                between = "|";
            }
}

static void put_values(const struct pv_option *o)
{
    (void)printf("    ");
    put_pattern(o);
    (void)printf(") ");
    switch (pv_values_of(o->metavar)) {
    case PV_VALUES_FILES:
        (void)printf("_peervault_reply -f; ");
        break;
    case PV_VALUES_FOLDERS:
        (void)printf("_peervault_reply -d; ");
        break;
    case PV_VALUES_CHOICE:
        (void)printf("_peervault_reply -W '");
        put_choice(o->metavar);
        (void)printf("'; ");
        break;
    case PV_VALUES_COMMANDS:
    case PV_VALUES_NONE:
    default:
        break;
    }
    (void)printf("return ;;\n");
}

static void put_command(const struct pv_command *c)
{
    enum pv_values values = pv_values_of(c->arguments);
    if (c->options == NULL && values != PV_VALUES_FILES && values != PV_VALUES_COMMANDS)
        return;
    (void)printf("    '%s')", c->name);
    if (c->options != NULL) {
        (void)printf(" options+='");
        put_options(c->options);
        (void)printf("';");
    }
    if (values == PV_VALUES_FILES)
        (void)printf(" words=-f;");
    if (values == PV_VALUES_COMMANDS) {
        (void)printf(" words='");
        put_names();
        (void)printf("';");
    }
    (void)printf(";\n");
}

static void put_commands(void)
{
    (void)printf("    '') words='");
    put_names();
    (void)printf("' ;;\n");
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++) {
        if (pv_is_first_of_group(c) && pv_has_second_words(c)) {
            (void)printf("    %.*s) words='", (int)pv_first_word(c), c->name);
            put_second_words(c);
            (void)printf("' ;;&\n"); /* the first word may be a command itself */
        }
        put_command(c);
    }
}

static void put_groups(void)
{
    const char *between = "";
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++)
        if (pv_is_first_of_group(c) && pv_has_second_words(c)) {
            (void)printf("%s%.*s", between, (int)pv_first_word(c), c->name);
            between = "|";
        }
}

void pv_complete_bash(void)
{
    (void)printf("# bash completion for peervault. Made by gendocs from the table of commands.\n"
                 "_peervault_reply()\n{\n"
                 "    [ \"$1\" = -W ] || compopt -o filenames 2>/dev/null\n"
                 "    mapfile -t COMPREPLY < <(compgen \"$@\" -- \"$cur\")\n}\n\n"
                 "_peervault()\n{\n"
                 "    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
                 "    local i word skip='' command='' words='' options='");
    put_options(pv_global_options);
    (void)printf("'\n    COMPREPLY=()\n"
                 "    [ \"$before\" != = ] || before=${COMP_WORDS[COMP_CWORD - 2]}\n"
                 "    [ \"$cur\" != = ] || cur=\n"
                 "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                 "        word=${COMP_WORDS[i]}\n"
                 "        if [ -n \"$skip\" ]; then\n"
                 "            [ \"$word\" = = ] || skip=\n"
                 "            continue\n"
                 "        fi\n"
                 "        case $word in\n        ");
    put_value_options();
    (void)printf(") skip=1 ;;\n"
                 "        :) skip=1 ;;\n"
                 "        -*) ;;\n"
                 "        *)\n"
                 "            case $command in\n"
                 "            '') command=$word ;;\n            ");
    put_groups();
    (void)printf(") command=\"$command $word\" ;;\n"
                 "            esac\n"
                 "            ;;\n"
                 "        esac\n"
                 "    done\n"
                 "    case $before in\n");
    for (size_t i = 0; is_table(i); i++)
        for (const struct pv_option *o = table(i); o != NULL && o->name != NULL; o++)
            if (o->metavar != NULL && is_new(o, i))
                put_values(o);
    (void)printf("    esac\n"
                 "    case $command in\n");
    put_commands();
    (void)printf("    esac\n"
                 "    case $cur in\n"
                 "    -?*) _peervault_reply -W \"$options\" ;;\n"
                 "    *) case $words in\n"
                 "        -f) _peervault_reply -f ;;\n"
                 "        *) _peervault_reply -W \"$words\" ;;\n"
                 "        esac ;;\n"
                 "    esac\n}\n\n"
                 "complete -F _peervault peervault\n");
}
