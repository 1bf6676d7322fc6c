/*
 * AES-256-GCM with 96-bit nonces and 128-bit tags.
 *
 * A context keeps one key schedule; one context a direction and thread. Nonce uniqueness is the
 * caller's duty and stated where each key is made. open releases nothing unverified: on a bad tag
 * dst is wiped and PV_E_AUTH returned.
 */
#ifndef PV_CRYPTO_AEAD_H
#define PV_CRYPTO_AEAD_H

#include "crypto/hash.h"

enum { PV_NONCE_LEN = 12, PV_TAG_LEN = 16 };

struct pv_aead;
PV_MUST enum pv_err pv_aead_new(struct pv_aead **out, const uint8_t key[static PV_KEY_LEN]);
void pv_aead_rekey(struct pv_aead *a, const uint8_t key[static PV_KEY_LEN]);
void pv_aead_free(struct pv_aead *a); /* wipes */

/* dst has room for len + PV_TAG_LEN; dst == src (in place) is allowed, other overlap is not. */
void pv_aead_seal(struct pv_aead *a, const uint8_t nonce[static PV_NONCE_LEN], const void *ad,
                  size_t ad_len, const void *src, size_t len, uint8_t *dst);
/* len counts the tag; dst has room for len - PV_TAG_LEN. len < PV_TAG_LEN: PV_E_AUTH. */
PV_MUST enum pv_err pv_aead_open(struct pv_aead *a, const uint8_t nonce[static PV_NONCE_LEN],
                                 const void *ad, size_t ad_len, const void *src, size_t len,
                                 uint8_t *dst);

#endif
