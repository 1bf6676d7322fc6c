/* The interactive side of the shell: a line editor with history and completion. */
#ifndef PV_CMD_SHELL_H
#define PV_CMD_SHELL_H

#include "cmd/peervault/cli.h"

struct pv_editor;

/* NULL: it cannot be had (no memory, an odd terminal); lines are read without it then. */
struct pv_editor *pv_editor_new(const struct pv_cli *cli);
/* The next line, valid until the next call; NULL: the end. */
const char *pv_editor_line(struct pv_editor *e);
void pv_editor_free(struct pv_editor *e); /* writes the history; accepts NULL */

/* What the word that ends the line could become: all that begin so, as they are to be typed. */
struct pv_completions {
    char **list;
    size_t count;
};
enum { PV_COMPLETIONS_MAX = 200 };
void pv_complete(struct pv_completions *out, const struct pv_cli *cli, const char *line,
                 size_t *word_at);
void pv_completions_release(struct pv_completions *c);

#endif
