/*
 * Waiters are told from inside of a loop over them, and may cancel any of them or publish something
 * then, so the loop starts again after each call. There are few: one a local client at most.
 */
#include "internal/node/pending.h"

#include <string.h>

/* ---- entries ------------------------------------------------------------------------------- */

static void park(struct pv_publish *q, struct pv_pending *e)
{
    pv_list_remove(&e->list);
    pv_list_push_back(&q->parked, &e->list);
    e->parked = true;
}

void pv_pending_enqueue(struct pv_publish *q, struct pv_pending *e)
{
    if (q->checking == e) {
        e->again = true;
        return;
    }
    if (!e->parked && pv_list_linked(&e->list))
        return;
    pv_list_remove(&e->list);
    pv_list_push_back(&q->todo, &e->list);
    e->parked = false;
}

static void forget_hash(struct pv_publish *q, bool *has, const struct pv_id *hash,
                        const struct pv_pending *e)
{
    if (*has && pv_map_get(&q->by_hash, hash) == e)
        (void)pv_map_remove(&q->by_hash, hash);
    *has = false;
}

/* Without a place in the map a STORED will not be recognised; sending again will ask once more. */
static void learn(struct pv_publish *q, bool *has, struct pv_id *dst, const struct pv_id *hash,
                  struct pv_pending *e)
{
    if (*has && pv_id_equal(dst, hash))
        return;
    forget_hash(q, has, dst, e);
    *dst = *hash;
    *has = pv_map_put(&q->by_hash, hash, e) == PV_OK;
}

void pv_pending_learn_hash(struct pv_publish *q, struct pv_pending *e, const struct pv_id *hash)
{
    learn(q, &e->has_hash, &e->hash, hash, e);
}

void pv_pending_learn_name(struct pv_publish *q, struct pv_pending *e, const struct pv_id *hash)
{
    learn(q, &e->has_name_hash, &e->name_hash, hash, e);
}

struct pv_pending *pv_pending_find(const struct pv_publish *q, const struct pv_id *rid)
{
    return pv_map_get(&q->by_rid, rid);
}

void pv_pending_free(struct pv_publish *q, struct pv_pending *e)
{
    forget_hash(q, &e->has_hash, &e->hash, e);
    forget_hash(q, &e->has_name_hash, &e->name_hash, e);
    (void)pv_map_remove(&q->by_rid, &e->rid);
    pv_list_remove(&e->list);
    pv_free(e);
}

struct pv_pending *pv_pending_new(struct pv_publish *q, const struct pv_id *rid)
{
    struct pv_pending *e = pv_calloc(1, sizeof *e);
    if (e == NULL || pv_map_put(&q->by_rid, rid, e) != PV_OK) {
        pv_free(e);
        q->more = true;
        return NULL;
    }
    e->rid = *rid;
    e->level = 1;
    pv_pending_enqueue(q, e);
    return e;
}

void pv_pending_renew(struct pv_publish *q, struct pv_pending *e, const struct pv_id *hash)
{
    if (e->has_hash && pv_id_equal(&e->hash, hash))
        return;
    learn(q, &e->has_hash, &e->hash, hash, e);
    forget_hash(q, &e->has_name_hash, &e->name_hash, e);
    e->has_name = e->safe = e->published = e->name_published = e->stuck = false;
    e->sent_at_ms = 0;
    e->level = 1;
    e->walk = (struct pv_copies_walk){0};
    memset(e->stored_by, 0, sizeof e->stored_by);
    e->stored_count = 0;
}

void pv_pending_adopt(struct pv_publish *q, struct pv_pending *e, const struct pv_id *hash)
{
    bool has_name = e->has_name;
    pv_pending_renew(q, e, hash);
    e->has_name = has_name; /* the check finds out whether it still is pending */
}

/* ---- waiters ------------------------------------------------------------------------------- */

static unsigned want_max(const struct pv_publish *q, const struct pv_id *rid)
{
    unsigned want = 0;
    PV_LIST_EACH(&q->waits, w)
    {
        const struct pv_copies_wait *wait = PV_LIST_ENTRY(w, struct pv_copies_wait, link);
        if (pv_id_equal(&wait->file_rid, rid) && wait->want > want)
            want = wait->want;
    }
    return want;
}

bool pv_pending_is_waited_for(const struct pv_publish *q, const struct pv_pending *e)
{
    return want_max(q, &e->rid) > 0;
}

static unsigned copies_of(const struct pv_pending *e)
{
    unsigned records = 1 + e->stored_count;
    return e->level < records ? e->level : records;
}

static bool tell_one(struct pv_publish *q, const struct pv_pending *e)
{
    unsigned copies = copies_of(e);
    PV_LIST_EACH(&q->waits, w)
    {
        struct pv_copies_wait *wait = PV_LIST_ENTRY(w, struct pv_copies_wait, link);
        if (!pv_id_equal(&wait->file_rid, &e->rid) || copies <= wait->told)
            continue;
        wait->told = copies;
        if (copies >= wait->want)
            pv_list_remove(&wait->link);
        wait->progress(wait, copies);
        return true;
    }
    return false;
}

/* A callback may cancel any waiter, or publish something: start again after each. */
void pv_pending_tell(struct pv_node *n, const struct pv_id *rid)
{
    const struct pv_pending *e;
    while ((e = pv_pending_find(n->publish, rid)) != NULL && tell_one(n->publish, e)) {
    }
}

/* It may have been the only reason to keep the entry. */
void pv_publish_wait_cancel(struct pv_copies_wait *wait)
{
    if (!pv_list_linked(&wait->link))
        return;
    pv_list_remove(&wait->link);
    pv_pending_settle_rid(wait->node, &wait->file_rid);
}

/* ---- what an entry waits for --------------------------------------------------------------- */

unsigned pv_publish_need(const struct pv_node *n)
{
    return pv_members_active(n) > 1 && n->config.replicas > 1 ? 2 : 1;
}

unsigned pv_pending_goal(const struct pv_node *n, const struct pv_pending *e)
{
    unsigned want = want_max(n->publish, &e->rid), active = (unsigned)pv_members_active(n);
    want = want < active ? want : active;
    return want > pv_publish_need(n) ? want : pv_publish_need(n);
}

bool pv_pending_all_published(const struct pv_pending *e)
{
    return e->published && (!e->has_name || e->name_published);
}

bool pv_pending_wants_sending(const struct pv_node *n, const struct pv_pending *e)
{
    return e->safe &&
           (!pv_pending_all_published(e) || want_max(n->publish, &e->rid) > 1 + e->stored_count);
}

void pv_pending_settle(struct pv_node *n, struct pv_pending *e)
{
    struct pv_publish *q = n->publish;
    if (e->again) {
        e->again = false;
        pv_pending_enqueue(q, e);
        return;
    }
    if (pv_pending_all_published(e) && want_max(q, &e->rid) <= copies_of(e)) {
        pv_pending_free(q, e);
        return;
    }
    park(q, e);
    e->due_ms = UINT64_MAX;
    if (e->stuck)
        e->due_ms = pv_node_now(n) + PV_PUBLISH_AGAIN_MS;
    else if (pv_pending_wants_sending(n, e) && e->sent_at_ms != 0)
        e->due_ms = e->sent_at_ms + PV_PUBLISH_AGAIN_MS;
    if (e->due_ms < q->again_at_ms)
        q->again_at_ms = e->due_ms;
}

void pv_pending_settle_rid(struct pv_node *n, const struct pv_id *rid)
{
    struct pv_pending *e = pv_pending_find(n->publish, rid);
    if (e != NULL && e->parked)
        pv_pending_settle(n, e);
}
