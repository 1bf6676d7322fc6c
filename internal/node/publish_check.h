/*
 * The check of one pending record: may it leave, and how many copies are there of its blobs?
 *
 * A job (publish_check.c). It reads the record, and walks the tree of a file as far as every blob
 * has `level` + 1 copies, from where an earlier check stopped. When it gets to the end, the level
 * rises by one and the next walk begins, up to `goal`.
 */
#ifndef PV_NODE_PUBLISH_CHECK_H
#define PV_NODE_PUBLISH_CHECK_H

#include "internal/node/node_private.h"
#include <limits.h>

#define PV_LEVEL_ALL UINT_MAX /* there are no blobs behind the record */

struct pv_copies_walk {
    unsigned depth;                 /* nodes that are open */
    uint32_t at[PV_TREE_DEPTH_MAX]; /* in each: the next entry, or the one that is open */
};

struct pv_publish_check {
    struct pv_job job;
    /* in, and as they become known, out */
    struct pv_id rid, hash, name_rid, name_hash;
    bool has_hash, has_name; /* has_name, out: the name is pending and means this file */
    unsigned goal, level;
    struct pv_copies_walk walk;
    struct pv_id holders[PV_MEMBERS_MAX]; /* in: the other active members */
    size_t holder_count;

    bool is_waited_for; /* in: somebody waits for copies of the file, whoever wrote its record */

    bool gone; /* out: replaced or deleted, there is nothing to be published */
    /* Out: another record of the same kind is current, which must be published or is waited for: go
     * on with that one. */
    bool replaced;
    struct pv_id new_hash;
    bool unfinished; /* out: the walk goes on, after others had their turn */
    bool name_waits; /* out: a name record by itself, whose file is pending */
    struct pv_id name_file_rid;
    uint8_t *env, *name_env; /* out: NULL or to be freed */
    size_t env_len, name_env_len;
};

void pv_publish_check_run(struct pv_job *job, const struct pv_job_context *ctx);

#endif
