/*
 * Tells the service manager how the daemon is: the protocol of sd_notify(3), without its library.
 *
 * A message is one datagram of lines "NAME=value" to the socket that NOTIFY_SOCKET names: a path,
 * or, behind "@", an abstract address. READY=1, STOPPING=1, RELOADING=1 with MONOTONIC_USEC, and
 * STATUS=text are used. systemd is one manager that listens; container tools are others.
 */
#ifndef PV_CMD_NOTIFY_H
#define PV_CMD_NOTIFY_H

#include "internal/base/err.h"

/*
 * Sends state to address. NULL or "": nobody listens, PV_OK. Waits no longer than a second for a
 * receiver that does not read. PV_E_INVALID: neither a path nor abstract, or longer than an address
 * can be. PV_E_NOT_FOUND, PV_E_AUTH, PV_E_TIMEOUT, PV_E_LIMIT, PV_E_IO: it did not arrive.
 */
PV_MUST enum pv_err pv_notify_send(const char *address, const char *state);

#endif
