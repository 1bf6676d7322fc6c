/*
 * ls: a job reads some file records and their names, its entries are given to the client as far as
 * it takes them, then the next job goes on behind the last record. Memory is one job's entries.
 */
#include "internal/file/files_private.h"
#include "internal/base/buf.h"
#include "internal/file/open_record.h"

#include <string.h>

enum { FILES_A_JOB = 32, NAMES_A_FILE = 256, BATCH_BYTES = 256 * 1024 };

struct listing {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled */
    struct pv_job job;
    bool running, end;
    char prefix[PV_NAME_MAX + 1];
    size_t prefix_len;
    struct pv_id after; /* the last file record read */
    json_t *entries;    /* of the last job */
    size_t given;       /* how many of them the client has */
    uint64_t total;
    struct pv_buf batch; /* envelopes with their lengths, inside a job */
};

static bool collect(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct listing *l = arg;
    (void)pending;
    return pv_buf_append(&l->batch, &len, sizeof len) == PV_OK &&
           pv_buf_append(&l->batch, env, len) == PV_OK && l->batch.len < BATCH_BYTES;
}

static json_t *entry_of(const struct pv_file_body *b)
{
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, &b->sha256);
    return json_pack("{s:s, s:s, s:I, s:I, s:b}", "event", "entry", "key", hex, "size",
                     (json_int_t)b->size, "mtime_ms", (json_int_t)b->mtime_ms, "private",
                     (int)b->is_private);
}

/* One entry for each name of the file, one without a name if it has none. */
static enum pv_err list_file(struct listing *l, const struct pv_record *file,
                             const struct pv_file_body *body, uint8_t *plain,
                             const struct pv_job_context *ctx)
{
    struct pv_id rids[NAMES_A_FILE];
    size_t count = 0;
    enum pv_err err = pv_store_names_of(ctx->store, &file->rid, rids, NAMES_A_FILE, &count);
    for (size_t i = 0; err == PV_OK && i < count; i++) {
        struct pv_record rec;
        struct pv_name_body name;
        bool pending;
        err = pv_open_live(plain, &rec, &pending, &rids[i], ctx);
        if (err == PV_OK)
            err = pv_name_body_decode(&name, plain, rec.body_len, false);
        if (err == PV_OK && name.name_len >= l->prefix_len &&
            memcmp(name.name, l->prefix, l->prefix_len) == 0) {
            json_t *entry = entry_of(body);
            pv_json_set_name(entry, name.name, name.name_len);
            json_array_append_new(l->entries, entry);
        }
        if (err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED)
            err = PV_OK; /* removed meanwhile, or under a key we have not got */
    }
    if (err == PV_OK && count == 0 && l->prefix_len == 0)
        json_array_append_new(l->entries, entry_of(body));
    return err;
}

static enum pv_err list_batch(struct listing *l, uint8_t *plain, uint8_t *name_plain,
                              const struct pv_job_context *ctx)
{
    enum pv_err err = PV_OK;
    for (size_t at = 0; err == PV_OK && at < l->batch.len;) {
        size_t len;
        struct pv_record rec;
        struct pv_file_body body;
        memcpy(&len, l->batch.data + at, sizeof len);
        at += sizeof len;
        err = pv_open_envelope(plain, &rec, l->batch.data + at, len, ctx);
        if (err == PV_OK)
            err = pv_file_body_decode(&body, plain, rec.body_len, false);
        if (err == PV_OK)
            err = list_file(l, &rec, &body, name_plain, ctx);
        else if (err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED)
            err = PV_OK; /* a tombstone, or under a key we have not got */
        at += len;
    }
    return err;
}

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct listing *l = PV_CONTAINER_OF(job, struct listing, job);
    uint8_t *plain = pv_malloc(2 * PV_RECORD_BODY_MAX);
    pv_buf_init(&l->batch, 2 * BATCH_BYTES);
    job->err = plain == NULL ? PV_E_NOMEM
                             : pv_store_records(ctx->store, PV_RECORD_FILE, &l->after, FILES_A_JOB,
                                                collect, l, &l->end);
    if (job->err == PV_OK)
        job->err = list_batch(l, plain, plain + PV_RECORD_BODY_MAX, ctx);
    if (plain != NULL)
        pv_wipe(plain, 2 * PV_RECORD_BODY_MAX);
    pv_free(plain);
    pv_buf_release(&l->batch);
}

static void release(struct listing *l)
{
    json_decref(l->entries);
    pv_free(l);
}

static void advance(struct listing *l);

static void on_done(struct pv_job *job)
{
    struct listing *l = PV_CONTAINER_OF(job, struct listing, job);
    l->running = false;
    if (l->rq == NULL) {
        release(l);
    } else if (job->err != PV_OK) {
        pv_request_fail(l->rq, pv_exit_of(job->err), "cannot list the records: %s",
                        pv_err_text(job->err));
        release(l);
    } else {
        advance(l);
    }
}

static void advance(struct listing *l)
{
    while (!l->running && l->rq->io->writable(l->rq)) {
        if (l->given < json_array_size(l->entries)) {
            l->rq->io->event(l->rq, json_incref(json_array_get(l->entries, l->given++)));
            l->total++;
        } else if (l->end) {
            pv_request_ok(l->rq, json_pack("{s:I}", "entries", (json_int_t)l->total));
            release(l);
            return;
        } else {
            json_array_clear(l->entries);
            l->given = 0;
            l->running = true;
            l->job = (struct pv_job){.run = run, .done = on_done};
            pv_node_submit(l->files->config.node, &l->job);
        }
    }
}

static void on_writable(struct pv_request *rq)
{
    advance(rq->op);
}

static void on_cancel(struct pv_request *rq)
{
    struct listing *l = rq->op;
    l->rq = NULL;
    if (!l->running)
        release(l);
}

static const struct pv_request_ops ops = {.on_writable = on_writable, .on_cancel = on_cancel};

void pv_query_ls(struct pv_files *f, struct pv_request *rq)
{
    struct listing *l = pv_calloc(1, sizeof *l);
    json_t *entries = json_array();
    if (l == NULL || entries == NULL) {
        pv_free(l);
        json_decref(entries);
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    l->files = f;
    l->rq = rq;
    l->entries = entries;
    if (pv_request_bytes(rq, "prefix", l->prefix, PV_NAME_MAX, &l->prefix_len) == PV_E_INVALID) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed prefix");
        release(l);
        return;
    }
    rq->op = l;
    rq->ops = &ops;
    advance(l);
}
