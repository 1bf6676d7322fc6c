/*
 * The two secrets that may be given from outside: cluster key and token.
 *
 *   PEERVAULT_CLUSTER_KEY (64 hex digits)   or  PEERVAULT_CLUSTER_KEY_FILE
 *   PEERVAULT_AUTH_TOKEN                    or  PEERVAULT_AUTH_TOKEN_FILE
 *
 * A file is one line; spaces and newlines around it do not count. An empty variable counts as not
 * set. Flags come first (their "-" and "@FILE" forms are resolved by the command line, with
 * pv_config_secret_file). Nothing here has a default, and no message holds a secret's text.
 */
#ifndef PV_INTERNAL_CONFIG_SECRETS_H
#define PV_INTERNAL_CONFIG_SECRETS_H

#include "crypto/token.h"
#include "internal/config.h"

struct pv_config_secrets { /* texts; "" = not given */
    char cluster_key[2 * PV_KEY_LEN + 1];
    char token[PV_TOKEN_LEN_MAX + 1];
};
void pv_config_secrets_wipe(struct pv_config_secrets *s);

/* Called for each thing to warn of, with one line without newline. May be NULL. */
typedef void (*pv_config_warn)(void *ctx, const char *text);

/*
 * Reads what is not given yet (out->... == "") from the environment; out starts zeroed or with the
 * values of flags, and is checked as a whole. warn: a file that others may read, a passphrase under
 * PV_TOKEN_WEAK_LEN bytes. On errors out is wiped and why says what is wrong.
 * PV_E_INVALID: malformed, both forms of one variable, a token equal to the cluster key.
 * Relative file names are those of the working directory. PV_E_NOT_FOUND, PV_E_AUTH, PV_E_IO.
 */
PV_MUST enum pv_err pv_config_secrets_load(struct pv_config_secrets *out,
                                           const struct pv_config_source *source,
                                           pv_config_warn warn_fn, void *warn_ctx, char *why);

/*
 * Reads a file with one secret into dst (dst_cap bytes, NUL included). May be a symbolic link, as
 * container orchestrators make them. *exposed: group or others may read it. PV_E_INVALID: not a
 * regular file, empty, longer than dst_cap - 1, more than one line, or a zero byte in it.
 * PV_E_NOT_FOUND, PV_E_AUTH, PV_E_IO.
 */
PV_MUST enum pv_err pv_config_secret_file(const struct pv_fs *fs, const char *path, char *dst,
                                          size_t dst_cap, bool *exposed);

#endif
