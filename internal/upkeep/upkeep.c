#include "internal/upkeep/backup.h"
#include "internal/upkeep/collect.h"
#include "internal/upkeep/scrub.h"
#include "internal/upkeep/sweep.h"

#include <string.h>

enum pv_err pv_upkeep_new(struct pv_upkeep **out, const struct pv_upkeep_config *config)
{
    struct pv_upkeep *u = pv_calloc(1, sizeof *u);
    if (u == NULL)
        return PV_E_NOMEM;
    u->config = *config;
    *out = u;
    return PV_OK;
}

void pv_upkeep_free(struct pv_upkeep *u)
{
    if (u == NULL)
        return;
    PV_ASSERT(u->collect == NULL && u->scrub == NULL);
    pv_free(u);
}

void pv_upkeep_work(struct pv_upkeep *u)
{
    pv_sweep_start(u->config.files->config.node);
    pv_expire_schedule(u);
    pv_collect_schedule(u);
    if (!u->config.no_scrub)
        pv_scrub_schedule(u);
    pv_backup_schedule(u);
}

void pv_upkeep_rest(struct pv_upkeep *u)
{
    pv_expire_stop(u);
    pv_collect_stop(u);
    pv_scrub_stop(u);
    pv_backup_stop(u);
}

bool pv_upkeep_request(struct pv_upkeep *u, struct pv_request *rq)
{
    const char *op = json_string_value(json_object_get(rq->args, "op"));
    if (op != NULL && strcmp(op, "gc") == 0)
        pv_query_gc(u, rq);
    else if (op != NULL && strcmp(op, "verify") == 0)
        pv_query_verify(u, rq);
    else
        return false;
    return true;
}
