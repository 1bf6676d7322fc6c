/* From the words of a command line to the command. */
#include "cmd/peervault/commands.h"

#include <string.h>

/* Whether name is the words first and second joined by a space. second NULL: one word. */
static bool names(const char *name, const char *first, const char *second)
{
    size_t len = strlen(first);
    if (strncmp(name, first, len) != 0)
        return false;
    return second == NULL ? name[len] == '\0' : name[len] == ' ' && !strcmp(name + len + 1, second);
}

const struct pv_command *pv_command_find(const char *const *words, size_t count, size_t *used)
{
    const struct pv_command *found = NULL;
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++) {
        bool two = strchr(c->name, ' ') != NULL;
        if (count <= (two ? 1 : 0) || !names(c->name, words[0], two ? words[1] : NULL))
            continue;
        found = c;
        *used = two ? 2 : 1;
        if (two)
            break; /* "peers allow" is more than "peers" */
    }
    return found;
}

bool pv_command_needs_second(const char *word)
{
    size_t len = strlen(word);
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++)
        if (strncmp(c->name, word, len) == 0 && c->name[len] == ' ')
            return true;
    return false;
}
