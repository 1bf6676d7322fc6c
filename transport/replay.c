/* A map for the question and a list in order of arrival for the age. */
#include "transport/replay.h"
#include "internal/base/limits.h"
#include "internal/base/list.h"
#include "internal/base/map.h"
#include "internal/base/mem.h"

#include <string.h>

struct entry {
    struct pv_list by_age;
    uint64_t seen_ms;
    uint8_t key[PV_REPLAY_KEY_LEN];
};

struct pv_replay_cache {
    const struct pv_env *env;
    struct pv_map map;
    struct pv_list by_age; /* oldest first */
};

enum pv_err pv_replay_cache_new(struct pv_replay_cache **out, const struct pv_env *env)
{
    struct pv_replay_cache *c = pv_calloc(1, sizeof *c);
    if (c == NULL)
        return PV_E_NOMEM;
    uint64_t seed;
    pv_env_random(env, &seed, sizeof seed);
    c->env = env;
    pv_map_init(&c->map, PV_REPLAY_KEY_LEN, PV_REPLAY_ENTRIES_MAX, seed);
    pv_list_init(&c->by_age);
    *out = c;
    return PV_OK;
}

static void drop(struct pv_replay_cache *c, struct entry *e)
{
    pv_map_remove(&c->map, e->key);
    pv_list_remove(&e->by_age);
    pv_free(e);
}

void pv_replay_cache_free(struct pv_replay_cache *c)
{
    if (c == NULL)
        return;
    PV_LIST_EACH(&c->by_age, e)
    {
        drop(c, PV_LIST_ENTRY(e, struct entry, by_age));
    }
    pv_map_release(&c->map);
    pv_free(c);
}

static void drop_old(struct pv_replay_cache *c, uint64_t now_ms, uint64_t keep_ms)
{
    PV_LIST_EACH(&c->by_age, link)
    {
        struct entry *e = PV_LIST_ENTRY(link, struct entry, by_age);
        if (now_ms - e->seen_ms <= keep_ms && c->map.count < PV_REPLAY_ENTRIES_MAX)
            return;
        drop(c, e);
    }
}

enum pv_err pv_replay_cache_add(struct pv_replay_cache *c,
                                const uint8_t key[static PV_REPLAY_KEY_LEN], uint64_t keep_ms)
{
    uint64_t now_ms = pv_env_mono_ms(c->env);
    struct entry *known = pv_map_get(&c->map, key);
    if (known != NULL && now_ms - known->seen_ms <= keep_ms)
        return PV_E_EXISTS;
    drop_old(c, now_ms, keep_ms);

    struct entry *e = pv_malloc(sizeof *e);
    if (e == NULL)
        return PV_E_NOMEM;
    *e = (struct entry){.seen_ms = now_ms};
    memcpy(e->key, key, sizeof e->key);
    enum pv_err err = pv_map_put(&c->map, key, e);
    if (err != PV_OK) {
        pv_free(e);
        return err;
    }
    pv_list_push_back(&c->by_age, &e->by_age);
    return PV_OK;
}

size_t pv_replay_cache_count(const struct pv_replay_cache *c)
{
    return c->map.count;
}
