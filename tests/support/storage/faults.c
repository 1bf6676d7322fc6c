/*
 * Every case begins with a copy of a vault that was closed before the step. A run without faults
 * tells how many calls the step makes; the 256 folders of blobs/ are alike, so that of the calls
 * that only concern them a few stand for all.
 */
#include "tests/support/storage/faults.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(err) (1U << PV_E_##err)

const unsigned pvt_fault_errors =
    BIT(NOMEM) | BIT(IO) | BIT(NOSPACE) | BIT(AUTH) | BIT(LIMIT) | BIT(INTERNAL);
const unsigned pvt_fault_all_errors = (1U << PV_ERR_COUNT) - 2;

enum { CALLS_MAX = 2000, BLOCK_LEN = 4096, BLOCKS_MAX = 64 };

struct sweep {
    const struct pvt_fault_plan *plan;
    struct pvt_fault_report *report;
    struct pvt_world base; /* the vault before the step, closed */
    size_t step;
    enum pvt_fs_call kinds[CALLS_MAX];
    size_t calls;
    size_t chosen[CALLS_MAX], chosen_count;
    struct pvt_simfs_fault fault; /* of this case */
    enum pvt_fault_mode mode;
    char call[PVT_SIMFS_PATH_MAX + 40];
    uint64_t draws;
};

static void found(struct sweep *s, const char *when, const char *what)
{
    static const char *const modes[] = {"once", "sticky", "sticky for its kind"};
    if (s->report->findings++ > 0)
        return;
    snprintf(s->report->first, sizeof s->report->first, "%s (%s; step \"%s\", call %llu %s, %s %s)",
             what, when, pvt_script_name(s->step), (unsigned long long)s->fault.n, s->call,
             pv_err_name(s->fault.err), modes[s->mode]);
}

static void expect(struct sweep *s, bool good, const char *when, const struct pvt_world *w)
{
    if (!good)
        found(s, when, w->finding);
}

/* ---- the vault before the step, and its calls ---- */

static void make_base(struct sweep *s)
{
    pvt_world_init(&s->base);
    pvt_script_run_until(&s->base, s->step);
    pvt_world_close(&s->base);
}

/* A world where the step can be run. */
static void begin(struct sweep *s, struct pvt_world *w)
{
    pvt_world_init_on(w, pvt_simfs_crash(s->base.disk, PVT_CRASH_ALL), &s->base);
    if (pvt_script_needs(s->step) == PVT_STEP_OPEN) {
        enum pv_err err = pvt_world_open(w);
        PV_ASSERT(err == PV_OK);
    }
}

static void note_call(void *ctx, struct pvt_simfs *disk, const struct pvt_simfs_call *call)
{
    struct sweep *s = ctx;
    PV_ASSERT(s->calls < CALLS_MAX);
    (void)disk;
    bool alike = (call->kind == PVT_FS_MKDIR || call->kind == PVT_FS_LIST) &&
                 fnmatch("vault/blobs/??", call->path, FNM_PATHNAME) == 0 &&
                 fnmatch("vault/blobs/[08f]0", call->path, FNM_PATHNAME) != 0;
    if (!alike && (s->plan->call == PVT_FS_ANY_CALL || s->plan->call == (unsigned)call->kind))
        s->chosen[s->chosen_count++] = s->calls;
    s->kinds[s->calls++] = call->kind;
}

static void learn_calls(struct sweep *s)
{
    struct pvt_world w;
    begin(s, &w);
    s->calls = s->chosen_count = 0;
    pvt_simfs_set_hook(w.disk, note_call, s);
    enum pv_err err = pvt_script_run(&w, s->step);
    PV_ASSERT(err == PV_OK);
    pvt_simfs_set_hook(w.disk, NULL, NULL);
    pvt_world_release(&w);
}

/* ---- after the fault ---- */

static bool equals_an_outcome(struct pvt_world *w, const struct pvt_world *ran)
{
    for (size_t i = 0; i < ran->outcome_count; i++) {
        if (!pvt_world_equals(w, &ran->outcomes[i]))
            continue;
        struct pvt_model told = w->model;
        w->model = ran->outcomes[i];
        memcpy(w->model.uuid, told.uuid, sizeof told.uuid);
        w->model.open_count = told.open_count;
        w->model.created = w->model.opened = true;
        return true;
    }
    return false;
}

/* Opens after the end of the process: what was acknowledged is there, and it goes on. */
static void open_again(struct sweep *s, struct pvt_world *w, const struct pvt_world *ran,
                       const char *when)
{
    if (pvt_world_open(w) != PV_OK || !equals_an_outcome(w, ran) || !pvt_world_is_tidy(w) ||
        !pvt_world_try_out(w)) {
        found(s, when, w->finding);
        return;
    }
    struct pvt_world cut;
    pvt_world_init_on(&cut, pvt_simfs_crash(w->disk, PVT_CRASH_NOTHING), w);
    expect(s, pvt_world_open(&cut) == PV_OK && pvt_world_equals(&cut, &w->model), "cut after that",
           &cut);
    pvt_world_release(&cut);
}

static bool may_end_the_process(struct sweep *s, const struct pvt_simfs_call *victim)
{
    bool sticky = s->mode != PVT_FAULT_ONCE;
    bool db = strncmp(victim->path, "vault/vault.db", 14) == 0;
    if (sticky || victim->kind == PVT_FS_SYNC)
        return true;
    return db && (victim->kind == PVT_FS_WRITE || victim->kind == PVT_FS_TRUNCATE) &&
           s->fault.err != PV_E_NOSPACE;
}

/* The store wanted to end the process: another one opens, and a third after a power cut. */
static void after_fatal(struct sweep *s, struct pvt_world *w)
{
    struct pvt_world cut;
    struct pvt_model model = w->model;
    s->report->fatals++;
    if (!may_end_the_process(s, pvt_simfs_victim(w->disk)))
        found(s, "at once", "it wanted to end the process");
    pvt_world_init_on(&cut, pvt_simfs_crash(w->disk, 2 + s->draws), w);
    if (w->store != NULL) {
        struct pvt_world told = *w; /* outcomes */
        if (pvt_world_try_out(w))
            found(s, "at once", "it acknowledged something after the end");
        memcpy(w->outcomes, told.outcomes, sizeof told.outcomes);
        w->outcome_count = told.outcome_count;
    }
    pvt_world_close(w);
    w->model = model;
    if (pvt_simfs_open_handles(w->disk) != 0)
        found(s, "at the end", "a handle is still open");
    struct pvt_world ran = *w;
    open_again(s, w, &ran, "opened by the next process");
    open_again(s, &cut, &ran, "opened after a power cut");
    pvt_world_release(&cut);
}

/* The store goes on, or did not open: the step works now. */
static void after_error(struct sweep *s, struct pvt_world *w, enum pv_err err)
{
    struct pvt_world ran = *w;
    if (w->store != NULL)
        expect(s, pvt_world_equals(w, &w->model), "before anything else", w);
    else if (pvt_simfs_open_handles(w->disk) != 0)
        found(s, "at once", "a handle is still open");
    if (err != PV_OK) {
        enum pv_err again = pvt_script_run(w, s->step);
        if (again != PV_OK)
            found(s, "the step again", pv_err_name(again));
        ran = *w;
    }
    if (w->store == NULL && w->model.created && pvt_script_needs(s->step) != PVT_STEP_NEW) {
        found(s, "the step again", w->finding);
        return;
    }
    if (w->store != NULL) {
        expect(s, pvt_world_equals(w, &w->model) && pvt_world_try_out(w), "after the step again",
               w);
        ran = *w;
        pvt_world_close(w);
    }
    if (pvt_simfs_open_handles(w->disk) != 0)
        found(s, "at the end", "a handle is still open");
    open_again(s, w, &ran, "opened again");
}

static void run_case(struct sweep *s)
{
    struct pvt_world w;
    unsigned fatals = pvt_world_fatals;
    begin(s, &w);
    s->report->cases++;
    pvt_simfs_fail(w.disk, &s->fault);
    enum pv_err err = pvt_script_run(&w, s->step);
    if (s->mode == PVT_FAULT_STICKY_KIND && w.store != NULL && fatals == pvt_world_fatals &&
        s->fault.call != PVT_FS_READ && s->fault.call != PVT_FS_OPEN &&
        s->fault.call != PVT_FS_STAT && s->fault.call != PVT_FS_LIST &&
        s->fault.call != PVT_FS_SPACE)
        expect(s, pvt_world_equals(&w, &w.model), "read meanwhile", &w);
    pvt_simfs_heal(w.disk);
    PV_ASSERT(pvt_simfs_fired(w.disk));
    const struct pvt_simfs_call *victim = pvt_simfs_victim(w.disk);
    snprintf(s->call, sizeof s->call, "%d %s", (int)victim->kind, victim->path);
    s->report->swallowed += err == PV_OK;
    if (victim->kind == PVT_FS_SYNC && pvt_script_needs(s->step) != PVT_STEP_NEW &&
        pvt_world_fatals == fatals)
        found(s, "at once", "a sync failed and it goes on");
    if (pvt_world_fatals > fatals)
        after_fatal(s, &w);
    else
        after_error(s, &w, err);
    pvt_world_release(&w);
}

/* ---- all cases ---- */

/* The n-th call of all, or the n-th of its kind, which lets the others go on. */
static void set_fault(struct sweep *s, size_t call, enum pv_err err, enum pvt_fault_mode mode)
{
    uint64_t n = 0;
    for (size_t i = 0; i <= call; i++)
        n += s->kinds[i] == s->kinds[call];
    bool kind = mode == PVT_FAULT_STICKY_KIND;
    s->mode = mode;
    s->fault = (struct pvt_simfs_fault){
        .call = kind ? (unsigned)s->kinds[call] : (unsigned)PVT_FS_ANY_CALL,
        .n = kind ? n : call + 1,
        .err = err,
        .sticky = mode != PVT_FAULT_ONCE,
    };
}

static bool is_chosen(struct sweep *s)
{
    uint64_t z = (s->plan->seed + ++s->draws) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return (z >> 20) % s->plan->one_of == 0;
}

static void sweep_step(struct sweep *s)
{
    learn_calls(s);
    for (size_t i = 0; i < s->chosen_count; i++)
        for (unsigned err = PV_OK + 1; err < PV_ERR_COUNT; err++)
            for (unsigned mode = 0; mode < PVT_FAULT_MODE_COUNT; mode++) {
                if (!(s->plan->errors >> err & 1) || !(s->plan->modes >> mode & 1) || !is_chosen(s))
                    continue;
                set_fault(s, s->chosen[i], (enum pv_err)err, (enum pvt_fault_mode)mode);
                run_case(s);
            }
}

static void each_step(const struct pvt_fault_plan *plan, struct pvt_fault_report *report,
                      void (*run)(struct sweep *s))
{
    struct sweep *s = calloc(1, sizeof *s);
    PV_ASSERT(s != NULL);
    *report = (struct pvt_fault_report){0};
    s->plan = plan;
    s->report = report;
    for (s->step = 0; s->step < pvt_script_len(); s->step++) {
        if (pvt_script_needs(s->step) == PVT_STEP_ALIEN)
            continue;
        make_base(s);
        run(s);
        pvt_world_release(&s->base);
    }
    free(s);
}

void pvt_fault_run(const struct pvt_fault_plan *plan, struct pvt_fault_report *report)
{
    each_step(plan, report, sweep_step);
}

/* ---- full disks ---- */

/* False: the step had all the room that it wanted. */
static bool run_full(struct sweep *s, uint64_t blocks)
{
    struct pvt_world w;
    unsigned fatals = pvt_world_fatals;
    begin(s, &w);
    s->report->cases++;
    s->fault = (struct pvt_simfs_fault){.n = blocks, .err = PV_E_NOSPACE};
    uint64_t used = (pvt_simfs_used_bytes(w.disk) + BLOCK_LEN - 1) / BLOCK_LEN * BLOCK_LEN;
    pvt_simfs_limit(w.disk, used + blocks * BLOCK_LEN, 0);
    enum pv_err err = pvt_script_run(&w, s->step);
    bool refused = err != PV_OK;
    s->report->swallowed += !refused;
    if (refused && err != PV_E_NOSPACE)
        found(s, "on a full disk", pv_err_name(err));
    if (w.store != NULL)
        expect(s, pvt_world_equals(&w, &w.model), "read on a full disk", &w);
    pvt_simfs_limit(w.disk, 0, 0);
    if (pvt_world_fatals > fatals) {
        found(s, "on a full disk", "it wanted to end the process");
        after_fatal(s, &w);
    } else {
        after_error(s, &w, err);
    }
    pvt_world_release(&w);
    return refused;
}

static void fill_step(struct sweep *s)
{
    snprintf(s->call, sizeof s->call, "blocks");
    for (uint64_t blocks = 0, enough = 0; blocks < BLOCKS_MAX && enough < 4; blocks++)
        if (is_chosen(s))
            enough = run_full(s, blocks) ? 0 : enough + 1;
}

void pvt_full_run(const struct pvt_fault_plan *plan, struct pvt_fault_report *report)
{
    each_step(plan, report, fill_step);
}
