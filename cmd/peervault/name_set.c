/* Open addressing with linear probing; never more than half full, so probes stay short. */
#include "cmd/peervault/name_set.h"
#include "internal/base/mem.h"

#include <xxhash.h>

enum { CAP_MIN = 1024 };

void pv_name_set_init(struct pv_name_set *s, uint64_t seed)
{
    *s = (struct pv_name_set){.seed = seed};
}

void pv_name_set_release(struct pv_name_set *s)
{
    pv_free(s->slots);
    *s = (struct pv_name_set){0};
}

/* The slot of the hash, or the free one where it belongs. */
static uint64_t *find(uint64_t *slots, size_t cap, uint64_t hash)
{
    size_t i = (size_t)hash & (cap - 1);
    while (slots[i] != 0 && slots[i] != hash)
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static enum pv_err grow(struct pv_name_set *s)
{
    size_t cap = s->cap == 0 ? CAP_MIN : 2 * s->cap;
    uint64_t *slots = pv_calloc(cap, sizeof *slots);
    if (slots == NULL)
        return PV_E_NOMEM;
    for (size_t i = 0; i < s->cap; i++)
        if (s->slots[i] != 0)
            *find(slots, cap, s->slots[i]) = s->slots[i];
    pv_free(s->slots);
    s->slots = slots;
    s->cap = cap;
    return PV_OK;
}

enum pv_err pv_name_set_add(struct pv_name_set *s, const char *name, size_t len)
{
    uint64_t hash = XXH3_64bits_withSeed(name, len, s->seed);
    if (hash == 0)
        hash = 1; /* 0 is the free slot */
    if (2 * s->count >= s->cap && grow(s) != PV_OK)
        return PV_E_NOMEM;
    uint64_t *slot = find(s->slots, s->cap, hash);
    if (*slot == hash)
        return PV_E_EXISTS;
    *slot = hash;
    s->count++;
    return PV_OK;
}
