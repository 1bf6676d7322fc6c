/*
 * One process: what internal/server puts together, with events in place of libuv, pool and
 * committer. Jobs run in one piece, a while after they were submitted, and are done a while later;
 * commits run one batch after the other.
 *
 * A process that dies leaves a disk behind. What it would have done afterwards is still done, on a
 * disk that nobody looks at any more, because that is how its memory is freed.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

enum { START_AGAIN_S = 5, QUIET_S = 1, CLOCK_S = 3600, HOUSEKEEPING_S = 60, MEMORY = 12 << 20 };

static const uint64_t wall_base_ms = 1700000000000, mono_base_ms = 1000000;
static struct sim_node *acting; /* whose file calls are being made: `fatal` has no context */

/* ---- the environment ---- */

static uint64_t env_wall_ms(void *ctx)
{
    const struct sim_node *n = ctx;
    return (uint64_t)((int64_t)(wall_base_ms + (n->w->now + n->w->leap_us) / SIM_MS) + n->skew_ms);
}

static uint64_t env_mono_ms(void *ctx)
{
    const struct sim_node *n = ctx;
    return mono_base_ms + (n->w->now + n->w->leap_us) / SIM_MS;
}

static void env_random(void *ctx, void *dst, size_t len)
{
    struct sim_node *n = ctx;
    uint8_t *p = dst;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t x = sim_draw(&n->random);
        memcpy(p + i, &x, len - i < 8 ? len - i : 8);
    }
}

/* The same in all worlds: keys do not change what happens. */
struct cluster {
    struct pv_keyring keyring;
    struct pv_chunker_key chunker_key;
    struct pv_token_keys token;
    struct pvt_simfs *blank; /* a vault folder */
};

static const struct cluster *cluster(void)
{
    static struct cluster c;
    uint8_t key[PV_KEY_LEN], material[PV_CHUNKER_KEY_LEN];
    if (c.blank != NULL)
        return &c;
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i + 1);
    pv_keyring_init(&c.keyring);
    enum pv_err err = pv_keyring_add_cluster_key(&c.keyring, key, wall_base_ms / 1000);
    PV_ASSERT(err == PV_OK);
    pv_keys_chunker(material, pv_keyring_active(&c.keyring));
    pv_chunker_key_setup(&c.chunker_key, material);
    memset(c.token.gate, 7, sizeof c.token.gate);
    memset(c.token.psk, 9, sizeof c.token.psk);
    c.blank = pvt_simfs_new();
    err = pv_vault_create("vault", pvt_simfs_fs(c.blank));
    PV_ASSERT(err == PV_OK);
    return &c;
}

/* ---- jobs and commits ---- */

static void batch_add(struct sim_batch *b, struct pv_job *job)
{
    if (b->head == NULL)
        b->tail = &b->head;
    job->next = NULL;
    *b->tail = job;
    b->tail = &job->next;
}

static struct pv_job *batch_take(struct sim_batch *b, const struct pv_job *wanted)
{
    struct pv_job **at = &b->head;
    while (*at != NULL && wanted != NULL && *at != wanted)
        at = &(*at)->next;
    struct pv_job *job = *at;
    if (job == NULL)
        return NULL;
    *at = job->next;
    if (job->next == NULL)
        b->tail = at;
    return job;
}

static uint64_t latency(struct sim_node *n, uint64_t mean_us)
{
    uint64_t us = 1 + sim_about(&n->w->rng[SIM_DISK], mean_us);
    return n->slow_disk_until > n->w->now ? us * 500 : us;
}

static void at(struct sim_node *n, uint64_t in_us, enum sim_event_kind kind, void *p)
{
    sim_at(n->w, n->w->now + in_us,
           (struct sim_event){
               .kind = (uint8_t)kind, .node = (uint8_t)n->index, .life = n->life, .p = p});
}

static void submit(void *ctx, struct pv_job *job)
{
    struct sim_node *n = ctx;
    if (job->run != NULL) {
        batch_add(&n->todo, job);
        if (n->up)
            at(n, latency(n, n->w->plan->job_us), SIM_EV_JOB_RUN, job);
        return;
    }
    batch_add(&n->commits, job);
    if (n->up && n->committing.head == NULL && !n->commit_due) {
        n->commit_due = true;
        at(n, 1 + sim_below(&n->w->rng[SIM_DISK], 200), SIM_EV_COMMIT, NULL);
    }
}

static void run_job(struct sim_node *n, struct pv_job *job)
{
    job = batch_take(&n->todo, job);
    PV_ASSERT(job != NULL);
    acting = n;
    job->run(job, &n->jobs);
    batch_add(&n->ran, job);
}

/* The moment of the acknowledgement; what fails after it is another matter. */
static void on_commit(struct pv_commit *c)
{
    if (acting->up && acting->fatal && c->err == PV_OK)
        sim_fail(acting->w, "O14", "node %u acknowledges a commit after a failed sync",
                 acting->index);
}

static bool fits(const struct pv_commit *c, size_t *blobs, size_t *ops)
{
    size_t more = *blobs;
    for (size_t i = 0; i < c->count; i++)
        more += c->ops[i].type == PV_COMMIT_BLOB;
    if (*ops > 0 && more > PV_COMMIT_BLOBS_MAX)
        return false;
    *blobs = more;
    *ops += c->count + 1;
    return true;
}

static void run_commits(struct sim_node *n)
{
    struct pv_commit *first = NULL, **tail = &first;
    size_t blobs = 0, ops = 0;
    while (n->commits.head != NULL && fits(&n->commits.head->commit, &blobs, &ops)) {
        struct pv_job *job = batch_take(&n->commits, NULL);
        job->commit.done = on_commit;
        job->commit.next = NULL;
        *tail = &job->commit;
        tail = &job->commit.next;
        batch_add(&n->committing, job);
        n->w->stats.commits++;
    }
    acting = n;
    pvt_simfs_set_time(n->disk, env_wall_ms(n));
    pv_commit_batch(n->store, first);
}

static void end_commits(struct sim_node *n)
{
    struct sim_batch done = n->committing;
    n->committing = (struct sim_batch){NULL, NULL};
    for (struct pv_job *job = done.head, *next; job != NULL; job = next) {
        next = job->next;
        job->done(job);
    }
}

/* All that waits, at once. False: there was nothing. */
static bool drain(struct sim_node *n)
{
    bool any = false;
    for (struct pv_job *job; (job = n->todo.head) != NULL; any = true)
        run_job(n, job);
    for (struct pv_job *job; (job = batch_take(&n->ran, NULL)) != NULL; any = true)
        job->done(job);
    if (n->committing.head == NULL && n->commits.head != NULL)
        run_commits(n);
    if (n->committing.head == NULL)
        return any;
    end_commits(n);
    return true;
}

/* ---- the disk ---- */

static void on_fatal(const char *what)
{
    struct sim_node *n = acting;
    sim_trace(n->w, "node %u: disk failure (%s), the process ends", n->index, what);
    n->fatal = n->doomed = true;
    if (n->crash_disk == NULL && n->up) {
        uint64_t seed = sim_draw(&n->w->rng[SIM_DISK]);
        n->crash_disk = pvt_simfs_crash(n->disk, seed % 2 == 0 ? PVT_CRASH_ALL : seed);
    }
}

static void on_call(void *ctx, struct pvt_simfs *s, const struct pvt_simfs_call *call)
{
    struct sim_node *n = ctx;
    bool changes = call->kind == PVT_FS_WRITE || call->kind == PVT_FS_SYNC ||
                   call->kind == PVT_FS_RENAME || call->kind == PVT_FS_UNLINK ||
                   call->kind == PVT_FS_TRUNCATE;
    if (n->crash_until != 0 && n->w->now > n->crash_until)
        n->crash_in_changes = 0;
    if (n->crash_in_changes == 0 || !changes || --n->crash_in_changes > 0 || n->doomed)
        return;
    sim_trace(n->w, "node %u: power cut in call %llu, %s", n->index,
              (unsigned long long)call->number, call->path);
    n->w->was_cut = true;
    n->crash_disk = pvt_simfs_crash(s, n->crash_seed);
    n->doomed = true;
}

static void take_disk(struct sim_node *n, struct pvt_simfs *disk)
{
    pvt_simfs_free(n->disk);
    n->disk = disk;
    n->crash_in_changes = 0;
    pvt_simfs_set_hook(disk, on_call, n);
}

/* ---- up ---- */

static void on_closed(void *arg)
{
    ((struct sim_node *)arg)->closed = true;
}

static void tear_down(struct sim_node *n)
{
    struct sim_world *w = n->w;
    bool was_ready = n->ready;
    n->up = n->ready = false;
    n->closed = n->core == NULL;
    pvt_simfs_set_hook(n->disk, NULL, NULL);
    pvt_simfs_heal(n->disk);
    if (n->upkeep != NULL && was_ready)
        pv_upkeep_rest(n->upkeep);
    if (n->core != NULL)
        pv_node_close(n->core, on_closed, n);
    while (drain(n))
        continue;
    if (!n->closed)
        sim_fail(w, "O7", "node %u does not come to an end", n->index);
    if (n->files != NULL && n->files->memory.used_bytes != 0)
        sim_fail(w, "O7", "node %u: %zu bytes of the files' budget are left", n->index,
                 n->files->memory.used_bytes);
    pv_cluster_free(n->cluster);
    pv_upkeep_free(n->upkeep);
    pv_files_free(n->files);
    if (n->core != NULL)
        pv_node_free(n->core);
    pv_store_close(n->store);
    pv_vault_close(&n->vault);
    pv_replay_cache_free(n->sessions.handshake.replay);
    n->sessions = (struct pv_session_context){.readable_count = 0};
    pv_keyring_wipe(&n->keyring);
    n->cluster = NULL;
    n->upkeep = NULL;
    n->files = NULL;
    n->core = NULL;
    n->store = NULL;
}

static void on_ready(void *arg, enum pv_err err)
{
    struct sim_node *n = arg;
    if (!n->up)
        return;
    if (err != PV_OK) {
        n->doomed = true;
        return;
    }
    n->ready = true;
    sim_trace(n->w, "node %u is ready", n->index);
    sim_note(n->w, n->index, 1000);
    if (!n->w->plan->no_rest)
        pv_upkeep_work(n->upkeep);
    at(n, HOUSEKEEPING_S * SIM_S, SIM_EV_HOUSEKEEPING, NULL);
    at(n, QUIET_S * SIM_S, SIM_EV_CHECKPOINT, NULL);
    sim_dial_init(n);
}

static enum pv_err found_membership(struct sim_node *n)
{
    struct pv_id rid;
    size_t len = PV_RECORD_LEN_MAX;
    bool pending;
    static uint8_t env[PV_RECORD_LEN_MAX];
    pv_rid_clear(&rid, PV_RECORD_MEMBER, n->identity.node_id.b, PV_ID_LEN);
    enum pv_err err = pv_store_record(n->store, &rid, env, &len, &pending);
    if (err != PV_E_NOT_FOUND)
        return err;
    pv_hlc hlc = pv_hlc_next(pv_store_hlc(n->store), env_wall_ms(n));
    err = pv_members_found_record(env, &len, &n->identity, hlc, &n->env);
    if (err != PV_OK)
        return err;
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    op.u.record.env = env;
    op.u.record.len = len;
    struct pv_commit commit = {.ops = &op, .count = 1, .done = on_commit};
    pv_commit_batch(n->store, &commit);
    return commit.err;
}

static enum pv_err open_store(struct sim_node *n)
{
    long pid;
    acting = n;
    enum pv_err err = pv_vault_open(&n->vault, "vault", pvt_simfs_fs(n->disk));
    if (err != PV_OK)
        return err;
    err = pv_vault_lock(&n->vault, &pid);
    if (err == PV_OK)
        err = pv_identity_load(&n->identity, n->vault.fs, n->vault.dir);
    struct pv_store_config config = {
        .vault = &n->vault, .env = &n->env, .cache_bytes = 1 << 20, .fatal = on_fatal};
    if (err == PV_OK)
        err = pv_store_open(&n->store, &config);
    if (err == PV_OK)
        err = found_membership(n);
    return err;
}

static void start_sessions(struct sim_node *n)
{
    struct pv_handshake_context *h = &n->sessions.handshake;
    pv_noise_static_make(&n->noise_static, &n->identity, &n->env);
    n->readable[0] = pv_keyring_active(&n->keyring);
    *h = (struct pv_handshake_context){.env = &n->env,
                                       .identity = &n->identity,
                                       .noise_static = &n->noise_static,
                                       .max_skew_ms = PV_SKEW_MS_DEFAULT,
                                       .role = PV_ROLE_KEYED};
    h->tokens[0] = cluster()->token;
    h->token_count = 1;
    enum pv_err err = pv_replay_cache_new(&h->replay, &n->env);
    PV_ASSERT(err == PV_OK);
    n->sessions.readable = n->readable;
    n->sessions.readable_count = 1;
    struct pv_store_origin origin = pv_store_origin(n->store);
    n->sessions.hello.version = PV_HELLO_VERSION;
    n->sessions.hello.role = PV_ROLE_KEYED;
    n->sessions.hello.open_count = origin.open_count;
    memcpy(n->sessions.hello.store_uuid, origin.uuid, sizeof origin.uuid);
    env_random(n, n->sessions.hello.boot_random, sizeof n->sessions.hello.boot_random);
}

static void start_core(struct sim_node *n)
{
    n->keyring = cluster()->keyring;
    n->jobs = (struct pv_job_context){.store = n->store,
                                      .env = &n->env,
                                      .keyring = &n->keyring,
                                      .identity = &n->identity,
                                      .chunker_key = &cluster()->chunker_key};
    start_sessions(n);
    struct pv_node_config config = {.env = &n->env,
                                    .io = sim_node_io(n),
                                    .keyring = &n->keyring,
                                    .identity = &n->identity,
                                    .replicas = 3,
                                    .inbound_bytes = 16 << 20,
                                    .outbound_bytes = 4 << 20,
                                    .hlc = pv_store_hlc(n->store)};
    config.io.submit = submit;
    enum pv_err err = pv_node_new(&n->core, &config);
    PV_ASSERT(err == PV_OK);
    struct pv_files_config files = {
        .node = n->core, .env = &n->env, .memory_bytes = MEMORY, .replicas = 3};
    err = pv_files_new(&n->files, &files);
    PV_ASSERT(err == PV_OK);
    struct pv_upkeep_config upkeep = {.files = n->files, .gc_grace_ms = UINT64_C(7) * 86400 * 1000};
    err = pv_upkeep_new(&n->upkeep, &upkeep);
    PV_ASSERT(err == PV_OK);
    struct pv_cluster_config members = {
        .files = n->files, .keyring = &n->keyring, .vault = &n->vault};
    err = pv_cluster_new(&n->cluster, &members);
    PV_ASSERT(err == PV_OK);
    pv_node_start(n->core, on_ready, n);
}

void sim_node_start(struct sim_node *n)
{
    struct sim_world *w = n->w;
    if (n->up || n->dead_for_good)
        return;
    n->life++;
    n->random = sim_rng_of(w->plan->seed, 100 + n->index, n->life);
    n->up = true;
    n->ready = n->doomed = n->fatal = n->commit_due = false;
    n->tick_at = SIM_NEVER;
    w->stats.starts++;
    enum pv_err err = open_store(n);
    sim_note(w, n->index, 2000U + err);
    sim_trace(w, "node %u starts, life %u: %s", n->index, n->life, pv_err_text(err));
    if (err != PV_OK && !n->doomed) {
        bool faulty = pvt_simfs_fired(n->disk) || n->full;
        if (!faulty || err == PV_E_CORRUPT)
            sim_fail(w, "O8", "node %u cannot open its store: %s", n->index, pv_err_text(err));
        n->doomed = true;
    }
    if (!n->doomed) {
        sim_check_opened(n);
        start_core(n);
    }
}

/* ---- down ---- */

static void start_again(struct sim_node *n, uint64_t in_us)
{
    sim_at(n->w, n->w->now + in_us,
           (struct sim_event){.kind = SIM_EV_START, .node = (uint8_t)n->index});
}

void sim_node_die(struct sim_node *n, struct pvt_simfs *disk, const char *why)
{
    if (!n->up) {
        pvt_simfs_free(disk);
        return;
    }
    bool silent = disk != NULL;
    if (disk == NULL)
        disk = pvt_simfs_crash(n->disk, PVT_CRASH_ALL);
    sim_trace(n->w, "node %u dies: %s", n->index, why);
    sim_note(n->w, n->index, 3000);
    n->w->stats.crashes++;
    sim_node_lose_links(n, silent);
    sim_ops_cancel(n);
    tear_down(n);
    take_disk(n, disk);
    n->crash_disk = NULL;
    n->doomed = n->fatal = false;
}

void sim_node_stop(struct sim_node *n)
{
    if (!n->up)
        return;
    sim_node_lose_links(n, false);
    sim_ops_cancel(n);
    tear_down(n);
}

/* ---- events ---- */

bool sim_node_works(const struct sim_node *n)
{
    return n->up && n->ready && n->paused_until <= n->w->now;
}

/* A moment of the monotonic clock, by that of the events. */
static uint64_t us_of(const struct sim_world *w, uint64_t mono_ms)
{
    uint64_t us = mono_ms <= mono_base_ms ? 0 : (mono_ms - mono_base_ms) * SIM_MS;
    return us <= w->leap_us ? 0 : us - w->leap_us;
}

void sim_node_arm(struct sim_node *n)
{
    if (!n->up || !n->ready)
        return;
    uint64_t ms = pv_node_deadline_ms(n->core), files_ms = pv_files_deadline_ms(n->files);
    ms = files_ms < ms ? files_ms : ms;
    if (ms == UINT64_MAX || us_of(n->w, ms) >= n->tick_at)
        return;
    n->tick_at = us_of(n->w, ms) > n->w->now ? us_of(n->w, ms) : n->w->now;
    at(n, n->tick_at - n->w->now, SIM_EV_TICK, NULL);
}

/* As the committer does when nothing comes: the log into the database, the clock of leases. */
static void on_quiet(struct sim_node *n)
{
    at(n, QUIET_S * SIM_S * 5, SIM_EV_CHECKPOINT, NULL);
    if (n->committing.head != NULL || n->w->now - n->last_commit_us < QUIET_S * SIM_S)
        return;
    acting = n;
    if (pv_commit_log_bytes(n->store) > 0) {
        enum pv_err err = pv_commit_checkpoint(n->store);
        sim_note(n->w, n->index, 4000U + err);
    } else if (n->w->now - n->last_commit_us >= CLOCK_S * SIM_S) {
        pv_commit_batch(n->store, NULL);
        n->last_commit_us = n->w->now;
    }
}

static void handle(struct sim_node *n, const struct sim_event *e)
{
    switch (e->kind) {
    case SIM_EV_TICK:
        n->tick_at = SIM_NEVER;
        pv_node_tick(n->core);
        pv_files_tick(n->files);
        break;
    case SIM_EV_JOB_RUN:
        run_job(n, e->p);
        at(n, 1 + sim_below(&n->w->rng[SIM_DISK], 300), SIM_EV_JOB_DONE, e->p);
        break;
    case SIM_EV_JOB_DONE: {
        struct pv_job *job = batch_take(&n->ran, e->p);
        PV_ASSERT(job != NULL);
        job->done(job);
        break;
    }
    case SIM_EV_COMMIT:
        n->commit_due = false;
        run_commits(n);
        at(n, latency(n, n->w->plan->sync_us), SIM_EV_COMMITTED, NULL);
        break;
    case SIM_EV_COMMITTED:
        n->last_commit_us = n->w->now;
        end_commits(n);
        if (n->commits.head != NULL && !n->commit_due) {
            n->commit_due = true;
            at(n, 1, SIM_EV_COMMIT, NULL);
        }
        break;
    case SIM_EV_CHECKPOINT:
        on_quiet(n);
        break;
    case SIM_EV_HOUSEKEEPING:
        (void)pv_noise_static_refresh(&n->noise_static, &n->identity, &n->env);
        at(n, HOUSEKEEPING_S * SIM_S, SIM_EV_HOUSEKEEPING, NULL);
        break;
    default:
        sim_dial_handle(n, e);
    }
}

/* Who could not sync the store's files must not go on. */
static void judge_sync(struct sim_node *n)
{
    const struct pvt_simfs_call *c = pvt_simfs_victim(n->disk);
    if (n->sync_seen || !pvt_simfs_fired(n->disk) || c->kind != PVT_FS_SYNC)
        return;
    n->sync_seen = true;
    bool stores = strstr(c->path, "vault.db") != NULL || strstr(c->path, "/tmp") != NULL ||
                  strstr(c->path, "/blobs") != NULL;
    if (stores && !n->doomed)
        sim_fail(n->w, "O14", "node %u goes on after a failed sync of %.100s", n->index, c->path);
}

void sim_node_handle(struct sim_node *n, const struct sim_event *e)
{
    if (e->kind == SIM_EV_START)
        sim_node_start(n);
    else
        handle(n, e);
    judge_sync(n);
    if (!n->doomed)
        return;
    struct pvt_simfs *disk = n->crash_disk;
    sim_node_die(n, disk, disk != NULL ? "its disk" : "it could not start");
    start_again(n, START_AGAIN_S * SIM_S);
}

/* ---- from nothing to nothing ---- */

void sim_node_init(struct sim_node *n, struct sim_world *w, unsigned index)
{
    *n = (struct sim_node){.w = w, .index = index, .env = {.log = w->log}};
    n->env.ctx = n;
    n->env.wall_ms = env_wall_ms;
    n->env.mono_ms = env_mono_ms;
    n->env.random = env_random;
    n->random = sim_rng_of(w->plan->seed, 100 + index, 0);
    n->vault = (struct pv_vault){NULL, PV_FD_NONE, PV_FD_NONE};
    take_disk(n, pvt_simfs_crash(cluster()->blank, PVT_CRASH_ALL));
    const struct pv_fs *fs = pvt_simfs_fs(n->disk);
    pv_fd dir;
    enum pv_err err = fs->open(fs->ctx, PV_FD_NONE, "vault", PV_FS_READ | PV_FS_DIRECTORY, &dir);
    PV_ASSERT(err == PV_OK);
    err = pv_identity_create(&n->identity, fs, dir, &n->env);
    PV_ASSERT(err == PV_OK);
    err = fs->close(fs->ctx, dir);
    PV_ASSERT(err == PV_OK);
}

void sim_node_release(struct sim_node *n)
{
    sim_node_stop(n);
    pvt_simfs_free(n->snapshot);
    pvt_simfs_free(n->disk);
    pv_identity_wipe(&n->identity);
}
