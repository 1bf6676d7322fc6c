/* No word is longer than what it was written as, so all of them fit into a copy of the line. */
#include "cmd/peervault/words.h"

#include "internal/base/mem.h"

#include <stdbool.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* What stands between quotes; *at is behind the first of them, and then behind the last. False:
 * there is no last one. */
static bool take_quoted(const char **at, char **to, char quote)
{
    const char *p = *at;
    while (*p != '\0' && *p != quote) {
        if (quote == '"' && *p == '\\' && (p[1] == '"' || p[1] == '\\'))
            p++;
        *(*to)++ = *p++;
    }
    *at = p + (*p == quote);
    return *p == quote;
}

static bool take_word(const char **at, char **to)
{
    const char *p = *at;
    bool ok = true;
    while (ok && *p != '\0' && !is_blank(*p)) {
        char c = *p++;
        if (c == '\'' || c == '"')
            ok = take_quoted(&p, to, c);
        else if (c == '\\')
            ok = *p != '\0' && ((*(*to)++ = *p++), true);
        else
            *(*to)++ = c;
    }
    *(*to)++ = '\0';
    *at = p;
    return ok;
}

enum pv_err pv_words_split(struct pv_words *out, const char *line)
{
    struct pv_words w = {.list = pv_calloc(PV_WORDS_MAX + 1, sizeof *w.list),
                         .text = pv_malloc(strlen(line) + 2)};
    char *to = w.text;
    enum pv_err err = w.list == NULL || w.text == NULL ? PV_E_NOMEM : PV_OK;
    for (const char *at = line; err == PV_OK;) {
        while (is_blank(*at))
            at++;
        if (*at == '\0' || *at == '#')
            break;
        if (w.count == PV_WORDS_MAX) {
            err = PV_E_INVALID;
            break;
        }
        w.list[w.count++] = to;
        if (!take_word(&at, &to))
            err = PV_E_INVALID;
    }
    if (err == PV_OK)
        *out = w;
    else
        pv_words_release(&w);
    return err;
}

void pv_words_release(struct pv_words *w)
{
    pv_free(w->list);
    pv_free(w->text);
    *w = (struct pv_words){.count = 0};
}
