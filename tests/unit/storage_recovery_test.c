/* What a crash, a killed process or a careless backup leaves behind. */
#include "tests/unit/storage_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

TestSuite(recovery, .timeout = 120);

static off_t file_len(struct pvt_vault *v, const char *name)
{
    char path[400];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", v->path, name);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* Commits one batch in a process of its own, which then dies without closing. Its error. */
static enum pv_err commit_and_die(struct pvt_vault *v, struct pv_commit_op *ops, size_t count,
                                  uint64_t fail_after)
{
    pid_t child = fork();
    if (child == 0) {
        if (pvt_vault_try_open(v) != PV_OK)
            _exit(100);
        struct pv_commit c = pvt_commit_of(ops, count);
        pv_mem_fail_after(fail_after);
        pv_commit_batch(v->store, &c);
        _exit((int)c.err);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) != 100);
    return (enum pv_err)WEXITSTATUS(status);
}

/* ---- the log ---- */

/* After a failed sync its last bytes may be in the page cache only, marked as clean. */
Test(recovery, a_log_that_was_left_is_written_again_before_it_is_added_to)
{
    struct pvt_vault *v = pvt_vault_new();
    struct pvt_blob b[8];
    struct pv_commit_op ops[8];
    for (unsigned i = 0; i < 8; i++) {
        b[i] = pvt_blob_make(i, 60000);
        ops[i] = pvt_blob_op(&b[i]);
    }
    cr_assert_eq(commit_and_die(v, ops, 8, UINT64_MAX), PV_OK);
    off_t len = file_len(v, "vault.db-wal");
    cr_assert_gt(len, 8 * 60000);
    uint64_t before = v->faults.bytes_written;
    pvt_vault_open(v);
    cr_assert_geq(v->faults.bytes_written - before, (uint64_t)len);
    for (unsigned i = 0; i < 8; i++)
        cr_assert(pvt_has_blob(v, &b[i]));
    pvt_vault_close(v);

    before = v->faults.bytes_written; /* closed in order: there is nothing to write again */
    pvt_vault_open(v);
    cr_assert_lt(v->faults.bytes_written - before, 100000);
    pvt_vault_close(v);

    cr_assert_eq(commit_and_die(v, ops, 0, UINT64_MAX), PV_OK);
    atomic_store(&pvt_fatal_count, 0);
    pvt_faultfs_fail(&v->faults, PVT_FS_SYNC, 1, PV_E_IO);
    cr_assert_eq(pvt_vault_try_open(v), PV_E_IO);
    cr_assert_eq(atomic_load(&pvt_fatal_count), 1);
    for (unsigned i = 0; i < 8; i++)
        pvt_blob_free(&b[i]);
    pvt_vault_free(v);
}

/*
 * Memory ran out when the log was synced already: the commit is reported as failed, and yet a crash
 * may bring it back. Its files must be there then.
 */
Test(recovery, a_commit_in_doubt_keeps_its_files)
{
    enum { ROWS = 290 }; /* more pages than one piece of the log's index has room for */
    struct pvt_vault *v = pvt_vault_new();
    struct pvt_blob rows[ROWS];
    struct pv_commit_op *ops = calloc(ROWS + 1, sizeof *ops);
    unsigned in_doubt = 0;
    enum pv_err err = PV_E_NOMEM;
    v->config.cache_bytes = 128 << 20; /* so that all is written at once, by COMMIT */
    v->config.make_anew = true;        /* each time */
    for (unsigned i = 0; i < ROWS; i++)
        rows[i] = pvt_blob_make(i, 60000);
    for (unsigned n = 0; err != PV_OK; n++) {
        struct pvt_blob file = pvt_blob_make(1000 + n, 70000);
        ops[ROWS] = pvt_blob_op(&file);
        for (unsigned i = 0; i < ROWS; i++)
            ops[i] = pvt_blob_op(&rows[i]);
        err = commit_and_die(v, ops, ROWS + 1, n);
        cr_assert(err == PV_OK || err == PV_E_NOMEM, "%s", pv_err_name(err));
        pvt_vault_open(v);
        struct pv_blob_info info;
        if (pv_store_blob(v->store, &file.id, &info) == PV_OK) {
            cr_assert(pvt_has_blob(v, &file), "%u", n);
            in_doubt += err != PV_OK;
        }
        pvt_vault_close(v);
        pvt_blob_free(&file);
        if (err != PV_OK)
            pvt_vault_forget(v); /* the same pages again */
        cr_assert_lt(n, 100);
    }
    cr_assert_geq(in_doubt, 1);
    for (unsigned i = 0; i < ROWS; i++)
        pvt_blob_free(&rows[i]);
    free(ops);
    pvt_vault_free(v);
}

static void die(const char *what)
{
    (void)what;
    _exit(100);
}

/* Killed in the middle of any write to vault.db or its log, and before any sync. */
static void cut_first_opening(enum pvt_fs_call call)
{
    struct pvt_vault *v = pvt_vault_new();
    int status = 1;
    for (uint64_t n = 1; status != 0; n++) {
        pid_t child = fork();
        if (child == 0) {
            v->config.fatal = die;
            pvt_faultfs_fail(&v->faults, call, n, PV_E_IO);
            enum pv_err err = pvt_vault_try_open(v);
            _exit(v->faults.fired ? 1 : err == PV_OK ? 0 : 2);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) != 2);
        pvt_vault_open(v);
        struct pvt_blob b = pvt_blob_make(1, 1000);
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        pvt_reopen(v);
        cr_assert(pvt_has_blob(v, &b));
        pvt_blob_free(&b);
        pvt_vault_close(v);
        pvt_vault_forget(v);
        cr_assert_lt(n, 200);
    }
    pvt_vault_free(v);
}

Test(recovery, the_first_opening_may_be_cut_short_anywhere)
{
    cut_first_opening(PVT_FS_WRITE);
    cut_first_opening(PVT_FS_SYNC);
}

/* ---- the folder ---- */

Test(recovery, folders_that_a_backup_left_out_are_made_again)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, 70000);
    struct pv_id ids[PV_UNKNOWN_MAX];
    char path[400];
    pvt_vault_close(v);
    for (unsigned i = 0; i < 256; i++) {
        snprintf(path, sizeof path, "%s/blobs/%02x", v->path, i & 0xff);
        cr_assert_eq(rmdir(path), 0);
    }
    pvt_vault_open(v);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    cr_assert(pvt_has_blob(v, &b));
    cr_assert_eq(pvt_find_unknown(v, ids), 0);
    uint64_t syncs = pvt_faultfs_count(&v->faults, PVT_FS_MKDIR);
    pvt_reopen(v);
    cr_assert_gt(pvt_faultfs_count(&v->faults, PVT_FS_MKDIR), syncs);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

/* Whoever made a folder that is there already may have died before it was synced. */
Test(recovery, creating_syncs_the_parents_of_what_is_there)
{
    struct pvt_tmpdir d;
    struct pvt_faultfs f;
    pvt_tmpdir_init(&d);
    pvt_faultfs_init(&f, pv_fs_real());
    cr_assert_eq(chdir(d.path), 0);
    cr_assert(mkdir("a", 0700) == 0 && mkdir("a/b", 0700) == 0);
    cr_assert_eq(pv_vault_create("a/b", &f.fs), PV_OK);
    cr_assert_eq(pvt_faultfs_count(&f, PVT_FS_SYNC), 4); /* ".", "a/", blobs, the vault */
    pvt_faultfs_fail(&f, PVT_FS_SYNC, 2, PV_E_IO);
    cr_assert_eq(pv_vault_create("a/b", &f.fs), PV_E_IO);
    pvt_faultfs_fail(&f, PVT_FS_OPEN, 1, PV_E_AUTH); /* a parent that others own */
    cr_assert_eq(pv_vault_create("a/b", &f.fs), PV_OK);
    pvt_faultfs_fail(&f, PVT_FS_OPEN, 3, PV_E_AUTH); /* but not that of a new one */
    cr_assert_eq(pv_vault_create("a/b/c", &f.fs), PV_E_AUTH);
    cr_assert_eq(chdir("/"), 0);
    pvt_faultfs_release(&f);
    pvt_tmpdir_release(&d);
}

/* ---- vault.db ---- */

Test(recovery, blob_files_outlive_a_lost_database)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b[3], fresh = pvt_blob_make(9, 80000);
    struct pv_id ids[PV_UNKNOWN_MAX];
    struct pv_store_counts counts;
    uint8_t uuid[16];
    memcpy(uuid, pv_store_origin(v->store).uuid, sizeof uuid);
    for (unsigned i = 0; i < 3; i++) {
        b[i] = pvt_blob_make(i, 70000);
        cr_assert_eq(pvt_put_blob(v, &b[i]), PV_OK);
    }
    pvt_vault_close(v);
    pvt_vault_forget(v);
    cr_assert_eq(pvt_vault_try_open(v), PV_E_CORRUPT);
    v->config.make_anew = true;
    for (unsigned opening = 0; opening < 2; opening++) { /* for good, not just this once */
        pvt_vault_open(v);
        v->config.make_anew = false;
        cr_assert_neq(memcmp(uuid, pv_store_origin(v->store).uuid, sizeof uuid), 0);
        cr_assert_eq(pvt_put_blob(v, &fresh), PV_OK);
        cr_assert_eq(pvt_find_unknown(v, ids), 0); /* none to be deleted */
        cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
        cr_assert_eq(counts.unknown_files, 3);
        cr_assert(pvt_log_has(&v->log, "vault.db does not know"));
        pvt_vault_close(v);
    }
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(pvt_file_exists(v, &b[i].id));
        pvt_blob_free(&b[i]);
    }
    pvt_blob_free(&fresh);
    pvt_vault_free(v);
}

/* Nothing is made, and nothing thrown away, where there was a vault.db. */
Test(recovery, a_log_outlives_its_database)
{
    struct pvt_vault *v = pvt_vault_new();
    struct pvt_blob b = pvt_blob_make(1, 3000);
    struct pv_commit_op op = pvt_blob_op(&b);
    struct pv_fs_stat before, after;
    cr_assert_eq(commit_and_die(v, &op, 1, UINT64_MAX), PV_OK);
    cr_assert_eq(pv_vault_open(&v->vault, v->path, pv_fs_real()), PV_OK);
    pv_fd dir = v->vault.dir;
    cr_assert_eq(pv_fs_real()->stat_at(NULL, dir, "vault.db-wal", &before), PV_OK);
    cr_assert_eq(pv_fs_real()->rename(NULL, dir, "vault.db", dir, "kept"), PV_OK);
    pv_vault_close(&v->vault);
    cr_assert_eq(pvt_vault_try_open(v), PV_E_CORRUPT);
    cr_assert_eq(pv_vault_open(&v->vault, v->path, pv_fs_real()), PV_OK);
    cr_assert_eq(pv_fs_real()->stat_at(NULL, v->vault.dir, "vault.db", &after), PV_E_NOT_FOUND);
    cr_assert_eq(pv_fs_real()->stat_at(NULL, v->vault.dir, "vault.db-wal", &after), PV_OK);
    cr_assert_eq(after.size_bytes, before.size_bytes);
    dir = v->vault.dir;
    cr_assert_eq(pv_fs_real()->rename(NULL, dir, "kept", dir, "vault.db"), PV_OK);
    pv_vault_close(&v->vault);
    pvt_vault_open(v);
    cr_assert(pvt_has_blob(v, &b));
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

/* ---- descriptors ---- */

Test(recovery, a_batch_goes_on_with_few_descriptors)
{
    enum { N = 40, FEW = 10 };
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b[N];
    struct pv_commit_op ops[N];
    struct rlimit before, few;
    for (unsigned i = 0; i < N; i++) {
        b[i] = pvt_blob_make(i, 66000);
        ops[i] = pvt_blob_op(&b[i]);
    }
    int next = dup(0); /* the lowest that is free */
    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)next + FEW;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    cr_assert_eq(pvt_commit(v, ops, N), PV_OK);
    few.rlim_cur = (rlim_t)next;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct pvt_blob more = pvt_blob_make(99, 66000);
    cr_assert_eq(pvt_put_blob(v, &more), PV_E_LIMIT); /* with none it cannot */
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (unsigned i = 0; i < N; i++) {
        cr_assert(pvt_has_blob(v, &b[i]));
        pvt_blob_free(&b[i]);
    }
    pvt_blob_free(&more);
    pvt_vault_free(v);
}

/* ---- unknown files ---- */

struct writer {
    struct pvt_vault *v;
    atomic_uint batches;
    atomic_bool over;
};

/* Files that come and stay, and files that come and go again because their commit fails. */
static void *write_all_the_time(void *arg)
{
    enum { N = PV_COMMIT_BLOBS_MAX };
    struct writer *w = arg;
    struct pvt_blob b[N];
    struct pv_commit_op ops[N + 1];
    struct pv_id none = {{9}};
    while (!atomic_load(&w->over)) {
        for (unsigned i = 0; i < N; i++) {
            b[i] = pvt_blob_make(atomic_load(&w->batches) * N + i, 66000);
            ops[i] = pvt_blob_op(&b[i]);
        }
        ops[N] =
            (struct pv_commit_op){.type = PV_COMMIT_LEASE, .u.lease = {.ids = &none, .count = 1}};
        bool fails = atomic_fetch_add(&w->batches, 1) % 2 == 1;
        cr_assert_eq(pvt_commit(w->v, ops, N + fails), fails ? PV_E_NOT_FOUND : PV_OK);
        for (unsigned i = 0; i < N; i++)
            pvt_blob_free(&b[i]);
    }
    return NULL;
}

Test(recovery, files_of_commits_under_way_are_not_unknown)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct writer w = {.v = v};
    struct pv_id ids[PV_UNKNOWN_MAX];
    struct pv_store_counts counts;
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, write_all_the_time, &w), 0);
    while (atomic_load(&w.batches) < 12) {
        cr_assert_eq(pvt_find_unknown(v, ids), 0);
        cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
        cr_assert_eq(counts.unknown_files, 0);
    }
    atomic_store(&w.over, true);
    pthread_join(thread, NULL);
    pvt_vault_free(v);
}
