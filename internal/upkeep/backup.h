/*
 * records.bak, kept up to date by a daemon: looks hourly whether the last one is a day old.
 */
#ifndef PV_UPKEEP_BACKUP_H
#define PV_UPKEEP_BACKUP_H

#include "internal/upkeep/upkeep_private.h"

enum {
    PV_BACKUP_LOOK_MS = 3600 * 1000,
    PV_BACKUP_AGE_MS = 24 * 3600 * 1000,
};

void pv_backup_schedule(struct pv_upkeep *u);
void pv_backup_stop(struct pv_upkeep *u); /* one that runs ends after its slice */

#endif
