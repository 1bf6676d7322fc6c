/*
 * One node, one link. When a second session with a node comes up:
 *
 *   same process there (boot_random): duplicate.h says which one stays; both ends decide alike
 *   another process:                  the newer one is held (not read, not announced) and the older
 *                                     one is asked by PING. PONG within PV_TWICE_MS: the identity
 *                                     runs twice, both go. Otherwise the older one is dead and
 * goes.
 *
 * Only a PING that was sent for this proves something: the answer to an earlier one may come from a
 * process that has died since.
 *
 * While one is held, a third session is weighed against the held one only; another process yet is
 * refused, and may come again when the question is settled. The handler sees `down` of the old link
 * before `up` of the new one.
 */
#include "internal/base/limits.h"
#include "transport/duplicate.h"
#include "transport/uv_tcp_impl.h"

_Static_assert(PV_SESSIONS_PER_NODE_MAX == 2, "the one in use, and the one that is held");

static const struct pv_session_peer *peer_of(const struct link *l)
{
    return pv_session_peer(l->session);
}

/* An open link of that node other than l that is announced (or held). */
static struct link *find(struct pv_tcp *t, const struct pv_id *node_id, bool held,
                         const struct link *except)
{
    PV_LIST_EACH(&t->links, e)
    {
        struct link *l = PV_LIST_ENTRY(e, struct link, all);
        bool wanted = held ? l->held : l->announced;
        if (l != except && wanted && pv_id_equal(&peer_of(l)->handshake.node_id, node_id))
            return l;
    }
    return NULL;
}

struct link *pv_pair_find(struct pv_tcp *t, const struct pv_id *node_id)
{
    return find(t, node_id, false, NULL);
}

static void refuse(struct link *l, uint8_t goodbye)
{
    l->held = false;
    pv_session_close(l->session, goodbye);
    pv_link_withdraw(l, PV_E_CANCELLED, 0);
    pv_link_schedule(l);
}

static void hold(struct link *l, uint64_t until_ms)
{
    l->held = true;
    l->held_until_ms = until_ms;
    pv_link_set_reading(l);
    pv_link_arm(l, until_ms);
}

static void release(struct link *l)
{
    l->held = false;
    pv_link_announce(l);
    pv_link_schedule(l); /* feeds what was put aside, then reads on */
}

void pv_pair_ask(struct link *older)
{
    enum pv_err err = pv_session_ping(older->session);
    PV_ASSERT(err != PV_E_CLOSED); /* LIMIT, NOMEM: it is going down */
    older->asked = true;
    older->ask_again = err == PV_E_BUSY;
    pv_link_schedule(older);
}

void pv_pair_up(struct link *l)
{
    struct pv_tcp *t = l->t;
    const struct pv_id *self = &t->ctx->handshake.identity->node_id;
    const struct pv_id *node_id = &peer_of(l)->handshake.node_id;
    struct link *older = find(t, node_id, false, l), *held = find(t, node_id, true, l);
    if (older != NULL && !pv_session_up(older->session)) { /* on its way out already */
        pv_link_withdraw(older, PV_E_CANCELLED, 0);
        older = NULL;
    }
    struct link *rival = held != NULL ? held : older;
    if (rival == NULL) {
        pv_link_announce(l);
    } else if (!pv_duplicate_same_boot(peer_of(rival), peer_of(l))) {
        if (held != NULL) {
            refuse(l, PV_BYE_DUPLICATE);
            return;
        }
        hold(l, pv_env_mono_ms(t->env) + PV_TWICE_MS);
        pv_pair_ask(older);
    } else if (pv_duplicate_first_stays(self, peer_of(rival), peer_of(l))) {
        refuse(l, PV_BYE_DUPLICATE);
    } else if (held != NULL) {
        uint64_t until_ms = held->held_until_ms;
        refuse(held, PV_BYE_DUPLICATE);
        hold(l, until_ms);
    } else {
        refuse(older, PV_BYE_DUPLICATE);
        pv_link_announce(l);
    }
}

void pv_pair_pong(struct link *l)
{
    struct pv_tcp *t = l->t;
    const struct pv_id node_id = peer_of(l)->handshake.node_id;
    struct link *held = find(t, &node_id, true, l);
    l->asked = false;
    if (held == NULL)
        return;
    PV_LOG_LIMITED(t->env->log, PV_LOG_ERROR, PV_SUB_SESSION, "this identity runs twice", "node",
                   pv_log_id(node_id.b), "peer", l->address, "other", held->address);
    refuse(held, PV_BYE_TWICE);
    refuse(l, PV_BYE_TWICE);
    if (t->handler.twice != NULL)
        t->handler.twice(t->handler.ctx, &node_id, l->address, held->address);
}

/* Of the two that belong together one is gone: no question is left. */
void pv_pair_down(struct link *l)
{
    if (l->session == NULL || (!l->held && !l->asked))
        return;
    struct link *other = find(l->t, &peer_of(l)->handshake.node_id, l->asked, l);
    bool was_asked = l->asked;
    l->held = l->asked = false;
    if (other == NULL)
        return;
    if (was_asked)
        release(other);
    else
        other->asked = false;
}

void pv_pair_timer(struct link *l)
{
    if (!l->held || pv_env_mono_ms(l->t->env) < l->held_until_ms)
        return;
    struct link *older = find(l->t, &peer_of(l)->handshake.node_id, false, l);
    if (older != NULL) {
        older->asked = false;
        refuse(older, PV_BYE_DUPLICATE);
    }
    release(l);
}
