/*
 * F16: bytes on the control socket, to a file server over a real store. It takes no more than a
 * frame of 64 KiB, answers in frames, and closing leaves nothing open.
 *
 * The server lives on from input to input; what clients store in it stays.
 */
#include "tests/fuzz/fuzz.h"
#include "internal/server/control.h"
#include "tests/unit/internal_client_fixture.h"
#include "transport/frame.h"

static struct pvt_server *server;

static void tear_down(void)
{
    pvt_server_free(server);
}

static void no_change(void *ctx)
{
    (void)ctx;
}

/* Whole frames, but for the last. */
static void check_output(const struct pv_buf *out)
{
    struct pv_frame_header h;
    struct pv_rd r = pv_rd_of(out->data, out->len);
    while (pv_rd_left(&r) > 0) {
        const uint8_t *header = pv_rd_view(&r, PV_FRAME_HEADER_LEN);
        cr_assert_not_null(header);
        cr_assert_eq(pv_frame_header_decode(&h, header, 1, PV_CONTROL_JSON_MAX), PV_OK);
        cr_assert(header[0] != PV_FRAME_MESSAGE || h.len >= 2);
        cr_assert_not_null(pv_rd_view(&r, h.len), "cut");
    }
}

static bool turn(struct pv_control *c)
{
    struct pv_buf out;
    pv_buf_init(&out, SIZE_MAX / 2);
    bool said = pv_control_take_output(c, &out);
    if (said) {
        check_output(&out);
        pv_control_drained(c);
    }
    pv_buf_release(&out);
    return said;
}

static enum pv_err settle(struct pv_control *c)
{
    enum pv_err err = PV_OK;
    bool more = true;
    for (unsigned n = 0; err == PV_OK && more; n++) {
        cr_assert_lt(n, 100000, "never quiet");
        err = pv_control_feed(c, (const uint8_t *)"", 0);
        bool said = turn(c);
        more = pvt_step(&server->net) || said;
    }
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_control *c;
    struct pv_control_io io = {.changed = no_change};
    if (server == NULL) {
        server = pvt_server_new(1);
        (void)atexit(tear_down);
    }
    struct pv_services services = {server->files, server->upkeep, server->cluster};
    cr_assert_eq(pv_control_new(&c, &services, &io, &pvt_me(server)->env.env), PV_OK);
    enum pv_err err = PV_OK;
    for (size_t at = 0; at < size && err == PV_OK && pv_control_wants_input(c);) {
        size_t len = size - at < 4096 ? size - at : 4096;
        err = pv_control_feed(c, data + at, len);
        at += len;
        if (err == PV_OK)
            err = settle(c);
        cr_assert(err == PV_OK || err == PV_E_PROTOCOL || err == PV_E_LIMIT);
    }
    pv_control_free(c);
    pvt_settle(&server->net);
    cr_assert_eq(server->files->memory.used_bytes, 0);
    return 0;
}
