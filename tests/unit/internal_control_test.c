/* The control engine over real file operations; the test is the socket and the client. */
#include "internal/server/control.h"
#include "tests/unit/internal_client_fixture.h"
#include "transport/frame.h"

TestSuite(control, .timeout = 120);

struct frame {
    bool is_data, end;
    json_t *json;
    size_t len;
    uint8_t *bytes;
};

struct conn {
    struct pvt_server *server;
    struct pv_control *control;
    bool changed;
    struct pv_buf wire, got; /* what the socket holds; what the client read and did not yet parse */
    size_t wire_max;
    struct frame *frames;
    size_t frame_count;
};

static void on_changed(void *ctx)
{
    ((struct conn *)ctx)->changed = true;
}

static struct conn *conn_new(struct pvt_server *s)
{
    struct conn *c = calloc(1, sizeof *c);
    struct pv_control_io io = {.ctx = c, .changed = on_changed};
    c->server = s;
    pv_buf_init(&c->wire, SIZE_MAX / 2);
    pv_buf_init(&c->got, SIZE_MAX / 2);
    struct pv_services services = {.files = s->files, .upkeep = s->upkeep, .cluster = s->cluster};
    cr_assert_eq(pv_control_new(&c->control, &services, &io, &pvt_me(s)->env.env), PV_OK);
    return c;
}

static void conn_free(struct conn *c)
{
    pv_control_free(c->control);
    for (size_t i = 0; i < c->frame_count; i++) {
        json_decref(c->frames[i].json);
        free(c->frames[i].bytes);
    }
    free(c->frames);
    pv_buf_release(&c->wire);
    pv_buf_release(&c->got);
    free(c);
}

/* The client reads all that is in the socket, and the frames in it. */
static void parse(struct conn *c)
{
    struct pv_frame_header h;
    cr_assert_eq(pv_buf_append(&c->got, c->wire.data, c->wire.len), PV_OK);
    pv_buf_reset(&c->wire);
    while (c->got.len >= PV_FRAME_HEADER_LEN) {
        cr_assert_eq(pv_frame_header_decode(&h, c->got.data, 1, PV_CONTROL_JSON_MAX), PV_OK);
        if (c->got.len < PV_FRAME_HEADER_LEN + h.len)
            return;
        const uint8_t *payload = c->got.data + PV_FRAME_HEADER_LEN;
        c->frames = realloc(c->frames, (c->frame_count + 1) * sizeof *c->frames);
        struct frame *f = &c->frames[c->frame_count++];
        *f = (struct frame){.is_data = h.type == PV_FRAME_STREAM};
        if (f->is_data) {
            cr_assert_leq(payload[0], 1);
            f->end = payload[0] == 1;
            f->len = h.len - 1;
            f->bytes = malloc(h.len);
            memcpy(f->bytes, payload + 1, f->len);
        } else {
            f->json = json_loadb((const char *)payload, h.len, 0, NULL);
            cr_assert_not_null(f->json, "%.*s", (int)h.len, (const char *)payload);
        }
        pv_buf_consume(&c->got, PV_FRAME_HEADER_LEN + h.len);
    }
}

/* One turn of the loop: what uv_control.c does after something changed. */
static enum pv_err turn(struct conn *c)
{
    c->changed = false;
    enum pv_err err = pv_control_feed(c->control, (const uint8_t *)"", 0);
    if (err != PV_OK)
        return err;
    if (c->wire.len == 0 && pv_control_take_output(c->control, &c->wire))
        c->wire_max = c->wire.len > c->wire_max ? c->wire.len : c->wire_max;
    return PV_OK;
}

/* The client reads, and everything goes on until nothing moves. */
static void run(struct conn *c)
{
    bool more = true;
    while (more || c->changed) {
        cr_assert_eq(turn(c), PV_OK);
        if (c->wire.len > 0) {
            parse(c);
            pv_control_drained(c->control);
            c->changed = true;
        }
        more = pvt_step(&c->server->net);
    }
}

/* The same with a client that reads nothing. */
static void run_deaf(struct conn *c)
{
    do {
        cr_assert_eq(turn(c), PV_OK);
    } while (pvt_step(&c->server->net) || c->changed);
}

/* ---- what a client writes ---- */

static void add_frame(struct pv_buf *b, uint8_t type, const void *bytes, size_t len)
{
    uint8_t header[PV_FRAME_HEADER_LEN];
    pv_frame_header_encode(header, (enum pv_frame_type)type, (uint32_t)len);
    header[0] = type;
    cr_assert_eq(pv_buf_append(b, header, sizeof header), PV_OK);
    cr_assert_eq(pv_buf_append(b, bytes, len), PV_OK);
}

static void add_json(struct pv_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add_json(struct pv_buf *b, const char *fmt, ...)
{
    char text[1000];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    add_frame(b, 1, text, (size_t)n);
}

static void add_data(struct pv_buf *b, const void *bytes, size_t len, bool end)
{
    uint8_t frame[1 + PV_CONTROL_DATA_MAX];
    frame[0] = end;
    if (len > 0)
        memcpy(frame + 1, bytes, len);
    add_frame(b, 2, frame, 1 + len);
}

static enum pv_err feed(struct conn *c, const struct pv_buf *b)
{
    enum pv_err err = PV_OK;
    for (size_t at = 0; err == PV_OK && at < b->len;) {
        size_t n = b->len - at < 65536 ? b->len - at : 65536;
        if (!pv_control_wants_input(c->control)) {
            run(c);
            cr_assert(pv_control_wants_input(c->control), "stuck");
        }
        err = pv_control_feed(c->control, b->data + at, n);
        at += n;
    }
    return err;
}

static enum pv_err feed_json(struct conn *c, const char *text)
{
    struct pv_buf b;
    pv_buf_init(&b, SIZE_MAX / 2);
    add_frame(&b, 1, text, strlen(text));
    enum pv_err err = feed(c, &b);
    pv_buf_release(&b);
    return err;
}

/* The final reply of a request; NULL: none (yet). There is one at most. */
static const json_t *final_of(const struct conn *c, int id)
{
    const json_t *found = NULL;
    for (size_t i = 0; i < c->frame_count; i++) {
        const json_t *j = c->frames[i].json;
        if (j == NULL || pvt_number(j, "id") != id || json_object_get(j, "event") != NULL)
            continue;
        cr_assert_null(found);
        found = j;
    }
    return found;
}

static bool is_ok(const struct conn *c, int id)
{
    return json_is_true(json_object_get(final_of(c, id), "ok"));
}

/* The data between the `file` event of a get and its final reply, and nothing else between them. */
static size_t data_of(const struct conn *c, int id, uint8_t *out)
{
    size_t i = 0, len = 0;
    while (i < c->frame_count &&
           (c->frames[i].is_data || pvt_number(c->frames[i].json, "id") != id))
        i++;
    cr_assert_lt(i, c->frame_count);
    bool ended = false;
    for (i++; i < c->frame_count; i++) {
        const struct frame *f = &c->frames[i];
        if (!f->is_data && pvt_number(f->json, "id") == id)
            break;
        if (!f->is_data) /* of another request, but then no get */
            continue;
        cr_assert_not(ended);
        memcpy(out + len, f->bytes, f->len);
        len += f->len;
        ended = f->end;
    }
    cr_assert(ended);
    return len;
}

/* ---- tests ---- */

Test(control, frames_cut_at_every_byte)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pv_buf b;
    pv_buf_init(&b, 100000);
    add_json(&b, "{\"id\":1,\"op\":\"store\",\"name\":\"n\"}");
    add_data(&b, "0123", 4, false);
    add_data(&b, "456789", 6, true);
    add_json(&b, "{\"id\":2,\"op\":\"status\"}");
    add_json(&b, "{\"id\":3,\"op\":\"ls\"}");
    for (size_t cut = 1; cut < b.len; cut++) {
        struct conn *c = conn_new(s);
        cr_assert_eq(pv_control_feed(c->control, b.data, cut), PV_OK);
        run(c);
        cr_assert_eq(pv_control_feed(c->control, b.data + cut, b.len - cut), PV_OK);
        run(c);
        cr_assert(is_ok(c, 1) && is_ok(c, 2) && is_ok(c, 3));
        conn_free(c);
    }
    struct conn *c = conn_new(s);
    for (size_t i = 0; i < b.len; i++) {
        cr_assert_eq(pv_control_feed(c->control, b.data + i, 1), PV_OK);
        run(c);
    }
    cr_assert(is_ok(c, 1) && is_ok(c, 2) && is_ok(c, 3));
    conn_free(c);
    pv_buf_release(&b);
    pvt_server_free(s);
}

Test(control, garbage)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"\x00\x00\x00\x00\x02{}", 7},   /* no such type */
        {"\x03\x00\x00\x00\x02{}", 7},   /* no such type */
        {"\x01\x00\x00\x00\x00", 5},     /* empty */
        {"\x02\x00\x00\x00\x00", 5},     /* empty */
        {"\x01\x00\x01\x00\x01", 5},     /* too long */
        {"\x02\xff\xff\xff\xff", 5},     /* too long */
        {"\x01\x00\x00\x00\x02[]", 7},   /* no object */
        {"\x01\x00\x00\x00\x02{x", 7},   /* no JSON */
        {"\x01\x00\x00\x00\x02{}", 7},   /* neither id nor op */
        {"\x02\x00\x00\x00\x01\x01", 6}, /* data for nobody */
    };
    static const char *const texts[] = {
        "{\"op\":\"ls\"}",
        "{\"id\":1}",
        "{\"id\":0,\"op\":\"ls\"}",
        "{\"id\":-1,\"op\":\"ls\"}",
        "{\"id\":2147483648,\"op\":\"ls\"}",
        "{\"id\":\"1\",\"op\":\"ls\"}",
        "{\"id\":1,\"op\":7}",
        "{\"id\":1,\"op\":\"ls\",\"op\":\"rm\"}",
        "{\"id\":1,\"op\":\"ls\"} x",
        "{\"id\":1,\"op\":\"\xff\"}",
    };
    struct pvt_server *s = pvt_server_new(1);
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        struct conn *c = conn_new(s);
        cr_assert_eq(pv_control_feed(c->control, (const uint8_t *)cases[i].bytes, cases[i].len),
                     PV_E_PROTOCOL, "case %zu", i);
        conn_free(c);
    }
    for (size_t i = 0; i < PV_COUNT(texts); i++) {
        struct conn *c = conn_new(s);
        cr_assert_eq(feed_json(c, texts[i]), PV_E_PROTOCOL, "%s", texts[i]);
        conn_free(c);
    }
    struct conn *c = conn_new(s);
    cr_assert_eq(feed_json(c, "{\"id\":2147483647,\"op\":\"such a thing\"}"), PV_OK);
    run(c);
    cr_assert_eq(pvt_number(final_of(c, INT32_MAX), "exit"), PV_EXIT_USAGE);
    conn_free(c);
    pvt_server_free(s);
}

/* Judged by their headers. */
Test(control, frames_to_the_limit_and_one_byte_past_it)
{
    static const struct {
        uint8_t type;
        uint32_t len;
        enum pv_err err;
    } cases[] = {
        {1, PV_CONTROL_JSON_MAX - 1, PV_OK},
        {1, PV_CONTROL_JSON_MAX, PV_OK},
        {1, PV_CONTROL_JSON_MAX + 1, PV_E_PROTOCOL},
        {2, PV_CONTROL_DATA_MAX, PV_OK}, /* with the flags */
        {2, 1 + PV_CONTROL_DATA_MAX, PV_OK},
        {2, 1 + PV_CONTROL_DATA_MAX + 1, PV_E_PROTOCOL},
    };
    struct pvt_server *s = pvt_server_new(1);
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        struct conn *c = conn_new(s);
        uint8_t header[PV_FRAME_HEADER_LEN];
        struct pv_wr w = pv_wr_of(header, sizeof header);
        pv_wr_u8(&w, cases[i].type);
        pv_wr_u32(&w, cases[i].len);
        cr_assert_eq(pv_control_feed(c->control, header, sizeof header), cases[i].err, "%zu", i);
        conn_free(c);
    }
    pvt_server_free(s);
}

Test(control, upload_interleaving)
{
    struct pvt_server *s = pvt_server_new(1);
    static const char *const store = "{\"id\":1,\"op\":\"store\"}";
    struct pv_buf b;
    pv_buf_init(&b, 1000000);

    struct conn *c = conn_new(s); /* a request before the end of an upload */
    cr_assert_eq(feed_json(c, store), PV_OK);
    cr_assert_eq(feed_json(c, "{\"id\":2,\"op\":\"ls\"}"), PV_E_PROTOCOL);
    conn_free(c);

    c = conn_new(s); /* data after the end */
    add_data(&b, "x", 1, true);
    cr_assert_eq(feed_json(c, store), PV_OK);
    cr_assert_eq(feed(c, &b), PV_OK);
    cr_assert_eq(feed(c, &b), PV_E_PROTOCOL);
    conn_free(c);

    c = conn_new(s); /* unknown flags */
    cr_assert_eq(feed_json(c, store), PV_OK);
    run(c);
    cr_assert_eq(pv_control_feed(c->control, (const uint8_t *)"\x02\x00\x00\x00\x01\x02", 6),
                 PV_E_PROTOCOL);
    conn_free(c);

    c = conn_new(s); /* one that is refused at once: its data is dropped, then life goes on */
    cr_assert_eq(feed_json(c, "{\"id\":1,\"op\":\"store\",\"name\":7}"), PV_OK);
    run(c);
    cr_assert_eq(pvt_number(final_of(c, 1), "exit"), PV_EXIT_USAGE);
    struct pv_buf part;
    pv_buf_init(&part, 100);
    add_data(&part, "more", 4, false);
    cr_assert_eq(feed(c, &part), PV_OK);
    cr_assert_eq(feed(c, &part), PV_OK);
    cr_assert_eq(feed(c, &b), PV_OK);
    cr_assert_eq(feed_json(c, "{\"id\":2,\"op\":\"ls\"}"), PV_OK);
    run(c);
    cr_assert(is_ok(c, 2));
    conn_free(c);

    c = conn_new(s); /* the same, but the next request comes too early */
    cr_assert_eq(feed_json(c, "{\"id\":1,\"op\":\"store\",\"name\":7}"), PV_OK);
    cr_assert_eq(feed_json(c, "{\"id\":2,\"op\":\"ls\"}"), PV_E_PROTOCOL);
    conn_free(c);
    pv_buf_release(&b);
    pv_buf_release(&part);
    pvt_server_free(s);
}

Test(control, many_uploads_in_a_pipeline)
{
    enum { FILES = 200, LEN = 100000 };
    struct pvt_server *s = pvt_server_new(1);
    struct conn *c = conn_new(s);
    struct pv_buf b;
    uint8_t *bytes = pvt_content(1, LEN);
    pv_buf_init(&b, SIZE_MAX / 2);
    for (int i = 0; i < FILES; i++) {
        size_t len = i % 10 == 0 ? LEN : 100;
        bytes[0] = (uint8_t)i;
        add_json(&b, "{\"id\":%d,\"op\":\"store\",\"name\":\"%d\"}", i + 1, i);
        for (size_t at = 0; at < len; at += 50000)
            add_data(&b, bytes + at, len - at < 50000 ? len - at : 50000, at + 50000 >= len);
    }
    cr_assert_eq(feed(c, &b), PV_OK);
    run(c);
    for (int i = 0; i < FILES; i++)
        cr_assert(is_ok(c, i + 1));
    cr_assert_eq(pvt_counts(pvt_me(s)).names, FILES);
    conn_free(c);
    pv_buf_release(&b);
    free(bytes);
    pvt_server_free(s);
}

Test(control, downloads_one_after_the_other)
{
    enum { FILES = 15, LEN = 700000 }; /* more than are begun ahead of their turn */
    struct pvt_server *s = pvt_server_new(1);
    struct conn *c = conn_new(s);
    uint8_t *bytes[FILES], *out = malloc(LEN);
    struct pv_buf b;
    pv_buf_init(&b, 100000);
    for (int i = 0; i < FILES; i++) {
        char name[16];
        size_t len = i % 3 == 1 ? 10 : LEN;
        bytes[i] = pvt_content((uint64_t)i, len);
        snprintf(name, sizeof name, "%d", i);
        pvt_store(s, name, bytes[i], len);
    }
    for (int i = 0; i < FILES; i++) {
        add_json(&b, "{\"id\":%d,\"op\":\"get\",\"target\":\"%d\"}", 1 + i, i);
        add_json(&b, "{\"id\":%d,\"op\":\"get\",\"target\":\"none\"}", 101 + i);
        add_json(&b, "{\"id\":%d,\"op\":\"get\"}", 201 + i);
        add_json(&b, "{\"id\":%d,\"op\":\"ls\"}", 301 + i);
    }
    cr_assert_eq(feed(c, &b), PV_OK);
    run(c);
    int last = 0;
    for (size_t i = 0; i < c->frame_count; i++) { /* in the order they were asked for */
        const json_t *j = c->frames[i].json;
        if (j == NULL || json_object_get(j, "key") == NULL || json_object_get(j, "ok") == NULL)
            continue;
        cr_assert_eq(pvt_number(j, "id"), ++last);
    }
    cr_assert_eq(last, FILES);
    for (int i = 0; i < FILES; i++) {
        size_t len = i % 3 == 1 ? 10 : LEN;
        cr_assert(is_ok(c, 1 + i) && is_ok(c, 301 + i));
        cr_assert_eq(pvt_number(final_of(c, 101 + i), "exit"), PV_EXIT_NOT_FOUND);
        cr_assert_eq(pvt_number(final_of(c, 201 + i), "exit"), PV_EXIT_USAGE);
        cr_assert_eq(data_of(c, 1 + i, out), len);
        cr_assert_arr_eq(out, bytes[i], len);
        free(bytes[i]);
    }
    cr_assert_leq(c->wire_max, PV_CONTROL_OUT_HIGH + PV_CONTROL_DATA_MAX + 1000);
    free(out);
    conn_free(c);
    pv_buf_release(&b);
    pvt_server_free(s);
}

Test(control, a_client_that_does_not_read)
{
    enum { LEN = 3000000 };
    struct pvt_server *s = pvt_server_new(1);
    struct conn *c = conn_new(s);
    uint8_t *bytes = pvt_content(1, LEN), *out = malloc(LEN);
    pvt_store(s, "big", bytes, LEN);
    cr_assert_eq(feed_json(c, "{\"id\":1,\"op\":\"get\",\"target\":\"big\"}"), PV_OK);
    cr_assert_eq(feed_json(c, "{\"id\":2,\"op\":\"get\",\"target\":\"big\"}"), PV_OK);
    run_deaf(c);
    struct pv_buf more;
    pv_buf_init(&more, SIZE_MAX / 2);
    cr_assert_leq(c->wire.len, PV_CONTROL_OUT_HIGH + 2 * PV_CONTROL_DATA_MAX);
    cr_assert(pv_control_take_output(c->control, &more));
    cr_assert_leq(more.len, PV_CONTROL_OUT_HIGH + 2 * PV_CONTROL_DATA_MAX);
    cr_assert_eq(pv_buf_append(&c->wire, more.data, more.len), PV_OK);
    pv_buf_release(&more);
    run(c);
    for (int id = 1; id <= 2; id++) {
        cr_assert(is_ok(c, id));
        cr_assert_eq(data_of(c, id, out), LEN);
        cr_assert_arr_eq(out, bytes, LEN);
    }
    free(bytes);
    free(out);
    conn_free(c);
    pvt_server_free(s);
}

/* Requests are not read for ever while nobody reads the replies. */
Test(control, replies_that_nobody_reads)
{
    enum { ASKED = 20000 };
    struct pvt_server *s = pvt_server_new(1);
    struct conn *c = conn_new(s);
    struct pv_buf b;
    pv_buf_init(&b, 1000);
    int asked = 0;
    for (; asked < ASKED && pv_control_wants_input(c->control); asked++) {
        pv_buf_reset(&b);
        add_json(&b, "{\"id\":%d,\"op\":\"status\"}", asked + 1);
        cr_assert_eq(pv_control_feed(c->control, b.data, b.len), PV_OK);
        run_deaf(c);
    }
    cr_assert_lt(asked, ASKED);
    run(c);
    for (int i = 0; i < asked; i++)
        cr_assert(is_ok(c, i + 1), "%d", i);
    cr_assert_leq(c->wire_max, PV_CONTROL_OUT_STOP + 100000);
    conn_free(c);
    pv_buf_release(&b);
    pvt_server_free(s);
}

Test(control, more_requests_than_are_open_at_once)
{
    enum { ASKED = 3 * PV_CONTROL_REQUESTS_MAX };
    struct pvt_server *s = pvt_server_new(1);
    struct conn *c = conn_new(s);
    struct pv_buf b;
    pv_buf_init(&b, 100000);
    for (int i = 0; i < ASKED; i++)
        add_json(&b, "{\"id\":%d,\"op\":\"status\"}", i + 1);
    cr_assert_eq(pv_control_feed(c->control, b.data, b.len), PV_OK);
    cr_assert_not(pv_control_wants_input(c->control));
    run(c);
    for (int i = 0; i < ASKED; i++)
        cr_assert(is_ok(c, i + 1));
    conn_free(c);
    pv_buf_release(&b);
    pvt_server_free(s);
}

/* The upload is the last request there is room for, and the client writes it to its end before it
 * reads anything. */
Test(control, an_upload_while_all_is_full)
{
    enum { LEN = 900000 };
    struct pvt_server *s = pvt_server_with(1, 3 * PV_FILES_MEMORY_MIN);
    struct conn *c = conn_new(s);
    uint8_t *bytes = pvt_content(1, LEN);
    struct pv_buf b;
    pv_buf_init(&b, 1000000);
    pvt_store(s, "big", bytes, LEN);
    for (int i = 1; i < PV_CONTROL_REQUESTS_MAX; i++)
        add_json(&b, "{\"id\":%d,\"op\":\"get\",\"target\":\"big\"}", i);
    add_json(&b, "{\"id\":%d,\"op\":\"store\"}", PV_CONTROL_REQUESTS_MAX);
    cr_assert_eq(pv_control_feed(c->control, b.data, b.len), PV_OK);
    for (size_t at = 0; at < LEN; at += 50000) {
        run_deaf(c);
        cr_assert(pv_control_wants_input(c->control));
        pv_buf_reset(&b);
        bytes[at] ^= 1;
        add_data(&b, bytes + at, LEN - at < 50000 ? LEN - at : 50000, at + 50000 >= LEN);
        cr_assert_eq(pv_control_feed(c->control, b.data, b.len), PV_OK);
    }
    cr_assert_not(pv_control_wants_input(c->control));
    run(c);
    for (int i = 1; i <= PV_CONTROL_REQUESTS_MAX; i++)
        cr_assert(is_ok(c, i));
    free(bytes);
    conn_free(c);
    pv_buf_release(&b);
    pvt_server_free(s);
}

/* Two that have much to say take turns, and each says all of it. */
Test(control, lists_and_downloads_side_by_side)
{
    enum { NAMES = 3000 };
    struct pvt_server *s = pvt_server_new(1);
    struct conn *c = conn_new(s);
    char name[300];
    memset(name, 'n', sizeof name);
    for (int i = 0; i < NAMES; i++) {
        snprintf(name + 250, 50, "%d", i);
        pvt_store_text(s, name, "text");
    }
    for (int id = 1; id <= 3; id++) {
        char text[50];
        snprintf(text, sizeof text, "{\"id\":%d,\"op\":\"ls\"}", id);
        cr_assert_eq(feed_json(c, text), PV_OK);
    }
    run_deaf(c);
    run(c);
    for (int id = 1; id <= 3; id++)
        cr_assert_eq(pvt_number(final_of(c, id), "entries"), NAMES);
    conn_free(c);
    pvt_server_free(s);
}

Test(control, freed_with_open_requests)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(1, 2000000);
    struct pv_buf b;
    pv_buf_init(&b, 1000000);
    pvt_store(s, "big", bytes, 2000000);
    add_json(&b, "{\"id\":1,\"op\":\"get\",\"target\":\"big\"}");
    add_json(&b, "{\"id\":2,\"op\":\"get\",\"target\":\"big\"}");
    add_json(&b, "{\"id\":3,\"op\":\"ls\"}");
    add_json(&b, "{\"id\":4,\"op\":\"stat\",\"target\":\"big\"}");
    add_json(&b, "{\"id\":5,\"op\":\"rm\",\"target\":\"none\"}");
    add_json(&b, "{\"id\":6,\"op\":\"status\"}");
    add_json(&b, "{\"id\":7,\"op\":\"store\"}");
    add_data(&b, bytes, 65535, false);
    for (uint64_t steps = 0; steps < 40; steps++) {
        struct conn *c = conn_new(s), *other = conn_new(s);
        cr_assert_eq(feed_json(other, "{\"id\":1,\"op\":\"get\",\"target\":\"big\"}"), PV_OK);
        cr_assert_eq(pv_control_feed(c->control, b.data, b.len), PV_OK);
        for (uint64_t i = 0; i < steps; i++) {
            pvt_step(&s->net);
            cr_assert_eq(turn(c), PV_OK);
        }
        conn_free(c);
        run(other); /* whoever waited for its memory gets it */
        cr_assert(is_ok(other, 1));
        conn_free(other);
        pvt_settle(&s->net);
        cr_assert_eq(s->files->memory.used_bytes, 0);
    }
    free(bytes);
    pv_buf_release(&b);
    pvt_server_free(s);
}

/* ---- no memory ---- */

/* A reply is whole, or it is a refusal, or the connection is closed: nothing is missing in it. */
Test(control, out_of_memory_anywhere)
{
    struct pvt_server *s = pvt_server_new(1);
    unsigned closed = 0, refused = 0;
    uint8_t out[5000];
    struct pv_buf b;
    pv_buf_init(&b, 1000);
    add_json(&b, "{\"id\":1,\"op\":\"get\",\"target\":\"name\"}");
    add_json(&b, "{\"id\":2,\"op\":\"ls\"}");
    add_json(&b, "{\"id\":3,\"op\":\"get\",\"target\":\"name\"}");
    pvt_store_text(s, "name", "0123456789");
    for (uint64_t k = 0; k < 200; k++) {
        struct conn *c = conn_new(s);
        pv_mem_fail_after(k);
        enum pv_err err = pv_control_feed(c->control, b.data, b.len);
        for (int i = 0; err == PV_OK && i < 50; i++) {
            (void)pvt_step(&s->net);
            err = pv_control_feed(c->control, (const uint8_t *)"", 0);
        }
        pv_mem_fail_after(UINT64_MAX);
        pvt_settle(&s->net);
        if (err == PV_OK)
            err = pv_control_feed(c->control, (const uint8_t *)"", 0);
        if (err == PV_OK) {
            run(c);
            cr_assert_not_null(final_of(c, 1));
            cr_assert_not_null(final_of(c, 2));
            cr_assert_not_null(final_of(c, 3));
            for (int id = 1; id <= 3; id += 2)
                if (is_ok(c, id))
                    cr_assert_eq(data_of(c, id, out), 10);
            if (is_ok(c, 2))
                cr_assert_eq(pvt_number(final_of(c, 2), "entries"), 1);
            refused += !is_ok(c, 1) || !is_ok(c, 2) || !is_ok(c, 3);
        }
        closed += err != PV_OK;
        conn_free(c);
    }
    cr_assert_gt(closed, 3);
    cr_assert_gt(refused, 20);
    pv_buf_release(&b);
    pvt_server_free(s);
}
