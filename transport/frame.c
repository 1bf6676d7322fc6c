/*
 * Five bytes, checked before anything else is done with what follows them. Types and lengths of
 * other protocols (HTTP, TLS, SSH) fail here, as their first byte is not 1 or 2.
 */
#include "transport/frame.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"

void pv_frame_header_encode(uint8_t out[static PV_FRAME_HEADER_LEN], enum pv_frame_type type,
                            uint32_t len)
{
    struct pv_wr w = pv_wr_of(out, PV_FRAME_HEADER_LEN);
    pv_wr_u8(&w, (uint8_t)type);
    pv_wr_u32(&w, len);
}

enum pv_err pv_frame_header_decode(struct pv_frame_header *out,
                                   const uint8_t in[static PV_FRAME_HEADER_LEN], uint32_t len_min,
                                   uint32_t len_max)
{
    struct pv_rd r = pv_rd_of(in, PV_FRAME_HEADER_LEN);
    uint8_t type = pv_rd_u8(&r);
    uint32_t len = pv_rd_u32(&r);
    if (type != PV_FRAME_MESSAGE && type != PV_FRAME_STREAM)
        return PV_E_PROTOCOL;
    if (len < len_min || len > len_max)
        return PV_E_PROTOCOL;
    *out = (struct pv_frame_header){(enum pv_frame_type)type, len};
    return PV_OK;
}
