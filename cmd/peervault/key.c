/* The cluster keys of a running node: what is under them, and another one. */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- key list ---- */

static void day_of(char dst[static 11], json_int_t ms)
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    if (gmtime_r(&s, &tm) == NULL || strftime(dst, 11, "%Y-%m-%d", &tm) == 0)
        (void)snprintf(dst, 11, "?");
}

static void print_key(const json_t *key)
{
    char created[11], retires[11];
    day_of(created, pv_json_int(key, "created_ms"));
    printf("%s  %-9s  %s  %9lld  %9lld  %9lld", pv_json_text(key, "key"),
           pv_json_text(key, "state"), created, (long long)pv_json_int(key, "files"),
           (long long)pv_json_int(key, "names"), (long long)pv_json_int(key, "tombstones"));
    if (json_object_get(key, "retires_ms") != NULL &&
        strcmp(pv_json_text(key, "state"), "retired") != 0) {
        day_of(retires, pv_json_int(key, "retires_ms"));
        printf("  retires %s", retires);
    }
    printf("\n");
}

enum pv_exit pv_cmd_key_list(const struct pv_cli *cli, const struct pv_args *args)
{
    json_t *reply = NULL, *key;
    size_t i;
    (void)args;
    enum pv_exit exit =
        pv_client_ask_daemon(cli, json_pack("{s:s}", "op", "key_list"), NULL, NULL, NULL, &reply);
    if (exit == PV_EXIT_OK && !cli->json)
        printf("%-16s  %-9s  %-10s  %9s  %9s  %9s\n", "key", "state", "created", "files", "names",
               "removed");
    json_array_foreach(json_object_get(reply, "keys"), i, key)
    {
        if (exit == PV_EXIT_OK && cli->json)
            exit = pv_out_json(json_incref(key));
        else if (exit == PV_EXIT_OK)
            print_key(key);
    }
    if (exit == PV_EXIT_OK && pv_json_int(reply, "unknown") > 0)
        pv_cli_note(cli, "%lld records are under keys that this node has not got",
                    (long long)pv_json_int(reply, "unknown"));
    if (exit == PV_EXIT_OK)
        exit = pv_out_flush();
    json_decref(reply);
    return exit;
}

/* ---- key rotate ---- */

static void on_progress(void *ctx, const json_t *event)
{
    const struct pv_cli *cli = *(const struct pv_cli **)ctx;
    const char *phase = pv_json_text(event, "phase");
    if (strcmp(phase, "re-seal") == 0)
        pv_cli_note(cli, "re-seal: %lld records sealed anew, %lld wait",
                    (long long)pv_json_int(event, "moved"), (long long)pv_json_int(event, "left"));
    else
        pv_cli_note(cli, "%s: %lld of %lld keyed members have the new key", phase,
                    (long long)pv_json_int(event, "have"), (long long)pv_json_int(event, "of"));
}

enum pv_exit pv_cmd_key_rotate(const struct pv_cli *cli, const struct pv_args *args)
{
    json_t *reply = NULL;
    const struct pv_cli *context = cli;
    json_t *rq =
        json_pack("{s:s, s:b, s:b, s:b}", "op", "key_rotate", "compromised",
                  (int)pv_args_has(args, "compromised"), "force", (int)pv_args_has(args, "force"),
                  "wait", (int)!pv_args_has(args, "no-wait"));
    enum pv_exit exit = pv_client_ask_daemon(cli, rq, on_progress, &context, NULL, &reply);
    if (exit == PV_EXIT_OK && cli->json) {
        pv_message_strip(reply);
        exit = pv_out_json(json_incref(reply));
    } else if (exit == PV_EXIT_OK && pv_args_has(args, "compromised")) {
        pv_cli_note(cli, "another key and another token are in force here, and nowhere else: for "
                         "each other machine `peervault invite` here, then `peervault join` there");
    } else if (exit == PV_EXIT_OK && strcmp(pv_json_text(reply, "phase"), "retire") == 0) {
        pv_cli_note(cli, "nothing is left that only the old key opens; `peervault key list` says "
                         "when it retires");
    } else if (exit == PV_EXIT_OK) {
        on_progress(&context, reply);
    }
    json_decref(reply);
    return exit;
}
