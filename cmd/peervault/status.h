/* Asking a server for all it says of itself: what `status` shows and `doctor` judges. */
#ifndef PV_CMD_STATUS_H
#define PV_CMD_STATUS_H

#include "cmd/peervault/client.h"

/* The reply to `status` with the `peers` of the other one (control.md). copies: count those of all
 * blobs, too. Not OK: said; *status may be there all the same, to be released. */
enum pv_exit pv_status_ask(struct pv_client *client, bool copies, json_t **status);
/* A line on stderr for each of its problems; what the command exits with. */
enum pv_exit pv_status_problems(const json_t *status);

#endif
