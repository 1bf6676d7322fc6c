/*
 * The lines of a list, be it a file or standard input, one at a time. Empty ones are passed over.
 */
#ifndef PV_CMD_LINES_H
#define PV_CMD_LINES_H

#include "internal/exit.h"
#include <stdbool.h>
#include <stddef.h>

enum pv_lines_step {
    PV_LINES_LINE,
    PV_LINES_QUIET, /* nothing to give yet: see the descriptor */
    PV_LINES_FAILED,
    PV_LINES_END, /* also after FAILED */
};

/* Valid until the next one. */
struct pv_line {
    const char *text; /* of FAILED: why */
    size_t len;       /* more than strlen: there is a NUL in it */
    bool too_long;    /* text is its beginning */
};

struct pv_lines;

/* from: a path, or - for standard input. line_max: room for the longest line and a NUL. FAILED:
 * said. */
enum pv_exit pv_lines_open(struct pv_lines **out, const char *from, char delimiter,
                           size_t line_max);
enum pv_lines_step pv_lines_next(struct pv_lines *l, struct pv_line *line);
int pv_lines_fd(const struct pv_lines *l); /* to be polled for reading after QUIET */
void pv_lines_close(struct pv_lines *l);   /* accepts NULL */

#endif
