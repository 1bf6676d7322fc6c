/*
 * Content-defined chunking: a gear hash proposes cut points, a secret PRF decides among them.
 *
 *   h = (h << 1) + G[byte], 64 bits: the window is the last 64 bytes; candidate: top 10 bits zero
 *   for a candidate u = PRF_K(window); with L = length of the chunk if cut after this byte:
 *     L < 196 608              never
 *     196 608 .. 458 751       cut if u mod 2^10 = 0
 *     458 752 .. 978 943       cut if u mod 2^6 = 0
 *     978 944 (239 * 4 096)    always
 *
 * The gear table must be taken as known to whoever can inject files (it is linear in its entries);
 * the cut among candidates is what stays secret. format.md has the whole argument. Cut points
 * depend on the bytes only, never on how the input was sliced. One chunker a stream; the key is
 * shared and immutable.
 */
#ifndef PV_STORAGE_CHUNKER_H
#define PV_STORAGE_CHUNKER_H

#include "crypto/keys.h"
#include "crypto/prf.h"

enum {
    PV_CHUNK_MIN = 196608,
    PV_CHUNK_NORMAL = 458752,
    PV_CHUNK_MAX = 978944, /* also the fixed chunk length of private files */
};

struct pv_chunker_key {
    uint64_t gear[256];
    uint8_t prf_key[PV_PRF_KEY_LEN];
};
void pv_chunker_key_setup(struct pv_chunker_key *out,
                          const uint8_t material[static PV_CHUNKER_KEY_LEN]);

struct pv_chunker;
/* key == NULL: fixed chunks of PV_CHUNK_MAX. key is borrowed and outlives the chunker. */
PV_MUST enum pv_err pv_chunker_new(struct pv_chunker **out, const struct pv_chunker_key *key);
void pv_chunker_free(struct pv_chunker *c);

/*
 * Continues the stream with data[0..len). Returns how many bytes belong to the current chunk;
 * *cut says that the chunk ends after them (then call again with the rest). Without a cut all
 * bytes were taken. The end of the stream ends the last chunk.
 */
size_t pv_chunker_feed(struct pv_chunker *c, const uint8_t *data, size_t len, bool *cut);

#endif
