/*
 * What lies in a vault folder, against tests/vectors/peervault/vault.json, which another program
 * made from storage/format.md: the sums of pages, and what the steps of its `story` leave behind.
 * vault.db is read by an SQLite that knows nothing of us.
 */
#include "storage/backup.h"
#include "storage/check.h"
#include "storage/scrub_state.h"
#include "tests/support/vectors.h"
#include "tests/unit/storage_fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

TestSuite(golden, .timeout = 120);

#define VECTORS "tests/vectors/peervault/vault.json"

/* As text: numbers, hex of bytes, - for NULL. */
static void write_row(char *out, size_t room, sqlite3_stmt *st)
{
    size_t len = 0;
    for (int i = 0; i < sqlite3_column_count(st); i++) {
        const uint8_t *bytes = sqlite3_column_blob(st, i);
        const size_t count = (size_t)sqlite3_column_bytes(st, i);
        if (i > 0)
            out[len++] = ' ';
        cr_assert_lt(len + 2 * count + 32, room);
        switch (sqlite3_column_type(st, i)) {
        case SQLITE_BLOB:
            pv_hex_encode(out + len, bytes, count);
            break;
        case SQLITE_NULL:
            snprintf(out + len, room - len, "-");
            break;
        default:
            snprintf(out + len, room - len, "%s", (const char *)sqlite3_column_text(st, i));
        }
        len += strlen(out + len);
    }
}

/* ---- pages ---- */

static void check_page(struct pv_vfs *v, pv_fd dir, const json_t *item)
{
    const char *name = pvt_json_text(item, "file");
    const long long offset = pvt_json_number(item, "offset");
    const int kind = strcmp(name, "vault.db") == 0 ? SQLITE_OPEN_MAIN_DB : SQLITE_OPEN_WAL;
    struct pvt_bytes sum = pvt_json_hex(item, "sum");
    uint8_t page[PV_VFS_PAGE_LEN] = {0}, stored[PV_VFS_PAGE_LEN];
    sqlite3_vfs *vfs = sqlite3_vfs_find(pv_vfs_name(v));
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    for (size_t i = 0; i < sizeof page - PV_VFS_SUM_LEN; i++)
        page[i] = (uint8_t)(31 * i + i / 256);
    cr_assert_eq(
        vfs->xOpen(vfs, name, file, kind | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
        SQLITE_OK);
    cr_assert_eq(file->pMethods->xWrite(file, page, sizeof page, offset), SQLITE_OK);
    cr_assert_eq(file->pMethods->xClose(file), SQLITE_OK);
    free(file);

    const int fd = openat(dir, name, O_RDONLY);
    cr_assert_eq(pread(fd, stored, sizeof stored, offset), (ssize_t)sizeof stored);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(memcmp(stored, page, sizeof page - PV_VFS_SUM_LEN), 0);
    PVT_FROZEN(pvt_bytes_equal(&sum, stored + sizeof page - PV_VFS_SUM_LEN, PV_VFS_SUM_LEN),
               "the sum of a page of", name);
    pvt_bytes_release(&sum);
}

Test(golden, page_sums)
{
    json_t *root = pvt_json_load(VECTORS);
    struct pvt_vault *v = pvt_vault_new();
    struct pv_vfs *vfs;
    size_t i;
    const json_t *item;
    cr_assert_eq(pv_vault_open(&v->vault, v->path, pv_fs_real()), PV_OK);
    const struct pv_vfs_config config = {pv_fs_real(), v->vault.dir, &v->env.env, NULL, NULL};
    cr_assert_eq(pv_vfs_new(&vfs, &config), PV_OK);
    json_array_foreach(json_object_get(root, "pages"), i, item) check_page(vfs, v->vault.dir, item);
    cr_assert_eq(i, 7);
    pv_vfs_free(vfs);
    pv_vault_close(&v->vault);
    pvt_vault_free(v);
    json_decref(root);
}

/* ---- the story ---- */

static struct pvt_blob pattern(size_t len)
{
    struct pvt_blob b = {.len = len, .bytes = malloc(len)};
    for (size_t i = 0; i < len; i++)
        b.bytes[i] = (uint8_t)(31 * i + i / 256);
    pv_sha256(b.id.b, b.bytes, len);
    return b;
}

static struct pv_id node_of(const json_t *story, size_t i)
{
    struct pv_id id;
    const char *hex = json_string_value(json_array_get(json_object_get(story, "nodes"), i));
    cr_assert_eq(pv_id_parse(&id, hex), PV_OK);
    return id;
}

static void commit_one(struct pvt_vault *v, struct pv_commit_op op)
{
    cr_assert_eq(pvt_commit(v, &op, 1), PV_OK);
}

static void put_blobs(struct pvt_vault *v, const json_t *story)
{
    struct pvt_blob small = pattern(304), big = pattern(65536), bad = pattern(65537);
    struct pv_commit_op ops[] = {pvt_blob_op(&small), pvt_blob_op(&big), pvt_blob_op(&bad)};
    ops[0].u.blob.has_holder = true;
    ops[0].u.blob.holder = node_of(story, 0);
    ops[1].u.blob.kind = PV_BLOB_NODE;
    cr_assert_eq(pvt_commit(v, ops, PV_COUNT(ops)), PV_OK);
    pvt_blob_free(&small);
    pvt_blob_free(&big);
    pvt_blob_free(&bad);
}

static void put_records(struct pvt_vault *v, const json_t *story)
{
    struct pvt_bytes tag = pvt_json_hex(story, "prefix_tag");
    struct pv_record rec;
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(story, "records"), i, item)
    {
        struct pvt_bytes env = pvt_json_hex(item, "envelope");
        const char *link = json_string_value(json_object_get(item, "link"));
        struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
        op.u.record.env = env.p;
        op.u.record.len = env.len;
        op.u.record.pending = json_is_true(json_object_get(item, "pending"));
        op.u.record.has_link = link != NULL;
        if (link != NULL)
            cr_assert_eq(pv_id_parse(&op.u.record.link_file_rid, link), PV_OK);
        op.u.record.has_prefix = json_is_true(json_object_get(item, "has_prefix"));
        for (size_t k = 0; k < tag.len; k++)
            op.u.record.prefix_tag = op.u.record.prefix_tag << 8 | tag.p[k];
        commit_one(v, op);
        if (i == 0)
            cr_assert_eq(pv_record_parse(&rec, env.p, env.len), PV_OK);
        pvt_bytes_release(&env);
    }
    cr_assert_eq(i, 7);
    commit_one(v, (struct pv_commit_op){.type = PV_COMMIT_PUBLISH,
                                        .u.publish = {.rid = rec.rid, .hash = rec.hash}});
    pvt_bytes_release(&tag);
}

static void put_the_rest(struct pvt_vault *v, const json_t *story)
{
    struct pvt_blob small = pattern(304), big = pattern(65536), value = pattern(20);
    commit_one(
        v, (struct pv_commit_op){
               .type = PV_COMMIT_HELD,
               .u.held = {.node_id = node_of(story, 1), .ids = &big.id, .count = 1, .held = true}});
    commit_one(v, (struct pv_commit_op){.type = PV_COMMIT_META,
                                        .u.meta = {"example", value.bytes, value.len}});
    pvt_env_advance(&v->env, UINT64_C(25) * 3600 * 1000);
    commit_one(v, (struct pv_commit_op){.type = PV_COMMIT_LEASE,
                                        .u.lease = {.ids = &small.id, .count = 1}});
    pvt_blob_free(&small);
    pvt_blob_free(&big);
    pvt_blob_free(&value);
}

static void spoil(struct pvt_vault *v, const struct pvt_blob *b)
{
    char blob[PV_BLOB_PATH_LEN + 1];
    const uint8_t byte = b->bytes[0] ^ 0xff;
    pv_blob_path(blob, &b->id);
    const int fd = openat(v->vault.dir, blob, O_WRONLY);
    cr_assert_eq(pwrite(fd, &byte, 1, 0), 1);
    cr_assert_eq(close(fd), 0);
    commit_one(v, (struct pv_commit_op){.type = PV_COMMIT_BAD, .u.bad = {.id = b->id}});
}

static void back_up(struct pvt_vault *v)
{
    for (unsigned what = 0; what < PV_BACKUP_COUNT; what++) {
        struct pv_backup b;
        uint8_t meta[PV_BACKUP_META_LEN];
        bool end = false;
        cr_assert_eq(pv_backup_begin(v->store, what, PV_BACKUP_TIDY, &b), PV_OK);
        while (!end)
            cr_assert_eq(pv_backup_step(v->store, &b, &end), PV_OK);
        cr_assert_eq(pv_backup_finish(v->store, &b, meta), PV_OK);
        commit_one(v, (struct pv_commit_op){.type = PV_COMMIT_META,
                                            .u.meta = {pv_backup_file((enum pv_backup_what)what),
                                                       meta, sizeof meta}});
    }
}

/* The vault is closed afterwards. */
static struct pvt_vault *tell(const json_t *story, char uuid_hex[static 33])
{
    struct pvt_vault *v = pvt_vault_new();
    struct pvt_blob bad = pattern(65537);
    v->env.wall_ms = (uint64_t)pvt_json_number(story, "wall_ms");
    pvt_vault_open(v);
    put_blobs(v, story);
    put_records(v, story);
    put_the_rest(v, story);
    spoil(v, &bad);
    cr_assert_eq(pvt_put_blob(v, &bad), PV_OK);
    spoil(v, &bad);
    back_up(v);
    pvt_reopen(v);
    const struct pv_store_origin origin = pv_store_origin(v->store);
    pv_hex_encode(uuid_hex, origin.uuid, sizeof origin.uuid);
    pvt_vault_close(v);
    pvt_blob_free(&bad);
    return v;
}

/* ---- a value of meta that the upkeep keeps ---- */

Test(golden, scrub_state)
{
    json_t *root = pvt_json_load(VECTORS);
    struct pvt_bytes value = pvt_json_hex(json_object_get(root, "meta"), "scrub");
    const struct pv_scrub_state was = {
        2, 1700000100000, 77, 123456789, 2, 1699000000000, 1698000000000, 3};
    struct pv_scrub_state is;
    uint8_t bytes[PV_SCRUB_STATE_LEN];
    struct pvt_vault *v = pvt_vault_new_open();
    pv_scrub_state_encode(bytes, &was);
    PVT_FROZEN(pvt_bytes_equal(&value, bytes, sizeof bytes), "the meta value", "scrub");
    commit_one(v, (struct pv_commit_op){.type = PV_COMMIT_META,
                                        .u.meta = {PV_SCRUB_STATE_META, value.p, value.len}});
    cr_assert_eq(pv_scrub_state_load(v->store, &is), PV_OK);
    pv_scrub_state_encode(bytes, &is);
    PVT_FROZEN(pvt_bytes_equal(&value, bytes, sizeof bytes), "the meta value", "scrub");
    pvt_bytes_release(&value);
    pvt_vault_free(v);
    json_decref(root);
}

/* ---- what it left ---- */

static void check_header(const char *path, const json_t *story)
{
    uint8_t page[100];
    size_t i;
    const json_t *item;
    const int fd = open(path, O_RDONLY);
    cr_assert_eq(pread(fd, page, sizeof page, 0), (ssize_t)sizeof page);
    cr_assert_eq(close(fd), 0);
    json_array_foreach(json_object_get(story, "header"), i, item)
    {
        struct pvt_bytes bytes = pvt_json_hex(item, "bytes");
        const long long offset = pvt_json_number(item, "offset");
        PVT_FROZEN(pvt_bytes_equal(&bytes, page + offset, bytes.len), "the header of vault.db,",
                   pvt_json_text(item, "bytes"));
        pvt_bytes_release(&bytes);
    }
    cr_assert_eq(i, 8);
}

static void check_schema(sqlite3 *db, const json_t *story)
{
    const json_t *schema = json_object_get(story, "schema");
    sqlite3_stmt *st;
    size_t i = 0;
    cr_assert_eq(sqlite3_prepare_v2(db,
                                    "SELECT sql FROM sqlite_schema WHERE sql NOT NULL"
                                    " AND name NOT LIKE 'sqlite%' ORDER BY rowid",
                                    -1, &st, NULL),
                 SQLITE_OK);
    for (; sqlite3_step(st) == SQLITE_ROW; i++) {
        const char *is = (const char *)sqlite3_column_text(st, 0);
        const char *was = json_string_value(json_array_get(schema, i));
        PVT_FROZEN(was != NULL && strcmp(is, was) == 0, "the schema of vault.db,", is);
    }
    PVT_FROZEN(i == json_array_size(schema), "the schema of vault.db,", "its end");
    sqlite3_finalize(st);
}

static void check_table(sqlite3 *db, const char *table, const json_t *rows, const char *uuid_hex)
{
    static char text[65536], sql[100];
    sqlite3_stmt *st;
    size_t i = 0;
    snprintf(sql, sizeof sql, "SELECT * FROM %s ORDER BY 1", table);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    for (; sqlite3_step(st) == SQLITE_ROW; i++) {
        const char *was = json_string_value(json_array_get(rows, i));
        write_row(text, sizeof text, st);
        if (was != NULL && strcmp(was, "/uuid UUID") == 0) /* random */
            cr_assert(strncmp(text, "/uuid ", 6) == 0 && strcmp(text + 6, uuid_hex) == 0);
        else
            PVT_FROZEN(was != NULL && strcmp(text, was) == 0, table, text);
    }
    PVT_FROZEN(i == json_array_size(rows), table, "with its last rows");
    sqlite3_finalize(st);
}

Test(golden, vault_db)
{
    json_t *root = pvt_json_load(VECTORS);
    const json_t *story = json_object_get(root, "story");
    json_t *tables = json_object_get(story, "tables"), *rows;
    char uuid_hex[33], path[400];
    struct pvt_vault *v = tell(story, uuid_hex);
    sqlite3 *db;
    const char *table;
    snprintf(path, sizeof path, "%s/vault.db", v->path);
    check_header(path, story);
    cr_assert_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    check_schema(db, story);
    cr_assert_eq(json_object_size(tables), 6);
    json_object_foreach(tables, table, rows) check_table(db, table, rows, uuid_hex);
    sqlite3_close(db);
    pvt_vault_free(v);
    json_decref(root);
}

/* ---- the folder ---- */

static struct pvt_vault *walked;
static json_t *expected; /* files not met yet */
static size_t folders;

static void check_content(const char *path, const json_t *item)
{
    char hex[PV_ID_HEX_LEN + 1], pid[24];
    static uint8_t bytes[1 << 20];
    struct pv_id sum;
    const int fd = open(path, O_RDONLY);
    const ssize_t len = read(fd, bytes, sizeof bytes);
    cr_assert_geq(len, 0);
    cr_assert_eq(close(fd), 0);
    if (json_is_true(json_object_get(item, "pid"))) {
        snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
        PVT_FROZEN((size_t)len == strlen(pid) && memcmp(bytes, pid, (size_t)len) == 0,
                   "the content of", "lock");
    }
    if (json_object_get(item, "length") != NULL)
        PVT_FROZEN(len == pvt_json_number(item, "length"), "the length of", path);
    if (json_object_get(item, "sha256") != NULL) {
        pv_sha256(sum.b, bytes, (size_t)len);
        pv_id_hex(hex, &sum);
        PVT_FROZEN(strcmp(hex, pvt_json_text(item, "sha256")) == 0, "the content of", path);
    }
}

static int look(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    const char *name = path + strlen(walked->path) + 1;
    size_t i;
    const json_t *item;
    (void)ftw;
    if (type == FTW_D) {
        PVT_FROZEN((st->st_mode & 0777) == 0700, "the mode of", path);
        folders++;
        return 0;
    }
    PVT_FROZEN((st->st_mode & 0777) == 0600, "the mode of", name);
    json_array_foreach(expected, i, item)
    {
        if (strcmp(name, pvt_json_text(item, "path")) == 0) {
            check_content(path, item);
            json_array_remove(expected, i);
            return 0;
        }
    }
    PVT_FROZEN(false, "a name of a file,", name);
    return 1;
}

Test(golden, files_and_folders)
{
    json_t *root = pvt_json_load(VECTORS);
    const json_t *story = json_object_get(root, "story");
    char uuid_hex[33];
    walked = tell(story, uuid_hex);
    expected = json_object_get(story, "files");
    cr_assert_eq(nftw(walked->path, look, 8, FTW_PHYS), 0);
    PVT_FROZEN(json_array_size(expected) == 0, "the name of",
               pvt_json_text(json_array_get(expected, 0), "path"));
    cr_assert_eq(folders, 1 + 3 + 256);
    pvt_vault_free(walked);
    json_decref(root);
}
