/* peers and ping: the other nodes, asked of the daemon. */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/peers_table.h"

#include <stdio.h>
#include <string.h>

enum { PING_COUNT_MAX = 1000, PING_COUNT = 3 };

/* ---- peers ---- */

/* A question that makes no sense without a daemon. */
static enum pv_exit ask_daemon(const struct pv_cli *cli, json_t *rq,
                               void (*on_event)(void *ctx, const json_t *event), void *ctx,
                               const char *subject, json_t **reply)
{
    struct pv_client *client = NULL;
    enum pv_exit exit = pv_client_open(&client, cli, 0);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    exit = pv_client_call(client, rq, on_event, ctx, reply);
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(*reply, subject);
    return pv_client_close(client, exit);
}

enum pv_exit pv_cmd_peers(const struct pv_cli *cli, const struct pv_args *args)
{
    json_t *reply = NULL, *p;
    size_t i;
    (void)args;
    enum pv_exit exit =
        ask_daemon(cli, json_pack("{s:s}", "op", "peers"), NULL, NULL, NULL, &reply);
    json_t *peers = json_object_get(reply, "peers");
    json_array_foreach(peers, i, p) if (exit == PV_EXIT_OK && cli->json) exit =
        pv_out_json(json_incref(p));
    if (exit == PV_EXIT_OK && !cli->json)
        pv_peers_table(peers);
    if (exit == PV_EXIT_OK)
        exit = pv_out_flush();
    json_decref(reply);
    return exit;
}

/* ---- ping ---- */

struct ping {
    const struct pv_cli *cli;
    const char *node;
    json_t *rtts;
};

static void on_pong(void *ctx, const json_t *event)
{
    struct ping *p = ctx;
    json_t *rtt = json_object_get(event, "rtt_ms");
    if (p->cli->json) {
        (void)json_array_append(p->rtts, rtt);
    } else if (!p->cli->quiet) {
        printf("answer of %.80s after %.3g ms\n", p->node, json_number_value(rtt));
        (void)fflush(stdout); /* a failure stays and is said at the end */
    }
}

enum pv_exit pv_cmd_ping(const struct pv_cli *cli, const struct pv_args *args)
{
    struct ping ping = {.cli = cli, .node = args->words[0]};
    uint64_t count = PING_COUNT;
    json_t *reply = NULL, *rq;
    const char *text = pv_args_value(args, "count");
    if (text != NULL && pv_number_parse(&count, text, 1, PING_COUNT_MAX) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "-c %.80s: must be a number from 1 to %d", text,
                           PING_COUNT_MAX);
    rq = json_pack("{s:s, s:s, s:I}", "op", "ping", "node", ping.node, "count", (json_int_t)count);
    if (rq == NULL)
        return pv_out_fail(PV_EXIT_USAGE, "malformed node id: see `peervault peers`");
    ping.rtts = json_array();
    enum pv_exit exit = ask_daemon(cli, rq, on_pong, &ping, ping.node, &reply);
    if (exit == PV_EXIT_OK && cli->json) {
        pv_message_strip(reply);
        json_object_set(reply, "rtt_ms", ping.rtts);
        exit = pv_out_json(json_incref(reply));
    } else if (exit == PV_EXIT_OK && !cli->quiet) {
        printf("%lld sent, %lld received\n", (long long)pv_json_int(reply, "sent"),
               (long long)pv_json_int(reply, "received"));
        exit = pv_out_flush();
    }
    json_decref(ping.rtts);
    json_decref(reply);
    return exit;
}
