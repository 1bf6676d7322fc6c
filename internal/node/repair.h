/*
 * Repair of blobs: what is bad at rest leaves for quarantine/, and another copy is fetched.
 *
 *   commit BAD (looks once more) -> good: nothing to do
 *                                -> gone: fetch -> here again
 *                                              -> nobody in reach has it: lost, and members are
 *                                                 told (LOST), so that whoever has it offers it
 *                                -> unreadable: fetch a copy to replace it; none: it stays
 *
 * Peers that complain of a body start one, and so do verify, scrub and whoever reads.
 */
#ifndef PV_NODE_REPAIR_H
#define PV_NODE_REPAIR_H

#include "internal/node/node.h"

enum { PV_REPAIRS_MAX = 32 };

enum pv_repair_end {
    PV_REPAIR_GOOD,       /* it was good */
    PV_REPAIR_DONE,       /* it was not, and is now */
    PV_REPAIR_LOST,       /* no reachable node has a good copy; it is not here any more */
    PV_REPAIR_UNREADABLE, /* the same, but ours may be good: it cannot be read, and stays */
    PV_REPAIR_FAILED,     /* neither: no memory, no room, vault.db; or the node closes */
};

struct pv_repair_what {
    struct pv_id id;
    bool wanted;   /* it should be here even if there is no row: fetch it then, too */
    uint32_t size; /* then: at most so many bytes, and the kind */
    uint8_t kind;
};

struct pv_repair;
typedef void (*pv_repair_fn)(void *ctx, enum pv_repair_end end);
/*
 * done (may be NULL) is called once, later; with FAILED at the latest when the node is freed. NULL:
 * no memory, or PV_REPAIRS_MAX are under way.
 */
struct pv_repair *pv_repair_start(struct pv_node *n, const struct pv_repair_what *what,
                                  pv_repair_fn done, void *ctx);
/* done will not be called; the repair goes on. */
void pv_repair_abandon(struct pv_repair *r);

#endif
