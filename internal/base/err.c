/* Names, texts and the conversion from errno. The tables come from the one list in the header. */
#include "internal/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const char *pv_err_name(enum pv_err err)
{
    static const char *const names[PV_ERR_COUNT] = {
#define X(name, text) #name,
        PV_ERR_LIST(X)
#undef X
    };
    return (unsigned)err < PV_ERR_COUNT ? names[err] : "UNKNOWN";
}

const char *pv_err_text(enum pv_err err)
{
    static const char *const texts[PV_ERR_COUNT] = {
#define X(name, text) text,
        PV_ERR_LIST(X)
#undef X
    };
    return (unsigned)err < PV_ERR_COUNT ? texts[err] : "unknown error";
}

static const struct {
    int error;
    enum pv_err err;
} from_errno[] = {
    {0, PV_E_INTERNAL},
    {ENOMEM, PV_E_NOMEM},
    {ENOBUFS, PV_E_NOMEM},
    {ENOSPC, PV_E_NOSPACE},
    {EDQUOT, PV_E_NOSPACE},
    {ENOENT, PV_E_NOT_FOUND},
    {ENOTDIR, PV_E_NOT_FOUND}, /* a parent is a file, so there is certainly no such entry */
    {EEXIST, PV_E_EXISTS},
    {ENOTEMPTY, PV_E_EXISTS},
    {EACCES, PV_E_AUTH},
    {EPERM, PV_E_AUTH},
    {ELOOP, PV_E_AUTH}, /* a symbolic link where O_NOFOLLOW allows none */
    {EMFILE, PV_E_LIMIT},
    {ENFILE, PV_E_LIMIT},
    {EFBIG, PV_E_LIMIT},
    {EMSGSIZE, PV_E_LIMIT},
    {ETIMEDOUT, PV_E_TIMEOUT},
    {ECANCELED, PV_E_CANCELLED},
    {EPIPE, PV_E_CLOSED},
    {ECONNRESET, PV_E_CLOSED},
    {ECONNABORTED, PV_E_CLOSED},
    {ENOTCONN, PV_E_CLOSED},
    {ESHUTDOWN, PV_E_CLOSED},
    {ENOSYS, PV_E_UNSUPPORTED},
    {EOPNOTSUPP, PV_E_UNSUPPORTED},
    {EAFNOSUPPORT, PV_E_UNSUPPORTED},
    {EPROTONOSUPPORT, PV_E_UNSUPPORTED},
    {EINVAL, PV_E_INVALID},
    {EISDIR, PV_E_INVALID},
    {ENAMETOOLONG, PV_E_INVALID},
    {EBUSY, PV_E_BUSY},
    {EAGAIN, PV_E_BUSY},
    {EADDRINUSE, PV_E_BUSY},
    {ETXTBSY, PV_E_BUSY},
    {ECONNREFUSED, PV_E_UNAVAILABLE},
    {EHOSTUNREACH, PV_E_UNAVAILABLE},
    {EHOSTDOWN, PV_E_UNAVAILABLE},
    {ENETUNREACH, PV_E_UNAVAILABLE},
    {ENETDOWN, PV_E_UNAVAILABLE},
    {EADDRNOTAVAIL, PV_E_UNAVAILABLE},
};

enum pv_err pv_err_from_errno(int error)
{
    for (unsigned i = 0; i < PV_COUNT(from_errno); i++)
        if (from_errno[i].error == error)
            return from_errno[i].err;
    return PV_E_IO; /* EIO, EROFS and whatever else the kernel may say about a disk or socket */
}

_Noreturn void pv_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, cond);
    abort();
}
