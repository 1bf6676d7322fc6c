/*
 * The walk holds the open nodes of one path, at most PV_TREE_DEPTH_MAX of up to 1 MB each, and
 * counts what it looks at: PV_SCAN_ROWS_MAX blobs a job. Only the positions survive the job; the
 * next one opens the nodes of the path again. A node's own blob is counted before it is opened.
 *
 * A blob that is not here counts for the copies others have of it. If it is a node it cannot be
 * walked, so the file waits: repair brings the node back.
 */
#include "internal/node/publish_check.h"

#include <string.h>

struct open_node {
    uint8_t *blob;
    const uint8_t *entries;
    size_t count;
};

struct walker {
    struct pv_store *store;
    struct pv_copies_walk *pos;
    struct pv_entry root;
    uint64_t holders;
    unsigned want;
    size_t budget;
    struct open_node nodes[PV_TREE_DEPTH_MAX];
    unsigned opened; /* nodes[0 .. opened) */
};

enum step { STEP_ON, STEP_TOO_FEW, STEP_LATER, STEP_END };

static enum pv_err open_node(struct walker *w, const struct pv_entry *e)
{
    struct open_node *node = &w->nodes[w->opened];
    const uint8_t *payload;
    size_t len, got, payload_len;
    uint32_t blob_len;
    if (w->opened == PV_TREE_DEPTH_MAX)
        return PV_E_CORRUPT;
    uint8_t *blob = pv_malloc(PV_BLOB_LEN_MAX);
    if (blob == NULL)
        return PV_E_NOMEM;
    enum pv_err err = pv_store_read(w->store, &e->id, 0, blob, PV_BLOB_LEN_MAX, &got, &blob_len);
    if (err == PV_OK && got != blob_len)
        err = PV_E_CORRUPT;
    if (err == PV_OK)
        err = pv_blob_open(blob, got, e->dk, PV_BLOB_NODE, &payload, &payload_len);
    if (err == PV_OK)
        err = pv_node_check(payload, payload_len, e, &len);
    if (err != PV_OK) {
        pv_wipe(blob, PV_BLOB_LEN_MAX);
        pv_free(blob);
        return err;
    }
    *node = (struct open_node){blob, payload, len};
    w->opened++;
    return PV_OK;
}

static void close_node(struct walker *w)
{
    struct open_node *node = &w->nodes[--w->opened];
    pv_wipe(node->blob, PV_BLOB_LEN_MAX); /* data keys */
    pv_free(node->blob);
}

static enum pv_err count_copies(const struct walker *w, const struct pv_id *id, unsigned *copies)
{
    struct pv_blob_info info;
    *copies = 0;
    enum pv_err err = pv_store_blob(w->store, id, &info);
    if (err == PV_OK)
        *copies = 1 + (unsigned)__builtin_popcountll(info.held & w->holders);
    return err == PV_E_NOT_FOUND ? PV_OK : err;
}

/* The entry the walk is at; false when the innermost node has no more. */
static bool current(const struct walker *w, struct pv_entry *e)
{
    if (w->opened == 0) {
        *e = w->root;
        return true;
    }
    const struct open_node *node = &w->nodes[w->opened - 1];
    uint32_t at = w->pos->at[w->opened - 1];
    if (at >= node->count)
        return false;
    enum pv_err err = pv_entry_decode(e, node->entries + (size_t)at * PV_ENTRY_LEN);
    PV_ASSERT(err == PV_OK); /* pv_node_check has seen them all */
    return true;
}

static enum step next(struct walker *w)
{
    if (w->opened == 0)
        return STEP_END;
    w->pos->at[w->opened - 1]++;
    return STEP_ON;
}

static enum pv_err take_step(struct walker *w, enum step *out)
{
    struct pv_entry e;
    unsigned copies;
    if (!current(w, &e)) {
        close_node(w);
        *out = next(w);
        return PV_OK;
    }
    *out = STEP_LATER;
    if (w->budget == 0)
        return PV_OK;
    w->budget--;
    enum pv_err err = count_copies(w, &e.id, &copies);
    *out = STEP_TOO_FEW;
    if (err != PV_OK || copies < w->want)
        return err;
    if (e.kind == PV_BLOB_CHUNK) {
        *out = next(w);
        return PV_OK;
    }
    err = open_node(w, &e);
    if (err != PV_OK)
        return err == PV_E_NOT_FOUND ? PV_OK : err;
    w->pos->at[w->opened - 1] = 0;
    *out = STEP_ON;
    return PV_OK;
}

static enum pv_err resume(struct walker *w)
{
    unsigned depth = w->pos->depth;
    struct pv_entry e;
    for (unsigned i = 0; i < depth; i++) {
        if (!current(w, &e))
            return PV_E_INTERNAL;
        enum pv_err err = open_node(w, &e);
        if (err != PV_OK)
            return err;
    }
    return PV_OK;
}

/* One walk, or part of one. *out: END, TOO_FEW or LATER. */
static enum pv_err walk(struct walker *w, enum step *out)
{
    *out = STEP_ON;
    enum pv_err err = resume(w);
    if (err == PV_E_NOT_FOUND) { /* a node of the path was lost: from the start, once it is back */
        err = PV_OK;
        *out = STEP_TOO_FEW;
        while (w->opened > 0)
            close_node(w);
    }
    while (err == PV_OK && *out == STEP_ON)
        err = take_step(w, out);
    w->pos->depth = err == PV_OK && *out != STEP_END ? w->opened : 0;
    while (w->opened > 0)
        close_node(w);
    return err;
}

static enum pv_err holder_bits(const struct pv_publish_check *c, struct pv_store *s, uint64_t *bits)
{
    *bits = 0;
    for (size_t i = 0; i < c->holder_count; i++) {
        unsigned bit;
        enum pv_err err = pv_store_holder(s, &c->holders[i], &bit);
        if (err == PV_OK)
            *bits |= UINT64_C(1) << bit;
        else if (err != PV_E_NOT_FOUND)
            return err;
    }
    return PV_OK;
}

static enum pv_err count_file(struct pv_publish_check *c, struct pv_store *s,
                              const struct pv_entry *root)
{
    struct walker w = {.store = s, .pos = &c->walk, .root = *root, .budget = PV_SCAN_ROWS_MAX};
    enum step step = STEP_END;
    enum pv_err err = c->level < c->goal ? holder_bits(c, s, &w.holders) : PV_OK;
    while (err == PV_OK && step == STEP_END && c->level < c->goal) {
        w.want = c->level + 1;
        err = walk(&w, &step);
        if (err == PV_OK && step == STEP_END)
            c->level++;
    }
    c->unfinished = step == STEP_LATER;
    pv_wipe(&w.root, sizeof w.root);
    return err;
}

/* ---- records ------------------------------------------------------------------------------- */

struct opened { /* a record and its plain body */
    struct pv_record rec;
    bool pending;
    uint8_t *env, *plain;
    size_t len;
};

static void release(struct opened *o)
{
    if (o->plain != NULL)
        pv_wipe(o->plain, PV_RECORD_BODY_MAX);
    pv_free(o->plain);
    pv_free(o->env);
    o->env = o->plain = NULL;
}

static bool is_sealed_and_live(const struct pv_record *rec)
{
    return (rec->type == PV_RECORD_FILE || rec->type == PV_RECORD_NAME) &&
           (rec->flags & PV_RECORD_TOMBSTONE) == 0;
}

/* Bodies of what is sealed and live are opened. After an error o is released. */
static enum pv_err load(struct opened *o, const struct pv_job_context *ctx, const struct pv_id *rid)
{
    *o = (struct opened){.env = pv_malloc(PV_RECORD_LEN_MAX)};
    enum pv_err err = o->env != NULL ? PV_OK : PV_E_NOMEM;
    if (err == PV_OK)
        err = pv_store_record(ctx->store, rid, o->env, &o->len, &o->pending);
    if (err == PV_OK && pv_record_parse(&o->rec, o->env, o->len) != PV_OK)
        err = PV_E_CORRUPT;
    if (err == PV_OK && is_sealed_and_live(&o->rec)) {
        const struct pv_cluster_keys *keys = pv_keyring_find(ctx->keyring, &o->rec.kid);
        o->plain = pv_calloc(1, PV_RECORD_BODY_MAX);
        if (o->plain == NULL)
            err = PV_E_NOMEM;
        else
            err = keys != NULL ? pv_record_open(o->plain, o->env, o->len, &o->rec, keys)
                               : PV_E_UNSUPPORTED;
    }
    if (err != PV_OK)
        release(o);
    return err;
}

static enum pv_err check_file(struct pv_publish_check *c, const struct opened *o,
                              struct pv_store *s)
{
    struct pv_file_body body;
    enum pv_err err = pv_file_body_decode(&body, o->plain, o->rec.body_len, false);
    if (err == PV_OK && body.is_inline)
        c->level = PV_LEVEL_ALL;
    else if (err == PV_OK)
        err = count_file(c, s, &body.root);
    pv_wipe(&body, sizeof body);
    return err;
}

/* A name by itself leaves once its file has, or if that is not pending at all. */
static enum pv_err check_lone_name(struct pv_publish_check *c, const struct opened *o,
                                   const struct pv_job_context *ctx)
{
    struct pv_name_body body;
    struct opened file;
    enum pv_err err = pv_name_body_decode(&body, o->plain, o->rec.body_len, false);
    if (err != PV_OK)
        return err;
    c->level = PV_LEVEL_ALL;
    if (body.is_value)
        return PV_OK;
    c->name_file_rid = body.file_rid;
    err = load(&file, ctx, &body.file_rid);
    if (err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED)
        return PV_OK;
    if (err == PV_OK)
        c->name_waits = file.pending;
    release(&file);
    return err;
}

/* The name written with a file; it may have been bound to another one since. */
static enum pv_err check_name(struct pv_publish_check *c, const struct pv_job_context *ctx)
{
    struct opened o;
    struct pv_name_body body;
    c->has_name = false;
    enum pv_err err = load(&o, ctx, &c->name_rid);
    if (err != PV_OK)
        return err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED ? PV_OK : err;
    if (o.pending && o.plain != NULL && o.rec.type == PV_RECORD_NAME &&
        pv_name_body_decode(&body, o.plain, o.rec.body_len, false) == PV_OK &&
        pv_id_equal(&body.file_rid, &c->rid)) {
        c->has_name = true;
        c->name_hash = o.rec.hash;
        c->name_env = o.env;
        c->name_env_len = o.len;
        o.env = NULL;
    }
    release(&o);
    return PV_OK;
}

static enum pv_err check(struct pv_publish_check *c, const struct pv_job_context *ctx)
{
    struct opened o;
    enum pv_err err = load(&o, ctx, &c->rid);
    if (err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED)
        c->gone = true;
    if (err != PV_OK)
        return c->gone ? PV_OK : err;
    bool is_other = c->has_hash && !pv_id_equal(&c->hash, &o.rec.hash);
    bool concerns_us = o.pending || (c->is_waited_for && is_sealed_and_live(&o.rec));
    c->replaced = is_other && concerns_us;
    c->new_hash = o.rec.hash;
    c->gone = c->has_hash ? is_other && !c->replaced : !concerns_us;
    if (c->gone || c->replaced) {
        release(&o);
        return PV_OK;
    }
    c->has_hash = true;
    c->hash = o.rec.hash;
    if (!is_sealed_and_live(&o.rec))
        c->level = PV_LEVEL_ALL;
    else if (o.rec.type == PV_RECORD_FILE)
        err = check_file(c, &o, ctx->store);
    else
        err = check_lone_name(c, &o, ctx);
    if (err == PV_OK) {
        c->env = o.env;
        c->env_len = o.len;
        o.env = NULL;
    }
    release(&o);
    if (err == PV_OK && c->has_name)
        err = check_name(c, ctx);
    return err;
}

void pv_publish_check_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_publish_check *c = PV_CONTAINER_OF(job, struct pv_publish_check, job);
    job->err = check(c, ctx);
}
