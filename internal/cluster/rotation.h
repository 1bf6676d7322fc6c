/* Replacing the cluster key: its state, for keys.c and rotate.c. */
#ifndef PV_CLUSTER_ROTATION_H
#define PV_CLUSTER_ROTATION_H

#include "internal/cluster/cluster.h"
#include "internal/cluster/reseal.h"

enum pv_rotation_step { PV_STEP_ACTIVATE, PV_STEP_DEDUP, PV_STEP_RETIRE };

struct pv_rotation {
    struct pv_cluster *cluster;
    bool started;
    struct pv_timer timer;
    unsigned rests;

    bool is_said; /* there is a record of type 6 */
    struct pv_cluster_body said;
    pv_hlc hlc;
    struct pv_id hash;
    bool lacks; /* it names a key that we have not got */

    bool changing; /* the keyring */
    enum pv_rotation_step step;
    struct pv_kid step_kid;
    bool force; /* activate, whoever has the key */

    bool writing; /* the record; also the job of the start */
    struct pv_job job;
    struct pv_cluster_body draft;
    pv_hlc draft_hlc;
    uint8_t *env;
    size_t env_len;
    struct pv_commit_op op;

    struct pv_reseal reseal;
    bool walk_due, afresh; /* afresh: over all records, not only what came since the last one */
    uint64_t walk_at_ms;   /* not before */
    unsigned walks, stuck; /* done; in a row with as much left as before */
    uint64_t left, moved;  /* after the last walk; since the start */

    struct pv_list watchers; /* rotate.c */
};

struct pv_rotation_progress {
    const char *phase; /* stage, activate, re-seal; retire: all is done but for waiting */
    size_t have, of;   /* members that have the key, of those that must */
    uint64_t moved, left;
};
void pv_rotation_progress(struct pv_rotation *r, struct pv_rotation_progress *out);
void pv_rotation_review(struct pv_rotation *r); /* something happened: is there a next step? */
/* When this key retires, in unix seconds; 0: not said. */
uint64_t pv_rotation_retires_s(const struct pv_rotation *r, const struct pv_kid *kid);

/* ---- rotate.c ---- */
void pv_rotation_tell(struct pv_rotation *r); /* those who wait hear how far it is */

#endif
