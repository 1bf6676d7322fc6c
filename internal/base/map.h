/*
 * Hash map from fixed-length byte keys to pointers, seeded against hash flooding (XXH3-64 under a
 * random seed). Open addressing, grows at 3/4 load, never shrinks. The map owns copies of the keys
 * and nothing of the values. Iteration order is unspecified; removing the current entry while
 * iterating is allowed, inserting is not. Not thread-safe.
 */
#ifndef PV_BASE_MAP_H
#define PV_BASE_MAP_H

#include "internal/base/err.h"
#include <stddef.h>
#include <stdint.h>

struct pv_map {
    uint8_t *keys;
    void **values;
    uint8_t *state;
    size_t key_len, cap, count, filled, count_max; /* private but for count */
    uint64_t seed;
};

/* At most count_max entries: beyond is PV_E_LIMIT. Allocates nothing yet. */
void pv_map_init(struct pv_map *m, size_t key_len, size_t count_max, uint64_t seed);
void pv_map_release(struct pv_map *m);
void *pv_map_get(const struct pv_map *m, const void *key); /* NULL when absent */
/* value is not NULL. An existing key gives PV_E_EXISTS and changes nothing. */
PV_MUST enum pv_err pv_map_put(struct pv_map *m, const void *key, void *value);
void *pv_map_remove(struct pv_map *m, const void *key); /* the removed value, or NULL */
/* size_t i = 0; while ((v = pv_map_next(&m, &i, &key)) != NULL) ... ; key may be NULL */
void *pv_map_next(const struct pv_map *m, size_t *pos, const void **key);

#endif
