/*
 * Lines are put together in a buffer first, so that each is one write and is escaped as a whole.
 */
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 64 * 1024 };

/* The length of the control character at text, else 0. C1 controls are two bytes of UTF-8. */
static size_t control_len(const unsigned char *text, size_t len)
{
    if (text[0] < 0x20 || text[0] == 0x7f)
        return 1;
    return len > 1 && text[0] == 0xc2 && text[1] >= 0x80 && text[1] <= 0x9f ? 2 : 0;
}

enum pv_err pv_append_escaped(struct pv_buf *out, const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    enum pv_err err = PV_OK;
    for (size_t i = 0; i < len && err == PV_OK;) {
        size_t control = control_len(p + i, len - i);
        if (control == 0)
            err = pv_buf_append(out, p + i++, 1);
        for (; control > 0 && err == PV_OK; control--)
            err = pv_buf_printf(out, "\\x%02x", p[i++]);
    }
    return err;
}

static void write_line(const char *text)
{
    struct pv_buf line;
    pv_buf_init(&line, LINE_MAX_BYTES);
    /* What does not fit, or finds no memory, is left out: there is nowhere else to say so. */
    enum pv_err err = pv_buf_printf(&line, "peervault: ");
    if (err == PV_OK)
        err = pv_append_escaped(&line, text, strlen(text));
    if (err == PV_OK)
        (void)!pv_buf_append(&line, "\n", 1);
    (void)!write(STDERR_FILENO, line.data, line.len);
    pv_buf_release(&line);
}

static void write_formatted(const char *fmt, va_list ap)
{
    char text[12 * 1024]; /* an argument of 4 KiB and what is said of it, twice */
    int n = vsnprintf(text, sizeof text, fmt, ap);
    write_line(n < 0 ? "a message could not be formatted" : text);
}

void pv_out_line(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    write_formatted(fmt, ap);
    va_end(ap);
}

enum pv_exit pv_out_fail(enum pv_exit exit, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    write_formatted(fmt, ap);
    va_end(ap);
    return exit;
}

enum pv_exit pv_out_no_memory(void)
{
    return pv_out_fail(PV_EXIT_FAILED, "out of memory");
}

enum pv_exit pv_out_flush(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return PV_EXIT_OK;
    return pv_out_fail(PV_EXIT_FAILED, "cannot write to standard output: %s",
                       errno != 0 ? strerror(errno) : "an earlier write failed");
}

enum pv_exit pv_out_json(json_t *object)
{
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (text == NULL)
        return pv_out_no_memory();
    fputs(text, stdout);
    fputc('\n', stdout);
    pv_free(text); /* jansson's allocator is ours, see main.c */
    return pv_out_flush();
}

void pv_exit_add(enum pv_exit *all, enum pv_exit one)
{
    if (*all == PV_EXIT_OK)
        *all = one;
    else if (one != PV_EXIT_OK && one != *all)
        *all = PV_EXIT_FAILED;
}

enum pv_err pv_append_sum_line(struct pv_buf *out, const char *hex, const char *name)
{
    bool escape = strpbrk(name, "\\\n\r") != NULL;
    enum pv_err err = pv_buf_printf(out, "%s%s  ", escape ? "\\" : "", hex);
    for (const char *c = name; *c != '\0' && err == PV_OK; c++) {
        if (*c == '\\')
            err = pv_buf_append(out, "\\\\", 2);
        else if (*c == '\n')
            err = pv_buf_append(out, "\\n", 2);
        else if (*c == '\r')
            err = pv_buf_append(out, "\\r", 2);
        else
            err = pv_buf_append(out, c, 1);
    }
    return err;
}

void pv_out_name(const char *name, size_t len, bool terminal)
{
    struct pv_buf shown;
    if (len == 0) /* an empty buffer has no address */
        return;
    pv_buf_init(&shown, LINE_MAX_BYTES);
    if (terminal && pv_append_escaped(&shown, name, len) == PV_OK)
        fwrite(shown.data, 1, shown.len, stdout);
    else
        fwrite(name, 1, len, stdout);
    pv_buf_release(&shown);
}

void pv_size_text(char out[static PV_SIZE_TEXT_MAX], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    uint64_t whole = bytes, tenths = 0;
    size_t unit = 0;
    while (whole >= 1024) {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit++;
    }
    if (unit == 0 || whole >= 100)
        snprintf(out, PV_SIZE_TEXT_MAX, "%llu %s", (unsigned long long)whole, units[unit]);
    else
        snprintf(out, PV_SIZE_TEXT_MAX, "%llu.%llu %s", (unsigned long long)whole,
                 (unsigned long long)tenths, units[unit]);
}

void pv_duration_text(char out[static PV_TIME_TEXT_MAX], uint64_t ms)
{
    unsigned long long s = ms / 1000, m = s / 60, h = m / 60, d = h / 24;
    if (ms < 10000)
        snprintf(out, PV_TIME_TEXT_MAX, "%llu.%llus", s, (unsigned long long)(ms % 1000 / 100));
    else if (s < 60)
        snprintf(out, PV_TIME_TEXT_MAX, "%llus", s);
    else if (m < 60)
        snprintf(out, PV_TIME_TEXT_MAX, "%llum %02llus", m, s % 60);
    else if (h < 24)
        snprintf(out, PV_TIME_TEXT_MAX, "%lluh %02llum", h, m % 60);
    else
        snprintf(out, PV_TIME_TEXT_MAX, "%llud %02lluh", d, h % 24);
}

void pv_date_text(char out[static PV_TIME_TEXT_MAX], uint64_t unix_ms)
{
    time_t t = (time_t)(unix_ms / 1000);
    struct tm tm;
    if (localtime_r(&t, &tm) == NULL || strftime(out, PV_TIME_TEXT_MAX, "%Y-%m-%d %H:%M", &tm) == 0)
        snprintf(out, PV_TIME_TEXT_MAX, "-");
}
