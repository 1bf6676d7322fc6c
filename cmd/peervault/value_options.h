/* What set and unset have in common. */
#ifndef PV_CMD_VALUE_OPTIONS_H
#define PV_CMD_VALUE_OPTIONS_H

#include "cmd/peervault/cli.h"
#include "internal/base/id.h"

/* --if VALUE or --if-hash: the SHA-256 that the value must have; "" where neither is given. USAGE:
 * said. */
enum pv_exit pv_value_condition(char out[static PV_ID_HEX_LEN + 1], const struct pv_args *args);

#endif
