/*
 * When to dial one address, without input or output: back-off with full jitter, which token, and
 * when not to dial at all.
 *
 *   WAITING --due--> DIALLING --up--> UP --down--> WAITING
 *      |                 `--failed--> WAITING
 *      `--covered--> COVERED (its node is connected by another link) --uncover--> WAITING
 *
 * The wait before attempt k is uniform in 0..min(PV_DIAL_MS_MAX, PV_DIAL_MS_MIN * 2^k). A session
 * resets k only after PV_DIAL_STABLE_MS, so that a peer which accepts and closes is not hammered. A
 * session that was cut, as happens every few seconds in a bad network, raises the wait to
 * PV_DIAL_CUT_MS_MAX only, and so do attempts that fail within PV_DIAL_LATELY_MS of it, which such
 * a network cuts, too: what was under way goes on where it was, and could never end otherwise. What
 * turns out to be ourselves is dialled at the longest intervals, but not dropped: whoever can lead
 * one connection back to us could otherwise take the address from us until we are restarted.
 */
#ifndef PV_TRANSPORT_DIALER_H
#define PV_TRANSPORT_DIALER_H

#include "internal/base/env.h"
#include "transport/address.h"
#include "transport/handshake.h"
#include "transport/refusal.h"

enum pv_dialer_state {
    PV_DIALER_WAITING,
    PV_DIALER_DIALLING,
    PV_DIALER_UP,
    PV_DIALER_COVERED,
};

enum pv_dialer_end {
    PV_DIALER_ENDED,  /* by one side */
    PV_DIALER_CUT,    /* by the network, while both were content */
    PV_DIALER_AGREED, /* to begin anew: dials at once, where it had lasted PV_DIAL_STABLE_MS */
};

struct pv_dialer {
    const struct pv_env *env;
    struct pv_address address;
    char text[PV_ADDRESS_TEXT_LEN]; /* as it was given */
    enum pv_dialer_state state;
    uint64_t due_ms, up_ms;
    bool was_cut; /* the last session, at cut_ms */
    uint64_t cut_ms;
    unsigned attempts; /* failed ones in a row */
    size_t token;      /* the one to dial with */
    bool has_node_id;
    struct pv_id node_id;     /* last seen there */
    char error[PV_CAUSE_LEN]; /* last refusal or failure; "" none */
};

/* PV_E_INVALID: not an address. The first dial is due at once. */
PV_MUST enum pv_err pv_dialer_init(struct pv_dialer *d, const struct pv_env *env,
                                   const char *address);
uint64_t pv_dialer_due_ms(const struct pv_dialer *d); /* mono; UINT64_MAX unless waiting */

void pv_dialer_start(struct pv_dialer *d);
/* refusal: why the handshake ended, NOT for anything else. error is for people; copied. */
void pv_dialer_failed(struct pv_dialer *d, enum pv_refusal refusal, size_t token_count,
                      const char *error);
void pv_dialer_up(struct pv_dialer *d, const struct pv_id *node_id);
void pv_dialer_down(struct pv_dialer *d, enum pv_dialer_end end, const char *error);
/* When due, instead of dialling: not before due_ms (mono). */
void pv_dialer_postpone(struct pv_dialer *d, uint64_t due_ms, const char *error);
void pv_dialer_cover(struct pv_dialer *d);   /* when due, instead of dialling */
void pv_dialer_uncover(struct pv_dialer *d); /* no-op unless covered */
/* Forgets what went wrong; the next dial, where one is waited for, comes within limit_ms. */
void pv_dialer_restart(struct pv_dialer *d, uint64_t limit_ms);

#endif
