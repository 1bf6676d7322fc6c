/*
 * A store on a simulated disk, a script of everything that can happen to it, and a model that says
 * what must be there. Crash tests and fault sweeps run steps of the script and compare: a store
 * that was opened again equals the model before the step or the model after it, never anything in
 * between, and once the step was acknowledged only the model after it.
 *
 * Deterministic: one world after the other makes the same file calls. One thread.
 */
#ifndef PV_TESTS_STORAGE_WORLD_H
#define PV_TESTS_STORAGE_WORLD_H

#include "storage/commit.h"
#include "tests/support/simfs.h"
#include "tests/support/support.h"

enum {
    PVT_BLOBS = 24,    /* the last is put by nobody but pvt_world_try_out */
    PVT_REGISTERS = 8, /* of records; the last likewise */
    PVT_VERSIONS = 3,  /* of each: live, live, tombstone */
    PVT_HOLDER_NODES = 2,
    PVT_OUTCOMES_MAX = 8,
    PVT_FINDING_LEN = 300,
};

struct pvt_model {
    bool created, opened; /* the folder; the first opening */
    struct pvt_model_blob {
        bool here;
        bool damaged;                  /* its bytes may be anything, or its file missing */
        bool expired;                  /* its lease, until the store is closed */
        uint64_t held, lease_until_ms; /* lease: at least */
    } blobs[PVT_BLOBS];
    struct pvt_model_record {
        uint8_t version; /* from 1; 0: none */
        bool pending;
        uint8_t history; /* bit v: version v is kept as replaced */
    } records[PVT_REGISTERS];
    uint8_t meta;                   /* the value; 0: none */
    uint8_t bits[PVT_HOLDER_NODES]; /* bit + 1 of each node in `held`, given when first needed */
    uint8_t uuid[16];
    uint64_t open_count, time_ms; /* at least */
    pv_hlc hlc;                   /* at least */
};

struct pvt_world {
    struct pvt_simfs *disk;
    struct pvt_env env;
    struct pv_vault vault;
    struct pv_store *store; /* NULL: closed */
    struct pvt_model model; /* of what was acknowledged */
    struct pvt_model after; /* while a step is under way: its model */
    bool under_way;
    /* After a step: what an opening may show. More than the model only if a commit failed, which
     * may yet turn out to be durable. */
    struct pvt_model outcomes[PVT_OUTCOMES_MAX];
    size_t outcome_count;
    bool aliens_write;             /* what is written now is not the store's */
    char finding[PVT_FINDING_LEN]; /* what is wrong, when a function below says that something is */
};

extern unsigned pvt_world_fatals; /* how often any store wanted to end the process */

/* A disk without a vault. */
void pvt_world_init(struct pvt_world *w);
/* A closed vault on a disk that is given away; clock and model are those of another world. */
void pvt_world_init_on(struct pvt_world *w, struct pvt_simfs *disk, const struct pvt_world *like);
void pvt_world_release(struct pvt_world *w); /* closes and frees the disk */

/*
 * Opens what the model says is there; creates the folder if it says that there is none. INTERNAL
 * with a finding: it opened as another store, or under a number that was told to peers before.
 */
PV_MUST enum pv_err pvt_world_open(struct pvt_world *w);
void pvt_world_close(struct pvt_world *w);

/* ---- the script ---- */

size_t pvt_script_len(void);
const char *pvt_script_name(size_t step);
size_t pvt_script_find(const char *name); /* aborts when there is none */
enum pvt_step_state {
    PVT_STEP_NEW,    /* no vault yet */
    PVT_STEP_CLOSED, /* a vault without a store */
    PVT_STEP_OPEN,
    PVT_STEP_ALIEN, /* an open store, but it is not the store that acts */
};
enum pvt_step_state pvt_script_needs(size_t step);
/* Whether the step can come next in a world with an open store, in whatever order. */
bool pvt_script_fits(const struct pvt_world *w, size_t step);
/*
 * Runs one step. What is acknowledged becomes part of the model at that moment; `after` is what the
 * model will be when all is. Returns the first error of its commits that the script does not
 * expect. Steps may be repeated.
 */
PV_MUST enum pv_err pvt_script_run(struct pvt_world *w, size_t step);
void pvt_script_run_until(struct pvt_world *w, size_t end); /* each of them works */

/* ---- what must be true ---- */

/*
 * Compares an open store with a model: every blob, byte for byte, every record, what is listed,
 * digest and counts against a recount, SQLite's own check. Does not write.
 */
PV_MUST bool pvt_world_equals(struct pvt_world *w, const struct pvt_model *m);
/*
 * After an opening: nothing in tmp/, blob files are whole and have a row when those without were
 * swept. Writes.
 */
PV_MUST bool pvt_world_is_tidy(struct pvt_world *w);
/* Whether the store still works: puts a blob, small or large, and a record. Part of the model. */
PV_MUST bool pvt_world_try_out(struct pvt_world *w);

#endif
