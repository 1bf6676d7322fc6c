#include "internal/file/file_records.h"

#include "internal/node/members.h"
#include "internal/node/publish.h"

enum pv_err pv_seal_record(uint8_t **env, size_t *len, struct pv_id *hash,
                           const struct pv_record_draft *draft, const struct pv_cluster_keys *keys,
                           const struct pv_job_context *ctx)
{
    uint8_t salt[32];
    uint8_t *sealed = pv_malloc(PV_RECORD_LEN_MAX);
    if (sealed == NULL)
        return PV_E_NOMEM;
    pv_env_random(ctx->env, salt, sizeof salt);
    enum pv_err err = pv_record_seal(sealed, len, draft, keys, ctx->identity->seed, salt);
    if (err == PV_OK)
        pv_sha256(hash->b, sealed, *len);
    if (err != PV_OK) {
        pv_free(sealed);
        return err == PV_E_INVALID ? PV_E_INTERNAL : err;
    }
    uint8_t *shorter = pv_realloc(sealed, *len);
    *env = shorter != NULL ? shorter : sealed;
    return PV_OK;
}

enum pv_err pv_file_records_begin(struct pv_file_records *r, struct pv_node *n)
{
    enum pv_err err = r->name_only ? PV_OK : pv_node_next_hlc(n, &r->file_hlc);
    if (err == PV_OK && r->bind_len > 0)
        err = pv_node_next_hlc(n, &r->name_hlc);
    r->epoch = pv_epoch_of(pv_env_wall_ms(pv_node_config(n)->env));
    r->pending = pv_members_active(n) > 1;
    return err;
}

static enum pv_err seal_file(struct pv_file_records *r, uint8_t *body,
                             const struct pv_job_context *ctx)
{
    struct pv_record_draft draft = {
        .type = PV_RECORD_FILE, .rid = r->rid, .hlc = r->file_hlc, .epoch = r->epoch, .body = body};
    r->file.author.hlc = r->file_hlc;
    r->file.author.flags = 0;
    enum pv_err err = pv_file_body_encode(body, &draft.body_len, &r->file, ctx->identity->seed);
    return err == PV_OK ? pv_seal_record(&r->file_env, &r->file_len, &r->hash, &draft,
                                         pv_keyring_active(ctx->keyring), ctx)
                        : err;
}

static enum pv_err seal_name(struct pv_file_records *r, uint8_t *body,
                             const struct pv_job_context *ctx)
{
    struct pv_name_body name = {
        .author.hlc = r->name_hlc,
        .name = r->bind,
        .name_len = r->bind_len,
        .file_sha256 = r->file.sha256,
        .file_rid = r->rid,
    };
    struct pv_record_draft draft = {
        .type = PV_RECORD_NAME, .hlc = r->name_hlc, .epoch = r->epoch, .body = body};
    pv_rid_name(&r->name_rid, pv_keyring_active(ctx->keyring), name.name, name.name_len);
    draft.rid = r->name_rid;
    enum pv_err err = pv_name_body_encode(body, &draft.body_len, &name, ctx->identity->seed);
    return err == PV_OK ? pv_seal_record(&r->name_env, &r->name_len, &r->name_hash, &draft,
                                         pv_keyring_active(ctx->keyring), ctx)
                        : err;
}

enum pv_err pv_file_records_seal(struct pv_file_records *r, const struct pv_job_context *ctx)
{
    const struct pv_cluster_keys *keys = pv_keyring_active(ctx->keyring);
    enum pv_err err = PV_OK;
    uint8_t *body = pv_malloc(PV_RECORD_BODY_MAX);
    if (body == NULL)
        return PV_E_NOMEM;
    if (!r->name_only) {
        if (r->file.is_private)
            pv_rid_private(&r->rid, keys, r->file.private_salt);
        else
            pv_rid_file(&r->rid, keys, &r->file.sha256);
        r->prefix_tag = pv_key_prefix_tag(keys, r->file.sha256.b);
        err = seal_file(r, body, ctx);
    }
    if (err == PV_OK && r->bind_len > 0)
        err = seal_name(r, body, ctx);
    pv_wipe(body, PV_RECORD_BODY_MAX);
    pv_free(body);
    return err;
}

static struct pv_commit_op record_op(const uint8_t *env, size_t len, bool pending)
{
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    op.u.record.env = env;
    op.u.record.len = len;
    op.u.record.pending = pending;
    return op;
}

size_t pv_file_records_ops(const struct pv_file_records *r, struct pv_commit_op ops[static 2])
{
    size_t count = 0;
    if (r->file_env != NULL) {
        ops[count] = record_op(r->file_env, r->file_len, r->pending);
        ops[count].u.record.has_prefix = true;
        ops[count++].u.record.prefix_tag = r->prefix_tag;
    }
    if (r->name_env != NULL) {
        ops[count] = record_op(r->name_env, r->name_len, r->pending);
        ops[count].u.record.has_link = true;
        ops[count++].u.record.link_file_rid = r->rid;
    }
    return count;
}

void pv_file_records_publish(const struct pv_file_records *r, struct pv_node *n)
{
    if (r->pending && r->name_only) {
        pv_publish_file(n, &r->name_rid, &r->name_hash, NULL);
    } else if (r->pending) {
        pv_publish_file(n, &r->rid, &r->hash, r->name_env != NULL ? &r->name_rid : NULL);
    } else if (pv_members_active(n) > 1) {
        /* Of a file: a member came while we committed as the only one, and its digest may be from
         * before that. */
        if (r->file_env != NULL)
            pv_publish_now(n, r->file_env, r->file_len);
        if (r->name_env != NULL)
            pv_publish_now(n, r->name_env, r->name_len);
    }
}

void pv_file_records_release(struct pv_file_records *r)
{
    pv_free(r->file_env);
    pv_free(r->name_env);
    pv_wipe(r, sizeof *r);
}
