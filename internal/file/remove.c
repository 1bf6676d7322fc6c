/*
 * rm: a job finds the file and its names and seals tombstones, a commit makes them durable, then
 * they are broadcast; names first, the file last. A key removes the file and every name that points
 * to it; a name removes itself, and the file with its last name. Tombstones keep the old body: that
 * is undelete.
 *
 * What is under several cluster keys is removed under each of them, or one of its records would
 * seem to live to whoever has only that key.
 *
 * A file may have any number of names, and a key several files (private copies), so this goes in
 * rounds of TOMBSTONES_MAX until nothing is found that
 * is older than the request. A name whose file is gone already is removed by itself. One whose file
 * has other names leaves it to them, and then looks again: they may have been removed at the same
 * time, each in sight of the others.
 */
#include "internal/file/file_records.h"
#include "internal/file/files_private.h"
#include "internal/file/lookup.h"
#include "internal/file/open_record.h"
#include "internal/node/members.h"

#include <string.h>

enum { TOMBSTONES_MAX = 64 };

struct removal {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled; the round that has begun is finished */
    struct pv_job job;
    char target[PV_NAME_MAX + 1];
    struct pv_lookup lookup;
    pv_hlc hlc;   /* of every tombstone: what was written later stays */
    bool pending; /* other members exist: until one of them has answered for it */
    unsigned round;
    bool again; /* there may be more */
    struct pv_id key;
    uint64_t files_removed, names_removed;
    struct pv_commit_op ops[TOMBSTONES_MAX];
    uint8_t *envelopes[TOMBSTONES_MAX];
    struct pv_id rids[TOMBSTONES_MAX], hashes[TOMBSTONES_MAX];
    bool is_file[TOMBSTONES_MAX], is_first[TOMBSTONES_MAX]; /* of the same thing */
    size_t count;
    uint8_t *body, *plain; /* PV_RECORD_BODY_MAX each, inside a job */
};

/* ---- the job ---- */

/* A tombstone around r->body, under the key of the record that it removes. */
static enum pv_err seal(struct removal *r, const struct pv_record *old, size_t body_len,
                        const struct pv_job_context *ctx)
{
    const struct pv_id *rid = &old->rid;
    uint8_t type = old->type;
    uint8_t *env = NULL;
    size_t len = 0;
    struct pv_record_draft draft = {.type = type,
                                    .flags = PV_RECORD_TOMBSTONE,
                                    .rid = *rid,
                                    .hlc = r->hlc,
                                    .epoch = pv_epoch_of(pv_env_wall_ms(ctx->env)),
                                    .body = r->body,
                                    .body_len = body_len};
    enum pv_err err = pv_seal_record(&env, &len, &r->hashes[r->count], &draft,
                                     pv_keyring_find(ctx->keyring, &old->kid), ctx);
    if (err != PV_OK)
        return err;
    r->envelopes[r->count] = env;
    r->rids[r->count] = *rid;
    r->is_file[r->count] = type == PV_RECORD_FILE;
    r->ops[r->count] = (struct pv_commit_op){.type = PV_COMMIT_RECORD};
    r->ops[r->count].u.record.env = env;
    r->ops[r->count].u.record.len = len;
    r->ops[r->count].u.record.pending = r->pending;
    r->count++;
    return PV_OK;
}

/* All of these registers whose record lives and is older than the request; body_len bytes are in
 * r->body. */
static enum pv_err bury(struct removal *r, const struct pv_id *rids, size_t count, size_t body_len,
                        const struct pv_job_context *ctx)
{
    enum pv_err err = PV_OK;
    bool is_first = true;
    for (size_t i = 0; err == PV_OK && i < count; i++) {
        struct pv_record rec;
        bool pending;
        err = pv_open_live(r->plain, &rec, &pending, &rids[i], ctx);
        if (err == PV_OK && rec.hlc < r->hlc) {
            r->is_first[r->count] = is_first;
            is_first = false;
            err = seal(r, &rec, body_len, ctx);
        } else if (err == PV_E_NOT_FOUND || err == PV_E_CORRUPT) {
            err = PV_OK; /* gone already, or nothing that anybody can see */
        }
    }
    return err;
}

static enum pv_err bury_name(struct removal *r, const struct pv_id *rid,
                             const struct pv_job_context *ctx)
{
    struct pv_record rec;
    struct pv_name_body name;
    struct pv_id rids[PV_LOOKUP_RIDS_MAX];
    bool pending;
    size_t len = 0, count = 0;
    enum pv_err err = pv_open_live(r->plain, &rec, &pending, rid, ctx);
    if (err == PV_OK && rec.hlc >= r->hlc)
        return PV_OK; /* bound anew since */
    if (err == PV_OK)
        err = pv_name_body_decode(&name, r->plain, rec.body_len, false);
    if (err == PV_E_NOT_FOUND || err == PV_E_CORRUPT)
        return PV_OK; /* gone already, or nothing that anybody can see */
    if (err == PV_OK && name.is_value)
        return PV_OK; /* it does not mean the file any more */
    if (err == PV_OK) {
        count = pv_lookup_name_registers(rids, name.name, name.name_len, ctx);
        name.author.hlc = r->hlc;
        name.author.flags = PV_RECORD_TOMBSTONE;
        err = pv_name_body_encode(r->body, &len, &name, ctx->identity->seed);
    }
    return err == PV_OK ? bury(r, rids, count, len, ctx) : err;
}

static enum pv_err bury_file(struct removal *r, const struct pv_job_context *ctx)
{
    struct pv_file_body file = r->lookup.body;
    struct pv_id rids[PV_LOOKUP_RIDS_MAX];
    size_t len = 0, count = pv_lookup_registers(&r->lookup, rids, ctx);
    file.author.hlc = r->hlc;
    file.author.flags = PV_RECORD_TOMBSTONE;
    enum pv_err err = pv_file_body_encode(r->body, &len, &file, ctx->identity->seed);
    if (err == PV_OK)
        err = bury(r, rids, count, len, ctx);
    pv_wipe(&file, sizeof file);
    return err;
}

/* Whether the file has a name but this one, or is not the one that this name was bound to. Later,
 * this name counts as well: it has been bound anew. */
static enum pv_err is_wanted(struct removal *r, const struct pv_job_context *ctx, bool *is)
{
    struct pv_id rids[PV_LOOKUP_RIDS_MAX], names[2];
    size_t count = pv_lookup_rids(&r->lookup, rids, ctx), found = 0;
    *is = true;
    for (size_t i = 0; i < count; i++)
        *is = *is && !pv_id_equal(&rids[i], &r->lookup.name_file_rid);
    if (*is)
        return PV_OK;
    enum pv_err err = pv_lookup_names(&r->lookup, names, PV_COUNT(names), &found, ctx);
    for (size_t n = 0; err == PV_OK && n < found; n++)
        *is = *is || r->round > 0 || !pv_id_equal(&names[n], &r->lookup.name_rid);
    return err;
}

static enum pv_err bury_by_name(struct removal *r, const struct pv_job_context *ctx)
{
    bool keep_file = true;
    bool is_dangling = r->job.err == PV_E_NOT_FOUND;
    enum pv_err err = r->round == 0 ? bury_name(r, &r->lookup.name_rid, ctx) : PV_OK;
    r->key = r->lookup.name_sha256;
    if (err == PV_OK && !is_dangling)
        err = is_wanted(r, ctx, &keep_file);
    r->again = r->round == 0 && !is_dangling && keep_file;
    return err == PV_OK && !keep_file ? bury_file(r, ctx) : err;
}

/* For something under each of the keys. */
static bool has_room(const struct removal *r)
{
    return r->count + PV_KEYRING_KEYS_MAX <= TOMBSTONES_MAX;
}

/* As many names as one round takes, and the file when there are no more of them. */
static enum pv_err bury_by_key(struct removal *r, const struct pv_job_context *ctx)
{
    struct pv_id names[TOMBSTONES_MAX];
    size_t found = 0, done = 0;
    r->key = r->lookup.body.sha256;
    r->again = true;
    enum pv_err err = pv_lookup_names(&r->lookup, names, PV_COUNT(names), &found, ctx);
    while (err == PV_OK && done < found && has_room(r))
        err = bury_name(r, &names[done++], ctx);
    return err == PV_OK && done == found && found < PV_COUNT(names) && has_room(r)
               ? bury_file(r, ctx)
               : err;
}

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct removal *r = PV_CONTAINER_OF(job, struct removal, job);
    r->body = pv_malloc(PV_RECORD_BODY_MAX);
    r->plain = pv_malloc(PV_RECORD_BODY_MAX);
    if (r->body == NULL || r->plain == NULL)
        job->err = PV_E_NOMEM;
    else if (r->round == 0) /* later the target may mean another file */
        job->err = pv_lookup_run(&r->lookup, ctx);
    else if (r->lookup.by_name)
        job->err = PV_OK;
    else
        job->err = pv_lookup_key(&r->lookup, &r->key, ctx);
    if (r->lookup.by_name && (job->err == PV_OK || job->err == PV_E_NOT_FOUND))
        job->err = bury_by_name(r, ctx);
    else if (job->err == PV_OK && (r->round == 0 || r->lookup.hlc < r->hlc))
        job->err = bury_by_key(r, ctx);
    if (r->body != NULL)
        pv_wipe(r->body, PV_RECORD_BODY_MAX);
    if (r->plain != NULL)
        pv_wipe(r->plain, PV_RECORD_BODY_MAX);
    pv_free(r->body);
    pv_free(r->plain);
    r->body = r->plain = NULL;
}

/* ---- the rounds ---- */

static void drop_envelopes(struct removal *r)
{
    while (r->count > 0)
        pv_free(r->envelopes[--r->count]);
}

static void release(struct removal *r)
{
    drop_envelopes(r);
    pv_lookup_release(&r->lookup);
    pv_free(r);
}

static void finish(struct removal *r)
{
    if (r->rq != NULL) {
        char hex[PV_ID_HEX_LEN + 1];
        pv_id_hex(hex, &r->key);
        pv_request_ok(r->rq, json_pack("{s:s, s:I, s:I}", "key", hex, "files",
                                       (json_int_t)r->files_removed, "names",
                                       (json_int_t)r->names_removed));
    }
    release(r);
}

static void on_sealed(struct pv_job *job);

/* What lost against a later write was not removed, and is nobody's business. */
static size_t take_applied(struct removal *r)
{
    struct pv_node *n = r->files->config.node;
    size_t applied = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (!r->ops[i].applied)
            continue;
        applied++;
        *(r->is_file[i] ? &r->files_removed : &r->names_removed) += r->is_first[i];
        if (pv_node_closing(n))
            continue;
        if (r->pending)
            pv_publish_file(n, &r->rids[i], &r->hashes[i], NULL);
        else
            pv_publish_now(n, r->ops[i].u.record.env, r->ops[i].u.record.len);
    }
    drop_envelopes(r);
    return applied;
}

static void on_committed(struct pv_job *job)
{
    struct removal *r = PV_CONTAINER_OF(job, struct removal, job);
    if (job->commit.err != PV_OK) {
        if (r->rq != NULL)
            pv_request_fail(r->rq, pv_exit_of(job->commit.err), "cannot write the removal: %s",
                            pv_err_text(job->commit.err));
        release(r);
        return;
    }
    size_t applied = take_applied(r);
    bool go_on = r->rq != NULL || (r->lookup.by_name && !pv_node_closing(r->files->config.node));
    if (applied == 0 || !r->again || !go_on) {
        finish(r);
        return;
    }
    r->round++;
    r->job = (struct pv_job){.run = run, .done = on_sealed};
    pv_node_submit(r->files->config.node, &r->job);
}

static void on_sealed(struct pv_job *job)
{
    struct removal *r = PV_CONTAINER_OF(job, struct removal, job);
    if (r->round > 0 && job->err == PV_E_NOT_FOUND)
        job->err = PV_OK; /* the end */
    if (job->err != PV_OK) {
        if (r->rq != NULL)
            pv_lookup_refuse(r->files, r->rq, &r->lookup, job->err);
        release(r);
    } else if (r->count == 0) {
        finish(r);
    } else {
        r->job =
            (struct pv_job){.done = on_committed, .commit = {.ops = r->ops, .count = r->count}};
        pv_node_submit(r->files->config.node, &r->job);
    }
}

static void on_cancel(struct pv_request *rq)
{
    struct removal *r = rq->op;
    r->rq = NULL;
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
    r->pending = pv_members_active(f->config.node) > 1;
    r->rq = rq;
    rq->op = r;
    rq->ops = &ops;
    r->job = (struct pv_job){.run = run, .done = on_sealed};
    pv_node_submit(f->config.node, &r->job);
}
