/*
 * One session's part of fetching.
 *
 * GET asks for up to 1 024 ids; FOUND and NOT_FOUND answer parts of it under the same request
 * number, and it is answered when all ids are. Streams end like those of push: with FIN, or with
 * RST; a cancelled one keeps its number until then. How long a blob may be we know from whoever
 * wants it, not from the peer, so bytes beyond that make the peer's copy wrong and not its manners.
 *
 * A stream is silent when it brought nothing for PV_BLOB_SILENCE_MS, and its peer brought nothing
 * for us on any other either (streams take turns at the sender) or PV_FETCH_STALL_MS have passed;
 * while our own limits slow the peer down, it may take PV_PUSH_AGAIN_MS.
 */
#include "internal/node/fetch_private.h"

enum pv_err pv_fetch_attach(struct pv_peer *p)
{
    struct pv_fetches *fs = p->node->fetches;
    uint64_t seed;
    unsigned slot = 0;
    while (slot < PV_COUNT(fs->slots) && fs->slots[slot] != NULL)
        slot++;
    if (slot == PV_COUNT(fs->slots))
        return PV_E_LIMIT;
    struct pv_fetch_peer *fp = pv_calloc(1, sizeof *fp);
    if (fp == NULL)
        return PV_E_NOMEM;
    pv_env_random(p->node->config.env, &seed, sizeof seed);
    pv_map_init(&fp->streams, sizeof(uint32_t), PV_STREAMS_MAX, seed);
    fp->fetches = fs;
    fp->peer = p;
    fp->slot = slot;
    fp->ask = true;
    fp->next_stream = 2;
    fp->next_request = 1;
    fs->slots[slot] = fp;
    fs->soon = true;
    p->fetch = fp;
    return PV_OK;
}

void pv_fetch_detach(struct pv_peer *p)
{
    struct pv_fetch_peer *fp = p->fetch;
    if (fp == NULL)
        return;
    struct pv_fetches *fs = fp->fetches;
    uint64_t now = pv_node_now(fs->node);
    struct pv_stream_in *s;
    size_t pos = 0;
    p->fetch = NULL;
    fs->slots[fp->slot] = NULL;
    while ((s = pv_map_next(&fp->streams, &pos, NULL)) != NULL) {
        if (s->wanted != NULL) {
            s->wanted->stream = NULL;
            s->wanted->since_ms = now;
        }
        pv_free(s);
    }
    PV_LIST_EACH(&fs->all, e)
    {
        struct pv_wanted *w = PV_LIST_ENTRY(e, struct pv_wanted, link);
        w->holders[fp->slot] = (struct pv_holder){.holding = PV_HOLD_UNASKED};
        pv_wanted_touch(w);
    }
    pv_map_release(&fp->streams);
    pv_free(fp);
}

/* ---- asking ---- */

void pv_fetch_peer_ask(struct pv_fetch_peer *fp)
{
    struct pv_fetches *fs = fp->fetches;
    for (size_t i = 0; fp->ask && i < PV_FETCH_GETS_MAX; i++) {
        size_t count = 0;
        if (fp->asked[i].left > 0)
            continue;
        PV_LIST_EACH(&fs->all, e)
        {
            struct pv_wanted *w = PV_LIST_ENTRY(e, struct pv_wanted, link);
            if (w->holders[fp->slot].holding != PV_HOLD_UNASKED || count == PV_MSG_IDS_MAX)
                continue;
            w->holders[fp->slot].holding = PV_HOLD_ASKED;
            fs->ids[count++] = w->id;
        }
        fp->ask = count == PV_MSG_IDS_MAX;
        if (count == 0)
            break;
        fp->asked[i] = (struct pv_get){.request = fp->next_request++, .left = count};
        struct pv_wr w = pv_wr_of(fs->node->scratch, PV_FRAME_PLAIN_MAX);
        pv_msg_put_ids(&w, PV_MSG_GET, fp->asked[i].request, fs->ids, count);
        pv_peer_send(fp->peer, &w);
    }
}

void pv_fetch_on_found(struct pv_peer *p, struct pv_rd *r, bool found)
{
    struct pv_fetch_peer *fp = p->fetch;
    uint32_t request;
    size_t count, i = 0;
    if (fp == NULL)
        return;
    struct pv_fetches *fs = fp->fetches;
    if (pv_msg_get_ids(r, &request, fs->ids, &count) != PV_OK) {
        pv_peer_misbehaved(p, "malformed FOUND or NOT_FOUND");
        return;
    }
    while (i < PV_FETCH_GETS_MAX && (fp->asked[i].left == 0 || fp->asked[i].request != request))
        i++;
    if (i == PV_FETCH_GETS_MAX || count == 0 || count > fp->asked[i].left) {
        pv_peer_misbehaved(p, "answers what was not asked");
        return;
    }
    fp->asked[i].left -= count;
    fs->soon = fs->soon || fp->ask;
    for (size_t k = 0; k < count; k++) {
        struct pv_wanted *w = pv_map_get(&fs->wanted, fs->ids[k].b);
        if (w == NULL || w->holders[fp->slot].holding != PV_HOLD_ASKED)
            continue; /* no longer wanted */
        w->holders[fp->slot].holding = found ? PV_HOLD_YES : PV_HOLD_NO;
        pv_wanted_touch(w);
    }
}

/* ---- being asked ---- */

struct get_job {
    struct pv_job job;
    struct pv_node *node;
    pv_link link;
    uint32_t request;
    size_t count;
    bool have[PV_MSG_IDS_MAX];
    struct pv_id ids[];
};

static void get_run(struct pv_job *base, const struct pv_job_context *ctx)
{
    struct get_job *job = PV_CONTAINER_OF(base, struct get_job, job);
    base->err = pv_store_have(ctx->store, job->ids, job->count, job->have);
}

static void answer(struct get_job *job, struct pv_fetch_peer *fp, bool found)
{
    struct pv_fetches *fs = fp->fetches;
    size_t count = 0;
    for (size_t i = 0; i < job->count; i++)
        if (job->have[i] == found)
            fs->ids[count++] = job->ids[i];
    if (count == 0)
        return;
    struct pv_wr w = pv_wr_of(fs->node->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_ids(&w, found ? PV_MSG_FOUND : PV_MSG_NOT_FOUND, job->request, fs->ids, count);
    pv_peer_send(fp->peer, &w);
}

static void get_done(struct pv_job *base)
{
    struct get_job *job = PV_CONTAINER_OF(base, struct get_job, job);
    struct pv_peer *p = job->node->closing ? NULL : pv_node_peer(job->node, job->link);
    if (p != NULL && p->fetch != NULL) {
        p->fetch->serving--;
        /* NOT_FOUND is for certain, so what we cannot tell is FOUND, and an RST may follow. */
        for (size_t i = 0; base->err != PV_OK && i < job->count; i++)
            job->have[i] = true;
        answer(job, p->fetch, true);
        answer(job, p->fetch, false);
    }
    pv_free(job);
}

void pv_fetch_on_get(struct pv_peer *p, struct pv_rd *r)
{
    struct pv_fetch_peer *fp = p->fetch;
    uint32_t request;
    size_t count;
    if (fp == NULL)
        return;
    struct pv_fetches *fs = fp->fetches;
    if (pv_msg_get_ids(r, &request, fs->ids, &count) != PV_OK || count == 0) {
        pv_peer_misbehaved(p, "malformed GET");
        return;
    }
    if (fp->serving == PV_FETCH_GETS_MAX) {
        pv_peer_misbehaved(p, "asks more than it may without an answer");
        return;
    }
    struct get_job *job = pv_calloc(1, sizeof *job + count * sizeof *job->ids);
    if (job == NULL) {
        pv_peer_drop(p, PV_BYE_LIMIT); /* it would wait for the answer */
        return;
    }
    job->job = (struct pv_job){.run = get_run, .done = get_done};
    job->node = p->node;
    job->link = p->link;
    job->request = request;
    job->count = count;
    memcpy(job->ids, fs->ids, count * sizeof *job->ids);
    fp->serving++;
    pv_node_submit(p->node, &job->job);
}

/* ---- streams ---- */

enum pv_err pv_stream_open(struct pv_fetch_peer *fp, struct pv_wanted *w)
{
    struct pv_stream_in *s = pv_calloc(1, sizeof *s);
    if (s == NULL)
        return PV_E_NOMEM;
    s->owner = fp;
    s->wanted = w;
    s->stream = fp->next_stream;
    s->began_ms = s->last_ms = pv_node_now(fp->fetches->node);
    if (pv_map_put(&fp->streams, &s->stream, s) != PV_OK) {
        pv_free(s);
        return PV_E_NOMEM;
    }
    fp->next_stream += 2;
    fp->running++;
    w->stream = s;
    w->got = w->whole ? 0 : w->got;
    w->mixed = w->got > 0;
    struct pv_want want = {.id = w->id, .offset = w->got, .stream = s->stream};
    struct pv_wr wr = pv_wr_of(fp->fetches->node->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_wants(&wr, PV_MSG_FETCH, &want, 1);
    pv_peer_send(fp->peer, &wr);
    return PV_OK;
}

/* Its blob no longer depends on it. */
static void stream_leave(struct pv_stream_in *s)
{
    if (s->wanted == NULL)
        return;
    s->wanted->stream = NULL;
    s->wanted->since_ms = pv_node_now(s->owner->fetches->node);
    s->wanted = NULL;
    s->owner->running--;
}

void pv_stream_cancel(struct pv_stream_in *s)
{
    struct pv_fetch_peer *fp = s->owner;
    stream_leave(s);
    fp->cancelled_ms = pv_node_now(fp->fetches->node);
    struct pv_wr w = pv_wr_of(fp->fetches->node->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_cancel(&w, s->stream);
    pv_peer_send(fp->peer, &w);
}

/* The other side has ended it. Those that waited for a place may have it. */
static void stream_end(struct pv_stream_in *s)
{
    struct pv_fetch_peer *fp = s->owner;
    bool was_full = fp->streams.count >= PV_STREAMS_MAX;
    stream_leave(s);
    pv_map_remove(&fp->streams, &s->stream);
    pv_free(s);
    if (!was_full)
        return;
    PV_LIST_EACH(&fp->fetches->all, e)
    {
        pv_wanted_touch(PV_LIST_ENTRY(e, struct pv_wanted, link));
    }
}

bool pv_stream_silent(const struct pv_stream_in *s, uint64_t now_ms, uint64_t *due_ms)
{
    uint64_t silent_at = s->last_ms + PV_BLOB_SILENCE_MS;
    uint64_t peer_at = s->owner->last_data_ms + PV_BLOB_SILENCE_MS;
    uint64_t stall_at = s->last_ms + PV_FETCH_STALL_MS;
    if (peer_at > silent_at) /* its other streams go on */
        silent_at = peer_at < stall_at ? peer_at : stall_at;
    if (now_ms >= silent_at && pv_peer_slowed(s->owner->peer)) {
        uint64_t again_ms = now_ms + PV_BLOB_SILENCE_MS, latest_ms = s->last_ms + PV_PUSH_AGAIN_MS;
        silent_at = again_ms < latest_ms ? again_ms : latest_ms;
    }
    *due_ms = silent_at;
    return now_ms >= silent_at;
}

static void stream_data(struct pv_stream_in *s, uint8_t flags, const uint8_t *bytes, size_t len)
{
    struct pv_wanted *w = s->wanted;
    struct pv_fetch_peer *fp = s->owner;
    bool fin = (flags & PV_STREAM_FIN) != 0;
    if (flags & PV_STREAM_RST) {
        if (w->got > 0 && s->received == 0 && !w->whole) { /* others sent more than the blob has? */
            w->got = 0;
            w->whole = true;
        } else {
            w->holders[fp->slot].tries++;
        }
        stream_end(s);
        pv_wanted_touch(w);
        return;
    }
    size_t left = w->size - w->got;
    if (len > left || (fin && w->got + len < PV_BLOB_LEN_MIN)) { /* not a blob of this id */
        pv_wanted_blame(w, fp);
        w->got = 0;
        if (fin)
            stream_end(s);
        else
            pv_stream_cancel(s);
        pv_wanted_touch(w);
        return;
    }
    if (len > 0) {
        memcpy(w->body + w->got, bytes, len);
        w->got += (uint32_t)len;
        s->last_ms = fp->last_data_ms = pv_node_now(fp->fetches->node);
    }
    bool complete = fin || w->got == w->size;
    if (complete)
        pv_wanted_complete(w);
    if (fin)
        stream_end(s);
    else if (complete)
        pv_stream_cancel(s);
}

bool pv_fetch_on_data(struct pv_peer *p, uint32_t stream, uint8_t flags, const uint8_t *bytes,
                      size_t len)
{
    struct pv_fetch_peer *fp = p->fetch;
    if (fp == NULL || (stream & 1))
        return false;
    struct pv_stream_in *s = pv_map_get(&fp->streams, &stream);
    if (s == NULL || len > PV_BLOB_LEN_MAX - s->received) {
        pv_peer_misbehaved(p, "sends a stream that was not asked for, or without end");
        return true;
    }
    s->received += (uint32_t)len;
    if (s->wanted != NULL)
        stream_data(s, flags, bytes, len);
    else if (flags & (PV_STREAM_FIN | PV_STREAM_RST))
        stream_end(s);
    return true;
}
