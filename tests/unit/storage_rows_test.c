/*
 * Rows that no program of ours writes, on pages that are whole: whoever meets one says CORRUPT and
 * takes nothing for true. The page sums find rot; this is what a wrong hand leaves, or a fault of
 * our own.
 */
#include "storage/backup.h"
#include "storage/check.h"
#include "storage/scrub_state.h"
#include "tests/unit/storage_fixture.h"

TestSuite(rows, .timeout = 120);

/* A store with a small blob, a file, a record, a name and a holder. */
struct fixture {
    struct pvt_vault *v;
    struct pvt_blob small, file;
    struct pvt_record record, name;
    struct pv_id node;
};

static void set_up(struct fixture *f)
{
    bool applied;
    f->v = pvt_vault_new_open();
    f->small = pvt_blob_make(1, 1000);
    f->file = pvt_blob_make(2, 66000);
    f->record = pvt_record_make(PV_RECORD_FILE, 1, 10, 0, 0);
    f->name = pvt_record_make(PV_RECORD_NAME, 2, 11, 0, 0);
    f->node = (struct pv_id){{5}};
    cr_assert_eq(pvt_put_blob(f->v, &f->small), PV_OK);
    cr_assert_eq(pvt_put_blob(f->v, &f->file), PV_OK);
    cr_assert_eq(pvt_put_record(f->v, &f->record, false, &applied), PV_OK);
    cr_assert_eq(pvt_put_record(f->v, &f->name, true, &applied), PV_OK);
    struct pv_commit_op op = {
        .type = PV_COMMIT_HELD,
        .u.held = {.node_id = f->node, .ids = &f->small.id, .count = 1, .held = true}};
    cr_assert_eq(pvt_commit(f->v, &op, 1), PV_OK);
}

static void tear_down(struct fixture *f)
{
    pvt_blob_free(&f->small);
    pvt_blob_free(&f->file);
    pvt_vault_free(f->v);
}

/* Changes rows behind the store's back, and says how the next opening ends. */
static enum pv_err edit(struct fixture *f, const char *sql)
{
    struct pvt_vault *v = f->v;
    struct pv_vfs *vfs;
    sqlite3 *db;
    char *why = NULL;
    if (v->store != NULL)
        pvt_vault_close(v);
    cr_assert_eq(pv_vault_open(&v->vault, v->path, pv_fs_real()), PV_OK);
    const struct pv_vfs_config config = {pv_fs_real(), v->vault.dir, &v->env.env, NULL, NULL};
    cr_assert_eq(pv_vfs_new(&vfs, &config), PV_OK);
    cr_assert_eq(sqlite3_open_v2("vault.db", &db, SQLITE_OPEN_READWRITE, pv_vfs_name(vfs)), 0);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &why), 0, "%s: %s", sql, why);
    cr_assert_eq(sqlite3_close(db), 0);
    pv_vfs_free(vfs);
    pv_vault_close(&v->vault);
    return pvt_vault_try_open(v);
}

/* The database of a closed vault, to be put back after an edit. */
struct copy {
    uint8_t bytes[1 << 18];
    size_t len;
};

static void copy_db(struct fixture *f, struct copy *c, bool back)
{
    const struct pv_fs *fs = pv_fs_real();
    struct pvt_vault *v = f->v;
    pv_fd fd;
    if (v->store != NULL)
        pvt_vault_close(v);
    cr_assert_eq(pv_vault_open(&v->vault, v->path, fs), PV_OK);
    cr_assert_eq(fs->open(fs->ctx, v->vault.dir, "vault.db", PV_FS_WRITE, &fd), PV_OK);
    if (back)
        cr_assert_eq(fs->write(fs->ctx, fd, c->bytes, c->len, 0), PV_OK);
    else
        cr_assert_eq(fs->read(fs->ctx, fd, c->bytes, sizeof c->bytes, 0, &c->len), PV_OK);
    cr_assert_lt(c->len, sizeof c->bytes);
    cr_assert_eq(fs->close(fs->ctx, fd), PV_OK);
    cr_assert_eq(fs->open(fs->ctx, v->vault.dir, "vault.db-wal", PV_FS_WRITE, &fd), PV_OK);
    cr_assert_eq(fs->truncate(fs->ctx, fd, 0), PV_OK); /* moved by whoever closed last */
    cr_assert_eq(fs->close(fs->ctx, fd), PV_OK);
    pv_vault_close(&v->vault);
}

static enum pv_err read_blob(struct fixture *f, const struct pvt_blob *b)
{
    static uint8_t dst[PV_BLOB_LEN_MAX];
    size_t got;
    uint32_t size;
    return pv_store_read(f->v->store, &b->id, 0, dst, sizeof dst, &got, &size);
}

static enum pv_check_result checked(struct fixture *f, enum pv_check_depth depth)
{
    static struct pv_blob_check c;
    c = (struct pv_blob_check){.depth = depth, .max_bytes = UINT64_MAX};
    cr_assert_eq(pv_store_check_blobs(f->v->store, &c), PV_OK);
    cr_assert_eq(c.blobs, 2);
    return c.count > 0 ? c.findings[0].result : PV_CHECK_GOOD;
}

/* A scan does not judge what it hands out: its caller parses it. */
static bool count_good(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct pv_record rec;
    (void)pending;
    *(size_t *)arg += pv_record_parse(&rec, env, len) == PV_OK;
    return true;
}

/* ---- blobs ---- */

Test(rows, blobs)
{
    struct fixture f;
    set_up(&f);
    cr_assert_eq(checked(&f, PV_CHECK_SUM), PV_CHECK_GOOD);
    cr_assert_eq(edit(&f, "UPDATE blob SET home=3 WHERE seq=1"), PV_OK);
    cr_assert_eq(read_blob(&f, &f.small), PV_E_CORRUPT);
    cr_assert_eq(edit(&f, "UPDATE blob SET home=2, size=999 WHERE seq=1"), PV_OK);
    cr_assert_eq(read_blob(&f, &f.small), PV_E_CORRUPT);
    cr_assert_eq(checked(&f, PV_CHECK_STRUCTURE), PV_CHECK_LENGTH);
    cr_assert_eq(edit(&f, "UPDATE blob SET size=1000; UPDATE blob SET size=66000 WHERE seq=2"),
                 PV_OK);
    cr_assert_eq(read_blob(&f, &f.small), PV_OK);
    cr_assert_eq(edit(&f, "UPDATE blob SET size=7 WHERE seq=2"), PV_OK);
    cr_assert_eq(read_blob(&f, &f.file), PV_E_CORRUPT);
    cr_assert_eq(checked(&f, PV_CHECK_EVERY_BYTE), PV_CHECK_LENGTH);
    cr_assert_eq(edit(&f, "UPDATE blob SET size=66000, xxh3=x'00' WHERE seq=2"), PV_OK);
    cr_assert_eq(checked(&f, PV_CHECK_SUM), PV_CHECK_BAD_SUM); /* of bytes that are good */
    struct pv_commit_op op = {.type = PV_COMMIT_BAD, .u.bad = {.id = f.file.id}};
    cr_assert_eq(pvt_commit(f.v, &op, 1), PV_OK);
    cr_assert_not(op.u.bad.gone);
    cr_assert_eq(checked(&f, PV_CHECK_SUM), PV_CHECK_GOOD); /* put right */
    cr_assert_eq(edit(&f, "DELETE FROM small"), PV_OK);
    cr_assert_eq(read_blob(&f, &f.small), PV_E_CORRUPT);
    cr_assert_eq(checked(&f, PV_CHECK_STRUCTURE), PV_CHECK_MISSING);
    cr_assert(pvt_has_blob(f.v, &f.file), "one bad row is in nobody else's way");
    tear_down(&f);
}

Test(rows, ids_of_another_length)
{
    struct fixture f;
    struct pv_blob_info info[4];
    uint64_t cursor = 0;
    size_t count;
    bool end;
    set_up(&f);
    cr_assert_eq(edit(&f, "UPDATE blob SET id=x'aabb' WHERE seq=2"), PV_OK);
    cr_assert_eq(pv_store_unheld(f.v->store, 1, &cursor, info, 4, &count, &end), PV_E_CORRUPT);
    struct pv_blob_check c = {.depth = PV_CHECK_STRUCTURE, .max_bytes = UINT64_MAX};
    cr_assert_eq(pv_store_check_blobs(f.v->store, &c), PV_E_CORRUPT);
    cr_assert(pvt_has_blob(f.v, &f.small));
    tear_down(&f);
}

Test(rows, holders)
{
    struct fixture f;
    unsigned bit;
    set_up(&f);
    cr_assert_eq(pv_store_holder(f.v->store, &f.node, &bit), PV_OK);
    cr_assert_eq(edit(&f, "UPDATE holder SET bit=64"), PV_OK);
    cr_assert_eq(pv_store_holder(f.v->store, &f.node, &bit), PV_E_CORRUPT);
    tear_down(&f);
}

/* ---- records ---- */

Test(rows, envelopes)
{
    static uint8_t env[PV_RECORD_LEN_MAX];
    struct fixture f;
    struct pv_id after = {{0}};
    uint64_t seq = 0;
    size_t len, good = 0;
    bool pending, end, applied;
    set_up(&f);
    cr_assert_eq(edit(&f, "UPDATE record SET envelope=zeroblob(70000) WHERE type=1"), PV_OK);
    struct pv_store *s = f.v->store;
    cr_assert_eq(pv_store_record(s, &f.record.rec.rid, env, &len, &pending), PV_E_CORRUPT);
    cr_assert_eq(pv_store_record_by_hash(s, &f.record.rec.hash, env, &len), PV_E_CORRUPT);
    cr_assert_eq(pv_store_records(s, 0, &after, 10, count_good, &good, &end), PV_OK);
    cr_assert_eq(pv_store_records_since(s, 0, &seq, 10, count_good, &good, &end), PV_OK);
    cr_assert_eq(good, 2); /* the name, twice */
    cr_assert(pvt_has_record(f.v, &f.name));

    struct pvt_record newer = pvt_record_make(PV_RECORD_FILE, 1, 20, 0, 0);
    cr_assert_eq(pvt_put_record(f.v, &newer, false, &applied), PV_E_CORRUPT);
    cr_assert_eq(edit(&f, "UPDATE record SET envelope=x'' WHERE type=1"), PV_OK);
    cr_assert_eq(pvt_put_record(f.v, &newer, false, &applied), PV_E_CORRUPT);
    cr_assert_not(applied);

    struct pv_record_check c = {.count = 0};
    cr_assert_eq(pv_store_check_records(f.v->store, &c), PV_OK);
    cr_assert(c.records == 2 && c.count == 1 && pv_id_equal(&c.bad[0], &f.record.rec.rid));
    tear_down(&f);
}

/* What a row says of its envelope, one column at a time. */
Test(rows, columns_that_are_not_the_envelope_s)
{
    static const char *const edits[] = {"type=2", "hlc=11", "flags=1", "hash=zeroblob(32)"};
    static struct copy copy;
    struct fixture f;
    set_up(&f);
    copy_db(&f, &copy, false);
    for (size_t i = 0; i < PV_COUNT(edits); i++) {
        struct pv_record_check c = {.count = 0};
        char sql[100];
        snprintf(sql, sizeof sql, "UPDATE record SET %s WHERE type=1", edits[i]);
        cr_assert_eq(edit(&f, sql), PV_OK);
        cr_assert_eq(pv_store_check_records(f.v->store, &c), PV_OK);
        cr_assert_eq(c.count, 1, "%s", sql);
        copy_db(&f, &copy, true);
    }
    tear_down(&f);
}

Test(rows, hashes_of_another_length)
{
    struct fixture f;
    set_up(&f);
    cr_assert_eq(edit(&f, "UPDATE record SET hash=zeroblob(31) WHERE type=1"), PV_E_CORRUPT);
    cr_assert_eq(edit(&f, "UPDATE record SET hash=zeroblob(32), rid=x'01' WHERE type=1"), PV_OK);
    struct pv_id after = {{0}};
    bool end;
    size_t good = 0;
    cr_assert_eq(pv_store_records(f.v->store, 0, &after, 10, count_good, &good, &end),
                 PV_E_CORRUPT);
    tear_down(&f);
}

/* ---- meta, and the header ---- */

Test(rows, own_values)
{
    static const char *const edits[] = {
        "UPDATE meta SET value=zeroblob(7) WHERE key='/opens'",
        "UPDATE meta SET value=zeroblob(9) WHERE key='/opens'",
        "DELETE FROM meta WHERE key='/opens'",
        "DELETE FROM meta WHERE key='/clock'",
        "UPDATE meta SET value=zeroblob(23) WHERE key='/clock'",
        "UPDATE meta SET value=zeroblob(15) WHERE key='/uuid'",
        "UPDATE meta SET value=zeroblob(17) WHERE key='/uuid'",
        "PRAGMA application_id=7",
        "PRAGMA user_version=0",
    };
    static struct copy copy;
    struct fixture f;
    set_up(&f);
    copy_db(&f, &copy, false);
    for (size_t i = 0; i < PV_COUNT(edits); i++) {
        cr_assert_eq(edit(&f, edits[i]), PV_E_CORRUPT, "%s", edits[i]);
        copy_db(&f, &copy, true);
    }
    cr_assert_eq(pvt_vault_try_open(f.v), PV_OK);
    cr_assert(pvt_has_blob(f.v, &f.file));
    tear_down(&f);
}

Test(rows, values_of_others)
{
    struct fixture f;
    struct pv_backup b;
    struct pv_scrub_state scrub;
    static struct pv_id lost[PV_LOST_MAX];
    size_t count;
    uint64_t bak_len;
    set_up(&f);
    for (unsigned len = 31; len <= 33; len += 2) {
        char sql[100];
        snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO meta VALUES('records.bak',zeroblob(%u))",
                 len);
        cr_assert_eq(edit(&f, sql), PV_OK);
        cr_assert_eq(pv_backup_begin(f.v->store, PV_BACKUP_RECORDS, PV_BACKUP_APPEND, &b),
                     PV_E_CORRUPT);
        cr_assert_eq(pv_backup_len(f.v->store, PV_BACKUP_RECORDS, &bak_len), PV_E_CORRUPT);
    }
    cr_assert_eq(edit(&f, "INSERT INTO meta VALUES('/lost',zeroblob(33))"), PV_OK);
    cr_assert_eq(pv_store_lost(f.v->store, lost, &count), PV_OK);
    cr_assert_eq(count, 1); /* what is behind is none */
    static const char *const scrubs[] = {"zeroblob(57)",          "zeroblob(59)",
                                         "zeroblob(58)",          "x'0203'||zeroblob(56)",
                                         "x'0100'||zeroblob(56)", "x''"};
    for (size_t i = 0; i < PV_COUNT(scrubs); i++) {
        char sql[200];
        snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO meta VALUES('scrub',CAST(%s AS BLOB))",
                 scrubs[i]);
        cr_assert_eq(edit(&f, sql), PV_OK);
        cr_assert_eq(pv_scrub_state_load(f.v->store, &scrub), PV_OK, "%s", scrubs[i]);
        cr_assert(scrub.depth == PV_CHECK_EVERY_BYTE && scrub.since_ms == 0, "it begins anew");
    }
    tear_down(&f);
}
