/*
 * The list comes in pages, the next one asked for while the files of the last are fetched: at most
 * QUEUE names are known at a time. Of those, IN_FLIGHT are asked for at once; the server answers
 * one after the other, so there is one file being written. Files are asked for by their keys: a
 * name may look like a key, and its file may change meanwhile.
 */
#include "cmd/peervault/get_tree.h"
#include "cmd/peervault/landing.h"
#include "cmd/peervault/listing.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/progress.h"
#include "internal/base/id.h"
#include "internal/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { QUEUE = 2 * PV_LISTING_PAGE_MAX, IN_FLIGHT = 32 };

struct wanted {
    char *name;
    size_t name_len;
    char key[PV_ID_HEX_LEN + 1];
    json_int_t id; /* of its request */
};

struct fetch {
    const struct pv_cli *cli;
    const char *prefix, *folder;
    struct pv_client *client;
    struct pv_landing *landing; /* made for the first file */
    struct pv_progress progress;

    struct pv_listing list;
    struct wanted queue[QUEUE];
    uint64_t answered, asked, known; /* counts; names in the queue are from answered to known */
    json_t *file;                    /* the `file` event of the one being answered */
    uint64_t received;
    bool refused; /* it failed on our side: what still comes of it is dropped */

    bool stopped; /* no use to go on */
    uint64_t fetched, failed, bytes;
    enum pv_exit exit;
};

/* ---- results ---- */

/* The object of a file without what only the protocol needs. NULL: out of memory. */
static json_t *result_of(const char *name)
{
    json_t *o = json_object();
    if (o != NULL && !pv_json_set_bytes(o, "name", name)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static void add_exit(struct fetch *f, enum pv_exit exit)
{
    pv_exit_add(&f->exit, exit);
}

/* A file that did not come. say: whether the user knows already. */
static void fail(struct fetch *f, const char *name, enum pv_exit exit, const char *why, bool say)
{
    pv_progress_clear(&f->progress);
    if (say)
        pv_out_line("%s: %s", name, why);
    f->failed++;
    add_exit(f, exit);
    if (!f->cli->json)
        return;
    json_t *o = result_of(name);
    json_object_set_new(o, "exit", json_integer((json_int_t)exit));
    (void)pv_json_set_bytes(o, "error", why);
    if (pv_out_json(o) != PV_EXIT_OK)
        f->stopped = true;
}

static void on_settled(void *ctx, const char *name, void *tag, const char *why)
{
    struct fetch *f = ctx;
    json_t *file = tag;
    if (why != NULL) {
        json_decref(file);
        fail(f, name, PV_EXIT_FAILED, why, true);
        return;
    }
    f->fetched++;
    f->bytes += (uint64_t)pv_json_int(file, "size");
    pv_progress_file(&f->progress);
    PV_AUTO_FREE char *path = pv_asprintf("%s/%s", f->folder, name);
    if (!f->cli->json) {
        json_decref(file);
        return;
    }
    pv_message_strip(file);
    json_object_del(file, "name");
    json_object_del(file, "name_hex");
    if (path != NULL) {
        (void)pv_json_set_bytes(file, "name", name);
        (void)pv_json_set_bytes(file, "file", path);
    }
    if (pv_out_json(file) != PV_EXIT_OK) {
        add_exit(f, PV_EXIT_FAILED);
        f->stopped = true;
    }
}

/* ---- the list ---- */

static void on_entry(void *ctx, const json_t *m)
{
    struct fetch *f = ctx;
    struct wanted *w = &f->queue[f->known % QUEUE];
    size_t len = 0;
    char *name = f->stopped ? NULL : pv_json_name(m, &len);
    if (name == NULL)
        return; /* a file without one */
    if (f->known - f->answered == QUEUE) {
        pv_free(name);
        add_exit(f, pv_out_fail(PV_EXIT_UNAVAILABLE, "the daemon does not list in pages: it is of "
                                                     "an older version, restart it"));
        f->stopped = true;
        return;
    }
    *w = (struct wanted){.name = name, .name_len = len};
    (void)snprintf(w->key, sizeof w->key, "%s", pv_json_text(m, "key"));
    f->known++;
}

/* ---- one file ---- */

static bool open_landing(struct fetch *f)
{
    const struct pv_landing_handler handler = {.ctx = f, .settled = on_settled};
    if (f->landing != NULL)
        return true;
    enum pv_exit exit = pv_landing_open(&f->landing, f->folder, f->cli, &handler);
    add_exit(f, exit);
    f->stopped = exit != PV_EXIT_OK;
    return !f->stopped;
}

/* It cannot be written. What the server says of it from now on does not matter. */
static void refuse(struct fetch *f, const struct wanted *w, const char *why)
{
    fail(f, w->name, PV_EXIT_FAILED, why, true);
    f->refused = true;
    if (pv_landing_is_hopeless(f->landing))
        f->stopped = true;
}

static void on_file(struct fetch *f, const struct wanted *w, const json_t *m)
{
    const char *why;
    if (f->file != NULL || f->refused || strcmp(pv_json_text(m, "event"), "file") != 0)
        return;
    f->file = json_deep_copy(m);
    f->received = 0;
    if (f->file == NULL)
        add_exit(f, pv_out_no_memory());
    f->stopped = f->file == NULL;
    if (f->stopped || !open_landing(f))
        return;
    if (!pv_landing_begin(f->landing, w->name, w->name_len, &why))
        refuse(f, w, why);
}

static void on_final(struct fetch *f, struct wanted *w, const json_t *m)
{
    bool ok = json_is_true(json_object_get(m, "ok"));
    if (f->refused) {
        /* said */
    } else if (!ok) {
        pv_progress_clear(&f->progress);
        enum pv_exit exit = pv_reply_exit(m, w->name);
        fail(f, w->name, exit, pv_json_text(m, "error"), false);
    } else if (f->file == NULL || f->received != (uint64_t)pv_json_int(f->file, "length")) {
        fail(f, w->name, PV_EXIT_INTERNAL, "the server did not send what it announced", true);
    } else {
        uint64_t mtime_ms = (uint64_t)pv_json_int(f->file, "mtime_ms");
        json_t *file = f->file;
        f->file = NULL; /* it goes with what has ended */
        pv_landing_end(f->landing, mtime_ms, file);
    }
    if (f->landing != NULL)
        pv_landing_abort(f->landing);
    json_decref(f->file);
    f->file = NULL;
    f->refused = false;
    pv_free(w->name);
    w->name = NULL;
    f->answered++;
}

/* ---- the conversation ---- */

static void on_message(void *ctx, const json_t *m)
{
    struct fetch *f = ctx;
    json_int_t id = pv_json_int(m, "id");
    struct wanted *w = &f->queue[f->answered % QUEUE];
    if (pv_listing_take(&f->list, m))
        f->stopped = f->stopped || f->list.exit != PV_EXIT_OK;
    else if (f->stopped || f->answered == f->asked || id != w->id)
        return; /* gets are answered in their order */
    else if (json_object_get(m, "event") != NULL)
        on_file(f, w, m);
    else
        on_final(f, w, m);
}

static void on_data(void *ctx, const uint8_t *bytes, size_t len, bool end)
{
    struct fetch *f = ctx;
    const char *why;
    (void)end; /* the final reply is what counts */
    if (f->stopped || f->file == NULL || f->refused)
        return;
    f->received += len;
    pv_progress_add(&f->progress, len);
    if (!pv_landing_write(f->landing, bytes, len, &why))
        refuse(f, &f->queue[f->answered % QUEUE], why);
}

/* Asks for what there is room for. */
static void ask(struct fetch *f)
{
    bool memory = true;
    while (memory && f->asked < f->known && f->asked - f->answered < IN_FLIGHT &&
           pv_client_room(f->client)) {
        struct wanted *w = &f->queue[f->asked % QUEUE];
        w->id = pv_client_send(f->client, json_pack("{s:s, s:s}", "op", "get", "target", w->key));
        memory = w->id != 0;
        f->asked += memory ? 1 : 0;
    }
    if (memory && f->known - f->answered <= QUEUE - PV_LISTING_PAGE_MAX)
        memory = pv_listing_ask(&f->list);
    if (memory)
        return;
    add_exit(f, pv_out_no_memory());
    f->stopped = true;
}

static void transfer(struct fetch *f)
{
    const struct pv_client_handler handler = {.ctx = f, .message = on_message, .data = on_data};
    while (!f->stopped && !(f->list.ended && f->answered == f->known)) {
        ask(f);
        if (!f->stopped && pv_client_pump(f->client, &handler, -1) != PV_OK) {
            pv_progress_clear(&f->progress);
            add_exit(f, pv_client_lost(f->client));
            f->stopped = true;
        }
    }
    add_exit(f, f->list.exit);
    if (f->landing != NULL) { /* what is whole stays, whatever happened to the others */
        pv_landing_abort(f->landing);
        pv_landing_settle(f->landing);
        add_exit(f, pv_landing_sync(f->landing));
    }
    pv_progress_clear(&f->progress);
}

static void release(struct fetch *f)
{
    for (; f->answered < f->known; f->answered++)
        pv_free(f->queue[f->answered % QUEUE].name);
    json_decref(f->file);
    pv_landing_close(f->landing);
    pv_free(f);
}

static enum pv_exit conclude(struct fetch *f)
{
    unsigned long long fetched = f->fetched, failed = f->failed;
    char bytes[PV_SIZE_TEXT_MAX];
    pv_listing_note(&f->list, f->cli);
    if (fetched + failed == 0 && f->exit == PV_EXIT_OK)
        return f->prefix[0] == '\0'
                   ? pv_out_fail(PV_EXIT_NOT_FOUND, "no file here has a name")
                   : pv_out_fail(PV_EXIT_NOT_FOUND, "no name begins with '%s': see `peervault ls`",
                                 f->prefix);
    pv_size_text(bytes, f->bytes);
    if (failed > 0 || f->stopped)
        pv_cli_note(f->cli, "%llu fetched, %s, %llu not%s", fetched, bytes, failed,
                    f->stopped ? ", and perhaps more: given up" : "");
    else if (f->cli->verbose)
        pv_cli_note(f->cli, "%llu fetched, %s", fetched, bytes);
    return f->exit;
}

enum pv_exit pv_get_tree(const struct pv_cli *cli, const struct pv_args *args)
{
    const char *folder = pv_args_value(args, "output");
    if (folder == NULL || strcmp(folder, "-") == 0)
        return pv_out_fail(PV_EXIT_USAGE, "-r: say into which folder with -o DIR");
    if (pv_args_has(args, "range"))
        return pv_out_fail(PV_EXIT_USAGE, "-r and --range contradict each other");
    struct fetch *f = pv_calloc(1, sizeof *f);
    if (f == NULL)
        return pv_out_no_memory();
    f->cli = cli;
    f->prefix = args->word_count > 0 ? args->words[0] : "";
    f->folder = folder;
    enum pv_exit exit = pv_client_open(&f->client, cli, PV_CLIENT_EMBED);
    if (exit == PV_EXIT_OK) {
        f->list = (struct pv_listing){
            .client = f->client, .prefix = f->prefix, .entry = on_entry, .ctx = f};
        pv_progress_start(&f->progress, cli, "fetching", 0);
        f->progress.counts_files = true;
        transfer(f);
        exit = conclude(f);
    }
    exit = pv_client_close(f->client, exit);
    release(f);
    return exit;
}
