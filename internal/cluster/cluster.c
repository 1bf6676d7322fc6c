/* Requests by their op. */
#include "internal/cluster/cluster_private.h"

#include <string.h>

enum pv_err pv_cluster_new(struct pv_cluster **out, const struct pv_cluster_config *config)
{
    struct pv_cluster *c = pv_calloc(1, sizeof *c);
    if (c == NULL)
        return PV_E_NOMEM;
    c->config = *config;
    pv_list_init(&c->pings);
    pv_list_init(&c->changes);
    pv_list_init(&c->guests);
    if (pv_rotation_new(c) != PV_OK) {
        pv_free(c);
        return PV_E_NOMEM;
    }
    *out = c;
    return PV_OK;
}

void pv_cluster_free(struct pv_cluster *c)
{
    if (c == NULL)
        return;
    PV_ASSERT(pv_list_empty(&c->pings) && pv_list_empty(&c->changes) && pv_list_empty(&c->guests));
    pv_rotation_free(c);
    pv_free(c);
}

bool pv_cluster_request(struct pv_cluster *c, struct pv_request *rq)
{
    static const struct {
        const char *op;
        void (*start)(struct pv_cluster *c, struct pv_request *rq);
    } table[] = {{"peers", pv_query_peers},
                 {"ping", pv_query_ping},
                 {"allow", pv_query_allow},
                 {"block", pv_query_block},
                 {"forget", pv_query_forget},
                 {"drain", pv_query_drain},
                 {"invite", pv_query_invite},
                 {"confirm", pv_query_confirm},
                 {"token_rotate", pv_query_token_rotate},
                 {"key_rotate", pv_query_key_rotate},
                 {"key_list", pv_query_key_list}};
    const char *op = json_string_value(json_object_get(rq->args, "op"));
    for (size_t i = 0; op != NULL && i < PV_COUNT(table); i++) {
        if (strcmp(op, table[i].op) == 0) {
            table[i].start(c, rq);
            return true;
        }
    }
    return false;
}
