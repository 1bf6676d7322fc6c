/*
 * The server in this process, for commands that find no daemon: the same code on a thread of its
 * own, with one client over a socketpair and no network.
 */
#ifndef PV_CMD_EMBEDDED_H
#define PV_CMD_EMBEDDED_H

#include "cmd/peervault/access.h"

struct pv_embedded;

/* access: opened and locked; taken over, also on errors. *fd is the client's end. Says errors. */
enum pv_exit pv_embedded_start(struct pv_embedded **out, struct pv_access *access,
                               const struct pv_cli *cli, int *fd);
/* After fd was closed: waits for the server's end. Says why, when it failed. NULL: nothing. */
enum pv_exit pv_embedded_stop(struct pv_embedded *e);

#endif
