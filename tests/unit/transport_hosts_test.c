#include "tests/support/support.h"
#include "transport/hosts.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>

TestSuite(hosts, .timeout = 30);

static struct pvt_env clock_;
static struct pv_hosts *hosts;

static struct pv_host host_of(const char *text)
{
    struct pv_host out;
    uint8_t address[16];
    if (inet_pton(AF_INET, text, address) == 1) {
        pv_host_of_ipv4(&out, address);
        return out;
    }
    cr_assert_eq(inet_pton(AF_INET6, text, address), 1);
    pv_host_of_ipv6(&out, address);
    return out;
}

static bool admit(const char *text)
{
    struct pv_host host = host_of(text);
    return pv_hosts_admit(hosts, &host);
}

static void start(void)
{
    pvt_env_init(&clock_, 1, NULL);
    cr_assert_eq(pv_hosts_new(&hosts, &clock_.env), PV_OK);
}

Test(hosts, a_burst_and_then_so_many_a_second)
{
    start();
    for (unsigned i = 0; i < PV_HANDSHAKES_BURST; i++)
        cr_assert(admit("192.0.2.1"), "%u", i);
    cr_assert_not(admit("192.0.2.1"));
    cr_assert(admit("192.0.2.2"), "others are not concerned");
    unsigned admitted = 0;
    for (unsigned ms = 0; ms < 10000; ms++) {
        pvt_env_advance(&clock_, 1);
        admitted += admit("192.0.2.1");
    }
    cr_assert_eq(admitted, 10 * PV_HANDSHAKES_PER_S, "%u: who is refused pays nothing", admitted);
    pv_hosts_free(hosts);
}

Test(hosts, what_is_one_host)
{
    start();
    for (unsigned i = 0; i < PV_HANDSHAKES_BURST; i++)
        cr_assert(admit(i % 2 ? "2001:db8::1" : "2001:db8::ffff:1:2:3"));
    cr_assert_not(admit("2001:db8::3"), "one /64");
    cr_assert(admit("2001:db8:0:1::1"));
    for (unsigned i = 0; i < PV_HANDSHAKES_BURST; i++)
        cr_assert(admit("::ffff:192.0.2.9"));
    cr_assert_not(admit("192.0.2.9"), "the same address");
    cr_assert(admit("192.0.2.10"));
    pv_hosts_free(hosts);
}

Test(hosts, the_table_is_bounded)
{
    struct pv_host host = {{0}};
    start();
    for (unsigned i = 0; i < PV_HANDSHAKES_BURST; i++)
        cr_assert(admit("192.0.2.1"));
    for (uint32_t i = 0; i < PV_HOSTS_KNOWN_MAX - 1; i++) {
        memcpy(host.b, &i, sizeof i);
        cr_assert(pv_hosts_admit(hosts, &host));
    }
    cr_assert_not(admit("192.0.2.1"), "still known");
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t number = 0x1000000 + i;
        memcpy(host.b, &number, sizeof number);
        cr_assert(pv_hosts_admit(hosts, &host));
    }
    cr_assert(admit("192.0.2.1"), "the oldest was forgotten");
    pv_hosts_free(hosts);
}
