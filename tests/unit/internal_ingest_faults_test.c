#include "tests/unit/internal_ingest_fixture.h"

TestSuite(ingest_faults, .timeout = 120);

/* ---- cancel ---- */

/* Sends and steps `events` times, then the client goes away. Whether it had its answer before. */
static bool cancel_after(struct pvt_server *s, const uint8_t *bytes, size_t len, size_t events,
                         bool *was_sent)
{
    struct pvt_client *c = pvt_store(s, json_pack("{s:s}", "name", "cancelled"), bytes, len, 65535);
    for (size_t i = 0; i < events && c->is_open; i++)
        if (!pvt_client_send(c))
            cr_assert(pvt_step(s), "nothing moves");
    bool finished = !c->is_open;
    *was_sent = c->sent_end;
    pvt_client_cancel(c);
    pvt_settle(s);
    cr_assert_eq(s->files->memory.used_bytes, 0);
    pvt_client_free(c);
    return finished;
}

static void cancel_everywhere(size_t len, enum pvt_order order)
{
    struct pvt_server *s = pvt_server_new(NULL);
    bool finished = false, was_sent = false;
    s->order = order;
    for (size_t events = 0; !finished; events++) {
        uint8_t *bytes = pvt_content(events + 1000 * len, len);
        uint64_t files = pvt_counts(s).files;
        finished = cancel_after(s, bytes, len, events, &was_sent);
        if (!was_sent)
            cr_assert_eq(pvt_counts(s).files, files, "no end, no file");
        free(bytes);
    }
    cr_assert(was_sent);
    pvt_server_free(s);
}

Test(ingest_faults, a_client_may_go_away_at_any_point)
{
    cancel_everywhere(0, PVT_FIRST);
    cancel_everywhere(100, PVT_FIRST);
    cancel_everywhere(70000, PVT_ANY);
    cancel_everywhere(3 << 20, PVT_FIRST);
    cancel_everywhere(3 << 20, PVT_LAST);
}

Test(ingest_faults, a_client_may_go_away_while_it_waits_for_copies)
{
    struct pvt_server_options o = {.members = 2};
    struct pvt_server *s = pvt_server_new(&o);
    struct pvt_client *c = pvt_store(s, json_object(), (const uint8_t *)"x", 1, 1);
    pvt_client_run(c);
    cr_assert(c->is_open);
    pvt_client_cancel(c);
    cr_assert_eq(pv_files_deadline_ms(s->files), UINT64_MAX);
    cr_assert_eq(pvt_counts(s).pending, 1, "it will be published all the same");
    pvt_client_free(c);
    pvt_server_free(s);
}

/* ---- a full disk ---- */

Test(ingest_faults, a_full_disk_leaves_no_record)
{
    struct pvt_server_options o = {.disk_limit = 3 << 20};
    for (int order = PVT_FIRST; order <= PVT_ANY; order++) {
        struct pvt_server *s = pvt_server_new(&o);
        uint8_t *bytes = pvt_content(1, 100000);
        s->order = (enum pvt_order)order;
        pvt_store_fails(s, json_pack("{s:b}", "private", 1), 8 << 20, PV_EXIT_FULL, "storage full");
        pvt_settle(s);
        cr_assert_eq(s->files->memory.used_bytes, 0);
        cr_assert_eq(pvt_counts(s).files, 0);
        cr_assert_leq(pvt_counts(s).blob_bytes, o.disk_limit);
        pvt_store_ok(s, json_object(), bytes, 100000, 65535, NULL); /* what fits still goes in */
        free(bytes);
        pvt_server_free(s);
    }
}

Test(ingest_faults, a_full_disk_refuses_the_root_with_its_records)
{
    struct pvt_server_options o = {.disk_limit = 50000};
    struct pvt_server *s = pvt_server_new(&o);
    pvt_store_fails(s, json_pack("{s:s}", "name", "n"), 60000, PV_EXIT_FULL, "storage full");
    cr_assert_eq(pvt_counts(s).files, 0);
    cr_assert_eq(pvt_counts(s).names, 0);
    cr_assert_eq(pvt_counts(s).blobs, 0);
    pvt_server_free(s);
}

/* ---- memory ---- */

/* Lets clients and jobs take turns until all are done; whether that happened. */
static bool run_all(struct pvt_server *s, struct pvt_client **clients, size_t count)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (size_t i = 0; i < count; i++)
            moved |= pvt_client_send(clients[i]);
        moved |= pvt_step(s);
        for (size_t i = 0; i < count; i++)
            pvt_check_memory(clients[i]);
        cr_assert_leq(s->files->memory.used_bytes, s->files->memory.limit_bytes);
    }
    for (size_t i = 0; i < count; i++)
        if (clients[i]->is_open)
            return false;
    return true;
}

Test(ingest_faults, many_uploads_share_the_memory)
{
    enum { LARGE = 8, ALL = 48, LARGE_LEN = 2500000 };
    for (int order = PVT_FIRST; order <= PVT_ANY; order++) {
        struct pvt_server_options o = {.memory_bytes = PV_FILES_MEMORY_MIN};
        struct pvt_server *s = pvt_server_new(&o);
        struct pvt_client *clients[ALL];
        uint8_t *bytes[ALL];
        size_t waiting = 0;
        s->order = (enum pvt_order)order;
        for (size_t i = 0; i < ALL; i++) {
            size_t len = i < LARGE ? LARGE_LEN + i : 5000 + i;
            bytes[i] = pvt_content(i, len);
            clients[i] =
                pvt_store(s, json_pack("{s:I}", "size", (json_int_t)len), bytes[i], len, 0);
            waiting += clients[i]->paused;
        }
        cr_assert_gt(waiting, ALL / 2, "one stream fits, the others wait behind it");
        cr_assert(run_all(s, clients, ALL));
        for (size_t i = 0; i < ALL; i++) {
            cr_assert(pvt_ok(clients[i]), "%s", pvt_error(clients[i]));
            pvt_client_free(clients[i]);
            free(bytes[i]);
        }
        cr_assert_eq(pvt_counts(s).files, ALL);
        pvt_server_free(s);
    }
}

Test(ingest_faults, waiting_clients_may_go_away)
{
    struct pvt_server_options o = {.memory_bytes = PV_FILES_MEMORY_MIN};
    struct pvt_server *s = pvt_server_new(&o);
    struct pvt_client *c[3];
    uint8_t *bytes = pvt_content(1, 200000);
    for (size_t i = 0; i < 3; i++)
        c[i] = pvt_store(s, json_object(), bytes, 200000, 65535);
    cr_assert(!c[0]->paused && c[1]->paused && c[2]->paused);
    pvt_client_cancel(c[1]);
    cr_assert(c[2]->paused);
    pvt_client_cancel(c[0]);
    cr_assert_not(c[2]->paused);
    pvt_client_run(c[2]);
    cr_assert(pvt_ok(c[2]));
    for (size_t i = 0; i < 3; i++)
        pvt_client_free(c[i]);
    free(bytes);
    pvt_server_free(s);
}

Test(ingest_faults, a_file_longer_than_announced_is_stored_whole)
{
    static const size_t lens[] = {65537, 131070, 131071, 131072, 400000, 3000000};
    struct pvt_server *s = pvt_server_new(NULL);
    struct pvt_file f;
    for (size_t i = 0; i < PV_COUNT(lens); i++) {
        uint8_t *bytes = pvt_content(lens[i], lens[i]);
        pvt_store_ok(s, json_pack("{s:i}", "size", (int)(i * 10000)), bytes, lens[i],
                     i % 2 == 0 ? 65535 : 0, NULL);
        struct pv_id rid = pvt_rid_of(s, bytes, lens[i]);
        pvt_read_back(s, &rid, bytes, lens[i], &f);
        pvt_unload(&f);
        free(bytes);
    }
    pvt_server_free(s);
}

/* Each holds a little and wants much: they must not wait for each other. */
Test(ingest_faults, files_that_grow_together_do_not_block_each_other)
{
    enum { ALL = 20, LEN = 300000 };
    static const size_t memory[] = {PV_FILES_MEMORY_MIN, 12 << 20};
    for (size_t round = 0; round < PV_COUNT(memory); round++) {
        struct pvt_server_options o = {.memory_bytes = memory[round]};
        struct pvt_server *s = pvt_server_new(&o);
        struct pvt_client *clients[ALL];
        uint8_t *bytes = pvt_content(1, LEN);
        size_t good = 0;
        for (size_t i = 0; i < ALL; i++)
            clients[i] = pvt_store(s, json_pack("{s:i}", "size", 100), bytes, LEN, 65535);
        cr_assert(run_all(s, clients, ALL));
        for (size_t i = 0; i < ALL; i++) {
            if (pvt_ok(clients[i]))
                good++;
            else
                cr_assert_not_null(strstr(pvt_error(clients[i]), "grew"));
            pvt_client_free(clients[i]);
        }
        cr_assert_geq(good, 2);
        cr_assert_eq(s->files->upgrades, 0);
        free(bytes);
        pvt_server_free(s);
    }
}

/* What an upload does not need any more lets the next one in before it is done. */
Test(ingest_faults, memory_is_given_back_early)
{
    struct pvt_server_options o = {.memory_bytes = PV_FILES_MEMORY_MIN};
    struct pvt_server *s = pvt_server_new(&o);
    uint8_t *bytes = pvt_content(1, 200000);
    struct pvt_client *first = pvt_store(s, json_object(), bytes, 200000, 65535);
    struct pvt_client *second = pvt_store(s, json_object(), bytes, 200000, 65535);
    while (pvt_client_send(first))
        continue;
    cr_assert(second->paused);
    while (first->is_open && second->paused)
        cr_assert(pvt_step(s));
    cr_assert(first->is_open);
    pvt_client_run(first);
    pvt_client_run(second);
    cr_assert(pvt_ok(first) && pvt_ok(second));
    pvt_client_free(first);
    pvt_client_free(second);
    free(bytes);
    pvt_server_free(s);
}

/* ---- no memory ---- */

/* As pvt_step, with the k-th allocation of the job, or of what follows it, failing. Commits are
 * spared: what the store does without memory is its own matter. */
static bool step_without_memory(struct pvt_server *s, uint64_t k)
{
    if (s->job_count > 0 && s->jobs[0]->run != NULL)
        pv_mem_fail_after(k);
    bool moved = pvt_step(s);
    pv_mem_fail_after(UINT64_MAX);
    return moved;
}

static bool store_without_memory(struct pvt_server *s, size_t len, size_t fail_at, uint64_t k)
{
    uint8_t *bytes = pvt_content(k + 1, len);
    size_t event = 0;
    pv_mem_fail_after(fail_at == event++ ? k : UINT64_MAX);
    struct pvt_client *c = pvt_store(s, json_pack("{s:s}", "name", "n"), bytes, len, 65535);
    pv_mem_fail_after(UINT64_MAX);
    bool moved = true;
    while (c->is_open && moved) {
        bool fail_now = fail_at == event++;
        pv_mem_fail_after(fail_now ? k : UINT64_MAX);
        moved = pvt_client_send(c);
        pv_mem_fail_after(UINT64_MAX);
        if (!moved)
            moved = fail_now ? step_without_memory(s, k) : pvt_step(s);
    }
    cr_assert_not(c->is_open, "it hangs");
    if (!pvt_ok(c))
        cr_assert_eq(pvt_number(c->final, "exit"), PV_EXIT_FAILED);
    pvt_settle(s);
    cr_assert_eq(s->files->memory.used_bytes, 0);
    pvt_client_free(c);
    free(bytes);
    return fail_at >= event;
}

Test(ingest_faults, without_memory_one_request_fails)
{
    static const size_t lens[] = {100, 700000};
    struct pvt_server *s = pvt_server_new(NULL);
    for (size_t i = 0; i < PV_COUNT(lens); i++)
        for (uint64_t k = 0; k < 4; k++)
            for (size_t at = 0; !store_without_memory(s, lens[i], at, k); at++)
                continue;
    uint8_t *bytes = pvt_content(99, 700000);
    pvt_store_ok(s, json_object(), bytes, 700000, 65535, NULL);
    free(bytes);
    pvt_server_free(s);
}

/* ---- the frame ---- */

Test(ingest_faults, a_budget_that_no_upload_fits_in_is_refused)
{
    struct pvt_server *s = pvt_server_new(NULL);
    struct pv_files_config config = s->files->config;
    struct pv_files *f;
    config.memory_bytes = PV_FILES_MEMORY_MIN - 1;
    cr_assert_eq(pv_files_new(&f, &config), PV_E_INVALID);
    config.memory_bytes = PV_FILES_MEMORY_MIN;
    cr_assert_eq(pv_files_new(&f, &config), PV_OK);
    pv_files_free(f);
    pv_files_free(NULL);
    pvt_server_free(s);
}

Test(ingest_faults, an_unknown_operation_is_a_usage_error)
{
    struct pvt_server *s = pvt_server_new(NULL);
    struct pvt_client *c = pvt_store(s, json_object(), (const uint8_t *)"", 0, 0);
    pvt_client_run(c);
    pvt_client_free(c);

    c = calloc(1, sizeof *c);
    static const struct pv_request_io io = {.finish = pvt_io_finish};
    c->is_open = true;
    c->events = json_array();
    c->rq = (struct pv_request){
        .io = &io, .owner = c, .id = 1, .args = json_pack("{s:s}", "op", "dance")};
    pv_files_request(s->files, &c->rq);
    cr_assert_eq(pvt_number(c->final, "exit"), PV_EXIT_USAGE);
    pvt_client_free(c);
    pvt_server_free(s);
}
