/*
 * Records in the clear: who belongs (type 3, members.c), and where to reach whom (type 5,
 * addresses.c). Each is about one node, and its rid is made of that node's id. There are few of
 * them, and the node has all in memory.
 */
#ifndef PV_NODE_CLEAR_RECORDS_H
#define PV_NODE_CLEAR_RECORDS_H

#include "crypto/body.h"
#include "crypto/identity.h"
#include "internal/base/limits.h"
#include "storage/store.h"

struct pv_clear_draft {
    const struct pv_member_body *member; /* or NULL: */
    const struct pv_address_body *address;
    pv_hlc hlc;
};
/* env: PV_RECORD_LEN_MAX. NOMEM; INVALID: a field out of range. */
PV_MUST enum pv_err pv_clear_record_seal(uint8_t *env, size_t *len,
                                         const struct pv_clear_draft *draft,
                                         const struct pv_identity *identity);

/* Those of one type in the store, up to PV_MEMBERS_KNOWN_MAX. */
struct pv_clear_records {
    size_t count;
    struct {
        uint8_t *env;
        size_t len;
    } found[PV_MEMBERS_KNOWN_MAX];
};
/* In a job, into zeros. After an error it has what had been found before. */
PV_MUST enum pv_err pv_clear_records_load(struct pv_clear_records *r, struct pv_store *store,
                                          uint8_t type);
void pv_clear_records_release(struct pv_clear_records *r);

#endif
