/*
 * Linear probing over three parallel arrays. A removed slot stays a tombstone, because moving
 * entries would break the promise that the current one may be removed while iterating; tombstones
 * count into the load (`filled`) and vanish when the table is rebuilt. It is rebuilt at twice the
 * size only if live entries fill half of it; otherwise the same size is enough.
 */
#include "internal/base/map.h"
#include "internal/base/mem.h"

#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

enum { EMPTY = 0, REMOVED = 1, FULL = 2 };
enum { FIRST_CAP = 16 }; /* capacities are powers of two */

void pv_map_init(struct pv_map *m, size_t key_len, size_t count_max, uint64_t seed)
{
    PV_ASSERT(key_len > 0);
    *m = (struct pv_map){.key_len = key_len, .count_max = count_max, .seed = seed};
}

void pv_map_release(struct pv_map *m)
{
    pv_free(m->keys);
    pv_free(m->values);
    pv_free(m->state);
    *m = (struct pv_map){.key_len = m->key_len, .count_max = m->count_max, .seed = m->seed};
}

static uint8_t *key_at(const struct pv_map *m, size_t slot)
{
    return m->keys + slot * m->key_len;
}

/*
 * The slot of key (true), or where it would go (false): the first removed slot on the way if there
 * is one. The table is never full, so the walk ends.
 */
static bool find(const struct pv_map *m, const void *key, size_t *slot)
{
    size_t mask = m->cap - 1;
    size_t i = (size_t)XXH3_64bits_withSeed(key, m->key_len, m->seed) & mask;
    size_t reusable = SIZE_MAX;
    for (; m->state[i] != EMPTY; i = (i + 1) & mask) {
        if (m->state[i] == REMOVED) {
            if (reusable == SIZE_MAX)
                reusable = i;
        } else if (memcmp(key_at(m, i), key, m->key_len) == 0) {
            *slot = i;
            return true;
        }
    }
    *slot = reusable != SIZE_MAX ? reusable : i;
    return false;
}

static void fill(struct pv_map *m, size_t slot, const void *key, void *value)
{
    m->filled += m->state[slot] == EMPTY;
    m->count++;
    m->state[slot] = FULL;
    memcpy(key_at(m, slot), key, m->key_len);
    m->values[slot] = value;
}

static enum pv_err rebuild(struct pv_map *m)
{
    struct pv_map next = *m;
    if (m->cap > SIZE_MAX / 2 / sizeof(void *))
        return PV_E_NOMEM;
    next.cap = m->cap == 0 ? FIRST_CAP : m->count >= m->cap / 2 ? m->cap * 2 : m->cap;
    next.count = next.filled = 0;
    next.keys = pv_calloc(next.cap, m->key_len);
    next.values = pv_calloc(next.cap, sizeof(void *));
    next.state = pv_calloc(next.cap, 1);
    if (next.keys == NULL || next.values == NULL || next.state == NULL) {
        pv_map_release(&next);
        return PV_E_NOMEM;
    }
    for (size_t i = 0; i < m->cap; i++) {
        size_t slot;
        if (m->state[i] == FULL && !find(&next, key_at(m, i), &slot))
            fill(&next, slot, key_at(m, i), m->values[i]);
    }
    pv_map_release(m);
    *m = next;
    return PV_OK;
}

void *pv_map_get(const struct pv_map *m, const void *key)
{
    size_t slot;
    return m->count > 0 && find(m, key, &slot) ? m->values[slot] : NULL;
}

enum pv_err pv_map_put(struct pv_map *m, const void *key, void *value)
{
    size_t slot;
    PV_ASSERT(value != NULL);
    if (m->cap > 0 && find(m, key, &slot))
        return PV_E_EXISTS;
    if (m->count >= m->count_max)
        return PV_E_LIMIT;
    if (m->filled >= m->cap / 4 * 3) {
        enum pv_err err = rebuild(m);
        if (err != PV_OK)
            return err;
    }
    (void)find(m, key, &slot);
    fill(m, slot, key, value);
    return PV_OK;
}

void *pv_map_remove(struct pv_map *m, const void *key)
{
    size_t slot;
    if (m->count == 0 || !find(m, key, &slot))
        return NULL;
    m->state[slot] = REMOVED;
    m->count--;
    return m->values[slot];
}

void *pv_map_next(const struct pv_map *m, size_t *pos, const void **key)
{
    for (size_t i = *pos; i < m->cap; i++) {
        if (m->state[i] != FULL)
            continue;
        *pos = i + 1;
        if (key != NULL)
            *key = key_at(m, i);
        return m->values[i];
    }
    *pos = m->cap;
    return NULL;
}
