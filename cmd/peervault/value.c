/* value, unset, undo. */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/list_values.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/sink.h"
#include "cmd/peervault/value_options.h"

#include <string.h>

/* A request about one name; NULL: no memory. */
static json_t *request(const char *op, const char *name)
{
    json_t *rq = json_pack("{s:s}", "op", op);
    if (rq != NULL && pv_json_set_bytes(rq, "name", name))
        return rq;
    json_decref(rq);
    return NULL;
}

/* ---- value ---- */

struct printing {
    const struct pv_cli *cli;
    enum pv_exit exit;
};

static enum pv_exit print_bytes(const struct pv_cli *cli, const uint8_t *bytes, size_t len)
{
    struct pv_sink sink;
    enum pv_exit exit = pv_sink_open(&sink, NULL, cli);
    if (exit != PV_EXIT_OK)
        return exit;
    if (len > 0)
        exit = pv_sink_write(&sink, bytes, len);
    if (exit == PV_EXIT_OK && cli->stdout_terminal && len > 0 && bytes[len - 1] != '\n')
        exit = pv_sink_write(&sink, (const uint8_t *)"\n", 1); /* for the eye: no pipe gets it */
    if (exit == PV_EXIT_OK)
        return pv_sink_commit(&sink);
    pv_sink_abort(&sink);
    return exit;
}

static void on_value(void *ctx, const json_t *event, const uint8_t *bytes, size_t len)
{
    struct printing *p = ctx;
    if (!p->cli->json) {
        p->exit = print_bytes(p->cli, bytes, len);
        return;
    }
    p->exit = pv_print_value_json(event, bytes, len);
}

enum pv_exit pv_cmd_value(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_client *client = NULL;
    struct printing p = {.cli = cli};
    json_t *reply = NULL, *rq = request("value", args->words[0]);
    if (rq == NULL)
        return pv_out_no_memory();
    enum pv_exit exit = pv_client_open(&client, cli, PV_CLIENT_EMBED);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    exit = pv_client_call_values(client, rq, on_value, &p, &reply);
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(reply, args->words[0]);
    if (exit == PV_EXIT_OK)
        exit = p.exit;
    json_decref(reply);
    return pv_client_close(client, exit);
}

/* ---- unset, undo ---- */

/* *lost: the connection ended, the rest need not be tried. */
static enum pv_exit one(const struct pv_cli *cli, struct pv_client *client, const char *name,
                        json_t *rq, bool *lost)
{
    json_t *reply = NULL;
    if (rq == NULL)
        return pv_out_no_memory();
    enum pv_exit exit = pv_client_call(client, rq, NULL, NULL, &reply);
    *lost = exit != PV_EXIT_OK;
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(reply, name);
    if (exit == PV_EXIT_OK && cli->json) {
        pv_message_strip(reply);
        (void)pv_json_set_bytes(reply, "name", name);
        exit = pv_out_json(json_incref(reply));
        *lost = exit != PV_EXIT_OK;
    }
    json_decref(reply);
    return exit;
}

enum pv_exit pv_cmd_unset(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_client *client = NULL;
    char if_sha256[PV_ID_HEX_LEN + 1] = "";
    bool lost = false;
    enum pv_exit exit = pv_value_condition(if_sha256, args);
    if (exit == PV_EXIT_OK && if_sha256[0] != '\0' && args->word_count > 1)
        exit = pv_out_fail(PV_EXIT_USAGE, "a condition is for one name: give only that");
    if (exit == PV_EXIT_OK)
        exit = pv_client_open(&client, cli, PV_CLIENT_EMBED);
    if (exit != PV_EXIT_OK)
        return exit;
    for (size_t i = 0; i < args->word_count && !lost; i++) {
        json_t *rq = request("unset", args->words[i]);
        if (rq != NULL && if_sha256[0] != '\0')
            json_object_set_new(rq, "if_sha256", json_string(if_sha256));
        pv_exit_add(&exit, one(cli, client, args->words[i], rq, &lost));
    }
    return pv_client_close(client, exit);
}

enum pv_exit pv_cmd_undo(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_client *client = NULL;
    bool lost = false;
    const char *to = pv_args_value(args, "to");
    json_t *rq = request("undo", args->words[0]);
    if (rq != NULL && to != NULL)
        json_object_set_new(rq, "version", json_string(to));
    enum pv_exit exit = pv_client_open(&client, cli, PV_CLIENT_EMBED);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    return pv_client_close(client, one(cli, client, args->words[0], rq, &lost));
}
