/*
 * restore: undoes a removal, or binds a name to what it meant before.
 *
 *   find (job) -> [look at all tombstones: private files have no other index (jobs)]
 *     -> hold the blobs (hold.h), unless the file is live or inline
 *     -> seal (job) -> commit -> publish: as store does (file_records.h)
 *
 * A tombstone keeps the body of the record it replaced, so the file comes back with its tree as it
 * was. It is written under the active cluster key, whichever it was removed under. Once the commit
 * has been submitted the file exists, whether or not somebody still waits for it.
 */
#include "internal/file/file_records.h"
#include "internal/file/files_private.h"
#include "internal/file/hold.h"
#include "internal/file/open_record.h"
#include "internal/file/versions.h"

#include <string.h>
#include <strings.h>

enum { VERSION_DIGITS_MIN = 8, TOMBSTONES_A_JOB = 256 };

struct restoring {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled */
    struct pv_job job;
    bool running, holding;
    char target[PV_NAME_MAX + 1];
    size_t target_len;
    char version[PV_ID_HEX_LEN + 1]; /* the beginning of a key; "": none was given */
    bool is_key;                     /* the target looks like one: key */
    struct pv_id key;
    struct pv_lookup lookup;    /* the file, live or removed */
    bool is_live;               /* it is live: only the name is missing */
    char name[PV_NAME_MAX + 1]; /* to be bound; name_len 0: none */
    size_t name_len;
    bool is_bound;   /* it means this file already */
    struct pv_scan { /* of tombstones */
        uint64_t seq;
        bool end, found;
        pv_hlc hlc;
        struct pv_id rid;
        uint8_t *plain; /* inside a job */
        enum pv_err err;
        const struct pv_job_context *ctx;
    } scan;
    struct pv_hold hold;
    bool is_upload; /* counted as one, see hold.h */
    struct pv_file_records written;
    struct pv_commit_op ops[2];
};

/* ---- find: by name ---- */

struct binding {
    struct pv_id sha256, file_rid;
    bool is_live, is_value;
};

/* What a name means, or meant when it was removed. */
static enum pv_err read_binding(struct binding *out, const char *name, size_t len,
                                const struct pv_job_context *ctx)
{
    struct pv_id rid;
    struct pv_record rec;
    struct pv_name_body body;
    bool pending;
    uint8_t *plain = pv_malloc(PV_RECORD_BODY_MAX);
    enum pv_err err = plain == NULL ? PV_E_NOMEM : pv_lookup_name_rid(&rid, name, len, ctx);
    if (err == PV_OK)
        err = pv_open_current(plain, &rec, &pending, &rid, ctx);
    if (err == PV_OK)
        err = pv_name_body_decode(&body, plain, rec.body_len, false);
    if (err == PV_OK)
        *out = (struct binding){body.file_sha256, body.file_rid,
                                (rec.flags & PV_RECORD_TOMBSTONE) == 0, body.is_value};
    if (plain != NULL)
        pv_wipe(plain, PV_RECORD_BODY_MAX);
    pv_free(plain);
    return err;
}

static void add_candidate(struct pv_lookup *l, const struct pv_id *sha256)
{
    for (size_t i = 0; i < l->candidate_count; i++)
        if (pv_id_equal(&l->candidates[i], sha256))
            return;
    if (l->candidate_count < PV_LOOKUP_CANDIDATES)
        l->candidates[l->candidate_count++] = *sha256;
}

/* The newest version of the name whose key begins so. is_live: it is the current one. */
static enum pv_err choose_version(struct restoring *r, struct binding *out,
                                  const struct pv_job_context *ctx)
{
    struct pv_versions *v = pv_calloc(1, sizeof *v);
    enum pv_err err = v == NULL ? PV_E_NOMEM : pv_versions_read(v, r->target, r->target_len, ctx);
    for (size_t i = 0; err == PV_OK && i < v->count; i++) {
        const struct pv_version *version = &v->list[i];
        char hex[PV_ID_HEX_LEN + 1];
        pv_id_hex(hex, &version->sha256);
        if (version->is_value || strncasecmp(hex, r->version, strlen(r->version)) != 0)
            continue;
        if (r->lookup.candidate_count == 0)
            *out = (struct binding){version->sha256, version->file_rid,
                                    version->is_current && !version->is_removal, false};
        add_candidate(&r->lookup, &version->sha256);
    }
    if (v != NULL)
        pv_versions_release(v);
    pv_free(v);
    if (err != PV_OK)
        return err;
    return r->lookup.candidate_count == 0   ? PV_E_NOT_FOUND
           : r->lookup.candidate_count == 1 ? PV_OK
                                            : PV_E_INVALID;
}

static enum pv_err find_by_name(struct restoring *r, const struct pv_job_context *ctx)
{
    struct binding b = {.is_live = false};
    enum pv_err err = r->version[0] != '\0' ? choose_version(r, &b, ctx)
                                            : read_binding(&b, r->target, r->target_len, ctx);
    r->lookup.is_value = err == PV_OK && b.is_value;
    if (r->lookup.is_value)
        return PV_E_NOT_FOUND;
    if (err == PV_OK)
        err = pv_lookup_ever(&r->lookup, &b.file_rid, &b.sha256, &r->is_live, ctx);
    if (err != PV_OK)
        return err;
    memcpy(r->name, r->target, r->target_len + 1);
    r->name_len = r->target_len;
    r->is_bound = b.is_live;
    return PV_OK;
}

/* ---- find: by key ---- */

/* The name it was first stored under comes back with it, unless it means another file now. */
static enum pv_err choose_name(struct restoring *r, const struct pv_job_context *ctx)
{
    const struct pv_file_body *body = &r->lookup.body;
    struct binding b;
    if (body->name_len == 0)
        return PV_OK;
    enum pv_err err = read_binding(&b, body->name, body->name_len, ctx);
    if (err == PV_E_UNSUPPORTED || err == PV_E_CORRUPT)
        return PV_OK; /* not ours to replace */
    if (err == PV_OK && b.is_live && !pv_id_equal(&b.sha256, &body->sha256))
        return PV_OK;
    if (err != PV_OK && err != PV_E_NOT_FOUND)
        return err;
    memcpy(r->name, body->name, body->name_len);
    r->name_len = body->name_len;
    return PV_OK;
}

static enum pv_err find_by_key(struct restoring *r, const struct pv_job_context *ctx)
{
    enum pv_err err = pv_lookup_ever(&r->lookup, NULL, &r->key, &r->is_live, ctx);
    if (err == PV_E_NOT_FOUND) {
        err = pv_lookup_key(&r->lookup, &r->key, ctx); /* a private copy */
        r->is_live = err == PV_OK;
    }
    return err == PV_OK && !r->is_live ? choose_name(r, ctx) : err;
}

static void run_find(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct restoring *r = PV_CONTAINER_OF(job, struct restoring, job);
    job->err = r->is_key ? find_by_key(r, ctx) : PV_E_NOT_FOUND;
    if (job->err == PV_E_NOT_FOUND)
        job->err = find_by_name(r, ctx);
}

/* ---- find: private files ---- */

static bool look_at(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct restoring *r = arg;
    struct pv_scan *s = &r->scan;
    struct pv_record rec;
    struct pv_file_body body;
    (void)pending;
    if (pv_record_parse(&rec, env, len) != PV_OK || (rec.flags & PV_RECORD_TOMBSTONE) == 0)
        return true;
    enum pv_err err = pv_open_any(s->plain, &rec, env, len, s->ctx);
    if (err == PV_OK)
        err = pv_file_body_decode(&body, s->plain, rec.body_len, false);
    if (err == PV_E_NOMEM)
        s->err = err;
    if (err != PV_OK)
        return err != PV_E_NOMEM;
    if (pv_id_equal(&body.sha256, &r->key) && (!s->found || rec.hlc > s->hlc)) {
        s->found = true;
        s->hlc = rec.hlc;
        s->rid = rec.rid;
    }
    pv_wipe(&body, sizeof body);
    return true;
}

static void run_scan(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct restoring *r = PV_CONTAINER_OF(job, struct restoring, job);
    struct pv_scan *s = &r->scan;
    s->ctx = ctx;
    s->err = PV_OK;
    s->plain = pv_malloc(PV_RECORD_BODY_MAX);
    job->err = PV_E_NOMEM;
    if (s->plain == NULL)
        return;
    job->err = pv_store_records_since(ctx->store, PV_RECORD_FILE, &s->seq, TOMBSTONES_A_JOB,
                                      look_at, r, &s->end);
    if (job->err == PV_OK)
        job->err = s->err;
    pv_wipe(s->plain, PV_RECORD_BODY_MAX);
    pv_free(s->plain);
    s->plain = NULL;
    if (job->err != PV_OK || !s->end)
        return;
    job->err =
        s->found ? pv_lookup_ever_rid(&r->lookup, &s->rid, &r->is_live, ctx) : PV_E_NOT_FOUND;
    if (job->err == PV_OK)
        job->err = choose_name(r, ctx);
}

/* ---- the end ---- */

static void release(struct restoring *r)
{
    r->files->uploads -= r->is_upload;
    pv_file_records_release(&r->written);
    pv_lookup_release(&r->lookup);
    pv_wipe(r, sizeof *r); /* data keys */
    pv_free(r);
}

static void answer(struct restoring *r, bool file, bool name, const char *note)
{
    char hex[PV_ID_HEX_LEN + 1];
    if (r->rq != NULL) {
        pv_id_hex(hex, &r->lookup.body.sha256);
        json_t *reply = json_pack("{s:s, s:i, s:i, s:s*}", "key", hex, "files", (int)file, "names",
                                  (int)name, "note", note);
        size_t members = json_object_size(reply);
        if (name)
            pv_json_set_name(reply, r->name, r->name_len);
        if (json_object_size(reply) != members + name) {
            json_decref(reply);
            reply = NULL;
        }
        pv_request_ok(r->rq, reply);
    }
    release(r);
}

/* ---- write ---- */

static void on_committed(struct pv_job *job)
{
    struct restoring *r = PV_CONTAINER_OF(job, struct restoring, job);
    size_t at = 0;
    r->running = false;
    if (job->commit.err != PV_OK) {
        if (r->rq != NULL)
            pv_request_fail(r->rq, pv_exit_of(job->commit.err), "cannot write the records: %s",
                            pv_err_text(job->commit.err));
        release(r);
        return;
    }
    if (!pv_node_closing(r->files->config.node))
        pv_file_records_publish(&r->written, r->files->config.node);
    bool file = r->written.file_env != NULL && r->ops[at++].applied;
    bool name = r->written.name_env != NULL && r->ops[at].applied;
    answer(r, file, name, NULL);
}

static void on_sealed(struct pv_job *job)
{
    struct restoring *r = PV_CONTAINER_OF(job, struct restoring, job);
    r->running = false;
    if (r->rq == NULL) {
        release(r);
        return;
    }
    if (job->err != PV_OK) {
        pv_request_fail(r->rq, pv_exit_of(job->err), "cannot seal the records: %s",
                        pv_err_text(job->err));
        release(r);
        return;
    }
    size_t count = pv_file_records_ops(&r->written, r->ops);
    r->running = true;
    r->job = (struct pv_job){.done = on_committed, .commit = {.ops = r->ops, .count = count}};
    pv_node_submit(r->files->config.node, &r->job);
}

static void run_seal(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct restoring *r = PV_CONTAINER_OF(job, struct restoring, job);
    job->err = pv_file_records_seal(&r->written, ctx);
}

static void submit(struct restoring *r, void (*run)(struct pv_job *, const struct pv_job_context *),
                   void (*done)(struct pv_job *))
{
    r->running = true;
    r->job = (struct pv_job){.run = run, .done = done};
    pv_node_submit(r->files->config.node, &r->job);
}

static void write_records(struct restoring *r)
{
    struct pv_file_records *w = &r->written;
    w->file = r->lookup.body;
    w->name_only = r->is_live;
    w->rid = r->lookup.rid;
    w->bind = r->name;
    w->bind_len = r->name_len;
    if (pv_file_records_begin(w, r->files->config.node) != PV_OK) {
        pv_request_fail(r->rq, PV_EXIT_UNAVAILABLE,
                        "this machine's clock is wrong: set it, then try again");
        release(r);
        return;
    }
    submit(r, run_seal, on_sealed);
}

/* ---- hold ---- */

static void on_held(struct pv_hold *h, enum pv_err err)
{
    struct restoring *r = PV_CONTAINER_OF(h, struct restoring, hold);
    const char *least = h->is_partial ? "at least " : "";
    r->holding = false;
    if (err == PV_OK) {
        write_records(r);
        return;
    }
    if (err == PV_E_NOT_FOUND)
        pv_request_fail(r->rq, PV_EXIT_UNAVAILABLE,
                        "cannot be restored: %llu of %s%llu blobs are gone",
                        (unsigned long long)h->missing, least, (unsigned long long)h->blobs);
    else if (err == PV_E_UNAVAILABLE)
        pv_request_fail(r->rq, PV_EXIT_UNAVAILABLE,
                        "cannot be restored now: %llu of %s%llu blobs are neither here nor at a "
                        "peer in reach: try again when more are connected (see `peervault peers`)",
                        (unsigned long long)h->missing, least, (unsigned long long)h->blobs);
    else
        pv_request_fail(r->rq, pv_exit_of(err), "cannot take hold of the file's blobs: %s",
                        pv_err_text(err));
    release(r);
}

static void on_hold_released(struct pv_hold *h)
{
    release(PV_CONTAINER_OF(h, struct restoring, hold));
}

static void hold(struct restoring *r)
{
    r->files->uploads++;
    r->is_upload = r->holding = true;
    r->hold.files = r->files;
    r->hold.done = on_held;
    r->hold.released = on_hold_released;
    pv_hold_start(&r->hold, &r->lookup.body.root);
}

/* ---- the beginning ---- */

static void refuse(struct restoring *r, enum pv_err err)
{
    if (err == PV_E_NOT_FOUND && r->version[0] != '\0')
        pv_request_fail(r->rq, PV_EXIT_NOT_FOUND,
                        "this node knows no such version of the name (see `peervault ls "
                        "--history NAME`)");
    else
        pv_lookup_refuse(r->files, r->rq, &r->lookup, err);
    release(r);
}

static void fail_purged(struct restoring *r)
{
    pv_request_fail(r->rq, PV_EXIT_UNAVAILABLE,
                    "cannot be restored: it was removed too long ago, its bytes are gone");
    release(r);
}

static void found(struct restoring *r, enum pv_err err)
{
    if (err != PV_OK)
        refuse(r, err);
    else if (r->is_live && (r->is_bound || r->name_len == 0))
        answer(r, false, false, "this is not removed");
    else if (r->lookup.body.is_purged)
        fail_purged(r);
    else if (r->is_live || r->lookup.body.is_inline)
        write_records(r);
    else
        hold(r);
}

static void on_scanned(struct pv_job *job)
{
    struct restoring *r = PV_CONTAINER_OF(job, struct restoring, job);
    r->running = false;
    if (r->rq == NULL)
        release(r);
    else if (job->err == PV_OK && !r->scan.end)
        submit(r, run_scan, on_scanned);
    else
        found(r, job->err);
}

static void on_found(struct pv_job *job)
{
    struct restoring *r = PV_CONTAINER_OF(job, struct restoring, job);
    r->running = false;
    if (r->rq == NULL)
        release(r);
    else if (job->err == PV_E_NOT_FOUND && r->is_key)
        submit(r, run_scan, on_scanned);
    else
        found(r, job->err);
}

static void on_cancel(struct pv_request *rq)
{
    struct restoring *r = rq->op;
    r->rq = NULL;
    if (!r->running && (!r->holding || pv_hold_cancel(&r->hold)))
        release(r);
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel};

/* The text of what is wrong, or NULL. */
static const char *parse(struct restoring *r)
{
    size_t len = 0;
    enum pv_err err = pv_request_bytes(r->rq, "target", r->target, PV_NAME_MAX, &r->target_len);
    if (err != PV_OK || r->target_len == 0)
        return "malformed target";
    err = pv_request_bytes(r->rq, "key", r->version, PV_ID_HEX_LEN, &len);
    if (err == PV_OK &&
        (len < VERSION_DIGITS_MIN || strspn(r->version, "0123456789abcdefABCDEF") != len))
        return "a key has 64 hex digits; 8 or more of its beginning will do";
    if (err != PV_OK && err != PV_E_NOT_FOUND)
        return "malformed key";
    r->is_key =
        len == 0 && r->target_len == PV_ID_HEX_LEN && pv_id_parse(&r->key, r->target) == PV_OK;
    return NULL;
}

void pv_query_restore(struct pv_files *f, struct pv_request *rq)
{
    struct restoring *r = pv_calloc(1, sizeof *r);
    if (r == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    r->files = f;
    r->rq = rq;
    const char *why = parse(r);
    if (why != NULL) {
        pv_request_fail(rq, PV_EXIT_USAGE, "%s", why);
        release(r);
        return;
    }
    rq->op = r;
    rq->ops = &ops;
    submit(r, run_find, on_found);
}
