/*
 * PV_SOMETIMES("..."): a mark on a path that is taken rarely, and that long runs of the tests must
 * have taken. It counts in builds with PV_MARKS (asan, and those of the simulator), and is nothing
 * in others. Texts are unique.
 */
#ifndef PV_BASE_SOMETIMES_H
#define PV_BASE_SOMETIMES_H

#include <stdint.h>

struct pv_sometimes {
    const char *text;
    uint64_t hits;
};

#ifdef PV_MARKS
/* Each mark lies in one section, which the linker gives a start and an end. */
#define PV_SOMETIMES(what)                                                       \
    do {                                                                         \
        static struct pv_sometimes mark_                                         \
            __attribute__((section("pv_marks"), used, aligned(16))) = {what, 0}; \
        (void)__atomic_fetch_add(&mark_.hits, 1, __ATOMIC_RELAXED);              \
    } while (0)
#else
#define PV_SOMETIMES(what) ((void)0)
#endif

#endif
