/* Which addresses that a member names are dialled. The rest of uv_reach.c: integration. */
#include "internal/base/err.h"
#include "internal/base/mem.h"
#include "tests/support/support.h"
#include "transport/uv_tcp_impl.h"

#include <criterion/criterion.h>
#include <stdio.h>

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
    } cases[] = {{0, false},
                 {22, false},
                 {PV_LEARNED_PORT_MIN - 1, false},
                 {PV_LEARNED_PORT_MIN, true},
                 {UINT16_MAX, true}};
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

/* Nothing is dialled: finishing keeps the loop out of it. */
static struct pv_tcp *idle(struct pvt_env *env)
{
    struct pv_tcp *t = listening_on("127.0.0.1");
    pvt_env_init(env, 1, NULL);
    t->env = &env->env;
    t->finishing = true;
    return t;
}

static void release(struct pv_tcp *t)
{
    for (size_t i = 0; i < t->dial_count; i++)
        pv_free(t->dials[i]);
    pv_free(t);
}

Test(reach, as_many_members_as_allowed_after_a_drawn_wait)
{
    struct pvt_env env;
    struct pv_tcp *t = idle(&env);
    const char *const addresses[] = {"192.0.2.1:3000"};
    uint64_t now_ms = pv_env_mono_ms(t->env), latest_ms = 0;
    for (unsigned i = 0; i <= PV_LEARNED_PEERS_MAX; i++) {
        struct pv_id member = {{(uint8_t)i, 1}};
        pv_tcp_reach(t, &member, addresses, 1);
        cr_assert_eq(t->dial_count, i < PV_LEARNED_PEERS_MAX ? i + 1 : PV_LEARNED_PEERS_MAX);
    }
    for (size_t i = 0; i < t->dial_count; i++) {
        uint64_t due_ms = pv_dialer_due_ms(&t->dials[i]->dialer);
        cr_assert_leq(due_ms, now_ms + PV_LEARNED_WAIT_MS);
        latest_ms = due_ms > latest_ms ? due_ms : latest_ms;
    }
    cr_assert_gt(latest_ms, now_ms + PV_LEARNED_WAIT_MS / 2, "of 64 draws");
    struct pv_id first = {{0, 1}}, another = {{200, 1}};
    pv_tcp_reach(t, &first, NULL, 0); /* no longer wanted: its place is free */
    pv_tcp_reach(t, &another, addresses, 1);
    cr_assert_eq(t->dial_count, PV_LEARNED_PEERS_MAX);
    cr_assert(pv_id_equal(&t->dials[0]->member, &another));
    release(t);
}

Test(reach, as_many_addresses_of_a_member_as_allowed)
{
    struct pvt_env env;
    struct pv_tcp *t = idle(&env);
    char text[PV_LEARNED_ADDRESSES_MAX + 1][32];
    const char *addresses[PV_LEARNED_ADDRESSES_MAX + 1];
    for (unsigned i = 0; i <= PV_LEARNED_ADDRESSES_MAX; i++) {
        snprintf(text[i], sizeof text[i], "192.0.2.%u:3000", i);
        addresses[i] = text[i];
    }
    for (unsigned count = PV_LEARNED_ADDRESSES_MAX - 1; count <= PV_LEARNED_ADDRESSES_MAX + 1;
         count++) {
        struct pv_id member = {{(uint8_t)count}};
        pv_tcp_reach(t, &member, addresses, count);
        const struct dial *d = t->dials[t->dial_count - 1];
        cr_assert(pv_id_equal(&d->member, &member));
        cr_assert_eq(d->address_count,
                     count > PV_LEARNED_ADDRESSES_MAX ? PV_LEARNED_ADDRESSES_MAX : count);
    }
    release(t);
}
