#include "cmd/gendocs/gendocs.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    void (*write)(void);
} documents[] = {
    {"man1", pv_man_commands}, {"conf5", pv_man_settings}, {"bash", pv_complete_bash},
    {"zsh", pv_complete_zsh},  {"fish", pv_complete_fish},
};

enum pv_values pv_values_of(const char *name)
{
    if (strstr(name, "FILE") != NULL)
        return PV_VALUES_FILES;
    if (strcmp(name, "DIR") == 0)
        return PV_VALUES_FOLDERS;
    if (strstr(name, "COMMAND") != NULL)
        return PV_VALUES_COMMANDS;
    /* "keyed|blind": words that are meant as they stand are in lower case. */
    if (strchr(name, '|') != NULL && strpbrk(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL)
        return PV_VALUES_CHOICE;
    return PV_VALUES_NONE;
}

size_t pv_first_word(const struct pv_command *c)
{
    return strcspn(c->name, " ");
}

bool pv_has_second_words(const struct pv_command *c)
{
    size_t len = pv_first_word(c);
    for (const struct pv_command *d = pv_commands; d->name != NULL; d++)
        if (strncmp(d->name, c->name, len) == 0 && d->name[len] == ' ')
            return true;
    return false;
}

const char *pv_second_word(const struct pv_command *c)
{
    const char *space = strchr(c->name, ' ');
    return space != NULL ? space + 1 : NULL;
}

bool pv_is_first_of_group(const struct pv_command *c)
{
    size_t len = pv_first_word(c);
    for (const struct pv_command *b = pv_commands; b < c; b++)
        if (pv_first_word(b) == len && memcmp(b->name, c->name, len) == 0)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof documents / sizeof *documents; i++) {
        if (strcmp(argv[1], documents[i].name) != 0)
            continue;
        documents[i].write();
        return fflush(stdout) != 0 || ferror(stdout) != 0;
    }
    (void)fprintf(stderr, "usage: gendocs man1|conf5|bash|zsh|fish\n");
    return 2;
}
