/* Requests by their op. */
#include "internal/file/files_private.h"

#include "internal/file/ingest_private.h"

#include <string.h>

_Static_assert((int)PV_FILES_MEMORY_MIN >= (int)PV_INGEST_STREAM_BYTES,
               "one upload always fits into the budget");

static void committed(void *arg, const struct pv_commit *c)
{
    pv_watching_committed(arg, c);
}

enum pv_err pv_files_new(struct pv_files **out, const struct pv_files_config *config)
{
    if (config->memory_bytes < PV_FILES_MEMORY_MIN)
        return PV_E_INVALID;
    struct pv_files *f = pv_calloc(1, sizeof *f);
    if (f == NULL)
        return PV_E_NOMEM;
    f->config = *config;
    pv_budget_init(&f->memory, "files", config->memory_bytes);
    pv_timers_init(&f->timers);
    if (pv_watching_new(&f->watching, f) != PV_OK) {
        pv_free(f);
        return PV_E_NOMEM;
    }
    pv_node_observe(config->node, committed, f->watching);
    *out = f;
    return PV_OK;
}

void pv_files_free(struct pv_files *f)
{
    if (f == NULL)
        return;
    PV_ASSERT(f->uploads == 0);
    PV_ASSERT(pv_list_empty(&f->timers.waiting));
    pv_watching_free(f->watching);
    pv_budget_release(&f->memory);
    pv_free(f);
}

void pv_files_request(struct pv_files *f, struct pv_request *rq)
{
    static const struct {
        const char *op;
        void (*start)(struct pv_files *f, struct pv_request *rq);
    } table[] = {
        {"store", pv_ingest_start},    {"get", pv_retrieve_start},    {"ls", pv_query_ls},
        {"stat", pv_query_stat},       {"rm", pv_query_rm},           {"status", pv_query_status},
        {"restore", pv_query_restore}, {"history", pv_query_history}, {"value", pv_query_value},
        {"set", pv_write_set},         {"unset", pv_write_unset},     {"undo", pv_write_undo},
        {"watch", pv_query_watch},     {"where", pv_query_where},
    };
    bool keyed = pv_keyring_active(pv_node_config(f->config.node)->keyring) != NULL;
    const char *op = json_string_value(json_object_get(rq->args, "op"));
    for (size_t i = 0; op != NULL && i < PV_COUNT(table); i++) {
        if (strcmp(op, table[i].op) != 0)
            continue;
        if (keyed || table[i].start == pv_query_status)
            table[i].start(f, rq);
        else
            pv_request_fail(rq, PV_EXIT_DENIED,
                            "this is a blind node, which keeps what it cannot "
                            "read: ask a keyed one");
        return;
    }
    pv_request_fail(rq, PV_EXIT_USAGE, "unknown operation: is the server of an older version?");
}

uint64_t pv_files_deadline_ms(const struct pv_files *f)
{
    return pv_timers_deadline_ms(&f->timers);
}

void pv_files_tick(struct pv_files *f)
{
    pv_timers_tick(&f->timers, pv_env_mono_ms(f->config.env));
}
