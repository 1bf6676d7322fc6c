/* What lies in the place of a blob file, and calls that fail. */
#include "tests/unit/storage_check_fixture.h"

TestSuite(check_place, .timeout = 240);

static void truncated(const char *path)
{
    cr_assert_eq(truncate(path, LARGE - 1), 0);
}

static void longer(const char *path)
{
    cr_assert_eq(truncate(path, LARGE + 1), 0);
}

static void removed(const char *path)
{
    cr_assert_eq(unlink(path), 0);
}

static void link_to_good(const char *path)
{
    char away[600];
    snprintf(away, sizeof away, "%s.away", path); /* not a blob's name: nobody looks at it */
    cr_assert_eq(rename(path, away), 0);
    cr_assert_eq(symlink(away, path), 0);
}

static void pipe_there(const char *path)
{
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
}

static void folder_there(const char *path)
{
    char inside[600];
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(inside, sizeof inside, "%s/x", path);
    cr_assert_eq(mkdir(inside, 0700), 0);
}

Test(check_place, what_lies_in_the_place_of_a_file)
{
    static const struct {
        void (*spoil)(const char *path);
        enum pv_check_result result;
        size_t kept;
    } cases[] = {
        {truncated, PV_CHECK_LENGTH, 1},      {longer, PV_CHECK_LENGTH, 1},
        {removed, PV_CHECK_MISSING, 0},       {link_to_good, PV_CHECK_NOT_A_FILE, 1},
        {pipe_there, PV_CHECK_NOT_A_FILE, 1}, {folder_there, PV_CHECK_NOT_A_FILE, 1},
    };
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        struct pvt_vault *v = pvt_vault_new_open();
        struct pvt_blob b = pvt_blob_make(1, LARGE);
        char path[500], away[600];
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        path_of(v, &b.id, path);
        cases[i].spoil(path);
        for (int depth = PV_CHECK_STRUCTURE; depth <= PV_CHECK_EVERY_BYTE; depth++)
            cr_assert_eq(find(v, (enum pv_check_depth)depth, &b.id), cases[i].result, "%zu", i);
        cr_assert_not(pvt_has_blob(v, &b)); /* and reading it does not hang */
        snprintf(away, sizeof away, "%s.away", path);
        (void)unlink(away);
        leaves_and_returns(v, &b, cases[i].kept);
        pvt_blob_free(&b);
        pvt_vault_free(v);
    }
}

static enum pv_err (*read_well)(void *, pv_fd, void *, size_t, uint64_t, size_t *);

/* Of blobs; the pages of vault.db are shorter. */
static enum pv_err read_badly(void *ctx, pv_fd fd, void *dst, size_t len, uint64_t offset,
                              size_t *got)
{
    return len > 4096 ? PV_E_IO : read_well(ctx, fd, dst, len, offset, got);
}

static void is_unreadable(struct pvt_vault *v, const struct pv_id *id)
{
    cr_assert_eq(find(v, PV_CHECK_SUM, id), PV_CHECK_UNREADABLE);
    struct pv_commit_op op = bad(v, id, PV_OK);
    cr_assert(!op.u.bad.gone && op.u.bad.result == PV_CHECK_UNREADABLE);
    pvt_faultfs_heal(&v->faults);
    v->faults.fs.read = read_well;
    cr_assert_eq(find(v, PV_CHECK_SUM, id), PV_CHECK_GOOD);
    cr_assert_eq(quarantined(v), 0);
}

/* Nothing is known of bytes that cannot be read: they stay, and count as here. */
Test(check_place, unreadable_is_not_bad)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, LARGE);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    read_well = v->faults.fs.read;
    v->faults.fs.read = read_badly;
    is_unreadable(v, &b.id);
    pvt_faultfs_fail_on(&v->faults, PVT_FS_OPEN, PV_E_AUTH);
    is_unreadable(v, &b.id);
    pvt_faultfs_fail_on(&v->faults, PVT_FS_OPEN, PV_E_IO);
    is_unreadable(v, &b.id);
    pvt_faultfs_fail_on(&v->faults, PVT_FS_OPEN, PV_E_LIMIT); /* ours, not the blob's */
    struct pv_blob_check c = {.depth = PV_CHECK_SUM, .max_bytes = 1};
    cr_assert_eq(pv_store_check_blobs(v->store, &c), PV_E_LIMIT);
    cr_assert_eq(c.count, 0);
    (void)bad(v, &b.id, PV_E_LIMIT);
    pvt_faultfs_heal(&v->faults);
    cr_assert(pvt_has_blob(v, &b));
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

/* A good copy that comes in the batch in which the bad one leaves, in either order. */
Test(check_place, a_copy_in_the_same_batch)
{
    for (int order = 0; order < 2; order++) {
        for (size_t len = SMALL; len <= LARGE; len += LARGE - SMALL) {
            struct pvt_vault *v = pvt_vault_new_open();
            struct pvt_blob b = pvt_blob_make(1, len);
            uint64_t bytes;
            cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
            if (len == SMALL)
                sql(v, "UPDATE small SET bytes=zeroblob(5000)");
            else
                flip(v, &b.id, 7);
            struct pv_commit_op ops[2] = {pvt_blob_op(&b),
                                          {.type = PV_COMMIT_BAD, .u.bad = {.id = b.id}}};
            struct pv_commit c[2] = {pvt_commit_of(&ops[order], 1),
                                     pvt_commit_of(&ops[1 - order], 1)};
            c[0].next = &c[1];
            pv_commit_batch(v->store, &c[0]);
            cr_assert(c[0].err == PV_OK && c[1].err == PV_OK);
            cr_assert(pvt_has_blob(v, &b));
            cr_assert_eq(blobs_of(v, &bytes), 1);
            cr_assert_eq(bytes, len);
            cr_assert_eq(quarantined(v), 1);
            cr_assert(recounts(v));
            pvt_blob_free(&b);
            pvt_vault_free(v);
        }
    }
}

/* Any one call fails: the blob is here and bad, or not here; its bytes are not lost in between. */
Test(check_place, any_call_may_fail)
{
    for (size_t len = SMALL; len <= LARGE; len += LARGE - SMALL) {
        for (int call = 0; call < PVT_FS_CALL_COUNT; call++) {
            for (uint64_t n = 1; n < 20; n++) {
                struct pvt_vault *v = pvt_vault_new_open();
                struct pvt_blob b = pvt_blob_make(1, len);
                cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
                if (len == SMALL)
                    sql(v, "UPDATE small SET bytes=zeroblob(5000)");
                else
                    flip(v, &b.id, 7);
                struct pv_commit_op op = {.type = PV_COMMIT_BAD, .u.bad = {.id = b.id}};
                pvt_faultfs_fail(&v->faults, (enum pvt_fs_call)call, n, PV_E_IO);
                enum pv_err err = pvt_commit(v, &op, 1);
                bool fired = v->faults.fired;
                pvt_faultfs_heal(&v->faults);
                struct pv_blob_info info;
                if (err == PV_OK && op.u.bad.gone)
                    cr_assert_eq(pv_store_blob(v->store, &b.id, &info), PV_E_NOT_FOUND);
                else if (err == PV_OK)
                    cr_assert_eq(op.u.bad.result, PV_CHECK_UNREADABLE);
                cr_assert(pv_store_blob(v->store, &b.id, &info) == PV_OK || quarantined(v) == 1);
                if (!atomic_load(&v->store->broken)) {
                    op = (struct pv_commit_op){.type = PV_COMMIT_BAD, .u.bad = {.id = b.id}};
                    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
                    cr_assert(op.u.bad.gone);
                    cr_assert(recounts(v));
                }
                pvt_blob_free(&b);
                pvt_vault_free(v);
                if (!fired)
                    break;
            }
        }
    }
}

Test(check_place, each_allocation_may_fail)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, LARGE);
    bool same;
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    flip(v, &b.id, 7);
    for (uint64_t k = 0;; k++) {
        struct pv_blob_check c = {.depth = PV_CHECK_EVERY_BYTE, .max_bytes = 1};
        pv_mem_fail_after(k);
        enum pv_err err = pv_store_check_blobs(v->store, &c);
        pv_mem_fail_after(UINT64_MAX);
        if (err == PV_OK && c.count == 1)
            break;
        cr_assert_eq(err, PV_E_NOMEM);
    }
    pv_mem_fail_after(0);
    cr_assert_eq(pv_store_recount(v->store, &same), PV_E_NOMEM);
    pv_mem_fail_after(0);
    (void)bad(v, &b.id, PV_E_NOMEM);
    pv_mem_fail_after(UINT64_MAX);
    cr_assert(bad(v, &b.id, PV_OK).u.bad.gone);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(check_place, the_list_of_lost_blobs)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, SMALL);
    for (unsigned i = 0; i < PV_LOST_MAX + 3; i++) {
        struct pv_commit_op op = {.type = PV_COMMIT_BAD, .u.bad.why = PV_BAD_WANTED};
        op.u.bad.id = i == 500 ? b.id : (struct pv_id){{(uint8_t)i, (uint8_t)(i >> 8), 7}};
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
        cr_assert(op.u.bad.gone && !op.u.bad.here);
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK); /* twice is once */
        cr_assert_eq(lost(v), i < PV_LOST_MAX ? i + 1 : PV_LOST_MAX);
    }
    pvt_reopen(v);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    cr_assert_eq(lost(v), PV_LOST_MAX - 1);
    for (unsigned i = 3; i < PV_LOST_MAX + 3; i++) {
        struct pv_commit_op op = {.type = PV_COMMIT_BAD, .u.bad.why = PV_BAD_NEEDLESS};
        op.u.bad.id = i == 500 ? b.id : (struct pv_id){{(uint8_t)i, (uint8_t)(i >> 8), 7}};
        cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    }
    cr_assert_eq(lost(v), 0);
    cr_assert(pvt_has_blob(v, &b));
    pvt_blob_free(&b);
    pvt_vault_free(v);
}
