/* Names that must not harm a terminal or a script, and numbers as people read them. */
#include "cmd/peervault/output.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define KEY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

TestSuite(output, .timeout = 10);

static void check_escaped(const char *in, const char *out)
{
    struct pv_buf b;
    pv_buf_init(&b, 1024);
    cr_assert_eq(pv_append_escaped(&b, in, strlen(in)), PV_OK);
    cr_assert_eq(b.len, strlen(out), "%s", in);
    cr_assert(b.len == 0 || memcmp(b.data, out, b.len) == 0, "%s", in);
    pv_buf_release(&b);
}

Test(output, escapes_control_characters_only)
{
    check_escaped("", "");
    check_escaped("plain name.txt", "plain name.txt");
    check_escaped("a\nb\tc\033[31m\177", "a\\x0ab\\x09c\\x1b[31m\\x7f");
    check_escaped("\xc3\xa9t\xc3\xa9 \xe2\x82\xac", "\xc3\xa9t\xc3\xa9 \xe2\x82\xac");
    check_escaped("\xc2\x9b"
                  "31m",
                  "\\xc2\\x9b31m");
    check_escaped("\xc2\xa0\xc2", "\xc2\xa0\xc2");
    check_escaped("\xff\xfe", "\xff\xfe");
}

Test(output, escaping_stops_at_the_buffers_limit)
{
    struct pv_buf b;
    pv_buf_init(&b, 7);
    cr_assert_eq(pv_append_escaped(&b, "\n\n", 2), PV_E_LIMIT);
    pv_buf_release(&b);
}

static void check_line(const char *name, const char *line)
{
    struct pv_buf b;
    pv_buf_init(&b, 1024);
    cr_assert_eq(pv_append_sum_line(&b, KEY, name), PV_OK);
    cr_assert_eq(b.len, strlen(line), "%s", name);
    cr_assert_eq(memcmp(b.data, line, b.len), 0, "%s", name);
    pv_buf_release(&b);
}

Test(output, writes_the_lines_of_sha256sum)
{
    check_line("f", KEY "  f");
    check_line("-", KEY "  -");
    check_line("dir/with space", KEY "  dir/with space");
    check_line("a\\b", "\\" KEY "  a\\\\b");
    check_line("a\nb", "\\" KEY "  a\\nb");
    check_line("a\rb", "\\" KEY "  a\\rb");
    check_line("\n\\", "\\" KEY "  \\n\\\\");
    check_line("a\033b\xff", KEY "  a\033b\xff");
}

static void check_size(uint64_t bytes, const char *text)
{
    char out[PV_SIZE_TEXT_MAX];
    pv_size_text(out, bytes);
    cr_assert_str_eq(out, text);
}

Test(output, tells_sizes)
{
    check_size(0, "0 B");
    check_size(1023, "1023 B");
    check_size(1024, "1.0 KiB");
    check_size(1536, "1.5 KiB");
    check_size(10 * 1024 * 1024, "10.0 MiB");
    check_size(UINT64_C(102400) * 1024 - 1, "99.9 MiB");
    check_size(UINT64_C(100) << 20, "100 MiB");
    check_size(UINT64_C(1023) << 30, "1023 GiB");
    check_size(UINT64_C(1) << 40, "1.0 TiB");
    check_size(UINT64_MAX, "15.9 EiB");
}

static void check_duration(uint64_t ms, const char *text)
{
    char out[PV_TIME_TEXT_MAX];
    pv_duration_text(out, ms);
    cr_assert_str_eq(out, text);
}

Test(output, tells_durations)
{
    check_duration(0, "0.0s");
    check_duration(1250, "1.2s");
    check_duration(9999, "9.9s");
    check_duration(10000, "10s");
    check_duration(59999, "59s");
    check_duration(60000, "1m 00s");
    check_duration(3599999, "59m 59s");
    check_duration(3600000, "1h 00m");
    check_duration(86400000, "1d 00h");
    check_duration(UINT64_MAX, "213503982334d 14h");
}

Test(output, tells_dates)
{
    char out[PV_TIME_TEXT_MAX];
    setenv("TZ", "UTC", 1);
    pv_date_text(out, UINT64_C(1767225599999));
    cr_assert_str_eq(out, "2025-12-31 23:59");
    pv_date_text(out, 0);
    cr_assert_str_eq(out, "1970-01-01 00:00");
    pv_date_text(out, UINT64_MAX);
    cr_assert(strlen(out) > 0);
}

Test(output, sums_exit_codes_up)
{
    enum pv_exit all = PV_EXIT_OK;
    pv_exit_add(&all, PV_EXIT_OK);
    cr_assert_eq(all, PV_EXIT_OK);
    pv_exit_add(&all, PV_EXIT_NOT_FOUND);
    pv_exit_add(&all, PV_EXIT_OK);
    pv_exit_add(&all, PV_EXIT_NOT_FOUND);
    cr_assert_eq(all, PV_EXIT_NOT_FOUND);
    pv_exit_add(&all, PV_EXIT_FULL);
    cr_assert_eq(all, PV_EXIT_FAILED);
}
