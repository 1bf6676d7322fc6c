/*
 * read and open (job) -> done
 *      | missing or bad
 *      v
 *    fetch -> open (job) -> done
 *
 * The data key from the parent decides in both cases; a fetched blob has the right SHA-256 already,
 * so that one which does not open means a damaged tree, not a bad peer.
 */
#include "internal/file/blob_load.h"

#include "internal/base/mem.h"

#include <stddef.h>

static enum pv_err open_blob(struct pv_blob_load *l)
{
    const struct pv_entry *e = &l->entry;
    enum pv_err err =
        pv_blob_open(l->blob, l->blob_len, e->dk, e->kind, &l->payload, &l->payload_len);
    if (err == PV_OK && e->kind == PV_BLOB_NODE)
        err = pv_node_check(l->payload, l->payload_len, e, &l->count);
    else if (err == PV_OK && l->payload_len != e->length)
        err = PV_E_CORRUPT;
    return err;
}

static enum pv_err read_and_open(struct pv_blob_load *l, struct pv_store *store)
{
    enum pv_err err = l->blob == NULL ? PV_E_NOMEM : PV_OK;
    if (err == PV_OK && !l->fetched) {
        uint32_t size = 0;
        err = pv_store_read(store, &l->entry.id, 0, l->blob, l->blob_len, &l->blob_len, &size);
        if (err == PV_OK && size != l->blob_len)
            err = PV_E_CORRUPT;
    }
    return err == PV_OK ? open_blob(l) : err;
}

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_blob_load *l = PV_CONTAINER_OF(job, struct pv_blob_load, job);
    job->err = read_and_open(l, ctx->store);
}

static void make_room(struct pv_blob_load *l, const struct pv_entry *entry)
{
    PV_ASSERT(!l->running && l->blob == NULL);
    l->entry = *entry;
    l->fetched = l->fetching = l->own_is_bad = l->cancelled = false;
    /* A tree node's own size is not in its entry. */
    l->blob_len =
        entry->kind == PV_BLOB_NODE ? PV_BLOB_LEN_MAX : pv_blob_len((size_t)entry->length);
    l->blob = pv_malloc(l->blob_len);
}

enum pv_err pv_blob_load_here(struct pv_blob_load *l, const struct pv_entry *entry,
                              struct pv_store *store)
{
    make_room(l, entry);
    enum pv_err err = read_and_open(l, store);
    if (err != PV_OK)
        pv_blob_load_reset(l);
    return err;
}

static void finish(struct pv_blob_load *l, enum pv_err err)
{
    l->running = false;
    if (err != PV_OK)
        pv_blob_load_reset(l);
    l->done(l, err);
}

static void on_fetched(struct pv_fetch *f, enum pv_err err, uint8_t *bytes)
{
    struct pv_blob_load *l = PV_CONTAINER_OF(f, struct pv_blob_load, fetch);
    l->fetching = false;
    if (err == PV_OK) {
        l->blob = bytes;
        l->blob_len = f->size;
        l->fetched = true;
        pv_node_submit(l->node, &l->job);
        return;
    }
    finish(l, l->own_is_bad && err != PV_E_NOMEM ? PV_E_CORRUPT : err);
}

static void on_done(struct pv_job *job)
{
    struct pv_blob_load *l = PV_CONTAINER_OF(job, struct pv_blob_load, job);
    if (l->cancelled) {
        l->running = false;
        pv_blob_load_reset(l);
        l->released(l);
        return;
    }
    bool missing = job->err == PV_E_NOT_FOUND;
    if (l->fetched || !(missing || job->err == PV_E_CORRUPT || job->err == PV_E_IO)) {
        finish(l, job->err);
        return;
    }
    l->own_is_bad = !missing;
    if (l->own_is_bad)
        PV_LOG(pv_node_config(l->node)->env->log, PV_LOG_ERROR, PV_SUB_FILE, "blob is corrupt",
               "blob", pv_log_id(l->entry.id.b));
    pv_free(l->blob);
    l->blob = NULL;
    l->fetch = (struct pv_fetch){.id = l->entry.id,
                                 .kind = (uint8_t)l->entry.kind,
                                 .replace = l->own_is_bad,
                                 .done = on_fetched};
    l->fetch.size = l->entry.kind == PV_BLOB_NODE ? PV_BLOB_LEN_MAX
                                                  : (uint32_t)pv_blob_len((size_t)l->entry.length);
    l->fetching = true;
    pv_fetch_start(l->node, &l->fetch);
}

void pv_blob_load_start(struct pv_blob_load *l, struct pv_node *node, const struct pv_entry *entry)
{
    make_room(l, entry);
    l->node = node;
    l->running = true;
    l->job = (struct pv_job){.run = run, .done = on_done};
    pv_node_submit(node, &l->job);
}

void pv_blob_load_reset(struct pv_blob_load *l)
{
    PV_ASSERT(!l->running);
    if (l->blob != NULL)
        pv_wipe(l->blob, l->blob_len);
    pv_free(l->blob);
    l->blob = NULL;
    l->payload = NULL;
}

uint8_t *pv_blob_load_take(struct pv_blob_load *l, size_t *len)
{
    uint8_t *blob = l->blob;
    PV_ASSERT(!l->running && blob != NULL);
    *len = l->blob_len;
    l->blob = NULL;
    l->payload = NULL;
    return blob;
}

bool pv_blob_load_cancel(struct pv_blob_load *l)
{
    if (l->fetching) {
        pv_fetch_cancel(l->node, &l->fetch);
        l->fetching = l->running = false;
    }
    if (l->running) {
        l->cancelled = true;
        return false;
    }
    pv_blob_load_reset(l);
    return true;
}
