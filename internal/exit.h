/*
 * Exit codes of the command line, which are also the "exit" member of a refusal on the control
 * socket. A contract: scripts rely on them.
 */
#ifndef PV_INTERNAL_EXIT_H
#define PV_INTERNAL_EXIT_H

#include "internal/base/err.h"

enum pv_exit {
    PV_EXIT_OK = 0,
    PV_EXIT_FAILED = 1,      /* the user's file, stdout closed, a vault of a later version */
    PV_EXIT_USAGE = 2,       /* arguments, ambiguous prefix, malformed address or key */
    PV_EXIT_NOT_FOUND = 3,   /* for certain: every active member answered; also: no vault */
    PV_EXIT_CORRUPT = 4,     /* corrupt data detected, and no good copy found */
    PV_EXIT_UNAVAILABLE = 5, /* peers, copies or the lock out of reach for now */
    PV_EXIT_DENIED = 6,      /* refused by daemon, peer or key */
    PV_EXIT_FULL = 7,        /* storage full */
    PV_EXIT_INTERNAL = 70,
};

/* What to say when vault.db fails its sums. */
#define PV_DB_DAMAGED_TEXT \
    "vault.db is damaged: `peervault doctor --rebuild` makes it anew from what is left"
/* And when it is of a later format. */
#define PV_LATER_VERSION_TEXT \
    "a later version of peervault wrote this vault: use that one or a newer one"

/* The exit code that an error means when no better one is known. */
static inline enum pv_exit pv_exit_of(enum pv_err err)
{
    static const enum pv_exit table[PV_ERR_COUNT] = {
        [PV_E_OK] = PV_EXIT_OK,
        [PV_E_NOMEM] = PV_EXIT_FAILED,
        [PV_E_IO] = PV_EXIT_FAILED,
        [PV_E_NOSPACE] = PV_EXIT_FULL,
        [PV_E_NOT_FOUND] = PV_EXIT_NOT_FOUND,
        [PV_E_EXISTS] = PV_EXIT_USAGE,
        [PV_E_CORRUPT] = PV_EXIT_CORRUPT,
        [PV_E_PROTOCOL] = PV_EXIT_INTERNAL,
        [PV_E_AUTH] = PV_EXIT_DENIED,
        [PV_E_LIMIT] = PV_EXIT_UNAVAILABLE,
        [PV_E_TIMEOUT] = PV_EXIT_UNAVAILABLE,
        [PV_E_CANCELLED] = PV_EXIT_FAILED,
        [PV_E_CLOSED] = PV_EXIT_UNAVAILABLE,
        [PV_E_UNSUPPORTED] = PV_EXIT_FAILED,
        [PV_E_INVALID] = PV_EXIT_USAGE,
        [PV_E_BUSY] = PV_EXIT_UNAVAILABLE,
        [PV_E_UNAVAILABLE] = PV_EXIT_UNAVAILABLE,
        [PV_E_INTERNAL] = PV_EXIT_INTERNAL,
    };
    return (unsigned)err < PV_ERR_COUNT ? table[err] : PV_EXIT_INTERNAL;
}

#endif
