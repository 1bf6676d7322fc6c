/* The other nodes as a table for people: what `peers` and `status` show. */
#ifndef PV_CMD_PEERS_TABLE_H
#define PV_CMD_PEERS_TABLE_H

#include <jansson.h>

/* peers: as in control.md. Prints a head and a line each on stdout; nothing where there are none.
 */
void pv_peers_table(const json_t *peers);

#endif
