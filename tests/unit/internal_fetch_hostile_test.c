/* Fetching while a member does what it can against it. */
#include "tests/unit/internal_script_fixture.h"

__attribute__((weak)) atomic_int pvt_fatal_count;

TestSuite(fetch_hostile, .timeout = 120);

struct wish { /* one who fetches */
    struct pv_fetch f;
    bool ended, same;
    enum pv_err err;
    const struct pvt_blob *blob;
};

static void ended(struct pv_fetch *f, enum pv_err err, uint8_t *bytes)
{
    struct wish *w = f->ctx;
    w->ended = true;
    w->err = err;
    w->same = err == PV_OK && memcmp(bytes, w->blob->bytes, w->blob->len) == 0;
    pv_free(bytes);
}

static void wish_start(struct pvt_host *h, struct wish *w, const struct pvt_blob *b)
{
    *w = (struct wish){.f = {.id = b->id, .size = (uint32_t)b->len, .kind = PV_BLOB_CHUNK}};
    w->f.done = ended;
    w->f.ctx = w;
    w->blob = b;
    pv_fetch_start(h->node, &w->f);
}

static void say_found(struct pvt_script *s)
{
    struct pv_id ids[PV_MSG_IDS_MAX];
    uint32_t request;
    size_t count = pvt_script_get_ids(s, PV_MSG_GET, &request, ids);
    cr_assert_gt(count, 0);
    pvt_script_ids(s, PV_MSG_FOUND, request, ids, count);
}

/* A beginning of nonsense, then RST: what the honest one adds to it is wrong as a whole. */
Test(fetch_hostile, poisoned_beginnings_do_not_use_up_the_honest_one)
{
    struct pvt_net *net = pvt_net_new(1);
    struct pvt_host *h = &net->host[0];
    struct pvt_script *bad = calloc(1, sizeof *bad), *good = calloc(1, sizeof *good);
    struct pvt_blob b = pvt_sealed(1, 200000);
    uint8_t *nonsense = calloc(1, 50000);
    struct pv_want want[PV_MSG_WANTS_MAX];
    struct wish w;
    pvt_script_init(bad, net, h, 1);
    pvt_script_init(good, net, h, 2);
    wish_start(h, &w, &b);
    pvt_net_run(net);
    say_found(bad);
    say_found(good);
    for (size_t i = 0; i < 20 && !w.ended; i++) {
        if (pvt_script_wants(bad, PV_MSG_FETCH, want) == 1) {
            if (want[0].offset == 0)
                pvt_script_data(bad, want[0].stream, 0, nonsense, 50000);
            pvt_script_data(bad, want[0].stream, PV_STREAM_RST, NULL, 0);
        }
        if (pvt_script_wants(good, PV_MSG_FETCH, want) == 1)
            pvt_script_body(good, want[0].stream, &b, want[0].offset);
    }
    pvt_net_advance(net, PV_BLOB_SILENCE_MS);
    cr_expect(w.ended);
    cr_expect_eq(w.err, PV_OK, "%s", pv_err_text(w.err));
    cr_expect(w.same);
    cr_expect(!pvt_log_has(&h->v->log, "a peer sent a bad blob"), "nobody can be blamed");
    free(nonsense);
    free(bad);
    free(good);
    pvt_blob_free(&b);
    pvt_net_free(net);
}

/* The streams of a peer that never ends those that were cancelled are no place to wait for. */
Test(fetch_hostile, cancelled_streams_that_never_end)
{
    enum { COUNT = PV_STREAMS_MAX + 5 };
    struct pvt_net *net = pvt_net_new(1);
    struct pvt_host *h = &net->host[0];
    struct pvt_script *s = calloc(1, sizeof *s);
    struct wish *wishes = calloc(COUNT, sizeof *wishes);
    struct pvt_blob *blobs = calloc(COUNT, sizeof *blobs);
    pvt_script_init(s, net, h, 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        blobs[i].len = 1000;
        memcpy(blobs[i].id.b, &i, sizeof i);
        wish_start(h, &wishes[i], &blobs[i]);
    }
    pvt_net_run(net);
    say_found(s);
    for (size_t i = 0; i < 20; i++)
        pvt_net_advance(net, PV_BLOB_SILENCE_MS);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert(wishes[i].ended, "%zu waits for ever", i);
        cr_assert_eq(wishes[i].err, PV_E_UNAVAILABLE);
    }
    pvt_cut(net, s->link);
    pvt_net_run(net);
    pvt_assert_idle(h);
    free(blobs);
    free(wishes);
    free(s);
    pvt_net_free(net);
}

/* Its member record now says that it was not heard for long. */
static void mark_stale(struct pvt_host *h, const struct pvt_script *s)
{
    static const uint8_t no_salt[32];
    uint8_t *env = malloc(PV_RECORD_LEN_MAX), *bytes = malloc(PV_RECORD_BODY_MAX);
    struct pv_member_body body = {
        .generation = 1, .stale = true, .role = PV_ROLE_KEYED, .weight = 1};
    struct pv_record_draft draft = {
        .type = PV_RECORD_MEMBER, .flags = PV_RECORD_CLEAR, .body = bytes};
    size_t len;
    memcpy(body.subject, s->identity.pub, PV_PUB_LEN);
    pv_rid_clear(&draft.rid, PV_RECORD_MEMBER, s->identity.node_id.b, PV_ID_LEN);
    cr_assert_eq(pv_node_next_hlc(h->node, &draft.hlc), PV_OK);
    cr_assert_eq(pv_member_body_encode(bytes, &draft.body_len, &body), PV_OK);
    cr_assert_eq(pv_record_seal(env, &len, &draft, NULL, h->identity.seed, no_salt), PV_OK);
    pv_members_changed(h->node, env, len);
    free(bytes);
    free(env);
}

/* The word of one who no longer counts does not stand for that of one who is away. */
Test(fetch_hostile, not_found_by_a_stale_member)
{
    struct pvt_net *net = pvt_net_new(1);
    struct pvt_host *h = &net->host[0];
    struct pvt_script *stale = calloc(1, sizeof *stale), *away = calloc(1, sizeof *away);
    struct pvt_blob b = {.len = 1000, .id = {{1}}};
    struct pv_id ids[PV_MSG_IDS_MAX];
    struct wish w;
    uint32_t request;
    pvt_script_init(stale, net, h, 1);
    pvt_script_init(away, net, h, 2);
    mark_stale(h, stale);
    cr_assert_eq(pv_members_active(h->node), 2);
    pvt_cut(net, away->link);
    wish_start(h, &w, &b);
    pvt_net_run(net);
    cr_assert_eq(pvt_script_get_ids(stale, PV_MSG_GET, &request, ids), 1);
    pvt_script_ids(stale, PV_MSG_NOT_FOUND, request, ids, 1);
    cr_expect_not(w.ended);
    pvt_net_advance(net, PV_BLOB_SILENCE_MS);
    cr_expect(w.ended);
    cr_expect_eq(w.err, PV_E_UNAVAILABLE);
    free(stale);
    free(away);
    pvt_net_free(net);
}
