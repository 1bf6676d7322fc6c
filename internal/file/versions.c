/*
 * A tombstone keeps the body of what it removed, so a removed file is a record like any other, only
 * that no index leads to it. A name's earlier records are in the store's history.
 */
#include "internal/file/versions.h"
#include "internal/file/open_record.h"

#include <stdlib.h>

/* ---- files ---- */

enum pv_err pv_lookup_ever_rid(struct pv_lookup *l, const struct pv_id *rid, bool *is_live,
                               const struct pv_job_context *ctx)
{
    struct pv_record rec;
    if (l->plain == NULL && (l->plain = pv_malloc(PV_RECORD_BODY_MAX)) == NULL)
        return PV_E_NOMEM;
    enum pv_err err = pv_open_current(l->plain, &rec, &l->pending, rid, ctx);
    if (err != PV_OK)
        return err;
    if (rec.type != PV_RECORD_FILE)
        return PV_E_CORRUPT;
    l->rid = *rid;
    l->hash = rec.hash;
    l->hlc = rec.hlc;
    *is_live = (rec.flags & PV_RECORD_TOMBSTONE) == 0;
    err = pv_file_body_decode(&l->body, l->plain, rec.body_len, false);
    return err == PV_OK && l->body.is_purged && *is_live ? PV_E_CORRUPT : err;
}

struct choice {
    uint8_t *env; /* PV_RECORD_LEN_MAX */
    bool found, is_live;
    pv_hlc hlc;
    struct pv_id rid;
};

static enum pv_err weigh(struct choice *c, const struct pv_id *rid,
                         const struct pv_job_context *ctx)
{
    size_t len = PV_RECORD_LEN_MAX;
    bool pending;
    struct pv_record rec;
    enum pv_err err = pv_store_record(ctx->store, rid, c->env, &len, &pending);
    if (err != PV_OK)
        return err == PV_E_NOT_FOUND ? PV_OK : err;
    if (pv_record_parse(&rec, c->env, len) != PV_OK)
        return PV_E_CORRUPT;
    bool is_live = (rec.flags & PV_RECORD_TOMBSTONE) == 0;
    if (!c->found || rec.hlc > c->hlc || (rec.hlc == c->hlc && !is_live))
        *c = (struct choice){c->env, true, is_live, rec.hlc, *rid};
    return PV_OK;
}

enum pv_err pv_lookup_ever(struct pv_lookup *l, const struct pv_id *rid, const struct pv_id *sha256,
                           bool *is_live, const struct pv_job_context *ctx)
{
    struct choice c = {.env = pv_malloc(PV_RECORD_LEN_MAX)}, other = c;
    if (c.env == NULL)
        return PV_E_NOMEM;
    enum pv_err err = PV_OK;
    for (size_t i = 0; err == PV_OK && i < ctx->keyring->key_count; i++) {
        const struct pv_keyring_key *k = &ctx->keyring->keys[i];
        struct pv_id shared;
        if (k->state == PV_KEY_RETIRED)
            continue;
        pv_rid_file(&shared, &k->keys, sha256);
        err = weigh(&c, &shared, ctx);
        if (rid != NULL && pv_id_equal(rid, &shared))
            rid = NULL;
    }
    if (err == PV_OK && rid != NULL) /* a private copy */
        err = weigh(&other, rid, ctx);
    if (other.found && (!c.found || other.is_live > c.is_live ||
                        (other.is_live == c.is_live && other.hlc > c.hlc)))
        c = other;
    pv_free(c.env);
    if (err == PV_OK && !c.found)
        err = PV_E_NOT_FOUND;
    return err == PV_OK ? pv_lookup_ever_rid(l, &c.rid, is_live, ctx) : err;
}

/* ---- names ---- */

struct reading {
    struct pv_versions *v;
    const struct pv_job_context *ctx;
    uint8_t *plain; /* PV_RECORD_BODY_MAX */
    enum pv_err err;
};

static void take_value(struct pv_versions *v, struct pv_version *out,
                       const struct pv_name_body *name)
{
    static const struct pv_id none;
    bool all = pv_id_equal(&v->wanted, &none);
    pv_sha256(out->sha256.b, name->value, name->value_len);
    if (all ? name->value_len > PV_VERSIONS_SHORT_MAX : !pv_id_equal(&v->wanted, &out->hash))
        return;
    out->bytes_at = v->bytes.len;
    out->has_bytes = pv_buf_append(&v->bytes, name->value, name->value_len) == PV_OK;
}

static bool take_version(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct reading *r = arg;
    struct pv_record rec;
    struct pv_name_body name;
    (void)pending;
    enum pv_err err = pv_open_any(r->plain, &rec, env, len, r->ctx);
    if (err == PV_OK && rec.type != PV_RECORD_NAME)
        err = PV_E_CORRUPT;
    if (err == PV_OK)
        err = pv_name_body_decode(&name, r->plain, rec.body_len, false);
    if (err == PV_E_NOMEM) {
        r->err = err;
        return false;
    }
    if (err != PV_OK || r->v->count == PV_VERSIONS_MAX) {
        r->v->unreadable++;
        return true;
    }
    struct pv_version *out = &r->v->list[r->v->count++];
    *out = (struct pv_version){.hlc = rec.hlc,
                               .hash = rec.hash,
                               .sha256 = name.file_sha256,
                               .file_rid = name.file_rid,
                               .is_value = name.is_value,
                               .value_len = name.value_len,
                               .is_removal = (rec.flags & PV_RECORD_TOMBSTONE) != 0};
    if (name.is_value)
        take_value(r->v, out, &name);
    pv_node_id_of(&out->author, name.author.pub);
    return true;
}

static enum pv_err read_register(struct reading *r, const struct pv_id *rid, bool is_deciding)
{
    size_t len = PV_RECORD_LEN_MAX, first = r->v->count;
    bool pending;
    uint8_t *env = pv_malloc(PV_RECORD_LEN_MAX);
    if (env == NULL)
        return PV_E_NOMEM;
    enum pv_err err = pv_store_record(r->ctx->store, rid, env, &len, &pending);
    if (err == PV_OK)
        (void)take_version(r, env, len, pending);
    if (r->v->count > first)
        r->v->list[first].is_current = is_deciding;
    pv_free(env);
    if (err != PV_OK)
        return err == PV_E_NOT_FOUND ? PV_OK : err; /* without one there is no history */
    if (r->err == PV_OK)
        err = pv_store_history(r->ctx->store, rid, take_version, r);
    return err == PV_OK ? r->err : err;
}

/* A version and its counterpart under another cluster key are one. */
static void merge(struct pv_versions *v)
{
    size_t kept = 0;
    for (size_t i = 0; i < v->count; i++) {
        struct pv_version *last = kept > 0 ? &v->list[kept - 1] : NULL;
        if (last != NULL && last->hlc == v->list[i].hlc &&
            pv_id_equal(&last->author, &v->list[i].author) &&
            pv_id_equal(&last->sha256, &v->list[i].sha256))
            last->is_current = last->is_current || v->list[i].is_current;
        else
            v->list[kept++] = v->list[i];
    }
    v->count = kept;
}

static int newest_first(const void *a, const void *b)
{
    const struct pv_version *x = a, *y = b;
    if (x->hlc != y->hlc)
        return x->hlc > y->hlc ? -1 : 1;
    return y->is_current - x->is_current;
}

enum pv_err pv_versions_read(struct pv_versions *v, const char *name, size_t len,
                             const struct pv_job_context *ctx)
{
    struct pv_id deciding;
    struct reading r = {.v = v, .ctx = ctx, .plain = pv_malloc(PV_RECORD_BODY_MAX)};
    pv_buf_init(&v->bytes, PV_VERSIONS_BYTES_MAX);
    enum pv_err err = r.plain == NULL ? PV_E_NOMEM : PV_OK;
    if (err == PV_OK)
        err = pv_lookup_name_rid(&deciding, name, len, ctx);
    for (size_t i = 0; err == PV_OK && i < ctx->keyring->key_count; i++) {
        const struct pv_keyring_key *k = &ctx->keyring->keys[i];
        struct pv_id rid;
        if (k->state == PV_KEY_RETIRED)
            continue;
        pv_rid_name(&rid, &k->keys, name, len);
        err = read_register(&r, &rid, pv_id_equal(&rid, &deciding));
    }
    if (r.plain != NULL)
        pv_wipe(r.plain, PV_RECORD_BODY_MAX);
    pv_free(r.plain);
    if (err == PV_OK) {
        qsort(v->list, v->count, sizeof v->list[0], newest_first);
        merge(v);
    }
    return err;
}

void pv_versions_release(struct pv_versions *v)
{
    pv_buf_release(&v->bytes);
}
