/*
 * A window slides over the file, always long enough for a whole envelope unless the file ends. What
 * looks like the beginning of one and is not costs one signature check and one byte.
 */
#include "storage/record_scan.h"

#include "internal/base/mem.h"

#include <string.h>

enum { WINDOW_LEN = 1 << 20 };

struct window {
    uint8_t *bytes;
    size_t len, at;
    uint64_t offset; /* in the file, of bytes[len] */
    bool end;
};

/* Whether an envelope may begin here, or as far as the next place where one may. */
static bool find_start(struct window *w, uint64_t *skipped)
{
    const uint8_t *from = w->bytes + w->at;
    const uint8_t *start = memmem(from, w->len - w->at, "PVR1", 4);
    /* Without one, the last three bytes may be its beginning. */
    size_t gap = start != NULL        ? (size_t)(start - from)
                 : w->len - w->at > 3 ? w->len - w->at - 3
                                      : 0;
    w->at += gap;
    *skipped += gap;
    return start != NULL;
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

enum pv_err pv_record_scan(const struct pv_fs *fs, pv_fd fd, struct pv_record_scan *out,
                           bool (*each)(void *arg, const uint8_t *env, size_t len), void *arg)
{
    struct window w = {.bytes = pv_malloc(WINDOW_LEN)};
    enum pv_err err = w.bytes == NULL ? PV_E_NOMEM : PV_OK;
    bool go_on = true;
    *out = (struct pv_record_scan){0};
    while (err == PV_OK && go_on) {
        if (!w.end && w.len - w.at < PV_RECORD_LEN_MAX) {
            err = refill(fs, fd, &w);
            continue;
        }
        if (!find_start(&w, &out->skipped_bytes)) {
            if (w.end)
                break;
            continue;
        }
        struct pv_record rec;
        size_t len = pv_record_len(w.bytes + w.at, w.len - w.at);
        enum pv_err found = len == 0 || len > w.len - w.at
                                ? PV_E_PROTOCOL
                                : pv_record_verify(&rec, w.bytes + w.at, len);
        if (found == PV_E_NOMEM) {
            err = found;
        } else if (found == PV_OK) {
            out->found++;
            go_on = each(arg, w.bytes + w.at, len);
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
