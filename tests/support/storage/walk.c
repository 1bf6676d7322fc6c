/* See the header. All that is random comes from one stream, so the seed is the whole story. */
#include "tests/support/storage/walk.h"

#include <stdio.h>
#include <string.h>

enum { NO_CUT = 0, BLOCK_LEN = 4096, DISK_BYTES = 8 << 20 };

struct walk {
    struct pvt_walk_report *report;
    struct pvt_world w;
    uint64_t seed, state;
    size_t step;
    const char *accident;
    /* The next power cut: the disk after it, and what was known at that moment. */
    uint64_t cut_in; /* changes from now; NO_CUT: none */
    uint64_t seen;
    bool is_cut;
    struct pvt_world after_cut;
};

static uint64_t draw(struct walk *k, uint64_t below)
{
    uint64_t z = k->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

static bool found(struct walk *k, const char *what)
{
    if (k->report->findings++ == 0)
        snprintf(k->report->first, sizeof k->report->first, "%s (%s; seed %llu, %llu: \"%s\")",
                 what, k->accident, (unsigned long long)k->seed,
                 (unsigned long long)k->report->steps, pvt_script_name(k->step));
    return false;
}

/* ---- power cuts ---- */

static void maybe_cut(void *ctx, struct pvt_simfs *s, const struct pvt_simfs_call *call)
{
    struct walk *k = ctx;
    (void)call;
    if (k->is_cut || k->w.aliens_write || pvt_simfs_changes(s) == k->seen)
        return;
    k->seen = pvt_simfs_changes(s);
    if (--k->cut_in > 0)
        return;
    pvt_world_init_on(&k->after_cut, pvt_simfs_crash(s, draw(k, UINT64_MAX)), &k->w);
    k->after_cut.outcomes[0] = k->w.model;
    k->after_cut.outcomes[1] = k->w.after;
    k->after_cut.outcome_count = k->w.under_way ? 2 : 1;
    k->is_cut = true;
}

/* The old world goes; its copy is the world now. Limits and the clock went along. */
static void become_cut(struct walk *k)
{
    pvt_world_release(&k->w);
    k->w = k->after_cut;
    k->w.env.env.ctx = &k->w.env;
}

/* ---- openings ---- */

static bool equals_an_outcome(struct walk *k)
{
    struct pvt_world *w = &k->w;
    for (size_t i = 0; i < w->outcome_count; i++) {
        if (!pvt_world_equals(w, &w->outcomes[i]))
            continue;
        struct pvt_model told = w->model;
        w->model = w->outcomes[i];
        memcpy(w->model.uuid, told.uuid, sizeof told.uuid);
        w->model.open_count = told.open_count;
        for (unsigned b = 0; b < PVT_BLOBS; b++)
            w->model.blobs[b].expired = false;
        return true;
    }
    return found(k, w->finding);
}

/* Also with a fault or a power cut in the middle, and then again. */
static bool reopen(struct walk *k)
{
    struct pvt_world *w = &k->w;
    if (draw(k, 3) == 0) {
        struct pvt_simfs_fault fault = {.call = PVT_FS_ANY_CALL,
                                        .n = 1 + draw(k, 400),
                                        .err = draw(k, 2) ? PV_E_IO : PV_E_NOSPACE,
                                        .sticky = draw(k, 2)};
        unsigned fatals = pvt_world_fatals;
        pvt_simfs_fail(w->disk, &fault);
        bool open = pvt_world_open(w) == PV_OK && pvt_world_fatals == fatals;
        pvt_simfs_heal(w->disk);
        if (!open)
            pvt_world_close(w);
        if (!open && draw(k, 2)) {
            pvt_world_init_on(&k->after_cut, pvt_simfs_crash(w->disk, draw(k, UINT64_MAX)), w);
            memcpy(k->after_cut.outcomes, w->outcomes, sizeof w->outcomes);
            k->after_cut.outcome_count = w->outcome_count;
            become_cut(k);
        }
    }
    if (w->store == NULL && pvt_world_open(w) != PV_OK)
        return found(k, w->finding);
    return equals_an_outcome(k) && (draw(k, 2) || pvt_world_is_tidy(w) || found(k, w->finding));
}

/* ---- one step, and its accident ---- */

static bool step_with_cut(struct walk *k)
{
    k->accident = "power cut";
    k->cut_in = 1 + draw(k, 16);
    k->seen = pvt_simfs_changes(k->w.disk);
    k->is_cut = false;
    pvt_simfs_set_hook(k->w.disk, maybe_cut, k);
    enum pv_err err = pvt_script_run(&k->w, k->step);
    pvt_simfs_set_hook(k->w.disk, NULL, NULL);
    if (err != PV_OK)
        return found(k, pv_err_name(err));
    if (!k->is_cut)
        return true; /* it was over before */
    k->report->cuts++;
    become_cut(k);
    return reopen(k);
}

static bool step_with_fault(struct walk *k)
{
    static const enum pv_err errors[] = {PV_E_IO, PV_E_NOSPACE, PV_E_LIMIT, PV_E_NOMEM};
    struct pvt_world *w = &k->w;
    struct pvt_simfs_fault fault = {.call = PVT_FS_ANY_CALL,
                                    .n = 1 + draw(k, 40),
                                    .err = errors[draw(k, PV_COUNT(errors))],
                                    .sticky = draw(k, 2)};
    unsigned fatals = pvt_world_fatals;
    k->accident = fault.sticky ? "calls that fail" : "a call that fails";
    pvt_simfs_fail(w->disk, &fault);
    enum pv_err err = pvt_script_run(w, k->step);
    pvt_simfs_heal(w->disk);
    k->report->faults += pvt_simfs_fired(w->disk);
    if (pvt_world_fatals == fatals && w->store != NULL && draw(k, 2)) {
        w->finding[0] = '\0';
        return pvt_world_equals(w, &w->model) &&
                       (err == PV_OK || pvt_script_run(w, k->step) == PV_OK)
                   ? true
                   : found(k, w->finding);
    }
    if (pvt_world_fatals == fatals && w->store != NULL && err == PV_OK)
        return pvt_world_equals(w, &w->model) || found(k, w->finding);
    k->report->ends++;
    pvt_simfs_set_hook(w->disk, NULL, NULL);
    struct pvt_model model = w->model;
    if (draw(k, 2)) {
        k->accident = "calls that fail, then a power cut";
        pvt_world_init_on(&k->after_cut, pvt_simfs_crash(w->disk, draw(k, UINT64_MAX)), w);
        memcpy(k->after_cut.outcomes, w->outcomes, sizeof w->outcomes);
        k->after_cut.outcome_count = w->outcome_count;
        become_cut(k);
    } else {
        pvt_world_close(w);
        w->model = model;
    }
    return reopen(k);
}

static bool step_without_room(struct walk *k)
{
    struct pvt_world *w = &k->w;
    unsigned fatals = pvt_world_fatals;
    uint64_t used = (pvt_simfs_used_bytes(w->disk) + BLOCK_LEN - 1) / BLOCK_LEN * BLOCK_LEN;
    k->accident = "full disk";
    pvt_simfs_limit(w->disk, used + draw(k, 20) * BLOCK_LEN, 0);
    enum pv_err err = pvt_script_run(w, k->step);
    pvt_simfs_limit(w->disk, DISK_BYTES, 0);
    if (pvt_world_fatals != fatals || (err != PV_OK && err != PV_E_NOSPACE))
        return found(k, pv_err_name(err));
    return w->store != NULL ? pvt_world_equals(w, &w->model) || found(k, w->finding) : reopen(k);
}

static bool step_cleanly(struct walk *k)
{
    k->accident = "none";
    enum pv_err err = pvt_script_run(&k->w, k->step);
    if (err != PV_OK)
        return found(k, pv_err_name(err));
    return pvt_world_equals(&k->w, &k->w.model) || found(k, k->w.finding);
}

static bool one_step(struct walk *k)
{
    do
        k->step = draw(k, pvt_script_len());
    while (!pvt_script_fits(&k->w, k->step));
    k->report->steps++;
    switch (pvt_script_needs(k->step) == PVT_STEP_ALIEN ? 0 : draw(k, 8)) {
    case 0:
    case 1:
    case 2:
        return step_cleanly(k);
    case 3:
    case 4:
        return step_with_cut(k);
    case 5:
        return step_without_room(k);
    default:
        return step_with_fault(k);
    }
}

void pvt_walk_run(uint64_t seed, unsigned steps, struct pvt_walk_report *report)
{
    static struct walk k; /* a world is large */
    *report = (struct pvt_walk_report){0};
    k = (struct walk){.report = report, .seed = seed, .state = seed, .accident = "none"};
    pvt_world_init(&k.w);
    pvt_script_run_until(&k.w, 2); /* there is an open store */
    while (report->steps < steps && one_step(&k))
        ;
    pvt_world_release(&k.w);
}
