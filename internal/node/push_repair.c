/*
 * Repairs, at most PV_REPAIRS_MAX at once. Of those that peers ask for, two of one blob are one,
 * and one too many comes again when the blob is offered again. Nothing is believed: the commit
 * looks at the bytes itself.
 */
#include "internal/node/push_private.h"
#include "internal/base/sometimes.h"

enum { LOST_WAIT_MS = 1000 };

struct pv_repair {
    struct pv_push *push;
    struct pv_list link;
    struct pv_repair_what what;
    pv_repair_fn done;
    void *ctx;
    struct pv_job job;
    struct pv_commit_op op;
    struct pv_budget_wait wait;
    bool reserved;
    struct pv_fetch fetch;
};

static void repair_end(struct pv_repair *r, enum pv_repair_end end)
{
    struct pv_push *s = r->push;
    pv_list_remove(&r->link);
    s->repair_count--;
    pv_budget_cancel(&r->wait);
    if (r->reserved)
        pv_budget_give(&s->inbound, r->what.size);
    if (r->done != NULL)
        r->done(r->ctx, end);
    pv_free(r);
}

/* Whoever believes that we have them offers those that it has. */
static void flush_lost(struct pv_push *s)
{
    size_t pos = 0, count = s->lost_count;
    struct pv_peer *p;
    s->lost_count = 0;
    while ((p = pv_node_next_peer(s->node, &pos)) != NULL) {
        struct pv_wr w = pv_wr_of(s->node->scratch, PV_FRAME_PLAIN_MAX);
        pv_msg_put_ids(&w, PV_MSG_LOST, 0, s->lost, count);
        pv_peer_send(p, &w);
    }
}

/* Many in one message, because each makes its receiver walk all its blobs. */
static void tell_lost(struct pv_push *s, const struct pv_id *id)
{
    if (s->lost_count == 0)
        s->lost_due_ms = pv_node_now(s->node) + LOST_WAIT_MS;
    s->lost[s->lost_count++] = *id;
    if (s->lost_count == PV_MSG_IDS_MAX)
        flush_lost(s);
    pv_push_soon(s);
}

void pv_repair_tick(struct pv_push *s)
{
    if (s->lost_count > 0 && pv_node_now(s->node) >= s->lost_due_ms)
        flush_lost(s);
    else if (s->lost_count > 0)
        pv_push_due(s, s->lost_due_ms);
}

static void no_copy(struct pv_repair *r, enum pv_err err)
{
    struct pv_node *n = r->push->node;
    PV_SOMETIMES("repair: no other copy in reach");
    PV_LOG(n->config.env->log, PV_LOG_ERROR, PV_SUB_NODE,
           "a damaged blob has no other copy in reach", "blob", pv_log_id(r->what.id.b), "cause",
           pv_err_text(err));
    if (r->op.u.bad.gone)
        tell_lost(r->push, &r->what.id);
    repair_end(r, r->op.u.bad.gone ? PV_REPAIR_LOST : PV_REPAIR_UNREADABLE);
}

static void fetched(struct pv_fetch *f, enum pv_err err, uint8_t *bytes)
{
    struct pv_repair *r = f->ctx;
    struct pv_push *s = r->push;
    bool kept = err == PV_OK && f->kept;
    pv_free(bytes); /* the fetch has committed them */
    if (err == PV_E_NOMEM || (err == PV_OK && !kept)) {
        repair_end(r, PV_REPAIR_FAILED);
        return;
    }
    if (err != PV_OK) {
        no_copy(r, err);
        return;
    }
    PV_SOMETIMES("repair: fetched again");
    PV_LOG(s->node->config.env->log, PV_LOG_INFO, PV_SUB_NODE, "a damaged blob was fetched again",
           "blob", pv_log_id(r->what.id.b));
    repair_end(r, PV_REPAIR_DONE);
    size_t pos = 0;
    struct pv_peer *p;
    while ((p = pv_node_next_peer(s->node, &pos)) != NULL)
        if (p->push != NULL)
            pv_walk_restart(p->push); /* it lies behind the cursors */
}

static void repair_fetch(struct pv_repair *r)
{
    r->reserved = true;
    r->fetch = (struct pv_fetch){
        .id = r->what.id,
        .size = r->what.size,
        .kind = r->what.kind,
        .replace = !r->op.u.bad.gone,
        .done = fetched,
        .ctx = r,
    };
    pv_fetch_start(r->push->node, &r->fetch);
}

/* Once the node closes nothing is fetched, and the last repairs end one by one, each giving room.
 */
static void granted(struct pv_budget_wait *wait)
{
    struct pv_repair *r = PV_CONTAINER_OF(wait, struct pv_repair, wait);
    if (r->push->node->closing)
        r->reserved = true;
    else
        repair_fetch(r);
}

/* The bytes are gone, or cannot be read. */
static void look_elsewhere(struct pv_repair *r)
{
    struct pv_push *s = r->push;
    size_t pos = 0;
    if (r->op.u.bad.here) {
        r->what.size = r->op.u.bad.size;
        r->what.kind = r->op.u.bad.kind;
    }
    if (r->what.size < PV_BLOB_LEN_MIN || r->what.size > PV_BLOB_LEN_MAX)
        r->what.size = PV_BLOB_LEN_MAX; /* the row was wrong, too */
    if (pv_node_next_peer(s->node, &pos) == NULL) {
        no_copy(r, PV_E_UNAVAILABLE);
        return;
    }
    r->wait.granted = granted;
    pv_body_make_room(s, r->what.size);
    if (pv_budget_take(&s->inbound, r->what.size, &r->wait))
        repair_fetch(r);
}

static void looked(struct pv_job *base)
{
    struct pv_repair *r = PV_CONTAINER_OF(base, struct pv_repair, job);
    struct pv_push *s = r->push;
    bool bad = r->op.u.bad.gone || r->op.u.bad.result == PV_CHECK_UNREADABLE;
    bool absent = r->op.u.bad.gone && !r->op.u.bad.here && !r->what.wanted;
    if (base->commit.err != PV_OK || s->node->closing) {
        repair_end(r, PV_REPAIR_FAILED);
    } else if (!bad || absent) {
        repair_end(r, r->op.u.bad.result == PV_CHECK_BAD_SUM ? PV_REPAIR_DONE : PV_REPAIR_GOOD);
    } else {
        PV_LOG(s->node->config.env->log, PV_LOG_ERROR, PV_SUB_NODE, "a stored blob is damaged",
               "blob", pv_log_id(r->what.id.b));
        look_elsewhere(r);
    }
}

struct pv_repair *pv_repair_start(struct pv_node *n, const struct pv_repair_what *what,
                                  pv_repair_fn done, void *ctx)
{
    struct pv_push *s = n->push;
    struct pv_repair *r = s->repair_count < PV_REPAIRS_MAX ? pv_calloc(1, sizeof *r) : NULL;
    if (r == NULL)
        return NULL;
    r->push = s;
    r->what = *what;
    r->done = done;
    r->ctx = ctx;
    pv_list_push_back(&s->repairs, &r->link);
    s->repair_count++;
    r->op = (struct pv_commit_op){.type = PV_COMMIT_BAD};
    r->op.u.bad.id = what->id;
    r->op.u.bad.why = what->wanted ? PV_BAD_WANTED : PV_BAD_FOUND;
    r->job = (struct pv_job){.done = looked, .commit = {.ops = &r->op, .count = 1}};
    pv_node_submit(n, &r->job);
    return r;
}

void pv_repair_abandon(struct pv_repair *r)
{
    r->done = NULL;
}

void pv_repair_check(struct pv_push *s, const struct pv_id *id)
{
    struct pv_repair_what what = {.id = *id};
    PV_LIST_EACH(&s->repairs, e)
    {
        if (pv_id_equal(&PV_LIST_ENTRY(e, struct pv_repair, link)->what.id, id))
            return;
    }
    (void)pv_repair_start(s->node, &what, NULL, NULL);
}

void pv_repair_release(struct pv_push *s)
{
    while (!pv_list_empty(&s->repairs)) { /* no job runs any more */
        struct pv_repair *r = PV_LIST_ENTRY(s->repairs.next, struct pv_repair, link);
        pv_fetch_cancel(s->node, &r->fetch);
        repair_end(r, PV_REPAIR_FAILED);
    }
}

/* ---- those who come later ---- */

struct lost_job {
    struct pv_job job;
    struct pv_node *node;
    pv_link link;
    struct pv_id ids[PV_LOST_MAX];
    size_t count;
};

static void lost_run(struct pv_job *base, const struct pv_job_context *ctx)
{
    struct lost_job *l = PV_CONTAINER_OF(base, struct lost_job, job);
    base->err = pv_store_lost(ctx->store, l->ids, &l->count);
}

static void lost_done(struct pv_job *base)
{
    struct lost_job *l = PV_CONTAINER_OF(base, struct lost_job, job);
    struct pv_node *n = l->node;
    struct pv_push_peer *pp = pv_push_peer_of(n, l->link);
    if (base->err == PV_OK && l->count > 0 && pp != NULL) {
        struct pv_wr w = pv_wr_of(n->scratch, PV_FRAME_PLAIN_MAX);
        pv_msg_put_ids(&w, PV_MSG_LOST, 0, l->ids, l->count);
        pv_peer_send(pp->peer, &w);
    }
    pv_free(l);
}

void pv_repair_on_admitted(struct pv_peer *p)
{
    struct lost_job *l = pv_calloc(1, sizeof *l);
    if (l == NULL)
        return; /* it is told at its next connection */
    l->node = p->node;
    l->link = p->link;
    l->job = (struct pv_job){.run = lost_run, .done = lost_done};
    pv_node_submit(p->node, &l->job);
}
