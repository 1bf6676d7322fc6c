/*
 * What brings a vault back whose vault.db is lost, beside the blob files:
 *
 *   records.bak  the envelopes of all records, one after the other
 *   small.bak    the small blobs (rows of vault.db) that no other member has said to hold: of each
 *                the id, then the bytes
 *
 * Nothing stands between them: each item says how long it is and proves itself, by its signature or
 * its hash, so whatever is cut short or damaged costs only what it hit (backup_scan.h reads the
 * files back). What is new is appended; what was replaced, swept, or held by others meanwhile
 * stays, until it is the larger part: then the file is written anew beside and renamed into place.
 *
 *     begin -> step... until end -> finish if changed       or abort at any point
 *
 * It takes no byte that deletions may need: with less than half of the reserve left (commit_plan.c)
 * a step fails with NOSPACE.
 *
 * Each is one job's work; one backup at a time. How far the file goes is in meta, under
 * the file's name: finish gives the value, to be committed by the caller. Without that the next
 * backup writes the same items once more, which is harmless.
 */
#ifndef PV_STORAGE_BACKUP_H
#define PV_STORAGE_BACKUP_H

#include "storage/store.h"

enum pv_backup_what { PV_BACKUP_RECORDS, PV_BACKUP_SMALL, PV_BACKUP_COUNT };
enum { PV_BACKUP_META_LEN = 32 }; /* u64 seq of the last item, file length, items, wall ms */
/* The name of the file in the vault folder, and of its value in meta. */
const char *pv_backup_file(enum pv_backup_what what);
PV_MUST enum pv_err pv_backup_len(struct pv_store *s, enum pv_backup_what what,
                                  uint64_t *len); /* as meta says; 0: none */

struct pv_backup {
    enum pv_backup_what what;
    bool changed; /* out, at the end: finish it */
    pv_fd fd;     /* private from here */
    bool is_new;  /* it is written beside the old one, if there is one */
    bool exists, counting;
    uint64_t from, seq, len, items;
    uint64_t cursor, alive;
};

enum pv_backup_mode {
    PV_BACKUP_APPEND,
    PV_BACKUP_TIDY, /* and look whether most is dead; for small.bak, at the row of every blob */
    PV_BACKUP_ANEW, /* whatever is there */
};

/* After an error of begin there is nothing to be ended; after one of step or finish, abort.
 * NOSPACE: the disk has no room for a new blob. */
PV_MUST enum pv_err pv_backup_begin(struct pv_store *s, enum pv_backup_what what,
                                    enum pv_backup_mode mode, struct pv_backup *b);
PV_MUST enum pv_err pv_backup_step(struct pv_store *s, struct pv_backup *b, bool *end);
PV_MUST enum pv_err pv_backup_finish(struct pv_store *s, struct pv_backup *b,
                                     uint8_t meta[static PV_BACKUP_META_LEN]);
void pv_backup_abort(struct pv_store *s, struct pv_backup *b);

/*
 * Whether a file still is what was written: begin -> step... until end -> close. Each envelope is
 * that of a row, or has a good signature. Backups may go on meanwhile. A slice is 1 MiB.
 */
struct pv_backup_check {
    enum pv_backup_what what;
    const struct pv_fs *fs;
    pv_fd fd;
    uint64_t at, len; /* of the file, as far as meta says that it goes */
    bool bad, end;    /* out */
};
PV_MUST enum pv_err pv_backup_check_begin(struct pv_store *s, enum pv_backup_what what,
                                          struct pv_backup_check *c);
PV_MUST enum pv_err pv_backup_check_step(struct pv_store *s, struct pv_backup_check *c);
void pv_backup_check_close(struct pv_backup_check *c); /* also before begin, of a zeroed one */

#endif
