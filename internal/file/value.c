/* value: one job reads what the name means, then the reply: what is known of it, and its bytes. */
#include "internal/file/files_private.h"
#include "internal/file/meaning.h"

struct reading {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled */
    struct pv_job job;
    char name[PV_NAME_MAX + 1];
    size_t name_len;
    struct pv_meaning meaning;
    uint8_t *plain;
};

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct reading *r = PV_CONTAINER_OF(job, struct reading, job);
    r->plain = pv_malloc(PV_RECORD_BODY_MAX);
    job->err = r->plain == NULL ? PV_E_NOMEM
                                : pv_meaning_read(&r->meaning, r->plain, r->name, r->name_len, ctx);
}

static void release(struct reading *r)
{
    if (r->plain != NULL)
        pv_wipe(r->plain, PV_RECORD_BODY_MAX);
    pv_free(r->plain);
    pv_free(r);
}

static void tell(struct reading *r)
{
    const struct pv_name_body *body = &r->meaning.body;
    json_t *event = pv_meaning_describe(body, json_pack("{s:s, s:b}", "event", "value", "data", 1));
    if (event != NULL)
        pv_json_set_name(event, r->name, r->name_len);
    json_t *reply = json_pack("{s:O*}", "sha256", json_object_get(event, "sha256"));
    r->rq->io->event(r->rq, event);
    r->rq->io->data(r->rq, body->value, body->value_len, true);
    pv_request_ok(r->rq, reply);
}

static void on_done(struct pv_job *job)
{
    struct reading *r = PV_CONTAINER_OF(job, struct reading, job);
    struct pv_lookup none = {.target = NULL};
    if (r->rq == NULL)
        ; /* nobody waits */
    else if (job->err != PV_OK)
        pv_lookup_refuse(r->files, r->rq, &none, job->err);
    else if (r->meaning.what == PV_MEANS_VALUE)
        tell(r);
    else if (r->meaning.what == PV_MEANS_FILE)
        pv_request_fail(r->rq, PV_EXIT_NOT_FOUND,
                        "this name means a file, no value: `peervault get` gives it back");
    else
        pv_lookup_refuse(r->files, r->rq, &none, PV_E_NOT_FOUND);
    release(r);
}

static void on_cancel(struct pv_request *rq)
{
    struct reading *r = rq->op;
    r->rq = NULL;
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel};

void pv_query_value(struct pv_files *f, struct pv_request *rq)
{
    struct reading *r = pv_calloc(1, sizeof *r);
    if (r == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    r->files = f;
    enum pv_err err = pv_request_bytes(rq, "name", r->name, PV_NAME_MAX, &r->name_len);
    if (err != PV_OK || r->name_len == 0) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed name");
        release(r);
        return;
    }
    r->rq = rq;
    rq->op = r;
    rq->ops = &ops;
    r->job = (struct pv_job){.run = run, .done = on_done};
    pv_node_submit(f->config.node, &r->job);
}
