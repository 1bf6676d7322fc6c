#include "tests/unit/storage_check_fixture.h"

TestSuite(check, .timeout = 240);

Test(check, what_is_good_is_good)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b[5];
    uint64_t bytes = 0;
    struct pv_blob_check c = pass(v, PV_CHECK_EVERY_BYTE, 1);
    cr_assert_eq(c.blobs, 0);
    for (unsigned i = 0; i < 5; i++) {
        b[i] = pvt_blob_make(i, i % 2 ? SMALL : LARGE + i);
        bytes += b[i].len;
        cr_assert_eq(pvt_put_blob(v, &b[i]), PV_OK);
    }
    for (int depth = PV_CHECK_STRUCTURE; depth <= PV_CHECK_EVERY_BYTE; depth++) {
        c = pass(v, (enum pv_check_depth)depth, 1);
        cr_assert_eq(c.blobs, 5);
        cr_assert_eq(c.bytes, bytes);
        cr_assert_eq(c.count, 0);
    }
    struct pv_commit_op op = bad(v, &b[0].id, PV_OK);
    cr_assert(!op.u.bad.gone && op.u.bad.result == PV_CHECK_GOOD);
    cr_assert(pvt_has_blob(v, &b[0]));
    cr_assert(recounts(v));
    struct pv_id nobody = {{1}};
    op = bad(v, &nobody, PV_OK);
    cr_assert(op.u.bad.gone && !op.u.bad.here);
    cr_assert_eq(lost(v), 0);
    for (unsigned i = 0; i < 5; i++)
        pvt_blob_free(&b[i]);
    pvt_vault_free(v);
}

Test(check, slices_are_bounded)
{
    struct pvt_vault *v = pvt_vault_new_open();
    for (unsigned i = 0; i < 10; i++) {
        struct pvt_blob b = pvt_blob_make(i, SMALL);
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        pvt_blob_free(&b);
    }
    struct pv_blob_check c = {.depth = PV_CHECK_SUM, .max_bytes = 2 * SMALL};
    cr_assert_eq(pv_store_check_blobs(v->store, &c), PV_OK);
    cr_assert_eq(c.blobs, 2);
    cr_assert_not(c.end);
    c.max_bytes = 2 * SMALL + 1;
    cr_assert_eq(pv_store_check_blobs(v->store, &c), PV_OK);
    cr_assert_eq(c.blobs, 3);
    c.max_bytes = UINT64_MAX;
    cr_assert_eq(pv_store_check_blobs(v->store, &c), PV_OK);
    cr_assert_eq(c.blobs, 5);
    cr_assert(c.end);
    pvt_vault_free(v);
}

Test(check, a_byte_of_a_file)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, LARGE);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    flip(v, &b.id, LARGE - 1);
    cr_assert_eq(find(v, PV_CHECK_STRUCTURE, &b.id), PV_CHECK_GOOD);
    cr_assert_eq(find(v, PV_CHECK_SUM, &b.id), PV_CHECK_BYTES);
    cr_assert_eq(find(v, PV_CHECK_EVERY_BYTE, &b.id), PV_CHECK_BYTES);
    leaves_and_returns(v, &b, 1);
    flip(v, &b.id, 0); /* again: the first bad copy is kept, too */
    leaves_and_returns(v, &b, 2);
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

/* Foreign content of the right length, with the right quick sum even. */
Test(check, sha256_decides)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, SMALL), other = pvt_blob_make(2, SMALL);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    cr_assert_eq(pvt_put_blob(v, &other), PV_OK);
    sql(v, "UPDATE small SET bytes=(SELECT bytes FROM small WHERE seq=2) WHERE seq=1;"
           "UPDATE blob SET xxh3=(SELECT xxh3 FROM blob WHERE seq=2) WHERE seq=1");
    cr_assert_eq(find(v, PV_CHECK_SUM, &b.id), PV_CHECK_GOOD);
    cr_assert_eq(find(v, PV_CHECK_EVERY_BYTE, &b.id), PV_CHECK_BYTES);
    sql(v, "UPDATE blob SET id=zeroblob(32), xxh3=zeroblob(3) WHERE seq=1");
    struct pv_id zero = {{0}};
    cr_assert_eq(find(v, PV_CHECK_SUM, &zero), PV_CHECK_BYTES);
    pvt_blob_free(&b);
    pvt_blob_free(&other);
    pvt_vault_free(v);
}

Test(check, bytes_of_a_small_blob)
{
    static const struct {
        const char *sql;
        enum pv_check_result result;
        bool quick; /* the structure tells */
        size_t kept;
    } cases[] = {
        {"UPDATE small SET bytes=zeroblob(5000)", PV_CHECK_BYTES, false, 1},
        {"UPDATE small SET bytes=substr(bytes,1,4999)", PV_CHECK_LENGTH, true, 1},
        {"UPDATE small SET bytes=zeroblob(0)", PV_CHECK_LENGTH, true, 1},
        {"UPDATE small SET bytes=zeroblob(2000000)", PV_CHECK_LENGTH, true, 1},
        {"DELETE FROM small", PV_CHECK_MISSING, true, 0},
    };
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        struct pvt_vault *v = pvt_vault_new_open();
        struct pvt_blob b = pvt_blob_make(1, SMALL);
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        sql(v, cases[i].sql);
        cr_assert_eq(find(v, PV_CHECK_EVERY_BYTE, &b.id), cases[i].result);
        cr_assert_eq(find(v, PV_CHECK_STRUCTURE, &b.id),
                     cases[i].quick ? cases[i].result : PV_CHECK_GOOD);
        leaves_and_returns(v, &b, cases[i].kept);
        pvt_blob_free(&b);
        pvt_vault_free(v);
    }
}

Test(check, a_sum_that_is_wrong_is_put_right)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, SMALL);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    sql(v, "UPDATE blob SET xxh3=zeroblob(16)");
    cr_assert_eq(find(v, PV_CHECK_SUM, &b.id), PV_CHECK_BAD_SUM);
    cr_assert_eq(find(v, PV_CHECK_EVERY_BYTE, &b.id), PV_CHECK_BAD_SUM);
    struct pv_commit_op op = bad(v, &b.id, PV_OK);
    cr_assert(!op.u.bad.gone && op.u.bad.result == PV_CHECK_BAD_SUM);
    cr_assert_eq(find(v, PV_CHECK_SUM, &b.id), PV_CHECK_GOOD);
    cr_assert(pvt_has_blob(v, &b));
    cr_assert(recounts(v));
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

/* Rot in vault.db itself: the page fails its sum. The bytes cannot even be deleted, but the blob
 * can be stored anew. */
Test(check, a_rotten_page_under_a_small_blob)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, 40000), other = pvt_blob_make(2, 3000);
    char path[400];
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    cr_assert_eq(pvt_put_blob(v, &other), PV_OK);
    pvt_vault_close(v);
    snprintf(path, sizeof path, "%s/vault.db", v->path);
    FILE *f = fopen(path, "r+b");
    static uint8_t db[1 << 20];
    size_t len = fread(db, 1, sizeof db, f);
    uint8_t *at = memmem(db, len, b.bytes + 20000, 64); /* on a page of its own */
    cr_assert_not_null(at);
    cr_assert_eq(fseek(f, at - db, SEEK_SET), 0);
    fputc(*at ^ 1, f);
    fclose(f);
    pvt_vault_open(v);
    cr_assert_eq(find(v, PV_CHECK_STRUCTURE, &b.id), PV_CHECK_BYTES);
    struct pv_commit_op op = bad(v, &b.id, PV_OK);
    cr_assert(op.u.bad.gone);
    cr_assert_eq(lost(v), 1);
    cr_assert(recounts(v));
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    cr_assert(pvt_has_blob(v, &b) && pvt_has_blob(v, &other));
    pvt_reopen(v);
    cr_assert(pvt_has_blob(v, &b) && pvt_has_blob(v, &other));
    cr_assert_eq(pass(v, PV_CHECK_EVERY_BYTE, UINT64_MAX).count, 0);
    pvt_blob_free(&b);
    pvt_blob_free(&other);
    pvt_vault_free(v);
}

/* ---- pages of vault.db ---- */

static bool pages_are_good(struct pvt_vault *v)
{
    struct pv_page_check c = {.next = 0};
    while (!c.end)
        cr_assert_eq(pv_store_check_pages(v->store, &c), PV_OK);
    return !c.bad;
}

static void flip_page(struct pvt_vault *v, uint64_t number, off_t at)
{
    char path[400];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/vault.db", v->path);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    at += (off_t)(number - 1) * PV_VFS_PAGE_LEN;
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static uint64_t sql_number(struct pvt_vault *v, const char *text)
{
    sqlite3_stmt *st;
    cr_assert_eq(sqlite3_prepare_v2(v->store->writer->handle, text, -1, &st, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
    uint64_t number = (uint64_t)sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return number;
}

/* Also in a store that has them all in its caches. Free pages (not those that list others) are of
 * no interest to anybody. */
Test(check, every_page_in_use)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, 60000), other = pvt_blob_make(2, 3000);
    cr_assert_eq(pvt_put_blob(v, &other), PV_OK);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    sql(v, "DELETE FROM small WHERE length(bytes)>=60000");
    cr_assert_eq(pv_db_checkpoint(v->store->writer, PV_CHECKPOINT_CUT), PV_OK);
    uint64_t count = sql_number(v, "PRAGMA page_count"), bad_count = 0;
    uint64_t free_count = sql_number(v, "PRAGMA freelist_count");
    cr_assert_gt(free_count, 5);
    cr_assert(pages_are_good(v));
    for (uint64_t number = 1; number <= count; number++) {
        off_t at = (off_t)(number * 997 % PV_VFS_PAGE_LEN);
        flip_page(v, number, at);
        bad_count += !pages_are_good(v);
        flip_page(v, number, at);
    }
    cr_assert_eq(bad_count, count - free_count + 1, "%ju bad of %ju", bad_count, count);
    cr_assert(pages_are_good(v));
    pvt_blob_free(&b);
    pvt_blob_free(&other);
    pvt_vault_free(v);
}

/* The log has a newer version of it. */
Test(check, a_page_that_will_be_overwritten)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, 3000);
    cr_assert_eq(pv_db_checkpoint(v->store->writer, PV_CHECKPOINT_CUT), PV_OK);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    uint64_t number = sql_number(v, "SELECT rootpage FROM sqlite_schema WHERE name='small'");
    flip_page(v, number, 50);
    cr_assert(pages_are_good(v));
    cr_assert_eq(pv_db_checkpoint(v->store->writer, PV_CHECKPOINT_CUT), PV_OK);
    cr_assert(pages_are_good(v));
    flip_page(v, number, 50);
    cr_assert_not(pages_are_good(v));
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(check, pages_without_memory_or_disk)
{
    struct pvt_vault *v = pvt_vault_new_open();
    pvt_reopen(v);
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t k = 0;; k++) {
            struct pv_page_check c = {.next = 0};
            pv_mem_fail_after(k);
            enum pv_err err = pv_store_check_pages(v->store, &c);
            pv_mem_fail_after(UINT64_MAX);
            cr_assert(err == PV_OK || err == PV_E_NOMEM);
            if (err == PV_OK && c.end) {
                cr_assert_eq(c.bad, round == 1);
                break;
            }
        }
        flip_page(v, 1, 3000);
    }
    flip_page(v, 1, 3000);
    for (uint64_t n = 1;; n++) {
        struct pv_page_check c = {.next = 0};
        pvt_faultfs_fail(&v->faults, PVT_FS_READ, n, PV_E_IO);
        enum pv_err err = pv_store_check_pages(v->store, &c);
        bool fired = v->faults.fired;
        pvt_faultfs_heal(&v->faults);
        cr_assert(err == PV_E_IO || c.bad, "read %ju", n);
        if (!fired)
            break;
    }
    pvt_vault_free(v);
}

/* ---- records, digest and counts ---- */

Test(check, records_and_their_rows)
{
    struct pvt_vault *v = pvt_vault_new_open();
    bool applied;
    for (uint32_t i = 0; i < 20; i++) {
        struct pvt_record r = pvt_record_make(PV_RECORD_FILE, i, 1000 + i, 0, 1);
        cr_assert_eq(pvt_put_record(v, &r, i % 3 == 0, &applied), PV_OK);
    }
    struct pv_record_check c = {.end = false};
    cr_assert_eq(pv_store_check_records(v->store, &c), PV_OK);
    cr_assert(c.end && c.records == 20 && c.count == 0);
    cr_assert(recounts(v));
    static const char *const spoils[] = {
        "UPDATE record SET envelope=substr(envelope,1,200) WHERE seq=3",
        "UPDATE record SET hash=zeroblob(32) WHERE seq=3",
        "UPDATE record SET hlc=hlc+1 WHERE seq=3",
        "UPDATE record SET type=2 WHERE seq=3",
        "UPDATE record SET flags=1 WHERE seq=3",
    };
    sql(v, "CREATE TEMP TABLE saved AS SELECT * FROM record WHERE seq=3");
    for (size_t i = 0; i < PV_COUNT(spoils); i++) {
        sql(v, spoils[i]);
        c = (struct pv_record_check){.end = false};
        cr_assert_eq(pv_store_check_records(v->store, &c), PV_OK);
        cr_assert_eq(c.count, 1, "%zu", i);
        cr_assert_eq(c.records, 20);
        sql(v, "UPDATE record SET envelope=saved.envelope,hash=saved.hash,hlc=saved.hlc,"
               "type=saved.type,flags=saved.flags FROM saved WHERE record.seq=3");
    }
    cr_assert(recounts(v));
    sql(v, "DELETE FROM record WHERE seq=3");
    cr_assert_not(recounts(v));
    pvt_vault_free(v);
}

Test(check, counts_that_do_not_fit)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, SMALL);
    struct pvt_record r = pvt_record_make(PV_RECORD_FILE, 1, 1000, 0, 1);
    bool applied;
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    cr_assert_eq(pvt_put_record(v, &r, false, &applied), PV_OK);
    cr_assert(recounts(v));
    v->store->totals.blob_bytes++;
    cr_assert_not(recounts(v));
    v->store->totals.blob_bytes--;
    v->store->totals.names++;
    cr_assert_not(recounts(v));
    v->store->totals.names--;
    v->store->digest[4000].sum[15] ^= 1;
    cr_assert_not(recounts(v));
    v->store->digest[4000].sum[15] ^= 1;
    cr_assert(recounts(v));
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(check, more_records_than_a_slice)
{
    enum { COUNT = PV_SCAN_ROWS_MAX + 5 };
    struct pvt_vault *v = pvt_vault_new_open();
    bool applied;
    for (uint32_t i = 0; i < COUNT; i++) {
        struct pvt_record r = pvt_record_make(PV_RECORD_FILE, i, 1000 + i, 0, 1);
        cr_assert_eq(pvt_put_record(v, &r, false, &applied), PV_OK);
    }
    sql(v, "UPDATE record SET hlc=1 WHERE seq%10=0");
    struct pv_record_check c = {.end = false};
    size_t slices = 0, found = 0, records = 0;
    for (; !c.end; slices++) {
        cr_assert_eq(pv_store_check_records(v->store, &c), PV_OK);
        cr_assert_leq(c.count, PV_CHECK_FINDINGS_MAX);
        found += c.count;
        records += c.records;
    }
    cr_assert_eq(records, COUNT);
    cr_assert_eq(found, COUNT / 10);
    cr_assert_geq(slices, 2);
    pvt_vault_free(v);
}

Test(check, each_result_has_words_of_its_own)
{
    for (int i = PV_CHECK_GOOD; i <= PV_CHECK_UNREADABLE; i++) {
        cr_assert_str_neq(pv_check_text((enum pv_check_result)i), "unknown");
        for (int j = PV_CHECK_GOOD; j < i; j++)
            cr_assert_str_neq(pv_check_text((enum pv_check_result)i),
                              pv_check_text((enum pv_check_result)j));
    }
}

/* The transaction finds no room: the row stays, as if the file had gone missing. */
Test(check, a_bad_blob_on_a_full_disk_leaves_later)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, 70000);
    uint64_t bytes;
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    flip(v, &b.id, 500);
    pvt_faultfs_fail_on(&v->faults, PVT_FS_WRITE, PV_E_NOSPACE);
    struct pv_commit_op op = bad(v, &b.id, PV_E_NOSPACE);
    cr_assert_not(op.u.bad.gone);
    pvt_faultfs_heal(&v->faults);
    cr_assert_eq(blobs_of(v, &bytes), 1);
    cr_assert_eq(quarantined(v), 1);
    cr_assert_eq(find(v, PV_CHECK_STRUCTURE, &b.id), PV_CHECK_MISSING);
    op = bad(v, &b.id, PV_OK);
    cr_assert(op.u.bad.gone);
    cr_assert_eq(blobs_of(v, &bytes), 0);
    cr_assert_eq(lost(v), 1);
    cr_assert_eq(atomic_load(&pvt_fatal_count), 0);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    cr_assert(pvt_has_blob(v, &b));
    pvt_blob_free(&b);
    pvt_vault_free(v);
}
