#include "cmd/peervault/access.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"

#include <stdio.h>

static enum pv_exit show(const struct pv_cli *cli, const struct pv_config *c,
                         enum pv_config_key key)
{
    struct pv_buf value;
    pv_buf_init(&value, PV_CONFIG_SHOW_MAX);
    enum pv_err err = pv_config_show(c, key, &value);
    enum pv_exit exit = PV_EXIT_OK;
    const char *origin = pv_config_origin_name((enum pv_config_origin)c->origin[key]);
    if (err != PV_OK)
        exit = pv_out_no_memory();
    else if (cli->json)
        exit = pv_out_json(json_pack("{s:s, s:s%, s:s, s:s, s:s}", "key", pv_config_key_name(key),
                                     "value", value.len > 0 ? (const char *)value.data : "",
                                     value.len, "origin", origin, "values",
                                     pv_config_key_values(key), "help", pv_config_key_help(key)));
    else
        printf("%-13s = %-24.*s # %s\n", pv_config_key_name(key), (int)value.len,
               value.len > 0 ? (const char *)value.data : "", origin);
    pv_buf_release(&value);
    return exit;
}

enum pv_exit pv_cmd_config_show(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_config config;
    (void)args;
    enum pv_exit exit = pv_settings_load(&config, cli, NULL, 0);
    for (unsigned key = 0; key < PV_CONFIG_KEY_COUNT && exit == PV_EXIT_OK; key++)
        exit = show(cli, &config, (enum pv_config_key)key);
    return exit == PV_EXIT_OK ? pv_out_flush() : exit;
}

enum pv_exit pv_cmd_config_check(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_config config;
    struct pv_config_secrets secrets;
    (void)args;
    enum pv_exit exit = pv_settings_load(&config, cli, NULL, 0);
    if (exit == PV_EXIT_OK)
        exit = pv_settings_secrets(&secrets, cli);
    if (exit != PV_EXIT_OK)
        return exit;
    pv_config_secrets_wipe(&secrets);
    pv_cli_note(cli, "the settings are valid");
    return PV_EXIT_OK;
}
