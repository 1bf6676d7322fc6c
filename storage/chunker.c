/*
 * A chunk goes through four stages, told apart by its length so far: skipped (no decision can
 * fall there, so nothing is hashed), warmed up (the last 64 bytes before the minimum fill the
 * window), rolled under the strict mask, rolled under the loose one; at the maximum it is cut.
 *
 * h holds exactly 64 bytes of history, because each step shifts one bit out of 64. So rolling may
 * start with h = 0 anywhere as long as 64 bytes pass before the first decision, and the window of
 * every decision lies inside the chunk.
 *
 * The PRF costs as much as hashing 100 bytes. Random data asks it once per KiB, periodic data far
 * more often but about few windows: a small direct-mapped memo answers those. It compares whole
 * windows, so it can only save time, never change a cut.
 *
 * The window of a decision may reach back into earlier calls: tail keeps the last 64 bytes.
 */
#include "storage/chunker.h"
#include "internal/base/mem.h"
#include "internal/base/rd.h"

enum {
    WINDOW = PV_PRF_WINDOW_LEN,
    ROLL_START = PV_CHUNK_MIN - WINDOW,
    CANDIDATE_SHIFT = 54, /* the top 10 bits */
    STRICT_MASK = (1 << 10) - 1,
    LOOSE_MASK = (1 << 6) - 1,
    ROLL_STEP = 8,
    MEMO_SLOTS = 64,
    MEMO_SHIFT = 48, /* the highest 6 bits that are not zero in every candidate */
};

struct memo_slot {
    uint64_t u;
    uint8_t window[WINDOW];
    bool used;
};

struct pv_chunker {
    const struct pv_chunker_key *key; /* NULL: fixed chunks */
    struct pv_prf *prf;
    uint64_t h;
    size_t chunk_len; /* bytes of the current chunk so far */
    uint8_t tail[WINDOW];
    struct memo_slot memo[MEMO_SLOTS];
};

void pv_chunker_key_setup(struct pv_chunker_key *out,
                          const uint8_t material[static PV_CHUNKER_KEY_LEN])
{
    struct pv_rd r = pv_rd_of(material, PV_CHUNKER_KEY_LEN);
    pv_rd_copy(&r, out->prf_key, sizeof out->prf_key);
    for (size_t b = 0; b < PV_COUNT(out->gear); b++) {
        uint64_t g = pv_rd_u64(&r);
        /* A long run of byte b makes h = -G[b]: it must not be a candidate at every byte. */
        if ((0 - g) >> CANDIDATE_SHIFT == 0)
            g ^= UINT64_C(1) << 63;
        out->gear[b] = g;
    }
    PV_ASSERT(pv_rd_end(&r) == PV_OK);
}

enum pv_err pv_chunker_new(struct pv_chunker **out, const struct pv_chunker_key *key)
{
    struct pv_chunker *c = pv_calloc(1, sizeof *c);
    if (c == NULL)
        return PV_E_NOMEM;
    c->key = key;
    enum pv_err err = key != NULL ? pv_prf_new(&c->prf, key->prf_key) : PV_OK;
    if (err != PV_OK) {
        pv_chunker_free(c);
        return err;
    }
    *out = c;
    return PV_OK;
}

void pv_chunker_free(struct pv_chunker *c)
{
    if (c == NULL)
        return;
    pv_prf_free(c->prf);
    pv_wipe(c, sizeof *c); /* tail and memo are plaintext */
    pv_free(c);
}

/* The PRF of the 64 bytes that end with data[i]. */
static uint64_t decide(struct pv_chunker *c, const uint8_t *data, size_t i)
{
    uint8_t joined[WINDOW];
    const uint8_t *window = joined;
    if (i + 1 >= WINDOW) {
        window = data + (i + 1 - WINDOW);
    } else {
        memcpy(joined, c->tail + i + 1, WINDOW - (i + 1));
        memcpy(joined + WINDOW - (i + 1), data, i + 1);
    }
    struct memo_slot *slot = &c->memo[c->h >> MEMO_SHIFT & (MEMO_SLOTS - 1)];
    if (!slot->used || memcmp(slot->window, window, WINDOW) != 0) {
        slot->u = pv_prf_window(c->prf, window);
        memcpy(slot->window, window, WINDOW);
        slot->used = true;
    }
    return slot->u;
}

static inline bool is_candidate(uint64_t h)
{
    return h >> CANDIDATE_SHIFT == 0;
}

static inline bool roll_byte(uint64_t *h, const uint64_t *gear, uint8_t byte)
{
    *h = (*h << 1) + gear[byte];
    return is_candidate(*h);
}

/*
 * Rolls over data[pos..end) up to and including the first candidate; returns where it stopped.
 * Steps of eight leave one test a byte instead of two: 2.0 -> 2.8 GB/s.
 */
static size_t roll(struct pv_chunker *c, const uint8_t *data, size_t pos, size_t end)
{
    const uint64_t *gear = c->key->gear;
    uint64_t h = c->h;
    while (end - pos >= ROLL_STEP) {
#pragma GCC unroll 8
        for (size_t i = 0; i < ROLL_STEP; i++) {
            if (roll_byte(&h, gear, data[pos + i])) {
                c->h = h;
                return pos + i + 1;
            }
        }
        pos += ROLL_STEP;
    }
    while (pos < end && !roll_byte(&h, gear, data[pos++]))
        continue;
    c->h = h;
    return pos;
}

/* Where the stage that the chunk is in ends, as a length of the chunk. */
static size_t stage_end(size_t chunk_len)
{
    if (chunk_len < ROLL_START)
        return ROLL_START;
    if (chunk_len < PV_CHUNK_MIN - 1)
        return PV_CHUNK_MIN - 1;
    return chunk_len < PV_CHUNK_NORMAL - 1 ? PV_CHUNK_NORMAL - 1 : PV_CHUNK_MAX;
}

/* Takes data[pos..end), all of one stage; returns where it stopped, with *cut if at a cut. */
static size_t advance(struct pv_chunker *c, const uint8_t *data, size_t pos, size_t end, bool *cut)
{
    const bool deciding = c->chunk_len >= PV_CHUNK_MIN - 1;
    const uint64_t mask = c->chunk_len < PV_CHUNK_NORMAL - 1 ? STRICT_MASK : LOOSE_MASK;
    if (c->chunk_len < ROLL_START)
        return end;
    while (pos < end && !*cut) {
        pos = roll(c, data, pos, end);
        *cut = deciding && is_candidate(c->h) && (decide(c, data, pos - 1) & mask) == 0;
    }
    return pos;
}

static void keep_tail(struct pv_chunker *c, const uint8_t *data, size_t len)
{
    if (len >= WINDOW) {
        memcpy(c->tail, data + len - WINDOW, WINDOW);
    } else {
        memmove(c->tail, c->tail + len, WINDOW - len);
        memcpy(c->tail + WINDOW - len, data, len);
    }
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t pv_chunker_feed(struct pv_chunker *c, const uint8_t *data, size_t len, bool *cut)
{
    size_t pos = 0;
    *cut = false;
    while (pos < len && !*cut) {
        size_t stage = c->key != NULL ? stage_end(c->chunk_len) : PV_CHUNK_MAX;
        size_t end = pos + min_size(len - pos, stage - c->chunk_len);
        size_t stop = c->key != NULL ? advance(c, data, pos, end, cut) : end;
        c->chunk_len += stop - pos;
        pos = stop;
        if (c->chunk_len == PV_CHUNK_MAX)
            *cut = true;
    }
    if (*cut)
        c->h = c->chunk_len = 0;
    else if (len > 0)
        keep_tail(c, data, len);
    return pos;
}
