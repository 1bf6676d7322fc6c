/*
 * ls: first the names in the order of their rids, each with what is known of its file, then (if all
 * is wanted) the files that no name points to. A job reads some records, its entries are given to
 * the client as far as it takes them, then the next job goes on behind the last record. Memory is
 * one job's entries, however many names a file has.
 *
 * With `values` it lists those instead: an entry for each name that means one, with its bytes.
 *
 * A page (`limit`) ends behind a job; its cursor is what was being read and the last record of it.
 * Records have an order that never changes, so what is written between two pages cannot make
 * another entry come twice or not at all.
 *
 * A record that cannot be read is counted and passed over: one bad record of whomever must not hide
 * all the others.
 */
#include "internal/file/files_private.h"
#include "internal/file/meaning.h"
#include "internal/base/buf.h"
#include "internal/file/open_record.h"

#include <string.h>

enum { RECORDS_A_JOB = 64, BATCH_BYTES = 256 * 1024, CURSOR_LEN = 1 + PV_ID_HEX_LEN };

struct listing {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled */
    struct pv_job job;
    bool running, end;
    char prefix[PV_NAME_MAX + 1];
    size_t prefix_len;
    uint8_t type;        /* of the records that are read: names, then files */
    struct pv_id after;  /* the last of them that was read */
    json_t *entries;     /* of the last job */
    size_t given;        /* how many of them the client has */
    bool values;         /* these are listed, and nothing else */
    struct pv_buf bytes; /* of the values among the entries, one behind the other */
    size_t bytes_given;
    uint64_t total, unreadable;
    uint64_t limit;          /* entries after which the page may end */
    struct pv_buf batch;     /* envelopes with their lengths, inside a job */
    struct pv_lookup lookup; /* the file of an entry, inside a job */
};

static bool collect(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct listing *l = arg;
    (void)pending;
    l->job.err = pv_buf_append(&l->batch, &len, sizeof len);
    if (l->job.err == PV_OK)
        l->job.err = pv_buf_append(&l->batch, env, len);
    return l->job.err == PV_OK && l->batch.len < BATCH_BYTES;
}

static enum pv_err add_entry(struct listing *l, const struct pv_name_body *name)
{
    const struct pv_file_body *b = &l->lookup.body;
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, &b->sha256);
    json_t *entry = json_pack("{s:s, s:s, s:I, s:I, s:b}", "event", "entry", "key", hex, "size",
                              (json_int_t)b->size, "mtime_ms", (json_int_t)b->mtime_ms, "private",
                              (int)b->is_private);
    size_t members = json_object_size(entry);
    if (name != NULL)
        pv_json_set_name(entry, name->name, name->name_len);
    if (entry == NULL || json_object_size(entry) != members + (name != NULL)) {
        json_decref(entry);
        return PV_E_NOMEM;
    }
    return json_array_append_new(l->entries, entry) == 0 ? PV_OK : PV_E_NOMEM;
}

static enum pv_err add_value(struct listing *l, const struct pv_name_body *name)
{
    json_t *entry = pv_meaning_describe(name, json_pack("{s:s, s:b}", "event", "entry", "data", 1));
    size_t members = json_object_size(entry);
    if (entry != NULL)
        pv_json_set_name(entry, name->name, name->name_len);
    if (entry == NULL || json_object_size(entry) != members + 1 ||
        pv_buf_append(&l->bytes, name->value, name->value_len) != PV_OK) {
        json_decref(entry);
        return PV_E_NOMEM;
    }
    return json_array_append_new(l->entries, entry) == 0 ? PV_OK : PV_E_NOMEM;
}

/* A name whose file is not here (removed, or yet to come) is not listed, nor is one that was bound
 * anew under a newer cluster key. */
static enum pv_err list_name(struct listing *l, const struct pv_record *rec, const uint8_t *plain,
                             const struct pv_job_context *ctx)
{
    struct pv_name_body name;
    struct pv_id current;
    enum pv_err err = pv_name_body_decode(&name, plain, rec->body_len, false);
    if (err == PV_OK && name.is_value != l->values)
        return PV_OK;
    if (err == PV_OK &&
        (name.name_len < l->prefix_len || memcmp(name.name, l->prefix, l->prefix_len) != 0))
        return PV_OK;
    if (err == PV_OK)
        err = pv_lookup_name_rid(&current, name.name, name.name_len, ctx);
    if (err == PV_OK && !pv_id_equal(&current, &rec->rid))
        return PV_OK;
    if (err == PV_OK && l->values)
        return add_value(l, &name);
    if (err == PV_OK)
        err = pv_lookup_named(&l->lookup, &name, ctx);
    return err == PV_OK ? add_entry(l, &name) : err;
}

/* A file, if it has no name. */
static enum pv_err list_file(struct listing *l, const struct pv_id *rid,
                             const struct pv_job_context *ctx)
{
    struct pv_id name;
    size_t names = 0;
    enum pv_err err = pv_lookup_rid(&l->lookup, rid, ctx);
    if (err == PV_OK && !pv_id_equal(&l->lookup.rid, rid))
        return PV_OK; /* it comes under its newest record */
    if (err == PV_OK)
        err = pv_lookup_names(&l->lookup, &name, 1, &names, ctx);
    return err == PV_OK && names == 0 ? add_entry(l, NULL) : err;
}

static enum pv_err list_batch(struct listing *l, uint8_t *plain, const struct pv_job_context *ctx)
{
    enum pv_err err = PV_OK;
    for (size_t at = 0; err == PV_OK && at < l->batch.len;) {
        size_t len;
        struct pv_record rec;
        memcpy(&len, l->batch.data + at, sizeof len);
        at += sizeof len;
        err = pv_open_envelope(plain, &rec, l->batch.data + at, len, ctx);
        if (err == PV_OK && l->type == PV_RECORD_NAME)
            err = list_name(l, &rec, plain, ctx);
        else if (err == PV_OK)
            err = list_file(l, &rec.rid, ctx);
        if (err == PV_E_UNSUPPORTED || err == PV_E_CORRUPT)
            l->unreadable++; /* under a key we have not got, of a later version, or malformed */
        if (err == PV_E_UNSUPPORTED || err == PV_E_CORRUPT || err == PV_E_NOT_FOUND)
            err = PV_OK; /* not found: a tombstone */
        at += len;
    }
    return err;
}

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct listing *l = PV_CONTAINER_OF(job, struct listing, job);
    uint8_t *plain = pv_malloc(PV_RECORD_BODY_MAX);
    pv_buf_init(&l->batch, 2 * BATCH_BYTES);
    job->err = plain == NULL ? PV_E_NOMEM : PV_OK;
    if (job->err == PV_OK) {
        enum pv_err err =
            pv_store_records(ctx->store, l->type, &l->after, RECORDS_A_JOB, collect, l, &l->end);
        job->err = err != PV_OK ? err : job->err;
    }
    if (job->err == PV_OK)
        job->err = list_batch(l, plain, ctx);
    if (plain != NULL)
        pv_wipe(plain, PV_RECORD_BODY_MAX);
    pv_free(plain);
    pv_buf_release(&l->batch);
    pv_lookup_release(&l->lookup);
}

static void release(struct listing *l)
{
    json_decref(l->entries);
    pv_buf_release(&l->bytes);
    pv_free(l);
}

static void advance(struct listing *l);

static void on_done(struct pv_job *job)
{
    struct listing *l = PV_CONTAINER_OF(job, struct listing, job);
    l->running = false;
    if (l->rq == NULL) {
        release(l);
        return;
    }
    if (job->err != PV_OK) {
        pv_request_fail(l->rq, pv_exit_of(job->err), "cannot list the records: %s",
                        job->err == PV_E_CORRUPT ? PV_DB_DAMAGED_TEXT : pv_err_text(job->err));
        release(l);
        return;
    }
    if (l->end && l->type == PV_RECORD_NAME && l->prefix_len == 0 && !l->values) {
        l->type = PV_RECORD_FILE;
        l->after = (struct pv_id){{0}};
        l->end = false;
    }
    advance(l);
}

/* The end of the list, or of a page. */
static void finish(struct listing *l)
{
    char cursor[CURSOR_LEN + 1];
    json_t *reply = json_pack("{s:I, s:I}", "entries", (json_int_t)l->total, "unreadable",
                              (json_int_t)l->unreadable);
    cursor[0] = l->type == PV_RECORD_NAME ? 'n' : 'f';
    pv_id_hex(cursor + 1, &l->after);
    if (!l->end && json_object_set_new(reply, "next", json_string(cursor)) != 0)
        pv_request_fail(l->rq, pv_exit_of(PV_E_NOMEM), "out of memory");
    else
        pv_request_ok(l->rq, json_incref(reply));
    json_decref(reply);
    release(l);
}

static void give_entry(struct listing *l)
{
    json_t *entry = json_array_get(l->entries, l->given++);
    size_t len = (size_t)json_integer_value(json_object_get(entry, "size"));
    l->rq->io->event(l->rq, json_incref(entry));
    if (l->values) {
        l->rq->io->data(l->rq, l->bytes.data + l->bytes_given, len, true);
        l->bytes_given += len;
    }
    l->total++;
}

static void advance(struct listing *l)
{
    while (!l->running && l->rq->io->writable(l->rq)) {
        if (l->given < json_array_size(l->entries)) {
            give_entry(l);
        } else if (l->end || l->total >= l->limit) {
            finish(l);
            return;
        } else {
            json_array_clear(l->entries);
            pv_buf_reset(&l->bytes);
            l->given = l->bytes_given = 0;
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

/* `after` and `limit`. False: malformed. */
static bool parse_page(struct listing *l, const json_t *args)
{
    const json_t *limit = json_object_get(args, "limit"), *after = json_object_get(args, "after");
    const char *cursor = json_string_value(after);
    l->limit = limit != NULL ? (uint64_t)json_integer_value(limit) : UINT64_MAX;
    if (limit != NULL && (!json_is_integer(limit) || json_integer_value(limit) < 1))
        return false;
    if (after == NULL)
        return true;
    if (cursor == NULL || json_string_length(after) != CURSOR_LEN ||
        (cursor[0] != 'n' && cursor[0] != 'f') ||
        pv_hex_decode(l->after.b, sizeof l->after.b, cursor + 1, PV_ID_HEX_LEN) != PV_OK)
        return false;
    l->type = cursor[0] == 'n' ? PV_RECORD_NAME : PV_RECORD_FILE;
    return true;
}

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
    l->type = PV_RECORD_NAME;
    pv_buf_init(&l->bytes, 2 * BATCH_BYTES);
    if (!pv_request_bool(rq, "values", &l->values)) {
        pv_request_fail(rq, PV_EXIT_USAGE, "`values` must be true or false");
        release(l);
        return;
    }
    if (pv_request_bytes(rq, "prefix", l->prefix, PV_NAME_MAX, &l->prefix_len) == PV_E_INVALID) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed prefix");
        release(l);
        return;
    }
    if (!parse_page(l, rq->args)) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed `after` or `limit`");
        release(l);
        return;
    }
    rq->op = l;
    rq->ops = &ops;
    advance(l);
}
