/* gc: asks for a collection, shows how far it is, and sums up what it found. */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct gc {
    const struct pv_cli *cli;
    bool is_drawn;
};

/* Only where a bar would be drawn, too. */
static void on_progress(void *ctx, const json_t *event)
{
    struct gc *g = ctx;
    const struct pv_cli *cli = g->cli;
    if (!cli->stderr_terminal || cli->quiet || cli->json ||
        strcmp(pv_json_text(event, "event"), "progress") != 0)
        return;
    bool mark = strcmp(pv_json_text(event, "phase"), "mark") == 0;
    (void)dprintf(STDERR_FILENO, "\r\033[K%s %lld", mark ? "marking: file" : "sweeping: blob",
                  (long long)pv_json_int(event, "done"));
    g->is_drawn = true;
}

static void print_blobs(const char *label, const json_t *r, const char *what, const char *note)
{
    char blobs[32], bytes[32], text[PV_SIZE_TEXT_MAX];
    (void)snprintf(blobs, sizeof blobs, "%s_blobs", what);
    (void)snprintf(bytes, sizeof bytes, "%s_bytes", what);
    json_int_t count = pv_json_int(r, blobs);
    pv_size_text(text, (uint64_t)pv_json_int(r, bytes));
    printf("%-10s %s in %lld blob%s%s\n", label, text, (long long)count, count == 1 ? "" : "s",
           note);
}

static enum pv_exit print(const json_t *r, bool now)
{
    char removed[80], text[PV_SIZE_TEXT_MAX];
    json_int_t purged = pv_json_int(r, "purged_files");
    json_int_t files = pv_json_int(r, "removed_files");
    const char *why = pv_json_text(r, "blocked");
    (void)snprintf(removed, sizeof removed, ", of %lld removed file%s that can be restored",
                   (long long)files, files == 1 ? "" : "s");
    bool dry_run = json_is_true(json_object_get(r, "dry_run"));
    print_blobs(dry_run ? "garbage" : "freed", r, "garbage", "");
    if (purged > 0) {
        pv_size_text(text, (uint64_t)pv_json_int(r, "purged_bytes"));
        printf("%-10s %s of %lld removed small file%s\n", "", text, (long long)purged,
               purged == 1 ? "" : "s");
    }
    print_blobs("in use", r, "live", "");
    print_blobs("kept", r, "removed", now ? "" : removed);
    print_blobs("leased", r, "leased", ", new or used lately");
    if (why[0] != '\0')
        printf("%-10s %s\n", "blocked", why);
    return pv_out_flush();
}

enum pv_exit pv_cmd_gc(const struct pv_cli *cli, const struct pv_args *args)
{
    struct pv_client *client = NULL;
    struct gc g = {.cli = cli};
    json_t *reply = NULL;
    bool dry_run = pv_args_has(args, "dry-run"), now = pv_args_has(args, "now");
    json_t *rq = json_pack("{s:s, s:b, s:b}", "op", "gc", "dry_run", (int)dry_run, "now", (int)now);
    if (rq == NULL)
        return pv_out_no_memory();
    enum pv_exit exit = pv_client_open(&client, cli, PV_CLIENT_EMBED);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    exit = pv_client_call(client, rq, on_progress, &g, &reply);
    if (g.is_drawn)
        (void)dprintf(STDERR_FILENO, "\r\033[K");
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(reply, NULL);
    if (exit == PV_EXIT_OK && now && !dry_run)
        pv_cli_note(cli, "files that were removed before can no longer be restored");
    if (exit == PV_EXIT_OK && cli->json) {
        pv_message_strip(reply);
        exit = pv_out_json(json_incref(reply));
    } else if (exit == PV_EXIT_OK) {
        exit = print(reply, now);
    }
    json_decref(reply);
    return pv_client_close(client, exit);
}
