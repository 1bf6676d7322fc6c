/* Lines of names and values: what is written is what is read. */
#include "cmd/peervault/value_text.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(value_text, .timeout = 10);

static void written_as(const void *bytes, size_t len, const char *wanted)
{
    struct pv_buf out;
    pv_buf_init(&out, 4096);
    cr_assert_eq(pv_append_value(&out, bytes, len), PV_OK);
    cr_assert(out.len == strlen(wanted) && memcmp(out.data, wanted, out.len) == 0, "%.*s",
              (int)out.len, (const char *)out.data);
    size_t back = out.len;
    cr_assert_eq(pv_value_unescape((char *)out.data, &back), PV_OK);
    cr_assert(back == len && memcmp(out.data, bytes, len) == 0);
    pv_buf_release(&out);
}

Test(value_text, there_and_back)
{
    written_as("plain", 5, "plain");
    written_as("\t\n\r\\", 4, "\\t\\n\\r\\\\");
    written_as("a\0b\x7f\x1b", 5, "a\\x00b\\x7f\\x1b");
    written_as("\xc3\xa9\xff", 3, "\xc3\xa9\xff");
    written_as("\\x41", 4, "\\\\x41");
    char all[256];
    struct pv_buf out;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    pv_buf_init(&out, 4096);
    cr_assert_eq(pv_append_value(&out, all, sizeof all), PV_OK);
    cr_assert_null(memchr(out.data, '\t', out.len));
    cr_assert_null(memchr(out.data, '\n', out.len));
    cr_assert_eq(pv_value_unescape((char *)out.data, &out.len), PV_OK);
    cr_assert(out.len == sizeof all && memcmp(out.data, all, sizeof all) == 0);
    pv_buf_release(&out);
}

Test(value_text, unknown_escapes_are_refused)
{
    static const char *const bad[] = {"\\",   "a\\",   "\\q",    "\\x",
                                      "\\x4", "\\xg0", "\\x4\\", "\\X41"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[16];
        size_t len = strlen(bad[i]);
        memcpy(text, bad[i], len + 1);
        cr_assert_eq(pv_value_unescape(text, &len), PV_E_INVALID, "%s", bad[i]);
    }
}
