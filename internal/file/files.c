/*
 * Requests by their op, and one list of deadlines: there are as many as requests that wait, so a
 * list is walked where others would keep a heap.
 */
#include "internal/file/files_private.h"

#include "internal/file/backup.h"
#include "internal/file/collect.h"
#include "internal/file/ingest_private.h"
#include "internal/file/scrub.h"

#include <string.h>

_Static_assert((int)PV_FILES_MEMORY_MIN >= (int)PV_INGEST_STREAM_BYTES,
               "one upload always fits into the budget");

enum pv_err pv_files_new(struct pv_files **out, const struct pv_files_config *config)
{
    if (config->memory_bytes < PV_FILES_MEMORY_MIN)
        return PV_E_INVALID;
    struct pv_files *f = pv_calloc(1, sizeof *f);
    if (f == NULL)
        return PV_E_NOMEM;
    f->config = *config;
    pv_budget_init(&f->memory, "files", config->memory_bytes);
    pv_list_init(&f->waiting);
    pv_list_init(&f->pings);
    *out = f;
    return PV_OK;
}

void pv_files_free(struct pv_files *f)
{
    if (f == NULL)
        return;
    PV_ASSERT(f->collect == NULL && f->uploads == 0);
    PV_ASSERT(pv_list_empty(&f->waiting) && pv_list_empty(&f->pings));
    pv_budget_release(&f->memory);
    pv_free(f);
}

void pv_files_work(struct pv_files *f)
{
    pv_collect_schedule(f);
    if (!f->config.no_scrub)
        pv_scrub_schedule(f);
    pv_backup_schedule(f);
}

void pv_files_rest(struct pv_files *f)
{
    pv_collect_stop(f);
    pv_scrub_stop(f);
    pv_backup_stop(f);
}

void pv_files_request(struct pv_files *f, struct pv_request *rq)
{
    static const struct {
        const char *op;
        void (*start)(struct pv_files *f, struct pv_request *rq);
    } table[] = {
        {"verify", pv_query_verify}, {"store", pv_ingest_start},    {"get", pv_retrieve_start},
        {"ls", pv_query_ls},         {"stat", pv_query_stat},       {"rm", pv_query_rm},
        {"status", pv_query_status}, {"peers", pv_query_peers},     {"ping", pv_query_ping},
        {"gc", pv_query_gc},         {"restore", pv_query_restore}, {"history", pv_query_history},
    };
    const char *op = json_string_value(json_object_get(rq->args, "op"));
    for (size_t i = 0; op != NULL && i < PV_COUNT(table); i++) {
        if (strcmp(op, table[i].op) == 0) {
            table[i].start(f, rq);
            return;
        }
    }
    pv_request_fail(rq, PV_EXIT_USAGE, "unknown operation: is the server of an older version?");
}

/* ---- deadlines ---- */

void pv_files_arm(struct pv_files *f, struct pv_timer *t, uint64_t at_ms)
{
    pv_list_remove(&t->link);
    t->at_ms = at_ms;
    pv_list_push_back(&f->waiting, &t->link);
}

void pv_files_disarm(struct pv_timer *t)
{
    pv_list_remove(&t->link);
}

static struct pv_timer *earliest(const struct pv_files *f)
{
    struct pv_timer *first = NULL;
    PV_LIST_EACH(&f->waiting, e)
    {
        struct pv_timer *t = PV_LIST_ENTRY(e, struct pv_timer, link);
        if (first == NULL || t->at_ms < first->at_ms)
            first = t;
    }
    return first;
}

uint64_t pv_files_deadline_ms(const struct pv_files *f)
{
    const struct pv_timer *t = earliest(f);
    return t == NULL ? UINT64_MAX : t->at_ms;
}

void pv_files_tick(struct pv_files *f)
{
    uint64_t now = pv_env_mono_ms(f->config.env);
    struct pv_timer *t;
    /* Firing may arm and disarm any of them, so each round looks anew. */
    while ((t = earliest(f)) != NULL && t->at_ms <= now) {
        pv_files_disarm(t);
        t->fire(t);
    }
}
