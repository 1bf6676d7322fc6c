/* The world itself, and the comparison of a store with a model. */
#include "tests/support/storage/world_private.h"
#include "storage/store_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char vault_path[] = "vault";

/* A 64th of it is how long the log may get: short, so that checkpoints are part of the script. */
enum { DISK_BYTES = 8 << 20 };

unsigned pvt_world_fatals;

static void count_fatal(const char *what)
{
    (void)what;
    pvt_world_fatals++;
}

bool pvt_wrong(struct pvt_world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->finding, sizeof w->finding, fmt, args);
    va_end(args);
    return false;
}

/* ---- life ---- */

void pvt_world_init(struct pvt_world *w)
{
    *w = (struct pvt_world){.disk = pvt_simfs_new(), .vault = {NULL, PV_FD_NONE, PV_FD_NONE}};
    pvt_env_init(&w->env, 7, NULL);
    pvt_simfs_limit(w->disk, DISK_BYTES, 0);
}

void pvt_world_init_on(struct pvt_world *w, struct pvt_simfs *disk, const struct pvt_world *like)
{
    *w = (struct pvt_world){
        .disk = disk,
        .env = like->env,
        .vault = {NULL, PV_FD_NONE, PV_FD_NONE},
        .model = like->model,
    };
    w->env.env.ctx = &w->env;
}

void pvt_world_release(struct pvt_world *w)
{
    pvt_world_close(w);
    pvt_simfs_free(w->disk);
}

static enum pv_err open_store(struct pvt_world *w)
{
    const struct pv_fs *fs = pvt_simfs_fs(w->disk);
    struct pv_store_config config = {
        .vault = &w->vault,
        .env = &w->env.env,
        .cache_bytes = 1 << 20,
        .fatal = count_fatal,
    };
    long pid;
    enum pv_err err = pv_vault_open(&w->vault, vault_path, fs);
    if (err != PV_OK)
        return err;
    err = pv_vault_lock(&w->vault, &pid);
    if (err == PV_OK)
        err = pv_store_open(&w->store, &config);
    if (err != PV_OK)
        pv_vault_close(&w->vault);
    return err;
}

enum pv_err pvt_world_open(struct pvt_world *w)
{
    struct pvt_model *m = &w->model;
    w->finding[0] = '\0';
    enum pv_err err = m->created ? PV_OK : pv_vault_create(vault_path, pvt_simfs_fs(w->disk));
    m->created = m->created || err == PV_OK;
    if (err == PV_OK)
        err = open_store(w);
    if (err != PV_OK) {
        w->store = NULL;
        (void)pvt_wrong(w, "it does not open: %s", pv_err_name(err));
        return err;
    }
    for (unsigned i = 0; i < PVT_BLOBS; i++)
        m->blobs[i].expired = false;
    struct pv_store_origin origin = pv_store_origin(w->store);
    bool same = !m->opened || memcmp(origin.uuid, m->uuid, sizeof m->uuid) == 0;
    bool newer = origin.open_count > m->open_count;
    if (!same || !newer)
        (void)pvt_wrong(w, same ? "the number of its opening comes again" : "another store");
    memcpy(m->uuid, origin.uuid, sizeof m->uuid);
    /* On a full disk the number may come again, until something else is durable. */
    m->open_count = w->store->counted ? origin.open_count : origin.open_count - 1;
    m->opened = true;
    return same && newer ? PV_OK : PV_E_INTERNAL;
}

void pvt_world_close(struct pvt_world *w)
{
    if (w->store == NULL)
        return;
    pv_store_close(w->store);
    w->store = NULL;
    pv_vault_close(&w->vault);
}

/* ---- blobs ---- */

static uint64_t number_of(struct pvt_world *w, const char *sql, const struct pv_id *id)
{
    sqlite3_stmt *st = NULL;
    uint64_t number = UINT64_MAX;
    if (sqlite3_prepare_v2(w->store->writer->handle, sql, -1, &st, NULL) == SQLITE_OK &&
        sqlite3_bind_blob(st, 1, id->b, PV_ID_LEN, SQLITE_STATIC) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        number = (uint64_t)sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return number;
}

static bool bytes_equal(struct pvt_world *w, const struct pvt_cast_blob *b)
{
    static uint8_t bytes[PV_BLOB_FILE_MIN * 2];
    size_t got = 0;
    uint32_t size = 0;
    PV_ASSERT(b->len < sizeof bytes);
    enum pv_err err = pv_store_read(w->store, &b->id, 0, bytes, sizeof bytes, &got, &size);
    return err == PV_OK && got == b->len && size == b->len && memcmp(bytes, b->bytes, b->len) == 0;
}

static bool check_blob(struct pvt_world *w, unsigned no, const struct pvt_model_blob *m)
{
    const struct pvt_cast_blob *b = &pvt_cast()->blobs[no];
    struct pv_blob_info info = {0};
    enum pv_err err = pv_store_blob(w->store, &b->id, &info);
    if (err != (m->here ? PV_OK : PV_E_NOT_FOUND))
        return pvt_wrong(w, "blob %u is %s: %s", no, m->here ? "lost" : "there", pv_err_name(err));
    if (!m->here)
        return true;
    if (info.held != m->held || info.size != b->len)
        return pvt_wrong(w, "blob %u is held by %llx, not %llx", no, (unsigned long long)info.held,
                         (unsigned long long)m->held);
    uint64_t lease =
        number_of(w, "SELECT lease_until FROM blob WHERE id=?1 AND length(xxh3)=16", &b->id);
    if (lease < m->lease_until_ms || lease == UINT64_MAX)
        return pvt_wrong(w, "the lease of blob %u ends at %llu, before %llu", no,
                         (unsigned long long)lease, (unsigned long long)m->lease_until_ms);
    if (!m->damaged && !bytes_equal(w, b))
        return pvt_wrong(w, "blob %u does not read as it was stored", no);
    return true;
}

static bool check_blobs(struct pvt_world *w, const struct pvt_model *m)
{
    struct pv_store_counts counts;
    struct pv_blob_info infos[PVT_BLOBS + 1];
    uint64_t cursor = 0, blobs = 0, bytes = 0;
    size_t listed = 0;
    bool end = false;
    for (unsigned i = 0; i < PVT_BLOBS; i++) {
        if (!check_blob(w, i, &m->blobs[i]))
            return false;
        blobs += m->blobs[i].here;
        bytes += m->blobs[i].here ? pvt_cast()->blobs[i].len : 0;
    }
    enum pv_err err =
        pv_store_unheld(w->store, PV_HOLDERS_MAX - 1, &cursor, infos, PVT_BLOBS + 1, &listed, &end);
    if (err != PV_OK || listed != blobs || !end)
        return pvt_wrong(w, "%zu blobs are listed, not %llu", listed, (unsigned long long)blobs);
    err = pv_store_counts(w->store, &counts);
    if (err != PV_OK || counts.blobs != blobs || counts.blob_bytes != bytes)
        return pvt_wrong(w, "%llu blobs are counted, not %llu", (unsigned long long)counts.blobs,
                         (unsigned long long)blobs);
    return true;
}

/* ---- records ---- */

struct recount {
    struct pv_store_counts counts;
    struct pv_store_bucket digest[PV_STORE_BUCKETS];
};

static bool count_record(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct recount *r = arg;
    struct pv_record rec;
    if (pv_record_parse(&rec, env, len) != PV_OK)
        return false; /* so that the count is wrong */
    bool live = (rec.flags & PV_RECORD_TOMBSTONE) == 0;
    r->counts.records++;
    r->counts.pending += pending;
    r->counts.files += live && rec.type == PV_RECORD_FILE;
    r->counts.names += live && rec.type == PV_RECORD_NAME;
    if (!pending)
        pv_digest_change(r->digest, &rec.hash, 1);
    return true;
}

static bool check_recount(struct pvt_world *w, uint64_t expected)
{
    static struct pv_store_bucket digest[PV_STORE_BUCKETS];
    static struct recount r;
    struct pv_id after = {{0}};
    struct pv_store_counts counts;
    bool end = false;
    memset(&r, 0, sizeof r);
    enum pv_err err =
        pv_store_records(w->store, 0, &after, PV_SCAN_ROWS_MAX, count_record, &r, &end);
    if (err == PV_OK)
        err = pv_store_counts(w->store, &counts);
    if (err != PV_OK)
        return pvt_wrong(w, "records are not listed: %s", pv_err_name(err));
    if (!end || r.counts.records != expected || counts.records != expected ||
        counts.pending != r.counts.pending || counts.files != r.counts.files ||
        counts.names != r.counts.names)
        return pvt_wrong(w, "%llu records are counted, %llu listed, not %llu",
                         (unsigned long long)counts.records, (unsigned long long)r.counts.records,
                         (unsigned long long)expected);
    pv_store_digest(w->store, digest);
    if (memcmp(digest, r.digest, sizeof digest) != 0)
        return pvt_wrong(w, "the digest is not that of the records");
    return true;
}

struct versions {
    const struct pvt_cast_record *known;
    unsigned seen;
    bool foreign;
};

static bool note_version(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct versions *v = arg;
    unsigned i = 0;
    (void)pending;
    while (i < PVT_VERSIONS && (v->known[i].len != len || memcmp(v->known[i].env, env, len) != 0))
        i++;
    v->seen |= 1U << (i + 1);
    v->foreign |= i == PVT_VERSIONS;
    return true;
}

static bool check_record(struct pvt_world *w, unsigned reg, const struct pvt_model_record *m)
{
    static uint8_t env[PV_RECORD_LEN_MAX];
    const struct pvt_cast_record *versions = pvt_cast()->records[reg];
    struct versions current = {.known = versions}, history = {.known = versions};
    bool pending = false;
    size_t len = 0;
    enum pv_err err = pv_store_record(w->store, &versions[0].rec.rid, env, &len, &pending);
    if (err != (m->version > 0 ? PV_OK : PV_E_NOT_FOUND))
        return pvt_wrong(w, "record %u is %s: %s", reg, m->version > 0 ? "lost" : "there",
                         pv_err_name(err));
    if (err == PV_OK)
        note_version(&current, env, len, pending);
    if (m->version > 0 && (current.seen != 1U << m->version || pending != m->pending))
        return pvt_wrong(w, "record %u is another version than %u, pending %d", reg, m->version,
                         pending);
    err = pv_store_history(w->store, &versions[0].rec.rid, note_version, &history);
    if (err != PV_OK || history.foreign || history.seen != m->history)
        return pvt_wrong(w, "the history of record %u is %x, not %x", reg, history.seen,
                         m->history);
    return true;
}

static bool check_links(struct pvt_world *w, unsigned file, const struct pvt_model *m)
{
    struct pv_id rids[PVT_REGISTERS];
    size_t count = 0, expected = 0;
    for (unsigned reg = 0; reg < PVT_REGISTERS; reg++)
        expected +=
            m->records[reg].version > 0 && pvt_cast_link(reg, m->records[reg].version) == file;
    enum pv_err err = pv_store_names_of(w->store, &pvt_cast()->records[file][0].rec.rid, rids,
                                        PVT_REGISTERS, &count);
    return err == PV_OK && count == expected
               ? true
               : pvt_wrong(w, "file %u has %zu names, not %zu", file, count, expected);
}

static bool check_records(struct pvt_world *w, const struct pvt_model *m)
{
    uint64_t count = 0;
    for (unsigned reg = 0; reg < PVT_REGISTERS; reg++) {
        if (!check_record(w, reg, &m->records[reg]) || !check_links(w, reg, m))
            return false;
        count += m->records[reg].version > 0;
    }
    return check_recount(w, count);
}

/* ---- the rest ---- */

static bool check_own(struct pvt_world *w, const struct pvt_model *m)
{
    uint8_t value = 0;
    size_t len = sizeof value;
    enum pv_err err = pv_store_meta(w->store, "test", &value, &len);
    if (err != (m->meta > 0 ? PV_OK : PV_E_NOT_FOUND) || value != m->meta)
        return pvt_wrong(w, "meta is %u, not %u: %s", value, m->meta, pv_err_name(err));
    if (pv_store_time_ms(w->store) < m->time_ms)
        return pvt_wrong(w, "the clock of leases went back");
    if (pv_store_hlc(w->store) < m->hlc)
        return pvt_wrong(w, "the record clock went back");
    return true;
}

static int expect_ok(void *arg, int columns, char **values, char **names)
{
    (void)columns;
    (void)names;
    *(bool *)arg = values[0] != NULL && strcmp(values[0], "ok") == 0;
    return 0;
}

static bool check_database(struct pvt_world *w)
{
    bool good = false;
    int rc =
        sqlite3_exec(w->store->writer->handle, "PRAGMA integrity_check", expect_ok, &good, NULL);
    return rc == SQLITE_OK && good ? true : pvt_wrong(w, "vault.db fails SQLite's check");
}

bool pvt_world_equals(struct pvt_world *w, const struct pvt_model *m)
{
    return check_own(w, m) && check_blobs(w, m) && check_records(w, m) && check_database(w);
}

/* ---- files ---- */

static bool count_name(void *arg, const char *name)
{
    (void)name;
    ++*(size_t *)arg;
    return true;
}

static size_t count_files(struct pvt_world *w, const char *folder)
{
    const struct pv_fs *fs = pvt_simfs_fs(w->disk);
    size_t count = 0;
    enum pv_err err = fs->list(fs->ctx, w->vault.dir, folder, count_name, &count);
    return err == PV_OK ? count : SIZE_MAX;
}

/* A file without a row came here by a rename, so it was synced before. */
static bool unknown_is_whole(struct pvt_world *w, const struct pv_id *id)
{
    const struct pv_fs *fs = pvt_simfs_fs(w->disk);
    static uint8_t bytes[PV_BLOB_FILE_MIN * 2];
    char path[PV_BLOB_PATH_LEN + 1];
    struct pv_id real;
    size_t got = 0;
    pv_fd fd;
    pv_blob_path(path, id);
    enum pv_err err = fs->open(fs->ctx, w->vault.dir, path, PV_FS_READ, &fd);
    if (err != PV_OK)
        return false;
    err = fs->read(fs->ctx, fd, bytes, sizeof bytes, 0, &got);
    (void)fs->close(fs->ctx, fd);
    pv_sha256(real.b, bytes, got);
    return err == PV_OK && pv_id_equal(&real, id);
}

static void no_done(struct pv_commit *c)
{
    (void)c;
}

static bool sweep(struct pvt_world *w)
{
    struct pv_id ids[PV_UNKNOWN_MAX];
    size_t count = 0;
    enum pv_err err = PV_OK;
    for (unsigned folder = 0; folder < 256 && err == PV_OK;)
        err = pv_store_find_unknown(w->store, &folder, ids, PV_UNKNOWN_MAX, &count);
    if (err != PV_OK)
        return pvt_wrong(w, "the look for unknown files: %s", pv_err_name(err));
    for (size_t i = 0; i < count; i++)
        if (!unknown_is_whole(w, &ids[i]))
            return pvt_wrong(w, "a torn blob file");
    struct pv_commit_op op = {.type = PV_COMMIT_UNKNOWN, .u.unknown = {ids, count}};
    struct pv_commit c = {.ops = &op, .count = 1, .done = no_done};
    if (count > 0)
        pv_commit_batch(w->store, &c);
    return c.err == PV_OK ? true : pvt_wrong(w, "the sweep: %s", pv_err_name(c.err));
}

bool pvt_world_is_tidy(struct pvt_world *w)
{
    size_t files = 0, least = 0, most = 0;
    if (count_files(w, "tmp") != 0)
        return pvt_wrong(w, "a file is left in tmp/");
    if (!sweep(w))
        return false;
    for (unsigned i = 0; i < PVT_BLOBS; i++) {
        most += w->model.blobs[i].here && pvt_cast_is_file(i);
        least += w->model.blobs[i].here && pvt_cast_is_file(i) && !w->model.blobs[i].damaged;
    }
    for (unsigned i = 0; i < 256; i++) {
        char folder[sizeof "blobs/00"];
        snprintf(folder, sizeof folder, "blobs/%02x", i & 0xff);
        files += count_files(w, folder);
    }
    return files >= least && files <= most ? true
                                           : pvt_wrong(w, "%zu blob files, not %zu", files, most);
}
