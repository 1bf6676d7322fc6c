/*
 * verify: problems as lines on stderr as they are found, one line on stdout at the end.
 *
 * The depth of what was checked is always said: "the structure" is not "every byte".
 */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/progress.h"
#include "internal/base/mem.h"

#include <stdio.h>
#include <string.h>

struct verifying {
    const struct pv_cli *cli;
    struct pv_progress progress;
    enum pv_exit exit; /* of the first failure on our side */
};

static const char *plural(long long n)
{
    return n == 1 ? "" : "s";
}

static void on_progress(struct verifying *v, const json_t *event)
{
    uint64_t done = (uint64_t)pv_json_int(event, "bytes");
    v->progress.total = (uint64_t)pv_json_int(event, "total_bytes");
    if (done > v->progress.done)
        pv_progress_add(&v->progress, done - v->progress.done);
}

static void say_problem(const json_t *p)
{
    const char *result = pv_json_text(p, "result"), *what = pv_json_text(p, "what");
    const char *id = pv_json_text(p, what);
    static const struct {
        const char *result, *text;
    } texts[] = {
        {"repaired", ": repaired"},
        {"lost", ": no reachable node has a good copy"},
        {"unreadable", ": it stays, no reachable node has another copy"},
        {"failed", ": could not be repaired"},
    };
    const char *text = "";
    for (size_t i = 0; i < PV_COUNT(texts); i++)
        if (strcmp(result, texts[i].result) == 0)
            text = texts[i].text;
    pv_out_line("%s%s%s: %s%s", what, id[0] == '\0' ? "" : " ", id, pv_json_text(p, "cause"), text);
}

static void say_file(const json_t *f)
{
    const json_t *names = json_object_get(f, "names");
    size_t len;
    PV_AUTO_FREE char *name = pv_json_name(json_array_get(names, 0), &len);
    long long bad = pv_json_int(f, "bad_blobs");
    size_t more = json_array_size(names) > 1 ? json_array_size(names) - 1 : 0;
    pv_out_line("file %s %s%s: %lld blob%s bad or missing", pv_json_text(f, "key"),
                name == NULL ? "without a name" : name, more > 0 ? " and others" : "", bad,
                plural(bad));
}

static void on_event(void *ctx, const json_t *event)
{
    struct verifying *v = ctx;
    const char *what = pv_json_text(event, "event");
    if (strcmp(what, "progress") == 0) {
        on_progress(v, event);
        return;
    }
    pv_progress_clear(&v->progress);
    if (v->cli->json) {
        json_t *o = json_deep_copy(event);
        json_object_del(o, "id");
        enum pv_exit exit = pv_out_json(o);
        v->exit = v->exit == PV_EXIT_OK ? exit : v->exit;
    } else if (strcmp(what, "problem") == 0) {
        say_problem(event);
    } else if (strcmp(what, "file") == 0) {
        say_file(event);
    }
}

static enum pv_exit print(const struct verifying *v, const json_t *r)
{
    char bytes[PV_SIZE_TEXT_MAX];
    pv_size_text(bytes, (uint64_t)pv_json_int(r, "bytes"));
    printf("checked %s: %lld blobs (%s), %lld records, %lld files: ",
           strcmp(pv_json_text(r, "depth"), "structure") == 0 ? "the structure" : "every byte",
           (long long)pv_json_int(r, "blobs"), bytes, (long long)pv_json_int(r, "records"),
           (long long)pv_json_int(r, "files"));
    if (pv_json_int(r, "bad_blobs") + pv_json_int(r, "bad_records") == 0 &&
        json_is_true(json_object_get(r, "clean")))
        printf("no damage\n");
    else
        printf(
            "blobs bad or missing: %lld, repaired: %lld, bad records: %lld, files affected: %lld\n",
            (long long)pv_json_int(r, "bad_blobs"), (long long)pv_json_int(r, "repaired"),
            (long long)pv_json_int(r, "bad_records"), (long long)pv_json_int(r, "affected_files"));
    if (pv_json_int(r, "unreadable_records") > 0)
        pv_cli_note(v->cli,
                    "the trees of %lld files were not checked: this node has no key for "
                    "them",
                    (long long)pv_json_int(r, "unreadable_records"));
    return pv_out_flush();
}

/* What the whole means. */
static enum pv_exit judge(const struct verifying *v, const json_t *r, bool repair)
{
    if (json_is_true(json_object_get(r, "clean"))) {
        if (pv_json_int(r, "repaired") > 0)
            pv_cli_note(v->cli, "all damage was repaired; what was bad is in quarantine/");
        return PV_EXIT_OK;
    }
    if (json_is_true(json_object_get(r, "bad_pages")) || pv_json_int(r, "bad_records") > 0)
        return pv_out_fail(PV_EXIT_CORRUPT, PV_DB_DAMAGED_TEXT);
    if (pv_json_int(r, "damaged") == 0 && json_is_true(json_object_get(r, "bad_backup")))
        return pv_out_fail(PV_EXIT_CORRUPT, "a backup of vault.db is damaged: %s",
                           repair ? "take away what lies in its place"
                                  : "`peervault verify --deep --repair` writes it anew");
    if (pv_json_int(r, "damaged") == 0)
        return pv_out_fail(PV_EXIT_CORRUPT, "the counts are wrong: stop the daemon, and start it "
                                            "again");
    return pv_out_fail(
        PV_EXIT_CORRUPT, "%lld blobs are bad or missing: %s", (long long)pv_json_int(r, "damaged"),
        repair ? "start the nodes that have copies and try again, or store the files "
                 "anew"
               : "try `peervault verify --repair`");
}

enum pv_exit pv_cmd_verify(const struct pv_cli *cli, const struct pv_args *args)
{
    struct verifying v = {.cli = cli};
    struct pv_client *client = NULL;
    json_t *reply = NULL;
    bool repair = pv_args_has(args, "repair"), sound = false;
    enum pv_exit exit = pv_client_open(&client, cli, PV_CLIENT_EMBED);
    if (exit != PV_EXIT_OK)
        return exit;
    pv_progress_start(&v.progress, cli, "checking", 0);
    exit = pv_client_call(client,
                          json_pack("{s:s, s:b, s:b}", "op", "verify", "deep",
                                    (int)pv_args_has(args, "deep"), "repair", (int)repair),
                          on_event, &v, &reply);
    pv_progress_clear(&v.progress);
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(reply, NULL);
    sound = exit == PV_EXIT_OK;
    exit = sound ? v.exit : exit;
    pv_message_strip(reply);
    if (exit == PV_EXIT_OK)
        exit = cli->json ? pv_out_json(json_deep_copy(reply)) : print(&v, reply);
    if (exit == PV_EXIT_OK)
        exit = judge(&v, reply, repair);
    json_decref(reply);
    return pv_client_close(client, exit);
}
