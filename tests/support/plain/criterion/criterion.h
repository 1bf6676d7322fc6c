/*
 * Criterion's words for the plain runner (../runner.c), so that the same tests run under sanitizers
 * and valgrind. Criterion itself executes the whole program anew for each test, which costs half a
 * second under AddressSanitizer, hides what a sanitizer says at a test's end, and cannot start
 * under ThreadSanitizer. Builds that want this one put its folder before the system's.
 *
 * Only what our tests use is here. A failed cr_assert ends the test's process at once, in whatever
 * thread; a failed cr_expect is remembered. Either may have a printf format and its arguments last.
 */
#ifndef PLAIN_CRITERION_H
#define PLAIN_CRITERION_H

#include <stdbool.h>
#include <stdlib.h> /* as Criterion's own */
#include <string.h>

struct plain_options {
    void (*init)(void);
    void (*fini)(void);
    int signal;     /* the test has to die of this one */
    int exit_code;  /* the test has to exit with this one */
    double timeout; /* seconds */
    bool disabled;
    bool last; /* lets the macros end a list of options that may be empty */
};

/* body is NULL for the options of a suite. A test's own options go before those. */
struct plain_test {
    const char *suite, *name;
    void (*body)(void);
    struct plain_options options;
    struct plain_test *next;
};

void plain_register(struct plain_test *test);
void plain_report(const char *file, int line, const char *what, const char *format, ...);
_Noreturn void plain_stop(void);
_Noreturn void plain_skip(const char *format, ...);

#define PLAIN_REGISTER(id, ...)                                  \
    __attribute__((constructor)) static void id##_register(void) \
    {                                                            \
        static struct plain_test id = {__VA_ARGS__};             \
        plain_register(&id);                                     \
    }
#define PLAIN_SUITE(s, ...)                                        \
    PLAIN_REGISTER(s##_suite, #s, NULL, NULL, {__VA_ARGS__}, NULL) \
    _Static_assert(true, "takes the semicolon")
#define PLAIN_TEST(s, n, ...)                                            \
    static void s##_##n##_body(void);                                    \
    PLAIN_REGISTER(s##_##n, #s, #n, s##_##n##_body, {__VA_ARGS__}, NULL) \
    static void s##_##n##_body(void)

#define TestSuite(...) PLAIN_SUITE(__VA_ARGS__, .last = true)
#define Test(...) PLAIN_TEST(__VA_ARGS__, .last = true)
#define cr_skip_test(...) plain_skip("" __VA_ARGS__)

/* The callers below add "" behind their arguments: the format, where a test gives none. */
#define PLAIN_CHECK(stop, holds, what, ...)                      \
    do {                                                         \
        if (!(holds)) {                                          \
            plain_report(__FILE__, __LINE__, what, __VA_ARGS__); \
            stop;                                                \
        }                                                        \
    } while (0)
#define PLAIN_IS(stop, x, ...) PLAIN_CHECK(stop, x, #x, __VA_ARGS__)
#define PLAIN_NOT(stop, x, ...) PLAIN_CHECK(stop, !(x), "not " #x, __VA_ARGS__)
#define PLAIN_2(stop, op, a, b, ...) PLAIN_CHECK(stop, (a)op(b), #a " " #op " " #b, __VA_ARGS__)
#define PLAIN_STR(stop, op, a, b, ...) \
    PLAIN_CHECK(stop, strcmp(a, b) op 0, #a " " #op " " #b, __VA_ARGS__)
#define PLAIN_ARR(stop, op, a, b, len, ...) \
    PLAIN_CHECK(stop, memcmp(a, b, len) op 0, #a " " #op " " #b, __VA_ARGS__)
#define PLAIN_FLOAT(stop, a, b, off, ...) \
    PLAIN_CHECK(stop, (a) - (b) <= (off) && (b) - (a) <= (off), #a " near " #b, __VA_ARGS__)

#define cr_assert(...) PLAIN_IS(plain_stop(), __VA_ARGS__, "")
#define cr_assert_not(...) PLAIN_NOT(plain_stop(), __VA_ARGS__, "")
#define cr_assert_null(...) PLAIN_NOT(plain_stop(), __VA_ARGS__, "")
#define cr_assert_not_null(...) PLAIN_IS(plain_stop(), __VA_ARGS__, "")
#define cr_assert_eq(...) PLAIN_2(plain_stop(), ==, __VA_ARGS__, "")
#define cr_assert_neq(...) PLAIN_2(plain_stop(), !=, __VA_ARGS__, "")
#define cr_assert_lt(...) PLAIN_2(plain_stop(), <, __VA_ARGS__, "")
#define cr_assert_leq(...) PLAIN_2(plain_stop(), <=, __VA_ARGS__, "")
#define cr_assert_gt(...) PLAIN_2(plain_stop(), >, __VA_ARGS__, "")
#define cr_assert_geq(...) PLAIN_2(plain_stop(), >=, __VA_ARGS__, "")
#define cr_assert_str_eq(...) PLAIN_STR(plain_stop(), ==, __VA_ARGS__, "")
#define cr_assert_str_neq(...) PLAIN_STR(plain_stop(), !=, __VA_ARGS__, "")
#define cr_assert_arr_eq(...) PLAIN_ARR(plain_stop(), ==, __VA_ARGS__, "")
#define cr_assert_arr_neq(...) PLAIN_ARR(plain_stop(), !=, __VA_ARGS__, "")
#define cr_assert_float_eq(...) PLAIN_FLOAT(plain_stop(), __VA_ARGS__, "")
#define cr_assert_fail(...) PLAIN_CHECK(plain_stop(), false, "failed", "" __VA_ARGS__)

#define cr_expect(...) PLAIN_IS(, __VA_ARGS__, "")
#define cr_expect_not(...) PLAIN_NOT(, __VA_ARGS__, "")
#define cr_expect_null(...) PLAIN_NOT(, __VA_ARGS__, "")
#define cr_expect_not_null(...) PLAIN_IS(, __VA_ARGS__, "")
#define cr_expect_eq(...) PLAIN_2(, ==, __VA_ARGS__, "")
#define cr_expect_neq(...) PLAIN_2(, !=, __VA_ARGS__, "")
#define cr_expect_lt(...) PLAIN_2(, <, __VA_ARGS__, "")
#define cr_expect_leq(...) PLAIN_2(, <=, __VA_ARGS__, "")
#define cr_expect_gt(...) PLAIN_2(, >, __VA_ARGS__, "")
#define cr_expect_geq(...) PLAIN_2(, >=, __VA_ARGS__, "")
#define cr_expect_str_eq(...) PLAIN_STR(, ==, __VA_ARGS__, "")
#define cr_expect_str_neq(...) PLAIN_STR(, !=, __VA_ARGS__, "")
#define cr_expect_arr_eq(...) PLAIN_ARR(, ==, __VA_ARGS__, "")
#define cr_expect_arr_neq(...) PLAIN_ARR(, !=, __VA_ARGS__, "")
#define cr_expect_float_eq(...) PLAIN_FLOAT(, __VA_ARGS__, "")
#define cr_expect_fail(...) PLAIN_CHECK(, false, "failed", "" __VA_ARGS__)

#endif
