/*
 * What the operator of this node decided about other nodes, and nobody else needs to know: who may
 * come in although it has no member record yet (allow), and who may not although it has one
 * (block). Decisions about members that hold for the whole cluster are member records (decide.h).
 *
 * A small table, at most one entry a node, kept whole in vault.db under the meta key "policy":
 *
 *   version u8 = 1, count u16, entries: node id 32, kind u8, role u8, weight u8, since u64,
 *   until u64, zone len u8 ≤ 32 and bytes, reason len u8 ≤ 120 and bytes
 *
 * An entry whose time is over counts as absent, and makes room for others. Pure data: no clock, no
 * store; times are unix seconds.
 */
#ifndef PV_NODE_POLICY_H
#define PV_NODE_POLICY_H

#include "crypto/body.h"
#include "internal/base/buf.h"
#include "internal/base/limits.h"

enum pv_policy_kind { PV_POLICY_ALLOW = 1, PV_POLICY_BLOCK = 2 };
enum { PV_POLICY_REASON_MAX = 120 };
#define PV_POLICY_META "policy"

struct pv_policy_entry {
    struct pv_id node_id;
    uint8_t kind;                          /* enum pv_policy_kind */
    uint8_t role;                          /* of allow: enum pv_role, 0: whatever it proves to be */
    uint8_t weight;                        /* of allow: 1..16 */
    uint64_t since_s, until_s;             /* until 0: for good */
    char zone[33];                         /* of allow */
    char reason[PV_POLICY_REASON_MAX + 1]; /* the operator's words; never sent to anybody */
};

struct pv_policy {
    struct pv_policy_entry entries[PV_POLICY_MAX];
    size_t count;
};

/* NULL: nothing was decided, or its time is over. */
const struct pv_policy_entry *pv_policy_find(const struct pv_policy *p, const struct pv_id *node_id,
                                             uint64_t now_s);
bool pv_policy_blocks(const struct pv_policy *p, const struct pv_id *node_id, uint64_t now_s);
/* Instead of what was decided about this node before. PV_E_LIMIT: PV_POLICY_MAX entries, and the
 * time of none is over. */
PV_MUST enum pv_err pv_policy_put(struct pv_policy *p, const struct pv_policy_entry *entry,
                                  uint64_t now_s);
bool pv_policy_drop(struct pv_policy *p, const struct pv_id *node_id); /* false: none was there */

/* Appends the table. PV_E_NOMEM, PV_E_LIMIT. */
PV_MUST enum pv_err pv_policy_encode(struct pv_buf *out, const struct pv_policy *p);
/* PV_E_CORRUPT: malformed; *out is empty then. */
PV_MUST enum pv_err pv_policy_decode(struct pv_policy *out, const uint8_t *src, size_t len);

enum { PV_POLICY_ENTRY_LEN_MAX = 32 + 3 + 16 + 1 + 32 + 1 + PV_POLICY_REASON_MAX };
enum { PV_POLICY_LEN_MAX = 3 + PV_POLICY_MAX * PV_POLICY_ENTRY_LEN_MAX };

#endif
