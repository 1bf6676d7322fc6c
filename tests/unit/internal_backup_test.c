/* A daemon keeps records.bak up to date. */
#include "tests/unit/internal_client_fixture.h"

#include "internal/upkeep/backup.h"
#include "storage/backup_scan.h"

TestSuite(backup, .timeout = 60);

static bool ignore(void *arg, const uint8_t *env, size_t len)
{
    (void)arg;
    (void)env;
    return len > 0;
}

/* Envelopes in the file; -1: there is none. */
static long long saved(const struct pvt_node *n)
{
    struct pv_scan scan;
    pv_fd fd;
    if (pv_fs_real()->open(NULL, n->vault.dir, "records.bak", PV_FS_READ, &fd) != PV_OK)
        return -1;
    cr_assert_eq(pv_scan_records(pv_fs_real(), fd, &scan, ignore, NULL), PV_OK);
    cr_assert_eq(scan.skipped_bytes, 0);
    cr_assert_eq(pv_fs_real()->close(NULL, fd), PV_OK);
    return (long long)scan.found;
}

static void hours(struct pvt_server *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        pvt_advance(&s->net, PV_BACKUP_EVERY_MS);
        pvt_files_due(pvt_me(s));
        pvt_settle(&s->net);
    }
}

/* Small blobs in small.bak; -1: there is none. */
static long long saved_blobs(const struct pvt_node *n)
{
    struct pv_scan scan;
    pv_fd fd;
    if (pv_fs_real()->open(NULL, n->vault.dir, "small.bak", PV_FS_READ, &fd) != PV_OK)
        return -1;
    cr_assert_eq(pv_scan_blobs(pv_fs_real(), fd, &scan, ignore, NULL), PV_OK);
    cr_assert_eq(scan.skipped_bytes, 0);
    cr_assert_eq(pv_fs_real()->close(NULL, fd), PV_OK);
    return (long long)scan.found;
}

Test(backup, hourly)
{
    struct pvt_server *s = pvt_server_new(1);
    pvt_store_text(s, "one", "first");
    cr_assert_eq(saved(pvt_me(s)), -1);
    pv_upkeep_work(s->upkeep);
    pvt_wait(s, 100);
    long long first = saved(pvt_me(s));
    cr_assert_eq(first, (long long)pvt_counts(pvt_me(s)).records);
    cr_assert_eq(saved_blobs(pvt_me(s)), -1);
    uint8_t *bytes = pvt_content(1, 30000);
    pvt_store(s, "two", bytes, 30000);
    pvt_wait(s, 60000);
    cr_assert_eq(saved(pvt_me(s)), first);
    hours(s, 1);
    cr_assert_eq(saved(pvt_me(s)), first + 2);
    cr_assert_eq(saved_blobs(pvt_me(s)), 1);
    hours(s, 30);
    cr_assert_eq(saved(pvt_me(s)), first + 2);
    free(bytes);
    pv_upkeep_rest(s->upkeep);
    pvt_server_free(s);
}

Test(backup, stopped_at_every_step)
{
    struct pvt_server *s = pvt_server_new(1);
    bool more = true;
    for (uint64_t steps = 0; more; steps++) {
        pvt_store_text(s, NULL, steps % 2 == 0 ? "first" : "second");
        pvt_advance(&s->net, PV_BACKUP_EVERY_MS);
        pv_upkeep_work(s->upkeep);
        pvt_files_due(pvt_me(s));
        more = pvt_steps(&s->net, steps);
        pv_upkeep_rest(s->upkeep);
        pvt_settle(&s->net);
    }
    /* with those that were replaced meanwhile */
    cr_assert_geq(saved(pvt_me(s)), (long long)pvt_counts(pvt_me(s)).records);
    pvt_server_free(s);
}
