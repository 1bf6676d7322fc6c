/*
 * The first half of an ingest: the request, its memory, and the way of the bytes up to a cut chunk.
 *
 * Two stages take turns: the client's data fills one while a job digests the other (hashes it, and
 * copies it into the current chunk up to the chunker's next cut). The client is not read while the
 * stage being filled could not hold another frame, and while memory is awaited.
 *
 * A small file has one stage, and is digested when all of it is there. If it turns out longer than
 * announced, it waits for a stream's memory with its own in hand. That cannot deadlock: all others
 * finish with what they have, and there are never more such waiters than leave room for a stream.
 */
#include "internal/file/files_private.h"
#include "internal/file/ingest_private.h"
#include "internal/base/sometimes.h"

#include <string.h>

/* ---- references ---- */

void pv_ingest_hold(struct pv_ingest *in)
{
    in->refs++;
}

static void stages_release(struct pv_ingest *in)
{
    for (size_t i = 0; i < PV_COUNT(in->stages); i++) {
        if (in->stages[i].buf != NULL)
            pv_wipe(in->stages[i].buf, in->stages[i].cap);
        pv_free(in->stages[i].buf);
        in->stages[i] = (struct pv_ingest_stage){0};
    }
}

void pv_ingest_drop(struct pv_ingest *in)
{
    if (--in->refs > 0)
        return;
    struct pv_files *files = in->files;
    size_t charged = in->charged;
    PV_ASSERT(in->rq == NULL && in->memory_wait.budget == NULL);
    stages_release(in);
    pv_sha256_free(in->digest.sha);
    pv_chunker_free(in->digest.chunker);
    if (in->chunk != NULL)
        pv_wipe(in->chunk, in->chunk_cap);
    pv_free(in->chunk);
    pv_ingest_blobs_release(in);
    pv_ingest_records_release(in);
    pv_wipe(in, sizeof *in); /* the root's data key */
    pv_free(in);
    files->uploads--;
    pv_budget_give(&files->memory, charged);
}

void pv_ingest_submit(struct pv_ingest *in, struct pv_job *job)
{
    pv_ingest_hold(in);
    pv_node_submit(in->node, job);
}

void pv_ingest_job_done(struct pv_ingest *in)
{
    pv_ingest_advance(in);
    pv_ingest_drop(in);
}

void pv_ingest_detach(struct pv_ingest *in)
{
    in->rq = NULL;
    pv_timer_disarm(&in->timer);
    pv_publish_wait_cancel(&in->copies_wait);
    if (in->is_upgrading)
        in->files->upgrades--;
    in->is_upgrading = false;
    pv_ingest_hold(in);
    pv_budget_cancel(&in->memory_wait); /* may let others go on, at any length */
    pv_ingest_drop(in);
    pv_ingest_drop(in);
}

void pv_ingest_fail(struct pv_ingest *in, enum pv_err err)
{
    struct pv_request *rq = in->rq;
    if (rq == NULL)
        return;
    PV_LOG(in->files->config.env->log, PV_LOG_WARN, PV_SUB_FILE, "store failed", "cause",
           pv_err_text(err));
    pv_ingest_detach(in);
    if (err == PV_E_NOSPACE)
        pv_request_fail(rq, PV_EXIT_FULL,
                        "storage full: free disk space or raise disk_limit, then store it again");
    else if (err == PV_E_CANCELLED)
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE, "the server is stopping: store it again later");
    else if (err == PV_E_EXISTS)
        pv_request_fail(rq, PV_EXIT_FAILED,
                        "not stored, its name means a value: give it another one, or --replace");
    else
        pv_request_fail(rq, pv_exit_of(err), "cannot store: %s", pv_err_text(err));
}

/* ---- memory ---- */

static void set_paused(struct pv_ingest *in, bool paused)
{
    if (in->rq == NULL || in->is_paused == paused)
        return;
    in->is_paused = paused;
    in->rq->io->pause(in->rq, paused);
}

static enum pv_err stage_grow(struct pv_ingest_stage *s, size_t cap)
{
    uint8_t *buf = pv_malloc(cap);
    if (buf == NULL)
        return PV_E_NOMEM;
    if (s->buf != NULL) {
        memcpy(buf, s->buf, s->len);
        pv_wipe(s->buf, s->cap);
        pv_free(s->buf);
    }
    s->buf = buf;
    s->cap = cap;
    return PV_OK;
}

static enum pv_err use_memory(struct pv_ingest *in)
{
    enum pv_err err;
    if (in->is_small)
        return stage_grow(&in->stages[0], PV_INGEST_SMALL_STAGE_LEN);
    err = stage_grow(&in->stages[0], PV_INGEST_STAGE_LEN);
    return err == PV_OK ? stage_grow(&in->stages[1], PV_INGEST_STAGE_LEN) : err;
}

static size_t next_share(const struct pv_ingest *in)
{
    if (in->is_upgrading)
        return PV_INGEST_STREAM_BYTES - PV_INGEST_SMALL_BYTES;
    return in->is_small ? PV_INGEST_SMALL_BYTES : PV_INGEST_STREAM_BYTES;
}

static void granted(struct pv_ingest *in)
{
    in->charged += next_share(in);
    if (in->is_upgrading) {
        in->is_upgrading = in->is_small = false;
        in->files->upgrades--;
    }
    enum pv_err err = use_memory(in);
    if (err != PV_OK)
        pv_ingest_fail(in, err);
}

static void on_granted(struct pv_budget_wait *wait)
{
    struct pv_ingest *in = PV_CONTAINER_OF(wait, struct pv_ingest, memory_wait);
    pv_ingest_hold(in);
    granted(in);
    pv_ingest_advance(in);
    pv_ingest_drop(in);
}

static void ask_memory(struct pv_ingest *in)
{
    in->memory_wait.granted = on_granted;
    if (pv_budget_take(&in->files->memory, next_share(in), &in->memory_wait))
        granted(in);
}

static void upgrade(struct pv_ingest *in)
{
    struct pv_files *f = in->files;
    size_t waiters_max = (f->memory.limit_bytes - PV_INGEST_STREAM_BYTES) / PV_INGEST_SMALL_BYTES;
    if (f->upgrades >= waiters_max) {
        struct pv_request *rq = in->rq;
        pv_ingest_detach(in);
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE,
                        "the file grew while it was read, and memory is short: store it again");
        return;
    }
    PV_SOMETIMES("store: a small upload turns out longer");
    in->is_upgrading = true;
    f->upgrades++;
    ask_memory(in);
}

/* Gives back what nothing of this file will need any more, so that others can start. */
static void trim(struct pv_ingest *in)
{
    if (!in->is_input_done)
        return;
    size_t need = PV_INGEST_RECORDS_BYTES + pv_ingest_blob_bytes(in);
    if (in->charged <= need)
        return;
    size_t surplus = in->charged - need;
    in->charged = need;
    pv_budget_give(&in->files->memory, surplus);
}

/* ---- digest ---- */

static void run_digest(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_ingest_digest *d = PV_CONTAINER_OF(job, struct pv_ingest_digest, job);
    job->err = PV_OK;
    d->used = d->src_len;
    d->cut = false;
    if (d->may_cut && d->chunker == NULL)
        job->err = pv_chunker_new(&d->chunker, d->fixed ? NULL : ctx->chunker_key);
    if (job->err != PV_OK)
        return;
    if (d->may_cut)
        d->used = pv_chunker_feed(d->chunker, d->src, d->src_len, &d->cut);
    memcpy(d->dst, d->src, d->used);
    pv_sha256_update(d->sha, d->src, d->used);
}

static void on_digested(struct pv_job *job)
{
    struct pv_ingest *in = PV_CONTAINER_OF(job, struct pv_ingest, digest.job);
    struct pv_ingest_stage *work = &in->stages[in->filling ^ 1];
    in->is_digesting = false;
    if (job->err == PV_OK) {
        in->work_at += in->digest.used;
        in->chunk_len += in->digest.used;
        if (in->work_at == work->len) {
            work->len = 0;
            in->has_work = false;
        }
        if (in->digest.cut && in->rq != NULL)
            pv_ingest_cut(in, false);
    } else {
        pv_ingest_fail(in, job->err);
    }
    pv_ingest_job_done(in);
}

static bool is_full(const struct pv_ingest_stage *s)
{
    return s->cap - s->len < PV_CONTROL_DATA_MAX;
}

/* Starts the next digest, if there is work and room for what comes out of it. */
static void feed(struct pv_ingest *in)
{
    struct pv_ingest_stage *s = &in->stages[in->filling];
    if (in->is_digesting || in->is_upgrading)
        return;
    if (!in->has_work) {
        if (s->len == 0 || !(in->ended || (!in->is_small && is_full(s))))
            return;
        in->has_work = true;
        in->work_at = 0;
        in->filling ^= 1;
    }
    if (in->chunk == NULL) {
        if (!pv_ingest_has_room(in))
            return;
        in->chunk_cap = in->is_small ? PV_INGEST_SMALL_BLOB_LEN : PV_BLOB_LEN_MAX;
        in->chunk_len = 0;
        in->chunk = pv_malloc(in->chunk_cap);
        if (in->chunk == NULL) {
            pv_ingest_fail(in, PV_E_NOMEM);
            return;
        }
    }
    s = &in->stages[in->filling ^ 1];
    in->digest.may_cut = !in->is_small;
    in->digest.fixed = in->is_private;
    in->digest.src = s->buf + in->work_at;
    in->digest.src_len = s->len - in->work_at;
    in->digest.dst = in->chunk + PV_BLOB_PAYLOAD_OFFSET + in->chunk_len;
    in->digest.job = (struct pv_job){.run = run_digest, .done = on_digested};
    in->is_digesting = true;
    pv_ingest_submit(in, &in->digest.job);
}

/* Everything the client sent has been digested: what is left is the last chunk. */
static void finish_input(struct pv_ingest *in)
{
    const struct pv_files_config *c = &in->files->config;
    if (in->is_input_done || !in->ended || in->is_digesting || in->has_work || in->is_upgrading ||
        in->stages[in->filling].len > 0)
        return;
    in->is_input_done = true;
    stages_release(in);
    pv_chunker_free(in->digest.chunker);
    in->digest.chunker = NULL;
    /* A tiny file in its record is copied to every member, as a blob to `replicas` of them. */
    in->is_inline = in->size == 0 || (in->size <= PV_INLINE_MAX &&
                                      pv_members_active(in->node) <= (size_t)c->replicas + 2);
    if (!in->is_inline && in->chunk != NULL)
        pv_ingest_cut(in, in->chunk_len == in->size);
}

void pv_ingest_advance(struct pv_ingest *in)
{
    if (in->rq != NULL)
        pv_ingest_collect(in);
    if (in->rq != NULL && in->is_small && !in->is_upgrading &&
        in->stages[0].len > PV_INGEST_SMALL_MAX)
        upgrade(in);
    if (in->rq != NULL)
        feed(in);
    if (in->rq != NULL)
        finish_input(in);
    if (in->rq != NULL)
        pv_ingest_record(in);
    if (in->rq != NULL)
        trim(in);
    if (in->rq != NULL)
        set_paused(in, !in->ended && (in->charged == 0 || in->is_upgrading ||
                                      is_full(&in->stages[in->filling])));
}

/* ---- the request ---- */

static void on_data(struct pv_request *rq, const uint8_t *bytes, size_t len, bool end)
{
    struct pv_ingest *in = rq->op;
    struct pv_ingest_stage *s = &in->stages[in->filling];
    PV_ASSERT(!in->ended && !in->is_paused && len <= s->cap - s->len);
    if (len > 0)
        memcpy(s->buf + s->len, bytes, len);
    s->len += len;
    in->size += len;
    in->ended = end;
    pv_ingest_hold(in);
    pv_ingest_advance(in);
    pv_ingest_drop(in);
}

static void on_cancel(struct pv_request *rq)
{
    pv_ingest_detach(rq->op);
}

static const struct pv_request_ops ingest_ops = {.on_data = on_data, .on_cancel = on_cancel};

static bool get_integer(const json_t *args, const char *key, json_int_t max, json_int_t *out)
{
    const json_t *v = json_object_get(args, key);
    if (v != NULL)
        *out = json_integer_value(v);
    return v == NULL || (json_is_integer(v) && *out >= 0 && *out <= max);
}

/* What is wrong with the arguments; NULL: nothing. *size: -1 when unknown. */
static const char *parse(struct pv_ingest *in, const struct pv_request *rq, json_int_t *size)
{
    json_int_t copies = 0, mtime_ms = 0;
    enum pv_err err = pv_request_bytes(rq, "name", in->name, PV_NAME_MAX, &in->name_len);
    if (err == PV_E_INVALID || (err == PV_OK && in->name_len == 0))
        return "a name has 1 to 1024 bytes and no NUL";
    in->wait_for_copies = true;
    *size = -1;
    if (!get_integer(rq->args, "size", INT64_MAX, size))
        return "`size` must be a number of bytes";
    if (!get_integer(rq->args, "mtime_ms", INT64_MAX, &mtime_ms))
        return "`mtime_ms` must be milliseconds since 1970";
    if (!get_integer(rq->args, "copies", PV_MEMBERS_MAX, &copies) ||
        (copies == 0 && json_object_get(rq->args, "copies") != NULL))
        return "`copies` must be 1 to 64";
    if (!pv_request_bool(rq, "private", &in->is_private) ||
        !pv_request_bool(rq, "replace", &in->replaces_value) ||
        !pv_request_bool(rq, "wait", &in->wait_for_copies))
        return "`private`, `replace` and `wait` must be true or false";
    in->mtime_ms = (uint64_t)mtime_ms;
    in->copies = (unsigned)copies;
    return NULL;
}

/* Refuses what cannot succeed before the client has sent a byte. */
static bool may_start(struct pv_ingest *in, struct pv_request *rq, json_int_t *size)
{
    const struct pv_files_config *c = &in->files->config;
    const struct pv_keyring *keyring = pv_node_config(c->node)->keyring;
    pv_hlc hlc;
    const char *wrong = parse(in, rq, size);
    if (wrong != NULL) {
        pv_request_fail(rq, PV_EXIT_USAGE, "%s", wrong);
        return false;
    }
    if (pv_keyring_active(keyring) == NULL || pv_keyring_dedup(keyring) == NULL) {
        pv_request_fail(rq, PV_EXIT_DENIED,
                        "this node is blind, it has no cluster key: store on a keyed node");
        return false;
    }
    if (pv_node_next_hlc(c->node, &hlc) != PV_OK) {
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE, PV_INGEST_CLOCK_TEXT);
        return false;
    }
    return true;
}

void pv_ingest_start(struct pv_files *f, struct pv_request *rq)
{
    json_int_t size;
    struct pv_ingest *in = pv_calloc(1, sizeof *in);
    if (in == NULL) {
        pv_request_fail(rq, pv_exit_of(PV_E_NOMEM), "out of memory: try again");
        return;
    }
    in->files = f;
    in->node = f->config.node;
    if (!may_start(in, rq, &size)) {
        pv_free(in);
        return;
    }
    f->uploads++;
    uint64_t now = pv_env_wall_ms(f->config.env);
    if (json_object_get(rq->args, "mtime_ms") == NULL)
        in->mtime_ms = now;
    in->is_private = in->is_private || f->config.convergence == PV_CONVERGENCE_OFF;
    if (!in->is_private && f->config.convergence == PV_CONVERGENCE_EPOCH)
        in->epoch = pv_epoch_of(now);
    in->is_small = size >= 0 && size <= PV_INGEST_SMALL_MAX;
    pv_list_init(&in->blobs);
    pv_tree_builder_init(&in->tree, PV_NODE_ENTRIES_MAX);
    in->rq = rq;
    in->refs = 2; /* the request's, and one while this function runs */
    rq->op = in;
    rq->ops = &ingest_ops;
    in->digest.sha = pv_sha256_new();
    if (in->digest.sha == NULL)
        pv_ingest_fail(in, PV_E_NOMEM);
    else
        ask_memory(in);
    pv_ingest_advance(in);
    pv_ingest_drop(in);
}
