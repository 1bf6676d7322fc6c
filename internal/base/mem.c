/*
 * The allocator's door and the budgets.
 *
 * This file alone is compiled without banned.h. Every allocation passes allowed(), where tests
 * make one fail. Budgets keep a FIFO of waiters; the bytes at the head decide for everybody behind
 * it. Grants run in a loop guarded by `granting`, so that a callback which gives bytes back (or
 * cancels) lets the outer loop go on instead of nesting as deep as the queue is long.
 */
#include "internal/base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static atomic_uint_fast64_t fail_after = UINT64_MAX;

void pv_mem_fail_after(uint64_t n)
{
    atomic_store(&fail_after, n);
}

static bool allowed(void)
{
    uint_fast64_t n = atomic_load_explicit(&fail_after, memory_order_relaxed);
    while (n != UINT64_MAX) {
        /* From 0 the counter wraps to UINT64_MAX, which is "never": exactly one call fails. */
        if (atomic_compare_exchange_weak(&fail_after, &n, n - 1))
            return n != 0;
    }
    return true;
}

void *pv_malloc(size_t len)
{
    return allowed() ? malloc(len > 0 ? len : 1) : NULL;
}

void *pv_calloc(size_t count, size_t item_len)
{
    size_t len;
    if (__builtin_mul_overflow(count, item_len, &len)) /* before ASan's calloc ends the process */
        return NULL;
    return allowed() ? calloc(len > 0 ? len : 1, 1) : NULL;
}

void *pv_realloc(void *ptr, size_t len)
{
    return allowed() ? realloc(ptr, len > 0 ? len : 1) : NULL;
}

void *pv_memdup(const void *src, size_t len)
{
    void *copy = pv_malloc(len);
    if (copy != NULL && len > 0)
        memcpy(copy, src, len);
    return copy;
}

char *pv_strdup(const char *s)
{
    return pv_memdup(s, strlen(s) + 1);
}

char *pv_asprintf(const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    char *text = len >= 0 ? pv_malloc((size_t)len + 1) : NULL;
    if (text != NULL)
        vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}

void pv_free(void *ptr)
{
    free(ptr);
}

void pv_mem_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void pv_wipe(void *ptr, size_t len)
{
    if (len > 0)
        explicit_bzero(ptr, len);
}

void pv_budget_init(struct pv_budget *b, const char *name, size_t limit_bytes)
{
    *b = (struct pv_budget){.name = name, .limit_bytes = limit_bytes};
}

void pv_budget_release(struct pv_budget *b)
{
    PV_ASSERT(b->used_bytes == 0);
    PV_ASSERT(b->head == NULL);
}

static bool fits(const struct pv_budget *b, size_t bytes)
{
    return bytes <= b->limit_bytes - b->used_bytes;
}

static void take(struct pv_budget *b, size_t bytes)
{
    b->used_bytes += bytes;
    if (b->used_bytes > b->peak_bytes)
        b->peak_bytes = b->used_bytes;
}

static void unlink_wait(struct pv_budget_wait *wait)
{
    struct pv_budget *b = wait->budget;
    *(wait->prev != NULL ? &wait->prev->next : &b->head) = wait->next;
    *(wait->next != NULL ? &wait->next->prev : &b->tail) = wait->prev;
    wait->next = wait->prev = NULL;
    wait->budget = NULL;
}

static void grant_waiters(struct pv_budget *b)
{
    if (b->granting)
        return;
    b->granting = true;
    while (b->head != NULL && fits(b, b->head->bytes)) {
        struct pv_budget_wait *wait = b->head;
        unlink_wait(wait);
        take(b, wait->bytes);
        wait->granted(wait);
    }
    b->granting = false;
}

enum pv_err pv_budget_try(struct pv_budget *b, size_t bytes)
{
    if (bytes > b->limit_bytes)
        return PV_E_INVALID;
    if (b->head != NULL || !fits(b, bytes))
        return PV_E_LIMIT;
    take(b, bytes);
    return PV_OK;
}

bool pv_budget_take(struct pv_budget *b, size_t bytes, struct pv_budget_wait *wait)
{
    PV_ASSERT(bytes <= b->limit_bytes);
    PV_ASSERT(wait->budget == NULL && wait->granted != NULL);
    if (b->head == NULL && fits(b, bytes)) {
        take(b, bytes);
        return true;
    }
    wait->bytes = bytes;
    wait->budget = b;
    wait->next = NULL;
    wait->prev = b->tail;
    *(b->tail != NULL ? &b->tail->next : &b->head) = wait;
    b->tail = wait;
    return false;
}

void pv_budget_cancel(struct pv_budget_wait *wait)
{
    struct pv_budget *b = wait->budget;
    if (b == NULL)
        return;
    unlink_wait(wait);
    grant_waiters(b); /* those behind may be smaller */
}

void pv_budget_give(struct pv_budget *b, size_t bytes)
{
    PV_ASSERT(bytes <= b->used_bytes);
    b->used_bytes -= bytes;
    grant_waiters(b);
}
