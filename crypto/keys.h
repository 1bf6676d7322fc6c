/*
 * The cluster key and everything derived from it.
 *
 *   PRK_c = HMAC-SHA256("PV1/cluster", CK)          root
 *   kid   = X(PRK_c, "kid", "")[0..8)               names the key in headers, keyring and HELLO
 *   K_conv[e], K_rec[e] = X(X(PRK_c, "conv"|"rec", ""), "epoch", u64 e)
 *   K_loc, K_name, K_hint, K_member = X(PRK_c, "loc"|"name"|"hint"|"member", "")
 *   chunker = HKDF-Expand(PRK_c, "PV1/chunker" 00, 2064)
 *
 * An epoch is its start in unix seconds, floor(now / period) * period. Epoch 0 is the one epoch of
 * convergence = cluster, in which equal content gives equal blobs on every day.
 */
#ifndef PV_CRYPTO_KEYS_H
#define PV_CRYPTO_KEYS_H

#include "crypto/hash.h"

enum { PV_KID_LEN = 8, PV_CHUNKER_KEY_LEN = 2064, PV_EPOCH_PERIOD_S = 86400 };
#define PV_EPOCH_FIRST_S UINT64_C(1577836800) /* 2020-01-01: earlier epochs do not exist */
#define PV_EPOCH_AHEAD_S UINT64_C(172800)     /* readers accept epochs up to now + 2 days */

struct pv_kid {
    uint8_t b[PV_KID_LEN];
};

struct pv_cluster_keys {
    uint8_t cluster_key[PV_KEY_LEN]; /* CK itself */
    struct pv_kid kid;
    uint8_t prk[PV_KEY_LEN], conv[PV_KEY_LEN], rec[PV_KEY_LEN];
    uint8_t loc[PV_KEY_LEN], name[PV_KEY_LEN], hint[PV_KEY_LEN], member[PV_KEY_LEN];
};

/* PV_E_INVALID when all bytes are equal. Wipe with pv_wipe(out, sizeof *out). */
PV_MUST enum pv_err pv_cluster_keys_derive(struct pv_cluster_keys *out,
                                           const uint8_t cluster_key[static PV_KEY_LEN]);

void pv_keys_conv(uint8_t out[static PV_KEY_LEN], const struct pv_cluster_keys *k, uint64_t epoch);
void pv_keys_rec(uint8_t out[static PV_KEY_LEN], const struct pv_cluster_keys *k, uint64_t epoch);
void pv_keys_chunker(uint8_t out[static PV_CHUNKER_KEY_LEN], const struct pv_cluster_keys *k);

uint64_t pv_epoch_of(uint64_t wall_ms); /* seconds */
/* Whether a reader may derive this epoch now: 0, or 2020-01-01 <= e <= now + 2 days. */
bool pv_epoch_plausible(uint64_t epoch, uint64_t wall_ms);

/* rid = X(K_loc, "file", file_sha256), and the rid of a named record. name_len <= 1024. */
void pv_rid_file(struct pv_id *rid, const struct pv_cluster_keys *k, const struct pv_id *sha256);
void pv_rid_private(struct pv_id *rid, const struct pv_cluster_keys *k,
                    const uint8_t salt[static 32]);
void pv_rid_name(struct pv_id *rid, const struct pv_cluster_keys *k, const void *name, size_t len);
/* SHA-256("PV1/rid" 00 || type || name): record types that are stored in clear. */
void pv_rid_clear(struct pv_id *rid, uint8_t type, const void *name, size_t len);
/* X(K_loc, "pfx", first 4 bytes of the file key)[0..8): finds files by a key prefix. */
uint64_t pv_key_prefix_tag(const struct pv_cluster_keys *k, const uint8_t first4[static 4]);

#endif
