/*
 * Up: store -> committer -> pool -> node -> files -> upkeep, cluster -> control -> tcp; each step
 * undone in reverse when a later one fails. Down, by callbacks: clients (their requests are
 * cancelled) -> sessions (GOODBYE) -> node (waits for its jobs) -> handles; the loop then has
 * nothing left and returns, and the threads end.
 *
 * A prepare handle re-arms one timer before every poll from the deadlines of node and files, so
 * that no event has to remember to do so.
 */
#include "internal/server/uv_server_impl.h"

#include "internal/base/limits.h"
#include "internal/rebuild.h"
#include "internal/server/threads.h"

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

enum { SHUTDOWN_MS_MAX = 9000, HOUSEKEEPING_MS = 60 * 1000 };

static void fail(struct server *s, enum pv_err err, const char *what)
{
    if (s->err != PV_OK)
        return;
    s->err = err;
    (void)snprintf(s->why, PV_SETUP_TEXT_MAX, "%s: %s", what, pv_err_text(err));
}

static void fail_to_open(struct server *s, enum pv_err err)
{
    if (err != PV_E_CORRUPT && err != PV_E_UNSUPPORTED) {
        fail(s, err, "cannot open the vault");
        return;
    }
    if (s->err == PV_OK)
        (void)snprintf(s->why, PV_SETUP_TEXT_MAX, "%s",
                       err == PV_E_CORRUPT ? PV_DB_DAMAGED_TEXT : PV_LATER_VERSION_TEXT);
    s->err = s->err == PV_OK ? err : s->err;
}

static void fail_to_listen(struct server *s, enum pv_err err)
{
    const char *what = pv_err_text(err);
    if (err == PV_E_UNAVAILABLE)
        what = "this machine has no such address: take one that `ip address` shows, or 0.0.0.0 or "
               "[::] for all of them";
    else if (err == PV_E_BUSY)
        what = "another program listens there: stop it, or take another port";
    else if (err == PV_E_AUTH)
        what = "not permitted: take a port from 1024 on";
    if (s->err == PV_OK)
        (void)snprintf(s->why, PV_SETUP_TEXT_MAX, "cannot listen on %.200s: %s", s->config->listen,
                       what);
    s->err = s->err == PV_OK ? err : s->err;
}

/* ---- events of the loop ---- */

static void on_wake(uv_async_t *h)
{
    struct server *s = h->data;
    if (s->pool != NULL)
        pv_pool_drain(s->pool);
}

static void wake(void *arg)
{
    struct server *s = arg;
    (void)uv_async_send(&s->wake);
}

static void on_signal(uv_signal_t *h, int signum)
{
    struct server *s = h->data;
    PV_LOG(s->config->env->log, PV_LOG_INFO, PV_SUB_MAIN, "stopping", "signal",
           pv_log_u64((uint64_t)signum));
    pv_server_stop(s);
}

static void on_hangup(uv_signal_t *h, int signum)
{
    struct server *s = h->data;
    struct pv_server_reload to = {.peer_count = 0};
    (void)signum;
    if (s->stopping || !s->config->reload(s->config->arg, &to))
        return;
    s->disk_limit_bytes = to.disk_limit_bytes;
    pv_store_limit(s->store, to.disk_limit_bytes);
    s->bandwidth = to.bandwidth;
    pv_tcp_set_bandwidth(s->tcp, &s->bandwidth);
    pv_node_set_allowlist(s->node, to.allowlist);
    for (size_t i = 0; i < to.peer_count; i++) {
        enum pv_err err = pv_tcp_add_peer(s->tcp, to.peers[i]);
        if (err != PV_OK)
            PV_LOG(s->config->env->log, PV_LOG_WARN, PV_SUB_MAIN, "peer not added", "address",
                   to.peers[i], "cause", pv_err_text(err));
    }
}

static void on_timer(uv_timer_t *h)
{
    struct server *s = h->data;
    pv_node_tick(s->node);
    pv_files_tick(s->files);
}

static void on_prepare(uv_prepare_t *h)
{
    struct server *s = h->data;
    if (s->stopping)
        return;
    uint64_t at = pv_node_deadline_ms(s->node), files_at = pv_files_deadline_ms(s->files);
    if (files_at < at)
        at = files_at;
    if (at == UINT64_MAX) {
        uv_timer_stop(&s->timer);
        return;
    }
    uint64_t now = pv_env_mono_ms(s->config->env);
    uv_timer_start(&s->timer, on_timer, at > now ? at - now : 0, 0);
}

/* The key that sessions begin with is certified for days, and the program runs for months. The
 * machine's addresses change, too; and a crowd that has left leaves much memory free. */
static void on_housekeeping(uv_timer_t *h)
{
    struct server *s = h->data;
    const struct pv_server_config *c = s->config;
    if (pv_noise_static_refresh(&s->noise_static, &c->setup->identity, c->env))
        PV_LOG(c->env->log, PV_LOG_DEBUG, PV_SUB_MAIN, "session key certified anew");
    pv_server_advertise(s);
    pv_cluster_tokens_tick(s->cluster);
    pv_mem_trim();
}

/* ---- down ---- */

static void on_watchdog(uv_timer_t *h)
{
    struct server *s = h->data;
    /* A disk that does not answer. What was acknowledged is durable; the rest rolls back. */
    PV_LOG(s->config->env->log, PV_LOG_ERROR, PV_SUB_MAIN, "forced to stop: the disk hangs");
    _exit(s->err == PV_OK ? PV_EXIT_OK : PV_EXIT_FAILED);
}

static void close_handles(struct server *s)
{
    uv_handle_t *all[] = {(uv_handle_t *)&s->wake,         (uv_handle_t *)&s->sigterm,
                          (uv_handle_t *)&s->sigint,       (uv_handle_t *)&s->timer,
                          (uv_handle_t *)&s->prepare,      (uv_handle_t *)&s->watchdog,
                          (uv_handle_t *)&s->housekeeping, (uv_handle_t *)&s->sighup};
    for (size_t i = 0; i < PV_COUNT(all); i++)
        uv_close(all[i], NULL);
}

static void on_node_closed(void *arg)
{
    close_handles(arg);
}

static void on_tcp_closed(void *arg)
{
    struct server *s = arg;
    pv_node_close(s->node, on_node_closed, s);
}

static void on_control_closed(void *arg)
{
    struct server *s = arg;
    pv_tcp_close(s->tcp, on_tcp_closed, s);
}

void pv_server_stop(struct server *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    if (s->config->stopping != NULL)
        s->config->stopping(s->config->arg);
    pv_upkeep_rest(s->upkeep);
    uv_timer_stop(&s->timer);
    uv_timer_start(&s->watchdog, on_watchdog, SHUTDOWN_MS_MAX, 0);
    pv_control_server_close(s->control, on_control_closed, s);
}

static void on_nothing_left(void *arg)
{
    (void)arg; /* the start failed: the loop ends by itself */
}

static void on_client_ended(void *arg)
{
    pv_server_stop(arg);
}

/* ---- up ---- */

static uint64_t share(const struct server *s, unsigned mib)
{
    return s->config->mem_limit_bytes / PV_MEM_LIMIT_MIB * mib;
}

static void on_founded(struct pv_commit *commit)
{
    (void)commit;
}

/* A keyed node belongs to its own cluster from the first start on. */
static enum pv_err found_membership(struct server *s)
{
    const struct pv_server_config *c = s->config;
    const struct pv_identity *self = &c->setup->identity;
    struct pv_id rid;
    size_t len = PV_RECORD_LEN_MAX;
    bool pending;
    if (c->role != PV_ROLE_KEYED)
        return PV_OK;
    uint8_t *env = pv_malloc(PV_RECORD_LEN_MAX);
    if (env == NULL)
        return PV_E_NOMEM;
    pv_rid_clear(&rid, PV_RECORD_MEMBER, self->node_id.b, PV_ID_LEN);
    enum pv_err err = pv_store_record(s->store, &rid, env, &len, &pending);
    if (err == PV_E_NOT_FOUND) {
        pv_hlc hlc = pv_hlc_next(pv_store_hlc(s->store), pv_env_wall_ms(c->env));
        err = pv_members_found_record(env, &len, self, hlc, c->env);
        if (err == PV_OK) {
            struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
            op.u.record.env = env;
            op.u.record.len = len;
            struct pv_commit commit = {.ops = &op, .count = 1, .done = on_founded};
            pv_commit_batch(s->store, &commit); /* the committer does not run yet */
            err = commit.err;
        }
    }
    pv_free(env);
    return err;
}

/* Those of libuv, too, which would end the process later; only a daemon looks up names. */
static enum pv_err start_threads(struct server *s)
{
    enum pv_err err = pv_committer_start(&s->committer, s->store);
    if (err == PV_OK)
        err = pv_pool_start(&s->pool, 0, &s->jobs, s->committer, wake, s);
    if (err == PV_OK && s->config->daemon && !pv_threads_room(PV_UV_THREADS))
        err = PV_E_LIMIT;
    if (err == PV_E_LIMIT) {
        s->err = err = PV_E_NOMEM;
        (void)snprintf(s->why, PV_SETUP_TEXT_MAX,
                       "no more threads may be started: raise the limit of processes (`ulimit -u`, "
                       "TasksMax= of a service, --pids-limit of a container)");
    }
    return err;
}

static enum pv_err start_store(struct server *s)
{
    const struct pv_server_config *c = s->config;
    struct pv_store_config config = {
        .vault = &c->setup->vault,
        .env = c->env,
        .cache_bytes = share(s, PV_MEM_SHARE_SQLITE_MIB),
        .disk_limit = s->disk_limit_bytes,
        .reserve_bytes = UINT64_MAX,
        .blob_files_max = s->descriptors.blob_files,
    };
    if (pv_rebuild_was_cut_short(&c->setup->vault)) {
        fail(s, PV_E_CORRUPT,
             "the making of a new vault.db was cut short: `peervault doctor --rebuild` goes on "
             "with it");
        return PV_E_CORRUPT;
    }
    enum pv_err err = pv_store_open(&s->store, &config);
    if (err == PV_OK)
        err = found_membership(s);
    s->jobs =
        (struct pv_job_context){.store = s->store, .env = c->env, .identity = &c->setup->identity};
    if (err == PV_OK)
        err = pv_server_take_keys(s);
    return err == PV_OK ? start_threads(s) : err;
}

static enum pv_err start_node(struct server *s)
{
    const struct pv_server_config *c = s->config;
    struct pv_node_config node = {
        .env = c->env,
        .io = pv_server_node_io(s),
        .keyring = &c->setup->keyring,
        .identity = &c->setup->identity,
        .allowlist = c->allowlist,
        .replicas = c->replicas,
        .repair_after_ms = c->repair_after_ms,
        .inbound_bytes = share(s, PV_MEM_SHARE_INBOUND_MIB),
        .outbound_bytes = share(s, PV_MEM_SHARE_OUTBOUND_MIB),
        .hlc = pv_store_hlc(s->store),
    };
    enum pv_err err = pv_node_new(&s->node, &node);
    if (err != PV_OK)
        return err;
    struct pv_files_config files = {
        .node = s->node,
        .env = c->env,
        .memory_bytes = share(s, PV_MEM_SHARE_FILES_MIB),
        .convergence = c->convergence,
        .replicas = c->replicas,
        .describe_status = pv_server_describe_status,
        .arg = s,
    };
    err = pv_files_new(&s->files, &files);
    struct pv_upkeep_config upkeep = {
        .files = s->files, .gc_grace_ms = c->gc_grace_ms, .no_scrub = c->no_scrub};
    if (err == PV_OK)
        err = pv_upkeep_new(&s->upkeep, &upkeep);
    struct pv_cluster_config cluster = {.files = s->files,
                                        .keyring = &c->setup->keyring,
                                        .vault = &c->setup->vault,
                                        .own_addresses = pv_server_own_addresses,
                                        .member_addresses = pv_server_member_addresses,
                                        .doors_changed = pv_server_doors_changed,
                                        .keys_changed = pv_server_keys_changed,
                                        .key_grace_s = c->key_grace_ms / 1000,
                                        .describe_link = pv_server_describe_link,
                                        .describe_peers = pv_server_describe_peers,
                                        .arg = s};
    if (err == PV_OK)
        err = pv_cluster_new(&s->cluster, &cluster);
    struct pv_services services = {.files = s->files, .upkeep = s->upkeep, .cluster = s->cluster};
    if (err == PV_OK)
        err =
            pv_control_server_new(&s->control, &s->loop, &services, c->env, s->descriptors.clients);
    return err;
}

/* The node knows its members: the doors open. */
static void on_node_ready(void *arg, enum pv_err err)
{
    struct server *s = arg;
    const struct pv_server_config *c = s->config;
    if (s->stopping)
        return;
    if (err != PV_OK) {
        fail_to_open(s, err);
        pv_server_stop(s);
        return;
    }
    if (c->daemon) {
        if ((err = pv_tcp_listen(s->tcp, c->listen)) != PV_OK)
            fail_to_listen(s, err);
        const char *listening = pv_tcp_listening(s->tcp);
        const char *colon = listening == NULL ? NULL : strrchr(listening, ':');
        if (colon != NULL)
            s->sessions.hello.listen_port = (uint16_t)strtoul(colon + 1, NULL, 10);
        for (size_t i = 0; s->err == PV_OK && i < c->peer_count; i++)
            if ((err = pv_tcp_add_peer(s->tcp, c->peers[i])) != PV_OK)
                fail(s, err, c->peers[i]);
        if (s->err == PV_OK && (err = pv_control_server_listen(s->control, c->vault_path,
                                                               c->setup->vault.dir)) != PV_OK)
            fail(s, err, "control socket");
    } else {
        err = pv_control_server_adopt(s->control, c->client_fd, on_client_ended, s);
        if (err != PV_OK)
            fail(s, err, "control socket");
    }
    if (s->err != PV_OK) {
        pv_server_stop(s);
        return;
    }
    if (c->daemon) {
        pv_upkeep_work(s->upkeep);
        pv_server_advertise(s);
        uv_timer_start(&s->housekeeping, on_housekeeping, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
        pv_cluster_tokens_tick(s->cluster);
        pv_cluster_keys_start(s->cluster);
        if (c->reload != NULL)
            uv_signal_start(&s->sighup, on_hangup, SIGHUP);
    }
    if (c->ready != NULL)
        c->ready(c->arg, pv_tcp_listening(s->tcp));
}

static void init_loop(struct server *s)
{
    /* None of these can fail but for descriptors, and without those nothing else would work. */
    int rc = uv_loop_init(&s->loop);
    rc = rc != 0 ? rc : uv_async_init(&s->loop, &s->wake, on_wake);
    rc = rc != 0 ? rc : uv_signal_init(&s->loop, &s->sigterm);
    rc = rc != 0 ? rc : uv_signal_init(&s->loop, &s->sigint);
    rc = rc != 0 ? rc : uv_signal_init(&s->loop, &s->sighup);
    PV_ASSERT(rc == 0);
    uv_timer_init(&s->loop, &s->timer);
    uv_timer_init(&s->loop, &s->watchdog);
    uv_timer_init(&s->loop, &s->housekeeping);
    uv_prepare_init(&s->loop, &s->prepare);
    s->wake.data = s->sigterm.data = s->sigint.data = s->sighup.data = s;
    s->timer.data = s->watchdog.data = s->housekeeping.data = s->prepare.data = s;
}

enum pv_err pv_server_run(const struct pv_server_config *config, char *why)
{
    struct pv_descriptors descriptors;
    uint64_t limit = pv_descriptors_raise();
    if (pv_descriptors_divide(&descriptors, limit) != PV_OK) {
        (void)snprintf(why, PV_SETUP_TEXT_MAX,
                       "only %llu open files are allowed, and %d are needed: raise the limit "
                       "(`ulimit -n`, LimitNOFILE= of a service)",
                       (unsigned long long)limit, PV_DESCRIPTORS_MIN);
        return PV_E_NOMEM;
    }
    struct server *s = pv_calloc(1, sizeof *s);
    if (s == NULL)
        return PV_E_NOMEM;
    s->descriptors = descriptors;
    s->disk_limit_bytes = config->disk_limit_bytes;
    s->bandwidth = config->bandwidth;
    s->config = config;
    s->why = why;
    s->started_ms = pv_env_mono_ms(config->env);
    init_loop(s);
    enum pv_err err = start_store(s);
    if (err == PV_OK)
        err = start_node(s);
    if (err == PV_OK)
        err = pv_server_start_sessions(s);
    if (err != PV_OK) {
        fail_to_open(s, err);
        close_handles(s);
        if (s->control != NULL)
            pv_control_server_close(s->control, on_nothing_left, s);
    } else {
        uv_prepare_start(&s->prepare, on_prepare);
        if (config->daemon) {
            uv_signal_start(&s->sigterm, on_signal, SIGTERM);
            uv_signal_start(&s->sigint, on_signal, SIGINT);
        }
        pv_node_start(s->node, on_node_ready, s);
    }
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&s->loop);
    PV_ASSERT(rc == 0);

    pv_control_server_free(s->control);
    pv_tcp_free(s->tcp);
    pv_cluster_free(s->cluster);
    pv_upkeep_free(s->upkeep);
    pv_files_free(s->files);
    pv_node_free(s->node);
    if (s->pool != NULL)
        pv_pool_stop(s->pool);
    if (s->committer != NULL)
        pv_committer_stop(s->committer);
    if (s->store != NULL)
        pv_store_close(s->store);
    pv_replay_cache_free(s->sessions.handshake.replay);
    pv_wipe(&s->sessions, sizeof s->sessions);
    pv_server_free_keys(s);
    err = s->err;
    pv_wipe(s, sizeof *s);
    pv_free(s);
    return err;
}
