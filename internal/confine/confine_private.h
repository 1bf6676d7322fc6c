/* The two parts of confine.c that have a file of their own. Nobody else includes this. */
#ifndef PV_CONFINE_PRIVATE_H
#define PV_CONFINE_PRIVATE_H

#include "internal/confine/confine.h"

/* Both return 0 or an errno, and need no_new_privs. */
int pv_confine_landlock(const struct pv_confine_config *config, unsigned *version);
int pv_confine_calls(void);

#endif
