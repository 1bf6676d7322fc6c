/* Limits of bandwidth, as they are set: bytes a second, 0 is none. */
#ifndef PV_TRANSPORT_BANDWIDTH_H
#define PV_TRANSPORT_BANDWIDTH_H

#include <stdint.h>

struct pv_bandwidth {
    uint64_t up, down;           /* all connections together */
    uint64_t peer_up, peer_down; /* each connection */
    uint64_t lan; /* not 0: private, link-local and loopback addresses count as well */
};

#endif
