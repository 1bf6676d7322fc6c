/*
 * What is to be removed comes from the words, from a list (--files-from), or from the names at and
 * below the words (-r). WINDOW requests of the latter two are open at once, because the server
 * commits together what it has at a time; words by themselves are removed one after the other, so
 * that `rm A A` always says the same.
 */
#include "cmd/peervault/commands.h"
#include "cmd/peervault/lines.h"
#include "cmd/peervault/listing.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/progress.h"
#include "internal/base/mem.h"
#include "internal/base/limits.h"

#include <limits.h>
#include <string.h>

enum { WINDOW = 64, QUEUE = 2 * PV_LISTING_PAGE_MAX };

struct removal {
    const struct pv_cli *cli;
    const struct pv_args *args;
    struct pv_client *client;
    struct pv_progress progress;
    bool is_recursive;
    size_t next_word;
    struct pv_lines *lines; /* NULL: none */
    /* -r: the names at and below the word before next_word */
    struct pv_listing list;
    bool is_listing;
    uint64_t matched;
    char *queue[QUEUE];
    uint64_t taken, known; /* counts; names in the queue are from taken to known */
    /* what was asked for */
    struct asked {
        char *target; /* NULL: free */
        json_int_t id;
    } asked[WINDOW];
    size_t window, open;
    bool ended, stopped; /* there are no more targets; no use to go on */
    uint64_t removed, failed;
    enum pv_exit exit;
};

static void stop(struct removal *r, enum pv_exit exit)
{
    pv_exit_add(&r->exit, exit);
    r->stopped = true;
}

/* ---- results ---- */

static void print_json(struct removal *r, const char *target, json_t *object)
{
    if (object != NULL && !pv_json_set_bytes(object, "target", target)) {
        json_decref(object);
        object = NULL;
    }
    enum pv_exit exit = object != NULL ? pv_out_json(object) : pv_out_no_memory();
    if (exit != PV_EXIT_OK)
        stop(r, exit);
}

static void fail(struct removal *r, const char *target, enum pv_exit exit, const char *why)
{
    r->failed++;
    pv_exit_add(&r->exit, exit);
    if (r->cli->json)
        print_json(r, target, json_pack("{s:i, s:s}", "exit", (int)exit, "error", why));
}

static void say(struct removal *r, const char *target, const json_t *reply)
{
    json_int_t files = pv_json_int(reply, "files");
    r->removed++;
    pv_progress_file(&r->progress);
    if (r->cli->json) {
        json_t *o = json_deep_copy(reply);
        pv_message_strip(o);
        print_json(r, target, o);
    } else if (files > 1) {
        pv_progress_clear(&r->progress);
        pv_cli_note(r->cli, "%s: removed %lld files: this content was also stored with --private",
                    target, (long long)files);
    } else if (r->cli->verbose) {
        pv_progress_clear(&r->progress);
        pv_cli_note(r->cli, "%s: removed %s%lld name(s)", target, files > 0 ? "the file and " : "",
                    (long long)pv_json_int(reply, "names"));
    }
}

static void on_message(void *ctx, const json_t *m)
{
    struct removal *r = ctx;
    size_t i = 0;
    if (pv_listing_take(&r->list, m)) {
        if (r->list.exit != PV_EXIT_OK)
            stop(r, r->list.exit);
        return;
    }
    while (i < r->window && (r->asked[i].target == NULL || r->asked[i].id != pv_json_int(m, "id")))
        i++;
    if (i == r->window)
        return;
    struct asked *a = &r->asked[i];
    if (!json_is_true(json_object_get(m, "ok")))
        pv_progress_clear(&r->progress);
    enum pv_exit exit = pv_reply_exit(m, a->target);
    if (exit == PV_EXIT_OK)
        say(r, a->target, m);
    else
        fail(r, a->target, exit, pv_json_text(m, "error"));
    pv_free(a->target);
    a->target = NULL;
    r->open--;
}

/* ---- targets ---- */

/* NAME itself and what is below NAME/, but not what only begins so. */
static void on_entry(void *ctx, const json_t *m)
{
    struct removal *r = ctx;
    size_t prefix_len = strlen(r->list.prefix), len = 0; /* not 0: words are not empty */
    char *name = pv_json_name(m, &len);
    bool is_below =
        name != NULL && len >= prefix_len &&
        (len == prefix_len || name[prefix_len] == '/' || r->list.prefix[prefix_len - 1] == '/');
    if (!is_below || r->stopped || r->known - r->taken == QUEUE) {
        if (is_below && !r->stopped)
            stop(r, pv_out_fail(PV_EXIT_UNAVAILABLE, "the daemon does not list in pages: it is of "
                                                     "an older version, restart it"));
        pv_free(name);
        return;
    }
    r->queue[r->known++ % QUEUE] = name;
    r->matched++;
}

static void begin_list(struct removal *r)
{
    const char *word = r->args->words[r->next_word++];
    uint64_t unreadable = r->list.unreadable;
    r->list = (struct pv_listing){
        .client = r->client, .prefix = word, .entry = on_entry, .ctx = r, .unreadable = unreadable};
    r->is_listing = true;
    r->matched = 0;
}

static void end_list(struct removal *r)
{
    r->is_listing = false;
    if (r->matched == 0) {
        pv_progress_clear(&r->progress);
        pv_out_line("%s: no such name, and none below it: see `peervault ls`", r->list.prefix);
        fail(r, r->list.prefix, PV_EXIT_NOT_FOUND, "no such name, and none below it");
    }
}

/* NULL: none for now, or never more. */
static char *next_below(struct removal *r)
{
    while (!r->stopped && r->taken == r->known) {
        if (r->is_listing && !r->list.ended)
            return NULL;
        if (r->is_listing)
            end_list(r);
        r->ended = r->next_word == r->args->word_count;
        if (r->ended)
            return NULL;
        begin_list(r);
    }
    return r->stopped ? NULL : r->queue[r->taken++ % QUEUE];
}

static char *copy_of(struct removal *r, const char *text)
{
    char *copy = pv_strdup(text);
    if (copy == NULL)
        stop(r, pv_out_no_memory());
    return copy;
}

/* *quiet: the list has nothing to give yet. */
static char *next_line(struct removal *r, bool *quiet)
{
    struct pv_line line;
    while (!r->stopped) {
        switch (pv_lines_next(r->lines, &line)) {
        case PV_LINES_LINE:
            if (!line.too_long && strlen(line.text) == line.len)
                return copy_of(r, line.text);
            pv_progress_clear(&r->progress);
            pv_out_line("%s: too long for a name, or a NUL in it", line.text);
            fail(r, line.text, PV_EXIT_FAILED, "too long for a name, or a NUL in it");
            break;
        case PV_LINES_QUIET:
            *quiet = true;
            return NULL;
        case PV_LINES_FAILED:
            stop(r, pv_out_fail(PV_EXIT_FAILED, "%s: %s", pv_args_value(r->args, "files-from"),
                                line.text));
            break;
        case PV_LINES_END:
            r->ended = true;
            return NULL;
        }
    }
    return NULL;
}

static char *next_target(struct removal *r, bool *quiet)
{
    if (r->is_recursive)
        return next_below(r);
    if (r->lines != NULL)
        return next_line(r, quiet);
    r->ended = r->next_word == r->args->word_count;
    return r->ended ? NULL : copy_of(r, r->args->words[r->next_word++]);
}

/* ---- the conversation ---- */

static bool ask_one(struct removal *r, char *target)
{
    size_t i = 0;
    json_t *rq = json_pack("{s:s}", "op", "rm");
    while (r->asked[i].target != NULL)
        i++;
    r->asked[i].target = target;
    r->open++;
    if (rq == NULL || !pv_json_set_bytes(rq, "target", target)) {
        json_decref(rq);
        return false;
    }
    r->asked[i].id = pv_client_send(r->client, rq);
    return r->asked[i].id != 0;
}

/* Asks for what there is room for. The descriptor that has nothing to give yet, else -1. */
static int ask(struct removal *r)
{
    bool quiet = false;
    while (!r->stopped && !r->ended && r->open < r->window && pv_client_room(r->client)) {
        char *target = next_target(r, &quiet);
        if (target == NULL)
            break;
        if (!ask_one(r, target))
            stop(r, pv_out_no_memory());
    }
    if (r->is_listing && r->known - r->taken <= QUEUE - PV_LISTING_PAGE_MAX && !r->stopped &&
        !pv_listing_ask(&r->list))
        stop(r, pv_out_no_memory());
    return quiet ? pv_lines_fd(r->lines) : -1;
}

static void transfer(struct removal *r)
{
    const struct pv_client_handler handler = {.ctx = r, .message = on_message};
    for (;;) {
        int quiet = ask(r);
        if (r->stopped || (r->ended && r->open == 0))
            break;
        if (pv_client_pump(r->client, &handler, quiet) != PV_OK) {
            pv_progress_clear(&r->progress);
            stop(r, pv_client_lost(r->client));
        }
    }
    pv_progress_clear(&r->progress);
}

static void conclude(const struct removal *r)
{
    unsigned long long removed = r->removed, failed = r->failed;
    pv_listing_note(&r->list, r->cli);
    if (r->window > 1 && (failed > 0 || r->stopped))
        pv_cli_note(r->cli, "%llu removed, %llu not%s", removed, failed,
                    r->stopped ? ", and perhaps more: given up" : "");
    else if (r->window > 1 && r->cli->verbose)
        pv_cli_note(r->cli, "%llu removed", removed);
}

static void release(struct removal *r)
{
    for (size_t i = 0; i < WINDOW; i++)
        pv_free(r->asked[i].target);
    for (; r->taken < r->known; r->taken++)
        pv_free(r->queue[r->taken % QUEUE]);
    pv_lines_close(r->lines);
    pv_free(r);
}

static const char *contradiction(const struct pv_args *args)
{
    bool list = pv_args_has(args, "files-from");
    if (list && (args->word_count > 0 || pv_args_has(args, "recursive")))
        return "--files-from names all that is removed: give neither NAME nor -r";
    if (!list && args->word_count == 0)
        return "nothing to remove: give a KEY or a NAME";
    if (!list && pv_args_has(args, "null"))
        return "--null is about the list of --files-from";
    return NULL;
}

enum pv_exit pv_cmd_rm(const struct pv_cli *cli, const struct pv_args *args)
{
    const char *wrong = contradiction(args), *from = pv_args_value(args, "files-from");
    if (wrong != NULL)
        return pv_out_fail(PV_EXIT_USAGE, "%s", wrong);
    struct removal *r = pv_calloc(1, sizeof *r);
    if (r == NULL)
        return pv_out_no_memory();
    r->cli = cli;
    r->args = args;
    r->is_recursive = pv_args_has(args, "recursive");
    r->window = r->is_recursive || from != NULL ? WINDOW : 1;
    if (from != NULL)
        r->exit = pv_lines_open(&r->lines, from, pv_args_has(args, "null") ? '\0' : '\n', PATH_MAX);
    if (r->exit == PV_EXIT_OK)
        r->exit = pv_client_open(&r->client, cli, PV_CLIENT_EMBED);
    if (r->exit == PV_EXIT_OK) {
        pv_progress_start(&r->progress, cli, "removing", 0);
        r->progress.counts_files = true;
        transfer(r);
        conclude(r);
    }
    enum pv_exit exit = pv_client_close(r->client, r->exit);
    release(r);
    return exit;
}
