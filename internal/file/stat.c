/*
 * stat: lookup and names (job) -> reserve memory -> a walk over the tree -> the reply.
 *
 * Nodes are loaded one at a time (blob_load, which fetches a missing one); below them, chunks are
 * only counted in the index, some hundred a job, so that a large file does not occupy a thread.
 */
#include "internal/file/blob_load.h"
#include "internal/file/files_private.h"
#include "internal/file/lookup.h"
#include "internal/file/open_record.h"
#include "internal/file/tree_walk.h"
#include "internal/node/places.h"

#include <string.h>

enum {
    NAMES_MAX = 256,        /* looked at, under each rid of the file */
    NAMES_BYTES_MAX = 8192, /* given: as JSON they are up to six times as long */
    ENTRIES_A_JOB = 500,
};
_Static_assert((int)PV_TREE_WALK_MEMORY <= (int)PV_FILES_MEMORY_MIN,
               "one stat always fits the budget");

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
    size_t names_len;
    bool has_more_names;
    struct pv_tree_walk walk;
    size_t reserved;
    struct pv_budget_wait wait;
    bool descend, end; /* the next entry is a node: load it; there is none */
    struct pv_entry next_node;
    struct pv_places places;
    uint64_t blobs, stored_bytes;
    uint64_t missing, elsewhere; /* not here: though they belong here; as they do not */
    unsigned copies;             /* of the least copied blob that we know of */
};

static void release(struct stating *s)
{
    struct pv_files *f = s->files;
    size_t reserved = s->reserved;
    pv_tree_walk_release(&s->walk);
    pv_lookup_release(&s->lookup);
    pv_budget_cancel(&s->wait);
    json_decref(s->names);
    pv_wipe(s, sizeof *s); /* data keys */
    pv_free(s);
    if (reserved > 0)
        pv_budget_give(&f->memory, reserved);
}

static void fail_tree(struct stating *s, enum pv_err err)
{
    /* The file is there, even if one of its nodes is certainly not. */
    enum pv_exit exit = err == PV_E_NOT_FOUND ? PV_EXIT_UNAVAILABLE : pv_exit_of(err);
    pv_request_fail(s->rq, exit, "cannot read the file's tree: %s",
                    err == PV_E_NOT_FOUND ? "a node of it is on no member" : pv_err_text(err));
    release(s);
}

static void answer(struct stating *s)
{
    const struct pv_file_body *b = &s->lookup.body;
    char key[PV_ID_HEX_LEN + 1], author[PV_NODE_TEXT_LEN];
    size_t active = pv_members_active(s->files->config.node), want = active;
    unsigned copies = s->copies;
    if (b->is_inline) /* a record: everywhere, once it has left */
        copies = s->lookup.pending || active < 2 ? 1 : 2;
    else if (active > s->files->config.replicas)
        want = s->files->config.replicas;
    bool is_known = b->is_inline || s->elsewhere < s->blobs;
    pv_id_hex(key, &b->sha256);
    pv_node_id_format(author, &s->author);
    pv_request_ok(
        s->rq,
        json_pack("{s:s, s:I, s:I, s:O, s:b, s:b, s:b, s:I, s:I, s:o*, s:I, s:I, s:I, s:s}", "key",
                  key, "size", (json_int_t)b->size, "mtime_ms", (json_int_t)b->mtime_ms, "names",
                  s->names, "more_names", (int)s->has_more_names, "inline", (int)b->is_inline,
                  "private", (int)b->is_private, "blobs", (json_int_t)s->blobs, "stored_bytes",
                  (json_int_t)s->stored_bytes, "copies", is_known ? json_integer(copies) : NULL,
                  "want", (json_int_t)want, "missing_blobs", (json_int_t)s->missing,
                  "elsewhere_blobs", (json_int_t)s->elsewhere, "author", author));
    release(s);
}

/* ---- the walk ---- */

static enum pv_err count_blob(struct stating *s, const struct pv_entry *e,
                              const struct pv_job_context *ctx)
{
    struct pv_blob_info info;
    enum pv_err err = pv_store_blob(ctx->store, &e->id, &info);
    unsigned copies = 0;
    s->blobs++;
    if (err == PV_OK) {
        s->stored_bytes += info.size;
        copies = 1 + (unsigned)__builtin_popcountll(info.held);
    } else if (err == PV_E_NOT_FOUND) {
        err = PV_OK;
        if (!pv_places_ours(&s->places, &e->id, (uint8_t)e->kind)) {
            s->elsewhere++;
            return PV_OK;
        }
        s->missing++;
    }
    if (copies < s->copies)
        s->copies = copies;
    return err;
}

static void run_count(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct stating *s = PV_CONTAINER_OF(job, struct stating, job);
    job->err = PV_OK;
    s->descend = false;
    for (unsigned i = 0; job->err == PV_OK && i < ENTRIES_A_JOB && !s->descend; i++) {
        s->end = !pv_tree_walk_next(&s->walk, &s->next_node);
        if (s->end)
            return;
        job->err = count_blob(s, &s->next_node, ctx);
        s->descend = s->next_node.kind == PV_BLOB_NODE;
    }
}

static void count_on(struct stating *s);

static void on_node(struct pv_blob_load *l, enum pv_err err)
{
    struct stating *s = PV_CONTAINER_OF(l, struct stating, node);
    if (err == PV_OK)
        err = pv_tree_walk_open(&s->walk, l);
    if (err == PV_OK) {
        count_on(s);
        return;
    }
    pv_blob_load_reset(l);
    fail_tree(s, err);
}

static void on_counted(struct pv_job *job)
{
    struct stating *s = PV_CONTAINER_OF(job, struct stating, job);
    s->running = false;
    if (s->rq == NULL) {
        release(s);
    } else if (job->err != PV_OK) {
        fail_tree(s, job->err);
    } else if (s->end) {
        answer(s);
    } else if (s->descend && s->walk.depth == PV_TREE_NODES_OPEN_MAX) {
        fail_tree(s, PV_E_CORRUPT); /* too deep */
    } else if (s->descend) {
        s->node.done = on_node;
        pv_blob_load_start(&s->node, s->files->config.node, &s->next_node);
    } else {
        count_on(s);
    }
}

static void count_on(struct stating *s)
{
    s->running = true;
    pv_places_now(s->files->config.node, &s->places);
    s->job = (struct pv_job){.run = run_count, .done = on_counted};
    pv_node_submit(s->files->config.node, &s->job);
}

static void start_walk(struct stating *s)
{
    const struct pv_entry *root = &s->lookup.body.root;
    s->reserved = root->kind == PV_BLOB_NODE ? PV_TREE_WALK_MEMORY : 0;
    pv_tree_walk_init(&s->walk, root);
    count_on(s);
}

static void on_granted(struct pv_budget_wait *wait)
{
    start_walk(PV_CONTAINER_OF(wait, struct stating, wait));
}

/* ---- the beginning ---- */

static enum pv_err add_name(struct stating *s, const struct pv_name_body *name)
{
    if (s->names_len + name->name_len > NAMES_BYTES_MAX) {
        s->has_more_names = true;
        return PV_OK;
    }
    s->names_len += name->name_len;
    json_t *object = json_object();
    pv_json_set_name(object, name->name, name->name_len);
    if (json_object_size(object) == 0) {
        json_decref(object);
        return PV_E_NOMEM;
    }
    return json_array_append_new(s->names, object) == 0 ? PV_OK : PV_E_NOMEM;
}

static enum pv_err read_names(struct stating *s, uint8_t *plain, const struct pv_job_context *ctx)
{
    struct pv_id rids[NAMES_MAX];
    size_t count = 0;
    enum pv_err err = pv_lookup_names(&s->lookup, rids, NAMES_MAX, &count, ctx);
    s->has_more_names = s->has_more_names || count == NAMES_MAX;
    for (size_t i = 0; err == PV_OK && i < count; i++) {
        struct pv_record rec;
        struct pv_name_body name;
        bool pending;
        err = pv_open_live(plain, &rec, &pending, &rids[i], ctx);
        if (err == PV_OK)
            err = pv_name_body_decode(&name, plain, rec.body_len, false);
        if (err == PV_OK && !name.is_value)
            err = add_name(s, &name);
        else if (err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED || err == PV_E_CORRUPT)
            err = PV_OK; /* removed meanwhile, or nothing that we can read */
    }
    return err;
}

static void run_lookup(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct stating *s = PV_CONTAINER_OF(job, struct stating, job);
    uint8_t *plain = pv_malloc(PV_RECORD_BODY_MAX);
    job->err = plain == NULL ? PV_E_NOMEM : pv_lookup_run(&s->lookup, ctx);
    if (job->err == PV_OK) {
        pv_node_id_of(&s->author, s->lookup.body.author.pub);
        job->err = read_names(s, plain, ctx);
    }
    if (plain != NULL)
        pv_wipe(plain, PV_RECORD_BODY_MAX);
    pv_free(plain);
}

static void on_lookup(struct pv_job *job)
{
    struct stating *s = PV_CONTAINER_OF(job, struct stating, job);
    s->running = false;
    if (s->rq == NULL) {
        release(s);
    } else if (job->err != PV_OK) {
        pv_lookup_refuse(s->files, s->rq, &s->lookup, job->err);
        release(s);
    } else if (s->lookup.body.is_inline) {
        answer(s);
    } else if (s->lookup.body.root.kind != PV_BLOB_NODE) {
        start_walk(s);
    } else {
        s->wait.granted = on_granted;
        if (pv_budget_take(&s->files->memory, PV_TREE_WALK_MEMORY, &s->wait))
            start_walk(s);
    }
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
