/*
 * A progress bar on stderr, only when that is a terminal: bytes, rate, time left.
 *
 *     storing  412 MiB / 1.0 GiB  [=======>           ]  40 %  310 MiB/s  2s left
 *
 * or, of many files that are not known beforehand:
 *
 *     storing  1290 files  56 MiB  12 MiB/s  280 files/s
 */
#ifndef PV_CMD_PROGRESS_H
#define PV_CMD_PROGRESS_H

#include "cmd/peervault/cli.h"

enum { PV_PROGRESS_TEXT_MAX = 160 };

struct pv_progress {
    const struct pv_cli *cli;
    const char *verb;
    bool shown;
    uint64_t total, done; /* bytes; total 0: unknown */
    uint64_t start_ms, drawn_ms;
    bool drawn;
    bool counts_files; /* to be set after start: the second form */
    uint64_t files;
};

/* Nothing is drawn when stderr is no terminal, with --quiet, or with --json. */
void pv_progress_start(struct pv_progress *p, const struct pv_cli *cli, const char *verb,
                       uint64_t total);
void pv_progress_add(struct pv_progress *p, uint64_t bytes); /* draws at most 10 times a second */
void pv_progress_file(struct pv_progress *p);                /* one more is done */
void pv_progress_clear(struct pv_progress *p); /* wipes the line, before something else is said */

/* The line's text: what is drawn, without the clock and the terminal. */
void pv_progress_text(char out[static PV_PROGRESS_TEXT_MAX], const char *verb, uint64_t done,
                      uint64_t total, uint64_t elapsed_ms);
void pv_progress_files_text(char out[static PV_PROGRESS_TEXT_MAX], const struct pv_progress *p,
                            uint64_t elapsed_ms);
/* Makes it fit into one line of a terminal: without the bar, then cut. 0 columns: unknown. */
void pv_progress_fit(char text[static PV_PROGRESS_TEXT_MAX], size_t columns);

#endif
