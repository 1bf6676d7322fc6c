/*
 * What one `store` is to do: its files, the names they get, and what became of each.
 */
#ifndef PV_CMD_STORE_PLAN_H
#define PV_CMD_STORE_PLAN_H

#include "cmd/peervault/cli.h"
#include "internal/base/id.h"
#include <jansson.h>

struct pv_store_item {
    const char *path; /* as given; "-" is standard input */
    const char *name; /* to bind; NULL: none */
    json_int_t id;    /* of its request, 0 before */
    bool settled;     /* nothing more will come */
    enum pv_exit exit;
    char *error;                 /* when it failed */
    char key[PV_ID_HEX_LEN + 1]; /* "" until it is durable */
    json_int_t size, new_bytes, copies, want;
};

struct pv_store_plan {
    struct pv_store_item *items;
    size_t count, printed;
    uint64_t copies; /* 0: not asked for */
    bool wait, is_private;
};

/* USAGE: bad options, equal names, a name for several files; nothing has been stored then. */
enum pv_exit pv_store_plan_make(struct pv_store_plan *plan, const struct pv_args *args);
void pv_store_plan_release(struct pv_store_plan *plan);

/* The last component of a path. */
const char *pv_base_name(const char *path);

/* Prints what is known by now, in input order. FAILED when stdout is closed: said. */
enum pv_exit pv_store_plan_print(struct pv_store_plan *plan, const struct pv_cli *cli);
/* The exit code of all, and the words about copies. */
enum pv_exit pv_store_plan_finish(const struct pv_store_plan *plan, const struct pv_cli *cli,
                                  bool embedded);

#endif
