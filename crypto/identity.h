/*
 * The node's long-term identity: one Ed25519 key, in the vault's file "identity", mode 0600.
 *
 *   "PVI1" || 4 zero || seed 32 || SHA-256 of the 40 bytes before, 32     (72 bytes)
 *
 * node id = SHA-256(public key), shown as base32 in groups of 4 with a check digit each.
 */
#ifndef PV_CRYPTO_IDENTITY_H
#define PV_CRYPTO_IDENTITY_H

#include "crypto/ecc.h"
#include "internal/base/env.h"
#include "internal/base/fs.h"

struct pv_identity {
    uint8_t seed[PV_SEED_LEN];
    uint8_t pub[PV_PUB_LEN];
    struct pv_id node_id;
};

void pv_node_id_of(struct pv_id *node_id, const uint8_t pub[static PV_PUB_LEN]);

/* Writes a new file (temp, sync, rename, sync folder). PV_E_EXISTS when there is one. */
PV_MUST enum pv_err pv_identity_create(struct pv_identity *out, const struct pv_fs *fs, pv_fd vault,
                                       const struct pv_env *env);
/* PV_E_NOT_FOUND; PV_E_CORRUPT; PV_E_AUTH when others may read the file. */
PV_MUST enum pv_err pv_identity_load(struct pv_identity *out, const struct pv_fs *fs, pv_fd vault);
void pv_identity_wipe(struct pv_identity *id);

/*
 * People's form of a node id: base32 of the id in 13 groups of 4 digits plus one check digit,
 * joined by '-'. The check digit of group g is g + a^4 d0 + a^3 d1 + a^2 d2 + a d3 in GF(32) (see
 * identity.c and storage/format.md): every changed digit and every exchange of two digits within
 * one group is found, and so are groups out of order. NUL included in the length.
 */
enum { PV_NODE_TEXT_LEN = 13 * 6 };
void pv_node_id_format(char out[static PV_NODE_TEXT_LEN], const struct pv_id *node_id);
/* Accepts that form, and 64 hex digits, in either case. PV_E_INVALID. */
PV_MUST enum pv_err pv_node_id_parse(struct pv_id *out, const char *text);
/* Whether one of the two begins so, in either case. */
bool pv_node_id_begins(const struct pv_id *node_id, const char *beginning);

#endif
