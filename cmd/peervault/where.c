/* where: which members keep a file. */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"

#include <stdio.h>
#include <string.h>

enum { BLOB_LEN = 16, NODE_LEN = 17 }; /* of ids, as much as is shown */

static void print_nodes(const json_t *nodes)
{
    size_t i;
    const json_t *node;
    json_array_foreach(nodes, i, node) printf(" %.*s", NODE_LEN, json_string_value(node));
}

struct where {
    const struct pv_cli *cli;
};

static void on_blob(void *ctx, const json_t *event)
{
    const struct where *w = ctx;
    if (w->cli->json) {
        json_t *copy = json_deep_copy(event);
        pv_message_strip(copy);
        (void)pv_out_json(copy); /* stdout is looked at in the end */
        return;
    }
    printf("%-5s %.*s  belongs to", pv_json_text(event, "kind"), BLOB_LEN,
           pv_json_text(event, "blob"));
    print_nodes(json_object_get(event, "belongs"));
    if (json_array_size(json_object_get(event, "has")) > 0) {
        fputs(", is on", stdout);
        print_nodes(json_object_get(event, "has"));
    }
    fputc('\n', stdout);
}

static void print_member(const json_t *m)
{
    const char *state = pv_json_text(m, "state");
    char date[PV_TIME_TEXT_MAX] = "never";
    if (strcmp(state, "self") == 0)
        date[0] = '\0';
    else if (json_is_integer(json_object_get(m, "audited_ms")))
        pv_date_text(date, (uint64_t)pv_json_int(m, "audited_ms"));
    printf("%-*.*s %-9s %-5s %8lld %8lld  %s\n", NODE_LEN, NODE_LEN, pv_json_text(m, "node"), state,
           pv_json_text(m, "role"), (long long)pv_json_int(m, "belongs"),
           (long long)pv_json_int(m, "has"), date);
}

static enum pv_exit print_where(const json_t *r)
{
    const json_t *members = json_object_get(r, "members"), *m;
    size_t i;
    printf("%-9s %s\n", "key", pv_json_text(r, "key"));
    if (json_is_true(json_object_get(r, "inline"))) {
        printf("%-9s in the record itself, on every member\n", "stored");
        return pv_out_flush();
    }
    printf("%-9s %lld, each to be on %lld members\n", "blobs", (long long)pv_json_int(r, "blobs"),
           (long long)pv_json_int(r, "want"));
    if (pv_json_int(r, "elsewhere_blobs") > 0)
        printf("%-9s %lld of them are not here: only their members know who has them\n", "",
               (long long)pv_json_int(r, "elsewhere_blobs"));
    printf("%-*s %-9s %-5s %8s %8s  %s\n", NODE_LEN, "NODE", "STATE", "ROLE", "BELONGS", "HAS",
           "ASKED FOR ALL");
    json_array_foreach(members, i, m) print_member(m);
    return pv_out_flush();
}

enum pv_exit pv_cmd_where(const struct pv_cli *cli, const struct pv_args *args)
{
    struct where w = {cli};
    struct pv_client *client = NULL;
    json_t *reply = NULL;
    json_t *rq = json_pack("{s:s, s:b}", "op", "where", "blobs", (int)pv_args_has(args, "blobs"));
    if (rq == NULL || !pv_json_set_bytes(rq, "target", args->words[0])) {
        json_decref(rq);
        return pv_out_no_memory();
    }
    enum pv_exit exit = pv_client_open(&client, cli, PV_CLIENT_EMBED);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    exit = pv_client_call(client, rq, on_blob, &w, &reply);
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(reply, args->words[0]);
    if (exit == PV_EXIT_OK && cli->json) {
        pv_message_strip(reply);
        exit = pv_out_json(json_incref(reply));
    } else if (exit == PV_EXIT_OK) {
        exit = print_where(reply);
    }
    json_decref(reply);
    return pv_client_close(client, exit);
}
