/* What the environment says of PeerVault is read here and in access.c, nowhere else. */
#include "cmd/peervault/cli.h"
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char *set(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}

enum pv_err pv_vault_path(char **out, const char *option,
                          const char *(*get_env)(void *ctx, const char *name), void *ctx)
{
    const char *xdg = set(get_env(ctx, "XDG_DATA_HOME")), *home = set(get_env(ctx, "HOME"));
    PV_AUTO_FREE char *path = NULL;
    char cwd[PATH_MAX];
    if (option == NULL)
        option = set(get_env(ctx, "PEERVAULT_VAULT"));
    if (option != NULL)
        path = pv_strdup(option);
    else if (xdg != NULL && xdg[0] == '/') /* a relative one is to be ignored, says its standard */
        path = pv_asprintf("%s/peervault", xdg);
    else if (home != NULL)
        path = pv_asprintf("%s/.local/share/peervault", home);
    else
        return PV_E_NOT_FOUND;
    if (path == NULL)
        return PV_E_NOMEM;
    if (path[0] != '/' && getcwd(cwd, sizeof cwd) == NULL)
        return PV_E_IO;
    char *absolute = path[0] == '/' ? pv_strdup(path) : pv_asprintf("%s/%s", cwd, path);
    if (absolute == NULL)
        return PV_E_NOMEM;
    *out = absolute;
    return PV_OK;
}

static const char *from_environment(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

enum pv_exit pv_cli_init(struct pv_cli *cli, const struct pv_args *args)
{
    *cli = (struct pv_cli){
        .json = pv_args_has(args, "json"),
        .quiet = pv_args_has(args, "quiet"),
        .verbose = pv_args_has(args, "verbose"),
        .stdout_terminal = isatty(STDOUT_FILENO) == 1,
        .stderr_terminal = isatty(STDERR_FILENO) == 1,
        .env = pv_env_real(NULL),
    };
    if (cli->quiet && cli->verbose)
        return pv_out_fail(PV_EXIT_USAGE, "-q and -v contradict each other: give one of them");
    if (pv_log_new_fd(&cli->env.log, STDERR_FILENO, false) != PV_OK ||
        pv_log_set_levels(cli->env.log, cli->verbose ? "info" : "error") != PV_OK)
        return pv_out_no_memory();
    return PV_EXIT_OK;
}

enum pv_exit pv_cli_find_vault(struct pv_cli *cli, const struct pv_args *args)
{
    enum pv_err err =
        pv_vault_path(&cli->vault, pv_args_value(args, "vault"), from_environment, NULL);
    if (err == PV_E_NOT_FOUND)
        return pv_out_fail(PV_EXIT_USAGE, "HOME is not set: say where the vault is with --vault");
    if (err != PV_OK)
        return pv_out_fail(PV_EXIT_FAILED, "the working directory cannot be found: %s",
                           pv_err_text(err));
    return PV_EXIT_OK;
}

void pv_cli_release(struct pv_cli *cli)
{
    pv_log_free(cli->env.log);
    pv_free(cli->vault);
}

void pv_cli_note(const struct pv_cli *cli, const char *fmt, ...)
{
    char text[8192];
    va_list ap;
    if (cli->quiet)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pv_out_line("%s", text);
}
