/*
 * The text forms of sizes, durations and addresses, as settings and flags have them. Durations are
 * parsed by pv_duration_parse (internal/base/env.h). Pure functions.
 */
#ifndef PV_INTERNAL_CONFIG_VALUE_H
#define PV_INTERNAL_CONFIG_VALUE_H

#include "internal/base/buf.h"

/* Decimal digits; *rest is what follows them. PV_E_INVALID: none, or more than 64 bits. */
PV_MUST enum pv_err pv_digits_parse(uint64_t *out, const char *text, const char **rest);

/* "4096", "64K", "64KiB", "1G": units K, M, G, T, powers of 1024. PV_E_INVALID otherwise. */
PV_MUST enum pv_err pv_size_parse(uint64_t *bytes, const char *text);

/* Append the shortest exact form: "64MiB", "90s". PV_E_NOMEM, PV_E_LIMIT. */
PV_MUST enum pv_err pv_size_show(uint64_t bytes, struct pv_buf *out);
PV_MUST enum pv_err pv_duration_show(uint64_t ms, struct pv_buf *out);

/*
 * "host:port", "192.0.2.1:3000", "[2001:db8::1]:3000", "[fe80::1%eth0]:3000", of at most
 * PV_ADDRESS_MAX bytes; port_min is 0 where a free port may be picked. Looks at the form only:
 * whether a name exists is found out when it is dialled. PV_E_INVALID.
 */
PV_MUST enum pv_err pv_address_form(const char *text, unsigned port_min);

#endif
