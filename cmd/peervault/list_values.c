/*
 * ls --values: lines of NAME, a tab and VALUE, which `set --lines` reads. Sorted as they stand, as
 * long as there are not more than SORTED_BYTES_MAX of them; with --json they are not sorted.
 */
#include "cmd/peervault/list_values.h"

#include "cmd/peervault/client.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/value_text.h"
#include "internal/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { SORTED_BYTES_MAX = 64 << 20, LINE_MAX = 4 * 65536 };

struct list {
    const struct pv_cli *cli;
    struct pv_buf lines; /* with their ends */
    size_t count;
    enum pv_exit exit;
};

enum pv_exit pv_print_value_json(const json_t *event, const uint8_t *bytes, size_t len)
{
    json_t *o = json_deep_copy(event);
    pv_message_strip(o);
    json_object_del(o, "data");
    if (bytes != NULL && !pv_json_set_value(o, "value", bytes, len)) {
        json_decref(o);
        o = NULL;
    }
    return o != NULL ? pv_out_json(o) : pv_out_no_memory();
}

static int compare(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* A tab sorts before whatever else a name may have, so names come in their order. */
static enum pv_exit print_sorted(struct list *l)
{
    char *text = (char *)l->lines.data;
    char **lines = pv_calloc(l->count + 1, sizeof *lines);
    if (lines == NULL)
        return pv_out_no_memory();
    for (size_t i = 0; i < l->count; i++) {
        lines[i] = text;
        text = strchr(text, '\n');
        *text++ = '\0';
    }
    qsort(lines, l->count, sizeof *lines, compare);
    for (size_t i = 0; i < l->count; i++)
        printf("%s\n", lines[i]);
    pv_free(lines);
    return pv_out_flush();
}

static void on_entry(void *ctx, const json_t *event, const uint8_t *bytes, size_t len)
{
    struct list *l = ctx;
    size_t name_len = 0;
    if (l->exit != PV_EXIT_OK)
        return;
    if (l->cli->json) {
        l->exit = pv_print_value_json(event, bytes, len);
        return;
    }
    if (l->lines.len > SORTED_BYTES_MAX) {
        pv_cli_note(l->cli, "more than %d MiB: unsorted, `sort` can do that",
                    SORTED_BYTES_MAX >> 20);
        (void)fwrite(l->lines.data, 1, l->lines.len, stdout); /* an error is found by the flush */
        pv_buf_reset(&l->lines);
        l->count = 0;
    }
    char *name = pv_json_name(event, &name_len);
    if (name == NULL || pv_append_value(&l->lines, name, name_len) != PV_OK ||
        pv_buf_append(&l->lines, "\t", 1) != PV_OK ||
        pv_append_value(&l->lines, bytes, len) != PV_OK ||
        pv_buf_append(&l->lines, "\n", 1) != PV_OK)
        l->exit = pv_out_no_memory();
    l->count++;
    pv_free(name);
}

static enum pv_exit list(struct list *l, const char *prefix, json_t **reply)
{
    struct pv_client *client = NULL;
    json_t *rq = json_pack("{s:s, s:b}", "op", "ls", "values", 1);
    if (rq == NULL || (prefix != NULL && !pv_json_set_bytes(rq, "prefix", prefix))) {
        json_decref(rq);
        return pv_out_no_memory();
    }
    enum pv_exit exit = pv_client_open(&client, l->cli, PV_CLIENT_EMBED);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    exit = pv_client_call_values(client, rq, on_entry, l, reply);
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(*reply, NULL);
    return pv_client_close(client, exit);
}

enum pv_exit pv_list_values(const struct pv_cli *cli, const char *prefix)
{
    struct list l = {.cli = cli};
    json_t *reply = NULL;
    pv_buf_init(&l.lines, SORTED_BYTES_MAX + 2 * LINE_MAX);
    enum pv_exit exit = list(&l, prefix, &reply);
    if (exit == PV_EXIT_OK)
        exit = l.exit;
    if (exit == PV_EXIT_OK)
        exit = cli->json ? pv_out_flush() : print_sorted(&l);
    if (exit == PV_EXIT_OK && pv_json_int(reply, "unreadable") > 0)
        pv_cli_note(cli,
                    "not all is listed: %lld record(s) are damaged, of a later version, or under "
                    "another cluster key",
                    (long long)pv_json_int(reply, "unreadable"));
    json_decref(reply);
    pv_buf_release(&l.lines);
    return exit;
}
