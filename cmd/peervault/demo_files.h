/*
 * The files of `demo`: random bytes, whose SHA-256 is computed here while they are made, so that
 * nothing that is compared comes from the code under show.
 */
#ifndef PV_CMD_DEMO_FILES_H
#define PV_CMD_DEMO_FILES_H

#include "cmd/peervault/cli.h"
#include "internal/base/id.h"

struct pv_demo_file {
    char *path;
    uint64_t size;
    char key[PV_ID_HEX_LEN + 1];
};

/* Makes the file path (a new string is kept). Says errors. */
enum pv_exit pv_demo_file_make(struct pv_demo_file *f, const struct pv_cli *cli, const char *path,
                               uint64_t size);
/* Compares another file with it, byte by byte. CORRUPT: it differs. Says errors. */
enum pv_exit pv_demo_file_compare(const struct pv_demo_file *f, const char *path);

#endif
