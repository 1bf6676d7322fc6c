/*
 * What a session has to say but the socket has not taken yet. Two buffers: one is filled while the
 * other is being written, so that bytes handed to the socket never move under it.
 *
 *   room/commit -> view (once) -> sent -> view ...
 *
 * queued counts both buffers and never passes the maximum.
 */
#ifndef PV_TRANSPORT_OUTBOX_H
#define PV_TRANSPORT_OUTBOX_H

#include "internal/base/buf.h"
#include <stdbool.h>

struct pv_outbox {
    struct pv_buf filling, flying; /* private */
    size_t flown;                  /* private: bytes of flying that were sent */
    bool viewed;                   /* private: flying is with the socket */
};

void pv_outbox_init(struct pv_outbox *o);
void pv_outbox_release(struct pv_outbox *o);
void pv_outbox_shrink(struct pv_outbox *o); /* gives memory back when nothing is queued */
void pv_outbox_drop(struct pv_outbox *o);   /* forgets all that is not with the socket */

/* Room for len bytes; pv_outbox_commit then adds them. PV_E_LIMIT above the maximum; PV_E_NOMEM. */
PV_MUST enum pv_err pv_outbox_room(struct pv_outbox *o, size_t len, uint8_t **dst);
void pv_outbox_commit(struct pv_outbox *o, size_t len);

/* False when there is nothing to send or the last view has not been answered by sent. The bytes
 * stay where they are until sent or release. */
bool pv_outbox_view(struct pv_outbox *o, const uint8_t **bytes, size_t *len);
void pv_outbox_sent(struct pv_outbox *o, size_t len); /* at most the length of the view */
size_t pv_outbox_queued(const struct pv_outbox *o);   /* bytes not sent yet */

#endif
