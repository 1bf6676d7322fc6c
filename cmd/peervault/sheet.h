/*
 * The recovery sheet: `key export --sheet`, to be printed and kept.
 *
 * What a person needs on paper, on the day there is nothing else: the secrets as rows that fit the
 * page and find typing errors, what they belong to, where the other nodes are, and each command.
 * `key import` reads the sheet as it is (secrets_text.h).
 */
#ifndef PV_CMD_SHEET_H
#define PV_CMD_SHEET_H

#include "cmd/peervault/cli.h"
#include "internal/setup.h"

/* On stdout. The other nodes are asked of the daemon, or those of the settings where none runs.
 * FAILED, said: a blind node, which has no cluster key. */
enum pv_exit pv_sheet_print(const struct pv_cli *cli, const struct pv_setup *setup);

#endif
