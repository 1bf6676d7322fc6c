/*
 * stat: lookup and names (job), then a walk over the tree. Nodes are loaded one at a time
 * (blob_load, which fetches a missing one); below them, chunks are only counted in the index, some
 * hundred a job, so that a large file does not occupy a thread.
 */
#include "internal/file/blob_load.h"
#include "internal/file/files_private.h"
#include "internal/file/open_record.h"

#include <string.h>

enum { NAMES_MAX = 256, ENTRIES_A_JOB = 500 };

struct level {
    uint8_t *entries;
    size_t count, next;
};

struct stating {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled */
    struct pv_job job;
    bool running;
    struct pv_blob_load node;
    char target[PV_NAME_MAX + 1];
    struct pv_lookup lookup;
    struct pv_id author; /* node id */
    json_t *names;
    struct level levels[PV_TREE_DEPTH_MAX];
    size_t depth;
    bool descend; /* the next entry is a node: load it */
    struct pv_entry next_node;
    uint64_t blobs, stored_bytes, missing;
    unsigned copies; /* of the least copied blob */
};

static void release(struct stating *s)
{
    while (s->depth > 0)
        pv_free(s->levels[--s->depth].entries);
    json_decref(s->names);
    pv_wipe(s, sizeof *s);
    pv_free(s);
}

static void fail(struct stating *s, enum pv_err err, const char *what)
{
    pv_request_fail(s->rq, pv_exit_of(err), "%s: %s", what, pv_err_text(err));
    release(s);
}

static void answer(struct stating *s)
{
    const struct pv_file_body *b = &s->lookup.body;
    char key[PV_ID_HEX_LEN + 1], author[PV_NODE_TEXT_LEN];
    size_t active = pv_members_active(s->files->config.node);
    unsigned copies = s->copies;
    if (b->is_inline) /* a record: everywhere, once it has left */
        copies = s->lookup.pending || active < 2 ? 1 : 2;
    pv_id_hex(key, &b->sha256);
    pv_node_id_format(author, &s->author);
    pv_request_ok(
        s->rq, json_pack("{s:s, s:I, s:I, s:O, s:b, s:b, s:I, s:I, s:i, s:I, s:I, s:s}", "key", key,
                         "size", (json_int_t)b->size, "mtime_ms", (json_int_t)b->mtime_ms, "names",
                         s->names, "inline", (int)b->is_inline, "private", (int)b->is_private,
                         "blobs", (json_int_t)s->blobs, "stored_bytes", (json_int_t)s->stored_bytes,
                         "copies", (int)copies, "want", (json_int_t)active, "missing_blobs",
                         (json_int_t)s->missing, "author", author));
    release(s);
}

/* ---- the walk ---- */

static enum pv_err push_level(struct stating *s, const uint8_t *entries, size_t count)
{
    if (s->depth == PV_TREE_DEPTH_MAX)
        return PV_E_CORRUPT;
    struct level *level = &s->levels[s->depth];
    level->entries = pv_memdup(entries, count * PV_ENTRY_LEN);
    if (level->entries == NULL)
        return PV_E_NOMEM;
    level->count = count;
    level->next = 0;
    s->depth++;
    return PV_OK;
}

static enum pv_err count_blob(struct stating *s, const struct pv_id *id,
                              const struct pv_job_context *ctx)
{
    struct pv_blob_info info;
    enum pv_err err = pv_store_blob(ctx->store, id, &info);
    unsigned copies = 0;
    if (err == PV_OK) {
        s->stored_bytes += info.size;
        copies = 1 + (unsigned)__builtin_popcountll(info.held);
    } else if (err == PV_E_NOT_FOUND) {
        s->missing++;
        err = PV_OK;
    }
    s->blobs++;
    if (copies < s->copies)
        s->copies = copies;
    return err;
}

static void run_count(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct stating *s = PV_CONTAINER_OF(job, struct stating, job);
    struct level *level = &s->levels[s->depth - 1];
    job->err = PV_OK;
    s->descend = false;
    for (unsigned i = 0; job->err == PV_OK && i < ENTRIES_A_JOB && !s->descend; i++) {
        struct pv_entry e;
        if (level->next == level->count)
            return;
        job->err = pv_entry_decode(&e, level->entries + level->next++ * PV_ENTRY_LEN);
        if (job->err == PV_OK)
            job->err = count_blob(s, &e.id, ctx);
        s->descend = e.kind == PV_BLOB_NODE;
        s->next_node = e;
    }
}

static void walk(struct stating *s);

static void on_node(struct pv_blob_load *l, enum pv_err err)
{
    struct stating *s = PV_CONTAINER_OF(l, struct stating, node);
    if (err == PV_OK) {
        err = push_level(s, l->payload, l->count);
        pv_blob_load_reset(l);
    }
    if (err == PV_OK)
        walk(s);
    else
        fail(s, err, "cannot read the file's tree");
}

static void on_counted(struct pv_job *job)
{
    struct stating *s = PV_CONTAINER_OF(job, struct stating, job);
    s->running = false;
    if (s->rq == NULL) {
        release(s);
    } else if (job->err != PV_OK) {
        fail(s, job->err, "cannot read the file's tree");
    } else if (s->descend) {
        s->node.done = on_node;
        pv_blob_load_start(&s->node, s->files->config.node, &s->next_node);
    } else {
        walk(s);
    }
}

static void walk(struct stating *s)
{
    while (s->depth > 0 && s->levels[s->depth - 1].next == s->levels[s->depth - 1].count)
        pv_free(s->levels[--s->depth].entries);
    if (s->depth == 0) {
        answer(s);
        return;
    }
    s->running = true;
    s->job = (struct pv_job){.run = run_count, .done = on_counted};
    pv_node_submit(s->files->config.node, &s->job);
}

/* ---- the beginning ---- */

static enum pv_err read_names(struct stating *s, const struct pv_job_context *ctx)
{
    struct pv_id rids[NAMES_MAX];
    size_t count = 0;
    uint8_t *plain = pv_malloc(PV_RECORD_BODY_MAX);
    enum pv_err err = plain == NULL
                          ? PV_E_NOMEM
                          : pv_store_names_of(ctx->store, &s->lookup.rid, rids, NAMES_MAX, &count);
    for (size_t i = 0; err == PV_OK && i < count; i++) {
        struct pv_record rec;
        struct pv_name_body name;
        bool pending;
        err = pv_open_live(plain, &rec, &pending, &rids[i], ctx);
        if (err == PV_OK)
            err = pv_name_body_decode(&name, plain, rec.body_len, false);
        if (err == PV_OK) {
            json_t *object = json_object();
            pv_json_set_name(object, name.name, name.name_len);
            json_array_append_new(s->names, object);
        } else if (err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED) {
            err = PV_OK; /* removed meanwhile, or under a key we have not got */
        }
    }
    pv_free(plain);
    return err;
}

static void run_lookup(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct stating *s = PV_CONTAINER_OF(job, struct stating, job);
    job->err = pv_lookup_run(&s->lookup, ctx);
    if (job->err != PV_OK)
        return;
    pv_node_id_of(&s->author, s->lookup.body.author.pub);
    job->err = read_names(s, ctx);
}

static void on_lookup(struct pv_job *job)
{
    struct stating *s = PV_CONTAINER_OF(job, struct stating, job);
    s->running = false;
    if (s->rq == NULL) {
        release(s);
        return;
    }
    if (job->err != PV_OK) {
        pv_lookup_refuse(s->files, s->rq, &s->lookup, job->err);
        release(s);
        return;
    }
    if (!s->lookup.body.is_inline) {
        uint8_t root[PV_ENTRY_LEN];
        pv_entry_encode(root, &s->lookup.body.root);
        enum pv_err err = push_level(s, root, 1);
        if (err != PV_OK) {
            fail(s, err, "cannot read the file's tree");
            return;
        }
    }
    walk(s);
}

static void on_released(struct pv_blob_load *l)
{
    release(PV_CONTAINER_OF(l, struct stating, node));
}

static void on_cancel(struct pv_request *rq)
{
    struct stating *s = rq->op;
    s->rq = NULL;
    if (pv_blob_load_cancel(&s->node) && !s->running)
        release(s);
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel};

void pv_query_stat(struct pv_files *f, struct pv_request *rq)
{
    struct stating *s = pv_calloc(1, sizeof *s);
    json_t *names = json_array();
    if (s == NULL || names == NULL) {
        pv_free(s);
        json_decref(names);
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    s->files = f;
    s->names = names;
    s->copies = UINT32_MAX;
    s->node.released = on_released;
    s->lookup.target = s->target;
    enum pv_err err = pv_request_bytes(rq, "target", s->target, PV_NAME_MAX, &s->lookup.target_len);
    if (err != PV_OK || s->lookup.target_len == 0) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed target");
        release(s);
        return;
    }
    s->rq = rq;
    rq->op = s;
    rq->ops = &ops;
    s->running = true;
    s->job = (struct pv_job){.run = run_lookup, .done = on_lookup};
    pv_node_submit(f->config.node, &s->job);
}
