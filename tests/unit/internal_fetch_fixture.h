/* Those who fetch a blob, and a test that is its holders. */
#ifndef PV_TESTS_INTERNAL_FETCH_FIXTURE_H
#define PV_TESTS_INTERNAL_FETCH_FIXTURE_H

#include "internal/node/fetch_private.h"
#include "tests/unit/internal_script_fixture.h"

struct wish { /* one who fetches */
    struct pv_fetch f;
    size_t ended;
    enum pv_err err;
    uint8_t *bytes;
};

static inline void ended(struct pv_fetch *f, enum pv_err err, uint8_t *bytes)
{
    struct wish *w = f->ctx;
    cr_assert_eq(bytes != NULL, err == PV_OK);
    w->ended++;
    w->err = err;
    w->bytes = bytes;
}

static inline void wish_start(struct pvt_host *h, struct wish *w, const struct pvt_blob *b)
{
    *w = (struct wish){.f = {.id = b->id, .size = (uint32_t)b->len, .kind = PV_BLOB_CHUNK}};
    w->f.done = ended;
    w->f.ctx = w;
    pv_fetch_start(h->node, &w->f);
    cr_assert_eq(w->ended, 0, "never from inside start");
}

static inline bool granted(struct wish *w, const struct pvt_blob *b)
{
    bool same = w->ended == 1 && w->err == PV_OK && memcmp(w->bytes, b->bytes, b->len) == 0;
    pv_free(w->bytes);
    w->bytes = NULL;
    return same;
}

/* ---- the test is the holder ---- */

struct wanting {
    struct pvt_net *net;
    struct pvt_host *h;
    struct pvt_script s[3];
    struct pvt_blob b;
    struct wish w;
    struct pv_want wants[PV_MSG_WANTS_MAX];
    struct pv_id ids[PV_MSG_IDS_MAX];
    uint32_t request;
    size_t left_over; /* wanted until the node is freed */
};

static inline struct wanting *wanting_new(size_t holders, size_t payload_len)
{
    struct wanting *t = calloc(1, sizeof *t);
    t->net = pvt_net_new(1);
    t->h = &t->net->host[0];
    t->b = pvt_sealed(1, payload_len);
    for (size_t i = 0; i < holders; i++)
        pvt_script_init(&t->s[i], t->net, t->h, (uint8_t)(i + 1));
    return t;
}

static inline void wanting_free(struct wanting *t)
{
    for (size_t i = 0; i < PV_COUNT(t->s); i++)
        if (t->s[i].net != NULL && !pvt_script_dropped(&t->s[i]))
            pvt_cut(t->net, t->s[i].link);
    pvt_net_run(t->net);
    pvt_assert_idle(t->h);
    cr_expect_eq(t->h->node->fetches->wanted.count, t->left_over);
    pvt_blob_free(&t->b);
    pvt_net_free(t->net);
    free(t);
}

/* The next GET, and its answer: found or not. */
static inline size_t answer(struct wanting *t, size_t who, bool found)
{
    size_t count = pvt_script_get_ids(&t->s[who], PV_MSG_GET, &t->request, t->ids);
    if (count > 0)
        pvt_script_ids(&t->s[who], found ? PV_MSG_FOUND : PV_MSG_NOT_FOUND, t->request, t->ids,
                       count);
    return count;
}

static inline struct pv_want next_fetch(struct wanting *t, size_t who)
{
    cr_assert_eq(pvt_script_wants(&t->s[who], PV_MSG_FETCH, t->wants), 1);
    cr_assert_eq(t->wants[0].stream & 1, 0);
    return t->wants[0];
}

#endif
