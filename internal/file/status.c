/* status: what the node knows of itself. */
#include "internal/file/files_private.h"
#include "internal/file/tally.h"
#include "storage/scrub_state.h"

#include <string.h>

struct status {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled */
    struct pv_job job;
    struct pv_store_counts counts;
    enum pv_err probe, room;
    struct pv_scrub_state scrub;
    struct pv_id *lost; /* PV_LOST_MAX */
    size_t lost_count;
    uint64_t quarantined;
    bool scanned; /* the blobs' copies are to be counted */
    struct pv_tally tally;
};

static void run_counts(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct status *s = PV_CONTAINER_OF(job, struct status, job);
    s->probe = pv_store_probe(ctx->store);
    s->room = pv_store_room(ctx->store);
    job->err = pv_store_counts(ctx->store, &s->counts);
    s->lost = pv_calloc(PV_LOST_MAX, sizeof *s->lost);
    if (job->err == PV_OK)
        job->err =
            s->lost == NULL ? PV_E_NOMEM : pv_store_lost(ctx->store, s->lost, &s->lost_count);
    if (job->err == PV_OK)
        job->err = pv_scrub_state_load(ctx->store, &s->scrub);
    if (job->err == PV_OK)
        job->err = pv_store_quarantined(ctx->store, &s->quarantined);
    pv_free(s->lost);
    s->lost = NULL;
}

static void run_scan(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct status *s = PV_CONTAINER_OF(job, struct status, job);
    job->err = pv_tally_slice(&s->tally, ctx->store);
}

/* Blobs that the disk refused to read, in the last pass or in this one. */
static uint64_t unreadable(const struct status *s)
{
    const struct pv_scrub_state *st = &s->scrub;
    return st->unreadable > st->last_unreadable ? st->unreadable : st->last_unreadable;
}

static bool add_problem(json_t *problems, enum pv_exit exit, const char *text, const char *cause)
{
    json_t *p = json_pack("{s:i, s:s++}", "exit", (int)exit, "text", text,
                          cause == NULL ? "" : ": ", cause == NULL ? "" : cause);
    return json_array_append_new(problems, p) == 0;
}

/* What an operator has to look at. NULL: no memory for it. */
static json_t *find_problems(const struct status *s)
{
    json_t *problems = json_array();
    bool complete = problems != NULL;
    if (s->probe != PV_OK)
        complete = add_problem(problems, s->probe == PV_E_NOSPACE ? PV_EXIT_FULL : PV_EXIT_FAILED,
                               "the vault cannot be written", pv_err_text(s->probe)) &&
                   complete;
    else if (s->room == PV_E_NOSPACE)
        complete = add_problem(problems, PV_EXIT_FULL,
                               "new files are refused: the disk is full up to its reserve, or "
                               "disk_limit is reached",
                               NULL) &&
                   complete;
    if (s->counts.unknown_files > PV_UNKNOWN_MAX)
        complete = add_problem(problems, PV_EXIT_CORRUPT,
                               "blob files that vault.db does not know: it is old or lost commits; "
                               "nothing is deleted: `peervault doctor --rebuild` takes them in",
                               NULL) &&
                   complete;
    if (s->lost_count > 0)
        complete = add_problem(problems, PV_EXIT_CORRUPT,
                               "blobs are damaged or missing, and no reachable node has a good "
                               "copy: `peervault verify --repair` tries again and names the files",
                               NULL) &&
                   complete;
    if (unreadable(s) > 0)
        complete = add_problem(problems, PV_EXIT_FAILED,
                               "the disk refuses to read some blobs: `peervault verify --deep` "
                               "names the files",
                               NULL) &&
                   complete;
    if (!complete) {
        json_decref(problems);
        problems = NULL;
    }
    return problems;
}

static json_t *describe_scrub(const struct status *s)
{
    json_int_t since = (json_int_t)s->scrub.since_ms;
    uint64_t bad = s->lost_count + unreadable(s);
    return json_pack("{s:I, s:I, s:o*}", "bad_blobs", (json_int_t)bad, "quarantined",
                     (json_int_t)s->quarantined, "oldest_unverified_ms",
                     since != 0 ? json_integer(since) : NULL);
}

/* NULL: no memory. */
static json_t *describe_copies(const struct status *s)
{
    const struct pv_tally *t = &s->tally;
    bool is_drained = !t->places.placed && t->places.table.count > 0 && t->undelivered == 0 &&
                      s->counts.pending == 0;
    json_t *o = json_object();
    if (!s->scanned || o == NULL)
        return o;
    if (json_object_set_new(o, "under_replicated", json_integer((json_int_t)t->under_replicated)) ||
        json_object_set_new(o, "undelivered", json_integer((json_int_t)t->undelivered)) ||
        json_object_set_new(o, "extra_blobs", json_integer((json_int_t)t->extra)) ||
        json_object_set_new(o, "extra_bytes", json_integer((json_int_t)t->extra_bytes)) ||
        json_object_set_new(o, "placed", json_boolean(t->places.placed)) ||
        json_object_set_new(o, "drained", json_boolean(is_drained))) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* Adds what part says, and releases it; false if part is NULL, or for want of memory. */
static bool add_part(json_t *o, json_t *part)
{
    bool complete = part != NULL && json_object_update(o, part) == 0;
    json_decref(part);
    return complete;
}

/* What the server says of itself, and what the node does. NULL: no memory for all of it. */
static json_t *describe(const struct status *s)
{
    struct pv_files *f = s->files;
    const struct pv_node *n = f->config.node;
    const struct pv_store_counts *c = &s->counts;
    struct pv_node_peer_info peers[PV_MEMBERS_MAX];
    size_t count = pv_node_peers(n, peers, PV_MEMBERS_MAX), in_sync = 0;
    char text[PV_NODE_TEXT_LEN];
    for (size_t i = 0; i < count; i++)
        in_sync += peers[i].in_sync;
    pv_node_id_format(text, &pv_node_config(n)->identity->node_id);
    json_t *problems = find_problems(s), *o = json_object();
    if (f->config.describe_status != NULL)
        f->config.describe_status(f->config.arg, o);
    bool healthy = json_array_size(problems) == 0;
    json_t *part = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "node", text,
        "blobs", (json_int_t)c->blobs, "blob_bytes", (json_int_t)c->blob_bytes, "files",
        (json_int_t)c->files, "names", (json_int_t)c->names, "records", (json_int_t)c->records,
        "pending", (json_int_t)c->pending, "disk_free_bytes", (json_int_t)c->disk_free_bytes,
        "unknown_files", (json_int_t)c->unknown_files, "members", (json_int_t)pv_members_active(n),
        "connected", (json_int_t)count, "in_sync", (json_int_t)in_sync, "mem_used_bytes",
        (json_int_t)f->memory.used_bytes, "healthy", (int)healthy, "problems", problems);
    bool complete = add_part(o, part);
    complete = add_part(o, describe_scrub(s)) && complete;
    complete = add_part(o, describe_copies(s)) && complete;
    if (!complete) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

static void go_on(struct pv_job *job)
{
    struct status *s = PV_CONTAINER_OF(job, struct status, job);
    if (s->rq != NULL && job->err == PV_OK && s->scanned && !s->tally.end) {
        pv_places_now(s->files->config.node, &s->tally.places);
        *job = (struct pv_job){.run = run_scan, .done = go_on};
        pv_node_submit(s->files->config.node, job);
        return;
    }
    if (s->rq != NULL && job->err != PV_OK)
        pv_request_fail(s->rq, pv_exit_of(job->err), "cannot read vault.db: %s",
                        pv_err_text(job->err));
    else if (s->rq != NULL)
        pv_request_ok(s->rq, describe(s));
    pv_free(s);
}

static void status_on_cancel(struct pv_request *rq)
{
    struct status *s = rq->op;
    s->rq = NULL;
}

static const struct pv_request_ops status_ops = {.on_cancel = status_on_cancel};

void pv_query_status(struct pv_files *f, struct pv_request *rq)
{
    struct status *s = pv_calloc(1, sizeof *s);
    if (s == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    s->files = f;
    s->rq = rq;
    s->scanned = json_is_true(json_object_get(rq->args, "copies"));
    rq->op = s;
    rq->ops = &status_ops;
    s->job = (struct pv_job){.run = run_counts, .done = go_on};
    pv_node_submit(f->config.node, &s->job);
}
