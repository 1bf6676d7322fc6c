/*
 * Garbage collection, asked for (`gc`) or in the background.
 *
 *   look (may vault.db be believed?) -> [end all leases] -> for each window of seqs:
 *       mark (mark.h) -> sweep: look at rows, delete those without a bit whose lease is over
 *   -> purge (purge.h) -> shrink vault.db
 *
 * Deleting is a commit of at most PV_SWEEP_MAX blobs, which is refused when a file record was
 * written since the mark (BUSY): the mark goes on with those, and the slice is looked at again.
 *
 * Nothing is deleted unless everything is known that could keep a blob alive: all file records can
 * be read, all live trees are whole, and some other member, if there are any, has had the same
 * records as we since the start. What stands in the way is said, and tried again later.
 */
#include "internal/upkeep/collect.h"

#include "internal/upkeep/mark.h"
#include "internal/upkeep/purge.h"
#include "internal/node/members.h"
#include "internal/node/sync.h"
#include "internal/base/sometimes.h"

#include <string.h>

enum {
    WINDOW = 8 * 1024 * 1024, /* blobs marked at once: two sets of 1 MiB */
    ROWS_A_SLICE = 256,
    RESTS = 9, /* in the background: at most a tenth of one core and of the disk */
    PROGRESS_MS = 500,
    WHY_MAX = 160,
};

struct tally {
    uint64_t blobs, bytes;
};

struct tallies {
    struct tally live, kept, leased, garbage;
};

struct pv_collect {
    struct pv_upkeep *upkeep;
    struct pv_files *files;
    struct pv_request *rq; /* NULL: in the background, or cancelled */
    bool dry_run, now, cancelled, running;
    bool leases_end;   /* now, and nobody else could need them */
    char why[WHY_MAX]; /* nothing is deleted because ...; "": nothing */
    enum pv_exit exit;
    struct pv_pace pace;
    struct pv_job job;
    struct pv_commit_op op;
    unsigned folder; /* of the look for unknown files */
    bool may_collect, was_lost;
    struct pv_id unknown[PV_UNKNOWN_MAX];
    size_t unknown_count;
    uint64_t last; /* seq of the newest blob at the start: later ones stay */
    struct pv_mark mark;
    struct pv_purge purge;
    size_t reserved;
    struct pv_budget_wait wait;
    uint64_t cursor, next; /* of the slice, and of the one after it */
    struct pv_blob_row_info rows[ROWS_A_SLICE];
    size_t row_count;
    struct pv_id ids[PV_SWEEP_MAX];
    size_t id_count;
    struct tallies slice, all;
    uint64_t told_ms;
};

/* ---- the end ---- */

static void release(struct pv_collect *c)
{
    struct pv_files *f = c->files;
    size_t reserved = c->reserved;
    pv_pace_cancel(&c->pace);
    pv_budget_cancel(&c->wait);
    pv_free(c->mark.live);
    pv_free(c->mark.kept);
    if (c->upkeep->collect == c)
        c->upkeep->collect = NULL;
    pv_free(c);
    if (reserved > 0)
        pv_budget_give(&f->memory, reserved);
}

static json_t *describe(const struct pv_collect *c)
{
    const struct tallies *t = &c->all;
    return json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s*}", "dry_run",
        (int)c->dry_run, "garbage_blobs", (json_int_t)t->garbage.blobs, "garbage_bytes",
        (json_int_t)t->garbage.bytes, "live_blobs", (json_int_t)t->live.blobs, "live_bytes",
        (json_int_t)t->live.bytes, "removed_files", (json_int_t)c->mark.kept_files, "removed_blobs",
        (json_int_t)t->kept.blobs, "removed_bytes", (json_int_t)t->kept.bytes, "leased_blobs",
        (json_int_t)t->leased.blobs, "leased_bytes", (json_int_t)t->leased.bytes, "purged_files",
        (json_int_t)c->purge.count, "purged_bytes", (json_int_t)c->purge.bytes, "blocked",
        c->why[0] != '\0' ? c->why : NULL);
}

static void log_end(const struct pv_collect *c)
{
    struct pv_log *log = c->files->config.env->log;
    if (c->why[0] != '\0')
        PV_LOG(log, PV_LOG_WARN, PV_SUB_FILE, "no garbage collected", "cause", c->why);
    else if (!c->dry_run && c->all.garbage.blobs + c->purge.count > 0)
        PV_LOG(log, PV_LOG_INFO, PV_SUB_FILE, "garbage collected", "blobs",
               pv_log_u64(c->all.garbage.blobs), "bytes", pv_log_u64(c->all.garbage.bytes),
               "purged", pv_log_u64(c->purge.count));
}

static void finish(struct pv_collect *c)
{
    log_end(c);
    if (!c->dry_run && c->all.garbage.blobs > 0)
        c->upkeep->backups = 0; /* what is gone need not stay in small.bak */
    if (c->rq != NULL && (c->why[0] == '\0' || c->dry_run))
        pv_request_ok(c->rq, describe(c));
    else if (c->rq != NULL)
        pv_request_fail(c->rq, c->exit, "nothing is deleted: %s", c->why);
    release(c);
}

static void block(struct pv_collect *c, enum pv_exit exit, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void block(struct pv_collect *c, enum pv_exit exit, const char *fmt, ...)
{
    va_list args;
    PV_SOMETIMES("gc: something is in the way");
    va_start(args, fmt);
    (void)vsnprintf(c->why, sizeof c->why, fmt, args);
    va_end(args);
    c->exit = exit;
}

static void fail(struct pv_collect *c, enum pv_err err)
{
    block(c, pv_exit_of(err), "cannot read the vault: %s", pv_err_text(err));
    c->dry_run = false; /* there is nothing to tell */
    finish(c);
}

/* True: whoever wanted it is gone, and so is c. */
static bool ended(struct pv_collect *c)
{
    c->running = false;
    if (!c->cancelled && !pv_node_closing(c->files->config.node))
        return false;
    release(c);
    return true;
}

static void submit(struct pv_collect *c,
                   void (*run)(struct pv_job *, const struct pv_job_context *),
                   void (*done)(struct pv_job *))
{
    pv_pace_begin(&c->pace);
    c->running = true;
    c->job = (struct pv_job){.run = run, .done = done};
    pv_node_submit(c->files->config.node, &c->job);
}

static void commit(struct pv_collect *c, void (*done)(struct pv_job *))
{
    c->running = true;
    c->job = (struct pv_job){.done = done, .commit = {.ops = &c->op, .count = 1}};
    pv_node_submit(c->files->config.node, &c->job);
}

static void tell(struct pv_collect *c, const char *phase, uint64_t done)
{
    uint64_t now_ms = pv_env_mono_ms(c->files->config.env);
    if (c->rq == NULL || now_ms - c->told_ms < PROGRESS_MS)
        return;
    c->told_ms = now_ms;
    c->rq->io->event(c->rq, json_pack("{s:s, s:s, s:I}", "event", "progress", "phase", phase,
                                      "done", (json_int_t)done));
}

/* ---- purge, and the room in vault.db ---- */

static void shrink_on(struct pv_pace *pace);

static void on_shrunk(struct pv_job *job)
{
    struct pv_collect *c = PV_CONTAINER_OF(job, struct pv_collect, job);
    if (ended(c))
        return;
    if (job->commit.err == PV_OK && c->op.applied) {
        pv_pace_wait(&c->pace, shrink_on);
        return;
    }
    finish(c); /* an error is logged where it came up; the next time will do */
}

static void shrink_on(struct pv_pace *pace)
{
    struct pv_collect *c = PV_CONTAINER_OF(pace, struct pv_collect, pace);
    c->op = (struct pv_commit_op){.type = PV_COMMIT_SHRINK};
    pv_pace_begin(&c->pace);
    commit(c, on_shrunk);
}

static void on_purged(struct pv_purge *p, enum pv_err err)
{
    struct pv_collect *c = PV_CONTAINER_OF(p, struct pv_collect, purge);
    if (err != PV_OK)
        fail(c, err);
    else if (c->dry_run)
        finish(c);
    else
        shrink_on(&c->pace);
}

static void on_purge_released(struct pv_purge *p)
{
    release(PV_CONTAINER_OF(p, struct pv_collect, purge));
}

static void wrap_up(struct pv_collect *c)
{
    if (c->mark.may_purge)
        pv_purge_start(&c->purge);
    else
        on_purged(&c->purge, PV_OK);
}

/* ---- sweep ---- */

static void sweep_on(struct pv_pace *pace);
static void next_window(struct pv_collect *c);

static void add(struct tally *t, uint64_t blobs, uint64_t bytes)
{
    t->blobs += blobs;
    t->bytes += bytes;
}

static void end_slice(struct pv_collect *c)
{
    add(&c->all.live, c->slice.live.blobs, c->slice.live.bytes);
    add(&c->all.kept, c->slice.kept.blobs, c->slice.kept.bytes);
    add(&c->all.leased, c->slice.leased.blobs, c->slice.leased.bytes);
    add(&c->all.garbage, c->slice.garbage.blobs, c->slice.garbage.bytes);
    c->cursor = c->next;
    tell(c, "sweep", c->cursor);
    pv_pace_wait(&c->pace, sweep_on);
}

static void on_swept(struct pv_job *job)
{
    struct pv_collect *c = PV_CONTAINER_OF(job, struct pv_collect, job);
    if (ended(c))
        return;
    if (job->commit.err == PV_E_BUSY) {
        pv_mark_start(&c->mark); /* what was written meanwhile; then the slice again */
    } else if (job->commit.err != PV_OK) {
        fail(c, job->commit.err);
    } else {
        c->slice.garbage = (struct tally){c->op.u.sweep.swept, c->op.u.sweep.swept_bytes};
        end_slice(c);
    }
}

static struct tally *judge(struct pv_collect *c, const struct pv_blob_row_info *row)
{
    if (pv_mark_has(&c->mark, c->mark.live, row->blob.seq))
        return &c->slice.live;
    if (pv_mark_has(&c->mark, c->mark.kept, row->blob.seq))
        return &c->slice.kept;
    return row->is_leased && !c->leases_end ? &c->slice.leased : &c->slice.garbage;
}

static void run_rows(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_collect *c = PV_CONTAINER_OF(job, struct pv_collect, job);
    bool end;
    uint64_t cursor = c->cursor, limit = c->mark.first + c->mark.count;
    job->err = pv_store_blobs(ctx->store, &cursor, c->rows, ROWS_A_SLICE, &c->row_count, &end);
    c->next = job->err == PV_OK && end ? limit : cursor;
}

static void on_rows(struct pv_job *job)
{
    struct pv_collect *c = PV_CONTAINER_OF(job, struct pv_collect, job);
    uint64_t limit = c->mark.first + c->mark.count;
    if (ended(c))
        return;
    if (job->err != PV_OK) {
        fail(c, job->err);
        return;
    }
    c->slice = (struct tallies){.live = {0, 0}};
    c->id_count = 0;
    for (size_t i = 0; i < c->row_count; i++) {
        const struct pv_blob_row_info *row = &c->rows[i];
        struct tally *t = row->blob.seq < limit ? judge(c, row) : NULL;
        if (t == NULL || (t == &c->slice.garbage && c->id_count == PV_SWEEP_MAX)) {
            c->next = row->blob.seq; /* here the next slice begins */
            break;
        }
        add(t, 1, row->blob.size);
        if (t == &c->slice.garbage && !c->dry_run)
            c->ids[c->id_count++] = row->blob.id;
    }
    if (c->id_count == 0) {
        end_slice(c);
        return;
    }
    c->op = (struct pv_commit_op){.type = PV_COMMIT_SWEEP};
    c->op.u.sweep.ids = c->ids;
    c->op.u.sweep.count = c->id_count;
    c->op.u.sweep.record_seq = c->mark.record_seq;
    commit(c, on_swept);
}

static void sweep_on(struct pv_pace *pace)
{
    struct pv_collect *c = PV_CONTAINER_OF(pace, struct pv_collect, pace);
    if (c->cursor < c->mark.first + c->mark.count) {
        submit(c, run_rows, on_rows);
        return;
    }
    c->mark.first += c->mark.count;
    next_window(c);
}

/* ---- mark ---- */

static void on_marked(struct pv_mark *m, enum pv_err err)
{
    struct pv_collect *c = PV_CONTAINER_OF(m, struct pv_collect, mark);
    if (err != PV_OK) {
        fail(c, err);
        return;
    }
    if (m->unreadable > 0)
        block(c, PV_EXIT_CORRUPT, "%llu file records cannot be read (see `peervault verify`)",
              (unsigned long long)m->unreadable);
    else if (m->broken > 0)
        block(c, PV_EXIT_UNAVAILABLE,
              "%llu files are not whole here nor at any peer in reach (see `peervault verify`)",
              (unsigned long long)m->broken);
    if (c->why[0] != '\0' && !c->dry_run)
        finish(c);
    else
        sweep_on(&c->pace);
}

static void on_mark_released(struct pv_mark *m)
{
    release(PV_CONTAINER_OF(m, struct pv_collect, mark));
}

static void on_progress(struct pv_mark *m)
{
    tell(PV_CONTAINER_OF(m, struct pv_collect, mark), "mark", m->records);
}

/* Of one of the two sets: a bit for each seq of the window. */
static size_t set_bytes(const struct pv_mark *m)
{
    return (size_t)(m->count + 63) / 64 * 8;
}

static void start_mark(struct pv_collect *c)
{
    struct pv_mark *m = &c->mark;
    size_t bytes = set_bytes(m);
    c->reserved = 2 * bytes;
    m->live = pv_calloc(1, bytes);
    m->kept = pv_calloc(1, bytes);
    if (m->live == NULL || m->kept == NULL) {
        fail(c, PV_E_NOMEM);
        return;
    }
    m->record_seq = m->records = m->kept_files = 0;
    c->cursor = m->first;
    pv_mark_start(m);
}

static void on_granted(struct pv_budget_wait *wait)
{
    start_mark(PV_CONTAINER_OF(wait, struct pv_collect, wait));
}

static void next_window(struct pv_collect *c)
{
    struct pv_mark *m = &c->mark;
    size_t reserved = c->reserved;
    pv_free(m->live);
    pv_free(m->kept);
    m->live = m->kept = NULL;
    c->reserved = 0;
    if (reserved > 0)
        pv_budget_give(&c->files->memory, reserved);
    if (m->first > c->last && m->first > 1) { /* one, at least: removed files count without blobs */
        wrap_up(c);
        return;
    }
    m->count = c->last - m->first + 1 < WINDOW ? c->last - m->first + 1 : WINDOW;
    m->count += c->last == 0;
    c->wait.granted = on_granted;
    if (pv_budget_take(&c->files->memory, 2 * set_bytes(m), &c->wait))
        start_mark(c);
}

/* ---- look ---- */

static void run_look(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_collect *c = PV_CONTAINER_OF(job, struct pv_collect, job);
    struct pv_store_counts counts;
    job->err = pv_store_counts(ctx->store, &counts);
    c->may_collect = job->err == PV_OK && counts.may_collect;
    c->was_lost = job->err == PV_OK && counts.was_lost;
    if (job->err == PV_OK && !c->may_collect && c->folder < 256)
        job->err = pv_store_find_unknown(ctx->store, &c->folder, c->unknown, PV_UNKNOWN_MAX,
                                         &c->unknown_count);
    else
        c->folder = UINT32_MAX; /* known */
    if (job->err == PV_OK)
        job->err = pv_store_last_blob(ctx->store, &c->last);
}

static void on_expired(struct pv_job *job)
{
    struct pv_collect *c = PV_CONTAINER_OF(job, struct pv_collect, job);
    if (ended(c))
        return;
    if (job->commit.err != PV_OK)
        fail(c, job->commit.err);
    else
        next_window(c);
}

/* Who else may need a blob whose lease is not over: other members, and uploads under way. */
static void begin(struct pv_collect *c)
{
    const struct pv_node *n = c->files->config.node;
    bool alone = pv_members_active(n) <= 1;
    c->leases_end = c->now && alone && c->files->uploads == 0;
    if (!alone && !pv_sync_has_agreed(n))
        block(c, PV_EXIT_UNAVAILABLE,
              "no other member's records were found equal since the start: wait until one is in "
              "sync (see `peervault peers`)");
    else if (c->was_lost && alone && !c->now)
        block(c, PV_EXIT_CORRUPT,
              "vault.db was lost and made anew, so garbage may be what it does not remember: "
              "`peervault gc --now` deletes it all the same");
    if (c->why[0] != '\0' && !c->dry_run) {
        finish(c);
    } else if (c->leases_end && !c->dry_run) {
        c->op = (struct pv_commit_op){.type = PV_COMMIT_EXPIRE};
        commit(c, on_expired);
    } else {
        next_window(c);
    }
}

static void on_looked(struct pv_job *job);

static void look_on(struct pv_pace *pace)
{
    submit(PV_CONTAINER_OF(pace, struct pv_collect, pace), run_look, on_looked);
}

static void on_looked(struct pv_job *job)
{
    struct pv_collect *c = PV_CONTAINER_OF(job, struct pv_collect, job);
    if (ended(c))
        return;
    if (job->err != PV_OK) {
        fail(c, job->err);
    } else if (c->folder != UINT32_MAX) {
        pv_pace_wait(&c->pace, look_on);
    } else if (!c->may_collect) {
        block(c, PV_EXIT_CORRUPT,
              "there are blob files that vault.db does not know: it is old or lost commits (see "
              "`peervault status`)");
        c->dry_run = false;
        finish(c);
    } else {
        begin(c);
    }
}

/* ---- life ---- */

static struct pv_collect *start(struct pv_upkeep *u, struct pv_request *rq, bool dry_run, bool now)
{
    struct pv_collect *c = pv_calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    struct pv_files *f = u->config.files;
    unsigned rests = rq == NULL ? RESTS : 0;
    c->upkeep = u;
    c->files = f;
    c->rq = rq;
    c->dry_run = dry_run;
    c->now = now;
    c->pace = (struct pv_pace){.files = f, .rests = rests};
    c->mark.files = f;
    c->mark.rests = rests;
    c->mark.grace_ms = now ? 0 : u->config.gc_grace_ms;
    c->mark.first = 1;
    c->mark.done = on_marked;
    c->mark.released = on_mark_released;
    c->mark.progress = on_progress;
    c->purge = (struct pv_purge){.files = f,
                                 .grace_ms = c->mark.grace_ms,
                                 .rests = rests,
                                 .dry_run = dry_run,
                                 .done = on_purged,
                                 .released = on_purge_released};
    c->told_ms = pv_env_mono_ms(f->config.env);
    u->collect = c;
    look_on(&c->pace);
    return c;
}

void pv_collect_cancel(struct pv_collect *c)
{
    c->rq = NULL;
    c->cancelled = true;
    if (c->upkeep->collect == c)
        c->upkeep->collect = NULL;
    if (!c->running && pv_mark_cancel(&c->mark) && pv_purge_cancel(&c->purge))
        release(c);
}

static void on_cancel(struct pv_request *rq)
{
    pv_collect_cancel(rq->op);
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel};

void pv_query_gc(struct pv_upkeep *u, struct pv_request *rq)
{
    bool dry_run = json_is_true(json_object_get(rq->args, "dry_run"));
    bool now = json_is_true(json_object_get(rq->args, "now"));
    if (u->collect != NULL && u->collect->rq != NULL) {
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE, "a collection is under way: try again later");
        return;
    }
    if (u->collect != NULL) /* in the background: this one is sooner */
        pv_collect_cancel(u->collect);
    rq->ops = &ops;
    rq->op = start(u, rq, dry_run, now);
    if (rq->op == NULL)
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
}

/* ---- in the background ---- */

static void on_due(struct pv_timer *timer)
{
    struct pv_upkeep *u = PV_CONTAINER_OF(timer, struct pv_upkeep, collect_timer);
    struct pv_files *f = u->config.files;
    if (u->collect == NULL)
        (void)start(u, NULL, false, false);
    pv_timer_arm(&f->timers, timer, pv_env_mono_ms(f->config.env) + PV_COLLECT_EVERY_MS);
}

void pv_collect_schedule(struct pv_upkeep *u)
{
    struct pv_files *f = u->config.files;
    u->collect_timer.fire = on_due;
    pv_timer_arm(&f->timers, &u->collect_timer,
                 pv_env_mono_ms(f->config.env) + PV_COLLECT_FIRST_MS);
}

void pv_collect_stop(struct pv_upkeep *u)
{
    pv_timer_disarm(&u->collect_timer);
    if (u->collect != NULL)
        pv_collect_cancel(u->collect);
}
