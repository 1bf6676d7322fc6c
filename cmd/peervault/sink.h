/*
 * Where `get` writes: standard output, or a file that appears only when it is whole.
 *
 *   open -> write... -> commit (or abort)
 *
 * A target that is absent or a regular file is replaced by a temporary file of the same folder,
 * renamed into place by commit; on abort, and when SIGINT, SIGTERM or SIGHUP ends the process, the
 * temporary file is removed and an existing target is as it was. Anything else (a FIFO, /dev/null)
 * is written into. One file sink a process at a time. Errors are said.
 */
#ifndef PV_CMD_SINK_H
#define PV_CMD_SINK_H

#include "cmd/peervault/cli.h"
#include <limits.h>

struct pv_sink {
    int fd;            /* -1: not open */
    bool terminal;     /* refuses bytes that a terminal would act on */
    char *target;      /* to rename to; NULL: written into directly */
    const char *shown; /* for messages */
    uint64_t mtime_ms; /* to be set before commit: of a file that is replaced; 0: leave it */
};

/* path NULL or "-": standard output. FAILED: a folder, no permission; see errno's text. */
enum pv_exit pv_sink_open(struct pv_sink *s, const char *path, const struct pv_cli *cli);
/* USAGE: binary data for a terminal. FAILED. */
enum pv_exit pv_sink_write(struct pv_sink *s, const uint8_t *bytes, size_t len);
enum pv_exit pv_sink_commit(struct pv_sink *s);
void pv_sink_abort(struct pv_sink *s); /* no-op when not open, or after commit */

/* For what was written: the time that the file had when it was stored. */
void pv_file_set_mtime(int fd, uint64_t mtime_ms);

/* Whether a terminal shows all of these bytes as text: no controls but tab and line ends. */
bool pv_is_text(const uint8_t *bytes, size_t len);

#endif
