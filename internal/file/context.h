/*
 * What operations on files stand on: the node, a budget of memory, deadlines. For what is asked for
 * (this folder) and for what keeps the store in order (internal/upkeep).
 */
#ifndef PV_FILE_CONTEXT_H
#define PV_FILE_CONTEXT_H

#include "internal/base/mem.h"
#include "internal/base/timers.h"
#include "internal/file/files.h"
#include "internal/file/watch.h"

struct pv_files {
    struct pv_files_config config;
    struct pv_budget memory;
    struct pv_timers timers;
    unsigned upgrades; /* ingest.c: small uploads that turned out longer and await memory */
    struct pv_watching *watching;
    unsigned uploads; /* that may still use blobs without a record */
};

#endif
