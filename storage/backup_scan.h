/*
 * Finds record envelopes and blobs in a file, whatever else is in it: in records.bak and small.bak,
 * where there is nothing else, and envelopes in what is left of vault.db and its log.
 *
 * An envelope is found where its magic, its structure and its signature are right; it may be an old
 * version of its register, which the winner's rule sorts out. In vault.db those of more than about
 * 4 000 bytes are spread over pages and not found this way. A small blob (under PV_BLOB_FILE_MIN
 * bytes) is found where its id stands before it.
 */
#ifndef PV_STORAGE_BACKUP_SCAN_H
#define PV_STORAGE_BACKUP_SCAN_H

#include "internal/base/err.h"
#include "internal/base/fs.h"

struct pv_scan {
    uint64_t found;
    uint64_t skipped_bytes; /* that belong to nothing that was found */
};

/* Gets one envelope or one blob, which has been verified, valid during the call; false stops. */
typedef bool (*pv_scan_fn)(void *arg, const uint8_t *bytes, size_t len);

/* That `each` stops is no error. IO, NOMEM. */
PV_MUST enum pv_err pv_scan_records(const struct pv_fs *fs, pv_fd fd, struct pv_scan *out,
                                    pv_scan_fn each, void *arg);
PV_MUST enum pv_err pv_scan_blobs(const struct pv_fs *fs, pv_fd fd, struct pv_scan *out,
                                  pv_scan_fn each, void *arg);

/* An item of small.bak, the id and the blob. How long the one is that begins so; 0: none does. */
size_t pv_backup_blob_len(const uint8_t *bytes, size_t avail);
PV_MUST enum pv_err pv_backup_blob_verify(const uint8_t *bytes, size_t len); /* CORRUPT */

#endif
