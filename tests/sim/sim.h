/*
 * pvsim: whole clusters in one thread, in virtual time, from one seed. README.md says how to use
 * it.
 *
 *   main.c      options, seeds, what is printed      faults.c    the swarm drawn for a seed
 *   world.c     clock, events, random streams        workload.c  what clients do, and what they saw
 *   net.c       bytes between real sessions          client.c    one request of a client
 *   dial.c      connections: made, doubled, lost     oracle.c    what must be true
 *   node.c      one process and its disk             copies.c    where the blobs of a file are
 *   run.c       safety phase, healing, the end       shrink.c    a failure with less in it
 *   exhaust.c   all orders of a few operations       marks.c     which rare paths were taken
 *
 * What runs is the product: node core, file server, upkeep, sessions and their cryptography, store,
 * SQLite. Played here are the machine (clocks, disk, network) and what is written for libuv: the
 * loop, the thread pool, TCP and the way from an address to a connection.
 *
 * Nothing here may depend on an address, on padding or on real time: a seed gives one history.
 */
#ifndef PV_TESTS_SIM_H
#define PV_TESTS_SIM_H

#include "internal/cluster/cluster.h"
#include "internal/file/context.h"
#include "internal/upkeep/upkeep.h"
#include "tests/support/simfs.h"
#include "transport/dialer.h"

#include <stdio.h>

enum {
    SIM_NODES_MAX = 7,
    SIM_OPS_MAX = 200,
    SIM_FAULTS_MAX = 64,
    SIM_SCRIPT_MAX = 4,
    SIM_CONTENTS = 40,
    SIM_CONTENTS_KEPT = 24, /* the first of them are never removed */
    SIM_NAMES = 6,
    SIM_VALUES = 3,        /* names of values: those behind the names of files */
    SIM_VALUE_LEN = 30000, /* a value is the beginning of a content */
    SIM_NAMES_FREE = 4,    /* the first; the others are only bound, to contents that are kept */
    SIM_CAUSE_LEN = 300,
};

#define SIM_US UINT64_C(1) /* virtual time is counted in microseconds */
#define SIM_MS (1000 * SIM_US)
#define SIM_S (1000 * SIM_MS)
#define SIM_NEVER UINT64_MAX

struct sim_world;
struct sim_node;

/* ---- random streams ---- */

enum sim_stream { SIM_TOPOLOGY, SIM_WORKLOAD, SIM_NETWORK, SIM_DISK, SIM_BUGGIFY, SIM_STREAMS };

struct sim_rng {
    uint64_t state;
};

struct sim_rng sim_rng_of(uint64_t seed, uint64_t stream, uint64_t index);
uint64_t sim_draw(struct sim_rng *r);
uint64_t sim_below(struct sim_rng *r, uint64_t n);               /* 0 .. n - 1; 0 for n = 0 */
uint64_t sim_between(struct sim_rng *r, uint64_t a, uint64_t b); /* a .. b */
bool sim_chance(struct sim_rng *r, unsigned per_mille);
uint64_t sim_about(struct sim_rng *r, uint64_t mean); /* many short ones, few long ones */

/* ---- what clients do ---- */

#define SIM_OP_LIST(X)                \
    X(STORE, "store")                 \
    X(GET, "get")                     \
    X(RANGE, "range")                 \
    X(RM, "rm")                       \
    X(RM_NAME, "rm-name")             \
    X(GC, "gc")                       \
    X(VERIFY, "verify")               \
    X(STATUS, "status")               \
    X(LS, "ls")                       \
    X(FIND, "find") /* get by name */ \
    X(SET, "set")                     \
    X(VALUE, "value")                 \
    X(UNSET, "unset")

enum sim_op_kind {
#define X(name, text) SIM_OP_##name,
    SIM_OP_LIST(X)
#undef X
        SIM_OP_KINDS
};

/* ---- what a seed means (faults.c), and what shrinking takes out of it ---- */

/* X(name, text): kinds of faults of a swarm. */
#define SIM_FAULT_LIST(X)             \
    X(CRASH, "crash")                 \
    X(KILL, "kill")                   \
    X(CRASH_IN_CALL, "crash-in-call") \
    X(PAUSE, "pause")                 \
    X(RESET, "reset")                 \
    X(HALF_OPEN, "half-open")         \
    X(PARTITION, "partition")         \
    X(ONE_WAY, "one-way")             \
    X(CLOCK, "clock")                 \
    X(DISK_ERROR, "disk-error")       \
    X(DISK_FULL, "disk-full")         \
    X(SLOW_DISK, "slow-disk")         \
    X(ROT, "rot")                     \
    X(WIPE, "wipe")                   \
    X(OLD_DISK, "old-disk")           \
    X(MANGLE, "mangle")               \
    X(LEAP, "leap")

enum sim_fault_kind {
#define X(name, text) SIM_FAULT_##name,
    SIM_FAULT_LIST(X)
#undef X
        SIM_FAULT_KINDS
};
const char *sim_fault_text(enum sim_fault_kind kind);

struct sim_plan {
    uint64_t seed;
    uint64_t virtual_us; /* of the safety phase */
    unsigned nodes, ops, faults;
    unsigned fault_kinds;                              /* bits of the swarm */
    bool no_op[SIM_OPS_MAX], no_fault[SIM_FAULTS_MAX]; /* taken out by shrinking */

    /* network: of each piece of bytes */
    uint64_t delay_us;        /* mean one way */
    unsigned loss_per_mille;  /* sent again after 200 ms, 400 ms ... */
    unsigned split_per_mille; /* pieces that come in crumbs */
    uint64_t window;          /* bytes under way, one way */
    bool both_dial;

    /* machines */
    uint64_t job_us, sync_us;  /* mean latencies */
    uint64_t skew_ms, step_ms; /* clocks differ by up to so much, and are set by up to so much */
    /* Instead of drawn operations (exhaust.c); a power cut in the n-th change of one of them. */
    bool scripted;
    struct {
        enum sim_op_kind kind;
        unsigned node;
    } script[SIM_SCRIPT_MAX];
    unsigned cut_op;
    uint64_t cut_change; /* 0: none */
    bool no_rest;        /* upkeep (gc, scrub, backup) runs */
};

/* virtual_us and nodes 0: drawn. */
void sim_plan_draw(struct sim_plan *p, uint64_t seed, uint64_t virtual_us, unsigned nodes);

/* exhaust.c */
uint64_t sim_exhaust_count(unsigned ops, unsigned nodes);
void sim_exhaust_plan(struct sim_plan *p, uint64_t order, unsigned ops, unsigned nodes);

/* ---- events ---- */

enum sim_event_kind {
    SIM_EV_TICK,       /* node, session or file server have a deadline */
    SIM_EV_JOB_RUN,    /* p: job */
    SIM_EV_JOB_DONE,   /* p: job */
    SIM_EV_COMMIT,     /* the committer takes what waits */
    SIM_EV_COMMITTED,  /* its batch is done */
    SIM_EV_CHECKPOINT, /* it was quiet */
    SIM_EV_BYTES,      /* a: link, b: side that gets them */
    SIM_EV_LINK_TICK,  /* a: link, b: side */
    SIM_EV_DIAL,       /* b: the other node */
    SIM_EV_CONNECT,    /* b: the other node */
    SIM_EV_UNREACHED,  /* b: the other node */
    SIM_EV_START,      /* the process begins */
    SIM_EV_OP,         /* a: operation */
    SIM_EV_CLIENT,     /* a: operation; its client goes on */
    SIM_EV_LEAVE,      /* a: operation; its client goes away */
    SIM_EV_FAULT,      /* a: fault */
    SIM_EV_MEND,       /* a: fault; it ends */
    SIM_EV_HOUSEKEEPING,
    SIM_EV_KINDS
};

struct sim_event {
    uint64_t at, seq;
    uint32_t a, b, life; /* life: of the node; the event is void in another one. 0: in any */
    uint8_t kind, node;
    void *p;
};

/* ---- one process and its disk (node.c) ---- */

struct sim_batch { /* jobs in order, linked by next */
    struct pv_job *head, **tail;
};

struct sim_node {
    struct sim_world *w;
    unsigned index;
    struct pv_env env;
    struct sim_rng random;             /* behind env */
    int64_t skew_ms;                   /* of the wall clock */
    struct pvt_simfs *disk, *snapshot; /* snapshot: an old state, or NULL */
    struct pv_identity identity;
    uint64_t paused_until, slow_disk_until;
    bool restored; /* an old disk: its peers must meet this process, so that it may not end */
    bool full, dead_for_good, sync_seen; /* sync_seen: the failed sync has been judged */

    uint32_t life, snapshot_life; /* counts processes from 1 */
    bool up, ready, doomed, fatal, closed;
    struct pvt_simfs *crash_disk; /* of CRASH_IN_CALL: what is left */
    uint64_t crash_in_changes;    /* 0: not armed */
    uint64_t crash_until;         /* 0: whenever it comes */
    uint64_t crash_seed;
    struct pv_vault vault;
    struct pv_store *store;
    struct pv_keyring keyring;
    struct pv_chunker_key chunker_key;
    struct pv_job_context jobs;
    struct pv_node *core;
    struct pv_files *files;
    struct pv_upkeep *upkeep;
    struct pv_cluster *cluster;
    struct pv_noise_static noise_static;
    const struct pv_cluster_keys *readable[1];
    struct pv_session_context sessions;
    struct sim_batch todo, ran, commits, committing; /* jobs by where they are */
    bool commit_due;
    uint64_t last_commit_us, tick_at;
    struct pv_dialer dialers[SIM_NODES_MAX];
    bool dials[SIM_NODES_MAX];
    uint64_t dial_at[SIM_NODES_MAX];
};

void sim_node_init(struct sim_node *n, struct sim_world *w, unsigned index);
void sim_node_release(struct sim_node *n);
void sim_node_start(
    struct sim_node *n); /* the process; it may fail and end, and is started again */
/*
 * The process ends without a word. disk: what is found there by the next one (taken); NULL: all
 * that it had written, as when only the process was killed.
 */
void sim_node_die(struct sim_node *n, struct pvt_simfs *disk, const char *why);
void sim_node_stop(struct sim_node *n); /* in good order */
void sim_node_handle(struct sim_node *n, const struct sim_event *e);
void sim_node_arm(struct sim_node *n); /* its next deadline; after each event that concerns it */
bool sim_node_works(const struct sim_node *n); /* up, ready, not paused */

/* ---- links (net.c) ---- */

struct sim_piece {
    struct sim_piece *next;
    uint64_t at; /* arrives */
    size_t len, used;
    bool eof;
    uint8_t bytes[];
};

struct sim_end {
    struct sim_node *node; /* NULL: gone */
    struct pv_session *session;
    struct sim_piece *in, **in_tail; /* under way to here, in order */
    size_t in_bytes;
    uint64_t last_at, armed_at;
    const uint8_t *held_bytes; /* the session's, for which there is no room */
    size_t held_len;
    bool deliver_due;
    bool was_up, announced, above, pinged, paused, fin_sent, cut, dirty;
    bool held, asked, ask_again; /* as in uv_pair.c */
    uint64_t held_until_ms;
};

struct sim_link {
    uint32_t id;
    bool dialler_told;      /* that it is down */
    unsigned index[2];      /* of the nodes, also when they are gone */
    struct sim_end ends[2]; /* 0 has dialled */
};

struct sim_link *sim_link_find(struct sim_world *w, uint32_t id);
struct sim_link *sim_link_new(struct sim_world *w, struct sim_node *dialler, struct sim_node *to);
void sim_link_handle(struct sim_world *w, const struct sim_event *e);
void sim_net_work(struct sim_world *w); /* what sessions have to say, until all are quiet */
void sim_link_touch(struct sim_world *w, struct sim_link *l, unsigned side);
void sim_end_close(struct sim_world *w, struct sim_link *l, unsigned side, bool say);
/* The connection is reset; half: one side does not hear of it. */
void sim_link_reset(struct sim_world *w, struct sim_link *l, int half);
void sim_net_release(struct sim_world *w);
void sim_node_lose_links(struct sim_node *n, bool silent); /* its process is gone */
struct pv_node_io sim_node_io(struct sim_node *n);

/* dial.c */
void sim_dial_init(struct sim_node *n);
void sim_dial_handle(struct sim_node *n, const struct sim_event *e);
void sim_dial_arm(struct sim_node *n);
void sim_dial_hurry(struct sim_node *n); /* the healed network: do not wait out long back-offs */
void sim_dial_ended(struct sim_link *l, const struct pv_session_effect *e, const char *cause);
void sim_pair_up(struct sim_world *w, struct sim_link *l, unsigned side);
void sim_pair_pong(struct sim_world *w, struct sim_link *l, unsigned side);
void sim_pair_down(struct sim_world *w, struct sim_link *l, unsigned side);
void sim_pair_timer(struct sim_world *w, struct sim_link *l, unsigned side);
void sim_end_announce(struct sim_link *l, unsigned side);
void sim_end_withdraw(struct sim_link *l, unsigned side, enum pv_err err, uint8_t goodbye);

/* ---- clients (client.c) and what they do (workload.c) ---- */

struct sim_content { /* bytes that anybody can make again */
    size_t len;
    uint8_t *bytes; /* NULL: not used yet */
    struct pv_id sha256;
    char key[PV_ID_HEX_LEN + 1], value_key[PV_ID_HEX_LEN + 1];
};

enum sim_op_state { SIM_OP_NOT_YET, SIM_OP_OPEN, SIM_OP_OK, SIM_OP_FAILED, SIM_OP_UNKNOWN };

struct sim_op {
    enum sim_op_kind kind;
    enum sim_op_state state;
    unsigned node, content;
    int name; /* -1: none */
    unsigned copies, exit;
    uint64_t at_us;       /* when it is due */
    uint64_t patience_us; /* 0: without end; then the client goes away */
    uint64_t range_from, range_to;
    uint64_t start_us, durable_us, end_us; /* 0: not yet. end: of UNKNOWN, the latest moment */
    unsigned copies_have;
    uint64_t files, names;
    int key_content; /* which content the answer was about; -1 unknown */

    /* while it is open */
    struct sim_world *w;
    struct pv_request rq;
    size_t sent;
    bool paused, client_due, is_check;
    uint64_t data_at;
    size_t data_len;
    char error[128];
};

void sim_op_draw(struct sim_op *op, const struct sim_plan *p, unsigned index);
void sim_exhaust_op(struct sim_op *op, const struct sim_plan *p, unsigned index); /* exhaust.c */
void sim_op_begin(struct sim_world *w, unsigned index);
void sim_op_feed(struct sim_world *w, unsigned index); /* the next bytes of an upload */
void sim_op_leave(struct sim_world *w, unsigned index);
void sim_ops_cancel(struct sim_node *n); /* its process ends */
struct sim_content *sim_content(struct sim_world *w, unsigned index);
void sim_contents_release(struct sim_world *w);
const char *sim_op_text(enum sim_op_kind kind);
void sim_name_text(char out[static 16], int name);

/* ---- faults.c ---- */

struct sim_fault {
    enum sim_fault_kind kind;
    uint64_t at, lasts_us;
    unsigned node, other;
    struct sim_rng rng;
    bool active;
};

void sim_faults_draw(struct sim_world *w);
void sim_fault_begin(struct sim_world *w, unsigned index);
void sim_fault_end(struct sim_world *w, unsigned index);
void sim_heal(struct sim_world *w); /* everything, at once */
bool sim_blocked(const struct sim_world *w, unsigned from, unsigned to);

/* ---- oracles ---- */

/* Where the blobs of a file are: copies.c. */
enum { SIM_BLOBS_MAX = 64 };
/* Its blobs, as any node knows; false: no node has its record, and the nodes of its tree. */
bool sim_blobs_of(struct sim_world *w, unsigned content, struct pv_id ids[static SIM_BLOBS_MAX],
                  size_t *count);
bool sim_has_good(struct sim_node *n, const struct pv_id *id);
/* What placement promises, by the stores of all nodes; false: why not. */
bool sim_copies_ok(struct sim_world *w, char why[static SIM_CAUSE_LEN]);
/* Whether the cluster lost nothing if this disk were gone. */
bool sim_can_spare(struct sim_world *w, const struct sim_node *n);

size_t sim_value_len(const struct sim_content *c);
bool sim_must_live(const struct sim_world *w, unsigned content);
bool sim_must_be_dead(const struct sim_world *w, unsigned content);
bool sim_name_may_mean(const struct sim_world *w, int name, int content); /* -1: nothing */
bool sim_converged(struct sim_world *w, char why[static SIM_CAUSE_LEN]);
void sim_check_answer(struct sim_world *w, struct sim_op *op); /* when one came in */
void sim_check_data(struct sim_world *w, struct sim_op *op, const uint8_t *bytes, size_t len);
void sim_check_opened(struct sim_node *n); /* O8: after each start */

/* ---- the world ---- */

struct sim_stats {
    uint64_t events, bytes, links, starts, crashes, commits, acked, gets;
    uint64_t done[SIM_OP_KINDS], ok[SIM_OP_KINDS], faults[SIM_FAULT_KINDS];
};

struct sim_world {
    const struct sim_plan *plan;
    uint64_t now, leap_us, seq, hash; /* leap: what clocks show besides now */
    struct sim_event *heap;
    size_t heap_len, heap_cap;
    struct sim_rng rng[SIM_STREAMS];
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_link **links; /* alive */
    size_t link_count, link_cap;
    uint32_t last_link;
    struct sim_content contents[SIM_CONTENTS];
    struct sim_op ops[SIM_OPS_MAX];
    unsigned op_count; /* with those of the end */
    struct sim_fault faults[SIM_FAULTS_MAX];
    unsigned fault_count;
    bool blocked[SIM_NODES_MAX][SIM_NODES_MAX]; /* from, to */
    unsigned mangle;                            /* pieces to be spoilt */
    unsigned touched;                           /* bits: nodes whose deadlines may have moved */
    uint64_t margin_us;                         /* of two writes so far apart the later one wins */
    uint64_t idle_events;                       /* since the clock moved */
    bool healed, rotted, was_cut;
    struct sim_stats stats;
    bool failed;
    char cause[SIM_CAUSE_LEN];
    struct pv_log *log;
    bool trace;
};

void sim_at(struct sim_world *w, uint64_t at, struct sim_event e);
bool sim_take(struct sim_world *w, struct sim_event *out);
void sim_note(struct sim_world *w, uint64_t a, uint64_t b); /* into the trace's hash */
void sim_note_bytes(struct sim_world *w, const void *bytes, size_t len);
void sim_fail(struct sim_world *w, const char *oracle, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void sim_trace(struct sim_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct sim_result {
    bool failed, was_cut; /* the power cut of a script has come */
    uint64_t hash, end_us;
    char cause[SIM_CAUSE_LEN];
    struct sim_stats stats;
};

void sim_run(struct sim_result *out, const struct sim_plan *plan, bool trace, struct pv_log *log);
void sim_run_seeded(struct sim_result *out, const struct sim_plan *plan); /* main.c */
unsigned sim_marks(bool print); /* how many were never hit */
/* Takes operations and faults out of a plan that fails while it still fails in the same way. */
void sim_shrink(struct sim_plan *plan, const struct sim_result *failure);

#endif
