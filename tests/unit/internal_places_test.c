/* Blobs go where they belong, between real nodes: owners, substitutes, and nobody else. */
#include "tests/unit/internal_blobs_fixture.h"

#include "internal/node/clear_records.h"

__attribute__((weak)) atomic_int pvt_fatal_count;

TestSuite(places, .timeout = 120);

enum { BLOBS = 400, REPAIR_AFTER_MS = 60000 };

struct cluster {
    struct pvt_net *net;
    struct pvt_blob *blobs;
    pv_link links[PVT_NODES_MAX][PVT_NODES_MAX];
};

static void connect_one(struct cluster *c, size_t i, size_t among)
{
    for (size_t k = 0; k < among; k++)
        if (k != i && (c->links[i][k] == 0 || !pvt_conn_of(c->net, c->links[i][k])->up))
            c->links[i][k] = c->links[k][i] =
                pvt_connect(c->net, &c->net->host[i], &c->net->host[k]);
    pvt_net_run(c->net);
}

static void cut_one(struct cluster *c, size_t i)
{
    for (size_t k = 0; k < c->net->count; k++)
        if (k != i && c->links[i][k] != 0)
            pvt_cut(c->net, c->links[i][k]);
    pvt_net_run(c->net);
}

/* So many nodes, the first `connected` of them one cluster. */
static struct cluster *cluster_new(size_t nodes, size_t connected)
{
    struct cluster *c = calloc(1, sizeof *c);
    c->net = pvt_net_new(nodes);
    for (size_t i = 0; i < nodes; i++)
        c->net->host[i].node->config.repair_after_ms = REPAIR_AFTER_MS;
    for (size_t i = 0; i < connected; i++)
        connect_one(c, i, connected);
    c->blobs = pvt_blobs_new(BLOBS);
    return c;
}

static void cluster_free(struct cluster *c)
{
    pvt_blobs_free(c->blobs, BLOBS);
    pvt_net_free(c->net);
    free(c);
}

/* Long enough for all holders to have had their turn. */
static void let_them_work(struct cluster *c)
{
    for (size_t i = 0; i < 2 * PVT_NODES_MAX; i++)
        pvt_net_advance(c->net, PV_PUSH_RANK_MS);
}

static void forget_traffic(struct cluster *c)
{
    for (size_t i = 0; i < c->net->count; i++)
        c->net->host[i].bodies_in = 0;
}

/* The nodes' own places, as bits of host numbers: owners, and who should have a copy now. */
static void places_of(const struct cluster *c, size_t seen_by, const struct pv_id *id,
                      uint64_t *owners, uint64_t *targets)
{
    struct pv_places p;
    struct pv_place place;
    struct pv_blob_info blob = {.id = *id, .kind = PV_BLOB_CHUNK};
    unsigned index;
    pv_places_now(c->net->host[seen_by].node, &p);
    pv_places_find(&p, &blob, &place);
    *owners = *targets = 0;
    for (size_t i = 0; i < c->net->count; i++) {
        if (!pv_placement_find(&p.table, &c->net->host[i].identity.node_id, &index))
            continue;
        *owners |= (place.owners >> index & 1) << i;
        *targets |= (place.targets >> index & 1) << i;
    }
}

static uint64_t who_has(struct cluster *c, const struct pvt_blob *b)
{
    uint64_t set = 0;
    for (size_t i = 0; i < c->net->count; i++)
        set |= (uint64_t)pvt_has_blob(c->net->host[i].v, b) << i;
    return set;
}

static size_t all_bodies(const struct cluster *c)
{
    size_t sum = 0;
    for (size_t i = 0; i < c->net->count; i++)
        sum += c->net->host[i].bodies_in;
    return sum;
}

Test(places, three_of_five_keep_a_blob)
{
    struct cluster *c = cluster_new(5, 5);
    size_t expected = 0;
    pvt_put_many(&c->net->host[0], c->blobs, BLOBS);
    pv_push_kick(c->net->host[0].node);
    let_them_work(c);
    for (size_t i = 0; i < BLOBS; i++) {
        uint64_t owners, targets, has = who_has(c, &c->blobs[i]);
        places_of(c, i % 5, &c->blobs[i].id, &owners, &targets);
        cr_assert_eq(__builtin_popcountll(owners), 3);
        cr_assert_eq(targets, owners);
        cr_assert_eq(has, owners | 1, "the owners, and who wrote it");
        expected += (size_t)__builtin_popcountll(owners & ~UINT64_C(1));
    }
    cr_expect_eq(all_bodies(c), expected, "each copy travels once");
    for (size_t i = 0; i < 5; i++)
        pvt_assert_idle(&c->net->host[i]);
    cluster_free(c);
}

Test(places, a_new_member_gets_its_share_and_nobody_else_anything)
{
    struct cluster *c = cluster_new(5, 4);
    size_t share = 0;
    pvt_put_many(&c->net->host[0], c->blobs, BLOBS);
    pv_push_kick(c->net->host[0].node);
    let_them_work(c);
    forget_traffic(c);
    connect_one(c, 4, 5);
    let_them_work(c);
    for (size_t i = 0; i < BLOBS; i++) {
        uint64_t owners, targets;
        places_of(c, 1, &c->blobs[i].id, &owners, &targets);
        cr_assert_eq(pvt_has_blob(c->net->host[4].v, &c->blobs[i]), owners >> 4 & 1);
        share += owners >> 4 & 1;
    }
    cr_expect_gt(share, BLOBS / 2);
    cr_expect_eq(c->net->host[4].bodies_in, share);
    cr_expect_eq(all_bodies(c), share);
    cluster_free(c);
}

static void expect_live_copies(struct cluster *c, uint64_t live, int copies)
{
    for (size_t i = 0; i < BLOBS; i++)
        cr_assert_geq(__builtin_popcountll(who_has(c, &c->blobs[i]) & live), copies);
}

Test(places, a_member_long_away_is_substituted_and_gets_nothing_anew_when_it_returns)
{
    struct cluster *c = cluster_new(5, 5);
    size_t lost = 0;
    pvt_put_many(&c->net->host[0], c->blobs, BLOBS);
    pv_push_kick(c->net->host[0].node);
    let_them_work(c);
    for (size_t i = 0; i < BLOBS; i++) {
        uint64_t owners, targets;
        places_of(c, 0, &c->blobs[i].id, &owners, &targets);
        lost += owners >> 4 & 1; /* at most: host 0 may have an extra one already */
    }
    forget_traffic(c);
    cut_one(c, 4);
    pvt_net_advance(c->net, REPAIR_AFTER_MS / 2);
    cr_expect_eq(all_bodies(c), 0, "it may come back");
    pvt_net_advance(c->net, REPAIR_AFTER_MS / 2 + 1);
    let_them_work(c);
    expect_live_copies(c, 0xf, 3);
    cr_expect_gt(all_bodies(c), lost / 2);
    cr_expect_leq(all_bodies(c), lost);
    forget_traffic(c);
    connect_one(c, 4, 5);
    let_them_work(c);
    cr_expect_eq(all_bodies(c), 0);
    for (size_t i = 0; i < BLOBS; i++) {
        uint64_t owners, targets;
        places_of(c, 0, &c->blobs[i].id, &owners, &targets);
        cr_assert_eq(owners, targets, "no substitutes any more");
    }
    cluster_free(c);
}

Test(places, a_full_owner_is_substituted_until_it_has_room)
{
    struct cluster *c = cluster_new(4, 4);
    struct pv_store *full = c->net->host[3].v->store;
    pv_store_limit(full, 1);
    pvt_put_many(&c->net->host[0], c->blobs, BLOBS);
    pv_push_kick(c->net->host[0].node);
    let_them_work(c);
    cr_expect_eq(pvt_count_here(&c->net->host[3], c->blobs, BLOBS), 0);
    expect_live_copies(c, 0x7, 3);
    pv_store_limit(full, 0);
    forget_traffic(c);
    for (size_t i = 0; i < 4; i++)
        pvt_net_advance(c->net, PV_PUSH_AGAIN_MS);
    let_them_work(c);
    for (size_t i = 0; i < BLOBS; i++) {
        uint64_t owners, targets;
        places_of(c, 0, &c->blobs[i].id, &owners, &targets);
        cr_assert_eq(owners, targets);
        cr_assert_eq(owners & ~who_has(c, &c->blobs[i]), 0);
    }
    cr_expect_eq(all_bodies(c), c->net->host[3].bodies_in);
    cluster_free(c);
}

/* ---- the records ---- */

static void set_member(struct pvt_host *h, const struct pvt_host *about, bool stale, bool expelled)
{
    struct pv_member_body body = {
        .generation = 1, .role = PV_ROLE_KEYED, .weight = 1, .stale = stale, .expelled = expelled};
    const struct pv_clear_draft draft = {.member = &body, .hlc = pv_hlc_next(0, h->v->env.wall_ms)};
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    uint8_t *env = malloc(PV_RECORD_LEN_MAX);
    memcpy(body.subject, about->identity.pub, PV_PUB_LEN);
    cr_assert_eq(pv_clear_record_seal(env, &op.u.record.len, &draft, &h->identity), PV_OK);
    op.u.record.env = env;
    cr_assert_eq(pvt_commit(h->v, &op, 1), PV_OK);
    pv_members_changed(h->node, env, op.u.record.len);
    pv_publish_now(h->node, env, op.u.record.len);
    free(env);
    pvt_net_run(h->net);
}

Test(places, the_share_of_a_stale_member_goes_elsewhere_and_comes_from_it)
{
    struct cluster *c = cluster_new(4, 4);
    struct pvt_host *leaving = &c->net->host[3];
    for (size_t i = 0; i < 4; i++)
        c->net->host[i].node->config.replicas = 1; /* what it has, nobody else has */
    pvt_put_many(leaving, c->blobs, BLOBS);
    pv_push_kick(leaving->node);
    let_them_work(c);
    forget_traffic(c);
    set_member(&c->net->host[0], leaving, true, false);
    let_them_work(c);
    expect_live_copies(c, 0x7, 1);
    cr_expect_eq(leaving->bodies_in, 0);
    cr_expect_lt(all_bodies(c), BLOBS / 2, "the others keep what they have");
    cr_expect_gt(all_bodies(c), BLOBS / 8);
    cluster_free(c);
}

Test(places, what_an_expelled_member_kept_is_made_again_from_the_others)
{
    struct cluster *c = cluster_new(4, 4);
    pvt_put_many(&c->net->host[0], c->blobs, BLOBS);
    pv_push_kick(c->net->host[0].node);
    let_them_work(c);
    set_member(&c->net->host[0], &c->net->host[3], false, true);
    let_them_work(c);
    for (size_t i = 0; i < BLOBS; i++)
        cr_assert_eq(who_has(c, &c->blobs[i]) & 7, 7, "three members, three copies");
    cluster_free(c);
}

Test(places, a_tree_node_is_kept_by_every_keyed_member)
{
    struct cluster *c = cluster_new(5, 5);
    struct pvt_host *h = &c->net->host[0];
    struct pv_commit_op op = {.type = PV_COMMIT_BLOB};
    op.u.blob.id = c->blobs[0].id;
    op.u.blob.kind = PV_BLOB_NODE;
    op.u.blob.bytes = c->blobs[0].bytes;
    op.u.blob.len = c->blobs[0].len;
    cr_assert_eq(pvt_commit(h->v, &op, 1), PV_OK);
    pv_push_kick(h->node);
    let_them_work(c);
    cr_expect_eq(who_has(c, &c->blobs[0]), 0x1f);
    cluster_free(c);
}

/* It has lost one without knowing: within a month it is asked for it. */
Test(places, audit_finds_what_a_member_has_lost)
{
    enum { DAY_MS = 24 * 3600 * 1000 };
    struct cluster *c = cluster_new(2, 2);
    struct pvt_host *h = &c->net->host[1];
    struct pv_audit_state state;
    struct pv_commit_op op = {.type = PV_COMMIT_EXPIRE};
    pvt_put_many(&c->net->host[0], c->blobs, BLOBS);
    pv_push_kick(c->net->host[0].node);
    let_them_work(c);
    cr_assert_eq(pvt_commit(h->v, &op, 1), PV_OK);
    op = (struct pv_commit_op){.type = PV_COMMIT_SWEEP};
    op.u.sweep.ids = &c->blobs[7].id;
    op.u.sweep.count = 1;
    op.u.sweep.record_seq = UINT32_MAX;
    cr_assert_eq(pvt_commit(h->v, &op, 1), PV_OK);
    cr_assert_not(pvt_has_blob(h->v, &c->blobs[7]));
    cr_assert_eq(pvt_count_held(&c->net->host[0], h, c->blobs, BLOBS), BLOBS);
    for (size_t day = 0; day < PV_AUDIT_SLICES; day++)
        pvt_net_advance(c->net, DAY_MS);
    cr_expect(pvt_has_blob(h->v, &c->blobs[7]));
    cr_assert_eq(pv_audit_load(c->net->host[0].v->store, &h->identity.node_id, &state), PV_OK);
    cr_expect(state.slice == 0 && state.whole_ms == c->net->host[0].v->env.wall_ms);
    cluster_free(c);
}
