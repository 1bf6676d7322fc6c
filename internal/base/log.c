/*
 * A line is built in a fixed buffer on the stack and handed to the sink in one piece, so that
 * logging allocates nothing and takes no lock. LINE_BYTES_MAX is PIPE_BUF: such a write into a pipe
 * is never mixed with another one. A pair that does not fit is left out whole, together with all
 * that follow, and the line says cut. Levels are atomics: a reload may change them at any time.
 */
#include "internal/base/log.h"
#include "internal/base/limits.h"
#include "internal/base/mem.h"
#include "internal/base/wr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 4096, TAIL_BYTES_MAX = 16, VALUE_BYTES_MAX = 256 };

struct pv_log {
    pv_log_sink sink;
    void *ctx;
    uint64_t (*wall_ms)(void *ctx); /* NULL: the system's clock */
    void *clock_ctx;
    int fd;
    bool json;
    atomic_int levels[PV_SUB_COUNT];
    atomic_uint_fast64_t paid_ms[PV_SUB_COUNT]; /* limited lines use up the time until then */
    atomic_uint_fast64_t left_out[PV_SUB_COUNT];
};

static const char *const level_names[PV_LOG_LEVEL_COUNT] = {"error", "warn", "info", "debug"};

static const char *const sub_names[PV_SUB_COUNT] = {
#define X(name, text) text,
    PV_LOG_SUBSYSTEM_LIST(X)
#undef X
};

static void fd_sink(void *ctx, const char *line, size_t len)
{
    const struct pv_log *log = ctx;
    ssize_t done;
    do
        done = write(log->fd, line, len);
    while (done < 0 && errno == EINTR);
    /* A log that cannot be written has nowhere to complain, and must not stop the program. */
}

enum pv_err pv_log_new(struct pv_log **out, pv_log_sink sink, void *ctx, bool json)
{
    struct pv_log *log = pv_calloc(1, sizeof *log);
    if (log == NULL)
        return PV_E_NOMEM;
    log->sink = sink;
    log->ctx = ctx;
    log->fd = -1;
    log->json = json;
    for (size_t i = 0; i < PV_SUB_COUNT; i++) {
        atomic_init(&log->levels[i], PV_LOG_INFO);
        atomic_init(&log->paid_ms[i], 0);
        atomic_init(&log->left_out[i], 0);
    }
    *out = log;
    return PV_OK;
}

enum pv_err pv_log_new_fd(struct pv_log **out, int fd, bool json)
{
    struct pv_log *log;
    enum pv_err err = pv_log_new(&log, fd_sink, NULL, json);
    if (err != PV_OK)
        return err;
    log->ctx = log;
    log->fd = fd;
    *out = log;
    return PV_OK;
}

void pv_log_free(struct pv_log *log)
{
    pv_free(log);
}

void pv_log_set_clock(struct pv_log *log, uint64_t (*wall_ms)(void *ctx), void *ctx)
{
    log->wall_ms = wall_ms;
    log->clock_ctx = ctx;
}

/* The index of the name that is exactly text[0..len), or -1. */
static int name_index(const char *const *names, int count, const char *text, size_t len)
{
    for (int i = 0; i < count; i++)
        if (strlen(names[i]) == len && memcmp(names[i], text, len) == 0)
            return i;
    return -1;
}

static enum pv_err parse_level_item(int levels[PV_SUB_COUNT], const char *item, size_t len)
{
    const char *equals = memchr(item, '=', len);
    const char *name = equals != NULL ? equals + 1 : item;
    int level = name_index(level_names, PV_LOG_LEVEL_COUNT, name, (size_t)(item + len - name));
    int first = 0, last = PV_SUB_COUNT - 1;
    if (equals != NULL)
        first = last = name_index(sub_names, PV_SUB_COUNT, item, (size_t)(equals - item));
    if (level < 0 || first < 0)
        return PV_E_INVALID;
    for (int i = first; i <= last; i++)
        levels[i] = level;
    return PV_OK;
}

enum pv_err pv_log_set_levels(struct pv_log *log, const char *spec)
{
    int levels[PV_SUB_COUNT];
    for (size_t i = 0; i < PV_SUB_COUNT; i++)
        levels[i] = atomic_load(&log->levels[i]);
    for (const char *item = spec;;) {
        size_t len = strcspn(item, ",");
        enum pv_err err = parse_level_item(levels, item, len);
        if (err != PV_OK)
            return err;
        if (item[len] == '\0')
            break;
        item += len + 1;
    }
    for (size_t i = 0; i < PV_SUB_COUNT; i++)
        atomic_store(&log->levels[i], levels[i]);
    return PV_OK;
}

bool pv_log_enabled(const struct pv_log *log, enum pv_log_level level, enum pv_log_sub sub)
{
    if (log == NULL)
        return false;
    return (int)level <= atomic_load_explicit(&log->levels[sub], memory_order_relaxed);
}

static void put_text(struct pv_wr *w, const char *text)
{
    pv_wr_bytes(w, text, strlen(text));
}

static bool printable(char c)
{
    return c >= 0x20 && c < 0x7f;
}

static void put_escaped(struct pv_wr *w, const char *text, size_t len, bool json)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];
        if (!printable(text[i])) {
            put_text(w, json ? "\\u00" : "\\x");
            pv_wr_u8(w, (uint8_t)digits[c >> 4]);
            pv_wr_u8(w, (uint8_t)digits[c & 15]);
            continue;
        }
        if (c == '"' || c == '\\')
            pv_wr_u8(w, '\\');
        pv_wr_u8(w, c);
    }
}

static bool bare(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!printable(text[i]) || strchr(" \"\\=", text[i]) != NULL)
            return false;
    return len > 0;
}

static void put_value(struct pv_wr *w, const char *text, bool json)
{
    size_t len = strnlen(text, VALUE_BYTES_MAX + 1);
    bool cut = len > VALUE_BYTES_MAX;
    if (cut)
        len = VALUE_BYTES_MAX;
    bool quotes = json || !bare(text, len);
    if (quotes)
        pv_wr_u8(w, '"');
    put_escaped(w, text, len, json);
    if (cut)
        put_text(w, "...");
    if (quotes)
        pv_wr_u8(w, '"');
}

static void put_pair(struct pv_wr *w, const char *key, const char *value, bool json)
{
    put_text(w, json ? ",\"" : " ");
    put_text(w, key);
    put_text(w, json ? "\":" : "=");
    put_value(w, value != NULL ? value : "-", json);
}

static uint64_t now_ms(const struct pv_log *log)
{
    struct timespec now;
    if (log->wall_ms != NULL)
        return log->wall_ms(log->clock_ctx);
    int result = clock_gettime(CLOCK_REALTIME, &now);
    PV_ASSERT(result == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void put_time(struct pv_wr *w, const struct pv_log *log)
{
    uint64_t ms = now_ms(log);
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm = {0};
    char text[64];
    gmtime_r(&seconds, &tm);
    size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, sizeof text - len, ".%03dZ", (int)(ms % 1000));
    put_text(w, text);
}

static void put_head(struct pv_wr *w, const struct pv_log *log, const char *const head[3])
{
    static const char *const keys[] = {"level", "sub", "event"};
    put_text(w, log->json ? "{\"time\":\"" : "");
    put_time(w, log);
    put_text(w, log->json ? "\"" : "");
    for (size_t i = 0; i < PV_COUNT(keys); i++) {
        if (log->json) {
            put_pair(w, keys[i], head[i], true);
        } else {
            pv_wr_u8(w, ' ');
            put_value(w, head[i], false);
        }
    }
}

void pv_log_write(struct pv_log *log, enum pv_log_level level, enum pv_log_sub sub,
                  const char *event, ...)
{
    char line[LINE_BYTES_MAX];
    struct pv_wr w = pv_wr_of(line, sizeof line - TAIL_BYTES_MAX);
    bool cut = false;
    const char *key;
    va_list pairs;
    if (!pv_log_enabled(log, level, sub))
        return;
    put_head(&w, log, (const char *const[3]){level_names[level], sub_names[sub], event});
    va_start(pairs, event);
    while (!cut && (key = va_arg(pairs, const char *)) != NULL) {
        struct pv_wr before = w;
        put_pair(&w, key, va_arg(pairs, const char *), log->json);
        cut = w.bad;
        if (cut)
            w = before;
    }
    va_end(pairs);
    w.end += TAIL_BYTES_MAX;
    if (cut)
        put_text(&w, log->json ? ",\"cut\":\"yes\"" : " cut=yes");
    put_text(&w, log->json ? "}\n" : "\n");
    PV_ASSERT(!w.bad);
    log->sink(log->ctx, line, pv_wr_len(&w));
}

/* Each line takes a second of time that was not used, of which PV_LOG_BURST can be saved up. */
bool pv_log_admit(struct pv_log *log, enum pv_log_level level, enum pv_log_sub sub)
{
    const uint64_t cost_ms = 1000, saved_ms_max = cost_ms * PV_LOG_BURST;
    uint64_t now = now_ms(log);
    uint_fast64_t before = atomic_load(&log->paid_ms[sub]), after;
    do {
        uint64_t from = before;
        if (from > now + saved_ms_max || now > from + saved_ms_max) /* or the clock was set */
            from = now > saved_ms_max ? now - saved_ms_max : 0;
        if (from + cost_ms > now) {
            atomic_fetch_add(&log->left_out[sub], 1);
            return false;
        }
        after = from + cost_ms;
    } while (!atomic_compare_exchange_weak(&log->paid_ms[sub], &before, after));
    uint64_t left_out = atomic_exchange(&log->left_out[sub], 0);
    if (left_out > 0)
        PV_LOG(log, level, sub, "lines like the next were left out", "count", pv_log_u64(left_out));
    return true;
}

static char *text_slot(size_t *cap)
{
    enum { SLOTS = 8, SLOT_BYTES = 24 };
    static _Thread_local char slots[SLOTS][SLOT_BYTES];
    static _Thread_local unsigned next;
    *cap = SLOT_BYTES;
    return slots[next++ % SLOTS];
}

const char *pv_log_u64(uint64_t v)
{
    size_t cap;
    char *text = text_slot(&cap);
    snprintf(text, cap, "%" PRIu64, v);
    return text;
}

const char *pv_log_id(const uint8_t *id)
{
    size_t cap;
    char *text = text_slot(&cap);
    snprintf(text, cap, "%02x%02x%02x%02x", id[0], id[1], id[2], id[3]);
    return text;
}
