/*
 * "host:port" as people write it: "127.0.0.1:3000", "[::1]:3000", "nas.local:3000". The port is
 * decimal, 0..65535; a bare IPv6 address without brackets is refused, because its port is unclear.
 */
#ifndef PV_TRANSPORT_ADDRESS_H
#define PV_TRANSPORT_ADDRESS_H

#include "internal/base/err.h"
#include <stdbool.h>
#include <stdint.h>

enum { PV_HOST_LEN_MAX = 253, PV_ADDRESS_TEXT_LEN = 272 };

struct pv_address {
    char host[PV_HOST_LEN_MAX + 1];
    uint16_t port;
};

/* PV_E_INVALID: not of that form. */
PV_MUST enum pv_err pv_address_parse(struct pv_address *out, const char *text);
void pv_address_format(char dst[static PV_ADDRESS_TEXT_LEN], const char *host, uint16_t port);

#endif
