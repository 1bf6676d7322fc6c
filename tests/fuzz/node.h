/* Two nodes without sockets that are the same for each input: see transport_fixture.h. */
#ifndef PV_TESTS_FUZZ_NODE_H
#define PV_TESTS_FUZZ_NODE_H

#include "tests/fuzz/fuzz.h"
#include "tests/unit/transport_fixture.h"

static inline void pvf_node_begin(struct node *n, uint8_t number)
{
    if (n->log.log == NULL)
        node_init(n, number);
    else
        cr_assert_eq(pv_replay_cache_new(&n->replay, &n->clock.env), PV_OK);
    n->ctx.handshake.replay = n->replay;
    pvt_log_clear(&n->log);
    pvt_env_init(&n->clock, number, n->log.log);
}

static inline void pvf_node_end(struct node *n)
{
    pv_replay_cache_free(n->replay);
    n->replay = NULL;
}

#endif
