/* The other nodes: who they are, what is decided about them, how they come in and are reached. */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/peers_table.h"
#include "crypto/invite.h"

#include <stdio.h>
#include <string.h>

enum { PING_COUNT_MAX = 1000, PING_COUNT = 3, NUMBER_DIGITS = 6 };
enum { DECISION_DAYS_MAX = 3650, INVITE_DAYS_MAX = 30, OVERLAP_DAYS_MAX = 90 };

/* ---- questions and answers ---- */

static enum pv_exit print_json(json_t *reply)
{
    pv_message_strip(reply);
    return pv_out_json(json_incref(reply));
}

/* A time that is given with this option, as the daemon wants it. */
static enum pv_exit add_seconds(json_t *rq, const char *key, const struct pv_args *args,
                                const char *option, unsigned days_max)
{
    const char *text = pv_args_value(args, option);
    uint64_t ms, ms_max = (uint64_t)days_max * 24 * 3600 * 1000;
    if (text == NULL)
        return PV_EXIT_OK;
    if (pv_duration_parse(&ms, text) != PV_OK || ms < 1000 || ms > ms_max)
        return pv_out_fail(PV_EXIT_USAGE, "--%s %.80s: must be a time from 1s to %ud, as 12h or 7d",
                           option, text, days_max);
    json_object_set_new(rq, key, json_integer((json_int_t)(ms / 1000)));
    return PV_EXIT_OK;
}

/* ---- peers ---- */

enum pv_exit pv_cmd_peers(const struct pv_cli *cli, const struct pv_args *args)
{
    json_t *reply = NULL, *p;
    size_t i;
    (void)args;
    enum pv_exit exit =
        pv_client_ask_daemon(cli, json_pack("{s:s}", "op", "peers"), NULL, NULL, NULL, &reply);
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

/* ---- decisions ---- */

/* Those of the options that are given, as the daemon wants them. */
static enum pv_exit add_options(json_t *rq, const struct pv_args *args)
{
    static const char *const texts[] = {"role", "zone", "reason"};
    const char *weight = pv_args_value(args, "weight");
    uint64_t number;
    for (size_t i = 0; i < PV_COUNT(texts); i++) {
        const char *text = pv_args_value(args, texts[i]);
        if (text != NULL && json_object_set_new(rq, texts[i], json_string(text)) != 0)
            return pv_out_fail(PV_EXIT_USAGE, "--%s: must be UTF-8", texts[i]);
    }
    if (weight != NULL) {
        if (pv_number_parse(&number, weight, 1, 16) != PV_OK)
            return pv_out_fail(PV_EXIT_USAGE, "--weight %.80s: must be from 1 to 16", weight);
        json_object_set_new(rq, "weight", json_integer((json_int_t)number));
    }
    return add_seconds(rq, "ttl_s", args, "ttl", DECISION_DAYS_MAX);
}

static const char *said(const char *result)
{
    static const struct {
        const char *result, *text;
    } texts[] = {{"member", "is a member"},
                 {"expected", "will be a member when it connects here"},
                 {"blocked", "is blocked on this node"},
                 {"expelled", "is expelled, on all nodes"},
                 {"draining", "gives its share to the others; `peervault status` there says when "
                              "all is given"},
                 {"forgotten", "was no member; nothing is decided about it any more"}};
    for (size_t i = 0; i < PV_COUNT(texts); i++)
        if (strcmp(texts[i].result, result) == 0)
            return texts[i].text;
    return result;
}

static enum pv_exit decide(const struct pv_cli *cli, const struct pv_args *args, const char *op)
{
    json_t *reply = NULL, *rq = json_pack("{s:s, s:s}", "op", op, "node", args->words[0]);
    if (rq == NULL)
        return pv_out_fail(PV_EXIT_USAGE, "malformed node id: see `peervault peers`");
    enum pv_exit exit = add_options(rq, args);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    exit = pv_client_ask_daemon(cli, rq, NULL, NULL, args->words[0], &reply);
    if (exit == PV_EXIT_OK && cli->json) {
        exit = print_json(reply);
    } else if (exit == PV_EXIT_OK && !cli->quiet) {
        printf("%s %s\n", pv_json_text(reply, "node"), said(pv_json_text(reply, "result")));
        exit = pv_out_flush();
    }
    json_decref(reply);
    return exit;
}

enum pv_exit pv_cmd_peers_allow(const struct pv_cli *cli, const struct pv_args *args)
{
    return decide(cli, args, "allow");
}

enum pv_exit pv_cmd_peers_block(const struct pv_cli *cli, const struct pv_args *args)
{
    return decide(cli, args, "block");
}

enum pv_exit pv_cmd_peers_drain(const struct pv_cli *cli, const struct pv_args *args)
{
    return decide(cli, args, "drain");
}

enum pv_exit pv_cmd_peers_forget(const struct pv_cli *cli, const struct pv_args *args)
{
    return decide(cli, args, "forget");
}

/* ---- invite ---- */

static enum pv_exit print_code(const struct pv_cli *cli, const json_t *reply)
{
    uint64_t now_ms = pv_env_wall_ms(&cli->env);
    uint64_t until_ms = (uint64_t)pv_json_int(reply, "expires_ms");
    char left[PV_TIME_TEXT_MAX];
    pv_duration_text(left, until_ms > now_ms ? until_ms - now_ms : 0);
    printf("%s\n", pv_json_text(reply, "code"));
    enum pv_exit exit = pv_out_flush();
    pv_cli_note(cli, "for one machine, %s, within %s: run `peervault join CODE` there",
                pv_json_text(reply, "role"), left);
    return exit;
}

enum pv_exit pv_cmd_invite(const struct pv_cli *cli, const struct pv_args *args)
{
    const char *role = pv_args_value(args, "role");
    json_t *reply = NULL,
           *rq = json_pack("{s:s, s:s, s:s*, s:b}", "op", "invite", "role",
                           role != NULL ? role : "blind", "address", pv_args_value(args, "address"),
                           "confirm", (int)pv_args_has(args, "confirm"));
    if (rq == NULL)
        return pv_out_fail(PV_EXIT_USAGE, "malformed role or address");
    enum pv_exit exit = add_seconds(rq, "ttl_s", args, "ttl", INVITE_DAYS_MAX);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    exit = pv_client_ask_daemon(cli, rq, NULL, NULL, NULL, &reply);
    if (exit == PV_EXIT_OK)
        exit = cli->json ? print_json(reply) : print_code(cli, reply);
    json_decref(reply);
    return exit;
}

enum pv_exit pv_cmd_invite_confirm(const struct pv_cli *cli, const struct pv_args *args)
{
    uint64_t number;
    json_t *reply = NULL;
    if (strlen(args->words[0]) != NUMBER_DIGITS ||
        pv_number_parse(&number, args->words[0], 0, PV_INVITE_NUMBERS - 1) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "the number has six digits: `peervault join` shows it");
    json_t *rq = json_pack("{s:s, s:I}", "op", "confirm", "number", (json_int_t)number);
    enum pv_exit exit = pv_client_ask_daemon(cli, rq, NULL, NULL, NULL, &reply);
    if (exit == PV_EXIT_OK && cli->json)
        exit = print_json(reply);
    else if (exit == PV_EXIT_OK)
        pv_cli_note(cli, "%s is a member", pv_json_text(reply, "node"));
    json_decref(reply);
    return exit;
}

/* ---- token rotate ---- */

enum pv_exit pv_cmd_token_rotate(const struct pv_cli *cli, const struct pv_args *args)
{
    bool finish = pv_args_has(args, "finish");
    json_t *reply = NULL;
    if (finish && pv_args_has(args, "overlap"))
        return pv_out_fail(PV_EXIT_USAGE, "--overlap and --finish exclude each other");
    json_t *rq = json_pack("{s:s, s:b}", "op", "token_rotate", "finish", (int)finish);
    enum pv_exit exit = add_seconds(rq, "overlap_s", args, "overlap", OVERLAP_DAYS_MAX);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    exit = pv_client_ask_daemon(cli, rq, NULL, NULL, NULL, &reply);
    if (exit == PV_EXIT_OK && cli->json)
        exit = print_json(reply);
    else if (exit == PV_EXIT_OK)
        pv_cli_note(cli, finish
                             ? "the older token is refused here from now on"
                             : "a new token is in force; members get it when they are connected");
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
    enum pv_exit exit = pv_client_ask_daemon(cli, rq, on_pong, &ping, ping.node, &reply);
    if (exit == PV_EXIT_OK && cli->json) {
        json_object_set(reply, "rtt_ms", ping.rtts);
        exit = print_json(reply);
    } else if (exit == PV_EXIT_OK && !cli->quiet) {
        printf("%lld sent, %lld received\n", (long long)pv_json_int(reply, "sent"),
               (long long)pv_json_int(reply, "received"));
        exit = pv_out_flush();
    }
    json_decref(ping.rtts);
    json_decref(reply);
    return exit;
}
