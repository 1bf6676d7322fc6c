/*
 * Who is let in, at the real limits. The decision is static in uv_tcp.c, which is compiled in here;
 * links are made by hand, so that they come from any host and no socket is needed.
 */
#include "tests/support/support.h"
#include "transport/uv_tcp.c"

#include <criterion/criterion.h>

TestSuite(accept, .timeout = 30);

enum { ARRIVED_MAX = 300 };

static struct pvt_env env;
static struct pv_tcp *t;
static struct link *arrived[ARRIVED_MAX];
static size_t arrived_count;

static void start(void)
{
    pvt_env_init(&env, 1, NULL);
    t = pv_calloc(1, sizeof *t);
    t->env = &env.env;
    t->connections_max = PV_CONNECTIONS_MAX;
    pv_list_init(&t->links);
    cr_assert_eq(pv_hosts_new(&t->hosts, t->env), PV_OK);
}

static void stop(void)
{
    while (arrived_count > 0)
        pv_free(arrived[--arrived_count]);
    pv_hosts_free(t->hosts);
    pv_free(t);
}

static struct sockaddr_storage address(const char *host)
{
    struct sockaddr_storage a = {0};
    if (uv_ip4_addr(host, 3000, (struct sockaddr_in *)&a) != 0)
        cr_assert_eq(uv_ip6_addr(host, 3000, (struct sockaddr_in6 *)&a), 0, "%s", host);
    return a;
}

/* Why it is refused; NULL: it is let in, and has not shaken hands. */
static const char *arrives(const char *host)
{
    struct link *l = pv_calloc(1, sizeof *l);
    cr_assert(l != NULL && arrived_count < ARRIVED_MAX);
    arrived[arrived_count++] = l;
    l->t = t;
    l->peer = address(host);
    pv_list_push_back(&t->links, &l->all);
    t->link_count++;
    const char *refused = too_many(t, l);
    l->half_open = refused == NULL;
    t->half_open_count += l->half_open;
    t->link_count -= refused != NULL;
    return refused;
}

static void all_shake_hands(void)
{
    for (size_t i = 0; i < arrived_count; i++)
        arrived[i]->half_open = false;
    t->half_open_count = 0;
}

static struct dial *configured(const char *host)
{
    struct dial *d = pv_calloc(1, sizeof *d);
    t->dials[t->dial_count++] = d;
    t->static_count++;
    d->found[d->found_count++] = address(host);
    return d;
}

Test(accept, as_many_sockets_as_allowed, .init = start, .fini = stop)
{
    t->link_count = PV_CONNECTIONS_MAX - 2;
    cr_assert_null(arrives("127.0.0.1"));
    cr_assert_null(arrives("127.0.0.1"));
    cr_assert_eq(t->link_count, PV_CONNECTIONS_MAX);
    cr_assert_str_eq(arrives("127.0.0.1"), "too many connections");
    t->link_count--;
    cr_assert_null(arrives("127.0.0.1"));

    struct dial *d = configured("192.0.2.9"); /* one is kept for it */
    t->link_count--;
    cr_assert_str_eq(arrives("127.0.0.1"), "too many connections");
    t->link_count--;
    cr_assert_null(arrives("127.0.0.1"));
    pv_free(d);
}

Test(accept, unfinished_handshakes_of_all, .init = start, .fini = stop)
{
    struct dial *d = configured("192.0.2.9");
    t->half_open_count = PV_HALF_OPEN_MAX - 2;
    cr_assert_null(arrives("127.0.0.1"));
    cr_assert_null(arrives("127.0.0.1"));
    cr_assert_str_eq(arrives("127.0.0.1"), "too many unfinished handshakes");
    cr_assert_null(arrives("192.0.2.9"), "configured");
    t->half_open_count -= 2;
    cr_assert_null(arrives("127.0.0.1"));
    pv_free(d);
}

static void fill_host(const char *one, const char *other)
{
    for (unsigned i = 0; i < PV_HALF_OPEN_PER_HOST_MAX; i++)
        cr_assert_null(arrives(i % 2 ? one : other), "%u", i);
    cr_assert_str_eq(arrives(one), "too many unfinished handshakes of this host");
}

Test(accept, unfinished_handshakes_of_a_host, .init = start, .fini = stop)
{
    fill_host("192.0.2.1", "::ffff:192.0.2.1");
    cr_assert_null(arrives("192.0.2.2"));
    fill_host("2001:db8::1", "2001:db8::ffff:0:0:2");
    cr_assert_null(arrives("2001:db8:0:1::1"));
    arrived[0]->half_open = false;
    cr_assert_null(arrives("192.0.2.1"), "one has shaken hands");
    for (unsigned i = 0; i <= PV_HALF_OPEN_PER_HOST_MAX; i++)
        cr_assert_null(arrives(i % 2 ? "127.0.0.1" : "::1"), "loopback is exempt");
    struct dial *d = configured("192.0.2.1");
    cr_assert_null(arrives("192.0.2.1"), "configured");
    pv_free(d);
}

Test(accept, handshakes_that_a_host_begins, .init = start, .fini = stop)
{
    for (unsigned i = 0; i < PV_HANDSHAKES_BURST; i++) {
        cr_assert_null(arrives("192.0.2.1"), "%u", i);
        all_shake_hands();
    }
    cr_assert_str_eq(arrives("192.0.2.1"), "too many handshakes of this host");
    pvt_env_advance(&env, 1000);
    for (unsigned i = 0; i < PV_HANDSHAKES_PER_S; i++)
        cr_assert_null(arrives("192.0.2.1"), "%u", i);
    cr_assert_str_eq(arrives("192.0.2.1"), "too many handshakes of this host");
}
