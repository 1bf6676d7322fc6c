/*
 * Where `get -r` writes: files below one folder that appear only when they are whole.
 *
 *   open -> (begin -> write... -> end | abort)... -> settle -> sync -> close
 *
 * Names come from the vault and may be anybody's: one that is absolute or has an empty component, .
 * or .. is refused, and no symbolic link below the folder is followed, planted before or meanwhile.
 * Folders are made as they are needed.
 *
 * A file is written under a temporary name beside its target. What has ended gathers and appears
 * together. A file that replaces another one is durable when it appears, any other after sync. On
 * abort, and when SIGINT, SIGTERM or SIGHUP ends the process, the temporary files are removed and
 * existing targets are as they were. An existing target that is no regular file is left alone, and
 * the file fails. One landing a process.
 */
#ifndef PV_CMD_LANDING_H
#define PV_CMD_LANDING_H

#include "cmd/peervault/cli.h"

struct pv_landing;

struct pv_landing_handler {
    void *ctx;
    /* A file that had ended is there, or (why) is not. tag: from end. */
    void (*settled)(void *ctx, const char *name, void *tag, const char *why);
};

/* Makes the folder where it is missing (not those above it). FAILED, said. */
enum pv_exit pv_landing_open(struct pv_landing **out, const char *folder, const struct pv_cli *cli,
                             const struct pv_landing_handler *handler);
/*
 * One file at a time. False: why says what is wrong; begin and write have then cleaned up, and
 * pv_landing_is_hopeless tells whether the next file will fail just as well (a full disk).
 */
bool pv_landing_begin(struct pv_landing *l, const char *name, size_t len, const char **why);
bool pv_landing_write(struct pv_landing *l, const uint8_t *bytes, size_t len, const char **why);
void pv_landing_abort(struct pv_landing *l); /* no-op when none is being written */
/* The file is whole. May settle what has gathered. */
void pv_landing_end(struct pv_landing *l, uint64_t mtime_ms, void *tag);
void pv_landing_settle(struct pv_landing *l);
/* Everything that appeared is on the disk. FAILED, said. */
enum pv_exit pv_landing_sync(struct pv_landing *l);
bool pv_landing_is_hopeless(const struct pv_landing *l);
void pv_landing_close(struct pv_landing *l); /* what was not settled goes */

/* Why a name cannot be a path below a folder; NULL: it can. */
const char *pv_landing_refusal(const char *name, size_t len);

#endif
