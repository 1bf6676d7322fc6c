/*
 * The swarm of a seed: which kinds of faults it knows, how often, and with what in mind. Each fault
 * is drawn by itself, so that one can be left out. None of them takes the last good copy of what
 * was acknowledged (sim_can_spare).
 */
#include "tests/sim/sim.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

const char *sim_fault_text(enum sim_fault_kind kind)
{
    static const char *const texts[] = {
#define X(name, text) text,
        SIM_FAULT_LIST(X)
#undef X
    };
    return texts[kind];
}

void sim_plan_draw(struct sim_plan *p, uint64_t seed, uint64_t virtual_us, unsigned nodes)
{
    struct sim_rng r = sim_rng_of(seed, SIM_TOPOLOGY, 0);
    static const uint64_t delays_ms[] = {0, 1, 5, 20, 100};
    *p = (struct sim_plan){.seed = seed};
    uint64_t dice = sim_below(&r, 10);
    p->nodes = nodes != 0 ? nodes : dice < 1 ? 1 : dice < 3 ? 2 : dice < 8 ? 3 : 5;
    p->virtual_us = virtual_us != 0 ? virtual_us : 600 * SIM_S;
    p->ops = (unsigned)sim_between(&r, 10, 60);
    p->fault_kinds = (unsigned)(sim_draw(&r) & sim_draw(&r)) & ((1U << SIM_FAULT_KINDS) - 1);
    p->faults = sim_chance(&r, 100) ? 0 : (unsigned)sim_between(&r, 1, 16);
    p->delay_us = 50 + delays_ms[sim_below(&r, PV_COUNT(delays_ms))] * SIM_MS;
    p->loss_per_mille = sim_chance(&r, 500) ? 0 : (unsigned)sim_below(&r, 200);
    p->split_per_mille = sim_chance(&r, 700) ? 0 : (unsigned)sim_below(&r, 300);
    p->window = UINT64_C(1) << sim_between(&r, 11, 18);
    p->both_dial = sim_chance(&r, 500);
    p->job_us = sim_between(&r, 10, 3000);
    p->sync_us = sim_between(&r, 50, 20000);
    p->skew_ms = sim_chance(&r, 600) ? 0 : sim_below(&r, 50000);
    p->step_ms = p->fault_kinds & (1U << SIM_FAULT_CLOCK) ? 200000 : 0;
    p->no_rest = sim_chance(&r, 200);
}

void sim_faults_draw(struct sim_world *w)
{
    const struct sim_plan *p = w->plan;
    unsigned kinds[SIM_FAULT_KINDS], count = 0;
    for (unsigned k = 0; k < SIM_FAULT_KINDS; k++)
        if (p->fault_kinds & (1U << k))
            kinds[count++] = k;
    w->fault_count = count == 0 ? 0 : p->faults;
    for (unsigned i = 0; i < w->fault_count; i++) {
        struct sim_fault *f = &w->faults[i];
        f->rng = sim_rng_of(p->seed, SIM_BUGGIFY, i);
        f->kind = kinds[sim_below(&f->rng, count)];
        f->at = SIM_S + sim_below(&f->rng, p->virtual_us);
        f->lasts_us = sim_about(&f->rng, 40 * SIM_S) + SIM_S;
        f->node = (unsigned)sim_below(&f->rng, p->nodes);
        f->other = (unsigned)sim_below(&f->rng, p->nodes);
        if (!p->no_fault[i])
            sim_at(w, f->at, (struct sim_event){.kind = SIM_EV_FAULT, .a = i});
    }
}

bool sim_blocked(const struct sim_world *w, unsigned from, unsigned to)
{
    return w->blocked[from][to];
}

/* ---- disks ---- */

static void restart(struct sim_world *w, const struct sim_fault *f)
{
    sim_at(w, w->now + f->lasts_us,
           (struct sim_event){.kind = SIM_EV_START, .node = (uint8_t)f->node});
}

/* An empty vault with the identity of the old one. */
static struct pvt_simfs *empty_disk(struct sim_node *n)
{
    uint8_t identity[256];
    size_t len = 0;
    pv_fd dir, file;
    struct pvt_simfs *disk = pvt_simfs_new();
    pvt_simfs_heal(n->disk); /* its fault was not meant for us */
    enum pv_err err = pv_vault_create("vault", pvt_simfs_fs(disk));
    const struct pv_fs *from = pvt_simfs_fs(n->disk), *to = pvt_simfs_fs(disk);
    err =
        err != PV_OK ? err : from->open(from->ctx, PV_FD_NONE, "vault/identity", PV_FS_READ, &file);
    if (err == PV_OK)
        err = from->read(from->ctx, file, identity, sizeof identity, 0, &len);
    if (err == PV_OK)
        err = from->close(from->ctx, file);
    if (err == PV_OK)
        err = to->open(to->ctx, PV_FD_NONE, "vault/identity", PV_FS_WRITE | PV_FS_CREATE, &file);
    if (err == PV_OK)
        err = to->write(to->ctx, file, identity, len, 0);
    if (err == PV_OK)
        err = to->sync(to->ctx, file);
    if (err == PV_OK)
        err = to->close(to->ctx, file);
    if (err == PV_OK)
        err = to->open(to->ctx, PV_FD_NONE, "vault", PV_FS_READ | PV_FS_DIRECTORY, &dir);
    if (err == PV_OK)
        err = to->sync(to->ctx, dir);
    if (err == PV_OK)
        err = to->close(to->ctx, dir);
    PV_ASSERT(err == PV_OK);
    return disk;
}

/* One bit of a blob file, if another node has a good copy. */
static void rot(struct sim_world *w, struct sim_fault *f)
{
    struct sim_node *n = &w->nodes[f->node];
    struct pv_id ids[SIM_BLOBS_MAX];
    size_t count;
    for (unsigned tries = 0; tries < 10; tries++) {
        unsigned c = (unsigned)sim_below(&f->rng, SIM_CONTENTS);
        if (w->contents[c].bytes == NULL || !sim_blobs_of(w, c, ids, &count) || count == 0)
            continue;
        const struct pv_id *id = &ids[sim_below(&f->rng, count)];
        bool elsewhere = false;
        for (unsigned i = 0; i < w->plan->nodes; i++)
            elsewhere = elsewhere || (i != f->node && sim_has_good(&w->nodes[i], id));
        char path[PV_BLOB_PATH_LEN + 16] = "vault/";
        pv_blob_path(path + 6, id);
        const struct pv_fs *fs = pvt_simfs_fs(n->disk);
        pv_fd file;
        struct pv_fs_stat st;
        if (!elsewhere || fs->open(fs->ctx, PV_FD_NONE, path, PV_FS_WRITE, &file) != PV_OK)
            continue;
        uint8_t byte = 0;
        size_t got;
        enum pv_err err = fs->stat(fs->ctx, file, &st);
        uint64_t at = sim_below(&f->rng, st.size_bytes);
        if (err == PV_OK && sim_chance(&f->rng, 250))
            err = fs->truncate(fs->ctx, file, at);
        else if (err == PV_OK)
            err = fs->read(fs->ctx, file, &byte, 1, at, &got);
        byte ^= 1;
        if (err == PV_OK)
            err = fs->write(fs->ctx, file, &byte, 1, at);
        if (err == PV_OK)
            err = fs->sync(fs->ctx, file);
        (void)fs->close(fs->ctx, file);
        w->rotted = true;
        if (err == PV_OK)
            sim_trace(w, "node %u: a bit of content %u rots", f->node, c);
        return;
    }
}

static void disk_error(struct sim_world *w, struct sim_fault *f)
{
    static const unsigned calls[] = {PVT_FS_READ, PVT_FS_WRITE, PVT_FS_SYNC, PVT_FS_OPEN,
                                     PVT_FS_RENAME};
    struct pvt_simfs_fault fault = {.call = calls[sim_below(&f->rng, PV_COUNT(calls))],
                                    .n = sim_between(&f->rng, 1, 40),
                                    .err = sim_chance(&f->rng, 700) ? PV_E_IO : PV_E_NOSPACE};
    if (fault.call == PVT_FS_READ || fault.call == PVT_FS_SYNC)
        fault.err = PV_E_IO;
    pvt_simfs_fail(w->nodes[f->node].disk, &fault);
    w->nodes[f->node].sync_seen = false;
}

/* ---- begin and end ---- */

/* The busiest one, and often again soon: a body that is under way is cut several times. */
static void cut_one(struct sim_world *w, unsigned index, bool half)
{
    struct sim_fault *f = &w->faults[index];
    if (w->link_count == 0)
        return;
    struct sim_link *l = w->links[sim_below(&f->rng, w->link_count)];
    for (size_t i = 0; !half && i < w->link_count; i++)
        if (w->links[i]->ends[0].in_bytes + w->links[i]->ends[1].in_bytes >
            l->ends[0].in_bytes + l->ends[1].in_bytes)
            l = w->links[i];
    sim_link_reset(w, l, half ? (int)sim_below(&f->rng, 2) : -1);
    if (!half && sim_chance(&f->rng, 700))
        sim_at(w, w->now + sim_about(&f->rng, 2 * SIM_S),
               (struct sim_event){.kind = SIM_EV_FAULT, .a = index});
}

static void part(struct sim_world *w, struct sim_fault *f, bool blocked)
{
    bool one_way = f->kind == SIM_FAULT_ONE_WAY;
    struct sim_rng r = sim_rng_of(w->plan->seed, SIM_BUGGIFY, 1000 + f->at);
    unsigned side = (unsigned)sim_below(&r, 1U << w->plan->nodes);
    for (unsigned a = 0; a < w->plan->nodes; a++)
        for (unsigned b = 0; b < w->plan->nodes; b++)
            if ((side >> a & 1) != (side >> b & 1) && (!one_way || (side >> a & 1)))
                w->blocked[a][b] = blocked;
}

/* Days go by in which nothing happens; one node is away, and comes back when they are over. */
static void leap(struct sim_world *w, struct sim_fault *f)
{
    static const uint64_t days[] = {1, 2, 4, 9, 30, 89};
    sim_node_die(&w->nodes[f->node], NULL, "killed, to be back after days");
    restart(w, f);
    w->leap_us += days[sim_below(&f->rng, PV_COUNT(days))] * 86400 * SIM_S;
    sim_trace(w, "it is day %llu", (unsigned long long)(w->leap_us / SIM_S / 86400));
    w->touched = UINT_MAX;
    for (size_t i = 0; i < w->link_count; i++)
        w->links[i]->ends[0].dirty = w->links[i]->ends[1].dirty = true;
    for (unsigned i = 0; i < w->plan->nodes; i++)
        if (w->nodes[i].up && w->nodes[i].ready)
            sim_dial_arm(&w->nodes[i]);
}

static const unsigned kinds_that_end = 1U << SIM_FAULT_CRASH | 1U << SIM_FAULT_KILL |
                                       1U << SIM_FAULT_CRASH_IN_CALL | 1U << SIM_FAULT_DISK_ERROR |
                                       1U << SIM_FAULT_DISK_FULL | 1U << SIM_FAULT_WIPE |
                                       1U << SIM_FAULT_OLD_DISK | 1U << SIM_FAULT_LEAP;

void sim_fault_begin(struct sim_world *w, unsigned index)
{
    struct sim_fault *f = &w->faults[index];
    struct sim_node *n = &w->nodes[f->node];
    bool lasts = false, ends = kinds_that_end >> f->kind & 1;
    if (w->healed || (n->restored && ends))
        return;
    sim_trace(w, "fault %u: %s, node %u", index, sim_fault_text(f->kind), f->node);
    w->stats.faults[f->kind]++;
    switch (f->kind) {
    case SIM_FAULT_CRASH:
        if (n->up)
            sim_node_die(n, pvt_simfs_crash(n->disk, sim_draw(&f->rng)), "power cut");
        restart(w, f);
        break;
    case SIM_FAULT_KILL:
        sim_node_die(n, NULL, "killed");
        restart(w, f);
        break;
    case SIM_FAULT_CRASH_IN_CALL:
        n->crash_in_changes = sim_between(&f->rng, 1, 60);
        n->crash_seed = sim_draw(&f->rng);
        break;
    case SIM_FAULT_PAUSE:
        n->paused_until = w->now + f->lasts_us;
        break;
    case SIM_FAULT_RESET:
    case SIM_FAULT_HALF_OPEN:
        cut_one(w, index, f->kind == SIM_FAULT_HALF_OPEN);
        break;
    case SIM_FAULT_PARTITION:
    case SIM_FAULT_ONE_WAY:
        part(w, f, true);
        lasts = true;
        break;
    case SIM_FAULT_CLOCK:
        n->skew_ms =
            (int64_t)sim_below(&f->rng, 2 * w->plan->step_ms + 1) - (int64_t)w->plan->step_ms;
        break;
    case SIM_FAULT_DISK_ERROR:
        disk_error(w, f);
        break;
    case SIM_FAULT_DISK_FULL:
        pvt_simfs_limit(n->disk, pvt_simfs_used_bytes(n->disk) + sim_below(&f->rng, 300000), 0);
        n->full = lasts = true;
        if (sim_chance(&f->rng, 300)) {
            pvt_simfs_limit(n->disk, pvt_simfs_used_bytes(n->disk), 0);
            sim_node_die(n, NULL, "killed, with a full disk");
            sim_at(w, w->now + SIM_S,
                   (struct sim_event){.kind = SIM_EV_START, .node = (uint8_t)f->node});
        }
        break;
    case SIM_FAULT_SLOW_DISK:
        n->slow_disk_until = w->now + f->lasts_us;
        break;
    case SIM_FAULT_ROT:
        rot(w, f);
        break;
    case SIM_FAULT_WIPE:
        if (sim_can_spare(w, n)) {
            sim_node_die(n, empty_disk(n), "its disk is replaced");
            restart(w, f);
        }
        break;
    case SIM_FAULT_OLD_DISK:
        /* One of an earlier run: that is what peers can tell by the number of openings. */
        if (n->snapshot != NULL && n->snapshot_life < n->life && sim_can_spare(w, n)) {
            sim_node_die(n, n->snapshot, "an old disk is restored");
            n->snapshot = NULL;
            n->restored = true;
            restart(w, f);
        } else if (n->snapshot == NULL && n->up) {
            n->snapshot = pvt_simfs_crash(n->disk, sim_draw(&f->rng));
            n->snapshot_life = n->life;
            sim_node_die(n, NULL, "killed, with a snapshot of its disk");
            restart(w, f);
        }
        break;
    case SIM_FAULT_MANGLE:
        w->mangle += (unsigned)sim_between(&f->rng, 1, 5);
        break;
    case SIM_FAULT_LEAP:
        leap(w, f);
        break;
    case SIM_FAULT_KINDS:
        break;
    }
    f->active = lasts;
    if (lasts)
        sim_at(w, w->now + f->lasts_us, (struct sim_event){.kind = SIM_EV_MEND, .a = index});
}

void sim_fault_end(struct sim_world *w, unsigned index)
{
    struct sim_fault *f = &w->faults[index];
    struct sim_node *n = &w->nodes[f->node];
    if (!f->active)
        return;
    f->active = false;
    if (f->kind == SIM_FAULT_DISK_FULL) {
        pvt_simfs_limit(n->disk, 0, 0);
        n->full = false;
    } else {
        part(w, f, false);
    }
}

void sim_heal(struct sim_world *w)
{
    w->healed = true;
    w->mangle = 0;
    memset(w->blocked, 0, sizeof w->blocked);
    for (unsigned i = 0; i < w->plan->nodes; i++) {
        struct sim_node *n = &w->nodes[i];
        n->paused_until = n->slow_disk_until = 0;
        n->skew_ms = 0;
        n->full = false;
        n->crash_in_changes = 0;
        pvt_simfs_heal(n->disk);
        pvt_simfs_limit(n->disk, 0, 0);
        if (!n->up)
            sim_at(w, w->now, (struct sim_event){.kind = SIM_EV_START, .node = (uint8_t)i});
        else if (n->ready)
            sim_dial_hurry(n);
    }
    for (unsigned i = 0; i < w->fault_count; i++)
        w->faults[i].active = false;
}
