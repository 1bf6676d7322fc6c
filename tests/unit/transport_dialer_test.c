#include "tests/unit/transport_fixture.h"
#include "transport/dialer.h"

TestSuite(dialer, .timeout = 10);
TestSuite(address, .timeout = 10);

static struct pv_dialer dialer_of(struct pvt_env *clock)
{
    struct pv_dialer d;
    cr_assert_eq(pv_dialer_init(&d, &clock->env, "nas.local:3000"), PV_OK);
    return d;
}

Test(dialer, first_dial_is_at_once)
{
    struct pvt_env clock;
    pvt_env_init(&clock, 1, NULL);
    struct pv_dialer d = dialer_of(&clock);
    cr_assert_eq(pv_dialer_due_ms(&d), clock.mono_ms);
    cr_assert_str_eq(d.address.host, "nas.local");
    pv_dialer_start(&d);
    cr_assert_eq(pv_dialer_due_ms(&d), UINT64_MAX);
    cr_assert_eq(pv_dialer_init(&d, &clock.env, "nas.local"), PV_E_INVALID);
}

/* The wait before attempt k is anywhere in 0..min(5 min, 1 s * 2^k), and uses that range. */
Test(dialer, backs_off_with_full_jitter)
{
    struct pvt_env clock;
    pvt_env_init(&clock, 7, NULL);
    uint64_t longest[12] = {0}, shortest[12];
    memset(shortest, 0xff, sizeof shortest);
    for (unsigned round = 0; round < 300; round++) {
        struct pv_dialer d = dialer_of(&clock);
        for (unsigned k = 0; k < 12; k++) {
            pv_dialer_start(&d);
            pv_dialer_failed(&d, PV_REFUSED_NOT, 1, "connection refused");
            uint64_t wait_ms = pv_dialer_due_ms(&d) - clock.mono_ms;
            longest[k] = wait_ms > longest[k] ? wait_ms : longest[k];
            shortest[k] = wait_ms < shortest[k] ? wait_ms : shortest[k];
        }
        cr_assert_str_eq(d.error, "connection refused");
    }
    for (unsigned k = 0; k < 12; k++) {
        uint64_t limit_ms = PV_DIAL_MS_MIN << k;
        if (limit_ms > PV_DIAL_MS_MAX)
            limit_ms = PV_DIAL_MS_MAX;
        cr_assert_leq(longest[k], limit_ms, "attempt %u", k);
        cr_assert_gt(longest[k], limit_ms * 9 / 10, "attempt %u", k);
        cr_assert_lt(shortest[k], limit_ms / 10, "attempt %u", k);
    }
}

Test(dialer, only_a_stable_session_resets_the_back_off)
{
    struct pvt_env clock;
    struct pv_id node_id = {{3}};
    pvt_env_init(&clock, 1, NULL);
    struct pv_dialer d = dialer_of(&clock);
    for (unsigned i = 0; i < 5; i++) {
        pv_dialer_start(&d);
        pv_dialer_up(&d, &node_id);
        pv_dialer_down(&d, PV_DIALER_ENDED, "not a member");
        cr_assert_eq(d.attempts, i + 1);
    }
    cr_assert_str_eq(d.error, "not a member");
    pv_dialer_start(&d);
    pv_dialer_up(&d, &node_id);
    cr_assert_str_eq(d.error, "");
    cr_assert(d.has_node_id && pv_id_equal(&d.node_id, &node_id));
    pvt_env_advance(&clock, PV_DIAL_STABLE_MS);
    pv_dialer_down(&d, PV_DIALER_ENDED, "connection lost");
    cr_assert_eq(d.attempts, 1);
    cr_assert_leq(pv_dialer_due_ms(&d), clock.mono_ms + PV_DIAL_MS_MIN);
    pv_dialer_start(&d);
    pv_dialer_up(&d, &node_id);
    pvt_env_advance(&clock, PV_DIAL_STABLE_MS);
    pv_dialer_down(&d, PV_DIALER_AGREED, "session reached its age");
    cr_assert_eq(pv_dialer_due_ms(&d), clock.mono_ms, "agreed ends dial again at once");
}

/* After any of so many sessions, each of which was up for so long and ended so. */
static uint64_t longest_wait_ms(struct pv_dialer *d, struct pvt_env *clock, unsigned sessions,
                                uint64_t up_ms, enum pv_dialer_end end)
{
    struct pv_id node_id = {{3}};
    uint64_t longest_ms = 0;
    for (unsigned i = 0; i < sessions; i++) {
        pv_dialer_start(d);
        pv_dialer_up(d, &node_id);
        pvt_env_advance(clock, up_ms);
        pv_dialer_down(d, end, "it is over");
        cr_assert_eq(d->attempts, i + 1);
        uint64_t wait_ms = pv_dialer_due_ms(d) - clock->mono_ms;
        longest_ms = wait_ms > longest_ms ? wait_ms : longest_ms;
    }
    return longest_ms;
}

/* A network that cuts each session after seconds must not keep two nodes apart for minutes. */
Test(dialer, what_was_cut_is_dialled_again_soon)
{
    struct pvt_env clock;
    pvt_env_init(&clock, 1, NULL);
    struct pv_dialer d = dialer_of(&clock);
    uint64_t longest_ms = longest_wait_ms(&d, &clock, 50, 0, PV_DIALER_CUT);
    cr_assert_leq(longest_ms, PV_DIAL_CUT_MS_MAX);
    cr_assert_gt(longest_ms, PV_DIAL_CUT_MS_MAX / 2, "but not without a pause");
    pv_dialer_start(&d);
    pv_dialer_failed(&d, PV_REFUSED_NOT, 1, "connection refused");
    cr_assert_gt(d.attempts, 50, "who is down is dialled seldom all the same");
}

/* A peer that says "renew" whenever it is dialled must not be dialled without a pause. */
/* The network that cut a session cuts handshakes as well. */
Test(dialer, what_was_cut_lately_is_dialled_soon_however_often_that_fails)
{
    struct pvt_env clock;
    pvt_env_init(&clock, 7, NULL);
    struct pv_dialer d = dialer_of(&clock);
    struct pv_id node = {{1}};
    uint64_t soon_ms = 0, late_ms = 0;
    pv_dialer_start(&d);
    pv_dialer_up(&d, &node);
    pv_dialer_down(&d, PV_DIALER_CUT, "connection lost");
    for (unsigned i = 0; i < 200; i++) {
        pv_dialer_start(&d);
        pv_dialer_failed(&d, PV_REFUSED_NOT, 1, "closed during the handshake");
        uint64_t wait_ms = pv_dialer_due_ms(&d) - clock.mono_ms;
        soon_ms = wait_ms > soon_ms ? wait_ms : soon_ms;
    }
    cr_assert_gt(soon_ms, PV_DIAL_CUT_MS_MAX / 2);
    cr_assert_leq(soon_ms, PV_DIAL_CUT_MS_MAX);
    pvt_env_advance(&clock, PV_DIAL_LATELY_MS);
    for (unsigned i = 0; i < 20; i++) {
        pv_dialer_start(&d);
        pv_dialer_failed(&d, PV_REFUSED_NOT, 1, "connection refused");
        uint64_t wait_ms = pv_dialer_due_ms(&d) - clock.mono_ms;
        late_ms = wait_ms > late_ms ? wait_ms : late_ms;
    }
    cr_assert_gt(late_ms, PV_DIAL_CUT_MS_MAX);
    pv_dialer_start(&d);
    pv_dialer_up(&d, &node); /* and one that was ended by the other side says nothing of the kind */
    pv_dialer_down(&d, PV_DIALER_ENDED, "shut down");
    pv_dialer_start(&d);
    pv_dialer_failed(&d, PV_REFUSED_NOT, 1, "connection refused");
    cr_assert(!d.was_cut);
    for (unsigned i = 0; i < 20; i++) {
        pv_dialer_start(&d);
        pv_dialer_failed(&d, PV_REFUSED_NOT, 1, "connection refused");
        uint64_t wait_ms = pv_dialer_due_ms(&d) - clock.mono_ms;
        late_ms = wait_ms > late_ms ? wait_ms : late_ms;
    }
    cr_assert_gt(late_ms, PV_DIAL_CUT_MS_MAX);
}

Test(dialer, renewal_of_a_young_session_backs_off)
{
    struct pvt_env clock;
    pvt_env_init(&clock, 1, NULL);
    struct pv_dialer d = dialer_of(&clock);
    cr_assert_gt(longest_wait_ms(&d, &clock, 50, 10, PV_DIALER_AGREED), PV_DIAL_MS_MAX / 2);
}

Test(dialer, tries_the_other_token_after_silence_only)
{
    struct pvt_env clock;
    pvt_env_init(&clock, 1, NULL);
    struct pv_dialer d = dialer_of(&clock);
    const enum pv_refusal others[] = {PV_REFUSED_NOT, PV_REFUSED_CLOCK, PV_REFUSED_DEADLINE,
                                      PV_REFUSED_GONE};
    for (size_t i = 0; i < PV_COUNT(others); i++) {
        pv_dialer_start(&d);
        pv_dialer_failed(&d, others[i], 2, "x");
        cr_assert_eq(d.token, 0);
    }
    for (size_t i = 1; i < 5; i++) {
        pv_dialer_start(&d);
        pv_dialer_failed(&d, PV_REFUSED_SILENT, 2, "x");
        cr_assert_eq(d.token, i % 2);
    }
    pv_dialer_start(&d);
    pv_dialer_failed(&d, PV_REFUSED_SILENT, 1, "x");
    cr_assert_eq(d.token, 0);
}

Test(dialer, can_be_put_off)
{
    struct pvt_env clock;
    pvt_env_init(&clock, 1, NULL);
    struct pv_dialer d = dialer_of(&clock);
    pv_dialer_postpone(&d, clock.mono_ms + 600000, "banned here");
    cr_assert_eq(pv_dialer_due_ms(&d), clock.mono_ms + 600000);
    cr_assert_str_eq(d.error, "banned here");
    pv_dialer_start(&d);
}

/* Whoever has a peer's address for a minute can lead us back to ourselves: that must not last. */
Test(dialer, ourselves_is_dialled_seldom_but_again)
{
    struct pvt_env clock;
    uint64_t longest_ms = 0;
    pvt_env_init(&clock, 1, NULL);
    for (unsigned i = 0; i < 100; i++) {
        struct pv_dialer d = dialer_of(&clock);
        pv_dialer_start(&d);
        pv_dialer_failed(&d, PV_REFUSED_SELF, 1, "this is ourselves");
        cr_assert_eq(d.state, PV_DIALER_WAITING);
        uint64_t wait_ms = pv_dialer_due_ms(&d) - clock.mono_ms;
        cr_assert_leq(wait_ms, PV_DIAL_MS_MAX);
        longest_ms = wait_ms > longest_ms ? wait_ms : longest_ms;
        cr_assert_str_eq(d.error, "this is ourselves");
    }
    cr_assert_gt(longest_ms, PV_DIAL_MS_MAX * 9 / 10);
}

Test(dialer, covered_until_the_other_link_goes)
{
    struct pvt_env clock;
    pvt_env_init(&clock, 1, NULL);
    struct pv_dialer d = dialer_of(&clock);
    pv_dialer_cover(&d);
    cr_assert_eq(pv_dialer_due_ms(&d), UINT64_MAX);
    pv_dialer_uncover(&d);
    cr_assert_leq(pv_dialer_due_ms(&d), clock.mono_ms + PV_DIAL_MS_MIN);
    pv_dialer_uncover(&d); /* no-op */
    cr_assert_eq(d.state, PV_DIALER_WAITING);
}

Test(address, forms)
{
    const struct {
        const char *text, *host;
        uint16_t port;
    } good[] = {
        {"127.0.0.1:3000", "127.0.0.1", 3000},     {"[::1]:0", "::1", 0},
        {"nas.local:65535", "nas.local", 65535},   {"a-b_c:1", "a-b_c", 1},
        {"[fe80::1%eth0]:80", "fe80::1%eth0", 80},
    };
    for (size_t i = 0; i < PV_COUNT(good); i++) {
        struct pv_address a;
        char text[PV_ADDRESS_TEXT_LEN];
        cr_assert_eq(pv_address_parse(&a, good[i].text), PV_OK, "%s", good[i].text);
        cr_assert_str_eq(a.host, good[i].host);
        cr_assert_eq(a.port, good[i].port);
        pv_address_format(text, a.host, a.port);
        cr_assert_str_eq(text, good[i].text);
    }
    const char *bad[] = {
        "",         ":",          "host",      "host:",       ":3000",   "::1:3000",
        "host:-1",  "host:65536", "host:1x",   "host: 1",     "ho st:1", "[]:1",
        "[host]:1", "[::1]",      "[::1:3000", "host:000001", "h/x:1",   "h\n:1"};
    for (size_t i = 0; i < PV_COUNT(bad); i++) {
        struct pv_address a = {.port = 7};
        cr_assert_eq(pv_address_parse(&a, bad[i]), PV_E_INVALID, "%s", bad[i]);
        cr_assert_eq(a.port, 7);
    }
}

Test(address, longest_host)
{
    char text[300];
    struct pv_address a;
    memset(text, 'x', sizeof text);
    memcpy(text + PV_HOST_LEN_MAX, ":1", 3);
    cr_assert_eq(pv_address_parse(&a, text), PV_OK);
    memset(text, 'x', sizeof text);
    memcpy(text + PV_HOST_LEN_MAX + 1, ":1", 3);
    cr_assert_eq(pv_address_parse(&a, text), PV_E_INVALID);
}
