#include "tests/unit/transport_fixture.h"
#include "transport/duplicate.h"

TestSuite(duplicate, .timeout = 20);

static const struct pv_id small = {{1}}, large = {{2}};

/* One connection as its two ends know it. */
struct connection {
    bool by_small; /* who dialled */
    uint64_t m1_ms, m2_ms;
    uint8_t hash;
};

static struct pv_session_peer seen_by(const struct pv_id *self, const struct connection *c)
{
    bool self_is_small = pv_id_equal(self, &small);
    struct pv_session_peer p = {.dialled = self_is_small == c->by_small};
    p.handshake.node_id = self_is_small ? large : small;
    p.handshake.dialled_ms = c->m1_ms;
    p.handshake.answered_ms = c->m2_ms;
    memset(p.hash, c->hash, sizeof p.hash);
    return p;
}

static bool first_stays(const struct pv_id *self, const struct connection *a,
                        const struct connection *b)
{
    struct pv_session_peer pa = seen_by(self, a), pb = seen_by(self, b);
    return pv_duplicate_first_stays(self, &pa, &pb);
}

/* The four views (two ends, two orders) name the same winner; true: a. */
static bool winner_is_a(const struct connection *a, const struct connection *b)
{
    bool a_wins = first_stays(&small, a, b);
    cr_assert_eq(first_stays(&small, b, a), !a_wins);
    cr_assert_eq(first_stays(&large, a, b), a_wins);
    cr_assert_eq(first_stays(&large, b, a), !a_wins);
    return a_wins;
}

Test(duplicate, the_newer_one_stays)
{
    const struct connection old = {true, 100000, 100010, 1}, same = {true, 100001, 100011, 2};
    const struct connection other = {false, 110001, 110001, 2};
    cr_assert_not(winner_is_a(&old, &same), "same dialler: however close");
    cr_assert_not(winner_is_a(&old, &other));
    const struct connection back = {false, 100000, 100010, 1}, newer = {true, 110010, 110011, 2};
    cr_assert_not(winner_is_a(&back, &newer));
}

Test(duplicate, simultaneous_dials_keep_the_smaller_ids)
{
    const struct connection by_small = {true, 100000, 100010, 1};
    for (uint64_t m2_ms = 90000; m2_ms <= 110000; m2_ms += 1000) {
        const struct connection by_large = {false, 100000, m2_ms, 2};
        bool close = m2_ms > 90000 && m2_ms < 110000;
        cr_assert_eq(winner_is_a(&by_small, &by_large), close || m2_ms <= 90000, "%u",
                     (unsigned)m2_ms);
    }
}

/* One clock orders both: that of the smaller id. A skew of minutes changes nothing. */
Test(duplicate, skew_does_not_matter)
{
    const uint64_t skew_ms = 290000;
    const struct connection by_small = {true, 100000, 100010 + skew_ms, 1};
    const struct connection at_once = {false, 100005 + skew_ms, 100015, 2};
    const struct connection later = {false, 120000 + skew_ms, 120010, 2};
    cr_assert(winner_is_a(&by_small, &at_once));
    cr_assert_not(winner_is_a(&by_small, &later));
}

Test(duplicate, ties_go_by_hash)
{
    const struct connection a = {true, 5, 6, 1}, b = {true, 5, 6, 2};
    cr_assert_not(winner_is_a(&a, &b));
    const struct connection c = {false, 5, 6, 1}, d = {false, 5, 6, 2};
    cr_assert_not(winner_is_a(&c, &d));
}

/* Any number of connections that come up in any order: all orders leave the same one. */
Test(duplicate, all_orders_of_four)
{
    uint64_t state = 1;
    for (unsigned round = 0; round < 2000; round++) {
        struct connection c[4];
        for (unsigned i = 0; i < 4; i++) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            uint64_t r = state >> 33;
            c[i] = (struct connection){r & 1, 100000 + r % 25000, 100000 + (r >> 8) % 25000,
                                       (uint8_t)(i + 1)};
        }
        int winner = -1;
        for (unsigned order = 0; order < 24; order++) {
            unsigned left[4] = {0, 1, 2, 3}, n = order, kept = 4;
            for (unsigned k = 4; k > 0; k--) {
                unsigned pick = n % k, i = left[pick];
                n /= k;
                left[pick] = left[k - 1];
                if (kept == 4 || winner_is_a(&c[i], &c[kept]))
                    kept = i;
            }
            cr_assert(winner == -1 || winner == (int)kept, "round %u order %u", round, order);
            winner = (int)kept;
        }
    }
}

Test(duplicate, boot)
{
    struct pv_session_peer a = {.dialled = true}, b = {.dialled = false};
    cr_assert(pv_duplicate_same_boot(&a, &b));
    b.hello.boot_random[15] = 1;
    cr_assert_not(pv_duplicate_same_boot(&a, &b));
}
