/*
 * How fast a peer that is not keyed may talk: PV_GUEST_MESSAGES_PER_S messages and
 * PV_GUEST_RECORDS_PER_S records a second, more at once after a rest. Beyond that it is not read
 * for a while; nothing is lost, and it is no fault. Keyed members have no such limit: they are held
 * back only by what their messages lead to.
 */
#ifndef PV_NODE_QUOTA_H
#define PV_NODE_QUOTA_H

#include "internal/base/throttle.h"

#include <stdbool.h>

struct pv_peer;
struct pv_node;

struct pv_quota {
    struct pv_throttle messages, records;
    bool paused;
};

void pv_quota_begin(struct pv_peer *p);
void pv_quota_message(struct pv_peer *p); /* one was taken in; may pause reading */
void pv_quota_record(struct pv_peer *p);  /* one more of a message */
uint64_t pv_quota_deadline_ms(const struct pv_node *n);
void pv_quota_tick(struct pv_node *n);

#endif
