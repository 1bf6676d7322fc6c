/*
 * peervault.conf as a file: up to PV_CONFIG_FILE_MAX bytes of text in the vault. It holds no
 * secrets, so that others may read it. What it says: config.h.
 *
 * why: one line for a person, written on errors (PV_CONFIG_WHY_MAX bytes).
 */
#ifndef PV_INTERNAL_CONFIG_FILE_H
#define PV_INTERNAL_CONFIG_FILE_H

#include "internal/base/buf.h"
#include "internal/base/fs.h"

enum { PV_CONFIG_FILE_MAX = 65536 };
#define PV_CONFIG_FILE_NAME "peervault.conf"

/*
 * All of it; nothing where there is none. out was initialised for PV_CONFIG_FILE_MAX + 1 bytes.
 * INVALID: not a file, or larger; AUTH, IO, NOMEM.
 */
PV_MUST enum pv_err pv_config_file_read(struct pv_buf *out, const struct pv_fs *fs, pv_fd vault,
                                        char *why);

/*
 * Lines, each with its newline, behind those that are there. After a crash at any point it is the
 * old or the new file, whole. Errors as of read; NOSPACE.
 */
PV_MUST enum pv_err pv_config_file_append(const char *lines, const struct pv_fs *fs, pv_fd vault,
                                          char *why);

#endif
