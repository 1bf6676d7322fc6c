/* Push while a member does what it can against it, or a disk is failing. */
#include "tests/unit/internal_script_fixture.h"

__attribute__((weak)) atomic_int pvt_fatal_count;

TestSuite(push_hostile, .timeout = 120);

/* ---- poisoned beginnings ---- */

struct two_offers {
    struct pvt_net *net;
    struct pvt_host *h;
    struct pvt_script s[2], *first, *second; /* first: has its turn first, if both have one */
    struct pvt_blob b;
    uint8_t *nonsense;
};

static struct two_offers *two_offers_new(void)
{
    struct two_offers *t = calloc(1, sizeof *t);
    size_t pos = 0;
    t->net = pvt_net_new(1);
    t->h = &t->net->host[0];
    t->b = pvt_sealed(1, 200000);
    t->nonsense = calloc(1, t->b.len);
    pvt_script_init(&t->s[0], t->net, t->h, 1);
    pvt_script_init(&t->s[1], t->net, t->h, 2);
    bool is_0 = pv_node_next_peer(t->h->node, &pos)->link == t->s[0].link;
    t->first = &t->s[is_0 ? 0 : 1];
    t->second = &t->s[is_0 ? 1 : 0];
    return t;
}

static void two_offers_free(struct two_offers *t)
{
    pvt_blob_free(&t->b);
    free(t->nonsense);
    pvt_net_free(t->net);
    free(t);
}

Test(push_hostile, poisoned_beginnings_do_not_keep_a_blob_out)
{
    struct two_offers *t = two_offers_new();
    struct pv_want want[PV_MSG_WANTS_MAX];
    pvt_script_offer(t->first, &t->b, 1);
    pvt_script_offer(t->second, &t->b, 1);
    for (size_t i = 0; i < 20 && !pvt_has_blob(t->h->v, &t->b); i++) {
        if (pvt_script_wants(t->first, PV_MSG_WANT, want) == 1) {
            pvt_script_data(t->first, want[0].stream, 0, t->nonsense, 50000);
            pvt_script_data(t->first, want[0].stream, PV_STREAM_RST, NULL, 0);
            pvt_script_offer(t->first, &t->b, 1); /* and here it is again */
        }
        if (pvt_script_wants(t->second, PV_MSG_WANT, want) == 1)
            pvt_script_body(t->second, want[0].stream, &t->b, want[0].offset);
    }
    cr_expect(pvt_has_blob(t->h->v, &t->b));
    pvt_assert_idle(t->h);
    two_offers_free(t);
}

/* ---- repair ---- */

static void damage(struct pvt_host *h, const struct pvt_blob *b)
{
    char path[400], name[PV_BLOB_PATH_LEN + 1];
    pv_blob_path(name, &b->id);
    snprintf(path, sizeof path, "%s/%s", h->v->path, name);
    FILE *f = fopen(path, "r+b");
    cr_assert_not_null(f);
    fseek(f, 5000, SEEK_SET);
    fputc(b->bytes[5000] ^ 1, f);
    fclose(f);
}

/* Takes a whole body. */
static void fetch_body(struct pvt_script *s, const struct pvt_blob *b, uint32_t offset,
                       uint32_t stream)
{
    bool fin = false;
    pvt_script_want(s, PV_MSG_FETCH, &b->id, offset, stream);
    while (!fin) {
        struct pvt_frame *f = pvt_script_next(s, 0);
        cr_assert_not_null(f);
        fin = (f->type & (PV_STREAM_FIN | PV_STREAM_RST)) != 0;
        free(f);
    }
}

static void say_bad(struct pvt_script *s, const struct pvt_blob *b)
{
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, &b->id);
    struct pv_wr w = pvt_script_wr(s);
    pv_msg_put_error(&w, PV_ERROR_BAD_BLOB, hex);
    cr_assert_eq(pv_wr_end(&w), PV_OK);
    pv_node_peer_message(s->host->node, s->link, s->out[0], s->out + 1, pv_wr_len(&w) - 1);
}

Test(push_hostile, closing_while_repairs_wait_for_memory)
{
    enum { COUNT = 3 };
    struct pvt_net *net = pvt_net_new(1);
    struct pvt_host *h = &net->host[0];
    struct pvt_script *s = calloc(1, sizeof *s);
    struct pvt_blob blobs[COUNT];
    for (uint32_t i = 0; i < COUNT; i++)
        blobs[i] = pvt_sealed(i, PV_BLOB_PAYLOAD_MAX);
    pvt_put_many(h, blobs, COUNT);
    pvt_script_init(s, net, h, 1);
    h->node->push->inbound.limit_bytes = PV_BLOB_LEN_MAX;
    for (uint32_t i = 0; i < COUNT; i++) {
        damage(h, &blobs[i]);
        fetch_body(s, &blobs[i], 0, 2 + 2 * i);
        say_bad(s, &blobs[i]);
        pvt_net_run(net);
    }
    cr_expect_eq(h->node->push->repair_count, COUNT);
    cr_expect_not_null(h->node->push->inbound.head);
    for (size_t i = 0; i < COUNT; i++)
        pvt_blob_free(&blobs[i]);
    free(s);
    pvt_net_free(net); /* closes and frees the node */
}

/* A few bytes must not make us read a megabyte: only who has just got a body may doubt it, once. */
Test(push_hostile, complaints_about_what_was_not_sent)
{
    struct pvt_net *net = pvt_net_new(1);
    struct pvt_host *h = &net->host[0];
    struct pvt_script *s = calloc(1, sizeof *s);
    struct pvt_blob b = pvt_sealed(1, PV_BLOB_PAYLOAD_MAX);
    pvt_put_many(h, &b, 1);
    pvt_script_init(s, net, h, 1);
    say_bad(s, &b);
    cr_expect_eq(h->node->push->repair_count, 0, "never sent");
    pvt_net_run(net);
    fetch_body(s, &b, (uint32_t)b.len - 1, 2);
    say_bad(s, &b);
    cr_expect_eq(h->node->push->repair_count, 0, "not all of it");
    pvt_net_run(net);
    fetch_body(s, &b, 0, 4);
    say_bad(s, &b);
    cr_expect_eq(h->node->push->repair_count, 1);
    pvt_net_run(net);
    say_bad(s, &b);
    cr_expect_eq(h->node->push->repair_count, 0, "twice");
    pvt_net_run(net);
    cr_expect_not(pvt_script_dropped(s));
    free(s);
    pvt_blob_free(&b);
    pvt_net_free(net);
}

/* ---- holders ---- */

/* The job that gives the peer its bit, taken out of the queue. */
static struct pv_job *take_bit_job(struct pvt_host *h)
{
    struct pv_job **at = &h->jobs, *job;
    for (; (job = *at) != NULL; at = &job->next) {
        if (job->run != NULL || job->commit.count != 1 ||
            job->commit.ops[0].type != PV_COMMIT_HELD || job->commit.ops[0].u.held.count != 0 ||
            !job->commit.ops[0].u.held.held)
            continue;
        *at = job->next;
        if (*at == NULL)
            h->jobs_tail = at;
        return job;
    }
    return NULL;
}

Test(push_hostile, bit_of_a_peer_that_could_not_be_written)
{
    struct pvt_net *net = pvt_net_new(2);
    struct pvt_blob b = pvt_sealed(1, 300);
    struct pv_job *job = NULL;
    pvt_put_many(&net->host[0], &b, 1);
    pvt_connect(net, &net->host[0], &net->host[1]);
    for (size_t i = 0; i < 1000 && (job = take_bit_job(&net->host[0])) == NULL; i++) {
        net->steps_left = 1;
        pvt_net_run(net);
    }
    cr_assert_not_null(job);
    net->steps_left = SIZE_MAX;
    job->commit.err = PV_E_NOSPACE;
    job->done(job);
    cr_expect_not(pvt_has_blob(net->host[1].v, &b));
    pvt_net_advance(net, PV_PUSH_AGAIN_MS);
    cr_expect(pvt_has_blob(net->host[1].v, &b), "there is space again");
    pvt_blob_free(&b);
    pvt_net_free(net);
}

/* There are bits for 64 nodes. One more can have none, but what it offers is here all the same. */
Test(push_hostile, offer_of_a_node_without_a_bit)
{
    struct pvt_net *net = pvt_net_new(1);
    struct pvt_host *h = &net->host[0];
    struct pvt_script *s = calloc(1, sizeof *s);
    struct pvt_blob b = pvt_sealed(1, 300);
    struct pv_id ids[PV_MSG_IDS_MAX];
    uint32_t request;
    for (uint32_t i = 0; i < PV_HOLDERS_MAX; i++) {
        struct pv_commit_op op = {.type = PV_COMMIT_HELD};
        memcpy(op.u.held.node_id.b, &i, sizeof i);
        op.u.held.held = true;
        cr_assert_eq(pvt_commit(h->v, &op, 1), PV_OK);
    }
    pvt_put_many(h, &b, 1);
    pvt_script_init(s, net, h, 1);
    pvt_script_offer(s, &b, 1);
    cr_expect_eq(pvt_script_get_ids(s, PV_MSG_STORED, NULL, ids), 1);
    cr_expect_eq(pvt_script_get_ids(s, PV_MSG_FULL, &request, ids), 0);
    pvt_assert_idle(h);
    free(s);
    pvt_blob_free(&b);
    pvt_net_free(net);
}

/* ---- garbage ---- */

static bool is_lease_queued(const struct pvt_host *h)
{
    for (const struct pv_job *job = h->jobs; job != NULL; job = job->next)
        if (job->run == NULL && job->commit.ops[0].type == PV_COMMIT_LEASE)
            return true;
    return false;
}

static void sweep(struct pvt_host *h, const struct pvt_blob *b)
{
    struct pv_commit_op op = {.type = PV_COMMIT_EXPIRE};
    cr_assert_eq(pvt_commit(h->v, &op, 1), PV_OK);
    op = (struct pv_commit_op){.type = PV_COMMIT_SWEEP};
    op.u.sweep.ids = &b->id;
    op.u.sweep.count = 1;
    cr_assert_eq(pvt_commit(h->v, &op, 1), PV_OK);
    cr_assert_not(pvt_has_blob(h->v, b));
}

/* It was here when it was looked for, and is gone when its lease is to be renewed. */
Test(push_hostile, offered_while_it_is_swept)
{
    struct pvt_net *net = pvt_net_new(1);
    struct pvt_host *h = &net->host[0];
    struct pvt_script *s = calloc(1, sizeof *s);
    struct pvt_blob b[2] = {pvt_sealed(1, 300), pvt_sealed(2, 400)};
    struct pv_want want[PV_MSG_WANTS_MAX];
    struct pv_id ids[PV_MSG_IDS_MAX];
    pvt_put_many(h, b, 2);
    pvt_script_init(s, net, h, 1);
    net->steps_left = 0;
    pvt_script_offer(s, b, 2);
    for (size_t i = 0; i < 100 && !is_lease_queued(h); i++) {
        net->steps_left = 1;
        pvt_net_run(net);
    }
    cr_assert(is_lease_queued(h));
    sweep(h, &b[0]);
    net->steps_left = SIZE_MAX;
    pvt_net_run(net);
    cr_assert_eq(pvt_script_wants(s, PV_MSG_WANT, want), 1);
    cr_expect(pv_id_equal(&want[0].id, &b[0].id));
    cr_assert_eq(pvt_script_get_ids(s, PV_MSG_STORED, NULL, ids), 1);
    cr_expect(pv_id_equal(&ids[0], &b[1].id), "the other one is here");
    pvt_script_body(s, want[0].stream, &b[0], 0);
    cr_expect(pvt_has_blob(h->v, &b[0]));
    cr_expect_eq(pvt_script_get_ids(s, PV_MSG_STORED, NULL, ids), 1);
    pvt_cut(net, s->link);
    pvt_net_run(net);
    pvt_assert_idle(h);
    free(s);
    for (size_t i = 0; i < 2; i++)
        pvt_blob_free(&b[i]);
    pvt_net_free(net);
}
