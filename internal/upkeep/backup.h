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

/* Writes all of it anew, now; done is called once, later. NULL: no memory, or one runs already. */
typedef void (*pv_backup_fn)(void *ctx, enum pv_err err);
struct backup *pv_backup_renew(struct pv_upkeep *u, pv_backup_fn done, void *ctx);
void pv_backup_let_go(struct backup *x); /* it goes on, and does not call */

#endif
