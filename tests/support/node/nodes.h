/*
 * A cluster in one process, for unit tests: real node cores over real stores in temporary folders,
 * joined by message queues in memory instead of sessions. Time stands still until a test moves it.
 *
 * Everything happens in steps: one job run, one job's done, one message delivered, one link that
 * goes down, one tick that is due. Steps are taken in turn, or in an order drawn from `seed` when
 * that is not 0, so a test can stop after any number of them. The files are not synced: durability
 * is not tested here. Failures abort the test.
 */
#ifndef PV_TESTS_NODES_H
#define PV_TESTS_NODES_H

#include "internal/node/node_private.h"
#include "tests/support/support.h"

enum { PVT_NODES_MAX = 8, PVT_LINKS_MAX = 256 };

struct pvt_nodes;

struct pvt_node {
    struct pvt_nodes *net;
    unsigned index;
    bool up; /* store open, core running */
    struct pvt_tmpdir dir;
    char *vault_path;
    uint64_t reserve_bytes; /* of the disk, from the next start on */
    struct pv_vault vault;
    struct pv_store *store;
    struct pv_identity identity;
    struct pv_keyring keyring;
    struct pv_chunker_key chunker_key;
    struct pvt_env env; /* its clocks: pvt_nodes_advance moves those of all */
    struct pv_job_context ctx;
    struct pv_node *node;
    uint8_t boot_random[16];
    bool closed;
    unsigned drops;       /* sessions this core ended */
    uint8_t last_goodbye; /* said by this core */
    struct pv_job *jobs, **jobs_tail, *done, **done_tail;
    /* Called after each step, if not NULL (a file server's deadline, for example). */
    void (*tick)(struct pvt_node *n);
    void *tick_arg;
};

struct pvt_message {
    struct pvt_message *next;
    bool is_data;
    uint8_t type, flags;
    uint32_t stream;
    size_t len;
    uint8_t bytes[];
};

struct pvt_end { /* of a link */
    struct pvt_node *node;
    struct pvt_message *in, **in_tail; /* to be delivered here */
    size_t in_bytes;
    bool paused, down_due, gone; /* gone: this side has been told, or has dropped it */
    bool was_full, pong_due;     /* its own output was above the mark */
};

struct pvt_link {
    pv_link number;
    bool cut; /* nothing is delivered any more */
    struct pvt_end ends[2];
};

struct pvt_nodes {
    uint64_t seed; /* of the order of steps; 0: in turn */
    struct pvt_log log;
    struct pvt_node nodes[PVT_NODES_MAX];
    unsigned count;
    struct pvt_link links[PVT_LINKS_MAX];
    unsigned link_count;
    unsigned turn;
    uint64_t steps, messages; /* taken, delivered so far */
};

/* count nodes of one cluster (one cluster key), each with its own member record, none connected. */
void pvt_nodes_init(struct pvt_nodes *net, unsigned count);
/* The same, but node i has the cluster key number keys[i]. */
void pvt_nodes_init_keys(struct pvt_nodes *net, unsigned count, const uint8_t *keys);
/* Closes all cores in the proper way and checks that no job was left over. */
void pvt_nodes_release(struct pvt_nodes *net);

/* One session; a dialled. Returns the link's number, the same on both sides. */
pv_link pvt_connect(struct pvt_nodes *net, unsigned a, unsigned b);
void pvt_connect_all(struct pvt_nodes *net);
/* The network is gone: what was not delivered is lost, both sides get down. */
void pvt_cut(struct pvt_nodes *net, unsigned a, unsigned b);
bool pvt_connected(const struct pvt_nodes *net, unsigned a, unsigned b);

bool pvt_step(struct pvt_nodes *net);                /* false: nothing to do */
bool pvt_steps(struct pvt_nodes *net, uint64_t max); /* false: ran out of things to do */
void pvt_settle(struct pvt_nodes *net);              /* until nothing is left but waiting */
/* Moves all clocks, stopping at every deadline on the way, and settles. */
void pvt_advance(struct pvt_nodes *net, uint64_t ms);

/* Ends the core and the store; with start again it is a new run of the same vault. */
void pvt_node_stop(struct pvt_node *n);
void pvt_node_start(struct pvt_node *n);
/* The same identity with an empty store (a lost disk). The node is stopped. */
void pvt_node_lose_store(struct pvt_node *n);

/* Node i forgets all strikes and bans. */
void pvt_forgive(struct pvt_nodes *net, unsigned i);
/* A message as if `from` had sent it, type byte first. */
void pvt_inject(struct pvt_nodes *net, unsigned from, unsigned to, const uint8_t *payload,
                size_t len);

/* ---- what tests put into stores ---- */

void pvt_commit(struct pvt_node *n, struct pv_commit_op *ops, size_t count);
/* An envelope by n: an inline file of this text, a name, a member record (weight 1). */
struct pvt_record {
    struct pv_id rid, hash;
    size_t len;
    uint8_t env[PV_RECORD_LEN_MAX];
};
void pvt_seal_file(struct pvt_record *out, struct pvt_node *n, const char *text, pv_hlc hlc);
void pvt_seal_file_root(struct pvt_record *out, struct pvt_node *n, const struct pv_entry *root,
                        pv_hlc hlc);
void pvt_seal_value(struct pvt_record *out, struct pvt_node *n, const char *name, const char *value,
                    pv_hlc hlc);
void pvt_seal_name(struct pvt_record *out, struct pvt_node *n, const char *name,
                   const struct pv_id *file_rid, pv_hlc hlc);
void pvt_seal_member(struct pvt_record *out, struct pvt_node *author, const struct pvt_node *of,
                     uint32_t generation, bool expelled, pv_hlc hlc);
pv_hlc pvt_hlc(struct pvt_node *n); /* the next clock */
/* Commits a sealed record; it is not broadcast. */
void pvt_put(struct pvt_node *n, const struct pvt_record *rec, bool pending);
/* Seals text as a blob of n's and commits it; out gets its entry. */
void pvt_put_blob(struct pvt_node *n, const char *text, struct pv_entry *out);

bool pvt_has_record(struct pvt_node *n, const struct pvt_record *rec);
bool pvt_is_pending(struct pvt_node *n, const struct pv_id *rid);
bool pvt_same_digest(struct pvt_node *a, struct pvt_node *b);
/* Every pair of nodes that are up agrees, in fact and in both of their opinions. */
bool pvt_all_agree(struct pvt_nodes *net);

#endif
