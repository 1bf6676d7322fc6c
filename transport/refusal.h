/*
 * What a person reads about a handshake that failed: the cause in words, with what helps to mend
 * it. The text never goes to the other side.
 */
#ifndef PV_TRANSPORT_REFUSAL_H
#define PV_TRANSPORT_REFUSAL_H

#include "transport/frame.h"
#include "transport/handshake.h"

enum { PV_CAUSE_LEN = 128, PV_UTC_LEN = 32 };

/* head: the first bytes received; skew_ms: their clock minus ours. */
void pv_refusal_describe(char dst[static PV_CAUSE_LEN], enum pv_refusal why,
                         const uint8_t head[static PV_FRAME_HEADER_LEN], int64_t skew_ms);
/* "2026-01-31T12:00:00Z", or the number of seconds when that is out of range. */
void pv_utc_format(char dst[static PV_UTC_LEN], uint64_t wall_ms);

#endif
