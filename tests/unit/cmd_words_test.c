/* Lines of the shell as words. */
#include "cmd/peervault/words.h"

#include "internal/base/mem.h"
#include <criterion/criterion.h>
#include <string.h>

TestSuite(words, .timeout = 10);

Test(words, as_sh_takes_them_apart)
{
    static const struct {
        const char *line;
        const char *words[5];
    } cases[] = {
        {"", {NULL}},
        {" \t ", {NULL}},
        {"# set a b", {NULL}},
        {"set a b", {"set", "a", "b"}},
        {"  set\ta  b # why", {"set", "a", "b"}},
        {"a#b \\# '#'", {"a#b", "#", "#"}},
        {"'one word' \"and another\"", {"one word", "and another"}},
        {"a\\ b a'b'\"c\"d", {"a b", "abcd"}},
        {"'' \"\" x", {"", "", "x"}},
        {"'\\' \"\\\\ \\\" \\n\"", {"\\", "\\ \" \\n"}},
        {"it\\'s $HOME *", {"it's", "$HOME", "*"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pv_words w;
        size_t n = 0;
        cr_assert_eq(pv_words_split(&w, cases[i].line), PV_OK, "%s", cases[i].line);
        for (; cases[i].words[n] != NULL; n++)
            cr_assert(n < w.count && strcmp(w.list[n], cases[i].words[n]) == 0, "%s",
                      cases[i].line);
        cr_assert_eq(w.count, n, "%s", cases[i].line);
        cr_assert_null(w.list[n]);
        pv_words_release(&w);
    }
}

Test(words, what_does_not_end_is_refused)
{
    static const char *const bad[] = {"'", "a 'b", "\"", "\"a\\\"", "a\\", "'a' \"b"};
    struct pv_words w;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(pv_words_split(&w, bad[i]), PV_E_INVALID, "%s", bad[i]);
}

Test(words, as_many_as_allowed_and_one_more)
{
    static char line[2 * PV_WORDS_MAX + 3];
    struct pv_words w;
    for (size_t i = 0; i < PV_WORDS_MAX; i++)
        memcpy(line + 2 * i, "a ", 2);
    cr_assert_eq(pv_words_split(&w, line), PV_OK);
    cr_assert_eq(w.count, PV_WORDS_MAX);
    pv_words_release(&w);
    strcat(line, "b");
    cr_assert_eq(pv_words_split(&w, line), PV_E_INVALID);
    for (uint64_t k = 0; k < 2; k++) {
        pv_mem_fail_after(k);
        cr_assert_eq(pv_words_split(&w, "a"), PV_E_NOMEM);
        pv_mem_fail_after(UINT64_MAX);
    }
}
