#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"

#include <string.h>

/* "TARGET: restored", and under which name where that is news. */
static enum pv_exit say(const struct pv_cli *cli, const char *target, const json_t *reply)
{
    size_t len = 0;
    char *name = pv_json_name(reply, &len);
    if (pv_json_int(reply, "files") == 0 && name == NULL)
        pv_cli_note(cli, "%s: %s", target, pv_json_text(reply, "note"));
    else if (name != NULL && strcmp(name, target) != 0)
        pv_cli_note(cli, "%s: restored as %s", target, name);
    else
        pv_cli_note(cli, "%s: restored", target);
    pv_free(name);
    return PV_EXIT_OK;
}

/* *lost: the connection ended, the rest need not be tried. */
static enum pv_exit restore_one(const struct pv_cli *cli, struct pv_client *client,
                                const char *target, const char *key, bool *lost)
{
    json_t *reply = NULL;
    json_t *rq = json_pack("{s:s, s:s*}", "op", "restore", "key", key);
    if (rq == NULL || !pv_json_set_bytes(rq, "target", target)) {
        json_decref(rq);
        return pv_out_no_memory();
    }
    enum pv_exit exit = pv_client_call(client, rq, NULL, NULL, &reply);
    *lost = exit != PV_EXIT_OK;
    if (*lost)
        return exit;
    exit = pv_reply_exit(reply, target);
    if (exit == PV_EXIT_OK && cli->json) {
        pv_message_strip(reply);
        exit = pv_out_json(json_incref(reply));
        *lost = exit != PV_EXIT_OK;
    } else if (exit == PV_EXIT_OK) {
        exit = say(cli, target, reply);
    }
    json_decref(reply);
    return exit;
}

enum pv_exit pv_cmd_restore(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_client *client = NULL;
    const char *key = pv_args_value(args, "key");
    bool lost = false;
    if (key != NULL && args->word_count > 1)
        return pv_out_fail(PV_EXIT_USAGE, "--key is for one name: give only that");
    enum pv_exit exit = pv_client_open(&client, cli, PV_CLIENT_EMBED);
    if (exit != PV_EXIT_OK)
        return exit;
    for (size_t i = 0; i < args->word_count && !lost; i++)
        pv_exit_add(&exit, restore_one(cli, client, args->words[i], key, &lost));
    return pv_client_close(client, exit);
}
