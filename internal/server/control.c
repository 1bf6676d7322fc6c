/*
 * Input is cut into frames in one buffer of a frame's maximal size. A JSON frame becomes a request;
 * downloads wait in `downloads` until there is room for them among those in `turns`, all others are
 * `open` at once. Data frames go to the request that is uploading.
 *
 * A `get` of a small file is little work and much waiting for threads, so some are begun ahead of
 * their turn: what they say is held back, and they are told that the client takes no data yet.
 *
 * Invariants: at most one request uploads; of the gets only the first in `turns` reaches the
 * output; while `paused` > 0, the queue is full or too much output waits, no input is wanted, but
 * frames already in the buffer stay there.
 *
 * Nothing of a reply is left out in silence. What jansson had no memory for makes the whole request
 * `lost`: the rest of it is held back and its final reply is a refusal. Output that finds no memory
 * breaks the connection, because the client would take the next bytes for the missing ones.
 */
#include "internal/server/control.h"

#include "internal/base/limits.h"
#include "internal/base/mem.h"
#include "transport/frame.h"

#include <stddef.h>
#include <string.h>

enum {
    FRAME_MAX = PV_FRAME_HEADER_LEN + PV_CONTROL_JSON_MAX,
    /* No request is begun beyond the mark; each of those that are open may still have its final
     * reply to say, and some small events. */
    OUT_MAX = PV_CONTROL_OUT_STOP + (PV_CONTROL_REQUESTS_MAX + 16) * FRAME_MAX,
    TURNS_MAX = 8,
    HELD_MAX = 4 * FRAME_MAX, /* an event, what is in a record, the end, the final reply */
};

struct pv_control {
    struct pv_services services;
    struct pv_control_io io;
    const struct pv_env *env;
    struct pv_buf in, out;
    struct pv_list open;            /* started requests */
    struct pv_list downloads;       /* downloads that are not begun */
    unsigned count;                 /* in both lists */
    struct control_request *upload; /* data frames belong to it */
    struct pv_list turns;           /* downloads that are begun, in the order of their replies */
    unsigned turn_count;
    bool discarding; /* the upload was answered already: its remaining data is dropped */
    bool starting;   /* inside start_downloads: no recursion */
    bool is_broken;  /* output is missing: the next look at the input closes the connection */
    unsigned paused;
};

struct control_request {
    struct pv_request rq;
    struct pv_control *control;
    bool is_get, paused;
    bool is_blocked; /* writable said no: told when the output is drained */
    bool is_lost;    /* an event could not be put together */
    struct pv_list turn;
    bool is_ahead; /* its turn is to come */
    bool is_done;  /* ahead, and finished: all of its reply is in held */
    struct pv_buf held;
};

static struct control_request *of(const struct pv_request *rq)
{
    return rq->owner;
}

/* ---- output ---- */

static void break_off(struct pv_control *c)
{
    PV_LOG(c->env->log, PV_LOG_ERROR, PV_SUB_CONTROL, "client dropped", "cause",
           "no memory for its replies");
    c->is_broken = true;
}

static void put_frame(struct control_request *r, enum pv_frame_type type, const void *a,
                      size_t a_len, const void *b, size_t b_len)
{
    struct pv_control *c = r->control;
    struct pv_buf *out = r->is_ahead ? &r->held : &c->out;
    uint8_t header[PV_FRAME_HEADER_LEN];
    pv_frame_header_encode(header, type, (uint32_t)(a_len + b_len));
    if (c->is_broken)
        return;
    if (pv_buf_reserve(out, sizeof header + a_len + b_len) != PV_OK ||
        pv_buf_append(out, header, sizeof header) != PV_OK ||
        pv_buf_append(out, a, a_len) != PV_OK || pv_buf_append(out, b, b_len) != PV_OK)
        break_off(c);
    c->io.changed(c->io.ctx);
}

/*
 * The message as text, or NULL: it is too long, or there is no memory. The message is stolen. Into
 * a buffer of ours: json_dumps leaves keys out when memory fails in the wrong moment
 * (jansson 2.14).
 */
static char *text_of(const struct pv_request *rq, json_t *message, size_t *len)
{
    char *text = NULL;
    *len = 0;
    if (message != NULL && json_object_set_new(message, "id", json_integer(rq->id)) == 0)
        *len = json_dumpb(message, NULL, 0, JSON_COMPACT);
    if (*len > 0 && *len <= PV_CONTROL_JSON_MAX)
        text = pv_malloc(*len);
    if (text != NULL && json_dumpb(message, text, *len, JSON_COMPACT) != *len) {
        pv_free(text);
        text = NULL;
    }
    json_decref(message);
    return text;
}

static void io_event(struct pv_request *rq, json_t *message)
{
    struct control_request *r = of(rq);
    size_t len;
    char *text = text_of(rq, message, &len);
    r->is_lost = r->is_lost || text == NULL;
    if (!r->is_lost)
        put_frame(r, PV_FRAME_MESSAGE, text, len, "", 0);
    pv_free(text);
}

static void put_final(struct control_request *r, json_t *message)
{
    static const char sorry[] = "{\"id\":%lld,\"ok\":false,\"exit\":1,\"error\":\"the reply could "
                                "not be put together: it is too long, or memory is out\"}";
    char line[sizeof sorry + 24];
    size_t len;
    char *text = text_of(&r->rq, message, &len);
    int n = snprintf(line, sizeof line, sorry, (long long)r->rq.id);
    if (text != NULL && !r->is_lost)
        put_frame(r, PV_FRAME_MESSAGE, text, len, "", 0);
    else
        put_frame(r, PV_FRAME_MESSAGE, line, (size_t)n, "", 0);
    pv_free(text);
}

static void io_data(struct pv_request *rq, const uint8_t *bytes, size_t len, bool end)
{
    struct control_request *r = of(rq);
    if (r->is_lost)
        return;
    do {
        size_t n = len > PV_CONTROL_DATA_MAX ? PV_CONTROL_DATA_MAX : len;
        uint8_t flags = end && n == len ? 1 : 0;
        put_frame(r, PV_FRAME_STREAM, &flags, 1, bytes, n);
        bytes += n;
        len -= n;
    } while (len > 0);
}

static bool io_writable(const struct pv_request *rq)
{
    struct control_request *r = of(rq);
    r->is_blocked = r->is_ahead || r->control->out.len >= PV_CONTROL_OUT_HIGH;
    return !r->is_blocked;
}

static void io_pause(struct pv_request *rq, bool paused)
{
    struct control_request *r = of(rq);
    if (r->paused == paused)
        return;
    r->paused = paused;
    if (paused)
        r->control->paused++;
    else
        r->control->paused--;
    r->control->io.changed(r->control->io.ctx);
}

/* ---- life of a request ---- */

static void request_free(struct control_request *r)
{
    struct pv_control *c = r->control;
    io_pause(&r->rq, false);
    if (c->upload == r) {
        c->upload = NULL;
        c->discarding = true;
    }
    if (pv_list_linked(&r->turn))
        c->turn_count--;
    pv_list_remove(&r->turn);
    pv_buf_release(&r->held);
    pv_list_remove(&r->rq.link);
    c->count--;
    json_decref(r->rq.args);
    pv_free(r);
}

/* The first get speaks: what it held back goes out. If that was all, the next one does. Whoever
 * waits to go on is told when the output, in which something stands, is drained. */
static void pass_turn(struct pv_control *c)
{
    while (!pv_list_empty(&c->turns)) {
        struct control_request *r = PV_LIST_ENTRY(c->turns.next, struct control_request, turn);
        if (!r->is_ahead)
            return;
        r->is_ahead = false;
        if (r->held.len > 0 && !c->is_broken &&
            pv_buf_append(&c->out, r->held.data, r->held.len) != PV_OK)
            break_off(c);
        pv_buf_release(&r->held);
        if (!r->is_done)
            return;
        request_free(r);
    }
}

static void start_request(struct pv_control *c, struct pv_request *rq)
{
    if (!pv_upkeep_request(c->services.upkeep, rq) && !pv_cluster_request(c->services.cluster, rq))
        pv_files_request(c->services.files, rq);
}

static void start_downloads(struct pv_control *c)
{
    while (!c->starting && c->turn_count < TURNS_MAX && !pv_list_empty(&c->downloads)) {
        struct pv_request *rq = PV_LIST_ENTRY(c->downloads.next, struct pv_request, link);
        struct control_request *r = of(rq);
        pv_list_remove(&rq->link);
        pv_list_push_back(&c->open, &rq->link);
        r->is_ahead = !pv_list_empty(&c->turns);
        pv_list_push_back(&c->turns, &r->turn);
        c->turn_count++;
        c->starting = true; /* it may finish at once */
        start_request(c, rq);
        c->starting = false;
    }
}

static void io_finish(struct pv_request *rq, json_t *message)
{
    struct control_request *r = of(rq);
    struct pv_control *c = r->control;
    put_final(r, message);
    if (r->is_ahead) {
        r->is_done = true;
        r->is_blocked = false;
        rq->ops = NULL; /* there is nothing to cancel any more */
        return;
    }
    request_free(r);
    pass_turn(c);
    start_downloads(c);
}

static const struct pv_request_io request_io = {
    .event = io_event,
    .data = io_data,
    .finish = io_finish,
    .writable = io_writable,
    .pause = io_pause,
};

static enum pv_err on_json(struct pv_control *c, const uint8_t *bytes, size_t len)
{
    if (c->upload != NULL || c->discarding)
        return PV_E_PROTOCOL; /* the upload's end is still to come */
    json_t *args = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, NULL);
    const char *op = json_string_value(json_object_get(args, "op"));
    json_int_t id = json_integer_value(json_object_get(args, "id"));
    if (op == NULL || id < 1 || id > INT32_MAX) {
        json_decref(args);
        return PV_E_PROTOCOL;
    }
    struct control_request *r = pv_calloc(1, sizeof *r);
    if (r == NULL) {
        json_decref(args);
        return PV_E_NOMEM;
    }
    r->control = c;
    r->is_get = strcmp(op, "get") == 0;
    pv_buf_init(&r->held, HELD_MAX);
    r->rq = (struct pv_request){.io = &request_io, .owner = r, .id = id, .args = args};
    c->count++;
    if (r->is_get) {
        pv_list_push_back(&c->downloads, &r->rq.link);
        start_downloads(c);
        return PV_OK;
    }
    pv_list_push_back(&c->open, &r->rq.link);
    if (strcmp(op, "store") == 0 || strcmp(op, "set") == 0)
        c->upload = r;
    start_request(c, &r->rq);
    return PV_OK;
}

static enum pv_err on_data(struct pv_control *c, const uint8_t *payload, size_t len)
{
    if (len == 0 || payload[0] > 1)
        return PV_E_PROTOCOL;
    bool end = payload[0] == 1;
    if (c->upload == NULL) {
        if (!c->discarding)
            return PV_E_PROTOCOL;
        c->discarding = !end;
        return PV_OK;
    }
    struct control_request *r = c->upload;
    if (r->rq.ops == NULL || r->rq.ops->on_data == NULL)
        return PV_E_PROTOCOL;
    if (end)
        c->upload = NULL; /* first: the operation may finish from inside */
    r->rq.ops->on_data(&r->rq, payload + 1, len - 1, end);
    return PV_OK;
}

/* ---- input ---- */

bool pv_control_wants_input(const struct pv_control *c)
{
    /* The limits are about new requests: a client that writes an upload to its end before it reads
     * anything must get there. */
    bool is_uploading = c->upload != NULL || c->discarding;
    bool takes_requests = c->count < PV_CONTROL_REQUESTS_MAX && c->out.len < PV_CONTROL_OUT_STOP;
    return c->paused == 0 && (is_uploading || takes_requests);
}

/* Handles whole frames at the front of the input while input is wanted. */
static enum pv_err pump(struct pv_control *c)
{
    enum pv_err err = PV_OK;
    size_t at = 0;
    while (err == PV_OK && pv_control_wants_input(c) && c->in.len - at >= PV_FRAME_HEADER_LEN) {
        struct pv_frame_header h;
        err = pv_frame_header_decode(&h, c->in.data + at, 1, PV_CONTROL_JSON_MAX);
        if (err != PV_OK || c->in.len - at - PV_FRAME_HEADER_LEN < h.len)
            break;
        const uint8_t *payload = c->in.data + at + PV_FRAME_HEADER_LEN;
        at += PV_FRAME_HEADER_LEN + h.len;
        err = h.type == PV_FRAME_MESSAGE ? on_json(c, payload, h.len) : on_data(c, payload, h.len);
    }
    pv_buf_consume(&c->in, at);
    return err;
}

enum pv_err pv_control_feed(struct pv_control *c, const uint8_t *bytes, size_t len)
{
    enum pv_err err = c->is_broken ? PV_E_NOMEM : pv_buf_append(&c->in, bytes, len);
    return err == PV_OK ? pump(c) : err;
}

bool pv_control_take_output(struct pv_control *c, struct pv_buf *out)
{
    if (c->out.len == 0)
        return false;
    struct pv_buf full = c->out;
    c->out = *out;
    *out = full;
    return true;
}

static struct control_request *next_blocked(struct pv_control *c)
{
    PV_LIST_EACH(&c->open, e)
    {
        struct control_request *r = of(PV_LIST_ENTRY(e, struct pv_request, link));
        if (r->is_blocked && !r->is_ahead)
            return r;
    }
    return NULL;
}

/* Whoever is told may end, and end others with it, so each look starts anew. The one that was told
 * goes to the end of the list: several that have much to say take turns. */
void pv_control_drained(struct pv_control *c)
{
    struct control_request *r;
    while (c->out.len < PV_CONTROL_OUT_HIGH && (r = next_blocked(c)) != NULL) {
        r->is_blocked = false;
        pv_list_remove(&r->rq.link);
        pv_list_push_back(&c->open, &r->rq.link);
        if (r->rq.ops->on_writable != NULL)
            r->rq.ops->on_writable(&r->rq);
    }
}

enum pv_err pv_control_new(struct pv_control **out, const struct pv_services *services,
                           const struct pv_control_io *io, const struct pv_env *env)
{
    struct pv_control *c = pv_calloc(1, sizeof *c);
    if (c == NULL)
        return PV_E_NOMEM;
    c->services = *services;
    c->io = *io;
    c->env = env;
    /* One whole frame, and what the socket gave beyond it. */
    pv_buf_init(&c->in, 2 * FRAME_MAX + 65536);
    pv_buf_init(&c->out, OUT_MAX);
    pv_list_init(&c->open);
    pv_list_init(&c->downloads);
    pv_list_init(&c->turns);
    *out = c;
    return PV_OK;
}

void pv_control_free(struct pv_control *c)
{
    if (c == NULL)
        return;
    while (!pv_list_empty(&c->downloads))
        request_free(of(PV_LIST_ENTRY(c->downloads.next, struct pv_request, link)));
    while (!pv_list_empty(&c->open)) {
        struct pv_request *rq = PV_LIST_ENTRY(c->open.next, struct pv_request, link);
        if (rq->ops != NULL && rq->ops->on_cancel != NULL)
            rq->ops->on_cancel(rq);
        request_free(of(rq));
    }
    pv_buf_release(&c->in);
    pv_buf_release(&c->out);
    pv_free(c);
}
