/* Records in sync: what is taken, what is refused, and that the sets become equal. */
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct pvt_nodes net;
static uint8_t message[PV_FRAME_PLAIN_MAX];

TestSuite(sync, .timeout = 240);

static struct pvt_node *node(unsigned i)
{
    return &net.nodes[i];
}

/* Not pending: as if it had been published before. */
static void write_file(unsigned i, const char *text, struct pvt_record *out)
{
    struct pvt_record scratch;
    out = out != NULL ? out : &scratch;
    pvt_seal_file(out, node(i), text, pvt_hlc(node(i)));
    pvt_put(node(i), out, false);
}

static void write_files(unsigned i, const char *prefix, unsigned count)
{
    char text[64];
    for (unsigned k = 0; k < count; k++) {
        (void)snprintf(text, sizeof text, "%s %u", prefix, k);
        write_file(i, text, NULL);
    }
}

static uint64_t record_count(unsigned i)
{
    struct pv_store_counts counts;
    cr_assert_eq(pv_store_counts(node(i)->store, &counts), PV_OK);
    return counts.records;
}

static void inject_record(unsigned from, unsigned to, const uint8_t *env, size_t len)
{
    struct pv_wr w = pv_wr_of(message, sizeof message);
    pv_msg_begin_records(&w);
    pv_msg_add_record(&w, env, len);
    cr_assert_eq(pv_wr_end(&w), PV_OK);
    pvt_inject(&net, from, to, message, pv_wr_len(&w));
}

static void two_connected(void)
{
    pvt_nodes_init(&net, 2);
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
    cr_assert(pvt_all_agree(&net));
}

/* ---- the exchange -------------------------------------------------------------------------- */

Test(sync, two_nodes_exchange)
{
    struct pvt_record a, b, tomb;
    pvt_nodes_init(&net, 2);
    write_file(0, "of a", &a);
    write_file(1, "of b", &b);
    pvt_connect_all(&net);
    pvt_settle(&net);
    cr_assert(pvt_has_record(node(1), &a));
    cr_assert(pvt_has_record(node(0), &b));
    pvt_advance(&net, 10000);
    cr_assert(pvt_all_agree(&net));

    pvt_seal_file(&tomb, node(0), "later", pvt_hlc(node(0)));
    pvt_put(node(0), &tomb, false);
    pv_publish_now(node(0)->node, tomb.env, tomb.len);
    pvt_settle(&net);
    cr_assert(pvt_has_record(node(1), &tomb), "broadcast at once");
    cr_assert_geq(node(1)->node->hlc, node(0)->node->hlc);
    pvt_nodes_release(&net);
}

Test(sync, one_who_was_away_catches_up)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        pvt_nodes_init(&net, 3);
        net.seed = seed;
        write_files(0, "a", 20);
        write_files(1, "b", 20);
        pvt_connect_all(&net);
        pvt_advance(&net, 20000);
        cr_assert(pvt_all_agree(&net), "seed %u", (unsigned)seed);
        pvt_cut(&net, 0, 2);
        pvt_cut(&net, 1, 2);
        pvt_settle(&net);
        write_files(0, "a later", 20);
        write_files(2, "c later", 20);
        pvt_advance(&net, 10000);
        pvt_connect_all(&net);
        pvt_advance(&net, 20000);
        cr_assert(pvt_all_agree(&net), "seed %u", (unsigned)seed);
        cr_assert_eq(record_count(2), 80 + 3);
        pvt_nodes_release(&net);
    }
}

/* What came by 1 reaches 2 although 0 and 2 never meet. */
Test(sync, records_travel_along_a_chain)
{
    struct pvt_record rec;
    pvt_nodes_init(&net, 3);
    (void)pvt_connect(&net, 0, 1);
    (void)pvt_connect(&net, 1, 2);
    pvt_advance(&net, 20000);
    pvt_seal_file(&rec, node(0), "far", pvt_hlc(node(0)));
    pvt_put(node(0), &rec, false);
    pv_publish_now(node(0)->node, rec.env, rec.len);
    pvt_advance(&net, 10000);
    cr_assert(pvt_has_record(node(2), &rec), "%s", net.log.text);
    pvt_nodes_release(&net);
}

static void put_many(unsigned nodes, struct pvt_record *recs, size_t count)
{
    static struct pv_commit_op ops[500];
    for (size_t at = 0; at < count; at += 500) {
        size_t n = count - at < 500 ? count - at : 500;
        memset(ops, 0, sizeof ops);
        for (size_t i = 0; i < n; i++) {
            ops[i].type = PV_COMMIT_RECORD;
            ops[i].u.record.env = recs[at + i].env;
            ops[i].u.record.len = recs[at + i].len;
        }
        for (unsigned k = 0; k < 2; k++)
            if ((nodes & 1U << k) != 0)
                pvt_commit(node(k), ops, n);
    }
}

Test(sync, ten_that_differ_of_five_thousand)
{
    enum { COUNT = 500, ROUNDS = 10 };
    struct pvt_record *recs = malloc(COUNT * sizeof *recs);
    char text[32];
    cr_assert_not_null(recs);
    two_connected();
    pvt_cut(&net, 0, 1);
    pvt_settle(&net);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            (void)snprintf(text, sizeof text, "%u/%u", round, i);
            pvt_seal_file(&recs[i], node(i % 2), text, pvt_hlc(node(i % 2)));
        }
        put_many(3, recs + 1, COUNT - 1);
        put_many(1U << round % 2, recs, 1); /* one in each round is known to one side only */
    }
    free(recs);
    cr_assert_not(pvt_same_digest(node(0), node(1)));
    uint64_t before = net.messages;
    pvt_connect_all(&net);
    pvt_settle(&net);
    cr_assert(pvt_same_digest(node(0), node(1)));
    /* 2 roots, 2 of buckets, 4 of members and their answers, and 4 a bucket that differs. */
    cr_assert_leq(net.messages - before, 8 + 10 * 5, "%u", (unsigned)(net.messages - before));
    pvt_advance(&net, 10000);
    cr_assert(pvt_all_agree(&net));
    cr_assert_eq(record_count(0), COUNT * ROUNDS + 2);
    pvt_nodes_release(&net);
}

/* More than the outbound buffers hold at once: sending waits for the link, and nothing is closed.
 */
Test(sync, large_records_are_sent_as_the_link_allows)
{
    char *text = malloc(4001);
    cr_assert_not_null(text);
    pvt_nodes_init(&net, 2);
    for (unsigned i = 0; i < 600; i++) {
        (void)snprintf(text, 4001, "%04000u", i);
        write_file(i % 2, text, NULL);
    }
    free(text);
    pvt_connect_all(&net);
    pvt_settle(&net);
    cr_assert_eq(node(0)->drops + node(1)->drops, 0);
    cr_assert(pvt_connected(&net, 0, 1));
    pvt_advance(&net, 10000);
    cr_assert(pvt_all_agree(&net));
    cr_assert_eq(record_count(0), 602);
    pvt_nodes_release(&net);
}

/* A peer that reads nothing: broadcasts to it stop, and a comparison makes up for them. */
Test(sync, broadcast_to_a_full_link_is_made_up_for)
{
    char *text = malloc(4001);
    struct pvt_record rec;
    cr_assert_not_null(text);
    two_connected();
    struct pvt_end *end = &net.links[net.link_count - 1].ends[1];
    end->paused = true;
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(text, 4001, "%04000u", i);
        pvt_seal_file(&rec, node(0), text, pvt_hlc(node(0)));
        pvt_put(node(0), &rec, false);
        pv_publish_now(node(0)->node, rec.env, rec.len);
    }
    free(text);
    cr_assert_leq(end->in_bytes, PV_SESSION_OUT_HIGH + PV_RECORD_LEN_MAX);
    end->paused = false;
    pvt_advance(&net, 20000);
    cr_assert(pvt_connected(&net, 0, 1));
    cr_assert(pvt_all_agree(&net));
    cr_assert_eq(record_count(1), 102);
    pvt_nodes_release(&net);
}

Test(sync, a_peer_may_vanish_at_any_step)
{
    pvt_nodes_init(&net, 2);
    char text[32];
    for (unsigned seed = 0; seed < 2; seed++) {
        net.seed = seed;
        for (unsigned steps = 1; steps < 90; steps++) {
            (void)snprintf(text, sizeof text, "%u/%u", seed, steps);
            write_files(0, text, 2);
            (void)snprintf(text, sizeof text, "%u:%u", seed, steps);
            write_files(1, text, 2);
            pvt_connect_all(&net);
            (void)pvt_steps(&net, steps);
            pvt_cut(&net, 0, 1);
            pvt_settle(&net);
        }
    }
    pvt_connect_all(&net);
    pvt_advance(&net, 20000);
    cr_assert(pvt_all_agree(&net));
    cr_assert_eq(record_count(0), 2 * 89 * 4 + 2);
    pvt_nodes_release(&net);
}

Test(sync, disagreement_that_never_ends_is_bounded)
{
    struct pvt_record rec;
    pvt_nodes_init(&net, 2);
    pvt_seal_file(&rec, node(0), "from the year 2100", UINT64_C(4102444800000) << 16);
    pvt_put(node(0), &rec, false);
    pvt_connect_all(&net);
    pvt_advance(&net, PV_SYNC_INTERVAL_MS - 1);
    uint64_t messages = net.messages;
    cr_assert_lt(messages, 200, "%u", (unsigned)messages);
    pvt_advance(&net, PV_SYNC_INTERVAL_MS);
    cr_assert_gt(net.messages, messages, "tried again in the next hour");
    cr_assert_lt(net.messages, 2 * messages);
    cr_assert_not(pvt_has_record(node(1), &rec));
    pvt_nodes_release(&net);
}

/* ---- what is taken ------------------------------------------------------------------------- */

Test(sync, record_from_the_future_is_held_back)
{
    struct pvt_record soon, later;
    two_connected();
    uint64_t wall = node(0)->env.wall_ms;
    pvt_seal_file(&soon, node(0), "soon", (wall + PV_HLC_AHEAD_MS) << 16);
    pvt_seal_file(&later, node(0), "later", (wall + PV_HLC_AHEAD_MS + 1) << 16);
    pvt_put(node(0), &soon, false);
    pvt_put(node(0), &later, false);
    pv_publish_now(node(0)->node, soon.env, soon.len);
    pv_publish_now(node(0)->node, later.env, later.len);
    pvt_settle(&net);
    cr_assert(pvt_has_record(node(1), &soon));
    cr_assert_not(pvt_has_record(node(1), &later));
    cr_assert(pvt_log_has(&net.log, "held back"));
    cr_assert(pvt_connected(&net, 0, 1));
    pvt_advance(&net, 10000);
    cr_assert(pvt_has_record(node(1), &later));
    cr_assert(pvt_all_agree(&net));
    pvt_nodes_release(&net);
}

static void seal_tombstone(struct pvt_record *out, unsigned i, const char *name, uint64_t age_ms)
{
    static uint8_t body[PV_RECORD_BODY_MAX];
    struct pv_record rec;
    pv_hlc hlc = (node(i)->env.wall_ms - age_ms) << 16;
    const struct pv_cluster_keys *keys = pv_keyring_active(&node(i)->keyring);
    struct pv_record_draft draft = {.type = PV_RECORD_NAME,
                                    .flags = PV_RECORD_TOMBSTONE,
                                    .hlc = hlc,
                                    .epoch = pv_epoch_of(node(i)->env.wall_ms),
                                    .body = body};
    struct pv_name_body nb = {.name = name, .name_len = strlen(name)};
    nb.author.hlc = hlc;
    nb.author.flags = PV_RECORD_TOMBSTONE;
    pv_rid_name(&draft.rid, keys, name, strlen(name));
    cr_assert_eq(pv_name_body_encode(body, &draft.body_len, &nb, node(i)->identity.seed), PV_OK);
    uint8_t salt[32] = {1};
    cr_assert_eq(pv_record_seal(out->env, &out->len, &draft, keys, node(i)->identity.seed, salt),
                 PV_OK);
    cr_assert_eq(pv_record_parse(&rec, out->env, out->len), PV_OK);
    out->hash = rec.hash;
    out->rid = rec.rid;
}

/* Before the first moment that is remembered, at it, behind it. */
Test(sync, expired_tombstones_are_not_kept)
{
    struct pvt_record before, at, behind;
    two_connected();
    uint64_t wall_ms = node(0)->env.wall_ms;
    uint64_t age_ms = wall_ms - pv_hlc_ms(pv_hlc_remembered(wall_ms));
    cr_assert_geq(age_ms, UINT64_C(90) * 86400000);
    cr_assert_lt(age_ms, UINT64_C(91) * 86400000);
    seal_tombstone(&before, 0, "before", age_ms + 1);
    seal_tombstone(&at, 0, "at", age_ms);
    seal_tombstone(&behind, 0, "behind", age_ms - 1);
    inject_record(0, 1, before.env, before.len);
    inject_record(0, 1, at.env, at.len);
    inject_record(0, 1, behind.env, behind.len);
    pvt_settle(&net);
    cr_assert_not(pvt_has_record(node(1), &before));
    cr_assert(pvt_has_record(node(1), &at));
    cr_assert(pvt_has_record(node(1), &behind));
    cr_assert(pvt_connected(&net, 0, 1));
    pvt_nodes_release(&net);
}

/* Somebody removed it while he was away for very long, and nobody wrote it since. */
Test(sync, expired_tombstones_remove_what_they_beat)
{
    struct pvt_record file, name, later, tomb;
    two_connected();
    const uint64_t day = UINT64_C(86400000);
    pv_hlc old = (node(1)->env.wall_ms - 100 * day) << 16;
    pvt_seal_file(&file, node(1), "text", old);
    pvt_seal_name(&name, node(1), "name", &file.rid, old);
    pvt_seal_name(&later, node(1), "later", &file.rid, (node(1)->env.wall_ms - 95 * day) << 16);
    pvt_put(node(1), &name, false);
    pvt_put(node(1), &later, false);
    seal_tombstone(&tomb, 0, "name", 97 * day);
    inject_record(0, 1, tomb.env, tomb.len);
    seal_tombstone(&tomb, 0, "later", 97 * day);
    inject_record(0, 1, tomb.env, tomb.len);
    pvt_settle(&net);
    cr_assert_not(pvt_has_record(node(1), &name));
    cr_assert(pvt_has_record(node(1), &later), "it was written behind the removal");
    cr_assert_not(pvt_has_record(node(1), &tomb));
    pvt_nodes_release(&net);
}

/* A full disk takes deletions, in whatever company they come. */
Test(sync, tombstone_among_records_that_have_no_room)
{
    struct pvt_record file, deletion;
    pvt_nodes_init(&net, 2);
    pvt_node_stop(node(1));
    node(1)->reserve_bytes = UINT64_C(1) << 62;
    pvt_node_start(node(1));
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
    cr_assert(pvt_all_agree(&net));
    pvt_seal_file(&file, node(0), "no room", pvt_hlc(node(0)));
    seal_tombstone(&deletion, 0, "deleted", 0);
    struct pv_wr w = pv_wr_of(message, sizeof message);
    pv_msg_begin_records(&w);
    pv_msg_add_record(&w, file.env, file.len);
    pv_msg_add_record(&w, deletion.env, deletion.len);
    pvt_inject(&net, 0, 1, message, pv_wr_len(&w));
    pvt_settle(&net);
    cr_assert(pvt_connected(&net, 0, 1));
    cr_assert_not(pvt_has_record(node(1), &file));
    cr_assert(pvt_has_record(node(1), &deletion));
    pvt_nodes_release(&net);
}

/* Their buckets are still being compared when it comes, and nothing comes after it. */
Test(sync, record_behind_buckets_is_taken)
{
    static const struct pv_bucket none[1];
    char text[16];
    two_connected();
    for (net.seed = 1; net.seed < 20; net.seed++) {
        struct pvt_record rec;
        (void)snprintf(text, sizeof text, "%u", (unsigned)net.seed);
        pvt_seal_file(&rec, node(0), text, pvt_hlc(node(0)));
        for (unsigned i = 0; i < 2; i++) {
            struct pv_wr w = pv_wr_of(message, sizeof message);
            pv_msg_put_digest_buckets(&w, (uint16_t)i, none, 1);
            pvt_inject(&net, 0, 1, message, pv_wr_len(&w));
        }
        inject_record(0, 1, rec.env, rec.len);
        pvt_settle(&net);
        cr_assert(pvt_has_record(node(1), &rec), "seed %s", text);
    }
    pvt_nodes_release(&net);
}

Test(sync, unknown_author_is_skipped_without_a_strike)
{
    struct pvt_record rec;
    pvt_nodes_init(&net, 3);
    (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    pvt_seal_file(&rec, node(2), "by a stranger", pvt_hlc(node(2)));
    inject_record(0, 1, rec.env, rec.len);
    pvt_settle(&net);
    cr_assert_not(pvt_has_record(node(1), &rec));
    cr_assert(pvt_connected(&net, 0, 1));
    (void)pvt_connect(&net, 1, 2);
    pvt_settle(&net);
    inject_record(0, 1, rec.env, rec.len);
    pvt_settle(&net);
    cr_assert(pvt_has_record(node(1), &rec), "known by now");
    pvt_nodes_release(&net);
}

/* Breaks one byte of a record and expects the session to end, or to stay. */
static void inject_broken(const struct pvt_record *rec, size_t offset, bool ends)
{
    struct pvt_record bad = *rec;
    if (!pvt_connected(&net, 0, 1))
        (void)pvt_connect(&net, 0, 1);
    pvt_settle(&net);
    bad.env[offset] ^= 1;
    pvt_forgive(&net, 1);
    net.nodes[1].last_goodbye = 0;
    inject_record(0, 1, bad.env, bad.len);
    pvt_settle(&net);
    cr_assert_eq(pvt_connected(&net, 0, 1), !ends, "offset %zu", offset);
    if (ends)
        cr_assert_eq(node(1)->last_goodbye, PV_BYE_PROTOCOL);
}

Test(sync, bad_signature_ends_the_session)
{
    struct pvt_record rec;
    two_connected();
    pvt_seal_file(&rec, node(0), "good once", pvt_hlc(node(0)));
    inject_broken(&rec, 0, true);           /* magic */
    inject_broken(&rec, 40, true);          /* rid */
    inject_broken(&rec, 72, true);          /* author */
    inject_broken(&rec, 200, true);         /* ciphertext */
    inject_broken(&rec, rec.len - 1, true); /* signature */
    cr_assert(pvt_log_has(&net.log, "wrong signature"));
    pvt_nodes_release(&net);
}

Test(sync, malformed_record_messages_end_the_session)
{
    static const uint8_t short_length[] = {PV_MSG_RECORD, 0, 0, 1};
    static const uint8_t beyond_end[] = {PV_MSG_RECORD, 0, 0, 1, 0, 1, 2, 3};
    static const uint8_t huge[] = {PV_MSG_RECORD, 0xff, 0xff, 0xff, 0xff};
    const struct {
        const uint8_t *bytes;
        size_t len;
    } cases[] = {
        {short_length, sizeof short_length}, {beyond_end, sizeof beyond_end}, {huge, sizeof huge}};
    pvt_nodes_init(&net, 2);
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        (void)pvt_connect(&net, 0, 1);
        pvt_settle(&net);
        pvt_inject(&net, 0, 1, cases[i].bytes, cases[i].len);
        pvt_settle(&net);
        cr_assert_not(pvt_connected(&net, 0, 1), "case %zu", i);
    }
    pvt_nodes_release(&net);
}

/* Signed, but its inside is not what the outside says: the author's fault, not the sender's. */
Test(sync, record_under_a_wrong_rid_is_skipped)
{
    static uint8_t body[PV_RECORD_BODY_MAX];
    struct pvt_record rec;
    uint8_t salt[32] = {2};
    two_connected();
    struct pv_file_body fb = {.size = 1, .is_inline = true, .data = (const uint8_t *)"x"};
    struct pv_record_draft draft = {.type = PV_RECORD_FILE,
                                    .hlc = pvt_hlc(node(0)),
                                    .epoch = pv_epoch_of(node(0)->env.wall_ms),
                                    .body = body};
    memset(draft.rid.b, 7, PV_ID_LEN);
    cr_assert_eq(pv_file_body_encode(body, &draft.body_len, &fb, node(0)->identity.seed), PV_OK);
    cr_assert_eq(pv_record_seal(rec.env, &rec.len, &draft, pv_keyring_active(&node(0)->keyring),
                                node(0)->identity.seed, salt),
                 PV_OK);
    uint64_t before = record_count(1);
    inject_record(0, 1, rec.env, rec.len);
    pvt_settle(&net);
    cr_assert_eq(record_count(1), before);
    cr_assert(pvt_connected(&net, 0, 1));
    cr_assert(pvt_log_has(&net.log, "malformed record"));
    pvt_nodes_release(&net);
}

/* Rotation: a member may write under a key that has not reached us. */
Test(sync, record_under_an_unknown_key_is_kept)
{
    struct pvt_record rec;
    struct pv_keyring mine;
    uint8_t key[PV_KEY_LEN] = {9, 8, 7};
    two_connected();
    mine = node(0)->keyring;
    cr_assert_eq(pv_keyring_add_cluster_key(&node(0)->keyring, key, 1700000001), PV_OK);
    pvt_seal_file(&rec, node(0), "under a newer key", pvt_hlc(node(0)));
    node(0)->keyring = mine;
    inject_record(0, 1, rec.env, rec.len);
    pvt_settle(&net);
    cr_assert(pvt_has_record(node(1), &rec));
    pvt_nodes_release(&net);
}

Test(sync, index_of_names_and_prefixes)
{
    struct pvt_record file, name;
    struct pv_id rids[4], key;
    size_t count;
    pvt_nodes_init(&net, 2);
    write_file(0, "named", &file);
    pvt_seal_name(&name, node(0), "its name", &file.rid, pvt_hlc(node(0)));
    pvt_put(node(0), &name, false);
    pvt_connect_all(&net);
    pvt_settle(&net);
    cr_assert_eq(pv_store_names_of(node(1)->store, &file.rid, rids, 4, &count), PV_OK);
    cr_assert_eq(count, 1);
    cr_assert(pv_id_equal(&rids[0], &name.rid));
    pv_sha256(key.b, "named", 5);
    uint64_t tag = pv_key_prefix_tag(pv_keyring_active(&node(1)->keyring), key.b);
    cr_assert_eq(pv_store_by_prefix(node(1)->store, tag, rids, 4, &count), PV_OK);
    cr_assert_eq(count, 1);
    cr_assert(pv_id_equal(&rids[0], &file.rid));
    pvt_nodes_release(&net);
}

static void seal_clear(struct pvt_record *out, unsigned author, uint8_t type, struct pv_id rid,
                       const uint8_t *body, size_t body_len)
{
    static const uint8_t salt[32];
    struct pv_record rec;
    struct pv_record_draft draft = {.type = type,
                                    .flags = PV_RECORD_CLEAR,
                                    .rid = rid,
                                    .hlc = pvt_hlc(node(author)),
                                    .body = body,
                                    .body_len = body_len};
    cr_assert_eq(
        pv_record_seal(out->env, &out->len, &draft, NULL, node(author)->identity.seed, salt),
        PV_OK);
    cr_assert_eq(pv_record_parse(&rec, out->env, out->len), PV_OK);
    out->hash = rec.hash;
}

Test(sync, types_of_later_versions_are_kept_and_sent_on)
{
    struct pvt_record rec;
    struct pv_id rid = {{3}};
    pvt_nodes_init(&net, 3);
    (void)pvt_connect(&net, 0, 1);
    (void)pvt_connect(&net, 1, 2);
    pvt_advance(&net, 20000);
    seal_clear(&rec, 0, 77, rid, (const uint8_t *)"future", 6);
    inject_record(0, 1, rec.env, rec.len);
    pvt_advance(&net, 10000);
    cr_assert(pvt_has_record(node(1), &rec));
    cr_assert(pvt_has_record(node(2), &rec));
    pvt_nodes_release(&net);
}

Test(sync, addresses_are_their_owners_statement)
{
    static uint8_t body[PV_RECORD_BODY_MAX];
    struct pvt_record own, foreign;
    struct pv_address_body ab = {.capacity_bytes = 1, .count = 1};
    struct pv_id rid;
    size_t len;
    pvt_nodes_init(&net, 3);
    pvt_connect_all(&net);
    pvt_advance(&net, 20000);
    (void)snprintf(ab.addresses[0], sizeof ab.addresses[0], "127.0.0.1:3000");
    memcpy(ab.subject, node(0)->identity.pub, PV_PUB_LEN);
    cr_assert_eq(pv_address_body_encode(body, &len, &ab), PV_OK);
    pv_rid_clear(&rid, PV_RECORD_ADDRESS, node(0)->identity.node_id.b, PV_ID_LEN);
    seal_clear(&own, 0, PV_RECORD_ADDRESS, rid, body, len);
    seal_clear(&foreign, 2, PV_RECORD_ADDRESS, rid, body, len);
    inject_record(0, 1, own.env, own.len);
    inject_record(2, 1, foreign.env, foreign.len);
    pvt_settle(&net);
    cr_assert(pvt_has_record(node(1), &own));
    cr_assert_not(pvt_has_record(node(1), &foreign));
    pvt_nodes_release(&net);
}

Test(sync, member_records_of_another_subject_are_refused)
{
    struct pvt_record rec;
    struct pv_record parsed;
    struct pv_id rid = {{5}};
    two_connected();
    pvt_seal_member(&rec, node(0), node(1), 3, true, pvt_hlc(node(0)));
    cr_assert_eq(pv_record_parse(&parsed, rec.env, rec.len), PV_OK);
    seal_clear(&rec, 0, PV_RECORD_MEMBER, rid, parsed.body, parsed.body_len);
    inject_record(0, 1, rec.env, rec.len);
    pvt_settle(&net);
    cr_assert_not(pvt_has_record(node(1), &rec));
    cr_assert_eq(pv_members_active(node(1)->node), 2);
    pvt_nodes_release(&net);
}
