/*
 * One pass over argv. Each argument is an option by name, a group of option letters, "--", or a
 * word; a value is taken from behind "=" or the letter, else from the next argument.
 */
#include "cmd/peervault/args.h"
#include "internal/base/mem.h"
#include "internal/config_value.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 80 }; /* bytes of an argument in a message */

void pv_args_init(struct pv_args *a)
{
    memset(a, 0, sizeof *a);
}

void pv_args_release(struct pv_args *a)
{
    pv_free(a->words);
    memset(a, 0, sizeof *a);
}

struct parser {
    struct pv_args *args;
    const struct pv_args_input *in;
    int at;
    char *why;
};

static enum pv_err refuse(const struct parser *p, const char *what, size_t len, const char *problem)
{
    snprintf(p->why, PV_ARGS_WHY_MAX, "%.*s%s: %s", len > SHOWN_MAX ? SHOWN_MAX : (int)len, what,
             len > SHOWN_MAX ? "..." : "", problem);
    return PV_E_INVALID;
}

static const struct pv_option *find(const struct pv_option *table, const char *name, size_t len,
                                    char letter)
{
    for (const struct pv_option *o = table; o != NULL && o->name != NULL; o++)
        if (letter != '\0' ? o->letter == letter
                           : strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    return NULL;
}

static const struct pv_option *find_any(const struct parser *p, const char *name, size_t len,
                                        char letter)
{
    const struct pv_option *o = find(p->in->own, name, len, letter);
    return o != NULL ? o : find(p->in->global, name, len, letter);
}

/* shown: how the user wrote the option, for messages. */
static enum pv_err add(struct parser *p, const struct pv_option *o, const char *value,
                       const char *shown, size_t shown_len)
{
    struct pv_args *a = p->args;
    if (value == NULL && o->metavar != NULL) {
        if (p->at == p->in->argc)
            return refuse(p, shown, shown_len, "needs a value");
        value = p->in->argv[p->at++];
        if (strlen(value) > PV_ARG_MAX)
            return refuse(p, shown, shown_len, "the value is longer than 4096 bytes");
    }
    if (value != NULL && value[0] == '\0')
        return refuse(p, shown, shown_len, "needs a value that is not empty");
    for (size_t i = 0; value != NULL && !o->repeats && i < a->option_count; i++)
        if (a->options[i].option == o)
            return refuse(p, shown, shown_len, "is given twice");
    if (a->option_count == PV_ARGS_OPTIONS_MAX)
        return refuse(p, shown, shown_len, "one option too many: at most 128");
    a->options[a->option_count++] = (struct pv_args_option){o, value};
    return PV_OK;
}

static enum pv_err long_option(struct parser *p, const char *arg)
{
    const char *equals = strchr(arg, '=');
    size_t len = equals != NULL ? (size_t)(equals - arg) : strlen(arg);
    const struct pv_option *o = find_any(p, arg + 2, len - 2, '\0');
    if (o == NULL)
        return refuse(p, arg, len, "unknown option: see `peervault help`");
    if (equals != NULL && o->metavar == NULL)
        return refuse(p, arg, len, "takes no value");
    return add(p, o, equals != NULL ? equals + 1 : NULL, arg, len);
}

static enum pv_err letters(struct parser *p, const char *arg)
{
    for (const char *c = arg + 1; *c != '\0'; c++) {
        const char shown[2] = {'-', *c};
        const struct pv_option *o = find_any(p, "", 0, *c);
        if (o == NULL)
            return refuse(p, shown, sizeof shown, "unknown option: see `peervault help`");
        const char *value = o->metavar != NULL && c[1] != '\0' ? c + 1 : NULL;
        enum pv_err err = add(p, o, value, shown, sizeof shown);
        if (err != PV_OK || value != NULL)
            return err;
    }
    return PV_OK;
}

enum pv_err pv_args_parse(struct pv_args *a, const struct pv_args_input *in, int *at, char *why)
{
    struct parser p = {a, in, *at, why};
    bool words_only = false;
    if (a->words == NULL && (a->words = pv_calloc((size_t)in->argc + 1, sizeof *a->words)) == NULL)
        return PV_E_NOMEM;
    while (p.at < in->argc) {
        const char *arg = in->argv[p.at];
        bool option = !words_only && arg[0] == '-' && arg[1] != '\0';
        enum pv_err err = PV_OK;
        if (!option && in->stop_at_word)
            break;
        p.at++;
        if (strlen(arg) > PV_ARG_MAX)
            return refuse(&p, arg, strlen(arg), "longer than 4096 bytes");
        if (!option)
            a->words[a->word_count++] = arg;
        else if (strcmp(arg, "--") == 0)
            words_only = true;
        else
            err = arg[1] == '-' ? long_option(&p, arg) : letters(&p, arg);
        if (err != PV_OK)
            return err;
    }
    *at = p.at;
    return PV_OK;
}

static const struct pv_args_option *given(const struct pv_args *a, const char *name)
{
    for (size_t i = 0; i < a->option_count; i++)
        if (strcmp(a->options[i].option->name, name) == 0)
            return &a->options[i];
    return NULL;
}

bool pv_args_has(const struct pv_args *a, const char *name)
{
    return given(a, name) != NULL;
}

const char *pv_args_value(const struct pv_args *a, const char *name)
{
    const struct pv_args_option *o = given(a, name);
    return o != NULL ? o->value : NULL;
}

enum pv_err pv_number_parse(uint64_t *out, const char *text, uint64_t min, uint64_t max)
{
    uint64_t n = 0;
    const char *rest = text;
    if (pv_digits_parse(&n, text, &rest) != PV_OK || *rest != '\0' || n < min || n > max)
        return PV_E_INVALID;
    *out = n;
    return PV_OK;
}

enum pv_err pv_range_parse(uint64_t *first, uint64_t *last, const char *text)
{
    uint64_t a = 0, b = INT64_MAX;
    const char *rest = text;
    if (pv_digits_parse(&a, text, &rest) != PV_OK || *rest != '-')
        return PV_E_INVALID;
    rest++;
    if (*rest != '\0' && pv_number_parse(&b, rest, 0, INT64_MAX) != PV_OK)
        return PV_E_INVALID;
    if (a > b)
        return PV_E_INVALID;
    *first = a;
    *last = b;
    return PV_OK;
}
