/*
 * The queue of pending records in memory: entries, what each waits for, and who waits for them.
 *
 * An entry is in `todo` (to be checked; one check runs at a time), or in `parked` until something
 * happens that it waits for, or it is the one being checked:
 *
 *   blobs too few      a STORED was committed, or the members changed
 *   safe, not sent     a peer is admitted or writable
 *   sent, no STORED    PV_PUBLISH_AGAIN_MS
 *   published          somebody waits for more copies: both of the first two
 *
 * Entries are found by rid after a job, never by pointer, but for the one being checked, which
 * nothing but its check takes away.
 */
#ifndef PV_NODE_PENDING_H
#define PV_NODE_PENDING_H

#include "internal/node/publish_check.h"

enum {
    PV_PENDING_QUEUE_MAX = 4096,
    PV_PENDING_ENTRIES_MAX = 2 * PV_PENDING_QUEUE_MAX, /* with those that somebody waits for */
    PV_PUBLISH_AGAIN_MS = 5000,
};

struct pv_pending {
    struct pv_list list;
    struct pv_id rid, hash, name_rid, name_hash;
    bool has_hash, has_name, has_name_hash;
    bool parked, again; /* again: something happened while it was checked */
    bool safe, published, name_published;
    bool stuck;          /* an error, or a name whose file is pending: tried again after a while */
    uint64_t sent_at_ms; /* 0: not yet */
    uint64_t due_ms;     /* while parked: to be checked again then */
    unsigned level;
    struct pv_copies_walk walk;
    uint8_t stored_by[PV_MEMBERS_KNOWN_MAX / 8];
    unsigned stored_count;
};

struct pv_publish {
    struct pv_list todo, parked, waits;
    struct pv_map by_rid, by_hash; /* by_hash: of records and of names */
    struct pv_pending *checking;   /* NULL: none; in no list */
    bool loading, more, load_full; /* more: the store may have some that are not here */
    uint64_t load_at_ms;           /* not before, after it failed */
    uint64_t again_at_ms;          /* the first due_ms of all, or load_at_ms */
};

/* NULL: no memory or no room; the store still has it (more is set). To be checked. */
struct pv_pending *pv_pending_new(struct pv_publish *q, const struct pv_id *rid);
void pv_pending_free(struct pv_publish *q, struct pv_pending *e);
struct pv_pending *pv_pending_find(const struct pv_publish *q, const struct pv_id *rid);
/* The record is another one now: what was counted for the old one does not hold. */
void pv_pending_renew(struct pv_publish *q, struct pv_pending *e, const struct pv_id *hash);
/* The same, but its name stays with it. */
void pv_pending_adopt(struct pv_publish *q, struct pv_pending *e, const struct pv_id *hash);
void pv_pending_learn_hash(struct pv_publish *q, struct pv_pending *e, const struct pv_id *hash);
void pv_pending_learn_name(struct pv_publish *q, struct pv_pending *e, const struct pv_id *hash);
/* To be checked (again, if a check runs). */
void pv_pending_enqueue(struct pv_publish *q, struct pv_pending *e);
/* What is not to be checked now: away with it if all is done, or aside. e may be freed. */
void pv_pending_settle(struct pv_node *n, struct pv_pending *e);
/* The same for an entry that is parked; any other is left alone. */
void pv_pending_settle_rid(struct pv_node *n, const struct pv_id *rid);
/* Tells waiters of a file that its copies grew. They may do anything: look entries up again. */
void pv_pending_tell(struct pv_node *n, const struct pv_id *rid);

bool pv_pending_is_waited_for(const struct pv_publish *q, const struct pv_pending *e);
unsigned pv_pending_goal(const struct pv_node *n, const struct pv_pending *e); /* or more */
bool pv_pending_all_published(const struct pv_pending *e);
/* It may leave, and has not, or somebody waits for more answers. */
bool pv_pending_wants_sending(const struct pv_node *n, const struct pv_pending *e);

#endif
