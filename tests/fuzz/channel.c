/*
 * F3: the record layer of a session: frames in one direction, under keys that change every fourth.
 * What opens is what was sealed, in its order; from the first change on nothing opens.
 *
 * A frame: op u8 = stream data or a message (bit 0), what happens to it (bits 1-2), length u8.
 * 0: nothing. 1: it is changed at u16 by u8. 2: it is lost. 3: it comes twice.
 */
#include "tests/fuzz/fuzz.h"
#include "transport/channel.h"

enum { FRAMES_MAX = 64, REKEY_LOG2 = 2, LEN_MAX = 255 };
static const size_t overhead = PV_FRAME_HEADER_LEN + PV_TAG_LEN;

static bool opens(struct pv_channel *c, const uint8_t *frame, size_t len, const uint8_t *plain)
{
    struct pv_frame_header h;
    uint8_t copy[PV_FRAME_HEADER_LEN + LEN_MAX + PV_TAG_LEN];
    memcpy(copy, frame, len + overhead);
    if (pv_frame_header_decode(&h, copy, PV_TAG_LEN, PV_FRAME_SEALED_MAX) != PV_OK ||
        h.len != len + PV_TAG_LEN)
        return false; /* the next frame would begin elsewhere */
    enum pv_err err = pv_channel_open(c, copy, copy + PV_FRAME_HEADER_LEN, h.len);
    cr_assert(err == PV_OK || err == PV_E_AUTH);
    cr_assert(err != PV_OK || memcmp(copy + PV_FRAME_HEADER_LEN, plain, len) == 0);
    return err == PV_OK;
}

/* Whichever allocation fails, nothing is left behind. */
static void made_without_memory(const uint8_t keys[2][PV_KEY_LEN])
{
    static bool done;
    for (unsigned n = 0; !done; n++) {
        struct pv_channel *c;
        pv_mem_fail_after(n);
        enum pv_err err = pv_channel_new(&c, keys[0], keys[1], REKEY_LOG2);
        pv_mem_fail_after(UINT64_MAX);
        cr_assert(err == PV_OK || (err == PV_E_NOMEM && n < 4));
        done = err == PV_OK;
        if (done)
            pv_channel_free(c);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t keys[2][PV_KEY_LEN] = {{1}, {2}};
    uint8_t plain[LEN_MAX], frame[PV_FRAME_HEADER_LEN + LEN_MAX + PV_TAG_LEN];
    struct pv_rd r = pv_rd_of(data, size);
    struct pv_channel *from, *to;
    bool whole = true;
    made_without_memory(keys);
    cr_assert_eq(pv_channel_new(&from, keys[0], keys[1], REKEY_LOG2), PV_OK);
    cr_assert_eq(pv_channel_new(&to, keys[1], keys[0], REKEY_LOG2), PV_OK);
    for (unsigned n = 0; n < FRAMES_MAX && whole && pv_rd_left(&r) > 0; n++) {
        uint8_t op = pv_rd_u8(&r);
        size_t len = pv_rd_u8(&r);
        memset(plain, (int)n, len);
        pv_channel_seal(from, (op & 1) != 0 ? PV_FRAME_STREAM : PV_FRAME_MESSAGE, plain, len,
                        frame);
        size_t at = (op & 6) == 2 ? pv_rd_u16(&r) : 0;
        uint8_t by = (op & 6) == 2 ? pv_rd_u8(&r) : 0;
        frame[at % (len + overhead)] ^= by;
        if ((op & 6) == 4)
            continue;
        whole = opens(to, frame, len, plain);
        cr_assert_eq(whole, by == 0 && pv_channel_sent(from) == pv_channel_received(to));
        whole = whole && ((op & 6) != 6 || opens(to, frame, len, plain));
        cr_assert(!whole || (op & 6) != 6, "twice");
    }
    pv_channel_free(from);
    pv_channel_free(to);
    return 0;
}
