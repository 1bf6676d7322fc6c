/*
 * The sweep after start: looks for blob files that vault.db does not know, folder by folder, in
 * jobs. A handful is what a crash left and is deleted; more means that vault.db is old or lost
 * commits: nothing is deleted, one line says so, and `status` counts them.
 */
#ifndef PV_UPKEEP_SWEEP_H
#define PV_UPKEEP_SWEEP_H

#include "internal/node/node.h"

/* Runs by itself and ends with the node; losing it for lack of memory costs only the sweep. */
void pv_sweep_start(struct pv_node *node);

#endif
