/*
 * status: this node on one screen, once or again and again.
 *
 * What the daemon finds wrong with itself is said on stderr and decides the exit code.
 */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/peers_table.h"
#include "cmd/peervault/status.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { WATCH_MS = 2000 };

static void line(const char *label, const char *text)
{
    printf("%-9s ", label);
    pv_out_name(text, strlen(text), true);
    fputc('\n', stdout);
}

static void print_size(const json_t *s, const char *key)
{
    char text[PV_SIZE_TEXT_MAX];
    pv_size_text(text, (uint64_t)pv_json_int(s, key));
    fputs(text, stdout);
}

static void print_daemon(const json_t *s)
{
    char time[PV_TIME_TEXT_MAX];
    pv_duration_text(time, (uint64_t)pv_json_int(s, "uptime_s") * 1000);
    if (json_is_true(json_object_get(s, "daemon")))
        printf("%-9s pid %lld, up %s, version %s, %s\n", "daemon", (long long)pv_json_int(s, "pid"),
               time, pv_json_text(s, "version"), pv_json_text(s, "role"));
    else
        printf("%-9s not running\n", "daemon");
    if (pv_json_text(s, "listen")[0] != '\0')
        line("listen", pv_json_text(s, "listen"));
    const char *confined = pv_json_text(json_object_get(s, "confined"), "text");
    if (confined[0] != '\0')
        line("confined", confined);
}

/* What lies here and belongs elsewhere. */
static void print_places(const json_t *s)
{
    long long undelivered = (long long)pv_json_int(s, "undelivered");
    if (json_is_false(json_object_get(s, "placed")))
        printf("%-9s no share of what is stored: %s\n", "places",
               json_is_true(json_object_get(s, "drained"))
                   ? "all of it is on other members, this node may go"
                   : "other members are taking it over");
    if (undelivered > 0)
        printf("%-9s %lld blobs that other members are to get\n", "moving", undelivered);
    if (pv_json_int(s, "extra_blobs") > 0) {
        printf("%-9s %lld blobs that belong to other members, ", "extra",
               (long long)pv_json_int(s, "extra_blobs"));
        print_size(s, "extra_bytes");
        fputc('\n', stdout);
    }
}

/* What reading everything again and again found. */
static void print_checked(const json_t *s)
{
    char date[PV_TIME_TEXT_MAX];
    long long bad = pv_json_int(s, "bad_blobs"), kept = pv_json_int(s, "quarantined");
    if (pv_json_int(s, "oldest_unverified_ms") == 0) {
        printf("%-9s not all of it yet", "checked");
    } else {
        pv_date_text(date, (uint64_t)pv_json_int(s, "oldest_unverified_ms"));
        printf("%-9s all of it since %s", "checked", date);
    }
    if (bad > 0)
        printf(", %lld blobs bad or missing", bad);
    if (kept > 0)
        printf(", %lld in quarantine/", kept);
    fputc('\n', stdout);
}

/* Only what is limited. */
static void print_bandwidth(const json_t *b)
{
    static const char *const texts[][2] = {{"up", "up"},
                                           {"down", "down"},
                                           {"peer_up", "up to each peer"},
                                           {"peer_down", "down from each peer"}};
    const char *before = "\nbandwidth ";
    for (size_t i = 0; i < PV_COUNT(texts); i++) {
        if (pv_json_int(b, texts[i][0]) == 0)
            continue;
        fputs(before, stdout);
        print_size(b, texts[i][0]);
        printf("/s %s", texts[i][1]);
        before = ", ";
    }
}

static void print_status(const json_t *s)
{
    line("node", pv_json_text(s, "node"));
    line("vault", pv_json_text(s, "vault"));
    print_daemon(s);
    printf("%-9s %lld with this one, %lld connected, %lld in sync\n", "members",
           (long long)pv_json_int(s, "members"), (long long)pv_json_int(s, "connected"),
           (long long)pv_json_int(s, "in_sync"));
    printf("%-9s %lld, names %lld, records %lld", "files", (long long)pv_json_int(s, "files"),
           (long long)pv_json_int(s, "names"), (long long)pv_json_int(s, "records"));
    if (pv_json_int(s, "pending") > 0)
        printf(" (%lld only here yet)", (long long)pv_json_int(s, "pending"));
    printf("\n%-9s %lld, ", "blobs", (long long)pv_json_int(s, "blobs"));
    print_size(s, "blob_bytes");
    printf(", %lld with too few copies\n", (long long)pv_json_int(s, "under_replicated"));
    print_places(s);
    print_checked(s);
    printf("%-9s ", "disk");
    print_size(s, "disk_free_bytes");
    fputs(" free, limit ", stdout);
    if (pv_json_int(s, "disk_limit") > 0)
        print_size(s, "disk_limit");
    else
        fputs("none", stdout);
    print_bandwidth(json_object_get(s, "bandwidth"));
    printf("\n%-9s ", "buffers");
    print_size(s, "mem_used_bytes");
    fputs(" of ", stdout);
    print_size(s, "mem_limit_bytes");
    fputc('\n', stdout);
    if (pv_json_text(s, "said_twice_by")[0] != '\0')
        printf("%-9s %.17s says that this identity runs twice\n", "look",
               pv_json_text(s, "said_twice_by"));
    if (json_array_size(json_object_get(s, "peers")) > 0)
        fputc('\n', stdout);
    pv_peers_table(json_object_get(s, "peers"));
}

/* One request; on OK its reply without what belongs to the protocol. */
static enum pv_exit ask(struct pv_client *client, json_t *request, json_t **reply)
{
    enum pv_exit exit = pv_client_call(client, request, NULL, NULL, reply);
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(*reply, NULL);
    pv_message_strip(*reply);
    return exit;
}

enum pv_exit pv_status_ask(struct pv_client *client, bool copies, json_t **status)
{
    json_t *peers = NULL;
    enum pv_exit exit =
        ask(client, json_pack("{s:s, s:b}", "op", "status", "copies", (int)copies), status);
    if (exit == PV_EXIT_OK)
        exit = ask(client, json_pack("{s:s}", "op", "peers"), &peers);
    if (exit == PV_EXIT_OK && json_object_update(*status, peers) != 0)
        exit = pv_out_no_memory();
    json_decref(peers);
    return exit;
}

static enum pv_exit show(const struct pv_cli *cli, const json_t *status, bool on_screen)
{
    if (cli->json)
        return pv_out_json(json_deep_copy(status));
    if (cli->quiet)
        return PV_EXIT_OK;
    if (on_screen)
        fputs("\033[H\033[J", stdout); /* from the top, wiped */
    print_status(status);
    return pv_out_flush();
}

enum pv_exit pv_status_problems(const json_t *status)
{
    enum pv_exit all = PV_EXIT_OK;
    const json_t *problems = json_object_get(status, "problems");
    for (size_t i = 0; i < json_array_size(problems); i++) {
        const json_t *p = json_array_get(problems, i);
        pv_exit_add(
            &all, pv_out_fail((enum pv_exit)pv_json_int(p, "exit"), "%s", pv_json_text(p, "text")));
    }
    return all;
}

enum pv_exit pv_cmd_status(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_client *client = NULL;
    enum pv_exit exit = pv_client_open(&client, cli, PV_CLIENT_EMBED), problems = PV_EXIT_OK;
    if (exit != PV_EXIT_OK)
        return exit;
    bool embedded = pv_client_embedded(client), again;
    bool watch = pv_args_has(args, "watch") && !embedded;
    do {
        json_t *status = NULL;
        /* The copies of all blobs are counted for those who look at the figure. */
        exit = pv_status_ask(client, cli->json || !cli->quiet, &status);
        if (exit == PV_EXIT_OK)
            exit = show(cli, status, watch && cli->stdout_terminal);
        if (exit == PV_EXIT_OK)
            problems = pv_status_problems(status);
        json_decref(status);
        again = watch && exit == PV_EXIT_OK;
        if (again)
            (void)poll(NULL, 0, WATCH_MS); /* to be read by a person */
    } while (again);
    exit = pv_client_close(client, exit);
    if (exit == PV_EXIT_OK)
        exit = problems;
    if (exit == PV_EXIT_OK && embedded) {
        pv_cli_note(cli, "no daemon is running: start one with `peervault daemon`");
        exit = PV_EXIT_UNAVAILABLE;
    }
    return exit;
}
