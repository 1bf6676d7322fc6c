/*
 * records.bak: the envelopes of all records, one after the other, for the day vault.db is lost.
 *
 * Nothing stands between them: an envelope says how long it is and proves itself by its signature,
 * so whatever is cut short or damaged costs only what it hit (record_scan.h reads the file back).
 * New records are appended; those that were replaced meanwhile stay, until they are the larger
 * part: then the file is written anew beside and renamed into place.
 *
 *     begin -> step... until end -> finish       or abort at any point
 *
 * It takes no byte that deletions may need: with less than half of the reserve left (commit_plan.c)
 * a step fails with NOSPACE.
 *
 * Each is one job's work; one backup at a time. How far the file goes is in meta, under
 * PV_BACKUP_META: finish gives the value, to be committed by the caller. Without that the next
 * backup writes the same records once more, which is harmless.
 */
#ifndef PV_STORAGE_BACKUP_H
#define PV_STORAGE_BACKUP_H

#include "storage/store.h"

#define PV_BACKUP_PATH "records.bak"
#define PV_BACKUP_META "records.bak"
enum { PV_BACKUP_META_LEN = 32 }; /* u64 seq of the last record, file length, envelopes, wall ms */

struct pv_backup {
    pv_fd fd;
    bool is_new; /* it is being written beside the old one */
    uint64_t seq, len, envelopes;
};

/* When it was last brought up to date, wall clock; 0: never. */
PV_MUST enum pv_err pv_backup_age(struct pv_store *s, uint64_t *at_ms);
PV_MUST enum pv_err pv_backup_len(struct pv_store *s, uint64_t *len); /* as meta says; 0: none */
/* After an error of begin there is nothing to be ended; after one of step or finish, abort. anew:
 * not appended to, whatever is there. */
PV_MUST enum pv_err pv_backup_begin(struct pv_store *s, struct pv_backup *b, bool anew);
PV_MUST enum pv_err pv_backup_step(struct pv_store *s, struct pv_backup *b, bool *end);
PV_MUST enum pv_err pv_backup_finish(struct pv_store *s, struct pv_backup *b,
                                     uint8_t meta[static PV_BACKUP_META_LEN]);
void pv_backup_abort(struct pv_store *s, struct pv_backup *b);

/*
 * Whether records.bak still is what was written: begin -> step... until end -> close. Each envelope
 * is that of a row, or has a good signature. Backups may go on meanwhile. A slice is 1 MiB.
 */
struct pv_backup_check {
    const struct pv_fs *fs;
    pv_fd fd;
    uint64_t at, len; /* of the file, as far as meta says that it goes */
    bool bad, end;    /* out */
};
PV_MUST enum pv_err pv_backup_check_begin(struct pv_store *s, struct pv_backup_check *c);
PV_MUST enum pv_err pv_backup_check_step(struct pv_store *s, struct pv_backup_check *c);
void pv_backup_check_close(struct pv_backup_check *c); /* also before begin, of a zeroed one */

#endif
