/*
 * set: one value, or with --lines as many as come, with many requests under way at once, so that
 * the daemon commits them in groups. Replies come in any order and are told apart by their ids; of
 * those under way the names are kept, for errors.
 */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/lines.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/value_options.h"
#include "cmd/peervault/value_text.h"
#include "crypto/body.h"
#include "crypto/hash.h"
#include "internal/base/limits.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX = 4 * (PV_VALUE_MAX + PV_NAME_MAX) + 2 };

struct setting {
    const struct pv_cli *cli;
    struct pv_client *client;
    bool replace, if_absent;
    char if_sha256[PV_ID_HEX_LEN + 1];
    struct under_way {
        json_int_t id; /* 0: free */
        char *name;
    } under_way[PV_CONTROL_REQUESTS_MAX];
    size_t count;
    uint64_t line, done;
    enum pv_exit exit;
};

static enum pv_exit too_long(void)
{
    return pv_out_fail(PV_EXIT_USAGE, "a value has at most %d bytes: `peervault store` takes more",
                       (int)PV_VALUE_MAX);
}

enum pv_exit pv_value_condition(char out[static PV_ID_HEX_LEN + 1], const struct pv_args *args)
{
    const char *value = pv_args_value(args, "if"), *hash = pv_args_value(args, "if-hash");
    struct pv_id id;
    out[0] = '\0';
    if (value != NULL && hash != NULL)
        return pv_out_fail(PV_EXIT_USAGE, "--if and --if-hash: give one of them");
    if (value != NULL)
        pv_sha256(id.b, value, strlen(value));
    else if (hash != NULL && pv_id_parse(&id, hash) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "--if-hash %.80s: a SHA-256 has 64 hex digits", hash);
    if (value != NULL || hash != NULL)
        pv_id_hex(out, &id);
    return PV_EXIT_OK;
}

/* ---- requests and replies ---- */

static struct under_way *find(struct setting *s, json_int_t id)
{
    for (size_t i = 0; i < PV_COUNT(s->under_way); i++)
        if (s->under_way[i].id == id)
            return &s->under_way[i];
    return NULL;
}

static void on_message(void *ctx, const json_t *message)
{
    struct setting *s = ctx;
    struct under_way *u = find(s, pv_json_int(message, "id"));
    if (u == NULL || json_object_get(message, "event") != NULL)
        return;
    enum pv_exit exit = pv_reply_exit(message, u->name);
    s->done += exit == PV_EXIT_OK;
    if (exit == PV_EXIT_OK && s->cli->json) {
        json_t *o = json_deep_copy(message);
        pv_message_strip(o);
        json_object_del(o, "removed");
        (void)pv_json_set_bytes(o, "name", u->name);
        exit = pv_out_json(o);
    }
    pv_exit_add(&s->exit, exit);
    pv_free(u->name);
    *u = (struct under_way){.id = 0};
    s->count--;
}

/* False: the connection is gone. */
static bool pump(struct setting *s, int input)
{
    const struct pv_client_handler handler = {.ctx = s, .message = on_message};
    if (pv_client_pump(s->client, &handler, input) == PV_OK)
        return true;
    s->exit = pv_client_lost(s->client);
    return false;
}

static bool has_room(const struct setting *s)
{
    return s->count < PV_COUNT(s->under_way) && pv_client_room_two(s->client);
}

/* Needs room. */
static bool send_value(struct setting *s, const char *name, const void *bytes, size_t len)
{
    json_t *rq = json_pack("{s:s, s:b, s:b}", "op", "set", "replace", (int)s->replace, "if_absent",
                           (int)s->if_absent);
    struct under_way *u = find(s, 0);
    char *copy = pv_strdup(name);
    if (rq == NULL || copy == NULL || !pv_json_set_bytes(rq, "name", name) ||
        (s->if_sha256[0] != '\0' &&
         json_object_set_new(rq, "if_sha256", json_string(s->if_sha256)) != 0)) {
        json_decref(rq);
        pv_free(copy);
        s->exit = pv_out_no_memory();
        return false;
    }
    u->id = pv_client_send(s->client, rq);
    if (u->id == 0) {
        pv_free(copy);
        s->exit = pv_out_no_memory();
        return false;
    }
    u->name = copy;
    s->count++;
    if (len > 0)
        memcpy(pv_client_data(s->client), bytes, len);
    pv_client_commit(s->client, len, true);
    return true;
}

/* Until all are answered. */
static void finish(struct setting *s)
{
    while (s->count > 0 && pump(s, -1))
        continue;
    for (size_t i = 0; i < PV_COUNT(s->under_way); i++)
        pv_free(s->under_way[i].name);
}

/* ---- one ---- */

static enum pv_exit read_input(uint8_t *bytes, size_t *len)
{
    ssize_t n;
    *len = 0;
    while ((n = read(STDIN_FILENO, bytes + *len, PV_VALUE_MAX + 1 - *len)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pv_out_fail(PV_EXIT_FAILED, "standard input cannot be read: %s",
                               strerror(errno));
        *len += (size_t)n;
        if (*len > PV_VALUE_MAX)
            return too_long();
    }
    return PV_EXIT_OK;
}

static enum pv_exit set_one(struct setting *s, const char *name, const char *value)
{
    PV_AUTO_FREE uint8_t *bytes = pv_malloc(PV_VALUE_MAX + 1);
    size_t len = strlen(value);
    if (bytes == NULL)
        return pv_out_no_memory();
    if (strcmp(value, "-") == 0) { /* before the vault is asked for: it may take its time */
        enum pv_exit exit = read_input(bytes, &len);
        if (exit != PV_EXIT_OK)
            return exit;
    } else if (len > PV_VALUE_MAX) {
        return too_long();
    } else {
        memcpy(bytes, value, len);
    }
    enum pv_exit exit = pv_client_open(&s->client, s->cli, PV_CLIENT_EMBED | PV_CLIENT_CREATE);
    if (exit != PV_EXIT_OK)
        return exit;
    if (send_value(s, name, bytes, len))
        finish(s);
    return pv_client_close(s->client, s->exit);
}

/* ---- lines ---- */

static void refuse_line(struct setting *s, const char *why)
{
    pv_exit_add(&s->exit,
                pv_out_fail(PV_EXIT_USAGE, "line %llu: %s", (unsigned long long)s->line, why));
}

/* False: no use to go on. */
static bool take_line(struct setting *s, const struct pv_line *line)
{
    PV_AUTO_FREE char *text = pv_memdup(line->text, line->len + 1);
    if (line->too_long) {
        refuse_line(s, "too long");
        return true;
    }
    if (text == NULL) {
        s->exit = pv_out_no_memory();
        return false;
    }
    char *tab = memchr(text, '\t', line->len);
    size_t name_len = tab != NULL ? (size_t)(tab - text) : 0;
    size_t len = tab != NULL ? line->len - name_len - 1 : 0;
    if (tab == NULL) {
        refuse_line(s, "NAME, a tab and VALUE are wanted");
        return true;
    }
    if (pv_value_unescape(text, &name_len) != PV_OK || pv_value_unescape(tab + 1, &len) != PV_OK) {
        refuse_line(s, "a backslash begins none of the escapes");
        return true;
    }
    text[name_len] = '\0';
    if (name_len < 1 || name_len > PV_NAME_MAX || strlen(text) != name_len)
        refuse_line(s, "a name has 1 to 1024 bytes and no NUL");
    else if (len > PV_VALUE_MAX)
        refuse_line(s, "a value has at most 59392 bytes");
    else
        return send_value(s, text, tab + 1, len);
    return true;
}

static void set_lines(struct setting *s, struct pv_lines *lines)
{
    struct pv_line line;
    for (;;) {
        if (!has_room(s)) {
            if (!pump(s, -1))
                return;
            continue;
        }
        switch (pv_lines_next(lines, &line)) {
        case PV_LINES_LINE:
            s->line++;
            if (!take_line(s, &line))
                return;
            break;
        case PV_LINES_QUIET:
            if (!pump(s, pv_lines_fd(lines)))
                return;
            break;
        case PV_LINES_FAILED:
            pv_exit_add(&s->exit, pv_out_fail(PV_EXIT_FAILED, "the lines: %s", line.text));
            return;
        case PV_LINES_END:
            return;
        }
    }
}

static enum pv_exit set_from(struct setting *s, const char *from)
{
    struct pv_lines *lines = NULL;
    enum pv_exit exit = pv_lines_open(&lines, from, '\n', LINE_MAX);
    if (exit == PV_EXIT_OK)
        exit = pv_client_open(&s->client, s->cli, PV_CLIENT_EMBED | PV_CLIENT_CREATE);
    if (exit == PV_EXIT_OK) {
        set_lines(s, lines);
        finish(s);
        pv_cli_note(s->cli, "%llu of %llu values set", (unsigned long long)s->done,
                    (unsigned long long)s->line);
        exit = pv_client_close(s->client, s->exit);
    }
    pv_lines_close(lines);
    return exit;
}

enum pv_exit pv_cmd_set(const struct pv_cli *cli, const struct pv_args *args)
{
    struct setting s = {.cli = cli,
                        .replace = pv_args_has(args, "replace"),
                        .if_absent = pv_args_has(args, "if-absent")};
    const char *from = pv_args_value(args, "lines");
    enum pv_exit exit = pv_value_condition(s.if_sha256, args);
    if (exit != PV_EXIT_OK)
        return exit;
    if (s.if_absent && s.if_sha256[0] != '\0')
        return pv_out_fail(PV_EXIT_USAGE, "--if-absent: a name that means nothing has no value");
    if (from != NULL && args->word_count > 0)
        return pv_out_fail(PV_EXIT_USAGE, "--lines: names and values are in the lines");
    if (from != NULL && s.if_sha256[0] != '\0')
        return pv_out_fail(PV_EXIT_USAGE, "--if and --if-hash are for one value, not for --lines");
    if (from == NULL && args->word_count != 2)
        return pv_out_fail(PV_EXIT_USAGE, "set: a NAME and a VALUE are wanted, or --lines: see "
                                          "`peervault help set`");
    return from != NULL ? set_from(&s, from) : set_one(&s, args->words[0], args->words[1]);
}
