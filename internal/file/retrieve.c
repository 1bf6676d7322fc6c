/*
 * get: lookup (job) -> reserve memory -> walk the tree -> bytes in order -> whole hash -> end.
 *
 * Chunks are loaded PV_RETRIEVE_WINDOW at a time into a ring of slots: `filled` counts chunks
 * started, `hashed` those whose bytes went into the file's SHA-256, `sent` those given to the
 * client; sent <= hashed <= filled. Each stage goes on by itself whenever the one before it, or the
 * client, made room (advance). Nodes and chunks share BUFFERS: the deeper the tree, the smaller the
 * window. A range takes part of its first and last chunk, and needs no whole hash: each blob is
 * verified by its own key.
 *
 * A client may stop reading for hours (a pager). After STALL_MS without a byte taken its memory
 * goes to whoever waits for some: the get is parked. `first` is the next byte to be sent, so that a
 * new walk begins there when the client reads on; what is in the hash already is not hashed again.
 */
#include "internal/file/blob_load.h"
#include "internal/file/files_private.h"
#include "internal/file/lookup.h"
#include "internal/file/tree_walk.h"

#include <string.h>

enum {
    SLOTS = PV_RETRIEVE_WINDOW,
    BUFFERS = SLOTS + 1, /* blobs held at once: chunks, the open nodes, one being loaded */
    TREE_MEMORY = BUFFERS * PV_BLOB_LEN_MAX,
    STALL_MS = 5000,
};
_Static_assert((int)BUFFERS > (int)PV_TREE_NODES_OPEN_MAX, "the deepest tree leaves one chunk");
_Static_assert((int)TREE_MEMORY <= (int)PV_FILES_MEMORY_MIN, "one get always fits the budget");

struct slot {
    struct pv_blob_load load;
    struct retrieve *r;
    bool ready;
    size_t from, len; /* what of the payload is wanted */
    uint64_t end;     /* plaintext position behind it */
};

struct retrieve {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled or answered; only waiting for loads and jobs */
    struct pv_job lookup_job, hash_job;
    bool hashing;
    unsigned busy; /* jobs and cancelled loads that still refer to this */
    char target[PV_NAME_MAX + 1];
    struct pv_lookup lookup;
    struct pv_entry root; /* from here on: of the file, the lookup is let go early */
    struct pv_id key;
    bool ranged;
    uint64_t first, last; /* wanted bytes, inclusive; what was sent is not wanted any more */
    uint64_t hashed_to;   /* plaintext position up to which sha goes */
    uint64_t at;          /* plaintext position of the next entry of the walk */
    struct pv_tree_walk walk;
    struct slot node; /* the tree node being loaded */
    bool started, loading_node, walked;
    bool has_wrong_hash; /* an inline file whose bytes are not what its key says */
    struct slot slots[SLOTS];
    uint64_t filled, hashed, sent;
    size_t sent_of_chunk;
    struct pv_sha256 *sha;
    size_t reserved;
    struct pv_budget_wait wait;
    struct pv_timer stall;
    bool parked, reads_on; /* reads_on: the client did, while loads of the parked get still ran */
};

static void advance(struct retrieve *r);

/* ---- the end ---- */

static void give_memory_back(struct retrieve *r)
{
    size_t reserved = r->reserved;
    pv_tree_walk_release(&r->walk);
    r->reserved = 0;
    if (reserved > 0)
        pv_budget_give(&r->files->memory, reserved);
}

static void unpark(struct retrieve *r);

/* Nothing refers to r any more: it goes, or, if it was parked, only its memory does. */
static void release(struct retrieve *r)
{
    if (r->busy > 0)
        return;
    if (r->rq != NULL) {
        give_memory_back(r);
        if (r->reads_on)
            unpark(r);
        return;
    }
    struct pv_files *f = r->files;
    size_t reserved = r->reserved;
    pv_tree_walk_release(&r->walk);
    pv_lookup_release(&r->lookup);
    pv_sha256_free(r->sha);
    pv_budget_cancel(&r->wait);
    pv_wipe(r, sizeof *r); /* data keys */
    pv_free(r);
    if (reserved > 0)
        pv_budget_give(&f->memory, reserved);
}

static void on_released(struct pv_blob_load *l)
{
    struct slot *s = l->ctx;
    s->r->busy--;
    release(s->r);
}

/* What still runs afterwards is counted in busy. */
static void cancel_loads(struct retrieve *r)
{
    if (!pv_blob_load_cancel(&r->node.load))
        r->busy++;
    for (size_t i = 0; i < SLOTS; i++) {
        bool in_use = r->hashing && i == r->hashed % SLOTS; /* freed by on_hashed */
        if (!in_use && !pv_blob_load_cancel(&r->slots[i].load))
            r->busy++;
    }
}

/* Stops everything; the request has been answered or is gone. */
static void stop(struct retrieve *r)
{
    r->rq = NULL;
    pv_timer_disarm(&r->stall);
    if (!r->parked)
        cancel_loads(r);
    release(r);
}

static void finish_ok(struct retrieve *r)
{
    struct pv_request *rq = r->rq;
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, &r->key);
    rq->io->data(rq, (const uint8_t *)"", 0, true);
    pv_request_ok(rq, json_pack("{s:s}", "key", hex));
    stop(r);
}

static void fail_blob(struct retrieve *r, const struct pv_blob_load *l, enum pv_err err)
{
    char id[PV_ID_HEX_LEN + 1];
    pv_id_hex(id, &l->entry.id);
    if (err == PV_E_CORRUPT)
        pv_request_fail(r->rq, PV_EXIT_CORRUPT,
                        "blob %s is corrupt, and no good copy is within reach: connect more peers, "
                        "or store the file again",
                        id);
    else if (err == PV_E_NOT_FOUND || err == PV_E_UNAVAILABLE)
        pv_request_fail(r->rq, PV_EXIT_UNAVAILABLE,
                        "blob %s of this file is on no reachable node: try again when more peers "
                        "are connected",
                        id);
    else
        pv_request_fail(r->rq, pv_exit_of(err), "cannot read blob %s: %s", id, pv_err_text(err));
    stop(r);
}

static void fail_hash(struct retrieve *r)
{
    pv_request_fail(r->rq, PV_EXIT_CORRUPT,
                    "the file's bytes do not have its SHA-256: its record is wrong");
    stop(r);
}

/* ---- walking the tree ---- */

static void on_chunk(struct pv_blob_load *l, enum pv_err err)
{
    struct slot *s = l->ctx;
    if (err != PV_OK) {
        fail_blob(s->r, l, err);
        return;
    }
    s->ready = true;
    advance(s->r);
}

static void on_node(struct pv_blob_load *l, enum pv_err err)
{
    struct slot *s = l->ctx;
    struct retrieve *r = s->r;
    r->loading_node = false;
    if (err == PV_OK)
        err = pv_tree_walk_open(&r->walk, l);
    if (err == PV_OK)
        advance(r);
    else
        fail_blob(r, l, err);
}

static void start_chunk(struct retrieve *r, const struct pv_entry *e)
{
    struct slot *s = &r->slots[r->filled++ % SLOTS];
    uint64_t end = r->at + e->length; /* > first, and at <= last: the walk saw to it */
    s->from = r->at < r->first ? (size_t)(r->first - r->at) : 0;
    s->len = (size_t)((end - 1 > r->last ? r->last + 1 - r->at : e->length) - s->from);
    s->ready = false;
    s->load.done = on_chunk;
    s->end = r->at = end;
    pv_blob_load_start(&s->load, r->files->config.node, e);
}

/* Goes on with the walk until the window is full, a node must be loaded, or the end is reached. */
static void walk(struct retrieve *r)
{
    while (!r->walked && !r->loading_node && r->filled - r->sent < SLOTS &&
           r->filled - r->sent + r->walk.depth < BUFFERS) {
        struct pv_entry e;
        if (r->at > r->last || !pv_tree_walk_next(&r->walk, &e)) {
            r->walked = true;
        } else if (r->at + e.length <= r->first) {
            r->at += e.length;
        } else if (e.kind == PV_BLOB_CHUNK) {
            start_chunk(r, &e);
        } else {
            r->loading_node = true;
            r->node.load.done = on_node;
            pv_blob_load_start(&r->node.load, r->files->config.node, &e);
        }
    }
}

/* ---- hashing and sending ---- */

static void run_hash(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct retrieve *r = PV_CONTAINER_OF(job, struct retrieve, hash_job);
    const struct slot *s = &r->slots[r->hashed % SLOTS];
    (void)ctx;
    pv_sha256_update(r->sha, s->load.payload, s->load.payload_len);
}

static void on_hashed(struct pv_job *job)
{
    struct retrieve *r = PV_CONTAINER_OF(job, struct retrieve, hash_job);
    struct slot *s = &r->slots[r->hashed % SLOTS];
    r->hashing = false;
    r->hashed_to = s->end;
    r->busy--;
    if (r->rq == NULL || r->parked) {
        pv_blob_load_reset(&s->load);
        release(r);
        return;
    }
    r->hashed++;
    advance(r);
}

static void hash_next(struct retrieve *r)
{
    while (!r->hashing && r->hashed < r->filled && r->slots[r->hashed % SLOTS].ready) {
        if (r->ranged || r->slots[r->hashed % SLOTS].end <= r->hashed_to) {
            r->hashed++;
            continue;
        }
        r->hashing = true;
        r->busy++;
        r->hash_job = (struct pv_job){.run = run_hash, .done = on_hashed};
        pv_node_submit(r->files->config.node, &r->hash_job);
    }
}

static void await_reader(struct retrieve *r)
{
    pv_timer_arm(&r->files->timers, &r->stall, pv_env_mono_ms(r->files->config.env) + STALL_MS);
}

static void send_ready(struct retrieve *r)
{
    while (r->sent < r->hashed && r->rq->io->writable(r->rq)) {
        struct slot *s = &r->slots[r->sent % SLOTS];
        size_t left = s->len - r->sent_of_chunk;
        size_t n = left > PV_CONTROL_DATA_MAX ? PV_CONTROL_DATA_MAX : left;
        r->rq->io->data(r->rq, s->load.payload + s->from + r->sent_of_chunk, n, false);
        r->sent_of_chunk += n;
        r->first += n;
        pv_timer_disarm(&r->stall);
        if (r->sent_of_chunk == s->len) {
            r->sent_of_chunk = 0;
            r->sent++;
            pv_blob_load_reset(&s->load);
        }
    }
    if (r->sent < r->hashed && !pv_list_linked(&r->stall.link))
        await_reader(r);
}

static void on_stall(struct pv_timer *t)
{
    struct retrieve *r = PV_CONTAINER_OF(t, struct retrieve, stall);
    if (!pv_budget_is_awaited(&r->files->memory)) {
        await_reader(r); /* nobody is the worse for it */
        return;
    }
    r->parked = true;
    r->started = r->reads_on = false;
    cancel_loads(r);
    release(r);
}

static void check_whole(struct retrieve *r)
{
    struct pv_id id;
    if (!r->ranged) {
        pv_sha256_final(r->sha, id.b);
        if (!pv_id_equal(&id, &r->key)) {
            fail_hash(r);
            return;
        }
    }
    finish_ok(r);
}

static void advance(struct retrieve *r)
{
    if (r->rq == NULL || !r->started) /* the client may become writable during the lookup */
        return;
    hash_next(r);
    send_ready(r);
    walk(r);
    if (r->walked && r->sent == r->filled)
        check_whole(r);
}

/* ---- the beginning ---- */

static size_t tree_memory(const struct retrieve *r)
{
    return r->root.kind == PV_BLOB_NODE ? TREE_MEMORY : pv_blob_len((size_t)r->root.length);
}

static void start_tree(struct retrieve *r)
{
    r->reserved = tree_memory(r);
    if (!r->ranged && r->sha == NULL)
        r->sha = pv_sha256_new();
    if (!r->ranged && r->sha == NULL) {
        pv_request_fail(r->rq, PV_EXIT_FAILED, "out of memory");
        stop(r);
        return;
    }
    pv_tree_walk_init(&r->walk, &r->root);
    r->started = true;
    advance(r);
}

static void on_granted(struct pv_budget_wait *wait)
{
    struct retrieve *r = PV_CONTAINER_OF(wait, struct retrieve, wait);
    start_tree(r);
}

static void reserve(struct retrieve *r)
{
    r->wait.granted = on_granted;
    if (pv_budget_take(&r->files->memory, tree_memory(r), &r->wait))
        start_tree(r);
}

static void unpark(struct retrieve *r)
{
    r->parked = r->loading_node = r->walked = false;
    r->at = r->filled = r->hashed = r->sent = 0;
    r->sent_of_chunk = 0;
    reserve(r);
}

/* The range in bytes of this file; false: answered already. */
static bool settle_range(struct retrieve *r)
{
    uint64_t size = r->lookup.body.size;
    if (!r->ranged) {
        r->first = 0;
        r->last = size == 0 ? 0 : size - 1;
        return true;
    }
    if (r->first < size) {
        if (r->last >= size)
            r->last = size - 1;
        return true;
    }
    pv_request_fail(r->rq, PV_EXIT_USAGE, "range begins behind the end: the file has %llu bytes",
                    (unsigned long long)size);
    stop(r);
    return false;
}

static void announce(struct retrieve *r)
{
    const struct pv_file_body *b = &r->lookup.body;
    uint64_t length = b->size == 0 ? 0 : r->last - r->first + 1;
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, &b->sha256);
    json_t *event = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "event", "file", "key", hex, "size",
                              (json_int_t)b->size, "mtime_ms", (json_int_t)b->mtime_ms, "offset",
                              (json_int_t)r->first, "length", (json_int_t)length);
    pv_json_set_name(event, b->name, b->name_len);
    r->rq->io->event(r->rq, event);
}

static void send_inline(struct retrieve *r)
{
    const struct pv_file_body *b = &r->lookup.body;
    if (b->size > 0)
        r->rq->io->data(r->rq, b->data + r->first, (size_t)(r->last - r->first + 1), false);
    finish_ok(r);
}

static void run_lookup(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct retrieve *r = PV_CONTAINER_OF(job, struct retrieve, lookup_job);
    const struct pv_file_body *b = &r->lookup.body;
    struct pv_id id;
    job->err = pv_lookup_run(&r->lookup, ctx);
    if (job->err == PV_OK && b->is_inline) {
        pv_sha256(id.b, b->data, (size_t)b->size);
        r->has_wrong_hash = !pv_id_equal(&id, &b->sha256);
    }
}

static void on_lookup(struct pv_job *job)
{
    struct retrieve *r = PV_CONTAINER_OF(job, struct retrieve, lookup_job);
    r->busy--;
    if (r->rq == NULL) {
        release(r);
        return;
    }
    if (job->err != PV_OK) {
        pv_lookup_refuse(r->files, r->rq, &r->lookup, job->err);
        stop(r);
        return;
    }
    if (!settle_range(r))
        return;
    if (r->has_wrong_hash) {
        fail_hash(r);
        return;
    }
    announce(r);
    r->key = r->lookup.body.sha256;
    r->root = r->lookup.body.root;
    if (r->lookup.body.is_inline) {
        send_inline(r);
        return;
    }
    pv_lookup_release(&r->lookup);
    reserve(r);
}

static void on_writable(struct pv_request *rq)
{
    struct retrieve *r = rq->op;
    if (!r->parked)
        advance(r);
    else if (r->busy == 0)
        unpark(r);
    else
        r->reads_on = true;
}

static void on_cancel(struct pv_request *rq)
{
    stop(rq->op);
}

static const struct pv_request_ops ops = {.on_writable = on_writable, .on_cancel = on_cancel};

/* "range": [first, last], inclusive. False: malformed. */
static bool parse_range(struct retrieve *r, const json_t *range)
{
    if (range == NULL)
        return true;
    const json_t *from = json_array_get(range, 0), *to = json_array_get(range, 1);
    json_int_t first = json_integer_value(from), last = json_integer_value(to);
    r->ranged = true;
    r->first = (uint64_t)first;
    r->last = (uint64_t)last;
    return json_array_size(range) == 2 && json_is_integer(from) && json_is_integer(to) &&
           first >= 0 && last >= first;
}

void pv_retrieve_start(struct pv_files *f, struct pv_request *rq)
{
    struct retrieve *r = pv_calloc(1, sizeof *r);
    if (r == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    r->files = f;
    r->stall.fire = on_stall;
    r->node.r = r;
    r->node.load.ctx = &r->node;
    r->node.load.released = on_released;
    for (size_t i = 0; i < SLOTS; i++) {
        r->slots[i].r = r;
        r->slots[i].load.ctx = &r->slots[i];
        r->slots[i].load.released = on_released;
    }
    r->lookup.target = r->target;
    if (pv_request_bytes(rq, "target", r->target, PV_NAME_MAX, &r->lookup.target_len) != PV_OK ||
        r->lookup.target_len == 0 || !parse_range(r, json_object_get(rq->args, "range"))) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed target or range");
        pv_free(r);
        return;
    }
    r->rq = rq;
    rq->op = r;
    rq->ops = &ops;
    r->busy++;
    r->lookup_job = (struct pv_job){.run = run_lookup, .done = on_lookup};
    pv_node_submit(f->config.node, &r->lookup_job);
}
