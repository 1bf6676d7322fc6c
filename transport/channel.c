/*
 * One direction is a key schedule and a counter. The counter is the nonce, so a frame that is
 * replayed, dropped, moved or sent back fails its tag; nothing else has to be remembered. Both
 * sides change the key at the same counter values and never say so. The old key is overwritten by
 * a one-way step, so that a stolen key opens nothing that was sent before the last change.
 */
#include "transport/channel.h"
#include "internal/base/mem.h"
#include "internal/base/wr.h"

#include <string.h>

struct direction {
    struct pv_aead *aead;
    uint64_t n; /* of the next frame */
};

struct pv_channel {
    struct direction send, recv;
    uint64_t rekey_mask;
};

enum pv_err pv_channel_new(struct pv_channel **out, const uint8_t send_key[static PV_KEY_LEN],
                           const uint8_t recv_key[static PV_KEY_LEN], unsigned rekey_log2)
{
    PV_ASSERT(rekey_log2 <= 16);
    struct pv_channel *c = pv_calloc(1, sizeof *c);
    if (c == NULL)
        return PV_E_NOMEM;
    c->rekey_mask = (UINT64_C(1) << rekey_log2) - 1;
    enum pv_err err = pv_aead_new(&c->send.aead, send_key);
    if (err == PV_OK)
        err = pv_aead_new(&c->recv.aead, recv_key);
    if (err != PV_OK) {
        pv_channel_free(c);
        return err;
    }
    *out = c;
    return PV_OK;
}

void pv_channel_free(struct pv_channel *c)
{
    if (c == NULL)
        return;
    pv_aead_free(c->send.aead);
    pv_aead_free(c->recv.aead);
    pv_free(c);
}

static void nonce_of(uint8_t nonce[static PV_NONCE_LEN], uint64_t n)
{
    struct pv_wr w = pv_wr_of(nonce, PV_NONCE_LEN);
    pv_wr_u32(&w, 0);
    pv_wr_u64(&w, n);
}

/* k = first 32 bytes of ENCRYPT(k, 2^64 - 1, "", 0^32). No frame ever has that counter value. */
static void rekey(struct direction *d)
{
    uint8_t nonce[PV_NONCE_LEN], key[PV_KEY_LEN + PV_TAG_LEN] = {0};
    nonce_of(nonce, UINT64_MAX);
    pv_aead_seal(d->aead, nonce, NULL, 0, key, PV_KEY_LEN, key);
    pv_aead_rekey(d->aead, key);
    pv_wipe(key, sizeof key);
}

static void prepare(struct pv_channel *c, struct direction *d, uint8_t nonce[static PV_NONCE_LEN])
{
    PV_ASSERT(d->n < UINT64_MAX - 1);
    if (d->n > 0 && (d->n & c->rekey_mask) == 0)
        rekey(d);
    nonce_of(nonce, d->n++);
}

void pv_channel_seal(struct pv_channel *c, enum pv_frame_type type, const void *src, size_t len,
                     uint8_t *dst)
{
    PV_ASSERT(len <= PV_FRAME_PLAIN_MAX);
    uint8_t nonce[PV_NONCE_LEN];
    prepare(c, &c->send, nonce);
    pv_frame_header_encode(dst, type, (uint32_t)(len + PV_TAG_LEN));
    pv_aead_seal(c->send.aead, nonce, dst, PV_FRAME_HEADER_LEN, src, len,
                 dst + PV_FRAME_HEADER_LEN);
}

enum pv_err pv_channel_open(struct pv_channel *c, const uint8_t header[static PV_FRAME_HEADER_LEN],
                            uint8_t *payload, size_t len)
{
    uint8_t nonce[PV_NONCE_LEN];
    prepare(c, &c->recv, nonce);
    return pv_aead_open(c->recv.aead, nonce, header, PV_FRAME_HEADER_LEN, payload, len, payload);
}

uint64_t pv_channel_sent(const struct pv_channel *c)
{
    return c->send.n;
}

uint64_t pv_channel_received(const struct pv_channel *c)
{
    return c->recv.n;
}
