#include "internal/file/open_record.h"

#include "internal/base/mem.h"

enum pv_err pv_open_any(uint8_t *plain, struct pv_record *rec, const uint8_t *env, size_t len,
                        const struct pv_job_context *ctx)
{
    if (pv_record_parse(rec, env, len) != PV_OK)
        return PV_E_CORRUPT;
    const struct pv_cluster_keys *keys = pv_keyring_find(ctx->keyring, &rec->kid);
    if (keys == NULL) /* of one that has retired: what counts of it is under another */
        return pv_keyring_entry(ctx->keyring, &rec->kid) != NULL ? PV_E_NOT_FOUND
                                                                 : PV_E_UNSUPPORTED;
    enum pv_err err = pv_record_open(plain, env, len, rec, keys);
    return err == PV_E_INVALID ? PV_E_CORRUPT : err; /* clear, or of no day: not of these types */
}

enum pv_err pv_open_envelope(uint8_t *plain, struct pv_record *rec, const uint8_t *env, size_t len,
                             const struct pv_job_context *ctx)
{
    if (pv_record_parse(rec, env, len) != PV_OK)
        return PV_E_CORRUPT;
    if ((rec->flags & PV_RECORD_TOMBSTONE) != 0)
        return PV_E_NOT_FOUND;
    return pv_open_any(plain, rec, env, len, ctx);
}

static enum pv_err open_current(uint8_t *plain, struct pv_record *rec, bool *pending,
                                const struct pv_id *rid, const struct pv_job_context *ctx,
                                bool live)
{
    size_t len = PV_RECORD_LEN_MAX;
    uint8_t *env = pv_malloc(PV_RECORD_LEN_MAX);
    if (env == NULL)
        return PV_E_NOMEM;
    enum pv_err err = pv_store_record(ctx->store, rid, env, &len, pending);
    if (err == PV_OK)
        err = live ? pv_open_envelope(plain, rec, env, len, ctx)
                   : pv_open_any(plain, rec, env, len, ctx);
    rec->body = NULL;
    pv_free(env);
    return err;
}

enum pv_err pv_open_current(uint8_t *plain, struct pv_record *rec, bool *pending,
                            const struct pv_id *rid, const struct pv_job_context *ctx)
{
    return open_current(plain, rec, pending, rid, ctx, false);
}

enum pv_err pv_open_live(uint8_t *plain, struct pv_record *rec, bool *pending,
                         const struct pv_id *rid, const struct pv_job_context *ctx)
{
    return open_current(plain, rec, pending, rid, ctx, true);
}
