/*
 * records.bak, kept up to date by a daemon: looks hourly whether the last one is a day old.
 */
#ifndef PV_FILE_BACKUP_H
#define PV_FILE_BACKUP_H

#include "internal/file/files_private.h"

enum {
    PV_BACKUP_LOOK_MS = 3600 * 1000,
    PV_BACKUP_AGE_MS = 24 * 3600 * 1000,
};

void pv_backup_schedule(struct pv_files *f);
void pv_backup_stop(struct pv_files *f); /* one that runs ends after its slice */

#endif
