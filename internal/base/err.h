/*
 * Errors, by whose fault it is and what the caller does about it.
 *
 * A function that can fail returns enum pv_err and nothing else; results come back through
 * out-parameters, which are written only on success. errno and libuv codes are converted at the
 * edge (pv_err_from_errno) and go no further up.
 */
#ifndef PV_BASE_ERR_H
#define PV_BASE_ERR_H

#define PV_MUST __attribute__((warn_unused_result))

/* X(name, text): the text is what a person reads when no better sentence is known. */
#define PV_ERR_LIST(X)                                                                             \
    X(OK, "ok")                                                                                    \
    X(NOMEM, "out of memory")                       /* this request fails, the process goes on */  \
    X(IO, "input/output error")                     /* our disk or socket; see the log */          \
    X(NOSPACE, "storage full")                      /* disk or disk_limit; reads still work */     \
    X(NOT_FOUND, "not found")                       /* absent, for certain */                      \
    X(EXISTS, "already exists")                     /* and was left as it was */                   \
    X(CORRUPT, "corrupt data")                      /* our disk's bytes fail their own check */    \
    X(PROTOCOL, "protocol error")                   /* a peer's bytes: drop the peer */            \
    X(AUTH, "denied")                               /* not authenticated or not allowed */         \
    X(LIMIT, "limit reached")                       /* a stated maximum; retry later or smaller */ \
    X(TIMEOUT, "timed out")                         /* a deadline passed */                        \
    X(CANCELLED, "cancelled")                       /* by our own side */                          \
    X(CLOSED, "closed")                             /* by the other side */                        \
    X(UNSUPPORTED, "not supported by this version") /* a newer format or message */                \
    X(INVALID, "invalid argument")                  /* the local caller's or user's input */       \
    X(BUSY, "in use by another process")            /* a lock is held */                           \
    X(UNAVAILABLE, "unavailable")                   /* peers or copies out of reach for now */     \
    X(INTERNAL, "internal error")                   /* our own mistake; a bug to report */

enum pv_err {
#define X(name, text) PV_E_##name,
    PV_ERR_LIST(X)
#undef X
        PV_ERR_COUNT,
    PV_OK = PV_E_OK
};

/* The upper-case name ("NOT_FOUND") and the text ("not found"). Static strings. */
const char *pv_err_name(enum pv_err err);
const char *pv_err_text(enum pv_err err);

/* Converts a positive errno value. 0 gives PV_E_INTERNAL: an error was expected. */
enum pv_err pv_err_from_errno(int error);

/*
 * For our own mistakes only, never for a peer's or a disk's bytes. Stays on in release builds,
 * prints file, line and condition, and aborts. The condition must have no side effects.
 */
#define PV_ASSERT(cond) ((cond) ? (void)0 : pv_assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void pv_assert_failed(const char *cond, const char *file, int line);

#define PV_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define PV_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
