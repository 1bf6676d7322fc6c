/* get -r: every file whose name begins with a prefix, into one folder. */
#ifndef PV_CMD_GET_TREE_H
#define PV_CMD_GET_TREE_H

#include "cmd/peervault/cli.h"

enum pv_exit pv_get_tree(const struct pv_cli *cli, const struct pv_args *args);

#endif
