/* Publishing: when records leave, when they stop being pending, and what waiters are told. */
#include "internal/node/pending.h"
#include "tests/support/node/nodes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct pvt_nodes net;

TestSuite(publish, .timeout = 120);

struct waiter {
    struct pv_copies_wait wait;
    unsigned copies, calls;
};

static struct pvt_node *node(unsigned i)
{
    return &net.nodes[i];
}

static void on_progress(struct pv_copies_wait *wait, unsigned copies)
{
    struct waiter *w = PV_CONTAINER_OF(wait, struct waiter, wait);
    cr_assert_gt(copies, w->copies);
    w->copies = copies;
    w->calls++;
}

static void wait_for(struct waiter *w, unsigned i, const struct pvt_record *rec, unsigned want)
{
    *w = (struct waiter){
        .wait = {
            .file_rid = rec->rid, .record_hash = rec->hash, .want = want, .progress = on_progress}};
    pv_publish_wait(node(i)->node, &w->wait);
}

/* What ingest does once everything is committed. */
static void publish(unsigned i, const struct pvt_record *file, const struct pvt_record *name)
{
    pvt_put(node(i), file, true);
    if (name != NULL)
        pvt_put(node(i), name, true);
    pv_publish_file(node(i)->node, &file->rid, &file->hash, name != NULL ? &name->rid : NULL);
}

static void connected(unsigned count)
{
    pvt_nodes_init(&net, count);
    pvt_connect_all(&net);
    pvt_advance(&net, 20000);
    cr_assert(pvt_all_agree(&net));
}

/* The member says that it holds the blob: the op that push commits then. */
static void say_held(unsigned by, const struct pv_entry *e, unsigned holder)
{
    struct pv_commit_op op = {.type = PV_COMMIT_HELD};
    op.u.held.node_id = node(holder)->identity.node_id;
    op.u.held.ids = &e->id;
    op.u.held.count = 1;
    op.u.held.held = true;
    pvt_commit(node(by), &op, 1);
    pv_publish_on_held(node(by)->node);
    pvt_settle(&net);
}

static size_t queued(unsigned i)
{
    return node(i)->node->publish->by_rid.count;
}

/* ---- inline files -------------------------------------------------------------------------- */

Test(publish, alone_at_once)
{
    struct pvt_record file, name;
    struct waiter one, two;
    pvt_nodes_init(&net, 1);
    pvt_seal_file(&file, node(0), "alone", pvt_hlc(node(0)));
    pvt_seal_name(&name, node(0), "its name", &file.rid, pvt_hlc(node(0)));
    publish(0, &file, &name);
    wait_for(&one, 0, &file, 1);
    cr_assert_eq(one.calls, 1, "before it returned");
    cr_assert_eq(one.copies, 1);
    wait_for(&two, 0, &file, 2);
    pvt_settle(&net);
    cr_assert_not(pvt_is_pending(node(0), &file.rid));
    cr_assert_not(pvt_is_pending(node(0), &name.rid));
    cr_assert_eq(two.calls, 0);
    pv_publish_wait_cancel(&two.wait);
    pv_publish_wait_cancel(&two.wait);
    pv_publish_wait_cancel(&one.wait);
    pvt_nodes_release(&net);
}

Test(publish, inline_file_with_its_name)
{
    struct pvt_record file, name;
    struct waiter w;
    connected(2);
    pvt_seal_file(&file, node(0), "inline", pvt_hlc(node(0)));
    pvt_seal_name(&name, node(0), "its name", &file.rid, pvt_hlc(node(0)));
    publish(0, &file, &name);
    wait_for(&w, 0, &file, 2);
    cr_assert(pvt_is_pending(node(0), &file.rid));
    pvt_settle(&net);
    cr_assert(pvt_has_record(node(1), &file));
    cr_assert(pvt_has_record(node(1), &name));
    cr_assert_not(pvt_is_pending(node(0), &file.rid));
    cr_assert_not(pvt_is_pending(node(0), &name.rid));
    cr_assert_eq(w.copies, 2);
    cr_assert_eq(w.calls, 1);
    cr_assert_not(pv_list_linked(&w.wait.link), "removed when reached");
    cr_assert_eq(queued(0), 0);
    pvt_advance(&net, 10000);
    cr_assert(pvt_all_agree(&net));
    pvt_nodes_release(&net);
}

Test(publish, waiter_follows_the_copies)
{
    struct pvt_record file;
    struct waiter three, four;
    connected(3);
    pvt_cut(&net, 0, 2);
    pvt_settle(&net);
    pvt_seal_file(&file, node(0), "three copies", pvt_hlc(node(0)));
    publish(0, &file, NULL);
    wait_for(&three, 0, &file, 3);
    wait_for(&four, 0, &file, 4);
    pvt_settle(&net);
    cr_assert_eq(three.copies, 2);
    cr_assert_not(pvt_is_pending(node(0), &file.rid), "one other is enough for that");
    pvt_connect_all(&net);
    pvt_advance(&net, 10000);
    cr_assert_eq(three.copies, 3);
    cr_assert_eq(three.calls, 2);
    cr_assert_not(pv_list_linked(&three.wait.link));
    cr_assert(pv_list_linked(&four.wait.link), "there is no fourth member");
    pv_publish_wait_cancel(&four.wait);
    pvt_nodes_release(&net);
}

/* Somebody waits for a file that was published before: its record is sent again to be counted. */
Test(publish, waiter_for_what_was_published)
{
    struct pvt_record file;
    struct waiter w;
    connected(2);
    pvt_seal_file(&file, node(0), "known", pvt_hlc(node(0)));
    publish(0, &file, NULL);
    pvt_settle(&net);
    cr_assert_eq(queued(0), 0);
    wait_for(&w, 0, &file, 2);
    pvt_settle(&net);
    cr_assert_eq(w.copies, 2);
    cr_assert_eq(queued(0), 0);
    pvt_nodes_release(&net);
}

static struct pvt_record chained;
static struct waiter chained_waiter;

/* A client that starts another upload of the same file from inside of the call. */
static void publish_more(struct pv_copies_wait *wait, unsigned copies)
{
    on_progress(wait, copies);
    if (chained_waiter.wait.progress != NULL)
        return;
    pvt_seal_file(&chained, node(0), "again", pvt_hlc(node(0)));
    publish(0, &chained, NULL);
    wait_for(&chained_waiter, 0, &chained, 2);
}

Test(publish, from_inside_of_progress)
{
    struct pvt_record file;
    struct waiter w;
    connected(2);
    pvt_seal_file(&file, node(0), "again", pvt_hlc(node(0)));
    publish(0, &file, NULL);
    wait_for(&w, 0, &file, 2);
    w.wait.progress = publish_more;
    pvt_settle(&net);
    cr_assert_eq(w.copies, 2);
    cr_assert_eq(chained_waiter.copies, 2);
    cr_assert(pvt_has_record(node(1), &chained));
    cr_assert_not(pvt_is_pending(node(0), &chained.rid));
    cr_assert_eq(queued(0), 0);
    pvt_nodes_release(&net);
}

/* ---- files with blobs ---------------------------------------------------------------------- */

Test(publish, record_waits_for_the_copies_of_its_blob)
{
    struct pvt_record file, name;
    struct pv_entry chunk;
    struct waiter w;
    connected(2);
    pvt_put_blob(node(0), "the content of the file", &chunk);
    pvt_seal_file_root(&file, node(0), &chunk, pvt_hlc(node(0)));
    pvt_seal_name(&name, node(0), "its name", &file.rid, pvt_hlc(node(0)));
    publish(0, &file, &name);
    wait_for(&w, 0, &file, 2);
    pvt_advance(&net, 60000); /* push was not told of the blob */
    cr_assert_not(pvt_has_record(node(1), &file));
    cr_assert_not(pvt_has_record(node(1), &name));
    cr_assert(pvt_is_pending(node(0), &file.rid));
    cr_assert_eq(w.calls, 0);

    pv_push_kick(node(0)->node);
    while (!pvt_has_record(node(1), &file) && pvt_step(&net)) {
    }
    struct pv_blob_info info;
    cr_assert_eq(pv_store_blob(node(1)->store, &chunk.id, &info), PV_OK, "the blob is there first");
    pvt_settle(&net);
    cr_assert(pvt_has_record(node(1), &name));
    cr_assert_not(pvt_is_pending(node(0), &file.rid));
    cr_assert_eq(w.copies, 2);
    pvt_nodes_release(&net);
}

static void put_node(unsigned i, const struct pv_entry *children, size_t count,
                     struct pv_entry *out)
{
    struct pv_blob_sealed sealed;
    size_t len = count * PV_ENTRY_LEN;
    uint8_t *buf = malloc(pv_blob_len(len));
    cr_assert_not_null(buf);
    out->length = 0;
    for (size_t k = 0; k < count; k++) {
        pv_entry_encode(buf + PV_BLOB_PAYLOAD_OFFSET + k * PV_ENTRY_LEN, &children[k]);
        out->length += children[k].length;
    }
    cr_assert_eq(pv_blob_seal(&sealed, pv_keyring_active(&node(i)->keyring), 0, PV_BLOB_NODE, buf,
                              len, NULL),
                 PV_OK);
    out->id = sealed.id;
    out->kind = PV_BLOB_NODE;
    memcpy(out->dk, sealed.dk, PV_KEY_LEN);
    struct pv_commit_op op = {.type = PV_COMMIT_BLOB};
    op.u.blob.id = sealed.id;
    op.u.blob.kind = PV_BLOB_NODE;
    op.u.blob.bytes = buf;
    op.u.blob.len = sealed.blob_len;
    pvt_commit(node(i), &op, 1);
    free(buf);
}

/* root -> { node a -> 3 chunks, node b -> 3 chunks }: each blob in turn is the last one missing. */
Test(publish, every_blob_of_a_tree_counts)
{
    enum { BLOBS = 9 };
    struct pv_entry all[BLOBS];
    char text[32];
    connected(2);
    for (unsigned missing = 0; missing < BLOBS; missing++) {
        struct pvt_record file;
        for (unsigned k = 0; k < 6; k++) {
            (void)snprintf(text, sizeof text, "chunk %u of %u", k, missing);
            pvt_put_blob(node(0), text, &all[k]);
        }
        put_node(0, all, 3, &all[6]);
        put_node(0, all + 3, 3, &all[7]);
        put_node(0, all + 6, 2, &all[8]);
        pvt_seal_file_root(&file, node(0), &all[8], pvt_hlc(node(0)));
        publish(0, &file, NULL);
        for (unsigned k = 0; k < BLOBS; k++)
            if (k != missing)
                say_held(0, &all[k], 1);
        cr_assert(pvt_is_pending(node(0), &file.rid), "%u", missing);
        cr_assert_not(pvt_has_record(node(1), &file));
        say_held(0, &all[missing], 1);
        cr_assert_not(pvt_is_pending(node(0), &file.rid), "%u", missing);
        cr_assert(pvt_has_record(node(1), &file));
    }
    pvt_nodes_release(&net);
}

/* More entries than one check looks at. */
Test(publish, wide_tree_is_walked_in_parts)
{
    enum { CHUNKS = 2 * PV_SCAN_ROWS_MAX + 5 };
    struct pv_entry *chunks = calloc(CHUNKS, sizeof *chunks), root;
    struct pvt_record file;
    struct waiter w;
    connected(3);
    pvt_put_blob(node(0), "the same chunk, many times", &chunks[0]);
    for (unsigned i = 1; i < CHUNKS; i++)
        chunks[i] = chunks[0];
    put_node(0, chunks, CHUNKS, &root);
    pvt_seal_file_root(&file, node(0), &root, pvt_hlc(node(0)));
    publish(0, &file, NULL);
    wait_for(&w, 0, &file, 3);
    say_held(0, &root, 1);
    cr_assert(pvt_is_pending(node(0), &file.rid));
    say_held(0, &chunks[0], 1);
    cr_assert_not(pvt_is_pending(node(0), &file.rid));
    cr_assert_eq(w.copies, 2, "three have the record, two the blobs");
    say_held(0, &root, 2);
    say_held(0, &chunks[0], 2);
    cr_assert_eq(w.copies, 3);
    free(chunks);
    pvt_nodes_release(&net);
}

Test(publish, copies_of_expelled_members_do_not_count)
{
    struct pvt_record file, out;
    struct pv_entry chunk;
    connected(3);
    pvt_seal_member(&out, node(0), node(2), 1, true, pvt_hlc(node(0)));
    pvt_put(node(0), &out, false);
    pv_members_changed(node(0)->node, out.env, out.len);
    pvt_settle(&net);
    pvt_put_blob(node(0), "held by one who had to go", &chunk);
    say_held(0, &chunk, 2);
    pvt_seal_file_root(&file, node(0), &chunk, pvt_hlc(node(0)));
    publish(0, &file, NULL);
    pvt_settle(&net);
    cr_assert(pvt_is_pending(node(0), &file.rid));
    say_held(0, &chunk, 1);
    cr_assert_not(pvt_is_pending(node(0), &file.rid));
    pvt_nodes_release(&net);
}

/* The only other member is expelled: nothing is left to wait for. */
Test(publish, last_other_member_goes)
{
    struct pvt_record file, out;
    struct pv_entry chunk;
    connected(2);
    pvt_cut(&net, 0, 1);
    pvt_settle(&net);
    pvt_put_blob(node(0), "content", &chunk);
    pvt_seal_file_root(&file, node(0), &chunk, pvt_hlc(node(0)));
    publish(0, &file, NULL);
    pvt_settle(&net);
    cr_assert(pvt_is_pending(node(0), &file.rid));
    pvt_seal_member(&out, node(0), node(1), 1, true, pvt_hlc(node(0)));
    pvt_put(node(0), &out, false);
    pv_members_changed(node(0)->node, out.env, out.len);
    pvt_settle(&net);
    cr_assert_not(pvt_is_pending(node(0), &file.rid));
    pvt_nodes_release(&net);
}

/* ---- the queue ----------------------------------------------------------------------------- */

/* Written while the other member was away, and found again by the next run. */
Test(publish, pending_records_of_an_earlier_run)
{
    enum { FILES = 30 };
    static struct pvt_record files[FILES], names[FILES];
    char text[32];
    connected(2);
    pvt_cut(&net, 0, 1);
    pvt_settle(&net);
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(text, sizeof text, "file %u", i);
        pvt_seal_file(&files[i], node(0), text, pvt_hlc(node(0)));
        pvt_seal_name(&names[i], node(0), text, &files[i].rid, pvt_hlc(node(0)));
        pvt_put(node(0), &files[i], true);
        pvt_put(node(0), &names[i], true);
    }
    pvt_node_stop(node(0));
    pvt_settle(&net);
    pvt_node_start(node(0));
    pvt_settle(&net);
    pvt_connect_all(&net);
    pvt_advance(&net, 30000);
    for (unsigned i = 0; i < FILES; i++) {
        cr_assert(pvt_has_record(node(1), &files[i]), "%u", i);
        cr_assert(pvt_has_record(node(1), &names[i]), "%u", i);
        cr_assert_not(pvt_is_pending(node(0), &files[i].rid));
        cr_assert_not(pvt_is_pending(node(0), &names[i].rid));
    }
    cr_assert_eq(queued(0), 0);
    cr_assert(pvt_all_agree(&net));
    pvt_nodes_release(&net);
}

/* Two names for one content, one after the other: both must arrive. */
Test(publish, two_names_while_pending)
{
    struct pvt_record first, second, name_a, name_b;
    connected(2);
    pvt_cut(&net, 0, 1);
    pvt_settle(&net);
    pvt_seal_file(&first, node(0), "content", pvt_hlc(node(0)));
    pvt_seal_name(&name_a, node(0), "a", &first.rid, pvt_hlc(node(0)));
    publish(0, &first, &name_a);
    pvt_settle(&net);
    pvt_seal_file(&second, node(0), "content", pvt_hlc(node(0)));
    pvt_seal_name(&name_b, node(0), "b", &first.rid, pvt_hlc(node(0)));
    publish(0, &second, &name_b);
    pvt_settle(&net);
    pvt_connect_all(&net);
    pvt_advance(&net, 30000);
    cr_assert(pvt_has_record(node(1), &second));
    cr_assert_not(pvt_has_record(node(1), &first));
    cr_assert(pvt_has_record(node(1), &name_a));
    cr_assert(pvt_has_record(node(1), &name_b));
    cr_assert_not(pvt_is_pending(node(0), &name_a.rid));
    cr_assert_not(pvt_is_pending(node(0), &name_b.rid));
    cr_assert_eq(queued(0), 0);
    pvt_nodes_release(&net);
}

/* The name moved on to a file whose blobs are not safe: it must not leave with the first. */
Test(publish, name_bound_again_while_pending)
{
    struct pvt_record first, second, name_one, name_two;
    struct pv_entry chunk;
    connected(2);
    pvt_cut(&net, 0, 1);
    pvt_settle(&net);
    pvt_seal_file(&first, node(0), "first", pvt_hlc(node(0)));
    pvt_seal_name(&name_one, node(0), "n", &first.rid, pvt_hlc(node(0)));
    publish(0, &first, &name_one);
    pvt_settle(&net);
    pvt_put_blob(node(0), "content of the second", &chunk);
    pvt_seal_file_root(&second, node(0), &chunk, pvt_hlc(node(0)));
    pvt_seal_name(&name_two, node(0), "n", &second.rid, pvt_hlc(node(0)));
    publish(0, &second, &name_two);
    pvt_settle(&net);
    (void)pvt_connect(&net, 0, 1);
    /* Until its blob was stored. */
    while (!pvt_has_record(node(1), &first) && pvt_step(&net)) {
    }
    cr_assert_not(pvt_has_record(node(1), &name_two) && !pvt_has_record(node(1), &second));
    pvt_advance(&net, 30000);
    cr_assert(pvt_has_record(node(1), &second));
    cr_assert(pvt_has_record(node(1), &name_two));
    cr_assert_not(pvt_has_record(node(1), &name_one));
    cr_assert_eq(queued(0), 0);
    pvt_nodes_release(&net);
}

Test(publish, deleted_while_pending)
{
    struct pvt_record file;
    struct pv_record rec;
    static uint8_t body[PV_RECORD_BODY_MAX], env[PV_RECORD_LEN_MAX];
    uint8_t salt[32] = {4};
    size_t len;
    connected(2);
    pvt_cut(&net, 0, 1);
    pvt_settle(&net);
    pvt_seal_file(&file, node(0), "short life", pvt_hlc(node(0)));
    publish(0, &file, NULL);
    pvt_settle(&net);
    struct pv_file_body fb = {.size = 10, .is_inline = true, .data = (const uint8_t *)"short life"};
    struct pv_record_draft draft = {.type = PV_RECORD_FILE,
                                    .flags = PV_RECORD_TOMBSTONE,
                                    .rid = file.rid,
                                    .hlc = pvt_hlc(node(0)),
                                    .epoch = pv_epoch_of(node(0)->env.wall_ms),
                                    .body = body};
    fb.author.hlc = draft.hlc;
    fb.author.flags = PV_RECORD_TOMBSTONE;
    pv_sha256(fb.sha256.b, "short life", 10);
    cr_assert_eq(pv_file_body_encode(body, &draft.body_len, &fb, node(0)->identity.seed), PV_OK);
    cr_assert_eq(pv_record_seal(env, &len, &draft, pv_keyring_active(&node(0)->keyring),
                                node(0)->identity.seed, salt),
                 PV_OK);
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    op.u.record.env = env;
    op.u.record.len = len;
    pvt_commit(node(0), &op, 1);
    pv_publish_now(node(0)->node, env, len);
    pvt_connect_all(&net);
    pvt_advance(&net, 30000);
    cr_assert_eq(pv_record_parse(&rec, env, len), PV_OK);
    struct pvt_record tomb = {.hash = rec.hash};
    cr_assert(pvt_has_record(node(1), &tomb));
    cr_assert_not(pvt_has_record(node(1), &file));
    cr_assert_eq(queued(0), 0);
    pvt_nodes_release(&net);
}

/* The session ends somewhere between the record and its STORED: nothing stays pending for ever. */
Test(publish, peer_vanishes_at_any_step)
{
    struct pvt_record file, name;
    char text[32];
    connected(2);
    for (unsigned seed = 0; seed < 3; seed++) {
        net.seed = seed;
        for (unsigned steps = 0; steps < 40; steps++) {
            (void)snprintf(text, sizeof text, "%u/%u", seed, steps);
            pvt_seal_file(&file, node(0), text, pvt_hlc(node(0)));
            pvt_seal_name(&name, node(0), text, &file.rid, pvt_hlc(node(0)));
            publish(0, &file, &name);
            (void)pvt_steps(&net, steps);
            pvt_cut(&net, 0, 1);
            pvt_settle(&net);
            pvt_connect_all(&net);
            pvt_advance(&net, 100);
        }
    }
    pvt_advance(&net, 30000);
    cr_assert_eq(queued(0), 0);
    struct pv_store_counts counts;
    cr_assert_eq(pv_store_counts(node(0)->store, &counts), PV_OK);
    cr_assert_eq(counts.pending, 0);
    cr_assert(pvt_all_agree(&net));
    pvt_nodes_release(&net);
}

/* The link takes nothing for a while: records stay pending, and leave when it does. */
Test(publish, link_that_is_not_writable)
{
    enum { FILES = 100 };
    static struct pvt_record files[FILES];
    char *text = malloc(4001);
    cr_assert_not_null(text);
    connected(2);
    struct pvt_end *end = &net.links[net.link_count - 1].ends[1];
    end->paused = true;
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(text, 4001, "%04000u", i);
        pvt_seal_file(&files[i], node(0), text, pvt_hlc(node(0)));
        publish(0, &files[i], NULL);
    }
    free(text);
    pvt_settle(&net);
    cr_assert(pvt_connected(&net, 0, 1));
    cr_assert(pvt_is_pending(node(0), &files[FILES - 1].rid));
    end->paused = false;
    pvt_settle(&net);
    for (unsigned i = 0; i < FILES; i++)
        cr_assert_not(pvt_is_pending(node(0), &files[i].rid), "%u", i);
    cr_assert_eq(queued(0), 0);
    pvt_nodes_release(&net);
}
