/*
 * A line of the shell as words, as sh(1) takes it apart: blanks part words; '...' is as it stands;
 * in "..." and outside a backslash takes the next character's meaning (in "..." only that of " and
 * \); # begins a comment at the beginning of a word. Nothing is expanded.
 */
#ifndef PV_CMD_WORDS_H
#define PV_CMD_WORDS_H

#include "internal/base/err.h"
#include <stddef.h>

enum { PV_WORDS_MAX = 4096 };

struct pv_words {
    char **list; /* ends with NULL */
    size_t count;
    char *text; /* private: where they are */
};

/* line: no NUL within. INVALID: a quote is not closed, a backslash ends the line, or there are more
 * words than PV_WORDS_MAX. NOMEM. */
PV_MUST enum pv_err pv_words_split(struct pv_words *out, const char *line);
void pv_words_release(struct pv_words *w);

#endif
