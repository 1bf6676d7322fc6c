/*
 * Completion: the first word is a command's, or the second word of one that has two; all others are
 * names, of files and of values, which the daemon is asked for. Nothing is said of what goes wrong,
 * and where there is no daemon there are no names: serving the vault for a Tab would take too long.
 */
#include "cmd/peervault/shell.h"

#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "internal/base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Copies text, with a backslash before what the shell would take for something else. */
static char *quoted(const char *text, size_t len)
{
    char *out = pv_malloc(2 * len + 1), *to = out;
    for (size_t i = 0; out != NULL && i < len; i++) {
        if (strchr(" \t\\'\"#", text[i]) != NULL)
            *to++ = '\\';
        *to++ = text[i];
    }
    if (out != NULL)
        *to = '\0';
    return out;
}

static void add(struct pv_completions *c, char *text)
{
    for (size_t i = 0; text != NULL && i < c->count; i++) {
        if (strcmp(c->list[i], text) == 0) {
            pv_free(text);
            return;
        }
    }
    if (text == NULL || c->count == PV_COMPLETIONS_MAX || strpbrk(text, "\r\n") != NULL)
        pv_free(text);
    else
        c->list[c->count++] = text;
}

/* Where the last word begins, and what it means without its backslashes. */
static size_t last_word(const char *line, char *plain)
{
    size_t at = 0;
    char *to = plain;
    for (size_t i = 0; line[i] != '\0'; i++) {
        if (line[i] == '\\' && line[i + 1] != '\0') {
            *to++ = line[++i];
        } else if (line[i] == ' ' || line[i] == '\t') {
            at = i + 1;
            to = plain;
        } else {
            *to++ = line[i];
        }
    }
    *to = '\0';
    return at;
}

/* part: the words before the last one, as typed. */
static bool complete_command(struct pv_completions *c, const char *part, const char *begin)
{
    char first[32] = "";
    size_t skip = strspn(part, " \t"), first_len = strcspn(part + skip, " \t");
    bool is_second = first_len > 0;
    if (is_second && first_len < sizeof first)
        memcpy(first, part + skip, first_len);
    if (is_second && (part[skip + first_len + strspn(part + skip + first_len, " \t")] != '\0' ||
                      !pv_command_needs_second(first)))
        return false;
    for (const struct pv_command *d = pv_commands; d->name != NULL; d++) {
        const char *space = strchr(d->name, ' ');
        size_t len = space != NULL ? (size_t)(space - d->name) : strlen(d->name);
        const char *word = is_second ? (space != NULL ? space + 1 : "") : d->name;
        if (is_second && (len != first_len || memcmp(d->name, first, len) != 0))
            continue;
        if (is_second)
            len = strlen(word);
        if (len > 0 && strncmp(word, begin, strlen(begin)) == 0)
            add(c, quoted(word, len));
    }
    return true;
}

static void on_entry(void *ctx, const json_t *event, const uint8_t *bytes, size_t len)
{
    size_t name_len;
    char *name = pv_json_name(event, &name_len);
    (void)bytes;
    (void)len;
    if (name != NULL)
        add(ctx, quoted(name, name_len));
    pv_free(name);
}

static void complete_name(struct pv_completions *c, const struct pv_cli *cli, const char *begin)
{
    struct pv_client *client = NULL;
    if (begin[0] == '-' || !pv_client_reachable(cli->vault) ||
        pv_client_open(&client, cli, 0) != PV_EXIT_OK)
        return;
    bool ok = true;
    for (int values = 0; ok && values <= 1; values++) {
        json_t *reply = NULL, *rq = json_pack("{s:s, s:b, s:i}", "op", "ls", "values", values,
                                              "limit", PV_COMPLETIONS_MAX);
        ok = rq != NULL && (begin[0] == '\0' || pv_json_set_bytes(rq, "prefix", begin));
        if (ok)
            ok = pv_client_call_values(client, rq, on_entry, c, &reply) == PV_EXIT_OK;
        else
            json_decref(rq);
        json_decref(reply);
    }
    (void)pv_client_close(client, PV_EXIT_OK);
}

static int compare(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

void pv_complete(struct pv_completions *out, const struct pv_cli *cli, const char *line,
                 size_t *word_at)
{
    *out = (struct pv_completions){.list = pv_calloc(PV_COMPLETIONS_MAX, sizeof *out->list)};
    PV_AUTO_FREE char *begin = pv_malloc(strlen(line) + 1);
    *word_at = strlen(line);
    if (out->list == NULL || begin == NULL)
        return;
    *word_at = last_word(line, begin);
    PV_AUTO_FREE char *part = pv_asprintf("%.*s", (int)*word_at, line);
    if (part != NULL && !complete_command(out, part, begin))
        complete_name(out, cli, begin);
    if (out->count > 0)
        qsort(out->list, out->count, sizeof *out->list, compare);
}

void pv_completions_release(struct pv_completions *c)
{
    for (size_t i = 0; i < c->count; i++)
        pv_free(c->list[i]);
    pv_free(c->list);
    *c = (struct pv_completions){.count = 0};
}
