/*
 * The daemon: settings, lock, log, server. Everything that can be wrong with the arguments is said
 * before anything is made.
 *
 * A reload loads all settings anew, from the same sources in the same order. Some of them can
 * change under way (applies_at_once); peers are added but not removed. The rest is compared with
 * what runs, and a difference is logged, not obeyed by halves.
 */
#include "cmd/peervault/access.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/notify.h"
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"
#include "internal/confine/confine.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct daemon {
    struct pv_cli cli; /* with the log of the settings */
    struct pv_access access;
    const char *peers[PV_STATIC_PEERS_MAX];
    const struct pv_config_flag *flags;
    size_t flag_count;
    struct pv_config reloaded; /* peers of the last reload point into it */
    struct pv_confined confined;
};

/* The daemon serves all the same when its manager cannot be told. */
static void notify(const struct daemon *d, const char *state)
{
    enum pv_err err = pv_notify_send(getenv("NOTIFY_SOCKET"), state);
    if (err != PV_OK)
        PV_LOG(d->cli.env.log, PV_LOG_WARN, PV_SUB_MAIN, "the service manager was not told",
               "cause", pv_err_text(err));
}

static void on_ready(void *arg, const char *listening)
{
    struct daemon *d = arg;
    char node[PV_NODE_TEXT_LEN];
    pv_node_id_format(node, &d->access.setup.identity.node_id);
    PV_LOG(d->cli.env.log, PV_LOG_INFO, PV_SUB_MAIN, "listening", "address", listening, "node",
           node, "vault", d->cli.vault, "version", PV_VERSION);
    char state[PV_ADDRESS_MAX + 64];
    (void)snprintf(state, sizeof state, "READY=1\nSTATUS=listening on %s", listening);
    notify(d, state);
}

static void on_stopping(void *arg)
{
    notify(arg, "STOPPING=1\nSTATUS=finishing what is under way");
}

static const char *log_levels(const struct daemon *d, const struct pv_config *c)
{
    return d->cli.verbose ? "debug" : d->cli.quiet ? "error" : c->log_level;
}

/* One setting as text into out; "" when there is no memory. */
static void show(struct pv_buf *out, const struct pv_config *c, enum pv_config_key key)
{
    pv_buf_reset(out);
    if (pv_config_show(c, key, out) != PV_OK || pv_buf_append(out, "", 1) != PV_OK)
        pv_buf_reset(out);
}

static bool applies_at_once(enum pv_config_key key)
{
    return key == PV_CONFIG_PEERS || key == PV_CONFIG_LOG_LEVEL || key == PV_CONFIG_DISK_LIMIT ||
           key == PV_CONFIG_MEMBERSHIP || (key >= PV_CONFIG_LIMIT_UP && key <= PV_CONFIG_LIMIT_LAN);
}

static void log_what_waits(struct daemon *d)
{
    struct pv_buf now, wanted;
    if (d->reloaded.origin[PV_CONFIG_ROLE] == PV_FROM_DEFAULT) /* the keyring decided then */
        d->reloaded.role = d->access.config.role;
    pv_buf_init(&now, PV_CONFIG_SHOW_MAX);
    pv_buf_init(&wanted, PV_CONFIG_SHOW_MAX);
    for (unsigned k = 0; k < PV_CONFIG_KEY_COUNT; k++) {
        enum pv_config_key key = (enum pv_config_key)k;
        show(&now, &d->access.config, key);
        show(&wanted, &d->reloaded, key);
        if (!applies_at_once(key) &&
            (now.len != wanted.len || memcmp(now.data, wanted.data, now.len) != 0))
            PV_LOG(d->cli.env.log, PV_LOG_WARN, PV_SUB_MAIN, "setting waits for a restart", "key",
                   pv_config_key_name(key));
    }
    pv_buf_release(&now);
    pv_buf_release(&wanted);
}

/* To the microsecond: a manager takes an answer for a stale one that is older than its signal. */
static void notify_reloading(const struct daemon *d)
{
    struct timespec now = {0};
    char state[64];
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRIdMAX "%06ld",
                   (intmax_t)now.tv_sec, now.tv_nsec / 1000);
    notify(d, state);
}

static bool on_reload(void *arg, struct pv_server_reload *out)
{
    struct daemon *d = arg;
    notify_reloading(d);
    bool right = pv_settings_load_in(&d->reloaded, d->access.setup.vault.dir, d->flags,
                                     d->flag_count) == PV_EXIT_OK &&
                 pv_log_set_levels(d->cli.env.log, log_levels(d, &d->reloaded)) == PV_OK;
    if (right) {
        for (size_t i = 0; i < d->reloaded.peer_count; i++)
            d->peers[i] = d->reloaded.peers[i];
        out->peers = d->peers;
        out->peer_count = d->reloaded.peer_count;
        out->disk_limit_bytes = d->reloaded.disk_limit_bytes;
        out->bandwidth = d->reloaded.bandwidth;
        out->allowlist = d->reloaded.allowlist != 0;
        log_what_waits(d);
        PV_LOG(d->cli.env.log, PV_LOG_INFO, PV_SUB_MAIN, "settings reloaded");
    } else {
        PV_LOG(d->cli.env.log, PV_LOG_ERROR, PV_SUB_MAIN, "settings not reloaded");
    }
    notify(d, "READY=1");
    return right;
}

/* The daemon's log replaces the command's: its level and form are settings. */
static enum pv_exit open_log(struct daemon *d)
{
    const struct pv_config *c = &d->access.config;
    const char *levels = log_levels(d, c);
    if (pv_log_new_fd(&d->cli.env.log, STDERR_FILENO, c->log_json != 0) != PV_OK)
        return pv_out_no_memory();
    d->cli.env = pv_env_real(d->cli.env.log);
    if (pv_log_set_levels(d->cli.env.log, levels) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "log_level: malformed: %s", levels);
    return PV_EXIT_OK;
}

/* While there is one thread. Secrets in the environment have been read, and nobody needs them. */
static void confine(struct daemon *d)
{
    const struct pv_config *c = &d->access.config;
    const char *notified = getenv("NOTIFY_SOCKET"), *colon = strrchr(c->listen, ':');
    char text[PV_CONFINED_TEXT_MAX];
    pv_confine_forget("PEERVAULT_CLUSTER_KEY");
    pv_confine_forget("PEERVAULT_AUTH_TOKEN");
    if (c->confine != 0)
        pv_confine(&d->confined,
                   &(struct pv_confine_config){
                       .vault = d->access.setup.vault.dir,
                       .vault_path = d->cli.vault,
                       .port = colon != NULL ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0,
                       .abstract_sockets = notified != NULL && notified[0] == '@',
                   });
    pv_confined_text(text, &d->confined);
    PV_LOG(d->cli.env.log, pv_confined_fully(&d->confined) ? PV_LOG_INFO : PV_LOG_WARN, PV_SUB_MAIN,
           "confined", "by", text);
}

static enum pv_exit serve(struct daemon *d, const struct pv_cli *cli)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory";
    enum pv_exit exit = pv_access_lock(&d->access, cli, PV_LOCK_WAIT_MS);
    if (exit == PV_EXIT_OK)
        exit = open_log(d);
    if (exit != PV_EXIT_OK)
        return exit;
    confine(d);
    struct pv_server_config config = pv_access_server(&d->access, &d->cli, d->peers);
    config.daemon = true;
    config.confined = &d->confined;
    config.ready = on_ready;
    config.stopping = on_stopping;
    config.reload = on_reload;
    config.arg = d;
    enum pv_err err = pv_server_run(&config, why);
    if (err != PV_OK)
        return pv_out_fail(pv_exit_of(err), "%s", why);
    PV_LOG(d->cli.env.log, PV_LOG_INFO, PV_SUB_MAIN, "stopped");
    return PV_EXIT_OK;
}

enum pv_exit pv_cmd_daemon(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_config_flag flags[PV_ARGS_OPTIONS_MAX];
    struct pv_access_options options = {.flags = flags, .create = true};
    options.flag_count = pv_settings_flags(flags, args);
    struct daemon *d = pv_calloc(1, sizeof *d);
    if (d == NULL)
        return pv_out_no_memory();
    /* A daemon outlives the terminal it was started from; the server takes it for a reload. */
    (void)signal(SIGHUP, SIG_IGN);
    d->cli = *cli;
    d->cli.env.log = NULL;
    d->flags = flags;
    d->flag_count = options.flag_count;
    enum pv_exit exit = pv_access_open(&d->access, cli, &options);
    if (exit == PV_EXIT_OK) {
        exit = serve(d, cli);
        pv_access_close(&d->access);
    }
    pv_log_free(d->cli.env.log);
    pv_wipe(d, sizeof *d);
    pv_free(d);
    return exit;
}
