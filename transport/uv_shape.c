/*
 * Bandwidth: how much a connection may write and read now.
 *
 * Each direction of a connection has a bucket of its own and shares one with all others. What may
 * be written is asked beforehand; what was read is paid afterwards, and whoever is in debt is not
 * read, so that the sender's TCP slows down by itself. A part is at most SHAPE_PART and, unless
 * there is less to say, at least SHAPE_LEAST bytes: no busy loop, and nobody takes all that has
 * come together for the others as well.
 *
 * Between two nodes at home there is nothing to spare: private, link-local and loopback addresses
 * are exempt unless limit_lan says otherwise.
 */
#include "transport/uv_tcp_impl.h"

enum { SHAPE_PART = 16384, SHAPE_LEAST = 4096, SHAPE_RECEIVE = 65536, SHAPE_RECENT_MS = 5000 };

static bool is_lan_ipv4(const uint8_t b[static 4])
{
    return b[0] == 127 || b[0] == 10 || (b[0] == 172 && (b[1] & 0xf0) == 16) ||
           (b[0] == 192 && b[1] == 168) || (b[0] == 169 && b[1] == 254);
}

static bool is_lan(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return is_lan_ipv4((const uint8_t *)&((const struct sockaddr_in *)a)->sin_addr);
    const struct in6_addr *in6 = &((const struct sockaddr_in6 *)a)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(in6))
        return is_lan_ipv4(in6->s6_addr + 12);
    return IN6_IS_ADDR_LOOPBACK(in6) || IN6_IS_ADDR_LINKLOCAL(in6) ||
           (in6->s6_addr[0] & 0xfe) == 0xfc; /* fc00::/7, the private ones */
}

static uint64_t burst_of(uint64_t rate)
{
    uint64_t eighth_s = rate / 8;
    return rate == 0 || eighth_s > SHAPE_PART ? eighth_s : SHAPE_PART;
}

static void change(struct pv_throttle *b, uint64_t rate, uint64_t now_ms)
{
    pv_throttle_change(b, rate, burst_of(rate), now_ms);
}

static void shape(struct link *l, uint64_t now_ms)
{
    const struct pv_bandwidth *set = &l->t->bandwidth;
    bool exempt = !set->lan && is_lan(&l->peer);
    l->shaped = !exempt && (set->up | set->down | set->peer_up | set->peer_down) != 0;
    change(&l->up, exempt ? 0 : set->peer_up, now_ms);
    change(&l->down, exempt ? 0 : set->peer_down, now_ms);
    if (l->shaped && (set->down | set->peer_down) != 0) {
        /* Else the system reads ahead for us, and answers stand behind megabytes. */
        int buffer = SHAPE_RECEIVE;
        (void)uv_recv_buffer_size((uv_handle_t *)&l->socket, &buffer);
    }
    pv_link_resume(l, UINT64_MAX);
    pv_link_schedule(l);
}

void pv_shape_begin(struct link *l)
{
    shape(l, pv_env_mono_ms(l->t->env));
}

void pv_tcp_set_bandwidth(struct pv_tcp *t, const struct pv_bandwidth *bandwidth)
{
    uint64_t now_ms = pv_env_mono_ms(t->env);
    t->bandwidth = *bandwidth;
    change(&t->up, bandwidth->up, now_ms);
    change(&t->down, bandwidth->down, now_ms);
    PV_LIST_EACH(&t->links, e)
    {
        struct link *l = PV_LIST_ENTRY(e, struct link, all);
        if (l->state == LINK_OPEN)
            shape(l, now_ms);
    }
}

static size_t least(uint64_t a, uint64_t b)
{
    uint64_t n = a < b ? a : b;
    return n < SHAPE_PART ? (size_t)n : SHAPE_PART;
}

static uint64_t ready_ms(struct pv_throttle *one, struct pv_throttle *all, size_t bytes,
                         uint64_t now_ms)
{
    uint64_t a = pv_throttle_ready_ms(one, bytes, now_ms);
    uint64_t b = pv_throttle_ready_ms(all, bytes, now_ms);
    return a > b ? a : b;
}

size_t pv_shape_may_write(struct link *l, size_t len)
{
    struct pv_tcp *t = l->t;
    if (!l->shaped || (l->up.rate | t->up.rate) == 0)
        return len;
    uint64_t now_ms = pv_env_mono_ms(t->env);
    size_t wanted = len < SHAPE_LEAST ? len : SHAPE_LEAST;
    size_t may = least(pv_throttle_has(&l->up, now_ms), pv_throttle_has(&t->up, now_ms));
    if (may < wanted) {
        l->write_at_ms = ready_ms(&l->up, &t->up, wanted, now_ms);
        l->shaped_ms = now_ms;
        return 0;
    }
    may = may < len ? may : len;
    pv_throttle_take(&l->up, may, now_ms);
    pv_throttle_take(&t->up, may, now_ms);
    return may;
}

size_t pv_shape_may_read(struct link *l, size_t len)
{
    bool limited = l->shaped && (l->down.rate | l->t->down.rate) != 0;
    return limited && len > SHAPE_PART ? SHAPE_PART : len;
}

void pv_shape_was_read(struct link *l, size_t len)
{
    struct pv_tcp *t = l->t;
    if (!l->shaped)
        return;
    uint64_t now_ms = pv_env_mono_ms(t->env);
    pv_throttle_take(&l->down, len, now_ms);
    pv_throttle_take(&t->down, len, now_ms);
    uint64_t at_ms = ready_ms(&l->down, &t->down, SHAPE_LEAST, now_ms);
    if (at_ms <= now_ms)
        return;
    l->read_at_ms = at_ms;
    l->shaped_ms = now_ms;
    pv_link_choke(l);
}

bool pv_shape_slowed(const struct link *l, uint64_t now_ms)
{
    return l->shaped && l->shaped_ms != 0 && now_ms - l->shaped_ms < SHAPE_RECENT_MS;
}
