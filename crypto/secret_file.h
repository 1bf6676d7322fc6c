/*
 * Small files that hold secrets: the keyring and the identity. Mode 0600, replaced as a whole.
 */
#ifndef PV_CRYPTO_SECRET_FILE_H
#define PV_CRYPTO_SECRET_FILE_H

#include "internal/base/fs.h"

/*
 * Reads name into dst. PV_E_NOT_FOUND; PV_E_AUTH when group or others have any permission on it;
 * PV_E_CORRUPT when it is not a regular file or longer than dst_cap; PV_E_IO.
 */
PV_MUST enum pv_err pv_secret_file_read(const struct pv_fs *fs, pv_fd dir, const char *name,
                                        void *dst, size_t dst_cap, size_t *len);

/*
 * Replaces name: writes tmp_name anew, syncs, renames, syncs dir. After a crash at any point the
 * old or the new file is there, whole. The caller holds the vault lock.
 */
PV_MUST enum pv_err pv_secret_file_write(const struct pv_fs *fs, pv_fd dir, const char *name,
                                         const char *tmp_name, const void *src, size_t len);

#endif
