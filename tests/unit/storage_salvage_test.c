/* What can be read of a damaged vault.db; and blob files whose rows are gone. */
#include "storage/salvage.h"
#include "tests/unit/storage_fixture.h"

TestSuite(salvage, .timeout = 120);

enum { RECORDS = 200, SMALLS = 100 };

struct salvaged {
    uint64_t rows, good, gaps;
};

static bool take_envelope(void *arg, const uint8_t *bytes, size_t len)
{
    struct salvaged *s = arg;
    struct pv_record rec;
    s->rows++;
    s->good += pv_record_verify(&rec, bytes, len) == PV_OK;
    return true;
}

static struct pv_id small_ids[SMALLS];

static bool take_small(void *arg, const uint8_t *bytes, size_t len)
{
    struct salvaged *s = arg;
    struct pv_id id;
    pv_sha256(id.b, bytes, len);
    s->rows++;
    for (size_t i = 0; i < SMALLS; i++)
        s->good += pv_id_equal(&id, &small_ids[i]);
    return true;
}

/* A closed vault with rows on many pages, moved away as old.db. */
static struct pvt_vault *make(bool with_log)
{
    struct pvt_vault *v = pvt_vault_new_open();
    bool applied;
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct pvt_record r = pvt_record_make(PV_RECORD_FILE, i, 10 + i, 0, 0);
        cr_assert_eq(pvt_put_record(v, &r, false, &applied), PV_OK);
    }
    for (uint32_t i = 0; i < SMALLS; i++) {
        struct pvt_blob b = pvt_blob_make(i, 9000);
        small_ids[i] = b.id;
        cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
        pvt_blob_free(&b);
    }
    if (!with_log)
        cr_assert_eq(pv_commit_checkpoint(v->store), PV_OK);
    if (with_log) { /* as after a crash: a copy of the files while they are open */
        pv_fd dir = v->vault.dir;
        cr_assert_eq(pv_fs_real()->rename(NULL, dir, "vault.db", dir, "old.db"), PV_OK);
        cr_assert_eq(pv_fs_real()->rename(NULL, dir, "vault.db-wal", dir, "old.db-wal"), PV_OK);
        return v;
    }
    pvt_vault_close(v);
    cr_assert_eq(pv_vault_open(&v->vault, v->path, &v->faults.fs), PV_OK);
    cr_assert_eq(pv_fs_real()->rename(NULL, v->vault.dir, "vault.db", v->vault.dir, "old.db"),
                 PV_OK);
    return v;
}

static void end(struct pvt_vault *v)
{
    if (v->store == NULL)
        pv_vault_close(&v->vault);
    pvt_vault_free(v);
}

static struct salvaged rows(struct pvt_vault *v, enum pv_salvage_table table)
{
    struct salvaged out = {0};
    struct pv_salvage *s;
    if (pv_salvage_open(&s, &v->vault, &v->env.env, "old.db") != PV_OK)
        return out;
    cr_assert_eq(pv_salvage_rows(s, table, table == PV_SALVAGE_SMALL ? take_small : take_envelope,
                                 &out, &out.gaps),
                 PV_OK);
    pv_salvage_close(s);
    return out;
}

static void damage(struct pvt_vault *v, uint64_t page, bool repair)
{
    static uint8_t kept[4096];
    pv_fd fd;
    size_t got;
    cr_assert_eq(pv_fs_real()->open(NULL, v->vault.dir, "old.db", PV_FS_WRITE, &fd), PV_OK);
    if (!repair) {
        cr_assert_eq(pv_fs_real()->read(NULL, fd, kept, sizeof kept, page * 4096, &got), PV_OK);
        cr_assert_eq(pv_fs_real()->write(NULL, fd, "rot", 3, page * 4096 + 2000), PV_OK);
    } else {
        cr_assert_eq(pv_fs_real()->write(NULL, fd, kept, sizeof kept, page * 4096), PV_OK);
    }
    cr_assert_eq(pv_fs_real()->close(NULL, fd), PV_OK);
}

/* Changes rows; the sums of the pages are right afterwards. */
static void edit(struct pvt_vault *v, const char *sql)
{
    const struct pv_vfs_config config = {pv_fs_real(), v->vault.dir, &v->env.env, NULL, NULL};
    struct pv_vfs *vfs;
    sqlite3 *db;
    cr_assert_eq(pv_vfs_new(&vfs, &config), PV_OK);
    cr_assert_eq(sqlite3_open_v2("old.db", &db, SQLITE_OPEN_READWRITE, pv_vfs_name(vfs)), 0);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), 0, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
    pv_vfs_free(vfs);
}

Test(salvage, everything_where_nothing_is_wrong)
{
    for (unsigned with_log = 0; with_log < 2; with_log++) {
        struct pvt_vault *v = make(with_log == 1);
        struct salvaged r = rows(v, PV_SALVAGE_RECORDS), b = rows(v, PV_SALVAGE_SMALL);
        cr_assert(r.rows == RECORDS && r.good == RECORDS && r.gaps == 0);
        cr_assert(b.rows == SMALLS && b.good == SMALLS && b.gaps == 0);
        cr_assert_eq(rows(v, PV_SALVAGE_HISTORY).rows, 0);
        if (with_log == 1) {
            pv_fd dir = v->vault.dir;
            cr_assert_eq(pv_fs_real()->rename(NULL, dir, "old.db", dir, "vault.db"), PV_OK);
            cr_assert_eq(pv_fs_real()->rename(NULL, dir, "old.db-wal", dir, "vault.db-wal"), PV_OK);
        }
        end(v);
    }
}

/* Each page in turn is bad: a leaf costs its rows, and only a few pages cost more. */
Test(salvage, around_every_page)
{
    struct pvt_vault *v = make(false);
    struct pv_fs_stat st;
    uint64_t whole = 0, little = 0, pages;
    cr_assert_eq(pv_fs_real()->stat_at(NULL, v->vault.dir, "old.db", &st), PV_OK);
    pages = st.size_bytes / 4096;
    cr_assert_gt(pages, 300);
    for (uint64_t page = 0; page < pages; page++) {
        damage(v, page, false);
        struct salvaged r = rows(v, PV_SALVAGE_RECORDS), b = rows(v, PV_SALVAGE_SMALL);
        cr_assert(r.rows == r.good && b.rows == b.good, "page %llu", (unsigned long long)page);
        whole += r.good == RECORDS && b.good == SMALLS;
        little += r.good + b.good >= RECORDS + SMALLS - 12;
        damage(v, page, true);
    }
    cr_assert_lt(whole, pages, "no damage was seen");
    cr_assert_gt(little, pages - 12);
    end(v);
}

/* Where the next row is far behind: not one seq after the other is tried. */
Test(salvage, over_wide_gaps)
{
    struct pvt_vault *v = make(false);
    struct pv_fs_stat st;
    uint64_t most = 0;
    edit(v, "UPDATE small SET seq=seq+1000000007 WHERE seq>40;"
            "UPDATE small SET seq=seq+70000000000 WHERE seq>1000000070;"
            "UPDATE small SET bytes=x'' WHERE seq=7");
    cr_assert_eq(pv_fs_real()->stat_at(NULL, v->vault.dir, "old.db", &st), PV_OK);
    struct salvaged b = rows(v, PV_SALVAGE_SMALL);
    cr_assert(b.good == SMALLS - 1 && b.gaps == 1, "a row without bytes is one that is lost");
    for (uint64_t page = 3; page < st.size_bytes / 4096; page += 5) {
        damage(v, page, false);
        b = rows(v, PV_SALVAGE_SMALL);
        cr_assert_eq(b.rows, b.good);
        most = b.gaps > 1 && b.good > most ? b.good : most;
        damage(v, page, true);
    }
    cr_assert_geq(most, SMALLS - 3, "behind the worst page all but a few are found");
    end(v);
}

Test(salvage, without_memory)
{
    struct pvt_vault *v = make(false);
    struct pv_salvage *s = NULL;
    pv_salvage_close(NULL);
    enum pv_err err = PV_E_NOMEM;
    for (uint64_t n = 0; err == PV_E_NOMEM; n++) {
        pv_mem_fail_after(n);
        err = pv_salvage_open(&s, &v->vault, &v->env.env, "old.db");
        pv_mem_fail_after(UINT64_MAX);
        cr_assert_lt(n, 100);
    }
    cr_assert_eq(err, PV_OK);
    pv_salvage_close(s);
    end(v);
}

Test(salvage, what_is_no_database)
{
    struct pvt_vault *v = pvt_vault_new();
    struct pv_salvage *s;
    pv_fd fd;
    cr_assert_eq(pv_vault_open(&v->vault, v->path, &v->faults.fs), PV_OK);
    cr_assert_eq(pv_salvage_open(&s, &v->vault, &v->env.env, "old.db"), PV_E_NOT_FOUND);
    cr_assert_eq(pv_fs_real()->open(NULL, v->vault.dir, "old.db", PV_FS_WRITE | PV_FS_CREATE, &fd),
                 PV_OK);
    uint8_t *noise = calloc(1, 20000);
    memset(noise, 0x5a, 20000);
    cr_assert_eq(pv_fs_real()->write(NULL, fd, noise, 20000, 0), PV_OK);
    cr_assert_eq(pv_fs_real()->close(NULL, fd), PV_OK);
    cr_assert_eq(pv_salvage_open(&s, &v->vault, &v->env.env, "old.db"), PV_E_CORRUPT);
    free(noise);
    end(v);
}

Test(salvage, a_blob_file_gets_its_row_back)
{
    struct pvt_vault *v = pvt_vault_new_open();
    struct pvt_blob b = pvt_blob_make(1, 70000);
    cr_assert_eq(pvt_put_blob(v, &b), PV_OK);
    pvt_vault_close(v);
    pvt_vault_forget(v);
    v->config.make_anew = true;
    pvt_vault_open(v);
    cr_assert_not(pvt_has_blob(v, &b));
    uint64_t renames = pvt_faultfs_count(&v->faults, PVT_FS_RENAME);
    struct pv_commit_op op = pvt_blob_op(&b);
    op.u.blob.in_place = true;
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert(op.applied && pvt_has_blob(v, &b));
    cr_assert_eq(pvt_faultfs_count(&v->faults, PVT_FS_RENAME), renames, "nothing was written");
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
    cr_assert_not(op.applied, "it has one");
    pvt_blob_free(&b);
    pvt_vault_free(v);
}

Test(salvage, a_later_version_is_not_taken_apart)
{
    struct pvt_vault *v = make(false);
    struct pv_salvage *s = NULL;
    edit(v, "PRAGMA user_version=2");
    cr_assert_eq(pv_salvage_open(&s, &v->vault, &v->env.env, "old.db"), PV_E_UNSUPPORTED);
    edit(v, "PRAGMA application_id=7");
    cr_assert_eq(pv_salvage_open(&s, &v->vault, &v->env.env, "old.db"), PV_OK); /* never ours */
    pv_salvage_close(s);
    end(v);
}
