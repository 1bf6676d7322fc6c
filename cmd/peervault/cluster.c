/*
 * status, peers and ping: this node and the others.
 */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"

#include <stdio.h>
#include <string.h>

enum { PING_COUNT_MAX = 1000, PING_COUNT = 3 };

static void strip(json_t *o)
{
    json_object_del(o, "id");
    json_object_del(o, "ok");
}

/* ---- status ---- */

static void line(const char *label, const char *text)
{
    printf("%-9s ", label);
    pv_out_name(text, strlen(text), true);
    fputc('\n', stdout);
}

static void print_status(const json_t *s)
{
    char size[PV_SIZE_TEXT_MAX], more[PV_SIZE_TEXT_MAX], time[PV_TIME_TEXT_MAX];
    bool daemon = json_is_true(json_object_get(s, "daemon"));
    line("node", pv_json_text(s, "node"));
    line("vault", pv_json_text(s, "vault"));
    pv_duration_text(time, (uint64_t)pv_json_int(s, "uptime_s") * 1000);
    if (daemon)
        printf("%-9s pid %lld, up %s, version %s, %s\n", "daemon", (long long)pv_json_int(s, "pid"),
               time, pv_json_text(s, "version"), pv_json_text(s, "role"));
    else
        printf("%-9s not running\n", "daemon");
    if (pv_json_text(s, "listen")[0] != '\0')
        line("listen", pv_json_text(s, "listen"));
    printf("%-9s %lld with this one, %lld connected, %lld in sync\n", "members",
           (long long)pv_json_int(s, "members"), (long long)pv_json_int(s, "connected"),
           (long long)pv_json_int(s, "in_sync"));
    printf("%-9s %lld, names %lld, records %lld", "files", (long long)pv_json_int(s, "files"),
           (long long)pv_json_int(s, "names"), (long long)pv_json_int(s, "records"));
    if (pv_json_int(s, "pending") > 0)
        printf(" (%lld only here yet)", (long long)pv_json_int(s, "pending"));
    pv_size_text(size, (uint64_t)pv_json_int(s, "blob_bytes"));
    printf("\n%-9s %lld, %s\n", "blobs", (long long)pv_json_int(s, "blobs"), size);
    pv_size_text(size, (uint64_t)pv_json_int(s, "disk_free_bytes"));
    pv_size_text(more, (uint64_t)pv_json_int(s, "disk_limit"));
    printf("%-9s %s free, limit %s\n", "disk", size,
           pv_json_int(s, "disk_limit") > 0 ? more : "none");
    pv_size_text(size, (uint64_t)pv_json_int(s, "mem_used_bytes"));
    pv_size_text(more, (uint64_t)pv_json_int(s, "mem_limit_bytes"));
    printf("%-9s %s of %s\n", "buffers", size, more);
}

enum pv_exit pv_cmd_status(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_client *client = NULL;
    json_t *s = NULL;
    (void)args;
    enum pv_exit exit = pv_client_open(&client, cli, PV_CLIENT_EMBED);
    if (exit != PV_EXIT_OK)
        return exit;
    bool embedded = pv_client_embedded(client);
    exit = pv_client_call(client, json_pack("{s:s}", "op", "status"), NULL, NULL, &s);
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(s, NULL);
    exit = pv_client_close(client, exit);
    bool healthy = !json_is_false(json_object_get(s, "healthy"));
    if (exit == PV_EXIT_OK && cli->json) {
        strip(s);
        exit = pv_out_json(json_incref(s));
    } else if (exit == PV_EXIT_OK && !cli->quiet) {
        print_status(s);
        exit = pv_out_flush();
    }
    json_decref(s);
    if (exit == PV_EXIT_OK && !healthy)
        exit = pv_out_fail(PV_EXIT_CORRUPT,
                           "blob files that vault.db does not know: it is old or lost commits; "
                           "nothing is deleted: restore it from a later backup");
    if (exit == PV_EXIT_OK && embedded) {
        pv_cli_note(cli, "no daemon is running: start one with `peervault daemon`");
        exit = PV_EXIT_UNAVAILABLE;
    }
    return exit;
}

/* ---- peers ---- */

/* As a table cell: missing values are "-". */
static const char *number(char *out, size_t cap, const json_t *o, const char *key, const char *unit)
{
    if (!json_is_integer(json_object_get(o, key)))
        return "-";
    (void)snprintf(out, cap, "%lld%s", (long long)pv_json_int(o, key), unit);
    return out;
}

static const char *cell(const json_t *o, const char *key)
{
    const char *text = pv_json_text(o, key);
    return text[0] != '\0' ? text : "-";
}

static void print_peer(const json_t *p)
{
    char rtt[32], skew[32], connected[PV_TIME_TEXT_MAX] = "-";
    if (json_is_integer(json_object_get(p, "connected_s")))
        pv_duration_text(connected, (uint64_t)pv_json_int(p, "connected_s") * 1000);
    const json_t *in_sync = json_object_get(p, "in_sync");
    /* The first three groups of a node id tell any two nodes apart that people meet. */
    printf("%-17.17s  %-21s  %-9s  %-5s  %-7s  %-8s  %-7s  %-5s  ", cell(p, "node"),
           cell(p, "address"), cell(p, "state"), cell(p, "role"),
           number(rtt, sizeof rtt, p, "rtt_ms", " ms"),
           number(skew, sizeof skew, p, "skew_ms", " ms"), connected,
           in_sync == NULL         ? "-"
           : json_is_true(in_sync) ? "yes"
                                   : "no");
    const char *error = pv_json_text(p, "last_error");
    pv_out_name(error, strlen(error), true);
    fputc('\n', stdout);
}

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
    if (exit == PV_EXIT_OK && !cli->json && json_array_size(peers) > 0)
        printf("%-17s  %-21s  %-9s  %-5s  %-7s  %-8s  %-7s  %-5s  %s\n", "NODE", "ADDRESS", "STATE",
               "ROLE", "RTT", "SKEW", "UP", "SYNC", "LAST ERROR");
    json_array_foreach(peers, i, p)
    {
        if (exit == PV_EXIT_OK && cli->json)
            exit = pv_out_json(json_incref(p));
        else if (exit == PV_EXIT_OK)
            print_peer(p);
    }
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
        strip(reply);
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
