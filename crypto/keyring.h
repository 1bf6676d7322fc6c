/*
 * The cluster keys, tokens and open invites a node holds, in the vault's file "keyring", mode 0600.
 *
 * Text, one entry a line, so that a person can read and back it up:
 *
 *   peervault-keyring 1
 *   cluster <16 hex kid> <64 hex> active|staged|read-only|retired <created, unix seconds>
 *   dedup <16 hex kid>
 *   token <text> <created>           at most 2, newest first
 *   overlap <unix seconds>           until then the older token opens the door, too
 *   invite <8 hex id> <32 hex secret> keyed|blind <expires> [confirm] [<64 hex id of who used it>]
 *   root <64 hex node id>            of a blind node: whose word it takes for who is a member
 *   sum <64 hex>                     SHA-256 of all lines before: the last line, or absent
 *
 * Exactly one cluster key is active, unless there is none (a blind node). A retired key opens
 * nothing; it tells by its rids which file an older name means. A file that others may read is
 * refused.
 */
#ifndef PV_CRYPTO_KEYRING_H
#define PV_CRYPTO_KEYRING_H

#include "crypto/invite.h"
#include "crypto/keys.h"
#include "crypto/token.h"
#include "internal/base/env.h"
#include "internal/base/fs.h"
#include "internal/base/limits.h"

enum { PV_KEYRING_KEYS_MAX = 16, PV_KEYRING_TOKENS_MAX = 2 };

enum pv_key_state { PV_KEY_ACTIVE, PV_KEY_STAGED, PV_KEY_READ_ONLY, PV_KEY_RETIRED };

struct pv_keyring {
    struct pv_keyring_key {
        struct pv_cluster_keys keys;
        enum pv_key_state state;
        uint64_t created_s;
    } keys[PV_KEYRING_KEYS_MAX];
    size_t key_count;
    struct pv_kid dedup_kid;
    struct pv_keyring_token {
        char text[PV_TOKEN_LEN_MAX + 1];
        uint64_t created_s;
    } tokens[PV_KEYRING_TOKENS_MAX];
    size_t token_count;
    uint64_t overlap_until_s; /* of tokens[1]; 0: not said */
    struct pv_keyring_invite {
        uint8_t id[PV_INVITE_ID_LEN], secret[PV_INVITE_SECRET_LEN];
        uint8_t role; /* enum pv_role */
        uint64_t expires_s;
        bool confirm; /* a person must say yes to who comes with it */
        bool used;
        struct pv_id joiner; /* if used: this node may come again, no other */
    } invites[PV_INVITES_MAX];
    size_t invite_count;
    bool has_root;
    struct pv_id root;
};

void pv_keyring_init(struct pv_keyring *k); /* empty */
void pv_keyring_wipe(struct pv_keyring *k);

/* PV_E_NOT_FOUND; PV_E_CORRUPT (line, when not NULL, gets its number, or 0 for the file as such);
 * PV_E_AUTH: readable by others; PV_E_NOMEM; PV_E_IO. */
PV_MUST enum pv_err pv_keyring_load(struct pv_keyring *out, const struct pv_fs *fs, pv_fd vault,
                                    unsigned *line);
/* Replaces the file atomically: temp, sync, rename, sync folder. PV_E_INVALID: keys, but no active
 * one. */
PV_MUST enum pv_err pv_keyring_save(const struct pv_keyring *k, const struct pv_fs *fs,
                                    pv_fd vault);

const struct pv_cluster_keys *pv_keyring_active(const struct pv_keyring *k); /* NULL: blind node */
const struct pv_cluster_keys *pv_keyring_dedup(const struct pv_keyring *k);  /* NULL: blind node */
/* NULL: unknown, or retired. Staged and read-only keys are found: both are readable. */
const struct pv_cluster_keys *pv_keyring_find(const struct pv_keyring *k, const struct pv_kid *kid);

/* An order of all keys: created later, or in the same second and with the greater kid. */
bool pv_keyring_newer(const struct pv_keyring_key *a, const struct pv_keyring_key *b);
const struct pv_keyring_key *pv_keyring_entry(const struct pv_keyring *k, const struct pv_kid *kid);
const char *pv_key_state_name(enum pv_key_state state); /* as in the file */

/* Adds the key as active (the former active one becomes read-only). The first one is the dedup key
 * too. PV_E_EXISTS, PV_E_LIMIT, PV_E_INVALID (weak: all bytes equal; or equal to a token). */
PV_MUST enum pv_err pv_keyring_add_cluster_key(struct pv_keyring *k,
                                               const uint8_t key[static PV_KEY_LEN],
                                               uint64_t created_s);
/* The same with any state: only an active key changes the others. */
PV_MUST enum pv_err pv_keyring_add_key(struct pv_keyring *k, const uint8_t key[static PV_KEY_LEN],
                                       enum pv_key_state state, uint64_t created_s);

/*
 * Steps of a key rotation. PV_E_NOT_FOUND: no such key.
 *   activate   staged or read-only -> active, the former active one -> read-only; dedup stays
 *   set_dedup  moves dedup to a readable key
 *   retire     staged or read-only -> retired; dedup moves to the active key if it was here
 *   drop       forgets a retired key
 * PV_E_INVALID: the key is not in such a state.
 */
PV_MUST enum pv_err pv_keyring_activate(struct pv_keyring *k, const struct pv_kid *kid);
PV_MUST enum pv_err pv_keyring_set_dedup(struct pv_keyring *k, const struct pv_kid *kid);
PV_MUST enum pv_err pv_keyring_retire(struct pv_keyring *k, const struct pv_kid *kid);
PV_MUST enum pv_err pv_keyring_drop(struct pv_keyring *k, const struct pv_kid *kid);

/* Adds in front; a third drops the oldest. PV_E_EXISTS. PV_E_INVALID: not a token, a control byte
 * in it, or equal to a cluster key. */
PV_MUST enum pv_err pv_keyring_add_token(struct pv_keyring *k, const char *token,
                                         uint64_t created_s);
void pv_keyring_drop_old_tokens(struct pv_keyring *k); /* keeps the newest */

/*
 * What a member that was away gets from a grant: cluster keys that it lacks and which of them is
 * active, and the token, instead of its own, unless those are newer. Its invites stay. Errors as of
 * add_key and add_token, but for EXISTS: *k is half done then.
 */
PV_MUST enum pv_err pv_keyring_catch_up(struct pv_keyring *k, const struct pv_keyring *granted);

/* PV_E_LIMIT: PV_INVITES_MAX are open. PV_E_EXISTS: the id. */
PV_MUST enum pv_err pv_keyring_add_invite(struct pv_keyring *k, const struct pv_invite *invite);
/* NULL: there is none, or not any more. */
struct pv_keyring_invite *pv_keyring_find_invite(struct pv_keyring *k,
                                                 const uint8_t id[static PV_INVITE_ID_LEN]);
void pv_keyring_drop_invites(struct pv_keyring *k, uint64_t now_s); /* those that have expired */
/* Tokens and invites of another keyring instead of its own; the keys stay. */
void pv_keyring_take_doors(struct pv_keyring *k, const struct pv_keyring *from);

#endif
