/*
 * One connection of the control socket, as an engine without input or output: bytes of the client
 * in, bytes for the client out, requests to whoever answers them in between.
 * internal/control.md is the protocol.
 *
 * Uploads are paused by whoever is behind (memory, sealing, the disk); replies stop being produced
 * while more than PV_CONTROL_OUT_HIGH bytes wait to be sent, and requests are not read while more
 * than PV_CONTROL_OUT_STOP do. Closing cancels what is open.
 */
#ifndef PV_SERVER_CONTROL_H
#define PV_SERVER_CONTROL_H

#include "internal/base/buf.h"
#include "internal/base/limits.h"
#include "internal/cluster/cluster.h"
#include "internal/upkeep/upkeep.h"

/* Whoever answers requests; borrowed. */
struct pv_services {
    struct pv_files *files;
    struct pv_upkeep *upkeep;
    struct pv_cluster *cluster;
};

struct pv_control;
struct pv_control_io {
    void *ctx;
    /* Something was appended to the output, or reading was paused or resumed: look again soon.
     * Never calls back into the engine. */
    void (*changed)(void *ctx);
};

PV_MUST enum pv_err pv_control_new(struct pv_control **out, const struct pv_services *services,
                                   const struct pv_control_io *io, const struct pv_env *env);
/* Bytes from the client (none: a look at what came before). Any error (PROTOCOL, NOMEM, LIMIT: more
 * than was wanted): close the connection. */
PV_MUST enum pv_err pv_control_feed(struct pv_control *c, const uint8_t *bytes, size_t len);
bool pv_control_wants_input(const struct pv_control *c);
/* Moves what is to be sent into *out (an empty buffer; swapped). False: nothing. */
bool pv_control_take_output(struct pv_control *c, struct pv_buf *out);
/* The last output taken has been written: the way is free for more. */
void pv_control_drained(struct pv_control *c);
void pv_control_free(struct pv_control *c); /* cancels every open request */

#endif
