/* Arguments by a table: every form of an option, and every mistake by its message. */
#include "cmd/peervault/args.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const struct pv_option global[] = {
    {"vault", 0, false, "DIR", ""},
    {"json", 0, false, NULL, ""},
    {"quiet", 'q', false, NULL, ""},
    {.name = NULL},
};
static const struct pv_option own[] = {
    {"output", 'o', false, "FILE", ""},
    {"peer", 'p', true, "ADDR", ""},
    {"private", 'x', false, NULL, ""},
    {.name = NULL},
};

static struct pv_args args;
static char why[PV_ARGS_WHY_MAX];
static int at;

/* Parses the given words, without a program name; both tables apply. */
static enum pv_err parse(bool stop_at_word, int argc, const char *const *argv)
{
    char copies[16][5000], *pointers[16];
    struct pv_args_input in = {argc, pointers, global, stop_at_word ? NULL : own, stop_at_word};
    for (int i = 0; i < argc; i++) {
        snprintf(copies[i], sizeof copies[i], "%s", argv[i]);
        pointers[i] = copies[i];
    }
    at = 0;
    pv_args_release(&args);
    pv_args_init(&args);
    why[0] = '\0';
    enum pv_err err = pv_args_parse(&args, &in, &at, why);
    /* The copies end here: keep what the tests compare. */
    static char kept[32][5000];
    size_t k = 0;
    for (size_t i = 0; i < args.word_count; i++)
        args.words[i] = strcpy(kept[k++], args.words[i]);
    for (size_t i = 0; i < args.option_count; i++)
        if (args.options[i].value != NULL)
            args.options[i].value = strcpy(kept[k++], args.options[i].value);
    return err;
}

#define PARSE(...)                                                              \
    parse(false, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
          (const char *[]){__VA_ARGS__})

#define REFUSED(message, ...)                           \
    do {                                                \
        cr_assert_eq(PARSE(__VA_ARGS__), PV_E_INVALID); \
        cr_assert_str_eq(why, message);                 \
    } while (0)

TestSuite(args, .timeout = 10);

Test(args, takes_values_in_every_form)
{
    static const char *const forms[][2] = {
        {"--output", "f"}, {"--output=f", NULL}, {"-o", "f"}, {"-of", NULL}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        int argc = forms[i][1] != NULL ? 2 : 1;
        cr_assert_eq(parse(false, argc, forms[i]), PV_OK);
        cr_assert_str_eq(pv_args_value(&args, "output"), "f");
        cr_assert_eq(args.word_count, 0);
        cr_assert_eq(at, argc);
    }
    cr_assert_eq(PARSE("--output=a=b"), PV_OK);
    cr_assert_str_eq(pv_args_value(&args, "output"), "a=b");
    cr_assert_eq(PARSE("-o", "--json"), PV_OK);
    cr_assert_str_eq(pv_args_value(&args, "output"), "--json");
    cr_assert(!pv_args_has(&args, "json"));
    pv_args_release(&args);
}

Test(args, mixes_options_and_words)
{
    cr_assert_eq(PARSE("a", "--json", "-", "-qx", "b", "--", "--private", "-o"), PV_OK);
    cr_assert_eq(args.word_count, 5);
    static const char *const words[] = {"a", "-", "b", "--private", "-o"};
    for (size_t i = 0; i < 5; i++)
        cr_assert_str_eq(args.words[i], words[i]);
    cr_assert_null(args.words[5]);
    cr_assert(pv_args_has(&args, "json") && pv_args_has(&args, "quiet"));
    cr_assert(pv_args_has(&args, "private") && !pv_args_has(&args, "output"));
    cr_assert_null(pv_args_value(&args, "output"));
    cr_assert_eq(PARSE("-xof"), PV_OK);
    cr_assert_str_eq(pv_args_value(&args, "output"), "f");
    pv_args_release(&args);
}

Test(args, stops_at_the_first_word)
{
    static const char *const line[] = {"--json", "store", "-o"};
    cr_assert_eq(parse(true, 3, line), PV_OK);
    cr_assert_eq(at, 1);
    cr_assert_eq(args.word_count, 0);
    static const char *const unknown[] = {"--output", "store"};
    cr_assert_eq(parse(true, 2, unknown), PV_E_INVALID);
    pv_args_release(&args);
}

Test(args, names_the_mistake)
{
    REFUSED("--nonsense: unknown option: see `peervault help`", "--nonsense");
    REFUSED("--nonsense: unknown option: see `peervault help`", "--nonsense=1");
    REFUSED("-z: unknown option: see `peervault help`", "-qz");
    REFUSED("--json: takes no value", "--json=1");
    REFUSED("--output: needs a value", "x", "--output");
    REFUSED("-o: needs a value", "-o");
    REFUSED("--output: needs a value that is not empty", "--output=");
    REFUSED("-o: needs a value that is not empty", "-o", "");
    REFUSED("--output: is given twice", "-o", "a", "--output", "b");
    REFUSED("--: unknown option: see `peervault help`", "--=x");
    cr_assert_eq(PARSE("-q", "-q"), PV_OK);
    pv_args_release(&args);
}

Test(args, bounds_lengths_and_numbers)
{
    char *longest = malloc(PV_ARG_MAX + 2);
    memset(longest, 'n', PV_ARG_MAX + 1);
    longest[PV_ARG_MAX + 1] = '\0';
    cr_assert_eq(PARSE(longest), PV_E_INVALID);
    cr_assert(strstr(why, "longer than 4096 bytes") != NULL && strlen(why) < 160);
    cr_assert_eq(PARSE("-o", longest), PV_E_INVALID);
    longest[PV_ARG_MAX] = '\0';
    cr_assert_eq(PARSE(longest, "-o", longest), PV_OK);
    free(longest);

    char *many[PV_ARGS_OPTIONS_MAX + 2], peer[] = "-pa";
    for (size_t i = 0; i < PV_ARGS_OPTIONS_MAX + 1; i++)
        many[i] = peer;
    struct pv_args_input in = {PV_ARGS_OPTIONS_MAX, many, global, own, false};
    pv_args_release(&args);
    at = 0;
    cr_assert_eq(pv_args_parse(&args, &in, &at, why), PV_OK);
    cr_assert_eq(args.option_count, PV_ARGS_OPTIONS_MAX);
    pv_args_release(&args);
    in.argc++;
    at = 0;
    cr_assert_eq(pv_args_parse(&args, &in, &at, why), PV_E_INVALID);
    pv_args_release(&args);
}

Test(args, parses_numbers)
{
    uint64_t n = 7;
    cr_assert_eq(pv_number_parse(&n, "1", 1, 64), PV_OK);
    cr_assert_eq(n, 1);
    cr_assert_eq(pv_number_parse(&n, "64", 1, 64), PV_OK);
    cr_assert_eq(n, 64);
    static const char *const bad[] = {
        "0", "65", "", "-1", "+1", " 1", "1 ", "0x1", "many", "1.0", "18446744073709551617"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(pv_number_parse(&n, bad[i], 1, 64), PV_E_INVALID, "%s", bad[i]);
    cr_assert_eq(n, 64);
}

Test(args, parses_ranges)
{
    uint64_t a = 5, b = 5;
    cr_assert_eq(pv_range_parse(&a, &b, "0-0"), PV_OK);
    cr_assert(a == 0 && b == 0);
    cr_assert_eq(pv_range_parse(&a, &b, "10-19"), PV_OK);
    cr_assert(a == 10 && b == 19);
    cr_assert_eq(pv_range_parse(&a, &b, "3-"), PV_OK);
    cr_assert(a == 3 && b == INT64_MAX);
    cr_assert_eq(pv_range_parse(&a, &b, "0-9223372036854775807"), PV_OK);
    static const char *const bad[] = {"",
                                      "-",
                                      "-5",
                                      "5",
                                      "9-3",
                                      "a-b",
                                      "1-2-3",
                                      "1-2x",
                                      "1--2",
                                      " 1-2",
                                      "1- 2",
                                      "0x1-2",
                                      "1,2",
                                      "1-9223372036854775808",
                                      "18446744073709551616-18446744073709551617"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(pv_range_parse(&a, &b, bad[i]), PV_E_INVALID, "%s", bad[i]);
    cr_assert(a == 0 && b == INT64_MAX);
}
