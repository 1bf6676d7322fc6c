/*
 * Setting up a vault, and opening one: folder, lock, identity, keyring, and the secrets that were
 * given by environment or flags. Blocking; runs before any loop exists.
 *
 * Secrets (design of the two): the token admits to the network, the cluster key reads content.
 * There is no default for either. `init` makes fresh ones where none are given. Given secrets go
 * into an empty keyring; secrets that differ from the keyring's are refused, never merged.
 */
#ifndef PV_INTERNAL_SETUP_H
#define PV_INTERNAL_SETUP_H

#include "crypto/identity.h"
#include "crypto/keyring.h"
#include "storage/vault.h"

enum { PV_SETUP_TEXT_MAX = 400, PV_SETUP_CREATE_WAIT_MS = 10000 };

struct pv_secrets {
    const char *token;       /* NULL: not given */
    const char *cluster_key; /* 64 hex digits; NULL: not given */
};

struct pv_setup {
    struct pv_vault vault;
    struct pv_keyring keyring;
    struct pv_identity identity;
};

/* why: one line for a person, written on errors (PV_SETUP_TEXT_MAX bytes). */

/*
 * Makes a vault: folder, identity, keyring with the given secrets or fresh ones. blind: no cluster
 * key (a token must be given). One process at a time, under the vault lock: two that made one vault
 * at once would each go on with secrets of its own, and what one of them stored could never be read
 * again. EXISTS: there is one, perhaps made by a quicker process; BUSY: another holds the lock for
 * PV_SETUP_CREATE_WAIT_MS; CORRUPT: files, but no keyring; INVALID: malformed secrets. IO: also
 * when a part of path is something else than a folder.
 */
PV_MUST enum pv_err pv_setup_create(const char *path, const struct pv_secrets *secrets, bool blind,
                                    const struct pv_fs *fs, const struct pv_env *env, char *why);
/*
 * A vault whose secrets are still to come (join): folder, lock and identity. What an earlier call
 * left is gone on with, the identity with it. Errors as of create; close it in any case.
 */
PV_MUST enum pv_err pv_setup_begin(struct pv_setup *out, const char *path, const struct pv_fs *fs,
                                   const struct pv_env *env, char *why);
/* out->keyring, filled in by the caller, is written: now it is a vault. */
PV_MUST enum pv_err pv_setup_complete(struct pv_setup *s, const char *path, char *why);
/*
 * Opens a vault and loads its keyring and identity; takes no lock. Folders that are missing beside
 * a keyring are made, so that the secrets alone, put back from a backup, are a vault. NOT_FOUND: no
 * vault there. INVALID: secrets differ from the keyring's. AUTH: secret files readable by others.
 * CORRUPT: keyring or identity are malformed, or only one of them is there. IO: also when a part of
 * path is something else than a folder.
 */
PV_MUST enum pv_err pv_setup_open(struct pv_setup *out, const char *path,
                                  const struct pv_secrets *secrets, const struct pv_fs *fs,
                                  const struct pv_env *env, char *why);
void pv_setup_close(struct pv_setup *s); /* wipes secrets, releases the lock */

/* Waits up to wait_ms for the vault lock. BUSY: *pid is the holder. */
PV_MUST enum pv_err pv_setup_lock(struct pv_setup *s, uint64_t wait_ms, const struct pv_env *env,
                                  long *pid);

#endif
