/*
 * Two nodes without sockets: own identities, one clock, one token, one cluster key. Tests change
 * what they are about and leave the rest.
 */
#ifndef PV_TESTS_TRANSPORT_FIXTURE_H
#define PV_TESTS_TRANSPORT_FIXTURE_H

#include "internal/base/limits.h"
#include "internal/base/mem.h"
#include "tests/support/support.h"
#include "transport/session.h"

#include <criterion/criterion.h>

struct node {
    struct pvt_env clock;
    struct pvt_log log;
    struct pv_identity identity;
    struct pv_noise_static noise_static;
    struct pv_replay_cache *replay;
    struct pv_cluster_keys cluster;
    const struct pv_cluster_keys *readable[1];
    struct pv_session_context ctx;
};

static inline void token_fill(struct pv_token_keys *t, uint8_t with)
{
    memset(t->gate, with, sizeof t->gate);
    memset(t->psk, with + 1, sizeof t->psk);
}

static inline void cluster_fill(struct pv_cluster_keys *k, uint8_t with)
{
    uint8_t key[PV_KEY_LEN] = {with, 7};
    cr_assert_eq(pv_cluster_keys_derive(k, key), PV_OK);
}

/* number: tells nodes apart; also seeds their random bytes. */
static inline void node_init(struct node *n, uint8_t number)
{
    pv_crypto_init();
    memset(n, 0, sizeof *n);
    pvt_log_init(&n->log, false);
    pvt_env_init(&n->clock, number, n->log.log);
    memset(n->identity.seed, number, sizeof n->identity.seed);
    pv_ed25519_public(n->identity.pub, n->identity.seed);
    pv_node_id_of(&n->identity.node_id, n->identity.pub);
    pv_noise_static_make(&n->noise_static, &n->identity, &n->clock.env);
    cr_assert_eq(pv_replay_cache_new(&n->replay, &n->clock.env), PV_OK);
    cluster_fill(&n->cluster, 1);
    n->readable[0] = &n->cluster;
    n->ctx.handshake = (struct pv_handshake_context){
        .env = &n->clock.env,
        .identity = &n->identity,
        .noise_static = &n->noise_static,
        .token_count = 1,
        .replay = n->replay,
        .max_skew_ms = PV_SKEW_MS_DEFAULT,
        .role = PV_ROLE_KEYED,
        .features = 5,
    };
    token_fill(&n->ctx.handshake.tokens[0], 40);
    n->ctx.readable = n->readable;
    n->ctx.readable_count = 1;
    n->ctx.hello.open_count = number;
    n->ctx.hello.listen_port = 3000;
    memset(n->ctx.hello.boot_random, number, sizeof n->ctx.hello.boot_random);
}

static inline void node_release(struct node *n)
{
    pv_replay_cache_free(n->replay);
    pvt_log_release(&n->log);
}

#endif
