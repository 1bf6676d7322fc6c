/*
 * A peer says that our copy of a blob is bad, or reading found its file missing.
 *
 *   check (job: SHA-256 of what is stored) -> good: nothing
 *                                          -> bad: reserve memory, fetch another copy (replace)
 *
 * The copy is checked before anything is believed. At most PV_REPAIRS_MAX are under way; a
 * complaint beyond that comes again when the blob is offered again.
 */
#include "internal/node/push_private.h"

enum { READ_LEN = 65536 };

struct repair {
    struct pv_push *push;
    struct pv_list link;
    struct pv_id id;
    struct pv_job job;
    bool bad;
    uint32_t size;
    uint8_t kind;
    struct pv_budget_wait wait;
    bool reserved;
    struct pv_fetch fetch;
};

static void repair_end(struct repair *r)
{
    struct pv_push *s = r->push;
    pv_list_remove(&r->link);
    s->repair_count--;
    pv_budget_cancel(&r->wait);
    if (r->reserved)
        pv_budget_give(&s->inbound, r->size);
    pv_free(r);
}

static void fetched(struct pv_fetch *f, enum pv_err err, uint8_t *bytes)
{
    struct repair *r = f->ctx;
    struct pv_push *s = r->push;
    struct pv_log *log = s->node->config.env->log;
    pv_free(bytes); /* the fetch has committed them */
    if (err == PV_OK)
        PV_LOG(log, PV_LOG_INFO, PV_SUB_NODE, "a damaged blob was fetched again", "blob",
               pv_log_id(r->id.b));
    else
        PV_LOG(log, PV_LOG_ERROR, PV_SUB_NODE, "a damaged blob has no other copy in reach", "blob",
               pv_log_id(r->id.b), "cause", pv_err_text(err));
    repair_end(r);
    if (err != PV_OK)
        return;
    size_t pos = 0;
    struct pv_peer *p;
    while ((p = pv_node_next_peer(s->node, &pos)) != NULL)
        if (p->push != NULL)
            pv_walk_restart(p->push); /* it lies behind the cursors */
}

static void repair_fetch(struct repair *r)
{
    r->reserved = true;
    r->fetch = (struct pv_fetch){
        .id = r->id,
        .size = r->size,
        .kind = r->kind,
        .replace = true,
        .done = fetched,
        .ctx = r,
    };
    pv_fetch_start(r->push->node, &r->fetch);
}

/* Once the node closes nothing is fetched, and the last repairs end one by one, each giving room.
 */
static void granted(struct pv_budget_wait *wait)
{
    struct repair *r = PV_CONTAINER_OF(wait, struct repair, wait);
    if (r->push->node->closing)
        r->reserved = true;
    else
        repair_fetch(r);
}

static void check_done(struct pv_job *base)
{
    struct repair *r = PV_CONTAINER_OF(base, struct repair, job);
    struct pv_push *s = r->push;
    if (!r->bad || s->node->closing) {
        repair_end(r);
        return;
    }
    PV_LOG(s->node->config.env->log, PV_LOG_ERROR, PV_SUB_NODE, "a stored blob is damaged", "blob",
           pv_log_id(r->id.b));
    r->wait.granted = granted;
    pv_body_make_room(s, r->size);
    if (pv_budget_take(&s->inbound, r->size, &r->wait))
        repair_fetch(r);
}

/* CORRUPT when the bytes are there and wrong, or should be there and are not. */
static enum pv_err check_bytes(const struct repair *r, struct pv_store *store, uint8_t *bytes,
                               struct pv_sha256 *sha)
{
    uint32_t offset = 0, size;
    size_t got;
    while (offset < r->size) {
        enum pv_err err = pv_store_read(store, &r->id, offset, bytes, READ_LEN, &got, &size);
        if (err != PV_OK)
            return err;
        if (got == 0)
            return PV_E_CORRUPT;
        pv_sha256_update(sha, bytes, got);
        offset += (uint32_t)got;
    }
    struct pv_id actual;
    pv_sha256_final(sha, actual.b);
    return pv_id_equal(&actual, &r->id) ? PV_OK : PV_E_CORRUPT;
}

static void check_run(struct pv_job *base, const struct pv_job_context *ctx)
{
    struct repair *r = PV_CONTAINER_OF(base, struct repair, job);
    struct pv_blob_info info;
    if (pv_store_blob(ctx->store, &r->id, &info) != PV_OK)
        return; /* not here: nothing to repair */
    if (info.size < PV_BLOB_LEN_MIN || info.size > PV_BLOB_LEN_MAX)
        return;
    r->size = info.size;
    r->kind = info.kind;
    uint8_t *bytes = pv_malloc(READ_LEN);
    struct pv_sha256 *sha = pv_sha256_new();
    if (bytes != NULL && sha != NULL)
        r->bad = check_bytes(r, ctx->store, bytes, sha) == PV_E_CORRUPT;
    pv_sha256_free(sha);
    pv_free(bytes);
}

void pv_repair_check(struct pv_push *s, const struct pv_id *id)
{
    PV_LIST_EACH(&s->repairs, e)
    {
        if (pv_id_equal(&PV_LIST_ENTRY(e, struct repair, link)->id, id))
            return;
    }
    struct repair *r = s->repair_count < PV_REPAIRS_MAX ? pv_calloc(1, sizeof *r) : NULL;
    if (r == NULL)
        return;
    r->push = s;
    r->id = *id;
    pv_list_push_back(&s->repairs, &r->link);
    s->repair_count++;
    r->job = (struct pv_job){.run = check_run, .done = check_done};
    pv_node_submit(s->node, &r->job);
}

void pv_repair_release(struct pv_push *s)
{
    while (!pv_list_empty(&s->repairs)) { /* no job runs any more */
        struct repair *r = PV_LIST_ENTRY(s->repairs.next, struct repair, link);
        pv_fetch_cancel(s->node, &r->fetch);
        repair_end(r);
    }
}
