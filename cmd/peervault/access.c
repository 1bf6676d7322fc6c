/*
 * Order of checks: settings, given secrets, vault (made where that is asked for), role. Nothing is
 * written before the first two are known to be well formed.
 */
#include "cmd/peervault/access.h"
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Static_assert((int)PV_SETUP_TEXT_MAX == (int)PV_CONFIG_WHY_MAX, "one buffer serves both");

static const char *from_environment(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

/* Without a vault there is no file to read: PV_FD_NONE. */
static pv_fd open_folder(const char *path)
{
    const struct pv_fs *fs = pv_fs_real();
    pv_fd fd = PV_FD_NONE;
    if (fs->open(fs->ctx, PV_FD_NONE, path, PV_FS_READ | PV_FS_DIRECTORY | PV_FS_FOLLOW, &fd) !=
        PV_OK)
        return PV_FD_NONE;
    return fd;
}

size_t pv_settings_flags(struct pv_config_flag *flags, const struct pv_args *args)
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

enum pv_exit pv_settings_load_in(struct pv_config *out, pv_fd vault,
                                 const struct pv_config_flag *flags, size_t flag_count)
{
    char why[PV_CONFIG_WHY_MAX] = "out of memory";
    const struct pv_config_source source = {from_environment, NULL, pv_fs_real(), vault};
    enum pv_err err = pv_config_load(out, &source, flags, flag_count, why);
    return err == PV_OK ? PV_EXIT_OK : pv_out_fail(pv_exit_of(err), "%s", why);
}

enum pv_exit pv_settings_load(struct pv_config *out, const struct pv_cli *cli,
                              const struct pv_config_flag *flags, size_t flag_count)
{
    const struct pv_fs *fs = pv_fs_real();
    pv_fd vault = open_folder(cli->vault);
    enum pv_exit exit = pv_settings_load_in(out, vault, flags, flag_count);
    if (vault != PV_FD_NONE)
        (void)fs->close(fs->ctx, vault); /* was only read */
    return exit;
}

static void warn(void *ctx, const char *text)
{
    pv_cli_note(ctx, "%s", text);
}

enum pv_exit pv_settings_secrets(struct pv_config_secrets *out, const struct pv_cli *cli)
{
    char why[PV_CONFIG_WHY_MAX] = "out of memory";
    struct pv_cli notes = *cli;
    struct pv_config_source source = {from_environment, NULL, pv_fs_real(), PV_FD_NONE};
    memset(out, 0, sizeof *out);
    enum pv_err err = pv_config_secrets_load(out, &source, warn, &notes, why);
    if (err == PV_E_NOT_FOUND) /* the setting is wrong: 3 is for vaults and files in them */
        err = PV_E_INVALID;
    return err == PV_OK ? PV_EXIT_OK : pv_out_fail(pv_exit_of(err), "%s", why);
}

struct pv_secrets pv_secrets_view(const struct pv_config_secrets *s)
{
    return (struct pv_secrets){
        .token = s->token[0] != '\0' ? s->token : NULL,
        .cluster_key = s->cluster_key[0] != '\0' ? s->cluster_key : NULL,
    };
}

/*
 * A node that is told of peers must share their secrets: fresh ones would only meet refusals, so
 * they are not made.
 */
static enum pv_exit check_peers(const struct pv_config *config, const struct pv_secrets *given)
{
    bool key_needed = config->role == PV_ROLE_KEYED;
    if (config->peer_count == 0 ||
        (given->token != NULL && (given->cluster_key != NULL || !key_needed)))
        return PV_EXIT_OK;
    return pv_out_fail(PV_EXIT_USAGE,
                       "no vault yet, and no %s%s%s to reach the peers with: set %s%s%s "
                       "(`peervault key export` on another node prints them)",
                       given->token == NULL ? "token" : "",
                       given->token == NULL && key_needed ? " and cluster key" : "",
                       given->token != NULL ? "cluster key" : "",
                       given->token == NULL ? "PEERVAULT_AUTH_TOKEN" : "",
                       given->token == NULL && key_needed ? " and PEERVAULT_CLUSTER_KEY" : "",
                       given->token != NULL ? "PEERVAULT_CLUSTER_KEY" : "");
}

static enum pv_exit create(const struct pv_cli *cli, const struct pv_config *config,
                           const struct pv_secrets *given)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory";
    bool blind = config->role == PV_ROLE_BLIND;
    enum pv_exit exit = check_peers(config, given);
    if (exit != PV_EXIT_OK)
        return exit;
    enum pv_err err = pv_setup_create(cli->vault, given, blind, pv_fs_real(), &cli->env, why);
    if (err == PV_E_EXISTS) /* another process was quicker */
        return PV_EXIT_OK;
    if (err != PV_OK)
        return pv_out_fail(pv_exit_of(err), "%s", why);
    bool fresh = given->token == NULL || (given->cluster_key == NULL && !blind);
    pv_cli_note(cli, "made the vault %s%s", cli->vault,
                fresh ? " with secrets of its own: `peervault key export` prints them for other "
                        "nodes"
                      : "");
    return PV_EXIT_OK;
}

/* Role and keyring must agree: a keyed node without a key cannot work, a blind one must not read.
 */
enum pv_exit pv_settings_settle_role(struct pv_config *c, const struct pv_keyring *keyring)
{
    bool keyed = pv_keyring_active(keyring) != NULL;
    if (!keyed && c->origin[PV_CONFIG_ROLE] == PV_FROM_DEFAULT)
        c->role = PV_ROLE_BLIND;
    if (keyed && c->role == PV_ROLE_BLIND)
        return pv_out_fail(PV_EXIT_USAGE, "this vault holds a cluster key, a blind node must not: "
                                          "make another vault with `peervault init --role blind`");
    if (!keyed && c->role == PV_ROLE_KEYED)
        return pv_out_fail(PV_EXIT_USAGE,
                           "this vault holds no cluster key: only --role blind is possible");
    return PV_EXIT_OK;
}

enum pv_exit pv_access_open(struct pv_access *a, const struct pv_cli *cli,
                            const struct pv_access_options *options)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory";
    struct pv_config_secrets secrets;
    memset(a, 0, sizeof *a);
    a->setup.vault = (struct pv_vault){pv_fs_real(), PV_FD_NONE, PV_FD_NONE};
    enum pv_exit exit = pv_settings_load(&a->config, cli, options->flags, options->flag_count);
    if (exit != PV_EXIT_OK)
        return exit;
    exit = pv_settings_secrets(&secrets, cli);
    if (exit != PV_EXIT_OK)
        return exit;
    struct pv_secrets given = pv_secrets_view(&secrets);
    enum pv_err err = pv_setup_open(&a->setup, cli->vault, &given, pv_fs_real(), &cli->env, why);
    if (err == PV_E_NOT_FOUND && options->create) {
        exit = create(cli, &a->config, &given);
        if (exit == PV_EXIT_OK)
            err = pv_setup_open(&a->setup, cli->vault, &given, pv_fs_real(), &cli->env, why);
    }
    pv_config_secrets_wipe(&secrets);
    if (exit != PV_EXIT_OK)
        return exit;
    if (err != PV_OK)
        return pv_out_fail(pv_exit_of(err), "%s", why);
    exit = pv_settings_settle_role(&a->config, &a->setup.keyring);
    if (exit != PV_EXIT_OK)
        pv_access_close(a);
    return exit;
}

void pv_access_close(struct pv_access *a)
{
    pv_setup_close(&a->setup);
}

enum pv_exit pv_access_lock(struct pv_access *a, const struct pv_cli *cli, uint64_t wait_ms)
{
    long pid = 0;
    enum pv_err err = pv_setup_lock(&a->setup, wait_ms, &cli->env, &pid);
    if (err == PV_E_BUSY)
        return pv_out_fail(PV_EXIT_UNAVAILABLE,
                           "the vault %s is in use by process %ld: wait for it, or stop it",
                           cli->vault, pid);
    if (err == PV_E_IO && access(cli->vault, W_OK) != 0 && errno == EROFS)
        return pv_out_fail(PV_EXIT_FAILED,
                           "the vault %s is on a read-only file system: mount it read-write",
                           cli->vault);
    if (err == PV_E_INVALID || err == PV_E_AUTH)
        return pv_out_fail(err == PV_E_AUTH ? PV_EXIT_DENIED : PV_EXIT_FAILED,
                           "cannot lock the vault %s: its file `lock` is %s: remove it", cli->vault,
                           err == PV_E_AUTH ? "somebody else's, or a link" : "no file");
    if (err != PV_OK)
        return pv_out_fail(pv_exit_of(err), "cannot lock the vault %s: %s", cli->vault,
                           pv_err_text(err));
    return PV_EXIT_OK;
}

struct pv_server_config pv_access_server(struct pv_access *a, const struct pv_cli *cli,
                                         const char *peers[])
{
    const struct pv_config *c = &a->config;
    for (size_t i = 0; i < c->peer_count; i++)
        peers[i] = c->peers[i];
    return (struct pv_server_config){
        .setup = &a->setup,
        .vault_path = cli->vault,
        .env = &cli->env,
        .client_fd = -1,
        .listen = c->listen,
        .peers = peers,
        .peer_count = c->peer_count,
        .advertise = c->advertise,
        .advertise_count = c->advertise_count,
        .role = (uint8_t)c->role,
        .allowlist = c->allowlist != 0,
        .replicas = (unsigned)c->replicas,
        .repair_after_ms = c->repair_after_ms,
        .gc_grace_ms = c->gc_grace_ms,
        .key_grace_ms = c->key_grace_ms,
        .max_skew_ms = c->max_skew_ms,
        .mem_limit_bytes = c->mem_limit_bytes,
        .disk_limit_bytes = c->disk_limit_bytes,
        .bandwidth = c->bandwidth,
        .convergence = (enum pv_convergence)c->convergence,
        .no_scrub = c->scrub == 0,
    };
}
