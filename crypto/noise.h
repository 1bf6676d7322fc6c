/*
 * Noise protocol framework (revision 34): handshake patterns XX with any set of psk modifiers,
 * suite 25519_AESGCM_SHA256. PeerVault uses XXpsk3; the others exist so that the public vectors can
 * be run. Sans-IO: ephemeral keys are given by the caller.
 *
 * Life: init -> write/read alternately, three messages -> split -> release. Any error leaves the
 * state unusable; release wipes it.
 */
#ifndef PV_CRYPTO_NOISE_H
#define PV_CRYPTO_NOISE_H

#include "crypto/aead.h"
#include "crypto/ecc.h"

enum { PV_NOISE_MESSAGES = 3, PV_NOISE_PSK_MAX = 4 };

struct pv_noise_config {
    bool initiator;
    const void *prologue;
    size_t prologue_len;
    const uint8_t *static_private;     /* 32 bytes; may be NULL for read-only use in tests */
    const uint8_t *ephemeral_private;  /* 32 bytes, fresh for every handshake */
    unsigned psk_mask;                 /* bit n: modifier psk<n>, n = 0..3; XXpsk3 is 1 << 3 */
    const uint8_t (*psks)[PV_KEY_LEN]; /* one for each set bit, lowest first */
};

struct pv_noise; /* heap */
PV_MUST enum pv_err pv_noise_new(struct pv_noise **out, const struct pv_noise_config *config);
void pv_noise_free(struct pv_noise *n); /* wipes */

/* Bytes that message number (0..2) of this pattern adds to its payload. */
size_t pv_noise_overhead(const struct pv_noise *n, unsigned message);

/* dst has room for payload_len + overhead of the next message; *len gets the length written. */
PV_MUST enum pv_err pv_noise_write(struct pv_noise *n, const void *payload, size_t payload_len,
                                   uint8_t *dst, size_t dst_cap, size_t *len);
/* PV_E_AUTH: a tag or a DH failed. PV_E_PROTOCOL: wrong length. payload has room for its length. */
PV_MUST enum pv_err pv_noise_read(struct pv_noise *n, const uint8_t *src, size_t src_len,
                                  uint8_t *payload, size_t payload_cap, size_t *payload_len);

const uint8_t *pv_noise_remote_static(const struct pv_noise *n); /* NULL until it arrived */

/* After message 3: the two transport keys (for the initiator: send = first), and h. */
void pv_noise_split(const struct pv_noise *n, uint8_t send_key[static PV_KEY_LEN],
                    uint8_t recv_key[static PV_KEY_LEN], uint8_t hash[static PV_HASH_LEN]);

#endif
