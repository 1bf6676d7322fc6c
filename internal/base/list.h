/*
 * Intrusive doubly linked list with a sentinel, after the BSD and kernel lists.
 * The list owns nothing. An element is unlinked (self-linked or zeroed) or in exactly one list.
 */
#ifndef PV_BASE_LIST_H
#define PV_BASE_LIST_H

#include "internal/base/err.h"
#include <stdbool.h>
#include <stddef.h>

struct pv_list {
    struct pv_list *next, *prev;
};

static inline void pv_list_init(struct pv_list *l)
{
    l->next = l->prev = l;
}

static inline bool pv_list_empty(const struct pv_list *l)
{
    return l->next == l;
}

static inline bool pv_list_linked(const struct pv_list *e)
{
    return e->next != NULL && e->next != e;
}

static inline void pv_list_insert(struct pv_list *prev, struct pv_list *e)
{
    e->next = prev->next;
    e->prev = prev;
    prev->next->prev = e;
    prev->next = e;
}

static inline void pv_list_push_back(struct pv_list *l, struct pv_list *e)
{
    pv_list_insert(l->prev, e);
}

static inline void pv_list_push_front(struct pv_list *l, struct pv_list *e)
{
    pv_list_insert(l, e);
}

static inline void pv_list_remove(struct pv_list *e) /* no-op when unlinked */
{
    if (!pv_list_linked(e))
        return;
    e->prev->next = e->next;
    e->next->prev = e->prev;
    e->next = e->prev = e;
}

#define PV_LIST_ENTRY(e, type, member) PV_CONTAINER_OF(e, type, member)
/* The body may remove e. */
#define PV_LIST_EACH(l, e)                                             \
    for (struct pv_list *e = (l)->next, *e##_next = e->next; e != (l); \
         e = e##_next, e##_next = e->next)

#endif
