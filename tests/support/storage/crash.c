/*
 * A hook looks at every call of the script's disk. Where something has changed since it last
 * looked, it makes copies of the disk as a crash may leave them, opens each, and compares, all
 * within the call. Copies get a hook of their own for double crashes.
 */
#include "tests/support/storage/crash.h"

#include <stdio.h>
#include <string.h>

struct probe {
    const struct pvt_crash_plan *plan;
    struct pvt_crash_report *report;
    struct pvt_world *w; /* whose disk it watches */
    uint64_t seen;       /* changes at the last look */
    uint64_t call;       /* of the script's disk */
    unsigned depth;      /* 1: the script; 2: a recovery */
    size_t step;
    uint64_t seed; /* of the state that recovers */
};

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t z = a * UINT64_C(0x9e3779b97f4a7c15) + b;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void found(struct probe *p, uint64_t seed, const char *when, const char *what)
{
    if (p->report->findings++ > 0)
        return;
    snprintf(p->report->first, sizeof p->report->first,
             "%s (%s; seed %llu, step \"%s\", call %llu, state %llx%s)", what, when,
             (unsigned long long)p->plan->seed, pvt_script_name(p->step),
             (unsigned long long)p->call, (unsigned long long)seed,
             p->depth > 1 ? " of a recovery" : "");
}

/* ---- one state of the disk ---- */

/* Without closing: what a reader was shown is durable. A new world on the disk after that. */
static bool cut_again(struct pvt_world *next, struct pvt_world *w, uint64_t seed)
{
    pvt_world_init_on(next, pvt_simfs_crash(w->disk, seed), w);
    return pvt_world_open(next) == PV_OK && pvt_world_equals(next, &w->model);
}

static bool still_works(struct pvt_world *w)
{
    if (!pvt_world_is_tidy(w) || !pvt_world_try_out(w) || !pvt_world_equals(w, &w->model))
        return false;
    pvt_world_close(w);
    return pvt_world_open(w) == PV_OK && pvt_world_equals(w, &w->model);
}

static void explore_recovered(struct probe *p, struct pvt_world *w, uint64_t seed)
{
    struct pvt_world next;
    if (!cut_again(&next, w, PVT_CRASH_NOTHING))
        found(p, seed, "cut again after the opening", next.finding);
    else if (!still_works(&next))
        found(p, seed, "used after the opening", next.finding);
    pvt_world_release(&next);
    if (pvt_simfs_open_handles(w->disk) == 0)
        found(p, seed, "open", "a store without a handle");
    pvt_world_close(w);
    if (pvt_simfs_open_handles(w->disk) != 0)
        found(p, seed, "closed", "a handle is still open");
}

static void watch(void *ctx, struct pvt_simfs *s, const struct pvt_simfs_call *call);

static bool opens_as(struct pvt_world *w, const struct pvt_world *before)
{
    if (before->under_way && pvt_world_equals(w, &before->after)) {
        struct pvt_model told = w->model;
        w->model = before->after;
        memcpy(w->model.uuid, told.uuid, sizeof told.uuid);
        w->model.open_count = told.open_count;
        w->model.created = w->model.opened = true;
        return true;
    }
    return pvt_world_equals(w, &before->model);
}

static void explore(struct probe *p, uint64_t seed)
{
    struct pvt_world w;
    unsigned fatals = pvt_world_fatals;
    pvt_world_init_on(&w, pvt_simfs_crash(p->w->disk, seed), p->w);
    w.after = p->w->after;
    w.under_way = p->w->under_way;
    struct probe inner = *p;
    inner.w = &w;
    inner.depth++;
    inner.seen = 0;
    inner.seed = seed;
    p->report->states++;
    if (p->depth == 1 && p->plan->double_states > 0)
        pvt_simfs_set_hook(w.disk, watch, &inner);
    if (p->plan->ignore_in_recovery)
        pvt_simfs_ignore_syncs(w.disk, p->plan->ignore_syncs);
    enum pv_err err = pvt_world_open(&w);
    pvt_simfs_set_hook(w.disk, NULL, NULL);
    w.under_way = false;
    if (err != PV_OK)
        found(p, seed, "opened", w.finding);
    else if (!opens_as(&w, p->w))
        found(p, seed, "compared", w.finding);
    else if (!pvt_world_is_tidy(&w))
        found(p, seed, "looked through", w.finding);
    else if (p->depth == 1 && (p->plan->used_one_of <= 1 || seed % p->plan->used_one_of == 0))
        explore_recovered(p, &w, seed);
    if (pvt_world_fatals != fatals)
        found(p, seed, "opened", "it wanted to end the process");
    pvt_world_release(&w);
}

/* ---- all of them ---- */

/* Of the 256 folders of blobs/, a few stand for all. */
static bool is_chosen(const struct probe *p, const struct pvt_simfs_call *call)
{
    uint64_t draw = mix(p->plan->seed + p->depth + p->seed, call->number);
    unsigned one_of = p->depth == 1 ? p->plan->one_of : p->plan->double_one_of;
    return p->step >= p->plan->from && (one_of <= 1 || draw % one_of == 0) &&
           (call->kind != PVT_FS_MKDIR || draw % 16 == 0);
}

static void explore_all(struct probe *p)
{
    unsigned states = p->depth == 1 ? p->plan->states : p->plan->double_states;
    ++*(p->depth == 1 ? &p->report->crashes : &p->report->double_crashes);
    for (unsigned i = 0; i < states; i++) {
        uint64_t seed = mix(mix(p->plan->seed, p->call), p->seed + i);
        if (p->plan->stop_at_first && p->report->findings > 0)
            return;
        explore(p, p->depth == 1 && i < 2 ? i : seed > PVT_CRASH_ALL ? seed : 2);
    }
}

static void watch(void *ctx, struct pvt_simfs *s, const struct pvt_simfs_call *call)
{
    struct probe *p = ctx;
    if (p->w->aliens_write || pvt_simfs_changes(s) == p->seen)
        return;
    p->seen = pvt_simfs_changes(s);
    if (p->depth == 1)
        p->call = call->number;
    if (is_chosen(p, call))
        explore_all(p);
}

void pvt_crash_run(const struct pvt_crash_plan *plan, struct pvt_crash_report *report)
{
    struct pvt_world w;
    *report = (struct pvt_crash_report){0};
    struct probe p = {.plan = plan, .report = report, .w = &w, .depth = 1};
    pvt_world_init(&w);
    pvt_simfs_set_hook(w.disk, watch, &p);
    size_t until = plan->until != 0 ? plan->until : pvt_script_len();
    for (; p.step < until; p.step++) {
        bool ignore = !plan->ignore_in_recovery && p.step >= plan->from &&
                      (plan->ignore_until == 0 || p.step < plan->ignore_until);
        pvt_simfs_ignore_syncs(w.disk, ignore ? plan->ignore_syncs : NULL);
        enum pv_err err = pvt_script_run(&w, p.step);
        if (err != PV_OK || (w.store != NULL && !pvt_world_equals(&w, &w.model))) {
            found(&p, 0, "without a crash", err != PV_OK ? pv_err_name(err) : w.finding);
            break;
        }
        if (plan->stop_at_first && report->findings > 0)
            break;
    }
    pvt_simfs_set_hook(w.disk, NULL, NULL);
    pvt_world_release(&w);
}
