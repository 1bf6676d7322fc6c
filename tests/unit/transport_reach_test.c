/* Which addresses that a member names are dialled. The rest of uv_reach.c: integration. */
#include "internal/base/err.h"
#include "internal/base/mem.h"
#include "transport/uv_tcp_impl.h"

#include <criterion/criterion.h>

TestSuite(reach, .timeout = 30);

static struct sockaddr_storage address(const char *host, uint16_t port)
{
    struct sockaddr_storage a = {0};
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&a) != 0)
        cr_assert_eq(uv_ip6_addr(host, port, (struct sockaddr_in6 *)&a), 0, "%s", host);
    return a;
}

static struct pv_tcp *listening_on(const char *host)
{
    struct pv_tcp *t = pv_calloc(1, sizeof *t);
    cr_assert_not_null(t);
    t->listens = true;
    t->listen_address = address(host, 3000);
    return t;
}

Test(reach, places_that_mean_one_machine_to_all)
{
    static const struct {
        const char *host;
        bool allowed;
    } cases[] = {
        {"192.0.2.1", true},
        {"10.0.0.1", true},
        {"192.168.1.9", true},
        {"172.17.0.2", true},
        {"100.64.0.1", true},
        {"223.255.255.255", true},
        {"0.0.0.0", false},
        {"0.1.2.3", false},
        {"127.0.0.1", false},
        {"127.255.0.1", false},
        {"169.254.0.1", false},
        {"224.0.0.1", false},
        {"239.255.255.255", false},
        {"240.0.0.1", false},
        {"255.255.255.255", false},
        {"2001:db8::1", true},
        {"fd00::1", true},
        {"::", false},
        {"::1", false},
        {"fe80::1", false},
        {"ff02::1", false},
        {"::ffff:192.0.2.1", true},
        {"::ffff:127.0.0.1", false},
        {"::ffff:224.0.0.1", false},
        {"::ffff:0.0.0.0", false},
        {"::192.0.2.1", false},
    };
    struct pv_tcp *t = listening_on("0.0.0.0");
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        struct sockaddr_storage a = address(cases[i].host, 3000);
        cr_assert_eq(pv_reach_allows(t, &a), cases[i].allowed, "%s", cases[i].host);
    }
    pv_free(t);
}

Test(reach, loopback_where_we_are_on_it_ourselves)
{
    static const char *const ours[] = {"127.0.0.1", "::1"};
    for (size_t i = 0; i < PV_COUNT(ours); i++) {
        struct pv_tcp *t = listening_on(ours[i]);
        for (size_t k = 0; k < PV_COUNT(ours); k++) {
            struct sockaddr_storage a = address(ours[k], 3000);
            cr_assert(pv_reach_allows(t, &a));
            t->listens = false;
            cr_assert_not(pv_reach_allows(t, &a));
            t->listens = true;
        }
        pv_free(t);
    }
}

Test(reach, no_low_ports)
{
    struct pv_tcp *t = listening_on("127.0.0.1");
    static const struct {
        uint16_t port;
        bool allowed;
    } cases[] = {{0, false}, {22, false}, {1023, false}, {1024, true}, {UINT16_MAX, true}};
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        struct sockaddr_storage four = address("192.0.2.1", cases[i].port);
        struct sockaddr_storage six = address("2001:db8::1", cases[i].port);
        struct sockaddr_storage here = address("127.0.0.1", cases[i].port);
        cr_assert_eq(pv_reach_allows(t, &four), cases[i].allowed);
        cr_assert_eq(pv_reach_allows(t, &six), cases[i].allowed);
        cr_assert_eq(pv_reach_allows(t, &here), cases[i].allowed);
    }
    pv_free(t);
}
