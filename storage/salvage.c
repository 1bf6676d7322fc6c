/*
 * Behind a bad place the next readable seq is found by doubling steps, then by halving them back:
 * some dozens of attempts, whatever the distance. A table whose root is gone has no next one.
 */
#include "storage/salvage.h"

#include "internal/base/mem.h"
#include "storage/db.h"
#include "storage/store.h"

struct pv_salvage {
    struct pv_vfs *vfs;
    sqlite3 *db;
};

static const int64_t step_max = INT64_C(1) << 40; /* no store has had so many rows */

static const char *const sql[] = {
    [PV_SALVAGE_RECORDS] = "SELECT seq,envelope FROM record WHERE seq>=?1 ORDER BY seq",
    [PV_SALVAGE_HISTORY] = "SELECT seq,envelope FROM history WHERE seq>=?1 ORDER BY seq",
    [PV_SALVAGE_SMALL] = "SELECT seq,bytes FROM small WHERE seq>=?1 ORDER BY seq",
};

static void ignore_fatal(void *ctx, const char *what, enum pv_err err)
{
    (void)ctx; /* nothing is written, so nothing can be half-written */
    (void)what;
    (void)err;
}

static enum pv_err check_version(sqlite3 *db)
{
    static const char later[] = "SELECT 1 FROM pragma_application_id, pragma_user_version"
                                " WHERE application_id=?1 AND user_version>?2";
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, later, -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int(st, 1, PV_DB_APPLICATION_ID);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int(st, 2, PV_STORE_SCHEMA);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    sqlite3_finalize(st);
    return rc == SQLITE_DONE    ? PV_OK
           : rc == SQLITE_ROW   ? PV_E_UNSUPPORTED
           : rc == SQLITE_NOMEM ? PV_E_NOMEM
                                : PV_E_CORRUPT;
}

enum pv_err pv_salvage_open(struct pv_salvage **out, const struct pv_vault *vault,
                            const struct pv_env *env, const char *name)
{
    struct pv_fs_stat st;
    enum pv_err err = vault->fs->stat_at(vault->fs->ctx, vault->dir, name, &st);
    if (err == PV_OK && !st.is_regular)
        err = PV_E_CORRUPT;
    if (err != PV_OK)
        return err;
    struct pv_salvage *s = pv_calloc(1, sizeof *s);
    if (s == NULL)
        return PV_E_NOMEM;
    struct pv_vfs_config config = {vault->fs, vault->dir, env, ignore_fatal, NULL};
    err = pv_vfs_new(&s->vfs, &config);
    if (err == PV_OK) {
        int rc = sqlite3_open_v2(
            name, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
            pv_vfs_name(s->vfs));
        int reserved = PV_VFS_SUM_LEN;
        if (rc == SQLITE_OK)
            rc = sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        if (rc == SQLITE_OK)
            rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
        if (rc == SQLITE_OK)
            rc = sqlite3_exec(s->db, "PRAGMA query_only=ON; SELECT count(*) FROM sqlite_schema",
                              NULL, NULL, NULL);
        err = rc == SQLITE_OK ? PV_OK : rc == SQLITE_NOMEM ? PV_E_NOMEM : PV_E_CORRUPT;
        if (err == PV_OK)
            err = check_version(s->db);
    }
    if (err != PV_OK) {
        pv_salvage_close(s);
        return err;
    }
    *out = s;
    return PV_OK;
}

void pv_salvage_close(struct pv_salvage *s)
{
    if (s == NULL)
        return;
    (void)sqlite3_close(s->db);
    pv_vfs_free(s->vfs);
    pv_free(s);
}

static int start(const struct pv_salvage *s, const char *text, int64_t from, sqlite3_stmt **st)
{
    int rc = sqlite3_prepare_v2(s->db, text, -1, st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(*st, 1, from);
    return rc == SQLITE_OK ? sqlite3_step(*st) : rc;
}

/* What reading from here on gives: ROW, DONE, or an error. */
static int attempt(const struct pv_salvage *s, const char *text, int64_t from)
{
    sqlite3_stmt *st = NULL;
    int rc = start(s, text, from, &st);
    sqlite3_finalize(st);
    return rc;
}

/* The first seq behind a bad one from which reading gives a row; 0: there is none. */
static int64_t behind(const struct pv_salvage *s, const char *text, int64_t bad)
{
    int64_t step = 1;
    while (step < step_max && attempt(s, text, bad + step) != SQLITE_ROW)
        step *= 2;
    if (step >= step_max)
        return 0;
    int64_t low = bad + step / 2, high = bad + step; /* low gives none, high does */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (attempt(s, text, middle) == SQLITE_ROW)
            high = middle;
        else
            low = middle;
    }
    return high;
}

enum pv_err pv_salvage_rows(struct pv_salvage *s, enum pv_salvage_table table,
                            bool (*each)(void *arg, const uint8_t *bytes, size_t len), void *arg,
                            uint64_t *gaps)
{
    int64_t from = 1;
    *gaps = 0;
    while (from > 0) {
        sqlite3_stmt *st = NULL;
        int rc = start(s, sql[table], from, &st);
        bool go_on = true;
        while (rc == SQLITE_ROW && go_on) {
            const void *bytes = sqlite3_column_blob(st, 1);
            int len = sqlite3_column_bytes(st, 1);
            from = sqlite3_column_int64(st, 0) + 1;
            if (bytes != NULL) /* else on a page behind the row's own, which cannot be read */
                go_on = each(arg, bytes, (size_t)len);
            else
                ++*gaps;
            rc = go_on ? sqlite3_step(st) : rc;
        }
        sqlite3_finalize(st);
        if (!go_on || rc == SQLITE_DONE)
            return PV_OK;
        if (rc == SQLITE_NOMEM)
            return PV_E_NOMEM;
        ++*gaps;
        from = behind(s, sql[table], from);
    }
    return PV_OK;
}
