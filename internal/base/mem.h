/*
 * Memory: the only door to the allocator.
 *
 * The malloc family is poisoned everywhere else by banned.h, so that products are overflow-checked
 * and tests can make the k-th allocation fail. Out of memory is an error for one request: callers
 * check for NULL. pv_free accepts NULL.
 */
#ifndef PV_BASE_MEM_H
#define PV_BASE_MEM_H

#include "internal/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *pv_malloc(size_t len);                    /* uninitialised; len 0 gives a unique pointer */
void *pv_calloc(size_t count, size_t item_len); /* zeroed; NULL when the product overflows */
void *pv_realloc(void *ptr, size_t len);        /* the old block stays valid on NULL */
void *pv_memdup(const void *src, size_t len);
char *pv_strdup(const char *s);
char *pv_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void pv_free(void *ptr);
void pv_wipe(void *ptr, size_t len); /* zeroes memory in a way the compiler keeps */
void pv_mem_trim(void); /* gives what is free back to the system, where the allocator can */

/* Frees what a local variable points at when it goes out of scope: PV_AUTO_FREE char *s = ...; */
#define PV_AUTO_FREE __attribute__((cleanup(pv_auto_free_)))
static inline void pv_auto_free_(void *slot)
{
    pv_free(*(void **)slot);
}

/* Tests: the next n allocations of this process succeed, then one fails. UINT64_MAX: never. */
void pv_mem_fail_after(uint64_t n);

/*
 * A budget is one share of mem_limit. Whoever needs bytes reserves them before allocating and
 * gives them back after freeing. When nothing is left, a reservation waits in FIFO order and its
 * callback runs, from inside the pv_budget_give or pv_budget_cancel that made room, once the bytes
 * are its own. That is the back-pressure: the waiter's input is simply not read meanwhile. A waiter
 * at the head of the queue is never overtaken by a smaller one, so that large requests are not
 * starved. Not thread-safe: budgets belong to the loop thread.
 */
struct pv_budget_wait {
    struct pv_budget_wait *next, *prev; /* private */
    struct pv_budget *budget;           /* private; NULL when not waiting */
    size_t bytes;                       /* private */
    void (*granted)(struct pv_budget_wait *wait);
};

struct pv_budget {
    const char *name;
    size_t limit_bytes, used_bytes, peak_bytes;
    struct pv_budget_wait *head, *tail; /* private */
    bool granting;                      /* private */
};

void pv_budget_init(struct pv_budget *b, const char *name, size_t limit_bytes);
void pv_budget_release(struct pv_budget *b); /* asserts that all was given back */

/* Takes bytes now, or PV_E_LIMIT. Never overtakes waiters. bytes > limit_bytes: PV_E_INVALID. */
PV_MUST enum pv_err pv_budget_try(struct pv_budget *b, size_t bytes);

/*
 * Takes bytes now (returns true; the callback does not run) or queues the waiter (false), which
 * starts zeroed but for `granted`. bytes > limit_bytes would wait for ever and asserts.
 */
PV_MUST bool pv_budget_take(struct pv_budget *b, size_t bytes, struct pv_budget_wait *wait);
/* No-op when not waiting. May grant those that waited behind, like pv_budget_give. */
void pv_budget_cancel(struct pv_budget_wait *wait);
void pv_budget_give(struct pv_budget *b, size_t bytes);
static inline bool pv_budget_is_awaited(const struct pv_budget *b) /* somebody waits */
{
    return b->head != NULL;
}

#endif
