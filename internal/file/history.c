/* history: one job reads the versions of a name and what is known of their files; then the reply.
 */
#include "internal/file/files_private.h"
#include "internal/file/versions.h"

struct telling {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled */
    struct pv_job job;
    char name[PV_NAME_MAX + 1];
    size_t name_len;
    struct pv_versions versions;
    struct pv_told {
        bool is_known, is_live;
        uint64_t size;
    } told[PV_VERSIONS_MAX];
};

static enum pv_err look_at_file(struct pv_told *told, const struct pv_version *v,
                                const struct pv_job_context *ctx)
{
    struct pv_lookup file = {.target = NULL};
    enum pv_err err = pv_lookup_ever(&file, &v->file_rid, &v->sha256, &told->is_live, ctx);
    told->is_known = err == PV_OK;
    told->size = err == PV_OK ? file.body.size : 0;
    pv_lookup_release(&file);
    return err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED || err == PV_E_CORRUPT ? PV_OK : err;
}

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct telling *t = PV_CONTAINER_OF(job, struct telling, job);
    job->err = pv_versions_read(&t->versions, t->name, t->name_len, ctx);
    for (size_t i = 0; job->err == PV_OK && i < t->versions.count; i++)
        if (!t->versions.list[i].is_value)
            job->err = look_at_file(&t->told[i], &t->versions.list[i], ctx);
}

/* A value, with its bytes unless it is long, or was removed then. */
static void tell_value(struct telling *t, const struct pv_version *v)
{
    char sha256[PV_ID_HEX_LEN + 1], author[PV_NODE_TEXT_LEN];
    bool has_data = v->has_bytes && !v->is_removal;
    pv_node_id_format(author, &v->author);
    json_t *event =
        json_pack("{s:s, s:b, s:I, s:s, s:b, s:b, s:b}", "event", "version", "value", 1,
                  "written_ms", (json_int_t)pv_hlc_ms(v->hlc), "author", author, "deleted",
                  (int)v->is_removal, "current", (int)v->is_current, "data", (int)has_data);
    pv_id_hex(sha256, &v->sha256);
    if (event != NULL && !v->is_removal &&
        (json_object_set_new(event, "sha256", json_string(sha256)) != 0 ||
         json_object_set_new(event, "size", json_integer((json_int_t)v->value_len)) != 0)) {
        json_decref(event);
        event = NULL;
    }
    t->rq->io->event(t->rq, event);
    if (has_data)
        t->rq->io->data(t->rq, t->versions.bytes.data + v->bytes_at, v->value_len, true);
}

static void tell(struct telling *t, size_t i)
{
    const struct pv_version *v = &t->versions.list[i];
    const struct pv_told *told = &t->told[i];
    char key[PV_ID_HEX_LEN + 1], author[PV_NODE_TEXT_LEN];
    const char *file = !told->is_known ? "unknown" : told->is_live ? "live" : "removed";
    pv_id_hex(key, &v->sha256);
    pv_node_id_format(author, &v->author);
    json_t *event =
        json_pack("{s:s, s:s, s:I, s:s, s:b, s:b, s:s}", "event", "version", "key", key,
                  "written_ms", (json_int_t)pv_hlc_ms(v->hlc), "author", author, "deleted",
                  (int)v->is_removal, "current", (int)v->is_current, "file", file);
    if (event != NULL && told->is_known &&
        json_object_set_new(event, "size", json_integer((json_int_t)told->size)) != 0) {
        json_decref(event);
        event = NULL;
    }
    t->rq->io->event(t->rq, event);
}

static void on_done(struct pv_job *job)
{
    struct telling *t = PV_CONTAINER_OF(job, struct telling, job);
    struct pv_lookup none = {.target = NULL};
    if (t->rq != NULL && job->err != PV_OK) {
        pv_lookup_refuse(t->files, t->rq, &none, job->err);
    } else if (t->rq != NULL) {
        for (size_t i = 0; i < t->versions.count; i++)
            if (t->versions.list[i].is_value)
                tell_value(t, &t->versions.list[i]);
            else
                tell(t, i);
        pv_request_ok(t->rq, json_pack("{s:I, s:I}", "versions", (json_int_t)t->versions.count,
                                       "unreadable", (json_int_t)t->versions.unreadable));
    }
    pv_versions_release(&t->versions);
    pv_free(t);
}

static void on_cancel(struct pv_request *rq)
{
    struct telling *t = rq->op;
    t->rq = NULL;
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel};

void pv_query_history(struct pv_files *f, struct pv_request *rq)
{
    struct telling *t = pv_calloc(1, sizeof *t);
    if (t == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    t->files = f;
    enum pv_err err = pv_request_bytes(rq, "name", t->name, PV_NAME_MAX, &t->name_len);
    if (err != PV_OK || t->name_len == 0) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed name");
        pv_free(t);
        return;
    }
    t->rq = rq;
    rq->op = t;
    rq->ops = &ops;
    t->job = (struct pv_job){.run = run, .done = on_done};
    pv_node_submit(f->config.node, &t->job);
}
