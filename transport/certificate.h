/*
 * The encrypted payload of M2 and M3, 192 bytes: who is speaking, and the Ed25519 signature that
 * ties the X25519 key of this process to that identity for at most seven days.
 */
#ifndef PV_TRANSPORT_CERTIFICATE_H
#define PV_TRANSPORT_CERTIFICATE_H

#include "transport/handshake.h"

enum {
    PV_CERTIFICATE_LEN = 192,
    PV_CERTIFICATE_BEFORE_S = 3600,     /* valid from an hour ago, for clocks that are behind */
    PV_CERTIFICATE_AFTER_S = 6 * 86400, /* until six days ahead */
    PV_CERTIFICATE_RENEW_S = 86400,     /* made again when so old */
    PV_CERTIFICATE_SPAN_S = 7 * 86400,  /* longer ones are refused */
};

void pv_certificate_write(uint8_t out[static PV_CERTIFICATE_LEN],
                          const struct pv_handshake_context *ctx, const struct pv_noise_static *s,
                          uint64_t ts_ms);

struct pv_certificate_check {
    const uint8_t *noise_pub; /* the X25519 key that the handshake proved, 32 bytes */
    uint64_t ts_ms;           /* of the envelope; the payload must repeat it */
    uint64_t now_ms, max_skew_ms;
};
/* Sets node_id, pub, role and features. PV_E_AUTH for whatever is wrong; peer is then untouched. */
PV_MUST enum pv_err pv_certificate_read(struct pv_handshake_peer *peer,
                                        const uint8_t in[static PV_CERTIFICATE_LEN],
                                        const struct pv_certificate_check *check);

#endif
