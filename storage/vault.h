/*
 * The vault folder: what is where, and who may use it.
 *
 *   lock (pid of the holder)  control.sock  vault.db  keyring  identity  peervault.conf
 *   blobs/<2 hex>/<64 hex>    tmp/          quarantine/
 *
 * All of it is reached through pv_fs. Opening the folder takes no lock (reading the keyring or the
 * identity needs none); whoever opens the store takes it first. The lock is a whole-file lock of
 * the process: it ends with the process, however that ends.
 */
#ifndef PV_STORAGE_VAULT_H
#define PV_STORAGE_VAULT_H

#include "internal/base/env.h"
#include "internal/base/fs.h"
#include "internal/base/id.h"

enum { PV_BLOB_PATH_LEN = 6 + 2 + 1 + 64 }; /* "blobs/ab/abcd..." */

/* The path transform: blobs/<first 2 hex of id>/<64 hex of id>. NUL included in the array. */
void pv_blob_path(char out[static PV_BLOB_PATH_LEN + 1], const struct pv_id *id);
/* The file name alone back to an id: exactly 64 lower-case hex digits. PV_E_INVALID. */
PV_MUST enum pv_err pv_blob_path_parse(struct pv_id *id, const char *file_name);

struct pv_vault {
    const struct pv_fs *fs;
    pv_fd dir, lock;
};

/* The ids of all files in blobs/<2 hex of folder> that are named like blobs, in no order; *ids is
 * to be freed. What else lies there is passed over. NOT_FOUND: no such folder. NOMEM, IO. */
PV_MUST enum pv_err pv_vault_list_blobs(const struct pv_vault *v, unsigned folder,
                                        struct pv_id **ids, size_t *count);

/*
 * Makes the folder (0700, parents too) with its sub-folders, the 256 blob folders included; what
 * exists is left alone. Needs real paths: the only call here that does.
 */
PV_MUST enum pv_err pv_vault_create(const char *path, const struct pv_fs *fs);
/*
 * Makes what is missing of the folders below an open vault; backups like to leave out empty ones.
 * For whoever has the lock. On a full disk what cannot be made stays missing.
 */
PV_MUST enum pv_err pv_vault_complete(const struct pv_vault *v);
/* PV_E_NOT_FOUND: no folder, or one without vault folders in it. */
PV_MUST enum pv_err pv_vault_open(struct pv_vault *out, const char *path, const struct pv_fs *fs);
void pv_vault_close(struct pv_vault *v); /* releases the lock too */
/* Writes our pid into the lock file. PV_E_BUSY: *holder_pid gets the other's (0 unknown). */
PV_MUST enum pv_err pv_vault_lock(struct pv_vault *v, long *holder_pid);

#endif
