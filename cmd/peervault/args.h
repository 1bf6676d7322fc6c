/*
 * Command-line arguments: options as a table describes them, the rest as words.
 *
 *   --name VALUE  --name=VALUE  -o VALUE  -oVALUE  --switch  -q  -qx (two switches)  --
 *
 * Options stand anywhere after the command; "-" alone is a word, and everything after "--" is. An
 * option that takes a value may be given once, unless it repeats. No value is empty, and no
 * argument is longer than PV_ARG_MAX bytes. Nothing is copied: texts are argv's own.
 */
#ifndef PV_CMD_ARGS_H
#define PV_CMD_ARGS_H

#include "internal/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PV_ARG_MAX = 4096,
    PV_ARGS_OPTIONS_MAX = 128, /* in one call; --peer is the one that repeats */
    PV_ARGS_WHY_MAX = 320,
};

struct pv_option {
    const char *name;    /* without dashes; NULL ends a table */
    char letter;         /* 0: none */
    bool repeats;        /* the value may be given several times */
    const char *metavar; /* "ADDR:PORT"; NULL: a switch */
    const char *help;
};

struct pv_args {
    struct pv_args_option {
        const struct pv_option *option;
        const char *value; /* NULL for a switch */
    } options[PV_ARGS_OPTIONS_MAX];
    size_t option_count;
    const char **words; /* argc + 1 of them are room enough; ends with NULL */
    size_t word_count;
};

void pv_args_init(struct pv_args *a);
void pv_args_release(struct pv_args *a);

/*
 * Adds argv[*at..argc) to a and advances *at behind what was read: everything, or with
 * stop_at_word up to the first word. Both tables apply; own may be NULL.
 * PV_E_INVALID: why (PV_ARGS_WHY_MAX bytes) names the option. PV_E_NOMEM.
 */
struct pv_args_input {
    int argc;
    char **argv;
    const struct pv_option *global, *own;
    bool stop_at_word;
};
PV_MUST enum pv_err pv_args_parse(struct pv_args *a, const struct pv_args_input *in, int *at,
                                  char *why);

bool pv_args_has(const struct pv_args *a, const char *name);
const char *pv_args_value(const struct pv_args *a, const char *name); /* NULL: not given */

/* Whole decimal numbers in min..max. PV_E_INVALID. */
PV_MUST enum pv_err pv_number_parse(uint64_t *out, const char *text, uint64_t min, uint64_t max);
/* "A-B", inclusive, A <= B; "A-" goes to the end (*last = INT64_MAX). PV_E_INVALID. */
PV_MUST enum pv_err pv_range_parse(uint64_t *first, uint64_t *last, const char *text);

#endif
