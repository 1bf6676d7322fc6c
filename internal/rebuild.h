/*
 * Making vault.db anew from whatever is left: `doctor --rebuild`.
 *
 *   put vault.db and its log aside  ->  envelopes: from them, as rows and as bytes; records.bak
 *   ->  small blobs, small.bak  ->  rows for the blob files that are what they should be  ->
 * quarantine/
 *
 * What is put aside is only read, and ends in quarantine/. One that was cut short is gone on with
 * by the next. Records that only peers have come by themselves when the daemon runs: to them this
 * is another store, so everything is compared and offered again.
 */
#ifndef PV_INTERNAL_REBUILD_H
#define PV_INTERNAL_REBUILD_H

#include "internal/setup.h"
#include "storage/store.h"

struct pv_rebuild {
    uint64_t envelopes; /* found, old versions and repetitions too */
    uint64_t refused;   /* whose inside is not what it should be */
    uint64_t gaps;      /* places of vault.db that cannot be read */
    uint64_t bad_files; /* under the name of a blob, but not what the name says: left alone */
    struct pv_store_counts now;
};

/* Then the vault is not to be opened before another run: what is put aside is not in vault.db. */
bool pv_rebuild_was_cut_short(const struct pv_vault *vault);
/* The vault is locked. After an error (NOSPACE, IO, NOMEM) it can be run again. UNSUPPORTED:
 * vault.db is of a later version, and nothing was changed. */
PV_MUST enum pv_err pv_rebuild_run(struct pv_setup *setup, const struct pv_env *env,
                                   struct pv_rebuild *out);

#endif
