/*
 * A folder and everything below it, one entry at a time, for `store -r`.
 *
 *   start -> next... -> release
 *
 * Entries come sorted by their bytes within a folder, so the order is the same every time; folders
 * themselves are not given, only what is in them. No symbolic link below the folder is followed,
 * and every step is taken from an open folder, so that one that is renamed meanwhile does not lead
 * elsewhere. Memory and descriptors are bounded, whatever the number of files, however large a
 * folder and however deep the tree; a name longer than PV_NAME_MAX could not be stored anyway and
 * is where the walk turns back.
 */
#ifndef PV_CMD_FOLDER_H
#define PV_CMD_FOLDER_H

#include "internal/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum pv_folder_kind {
    PV_FOLDER_FILE,    /* a regular file when it was looked at */
    PV_FOLDER_SKIPPED, /* something else: why says what */
    PV_FOLDER_FAILED,  /* a file or folder that cannot be read: why says so; the walk goes on */
    PV_FOLDER_END,
};

/* Valid until the next step. */
struct pv_folder_entry {
    enum pv_folder_kind kind;
    const char *path; /* as the user would write it: the folder as given, /, what is below */
    const char *name; /* the last component of the resolved folder, /, what is below */
    int dir;          /* FILE: base is to be opened in this folder, without following links */
    const char *base;
    const char *why;
};

/* A folder by its device and number; of the vault, which must not be stored into itself. */
struct pv_folder_avoid {
    dev_t dev;
    ino_t ino;
    bool is_set;
};

struct pv_folder;

/*
 * folder: as given; name: of its last component, see pv_folder_name. errno says what is wrong when
 * it cannot be opened: PV_E_IO. PV_E_NOMEM. PV_E_LIMIT: longer than a path can be.
 */
PV_MUST enum pv_err pv_folder_start(struct pv_folder **out, const char *folder, const char *name,
                                    const struct pv_folder_avoid *avoid);
void pv_folder_next(struct pv_folder *w, struct pv_folder_entry *entry);
void pv_folder_release(struct pv_folder *w);

/* The last component of where a folder really is; "" for the root of the file system. A new
 * string. NOT_FOUND: errno says why it cannot be told. NOMEM. */
PV_MUST enum pv_err pv_folder_name(char **out, const char *folder);

/* What a file that is not regular is, for messages: "a symbolic link". */
const char *pv_file_type_text(mode_t mode);

/*
 * Opens what path (relative, no . or ..) leads to below the folder root, one component at a time
 * and through no symbolic link; with make, folders on the way are made where they are missing.
 * flags are those of the last component, which is a folder. -1: see errno (ELOOP or ENOTDIR where
 * something is no folder).
 */
int pv_open_below(int root, const char *path, size_t path_len, int flags, bool make);

#endif
