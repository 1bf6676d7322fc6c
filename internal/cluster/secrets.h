/*
 * Changes of the keyring while the node runs: on disk first, then in force, one after the other.
 * Jobs have a copy of the keys (keys_changed).
 */
#ifndef PV_CLUSTER_SECRETS_H
#define PV_CLUSTER_SECRETS_H

#include "internal/cluster/cluster.h"

/* Changes a copy of the keyring. An error: nothing happens, done is told. */
typedef enum pv_err (*pv_secrets_apply)(struct pv_keyring *k, void *arg);
/* Later, once: the change is in force, or the error of apply or of writing the file. */
typedef void (*pv_secrets_done)(void *arg, enum pv_err err);

/* NOMEM: done does not run. */
PV_MUST enum pv_err pv_secrets_change(struct pv_cluster *c, pv_secrets_apply apply,
                                      pv_secrets_done done, void *arg);

#endif
