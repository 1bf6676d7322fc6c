/*
 * What one `store` is to do, and what became of its files. Only those under way are kept, in a
 * ring: from the first one of which not everything is known and said to the last one begun.
 */
#ifndef PV_CMD_STORE_PLAN_H
#define PV_CMD_STORE_PLAN_H

#include "cmd/peervault/cli.h"
#include "internal/base/id.h"
#include <jansson.h>

enum { PV_STORE_RING = 256 };

struct pv_store_item {
    char *path;    /* for messages and lines */
    char *name;    /* to bind; NULL: none */
    json_int_t id; /* of its request, 0 before */
    bool settled;  /* nothing more will come */
    enum pv_exit exit;
    char *error;                 /* when it failed */
    const char *skipped;         /* what it is, when that cannot be stored */
    char key[PV_ID_HEX_LEN + 1]; /* "" until it is durable */
    json_int_t size, new_bytes, copies, want;
};

struct pv_store_plan {
    uint64_t copies; /* 0: not asked for */
    bool wait, is_private, replace;
    struct pv_store_item ring[PV_STORE_RING];
    uint64_t begun, printed, done; /* counts; done <= printed <= begun <= done + PV_STORE_RING */
    /* of those that are done */
    enum pv_exit exit;
    uint64_t stored, behind, skipped, failed, bytes, fresh;
    json_int_t last_copies, last_want; /* of the last one that is behind */
};

/* USAGE: bad options. Said. */
enum pv_exit pv_store_plan_init(struct pv_store_plan *plan, const struct pv_args *args);
void pv_store_plan_release(struct pv_store_plan *plan);

bool pv_store_plan_has_room(const struct pv_store_plan *plan);
/* Needs room. NULL: out of memory. name may be NULL. */
struct pv_store_item *pv_store_plan_add(struct pv_store_plan *plan, const char *path,
                                        const char *name);
/* The open item with this request; NULL: none. */
struct pv_store_item *pv_store_plan_find(struct pv_store_plan *plan, json_int_t id);
/* Settles an item. error may be NULL. */
void pv_store_settle(struct pv_store_item *item, enum pv_exit exit, const char *error);
/* Settles all that are not, for one reason. */
void pv_store_plan_settle_all(struct pv_store_plan *plan, enum pv_exit exit, const char *error);

/* Whether pv_store_plan_print has something to print. */
bool pv_store_plan_is_ready(const struct pv_store_plan *plan, const struct pv_cli *cli);
/* Prints what is known by now, in input order, and lets go of what is done. FAILED when stdout is
 * closed: said. */
enum pv_exit pv_store_plan_print(struct pv_store_plan *plan, const struct pv_cli *cli);
/* The exit code of all, and the words about what was left out and about copies. */
enum pv_exit pv_store_plan_finish(const struct pv_store_plan *plan, const struct pv_cli *cli,
                                  bool embedded);

#endif
