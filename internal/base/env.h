/*
 * The first of the two seams (the other is fs.h): time, randomness and the log.
 *
 * Everything that decides gets these from here, so that a simulator can supply its own. Wall time
 * is for what people and other machines see (record clocks, handshake timestamps, log lines);
 * mono time is for every deadline and duration.
 */
#ifndef PV_BASE_ENV_H
#define PV_BASE_ENV_H

#include "internal/base/log.h"
#include <stddef.h>
#include <stdint.h>

struct pv_env {
    void *ctx;
    uint64_t (*wall_ms)(void *ctx); /* milliseconds since 1970 */
    uint64_t (*mono_ms)(void *ctx); /* milliseconds since an arbitrary start; never goes back */
    void (*random)(void *ctx, void *dst, size_t len); /* cryptographic; cannot fail, it aborts */
    struct pv_log *log;
};

/* The real clock and getrandom(2). log is borrowed and may be NULL (logs nothing). Thread-safe. */
struct pv_env pv_env_real(struct pv_log *log);

static inline uint64_t pv_env_wall_ms(const struct pv_env *env)
{
    return env->wall_ms(env->ctx);
}

static inline uint64_t pv_env_wall_s(const struct pv_env *env)
{
    return pv_env_wall_ms(env) / 1000;
}

static inline uint64_t pv_env_mono_ms(const struct pv_env *env)
{
    return env->mono_ms(env->ctx);
}

static inline void pv_env_random(const struct pv_env *env, void *dst, size_t len)
{
    env->random(env->ctx, dst, len);
}

/* Parses "90", "90s", "5m", "12h", "7d" and "500ms" (no unit: seconds). PV_E_INVALID otherwise. */
PV_MUST enum pv_err pv_duration_parse(uint64_t *ms, const char *text);

#endif
