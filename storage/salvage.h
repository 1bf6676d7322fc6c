/*
 * Reads what can still be read of a damaged vault.db that was put aside.
 *
 * Rows are read in order of seq. Where a page cannot be read, the next seq is looked for from which
 * reading goes on: what is lost is what lies on that page, or below it. Nothing is written.
 */
#ifndef PV_STORAGE_SALVAGE_H
#define PV_STORAGE_SALVAGE_H

#include "storage/vault.h"

enum pv_salvage_table {
    PV_SALVAGE_RECORDS, /* envelopes */
    PV_SALVAGE_HISTORY, /* envelopes of versions that lost or were replaced */
    PV_SALVAGE_SMALL,   /* bytes of small blobs: their SHA-256 is the id */
};

struct pv_salvage;
/* name: in the vault folder; its log, if any, is name-wal. NOT_FOUND; CORRUPT: nothing can be read
 * of it; UNSUPPORTED: it is of a later version; NOMEM. */
PV_MUST enum pv_err pv_salvage_open(struct pv_salvage **out, const struct pv_vault *vault,
                                    const struct pv_env *env, const char *name);
void pv_salvage_close(struct pv_salvage *s);

/* each gets the bytes of one row, valid during the call, which nobody has verified; false stops.
 * *gaps: how often reading had to begin anew behind a place that cannot be read. NOMEM. */
PV_MUST enum pv_err pv_salvage_rows(struct pv_salvage *s, enum pv_salvage_table table,
                                    bool (*each)(void *arg, const uint8_t *bytes, size_t len),
                                    void *arg, uint64_t *gaps);

#endif
