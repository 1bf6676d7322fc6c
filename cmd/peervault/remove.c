#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"

/* *lost: the connection ended, the rest need not be tried. */
static enum pv_exit remove_one(const struct pv_cli *cli, struct pv_client *client,
                               const char *target, bool *lost)
{
    json_t *reply = NULL;
    json_t *rq = json_pack("{s:s}", "op", "rm");
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
    } else if (exit == PV_EXIT_OK && pv_json_int(reply, "files") > 1) {
        pv_cli_note(cli, "%s: removed %lld files: this content was also stored with --private",
                    target, (long long)pv_json_int(reply, "files"));
    } else if (exit == PV_EXIT_OK && cli->verbose) {
        pv_cli_note(cli, "%s: removed %s%lld name(s)", target,
                    pv_json_int(reply, "files") > 0 ? "the file and " : "",
                    (long long)pv_json_int(reply, "names"));
    }
    json_decref(reply);
    return exit;
}

enum pv_exit pv_cmd_rm(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_client *client = NULL;
    bool lost = false;
    enum pv_exit exit = pv_client_open(&client, cli, PV_CLIENT_EMBED);
    if (exit != PV_EXIT_OK)
        return exit;
    for (size_t i = 0; i < args->word_count && !lost; i++)
        pv_exit_add(&exit, remove_one(cli, client, args->words[i], &lost));
    return pv_client_close(client, exit);
}
