/*
 * Secrets are no settings, but belong into the same view: whether there is one, and where it comes
 * from. What is shown in their place is the same for all, not even as long as they are.
 *
 * The vault need not be there yet. Where it is, its keyring decides the role that nobody has set.
 */
#include "cmd/peervault/access.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"

#include <stdio.h>
#include <string.h>

#define MASK "********"
#define KEYRING "keyring" /* an origin that is none of a setting */

struct shown {
    const char *key, *value;
    size_t value_len;
    bool is_list;
    const char *origin, *values, *help;
};

static enum pv_exit print(const struct pv_cli *cli, const struct shown *s)
{
    if (cli->json)
        return pv_out_json(json_pack("{s:s, s:s%, s:s, s:s, s:s}", "key", s->key, "value", s->value,
                                     s->value_len, "origin", s->origin, "values", s->values, "help",
                                     s->help));
    const char *p = s->value, *end = p + s->value_len;
    for (bool more = true; more;) { /* a list as the file takes it, however long: in lines */
        const char *comma = s->is_list ? memchr(p, ',', (size_t)(end - p)) : NULL;
        size_t len = (size_t)((comma != NULL ? comma : end) - p);
        printf("%-15s = %-24.*s # %s\n", s->key, (int)len, p, s->origin);
        more = comma != NULL;
        p += more ? len + 1 : 0;
    }
    return PV_EXIT_OK;
}

static enum pv_exit show(const struct pv_cli *cli, const struct pv_config *c,
                         enum pv_config_key key)
{
    /* Only the keyring changes a value without giving it another origin. */
    bool of_keyring =
        key == PV_CONFIG_ROLE && c->origin[key] == PV_FROM_DEFAULT && c->role == PV_ROLE_BLIND;
    struct pv_buf value;
    pv_buf_init(&value, PV_CONFIG_SHOW_MAX);
    enum pv_err err = pv_config_show(c, key, &value);
    struct shown shown = {
        .key = pv_config_key_name(key),
        .value = value.len > 0 ? (const char *)value.data : "",
        .value_len = value.len,
        .is_list = pv_config_key_is_list(key),
        .origin =
            of_keyring ? KEYRING : pv_config_origin_name((enum pv_config_origin)c->origin[key]),
        .values = pv_config_key_values(key),
        .help = pv_config_key_help(key),
    };
    enum pv_exit exit = err == PV_OK ? print(cli, &shown) : pv_out_no_memory();
    pv_buf_release(&value);
    return exit;
}

static enum pv_exit show_secret(const struct pv_cli *cli, const char *key, bool given, bool kept)
{
    bool token = strcmp(key, "auth_token") == 0;
    struct shown shown = {.key = key,
                          .value = given || kept ? MASK : "",
                          .origin = kept ? KEYRING : "nowhere",
                          .values = token ? "a token" : "64 hex digits",
                          .help = token ? "admits to the network" : "reads what is stored"};
    shown.value_len = strlen(shown.value);
    if (given)
        shown.origin = pv_config_origin_name(PV_FROM_ENVIRONMENT);
    return print(cli, &shown);
}

/* What there is of a vault. */
struct view {
    enum pv_err err; /* OK: setup is open; NOT_FOUND: there is none; else why */
    struct pv_setup setup;
    struct pv_config_secrets given;
    char why[PV_SETUP_TEXT_MAX];
};

/* compare: given secrets must be those of the keyring. Close the view, also after errors. */
static enum pv_exit view_open(struct view *v, const struct pv_cli *cli, bool compare)
{
    const struct pv_secrets none = {0};
    v->err = PV_E_NOT_FOUND;
    (void)snprintf(v->why, sizeof v->why, "out of memory");
    enum pv_exit exit = pv_settings_secrets(&v->given, cli);
    if (exit != PV_EXIT_OK)
        return exit;
    struct pv_secrets given = compare ? pv_secrets_view(&v->given) : none;
    v->err = pv_setup_open(&v->setup, cli->vault, &given, pv_fs_real(), &cli->env, v->why);
    return PV_EXIT_OK;
}

static void view_close(struct view *v)
{
    if (v->err == PV_OK)
        pv_setup_close(&v->setup);
    pv_config_secrets_wipe(&v->given);
}

static enum pv_exit view_error(const struct view *v)
{
    return v->err == PV_OK || v->err == PV_E_NOT_FOUND
               ? PV_EXIT_OK
               : pv_out_fail(pv_exit_of(v->err), "%s", v->why);
}

static enum pv_exit show_secrets(const struct pv_cli *cli, const struct view *v)
{
    bool is_open = v->err == PV_OK;
    enum pv_exit exit = show_secret(cli, "auth_token", v->given.token[0] != '\0',
                                    is_open && v->setup.keyring.token_count > 0);
    if (exit == PV_EXIT_OK)
        exit = show_secret(cli, "cluster_key", v->given.cluster_key[0] != '\0',
                           is_open && pv_keyring_active(&v->setup.keyring) != NULL);
    return exit;
}

/* A keyring that cannot be read is an error, said last. */
enum pv_exit pv_cmd_config_show(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_config config;
    struct view v;
    struct pv_config_flag flags[PV_ARGS_OPTIONS_MAX];
    enum pv_exit exit = pv_settings_load(&config, cli, flags, pv_settings_flags(flags, args));
    if (exit != PV_EXIT_OK)
        return exit;
    enum pv_exit viewed = view_open(&v, cli, false);
    if (v.err == PV_OK && config.origin[PV_CONFIG_ROLE] == PV_FROM_DEFAULT)
        exit = pv_settings_settle_role(&config, &v.setup.keyring);
    for (unsigned key = 0; key < PV_CONFIG_KEY_COUNT && exit == PV_EXIT_OK; key++)
        exit = show(cli, &config, (enum pv_config_key)key);
    if (exit == PV_EXIT_OK)
        exit = viewed;
    if (exit == PV_EXIT_OK)
        exit = view_error(&v);
    if (exit == PV_EXIT_OK)
        exit = show_secrets(cli, &v);
    view_close(&v);
    return exit == PV_EXIT_OK ? pv_out_flush() : exit;
}

/* Also whether given secrets are well formed and those of the vault, where there is one. */
enum pv_exit pv_cmd_config_check(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_config config;
    struct view v;
    struct pv_config_flag flags[PV_ARGS_OPTIONS_MAX];
    enum pv_exit exit = pv_settings_load(&config, cli, flags, pv_settings_flags(flags, args));
    if (exit != PV_EXIT_OK)
        return exit;
    exit = view_open(&v, cli, true);
    if (exit == PV_EXIT_OK)
        exit = view_error(&v);
    if (exit == PV_EXIT_OK && v.err == PV_OK)
        exit = pv_settings_settle_role(&config, &v.setup.keyring);
    view_close(&v);
    if (exit == PV_EXIT_OK)
        pv_cli_note(cli, "the settings are valid");
    return exit;
}
