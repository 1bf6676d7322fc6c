/*
 * What is known of the audit of a member: every day a thirtieth of what it should have, and has
 * acknowledged, is offered to it again (push_audit.c), so that a whole round takes 30 days.
 */
#ifndef PV_NODE_AUDIT_H
#define PV_NODE_AUDIT_H

#include "storage/store.h"

enum { PV_AUDIT_SLICES = 30, PV_AUDIT_LEN = 1 + 8 + 8, PV_AUDIT_KEY_LEN = 6 + PV_ID_HEX_LEN + 1 };

struct pv_audit_state {
    uint8_t slice;     /* the next: ids whose last byte mod PV_AUDIT_SLICES is this */
    uint64_t last_ms;  /* wall clock, when the last slice ended */
    uint64_t whole_ms; /* and the last round; 0: none yet */
};

/* All 0: nothing is known of it. In a job: IO, NOMEM, CORRUPT. */
PV_MUST enum pv_err pv_audit_load(struct pv_store *s, const struct pv_id *node_id,
                                  struct pv_audit_state *out);

#endif
