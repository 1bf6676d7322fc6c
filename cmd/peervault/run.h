/* One command line, as main and the shell get it. */
#ifndef PV_CMD_RUN_H
#define PV_CMD_RUN_H

#include "internal/exit.h"

/* argv[0] is the program's name. All that is to be said was said. */
enum pv_exit pv_run(int argc, char **argv);

#endif
