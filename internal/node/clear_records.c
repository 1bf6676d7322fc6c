#include "internal/node/clear_records.h"

#include "internal/base/mem.h"

enum pv_err pv_clear_record_seal(uint8_t *env, size_t *len, const struct pv_clear_draft *draft,
                                 const struct pv_identity *identity)
{
    static const uint8_t no_salt[32]; /* clear records have none */
    const struct pv_member_body *member = draft->member;
    struct pv_id node_id;
    PV_AUTO_FREE uint8_t *bytes = pv_malloc(PV_RECORD_BODY_MAX);
    if (bytes == NULL)
        return PV_E_NOMEM;
    struct pv_record_draft rec = {.type = member != NULL ? PV_RECORD_MEMBER : PV_RECORD_ADDRESS,
                                  .flags = PV_RECORD_CLEAR,
                                  .hlc = draft->hlc,
                                  .body = bytes};
    enum pv_err err = member != NULL ? pv_member_body_encode(bytes, &rec.body_len, member)
                                     : pv_address_body_encode(bytes, &rec.body_len, draft->address);
    if (err != PV_OK)
        return err;
    pv_node_id_of(&node_id, member != NULL ? member->subject : draft->address->subject);
    pv_rid_clear(&rec.rid, rec.type, node_id.b, PV_ID_LEN);
    return pv_record_seal(env, len, &rec, NULL, identity->seed, no_salt);
}

struct loading {
    struct pv_clear_records *records;
    bool nomem;
};

static bool load_one(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct loading *l = arg;
    struct pv_clear_records *r = l->records;
    (void)pending;
    if (r->count == PV_MEMBERS_KNOWN_MAX)
        return false;
    r->found[r->count].env = pv_memdup(env, len);
    r->found[r->count].len = len;
    l->nomem = r->found[r->count].env == NULL;
    if (!l->nomem)
        r->count++;
    return !l->nomem;
}

enum pv_err pv_clear_records_load(struct pv_clear_records *r, struct pv_store *store, uint8_t type)
{
    struct loading l = {.records = r};
    struct pv_id after = {{0}};
    enum pv_err err = PV_OK;
    bool end = false;
    while (!end && err == PV_OK && !l.nomem && r->count < PV_MEMBERS_KNOWN_MAX)
        err = pv_store_records(store, type, &after, PV_MEMBERS_KNOWN_MAX, load_one, &l, &end);
    return l.nomem ? PV_E_NOMEM : err;
}

void pv_clear_records_release(struct pv_clear_records *r)
{
    for (size_t i = 0; i < r->count; i++)
        pv_free(r->found[i].env);
    r->count = 0;
}
