#include "internal/upkeep/scrub.h"
#include "storage/store_private.h"
#include "tests/unit/internal_client_fixture.h"

#include <fcntl.h>
#include <unistd.h>

TestSuite(scrub, .timeout = 240);

enum { LEN = 3000000 };
#define DAY_MS (UINT64_C(24) * 3600 * 1000)

/* ---- a disk that takes its time ---- */

static struct pv_fs slow;
static struct pvt_node *slow_node;
static uint64_t read_ms, bytes_read;
static bool is_broken;

static enum pv_err read_slowly(void *ctx, pv_fd fd, void *dst, size_t len, uint64_t offset,
                               size_t *got)
{
    if (len <= 4096) /* vault.db */
        return pv_fs_real()->read(ctx, fd, dst, len, offset, got);
    pvt_env_advance(&slow_node->env, read_ms);
    bytes_read += len;
    return is_broken ? PV_E_IO : pv_fs_real()->read(ctx, fd, dst, len, offset, got);
}

static void make_slow(struct pvt_node *n, uint64_t ms)
{
    slow = *n->vault.fs;
    slow.read = read_slowly;
    slow_node = n;
    read_ms = ms;
    bytes_read = 0;
    is_broken = false;
    n->vault.fs = &slow;
}

static void end(struct pvt_server *s)
{
    pv_scrub_stop(s->upkeep);
    pvt_settle(&s->net);
    pvt_server_free(s);
}

static struct pvt_client *status(struct pvt_server *s)
{
    struct pvt_client *c = pvt_ask(s, json_pack("{s:s}", "op", "status"));
    pvt_assert_ok(c);
    return c;
}

static void says(struct pvt_server *s, long long bad_blobs, long long quarantined,
                 const char *problem)
{
    struct pvt_client *c = status(s);
    cr_assert_eq(pvt_number(c->final, "bad_blobs"), bad_blobs);
    cr_assert_eq(pvt_number(c->final, "quarantined"), quarantined);
    cr_assert_eq(json_is_true(json_object_get(c->final, "healthy")), problem == NULL);
    const json_t *problems = json_object_get(c->final, "problems");
    cr_assert_eq(json_array_size(problems), problem != NULL);
    if (problem != NULL)
        cr_assert_not_null(strstr(pvt_text(json_array_get(problems, 0), "text"), problem));
    pvt_client_free(c);
}

static long long since(struct pvt_server *s)
{
    struct pvt_client *c = status(s);
    const json_t *v = json_object_get(c->final, "oldest_unverified_ms");
    long long ms = v == NULL ? 0 : json_integer_value(v);
    pvt_client_free(c);
    return ms;
}

static void flip_first_file(struct pvt_node *n)
{
    struct pv_blob_row_info rows[64];
    uint64_t cursor = 0;
    size_t count = 0, i = 0;
    bool at_end;
    char name[PV_BLOB_PATH_LEN + 1], path[700];
    uint8_t byte;
    cr_assert_eq(pv_store_blobs(n->store, &cursor, rows, 64, &count, &at_end), PV_OK);
    while (i < count && !rows[i].is_file)
        i++;
    cr_assert_lt(i, count);
    pv_blob_path(name, &rows[i].blob.id);
    snprintf(path, sizeof path, "%s/%s", n->vault_path, name);
    int fd = open(path, O_RDWR);
    cr_assert_eq(pread(fd, &byte, 1, 60000), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, 60000), 1);
    close(fd);
}

static struct pvt_server *with_file(unsigned nodes)
{
    struct pvt_server *s = pvt_server_new(nodes);
    uint8_t *bytes = pvt_content(1, LEN);
    pvt_store(s, "big", bytes, LEN);
    pvt_store(s, "small", bytes + 8, 20000);
    free(bytes);
    pvt_advance(&s->net, 60000);
    return s;
}

Test(scrub, every_week_and_every_byte_within_30_days)
{
    struct pvt_server *s = with_file(1);
    struct pvt_node *n = pvt_me(s);
    make_slow(n, 0);
    pv_scrub_schedule(s->upkeep);
    pvt_forward(s, PV_SCRUB_FIRST_MS - 1);
    cr_assert_eq(bytes_read, 0);
    cr_assert_eq(since(s), 0);
    long long last = 0, last_hashed = 0;
    for (unsigned day = 0; day < 100; day++) {
        pvt_log_clear(&s->net.log);
        pvt_forward(s, DAY_MS);
        long long at = since(s);
        if (at != last && pvt_log_has(&s->net.log, "depth=\"every byte\"")) {
            cr_assert_leq(at - last_hashed, last_hashed == 0 ? at : 30 * (long long)DAY_MS);
            last_hashed = at;
        }
        if (at != last && last != 0)
            cr_assert_leq(at - last, 8 * (long long)DAY_MS);
        cr_assert_geq((long long)n->env.wall_ms - at, 0);
        cr_assert_leq((long long)n->env.wall_ms - at, 8 * (long long)DAY_MS);
        last = at;
    }
    cr_assert_neq(last_hashed, 0);
    cr_assert_geq(bytes_read, 13 * (uint64_t)LEN);
    cr_assert_leq(bytes_read, 17 * (uint64_t)LEN);
    says(s, 0, 0, NULL);
    end(s);
}

Test(scrub, a_bad_blob_that_nobody_else_has)
{
    struct pvt_server *s = with_file(1);
    says(s, 0, 0, NULL);
    flip_first_file(pvt_me(s));
    pv_scrub_schedule(s->upkeep);
    pvt_forward(s, 2 * PV_SCRUB_FIRST_MS);
    says(s, 1, 1, "no reachable node has a good copy");
    uint8_t *bytes = pvt_content(1, LEN);
    pvt_store(s, "big", bytes, LEN); /* the user has another copy */
    free(bytes);
    says(s, 0, 1, NULL);
    end(s);
}

Test(scrub, a_bad_blob_comes_from_a_peer)
{
    struct pvt_server *s = with_file(2);
    flip_first_file(pvt_me(s));
    pv_scrub_schedule(s->upkeep);
    pvt_forward(s, 2 * PV_SCRUB_FIRST_MS);
    says(s, 0, 1, NULL);
    cr_assert(pvt_log_has(&s->net.log, "a damaged blob was fetched again"));
    end(s);
}

Test(scrub, what_cannot_be_read)
{
    struct pvt_server *s = with_file(1);
    make_slow(pvt_me(s), 0);
    is_broken = true;
    pv_scrub_schedule(s->upkeep);
    pvt_forward(s, 2 * PV_SCRUB_FIRST_MS);
    struct pvt_client *c = status(s);
    cr_assert_gt(pvt_number(c->final, "bad_blobs"), 3);
    cr_assert_eq(pvt_number(c->final, "quarantined"), 0);
    cr_assert(json_is_false(json_object_get(c->final, "healthy")));
    pvt_client_free(c);
    cr_assert_neq(since(s), 0);
    is_broken = false;
    pvt_forward(s, 8 * DAY_MS);
    says(s, 0, 0, NULL);
    end(s);
}

Test(scrub, can_be_left_out)
{
    struct pvt_server *s = with_file(1);
    s->upkeep->config.no_scrub = true;
    pv_upkeep_work(s->upkeep);
    cr_assert_null(s->upkeep->scrub);
    pv_upkeep_rest(s->upkeep);
    s->upkeep->config.no_scrub = false;
    pv_upkeep_work(s->upkeep);
    cr_assert_not_null(s->upkeep->scrub);
    pv_upkeep_rest(s->upkeep);
    cr_assert_null(s->upkeep->scrub);
    pvt_settle(&s->net);
    pvt_server_free(s);
}

/* ---- the pace ---- */

/* The rest after a slice in which each blob took so long; *took: the slice. */
static uint64_t rest_after(struct pvt_server *s, uint64_t each_ms, uint64_t *took)
{
    struct pvt_node *n = pvt_me(s);
    make_slow(n, each_ms);
    pv_scrub_schedule(s->upkeep);
    pvt_advance(&s->net, PV_SCRUB_FIRST_MS);
    uint64_t began_ms = n->env.mono_ms;
    pvt_files_due(n);
    pvt_settle(&s->net);
    *took = n->env.mono_ms - began_ms;
    return pv_files_deadline_ms(s->files) - n->env.mono_ms;
}

static struct pvt_server *with_many(void)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(1, 40 << 20);
    pvt_store(s, "big", bytes, 40 << 20);
    free(bytes);
    return s;
}

Test(scrub, rests_nine_times_as_long_as_it_works)
{
    uint64_t took;
    struct pvt_server *s = with_many();
    uint64_t rest = rest_after(s, 1000, &took);
    cr_assert_geq(took, 8000);
    cr_assert_leq(bytes_read, PV_SCRUB_SLICE + PV_BLOB_LEN_MAX);
    cr_assert_eq(rest, 9 * took);
    end(s);
}

Test(scrub, hurries_when_the_week_would_not_do)
{
    uint64_t took;
    struct pvt_server *s = with_many();
    struct pvt_node *n = pvt_me(s);
    uint64_t real = n->store->totals.blob_bytes;
    n->store->totals.blob_bytes = UINT64_C(100) << 30; /* 12 800 slices: 47 s for each */
    uint64_t rest = rest_after(s, 1000, &took);
    cr_assert_gt(rest, took);
    cr_assert_leq(rest + took, PV_SCRUB_EVERY_MS / 12000);
    cr_assert_geq(rest + took, PV_SCRUB_EVERY_MS / 13000);
    n->store->totals.blob_bytes = UINT64_C(1000) << 30; /* cannot be done: half of the time */
    pvt_advance(&s->net, rest);
    uint64_t began_ms = n->env.mono_ms;
    pvt_files_due(n);
    pvt_settle(&s->net);
    took = n->env.mono_ms - began_ms;
    cr_assert_leq(pv_files_deadline_ms(s->files) - n->env.mono_ms, took + 1);
    cr_assert_geq(pv_files_deadline_ms(s->files) - n->env.mono_ms, took);
    n->store->totals.blob_bytes = real;
    end(s);
}

/* Half of a pass, the end of the process, and the other half. */
Test(scrub, goes_on_after_a_restart)
{
    uint64_t took;
    struct pvt_server *s = with_many();
    struct pvt_node *n = pvt_me(s);
    (void)rest_after(s, 3000, &took);
    while (bytes_read < 20 << 20) {
        pvt_advance(&s->net, pv_files_deadline_ms(s->files) - n->env.mono_ms);
        pvt_files_due(n);
        pvt_settle(&s->net);
    }
    cr_assert_eq(since(s), 0);
    uint64_t before = bytes_read;
    pv_scrub_stop(s->upkeep);
    pvt_settle(&s->net);
    pvt_advance(&s->net, DAY_MS);
    pv_scrub_schedule(s->upkeep); /* knows nothing but what is in the vault */
    pvt_forward(s, 3600 * 1000);
    cr_assert_neq(since(s), 0);
    cr_assert_leq(since(s), (long long)(n->env.wall_ms - DAY_MS)); /* since the pass began */
    cr_assert_geq(bytes_read, 40 << 20);
    cr_assert_leq(bytes_read, (42 << 20) + PV_SCRUB_SLICE, "%llu then %llu",
                  (unsigned long long)before, (unsigned long long)bytes_read);
    end(s);
}

Test(scrub, a_clock_that_is_set_back)
{
    struct pvt_server *s = with_file(1);
    struct pvt_node *n = pvt_me(s);
    pv_scrub_schedule(s->upkeep);
    pvt_forward(s, 2 * PV_SCRUB_FIRST_MS);
    long long first = since(s);
    n->env.wall_ms -= 1000 * DAY_MS;
    pvt_forward(s, 15 * DAY_MS);
    cr_assert_lt(since(s), first);
    cr_assert_neq(since(s), 0);
    cr_assert_leq(since(s), (long long)n->env.wall_ms);
    end(s);
}

/* Stopped at any step, in want of memory at any allocation: it ends, or goes on later. */
Test(scrub, cut_short)
{
    for (uint64_t steps = 0; steps < 40; steps++) {
        struct pvt_server *s = with_file(2);
        flip_first_file(pvt_me(s));
        pv_scrub_schedule(s->upkeep);
        pvt_advance(&s->net, PV_SCRUB_FIRST_MS);
        pvt_files_due(pvt_me(s));
        pvt_steps(&s->net, steps);
        end(s);
    }
    struct pvt_server *s = with_file(1);
    flip_first_file(pvt_me(s));
    pv_scrub_schedule(s->upkeep);
    pvt_advance(&s->net, PV_SCRUB_FIRST_MS);
    for (uint64_t k = 0; k < 12; k++) {
        pv_mem_fail_after(k);
        pvt_files_due(pvt_me(s));
        pvt_settle(&s->net);
        pv_mem_fail_after(UINT64_MAX);
        pvt_forward(s, 30000);
    }
    pvt_forward(s, 10 * 60000);
    says(s, 1, 1, "no reachable node");
    end(s);
}
