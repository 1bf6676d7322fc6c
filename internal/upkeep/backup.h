/*
 * records.bak and small.bak, kept up to date by a daemon: when it starts and every hour. Once a day
 * it also looks whether they are mostly dead.
 */
#ifndef PV_UPKEEP_BACKUP_H
#define PV_UPKEEP_BACKUP_H

#include "internal/upkeep/upkeep_private.h"
#include "storage/backup.h"

enum { PV_BACKUP_EVERY_MS = 3600 * 1000, PV_BACKUP_TIDY_EVERY = 24 };

void pv_backup_schedule(struct pv_upkeep *u);
void pv_backup_stop(struct pv_upkeep *u); /* one that runs ends after its step */

/* Writes a whole file anew, now; done is called once, later. NULL: no memory, or a backup runs
 * already. */
typedef void (*pv_backup_fn)(void *ctx, enum pv_err err);
struct backup *pv_backup_renew(struct pv_upkeep *u, enum pv_backup_what what, pv_backup_fn done,
                               void *ctx);
void pv_backup_let_go(struct backup *x); /* it goes on, and does not call */

#endif
