/*
 * The record layer of an established session: seals and opens frames with the two keys from the
 * handshake. (Called "channel" here because "record" is taken.)
 *
 *   frame = type u8 || len u32 || ciphertext || tag 16;  AAD = the 5 header bytes
 *   nonce = 00000000 || u64 n, one counter a direction for both frame types
 *   before the frame with n > 0 and n mod 2^16 = 0: k = first 32 bytes of ENCRYPT(k, 2^64-1, "",
 * 0^32)
 *
 * Not Noise transport messages: those end at 65 535 bytes and have no associated data. Any failure
 * is final: the caller closes the connection without a word.
 */
#ifndef PV_TRANSPORT_CHANNEL_H
#define PV_TRANSPORT_CHANNEL_H

#include "crypto/aead.h"
#include "transport/frame.h"

struct pv_channel;

enum { PV_CHANNEL_REKEY_LOG2 = 16 };

/* rekey_log2: PV_CHANNEL_REKEY_LOG2 on the wire; tests lower it. PV_E_NOMEM. */
PV_MUST enum pv_err pv_channel_new(struct pv_channel **out,
                                   const uint8_t send_key[static PV_KEY_LEN],
                                   const uint8_t recv_key[static PV_KEY_LEN], unsigned rekey_log2);
void pv_channel_free(struct pv_channel *c);

/* len <= PV_FRAME_PLAIN_MAX. dst has room for PV_FRAME_HEADER_LEN + len + PV_TAG_LEN and may hold
 * src at dst + 5 already. */
void pv_channel_seal(struct pv_channel *c, enum pv_frame_type type, const void *src, size_t len,
                     uint8_t *dst);
/* In place: payload (len with tag) becomes len - 16 bytes of plaintext. PV_E_AUTH. */
PV_MUST enum pv_err pv_channel_open(struct pv_channel *c,
                                    const uint8_t header[static PV_FRAME_HEADER_LEN],
                                    uint8_t *payload, size_t len);
uint64_t pv_channel_sent(const struct pv_channel *c);     /* frames sealed so far */
uint64_t pv_channel_received(const struct pv_channel *c); /* frames opened so far */

#endif
