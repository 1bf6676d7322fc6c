/*
 * The sink is opened by the `file` event: a key that is not found leaves no trace. A failure of the
 * sink ends the connection, which cancels the request; a failure of the server comes as the final
 * reply, perhaps after data.
 */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/get_tree.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/progress.h"
#include "cmd/peervault/sink.h"

#include <string.h>

struct download {
    const struct pv_cli *cli;
    const char *target, *path; /* path NULL: standard output */
    json_int_t id;
    struct pv_sink sink;
    struct pv_progress progress;
    json_t *file; /* the event */
    uint64_t received;
    bool ranged, done;
    enum pv_exit exit;
};

static void fail(struct download *d, enum pv_exit exit)
{
    if (exit == PV_EXIT_OK || d->exit != PV_EXIT_OK)
        return;
    d->exit = exit;
    d->done = true;
}

static void on_message(void *ctx, const json_t *m)
{
    struct download *d = ctx;
    if (d->done || pv_json_int(m, "id") != d->id)
        return;
    if (json_object_get(m, "event") == NULL) {
        pv_progress_clear(&d->progress);
        fail(d, pv_reply_exit(m, d->target));
        d->done = true;
    } else if (d->file == NULL && strcmp(pv_json_text(m, "event"), "file") == 0) {
        d->file = json_deep_copy(m);
        pv_progress_start(&d->progress, d->cli, "fetching", (uint64_t)pv_json_int(m, "length"));
        if (d->path == NULL && d->cli->stderr_terminal && d->cli->stdout_terminal)
            d->progress.shown = false; /* the text itself is on the same screen */
        fail(d, d->file == NULL ? pv_out_no_memory() : pv_sink_open(&d->sink, d->path, d->cli));
    }
}

static void on_data(void *ctx, const uint8_t *bytes, size_t len, bool end)
{
    struct download *d = ctx;
    (void)end; /* the final reply is what counts */
    if (d->done || d->file == NULL)
        return;
    d->received += len;
    fail(d, pv_sink_write(&d->sink, bytes, len));
    pv_progress_add(&d->progress, len);
}

static enum pv_exit transfer(struct download *d, struct pv_client *client, json_t *request)
{
    const struct pv_client_handler handler = {.ctx = d, .message = on_message, .data = on_data};
    d->id = pv_client_send(client, request);
    if (d->id == 0)
        return pv_out_no_memory();
    while (!d->done) {
        if (pv_client_pump(client, &handler, -1) == PV_OK)
            continue;
        pv_progress_clear(&d->progress);
        if (!d->done)
            return pv_client_lost(client);
    }
    if (d->exit != PV_EXIT_OK)
        return d->exit;
    if (d->file == NULL || d->received != (uint64_t)pv_json_int(d->file, "length"))
        return pv_out_fail(PV_EXIT_INTERNAL,
                           "%s: the server sent %llu bytes, not what it announced", d->target,
                           (unsigned long long)d->received);
    if (!d->ranged)
        d->sink.mtime_ms = (uint64_t)pv_json_int(d->file, "mtime_ms");
    return pv_sink_commit(&d->sink);
}

static enum pv_exit make_request(json_t **out, const struct download *d, const char *range)
{
    uint64_t first = 0, last = 0;
    if (range != NULL && pv_range_parse(&first, &last, range) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE,
                           "--range %.80s: must be A-B, the first and the last byte, or A-", range);
    json_t *rq = json_pack("{s:s}", "op", "get");
    if (rq == NULL || !pv_json_set_bytes(rq, "target", d->target)) {
        json_decref(rq);
        return pv_out_no_memory();
    }
    if (range != NULL)
        json_object_set_new(rq, "range", json_pack("[I, I]", (json_int_t)first, (json_int_t)last));
    *out = rq;
    return PV_EXIT_OK;
}

static enum pv_exit print_json(struct download *d)
{
    json_t *o = d->file;
    d->file = NULL;
    pv_message_strip(o);
    if (pv_json_text(o, "name")[0] == '\0')
        json_object_del(o, "name");
    (void)pv_json_set_bytes(o, "file", d->path);
    return pv_out_json(o);
}

enum pv_exit pv_cmd_get(const struct pv_cli *cli, const struct pv_args *args)
{
    struct download d = {.cli = cli, .target = args->words[0], .sink.fd = -1};
    struct pv_client *client = NULL;
    json_t *request = NULL;
    if (pv_args_has(args, "recursive"))
        return pv_get_tree(cli, args);
    if (args->word_count == 0)
        return pv_out_fail(PV_EXIT_USAGE,
                           "get: what? A KEY, a NAME or a PREFIX of a key is needed: "
                           "see `peervault help get`");
    d.ranged = pv_args_has(args, "range");
    d.path = pv_args_value(args, "output");
    if (d.path != NULL && strcmp(d.path, "-") == 0)
        d.path = NULL;
    if (cli->json && d.path == NULL)
        return pv_out_fail(PV_EXIT_USAGE, "--json: standard output is taken by the file: use -o");
    enum pv_exit exit = make_request(&request, &d, pv_args_value(args, "range"));
    if (exit == PV_EXIT_OK)
        exit = pv_client_open(&client, cli, PV_CLIENT_EMBED);
    if (exit == PV_EXIT_OK) {
        exit = transfer(&d, client, request);
        request = NULL;
    }
    pv_sink_abort(&d.sink);
    json_decref(request);
    exit = pv_client_close(client, exit);
    if (exit == PV_EXIT_OK && cli->json)
        exit = print_json(&d);
    json_decref(d.file);
    return exit;
}
