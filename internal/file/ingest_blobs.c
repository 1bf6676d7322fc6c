/*
 * The window: blobs between being cut and being durable, and the tree that their entries go into.
 *
 * Seals run in parallel and end in any order; entries are collected from the front of in->blobs as
 * far as it is sealed, because a tree keeps the order of the file. A node that the tree hands out
 * joins the same list and window. Its buffer was counted in the tree before (pv_ingest_has_room),
 * so it needs no room of its own.
 *
 * The root is not committed here but together with the records: a file of one blob costs one
 * commit.
 */
#include "internal/file/ingest_private.h"

#include <string.h>

static void blob_free(struct pv_ingest_blob *b)
{
    if (b == NULL)
        return;
    if (b->buf != NULL && !b->is_sealed)
        pv_wipe(b->buf, b->cap);
    pv_free(b->buf);
    pv_wipe(b, sizeof *b);
    pv_free(b);
}

bool pv_ingest_has_room(const struct pv_ingest *in)
{
    return in->in_flight + pv_tree_builder_large(&in->tree) < PV_INGEST_WINDOW;
}

size_t pv_ingest_blob_bytes(const struct pv_ingest *in)
{
    size_t bytes = pv_tree_builder_bytes(&in->tree) + in->blob_bytes;
    return in->chunk != NULL ? bytes + in->chunk_cap : bytes;
}

static void set_cap(struct pv_ingest_blob *b, size_t cap)
{
    b->in->blob_bytes = b->in->blob_bytes - b->cap + cap;
    b->cap = cap;
}

static void drop_bytes(struct pv_ingest_blob *b)
{
    pv_free(b->buf);
    b->buf = NULL;
    set_cap(b, 0);
}

/* Out of the window: durable, and its entry in the tree. */
static void retire(struct pv_ingest_blob *b)
{
    b->in->in_flight--;
    blob_free(b);
}

static void on_committed(struct pv_job *job)
{
    struct pv_ingest_blob *b = PV_CONTAINER_OF(job, struct pv_ingest_blob, job);
    struct pv_ingest *in = b->in;
    drop_bytes(b);
    if (job->commit.err != PV_OK) {
        pv_ingest_fail(in, job->commit.err);
    } else {
        b->is_durable = true;
        if (b->op.applied)
            in->new_bytes += b->sealed.blob_len;
        if (in->rq != NULL)
            pv_push_kick(in->node); /* replication need not wait for the end of the file */
    }
    if (b->is_collected)
        retire(b);
    pv_ingest_job_done(in);
}

static void commit(struct pv_ingest_blob *b)
{
    pv_ingest_blob_op(&b->op, b);
    b->job = (struct pv_job){.done = on_committed, .commit = {.ops = &b->op, .count = 1}};
    pv_ingest_submit(b->in, &b->job);
}

void pv_ingest_blob_op(struct pv_commit_op *op, const struct pv_ingest_blob *b)
{
    *op = (struct pv_commit_op){.type = PV_COMMIT_BLOB};
    op->u.blob.id = b->sealed.id;
    op->u.blob.kind = (uint8_t)b->kind;
    op->u.blob.bytes = b->buf;
    op->u.blob.len = b->sealed.blob_len;
}

static void run_seal(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_ingest_blob *b = PV_CONTAINER_OF(job, struct pv_ingest_blob, job);
    uint8_t dk[PV_KEY_LEN];
    if (b->random_key)
        pv_env_random(ctx->env, dk, sizeof dk);
    job->err = pv_blob_seal(&b->sealed, pv_keyring_dedup(ctx->keyring), b->epoch, b->kind, b->buf,
                            b->payload_len, b->random_key ? dk : NULL);
    pv_wipe(dk, sizeof dk);
}

static void on_sealed(struct pv_job *job)
{
    struct pv_ingest_blob *b = PV_CONTAINER_OF(job, struct pv_ingest_blob, job);
    struct pv_ingest *in = b->in;
    if (job->err != PV_OK) {
        pv_ingest_fail(in, job->err);
    } else {
        b->is_sealed = true;
        uint8_t *shorter = pv_realloc(b->buf, b->sealed.blob_len);
        if (shorter != NULL) {
            b->buf = shorter;
            set_cap(b, b->sealed.blob_len);
        }
        if (in->rq != NULL && !b->is_root)
            commit(b);
    }
    pv_ingest_job_done(in);
}

/* Takes node->buf over. */
static void start_blob(struct pv_ingest *in, const struct pv_tree_node *node,
                       enum pv_blob_kind kind)
{
    struct pv_ingest_blob *b = pv_calloc(1, sizeof *b);
    if (b == NULL) {
        pv_wipe(node->buf, node->cap);
        pv_free(node->buf);
        pv_ingest_fail(in, PV_E_NOMEM);
        return;
    }
    b->in = in;
    b->kind = kind;
    b->level = node->level;
    b->random_key = in->is_private;
    b->epoch = in->epoch;
    b->buf = node->buf;
    b->payload_len = node->payload_len;
    b->length = node->length;
    b->is_root = node->is_root;
    set_cap(b, node->cap);
    pv_list_push_back(&in->blobs, &b->link);
    in->in_flight++;
    b->job = (struct pv_job){.run = run_seal, .done = on_sealed};
    pv_ingest_submit(in, &b->job);
}

void pv_ingest_cut(struct pv_ingest *in, bool is_root)
{
    struct pv_tree_node chunk = {
        .buf = in->chunk,
        .cap = in->chunk_cap,
        .payload_len = in->chunk_len,
        .length = in->chunk_len,
        .is_root = is_root,
    };
    in->chunk = NULL;
    in->chunk_len = in->chunk_cap = 0;
    start_blob(in, &chunk, PV_BLOB_CHUNK);
}

static void collect_one(struct pv_ingest *in, struct pv_ingest_blob *b)
{
    struct pv_tree_node node = {0};
    struct pv_entry entry = {.id = b->sealed.id, .length = b->length, .kind = b->kind};
    memcpy(entry.dk, b->sealed.dk, sizeof entry.dk);
    pv_list_remove(&b->link);
    b->is_collected = true;
    if (b->is_root) {
        in->root = entry;
        in->has_root = true;
        in->root_blob = b;
        in->in_flight--;
    } else {
        enum pv_err err = pv_tree_builder_add(&in->tree, b->level, &entry, &node);
        if (b->is_durable)
            retire(b);
        if (err != PV_OK) /* LIMIT is beyond any disk, but would read like something to wait for */
            pv_ingest_fail(in, err == PV_E_LIMIT ? PV_E_UNSUPPORTED : err);
        else if (node.buf != NULL)
            start_blob(in, &node, PV_BLOB_NODE);
    }
    pv_wipe(&entry, sizeof entry);
}

void pv_ingest_collect(struct pv_ingest *in)
{
    struct pv_tree_node node;
    while (in->rq != NULL && !pv_list_empty(&in->blobs)) {
        struct pv_ingest_blob *b = PV_LIST_ENTRY(in->blobs.next, struct pv_ingest_blob, link);
        if (!b->is_sealed)
            return;
        collect_one(in, b);
    }
    if (in->rq == NULL || !in->is_input_done || in->is_inline || in->has_root)
        return;
    if (pv_tree_builder_finish(&in->tree, &node, &in->root))
        start_blob(in, &node, PV_BLOB_NODE);
    else
        in->has_root = true;
}

void pv_ingest_blobs_release(struct pv_ingest *in)
{
    while (!pv_list_empty(&in->blobs)) {
        struct pv_ingest_blob *b = PV_LIST_ENTRY(in->blobs.next, struct pv_ingest_blob, link);
        pv_list_remove(&b->link);
        blob_free(b);
    }
    blob_free(in->root_blob);
    in->root_blob = NULL;
    pv_tree_builder_release(&in->tree);
}
