#ifndef PV_CMD_LIST_VALUES_H
#define PV_CMD_LIST_VALUES_H

#include "cmd/peervault/cli.h"
#include <jansson.h>

/* ls --values; prefix may be NULL. */
enum pv_exit pv_list_values(const struct pv_cli *cli, const char *prefix);
/* An event as one line of JSON, with its bytes as `value` (NULL: it has none). */
enum pv_exit pv_print_value_json(const json_t *event, const uint8_t *bytes, size_t len);

#endif
