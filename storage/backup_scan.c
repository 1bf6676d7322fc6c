/*
 * A window slides over the file, always long enough for a whole item unless the file ends. What
 * looks like the beginning of one and is not costs one check of it and one byte.
 */
#include "storage/backup_scan.h"

#include "crypto/blob.h"
#include "crypto/record.h"
#include "internal/base/limits.h"
#include "internal/base/mem.h"

#include <string.h>

enum { WINDOW_LEN = 1 << 20, MAGIC_LEN = 4 };

struct item {
    const char *magic;
    size_t magic_at; /* so many bytes of it stand before the magic */
    size_t len_max;
    size_t (*len)(const uint8_t *bytes, size_t avail); /* 0: that is none */
    enum pv_err (*verify)(const uint8_t *bytes, size_t len);
};

struct window {
    uint8_t *bytes;
    size_t len, at;
    uint64_t offset; /* in the file, of bytes[len] */
    bool end;
};

/* Whether an item may begin here, or as far as the next place where one may. */
static bool find_start(struct window *w, const struct item *item, uint64_t *skipped)
{
    size_t left = w->len - w->at, keep = item->magic_at + MAGIC_LEN - 1;
    const uint8_t *from = w->bytes + w->at + item->magic_at;
    const uint8_t *magic = NULL;
    if (left > keep)
        magic = memmem(from, left - item->magic_at, item->magic, MAGIC_LEN);
    /* Without one, the last bytes may be the beginning of one. */
    size_t gap = magic != NULL ? (size_t)(magic - from) : left > keep ? left - keep : 0;
    w->at += gap;
    *skipped += gap;
    return magic != NULL;
}

static enum pv_err refill(const struct pv_fs *fs, pv_fd fd, struct window *w)
{
    size_t got;
    memmove(w->bytes, w->bytes + w->at, w->len - w->at);
    w->len -= w->at;
    w->at = 0;
    enum pv_err err =
        fs->read(fs->ctx, fd, w->bytes + w->len, WINDOW_LEN - w->len, w->offset, &got);
    if (err != PV_OK)
        return err;
    w->end = got < WINDOW_LEN - w->len;
    w->len += got;
    w->offset += got;
    return PV_OK;
}

static enum pv_err scan(const struct pv_fs *fs, pv_fd fd, const struct item *item,
                        struct pv_scan *out, pv_scan_fn each, void *arg)
{
    struct window w = {.bytes = pv_malloc(WINDOW_LEN)};
    enum pv_err err = w.bytes == NULL ? PV_E_NOMEM : PV_OK;
    bool go_on = true;
    *out = (struct pv_scan){0};
    while (err == PV_OK && go_on) {
        if (!w.end && w.len - w.at < item->len_max) {
            err = refill(fs, fd, &w);
            continue;
        }
        if (!find_start(&w, item, &out->skipped_bytes)) {
            if (w.end)
                break;
            continue;
        }
        size_t len = item->len(w.bytes + w.at, w.len - w.at);
        enum pv_err found =
            len == 0 || len > w.len - w.at ? PV_E_PROTOCOL : item->verify(w.bytes + w.at, len);
        if (found == PV_E_NOMEM) {
            err = found;
        } else if (found == PV_OK) {
            out->found++;
            go_on = each(arg, w.bytes + w.at + item->magic_at, len - item->magic_at);
            w.at += len;
        } else {
            out->skipped_bytes++;
            w.at++;
        }
    }
    if (err == PV_OK && go_on)
        out->skipped_bytes += w.len - w.at;
    pv_free(w.bytes);
    return err;
}

static enum pv_err verify_record(const uint8_t *bytes, size_t len)
{
    struct pv_record rec;
    return pv_record_verify(&rec, bytes, len);
}

enum pv_err pv_scan_records(const struct pv_fs *fs, pv_fd fd, struct pv_scan *out, pv_scan_fn each,
                            void *arg)
{
    static const struct item item = {.magic = "PVR1",
                                     .len_max = PV_RECORD_LEN_MAX,
                                     .len = pv_record_len,
                                     .verify = verify_record};
    return scan(fs, fd, &item, out, each, arg);
}

size_t pv_backup_blob_len(const uint8_t *bytes, size_t avail)
{
    size_t len = avail < PV_ID_LEN ? 0 : pv_blob_len_of(bytes + PV_ID_LEN, avail - PV_ID_LEN);
    return len == 0 || len >= PV_BLOB_FILE_MIN ? 0 : PV_ID_LEN + len;
}

enum pv_err pv_backup_blob_verify(const uint8_t *bytes, size_t len)
{
    struct pv_id id;
    memcpy(id.b, bytes, PV_ID_LEN);
    return pv_blob_check(bytes + PV_ID_LEN, len - PV_ID_LEN, &id);
}

enum pv_err pv_scan_blobs(const struct pv_fs *fs, pv_fd fd, struct pv_scan *out, pv_scan_fn each,
                          void *arg)
{
    static const struct item item = {.magic = "PVB1",
                                     .magic_at = PV_ID_LEN,
                                     .len_max = PV_ID_LEN + PV_BLOB_FILE_MIN,
                                     .len = pv_backup_blob_len,
                                     .verify = pv_backup_blob_verify};
    return scan(fs, fd, &item, out, each, arg);
}
