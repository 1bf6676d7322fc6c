#include "internal/node/placement.h"
#include "tests/support/support.h"
#include "tests/support/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(placement, .timeout = 60);

/* ---- known answers: from a second implementation ---- */

static struct pv_id id_of_json(const json_t *o, const char *name)
{
    struct pv_id id;
    struct pvt_bytes b = pvt_json_hex(o, name);
    cr_assert_eq(b.len, sizeof id.b);
    memcpy(id.b, b.p, sizeof id.b);
    pvt_bytes_release(&b);
    return id;
}

static void load_table(struct pv_placement *p, const json_t *table)
{
    size_t i;
    const json_t *m;
    pv_placement_init(p, (unsigned)pvt_json_number(table, "copies"));
    json_array_foreach(json_object_get(table, "members"), i, m)
    {
        struct pv_id node_id = id_of_json(m, "node_id");
        struct pv_member_body body = {
            .weight = (uint8_t)pvt_json_number(m, "weight"),
            .role = pvt_json_number(m, "keyed") != 0 ? PV_ROLE_KEYED : PV_ROLE_BLIND,
        };
        (void)snprintf(body.zone, sizeof body.zone, "%s", pvt_json_text(m, "zone"));
        cr_assert_eq(pv_placement_add(p, &node_id, &body), i);
    }
}

Test(placement, is_that_of_the_second_implementation)
{
    json_t *vectors = pvt_json_load("tests/vectors/peervault/placement.json");
    size_t i, k, at, blobs = 0;
    const json_t *table, *blob, *member;
    json_array_foreach(json_object_get(vectors, "tables"), i, table)
    {
        struct pv_placement p;
        load_table(&p, table);
        json_array_foreach(json_object_get(table, "blobs"), k, blob)
        {
            struct pv_place_order order;
            struct pv_id id = id_of_json(blob, "id");
            pv_placement_order(&p, &id, &order);
            cr_expect_eq(order.owners, (size_t)pvt_json_number(blob, "owners"));
            json_array_foreach(json_object_get(blob, "order"), at, member)
            {
                PVT_FROZEN(order.at[at] == json_integer_value(member), pvt_json_text(table, "name"),
                           pvt_json_text(blob, "id"));
            }
            blobs++;
        }
    }
    cr_expect_eq(blobs, 72);
    json_decref(vectors);
}

/* ---- what the rule promises ---- */

enum { BLOBS = 20000 };

static struct pv_id numbered(uint8_t kind, uint32_t number)
{
    struct pv_id id = {.b = {kind}};
    uint64_t x = (uint64_t)kind << 32 | number;
    for (size_t i = 1; i < sizeof id.b; i++) { /* splitmix64 */
        x += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        id.b[i] = (uint8_t)((z ^ z >> 27) >> 40);
    }
    return id;
}

static void add(struct pv_placement *p, uint32_t number, uint8_t weight, const char *zone,
                bool keyed)
{
    struct pv_id node_id = numbered(1, number);
    struct pv_member_body body = {.weight = weight, .role = keyed ? PV_ROLE_KEYED : PV_ROLE_BLIND};
    (void)snprintf(body.zone, sizeof body.zone, "%s", zone);
    (void)pv_placement_add(p, &node_id, &body);
}

static struct pv_placement equal_members(unsigned copies, uint32_t count)
{
    struct pv_placement p;
    pv_placement_init(&p, copies);
    for (uint32_t i = 0; i < count; i++)
        add(&p, i, 1, "", true);
    return p;
}

static uint64_t owners_of(const struct pv_placement *p, uint32_t blob)
{
    struct pv_place_order order;
    struct pv_id id = numbered(2, blob);
    pv_placement_order(p, &id, &order);
    return pv_place_owners(&order);
}

static void count_shares(const struct pv_placement *p, size_t *shares)
{
    for (size_t i = 0; i < p->count; i++)
        shares[i] = 0;
    for (uint32_t b = 0; b < BLOBS; b++) {
        uint64_t owners = owners_of(p, b);
        for (size_t i = 0; i < p->count; i++)
            shares[i] += owners >> i & 1;
    }
}

static void expect_about(size_t found, double expected, double part, const char *what)
{
    cr_expect((double)found > expected * (1 - part) && (double)found < expected * (1 + part),
              "%s: %zu is not within %.0f %% of %.0f", what, found, part * 100, expected);
}

Test(placement, is_balanced)
{
    size_t shares[PV_MEMBERS_MAX];
    struct pv_placement p = equal_members(3, 8);
    count_shares(&p, shares);
    for (size_t i = 0; i < p.count; i++)
        expect_about(shares[i], BLOBS * 3.0 / 8, 0.04, "a share");
}

Test(placement, is_by_weight)
{
    size_t shares[PV_MEMBERS_MAX];
    struct pv_placement p;
    pv_placement_init(&p, 1);
    for (uint32_t i = 0; i < 4; i++)
        add(&p, i, (uint8_t)(1U << i), "", true);
    count_shares(&p, shares);
    for (size_t i = 0; i < p.count; i++)
        expect_about(shares[i], BLOBS * (double)(1U << i) / 15, 0.08, "a share by weight");
}

Test(placement, does_not_depend_on_the_order_of_the_table)
{
    struct pv_placement up = equal_members(3, 9), down;
    pv_placement_init(&down, 3);
    for (uint32_t i = 9; i-- > 0;)
        add(&down, i, 1, "", true);
    for (uint32_t b = 0; b < 1000; b++) {
        uint64_t a = owners_of(&up, b), z = owners_of(&down, b);
        for (unsigned i = 0; i < 9; i++)
            cr_assert_eq(a >> i & 1, z >> (8 - i) & 1);
    }
}

Test(placement, a_new_member_takes_its_share_and_nothing_else_moves)
{
    struct pv_placement four = equal_members(3, 4), five = equal_members(3, 5);
    size_t moved = 0;
    for (uint32_t b = 0; b < BLOBS; b++) {
        uint64_t before = owners_of(&four, b), after = owners_of(&five, b);
        uint64_t came = after & ~before;
        cr_assert(came == 0 || came == UINT64_C(1) << 4, "only to the new one");
        cr_assert_eq(__builtin_popcountll(before & ~after), __builtin_popcountll(came));
        moved += came != 0;
    }
    expect_about(moved, BLOBS * 3.0 / 5, 0.03, "what moves");
}

Test(placement, what_a_lost_member_had_goes_to_the_others)
{
    struct pv_placement five = equal_members(3, 5), four = equal_members(3, 4);
    size_t got[4] = {0};
    for (uint32_t b = 0; b < BLOBS; b++) {
        uint64_t before = owners_of(&five, b), after = owners_of(&four, b);
        cr_assert_eq(before & 15 & ~after, 0, "who had it keeps it");
        for (unsigned i = 0; i < 4; i++)
            got[i] += (after & ~before) >> i & 1;
    }
    for (unsigned i = 0; i < 4; i++)
        expect_about(got[i], BLOBS * 3.0 / 5 / 4, 0.06, "a share of what was lost");
}

Test(placement, substitutes_are_who_would_come_next)
{
    struct pv_placement five = equal_members(3, 5), four = equal_members(3, 4);
    for (uint32_t b = 0; b < 2000; b++) {
        struct pv_place_order order;
        struct pv_id id = numbered(2, b);
        pv_placement_order(&five, &id, &order);
        uint64_t all = pv_place_targets(&order, five.count, UINT64_C(1) << 4);
        cr_assert_eq(all, pv_place_owners(&order) | owners_of(&four, b));
        cr_assert_eq(pv_place_targets(&order, five.count, 0), pv_place_owners(&order));
        cr_assert_eq(pv_place_targets(&order, five.count, 31), pv_place_owners(&order));
        cr_assert_eq(__builtin_popcountll(pv_place_targets(&order, five.count, 3)),
                     3 + __builtin_popcountll(pv_place_owners(&order) & 3));
    }
}

Test(placement, zones_come_first)
{
    struct pv_placement p;
    pv_placement_init(&p, 3);
    for (uint32_t i = 0; i < 9; i++)
        add(&p, i, 1, i < 6 ? "rack" : i < 8 ? "attic" : "", true);
    for (uint32_t b = 0; b < 2000; b++) {
        uint64_t owners = owners_of(&p, b);
        cr_assert_eq(__builtin_popcountll(owners & 0x3f), 1);
        cr_assert_eq(__builtin_popcountll(owners & 0xc0), 1);
        cr_assert_eq(owners >> 8, 1);
    }
    p.copies = 4; /* more than zones */
    for (uint32_t b = 0; b < 2000; b++)
        cr_assert_eq(__builtin_popcountll(owners_of(&p, b)), 4);
}

Test(placement, one_owner_is_keyed)
{
    struct pv_placement p, blind;
    pv_placement_init(&p, 3);
    pv_placement_init(&blind, 3);
    for (uint32_t i = 0; i < 8; i++) {
        add(&p, i, 1, "", i >= 6);
        add(&blind, i, 1, "", false);
    }
    for (uint32_t b = 0; b < 2000; b++) {
        struct pv_place_order order;
        struct pv_id id = numbered(2, b);
        uint64_t owners = owners_of(&p, b), all = owners_of(&blind, b), seen = 0;
        cr_assert_neq(owners & 0xc0, 0);
        cr_assert_eq(__builtin_popcountll(owners), 3);
        if ((all & 0xc0) != 0)
            cr_assert_eq(owners, all, "nothing changes where one is keyed");
        else
            cr_assert_eq(__builtin_popcountll(owners & all), 2, "the last one gives way");
        pv_placement_order(&p, &id, &order);
        for (size_t i = 0; i < p.count; i++)
            seen |= UINT64_C(1) << order.at[i];
        cr_assert_eq(seen, 0xff, "each member once");
    }
}

/* A tie takes two equal node ids, which no table has; the order is still one and the same. */
Test(placement, ties_are_broken_by_the_node_id)
{
    struct pv_placement p = equal_members(1, 2);
    p.members[0].weight = p.members[1].weight = 0; /* no ticket: both score 0 */
    unsigned larger = pv_id_cmp(&p.members[0].node_id, &p.members[1].node_id) > 0 ? 0 : 1;
    for (uint32_t b = 0; b < 100; b++)
        cr_assert_eq(owners_of(&p, b), UINT64_C(1) << larger);
}

Test(placement, rank_counts_who_comes_before)
{
    struct pv_placement p = equal_members(3, 6);
    struct pv_place_order order;
    struct pv_id id = numbered(2, 1);
    pv_placement_order(&p, &id, &order);
    for (unsigned i = 0; i < 6; i++) {
        cr_expect_eq(pv_place_rank(&order, 6, order.at[i], 0x3f), i);
        cr_expect_eq(pv_place_rank(&order, 6, order.at[i], 0), 0);
        cr_expect_eq(pv_place_rank(&order, 6, order.at[i], UINT64_C(1) << order.at[2]), i > 2);
    }
}

Test(placement, few_members_all_keep_everything)
{
    for (uint32_t count = 0; count <= 3; count++) {
        struct pv_placement p = equal_members(3, count);
        cr_expect_eq(owners_of(&p, 7), (UINT64_C(1) << count) - 1);
    }
}
