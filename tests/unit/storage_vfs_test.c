#include "tests/unit/storage_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

TestSuite(vfs, .timeout = 60);

/* Databases of their own, to reach what the store never does. */
struct fixture {
    struct pvt_tmpdir dir;
    struct pvt_faultfs faults;
    struct pvt_env env;
    struct pvt_log log;
    struct pv_vfs *vfs;
    unsigned fatal;
};

static void on_fatal(void *ctx, const char *what, enum pv_err err)
{
    struct fixture *f = ctx;
    (void)what;
    cr_assert_neq(err, PV_OK);
    f->fatal++;
}

static struct fixture *set_up(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    pvt_tmpdir_init(&f->dir);
    cr_assert_eq(mkdirat(f->dir.fd, "tmp", 0700), 0);
    pvt_faultfs_init(&f->faults, pv_fs_real());
    pvt_log_init(&f->log, false);
    pvt_env_init(&f->env, 3, f->log.log);
    struct pv_vfs_config config = {&f->faults.fs, f->dir.fd, &f->env.env, on_fatal, f};
    cr_assert_eq(pv_vfs_new(&f->vfs, &config), PV_OK);
    return f;
}

static void tear_down(struct fixture *f)
{
    pv_vfs_free(f->vfs);
    pvt_faultfs_release(&f->faults);
    pvt_log_release(&f->log);
    pvt_tmpdir_release(&f->dir);
    free(f);
}

static sqlite3 *connect_to(struct fixture *f)
{
    sqlite3 *db;
    int reserve = PV_VFS_SUM_LEN;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXRESCODE;
    cr_assert_eq(sqlite3_open_v2("vault.db", &db, flags, pv_vfs_name(f->vfs)), SQLITE_OK);
    cr_assert_eq(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve), SQLITE_OK);
    return db;
}

static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int keep_text(void *arg, int n, char **values, char **names)
{
    (void)n;
    (void)names;
    snprintf(arg, 100, "%s", values[0] != NULL ? values[0] : "NULL");
    return 0;
}

static const char *get(sqlite3 *db, const char *sql)
{
    static char text[100];
    text[0] = '\0';
    int rc = sqlite3_exec(db, sql, keep_text, text, NULL);
    if (rc != SQLITE_OK)
        snprintf(text, sizeof text, "error %d", rc);
    return text;
}

static void flip(struct fixture *f, const char *name, off_t at)
{
    uint8_t byte;
    int fd = openat(f->dir.fd, name, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static off_t length(struct fixture *f, const char *name)
{
    struct stat st;
    return fstatat(f->dir.fd, name, &st, 0) == 0 ? st.st_size : -1;
}

static const char fill[] = "CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB) STRICT;"
                           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
                           "WHERE i<200) INSERT INTO t SELECT i, randomblob(900) FROM n;";

Test(vfs, works_with_a_log_and_two_connections)
{
    struct fixture *f = set_up();
    size_t fds = pvt_open_fds();
    sqlite3 *a = connect_to(f), *b = connect_to(f);
    cr_assert_str_eq(get(a, "PRAGMA journal_mode=WAL"), "wal");
    cr_assert_eq(run(a, fill), SQLITE_OK);
    cr_assert_str_eq(get(b, "SELECT count(*) FROM t"), "200");
    cr_assert_eq(run(b, "BEGIN; SELECT * FROM t LIMIT 1"), SQLITE_OK);
    cr_assert_eq(run(a, "DELETE FROM t WHERE a>100"), SQLITE_OK);
    cr_assert_str_eq(get(b, "SELECT count(*) FROM t"), "200"); /* its snapshot */
    cr_assert_eq(run(b, "COMMIT"), SQLITE_OK);
    cr_assert_str_eq(get(b, "SELECT count(*) FROM t"), "100");
    cr_assert_eq(run(a, "BEGIN IMMEDIATE"), SQLITE_OK);
    cr_assert_eq(run(b, "BEGIN IMMEDIATE"), SQLITE_BUSY);
    cr_assert_eq(run(a, "ROLLBACK"), SQLITE_OK);
    cr_assert_str_eq(get(a, "PRAGMA integrity_check"), "ok");
    cr_assert_eq(length(f, "vault.db-shm"), -1);
    sqlite3_close(a);
    cr_assert_gt(length(f, "vault.db-wal"), 0);
    cr_assert_str_eq(get(b, "SELECT count(*) FROM t"), "100");
    sqlite3_close(b);
    cr_assert_gt(length(f, "vault.db"), 100 * 900); /* the last one checkpoints */
    cr_assert_gt(length(f, "vault.db-wal"), 0);     /* and leaves the file for the next */
    cr_assert_eq(pvt_open_fds(), fds);
    cr_assert_eq(f->fatal, 0);
    tear_down(f);
}

Test(vfs, works_with_a_rollback_journal)
{
    struct fixture *f = set_up();
    sqlite3 *a = connect_to(f), *b = connect_to(f);
    cr_assert_eq(run(a, fill), SQLITE_OK);
    cr_assert_eq(run(a, "BEGIN; DELETE FROM t; ROLLBACK"), SQLITE_OK);
    cr_assert_eq(run(b, "BEGIN; SELECT * FROM t"), SQLITE_OK);
    cr_assert_eq(run(a, "DELETE FROM t WHERE a=1"), SQLITE_BUSY); /* b still reads */
    cr_assert_eq(run(b, "COMMIT"), SQLITE_OK);
    cr_assert_eq(run(a, "DELETE FROM t WHERE a=1"), SQLITE_OK);
    cr_assert_str_eq(get(b, "SELECT count(*) FROM t"), "199");
    cr_assert_str_eq(get(b, "PRAGMA integrity_check"), "ok");
    cr_assert_eq(run(a, "VACUUM"), SQLITE_OK);
    cr_assert_str_eq(get(b, "PRAGMA integrity_check"), "ok");
    sqlite3_close(a);
    sqlite3_close(b);
    cr_assert_eq(length(f, "vault.db-journal"), -1);
    tear_down(f);
}

/* A hot journal of pages of 1 024 bytes, as no writer of ours leaves one. */
Test(vfs, a_journal_of_another_page_length_is_an_error)
{
    struct fixture *f = set_up();
    sqlite3 *db = connect_to(f);
    uint8_t journal[1024 + 1024 + 8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    journal[11] = 1;   /* one page */
    journal[19] = 1;   /* of a database of one page */
    journal[22] = 4;   /* sectors of 1 024 bytes */
    journal[26] = 4;   /* pages of 1 024 bytes */
    journal[1027] = 1; /* page 1; its checksum over zeros is the nonce, 0 */
    cr_assert_eq(run(db, fill), SQLITE_OK);
    sqlite3_close(db);
    int fd = openat(f->dir.fd, "vault.db-journal", O_CREAT | O_WRONLY, 0600);
    cr_assert_eq(write(fd, journal, sizeof journal), sizeof journal);
    close(fd);
    db = connect_to(f);
    cr_assert_neq(run(db, "SELECT count(*) FROM t"), SQLITE_OK);
    cr_assert(pvt_log_has(&f->log, "database page is corrupt"));
    sqlite3_close(db);
    cr_assert_eq(unlinkat(f->dir.fd, "vault.db-journal", 0), 0);
    tear_down(f);
}

Test(vfs, spills_to_tmp_and_cleans_it)
{
    struct fixture *f = set_up();
    sqlite3 *db = connect_to(f);
    uint64_t opens;
    cr_assert_eq(run(db, fill), SQLITE_OK);
    cr_assert_eq(run(db, "PRAGMA temp_store=FILE; PRAGMA temp.cache_size=2"), SQLITE_OK);
    opens = pvt_faultfs_count(&f->faults, PVT_FS_OPEN);
    cr_assert_str_eq(get(db, "SELECT count(*) FROM (SELECT b FROM t ORDER BY b)"), "200");
    cr_assert_eq(run(db, "BEGIN; CREATE TEMP TABLE u AS SELECT b, a FROM t; COMMIT"), SQLITE_OK);
    cr_assert_gt(pvt_faultfs_count(&f->faults, PVT_FS_OPEN), opens);
    sqlite3_close(db);
    cr_assert_neq(unlinkat(f->dir.fd, "tmp", AT_REMOVEDIR), -1); /* it is empty */
    tear_down(f);
}

Test(vfs, sums_are_on_every_page_and_bound_to_its_place)
{
    struct fixture *f = set_up();
    sqlite3 *db = connect_to(f);
    uint8_t one[PV_VFS_PAGE_LEN], other[PV_VFS_PAGE_LEN];
    cr_assert_eq(run(db, "PRAGMA page_size=4096"), SQLITE_OK);
    cr_assert_eq(run(db, fill), SQLITE_OK);
    sqlite3_close(db);
    int fd = openat(f->dir.fd, "vault.db", O_RDWR);
    /* A whole valid page at another page's place. */
    cr_assert_eq(pread(fd, one, sizeof one, 10 * PV_VFS_PAGE_LEN), sizeof one);
    cr_assert_eq(pread(fd, other, sizeof other, 11 * PV_VFS_PAGE_LEN), sizeof other);
    cr_assert_eq(pwrite(fd, one, sizeof one, 11 * PV_VFS_PAGE_LEN), sizeof one);
    db = connect_to(f);
    char expect[32];
    snprintf(expect, sizeof expect, "error %d", SQLITE_IOERR_DATA);
    cr_assert_str_eq(get(db, "SELECT sum(length(b)) FROM t"), expect);
    cr_assert(pvt_log_has(&f->log, "database page is corrupt"));
    sqlite3_close(db);
    cr_assert_eq(pwrite(fd, other, sizeof other, 11 * PV_VFS_PAGE_LEN), sizeof other);
    close(fd);
    for (off_t at = 4096 * 5; at < 4096 * 6; at += 97) {
        flip(f, "vault.db", at);
        db = connect_to(f);
        cr_assert_str_eq(get(db, "SELECT sum(length(b)) FROM t"), expect);
        sqlite3_close(db);
        flip(f, "vault.db", at);
    }
    db = connect_to(f);
    cr_assert_str_eq(get(db, "SELECT sum(length(b)) FROM t"), "180000");
    sqlite3_close(db);
    tear_down(f);
}

/* Opens a copy of the log with its length cut, or a bit flipped, as a crash would leave it. */
static void fill_log(struct fixture *f)
{
    sqlite3 *db = connect_to(f);
    cr_assert_eq(run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"), SQLITE_OK);
    cr_assert_eq(run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY)"), SQLITE_OK);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(run(db, "INSERT INTO t DEFAULT VALUES"), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(db);
}

static int rows(struct fixture *f)
{
    sqlite3 *db = connect_to(f);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    const char *text = get(db, "SELECT count(*) FROM t");
    int n = strncmp(text, "error", 5) == 0 ? -1 : atoi(text);
    sqlite3_close(db);
    return n;
}

Test(vfs, a_torn_log_ends_at_the_last_whole_transaction)
{
    struct fixture *f = set_up();
    fill_log(f);
    cr_assert_eq(rows(f), 5);
    off_t len = length(f, "vault.db-wal");
    off_t frame = PV_VFS_FRAME_HEADER_LEN + PV_VFS_PAGE_LEN;
    /* The last frame is the last insertion's: whatever happens to it takes just that. */
    for (off_t at = len - frame; at < len; at += at < len - 20 ? 61 : 1) {
        flip(f, "vault.db-wal", at);
        int n = rows(f);
        flip(f, "vault.db-wal", at);
        cr_assert_eq(n, 4, "flip at %ld", (long)(at - len + frame));
    }
    int fd = openat(f->dir.fd, "vault.db-wal", O_RDWR);
    /* ... also when its end was never written, and reads as zeros. */
    cr_assert_eq(ftruncate(fd, len - PV_VFS_SUM_LEN), 0);
    cr_assert_eq(ftruncate(fd, len), 0);
    cr_assert_eq(rows(f), 4);
    cr_assert_eq(ftruncate(fd, len - 1), 0);
    cr_assert_eq(rows(f), 4);
    close(fd);
    cr_assert_eq(f->fatal, 0);
    tear_down(f);
}

Test(vfs, rot_in_the_log_is_found_while_it_is_in_use)
{
    struct fixture *f = set_up();
    sqlite3 *db = connect_to(f);
    cr_assert_eq(run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"), SQLITE_OK);
    cr_assert_eq(run(db, fill), SQLITE_OK);
    flip(f, "vault.db-wal", length(f, "vault.db-wal") - 2000);
    sqlite3 *reader = connect_to(f);
    char expect[32];
    snprintf(expect, sizeof expect, "error %d", SQLITE_IOERR_DATA);
    cr_assert_str_eq(get(reader, "SELECT sum(length(b)) FROM t"), expect);
    sqlite3_close(reader);
    cr_assert_eq(sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL),
                 SQLITE_IOERR_DATA); /* and does not get a fresh sum in vault.db */
    flip(f, "vault.db-wal", length(f, "vault.db-wal") - 2000);
    cr_assert_eq(sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL),
                 SQLITE_OK);
    sqlite3_close(db);
    tear_down(f);
}

Test(vfs, a_failed_sync_or_write_is_fatal_but_a_full_disk_is_not)
{
    struct fixture *f = set_up();
    sqlite3 *db = connect_to(f);
    cr_assert_eq(run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"
                         "PRAGMA synchronous=FULL"),
                 SQLITE_OK);
    cr_assert_eq(run(db, fill), SQLITE_OK);
    pvt_faultfs_fail(&f->faults, PVT_FS_WRITE, 1, PV_E_NOSPACE);
    cr_assert_eq(run(db, "DELETE FROM t WHERE a=1"), SQLITE_FULL);
    cr_assert_eq(f->fatal, 0);
    cr_assert_eq(run(db, "DELETE FROM t WHERE a=1"), SQLITE_OK);
    pvt_faultfs_fail(&f->faults, PVT_FS_WRITE, 1, PV_E_IO);
    cr_assert_eq(run(db, "DELETE FROM t WHERE a=2"), SQLITE_IOERR_WRITE);
    cr_assert_eq(f->fatal, 1);
    pvt_faultfs_fail(&f->faults, PVT_FS_SYNC, 1, PV_E_IO);
    cr_assert_eq(run(db, "DELETE FROM t WHERE a=2"), SQLITE_IOERR_FSYNC);
    cr_assert_eq(f->fatal, 2);
    pvt_faultfs_fail(&f->faults, PVT_FS_SYNC, 1, PV_E_NOSPACE); /* of a sync, even that */
    cr_assert_neq(run(db, "DELETE FROM t WHERE a=2"), SQLITE_OK);
    cr_assert_eq(f->fatal, 3);
    sqlite3_close(db);
    tear_down(f);
}

Test(vfs, new_files_are_synced_with_their_folder)
{
    struct fixture *f = set_up();
    sqlite3 *db = connect_to(f);
    pvt_faultfs_trace(&f->faults);
    cr_assert_eq(run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"
                         "CREATE TABLE t(a)"),
                 SQLITE_OK);
    /* The first commit to the log: its sync is followed by the folder's. */
    cr_assert_not_null(strstr(f->faults.trace, "wss"));
    pvt_faultfs_trace(&f->faults);
    cr_assert_eq(run(db, "INSERT INTO t VALUES(1)"), SQLITE_OK);
    cr_assert_null(strstr(f->faults.trace, "ss"));
    sqlite3_close(db);
    tear_down(f);
}

/* Whoever made it may have died before its name was durable. */
Test(vfs, a_log_that_is_there_already_is_synced_with_its_folder_too)
{
    struct fixture *f = set_up();
    fill_log(f);
    sqlite3 *db = connect_to(f);
    pvt_faultfs_trace(&f->faults);
    cr_assert_eq(run(db, "PRAGMA synchronous=FULL; INSERT INTO t DEFAULT VALUES"), SQLITE_OK);
    cr_assert_not_null(strstr(f->faults.trace, "wss"), "%s", f->faults.trace);
    sqlite3_close(db);
    tear_down(f);
}

/* A disk without room for one more file can still be read from. */
Test(vfs, a_closed_database_opens_without_making_a_file)
{
    struct fixture *f = set_up();
    sqlite3 *db = connect_to(f);
    cr_assert_eq(run(db, "PRAGMA journal_mode=WAL; PRAGMA journal_size_limit=0;"), SQLITE_OK);
    cr_assert_eq(run(db, fill), SQLITE_OK);
    sqlite3_close(db);
    cr_assert_eq(length(f, "vault.db-wal"), 0);
    db = connect_to(f);
    cr_assert_str_eq(get(db, "SELECT count(*) FROM t"), "200");
    sqlite3_close(db);
    tear_down(f);
}

Test(vfs, each_failing_call_is_an_error_and_not_a_crash)
{
    for (unsigned call = 0; call < PVT_FS_CALL_COUNT; call++) {
        for (uint64_t n = 1; n < 500; n++) {
            struct fixture *f = set_up();
            size_t fds = pvt_open_fds();
            sqlite3 *db;
            pvt_faultfs_fail(&f->faults, call, n, PV_E_IO);
            int rc = sqlite3_open_v2("vault.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                     pv_vfs_name(f->vfs));
            int reserve = PV_VFS_SUM_LEN;
            if (rc == SQLITE_OK)
                sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
            if (rc == SQLITE_OK)
                rc = run(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES(1);"
                             "PRAGMA wal_checkpoint; SELECT * FROM t");
            bool closing = !f->faults.fired;
            sqlite3_close(db);
            bool fired = f->faults.fired;
            /* What closing meets cannot be reported, and SQLite goes on without an old journal. */
            bool quiet = call == PVT_FS_UNLINK || call == PVT_FS_CLOSE || call == PVT_FS_STAT;
            cr_assert(!fired || rc != SQLITE_OK || quiet || f->fatal > 0 || closing, "%u, %lu",
                      call, (unsigned long)n);
            cr_assert_eq(pvt_open_fds(), fds);
            tear_down(f);
            if (!fired)
                break;
        }
    }
}

/* What SQLite asks of a vfs beside files, and what becomes of a file that is only temporary. */
Test(vfs, time_chance_and_names_are_ours)
{
    struct fixture *f = set_up();
    struct pvt_env same;
    uint8_t is[40], was[40];
    sqlite3_int64 ms = 0;
    double days = 0;
    char name[20], odd[6] = "12345";
    sqlite3_vfs *vfs = sqlite3_vfs_find(pv_vfs_name(f->vfs));
    pvt_env_init(&same, f->env.random_state, NULL);
    pv_env_random(&same.env, was, sizeof was);
    cr_assert_eq(vfs->xRandomness(vfs, sizeof is, (char *)is), sizeof is);
    cr_assert_eq(memcmp(is, was, sizeof is), 0);
    cr_assert_eq(vfs->xCurrentTimeInt64(vfs, &ms), SQLITE_OK);
    cr_assert_eq(vfs->xCurrentTime(vfs, &days), SQLITE_OK);
    cr_assert_eq((uint64_t)ms, f->env.wall_ms + UINT64_C(210866760000000));
    cr_assert_float_eq(days, (double)ms / 86400000, 1e-6);
    cr_assert_eq(vfs->xFullPathname(vfs, "vault.db", sizeof name, name), SQLITE_OK);
    cr_assert_str_eq(name, "vault.db");
    cr_assert_eq(vfs->xFullPathname(vfs, "vault.db", 8, name), SQLITE_CANTOPEN);
    cr_assert_eq(vfs->xFullPathname(vfs, odd, 6, name), SQLITE_OK);
    cr_assert_eq(vfs->xDelete(vfs, "not there", 1), SQLITE_IOERR_DELETE_NOENT);
    tear_down(f);
}

Test(vfs, a_temporary_file_is_no_reason_to_stop)
{
    struct fixture *f = set_up();
    sqlite3_vfs *vfs = sqlite3_vfs_find(pv_vfs_name(f->vfs));
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_TEMP_DB |
                SQLITE_OPEN_DELETEONCLOSE | SQLITE_OPEN_EXCLUSIVE;
    size_t fds = pvt_open_fds();
    cr_assert_eq(vfs->xOpen(vfs, NULL, file, flags, NULL), SQLITE_OK);
    cr_assert_eq(file->pMethods->xSectorSize(file), PV_VFS_PAGE_LEN);
    cr_assert_eq(file->pMethods->xWrite(file, "bytes", 5, 10000), SQLITE_OK);
    pvt_faultfs_fail_on(&f->faults, PVT_FS_SYNC, PV_E_IO);
    cr_assert_eq(file->pMethods->xSync(file, SQLITE_SYNC_FULL), SQLITE_OK, "it need not last");
    pvt_faultfs_fail_on(&f->faults, PVT_FS_WRITE, PV_E_IO);
    cr_assert_eq(file->pMethods->xWrite(file, "bytes", 5, 0), SQLITE_IOERR_WRITE);
    pvt_faultfs_fail_on(&f->faults, PVT_FS_TRUNCATE, PV_E_IO);
    cr_assert_eq(file->pMethods->xTruncate(file, 0), SQLITE_IOERR_TRUNCATE);
    pvt_faultfs_heal(&f->faults);
    cr_assert_eq(f->fatal, 0);
    cr_assert_eq(file->pMethods->xClose(file), SQLITE_OK);
    cr_assert_eq(pvt_open_fds(), fds);
    cr_assert_neq(unlinkat(f->dir.fd, "tmp", AT_REMOVEDIR), -1, "nothing is left in it");
    free(file);
    tear_down(f);
}
