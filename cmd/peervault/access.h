/*
 * From a vault's path to an opened vault: settings, given secrets, keyring and identity.
 *
 * All errors are said here; the callers only pass the exit code on.
 */
#ifndef PV_CMD_ACCESS_H
#define PV_CMD_ACCESS_H

#include "cmd/peervault/cli.h"
#include "internal/config.h"
#include "internal/config_secrets.h"
#include "internal/server/uv_server.h"

enum { PV_LOCK_WAIT_MS = 10000 }; /* for a vault that another process uses */

/* Those of the daemon's options that are given; flags has room for PV_ARGS_OPTIONS_MAX. */
size_t pv_settings_flags(struct pv_config_flag *flags, const struct pv_args *args);
/* The settings of a vault that may not exist yet. */
enum pv_exit pv_settings_load(struct pv_config *out, const struct pv_cli *cli,
                              const struct pv_config_flag *flags, size_t flag_count);
/* Likewise, in a vault that is open: its path may lead elsewhere by now, or no longer be passable.
 */
enum pv_exit pv_settings_load_in(struct pv_config *out, pv_fd vault,
                                 const struct pv_config_flag *flags, size_t flag_count);
/* Nothing said of the role: it is what the keyring allows. USAGE, said: a role that it does not. */
enum pv_exit pv_settings_settle_role(struct pv_config *c, const struct pv_keyring *keyring);
/* The secrets from the environment. Wipe them. */
enum pv_exit pv_settings_secrets(struct pv_config_secrets *out, const struct pv_cli *cli);
/* As setup.h wants them: borrowed from s, NULL where not given. */
struct pv_secrets pv_secrets_view(const struct pv_config_secrets *s);

struct pv_access {
    struct pv_config config;
    struct pv_setup setup; /* opened; not locked */
};

struct pv_access_options {
    const struct pv_config_flag *flags;
    size_t flag_count;
    bool create; /* make the vault, with given or fresh secrets, when there is none */
};

/*
 * NOT_FOUND: no vault. USAGE: malformed settings, secrets that differ from the keyring's, a role
 * that the keyring does not allow; with create also: peers are given, but no secrets to meet them
 * with. A keyring without a cluster key makes the node blind when nothing else is said.
 */
enum pv_exit pv_access_open(struct pv_access *a, const struct pv_cli *cli,
                            const struct pv_access_options *options);
void pv_access_close(struct pv_access *a);

/* Waits for the vault lock; UNAVAILABLE with a line that names the holder. */
enum pv_exit pv_access_lock(struct pv_access *a, const struct pv_cli *cli, uint64_t wait_ms);
/* What a server on this vault needs; peers (PV_STATIC_PEERS_MAX of them) is filled and borrowed. */
struct pv_server_config pv_access_server(struct pv_access *a, const struct pv_cli *cli,
                                         const char *peers[]);

#endif
