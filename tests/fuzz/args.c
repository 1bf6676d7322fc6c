/*
 * F7: the command line: words that end with a newline; the first byte says whether to stop at the
 * first that is no option. What is taken means the same when it is written in full, options first;
 * what is refused is refused with a reason.
 */
#include "cmd/peervault/args.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

enum { WORDS_MAX = 160 };

static const struct pv_option global[] = {{"vault", 0, false, "DIR", ""},
                                          {"json", 0, false, NULL, ""},
                                          {"quiet", 'q', false, NULL, ""},
                                          {.name = NULL}};
static const struct pv_option own[] = {
    {"output", 'o', false, "FILE", ""}, {"peer", 'p', true, "ADDR", ""}, {.name = NULL}};

static enum pv_err parse(struct pv_args *a, char **words, int count, bool stop, int *at)
{
    char why[PV_ARGS_WHY_MAX] = "";
    struct pv_args_input in = {count, words, global, stop ? NULL : own, stop};
    *at = 0;
    pv_args_init(a);
    enum pv_err err = pv_args_parse(a, &in, at, why);
    cr_assert(err == PV_OK || (err == PV_E_INVALID && strstr(why, ": ") != NULL), "%s", why);
    cr_assert(err != PV_OK || *at == count || (stop && *at < count));
    return err;
}

static void check_again(const struct pv_args *a, bool stop)
{
    struct pv_args again;
    char *full[PV_ARGS_OPTIONS_MAX + WORDS_MAX + 1];
    int count = 0, at;
    for (size_t i = 0; i < a->option_count; i++) {
        const struct pv_args_option *o = &a->options[i];
        full[count++] = o->value != NULL ? pv_asprintf("--%s=%s", o->option->name, o->value)
                                         : pv_asprintf("--%s", o->option->name);
    }
    full[count++] = pv_asprintf("--");
    for (size_t i = 0; i < a->word_count; i++)
        full[count++] = pv_asprintf("%s", a->words[i]);
    cr_assert_eq(parse(&again, full, count, stop, &at), PV_OK);
    cr_assert(again.option_count == a->option_count && again.word_count == a->word_count);
    for (size_t i = 0; i < a->option_count; i++) {
        const char *one = a->options[i].value, *two = again.options[i].value;
        cr_assert_eq(again.options[i].option, a->options[i].option);
        cr_assert(one == two || strcmp(one, two) == 0);
    }
    for (size_t i = 0; i < a->word_count; i++)
        cr_assert_str_eq(again.words[i], a->words[i]);
    pv_args_release(&again);
    while (count > 0)
        pv_free(full[--count]);
}

static void check_numbers(const char *text)
{
    uint64_t first, last, again[2];
    char shown[64];
    if (pv_number_parse(&first, text, 5, 1000) == PV_OK)
        cr_assert(first >= 5 && first <= 1000);
    if (pv_range_parse(&first, &last, text) != PV_OK)
        return;
    cr_assert(first <= last && last <= INT64_MAX);
    (void)snprintf(shown, sizeof shown, "%ju-%ju", (uintmax_t)first, (uintmax_t)last);
    cr_assert_eq(pv_range_parse(&again[0], &again[1], shown), PV_OK);
    cr_assert(again[0] == first && again[1] == last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_args args;
    char *words[WORDS_MAX + 1], *rest;
    char *text = pvf_text(data, size);
    int count = 0, at;
    bool stop = size > 0 && (data[0] & 1) != 0;
    rest = size > 0 ? text + 1 : text;
    for (char *word; count < WORDS_MAX && (word = strsep(&rest, "\n")) != NULL; count++)
        words[count] = pvf_text((uint8_t *)word, strlen(word));
    if (parse(&args, words, count, stop, &at) == PV_OK)
        check_again(&args, stop);
    pv_args_release(&args);
    while (count > 0) {
        check_numbers(words[--count]);
        pv_free(words[count]);
    }
    pv_free(text);
    return 0;
}
