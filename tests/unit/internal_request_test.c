#include "internal/file/request.h"
#include "internal/base/mem.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(request, .timeout = 20);

static json_t *last;

static void keep(struct pv_request *rq, json_t *message)
{
    (void)rq;
    json_decref(last);
    last = message;
}

static const struct pv_request_io io = {.finish = keep};

static const char *error_of(const char *text)
{
    struct pv_request rq = {.io = &io};
    pv_request_fail(&rq, PV_EXIT_FULL, "%s", text);
    cr_assert(json_is_false(json_object_get(last, "ok")));
    cr_assert_eq(json_integer_value(json_object_get(last, "exit")), PV_EXIT_FULL);
    return json_string_value(json_object_get(last, "error"));
}

Test(request, a_refusal_is_one_line_of_utf8)
{
    char longest[2000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    cr_assert_str_eq(error_of("what: do this"), "what: do this");
    cr_assert_str_eq(error_of("a\nb\r\x1b[0m\x7f"), "a?b??[0m?");
    cr_assert_str_eq(error_of("gr\xc3\xbc\xc3\x9f"
                              "e"),
                     "gr\xc3\xbc\xc3\x9f"
                     "e");
    cr_assert_str_eq(error_of("bad \xff bytes"), "bad ? bytes");
    cr_assert_eq(strlen(error_of(longest)), 511);
    json_decref(last);
}

Test(request, success_says_ok_and_what_else_there_is)
{
    struct pv_request rq = {.io = &io};
    pv_request_ok(&rq, json_object());
    cr_assert(json_is_true(json_object_get(last, "ok")));
    cr_assert_eq(json_object_size(last), 1);
    pv_request_ok(&rq, NULL); /* out of memory: the connection refuses in its own words */
    cr_assert_null(last);
    pv_request_ok(&rq, json_pack("{s:i}", "copies", 2));
    cr_assert(json_is_true(json_object_get(last, "ok")));
    cr_assert_eq(json_integer_value(json_object_get(last, "copies")), 2);
    json_decref(last);
}

static enum pv_err bytes_of(json_t *args, char *dst, size_t *len)
{
    struct pv_request rq = {.io = &io, .args = args};
    enum pv_err err = pv_request_bytes(&rq, "target", dst, 8, len);
    json_decref(args);
    return err;
}

Test(request, bytes_come_as_text_or_hex)
{
    char dst[9];
    size_t len;
    cr_assert_eq(bytes_of(json_object(), dst, &len), PV_E_NOT_FOUND);
    cr_assert_eq(bytes_of(json_pack("{s:s}", "target", "12345678"), dst, &len), PV_OK);
    cr_assert_eq(len, 8);
    cr_assert_str_eq(dst, "12345678");
    cr_assert_eq(bytes_of(json_pack("{s:s}", "target", "123456789"), dst, &len), PV_E_INVALID);
    cr_assert_eq(bytes_of(json_pack("{s:s}", "target", ""), dst, &len), PV_OK);
    cr_assert_eq(len, 0);
    cr_assert_eq(bytes_of(json_pack("{s:s}", "target_hex", "fF00"), dst, &len), PV_E_INVALID);
    cr_assert_eq(bytes_of(json_pack("{s:s}", "target_hex", "fF01"), dst, &len), PV_OK);
    cr_assert_eq(len, 2);
    cr_assert_str_eq(dst, "\xff\x01");
    cr_assert_eq(bytes_of(json_pack("{s:s}", "target_hex", "ff0"), dst, &len), PV_E_INVALID);
    cr_assert_eq(bytes_of(json_pack("{s:s}", "target_hex", "0102030405060708"), dst, &len), PV_OK);
    cr_assert_eq(bytes_of(json_pack("{s:s}", "target_hex", "010203040506070809"), dst, &len),
                 PV_E_INVALID);
    cr_assert_eq(bytes_of(json_pack("{s:n}", "target"), dst, &len), PV_E_INVALID);
    cr_assert_eq(bytes_of(json_pack("{s:s, s:s}", "target", "a", "target_hex", "61"), dst, &len),
                 PV_E_INVALID);
}

Test(request, text_with_a_nul_is_refused)
{
    char dst[9];
    size_t len;
    json_t *args = json_object();
    json_object_set_new(args, "target", json_stringn("a\0b", 3));
    cr_assert_eq(bytes_of(args, dst, &len), PV_E_INVALID);
}

Test(request, names_are_text_where_they_can_be)
{
    json_t *o = json_object();
    pv_json_set_name(o,
                     "gr\xc3\xbc\xc3\x9f"
                     "e",
                     7);
    cr_assert_str_eq(json_string_value(json_object_get(o, "name")), "gr\xc3\xbc\xc3\x9f"
                                                                    "e");
    cr_assert_null(json_object_get(o, "name_hex"));
    json_object_clear(o);
    pv_json_set_name(o, "\xff\x00z", 3);
    cr_assert_null(json_object_get(o, "name"));
    cr_assert_str_eq(json_string_value(json_object_get(o, "name_hex")), "ff007a");
    json_object_clear(o);
    pv_json_set_name(o, "a\0b", 3);
    cr_assert_str_eq(json_string_value(json_object_get(o, "name_hex")), "610062");
    json_object_clear(o);
    pv_mem_fail_after(0);
    pv_json_set_name(o, "\xff", 1);
    pv_mem_fail_after(UINT64_MAX);
    cr_assert_eq(json_object_size(o), 0);
    json_decref(o);
}
