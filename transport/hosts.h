/*
 * How often each host begins a handshake: PV_HANDSHAKES_PER_S, PV_HANDSHAKES_BURST after a rest. A
 * host is one IPv4 address, or one /64 of IPv6, which is what one host usually has.
 *
 * PV_HOSTS_KNOWN_MAX hosts are remembered; then the one that came longest ago is forgotten, and may
 * have a full burst when it comes again. To make us forget a host takes connections from as many
 * others, and those could each have had a burst of their own instead. The table is hashed under a
 * random seed. No input or output.
 */
#ifndef PV_TRANSPORT_HOSTS_H
#define PV_TRANSPORT_HOSTS_H

#include "internal/base/env.h"
#include "internal/base/limits.h"

struct pv_host { /* as a key: compare the bytes */
    uint8_t b[16];
};
void pv_host_of_ipv4(struct pv_host *out, const uint8_t address[static 4]); /* as it is sent */
void pv_host_of_ipv6(struct pv_host *out, const uint8_t address[static 16]);

struct pv_hosts;
PV_MUST enum pv_err pv_hosts_new(struct pv_hosts **out, const struct pv_env *env);
void pv_hosts_free(struct pv_hosts *h);
/* Whether the host may begin one now; if so it is counted. Without memory for it: no. */
bool pv_hosts_admit(struct pv_hosts *h, const struct pv_host *host);

#endif
