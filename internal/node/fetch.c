/*
 * What is wanted now.
 *
 * A blob is wanted once, however many wait for it. Everybody connected is asked (GET, in the next
 * turn, so that many go in one message); the first who says FOUND sends it. Then:
 *
 *   transfer ends early (silent, slow, RST, gone)   the next holder goes on at the offset reached
 *   RST to an offset                                maybe others sent more than the blob has: all
 *                                                   transfers begin at offset 0 from now on
 *   bytes complete, SHA-256 right                   commit, deliver
 *   bytes complete, SHA-256 wrong                   from one peer: that one is not asked again;
 *                                                   from several: nobody is blamed; from now on
 *                                                   every transfer begins at offset 0, or one who
 *                                                   sends false beginnings could spoil all others
 *   nobody left                                     NOT_FOUND if every active member said so,
 *                                                   else UNAVAILABLE after PV_BLOB_SILENCE_MS in
 *                                                   which nothing came: a member may come back
 *
 * Holders that failed without a verdict are tried again, after the others, PV_FETCH_TRIES_MAX
 * times in all.
 */
#include "internal/node/fetch_private.h"
#include "internal/base/sometimes.h"

enum pv_err pv_fetches_new(struct pv_node *n)
{
    uint64_t seed;
    struct pv_fetches *fs = pv_calloc(1, sizeof *fs);
    if (fs == NULL)
        return PV_E_NOMEM;
    pv_env_random(n->config.env, &seed, sizeof seed);
    fs->node = n;
    fs->due_ms = UINT64_MAX;
    pv_map_init(&fs->wanted, PV_ID_LEN, SIZE_MAX, seed);
    pv_list_init(&fs->all);
    pv_list_init(&fs->todo);
    pv_list_init(&fs->failed);
    n->fetches = fs;
    return PV_OK;
}

static void wanted_free(struct pv_wanted *w)
{
    if (w->stream != NULL)
        pv_stream_cancel(w->stream);
    pv_map_remove(&w->fetches->wanted, w->id.b);
    pv_list_remove(&w->link);
    pv_list_remove(&w->todo);
    pv_free(w->body);
    pv_free(w);
}

/* The first of a list of fetches, taken out of it. */
static struct pv_fetch *pop(struct pv_list *list)
{
    struct pv_fetch *f = PV_LIST_ENTRY(list->next, struct pv_fetch, link);
    pv_list_remove(&f->link);
    f->wanted = NULL;
    return f;
}

void pv_fetches_free(struct pv_node *n)
{
    struct pv_fetches *fs = n->fetches;
    if (fs == NULL)
        return;
    while (!pv_list_empty(&fs->all)) { /* whoever waits has not cancelled: nobody is told */
        struct pv_wanted *w = PV_LIST_ENTRY(fs->all.next, struct pv_wanted, link);
        while (!pv_list_empty(&w->waiters))
            (void)pop(&w->waiters);
        wanted_free(w);
    }
    while (!pv_list_empty(&fs->failed))
        (void)pop(&fs->failed);
    pv_map_release(&fs->wanted);
    pv_free(fs);
    n->fetches = NULL;
}

/* ---- the end ---- */

void pv_wanted_touch(struct pv_wanted *w)
{
    if (!pv_list_linked(&w->todo))
        pv_list_push_back(&w->fetches->todo, &w->todo);
    w->fetches->soon = true;
}

static void move(struct pv_list *to, struct pv_list *from)
{
    pv_list_init(to);
    while (!pv_list_empty(from)) {
        struct pv_list *e = from->next;
        pv_list_remove(e);
        pv_list_push_back(to, e);
    }
}

/* Tells everybody. Each owns the bytes it gets; the last gets ours. Ends w. */
static void finish(struct pv_wanted *w, enum pv_err err)
{
    struct pv_list waiters; /* done may cancel any of those left, so they must not know w */
    uint8_t *body = w->body;
    uint32_t size = w->got;
    bool kept = w->kept;
    w->body = NULL;
    move(&waiters, &w->waiters);
    PV_LIST_EACH(&waiters, e)
    {
        PV_LIST_ENTRY(e, struct pv_fetch, link)->wanted = NULL;
    }
    wanted_free(w);
    while (!pv_list_empty(&waiters)) {
        struct pv_fetch *f = pop(&waiters);
        uint8_t *bytes = NULL;
        enum pv_err its = err == PV_OK && size > f->size ? PV_E_NOT_FOUND : err;
        if (its == PV_OK && pv_list_empty(&waiters)) {
            bytes = body;
            body = NULL;
        } else if (its == PV_OK) {
            bytes = pv_memdup(body, size);
        }
        if (its == PV_OK)
            f->size = size;
        f->kept = kept;
        f->done(f, its == PV_OK && bytes == NULL ? PV_E_NOMEM : its, bytes);
    }
    pv_free(body);
}

static void committed(struct pv_job *base)
{
    struct pv_wanted *w = PV_CONTAINER_OF(base, struct pv_wanted, job);
    struct pv_node *n = w->fetches->node;
    enum pv_err err = base->commit.err;
    w->checking = false;
    if (err != PV_OK)
        PV_LOG(n->config.env->log, PV_LOG_INFO, PV_SUB_NODE, "a fetched blob was not kept", "blob",
               pv_log_id(w->id.b), "cause", pv_err_text(err));
    w->kept = err == PV_OK;
    finish(w, PV_OK);
    if (err == PV_OK && !n->closing)
        pv_push_kick(n);
}

static struct pv_fetch_peer *fetch_peer_of(struct pv_fetches *fs, const struct pv_id *node_id)
{
    for (size_t i = 0; i < PV_COUNT(fs->slots); i++)
        if (fs->slots[i] != NULL && pv_id_equal(&fs->slots[i]->peer->node_id, node_id))
            return fs->slots[i];
    return NULL;
}

void pv_wanted_blame(struct pv_wanted *w, struct pv_fetch_peer *fp)
{
    struct pv_node *n = w->fetches->node;
    char hex[PV_ID_HEX_LEN + 1];
    PV_SOMETIMES("fetch: a bad body");
    PV_LOG_LIMITED(n->config.env->log, PV_LOG_WARN, PV_SUB_NODE, "a peer sent a bad blob", "peer",
                   fp->peer->address, "blob", pv_log_id(w->id.b));
    w->holders[fp->slot].holding = PV_HOLD_BAD;
    pv_id_hex(hex, &w->id);
    struct pv_wr wr = pv_wr_of(n->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_error(&wr, PV_ERROR_BAD_BLOB, hex); /* it checks its copy and repairs it */
    pv_peer_send(fp->peer, &wr);
    pv_peer_sent_bad_body(fp->peer);
}

static void check_done(struct pv_job *base)
{
    struct pv_wanted *w = PV_CONTAINER_OF(base, struct pv_wanted, job);
    if (base->err == PV_OK && !pv_list_empty(&w->waiters)) {
        w->job = (struct pv_job){.done = committed, .commit = {.ops = &w->op, .count = 1}};
        pv_node_submit(w->fetches->node, &w->job);
        return;
    }
    w->checking = false;
    if (pv_list_empty(&w->waiters)) {
        wanted_free(w);
        return;
    }
    struct pv_fetch_peer *fp = fetch_peer_of(w->fetches, &w->holder);
    if (fp != NULL && w->mixed)
        w->holders[fp->slot].tries++;
    else if (fp != NULL)
        pv_wanted_blame(w, fp);
    w->whole = w->whole || w->mixed;
    w->got = 0;
    pv_wanted_touch(w);
}

static void check_run(struct pv_job *base, const struct pv_job_context *ctx)
{
    struct pv_wanted *w = PV_CONTAINER_OF(base, struct pv_wanted, job);
    (void)ctx;
    base->err = pv_blob_check(w->op.u.blob.bytes, w->op.u.blob.len, &w->op.u.blob.id);
}

void pv_wanted_complete(struct pv_wanted *w)
{
    w->holder = w->stream->owner->peer->node_id;
    w->checking = true;
    w->op = (struct pv_commit_op){.type = PV_COMMIT_BLOB};
    w->op.u.blob.id = w->id;
    w->op.u.blob.kind = w->kind;
    w->op.u.blob.replace = w->replace;
    w->op.u.blob.has_holder = true;
    w->op.u.blob.holder = w->holder;
    w->op.u.blob.bytes = w->body;
    w->op.u.blob.len = w->got;
    w->job = (struct pv_job){.run = check_run, .done = check_done};
    pv_node_submit(w->fetches->node, &w->job);
}

/* ---- the decision ---- */

/* Streams of it will end: by themselves, or since it was just told to end them. */
static bool will_have_room(const struct pv_fetch_peer *fp, uint64_t now)
{
    return fp->running > 0 || now < fp->cancelled_ms + PV_BLOB_SILENCE_MS;
}

/* The holder with the fewest failed tries, then the fewest transfers. NULL with *busy: wait. */
static struct pv_fetch_peer *choose(const struct pv_wanted *w, uint64_t now, bool *busy)
{
    struct pv_fetch_peer *best = NULL;
    for (size_t i = 0; i < PV_COUNT(w->holders); i++) {
        struct pv_fetch_peer *fp = w->fetches->slots[i];
        const struct pv_holder *h = &w->holders[i];
        if (fp == NULL || h->holding != PV_HOLD_YES || h->tries >= PV_FETCH_TRIES_MAX)
            continue;
        if (fp->streams.count >= PV_STREAMS_MAX) {
            *busy = *busy || will_have_room(fp, now);
            continue;
        }
        const struct pv_holder *b = best != NULL ? &w->holders[best->slot] : NULL;
        if (b == NULL || h->tries < b->tries ||
            (h->tries == b->tries && fp->running < best->running))
            best = fp;
    }
    return best;
}

/* Every active member but ourselves said so. */
static bool nobody_has(const struct pv_wanted *w)
{
    const struct pv_node *n = w->fetches->node;
    const struct pv_member *members[PV_MEMBERS_KNOWN_MAX];
    size_t count = pv_members_list(n, members, PV_MEMBERS_KNOWN_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct pv_member *m = members[i];
        if (m->body.expelled || m->body.stale ||
            pv_id_equal(&m->node_id, &n->config.identity->node_id))
            continue;
        const struct pv_peer *p = m->link != 0 ? pv_node_peer(n, m->link) : NULL;
        if (p == NULL || p->fetch == NULL || w->holders[p->fetch->slot].holding != PV_HOLD_NO)
            return false;
    }
    return true;
}

/* Whether there is another, and its last try would not be wasted on the way. */
static bool another_has(const struct pv_wanted *w)
{
    for (size_t i = 0; i < PV_COUNT(w->holders); i++)
        if (w->fetches->slots[i] != NULL && i != w->stream->owner->slot &&
            w->holders[i].holding == PV_HOLD_YES && w->holders[i].tries + 1 < PV_FETCH_TRIES_MAX)
            return true;
    return false;
}

/* Somebody was asked, and has answered perhaps: our own limits keep us from reading it. */
static bool answer_is_slowed(const struct pv_wanted *w)
{
    for (size_t i = 0; i < PV_COUNT(w->holders); i++)
        if (w->fetches->slots[i] != NULL && w->holders[i].holding == PV_HOLD_ASKED &&
            pv_peer_slowed(w->fetches->slots[i]->peer))
            return true;
    return false;
}

/* Silent, or so slow that another should go on: a few bytes now and then do not count for ever. */
static bool hopeless(const struct pv_wanted *w, uint64_t now_ms, uint64_t *due_ms)
{
    uint64_t slow_at = w->stream->began_ms + PV_FETCH_SLOW_MS;
    bool silent = pv_stream_silent(w->stream, now_ms, due_ms);
    if (now_ms < slow_at && slow_at < *due_ms)
        *due_ms = slow_at;
    bool slow = now_ms >= slow_at && !pv_peer_slowed(w->stream->owner->peer);
    return silent || (slow && another_has(w));
}

static void due(struct pv_fetches *fs, uint64_t at_ms)
{
    if (at_ms < fs->due_ms)
        fs->due_ms = at_ms;
}

static void start(struct pv_wanted *w, struct pv_fetch_peer *fp, uint64_t now)
{
    if (w->body == NULL)
        w->body = pv_malloc(w->size);
    if (w->body == NULL || pv_stream_open(fp, w) != PV_OK)
        finish(w, PV_E_NOMEM);
    else
        due(w->fetches, now + PV_BLOB_SILENCE_MS);
}

/* What can be done for it now. May end it. */
static void decide(struct pv_wanted *w, uint64_t now)
{
    struct pv_fetches *fs = w->fetches;
    uint64_t silent_ms;
    bool busy = false;
    if (w->checking)
        return;
    if (w->stream != NULL) {
        if (!hopeless(w, now, &silent_ms)) {
            due(fs, silent_ms);
            return;
        }
        PV_SOMETIMES("fetch: a peer stops sending");
        w->holders[w->stream->owner->slot].tries++;
        PV_LOG_LIMITED(fs->node->config.env->log, PV_LOG_INFO, PV_SUB_NODE,
                       "a peer stopped sending", "peer", w->stream->owner->peer->address, "blob",
                       pv_log_id(w->id.b));
        pv_stream_cancel(w->stream);
        w->since_ms = now;
    }
    struct pv_fetch_peer *fp = choose(w, now, &busy);
    if (fp != NULL)
        start(w, fp, now);
    else if (busy) /* touched when a stream ends */
        due(fs, now + PV_BLOB_SILENCE_MS);
    else if (nobody_has(w))
        finish(w, PV_E_NOT_FOUND);
    else if (now < w->since_ms + PV_BLOB_SILENCE_MS)
        due(fs, w->since_ms + PV_BLOB_SILENCE_MS);
    else if (now < w->since_ms + PV_PUSH_AGAIN_MS && answer_is_slowed(w))
        due(fs, now + PV_BLOB_SILENCE_MS);
    else
        finish(w, PV_E_UNAVAILABLE);
}

uint64_t pv_fetch_deadline_ms(const struct pv_node *n)
{
    return n->fetches->soon ? 0 : n->fetches->due_ms;
}

void pv_fetch_tick(struct pv_node *n)
{
    struct pv_fetches *fs = n->fetches;
    uint64_t now = pv_node_now(n);
    if (now >= fs->due_ms) {
        fs->due_ms = UINT64_MAX;
        PV_LIST_EACH(&fs->all, e)
        {
            pv_wanted_touch(PV_LIST_ENTRY(e, struct pv_wanted, link));
        }
    }
    if (!fs->soon)
        return;
    fs->soon = false;
    for (size_t i = 0; i < PV_COUNT(fs->slots); i++)
        if (fs->slots[i] != NULL)
            pv_fetch_peer_ask(fs->slots[i]);
    struct pv_list todo, failed; /* what comes in meanwhile is for the next turn */
    move(&todo, &fs->todo);
    move(&failed, &fs->failed);
    while (!pv_list_empty(&failed)) {
        struct pv_fetch *f = pop(&failed);
        f->done(f, f->err, NULL);
    }
    while (!pv_list_empty(&todo)) {
        struct pv_wanted *w = PV_LIST_ENTRY(todo.next, struct pv_wanted, todo);
        pv_list_remove(&w->todo);
        decide(w, now);
    }
}

/* ---- for those who want ---- */

static struct pv_wanted *wanted_new(struct pv_fetches *fs, const struct pv_fetch *f)
{
    struct pv_wanted *w = pv_calloc(1, sizeof *w);
    if (w == NULL || pv_map_put(&fs->wanted, f->id.b, w) != PV_OK) {
        pv_free(w);
        return NULL;
    }
    w->fetches = fs;
    w->id = f->id;
    w->size = f->size;
    w->kind = f->kind;
    w->since_ms = pv_node_now(fs->node);
    pv_list_init(&w->waiters);
    pv_list_push_back(&fs->all, &w->link);
    for (size_t i = 0; i < PV_COUNT(fs->slots); i++)
        if (fs->slots[i] != NULL)
            fs->slots[i]->ask = true;
    return w;
}

/* Somebody expects more bytes of it than those before. */
static bool widen(struct pv_wanted *w, uint32_t size)
{
    if (size <= w->size || w->checking) /* checking: it is all there */
        return true;
    uint8_t *body = w->body != NULL ? pv_realloc(w->body, size) : NULL;
    if (w->body != NULL && body == NULL)
        return false;
    w->body = body;
    w->size = size;
    return true;
}

static void fail(struct pv_fetches *fs, struct pv_fetch *f, enum pv_err err)
{
    f->err = err;
    pv_list_push_back(&fs->failed, &f->link);
    fs->soon = true;
}

void pv_fetch_start(struct pv_node *n, struct pv_fetch *f)
{
    struct pv_fetches *fs = n->fetches;
    f->wanted = NULL;
    f->link = (struct pv_list){NULL, NULL};
    if (f->size < PV_BLOB_LEN_MIN || f->size > PV_BLOB_LEN_MAX) {
        fail(fs, f, PV_E_NOT_FOUND); /* there is no such blob */
        return;
    }
    struct pv_wanted *w = pv_map_get(&fs->wanted, f->id.b);
    if (w == NULL)
        w = wanted_new(fs, f);
    if (w == NULL || !widen(w, f->size)) {
        fail(fs, f, PV_E_NOMEM);
        return;
    }
    w->replace = w->replace || f->replace;
    f->wanted = w;
    pv_list_push_back(&w->waiters, &f->link);
    pv_wanted_touch(w);
}

void pv_fetch_cancel(struct pv_node *n, struct pv_fetch *f)
{
    struct pv_wanted *w = f->wanted;
    (void)n;
    f->wanted = NULL;
    pv_list_remove(&f->link);
    if (w != NULL && pv_list_empty(&w->waiters) && !w->checking)
        wanted_free(w);
}
