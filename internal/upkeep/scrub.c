/*
 *   load the state -> wait until a pass is due -> slice (job) -> repair what it found, one by one
 *                  -> keep the state (commit), now and then -> rest -> next slice ...
 *
 * Dates are wall clock, because passes are compared over restarts; a clock that was set back makes
 * a date of the future `now`. Rests are by the monotonic clock.
 */
#include "internal/upkeep/scrub.h"

#include "internal/node/repair.h"
#include "storage/check.h"
#include "storage/scrub_state.h"

enum {
    RESTS = 9,
    REST_MS_MIN = 100,
    KEEP_EVERY_MS = 60 * 1000,
    AGAIN_MS = 60 * 1000, /* after an error */
    HASH_EVERY_DAYS = 30 - 7,
};
#define HASH_EVERY_MS ((uint64_t)HASH_EVERY_DAYS * 24 * 3600 * 1000)

struct pv_scrub {
    struct pv_upkeep *upkeep;
    struct pv_files *files;
    bool running, stopped;
    bool loaded;
    struct pv_scrub_state state;
    uint64_t kept_ms, slice_ms, took_ms, total_bytes;
    struct pv_blob_check check;
    size_t next_finding;
    struct pv_repair *repair;
    struct pv_timer timer;
    struct pv_job job;
    struct pv_commit_op op;
    uint8_t bytes[PV_SCRUB_STATE_LEN];
    bool reserved;
    struct pv_budget_wait wait;
};

static uint64_t now_of(const struct pv_scrub *s)
{
    return pv_env_wall_ms(s->files->config.env);
}

static void no_future(uint64_t *date_ms, uint64_t now_ms)
{
    if (*date_ms > now_ms)
        *date_ms = now_ms;
}

/* ---- life ---- */

static void release(struct pv_scrub *s)
{
    struct pv_files *f = s->files;
    bool reserved = s->reserved;
    pv_timer_disarm(&s->timer);
    pv_budget_cancel(&s->wait);
    if (s->repair != NULL)
        pv_repair_abandon(s->repair);
    if (s->upkeep->scrub == s)
        s->upkeep->scrub = NULL;
    pv_free(s);
    if (reserved)
        pv_budget_give(&f->memory, PV_BLOB_LEN_MAX);
}

/* True: it was stopped, and is gone now. */
static bool ended(struct pv_scrub *s)
{
    s->running = false;
    if (!s->stopped)
        return false;
    release(s);
    return true;
}

static void submit(struct pv_scrub *s, void (*run)(struct pv_job *, const struct pv_job_context *),
                   void (*done)(struct pv_job *))
{
    s->running = true;
    s->job = (struct pv_job){.run = run, .done = done};
    if (run == NULL)
        s->job.commit = (struct pv_commit){.ops = &s->op, .count = 1};
    pv_node_submit(s->files->config.node, &s->job);
}

static void wait_for(struct pv_scrub *s, uint64_t ms)
{
    pv_timer_arm(&s->files->timers, &s->timer, pv_env_mono_ms(s->files->config.env) + ms);
}

static void again(struct pv_scrub *s, enum pv_err err)
{
    PV_LOG_LIMITED(s->files->config.env->log, PV_LOG_WARN, PV_SUB_FILE,
                   "cannot check what is stored", "cause", pv_err_text(err));
    wait_for(s, AGAIN_MS);
}

/* ---- the pace ---- */

/* Nine times what the slice took; less where the pass would not be over within the week, but never
 * less than it took: a machine that was off for long is left to its user, too. */
static uint64_t rest(const struct pv_scrub *s)
{
    uint64_t now_ms = now_of(s), due_ms = s->state.start_ms + PV_SCRUB_EVERY_MS;
    uint64_t left_bytes =
        s->total_bytes > s->state.done_bytes ? s->total_bytes - s->state.done_bytes : 0;
    uint64_t slices = left_bytes / PV_SCRUB_SLICE + 1;
    uint64_t each_ms = due_ms > now_ms ? (due_ms - now_ms) / slices : 0;
    uint64_t rest_ms = RESTS * s->took_ms;
    if (rest_ms < REST_MS_MIN)
        rest_ms = REST_MS_MIN;
    if (rest_ms + s->took_ms > each_ms)
        rest_ms = each_ms > s->took_ms ? each_ms - s->took_ms : 0;
    return rest_ms > s->took_ms ? rest_ms : s->took_ms + 1;
}

/* ---- a pass ---- */

static void end_pass(struct pv_scrub *s)
{
    struct pv_scrub_state *st = &s->state;
    struct pv_log *log = s->files->config.env->log;
    PV_LOG(log, st->unreadable > 0 ? PV_LOG_ERROR : PV_LOG_INFO, PV_SUB_FILE,
           "checked what is stored", "depth", st->depth == PV_CHECK_SUM ? "sums" : "every byte",
           "bytes", pv_log_u64(st->done_bytes), "unreadable", pv_log_u64(st->unreadable));
    st->since_ms = st->start_ms;
    if (st->depth == PV_CHECK_EVERY_BYTE)
        st->hashed_since_ms = st->start_ms;
    st->last_unreadable = st->unreadable;
    st->start_ms = st->cursor = st->done_bytes = st->unreadable = 0;
}

static void on_kept(struct pv_job *job)
{
    struct pv_scrub *s = PV_CONTAINER_OF(job, struct pv_scrub, job);
    if (ended(s))
        return;
    if (job->commit.err != PV_OK) /* the next time, then */
        again(s, job->commit.err);
    else
        wait_for(s, s->state.start_ms == 0 ? 0 : rest(s));
}

static void keep(struct pv_scrub *s)
{
    s->kept_ms = pv_env_mono_ms(s->files->config.env);
    pv_scrub_state_encode(s->bytes, &s->state);
    s->op = (struct pv_commit_op){.type = PV_COMMIT_META};
    s->op.u.meta.key = PV_SCRUB_STATE_META;
    s->op.u.meta.value = s->bytes;
    s->op.u.meta.len = PV_SCRUB_STATE_LEN;
    submit(s, NULL, on_kept);
}

static void next_finding(struct pv_scrub *s);

static void on_repaired(void *ctx, enum pv_repair_end end)
{
    struct pv_scrub *s = ctx;
    s->repair = NULL;
    s->state.unreadable += end == PV_REPAIR_UNREADABLE;
    s->next_finding++;
    if (!pv_node_closing(s->files->config.node))
        next_finding(s);
}

static void slice_over(struct pv_scrub *s)
{
    s->reserved = false;
    pv_budget_give(&s->files->memory, PV_BLOB_LEN_MAX);
    s->state.cursor = s->check.cursor;
    s->state.done_bytes += s->check.bytes;
    s->check.count = 0;
    uint64_t now_ms = pv_env_mono_ms(s->files->config.env);
    if (s->check.end)
        end_pass(s);
    if (s->check.end || now_ms >= s->kept_ms + KEEP_EVERY_MS)
        keep(s);
    else
        wait_for(s, rest(s));
}

static void next_finding(struct pv_scrub *s)
{
    if (s->next_finding == s->check.count) {
        slice_over(s);
        return;
    }
    struct pv_repair_what what = {.id = s->check.findings[s->next_finding].id};
    s->repair = pv_repair_start(s->files->config.node, &what, on_repaired, s);
    if (s->repair == NULL)
        wait_for(s, AGAIN_MS); /* too many at once */
}

static void run_slice(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_scrub *s = PV_CONTAINER_OF(job, struct pv_scrub, job);
    struct pv_store_counts counts = {0};
    job->err = s->loaded ? PV_OK : pv_scrub_state_load(ctx->store, &s->state);
    s->loaded = job->err == PV_OK;
    if (job->err == PV_OK)
        job->err = pv_store_counts(ctx->store, &counts);
    s->total_bytes = counts.blob_bytes;
    s->check.depth = (enum pv_check_depth)s->state.depth;
    s->check.cursor = s->state.cursor;
    s->check.max_bytes = PV_SCRUB_SLICE;
    s->check.count = 0;
    if (job->err == PV_OK && s->state.start_ms != 0)
        job->err = pv_store_check_blobs(ctx->store, &s->check);
}

static void begin(struct pv_scrub *s);

/* The state is known, and no pass runs. */
static void plan(struct pv_scrub *s)
{
    struct pv_scrub_state *st = &s->state;
    uint64_t now_ms = now_of(s);
    no_future(&st->since_ms, now_ms);
    no_future(&st->hashed_since_ms, now_ms);
    if (st->since_ms != 0 && now_ms - st->since_ms < PV_SCRUB_EVERY_MS) {
        wait_for(s, PV_SCRUB_EVERY_MS - (now_ms - st->since_ms));
        return;
    }
    bool hash = st->hashed_since_ms == 0 || now_ms - st->hashed_since_ms >= HASH_EVERY_MS;
    st->depth = hash ? PV_CHECK_EVERY_BYTE : PV_CHECK_SUM;
    st->start_ms = now_ms != 0 ? now_ms : 1;
    begin(s);
}

static void on_slice(struct pv_job *job)
{
    struct pv_scrub *s = PV_CONTAINER_OF(job, struct pv_scrub, job);
    if (ended(s))
        return;
    s->took_ms = pv_env_mono_ms(s->files->config.env) - s->slice_ms;
    if (s->loaded)
        no_future(&s->state.start_ms, now_of(s));
    s->next_finding = 0;
    if (job->err == PV_OK && s->state.start_ms != 0) {
        next_finding(s);
        return;
    }
    s->reserved = false;
    pv_budget_give(&s->files->memory, PV_BLOB_LEN_MAX);
    if (job->err == PV_OK)
        plan(s);
    else
        again(s, job->err); /* from the same cursor */
}

static void on_granted(struct pv_budget_wait *wait)
{
    struct pv_scrub *s = PV_CONTAINER_OF(wait, struct pv_scrub, wait);
    s->reserved = true;
    s->slice_ms = pv_env_mono_ms(s->files->config.env);
    submit(s, run_slice, on_slice);
}

static void begin(struct pv_scrub *s)
{
    if (s->loaded && s->state.start_ms == 0) {
        plan(s);
        return;
    }
    s->wait.granted = on_granted;
    if (pv_budget_take(&s->files->memory, PV_BLOB_LEN_MAX, &s->wait))
        on_granted(&s->wait);
}

static void on_due(struct pv_timer *timer)
{
    struct pv_scrub *s = PV_CONTAINER_OF(timer, struct pv_scrub, timer);
    if (s->reserved)
        next_finding(s);
    else
        begin(s);
}

void pv_scrub_schedule(struct pv_upkeep *u)
{
    struct pv_files *f = u->config.files;
    struct pv_scrub *s = pv_calloc(1, sizeof *s);
    if (s == NULL) {
        PV_LOG(f->config.env->log, PV_LOG_WARN, PV_SUB_FILE, "what is stored is not checked",
               "cause", pv_err_text(PV_E_NOMEM));
        return;
    }
    s->upkeep = u;
    s->files = f;
    s->timer.fire = on_due;
    s->kept_ms = pv_env_mono_ms(f->config.env);
    u->scrub = s;
    wait_for(s, PV_SCRUB_FIRST_MS);
}

void pv_scrub_stop(struct pv_upkeep *u)
{
    struct pv_scrub *s = u->scrub;
    if (s == NULL)
        return;
    s->stopped = true;
    u->scrub = NULL;
    if (s->running)
        pv_timer_disarm(&s->timer);
    else
        release(s);
}
