/*
 * where: lookup (job) -> reserve memory -> a walk over the tree, some entries a job -> the reply.
 *
 * Where blobs belong follows from the member records, so it is told of every blob. Who has one is
 * known of those that are here, from what the others acknowledged; of the rest only who should.
 * The members are those of the beginning: who comes meanwhile is not told of.
 */
#include "internal/file/blob_load.h"
#include "internal/file/files_private.h"
#include "internal/file/lookup.h"
#include "internal/file/tree_walk.h"
#include "internal/node/audit.h"
#include "internal/node/places.h"

#include <string.h>

enum { ENTRIES_A_JOB = 128 };

struct finding {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled */
    struct pv_job job;
    bool running, blocked; /* blocked: the client does not read: goes on when it does */
    struct pv_blob_load node;
    char target[PV_NAME_MAX + 1];
    struct pv_lookup lookup;
    struct pv_tree_walk walk;
    size_t reserved;
    struct pv_budget_wait wait;
    bool descend, end; /* the next entry is a node: load it; there is none */
    struct pv_entry next_node;
    bool tells_blobs; /* each is an event */
    json_t *events;   /* of the last job */
    struct pv_places places;
    uint64_t blobs, elsewhere;
    uint64_t audited_ms[PV_MEMBERS_MAX];                   /* 0: never */
    uint64_t belongs[PV_MEMBERS_MAX], has[PV_MEMBERS_MAX]; /* blobs of each member */
};

static void release(struct finding *s)
{
    struct pv_files *f = s->files;
    size_t reserved = s->reserved;
    pv_tree_walk_release(&s->walk);
    pv_lookup_release(&s->lookup);
    pv_budget_cancel(&s->wait);
    json_decref(s->events);
    pv_wipe(s, sizeof *s); /* data keys */
    pv_free(s);
    if (reserved > 0)
        pv_budget_give(&f->memory, reserved);
}

static void fail_tree(struct finding *s, enum pv_err err)
{
    enum pv_exit exit = err == PV_E_NOT_FOUND ? PV_EXIT_UNAVAILABLE : pv_exit_of(err);
    pv_request_fail(s->rq, exit, "cannot read the file's tree: %s",
                    err == PV_E_NOT_FOUND ? "a node of it is on no member" : pv_err_text(err));
    release(s);
}

/* ---- what is said ---- */

static json_t *describe_member(const struct finding *s, unsigned i)
{
    const struct pv_places *p = &s->places;
    char text[PV_NODE_TEXT_LEN];
    bool is_self = p->placed && i == p->self;
    const char *state = is_self                   ? "self"
                        : (p->live >> i & 1) != 0 ? "connected"
                        : (p->away >> i & 1) != 0 ? "away"
                                                  : "absent";
    pv_node_id_format(text, &p->table.members[i].node_id);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:o*}", "node", text, "state", state, "role",
                     p->table.members[i].keyed ? "keyed" : "blind", "belongs",
                     (json_int_t)s->belongs[i], "has", (json_int_t)s->has[i], "audited_ms",
                     s->audited_ms[i] != 0 ? json_integer((json_int_t)s->audited_ms[i]) : NULL);
}

static void answer(struct finding *s)
{
    const struct pv_file_body *b = &s->lookup.body;
    char key[PV_ID_HEX_LEN + 1];
    size_t count = s->places.table.count;
    json_t *members = json_array();
    bool complete = members != NULL;
    for (unsigned i = 0; i < count; i++)
        complete = json_array_append_new(members, describe_member(s, i)) == 0 && complete;
    if (!complete) {
        json_decref(members);
        members = NULL;
    }
    pv_id_hex(key, &b->sha256);
    pv_request_ok(
        s->rq,
        json_pack("{s:s, s:I, s:b, s:I, s:I, s:I, s:o}", "key", key, "size", (json_int_t)b->size,
                  "inline", (int)b->is_inline, "blobs", (json_int_t)s->blobs, "elsewhere_blobs",
                  (json_int_t)s->elsewhere, "want",
                  (json_int_t)(count < s->places.table.copies ? count : s->places.table.copies),
                  "members", members));
    release(s);
}

/* Node ids of a set, in the order of the blob. */
static json_t *nodes_of(const struct pv_places *p, const struct pv_place *place, uint64_t set)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->table.count; i++) {
        unsigned index = place->order.at[i];
        char text[PV_NODE_TEXT_LEN];
        if ((set >> index & 1) == 0)
            continue;
        pv_node_id_format(text, &p->table.members[index].node_id);
        if (json_array_append_new(list, json_string(text)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static enum pv_err tell_blob(struct finding *s, const struct pv_blob_info *blob,
                             const struct pv_place *place, uint64_t has, bool is_here)
{
    char id[PV_ID_HEX_LEN + 1];
    pv_id_hex(id, &blob->id);
    json_t *event = json_pack("{s:s, s:s, s:s, s:b, s:o, s:o}", "event", "blob", "blob", id, "kind",
                              blob->kind == PV_BLOB_NODE ? "node" : "chunk", "here", (int)is_here,
                              "belongs", nodes_of(&s->places, place, place->targets), "has",
                              nodes_of(&s->places, place, has));
    return json_array_append_new(s->events, event) == 0 ? PV_OK : PV_E_NOMEM;
}

/* ---- the walk ---- */

static enum pv_err look_at(struct finding *s, const struct pv_entry *e,
                           const struct pv_job_context *ctx)
{
    const struct pv_places *p = &s->places;
    struct pv_blob_info blob = {.id = e->id};
    struct pv_place place;
    enum pv_err err = pv_store_blob(ctx->store, &e->id, &blob);
    bool is_here = err == PV_OK;
    if (err != PV_OK && err != PV_E_NOT_FOUND)
        return err;
    blob.kind = (uint8_t)e->kind;
    pv_places_find(p, &blob, &place);
    uint64_t has = place.holders | (is_here && p->placed ? UINT64_C(1) << p->self : 0);
    s->blobs++;
    s->elsewhere += !is_here;
    for (size_t i = 0; i < p->table.count; i++) {
        s->belongs[i] += place.targets >> i & 1;
        s->has[i] += has >> i & 1;
    }
    return s->tells_blobs ? tell_blob(s, &blob, &place, has, is_here) : PV_OK;
}

static void run_walk(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct finding *s = PV_CONTAINER_OF(job, struct finding, job);
    job->err = pv_places_load(&s->places, ctx->store);
    s->descend = false;
    for (unsigned i = 0; job->err == PV_OK && i < ENTRIES_A_JOB && !s->descend; i++) {
        s->end = !pv_tree_walk_next(&s->walk, &s->next_node);
        if (s->end)
            return;
        job->err = look_at(s, &s->next_node, ctx);
        s->descend = s->next_node.kind == PV_BLOB_NODE;
    }
}

static void walk_on(struct finding *s);

static void on_node(struct pv_blob_load *l, enum pv_err err)
{
    struct finding *s = PV_CONTAINER_OF(l, struct finding, node);
    if (err == PV_OK)
        err = pv_tree_walk_open(&s->walk, l);
    if (err == PV_OK) {
        walk_on(s);
        return;
    }
    pv_blob_load_reset(l);
    fail_tree(s, err);
}

static void go_on(struct finding *s)
{
    s->blocked = !s->rq->io->writable(s->rq);
    if (s->blocked)
        return;
    if (s->end) {
        answer(s);
    } else if (s->descend && s->walk.depth == PV_TREE_NODES_OPEN_MAX) {
        fail_tree(s, PV_E_CORRUPT); /* too deep */
    } else if (s->descend) {
        s->node.done = on_node;
        pv_blob_load_start(&s->node, s->files->config.node, &s->next_node);
    } else {
        walk_on(s);
    }
}

static void on_walked(struct pv_job *job)
{
    struct finding *s = PV_CONTAINER_OF(job, struct finding, job);
    json_t *event;
    size_t i;
    s->running = false;
    if (s->rq == NULL) {
        release(s);
        return;
    }
    if (job->err != PV_OK) {
        fail_tree(s, job->err);
        return;
    }
    json_array_foreach(s->events, i, event) s->rq->io->event(s->rq, json_incref(event));
    json_array_clear(s->events);
    go_on(s);
}

static void walk_on(struct finding *s)
{
    s->running = true;
    s->job = (struct pv_job){.run = run_walk, .done = on_walked};
    pv_node_submit(s->files->config.node, &s->job);
}

static void start_walk(struct finding *s)
{
    const struct pv_entry *root = &s->lookup.body.root;
    s->reserved = root->kind == PV_BLOB_NODE ? PV_TREE_WALK_MEMORY : 0;
    pv_tree_walk_init(&s->walk, root);
    walk_on(s);
}

static void on_granted(struct pv_budget_wait *wait)
{
    start_walk(PV_CONTAINER_OF(wait, struct finding, wait));
}

/* ---- the beginning ---- */

static void run_lookup(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct finding *s = PV_CONTAINER_OF(job, struct finding, job);
    job->err = pv_lookup_run(&s->lookup, ctx);
    for (size_t i = 0; job->err == PV_OK && i < s->places.table.count; i++) {
        struct pv_audit_state state;
        job->err = pv_audit_load(ctx->store, &s->places.table.members[i].node_id, &state);
        s->audited_ms[i] = state.whole_ms;
    }
}

static void on_lookup(struct pv_job *job)
{
    struct finding *s = PV_CONTAINER_OF(job, struct finding, job);
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
    release(PV_CONTAINER_OF(l, struct finding, node));
}

static void on_cancel(struct pv_request *rq)
{
    struct finding *s = rq->op;
    s->rq = NULL;
    if (pv_blob_load_cancel(&s->node) && !s->running)
        release(s);
}

static void on_writable(struct pv_request *rq)
{
    struct finding *s = rq->op;
    if (s->blocked)
        go_on(s);
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel, .on_writable = on_writable};

void pv_query_where(struct pv_files *f, struct pv_request *rq)
{
    struct finding *s = pv_calloc(1, sizeof *s);
    json_t *events = json_array();
    if (s == NULL || events == NULL) {
        pv_free(s);
        json_decref(events);
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    s->files = f;
    s->events = events;
    s->node.released = on_released;
    s->lookup.target = s->target;
    enum pv_err err = pv_request_bytes(rq, "target", s->target, PV_NAME_MAX, &s->lookup.target_len);
    if (err != PV_OK || s->lookup.target_len == 0) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed target");
        release(s);
        return;
    }
    s->tells_blobs = json_is_true(json_object_get(rq->args, "blobs"));
    pv_places_now(f->config.node, &s->places);
    s->rq = rq;
    rq->op = s;
    rq->ops = &ops;
    s->running = true;
    s->job = (struct pv_job){.run = run_lookup, .done = on_lookup};
    pv_node_submit(f->config.node, &s->job);
}
