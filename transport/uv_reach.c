/*
 * Members that said where they can be reached: one dial for each, which goes through its addresses.
 *
 * What a member says makes every other node connect to places of its choice, so there is little to
 * choose from: no place that means another machine to each reader, none where services of other
 * kinds live, and no more often than any address is dialled. A slot that is no longer wanted keeps
 * its place, because a name may be being looked up or a connection be opening for it, and is used
 * again when it is idle.
 */
#include "internal/base/limits.h"
#include "internal/base/mem.h"
#include "transport/uv_tcp_impl.h"

#include <string.h>

static bool allows_v4(uint32_t a)
{
    bool this_network = a >> 24 == 0, link_local = a >> 16 == 0xa9fe;
    bool multicast_or_reserved = a >> 28 >= 0xe; /* and broadcast */
    return !this_network && !link_local && !multicast_or_reserved;
}

bool pv_reach_allows(const struct pv_tcp *t, const struct sockaddr_storage *a)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)a;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;
    bool is_v4 = a->ss_family == AF_INET;
    if (ntohs(is_v4 ? in->sin_port : in6->sin6_port) < PV_LEARNED_PORT_MIN)
        return false;
    if (pv_sockaddr_is_loopback(a)) /* this machine: worth it only where all of them are on it */
        return t->listens && pv_sockaddr_is_loopback(&t->listen_address);
    if (is_v4)
        return allows_v4(ntohl(in->sin_addr.s_addr));
    const struct in6_addr *b = &in6->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(b)) {
        uint32_t mapped;
        memcpy(&mapped, &b->s6_addr[12], sizeof mapped);
        return allows_v4(ntohl(mapped));
    }
    return !IN6_IS_ADDR_UNSPECIFIED(b) && !IN6_IS_ADDR_MULTICAST(b) && !IN6_IS_ADDR_LINKLOCAL(b) &&
           !IN6_IS_ADDR_V4COMPAT(b);
}

/* ---- slots ---- */

static bool is_idle(const struct dial *d)
{
    return !d->resolving &&
           (d->dialer.state == PV_DIALER_WAITING || d->dialer.state == PV_DIALER_COVERED);
}

static struct dial *find(const struct pv_tcp *t, const struct pv_id *node_id)
{
    for (size_t i = 0; i < t->dial_count; i++)
        if (t->dials[i]->learned && pv_id_equal(&t->dials[i]->member, node_id))
            return t->dials[i];
    return NULL;
}

static struct dial *take_slot(struct pv_tcp *t)
{
    for (size_t i = 0; i < t->dial_count; i++) {
        struct dial *d = t->dials[i];
        if (d->retired && is_idle(d)) {
            memset(d, 0, sizeof *d);
            return d;
        }
    }
    if (t->dial_count - t->static_count >= PV_LEARNED_PEERS_MAX)
        return NULL;
    struct dial *d = pv_calloc(1, sizeof *d);
    if (d != NULL)
        t->dials[t->dial_count++] = d;
    return d;
}

static bool says_the_same(const struct dial *d, const struct pv_address *addresses, size_t count)
{
    bool same = !d->retired && d->address_count == count;
    for (size_t i = 0; same && i < count; i++)
        same = d->addresses[i].port == addresses[i].port &&
               strcmp(d->addresses[i].host, addresses[i].host) == 0;
    return same;
}

void pv_tcp_reach(struct pv_tcp *t, const struct pv_id *node_id, const char *const *addresses,
                  size_t count)
{
    struct pv_address parsed[PV_LEARNED_ADDRESSES_MAX];
    struct pv_dialer dialer;
    size_t good = 0;
    const char *first = NULL;
    for (size_t i = 0; i < count && good < PV_LEARNED_ADDRESSES_MAX; i++)
        if (pv_address_parse(&parsed[good], addresses[i]) == PV_OK && parsed[good].port != 0) {
            first = good++ == 0 ? addresses[i] : first;
        }
    struct dial *d = find(t, node_id);
    if (good == 0 && d != NULL)
        d->retired = true;
    if (good == 0 || t->closing || (d != NULL && says_the_same(d, parsed, good)) ||
        pv_dialer_init(&dialer, t->env, first) != PV_OK)
        return;
    bool is_new = d == NULL;
    if (is_new && (d = take_slot(t)) == NULL) {
        PV_LOG_LIMITED(t->env->log, PV_LOG_WARN, PV_SUB_TCP, "address of a member not used",
                       "address", first, "cause", "too many members");
        return;
    }
    if (is_new) {
        d->t = t;
        d->dialer = dialer;
        d->dialer.has_node_id = true;
        d->dialer.node_id = d->member = *node_id;
    }
    d->learned = true;
    d->retired = false;
    d->address_count = d->address_next = good; /* a dial under way goes on with what it found */
    memcpy(d->addresses, parsed, good * sizeof parsed[0]);
    memcpy(d->dialer.text, dialer.text, sizeof dialer.text);
    pv_dialer_restart(&d->dialer, PV_LEARNED_WAIT_MS);
    pv_tcp_arm(t);
}
