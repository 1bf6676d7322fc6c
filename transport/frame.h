/*
 * The frame codec: [type:u8][len:u32 big-endian][payload of len bytes].
 *
 * The same five bytes head every unit on the TCP wire (sealed after the handshake) and on the
 * control socket (in clear). The decoder never allocates from a header: the caller checks the
 * length against the cap of the state it is in before a byte of payload is read.
 */
#ifndef PV_TRANSPORT_FRAME_H
#define PV_TRANSPORT_FRAME_H

#include "internal/base/err.h"
#include <stddef.h>
#include <stdint.h>

enum pv_frame_type { PV_FRAME_MESSAGE = 1, PV_FRAME_STREAM = 2 };

enum {
    PV_FRAME_HEADER_LEN = 5,
    PV_FRAME_PLAIN_MAX = 65536, /* of this version; HELLO may raise it later */
    PV_FRAME_SEALED_MAX = PV_FRAME_PLAIN_MAX + 16,
    PV_FRAME_FORMAT_MAX = 1048576, /* the format's ceiling */
    PV_STREAM_HEADER_LEN = 8,      /* stream id u32, flags u8, 3 zero */
    PV_STREAM_DATA_MAX = PV_FRAME_PLAIN_MAX - PV_STREAM_HEADER_LEN,
};

enum pv_stream_flags { PV_STREAM_FIN = 1, PV_STREAM_RST = 2 };

struct pv_frame_header {
    enum pv_frame_type type;
    uint32_t len;
};

void pv_frame_header_encode(uint8_t out[static PV_FRAME_HEADER_LEN], enum pv_frame_type type,
                            uint32_t len);
/* PV_E_PROTOCOL: unknown type, or len outside len_min..len_max. */
PV_MUST enum pv_err pv_frame_header_decode(struct pv_frame_header *out,
                                           const uint8_t in[static PV_FRAME_HEADER_LEN],
                                           uint32_t len_min, uint32_t len_max);

#endif
