/*
 * The second half: one job seals the file record and the name record, one commit makes them and the
 * root blob durable, and then the client may be told, first of the file, then of its copies.
 *
 * Once that commit has been submitted the file exists, whether or not somebody still waits for it:
 * a cancelled request changes nothing about what has to be published.
 */
#include "internal/file/ingest_private.h"
#include "internal/file/meaning.h"

#include <string.h>

void pv_ingest_records_release(struct pv_ingest *in)
{
    pv_file_records_release(&in->records.written);
}

/* ---- the record job ---- */

static void run_records(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_ingest_records *r = PV_CONTAINER_OF(job, struct pv_ingest_records, job);
    bool is_value = false;
    pv_sha256_final(r->sha, r->written.file.sha256.b);
    job->err = PV_OK;
    if (r->written.bind_len > 0 && !r->replaces_value)
        job->err = pv_meaning_is_value(&is_value, r->written.bind, r->written.bind_len, ctx);
    if (job->err == PV_OK)
        job->err = is_value ? PV_E_EXISTS : pv_file_records_seal(&r->written, ctx);
}

/* ---- the reply ---- */

static json_t *key_json(const struct pv_ingest *in)
{
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, &in->records.written.file.sha256);
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
    pv_timer_arm(&in->files->timers, &in->timer, pv_env_mono_ms(in->files->config.env) + wait_ms);
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
    in->want = in->copies > 0 ? in->copies : pv_publish_need(in->node);
    size_t possible = in->want < active ? in->want : active;
    if (!in->wait_for_copies) {
        finish(in);
    } else if (possible <= 1) {
        give_up(in);
    } else {
        in->copies_wait = (struct pv_copies_wait){
            .file_rid = in->records.written.rid,
            .record_hash = in->records.written.hash,
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

static void on_committed(struct pv_job *job)
{
    struct pv_ingest *in = PV_CONTAINER_OF(job, struct pv_ingest, records.job);
    struct pv_ingest_records *r = &in->records;
    if (job->commit.err != PV_OK) {
        pv_ingest_fail(in, job->commit.err);
    } else {
        if (in->root_blob != NULL && r->ops[0].applied)
            in->new_bytes += r->ops[0].u.blob.len;
        if (!pv_node_closing(in->node)) {
            if (in->root_blob != NULL)
                pv_push_kick(in->node);
            pv_file_records_publish(&r->written, in->node);
        }
        if (in->rq != NULL)
            in->rq->io->event(in->rq, json_pack("{s:s, s:o, s:I, s:I}", "event", "durable", "key",
                                                key_json(in), "size", (json_int_t)in->size,
                                                "new_bytes", (json_int_t)in->new_bytes));
        if (in->rq != NULL)
            wait_for_copies(in);
    }
    pv_ingest_job_done(in);
}

static void commit(struct pv_ingest *in)
{
    struct pv_ingest_records *r = &in->records;
    size_t count = 0;
    if (in->root_blob != NULL)
        pv_ingest_blob_op(&r->ops[count++], in->root_blob);
    count += pv_file_records_ops(&r->written, &r->ops[count]);
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
    struct pv_file_records *w = &r->written;
    w->bind = in->name;
    w->bind_len = in->name_len;
    r->replaces_value = in->replaces_value;
    enum pv_err err = pv_file_records_begin(w, in->node);
    if (err != PV_OK) {
        struct pv_request *rq = in->rq;
        pv_ingest_detach(in);
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE, PV_INGEST_CLOCK_TEXT);
        return;
    }
    in->is_recording = true;
    r->sha = in->digest.sha;
    w->file = (struct pv_file_body){
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
        pv_env_random(in->files->config.env, w->file.private_salt, sizeof w->file.private_salt);
    r->job = (struct pv_job){.run = run_records, .done = on_sealed};
    pv_ingest_submit(in, &r->job);
}
