/*
 * Secrets are no settings, but belong into the same view: whether there is one, and where it comes
 * from. What is shown in their place is the same for all, not even as long as they are.
 */
#include "cmd/peervault/access.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"

#include <stdio.h>
#include <string.h>

#define MASK "********"

struct shown { /* one line of `config show` */
    const char *key, *value;
    size_t value_len;
    const char *origin, *values, *help;
};

static enum pv_exit print(const struct pv_cli *cli, const struct shown *s)
{
    if (cli->json)
        return pv_out_json(json_pack("{s:s, s:s%, s:s, s:s, s:s}", "key", s->key, "value", s->value,
                                     s->value_len, "origin", s->origin, "values", s->values, "help",
                                     s->help));
    printf("%-13s = %-24.*s # %s\n", s->key, (int)s->value_len, s->value, s->origin);
    return PV_EXIT_OK;
}

static enum pv_exit show(const struct pv_cli *cli, const struct pv_config *c,
                         enum pv_config_key key)
{
    struct pv_buf value;
    pv_buf_init(&value, PV_CONFIG_SHOW_MAX);
    enum pv_err err = pv_config_show(c, key, &value);
    struct shown shown = {
        .key = pv_config_key_name(key),
        .value = value.len > 0 ? (const char *)value.data : "",
        .value_len = value.len,
        .origin = pv_config_origin_name((enum pv_config_origin)c->origin[key]),
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
                          .origin = kept ? "keyring" : "nowhere",
                          .values = token ? "a token" : "64 hex digits",
                          .help = token ? "admits to the network" : "reads what is stored"};
    shown.value_len = strlen(shown.value);
    if (given)
        shown.origin = pv_config_origin_name(PV_FROM_ENVIRONMENT);
    return print(cli, &shown);
}

/* A vault that is not there has none; a keyring that cannot be read is an error, said last. */
static enum pv_exit show_secrets(const struct pv_cli *cli)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory";
    const struct pv_secrets none = {0};
    struct pv_config_secrets given;
    struct pv_setup setup;
    enum pv_exit exit = pv_settings_secrets(&given, cli);
    if (exit != PV_EXIT_OK)
        return exit;
    enum pv_err err = pv_setup_open(&setup, cli->vault, &none, pv_fs_real(), &cli->env, why);
    if (err == PV_OK || err == PV_E_NOT_FOUND) {
        exit = show_secret(cli, "auth_token", given.token[0] != '\0',
                           err == PV_OK && setup.keyring.token_count > 0);
        if (exit == PV_EXIT_OK)
            exit = show_secret(cli, "cluster_key", given.cluster_key[0] != '\0',
                               err == PV_OK && pv_keyring_active(&setup.keyring) != NULL);
    } else {
        exit = pv_out_fail(pv_exit_of(err), "%s", why);
    }
    if (err == PV_OK)
        pv_setup_close(&setup);
    pv_config_secrets_wipe(&given);
    return exit;
}

enum pv_exit pv_cmd_config_show(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_config config;
    struct pv_config_flag flags[PV_ARGS_OPTIONS_MAX];
    enum pv_exit exit = pv_settings_load(&config, cli, flags, pv_settings_flags(flags, args));
    for (unsigned key = 0; key < PV_CONFIG_KEY_COUNT && exit == PV_EXIT_OK; key++)
        exit = show(cli, &config, (enum pv_config_key)key);
    if (exit == PV_EXIT_OK)
        exit = show_secrets(cli);
    return exit == PV_EXIT_OK ? pv_out_flush() : exit;
}

/* Whether given secrets are well formed, and those of the vault where there is one. */
static enum pv_exit check_secrets(const struct pv_cli *cli)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory";
    struct pv_config_secrets secrets;
    struct pv_setup setup;
    enum pv_exit exit = pv_settings_secrets(&secrets, cli);
    if (exit != PV_EXIT_OK)
        return exit;
    struct pv_secrets given = pv_secrets_view(&secrets);
    enum pv_err err = pv_setup_open(&setup, cli->vault, &given, pv_fs_real(), &cli->env, why);
    pv_config_secrets_wipe(&secrets);
    if (err == PV_OK)
        pv_setup_close(&setup);
    return err == PV_OK || err == PV_E_NOT_FOUND ? PV_EXIT_OK
                                                 : pv_out_fail(pv_exit_of(err), "%s", why);
}

enum pv_exit pv_cmd_config_check(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_config config;
    struct pv_config_flag flags[PV_ARGS_OPTIONS_MAX];
    enum pv_exit exit = pv_settings_load(&config, cli, flags, pv_settings_flags(flags, args));
    if (exit == PV_EXIT_OK)
        exit = check_secrets(cli);
    if (exit == PV_EXIT_OK)
        pv_cli_note(cli, "the settings are valid");
    return exit;
}
