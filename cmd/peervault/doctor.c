/*
 * doctor: what is wrong with this node, and what to do; vault.db made anew; and all limits.
 *
 * What a server finds wrong with itself decides the exit code, as in `status`. What doctor adds are
 * things to look at: they cost nothing yet.
 */
#include "cmd/peervault/access.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/status.h"
#include "internal/base/limits.h"
#include "internal/base/mem.h"
#include "internal/rebuild.h"

#include <stdio.h>

/* ---- what is wrong ---- */

struct findings {
    const struct pv_cli *cli;
    json_t *list; /* of texts */
};

static void note(struct findings *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct findings *f, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)json_array_append_new(f->list, json_string(text));
    if (!f->cli->json)
        pv_out_line("look: %s", text);
}

static void judge_peer(struct findings *f, const json_t *p)
{
    long long skew = (long long)pv_json_int(p, "skew_ms");
    const char *error = pv_json_text(p, "last_error");
    const char *who = pv_json_text(p, "node");
    if (who[0] == '\0')
        who = pv_json_text(p, "address");
    if (skew > PV_SKEW_WARN_MS || skew < -PV_SKEW_WARN_MS)
        note(f, "the clock of %.17s is %lld s %s ours: set the wrong one (beyond 300 s they part)",
             who, (skew < 0 ? -skew : skew) / 1000, skew > 0 ? "ahead of" : "behind");
    if (pv_json_int(p, "banned_s") > 0)
        note(f, "%.60s is banned for %lld minutes more because of %.200s: is it well?", who,
             (long long)pv_json_int(p, "banned_s") / 60 + 1, pv_json_text(p, "reason"));
    else if (error[0] != '\0')
        note(f, "%.60s is not connected: %.200s", who, error);
}

static void judge(struct findings *f, const json_t *s)
{
    const json_t *peers = json_object_get(s, "peers");
    long long others = (long long)pv_json_int(s, "members") - 1;
    long long connected = (long long)pv_json_int(s, "connected");
    long long pending = (long long)pv_json_int(s, "pending");
    long long scarce = (long long)pv_json_int(s, "under_replicated");
    for (size_t i = 0; i < json_array_size(peers); i++)
        judge_peer(f, json_array_get(peers, i));
    if (json_is_true(json_object_get(s, "daemon")) && connected < others)
        note(f, "%lld of %lld other members are connected: see `peervault peers`", connected,
             others);
    if (pv_json_int(s, "in_sync") < connected)
        note(f, "records are being brought up to date with a member: look again later");
    if (pending > 0)
        note(f, "%lld records are only here yet: they go when other members are connected",
             pending);
    if (scarce > 0)
        note(f, "%lld blobs have too few copies: they are made when other members are connected",
             scarce);
    if (pv_json_text(s, "said_twice_by")[0] != '\0')
        note(f,
             "%.17s says that this identity runs twice: does a copy of this vault run elsewhere?",
             pv_json_text(s, "said_twice_by"));
    if (others == 0)
        note(f, "this is the only member: nobody else has a copy of anything");
}

static enum pv_exit examine(const struct pv_cli *cli)
{
    struct pv_client *client = NULL;
    json_t *status = NULL;
    struct findings f = {.cli = cli, .list = json_array()};
    enum pv_exit exit = pv_client_open(&client, cli, PV_CLIENT_EMBED), problems = PV_EXIT_OK;
    bool embedded = exit == PV_EXIT_OK && pv_client_embedded(client);
    if (exit == PV_EXIT_OK)
        exit = pv_status_ask(client, true, &status);
    if (exit == PV_EXIT_OK) {
        problems = pv_status_problems(status);
        judge(&f, status);
        if (embedded)
            note(&f, "no daemon runs: start one with `peervault daemon`");
    }
    exit = pv_client_close(client, exit);
    if (exit == PV_EXIT_OK && cli->json)
        exit = pv_out_json(json_pack("{s:O, s:O}", "problems", json_object_get(status, "problems"),
                                     "look", f.list));
    else if (exit == PV_EXIT_OK && problems == PV_EXIT_OK)
        pv_cli_note(cli, "nothing is wrong with the vault (its bytes are read by `peervault verify "
                         "--deep`)");
    json_decref(f.list);
    json_decref(status);
    return exit == PV_EXIT_OK ? problems : exit;
}

/* ---- vault.db anew ---- */

static enum pv_exit report(const struct pv_cli *cli, const struct pv_rebuild *r)
{
    bool lost = r->gaps > 0 || r->bad_files > 0;
    if (cli->json) {
        enum pv_exit exit = pv_out_json(
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)r->now.files,
                      "names", (json_int_t)r->now.names, "records", (json_int_t)r->now.records,
                      "blobs", (json_int_t)r->now.blobs, "blob_bytes",
                      (json_int_t)r->now.blob_bytes, "gaps", (json_int_t)r->gaps, "bad_files",
                      (json_int_t)r->bad_files, "refused", (json_int_t)r->refused));
        return exit == PV_EXIT_OK && lost ? PV_EXIT_CORRUPT : exit;
    }
    printf("vault.db has %llu files, %llu names and %llu blobs again\n",
           (unsigned long long)r->now.files, (unsigned long long)r->now.names,
           (unsigned long long)r->now.blobs);
    enum pv_exit exit = pv_out_flush();
    if (r->gaps > 0)
        pv_out_line("%llu places of the old vault.db could not be read: what stood there alone is "
                    "lost here: `peervault verify` names files that are not whole, and other nodes "
                    "fill them when the daemon runs",
                    (unsigned long long)r->gaps);
    if (r->bad_files > 0)
        pv_out_line("%llu blob files are not what their names say: they are left where they are",
                    (unsigned long long)r->bad_files);
    return exit == PV_EXIT_OK && lost ? PV_EXIT_CORRUPT : exit;
}

static enum pv_exit rebuild(const struct pv_cli *cli)
{
    struct pv_access access;
    struct pv_rebuild result;
    const struct pv_access_options options = {.create = false};
    enum pv_exit exit = pv_access_open(&access, cli, &options);
    if (exit != PV_EXIT_OK)
        return exit;
    exit = pv_access_lock(&access, cli, 0); /* a daemon would not end by itself */
    if (exit == PV_EXIT_OK) {
        enum pv_err err = pv_rebuild_run(&access.setup, &cli->env, &result);
        if (err == PV_OK)
            exit = report(cli, &result);
        else if (err == PV_E_UNSUPPORTED)
            exit = pv_out_fail(pv_exit_of(err), PV_LATER_VERSION_TEXT);
        else
            exit = pv_out_fail(pv_exit_of(err),
                               "vault.db could not be made anew: %s: nothing is lost by trying "
                               "again",
                               pv_err_text(err));
    }
    pv_access_close(&access);
    return exit;
}

/* ---- limits ---- */

static enum pv_exit print_limits(const struct pv_cli *cli)
{
    size_t count;
    const struct pv_limit *limits = pv_limits(&count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct pv_limit *l = &limits[i];
        if (!cli->json)
            printf("%-25s %10lld  %s: %s\n", l->name, (long long)l->value, l->unit, l->at_limit);
        else
            (void)json_array_append_new(list, json_pack("{s:s, s:I, s:s, s:s}", "name", l->name,
                                                        "value", (json_int_t)l->value, "unit",
                                                        l->unit, "at_limit", l->at_limit));
    }
    enum pv_exit exit =
        cli->json ? pv_out_json(json_pack("{s:O}", "limits", list)) : pv_out_flush();
    json_decref(list);
    return exit;
}

enum pv_exit pv_cmd_doctor(const struct pv_cli *cli, const struct pv_args *args)
{
    if (pv_args_has(args, "limits"))
        return print_limits(cli);
    return pv_args_has(args, "rebuild") ? rebuild(cli) : examine(cli);
}
