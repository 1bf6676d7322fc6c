/*
 * Finds record envelopes in a file, whatever else is in it: in records.bak, where there is nothing
 * else, and in what is left of vault.db and its log.
 *
 * An envelope is found where its magic, its structure and its signature are right; it may be an old
 * version of its register, which the winner's rule sorts out. In vault.db those of more than about
 * 4 000 bytes are spread over pages and not found this way.
 */
#ifndef PV_STORAGE_RECORD_SCAN_H
#define PV_STORAGE_RECORD_SCAN_H

#include "crypto/record.h"
#include "internal/base/fs.h"

struct pv_record_scan {
    uint64_t found;
    uint64_t skipped_bytes; /* that belong to no envelope */
};

/* each gets one envelope, valid during the call; false stops, which is no error. IO, NOMEM. */
PV_MUST enum pv_err pv_record_scan(const struct pv_fs *fs, pv_fd fd, struct pv_record_scan *out,
                                   bool (*each)(void *arg, const uint8_t *env, size_t len),
                                   void *arg);

#endif
