/*
 * A blind machine comes back to its cluster by an invite. It has no key that the inviter could
 * prove to it, so it asks its own vault: the inviter must be the node that let it in, or a keyed
 * member by the records it keeps.
 */
#ifndef PV_INTERNAL_REJOIN_H
#define PV_INTERNAL_REJOIN_H

#include "internal/setup.h"

/* s is locked. PV_E_NOT_FOUND: the inviter is none of these. Errors of pv_store_open. */
PV_MUST enum pv_err pv_rejoin_check_inviter(struct pv_setup *s, const struct pv_invite *invite,
                                            const struct pv_env *env);

#endif
