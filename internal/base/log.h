/*
 * Structured log: one line per event, logfmt by default, JSON by option.
 *
 *     PV_LOG(env->log, PV_LOG_WARN, PV_SUB_SESSION, "handshake refused",
 *            "peer", addr, "cause", "wrong token");
 *
 *     2026-01-31T12:00:00.123Z warn session "handshake refused" peer=[::1]:4711 cause="wrong token"
 *
 * Keys and values are C strings in pairs. Values are cut at 256 bytes ("..." follows) and escaped,
 * because peers can influence them: whatever is not printable ASCII is \xNN, in JSON \u00NN. A line
 * has at most 4096 bytes; pairs beyond are left out and it ends with cut=yes. Numbers go through
 * pv_log_u64. A detail is logged once, where it is detected. No secret, no user file name and no
 * file key is ever logged. Thread-safe; a line is written by one write(2) and never blocks on
 * anything but the descriptor.
 */
#ifndef PV_BASE_LOG_H
#define PV_BASE_LOG_H

#include "internal/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pv_log_level { PV_LOG_ERROR, PV_LOG_WARN, PV_LOG_INFO, PV_LOG_DEBUG, PV_LOG_LEVEL_COUNT };

#define PV_LOG_SUBSYSTEM_LIST(X) \
    X(MAIN, "main")              \
    X(CRYPTO, "crypto")          \
    X(STORE, "store")            \
    X(SESSION, "session")        \
    X(TCP, "tcp")                \
    X(NODE, "node")              \
    X(SYNC, "sync")              \
    X(FILE, "file")              \
    X(CONTROL, "control")

enum pv_log_sub {
#define X(name, text) PV_SUB_##name,
    PV_LOG_SUBSYSTEM_LIST(X)
#undef X
        PV_SUB_COUNT
};

struct pv_log;

/* The sink gets one whole line with its newline, from any thread. fd sinks: pv_log_new_fd. */
typedef void (*pv_log_sink)(void *ctx, const char *line, size_t len);

PV_MUST enum pv_err pv_log_new(struct pv_log **out, pv_log_sink sink, void *ctx, bool json);
PV_MUST enum pv_err pv_log_new_fd(struct pv_log **out, int fd, bool json); /* fd is borrowed */
void pv_log_free(struct pv_log *log);

/* Takes the time of lines from elsewhere than the system's clock (simulator, tests). Before use. */
void pv_log_set_clock(struct pv_log *log, uint64_t (*wall_ms)(void *ctx), void *ctx);

/* "info" or "info,session=debug,store=error". PV_E_INVALID names nothing; the caller says it. */
PV_MUST enum pv_err pv_log_set_levels(struct pv_log *log, const char *spec);
bool pv_log_enabled(const struct pv_log *log, enum pv_log_level level, enum pv_log_sub sub);

/* NULL-terminated key, value pairs. log may be NULL. A NULL value prints as "-". */
void pv_log_write(struct pv_log *log, enum pv_log_level level, enum pv_log_sub sub,
                  const char *event, ...) __attribute__((sentinel));
#define PV_LOG(log, level, sub, ...)                                                            \
    (pv_log_enabled(log, level, sub) ? pv_log_write(log, level, sub, __VA_ARGS__, (char *)NULL) \
                                     : (void)0)
/*
 * For what a stranger or a bad peer can cause as often as he likes, so that he cannot fill the
 * disk: PV_LOG_BURST lines of a subsystem at once, one a second in the long run. The line after a
 * gap is preceded by one that says how many were left out.
 */
#define PV_LOG_LIMITED(log, level, sub, ...)                          \
    (pv_log_enabled(log, level, sub) && pv_log_admit(log, level, sub) \
         ? pv_log_write(log, level, sub, __VA_ARGS__, (char *)NULL)   \
         : (void)0)
bool pv_log_admit(struct pv_log *log, enum pv_log_level level, enum pv_log_sub sub);

/* Decimal text of v in one of 8 thread-local slots: good for the arguments of one call. */
const char *pv_log_u64(uint64_t v);
/* The first 8 hex digits of an id, likewise: enough to follow it through a log. */
const char *pv_log_id(const uint8_t *id);

#endif
