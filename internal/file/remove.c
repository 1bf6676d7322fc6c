/*
 * rm: one job finds the file, its names, and seals the tombstones; one commit makes them durable;
 * then they are broadcast. A key removes the file and every name that points to it; a name removes
 * itself, and the file with its last name. Tombstones keep the old body: that is undelete.
 */
#include "internal/file/files_private.h"
#include "internal/file/open_record.h"

#include <string.h>

enum { NAMES_MAX = 255, TOMBSTONES_MAX = NAMES_MAX + 1 };

struct removal {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled */
    struct pv_job job;
    char target[PV_NAME_MAX + 1];
    struct pv_lookup lookup;
    pv_hlc hlc;
    bool file_too;
    size_t names;
    struct pv_commit_op ops[TOMBSTONES_MAX];
    uint8_t *envelopes[TOMBSTONES_MAX];
    size_t count;
    uint8_t body[PV_RECORD_BODY_MAX], plain[PV_RECORD_BODY_MAX];
};

static enum pv_err seal(struct removal *r, uint8_t type, const struct pv_id *rid, size_t body_len,
                        const struct pv_job_context *ctx)
{
    uint8_t salt[32];
    size_t len = 0;
    uint8_t *env = pv_malloc(PV_RECORD_LEN_MAX);
    if (env == NULL)
        return PV_E_NOMEM;
    struct pv_record_draft draft = {.type = type,
                                    .flags = PV_RECORD_TOMBSTONE,
                                    .rid = *rid,
                                    .hlc = r->hlc,
                                    .epoch = pv_epoch_of(pv_env_wall_ms(ctx->env)),
                                    .body = r->body,
                                    .body_len = body_len};
    pv_env_random(ctx->env, salt, sizeof salt);
    enum pv_err err = pv_record_seal(env, &len, &draft, pv_keyring_active(ctx->keyring),
                                     ctx->identity->seed, salt);
    uint8_t *fitting = err == PV_OK ? pv_realloc(env, len) : NULL;
    if (fitting == NULL) {
        pv_free(env);
        return err == PV_OK ? PV_E_NOMEM : err;
    }
    r->envelopes[r->count] = fitting;
    r->ops[r->count] = (struct pv_commit_op){.type = PV_COMMIT_RECORD};
    r->ops[r->count].u.record.env = fitting;
    r->ops[r->count].u.record.len = len;
    r->count++;
    return PV_OK;
}

static enum pv_err bury_name(struct removal *r, const struct pv_id *rid,
                             const struct pv_job_context *ctx)
{
    struct pv_record rec;
    struct pv_name_body name;
    bool pending;
    size_t len = 0;
    enum pv_err err = pv_open_live(r->plain, &rec, &pending, rid, ctx);
    if (err == PV_OK)
        err = pv_name_body_decode(&name, r->plain, rec.body_len, false);
    if (err == PV_E_NOT_FOUND)
        return PV_OK; /* gone already */
    if (err == PV_OK) {
        name.author.hlc = r->hlc;
        name.author.flags = PV_RECORD_TOMBSTONE;
        err = pv_name_body_encode(r->body, &len, &name, ctx->identity->seed);
    }
    if (err == PV_OK)
        err = seal(r, PV_RECORD_NAME, rid, len, ctx);
    if (err == PV_OK)
        r->names++;
    return err;
}

static enum pv_err bury_file(struct removal *r, const struct pv_job_context *ctx)
{
    struct pv_file_body file = r->lookup.body;
    size_t len = 0;
    file.author.hlc = r->hlc;
    file.author.flags = PV_RECORD_TOMBSTONE;
    enum pv_err err = pv_file_body_encode(r->body, &len, &file, ctx->identity->seed);
    if (err == PV_OK)
        err = seal(r, PV_RECORD_FILE, &r->lookup.rid, len, ctx);
    r->file_too = err == PV_OK;
    return err;
}

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct removal *r = PV_CONTAINER_OF(job, struct removal, job);
    struct pv_id rids[NAMES_MAX];
    size_t count = 0;
    job->err = pv_lookup_run(&r->lookup, ctx);
    if (job->err == PV_OK)
        job->err = pv_store_names_of(ctx->store, &r->lookup.rid, rids, NAMES_MAX, &count);
    if (job->err != PV_OK)
        return;
    if (r->lookup.by_name && count > 1) {
        job->err = bury_name(r, &r->lookup.name_rid, ctx);
        return;
    }
    for (size_t i = 0; job->err == PV_OK && i < count; i++)
        job->err = bury_name(r, &rids[i], ctx);
    if (job->err == PV_OK)
        job->err = bury_file(r, ctx);
}

static void release(struct removal *r)
{
    for (size_t i = 0; i < r->count; i++)
        pv_free(r->envelopes[i]);
    pv_wipe(r, sizeof *r);
    pv_free(r);
}

static void on_committed(struct pv_job *job)
{
    struct removal *r = PV_CONTAINER_OF(job, struct removal, job);
    if (job->commit.err == PV_OK)
        for (size_t i = 0; i < r->count; i++)
            pv_publish_now(r->files->config.node, r->ops[i].u.record.env, r->ops[i].u.record.len);
    if (r->rq != NULL && job->commit.err != PV_OK) {
        pv_request_fail(r->rq, pv_exit_of(job->commit.err), "cannot write the removal: %s",
                        pv_err_text(job->commit.err));
    } else if (r->rq != NULL) {
        char hex[PV_ID_HEX_LEN + 1];
        pv_id_hex(hex, &r->lookup.body.sha256);
        pv_request_ok(r->rq, json_pack("{s:s, s:i, s:I}", "key", hex, "files", (int)r->file_too,
                                       "names", (json_int_t)r->names));
    }
    release(r);
}

static void on_sealed(struct pv_job *job)
{
    struct removal *r = PV_CONTAINER_OF(job, struct removal, job);
    if (job->err != PV_OK) {
        if (r->rq != NULL)
            pv_lookup_refuse(r->files, r->rq, &r->lookup, job->err);
        release(r);
        return;
    }
    r->job = (struct pv_job){.done = on_committed, .commit = {.ops = r->ops, .count = r->count}};
    pv_node_submit(r->files->config.node, &r->job);
}

static void on_cancel(struct pv_request *rq)
{
    struct removal *r = rq->op;
    r->rq = NULL; /* what was asked for is done all the same: it takes a moment only */
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel};

void pv_query_rm(struct pv_files *f, struct pv_request *rq)
{
    struct removal *r = pv_calloc(1, sizeof *r);
    if (r == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    r->files = f;
    r->lookup.target = r->target;
    enum pv_err err = pv_request_bytes(rq, "target", r->target, PV_NAME_MAX, &r->lookup.target_len);
    if (err != PV_OK || r->lookup.target_len == 0) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed target");
        pv_free(r);
        return;
    }
    if (pv_node_next_hlc(f->config.node, &r->hlc) != PV_OK) {
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE,
                        "this machine's clock is wrong: set it, then try again");
        pv_free(r);
        return;
    }
    r->rq = rq;
    rq->op = r;
    rq->ops = &ops;
    r->job = (struct pv_job){.run = run, .done = on_sealed};
    pv_node_submit(f->config.node, &r->job);
}
