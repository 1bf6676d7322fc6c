#include "tests/unit/internal_ingest_fixture.h"

TestSuite(ingest, .timeout = 120);

/* ---- sizes and slices ---- */

static void store_and_read_back(struct pvt_server *s, size_t len, size_t slice, bool hint)
{
    uint8_t *bytes = pvt_content(len + slice, len);
    struct pvt_file f;
    long long new_bytes;
    json_t *args = hint ? json_pack("{s:I}", "size", (json_int_t)len) : json_object();
    pvt_store_ok(s, args, bytes, len, slice, &new_bytes);
    struct pv_id rid = pvt_rid_of(s, bytes, len);
    pvt_read_back(s, &rid, bytes, len, &f);
    cr_assert_eq(f.body.is_inline, len <= PV_INLINE_MAX);
    cr_assert_eq(new_bytes == 0, f.body.is_inline);
    cr_assert_not(f.pending);
    cr_assert_eq(f.body.mtime_ms, s->env.wall_ms);
    cr_assert_eq(f.body.name_len, 0);
    if (len > 0 && len <= PV_CHUNK_MIN)
        cr_assert_eq(f.chunks + f.nodes, f.body.is_inline ? 0 : 1);
    pvt_unload(&f);
    free(bytes);
}

Test(ingest, every_size_at_an_edge_comes_back)
{
    static const size_t sizes[] = {0,      1,      4095,   4096,   4097,   65535,  65536,
                                   65537,  131071, 131072, 196607, 196608, 262143, 262144,
                                   262145, 978943, 978944, 978945, 983031, 983032, 983033};
    struct pvt_server *s = pvt_server_new(NULL);
    for (size_t i = 0; i < PV_COUNT(sizes); i++) {
        store_and_read_back(s, sizes[i], 65535, false);
        store_and_read_back(s, sizes[i], 4096, true);
        s->order = (enum pvt_order)(i % 3);
    }
    pvt_server_free(s);
}

Test(ingest, a_byte_at_a_time)
{
    struct pvt_server *s = pvt_server_new(NULL);
    store_and_read_back(s, 4097, 1, true);
    store_and_read_back(s, 70000, 1, false);
    pvt_server_free(s);
}

static long long blobs_after(struct pvt_server *s, const uint8_t *bytes, size_t len, size_t slice,
                             enum pvt_order order)
{
    long long new_bytes;
    s->order = order;
    pvt_store_ok(s, json_object(), bytes, len, slice, &new_bytes);
    return new_bytes;
}

Test(ingest, slices_and_the_order_of_jobs_change_nothing)
{
    static const size_t slices[] = {65535, 65534, 4096, 50000, 0};
    const size_t len = 5 << 20;
    struct pvt_server *s = pvt_server_new(NULL);
    struct pvt_file f;
    uint8_t *bytes = pvt_content(3, len);
    cr_assert_gt(blobs_after(s, bytes, len, 65535, PVT_FIRST), (long long)len);
    struct pv_store_counts before = pvt_counts(s);
    for (size_t i = 0; i < PV_COUNT(slices); i++)
        for (int order = PVT_FIRST; order <= PVT_ANY; order++)
            cr_assert_eq(blobs_after(s, bytes, len, slices[i], (enum pvt_order)order), 0);
    struct pv_store_counts after = pvt_counts(s);
    cr_assert_eq(after.blobs, before.blobs);
    cr_assert_eq(after.blob_bytes, before.blob_bytes);
    cr_assert_eq(after.files, 1);
    struct pv_id rid = pvt_rid_of(s, bytes, len);
    pvt_read_back(s, &rid, bytes, len, &f);
    cr_assert_eq(f.nodes, 1);
    cr_assert_eq(f.chunks + f.nodes, after.blobs);
    pvt_unload(&f);
    free(bytes);
    pvt_server_free(s);
}

Test(ingest, a_large_file_comes_back)
{
    const size_t len = 64 << 20;
    struct pvt_server *s = pvt_server_new(NULL);
    struct pvt_file f;
    uint8_t *bytes = pvt_content(4, len);
    json_t *args = json_pack("{s:I, s:s, s:I}", "size", (json_int_t)len, "name", "large.bin",
                             "mtime_ms", (json_int_t)1234567890123);
    long long new_bytes;
    s->order = PVT_ANY;
    pvt_store_ok(s, args, bytes, len, 0, &new_bytes);
    cr_assert_gt(new_bytes, (long long)len);
    cr_assert_eq((uint64_t)new_bytes, pvt_counts(s).blob_bytes);
    struct pv_id rid = pvt_rid_of(s, bytes, len);
    pvt_read_back(s, &rid, bytes, len, &f);
    cr_assert_eq(f.depth, 2);
    cr_assert_eq(f.body.mtime_ms, 1234567890123u);
    cr_assert_eq(f.body.name_len, strlen("large.bin"));
    cr_assert_arr_eq(f.body.name, "large.bin", f.body.name_len);
    cr_assert_eq(blobs_after(s, bytes, len, 65535, PVT_LAST), 0);
    pvt_unload(&f);
    free(bytes);
    pvt_server_free(s);
}

/* An insertion changes the chunk around it, its node, and no other blob. */
Test(ingest, a_changed_file_shares_its_other_chunks)
{
    const size_t len = 8 << 20, at = 4 << 20;
    struct pvt_server *s = pvt_server_new(NULL);
    uint8_t *bytes = pvt_content(5, len + 1);
    blobs_after(s, bytes, len, 65535, PVT_FIRST);
    uint64_t before = pvt_counts(s).blobs;
    memmove(bytes + at + 1, bytes + at, len - at);
    bytes[at] = 7;
    blobs_after(s, bytes, len + 1, 65535, PVT_FIRST);
    cr_assert_leq(pvt_counts(s).blobs - before, 3);
    free(bytes);
    pvt_server_free(s);
}

/* ---- where small files go ---- */

Test(ingest, tiny_files_leave_the_record_when_members_are_many)
{
    struct pvt_file f;
    for (size_t members = 4; members <= 5; members++) {
        struct pvt_server_options o = {.members = members};
        struct pvt_server *s = pvt_server_new(&o);
        uint8_t *bytes = pvt_content(members, 100);
        pvt_store_ok(s, json_pack("{s:b}", "wait", 0), bytes, 100, 100, NULL);
        struct pv_id rid = pvt_rid_of(s, bytes, 100);
        pvt_read_back(s, &rid, bytes, 100, &f);
        cr_assert_eq(f.body.is_inline, members + 1 <= 3 + 2);
        cr_assert(f.pending);
        pvt_unload(&f);
        pvt_store_ok(s, json_pack("{s:b}", "wait", 0), bytes, 0, 1, NULL);
        rid = pvt_rid_of(s, bytes, 0);
        pvt_read_back(s, &rid, bytes, 0, &f);
        cr_assert(f.body.is_inline);
        pvt_unload(&f);
        free(bytes);
        pvt_server_free(s);
    }
}

/* The records of a file of one blob are durable together with it. */
Test(ingest, a_file_of_one_blob_takes_one_commit)
{
    struct pvt_server *s = pvt_server_new(NULL);
    uint8_t *bytes = pvt_content(6, 60000);
    size_t before = s->jobs_run;
    pvt_store_ok(s, json_pack("{s:i, s:s}", "size", 60000, "name", "n"), bytes, 60000, 65535, NULL);
    cr_assert_eq(s->jobs_run - before, 4); /* digest, seal, records, commit */
    free(bytes);
    pvt_server_free(s);
}

/* ---- private files ---- */

static size_t private_rids(struct pvt_server *s, const uint8_t *bytes, size_t len,
                           struct pv_id rids[static 8])
{
    uint8_t sha[PV_HASH_LEN];
    size_t count;
    pv_sha256(sha, bytes, len);
    uint64_t tag = pv_key_prefix_tag(pv_keyring_active(&s->keyring), sha);
    cr_assert_eq(pv_store_by_prefix(s->store, tag, rids, 8, &count), PV_OK);
    return count;
}

static void check_private(enum pv_convergence convergence, size_t len)
{
    struct pvt_server_options o = {.convergence = convergence};
    struct pvt_server *s = pvt_server_new(&o);
    struct pv_id rids[8], rid;
    struct pvt_file f;
    uint8_t *bytes = pvt_content(8, len);
    for (size_t round = 1; round <= 2; round++) {
        json_t *args = json_object();
        if (convergence != PV_CONVERGENCE_OFF)
            json_object_set_new(args, "private", json_true());
        pvt_store_ok(s, args, bytes, len, 65535, NULL);
        cr_assert_eq(private_rids(s, bytes, len, rids), round);
    }
    rid = pvt_rid_of(s, bytes, len);
    cr_assert_eq(pvt_load_file(s, &rid, &f), PV_E_NOT_FOUND);
    pvt_unload(&f);
    size_t blobs = 0;
    for (size_t i = 0; i < 2; i++) {
        pvt_read_back(s, &rids[i], bytes, len, &f);
        cr_assert(f.body.is_private);
        pv_rid_private(&rid, pv_keyring_active(&s->keyring), f.body.private_salt);
        cr_assert(pv_id_equal(&rid, &rids[i]));
        size_t chunks = f.body.is_inline ? 0 : (len + PV_CHUNK_MAX - 1) / PV_CHUNK_MAX;
        cr_assert_eq(f.chunks, chunks);
        cr_assert_eq(f.nodes, chunks > 1 ? 1 : 0);
        blobs += f.chunks + f.nodes;
        pvt_unload(&f);
    }
    cr_assert_eq(pvt_counts(s).blobs, blobs, "nothing is shared");
    free(bytes);
    pvt_server_free(s);
}

Test(ingest, private_files_share_nothing)
{
    check_private(PV_CONVERGENCE_CLUSTER, 100);
    check_private(PV_CONVERGENCE_CLUSTER, 5000);
    check_private(PV_CONVERGENCE_CLUSTER, PV_CHUNK_MAX); /* cut before the end is known */
    check_private(PV_CONVERGENCE_CLUSTER, 3 * PV_CHUNK_MAX + 1);
    check_private(PV_CONVERGENCE_OFF, 2 * PV_CHUNK_MAX);
}

Test(ingest, convergence_by_epoch_ends_with_the_day)
{
    struct pvt_server_options o = {.convergence = PV_CONVERGENCE_EPOCH};
    struct pvt_server *s = pvt_server_new(&o);
    uint8_t *bytes = pvt_content(9, 300000);
    cr_assert_gt(blobs_after(s, bytes, 300000, 65535, PVT_FIRST), 0);
    cr_assert_eq(blobs_after(s, bytes, 300000, 65535, PVT_FIRST), 0);
    pvt_env_advance(&s->env, 24 * 3600 * 1000);
    cr_assert_gt(blobs_after(s, bytes, 300000, 65535, PVT_FIRST), 0);
    free(bytes);
    pvt_server_free(s);
}

/* ---- names ---- */

static void load_name(struct pvt_server *s, const char *name, size_t len, struct pvt_file *f,
                      struct pv_name_body *body)
{
    struct pv_id rid;
    pv_rid_name(&rid, pv_keyring_active(&s->keyring), name, len);
    cr_assert_eq(pvt_load(s, &rid, f), PV_OK);
    cr_assert_eq(f->rec.type, PV_RECORD_NAME);
    cr_assert_eq(pv_name_body_decode(body, f->plain, f->rec.body_len, true), PV_OK);
    cr_assert_eq(body->name_len, len);
    cr_assert_arr_eq(body->name, name, len);
}

static void check_name(struct pvt_server *s, const char *name, bool hex)
{
    const size_t len = strlen(name);
    char *text = malloc(2 * len + 1);
    struct pvt_file f;
    struct pv_name_body body;
    struct pv_id rids[4];
    size_t count;
    pv_hex_encode(text, name, len);
    pvt_store_ok(s, hex ? json_pack("{s:s}", "name_hex", text) : json_pack("{s:s}", "name", name),
                 (const uint8_t *)"x", 1, 1, NULL);
    load_name(s, name, len, &f, &body);
    struct pv_id rid = pvt_rid_of(s, (const uint8_t *)"x", 1);
    cr_assert(pv_id_equal(&body.file_rid, &rid));
    cr_assert_eq(pv_store_names_of(s->store, &rid, rids, 4, &count), PV_OK);
    cr_assert_geq(count, 1);
    pvt_unload(&f);
    free(text);
}

Test(ingest, names_are_any_bytes_but_nul)
{
    struct pvt_server *s = pvt_server_new(NULL);
    char longest[PV_NAME_MAX + 1];
    memset(longest, 'n', PV_NAME_MAX);
    longest[PV_NAME_MAX] = '\0';
    check_name(s, "a", false);
    check_name(s, "d\xc3\xa9j\xc3\xa0/\n\t\x7f", false);
    check_name(s, "\xff\xfe\x01", true);
    check_name(s, longest, false);
    longest[0] = (char)0x80;
    check_name(s, longest, true);
    cr_assert_eq(pvt_counts(s).names, 5);
    cr_assert_eq(pvt_counts(s).files, 1);
    pvt_server_free(s);
}

Test(ingest, a_name_moves_to_the_new_file_and_the_old_one_stays)
{
    struct pvt_server *s = pvt_server_new(NULL);
    struct pvt_file f;
    struct pv_name_body body;
    uint8_t *first = pvt_content(1, 100), *second = pvt_content(2, 200);
    pvt_store_ok(s, json_pack("{s:s}", "name", "n"), first, 100, 100, NULL);
    pvt_env_advance(&s->env, 10);
    pvt_store_ok(s, json_pack("{s:s}", "name", "n"), second, 200, 100, NULL);
    struct pv_id rid = pvt_rid_of(s, second, 200);
    load_name(s, "n", 1, &f, &body);
    cr_assert(pv_id_equal(&body.file_rid, &rid));
    pvt_unload(&f);
    rid = pvt_rid_of(s, first, 100);
    pvt_read_back(s, &rid, first, 100, &f);
    pvt_unload(&f);
    cr_assert_eq(pvt_counts(s).files, 2);
    cr_assert_eq(pvt_counts(s).names, 1);
    free(first);
    free(second);
    pvt_server_free(s);
}

/* ---- refusals ---- */

Test(ingest, bad_arguments_are_refused_before_any_data)
{
    struct pvt_server *s = pvt_server_new(NULL);
    char too_long[PV_NAME_MAX + 2];
    memset(too_long, 'n', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    json_t *bad[] = {
        json_pack("{s:s}", "name", ""),
        json_pack("{s:s}", "name", too_long),
        json_pack("{s:i}", "name", 5),
        json_pack("{s:s, s:s}", "name", "n", "name_hex", "6e"),
        json_pack("{s:s}", "name_hex", "6e0"),
        json_pack("{s:s}", "name_hex", "6e00"),
        json_pack("{s:s}", "name_hex", "xy"),
        json_pack("{s:i}", "size", -1),
        json_pack("{s:s}", "size", "1"),
        json_pack("{s:f}", "size", 1.5),
        json_pack("{s:i}", "mtime_ms", -1),
        json_pack("{s:i}", "copies", 0),
        json_pack("{s:i}", "copies", -1),
        json_pack("{s:i}", "copies", PV_MEMBERS_MAX + 1),
        json_pack("{s:i}", "private", 1),
        json_pack("{s:s}", "wait", "no"),
    };
    for (size_t i = 0; i < PV_COUNT(bad); i++)
        pvt_store_fails(s, bad[i], 1, PV_EXIT_USAGE, "");
    cr_assert_eq(pvt_counts(s).files, 0);
    pvt_server_free(s);
}

Test(ingest, a_blind_node_stores_nothing)
{
    struct pvt_server_options o = {.blind = true};
    struct pvt_server *s = pvt_server_new(&o);
    pvt_store_fails(s, json_object(), 1, PV_EXIT_DENIED, "blind");
    pvt_server_free(s);
}

Test(ingest, a_wrong_clock_is_named)
{
    struct pvt_server *s = pvt_server_new(NULL);
    const uint64_t now = s->env.wall_ms;
    uint8_t *bytes = pvt_content(1, 100);
    s->env.wall_ms = 1000;
    pvt_store_fails(s, json_object(), 1, PV_EXIT_UNAVAILABLE, "clock");
    s->env.wall_ms = now + 600000;
    pvt_store_ok(s, json_object(), bytes, 100, 100, NULL);
    s->env.wall_ms = now; /* far behind the record just written */
    pvt_store_fails(s, json_object(), 1, PV_EXIT_UNAVAILABLE, "clock");
    s->env.wall_ms = now + 600000;

    /* It jumps while the file is read. */
    struct pvt_client *c = pvt_store(s, json_object(), bytes, 100, 50);
    cr_assert(pvt_client_send(c));
    s->env.wall_ms = 1000;
    pvt_client_run(c);
    cr_assert_eq(pvt_number(c->final, "exit"), PV_EXIT_UNAVAILABLE);
    pvt_client_free(c);
    s->env.wall_ms = now + 600000;
    cr_assert_eq(pvt_counts(s).files, 1);
    free(bytes);
    pvt_server_free(s);
}

/* ---- copies ---- */

static struct pvt_client *store_until_durable(struct pvt_server *s, json_t *args)
{
    static const uint8_t bytes[] = "some text";
    struct pvt_client *c = pvt_store(s, args, bytes, sizeof bytes, 0);
    pvt_client_run(c);
    cr_assert_not_null(pvt_event(c, "durable"));
    return c;
}

/* The last one that waits is told of so many copies, as publish.c would. */
static void tell_copies(struct pvt_client *c, unsigned copies)
{
    struct pv_copies_wait *w = &((struct pv_ingest *)c->rq.op)->copies_wait;
    if (copies >= w->want)
        pv_publish_wait_cancel(w);
    w->progress(w, copies);
}

Test(ingest, alone_there_is_nothing_to_wait_for)
{
    struct pvt_server *s = pvt_server_new(NULL);
    struct pvt_client *c = store_until_durable(s, json_object());
    cr_assert(pvt_ok(c));
    cr_assert_eq(pvt_number(c->final, "copies"), 1);
    cr_assert_eq(pvt_number(c->final, "want"), 1);
    cr_assert_eq(json_array_size(c->events), 1);
    pvt_client_free(c);

    c = store_until_durable(s, json_pack("{s:i}", "copies", 1));
    cr_assert(pvt_ok(c));
    pvt_client_free(c);

    c = store_until_durable(s, json_pack("{s:i}", "copies", 2));
    cr_assert_eq(pvt_number(c->final, "exit"), PV_EXIT_UNAVAILABLE);
    cr_assert_not_null(strstr(pvt_error(c), "1 of 2 copies"));
    cr_assert_not_null(strstr(pvt_error(c), "1 active member"));
    pvt_client_free(c);
    pvt_server_free(s);
}

Test(ingest, who_does_not_wait_is_answered_at_once)
{
    struct pvt_server_options o = {.members = 2};
    struct pvt_server *s = pvt_server_new(&o);
    struct pvt_client *c = store_until_durable(s, json_pack("{s:b, s:i}", "wait", 0, "copies", 3));
    cr_assert(pvt_ok(c));
    cr_assert_eq(pvt_number(c->final, "copies"), 1);
    cr_assert_eq(pvt_number(c->final, "want"), 3);
    cr_assert_eq(pvt_counts(s).pending, 1);
    pvt_client_free(c);
    pvt_server_free(s);
}

Test(ingest, the_default_gives_up_quietly)
{
    struct pvt_server_options o = {.members = 2};
    struct pvt_server *s = pvt_server_new(&o);
    struct pvt_client *c = store_until_durable(s, json_object());
    cr_assert(c->is_open);
    cr_assert_eq(pv_files_deadline_ms(s->files), s->env.mono_ms + PV_STORE_WAIT_MS);
    pvt_env_advance(&s->env, PV_STORE_WAIT_MS - 1);
    pv_files_tick(s->files);
    cr_assert(c->is_open);
    pvt_env_advance(&s->env, 1);
    pv_files_tick(s->files);
    cr_assert(pvt_ok(c));
    cr_assert_eq(pvt_number(c->final, "copies"), 1);
    cr_assert_eq(pvt_number(c->final, "want"), 2);
    cr_assert_eq(pv_files_deadline_ms(s->files), UINT64_MAX);
    pvt_client_free(c);
    pvt_server_free(s);
}

Test(ingest, copies_are_reported_as_they_grow)
{
    struct pvt_server_options o = {.members = 3};
    struct pvt_server *s = pvt_server_new(&o);
    struct pvt_client *c = store_until_durable(s, json_pack("{s:i}", "copies", 3));
    pvt_env_advance(&s->env, PV_STORE_COPIES_WAIT_MS - 1);
    tell_copies(c, 2);
    pvt_env_advance(&s->env, PV_STORE_COPIES_WAIT_MS - 1);
    pv_files_tick(s->files);
    cr_assert(c->is_open, "there was progress");
    const json_t *e = pvt_event(c, "copies");
    cr_assert_eq(pvt_number(e, "have"), 2);
    cr_assert_eq(pvt_number(e, "want"), 3);
    tell_copies(c, 2);
    cr_assert_eq(json_array_size(c->events), 2, "nothing new");
    tell_copies(c, 3);
    cr_assert(pvt_ok(c));
    cr_assert_eq(pvt_number(c->final, "copies"), 3);
    cr_assert_eq(json_array_size(c->events), 3);
    pvt_client_free(c);
    pvt_server_free(s);
}

Test(ingest, copies_asked_for_and_not_reached_are_a_failure)
{
    struct pvt_server_options o = {.members = 1};
    struct pvt_server *s = pvt_server_new(&o);
    struct pvt_client *c = store_until_durable(s, json_pack("{s:i}", "copies", 2));
    pvt_env_advance(&s->env, PV_STORE_COPIES_WAIT_MS);
    pv_files_tick(s->files);
    cr_assert_eq(pvt_number(c->final, "exit"), PV_EXIT_UNAVAILABLE);
    cr_assert_not_null(strstr(pvt_error(c), "1 of 2 copies"));
    pvt_client_free(c);

    /* More than there are members: as many as there are, then the refusal. */
    c = store_until_durable(s, json_pack("{s:i}", "copies", 5));
    cr_assert(c->is_open);
    tell_copies(c, 2);
    cr_assert_eq(pvt_number(c->final, "exit"), PV_EXIT_UNAVAILABLE);
    cr_assert_not_null(strstr(pvt_error(c), "2 of 5 copies"));
    cr_assert_not_null(strstr(pvt_error(c), "2 active members"));
    pvt_client_free(c);
    cr_assert_eq(pvt_counts(s).files, 1, "stored all the same");
    pvt_server_free(s);
}
