/* The clock, the heap of events ordered by (time, sequence), random numbers and the trace. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- random: splitmix64 ---- */

uint64_t sim_draw(struct sim_rng *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

struct sim_rng sim_rng_of(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint64_t key[3] = {seed, stream, index};
    return (struct sim_rng){XXH3_64bits(key, sizeof key)};
}

uint64_t sim_below(struct sim_rng *r, uint64_t n)
{
    uint64_t x = sim_draw(r);
    return n == 0 ? 0 : x % n;
}

uint64_t sim_between(struct sim_rng *r, uint64_t a, uint64_t b)
{
    return a + sim_below(r, b - a + 1);
}

bool sim_chance(struct sim_rng *r, unsigned per_mille)
{
    return sim_below(r, 1000) < per_mille;
}

/* By integers alone, so that no compiler's mathematics matters: halves for each leading zero. */
uint64_t sim_about(struct sim_rng *r, uint64_t mean)
{
    uint64_t x = sim_draw(r), scaled = sim_below(r, mean + 1);
    for (unsigned i = 0; i < 4 && (x & 3) == 0; i++, x >>= 2)
        scaled += mean;
    return scaled;
}

/* ---- events ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void sim_at(struct sim_world *w, uint64_t at, struct sim_event e)
{
    if (w->heap_len == w->heap_cap) {
        w->heap_cap = w->heap_cap == 0 ? 256 : w->heap_cap * 2;
        w->heap = realloc(w->heap, w->heap_cap * sizeof *w->heap);
        PV_ASSERT(w->heap != NULL);
    }
    e.at = at < w->now ? w->now : at;
    e.seq = ++w->seq;
    size_t i = w->heap_len++;
    for (; i > 0 && before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = e;
}

bool sim_take(struct sim_world *w, struct sim_event *out)
{
    if (w->heap_len == 0)
        return false;
    *out = w->heap[0];
    struct sim_event last = w->heap[--w->heap_len];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->heap_len)
            break;
        if (child + 1 < w->heap_len && before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return true;
}

/* ---- the trace ---- */

void sim_note(struct sim_world *w, uint64_t a, uint64_t b)
{
    uint64_t line[4] = {w->hash, w->now, a, b};
    w->hash = XXH3_64bits(line, sizeof line);
}

void sim_note_bytes(struct sim_world *w, const void *bytes, size_t len)
{
    sim_note(w, len, XXH3_64bits(bytes, len));
}

void sim_fail(struct sim_world *w, const char *oracle, const char *fmt, ...)
{
    if (w->failed)
        return;
    w->failed = true;
    va_list args;
    va_start(args, fmt);
    int at = snprintf(w->cause, sizeof w->cause, "%s: ", oracle);
    (void)vsnprintf(w->cause + at, sizeof w->cause - (size_t)at, fmt, args);
    va_end(args);
    sim_trace(w, "FAILED %s", w->cause);
}

void sim_trace(struct sim_world *w, const char *fmt, ...)
{
    if (!w->trace)
        return;
    va_list args;
    va_start(args, fmt);
    printf("%5llu.%06llu ", (unsigned long long)(w->now / SIM_S),
           (unsigned long long)(w->now % SIM_S));
    (void)vprintf(fmt, args);
    printf("\n");
    va_end(args);
}
