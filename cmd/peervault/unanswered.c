/* A file that is durable is safe whatever comes: another one is named before it. */
#include "cmd/peervault/unanswered.h"
#include "cmd/peervault/client.h"
#include "internal/base/mem.h"

#include <stdio.h>
#include <string.h>

static char *subject_of(const json_t *request)
{
    static const char *const keys[] = {"target", "name", "prefix", "node"};
    for (size_t i = 0; i < PV_COUNT(keys); i++) {
        size_t len = 0;
        char *subject = pv_json_bytes(request, keys[i], &len);
        if (subject != NULL)
            return subject;
    }
    /* `store -` without a name */
    return strcmp(pv_json_text(request, "op"), "store") == 0 ? pv_strdup("-") : NULL;
}

void pv_unanswered_add(struct pv_unanswered *u, json_int_t id, const json_t *request)
{
    if (u->count == PV_UNANSWERED_MAX)
        return;
    struct pv_question *q = &u->items[u->count++];
    *q = (struct pv_question){.id = id, .subject = subject_of(request)};
    (void)snprintf(q->op, sizeof q->op, "%s", pv_json_text(request, "op"));
}

void pv_unanswered_note(struct pv_unanswered *u, const json_t *message)
{
    const char *event = pv_json_text(message, "event");
    json_int_t id = pv_json_int(message, "id");
    size_t i = 0;
    while (i < u->count && u->items[i].id != id)
        i++;
    if (i == u->count)
        return;
    if (event[0] != '\0') {
        u->items[i].durable = u->items[i].durable || strcmp(event, "durable") == 0;
        return;
    }
    pv_free(u->items[i].subject);
    u->count--;
    memmove(&u->items[i], &u->items[i + 1], (u->count - i) * sizeof u->items[i]);
}

void pv_unanswered_clear(struct pv_unanswered *u)
{
    for (size_t i = 0; i < u->count; i++)
        pv_free(u->items[i].subject);
    u->count = 0;
}

static const char *consequence(const struct pv_question *q)
{
    if (strcmp(q->op, "store") == 0 && q->durable)
        return "while copies on other nodes were waited for: the file is safe here; `peervault "
               "stat` counts its copies";
    if (strcmp(q->op, "store") == 0)
        return "before this was stored: start it again and store what has no line with a key yet";
    if (strcmp(q->op, "get") == 0)
        return "before all of this was here: start it again and get it once more";
    return "before it answered: start it again and repeat the command";
}

void pv_unanswered_explain(const struct pv_unanswered *u, char out[static PV_UNANSWERED_TEXT])
{
    const struct pv_question none = {0}, *q = u->count > 0 ? &u->items[0] : &none;
    for (size_t i = 0; i < u->count; i++)
        if (!u->items[i].durable) {
            q = &u->items[i];
            break;
        }
    const char *subject = q->subject != NULL ? q->subject : "";
    (void)snprintf(out, PV_UNANSWERED_TEXT,
                   "%s%sthe daemon ended the connection %s (its log says why)", subject,
                   subject[0] != '\0' ? ": " : "", consequence(q));
}
