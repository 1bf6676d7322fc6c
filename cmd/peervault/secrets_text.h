/*
 * Secrets as lines of an environment file: what `key export` prints and `key import` reads.
 *
 *     PEERVAULT_CLUSTER_KEY=<64 hex digits>
 *     PEERVAULT_AUTH_TOKEN=<token>
 *
 * A token with other characters than letters, digits and -_.:/+=@%, stands in single quotes (a
 * quote in it as '\''), so that a shell may read the lines too. Reading ignores blank lines,
 * comments and a leading "export ".
 */
#ifndef PV_CMD_SECRETS_TEXT_H
#define PV_CMD_SECRETS_TEXT_H

#include "internal/config_secrets.h"
#include "internal/exit.h"

/* On stdout. cluster_key NULL: a blind node's. */
enum pv_exit pv_secrets_print(const char *cluster_key, const char *token);

/* Reads "-" (standard input) or "@FILE" and demands both secrets. Says errors. Wipe out. */
enum pv_exit pv_secrets_read(struct pv_config_secrets *out, const char *source);

/* Parses text (changed in place). PV_E_INVALID: an unknown or repeated line, a malformed value;
 * *line is its number. */
PV_MUST enum pv_err pv_secrets_parse(struct pv_config_secrets *out, char *text, unsigned *line);
/* Appends the token, quoted where needed. PV_E_NOMEM, PV_E_LIMIT. */
PV_MUST enum pv_err pv_append_shell_word(struct pv_buf *out, const char *word);

#endif
