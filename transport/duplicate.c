/* See the header: the rules are short, that both ends reach the same answer is the point. */
#include "transport/duplicate.h"
#include "internal/base/limits.h"

bool pv_duplicate_same_boot(const struct pv_session_peer *a, const struct pv_session_peer *b)
{
    return memcmp(a->hello.boot_random, b->hello.boot_random, sizeof a->hello.boot_random) == 0;
}

static bool dialled_by_smaller(const struct pv_id *self, const struct pv_session_peer *p)
{
    bool self_is_smaller = pv_id_cmp(self, &p->handshake.node_id) < 0;
    return p->dialled == self_is_smaller;
}

bool pv_duplicate_first_stays(const struct pv_id *self, const struct pv_session_peer *a,
                              const struct pv_session_peer *b)
{
    bool a_by_smaller = dialled_by_smaller(self, a), b_by_smaller = dialled_by_smaller(self, b);
    uint64_t a_ms = a_by_smaller ? a->handshake.dialled_ms : a->handshake.answered_ms;
    uint64_t b_ms = b_by_smaller ? b->handshake.dialled_ms : b->handshake.answered_ms;
    uint64_t apart_ms = a_ms > b_ms ? a_ms - b_ms : b_ms - a_ms;
    if (a_by_smaller != b_by_smaller && apart_ms < PV_SIMULTANEOUS_DIAL_MS)
        return a_by_smaller;
    if (a_ms != b_ms)
        return a_ms > b_ms;
    return memcmp(a->hash, b->hash, sizeof a->hash) > 0;
}
