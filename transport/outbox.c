/* view swaps the buffers when the flying one is empty; sent empties it from the front. */
#include "transport/outbox.h"
#include "internal/base/limits.h"

void pv_outbox_init(struct pv_outbox *o)
{
    *o = (struct pv_outbox){0};
    pv_buf_init(&o->filling, PV_SESSION_OUT_MAX);
    pv_buf_init(&o->flying, PV_SESSION_OUT_MAX);
}

void pv_outbox_release(struct pv_outbox *o)
{
    pv_buf_release(&o->filling);
    pv_buf_release(&o->flying);
    o->flown = 0;
    o->viewed = false;
}

void pv_outbox_shrink(struct pv_outbox *o)
{
    if (pv_outbox_queued(o) == 0 && !o->viewed)
        pv_outbox_release(o);
}

void pv_outbox_drop(struct pv_outbox *o)
{
    pv_buf_reset(&o->filling);
    if (o->viewed)
        return;
    pv_buf_reset(&o->flying);
    o->flown = 0;
}

enum pv_err pv_outbox_room(struct pv_outbox *o, size_t len, uint8_t **dst)
{
    if (len > PV_SESSION_OUT_MAX - pv_outbox_queued(o))
        return PV_E_LIMIT;
    enum pv_err err = pv_buf_reserve(&o->filling, len);
    if (err == PV_OK)
        *dst = o->filling.data + o->filling.len;
    return err;
}

void pv_outbox_commit(struct pv_outbox *o, size_t len)
{
    PV_ASSERT(len <= o->filling.cap - o->filling.len);
    o->filling.len += len;
}

bool pv_outbox_view(struct pv_outbox *o, const uint8_t **bytes, size_t *len)
{
    if (o->viewed || pv_outbox_queued(o) == 0)
        return false;
    if (o->flying.len == 0) {
        struct pv_buf empty = o->flying;
        o->flying = o->filling;
        o->filling = empty;
    }
    *bytes = o->flying.data + o->flown;
    *len = o->flying.len - o->flown;
    o->viewed = true;
    return true;
}

void pv_outbox_sent(struct pv_outbox *o, size_t len)
{
    PV_ASSERT(o->viewed && len <= o->flying.len - o->flown);
    o->viewed = false;
    o->flown += len;
    if (o->flown == o->flying.len) {
        pv_buf_reset(&o->flying);
        o->flown = 0;
    }
}

size_t pv_outbox_queued(const struct pv_outbox *o)
{
    return o->filling.len + o->flying.len - o->flown;
}
