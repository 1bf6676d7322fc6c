/*
 *   records (job: open some, keep their roots) -> for each tree: jobs of some hundred entries, what
 *   they miss is settled in between -> what is said of a file that is not whole -> next records
 *
 * Nodes are read from here alone. One that is missing or bad ends the job: if it could be repaired
 * the walk goes on below it, else it is passed over.
 */
#include "internal/upkeep/verify_private.h"

#include "internal/file/open_record.h"

enum { ENTRIES_A_JOB = 500 };

static void wipe_roots(struct pv_verify *v)
{
    pv_wipe(v->roots, sizeof v->roots); /* data keys */
    v->root_count = v->root_next = 0;
}

void pv_verify_trees_release(struct pv_verify *v)
{
    pv_tree_walk_release(&v->walk);
    wipe_roots(v);
    json_decref(v->names);
    v->names = NULL;
}

/* ---- records ---- */

struct reading {
    struct pv_verify *v;
    const struct pv_job_context *ctx;
    uint8_t *plain;
    bool no_memory;
};

static bool take_record(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct reading *r = arg;
    struct pv_verify *v = r->v;
    struct pv_record rec;
    struct pv_file_body body;
    (void)pending;
    enum pv_err err = pv_open_envelope(r->plain, &rec, env, len, r->ctx);
    if (err == PV_OK)
        err = pv_file_body_decode(&body, r->plain, rec.body_len, false);
    if (err == PV_E_NOT_FOUND)
        return true; /* removed */
    r->no_memory = err == PV_E_NOMEM;
    if (r->no_memory)
        return false;
    v->counts.files++;
    v->counts.unreadable_records += err != PV_OK;
    if (err == PV_OK && !body.is_inline)
        v->roots[v->root_count++] = (struct pv_verify_root){body.root, body.sha256, rec.rid};
    return true;
}

static void run_records(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_verify *v = PV_CONTAINER_OF(job, struct pv_verify, job);
    struct reading r = {.v = v, .ctx = ctx, .plain = pv_malloc(PV_RECORD_BODY_MAX)};
    job->err = PV_E_NOMEM;
    if (r.plain == NULL)
        return;
    job->err = pv_store_records_since(ctx->store, PV_RECORD_FILE, &v->record_seq, PV_VERIFY_ROOTS,
                                      take_record, &r, &v->records_end);
    if (job->err == PV_OK && r.no_memory)
        job->err = PV_E_NOMEM;
    pv_wipe(r.plain, PV_RECORD_BODY_MAX);
    pv_free(r.plain);
}

/* ---- one tree ---- */

static void find(struct pv_verify *v, const struct pv_entry *e, enum pv_check_result result)
{
    bool is_node = e->kind == PV_BLOB_NODE;
    v->findings[v->finding_count++] = (struct pv_verify_finding){
        .blob = {.id = e->id,
                 .size = is_node ? PV_BLOB_LEN_MAX : (uint32_t)pv_blob_len((size_t)e->length),
                 .kind = (uint8_t)e->kind,
                 .result = (uint8_t)result},
        .wanted = true};
}

static enum pv_err look_at_node(struct pv_verify *v, const struct pv_entry *e,
                                const struct pv_job_context *ctx)
{
    enum pv_err err = PV_E_CORRUPT;
    if (v->walk.depth < PV_TREE_NODES_OPEN_MAX)
        err = pv_blob_load_here(&v->node, e, ctx->store);
    if (err == PV_OK)
        err = pv_tree_walk_open(&v->walk, &v->node);
    if (err == PV_OK || err == PV_E_NOMEM)
        return err;
    v->stuck = *e;
    v->is_stuck = true;
    find(v, e,
         err == PV_E_NOT_FOUND ? PV_CHECK_MISSING
         : err == PV_E_CORRUPT ? PV_CHECK_BYTES
                               : PV_CHECK_UNREADABLE);
    return PV_OK;
}

static enum pv_err look_at(struct pv_verify *v, const struct pv_entry *e,
                           const struct pv_job_context *ctx)
{
    struct pv_blob_info info;
    if (pv_verify_is_bad(v, &e->id)) { /* told of before */
        v->file_bad++;
        v->skipped_nodes = v->skipped_nodes || e->kind == PV_BLOB_NODE;
        return PV_OK;
    }
    if (e->kind == PV_BLOB_NODE)
        return look_at_node(v, e, ctx);
    enum pv_err err = pv_store_blob(ctx->store, &e->id, &info);
    if (err != PV_E_NOT_FOUND)
        return err;
    if (pv_places_ours(&v->places, &e->id, (uint8_t)e->kind))
        find(v, e, PV_CHECK_MISSING);
    return PV_OK;
}

/* Garbage collection takes what no file needs any more, also while we look. */
static enum pv_err drop_if_removed(struct pv_verify *v, const struct pv_job_context *ctx)
{
    struct pv_record rec;
    bool pending;
    uint8_t *plain = pv_malloc(PV_RECORD_BODY_MAX);
    if (plain == NULL)
        return PV_E_NOMEM;
    enum pv_err err = pv_open_live(plain, &rec, &pending, &v->roots[v->root_next - 1].rid, ctx);
    pv_wipe(plain, PV_RECORD_BODY_MAX);
    pv_free(plain);
    if (err == PV_E_NOT_FOUND) {
        v->finding_count = 0;
        v->file_bad = 0;
        v->is_stuck = false;
        v->walk_end = true;
    }
    return err == PV_E_NOMEM ? err : PV_OK;
}

static void run_walk(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_verify *v = PV_CONTAINER_OF(job, struct pv_verify, job);
    job->err = PV_OK;
    v->finding_count = 0;
    if (v->is_stuck) { /* it was repaired */
        v->is_stuck = false;
        job->err = look_at_node(v, &v->stuck, ctx);
    }
    for (unsigned i = 0; job->err == PV_OK && i < ENTRIES_A_JOB && !v->is_stuck &&
                         v->finding_count < PV_CHECK_FINDINGS_MAX;
         i++) {
        struct pv_entry e;
        v->walk_end = !pv_tree_walk_next(&v->walk, &e);
        if (v->walk_end)
            break;
        job->err = look_at(v, &e, ctx);
    }
    if (job->err == PV_OK && (v->finding_count > 0 || (v->walk_end && v->file_bad > 0)))
        job->err = drop_if_removed(v, ctx);
}

/* ---- a file that is not whole ---- */

static enum pv_err add_name(json_t *names, uint8_t *plain, const struct pv_id *rid,
                            const struct pv_job_context *ctx)
{
    struct pv_record rec;
    struct pv_name_body name;
    bool pending;
    enum pv_err err = pv_open_live(plain, &rec, &pending, rid, ctx);
    if (err == PV_OK)
        err = pv_name_body_decode(&name, plain, rec.body_len, false);
    if (err != PV_OK)
        return err == PV_E_NOMEM ? err : PV_OK; /* removed meanwhile, or not to be read by us */
    json_t *o = json_object();
    pv_json_set_name(o, name.name, name.name_len);
    return json_array_append_new(names, o) == 0 ? PV_OK : PV_E_NOMEM;
}

static void run_names(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_verify *v = PV_CONTAINER_OF(job, struct pv_verify, job);
    struct pv_id rids[PV_VERIFY_NAMES];
    size_t count = 0;
    uint8_t *plain = pv_malloc(PV_RECORD_BODY_MAX);
    v->names = json_array();
    job->err = plain == NULL || v->names == NULL
                   ? PV_E_NOMEM
                   : pv_store_names_of(ctx->store, &v->roots[v->root_next - 1].rid, rids,
                                       PV_VERIFY_NAMES, &count);
    for (size_t i = 0; job->err == PV_OK && i < count; i++)
        job->err = add_name(v->names, plain, &rids[i], ctx);
    if (plain != NULL)
        pv_wipe(plain, PV_RECORD_BODY_MAX);
    pv_free(plain);
}

static void next_tree(struct pv_verify *v);

static void on_names(struct pv_verify *v, enum pv_err err)
{
    char key[PV_ID_HEX_LEN + 1];
    if (err != PV_OK) {
        pv_verify_fail(v, err);
        return;
    }
    pv_id_hex(key, &v->roots[v->root_next - 1].sha256);
    v->rq->io->event(v->rq, json_pack("{s:s, s:s, s:O, s:I}", "event", "file", "key", key, "names",
                                      v->names, "bad_blobs", (json_int_t)v->file_bad));
    json_decref(v->names);
    v->names = NULL;
    v->counts.affected_files++;
    pv_verify_go_on(v, next_tree);
}

/* ---- from one to the next ---- */

static void walk_on(struct pv_verify *v);

static void settled(struct pv_verify *v)
{
    for (size_t i = 0; i < v->finding_count; i++) {
        bool is_node = v->findings[i].blob.kind == PV_BLOB_NODE;
        if (v->findings[i].good)
            continue;
        v->file_bad++;
        v->skipped_nodes = v->skipped_nodes || is_node;
        v->is_stuck = v->is_stuck && !is_node; /* it is passed over */
    }
    v->finding_count = 0;
    pv_verify_go_on(v, walk_on);
}

static void on_walked(struct pv_verify *v, enum pv_err err)
{
    if (err != PV_OK)
        pv_verify_fail(v, err);
    else if (v->finding_count > 0)
        pv_verify_settle(v, settled);
    else if (!v->walk_end)
        pv_verify_go_on(v, walk_on);
    else if (v->file_bad > 0)
        pv_verify_submit(v, run_names, on_names);
    else
        pv_verify_go_on(v, next_tree);
}

static void walk_on(struct pv_verify *v)
{
    pv_places_now(v->files->config.node, &v->places);
    pv_verify_submit(v, run_walk, on_walked);
}

static void on_records(struct pv_verify *v, enum pv_err err)
{
    if (err != PV_OK)
        pv_verify_fail(v, err);
    else
        next_tree(v);
}

static void next_tree(struct pv_verify *v)
{
    pv_tree_walk_release(&v->walk);
    pv_wipe(&v->stuck, sizeof v->stuck);
    v->is_stuck = v->walk_end = false;
    v->file_bad = 0;
    if (v->root_next < v->root_count) {
        pv_tree_walk_init(&v->walk, &v->roots[v->root_next++].entry);
        walk_on(v);
    } else if (v->records_end) {
        wipe_roots(v);
        pv_verify_files_done(v);
    } else {
        wipe_roots(v);
        pv_verify_submit(v, run_records, on_records);
    }
}

void pv_verify_trees(struct pv_verify *v)
{
    next_tree(v);
}
