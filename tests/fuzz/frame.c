/*
 * F1: what a stranger says to a listener. Until it is up, no more than 4 KiB are taken in, and of
 * memory 4 KiB until it has shown that it knows the token, 8 KiB from then on; whatever length it
 * names.
 */
#include "tests/fuzz/node.h"

enum { BYTES_MAX = 4096, STRANGER_MAX = 4096, HANDSHAKE_MAX = 8192 };

static void check_header(const uint8_t *bytes)
{
    struct pv_frame_header h;
    uint8_t again[PV_FRAME_HEADER_LEN];
    if (pv_frame_header_decode(&h, bytes, 1, PV_FRAME_SEALED_MAX) != PV_OK)
        return;
    cr_assert(h.len >= 1 && h.len <= PV_FRAME_SEALED_MAX);
    pv_frame_header_encode(again, h.type, h.len);
    cr_assert_arr_eq(again, bytes, sizeof again);
}

/* libcrypto takes memory for itself when it is used first. */
static void warm_up(struct node *listener)
{
    static struct node dialler;
    struct pv_session *s[2];
    struct pv_session_effect e;
    size_t used;
    node_init(&dialler, 1);
    pvf_node_begin(listener, 2);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(pv_session_new(&s[i], i == 0 ? &dialler.ctx : &listener->ctx, i == 0, 0, NULL,
                                    "10.0.0.1:1"),
                     PV_OK);
    cr_assert(pv_session_next(s[0], &e) && e.type == PV_SESSION_SEND);
    pv_session_feed(s[1], e.bytes, e.len, &used);
    cr_assert(pv_session_next(s[1], &e) && e.type == PV_SESSION_SEND);
    for (unsigned i = 0; i < 2; i++)
        pv_session_free(s[i]);
    node_release(&dialler);
    pvf_node_end(listener);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct node listener;
    struct pv_session *s;
    struct pv_session_effect e = {.type = PV_SESSION_SEND};
    bool over = false, known = false;
    if (size >= PV_FRAME_HEADER_LEN)
        check_header(data);
    if (listener.log.log == NULL)
        warm_up(&listener);
    pvf_node_begin(&listener, 2);
    size_t heap = pvf_heap(), used;
    cr_assert_eq(pv_session_new(&s, &listener.ctx, false, 0, NULL, "10.0.0.1:5555"), PV_OK);
    for (size_t at = 0; at < size && !over; at += used) {
        pv_session_feed(s, data + at, size - at, &used);
        bool took = used > 0;
        while (!over && pv_session_next(s, &e)) {
            took = true;
            over = e.type == PV_SESSION_DOWN || e.type == PV_SESSION_UP;
            if (e.type != PV_SESSION_SEND)
                continue;
            pv_session_sent(s, e.len);
            known = true;
        }
        cr_assert(took, "it takes nothing and says nothing");
        cr_assert(over || at + used <= BYTES_MAX);
        cr_assert(over || pvf_heap() <= heap + (known ? HANDSHAKE_MAX : STRANGER_MAX));
    }
    pv_session_free(s);
    pvf_node_end(&listener);
    return 0;
}
