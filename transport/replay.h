/*
 * The replay cache of a listener: the first 16 bytes of the gate tag of each accepted M1, kept for
 * twice the allowed clock difference (so long could the same message be valid). Bounded: when full
 * the oldest goes. That a replay then passes is harmless, it earns an M2 that its sender cannot
 * read. Only messages under a right token come here, so strangers cannot fill it.
 */
#ifndef PV_TRANSPORT_REPLAY_H
#define PV_TRANSPORT_REPLAY_H

#include "internal/base/env.h"

enum { PV_REPLAY_KEY_LEN = 16 };

struct pv_replay_cache;
PV_MUST enum pv_err pv_replay_cache_new(struct pv_replay_cache **out, const struct pv_env *env);
void pv_replay_cache_free(struct pv_replay_cache *c);

/* PV_E_EXISTS: seen within the last keep_ms. PV_E_NOMEM: not remembered, so do not accept it. */
PV_MUST enum pv_err pv_replay_cache_add(struct pv_replay_cache *c,
                                        const uint8_t key[static PV_REPLAY_KEY_LEN],
                                        uint64_t keep_ms);
size_t pv_replay_cache_count(const struct pv_replay_cache *c);

#endif
