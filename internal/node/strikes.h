/*
 * Who misbehaved, and who is banned for it. By authenticated identity, never by address: addresses
 * are shared. No input or output; the caller closes sessions and refuses new ones.
 *
 * A strike is what an honest node does not do: a malformed message, one against the rules of the
 * protocol, a record with a false signature. PV_STRIKES_MAX of them are a ban of PV_BAN_MS_MIN,
 * each further ban twice as long as the one before, up to PV_BAN_MS_MAX. A body with the wrong hash
 * may also come from an honest node with a bad disk, which is told and looks after it, so only each
 * PV_BAD_BODIES_A_STRIKE of them are a strike. No strikes: frames that fail their authentication
 * (anybody on the way can do that), records of others that are held back or refused, clocks, speed.
 * All is forgotten PV_STRIKES_FORGET_MS after the last strike, or the end of the last ban.
 *
 * In memory only: a restart forgives everybody. The table has PV_STRIKES_KNOWN_MAX places; when it
 * is full, the oldest entry without a ban goes, and where all are banned the one whose ban ends
 * first: identities are free to make, so whoever has so many could as well come with a new one.
 */
#ifndef PV_NODE_STRIKES_H
#define PV_NODE_STRIKES_H

#include "internal/base/id.h"
#include "internal/base/limits.h"

#include <stdbool.h>

struct pv_strike {
    struct pv_id node_id;
    const char *what; /* the last one; a static string */
    unsigned strikes; /* since the last ban */
    unsigned bad_bodies;
    uint64_t struck_ms, banned_until_ms; /* mono; 0: never was */
    uint64_t ban_ms;                     /* length of the last ban */
};

struct pv_strikes { /* zeroed is empty */
    struct pv_strike known[PV_STRIKES_KNOWN_MAX];
    size_t count;
};

/* True: this one made it a ban, from now on. what: static. */
bool pv_strikes_add(struct pv_strikes *s, const struct pv_id *node_id, const char *what,
                    uint64_t now_ms);
bool pv_strikes_add_bad_body(struct pv_strikes *s, const struct pv_id *node_id, uint64_t now_ms);
/* NULL: not banned now. */
const struct pv_strike *pv_strikes_ban(const struct pv_strikes *s, const struct pv_id *node_id,
                                       uint64_t now_ms);

#endif
