/*
 * A token bucket: at most `rate` a second in the long run, and `burst` at once after a rest.
 *
 * Taking may go into debt: whoever cannot know the price beforehand pays afterwards, and waits
 * until the debt is paid. Exact: a bucket neither loses nor invents anything however often it is
 * looked at. Rate 0 is no limit. Times are monotonic and never go back.
 */
#ifndef PV_BASE_THROTTLE_H
#define PV_BASE_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define PV_THROTTLE_RATE_MAX (UINT64_C(1) << 40)

struct pv_throttle {
    uint64_t rate;         /* a second; 0: no limit */
    int64_t level, full;   /* private: thousandths, so that a millisecond brings a whole number */
    uint64_t looked_at_ms; /* private */
};

/* Full. rate and burst are at most PV_THROTTLE_RATE_MAX. */
void pv_throttle_init(struct pv_throttle *b, uint64_t rate, uint64_t burst, uint64_t now_ms);
/* Another rate: what was saved is kept up to the new burst, and so are debts; from no limit: full.
 */
void pv_throttle_change(struct pv_throttle *b, uint64_t rate, uint64_t burst, uint64_t now_ms);
uint64_t pv_throttle_has(struct pv_throttle *b, uint64_t now_ms); /* UINT64_MAX without a limit */
void pv_throttle_take(struct pv_throttle *b, uint64_t count, uint64_t now_ms);
/* When there will be so many (at most the burst is ever there), unless others take them. */
uint64_t pv_throttle_ready_ms(struct pv_throttle *b, uint64_t count, uint64_t now_ms);

#endif
