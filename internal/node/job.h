/*
 * Jobs: how the node gets blocking or heavy work done without doing it.
 *
 * The core runs on the loop thread and never calls the store, a cipher over a blob or a hash over
 * a file itself. It fills in a job and submits it (pv_node_io.submit). The host runs job->run on a
 * pool thread, or hands job->commit to the committer, and afterwards calls job->done on the loop
 * thread: always, exactly once, never from inside submit. A simulator runs them in an order it
 * chooses.
 *
 * A job is embedded in the structure that carries its inputs and outputs; that structure belongs
 * to the job from submit to done, and run touches nothing else but the context (immutable, or
 * thread-safe). Work that began cannot be cancelled: an owner that goes away meanwhile clears the
 * back pointer in its job, and done frees what nobody waits for. done may submit the job again.
 */
#ifndef PV_NODE_JOB_H
#define PV_NODE_JOB_H

#include "crypto/identity.h"
#include "crypto/keyring.h"
#include "internal/base/env.h"
#include "storage/chunker.h"
#include "storage/commit.h"

/* What jobs may use. Everything is immutable, but for the store: when the cluster keys change, the
 * jobs that begin afterwards get another context. */
struct pv_job_context {
    struct pv_store *store;
    const struct pv_env *env;
    const struct pv_keyring *keyring;
    const struct pv_identity *identity;
    const struct pv_chunker_key *chunker_key; /* NULL on a blind node */
};

struct pv_node;

struct pv_job {
    /* On a pool thread. NULL: the job is its commit, and goes to the committer. */
    void (*run)(struct pv_job *job, const struct pv_job_context *ctx);
    void (*done)(struct pv_job *job); /* on the loop thread */
    struct pv_commit commit; /* ops and count are set by the submitter, err is the result */
    enum pv_err err;         /* out, by run; a convention, nobody else reads it */
    struct pv_job *next;     /* private to the host */
    struct pv_node *node;    /* private to node.c, as is after: done, while node.c counts */
    void (*after)(struct pv_job *job);
};

#endif
