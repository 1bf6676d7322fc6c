#include "cmd/peervault/listing.h"

#include <stdio.h>
#include <string.h>

bool pv_listing_ask(struct pv_listing *l)
{
    if (l->ended || l->id != 0 || !pv_client_room(l->client))
        return true;
    json_t *rq = json_pack("{s:s, s:i}", "op", "ls", "limit", PV_LISTING_ASKED);
    if (rq == NULL || (l->prefix[0] != '\0' && !pv_json_set_bytes(rq, "prefix", l->prefix)) ||
        (l->next[0] != '\0' && json_object_set_new(rq, "after", json_string(l->next)) != 0)) {
        json_decref(rq);
        return false;
    }
    l->id = pv_client_send(l->client, rq);
    return l->id != 0;
}

bool pv_listing_take(struct pv_listing *l, const json_t *message)
{
    if (l->id == 0 || pv_json_int(message, "id") != l->id)
        return false;
    if (strcmp(pv_json_text(message, "event"), "entry") == 0) {
        l->entry(l->ctx, message);
        return true;
    }
    l->exit = pv_reply_exit(message, NULL);
    l->id = 0;
    l->unreadable += (uint64_t)pv_json_int(message, "unreadable");
    (void)snprintf(l->next, sizeof l->next, "%s", pv_json_text(message, "next"));
    l->ended = l->next[0] == '\0';
    return true;
}

void pv_listing_note(const struct pv_listing *l, const struct pv_cli *cli)
{
    if (l->unreadable > 0)
        pv_cli_note(cli, "%llu records cannot be read: names may be missing",
                    (unsigned long long)l->unreadable);
}
