/* A vault whose blobs are checked, and ways to damage it. */
#ifndef PV_TESTS_STORAGE_CHECK_FIXTURE_H
#define PV_TESTS_STORAGE_CHECK_FIXTURE_H

#include "storage/check.h"
#include "storage/store_private.h"
#include "tests/unit/storage_fixture.h"
#include <fcntl.h>
#include <sys/stat.h>

enum { SMALL = 5000, LARGE = PV_BLOB_FILE_MIN };

static inline void path_of(struct pvt_vault *v, const struct pv_id *id, char path[static 500])
{
    char blob[PV_BLOB_PATH_LEN + 1];
    pv_blob_path(blob, id);
    snprintf(path, 500, "%s/%s", v->path, blob);
}

static inline void sql(struct pvt_vault *v, const char *text)
{
    cr_assert_eq(sqlite3_exec(v->store->writer->handle, text, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(v->store->writer->handle));
}

static inline void flip(struct pvt_vault *v, const struct pv_id *id, off_t at)
{
    char path[500];
    uint8_t byte;
    path_of(v, id, path);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* All slices of a pass; the findings of all of them, at most one slice's worth. */
static inline struct pv_blob_check pass(struct pvt_vault *v, enum pv_check_depth depth,
                                        uint64_t max_bytes)
{
    struct pv_blob_check c = {.depth = depth, .max_bytes = max_bytes}, all = {.depth = depth};
    while (!c.end) {
        enum pv_err err = pv_store_check_blobs(v->store, &c);
        cr_assert_eq(err, PV_OK, "%s", pv_err_text(err));
        all.blobs += c.blobs;
        all.bytes += c.bytes;
        for (size_t i = 0; i < c.count; i++)
            all.findings[all.count++] = c.findings[i];
    }
    return all;
}

static inline enum pv_check_result find(struct pvt_vault *v, enum pv_check_depth depth,
                                        const struct pv_id *id)
{
    struct pv_blob_check c = pass(v, depth, UINT64_MAX);
    cr_assert_leq(c.count, 1);
    if (c.count == 0)
        return PV_CHECK_GOOD;
    cr_assert(pv_id_equal(&c.findings[0].id, id));
    return (enum pv_check_result)c.findings[0].result;
}

static inline struct pv_commit_op bad(struct pvt_vault *v, const struct pv_id *id,
                                      enum pv_err expected)
{
    struct pv_commit_op op = {.type = PV_COMMIT_BAD, .u.bad = {.id = *id}};
    cr_assert_eq(pvt_commit(v, &op, 1), expected);
    return op;
}

static inline bool recounts(struct pvt_vault *v)
{
    bool same = false;
    cr_assert_eq(pv_store_recount(v->store, &same), PV_OK);
    return same;
}

static inline uint64_t quarantined(struct pvt_vault *v)
{
    uint64_t count = 99;
    cr_assert_eq(pv_store_quarantined(v->store, &count), PV_OK);
    return count;
}

static inline size_t lost(struct pvt_vault *v)
{
    static struct pv_id ids[PV_LOST_MAX];
    size_t count = 99;
    cr_assert_eq(pv_store_lost(v->store, ids, &count), PV_OK);
    return count;
}

static inline uint64_t blobs_of(struct pvt_vault *v, uint64_t *bytes)
{
    struct pv_store_counts counts;
    cr_assert_eq(pv_store_counts(v->store, &counts), PV_OK);
    *bytes = counts.blob_bytes;
    return counts.blobs;
}

/* One blob is damaged; it leaves, and a good copy takes its place in the same batch. */
static inline void leaves_and_returns(struct pvt_vault *v, const struct pvt_blob *b, size_t kept)
{
    uint64_t bytes;
    struct pv_commit_op op = bad(v, &b->id, PV_OK);
    cr_assert(op.u.bad.gone && op.u.bad.here);
    cr_assert(op.u.bad.size == b->len && op.u.bad.kind == PV_BLOB_CHUNK);
    cr_assert_eq(quarantined(v), kept);
    cr_assert_eq(lost(v), 1);
    cr_assert_eq(blobs_of(v, &bytes), 0);
    cr_assert_eq(bytes, 0);
    cr_assert(recounts(v));
    cr_assert_not(pvt_has_blob(v, b));
    cr_assert_eq(pvt_blob_files(v), 0);
    cr_assert_eq(pvt_files_in(v, "tmp"), 0);
    cr_assert_eq(pvt_put_blob(v, b), PV_OK);
    cr_assert(pvt_has_blob(v, b));
    cr_assert_eq(lost(v), 0);
    pvt_reopen(v);
    cr_assert(pvt_has_blob(v, b));
    cr_assert_eq(find(v, PV_CHECK_EVERY_BYTE, &b->id), PV_CHECK_GOOD);
    cr_assert(recounts(v));
}

#endif
