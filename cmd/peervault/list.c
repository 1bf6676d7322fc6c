/*
 * ls, ls --history and stat; ls --values is in list_values.c. A list is collected before it is
 * printed, because sorting needs all of it. One of more than SORTED_MAX entries is not sorted, so
 * that no list needs more memory than these; with --json it streams, unsorted, in the memory of
 * one.
 */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/list_values.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/value_text.h"
#include "internal/base/id.h"
#include "internal/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { SORTED_MAX = 200 * 1000, VALUE_SHOWN_MAX = 40 };

struct entry {
    char *name; /* NULL: none */
    size_t name_len;
    char key[PV_ID_HEX_LEN + 1];
    uint64_t size, mtime_ms;
};

struct list {
    const struct pv_cli *cli;
    struct pv_buf entries; /* of struct entry */
    int width;             /* of the longest size */
    bool streams;          /* there were too many to sort */
    enum pv_exit exit;     /* of the first failure on our side */
};

static void print_entry(const struct list *l, const struct entry *e)
{
    char date[PV_TIME_TEXT_MAX];
    pv_date_text(date, e->mtime_ms);
    printf("%s  %*llu  %s  ", e->key, l->width, (unsigned long long)e->size, date);
    if (e->name != NULL)
        pv_out_name(e->name, e->name_len, l->cli->stdout_terminal);
    fputc('\n', stdout);
}

static void print_entries(const struct list *l)
{
    const struct entry *entries = (const struct entry *)(const void *)l->entries.data;
    for (size_t i = 0; i < l->entries.len / sizeof *entries; i++)
        print_entry(l, &entries[i]);
}

static void drop_entries(struct list *l)
{
    struct entry *entries = (struct entry *)(void *)l->entries.data;
    for (size_t i = 0; i < l->entries.len / sizeof *entries; i++)
        pv_free(entries[i].name);
    pv_buf_release(&l->entries);
}

static void stream(struct list *l)
{
    pv_cli_note(l->cli, "more than %d files: unsorted, `sort` can do that", SORTED_MAX);
    print_entries(l);
    drop_entries(l);
    l->streams = true;
}

/* False: the entry is not kept. */
static bool keep(struct list *l, const struct entry *e)
{
    int digits = snprintf(NULL, 0, "%llu", (unsigned long long)e->size);
    l->width = digits > l->width ? digits : l->width;
    if (!l->streams && l->entries.len == SORTED_MAX * sizeof *e)
        stream(l);
    if (l->streams)
        print_entry(l, e);
    else if (pv_buf_append(&l->entries, e, sizeof *e) != PV_OK)
        l->exit = pv_out_no_memory();
    else
        return true;
    return false;
}

static void on_entry(void *ctx, const json_t *event, const uint8_t *bytes, size_t len)
{
    struct list *l = ctx;
    (void)bytes;
    (void)len;
    if (l->exit != PV_EXIT_OK)
        return;
    if (l->cli->json) {
        json_t *o = json_deep_copy(event);
        pv_message_strip(o);
        l->exit = pv_out_json(o);
        return;
    }
    struct entry e = {.size = (uint64_t)pv_json_int(event, "size"),
                      .mtime_ms = (uint64_t)pv_json_int(event, "mtime_ms")};
    (void)snprintf(e.key, sizeof e.key, "%s", pv_json_text(event, "key"));
    e.name = pv_json_name(event, &e.name_len);
    if (!keep(l, &e))
        pv_free(e.name);
}

/* By name, files without one last; then by key. */
static int compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if ((x->name == NULL) != (y->name == NULL))
        return x->name == NULL ? 1 : -1;
    int order = x->name != NULL ? strcmp(x->name, y->name) : 0;
    return order != 0 ? order : strcmp(x->key, y->key);
}

static enum pv_exit print_sorted(struct list *l)
{
    if (l->entries.len > 0)
        qsort(l->entries.data, l->entries.len / sizeof(struct entry), sizeof(struct entry),
              compare);
    print_entries(l);
    return pv_out_flush();
}

/* What is passed over must not look as if it were not there. */
static void warn_of_unreadable(const struct pv_cli *cli, json_int_t count)
{
    if (count > 0)
        pv_cli_note(cli,
                    "not all is listed: %lld record(s) are damaged, of a later version, or under "
                    "another cluster key",
                    (long long)count);
}

/* One request about a target, sent to whoever serves the vault. */
static enum pv_exit ask(const struct pv_cli *cli, json_t *rq, pv_client_event_fn on_event,
                        struct list *l, const char *subject, json_t **reply)
{
    struct pv_client *client = NULL;
    enum pv_exit exit = pv_client_open(&client, cli, PV_CLIENT_EMBED);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    exit = pv_client_call_values(client, rq, on_event, l, reply);
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(*reply, subject);
    return pv_client_close(client, exit);
}

/* ---- ls --history ---- */

static const char *version_state(const json_t *v)
{
    bool is_current = json_is_true(json_object_get(v, "current"));
    if (json_is_true(json_object_get(v, "deleted")))
        return is_current ? "name removed, current" : "name removed";
    if (is_current)
        return "current";
    return strcmp(pv_json_text(v, "file"), "removed") == 0 ? "file removed" : "replaced";
}

/* The beginning of a value, on the line of its version. */
static enum pv_exit print_beginning(const uint8_t *bytes, size_t len)
{
    struct pv_buf text;
    bool all = len <= VALUE_SHOWN_MAX;
    pv_buf_init(&text, 8 * VALUE_SHOWN_MAX);
    enum pv_err err = pv_append_value(&text, bytes, all ? len : VALUE_SHOWN_MAX);
    if (err == PV_OK)
        printf("  \"%.*s\"%s", (int)text.len, (const char *)text.data, all ? "" : "...");
    pv_buf_release(&text);
    return err == PV_OK ? PV_EXIT_OK : pv_out_no_memory();
}

static void on_version(void *ctx, const json_t *event, const uint8_t *bytes, size_t len)
{
    struct list *l = ctx;
    char date[PV_TIME_TEXT_MAX], size[PV_TIME_TEXT_MAX] = "-";
    bool is_value = json_is_true(json_object_get(event, "value"));
    const char *key = pv_json_text(event, is_value ? "sha256" : "key");
    if (l->exit != PV_EXIT_OK)
        return;
    if (l->cli->json) {
        l->exit = pv_print_value_json(event, bytes, len);
        return;
    }
    pv_date_text(date, (uint64_t)pv_json_int(event, "written_ms"));
    if (json_object_get(event, "size") != NULL)
        (void)snprintf(size, sizeof size, "%lld", (long long)pv_json_int(event, "size"));
    printf("%-64s  %12s  %s  %.17s  %s", key[0] != '\0' ? key : "-", size, date,
           pv_json_text(event, "author"), version_state(event));
    if (bytes != NULL)
        l->exit = print_beginning(bytes, len);
    fputc('\n', stdout);
}

static enum pv_exit list_history(const struct pv_cli *cli, const char *name)
{
    struct list l = {.cli = cli};
    json_t *reply = NULL;
    json_t *rq = json_pack("{s:s}", "op", "history");
    if (rq == NULL || !pv_json_set_bytes(rq, "name", name)) {
        json_decref(rq);
        return pv_out_no_memory();
    }
    enum pv_exit exit = ask(cli, rq, on_version, &l, name, &reply);
    if (exit == PV_EXIT_OK)
        exit = l.exit != PV_EXIT_OK ? l.exit : pv_out_flush();
    if (exit == PV_EXIT_OK)
        warn_of_unreadable(cli, pv_json_int(reply, "unreadable"));
    json_decref(reply);
    return exit;
}

/* ---- */

enum pv_exit pv_cmd_ls(const struct pv_cli *cli, const struct pv_args *args)
{
    struct list l = {.cli = cli};
    json_t *reply = NULL;
    const char *name = pv_args_value(args, "history");
    if (name != NULL && args->word_count > 0)
        return pv_out_fail(PV_EXIT_USAGE, "--history is of one name: give no prefix with it");
    if (name != NULL && pv_args_has(args, "values"))
        return pv_out_fail(PV_EXIT_USAGE, "--history shows values, too: give no --values with it");
    if (name != NULL)
        return list_history(cli, name);
    if (pv_args_has(args, "values"))
        return pv_list_values(cli, args->words[0]);
    json_t *rq = json_pack("{s:s}", "op", "ls");
    if (rq == NULL || (args->word_count > 0 && !pv_json_set_bytes(rq, "prefix", args->words[0]))) {
        json_decref(rq);
        return pv_out_no_memory();
    }
    pv_buf_init(&l.entries, SORTED_MAX * sizeof(struct entry));
    enum pv_exit exit = ask(cli, rq, on_entry, &l, NULL, &reply);
    if (exit == PV_EXIT_OK)
        exit = l.exit;
    if (exit == PV_EXIT_OK)
        exit = cli->json ? pv_out_flush() : print_sorted(&l);
    if (exit == PV_EXIT_OK)
        warn_of_unreadable(cli, pv_json_int(reply, "unreadable"));
    json_decref(reply);
    drop_entries(&l);
    return exit;
}

static void print_size(const char *label, json_int_t bytes)
{
    char text[PV_SIZE_TEXT_MAX];
    pv_size_text(text, (uint64_t)bytes);
    if (bytes < 1024)
        printf("%-9s %lld byte%s\n", label, (long long)bytes, bytes == 1 ? "" : "s");
    else
        printf("%-9s %s (%lld bytes)\n", label, text, (long long)bytes);
}

static enum pv_exit print_stat(const struct pv_cli *cli, const json_t *r)
{
    char date[PV_TIME_TEXT_MAX];
    const json_t *entry;
    size_t i;
    printf("%-9s %s\n", "key", pv_json_text(r, "key"));
    json_array_foreach(json_object_get(r, "names"), i, entry)
    {
        size_t len = 0;
        char *name = pv_json_name(entry, &len);
        printf("%-9s ", "name");
        if (name != NULL)
            pv_out_name(name, len, cli->stdout_terminal);
        fputc('\n', stdout);
        pv_free(name);
    }
    if (json_is_true(json_object_get(r, "more_names")))
        printf("%-9s and more than are shown here: see `peervault ls`\n", "name");
    print_size("size", pv_json_int(r, "size"));
    pv_date_text(date, (uint64_t)pv_json_int(r, "mtime_ms"));
    printf("%-9s %s\n", "modified", date);
    if (json_is_true(json_object_get(r, "inline")))
        printf("%-9s in the record itself, on every node\n", "stored");
    else
        print_size("stored", pv_json_int(r, "stored_bytes"));
    printf("%-9s %lld", "blobs", (long long)pv_json_int(r, "blobs"));
    if (pv_json_int(r, "missing_blobs") > 0)
        printf(", %lld of them not here", (long long)pv_json_int(r, "missing_blobs"));
    if (pv_json_int(r, "elsewhere_blobs") > 0)
        printf(", %lld of them kept by others only", (long long)pv_json_int(r, "elsewhere_blobs"));
    if (json_object_get(r, "copies") == NULL)
        printf("\n%-9s on other members: see `peervault where`\n", "copies");
    else
        printf("\n%-9s %lld of %lld\n", "copies", (long long)pv_json_int(r, "copies"),
               (long long)pv_json_int(r, "want"));
    printf("%-9s %s\n", "private", json_is_true(json_object_get(r, "private")) ? "yes" : "no");
    printf("%-9s %s\n", "author", pv_json_text(r, "author"));
    return pv_out_flush();
}

enum pv_exit pv_cmd_stat(const struct pv_cli *cli, const struct pv_args *args)
{
    json_t *reply = NULL;
    json_t *rq = json_pack("{s:s}", "op", "stat");
    if (rq == NULL || !pv_json_set_bytes(rq, "target", args->words[0])) {
        json_decref(rq);
        return pv_out_no_memory();
    }
    enum pv_exit exit = ask(cli, rq, NULL, NULL, args->words[0], &reply);
    if (exit == PV_EXIT_OK && cli->json) {
        pv_message_strip(reply);
        exit = pv_out_json(reply);
        reply = NULL;
    } else if (exit == PV_EXIT_OK) {
        exit = print_stat(cli, reply);
    }
    json_decref(reply);
    return exit;
}
