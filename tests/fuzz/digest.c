/*
 * F9: a member that says anything once it is admitted, digests first of all: each message is length
 * u16 and payload, type byte first. What it costs is bounded by what was said, and the node goes
 * on.
 *
 * Two cores over real stores in a temporary folder. They live on from input to input, since making
 * them takes longer than all else; sessions, strikes and waiting work do not.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/support/node/nodes.h"

enum { MESSAGES_MAX = 16, STEPS_A_MESSAGE = 400, STEPS_BEFORE = 4000 };

static struct pvt_nodes net;
static unsigned inputs;

static void set_up(void)
{
    struct pvt_record rec;
    pvt_nodes_init(&net, 2);
    for (unsigned i = 0; i < 20; i++) {
        char text[16] = {(char)('a' + i)};
        pvt_seal_file(&rec, &net.nodes[i % 2], text, pvt_hlc(&net.nodes[i % 2]));
        pvt_put(&net.nodes[i % 2], &rec, false);
    }
}

static void tear_down(void)
{
    pvt_nodes_release(&net);
}

static void begin(void)
{
    if (inputs == 0) {
        set_up();
        (void)atexit(tear_down);
    }
    inputs++;
    net.link_count = 0;
    pvt_log_clear(&net.log);
    pvt_forgive(&net, 0);
    pvt_forgive(&net, 1);
    (void)pvt_connect(&net, 0, 1);
    cr_assert(pvt_connected(&net, 0, 1));
    cr_assert_not(pvt_steps(&net, STEPS_BEFORE), "never quiet");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_rd r = pv_rd_of(data, size);
    begin();
    unsigned count = 0;
    uint64_t start = net.steps;
    while (count < MESSAGES_MAX && pvt_connected(&net, 0, 1)) {
        size_t len = pv_rd_u16(&r);
        const uint8_t *payload = pv_rd_view(&r, len);
        if (payload == NULL || len == 0)
            break;
        pvt_inject(&net, 1, 0, payload, len);
        count++;
        cr_assert_not(pvt_steps(&net, STEPS_BEFORE + STEPS_A_MESSAGE * count), "never quiet");
    }
    cr_assert_leq(net.steps - start, STEPS_BEFORE + STEPS_A_MESSAGE * count);
    pvt_cut(&net, 0, 1);
    cr_assert_not(pvt_steps(&net, STEPS_BEFORE), "never quiet");
    return 0;
}
