/*
 * The file server: what local clients ask for, on top of the node core and the store.
 *
 *   ingest.h    store: bytes -> chunks -> sealed blobs -> commit -> records -> copies
 *   retrieve.h  get: record -> tree -> blobs (local or fetched) -> bytes, verified
 *   lookup.h    from a key, a name or a key prefix to a file record
 *   list.c, stat.c, remove.c, status.c: the other requests
 *
 * Like the node core it does no input or output of its own: blocking work is jobs.
 */
#ifndef PV_FILE_FILES_H
#define PV_FILE_FILES_H

#include "internal/file/request.h"
#include "internal/node/fetch.h"
#include "internal/node/members.h"
#include "internal/node/node.h"
#include "internal/node/publish.h"
#include "internal/node/push.h"
#include "internal/node/sync.h"

enum pv_convergence { PV_CONVERGENCE_CLUSTER, PV_CONVERGENCE_EPOCH, PV_CONVERGENCE_OFF };

struct pv_files_config {
    struct pv_node *node;
    const struct pv_env *env;
    size_t memory_bytes; /* budget of ingest and retrieve */
    enum pv_convergence convergence;
    unsigned replicas;
    /* May be NULL: the server's own part of `status`. */
    void (*describe_status)(void *arg, json_t *status);
    void *arg;
};

enum { PV_FILES_MEMORY_MIN = 6 * 1024 * 1024 }; /* its share of the smallest mem_limit */

struct pv_files;
/* PV_E_INVALID: memory_bytes under PV_FILES_MEMORY_MIN. PV_E_NOMEM. */
PV_MUST enum pv_err pv_files_new(struct pv_files **out, const struct pv_files_config *config);
/* Every request must have been finished or cancelled, and the node closed. */
void pv_files_free(struct pv_files *f);

/* Answers rq->args["op"]; an unknown op is refused with exit 2. */
void pv_files_request(struct pv_files *f, struct pv_request *rq);

uint64_t pv_files_deadline_ms(const struct pv_files *f); /* mono; UINT64_MAX: none */
void pv_files_tick(struct pv_files *f);

#endif
