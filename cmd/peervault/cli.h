/*
 * What every command gets: the global options, where the vault is, and the clock.
 */
#ifndef PV_CMD_CLI_H
#define PV_CMD_CLI_H

#include "cmd/peervault/args.h"
#include "internal/base/env.h"
#include "internal/exit.h"

struct pv_cli {
    char *vault; /* absolute path, not yet looked at; NULL for commands without one */
    bool json, quiet, verbose;
    bool stdout_terminal, stderr_terminal;
    struct pv_env env; /* env.log: stderr, for servers in this process */
};

/* Sets all of *cli but the vault from the global options. USAGE and a line: they contradict each
 * other. */
enum pv_exit pv_cli_init(struct pv_cli *cli, const struct pv_args *args);
/* Sets cli->vault. USAGE and a line: nothing says where it is. */
enum pv_exit pv_cli_find_vault(struct pv_cli *cli, const struct pv_args *args);
void pv_cli_release(struct pv_cli *cli);

/* A line on stderr that is no error; nothing with --quiet. */
void pv_cli_note(const struct pv_cli *cli, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Where the vault is: option, PEERVAULT_VAULT, XDG_DATA_HOME/peervault,
 * HOME/.local/share/peervault; relative ones are those of the working directory. A new string;
 * NOT_FOUND: nothing says it; NOMEM; IO: no working directory. getenv as in config.h.
 */
PV_MUST enum pv_err pv_vault_path(char **out, const char *option,
                                  const char *(*get_env)(void *ctx, const char *name), void *ctx);

#endif
