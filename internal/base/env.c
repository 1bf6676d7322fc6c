/* The real clocks and the kernel's random bytes, and the text form of durations. */
#include "internal/base/env.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec t;
    int result = clock_gettime(clock, &t);
    PV_ASSERT(result == 0);
    return t.tv_sec < 0 ? 0 : (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t real_wall_ms(void *ctx)
{
    (void)ctx;
    return clock_ms(CLOCK_REALTIME);
}

static uint64_t real_mono_ms(void *ctx)
{
    (void)ctx;
    return clock_ms(CLOCK_MONOTONIC); /* the clock of libuv's timers, so that both agree */
}

static void real_random(void *ctx, void *dst, size_t len)
{
    uint8_t *p = dst;
    (void)ctx;
    while (len > 0) {
        ssize_t got = getrandom(p, len, 0); /* large requests come in parts */
        if (got < 0 && errno == EINTR)
            continue;
        PV_ASSERT(got > 0);
        p += got;
        len -= (size_t)got;
    }
}

struct pv_env pv_env_real(struct pv_log *log)
{
    return (struct pv_env){
        .wall_ms = real_wall_ms,
        .mono_ms = real_mono_ms,
        .random = real_random,
        .log = log,
    };
}

enum pv_err pv_duration_parse(uint64_t *ms, const char *text)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {
        {"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
    };
    const char *p = text;
    uint64_t n = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        unsigned digit = (unsigned)(*p - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return PV_E_INVALID;
        n = n * 10 + digit;
    }
    if (p == text)
        return PV_E_INVALID;
    for (size_t i = 0; i < PV_COUNT(units); i++) {
        if (strcmp(p, units[i].unit) != 0)
            continue;
        if (n > UINT64_MAX / units[i].ms)
            return PV_E_INVALID;
        *ms = n * units[i].ms;
        return PV_OK;
    }
    return PV_E_INVALID;
}
