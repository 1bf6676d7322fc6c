/*
 * F11: one register on three replicas. Each gets the same versions in another order and keeps the
 * winner of what it has and what comes: all end with the same one. Clocks only go forward, whatever
 * others write.
 *
 * A version is type, flags, HLC u64, generation u8, expelled u8, hash u8.
 */
#include "tests/fuzz/fuzz.h"
#include "crypto/body.h"

enum { VERSIONS_MAX = 32 };

struct version {
    struct pv_record rec;
    uint8_t body[512];
};

static struct version versions[VERSIONS_MAX];

static void read_version(struct pv_rd *r, struct version *v)
{
    struct pv_member_body member = {.role = PV_ROLE_KEYED, .weight = 1};
    *v = (struct version){.rec = {.type = (uint8_t)(1 + pv_rd_u8(r) % 8)}};
    v->rec.flags = pv_rd_u8(r) & PV_RECORD_TOMBSTONE;
    v->rec.hlc = pv_rd_u64(r);
    member.generation = pv_rd_u8(r);
    member.expelled = pv_rd_u8(r) & 1;
    v->rec.hash.b[0] = pv_rd_u8(r);
    if (v->rec.type == PV_RECORD_MEMBER) {
        cr_assert_eq(pv_member_body_encode(v->body, &v->rec.body_len, &member), PV_OK);
        v->rec.flags = PV_RECORD_CLEAR;
    }
    v->rec.body = v->body;
}

/* The versions in the order first, first + step, first + 2 step, ... */
static const struct pv_record *replica(size_t count, size_t first, size_t step)
{
    const struct pv_record *winner = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct pv_record *rec = &versions[(first + i * step) % count].rec;
        if (winner == NULL || pv_record_cmp(rec, winner) > 0)
            winner = rec;
    }
    return winner;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_rd r = pv_rd_of(data, size);
    pv_hlc clock = 0;
    size_t count = 0;
    while (count < VERSIONS_MAX && pv_rd_left(&r) > 0 && !r.bad) {
        read_version(&r, &versions[count]);
        pv_hlc hlc = versions[count++].rec.hlc;
        uint64_t now = hlc >> 17;
        clock = clock > hlc ? clock : hlc;
        if (clock == UINT64_MAX)
            break;
        pv_hlc next = pv_hlc_next(clock, now);
        cr_assert(next > clock && pv_hlc_ms(next) >= now);
        clock = next;
    }
    if (count == 0)
        return 0;
    const struct pv_record *one = replica(count, 0, 1), *two = replica(count, count - 1, count - 1);
    const struct pv_record *three = replica(count, count / 2, 1);
    cr_assert_eq(pv_record_cmp(one, two), 0);
    cr_assert_eq(pv_record_cmp(two, three), 0);
    cr_assert_eq(pv_record_cmp(one, three), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_leq(pv_record_cmp(&versions[i].rec, one), 0, "a better one was dropped");
    return 0;
}
