/*
 * Open files: what the system allows this process, divided so that no side can take what another
 * needs. The program's own come first, then the disk's: a store or a read never fails because
 * strangers have connected. Clients and peers share the rest, each within a limit of its own:
 * a client beyond it waits to be accepted, a connection beyond it is closed.
 *
 *   of             64   128   256   692 and more
 *   own            32    32    32    32
 *   disk           24    32    64    84   (16 + 4 + blob_files)
 *   clients         4    16    40    64
 *   connections     4    48   120   512
 */
#ifndef PV_SERVER_DESCRIPTORS_H
#define PV_SERVER_DESCRIPTORS_H

#include "internal/base/err.h"
#include "internal/base/limits.h"

#include <stdint.h>

struct pv_descriptors {
    unsigned blob_files; /* that the committer writes at once */
    unsigned clients, connections;
};

/* LIMIT: fewer than PV_DESCRIPTORS_MIN. */
PV_MUST enum pv_err pv_descriptors_divide(struct pv_descriptors *out, uint64_t limit);

/*
 * How many this process may have, after raising its own (soft) limit as far as it may and as far
 * as it makes sense. For the whole process, once, before others are started.
 */
uint64_t pv_descriptors_raise(void);

#endif
