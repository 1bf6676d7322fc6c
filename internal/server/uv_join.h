/*
 * The joiner's side of an invite: one session with the inviter, one request, one grant. Blocks, on
 * a loop of its own; no server runs on the vault.
 */
#ifndef PV_SERVER_UV_JOIN_H
#define PV_SERVER_UV_JOIN_H

#include "crypto/identity.h"
#include "crypto/invite.h"
#include "transport/msg.h"

enum { PV_JOIN_WAIT_MS = 60000, PV_JOIN_TEXT_MAX = 400 };

struct pv_join {
    const struct pv_env *env;
    const struct pv_identity *identity; /* that the machine will have */
    const struct pv_invite *invite;
    const char *const *addresses; /* of the inviter; tried all at once */
    size_t address_count;
    const char *name; /* what this machine calls itself; up to PV_JOIN_NAME_MAX bytes */
    /* Of a keyed vault that comes again, else NULL: the inviter must prove one of its keys, before
     * it is asked. */
    const struct pv_keyring *own;
    /* The inviter's operator must confirm this machine, by this number (pv_invite_number). */
    void (*show_number)(void *arg, uint32_t number);
    void *arg;
};

struct pv_join_result { /* holds secrets: wipe it */
    struct pv_msg_join grant;
    struct pv_id inviter;
    char reached[PV_ADDRESS_MAX + 1]; /* the address that answered */
};

/*
 * why (PV_JOIN_TEXT_MAX bytes) gets a line for a person on errors. AUTH: the inviter refused, or
 * another node answered; INVALID: it has no key of own; TIMEOUT: nobody could be reached in
 * PV_JOIN_WAIT_MS, or nobody confirmed; PROTOCOL; NOMEM.
 */
PV_MUST enum pv_err pv_join_ask(struct pv_join_result *out, const struct pv_join *join, char *why);

#endif
