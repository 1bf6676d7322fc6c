#include "storage/scrub_state.h"

#include "internal/base/rd.h"
#include "internal/base/wr.h"

enum { VERSION = 1 };

void pv_scrub_state_encode(uint8_t out[static PV_SCRUB_STATE_LEN], const struct pv_scrub_state *s)
{
    struct pv_wr w = pv_wr_of(out, PV_SCRUB_STATE_LEN);
    pv_wr_u8(&w, VERSION);
    pv_wr_u8(&w, s->depth);
    pv_wr_u64(&w, s->start_ms);
    pv_wr_u64(&w, s->cursor);
    pv_wr_u64(&w, s->done_bytes);
    pv_wr_u64(&w, s->unreadable);
    pv_wr_u64(&w, s->since_ms);
    pv_wr_u64(&w, s->hashed_since_ms);
    pv_wr_u64(&w, s->last_unreadable);
    PV_ASSERT(pv_wr_end(&w) == PV_OK && pv_wr_len(&w) == PV_SCRUB_STATE_LEN);
}

static struct pv_scrub_state decode(const uint8_t *bytes, size_t len)
{
    struct pv_scrub_state s;
    struct pv_rd r = pv_rd_of(bytes, len);
    uint8_t version = pv_rd_u8(&r);
    s.depth = pv_rd_u8(&r);
    s.start_ms = pv_rd_u64(&r);
    s.cursor = pv_rd_u64(&r);
    s.done_bytes = pv_rd_u64(&r);
    s.unreadable = pv_rd_u64(&r);
    s.since_ms = pv_rd_u64(&r);
    s.hashed_since_ms = pv_rd_u64(&r);
    s.last_unreadable = pv_rd_u64(&r);
    bool good = pv_rd_end(&r) == PV_OK && version == VERSION &&
                (s.depth == PV_CHECK_SUM || s.depth == PV_CHECK_EVERY_BYTE);
    return good ? s : (struct pv_scrub_state){.depth = PV_CHECK_EVERY_BYTE};
}

enum pv_err pv_scrub_state_load(struct pv_store *store, struct pv_scrub_state *out)
{
    uint8_t bytes[PV_SCRUB_STATE_LEN];
    size_t len = sizeof bytes;
    enum pv_err err = pv_store_meta(store, PV_SCRUB_STATE_META, bytes, &len);
    *out = decode(bytes, err == PV_OK ? len : 0);
    return err == PV_E_NOT_FOUND || err == PV_E_LIMIT ? PV_OK : err;
}
