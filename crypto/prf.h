/*
 * The chunker's pseudo-random function: the last block of AES-128-CBC-MAC (zero IV) over exactly
 * 64 bytes, of which the first 8 bytes are read little-endian. Fixed-length input makes CBC-MAC a
 * sound PRF. One context a thread.
 */
#ifndef PV_CRYPTO_PRF_H
#define PV_CRYPTO_PRF_H

#include "crypto/hash.h"

enum { PV_PRF_KEY_LEN = 16, PV_PRF_WINDOW_LEN = 64 };

struct pv_prf;
PV_MUST enum pv_err pv_prf_new(struct pv_prf **out, const uint8_t key[static PV_PRF_KEY_LEN]);
uint64_t pv_prf_window(struct pv_prf *prf, const uint8_t window[static PV_PRF_WINDOW_LEN]);
void pv_prf_free(struct pv_prf *prf);

#endif
