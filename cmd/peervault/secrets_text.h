/*
 * Secrets as lines of an environment file: what `key export` prints and `key import` reads.
 *
 *     PEERVAULT_CLUSTER_KEY=<64 hex digits>
 *     PEERVAULT_AUTH_TOKEN=<token>
 *
 * A token with other characters than letters, digits and -_.:/+=@%, stands in single quotes (a
 * quote in it as '\''), so that a shell may read the lines too.
 *
 * On paper (sheet.h) a value is broken into rows: a line that ends in \ goes on in the next,
 * without the blanks that one begins with; blanks between the digits of the key do not count. A
 * third line finds mistyped digits:
 *
 *     PEERVAULT_CHECK=<8 hex digits>      format.md, Recovery sheet
 *
 * Whatever does not begin with PEERVAULT_, after blanks and "export ", is prose and ignored.
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
 * *line is its number, of the first of its rows. PV_E_CORRUPT: the check does not fit. */
PV_MUST enum pv_err pv_secrets_parse(struct pv_config_secrets *out, char *text, unsigned *line);
enum { PV_SECRETS_CHECK_LEN = 8 };
void pv_secrets_check(char out[static PV_SECRETS_CHECK_LEN + 1], const char *cluster_key,
                      const char *token);
/* Appends the token, quoted where needed. PV_E_NOMEM, PV_E_LIMIT. */
PV_MUST enum pv_err pv_append_shell_word(struct pv_buf *out, const char *word);

#endif
