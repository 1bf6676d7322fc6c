/*
 * init, id, and the secrets: what works on the vault's own small files, without its lock.
 */
#include "cmd/peervault/access.h"
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/secrets_text.h"
#include "cmd/peervault/sheet.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Opens without given secrets: nothing is compared. */
static enum pv_exit open_vault(struct pv_setup *setup, const struct pv_cli *cli)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory";
    const struct pv_secrets none = {0};
    enum pv_err err = pv_setup_open(setup, cli->vault, &none, pv_fs_real(), &cli->env, why);
    return err == PV_OK ? PV_EXIT_OK : pv_out_fail(pv_exit_of(err), "%s", why);
}

enum pv_exit pv_cmd_init(const struct pv_cli *cli, const struct pv_args *args)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory", node[PV_NODE_TEXT_LEN];
    struct pv_config config;
    struct pv_config_secrets secrets;
    struct pv_setup setup;
    const struct pv_config_flag flag = {PV_CONFIG_ROLE, pv_args_value(args, "role")};
    enum pv_exit exit = pv_settings_load(&config, cli, &flag, flag.value != NULL ? 1 : 0);
    if (exit == PV_EXIT_OK)
        exit = pv_settings_secrets(&secrets, cli);
    if (exit != PV_EXIT_OK)
        return exit;
    bool blind = config.role == PV_ROLE_BLIND;
    struct pv_secrets given = pv_secrets_view(&secrets);
    enum pv_err err =
        blind && given.cluster_key != NULL
            ? PV_E_INVALID
            : pv_setup_create(cli->vault, &given, blind, pv_fs_real(), &cli->env, why);
    if (blind && given.cluster_key != NULL)
        (void)snprintf(why, sizeof why,
                       "a blind node must not have the cluster key: unset PEERVAULT_CLUSTER_KEY");
    pv_config_secrets_wipe(&secrets);
    if (err != PV_OK)
        return pv_out_fail(pv_exit_of(err), "%s", why);
    exit = open_vault(&setup, cli);
    if (exit != PV_EXIT_OK)
        return exit;
    pv_node_id_format(node, &setup.identity.node_id);
    pv_setup_close(&setup);
    const char *role = pv_role_name((uint8_t)config.role);
    if (cli->json) {
        json_t *o = json_pack("{s:s, s:s}", "node", node, "role", role);
        if (!pv_json_set_bytes(o, "vault", cli->vault)) {
            json_decref(o);
            return pv_out_no_memory();
        }
        return pv_out_json(o);
    }
    printf("vault  ");
    pv_out_name(cli->vault, strlen(cli->vault), cli->stdout_terminal);
    printf("\nnode   %s\nrole   %s\n", node, role);
    return pv_out_flush();
}

enum pv_exit pv_cmd_id(const struct pv_cli *cli, const struct pv_args *args)
{
    char text[PV_NODE_TEXT_LEN], hex[PV_ID_HEX_LEN + 1];
    struct pv_setup setup;
    (void)args;
    enum pv_exit exit = open_vault(&setup, cli);
    if (exit != PV_EXIT_OK)
        return exit;
    pv_node_id_format(text, &setup.identity.node_id);
    pv_id_hex(hex, &setup.identity.node_id);
    pv_setup_close(&setup);
    if (cli->json)
        return pv_out_json(json_pack("{s:s, s:s}", "node", text, "node_hex", hex));
    puts(text);
    return pv_out_flush();
}

enum pv_exit pv_cmd_key_export(const struct pv_cli *cli, const struct pv_args *args)
{
    char hex[2 * PV_KEY_LEN + 1] = "";
    struct pv_setup setup;
    bool sheet = pv_args_has(args, "sheet");
    if (sheet && cli->json)
        return pv_out_fail(PV_EXIT_USAGE, "the sheet is for paper: leave out --sheet or --json");
    enum pv_exit exit = open_vault(&setup, cli);
    if (exit != PV_EXIT_OK)
        return exit;
    if (sheet) {
        exit = pv_sheet_print(cli, &setup);
        pv_setup_close(&setup);
        return exit;
    }
    const struct pv_cluster_keys *key = pv_keyring_active(&setup.keyring);
    const char *token = setup.keyring.token_count > 0 ? setup.keyring.tokens[0].text : "";
    if (key != NULL)
        pv_hex_encode(hex, key->cluster_key, PV_KEY_LEN);
    if (cli->json) {
        json_t *o = json_object();
        if (key != NULL)
            json_object_set_new(o, "cluster_key", json_string(hex));
        if (!pv_json_set_bytes(o, "auth_token", token))
            pv_cli_note(cli, "the token could not be printed: out of memory");
        exit = pv_out_json(o);
    } else {
        exit = pv_secrets_print(key != NULL ? hex : NULL, token);
    }
    if (key == NULL)
        pv_cli_note(cli, "this is a blind node: it has no cluster key to export");
    pv_wipe(hex, sizeof hex);
    pv_setup_close(&setup);
    return exit;
}

enum pv_exit pv_cmd_key_import(const struct pv_cli *cli, const struct pv_args *args)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory";
    struct pv_config_secrets secrets;
    struct pv_setup setup;
    enum pv_exit exit = pv_secrets_read(&secrets, args->words[0]);
    if (exit != PV_EXIT_OK)
        return exit;
    struct pv_secrets given = pv_secrets_view(&secrets);
    enum pv_err err = pv_setup_create(cli->vault, &given, false, pv_fs_real(), &cli->env, why);
    bool created = err == PV_OK, present = err == PV_E_EXISTS; /* it may have just these */
    if (created || present)
        err = pv_setup_open(&setup, cli->vault, &given, pv_fs_real(), &cli->env, why);
    pv_config_secrets_wipe(&secrets);
    if (err == PV_E_INVALID && present)
        return pv_out_fail(PV_EXIT_USAGE,
                           "the vault %s has other secrets: import into another vault", cli->vault);
    if (err != PV_OK)
        return pv_out_fail(pv_exit_of(err), "%s", why);
    pv_setup_close(&setup);
    if (cli->json) {
        json_t *o = json_pack("{s:b}", "created", (int)created);
        (void)pv_json_set_bytes(o, "vault", cli->vault);
        return pv_out_json(o);
    }
    pv_cli_note(cli,
                created ? "made the vault %s with these secrets"
                        : "the vault %s has these secrets already",
                cli->vault);
    return PV_EXIT_OK;
}

enum pv_exit pv_cmd_token_new(const struct pv_cli *cli, const struct pv_args *args)
{
    char token[PV_TOKEN_TEXT_LEN + 1];
    enum pv_exit exit;
    (void)args;
    pv_token_generate(token, &cli->env);
    if (cli->json) {
        exit = pv_out_json(json_pack("{s:s}", "token", token));
    } else {
        puts(token);
        exit = pv_out_flush();
    }
    pv_wipe(token, sizeof token);
    return exit;
}
