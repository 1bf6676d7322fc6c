/*
 * Bytes per second over the last 4 to 8 seconds, and bytes in all: for what people look at.
 *
 * Two slots of 4 s, the one being filled and the one before it: constant memory, and a rate that
 * is 0 eight seconds after the last byte. Times are monotonic and never go back.
 */
#ifndef PV_BASE_RATE_H
#define PV_BASE_RATE_H

#include <stdint.h>

enum { PV_RATE_SLOT_MS = 4000 };

struct pv_rate {
    uint64_t total;                  /* bytes */
    uint64_t begun_ms, slot_ms;      /* of the meter, of the slot being filled */
    uint64_t slot_bytes, past_bytes; /* of the slot being filled, of the one before it */
};

void pv_rate_start(struct pv_rate *r, uint64_t now_ms);
void pv_rate_add(struct pv_rate *r, uint64_t bytes, uint64_t now_ms);
uint64_t pv_rate_per_s(const struct pv_rate *r, uint64_t now_ms);

#endif
