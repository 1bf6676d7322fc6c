/*
 * The daemon: settings, lock, log, server. Everything that can be wrong with the arguments is said
 * before anything is made.
 */
#include "cmd/peervault/access.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

struct daemon {
    struct pv_cli cli; /* with the log of the settings */
    struct pv_access access;
    const char *peers[PV_STATIC_PEERS_MAX];
};

static void on_ready(void *arg, const char *listening)
{
    struct daemon *d = arg;
    char node[PV_NODE_TEXT_LEN];
    pv_node_id_format(node, &d->access.setup.identity.node_id);
    PV_LOG(d->cli.env.log, PV_LOG_INFO, PV_SUB_MAIN, "listening", "address", listening, "node",
           node, "vault", d->cli.vault, "version", PV_VERSION);
}

static size_t collect_flags(struct pv_config_flag *flags, const struct pv_args *args)
{
    static const struct {
        const char *option;
        enum pv_config_key key;
    } map[] = {{"listen", PV_CONFIG_LISTEN},
               {"peer", PV_CONFIG_PEERS},
               {"replicas", PV_CONFIG_REPLICAS},
               {"role", PV_CONFIG_ROLE}};
    size_t count = 0;
    for (size_t i = 0; i < args->option_count; i++)
        for (size_t k = 0; k < PV_COUNT(map); k++)
            if (strcmp(args->options[i].option->name, map[k].option) == 0)
                flags[count++] = (struct pv_config_flag){map[k].key, args->options[i].value};
    return count;
}

/* The daemon's log replaces the command's: its level and form are settings. */
static enum pv_exit open_log(struct daemon *d, const struct pv_cli *cli)
{
    const struct pv_config *c = &d->access.config;
    const char *levels = cli->verbose ? "debug" : cli->quiet ? "error" : c->log_level;
    if (pv_log_new_fd(&d->cli.env.log, STDERR_FILENO, c->log_json != 0) != PV_OK)
        return pv_out_no_memory();
    d->cli.env = pv_env_real(d->cli.env.log);
    if (pv_log_set_levels(d->cli.env.log, levels) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "log_level: malformed: %s", levels);
    return PV_EXIT_OK;
}

static enum pv_exit serve(struct daemon *d, const struct pv_cli *cli)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory";
    enum pv_exit exit = pv_access_lock(&d->access, cli, PV_LOCK_WAIT_MS);
    if (exit == PV_EXIT_OK)
        exit = open_log(d, cli);
    if (exit != PV_EXIT_OK)
        return exit;
    struct pv_server_config config = pv_access_server(&d->access, &d->cli, d->peers);
    config.daemon = true;
    config.ready = on_ready;
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
    options.flag_count = collect_flags(flags, args);
    struct daemon *d = pv_calloc(1, sizeof *d);
    if (d == NULL)
        return pv_out_no_memory();
    /* A daemon outlives the terminal it was started from. */
    (void)signal(SIGHUP, SIG_IGN);
    d->cli = *cli;
    d->cli.env.log = NULL;
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
