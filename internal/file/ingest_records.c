/*
 * The second half: one job seals the file record and the name record, one commit makes them and the
 * root blob durable, and then the client may be told, first of the file, then of its copies.
 *
 * Once that commit has been submitted the file exists, whether or not somebody still waits for it:
 * a cancelled request changes nothing about what has to be published.
 */
#include "internal/file/ingest_private.h"

#include <string.h>

void pv_ingest_records_release(struct pv_ingest *in)
{
    pv_free(in->records.file_env);
    pv_free(in->records.name_env);
}

/* ---- the record job ---- */

/* A sealed envelope in memory of its own length. */
static enum pv_err seal(uint8_t **out, size_t *len, const struct pv_record_draft *draft,
                        const struct pv_job_context *ctx)
{
    uint8_t salt[32];
    uint8_t *env = pv_malloc(PV_RECORD_LEN_MAX);
    if (env == NULL)
        return PV_E_NOMEM;
    pv_env_random(ctx->env, salt, sizeof salt);
    enum pv_err err =
        pv_record_seal(env, len, draft, pv_keyring_active(ctx->keyring), ctx->identity->seed, salt);
    if (err != PV_OK) {
        pv_free(env);
        return err;
    }
    uint8_t *shorter = pv_realloc(env, *len);
    *out = shorter != NULL ? shorter : env;
    return PV_OK;
}

static enum pv_err seal_file(struct pv_ingest_records *r, uint8_t *body,
                             const struct pv_job_context *ctx)
{
    struct pv_record rec;
    struct pv_record_draft draft = {
        .type = PV_RECORD_FILE, .rid = r->rid, .hlc = r->file_hlc, .epoch = r->epoch, .body = body};
    r->file.author.hlc = r->file_hlc;
    enum pv_err err = pv_file_body_encode(body, &draft.body_len, &r->file, ctx->identity->seed);
    if (err == PV_OK)
        err = seal(&r->file_env, &r->file_len, &draft, ctx);
    if (err == PV_OK)
        err = pv_record_parse(&rec, r->file_env, r->file_len);
    if (err == PV_OK)
        r->hash = rec.hash;
    return err;
}

static enum pv_err seal_name(struct pv_ingest_records *r, uint8_t *body,
                             const struct pv_job_context *ctx)
{
    struct pv_name_body name = {
        .author.hlc = r->name_hlc,
        .name = r->file.name,
        .name_len = r->file.name_len,
        .file_sha256 = r->file.sha256,
        .file_rid = r->rid,
    };
    struct pv_record_draft draft = {
        .type = PV_RECORD_NAME, .hlc = r->name_hlc, .epoch = r->epoch, .body = body};
    pv_rid_name(&r->name_rid, pv_keyring_active(ctx->keyring), name.name, name.name_len);
    draft.rid = r->name_rid;
    enum pv_err err = pv_name_body_encode(body, &draft.body_len, &name, ctx->identity->seed);
    return err == PV_OK ? seal(&r->name_env, &r->name_len, &draft, ctx) : err;
}

static void run_records(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_ingest_records *r = PV_CONTAINER_OF(job, struct pv_ingest_records, job);
    const struct pv_cluster_keys *keys = pv_keyring_active(ctx->keyring);
    uint8_t *body = pv_malloc(PV_RECORD_BODY_MAX);
    if (body == NULL) {
        job->err = PV_E_NOMEM;
        return;
    }
    pv_sha256_final(r->sha, r->file.sha256.b);
    if (r->file.is_private)
        pv_rid_private(&r->rid, keys, r->file.private_salt);
    else
        pv_rid_file(&r->rid, keys, &r->file.sha256);
    r->prefix_tag = pv_key_prefix_tag(keys, r->file.sha256.b);
    job->err = seal_file(r, body, ctx);
    if (job->err == PV_OK && r->file.name_len > 0)
        job->err = seal_name(r, body, ctx);
    pv_wipe(body, PV_RECORD_BODY_MAX);
    pv_free(body);
}

/* ---- the reply ---- */

static json_t *key_json(const struct pv_ingest *in)
{
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, &in->records.file.sha256);
    return json_string(hex);
}

static void finish(struct pv_ingest *in)
{
    struct pv_request *rq = in->rq;
    json_t *reply = json_pack("{s:o, s:i, s:i}", "key", key_json(in), "copies", (int)in->have,
                              "want", (int)in->want);
    pv_ingest_detach(in);
    if (reply == NULL)
        pv_request_fail(rq, pv_exit_of(PV_E_NOMEM), "out of memory, but the file is stored");
    else
        pv_request_ok(rq, reply);
}

/* No more copies are to be had now. Only who asked for a number of them has to be told so. */
static void give_up(struct pv_ingest *in)
{
    struct pv_request *rq = in->rq;
    unsigned have = in->have, want = in->want;
    size_t active = pv_members_active(in->node);
    if (in->copies == 0 || have >= want) {
        finish(in);
        return;
    }
    pv_ingest_detach(in);
    if (active < want)
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE,
                        "stored here, %u of %u copies: the cluster has %zu active member%s", have,
                        want, active, active == 1 ? "" : "s");
    else
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE,
                        "stored here, %u of %u copies: replication goes on when members are "
                        "connected (see `peervault peers`)",
                        have, want);
}

static void arm(struct pv_ingest *in)
{
    uint64_t wait_ms = in->copies > 0 ? PV_STORE_COPIES_WAIT_MS : PV_STORE_WAIT_MS;
    pv_files_arm(in->files, &in->timer, pv_env_mono_ms(in->files->config.env) + wait_ms);
}

static void on_silence(struct pv_timer *t)
{
    struct pv_ingest *in = PV_CONTAINER_OF(t, struct pv_ingest, timer);
    pv_ingest_hold(in);
    give_up(in);
    pv_ingest_drop(in);
}

static void on_progress(struct pv_copies_wait *wait, unsigned copies)
{
    struct pv_ingest *in = wait->ctx;
    if (copies <= in->have && copies < wait->want)
        return;
    pv_ingest_hold(in);
    in->have = copies;
    in->rq->io->event(in->rq, json_pack("{s:s, s:i, s:i}", "event", "copies", "have", (int)copies,
                                        "want", (int)in->want));
    if (copies >= wait->want)
        give_up(in); /* more than there are members cannot come */
    else
        arm(in);
    pv_ingest_drop(in);
}

static void wait_for_copies(struct pv_ingest *in)
{
    size_t active = pv_members_active(in->node);
    in->have = 1;
    in->want = in->copies > 0 ? in->copies : active < 2 ? 1 : 2;
    size_t possible = in->want < active ? in->want : active;
    if (!in->wait_for_copies) {
        finish(in);
    } else if (possible <= 1) {
        give_up(in);
    } else {
        in->copies_wait = (struct pv_copies_wait){
            .file_rid = in->records.rid,
            .record_hash = in->records.hash,
            .want = (unsigned)possible,
            .progress = on_progress,
            .ctx = in,
        };
        in->timer.fire = on_silence;
        arm(in);
        pv_publish_wait(in->node, &in->copies_wait);
    }
}

/* ---- the last commit ---- */

static void publish(struct pv_ingest *in)
{
    const struct pv_ingest_records *r = &in->records;
    if (in->root_blob != NULL)
        pv_push_kick(in->node);
    if (r->pending) {
        pv_publish_file(in->node, &r->rid, &r->hash, r->name_env != NULL ? &r->name_rid : NULL);
    } else if (pv_members_active(in->node) > 1) {
        /* A member came while we committed as the only one: its digest may be from before that. */
        pv_publish_now(in->node, r->file_env, r->file_len);
        if (r->name_env != NULL)
            pv_publish_now(in->node, r->name_env, r->name_len);
    }
}

static void on_committed(struct pv_job *job)
{
    struct pv_ingest *in = PV_CONTAINER_OF(job, struct pv_ingest, records.job);
    struct pv_ingest_records *r = &in->records;
    if (job->commit.err != PV_OK) {
        pv_ingest_fail(in, job->commit.err);
    } else {
        if (in->root_blob != NULL && r->ops[0].applied)
            in->new_bytes += r->ops[0].u.blob.len;
        if (!pv_node_closing(in->node))
            publish(in);
        if (in->rq != NULL)
            in->rq->io->event(in->rq, json_pack("{s:s, s:o, s:I, s:I}", "event", "durable", "key",
                                                key_json(in), "size", (json_int_t)in->size,
                                                "new_bytes", (json_int_t)in->new_bytes));
        if (in->rq != NULL)
            wait_for_copies(in);
    }
    pv_ingest_job_done(in);
}

static struct pv_commit_op record_op(const uint8_t *env, size_t len, bool pending)
{
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    op.u.record.env = env;
    op.u.record.len = len;
    op.u.record.pending = pending;
    return op;
}

static void commit(struct pv_ingest *in)
{
    struct pv_ingest_records *r = &in->records;
    size_t count = 0;
    if (in->root_blob != NULL)
        pv_ingest_blob_op(&r->ops[count++], in->root_blob);
    r->ops[count] = record_op(r->file_env, r->file_len, r->pending);
    r->ops[count].u.record.has_prefix = true;
    r->ops[count++].u.record.prefix_tag = r->prefix_tag;
    if (r->name_env != NULL) {
        r->ops[count] = record_op(r->name_env, r->name_len, r->pending);
        r->ops[count].u.record.has_link = true;
        r->ops[count++].u.record.link_file_rid = r->rid;
    }
    r->job = (struct pv_job){.done = on_committed, .commit = {.ops = r->ops, .count = count}};
    pv_ingest_submit(in, &r->job);
}

static void on_sealed(struct pv_job *job)
{
    struct pv_ingest *in = PV_CONTAINER_OF(job, struct pv_ingest, records.job);
    if (job->err != PV_OK)
        pv_ingest_fail(in, job->err);
    else if (in->rq != NULL)
        commit(in);
    pv_ingest_job_done(in);
}

void pv_ingest_record(struct pv_ingest *in)
{
    struct pv_ingest_records *r = &in->records;
    if (in->is_recording || !in->is_input_done || !(in->is_inline || in->has_root) ||
        in->in_flight > 0)
        return;
    enum pv_err err = pv_node_next_hlc(in->node, &r->file_hlc);
    if (err == PV_OK && in->name_len > 0)
        err = pv_node_next_hlc(in->node, &r->name_hlc);
    if (err != PV_OK) {
        struct pv_request *rq = in->rq;
        pv_ingest_detach(in);
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE, PV_INGEST_CLOCK_TEXT);
        return;
    }
    in->is_recording = true;
    r->sha = in->digest.sha;
    r->epoch = pv_epoch_of(pv_env_wall_ms(in->files->config.env));
    r->pending = pv_members_active(in->node) > 1;
    r->file = (struct pv_file_body){
        .size = in->size,
        .mtime_ms = in->mtime_ms,
        .chunker = in->is_inline    ? PV_CHUNKER_NONE
                   : in->is_private ? PV_CHUNKER_FIXED
                                    : PV_CHUNKER_GEAR1,
        .is_inline = in->is_inline,
        .is_private = in->is_private,
        .root = in->root,
        .data = in->size > 0 && in->is_inline ? in->chunk + PV_BLOB_PAYLOAD_OFFSET : NULL,
        .name = in->name,
        .name_len = in->name_len,
    };
    if (in->is_private)
        pv_env_random(in->files->config.env, r->file.private_salt, sizeof r->file.private_salt);
    r->job = (struct pv_job){.run = run_records, .done = on_sealed};
    pv_ingest_submit(in, &r->job);
}
