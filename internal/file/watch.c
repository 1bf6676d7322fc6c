/*
 * Envelopes of changes wait in a buffer; one job at a time opens all that are there, and the loop
 * tells what they say to every watcher whose prefix fits. So changes are told in the order of their
 * commits, and opened once, however many watch. Without a watcher nothing of this happens.
 *
 * A watcher's queue is the output of its connection: while that is full (io.writable) changes are
 * counted instead, and when it has drained the count is told first. A change that found no room in
 * the buffer was missed by all.
 */
#include "internal/file/watch.h"

#include "internal/base/buf.h"
#include "internal/base/limits.h"
#include "internal/file/files_private.h"
#include "internal/file/meaning.h"
#include "internal/file/open_record.h"

#include <string.h>

struct watcher {
    struct pv_watching *watching;
    struct pv_request *rq;
    struct pv_list link;
    char prefix[PV_NAME_MAX + 1];
    size_t prefix_len;
    uint64_t missed;
};

struct change {
    struct pv_list link;
    bool is_removal;
    struct pv_name_body body; /* its bytes are in plain */
    size_t plain_len;
    uint8_t plain[];
};

struct pv_watching {
    struct pv_files *files;
    struct pv_list watchers;
    unsigned count;
    struct pv_buf waiting;
    uint64_t missed; /* by all: since the job that runs was begun */
    struct opening {
        struct pv_job job;
        bool running;
        struct pv_buf envelopes;
        struct pv_list changes;
        uint64_t missed;
    } opening;
};

/* ---- telling ---- */

static bool tell_missed(struct watcher *w)
{
    if (!w->rq->io->writable(w->rq))
        return false;
    if (w->missed > 0)
        w->rq->io->event(
            w->rq, json_pack("{s:s, s:I}", "event", "missed", "count", (json_int_t)w->missed));
    w->missed = 0;
    return true;
}

static json_t *describe(const struct change *c)
{
    const struct pv_name_body *b = &c->body;
    char key[PV_ID_HEX_LEN + 1], author[PV_NODE_TEXT_LEN];
    struct pv_id node;
    json_t *event;
    pv_node_id_of(&node, b->author.pub);
    pv_node_id_format(author, &node);
    pv_id_hex(key, &b->file_sha256);
    if (b->is_value && !c->is_removal)
        event = pv_meaning_describe(
            b, json_pack("{s:s, s:s, s:b}", "event", "change", "change", "set", "data", 1));
    else
        event = json_pack("{s:s, s:s, s:I, s:s, s:s*}", "event", "change", "change",
                          b->is_value     ? "unset"
                          : c->is_removal ? "rm"
                                          : "store",
                          "written_ms", (json_int_t)pv_hlc_ms(b->author.hlc), "author", author,
                          "key", b->is_value ? NULL : key);
    if (event != NULL)
        pv_json_set_name(event, b->name, b->name_len);
    return event;
}

static void tell(struct watcher *w, const struct change *c)
{
    const struct pv_name_body *b = &c->body;
    if (b->name_len < w->prefix_len || memcmp(b->name, w->prefix, w->prefix_len) != 0)
        return;
    if (!tell_missed(w)) {
        w->missed++;
        return;
    }
    w->rq->io->event(w->rq, describe(c));
    if (b->is_value && !c->is_removal)
        w->rq->io->data(w->rq, b->value, b->value_len, true);
}

static void all_missed(struct pv_watching *w, uint64_t count)
{
    PV_LIST_EACH(&w->watchers, e)
    {
        struct watcher *one = PV_LIST_ENTRY(e, struct watcher, link);
        one->missed += count;
        if (count > 0)
            (void)tell_missed(one); /* else when there is room again */
    }
}

/* ---- opening ---- */

static struct change *open_change(const uint8_t *env, size_t len, const struct pv_job_context *ctx,
                                  enum pv_err *err)
{
    struct pv_record rec;
    struct change *c = NULL;
    *err = pv_record_parse(&rec, env, len);
    if (*err != PV_OK)
        return NULL;
    c = pv_calloc(1, sizeof *c + rec.body_len);
    *err = c == NULL ? PV_E_NOMEM : pv_open_any(c->plain, &rec, env, len, ctx);
    if (*err == PV_OK)
        *err = pv_name_body_decode(&c->body, c->plain, rec.body_len, false);
    if (*err == PV_OK) {
        c->plain_len = rec.body_len;
        c->is_removal = (rec.flags & PV_RECORD_TOMBSTONE) != 0;
        return c;
    }
    pv_free(c);
    return NULL;
}

/* What cannot be read is no change that anybody here could see. */
static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct opening *o = PV_CONTAINER_OF(job, struct opening, job);
    for (size_t at = 0; at < o->envelopes.len;) {
        size_t len;
        enum pv_err err;
        memcpy(&len, o->envelopes.data + at, sizeof len);
        at += sizeof len;
        struct change *c = open_change(o->envelopes.data + at, len, ctx, &err);
        if (c != NULL)
            pv_list_push_back(&o->changes, &c->link);
        o->missed += err == PV_E_NOMEM;
        at += len;
    }
}

static void drop_changes(struct opening *o)
{
    while (!pv_list_empty(&o->changes)) {
        struct change *c = PV_LIST_ENTRY(o->changes.next, struct change, link);
        pv_list_remove(&c->link);
        pv_wipe(c->plain, c->plain_len);
        pv_free(c);
    }
}

static void open_next(struct pv_watching *w);

static void on_opened(struct pv_job *job)
{
    struct opening *o = PV_CONTAINER_OF(job, struct opening, job);
    struct pv_watching *w = PV_CONTAINER_OF(o, struct pv_watching, opening);
    o->running = false;
    PV_LIST_EACH(&o->changes, c)
    {
        PV_LIST_EACH(&w->watchers, e)
        tell(PV_LIST_ENTRY(e, struct watcher, link), PV_LIST_ENTRY(c, struct change, link));
    }
    all_missed(w, o->missed);
    drop_changes(o);
    open_next(w);
}

static void open_next(struct pv_watching *w)
{
    struct opening *o = &w->opening;
    if (o->running || (w->waiting.len == 0 && w->missed == 0))
        return;
    struct pv_buf full = w->waiting;
    w->waiting = o->envelopes;
    pv_buf_reset(&w->waiting);
    o->envelopes = full;
    o->missed = w->missed;
    w->missed = 0;
    o->running = true;
    o->job = (struct pv_job){.run = run, .done = on_opened};
    pv_node_submit(w->files->config.node, &o->job);
}

void pv_watching_committed(struct pv_watching *w, const struct pv_commit *c)
{
    for (size_t i = 0; w->count > 0 && i < c->count; i++) {
        const struct pv_commit_op *op = &c->ops[i];
        struct pv_record rec;
        if (op->type != PV_COMMIT_RECORD || !op->applied ||
            pv_record_parse(&rec, op->u.record.env, op->u.record.len) != PV_OK ||
            rec.type != PV_RECORD_NAME)
            continue;
        size_t len = op->u.record.len, before = w->waiting.len;
        if (pv_buf_append(&w->waiting, &len, sizeof len) == PV_OK &&
            pv_buf_append(&w->waiting, op->u.record.env, len) == PV_OK)
            continue;
        w->waiting.len = before; /* no half of it */
        w->missed++;
    }
    if (!pv_node_closing(w->files->config.node))
        open_next(w);
}

enum pv_err pv_watching_new(struct pv_watching **out, struct pv_files *f)
{
    struct pv_watching *w = pv_calloc(1, sizeof *w);
    if (w == NULL)
        return PV_E_NOMEM;
    w->files = f;
    pv_list_init(&w->watchers);
    pv_list_init(&w->opening.changes);
    pv_buf_init(&w->waiting, PV_WATCH_WAITING_MAX);
    pv_buf_init(&w->opening.envelopes, PV_WATCH_WAITING_MAX);
    *out = w;
    return PV_OK;
}

void pv_watching_free(struct pv_watching *w)
{
    if (w == NULL)
        return;
    PV_ASSERT(w->count == 0 && !w->opening.running);
    pv_buf_release(&w->waiting);
    pv_buf_release(&w->opening.envelopes);
    pv_free(w);
}

/* ---- the request ---- */

static void on_writable(struct pv_request *rq)
{
    struct watcher *w = rq->op;
    if (w->missed > 0)
        (void)tell_missed(w);
}

static void on_cancel(struct pv_request *rq)
{
    struct watcher *w = rq->op;
    struct pv_watching *all = w->watching;
    pv_list_remove(&w->link);
    pv_free(w);
    if (--all->count > 0)
        return;
    pv_buf_release(&all->waiting);
    all->missed = 0;
}

void pv_query_watch(struct pv_files *f, struct pv_request *rq)
{
    static const struct pv_request_ops ops = {.on_writable = on_writable, .on_cancel = on_cancel};
    struct pv_watching *all = f->watching;
    if (all->count >= PV_WATCHERS_MAX) {
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE, "%d clients watch already: end one of them",
                        (int)PV_WATCHERS_MAX);
        return;
    }
    struct watcher *w = pv_calloc(1, sizeof *w);
    if (w == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    if (pv_request_bytes(rq, "prefix", w->prefix, PV_NAME_MAX, &w->prefix_len) == PV_E_INVALID) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed prefix");
        pv_free(w);
        return;
    }
    w->watching = all;
    w->rq = rq;
    rq->op = w;
    rq->ops = &ops;
    pv_list_push_back(&all->watchers, &w->link);
    all->count++;
    rq->io->event(rq, json_pack("{s:s}", "event", "watching"));
}
