/*
 * Names that were seen, as eight bytes each: seeded hashes in a table that doubles. Two different
 * names are taken for the same one with a chance of 1 in 10^7 among a million, and nobody who does
 * not know the seed can bring that about.
 */
#ifndef PV_CMD_NAME_SET_H
#define PV_CMD_NAME_SET_H

#include "internal/base/err.h"
#include <stddef.h>
#include <stdint.h>

struct pv_name_set {
    uint64_t seed;
    uint64_t *slots; /* 0: free */
    size_t cap, count;
};

void pv_name_set_init(struct pv_name_set *s, uint64_t seed); /* allocates nothing */
void pv_name_set_release(struct pv_name_set *s);
/* EXISTS: it was added before. NOMEM: it was not added. */
PV_MUST enum pv_err pv_name_set_add(struct pv_name_set *s, const char *name, size_t len);

#endif
