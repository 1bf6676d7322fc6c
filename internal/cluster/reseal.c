/*
 *   collect (job: some records under old keys; open, seal) -> commit -> tell the members -> ...
 *
 * The reading of many rows only copies what concerns it: each other record costs a look at its
 * header.
 */
#include "internal/cluster/reseal.h"

#include "internal/file/file_records.h"
#include "internal/file/lookup.h"
#include "internal/file/open_record.h"
#include "internal/node/publish.h"
#include "internal/record_index.h"

#include <string.h>

enum { BATCH_BYTES = 256 * 1024, BATCH_MAX = BATCH_BYTES + 2 * PV_RECORD_LEN_MAX };
#define TOMBSTONE_MS (UINT64_C(90) * 86400000) /* older ones are no part of the set */

/* ---- collecting ---- */

struct collecting {
    struct pv_reseal *r;
    const struct pv_job_context *ctx;
    uint64_t now_ms;
    size_t count;
    enum pv_err err;
};

struct found { /* before each envelope of the batch */
    size_t len;
    bool pending;
};

static bool forget(struct pv_reseal *r, const struct pv_record *rec)
{
    r->forget[r->forget_count++] = (struct pv_record_ref){rec->rid, rec->hash};
    return r->forget_count < PV_RESEAL_BATCH;
}

static bool collect(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct collecting *c = arg;
    struct pv_record rec;
    struct found found = {len, pending};
    if (pv_record_parse(&rec, env, len) != PV_OK ||
        (rec.type != PV_RECORD_FILE && rec.type != PV_RECORD_NAME))
        return true;
    const struct pv_keyring_key *key = pv_keyring_entry(c->ctx->keyring, &rec.kid);
    bool is_dead = (rec.flags & PV_RECORD_TOMBSTONE) != 0;
    if (key == NULL)
        c->r->unreadable++;
    else if (key->state == PV_KEY_RETIRED)
        return pending || forget(c->r, &rec);
    if (key == NULL || key->state != PV_KEY_READ_ONLY ||
        (is_dead && pv_hlc_ms(rec.hlc) + TOMBSTONE_MS <= c->now_ms))
        return true;
    c->err = pv_buf_append(&c->r->batch, &found, sizeof found);
    if (c->err == PV_OK)
        c->err = pv_buf_append(&c->r->batch, env, len);
    return c->err == PV_OK && ++c->count < PV_RESEAL_BATCH && c->r->batch.len < BATCH_BYTES;
}

/* ---- sealing ---- */

/* Where the counterpart of an opened record belongs. The author's signature must hold. */
static enum pv_err new_rid(struct pv_id *rid, const struct pv_record *rec, const uint8_t *plain,
                           const struct pv_cluster_keys *active)
{
    struct pv_file_body file;
    struct pv_name_body name;
    enum pv_err err;
    if (rec->type == PV_RECORD_NAME) {
        err = pv_name_body_decode(&name, plain, rec->body_len, true);
        if (err == PV_OK)
            pv_rid_name(rid, active, name.name, name.name_len);
        return err;
    }
    err = pv_file_body_decode(&file, plain, rec->body_len, true);
    if (err == PV_OK && file.is_private)
        pv_rid_private(rid, active, file.private_salt);
    else if (err == PV_OK)
        pv_rid_file(rid, active, &file.sha256);
    pv_wipe(&file, sizeof file);
    return err;
}

static enum pv_err has_counterpart(bool *has, const struct pv_record *rec, const struct pv_id *rid,
                                   const struct pv_job_context *ctx)
{
    struct pv_id rids[2] = {*rid, rec->rid}, decides;
    bool is_live;
    enum pv_err err = pv_lookup_decides(&decides, &is_live, rids, 2, ctx);
    *has = err == PV_OK && pv_id_equal(&decides, rid); /* the first one, where they are equal */
    return err == PV_E_NOT_FOUND ? PV_OK : err;
}

static bool is_ours(const struct pv_reseal *r, const struct pv_id *rid,
                    const struct pv_job_context *ctx)
{
    struct pv_place_order order;
    unsigned self;
    if (r->all || !pv_placement_find(&r->sharing, &ctx->identity->node_id, &self))
        return true;
    pv_placement_order(&r->sharing, rid, &order);
    return order.at[0] == self;
}

static enum pv_err seal(struct pv_reseal *r, const struct pv_record *rec, const struct pv_id *rid,
                        uint8_t *plain, const struct pv_job_context *ctx)
{
    uint8_t *env = NULL;
    size_t len = 0;
    struct pv_id hash;
    struct pv_record made;
    struct pv_record_index index;
    const struct pv_cluster_keys *active = pv_keyring_active(ctx->keyring);
    uint64_t wall_ms = pv_env_wall_ms(ctx->env);
    struct pv_record_draft draft = {.type = rec->type,
                                    .flags = rec->flags,
                                    .rid = *rid,
                                    .hlc = rec->hlc,
                                    .epoch = pv_epoch_of(wall_ms),
                                    .body = plain,
                                    .body_len = rec->body_len};
    enum pv_err err = pv_seal_record(&env, &len, &hash, &draft, active, ctx);
    if (err != PV_OK)
        return err;
    r->envelopes[r->op_count] = env;
    err = pv_record_parse(&made, env, len);
    if (err == PV_OK)
        err = pv_record_index(&index, &made, env, len, ctx->keyring, wall_ms, plain);
    if (err == PV_OK)
        r->ops[r->op_count] = pv_record_index_op(&index, env, len);
    r->op_count++;
    return err;
}

static enum pv_err take(struct pv_reseal *r, const uint8_t *env, const struct found *found,
                        uint8_t *plain, const struct pv_job_context *ctx)
{
    struct pv_record rec;
    struct pv_id rid;
    bool has;
    enum pv_err err = pv_open_any(plain, &rec, env, found->len, ctx);
    if (err == PV_OK)
        err = new_rid(&rid, &rec, plain, pv_keyring_active(ctx->keyring));
    if (err == PV_E_CORRUPT || err == PV_E_AUTH) {
        r->unreadable++;
        return PV_OK;
    }
    if (err == PV_E_UNSUPPORTED) {
        r->left++;
        return PV_OK;
    }
    if (err == PV_OK)
        err = has_counterpart(&has, &rec, &rid, ctx);
    if (err != PV_OK || has)
        return err;
    if (found->pending || !is_ours(r, &rec.rid, ctx)) {
        r->left++;
        return PV_OK;
    }
    return seal(r, &rec, &rid, plain, ctx);
}

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_reseal *r = PV_CONTAINER_OF(job, struct pv_reseal, job);
    struct collecting c = {.r = r, .ctx = ctx, .now_ms = pv_env_wall_ms(ctx->env)};
    uint8_t *plain = pv_malloc(PV_RECORD_BODY_MAX);
    struct found found;
    job->err = plain == NULL ? PV_E_NOMEM : PV_OK;
    if (job->err == PV_OK)
        job->err =
            pv_store_records_since(ctx->store, 0, &r->seq, PV_SCAN_ROWS_MAX, collect, &c, &r->end);
    if (job->err == PV_OK)
        job->err = c.err;
    for (size_t at = 0; job->err == PV_OK && at < r->batch.len; at += sizeof found + found.len) {
        memcpy(&found, r->batch.data + at, sizeof found);
        job->err = take(r, r->batch.data + at + sizeof found, &found, plain, ctx);
    }
    pv_buf_reset(&r->batch);
    if (plain != NULL)
        pv_wipe(plain, PV_RECORD_BODY_MAX);
    pv_free(plain);
}

/* ---- the rounds ---- */

static void round_begins(struct pv_pace *pace);

static void drop_envelopes(struct pv_reseal *r)
{
    while (r->op_count > 0)
        pv_free(r->envelopes[--r->op_count]);
    r->forget_count = 0;
}

static void finish(struct pv_reseal *r, enum pv_err err)
{
    drop_envelopes(r);
    pv_buf_release(&r->batch);
    r->running = false;
    r->done(r, err);
}

static void next(struct pv_reseal *r, enum pv_err err)
{
    drop_envelopes(r);
    if (err != PV_OK || r->end || pv_node_closing(r->files->config.node))
        finish(r, err);
    else
        pv_pace_wait(&r->pace, round_begins);
}

static void on_committed(struct pv_job *job)
{
    struct pv_reseal *r = PV_CONTAINER_OF(job, struct pv_reseal, job);
    struct pv_node *n = r->files->config.node;
    for (size_t i = 0; i < r->op_count && job->commit.err == PV_OK; i++) {
        r->moved += r->ops[i].applied;
        if (r->ops[i].applied && !pv_node_closing(n))
            pv_publish_now(n, r->ops[i].u.record.env, r->ops[i].u.record.len);
    }
    if (job->commit.err == PV_OK)
        r->deleted += r->forget_count;
    next(r, job->commit.err);
}

static void on_sealed(struct pv_job *job)
{
    struct pv_reseal *r = PV_CONTAINER_OF(job, struct pv_reseal, job);
    size_t count = r->op_count;
    if (job->err != PV_OK || (count == 0 && r->forget_count == 0)) {
        next(r, job->err);
        return;
    }
    if (r->forget_count > 0) {
        struct pv_commit_op *op = &r->ops[count++];
        *op = (struct pv_commit_op){.type = PV_COMMIT_FORGET};
        op->u.forget.records = r->forget;
        op->u.forget.count = r->forget_count;
    }
    r->job = (struct pv_job){.done = on_committed, .commit = {.ops = r->ops, .count = count}};
    pv_node_submit(r->files->config.node, &r->job);
}

static void round_begins(struct pv_pace *pace)
{
    struct pv_reseal *r = PV_CONTAINER_OF(pace, struct pv_reseal, pace);
    if (pv_node_closing(r->files->config.node)) {
        finish(r, PV_E_CANCELLED);
        return;
    }
    pv_pace_begin(&r->pace);
    r->job = (struct pv_job){.run = run, .done = on_sealed};
    pv_node_submit(r->files->config.node, &r->job);
}

/* ---- life ---- */

void pv_reseal_init(struct pv_reseal *r, struct pv_files *files)
{
    r->files = files;
    r->pace.files = files;
    r->pace.rests = 1;
    pv_buf_init(&r->batch, BATCH_MAX);
}

void pv_reseal_start(struct pv_reseal *r, bool whole)
{
    PV_ASSERT(!r->running);
    r->moved = r->left = r->unreadable = r->deleted = 0;
    if (whole)
        r->seq = 0;
    r->end = false;
    r->running = true;
    round_begins(&r->pace);
}

bool pv_reseal_runs(const struct pv_reseal *r)
{
    return r->running;
}

void pv_reseal_release(struct pv_reseal *r)
{
    pv_pace_cancel(&r->pace);
    drop_envelopes(r);
    pv_buf_release(&r->batch);
}
